//! What a store's server answered, beside what the client library makes of it.
//!
//! `object_store` keeps the status of a failed request to itself. Whether to try again depends on it, so the HTTP client
//! under the library notes it down for the attempt that is under way in the task.

use std::cell::Cell;
use std::future::Future;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

tokio::task_local! {
    static ANSWER: Cell<Option<Answer>>;
}

/// The last answer to a request of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `Retry-After`, if it is a number of seconds.
    pub(crate) retry_after_ms: Option<u64>,
}

/// Runs an attempt and gives the last answer that it got.
pub(crate) async fn with_answer<T>(attempt: impl Future<Output = T>) -> (T, Option<Answer>) {
    let watched = async {
        let result = attempt.await;
        (result, ANSWER.with(Cell::get))
    };
    ANSWER.scope(Cell::new(None), watched).await
}

/// Connects as the library does, and notes answers.
#[derive(Debug, Default)]
pub(crate) struct NotingConnector(ReqwestConnector);

impl HttpConnector for NotingConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(NotingClient(self.0.connect(options)?)))
    }
}

#[derive(Debug)]
struct NotingClient(HttpClient);

#[async_trait]
impl HttpService for NotingClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let note = |answer| ANSWER.try_with(|noted| noted.set(answer)).ok();
        note(None);
        let response = self.0.execute(request).await?;
        let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        note(Some(Answer {
            status: response.status().as_u16(),
            retry_after_ms: seconds.map(|seconds| seconds.saturating_mul(1_000)),
        }));
        Ok(response)
    }
}
