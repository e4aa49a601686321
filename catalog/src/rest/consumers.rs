//! The client of Frazil's own interface for consumers. Other catalogs keep none.

use std::time::Duration;

use frazil_table::spec::TableIdent;
use percent_encoding::utf8_percent_encode;
use reqwest::{Method, RequestBuilder, Response, StatusCode};

use super::{READS_MAX, RestCatalog, SEGMENT, unavailable};
use crate::server::{ConsumerList, Join, path_to};
use crate::{Consumer, ConsumerCommit, Error, Result};

/// What a catalog says that keeps consumers.
pub(super) const ENDPOINT: &str = "POST /api/v1/tables/{namespace}/{table}/consumers/{consumer}/commit";

impl RestCatalog {
    pub(super) async fn list_consumers(&self, ident: &TableIdent) -> Result<Vec<Consumer>> {
        if !self.has_consumers {
            return Ok(Vec::new());
        }
        let answer = self.send(|| self.own(Method::GET, ident, &[])).await?;
        let list: ConsumerList = self.parse(self.done(ident, answer).await?).await?;
        Ok(list.consumers)
    }

    pub(super) async fn join(&self, ident: &TableIdent, name: &str, lease_ms: i64) -> Result<Consumer> {
        self.check_has_consumers()?;
        let body = Join { lease_ms: Some(lease_ms) };
        // Joining twice only gives a newer epoch.
        let answer = self.send(|| self.own(Method::POST, ident, &[name, "join"]).json(&body)).await?;
        self.parse(self.done(ident, answer).await?).await
    }

    pub(super) async fn commit_position(&self, ident: &TableIdent, name: &str, commit: &ConsumerCommit) -> Result<()> {
        self.check_has_consumers()?;
        // The same position twice is once.
        let answer = self.send(|| self.own(Method::POST, ident, &[name, "commit"]).json(commit)).await?;
        self.done(ident, answer).await.map(drop)
    }

    pub(super) async fn forget_consumer(&self, ident: &TableIdent, name: &str) -> Result<()> {
        self.check_has_consumers()?;
        let answer = self.own(Method::DELETE, ident, &[name]).send().await;
        let answer = answer.map_err(|error| unavailable(&self.uri, &error))?;
        self.done(ident, answer).await.map(drop)
    }

    fn check_has_consumers(&self) -> Result<()> {
        match self.has_consumers {
            true => Ok(()),
            false => Err(crate::catalog::no_consumers(&self.uri)),
        }
    }

    fn own(&self, method: Method, ident: &TableIdent, more: &[&str]) -> RequestBuilder {
        let (path, consumers) = (path_to(ident), ["consumers"]);
        let segments = path.iter().map(String::as_str).chain(consumers).chain(more.iter().copied());
        let encoded: Vec<String> = segments.map(|part| utf8_percent_encode(part, SEGMENT).to_string()).collect();
        let request = self.http.request(method, format!("{}/{}", self.uri, encoded.join("/")));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends what may be sent again.
    async fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<Response> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let answer = request().send().await;
            let again = match &answer {
                Ok(response) => response.status().is_server_error(),
                Err(error) => !error.is_builder(),
            };
            if !again || attempt >= READS_MAX {
                return answer.map_err(|error| unavailable(&self.uri, &error));
            }
            tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
        }
    }

    async fn done(&self, ident: &TableIdent, response: Response) -> Result<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let (kind, message) = self.refusal(response).await;
        Err(match kind.as_str() {
            "NoSuchConsumerException" => Error::NoSuchConsumer(named(&message)),
            "ConsumerFencedException" => Error::ConsumerFenced(named(&message)),
            "NoSuchTableException" => Error::NoSuchTable(ident.to_string()),
            _ if status == StatusCode::FORBIDDEN || status == StatusCode::UNAUTHORIZED => Error::Forbidden(message),
            _ if status.is_client_error() => Error::BadRequest(message),
            _ => Error::Unavailable { uri: self.uri.clone(), reason: format!("{status}: {message}") },
        })
    }
}

/// The consumer that a message is about, as [`Error`] words it: `consumer NAME of TABLE does …`, `… was taken …`.
fn named(message: &str) -> String {
    let name = message.strip_prefix("consumer ").unwrap_or(message);
    let end = name.find(" does not exist").or_else(|| name.find(" was taken over"));
    name[..end.unwrap_or(name.len())].to_owned()
}
