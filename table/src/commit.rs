//! From a state and its changes to the snapshots, manifests and metadata updates of one pointer swap.
//!
//! The steps, all pure:
//! 1. each change is applied to the working listing of manifests, which begins as the state's;
//! 2. a change of files makes a snapshot whose parent is the one before it, with the working listing as its manifests;
//! 3. the catalog is told what must still be true (requirements) and what changes (updates).
//!
//! A manifest that only adds files does not depend on the snapshot below it, so a retry reuses it: [`CommitIdentity`]
//! keeps the snapshot ids and the names over all attempts of a commit.

use std::collections::HashMap;
use std::fmt;

use frazil_storage::Env;
use uuid::Uuid;

use crate::evolve::Described;
use crate::promotion::Promotions;
use crate::spec::{
    DataFile, FormatVersion, ManifestContentType, ManifestFile, ManifestStatus, Operation, SnapshotReference,
    SnapshotRetention, TableRequirement, TableUpdate,
};
use crate::{Change, Conflict, Error, Result, Table, TableState};

mod checks;
mod evolved;
mod overwrite;
mod planner;
mod rewrite;
mod row_delta;

use planner::Planner;

pub use evolved::Evolution;

/// What stays the same over all attempts of one commit.
#[derive(Clone, Debug)]
pub struct CommitIdentity {
    /// Part of every file name of the commit; in the summary of its snapshots as `frazil.operation-id`.
    pub uuid: Uuid,
    /// One for each change that makes a snapshot.
    pub snapshot_ids: Vec<i64>,
    /// Counts from 0.
    pub attempt: u32,
}

/// The summary key that says which commit made a snapshot.
pub const OPERATION_ID: &str = "frazil.operation-id";

impl CommitIdentity {
    /// Draws the ids for changes.
    pub fn of(env: &Env, changes: &[Change]) -> Self {
        Self::draw(env, changes.iter().filter(|change| change.makes_snapshot()).count())
    }

    /// Draws ids for a commit that makes `snapshots` snapshots.
    pub fn draw(env: &Env, snapshots: usize) -> Self {
        Self { uuid: env.ids.uuid(), snapshot_ids: (0..snapshots).map(|_| env.ids.snapshot_id()).collect(), attempt: 0 }
    }
}

/// Everything that one pointer swap will do. Prints as a summary for a person.
#[derive(Clone, Debug)]
pub struct CommitPlan {
    /// New snapshots, oldest first; each is the parent of the next.
    pub snapshots: Vec<SnapshotPlan>,
    /// New manifests, named by their index in [`ManifestRef::New`].
    pub manifests: Vec<ManifestPlan>,
    /// What must still be true when the pointer moves.
    pub requirements: Vec<TableRequirement>,
    /// What changes in the metadata besides the new snapshots, in order.
    pub updates: Vec<TableUpdate>,
    /// The branch on which the snapshots are.
    pub ref_name: String,
    /// Whether the branch moves to the last of them. A staged snapshot moves none.
    pub moves_ref: bool,
    /// What the commit's changes of metadata do, before everything else.
    pub evolution: Option<Evolution>,
}

/// One new snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotPlan {
    /// Its id.
    pub snapshot_id: i64,
    /// The snapshot below it.
    pub parent_id: Option<i64>,
    /// One more than its parent's (Iceberg spec, "Optimistic Concurrency and Sequence Numbers").
    pub sequence_number: i64,
    /// Milliseconds since the Unix epoch, never before its parent's.
    pub timestamp_ms: i64,
    /// The table's, with the commit's changes of metadata.
    pub format_version: FormatVersion,
    /// The current schema, with the commit's changes of metadata.
    pub schema_id: i32,
    /// In format version 3, the first row id that it may give out and how many it gives out.
    pub row_range: Option<(u64, u64)>,
    /// What it does.
    pub operation: Operation,
    /// Counts and properties, without the operation.
    pub summary: HashMap<String, String>,
    /// Its manifests, new ones first.
    pub manifests: Vec<ManifestRef>,
    /// Where its manifest list goes.
    pub manifest_list: String,
}

/// A manifest in a snapshot's list.
#[derive(Clone, Debug)]
pub enum ManifestRef {
    /// One that is stored already.
    Stored(ManifestFile),
    /// One that this commit writes: an index into [`CommitPlan::manifests`].
    New(usize),
}

/// One new manifest.
#[derive(Clone, Debug)]
pub struct ManifestPlan {
    /// Where it goes.
    pub location: String,
    /// Data or deletes.
    pub content: ManifestContentType,
    /// The partition spec of all its files.
    pub partition_spec_id: i32,
    /// The snapshot that adds it.
    pub snapshot_id: i64,
    /// That snapshot's sequence number.
    pub sequence_number: i64,
    /// That snapshot's format version.
    pub format_version: FormatVersion,
    /// The first row id of those that its entries inherit: from version 3 on, for data, once a snapshot lists it.
    pub first_row_id: Option<u64>,
    /// Its entries.
    pub entries: Vec<PlannedEntry>,
    /// Whether a retry on another base would write the same bytes.
    pub reusable: bool,
}

/// One entry of a new manifest (Iceberg spec, "Manifest Entry Fields").
#[derive(Clone, Debug)]
pub struct PlannedEntry {
    /// Added, existing or deleted.
    pub status: ManifestStatus,
    /// The snapshot that added the file, or this one for a deleted entry.
    pub snapshot_id: i64,
    /// `None`: inherited from the snapshot.
    pub data_sequence_number: Option<i64>,
    /// `None`: inherited from the snapshot.
    pub file_sequence_number: Option<i64>,
    /// The file.
    pub file: DataFile,
}

/// A commit whose files are written: what the catalog has to be told.
#[derive(Clone, Debug)]
pub struct PreparedCommit {
    /// What must still be true when the pointer moves.
    pub requirements: Vec<TableRequirement>,
    /// What changes: metadata first, then snapshots.
    pub updates: Vec<TableUpdate>,
    /// Ids of the new snapshots, oldest first.
    pub snapshot_ids: Vec<i64>,
    /// Manifest lists and manifests that only this attempt uses: garbage if it ends in a proven conflict.
    pub attempt_files: Vec<String>,
}

/// Plans one pointer swap. The state must have been loaded for these changes ([`crate::io::load_state_for`]).
///
/// Cost: linear in the manifests of the table, in the entries of those that a change looks at, and in what other commits
/// did since the bases of the changes.
///
/// # Errors
/// `Ok(Err(conflict))` if the state can't take the change any more; [`Error::InvalidChange`] and
/// [`Error::DeletesNotAbsorbed`] if no state could.
pub fn plan_commit(
    state: &TableState,
    changes: &[Change],
    identity: &CommitIdentity,
    now_ms: i64,
) -> Result<std::result::Result<CommitPlan, Conflict>> {
    let evolved = evolved::evolve(state, changes)?;
    let mut planner = Planner::new(evolved.state(state), identity, now_ms)?;
    let changes = Promotions::of(evolved.state(state).table().metadata()).widen_changes(changes);
    for change in changes.iter() {
        match planner.apply(change) {
            Ok(()) => {}
            Err(Stop::Conflict(conflict)) => return Ok(Err(conflict)),
            Err(Stop::Error(error)) => return Err(error),
        }
    }
    let plan = planner.finish(state.snapshot_id());
    Ok(Ok(evolved.complete(plan)))
}

/// Why planning ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    Conflict(Conflict),
    Error(Error),
}

impl From<Conflict> for Stop {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// How planning a part of a commit ends.
pub(crate) type Planned<T = ()> = std::result::Result<T, Stop>;

impl PreparedCommit {
    /// Whether the table is as the commit would have left it. A commit without a snapshot leaves no other mark, so this is
    /// how it is found again after an answer that never came.
    pub fn has_outcome_in(&self, table: &Table) -> bool {
        crate::evolve::has_outcome(table, &self.updates)
    }
}

impl CommitPlan {
    /// The update that moves the branch to the last new snapshot. The branch's retention stays as it is.
    pub(crate) fn ref_update(&self, state: &TableState) -> Option<TableUpdate> {
        let head = self.snapshots.last().filter(|_| self.moves_ref)?;
        let retention = state
            .table()
            .refs()
            .get(&self.ref_name)
            .map_or_else(|| SnapshotRetention::branch(None, None, None), |reference| reference.retention.clone());
        let reference = SnapshotReference::new(head.snapshot_id, retention);
        Some(TableUpdate::SetSnapshotRef { ref_name: self.ref_name.clone(), reference })
    }
}

impl fmt::Display for CommitPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for update in self.evolution.iter().flat_map(|evolution| &evolution.updates) {
            writeln!(f, "{}", Described(update))?;
        }
        for snapshot in &self.snapshots {
            let new = snapshot.manifests.iter().filter(|m| matches!(m, ManifestRef::New(_))).count();
            let count = |key: &str| snapshot.summary.get(key).map_or("0", String::as_str);
            write!(
                f,
                "{} snapshot {} {}: {} manifests, {new} of them new; {} files added, {} removed",
                snapshot.operation.as_str(),
                if self.moves_ref { "on" } else { "staged above" },
                self.ref_name,
                snapshot.manifests.len(),
                count("added-data-files"),
                count("deleted-data-files"),
            )?;
            match (count("added-delete-files"), count("removed-delete-files")) {
                ("0", "0") => writeln!(f)?,
                (added, removed) => writeln!(f, "; {added} delete files added, {removed} removed")?,
            }
        }
        for update in &self.updates {
            writeln!(f, "{}", Described(update))?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
