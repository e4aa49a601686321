//! Reads one subtask of a source, hands its batches around, and puts barriers among them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{Int8Array, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use frazil_storage::{Step, Steps};
use frazil_writer::SourcePositions;
use tokio::sync::mpsc;

use super::event_time::EventTime;
use super::exchange::Exchange;
use super::message::{Barrier, BarrierRequest, Rows};
use crate::Result;
use crate::changelog::{deletes_of, join_kinds};
use crate::progress::Counters;
use crate::source::{SourceBatch, SourceStream};

/// One source task.
pub(super) struct SourceTask {
    pub(super) stream: SourceStream,
    pub(super) requests: mpsc::Receiver<BarrierRequest>,
    pub(super) exchange: Exchange,
    /// Told once when the source has come to its end.
    pub(super) ended: mpsc::Sender<()>,
    /// Which of the source's tasks it is.
    pub(super) subtask: usize,
    /// Of a source that has a watermark.
    pub(super) event_time: Option<EventTime>,
    pub(super) counters: Arc<Counters>,
    pub(super) steps: Steps,
}

impl SourceTask {
    /// Runs until the last barrier is sent.
    pub(super) async fn run(mut self) -> Result<()> {
        let mut positions = SourcePositions::new();
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                request = self.requests.recv() => {
                    // The coordinator is gone: the pipeline is failing, and says why elsewhere.
                    let Some(request) = request else { return Ok(()) };
                    self.steps.reach(Step::BarrierSent)?;
                    let time = self.event_time.as_mut().map(|time| (self.subtask, time.at_barrier()));
                    let barrier = Barrier {
                        checkpoint_id: request.checkpoint_id,
                        positions: positions.clone(),
                        times: time.into_iter().collect(),
                        is_last: request.is_last,
                    };
                    self.exchange.send_barrier(&barrier).await?;
                    if request.is_last {
                        return Ok(());
                    }
                }
                next = self.stream.recv(), if open => match next {
                    None => {
                        open = false;
                        self.ended.send(()).await.ok();
                    }
                    Some(next) => {
                        let next = next?;
                        let SourceBatch { batch, split, position, dead_letters, records, is_end, kinds } = next;
                        if let Some(event_time) = &mut self.event_time {
                            event_time.take(&split, &new_rows(&batch, kinds.as_ref())?, is_end).await?;
                        }
                        let batch = match kinds {
                            Some(kinds) => join_kinds(batch, kinds),
                            None => batch,
                        };
                        let count = batch.num_rows() + dead_letters.len();
                        let rows = Rows { batch, split: split.as_str().into(), dead_letters, records, sink_schema: None };
                        positions.insert(split, position);
                        if count == 0 {
                            continue;
                        }
                        self.counters.rows_in.fetch_add(count as u64, Relaxed);
                        self.exchange.send_rows(rows).await?;
                    }
                },
            }
        }
    }
}

/// The rows that are new: those that are taken away came before.
fn new_rows(batch: &RecordBatch, kinds: Option<&Int8Array>) -> Result<RecordBatch> {
    let Some(kinds) = kinds else { return Ok(batch.clone()) };
    let new = not(&deletes_of(kinds)).and_then(|new| filter_record_batch(batch, &new));
    new.map_err(|error| crate::Error::DataFusion(error.into()))
}
