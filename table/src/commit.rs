//! From a state and its changes to the snapshots, manifests and metadata updates of one pointer swap.
//!
//! The steps, all pure:
//! 1. each change is applied to the working listing of manifests, which begins as the state's;
//! 2. a change of files makes a snapshot whose parent is the one before it, with the working listing as its manifests;
//! 3. the catalog is told what must still be true (requirements) and what changes (updates).
//!
//! A manifest that only adds files does not depend on the snapshot below it, so a retry reuses it: [`CommitIdentity`]
//! keeps the snapshot ids and the names over all attempts of a commit.

mod evolved;

use std::collections::HashMap;
use std::fmt;

use frazil_storage::Env;
use uuid::Uuid;

use crate::change::SnapshotProperties;
use crate::evolve::Described;
use crate::manifest_set::{ManifestSet, Removal};
use crate::spec::{
    DataContentType, DataFile, FormatVersion, ManifestContentType, ManifestFile, ManifestStatus, Operation,
    SnapshotReference, SnapshotRetention, TableRequirement, TableUpdate,
};
use crate::summary::SummaryTotals;
use crate::{Change, Conflict, Error, Result, Table, TableFile, TableState, layout};

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
    /// What changes in the metadata besides the new snapshots.
    pub updates: Vec<TableUpdate>,
    /// The branch that moves.
    pub ref_name: String,
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

/// Plans one pointer swap.
///
/// Cost: linear in the manifests of the table; a replace also looks at the entries of all data manifests.
///
/// # Errors
/// `Ok(Err(conflict))` if the state can't take the change any more; [`Error::InvalidChange`] if no state could.
pub fn plan_commit(
    state: &TableState,
    changes: &[Change],
    identity: &CommitIdentity,
    now_ms: i64,
) -> Result<std::result::Result<CommitPlan, Conflict>> {
    let evolved = evolved::evolve(state, changes)?;
    let mut planner = Planner::new(evolved.state(state), identity, now_ms);
    for change in changes {
        if let Err(conflict) = planner.apply(change)? {
            return Ok(Err(conflict));
        }
    }
    let plan = planner.finish(state.snapshot_id());
    Ok(Ok(evolved.complete(plan)))
}

struct Planner<'a> {
    state: &'a TableState,
    identity: &'a CommitIdentity,
    now_ms: i64,
    working: ManifestSet<'a>,
    snapshots: Vec<SnapshotPlan>,
    updates: Vec<TableUpdate>,
    expires: bool,
    totals: SummaryTotals,
}

impl<'a> Planner<'a> {
    fn new(state: &'a TableState, identity: &'a CommitIdentity, now_ms: i64) -> Self {
        Self {
            state,
            identity,
            now_ms,
            working: ManifestSet::new(state),
            snapshots: Vec::new(),
            updates: Vec::new(),
            expires: false,
            totals: SummaryTotals::of(state.snapshot().map(|s| s.summary())),
        }
    }

    fn apply(&mut self, change: &Change) -> Result<std::result::Result<(), Conflict>> {
        match change {
            Change::Append { files, properties } => {
                check_added(self.state, files, DataContentType::Data)?;
                let snapshot = self.begin_snapshot()?;
                self.working.add(files, &snapshot, None, self.identity, true)?;
                self.working.merge_small(&snapshot, self.identity)?;
                self.totals.begin(files);
                self.end_snapshot(snapshot, Operation::Append, properties);
            }
            Change::Replace { removed, added, data_sequence_number, base_snapshot_id, properties } => {
                check_added(self.state, added, DataContentType::Data)?;
                self.check_replace_possible()?;
                if let Err(conflict) = crate::check_replace(self.state, removed, *base_snapshot_id)? {
                    return Ok(Err(conflict));
                }
                let snapshot = self.begin_snapshot()?;
                let removal = self.working.remove(removed, &snapshot, self.identity)?;
                let removed_files = match removal {
                    Removal::Missing(path) => return Ok(Err(Conflict::FileGone { path })),
                    Removal::Removed(files) => files,
                };
                self.working.add(added, &snapshot, Some(*data_sequence_number), self.identity, false)?;
                self.totals.begin(added);
                self.totals.remove(&removed_files);
                self.end_snapshot(snapshot, Operation::Replace, properties);
            }
            Change::ExpireSnapshots { snapshot_ids } => {
                self.expires = true;
                self.updates.push(TableUpdate::RemoveSnapshots { snapshot_ids: snapshot_ids.clone() });
            }
            Change::SetProperties(updates) => {
                self.updates.push(TableUpdate::SetProperties { updates: updates.clone() });
            }
            Change::RemoveProperties(removals) => {
                self.updates.push(TableUpdate::RemoveProperties { removals: removals.clone() });
            }
            // Planned before, by `evolved::evolve`: this planner works on its outcome.
            Change::Metadata(_) => {}
        }
        Ok(Ok(()))
    }

    /// A rewrite of a v3 table must carry every row's id along (Iceberg spec, "Row Lineage").
    fn check_replace_possible(&self) -> Result<()> {
        if self.state.table().metadata().format_version() >= FormatVersion::V3 {
            return Err(Error::InvalidChange(
                "a format version 3 table can't be rewritten yet: the row ids would change".to_owned(),
            ));
        }
        Ok(())
    }

    fn begin_snapshot(&self) -> Result<SnapshotPlan> {
        let metadata = self.state.table().metadata();
        let index = self.snapshots.len();
        let snapshot_id = *self
            .identity
            .snapshot_ids
            .get(index)
            .ok_or_else(|| Error::InvalidChange(format!("no id was drawn for snapshot {index} of the commit")))?;
        let below = self.snapshots.last();
        let parent_id = below.map(|s| s.snapshot_id).or_else(|| self.state.snapshot_id());
        let sequence_number = match metadata.format_version() {
            FormatVersion::V1 => 0,
            _ => below.map_or(metadata.last_sequence_number(), |s| s.sequence_number) + 1,
        };
        let file_id = format!("{}-{}", self.identity.attempt, self.identity.uuid);
        Ok(SnapshotPlan {
            snapshot_id,
            parent_id,
            sequence_number,
            timestamp_ms: self.now_ms.max(metadata.last_updated_ms()),
            operation: Operation::Append,
            summary: HashMap::new(),
            manifests: Vec::new(),
            manifest_list: layout::manifest_list_location(metadata, &file_id, snapshot_id),
        })
    }

    fn end_snapshot(&mut self, mut snapshot: SnapshotPlan, operation: Operation, properties: &SnapshotProperties) {
        snapshot.operation = operation;
        snapshot.manifests = self.working.list();
        snapshot.summary = self.totals.end();
        snapshot.summary.extend(properties.iter().map(|(k, v)| (k.clone(), v.clone())));
        snapshot.summary.insert(OPERATION_ID.to_owned(), self.identity.uuid.to_string());
        self.snapshots.push(snapshot);
    }

    /// `base_snapshot_id` is the head of the branch as it was loaded, which a replaced table has no more.
    fn finish(self, base_snapshot_id: Option<i64>) -> CommitPlan {
        let metadata = self.state.table().metadata();
        let mut requirements = vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }];
        let mut require = |ref_name: &str, snapshot_id| {
            let requirement = TableRequirement::RefSnapshotIdMatch { r#ref: ref_name.to_owned(), snapshot_id };
            if !requirements.contains(&requirement) {
                requirements.push(requirement);
            }
        };
        if !self.snapshots.is_empty() {
            require(self.state.ref_name(), base_snapshot_id);
        }
        if self.expires {
            for (name, reference) in self.state.table().refs() {
                require(name, Some(reference.snapshot_id));
            }
        }
        CommitPlan {
            snapshots: self.snapshots,
            manifests: self.working.into_new_manifests(),
            requirements,
            updates: self.updates,
            ref_name: self.state.ref_name().to_owned(),
            evolution: None,
        }
    }
}

impl Change {
    /// Whether it adds a snapshot to the table.
    pub fn makes_snapshot(&self) -> bool {
        matches!(self, Change::Append { .. } | Change::Replace { .. })
    }

    /// Whether planning it looks at the entries of the table's data manifests.
    pub(crate) fn reads_entries(&self) -> bool {
        matches!(self, Change::Replace { .. })
    }
}

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
        let head = self.snapshots.last()?;
        let retention = state
            .table()
            .refs()
            .get(&self.ref_name)
            .map_or_else(|| SnapshotRetention::branch(None, None, None), |reference| reference.retention.clone());
        let reference = SnapshotReference::new(head.snapshot_id, retention);
        Some(TableUpdate::SetSnapshotRef { ref_name: self.ref_name.clone(), reference })
    }
}

fn check_added(state: &TableState, files: &[TableFile], content: DataContentType) -> Result<()> {
    let metadata = state.table().metadata();
    let mut paths = std::collections::HashSet::new();
    for TableFile { file, partition_spec_id } in files {
        let path = file.file_path();
        if file.content_type() != content {
            return Err(Error::InvalidChange(format!("{path} holds {:?}", file.content_type())));
        }
        if !paths.insert(path) {
            return Err(Error::InvalidChange(format!("{path} is added twice")));
        }
        if metadata.partition_spec_by_id(*partition_spec_id).is_none() {
            let reason = format!("{path} was written with partition spec {partition_spec_id}, which the table lacks");
            return Err(Error::InvalidChange(reason));
        }
    }
    Ok(())
}

impl fmt::Display for CommitPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for update in self.evolution.iter().flat_map(|evolution| &evolution.updates) {
            writeln!(f, "{}", Described(update))?;
        }
        for snapshot in &self.snapshots {
            let new = snapshot.manifests.iter().filter(|m| matches!(m, ManifestRef::New(_))).count();
            writeln!(
                f,
                "{} snapshot on {}: {} manifests, {new} of them new; {} files added, {} removed",
                snapshot.operation.as_str(),
                self.ref_name,
                snapshot.manifests.len(),
                snapshot.summary.get("added-data-files").map_or("0", String::as_str),
                snapshot.summary.get("deleted-data-files").map_or("0", String::as_str),
            )?;
        }
        for update in &self.updates {
            writeln!(f, "{}", Described(update))?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
