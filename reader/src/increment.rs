//! What was appended to a table from one snapshot to another.
//!
//! 1. [`plan_increment`] is pure: it walks the history and says of each snapshot whether it is read or passed over, and
//!    fails where the history can't say what was added: cut by expiry, rolled back, or rows changed.
//! 2. [`load_increment`] reads the manifests that a snapshot added and lists its new data files in order of their paths,
//!    so that a position in the list means the same at every time.

use std::fmt;

use frazil_table::spec::{ManifestContentType, ManifestStatus, Operation, Snapshot};
use frazil_table::{LiveFile, Table, io};
use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};

use crate::plan::FileFilter;
use crate::position::{Part, Position};
use crate::positioned_batch::{PlaceInFile, PositionedBatch};
use crate::{Error, ReadContext, ReadSpec, Result, ScanTask, read_file};

/// Where an increment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncrementStart {
    /// With the table's first snapshot.
    Beginning,
    /// With this snapshot.
    Inclusive(i64),
    /// With the one after this snapshot, which itself need not be retained any more.
    Exclusive(i64),
}

/// What to do about snapshots of kind `overwrite` and `delete`, which change or remove rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRowLevelChange {
    /// Stop with [`Error::RowLevelChange`].
    #[default]
    Fail,
    /// Pass the snapshot over, the rows that it adds as well.
    Skip,
}

/// The snapshots of an increment, oldest first. Prints for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncrementPlan {
    /// Each snapshot and what is done about it.
    pub steps: Vec<IncrementStep>,
}

/// One snapshot of an increment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncrementStep {
    /// The snapshot.
    pub snapshot_id: i64,
    /// What it does.
    pub operation: Operation,
    /// Whether the files that it adds are read.
    pub is_read: bool,
}

/// Finds the snapshots from `start` to `to`, an ancestor chain that ends at `to`.
///
/// `append` snapshots are read; `replace` snapshots hold the same rows as before and are passed over; for all others
/// `policy` says.
///
/// # Errors
/// [`Error::SnapshotsExpired`] if the chain is cut, [`Error::NotAnAncestor`] if `start` is not on it,
/// [`Error::NoSuchSnapshot`] if `to` is not retained, [`Error::RowLevelChange`] by `policy`.
pub fn plan_increment(
    table: &Table,
    start: IncrementStart,
    to: i64,
    policy: OnRowLevelChange,
) -> Result<IncrementPlan> {
    let steps = history_between(table, start, to)?.into_iter().map(|snapshot| step(snapshot, policy));
    Ok(IncrementPlan { steps: steps.collect::<Result<_>>()? })
}

/// The snapshots from `start` to `to`, oldest first.
pub(crate) fn history_between(table: &Table, start: IncrementStart, to: i64) -> Result<Vec<&Snapshot>> {
    let mut ancestors = table.ancestors_of(to);
    let mut chain: Vec<&Snapshot> = Vec::new();
    let mut reached = false;
    for snapshot in ancestors.by_ref() {
        let id = snapshot.snapshot_id();
        if start == IncrementStart::Exclusive(id) {
            reached = true;
            break;
        }
        chain.push(snapshot);
        if start == IncrementStart::Inclusive(id) {
            reached = true;
            break;
        }
    }
    if chain.is_empty() && !reached {
        let hint = "choose one that is retained".to_owned();
        return Err(Error::NoSuchSnapshot { wanted: format!("snapshot {to}"), hint });
    }
    check_start(start, to, reached, ancestors.cut_at())?;
    chain.reverse();
    Ok(chain)
}

/// `cut_at`: the parent that the walk came to last and that is not retained.
fn check_start(start: IncrementStart, to: i64, reached: bool, cut_at: Option<i64>) -> Result<()> {
    let expired = |from: String, missing: i64| Err(Error::SnapshotsExpired { from, missing });
    match (start, cut_at) {
        _ if reached => Ok(()),
        (IncrementStart::Beginning, None) => Ok(()),
        (IncrementStart::Beginning, Some(missing)) => expired("the table's beginning".to_owned(), missing),
        // Its child is still there, and nothing of what came after it is missing.
        (IncrementStart::Exclusive(from), Some(missing)) if from == missing => Ok(()),
        (IncrementStart::Exclusive(from) | IncrementStart::Inclusive(from), None) => {
            Err(Error::NotAnAncestor { from, head: to })
        }
        (IncrementStart::Exclusive(from) | IncrementStart::Inclusive(from), Some(missing)) => {
            expired(format!("snapshot {from}"), missing)
        }
    }
}

pub(crate) fn step(snapshot: &Snapshot, policy: OnRowLevelChange) -> Result<IncrementStep> {
    let (snapshot_id, operation) = (snapshot.snapshot_id(), snapshot.summary().operation.clone());
    let is_read = match (&operation, policy) {
        (Operation::Append, _) => true,
        (Operation::Replace, _) | (_, OnRowLevelChange::Skip) => false,
        (_, OnRowLevelChange::Fail) => return Err(Error::RowLevelChange { snapshot_id, operation }),
    };
    Ok(IncrementStep { snapshot_id, operation, is_read })
}

impl fmt::Display for IncrementPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            let verdict = if step.is_read { "read" } else { "passed over" };
            writeln!(f, "snapshot {} ({}): {verdict}", step.snapshot_id, step.operation.as_str())?;
        }
        Ok(())
    }
}

/// Files of one snapshot, in a stable order.
#[derive(Clone, Debug)]
pub struct Increment {
    /// The snapshot.
    pub snapshot_id: i64,
    /// Its sequence number.
    pub sequence_number: i64,
    /// When it was committed, milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// What it added, or the whole table at it.
    pub part: Part,
    /// The files that are read, in order of their paths.
    pub files: Vec<IncrementFile>,
    /// How many files there are with those that were done before or hold no matching row.
    pub file_count: u64,
}

/// One file of an increment.
#[derive(Clone, Debug)]
pub struct IncrementFile {
    /// Its place among all files of the increment, the same whatever is read of them.
    pub index: u64,
    /// What to read.
    pub task: ScanTask,
}

/// Lists the data files that a snapshot added and that can hold matching rows.
///
/// Cost: the snapshot's manifest list, and those of its manifests that it added itself.
///
/// # Errors
/// [`Error::Table`] if they can't be read.
pub async fn load_increment(
    context: &ReadContext,
    spec: &ReadSpec,
    table: &Table,
    snapshot: &Snapshot,
) -> Result<Increment> {
    let (store, id) = (&context.env.store, snapshot.snapshot_id());
    let manifests = io::load_manifest_list(store, &context.manifests, table.metadata(), snapshot).await?;
    let mut files: Vec<(ScanTask, bool)> = Vec::new();
    let mut filter = FileFilter::new(spec);
    let added = |manifest: &&_| is_added_by(manifest, id);
    for manifest in manifests.iter().filter(added) {
        let entries = io::load_manifest(store, &context.manifests, manifest).await?;
        // A merged manifest lists older files as existing.
        let new = entries.iter().filter(|e| e.status() == ManifestStatus::Added && e.snapshot_id() == Some(id));
        for entry in new {
            let number = |number: Option<i64>| {
                number.ok_or_else(|| Error::damaged(&manifest.manifest_path, "an entry without sequence number"))
            };
            let live = LiveFile {
                file: entry.data_file(),
                partition_spec_id: manifest.partition_spec_id,
                data_sequence_number: number(entry.sequence_number())?,
                file_sequence_number: number(entry.file_sequence_number)?,
                added_snapshot_id: id,
                manifest_path: &manifest.manifest_path,
            };
            let is_pruned = filter.check(live.file, live.partition_spec_id).is_some();
            files.push((ScanTask::new(&live), is_pruned));
        }
    }
    Ok(Increment::new(snapshot, Part::Added, files))
}

fn is_added_by(manifest: &frazil_table::spec::ManifestFile, snapshot_id: i64) -> bool {
    manifest.content == ManifestContentType::Data && manifest.added_snapshot_id == snapshot_id
}

impl Increment {
    /// Puts files in order; those of the second kind are only counted.
    pub(crate) fn new(snapshot: &Snapshot, part: Part, mut files: Vec<(ScanTask, bool)>) -> Self {
        files.sort_by(|a, b| a.0.path().cmp(b.0.path()));
        let file_count = files.len() as u64;
        let kept = (0..).zip(files).filter(|(_, (_, is_pruned))| !is_pruned);
        Self {
            snapshot_id: snapshot.snapshot_id(),
            sequence_number: snapshot.sequence_number(),
            timestamp_ms: snapshot.timestamp_ms(),
            part,
            files: kept.map(|(index, (task, _))| IncrementFile { index, task }).collect(),
            file_count,
        }
    }

    /// What is left of it from a row of a file on.
    pub(crate) fn starting_at(mut self, file_index: u64, row: u64) -> Self {
        self.files.retain(|file| file.index >= file_index);
        if let Some(first) = self.files.first_mut().filter(|file| file.index == file_index) {
            first.task = first.task.starting_at(row);
        }
        self
    }

    /// The position before a row of one of its files, counted in the file from 0.
    pub fn position(&self, file_index: u64, row: u64) -> Position {
        Position::Within { snapshot_id: self.snapshot_id, part: self.part, file_index, row }
    }

    /// The position when all of it is done.
    pub fn end(&self) -> Position {
        Position::After { snapshot_id: self.snapshot_id }
    }
}

/// Reads an increment file by file, in order. Whoever keeps a batch's position and resumes from it gets every row once.
///
/// # Errors
/// The stream ends with the first error.
pub fn read_increment(
    context: &ReadContext,
    spec: &ReadSpec,
    increment: &Increment,
) -> impl Stream<Item = Result<PositionedBatch>> + Send + use<> {
    let (context, spec, increment) = (context.clone(), spec.clone(), increment.clone());
    let files = increment.files.clone();
    futures::stream::iter(files)
        .map(move |file| {
            let place =
                PlaceInFile { snapshot_id: increment.snapshot_id, part: increment.part, file_index: file.index };
            read_file(&context, &spec, &file.task).map(move |batch| Ok(PositionedBatch::of_file(batch?, place)))
        })
        .flatten()
}
