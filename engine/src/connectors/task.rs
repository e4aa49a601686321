//! The tasks in which sources read.

use std::time::Duration;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::source::{SOURCE_QUEUE_BATCHES, SourceBatch, SourceStream};
use crate::{Error, Result};

/// The source has to stop: it was asked to, or nobody listens any more. Not an error.
#[derive(Debug)]
pub(super) struct Stopped;

/// Why a source's task ends before its end.
#[derive(Debug)]
pub(super) enum End {
    Stopped,
    Failed(Error),
}

impl From<Stopped> for End {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl<E: Into<Error>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs `read` in a task of its own. Its error, or its panic, is the last thing in the stream: a stream that just ends
/// says that all rows were read.
pub(super) fn spawn<F>(
    stop: CancellationToken,
    rows_per_second: Option<f64>,
    read: impl FnOnce(Output) -> F + Send + 'static,
) -> SourceStream
where
    F: Future<Output = Result<(), End>> + Send + 'static,
{
    let (sender, stream) = mpsc::channel(SOURCE_QUEUE_BATCHES);
    tokio::spawn(async move {
        let output = Output { sender: sender.clone(), stop: stop.clone(), rate: rows_per_second.map(Rate::new) };
        let read = std::panic::AssertUnwindSafe(async move { read(output).await });
        let error = match read.catch_unwind().await {
            Ok(Ok(()) | Err(End::Stopped)) => return,
            Ok(Err(End::Failed(error))) => error,
            Err(panic) => Error::TaskPanicked(panic_text(panic.as_ref())),
        };
        // Nobody listens to a source that was stopped.
        let _ = tokio::select! {
            sent = sender.send(Err(error)) => sent,
            () = stop.cancelled() => Ok(()),
        };
    });
    stream
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Where a source's batches go.
#[derive(Debug)]
pub(super) struct Output {
    sender: mpsc::Sender<Result<SourceBatch>>,
    stop: CancellationToken,
    rate: Option<Rate>,
}

impl Output {
    /// Sends a batch when there is room, and not faster than the rate.
    pub(super) async fn send(&mut self, batch: SourceBatch) -> Result<(), Stopped> {
        let rows = batch.batch.num_rows();
        if let Some(due) = self.rate.as_mut().map(|rate| rate.due(rows)) {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = self.stop.cancelled() => return Err(Stopped),
                () = self.sender.closed() => return Err(Stopped),
            }
        }
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Stopped),
            sent = self.sender.send(Ok(batch)) => sent.map_err(|_| Stopped),
        }
    }

    /// Sends from a thread that may block.
    pub(super) fn blocking_send(&mut self, batch: SourceBatch) -> Result<(), Stopped> {
        match self.stop.is_cancelled() {
            true => Err(Stopped),
            false => self.sender.blocking_send(Ok(batch)).map_err(|_| Stopped),
        }
    }

    /// Whether the source has to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled() || self.sender.is_closed()
    }

    /// Waits until the source has to stop.
    pub(super) async fn stopped(&self) -> Stopped {
        tokio::select! {
            () = self.stop.cancelled() => Stopped,
            () = self.sender.closed() => Stopped,
        }
    }

    /// Waits, but not longer than until the source has to stop.
    pub(super) async fn pause(&self, time: Duration) -> Result<(), Stopped> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.stop.cancelled() => Err(Stopped),
            () = self.sender.closed() => Err(Stopped),
        }
    }
}

/// Lets rows through at a steady rate. Time that nobody asked in is not made up for.
#[derive(Debug)]
struct Rate {
    rows_per_second: f64,
    due: Instant,
}

impl Rate {
    fn new(rows_per_second: f64) -> Self {
        Self { rows_per_second, due: Instant::now() }
    }

    /// When the next `rows` may go.
    fn due(&mut self, rows: usize) -> Instant {
        let due = self.due.max(Instant::now());
        self.due = due + Duration::from_secs_f64(rows as f64 / self.rows_per_second);
        due
    }
}
