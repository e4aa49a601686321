//! The one that makes the files of a job's sinks part of their tables, each checkpoint exactly once.
//!
//! 1. [`Committer::recover`] reads each sink's standing off its table and fences: an empty snapshot with the next epoch.
//!    From then on no commit of an older run can land, since each requires the history it saw.
//! 2. [`Committer::prepare`] makes of what the sinks have flushed a [`Committable`].
//! 3. [`Committer::commit`] appends each sink's files together with its ledger. What counts as "landed already" is the
//!    checkpoint's identity in the history of `main`, looked for before every attempt.
//! 4. A sink without rows makes no snapshot. Its positions wait for the next checkpoint with rows, at most
//!    [`QUIET_CHECKPOINTS_MAX`] checkpoints long.
//!
//! Tables of one catalog that has transactions commit together: all or none. Otherwise they commit one after the other.
//! Then the committable is stored first, and the first table's ledger names it: once that has landed the checkpoint is
//! decided, and a recovery brings the other tables to it before it fences them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use frazil_catalog::{CommitQueue, Turns};
use frazil_storage::Step;
use frazil_table::{SnapshotProperties, Table};

use crate::committable::{Committable, Flushed, SinkCommittable};
use crate::ledger::{
    CheckpointId, FencingEpoch, INLINE_BYTES_MAX, Ledger, LedgerEntry, RowCounts, SinkId, SourcePositions,
    StoredPositions,
};
use crate::stored_file::StoredFile;
use crate::{Error, Result};

mod attempt;
mod recovery;

/// Checkpoints in a row that moved the sources without a row for the table before the positions are committed alone.
pub const QUIET_CHECKPOINTS_MAX: u32 = 10;

/// Where a job writes, and what the table calls it.
#[derive(Clone, Debug)]
pub struct Sink {
    /// Its name in the table's history.
    pub id: SinkId,
    /// The door to the table. Sinks of one table share it.
    pub queue: Arc<CommitQueue>,
    /// For a sink that takes a part of another one's rows, such as those that are put aside as bad: the index of that
    /// other sink, whose positions count for both. They always commit together.
    pub follows: Option<usize>,
    /// Added to the summary of each snapshot that the sink makes, fences too. Never the ledger's own keys.
    pub summary: SnapshotProperties,
    /// What makes its rows; `None` if it is never asked.
    pub definition: Option<Definition>,
}

/// What makes a sink's rows, so that positions which another definition left behind are not taken for its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The same for the same sources and query.
    pub fingerprint: String,
    /// Whether a run of it may go on from where another definition stopped, because a person said so.
    pub may_replace: bool,
}

/// What became of a sink's part of a checkpoint.
#[derive(Clone, Debug)]
pub enum Landed {
    /// It is in the table by this call.
    Committed {
        /// The table with it.
        table: Table,
        /// Its snapshot.
        snapshot_id: i64,
        /// Attempts that lost to commits of others.
        retries: u32,
    },
    /// It was in the table already.
    Before(Table),
    /// It has no rows and was not worth a snapshot.
    Quiet,
}

impl Landed {
    /// The same after some attempts more that lost to commits of others.
    #[must_use]
    pub fn after(mut self, lost: u32) -> Self {
        if let Self::Committed { retries, .. } = &mut self {
            *retries += lost;
        }
        self
    }
}

/// What recovery found of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Where to go on; `None`: from the start.
    pub ledger: Option<Ledger>,
    /// Set if the table was rolled back under the sink: the checkpoint it had been at.
    pub rolled_back_from: Option<CheckpointId>,
}

/// Commits the checkpoints of one run of a job, in order.
pub struct Committer {
    sinks: Vec<SinkState>,
    epoch: FencingEpoch,
    last_checkpoint_id: CheckpointId,
    /// The checkpoint that is prepared, or that failed on the way: until it has landed nothing comes after it, since that
    /// would leave out its rows.
    under_way: Option<CheckpointId>,
}

/// A sink as this run left it.
#[derive(Debug)]
struct SinkState {
    sink: Sink,
    /// The sink's newest entry: the next commit must find it newest still.
    newest: Option<LedgerEntry>,
    /// The positions of that entry.
    positions: SourcePositions,
    /// Checkpoints since then that moved the positions.
    quiet_checkpoints: u32,
    /// This run's fence is in the table: from then on nobody else has this epoch there.
    has_fenced: bool,
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sinks: Vec<_> = self.sinks.iter().map(|state| state.sink.id.to_string()).collect();
        let mut debug = f.debug_struct("Committer");
        debug.field("sinks", &sinks).field("epoch", &self.epoch).field("checkpoint", &self.last_checkpoint_id);
        debug.finish()
    }
}

impl Committer {
    /// The run.
    pub fn epoch(&self) -> FencingEpoch {
        self.epoch
    }

    /// The last checkpoint in the tables.
    pub fn last_checkpoint(&self) -> CheckpointId {
        self.last_checkpoint_id
    }

    /// How many sinks it has, those that were added included.
    pub fn sinks(&self) -> usize {
        self.sinks.len()
    }

    /// The name of a sink, by its index in [`Committer::recover`].
    pub fn sink(&self, sink: usize) -> &SinkId {
        &self.sinks[sink].sink.id
    }

    /// The door to the table of a sink, by its index in [`Committer::recover`].
    pub fn queue(&self, sink: usize) -> &Arc<CommitQueue> {
        &self.sinks[sink].sink.queue
    }

    /// Makes the committable of a checkpoint out of what each sink has flushed, in the order of the sinks; `None` if none
    /// has anything worth a snapshot. `is_last`: positions that moved are worth one, since no checkpoint comes after.
    ///
    /// # Errors
    /// [`Error::CheckpointOrder`], [`Error::SplitLost`] and [`Error::WatermarkRegressed`] for a checkpoint that can't
    /// follow the last one; what keeps a long list of positions from being stored.
    pub async fn prepare(
        &mut self,
        checkpoint_id: CheckpointId,
        flushed: Vec<Flushed>,
        is_last: bool,
    ) -> Result<Option<Committable>> {
        assert_eq!(flushed.len(), self.sinks.len(), "every sink has flushed, if only nothing");
        self.check_order(checkpoint_id)?;
        self.under_way = Some(checkpoint_id);
        for (state, flushed) in self.sinks.iter().zip(&flushed) {
            state.check_follows(flushed)?;
        }
        let wanted = self.worth_a_snapshot(&flushed, is_last);
        let mut sinks = Vec::new();
        for ((state, flushed), _) in self.sinks.iter().zip(flushed).zip(wanted).filter(|(_, wanted)| *wanted) {
            sinks.push(state.prepare(self.epoch, checkpoint_id, flushed).await?);
        }
        if sinks.is_empty() {
            self.under_way = None;
            return Ok(None);
        }
        let mut committable = Committable { checkpoint_id, sinks };
        if self.transactions(&committable).len() > 1 {
            check_can_be_stored(&committable)?;
            self.store(&mut committable).await?;
        }
        Ok(Some(committable))
    }

    /// Commits a prepared checkpoint; says what became of it for each sink, in their order.
    ///
    /// # Errors
    /// [`Error::Fenced`] if a newer run took over; [`Error::NotContiguous`] or [`Error::Conflict`] if the table was
    /// rolled back or can't take it. After any error the checkpoint may be in the tables: only a new
    /// [`Committer::recover`] tells, or another commit of the same committable.
    pub async fn commit(&mut self, committable: &Committable) -> Result<Vec<Landed>> {
        let turns = self.turns_of(&committable.sinks).await;
        self.commit_in_turns(&turns, committable).await
    }

    /// Waits for a turn at the tables of all sinks. What is worked out in it, such as the deletes of upserts, is committed in
    /// it ([`Committer::commit_in_turns`]): then no compaction of this process comes between.
    pub async fn turns(&self) -> Turns {
        Turns::take(self.sinks.iter().map(|state| state.sink.queue.as_ref())).await
    }

    /// As [`Committer::commit`], in turns that the caller has.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    pub async fn commit_in_turns(&mut self, turns: &Turns, committable: &Committable) -> Result<Vec<Landed>> {
        if self.under_way.is_some_and(|id| id != committable.checkpoint_id) {
            self.check_order(committable.checkpoint_id)?;
        }
        let mut landed: Vec<Landed> = self.sinks.iter().map(|_| Landed::Quiet).collect();
        let checkpoint_id = committable.checkpoint_id;
        let transactions = self.transactions(committable);
        let count = transactions.len();
        for (number, sinks) in transactions.into_iter().enumerate() {
            let parts: Vec<_> = sinks.iter().map(|index| (self.index_of(&committable.sinks[*index]), *index)).collect();
            let committables = parts.iter().map(|(_, index)| &committable.sinks[*index]).collect::<Vec<_>>();
            let ends = self.land(turns, &committables).await?;
            for ((state, index), end) in parts.into_iter().zip(ends) {
                self.remember(state, &committable.sinks[index]).await;
                landed[state] = end;
            }
            if number + 1 < count {
                self.env().steps.reach(Step::SinkCommitted)?;
            }
        }
        self.last_checkpoint_id = checkpoint_id;
        self.under_way = None;
        self.env().steps.reach(Step::CheckpointCommitted)?;
        Ok(landed)
    }

    fn check_order(&self, given: CheckpointId) -> Result<()> {
        let last = self.under_way.unwrap_or(self.last_checkpoint_id);
        match self.under_way.is_none() && given > last {
            true => Ok(()),
            false => Err(Error::CheckpointOrder { given: given.0, last: last.0 }),
        }
    }

    fn env(&self) -> &frazil_storage::Env {
        self.sinks[0].sink.queue.env()
    }

    fn index_of(&self, part: &SinkCommittable) -> usize {
        let found = self.sinks.iter().position(|state| state.sink.id == part.sink);
        found.expect("a committable is committed by the committer that prepared it")
    }

    /// Which sinks have something to commit. A sink goes with those that follow it.
    fn worth_a_snapshot(&mut self, flushed: &[Flushed], is_last: bool) -> Vec<bool> {
        let mut wanted: Vec<bool> = flushed.iter().map(Flushed::changes_rows).collect();
        for index in 0..wanted.len() {
            if let Some(followed) = self.sinks[index].sink.follows.filter(|_| wanted[index]) {
                wanted[followed] = true;
            }
        }
        for (index, state) in self.sinks.iter_mut().enumerate() {
            let moved = state.sink.follows.is_none() && flushed[index].positions != state.positions;
            state.quiet_checkpoints += u32::from(moved);
            wanted[index] |= moved && (is_last || state.quiet_checkpoints >= QUIET_CHECKPOINTS_MAX);
        }
        wanted
    }

    /// The parts of a committable, as indices, grouped by what one catalog commits at once. In the order of the sinks, so
    /// that a part that decides never comes after one that follows.
    fn transactions(&self, committable: &Committable) -> Vec<Vec<usize>> {
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, part) in committable.sinks.iter().enumerate() {
            groups.entry(self.group_of(self.index_of(part))).or_default().push(index);
        }
        groups.into_values().collect()
    }

    /// The index of the first sink that commits in one request with this one.
    fn group_of(&self, index: usize) -> usize {
        let queue = &self.sinks[index].sink.queue;
        let together = |other: &CommitQueue| {
            Arc::ptr_eq(queue.catalog(), other.catalog())
                && (queue.ident() == other.ident() || queue.catalog().has_transactions())
        };
        let first = self.sinks.iter().position(|state| together(&state.sink.queue));
        first.expect("a sink commits together with itself")
    }

    /// Writes the committable where the ledger of its first part names it.
    async fn store(&self, committable: &mut Committable) -> Result<()> {
        let mut tables = BTreeMap::new();
        for part in &committable.sinks {
            let queue = &self.sinks[self.index_of(part)].sink.queue;
            tables.insert(part.sink.clone(), queue.load().await?);
        }
        let bytes = committable.to_json(|sink| &tables[sink])?;
        let first = &mut committable.sinks[0];
        let stored = StoredFile::store(self.env(), &tables[&first.sink], "committable", bytes).await?;
        self.env().steps.reach(Step::CommittableWritten)?;
        first.entry.committable = Some(stored);
        Ok(())
    }

    /// Notes that a part is in its table.
    async fn remember(&mut self, index: usize, part: &SinkCommittable) {
        let env = self.env().clone();
        let state = &mut self.sinks[index];
        let before = state.newest.replace(part.entry.clone()).and_then(|entry| entry.committable);
        state.quiet_checkpoints = 0;
        if let Some(positions) = part.to.as_ref() {
            state.positions.clone_from(positions);
        }
        // Every table has the checkpoint of before: nobody will look for its committable again.
        if let Some(stored) = before.filter(|before| part.entry.committable.as_ref() != Some(before))
            && let Err(error) = env.store.delete(&stored.location).await
        {
            tracing::warn!(%error, "a committable that nothing names stays as an orphan");
        }
    }
}

/// Deletes hold for one state of a table, so they can't be kept for another process to commit.
fn check_can_be_stored(committable: &Committable) -> Result<()> {
    match committable.sinks.iter().find(|part| !part.deletes.is_empty()) {
        None => Ok(()),
        Some(part) => Err(Error::Table(frazil_table::Error::InvalidChange(format!(
            "{} upserts, and the job's tables are of several catalogs; write the others in a job of their own",
            part.sink
        )))),
    }
}

impl SinkState {
    fn check_follows(&self, flushed: &Flushed) -> Result<()> {
        let sink = self.sink.id.to_string();
        if self.sink.follows.is_some() {
            return Ok(());
        }
        if let Some(split) = self.positions.keys().find(|split| !flushed.positions.contains_key(*split)) {
            return Err(Error::SplitLost { sink, split: split.clone() });
        }
        let before = self.newest.as_ref().and_then(|entry| entry.watermark_ms);
        match (before, flushed.watermark_ms) {
            (Some(from_ms), Some(to_ms)) if to_ms < from_ms => Err(Error::WatermarkRegressed { sink, from_ms, to_ms }),
            _ => Ok(()),
        }
    }

    async fn prepare(&self, epoch: FencingEpoch, id: CheckpointId, flushed: Flushed) -> Result<SinkCommittable> {
        let env = self.sink.queue.env();
        let before = self.newest.as_ref().and_then(|entry| entry.watermark_ms);
        Ok(SinkCommittable {
            sink: self.sink.id.clone(),
            table: self.sink.queue.ident().clone(),
            after: self.newest.as_ref().map(|entry| entry.snapshot_id),
            from: self.newest.as_ref().map(|entry| entry.positions.clone()),
            entry: LedgerEntry {
                snapshot_id: env.ids.snapshot_id(),
                fencing_epoch: epoch,
                checkpoint_id: id,
                positions: self.store_positions(&flushed.positions).await?,
                watermark_ms: flushed.watermark_ms.or(before),
                committable: None,
                counts: flushed.counts,
                definition: self.sink.definition.as_ref().map(|definition| definition.fingerprint.clone()),
            },
            files: flushed.files,
            evolution: flushed.evolution,
            deletes: flushed.deletes,
            to: Some(flushed.positions),
        })
    }

    async fn store_positions(&self, positions: &SourcePositions) -> Result<StoredPositions> {
        let json = serde_json::to_vec(positions).expect("a map of strings has a JSON form");
        if json.len() <= INLINE_BYTES_MAX {
            return Ok(StoredPositions::Inline(positions.clone()));
        }
        let queue = &self.sink.queue;
        let stored = StoredFile::store(queue.env(), &queue.load().await?, "state", json).await?;
        queue.env().steps.reach(Step::StateWritten)?;
        Ok(StoredPositions::State(stored))
    }

    /// An empty part: what fences.
    async fn prepare_fence(&self, epoch: FencingEpoch, id: CheckpointId) -> Result<SinkCommittable> {
        let watermark_ms = self.newest.as_ref().and_then(|entry| entry.watermark_ms);
        let (positions, counts) = (self.positions.clone(), RowCounts::default());
        let flushed = Flushed { positions, watermark_ms, counts, ..Flushed::default() };
        let mut fence = self.prepare(epoch, id, flushed).await?;
        // What the other tables may lack is still to be found if this run ends before they have it.
        fence.entry.committable = self.newest.as_ref().and_then(|entry| entry.committable.clone());
        Ok(fence)
    }
}

#[cfg(test)]
mod tests;
