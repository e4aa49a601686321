//! The one that makes a sink's files part of the table, each checkpoint exactly once.
//!
//! 1. [`Committer::recover`] reads the sink's standing off the table and fences: an empty snapshot with the next epoch.
//!    From then on no commit of an older run can land, since each requires the history it saw.
//! 2. [`Committer::commit`] appends a checkpoint's files together with its ledger. What counts as "landed already" is the
//!    checkpoint's identity in the history of `main`, looked for before every attempt.
//! 3. A checkpoint without rows makes no snapshot. Its positions wait for the next one with rows, at most
//!    [`QUIET_CHECKPOINTS_MAX`] checkpoints long.

use std::sync::Arc;

use frazil_catalog::{CommitEnd, CommitQueue, Precheck};
use frazil_storage::Step;
use frazil_table::{Change, CommitIdentity, Conflict, Table, TableFile, layout};
use sha2::{Digest, Sha256};

use crate::ledger::{
    CheckpointId, FencingEpoch, INLINE_BYTES_MAX, Ledger, LedgerEntry, SinkId, SourcePositions, Standing,
    StoredPositions, standing,
};
use crate::{Error, Result};

/// Checkpoints in a row that moved the sources without a row for the table before the positions are committed alone.
pub const QUIET_CHECKPOINTS_MAX: u32 = 10;

/// Everything of one checkpoint that goes into the table.
#[derive(Clone, Debug)]
pub struct Committable {
    /// The checkpoint. Greater than every one before it.
    pub checkpoint_id: CheckpointId,
    /// Durable data files that no snapshot names yet.
    pub files: Vec<TableFile>,
    /// Where each source goes on after the checkpoint.
    pub positions: SourcePositions,
    /// Event time up to which the stream is complete.
    pub watermark_ms: Option<i64>,
}

/// What became of a checkpoint.
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

/// What recovery found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Where to go on; `None`: from the start.
    pub ledger: Option<Ledger>,
    /// Set if the table was rolled back under the sink: the checkpoint it had been at.
    pub rolled_back_from: Option<CheckpointId>,
}

/// Commits the checkpoints of one run of one sink, in order.
#[derive(Debug)]
pub struct Committer {
    queue: Arc<CommitQueue>,
    sink: SinkId,
    epoch: FencingEpoch,
    /// The snapshot of the sink's newest entry: the next commit must find it newest still.
    last_snapshot_id: Option<i64>,
    last_checkpoint_id: CheckpointId,
    positions: SourcePositions,
    quiet_checkpoints: u32,
    /// The fence is in the table: from then on nobody else has this epoch.
    has_fenced: bool,
}

impl Committer {
    /// Finds out how far the sink had come, and shuts out every earlier run.
    ///
    /// # Errors
    /// [`Error::Undecidable`] if the table can't tell; [`Error::Fenced`] if a newer run fenced meanwhile.
    pub async fn recover(queue: Arc<CommitQueue>, sink: SinkId) -> Result<(Self, Recovered)> {
        let table = queue.load().await?;
        let (entry, rolled_back_from, epoch_seen) = match standing(&table, &sink)? {
            Standing::New => (None, None, FencingEpoch(0)),
            Standing::At(entry) => {
                let epoch = entry.fencing_epoch;
                (Some(entry), None, epoch)
            }
            Standing::RolledBack { to, from } => (to, Some(from.checkpoint_id), from.fencing_epoch),
            Standing::Undecidable { mirror } => {
                return Err(Error::Undecidable {
                    table: queue.ident().to_string(),
                    sink: sink.to_string(),
                    checkpoint_id: mirror.checkpoint_id.0,
                });
            }
        };
        let ledger = match &entry {
            Some(entry) => Some(load_ledger(&queue, &sink, entry).await?),
            None => None,
        };
        let checkpoint_id = ledger.as_ref().map_or(CheckpointId(0), |ledger| ledger.checkpoint_id);
        let mut committer = Self {
            queue,
            sink,
            epoch: FencingEpoch(epoch_seen.0 + 1),
            last_snapshot_id: entry.map(|entry| entry.snapshot_id),
            last_checkpoint_id: checkpoint_id,
            positions: ledger.as_ref().map(|l| l.positions.clone()).unwrap_or_default(),
            quiet_checkpoints: 0,
            has_fenced: false,
        };
        let fence = Committable {
            // After a rollback the checkpoints between are gone from the history: their numbers are not used again.
            checkpoint_id: checkpoint_id.max(rolled_back_from.unwrap_or_default()),
            files: Vec::new(),
            positions: committer.positions.clone(),
            watermark_ms: ledger.as_ref().and_then(|l| l.watermark_ms),
        };
        committer.append(fence).await?;
        committer.has_fenced = true;
        committer.queue.env().steps.reach(Step::FenceCommitted)?;
        let ledger = ledger.map(|ledger| Ledger { checkpoint_id: committer.last_checkpoint_id, ..ledger });
        Ok((committer, Recovered { ledger, rolled_back_from }))
    }

    /// The run.
    pub fn epoch(&self) -> FencingEpoch {
        self.epoch
    }

    /// The last checkpoint in the table.
    pub fn last_checkpoint(&self) -> CheckpointId {
        self.last_checkpoint_id
    }

    /// The door to the table.
    pub fn queue(&self) -> &Arc<CommitQueue> {
        &self.queue
    }

    /// Commits one checkpoint.
    ///
    /// # Errors
    /// [`Error::Fenced`] if a newer run took over; [`Error::Conflict`] if the table was rolled back or can't take it.
    /// After any error the checkpoint may be in the table: only a new [`Committer::recover`] tells.
    pub async fn commit(&mut self, committable: Committable) -> Result<Landed> {
        if committable.files.is_empty() {
            let moved = committable.positions != self.positions;
            self.quiet_checkpoints += u32::from(moved);
            if !moved || self.quiet_checkpoints < QUIET_CHECKPOINTS_MAX {
                return Ok(Landed::Quiet);
            }
        }
        let landed = self.append(committable).await?;
        self.queue.env().steps.reach(Step::CheckpointCommitted)?;
        Ok(landed)
    }

    /// Commits the positions alone if they have moved since the last commit. For the end of a run.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    pub async fn commit_positions(&mut self, committable: Committable) -> Result<Landed> {
        if committable.files.is_empty() && committable.positions == self.positions {
            return Ok(Landed::Quiet);
        }
        self.append(committable).await
    }

    async fn append(&mut self, committable: Committable) -> Result<Landed> {
        let env = self.queue.env().clone();
        let identity = CommitIdentity::draw(&env, 1);
        let snapshot_id = identity.snapshot_ids[0];
        let positions = self.store_positions(&committable.positions).await?;
        let entry = LedgerEntry {
            snapshot_id,
            fencing_epoch: self.epoch,
            checkpoint_id: committable.checkpoint_id,
            positions,
            watermark_ms: committable.watermark_ms,
        };
        let changes = [
            Change::Append { files: committable.files, properties: entry.to_summary(&self.sink) },
            Change::SetProperties(entry.to_properties(&self.sink)),
        ];
        let precheck = |table: &Table| self.precheck(table, &entry);
        let end = self.queue.commit(&changes, identity, &precheck).await?;
        let landed = match end {
            CommitEnd::Committed(done) => Landed::Committed { table: done.table, snapshot_id, retries: done.retries },
            CommitEnd::AlreadyLanded(table) => Landed::Before(table),
            CommitEnd::Conflict(conflict) => return Err(self.refused(conflict)),
        };
        self.last_snapshot_id = Some(snapshot_id);
        self.last_checkpoint_id = entry.checkpoint_id;
        self.positions = committable.positions;
        self.quiet_checkpoints = 0;
        Ok(landed)
    }

    /// The table must stand exactly where this run left it: neither a newer run nor a rollback may have come between.
    fn precheck(&self, table: &Table, entry: &LedgerEntry) -> Precheck {
        let newest = match standing(table, &self.sink) {
            Ok(Standing::New) => None,
            Ok(Standing::At(newest)) => Some(newest),
            // Before the fence this is what recovery saw and settled; after it a rollback came under a running job.
            Ok(Standing::RolledBack { to, .. }) => to,
            Ok(Standing::Undecidable { .. }) => {
                return Precheck::Refuse("the table was rolled back while the job ran".to_owned());
            }
            Err(error) => return Precheck::Refuse(error.to_string()),
        };
        let found = newest.as_ref().map(|newest| newest.snapshot_id);
        if found == Some(entry.snapshot_id) {
            Precheck::AlreadyLanded
        } else if found == self.last_snapshot_id {
            Precheck::Proceed
        } else if newest.is_some_and(|newest| self.is_of_newer_run(&newest)) {
            Precheck::Refuse(FENCED.to_owned())
        } else {
            Precheck::Refuse(
                "the table was rolled back while the job ran; start the job again to rewind its sources".to_owned(),
            )
        }
    }

    /// Two runs that start together draw the same epoch: the one that fences first has it.
    fn is_of_newer_run(&self, entry: &LedgerEntry) -> bool {
        entry.fencing_epoch > self.epoch || (entry.fencing_epoch == self.epoch && !self.has_fenced)
    }

    fn refused(&self, conflict: Conflict) -> Error {
        let (table, sink) = (self.queue.ident().to_string(), self.sink.to_string());
        match conflict {
            Conflict::Refused { reason } if reason == FENCED => Error::Fenced { table, sink, epoch: self.epoch.0 },
            conflict => Error::Conflict { table, conflict },
        }
    }

    async fn store_positions(&self, positions: &SourcePositions) -> Result<StoredPositions> {
        let json = serde_json::to_vec(positions).expect("a map of strings has a JSON form");
        if json.len() <= INLINE_BYTES_MAX {
            return Ok(StoredPositions::Inline(positions.clone()));
        }
        let env = self.queue.env();
        let table = self.queue.load().await?;
        let name = format!("frazil-state-{}.json", env.ids.uuid());
        let location = format!("{}/{name}", layout::metadata_root(table.metadata()));
        let sha256 = hex(&Sha256::digest(&json));
        env.store.put_new(&location, json.into()).await?;
        env.steps.reach(Step::StateWritten)?;
        Ok(StoredPositions::State { location, sha256 })
    }
}

const FENCED: &str = "a newer run of the same job has taken over the table";

async fn load_ledger(queue: &CommitQueue, sink: &SinkId, entry: &LedgerEntry) -> Result<Ledger> {
    let positions = match &entry.positions {
        StoredPositions::Inline(positions) => positions.clone(),
        StoredPositions::State { location, sha256 } => {
            let bytes = queue.env().store.read(location).await?;
            let damaged = || Error::DamagedLedger { sink: sink.to_string(), place: location.clone() };
            if hex(&Sha256::digest(&bytes)) != *sha256 {
                return Err(damaged());
            }
            serde_json::from_slice(&bytes).map_err(|_| damaged())?
        }
    };
    Ok(Ledger {
        sink: sink.clone(),
        fencing_epoch: entry.fencing_epoch,
        checkpoint_id: entry.checkpoint_id,
        positions,
        watermark_ms: entry.watermark_ms,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
