//! A table's rows on their way to a client.
//!
//! 1. The first batch is read before anything is answered, so that what can't be done is an HTTP status.
//! 2. The body is read from the table as the client takes it: what is not taken is not read, and a client that is gone ends
//!    the reading.
//! 3. When there is nothing more, the next look comes with the next commit to the table; the catalog tells of it.
//!
//! What goes wrong behind the first byte is told in the body, which then breaks off without its end.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use frazil_catalog::server::Refusal;
use frazil_catalog::{CatalogRef, TableChange};
use frazil_reader::{ConsumerMember, FeedBatch, FeedOptions, TableFeed};
use frazil_table::spec::TableIdent;
use futures::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::Api;
use super::encode::Encoder;
use super::refusal::{of_reader, stopping};
use super::request::Request;
use crate::from::Begun;

/// Without a commit, so long until a sign of life, and a look at the table: another process may have changed it in the
/// same database.
const IDLE: Duration = Duration::from_secs(5);

/// How long the reason of an end is given to leave before the connection breaks off, which takes along what is not sent.
const LAST_WORD: Duration = Duration::from_millis(200);

/// How often a consumer's lease is renewed while its stream is open.
const RENEWAL: Duration = Duration::from_secs(30);

/// Tells a consumer's member its epoch, for its commits.
const EPOCH_HEADER: &str = "frazil-consumer-epoch";

/// Says that a stream does not begin where it was to, and why.
const LOST_HEADER: &str = "frazil-lost";

/// Begins to follow a table.
pub(super) async fn answer(
    api: &Api,
    ident: TableIdent,
    request: Request,
    permit: OwnedSemaphorePermit,
) -> Result<Response, Refusal> {
    // Before the first look, so that no commit falls between.
    let commits = api.catalog.subscribe();
    let catalog: CatalogRef = api.catalog.clone();
    let options = match request.has_filter() {
        false => request.options(|_| Err(Refusal::bad_request("there is no filter")))?,
        true => {
            let table = catalog.load_table(&ident).await?;
            request.options(|text| {
                let parsed = api.conditions.parse(&table, text);
                parsed.map_err(|error| Refusal::bad_request(format!("filter: {error}")))
            })?
        }
    };
    let world = (&catalog, &ident);
    let (start, mut member) = request.from.clone().join(world, request.consumer.clone()).await.map_err(of_reader)?;
    let options = FeedOptions { start, ..options };
    let mut feed = TableFeed::start(&catalog, &api.context, &ident, options).await.map_err(of_reader)?;
    let begun = Begun::of(&feed);
    if let Some(member) = &mut member {
        begun.hold(member).await.map_err(of_reader)?;
    }
    let encoder = Encoder::new(request.encoding, feed.schema()).map_err(Refusal::bad_request)?;
    let first = feed.poll().await.map_err(of_reader)?;
    let lost = feed.lost().map(str::to_owned);
    let epoch = member.as_ref().map(ConsumerMember::epoch);
    let following = Following {
        feed,
        member,
        renewed: Instant::now(),
        encoder,
        commits,
        ident,
        follow: request.follow,
        batches_left: request.batches_max.map(NonZeroU64::get),
        stop: api.stop.clone(),
        state: State::Begin { first, lost: lost.clone() },
        _permit: permit,
    };
    let body = Body::from_stream(stream::unfold(following, |mut following| async move {
        following.next().await.map(|chunk| (chunk, following))
    }));
    let mut response = Response::new(body);
    if let Some(epoch) = epoch {
        response.headers_mut().insert(EPOCH_HEADER, HeaderValue::from(epoch));
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(request.encoding.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(lost) = lost.and_then(|why| HeaderValue::from_str(&why).ok()) {
        headers.insert(LOST_HEADER, lost);
    }
    Ok(response)
}

/// A stream that is under way.
struct Following {
    feed: TableFeed,
    member: Option<ConsumerMember>,
    /// When the member was last said to be alive.
    renewed: Instant,
    encoder: Encoder,
    commits: Receiver<TableChange>,
    ident: TableIdent,
    follow: bool,
    batches_left: Option<u64>,
    stop: CancellationToken,
    state: State,
    _permit: OwnedSemaphorePermit,
}

enum State {
    Begin {
        first: Option<FeedBatch>,
        lost: Option<String>,
    },
    Running,
    /// What went wrong has been said.
    Failed(String),
    Done,
}

/// Breaks a body off.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BrokenOff(String);

impl Following {
    /// The next piece of the body.
    async fn next(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        match std::mem::replace(&mut self.state, State::Running) {
            State::Begin { first, lost } => {
                let mut bytes = self.encoder.begin(lost.as_deref());
                let told = match &first {
                    Some(batch) => self.encode(batch),
                    // Where the stream begins, so that a client can go on even if nothing comes.
                    None => Ok(self.encoder.idle(self.feed.position())),
                };
                bytes.extend(told.unwrap_or_else(|refusal| self.fail(&refusal)));
                match bytes.is_empty() {
                    false => Some(Ok(bytes.into())),
                    true => self.run().await,
                }
            }
            State::Running => self.run().await,
            State::Failed(why) => {
                self.state = State::Done;
                tokio::time::sleep(LAST_WORD).await;
                Some(Err(BrokenOff(why)))
            }
            State::Done => {
                self.state = State::Done;
                None
            }
        }
    }

    async fn run(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        loop {
            if self.batches_left == Some(0) {
                return self.finish();
            }
            let stop = self.stop.clone();
            let polled = tokio::select! {
                biased;
                () = stop.cancelled() => Err(stopping()),
                polled = self.feed.poll() => polled.map_err(of_reader),
            };
            let bytes = match polled {
                Ok(Some(batch)) => self.encode(&batch),
                Ok(None) if !self.follow => return self.finish(),
                Ok(None) => self.wait().await,
                Err(refusal) => Err(refusal),
            };
            match bytes {
                // A commit that brought nothing, such as one of properties.
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Some(Ok(bytes.into())),
                Err(refusal) => return Some(self.break_off(&refusal)),
            }
        }
    }

    /// Says why, where the format can; then the body ends without its end.
    fn break_off(&mut self, refusal: &Refusal) -> Result<Bytes, BrokenOff> {
        let said = self.fail(refusal);
        if !said.is_empty() {
            return Ok(said.into());
        }
        self.state = State::Done;
        Err(BrokenOff(refusal.to_json().to_string()))
    }

    /// Waits for a commit to the table; without one, a sign of life.
    async fn wait(&mut self) -> Result<Vec<u8>, Refusal> {
        let commit = async {
            loop {
                match self.commits.recv().await {
                    Ok(change) if change.ident != self.ident => {}
                    // One that was missed may have been one to this table.
                    Ok(_) | Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(stopping()),
            () = commit => Ok(Vec::new()),
            () = tokio::time::sleep(IDLE) => {
                self.renew().await?;
                Ok(self.encoder.idle(self.feed.position()))
            }
        }
    }

    /// Keeps what the member needs from expiry for as long as its client is there.
    async fn renew(&mut self) -> Result<(), Refusal> {
        if let Some(member) = self.member.as_ref().filter(|_| self.renewed.elapsed() >= RENEWAL) {
            member.renew().await.map_err(of_reader)?;
            self.renewed = Instant::now();
        }
        Ok(())
    }

    fn encode(&mut self, batch: &FeedBatch) -> Result<Vec<u8>, Refusal> {
        if batch.num_rows() > 0 {
            self.batches_left = self.batches_left.map(|left| left.saturating_sub(1));
        }
        self.encoder.batch(batch).map_err(|error| {
            let message = format!("rows can't be told in this format: {error}");
            Refusal::new(axum::http::StatusCode::UNPROCESSABLE_ENTITY, "UnprocessableEntityException", message)
        })
    }

    fn fail(&mut self, refusal: &Refusal) -> Vec<u8> {
        let envelope = refusal.to_json();
        tracing::info!(table = %self.ident, position = %self.feed.position(), error = %envelope, "a stream breaks off");
        self.state = State::Failed(envelope.to_string());
        self.encoder.error(&envelope)
    }

    fn finish(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        self.state = State::Done;
        match self.encoder.end() {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => Some(Ok(bytes.into())),
            Err(error) => Some(Err(BrokenOff(error.to_string()))),
        }
    }
}
