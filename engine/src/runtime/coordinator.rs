//! Decides when a checkpoint begins, for all pipelines of a job at once.

use std::time::Duration;

use frazil_writer::CheckpointId;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::message::BarrierRequest;
use crate::{Error, Result};

/// The coordinator of a job.
pub(super) struct Coordinator {
    /// To every source task of every pipeline.
    pub(super) requests: Vec<mpsc::Sender<BarrierRequest>>,
    pub(super) done: mpsc::Receiver<CheckpointId>,
    /// Told by every source task that has come to its end.
    pub(super) ended: mpsc::Receiver<()>,
    pub(super) interval: Duration,
    pub(super) next: CheckpointId,
}

impl Coordinator {
    /// One checkpoint after the other, the last one when all sources have ended or a stop is asked for.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let mut sources_open = self.requests.len();
        let mut ticks = tokio::time::interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                _ = ticks.tick() => false,
                () = stop.cancelled() => true,
                ended = self.ended.recv() => {
                    ended.ok_or(Error::Cancelled)?;
                    sources_open -= 1;
                    if sources_open > 0 {
                        continue;
                    }
                    true
                }
            };
            let request = BarrierRequest { checkpoint_id: self.next, is_last };
            for source in &self.requests {
                source.send(request).await.map_err(|_| Error::Cancelled)?;
            }
            let done = self.done.recv().await.ok_or(Error::Cancelled)?;
            assert_eq!(done, self.next, "one checkpoint is under way at a time");
            if is_last {
                return Ok(());
            }
            self.next = self.next.next();
        }
    }
}
