//! Keeps a table's statistics while a job writes it: sketches of each checkpoint's rows, united, and now and then a
//! statistics file of them.
//!
//! A file for each checkpoint would cost a commit for a commit. So one is written when the last one is older than
//! `write.extended-statistics.interval-ms`, and at a clean end; between two of them readers have the numbers of the last
//! one, as every engine looks for the newest in a table's history. What the sketches are of is one snapshot; others'
//! appends in between, and what a crash has taken away, is read from the table ([`sketches_at`]).

use std::sync::Arc;

use frazil_catalog::CommitQueue;
use frazil_reader::ReadContext;
use frazil_table::Table;
use frazil_writer::{NdvSketches, StatisticsConfig, changes_rows};

use crate::Result;
use crate::progress::{Event, Progress};
use crate::statistics::{Known, commit_sketches, sketches_at};

/// The statistics of one table.
pub(super) struct StatisticsKeeper {
    config: StatisticsConfig,
    queue: Arc<CommitQueue>,
    context: ReadContext,
    progress: Progress,
    /// The sketches of all rows up to a snapshot; `None` if they have to be looked for.
    known: Option<(i64, NdvSketches)>,
    /// The newest snapshot with rows of this job, if no statistics are of it yet.
    waiting: Option<i64>,
    /// Milliseconds since the Unix epoch.
    stored_at_ms: Option<i64>,
    /// Why there are none, if that was told.
    told: Option<String>,
}

impl StatisticsKeeper {
    pub(super) fn new(config: StatisticsConfig, queue: Arc<CommitQueue>, progress: Progress) -> Self {
        let context = ReadContext::with_manifests(queue.env(), queue.cache());
        Self { config, queue, context, progress, known: None, waiting: None, stored_at_ms: None, told: None }
    }

    /// Takes in the sketches of a snapshot's new rows.
    pub(super) fn add(&mut self, table: &Table, snapshot_id: i64, new: NdvSketches) {
        self.waiting = Some(snapshot_id);
        let before = rows_before(table, snapshot_id);
        self.known = match self.known.take() {
            _ if before.is_none() => Some((snapshot_id, new)),
            Some((up_to, mut all)) if before == Some(up_to) => {
                all.unite(&new);
                Some((snapshot_id, all))
            }
            _ => None,
        };
    }

    /// Writes a statistics file if it is time to. The rows are in the table whatever becomes of it, so a failure is told
    /// and is nobody else's.
    pub(super) async fn store_if_due(&mut self, is_last: bool) {
        let now_ms = self.queue.env().now_ms();
        let age_ms = self.stored_at_ms.map(|at_ms| now_ms.saturating_sub(at_ms));
        let is_due = is_last || age_ms.is_none_or(|age_ms| age_ms.unsigned_abs() >= self.config.interval_ms);
        let Some(snapshot_id) = self.waiting.filter(|_| is_due) else { return };
        self.stored_at_ms = Some(now_ms);
        match self.store(snapshot_id).await {
            Ok(None) => self.waiting = None,
            Ok(Some(reason)) => self.tell_unknown(reason),
            Err(error) => self.tell_unknown(error.to_string()),
        }
    }

    /// What keeps the statistics from being known, if something does.
    async fn store(&mut self, snapshot_id: i64) -> Result<Option<String>> {
        let table = self.queue.load().await?;
        if self.known.as_ref().is_none_or(|(up_to, _)| *up_to != snapshot_id) {
            match sketches_at(&self.context, &table, Some(snapshot_id)).await? {
                Known::Sketches(sketches) => self.known = Some((snapshot_id, sketches)),
                Known::NoRows => return Ok(None),
                Known::Unknown(reason) => return Ok(Some(reason)),
            }
        }
        let (_, sketches) = self.known.as_ref().expect("it was just made sure of");
        if let Some(file) = commit_sketches(&self.queue, &table, snapshot_id, sketches.clone()).await? {
            let table = self.queue.ident().to_string();
            self.progress.tell(Event::Statistics { table, snapshot_id, columns: file.blob_metadata.len() as u64 });
        }
        self.told = None;
        Ok(None)
    }

    fn tell_unknown(&mut self, reason: String) {
        if self.told.as_ref() != Some(&reason) {
            let table = self.queue.ident().to_string();
            self.progress.tell(Event::StatisticsUnknown { table, reason: reason.clone() });
            self.told = Some(reason);
        }
    }
}

/// The newest snapshot behind another one that may have changed rows; `None` if there were no rows.
fn rows_before(table: &Table, snapshot_id: i64) -> Option<i64> {
    let mut before = table.ancestors_of(snapshot_id);
    before.next();
    let changed = before.find(|snapshot| changes_rows(table.metadata(), snapshot));
    changed.map(|snapshot| snapshot.snapshot_id()).or(before.cut_at())
}
