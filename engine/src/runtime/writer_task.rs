//! Computes and writes: a chained transform and table writer.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use frazil_storage::{Step, Steps};
use frazil_writer::TableWriter;
use tokio::sync::mpsc;

use super::input::{Aligned, AlignedInput};
use super::message::WriterShare;
use crate::progress::Counters;
use crate::transform::Transform;
use crate::{Error, Result};

/// One writer task.
pub(super) struct WriterTask {
    pub(super) pipeline: usize,
    pub(super) input: AlignedInput,
    pub(super) transform: Transform,
    pub(super) writer: TableWriter,
    pub(super) committer: mpsc::Sender<WriterShare>,
    pub(super) counters: Arc<Counters>,
    pub(super) steps: Steps,
}

impl WriterTask {
    /// Runs until the last barrier.
    pub(super) async fn run(mut self) -> Result<()> {
        loop {
            let barrier = match self.input.next().await? {
                Aligned::Batch(batch) => {
                    for out in self.transform.apply(batch).await? {
                        self.counters.rows_out.fetch_add(out.num_rows() as u64, Relaxed);
                        self.writer.write(out).await?;
                    }
                    continue;
                }
                Aligned::Barrier(barrier) => barrier,
            };
            let files = self.writer.flush().await?;
            if !files.is_empty() {
                self.steps.reach(Step::FilesClosed)?;
            }
            let share = WriterShare {
                pipeline: self.pipeline,
                checkpoint_id: barrier.checkpoint_id,
                files,
                positions: barrier.positions,
                is_last: barrier.is_last,
            };
            self.committer.send(share).await.map_err(|_| Error::Cancelled)?;
            if barrier.is_last {
                return Ok(());
            }
        }
    }
}
