//! Gathers the writers' shares of a checkpoint and commits them as one.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use frazil_table::Table;
use frazil_writer::{CheckpointId, Committable, Committer, Landed, SourcePositions};
use tokio::sync::mpsc;

use super::message::WriterShare;
use crate::progress::{Counters, Event, Progress};
use crate::{Error, Result};

/// The committer of one pipeline.
pub(super) struct CommitterTask {
    pub(super) committer: Committer,
    pub(super) writers: usize,
    pub(super) shares: mpsc::Receiver<WriterShare>,
    /// Where every split goes on, those included that this run has not read from yet.
    pub(super) positions: SourcePositions,
    /// Told of each checkpoint that is done.
    pub(super) done: mpsc::Sender<CheckpointId>,
    /// Told of each commit. A compaction that lags behind is told of the newest only.
    pub(super) committed: tokio::sync::watch::Sender<Option<Table>>,
    pub(super) counters: Arc<Counters>,
    pub(super) progress: Progress,
}

impl CommitterTask {
    /// Runs until the last checkpoint is done.
    pub(super) async fn run(mut self) -> Result<()> {
        loop {
            let first = self.shares.recv().await.ok_or(Error::Cancelled)?;
            let begun = Instant::now();
            let (checkpoint_id, is_last) = (first.checkpoint_id, first.is_last);
            let mut files = Vec::new();
            let mut share = first;
            for missing in (0..self.writers).rev() {
                assert_eq!(share.checkpoint_id, checkpoint_id, "writers send one share for each checkpoint");
                files.extend(share.files);
                self.positions.extend(share.positions);
                if missing == 0 {
                    break;
                }
                share = self.shares.recv().await.ok_or(Error::Cancelled)?;
            }
            self.commit(checkpoint_id, files, is_last, begun).await?;
            self.done.send(checkpoint_id).await.ok();
            if is_last {
                let table = self.committer.queue().ident().to_string();
                let checkpoint_id = self.committer.last_checkpoint().0;
                self.progress.tell(Event::Finished { table, checkpoint_id });
                return Ok(());
            }
        }
    }

    async fn commit(
        &mut self,
        checkpoint_id: CheckpointId,
        files: Vec<frazil_table::TableFile>,
        is_last: bool,
        begun: Instant,
    ) -> Result<()> {
        let rows = files.iter().map(|f| f.file.record_count()).sum::<u64>();
        let bytes = files.iter().map(|f| f.file.file_size_in_bytes()).sum::<u64>();
        let file_count = files.len() as u64;
        let positions = self.positions.clone();
        let committable = Committable { checkpoint_id, files, positions, watermark_ms: None };
        let landed = match is_last {
            true => self.committer.commit_positions(committable).await?,
            false => self.committer.commit(committable).await?,
        };
        let Landed::Committed { table, snapshot_id, retries } = landed else { return Ok(()) };
        if rows > 0 {
            self.counters.rows_committed.fetch_add(rows, Relaxed);
            self.counters.commits.fetch_add(1, Relaxed);
            self.progress.tell(Event::Committed {
                table: self.committer.queue().ident().to_string(),
                checkpoint_id: checkpoint_id.0,
                snapshot_id,
                rows,
                files: file_count,
                bytes,
                elapsed_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                retries,
                data_files: data_files(&table),
            });
        }
        self.committed.send_replace(Some(table));
        Ok(())
    }
}

/// Live data files of a table as its current snapshot's summary says.
pub(super) fn data_files(table: &Table) -> Option<u64> {
    let summary = table.current_snapshot()?.summary();
    summary.additional_properties.get("total-data-files")?.parse().ok()
}
