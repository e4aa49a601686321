//! Reads one subtask of a source, hands its batches around, and puts barriers among them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use frazil_storage::{Step, Steps};
use frazil_writer::SourcePositions;
use tokio::sync::mpsc;

use super::message::{Barrier, BarrierRequest, Message, Rows};
use crate::progress::Counters;
use crate::source::{SourceBatch, SourceStream};
use crate::{Error, Result};

/// One source task.
pub(super) struct SourceTask {
    pub(super) stream: SourceStream,
    pub(super) requests: mpsc::Receiver<BarrierRequest>,
    /// One queue for each writer task; batches go to them in turn.
    pub(super) outputs: Vec<mpsc::Sender<Message>>,
    /// Told once when the source has come to its end.
    pub(super) ended: mpsc::Sender<()>,
    pub(super) counters: Arc<Counters>,
    pub(super) steps: Steps,
}

impl SourceTask {
    /// Runs until the last barrier is sent.
    pub(super) async fn run(mut self) -> Result<()> {
        let mut positions = SourcePositions::new();
        let mut turn = 0;
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                request = self.requests.recv() => {
                    // The coordinator is gone: the pipeline is failing, and says why elsewhere.
                    let Some(request) = request else { return Ok(()) };
                    self.steps.reach(Step::BarrierSent)?;
                    let barrier = Barrier {
                        checkpoint_id: request.checkpoint_id,
                        positions: positions.clone(),
                        is_last: request.is_last,
                    };
                    for output in &self.outputs {
                        send(output, Message::Barrier(barrier.clone())).await?;
                    }
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
                        let SourceBatch { batch, split, position, dead_letters, records } = next;
                        let count = batch.num_rows() + dead_letters.len();
                        let rows = Rows { batch, split: split.as_str().into(), dead_letters, records };
                        positions.insert(split, position);
                        if count == 0 {
                            continue;
                        }
                        self.counters.rows_in.fetch_add(count as u64, Relaxed);
                        send(&self.outputs[turn], Message::Rows(rows)).await?;
                        turn = (turn + 1) % self.outputs.len();
                    }
                },
            }
        }
    }
}

async fn send(output: &mpsc::Sender<Message>, message: Message) -> Result<()> {
    output.send(message).await.map_err(|_| Error::Cancelled)
}
