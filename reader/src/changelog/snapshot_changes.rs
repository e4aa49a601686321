//! What has to be read to tell what a snapshot changed.

use std::fmt;

use frazil_table::LiveFile;

use super::diff::SnapshotDiff;
use crate::deletes::{ApplicableDeletes, DeleteIndex};
use crate::plan::{FileFilter, SPLIT_SIZE_BYTES, split};
use crate::{ReadSpec, Result, ScanTask};

/// The files that tell what a snapshot changed. Prints for a person.
#[derive(Clone, Debug)]
pub struct SnapshotChanges {
    /// The snapshot.
    pub snapshot_id: i64,
    /// Where rows are that went.
    pub(super) deletes: Vec<Part>,
    /// Where rows are that came.
    pub(super) inserts: Vec<Part>,
    /// Data files whose partition or bounds say that no wanted row is in them.
    pub pruned: usize,
}

/// Some rows of a data file.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// All that are live.
    File(ScanTask),
    /// Those that are live by the task's deletes, and that these take away.
    Taken(ScanTask, ApplicableDeletes),
}

/// Decides what is read of which file.
///
/// # Errors
/// [`crate::Error::Unsupported`] names a delete file that can't be read, [`crate::Error::Damaged`] an entry without what
/// the specification demands.
pub fn plan_snapshot_changes(diff: &SnapshotDiff, spec: &ReadSpec) -> Result<SnapshotChanges> {
    let (data, deletes) = (diff.data_files()?, diff.delete_files()?);
    let index = |files: &[LiveFile<'_>]| DeleteIndex::new(files, diff.table().metadata());
    let (before, after) = (index(&deletes.before)?, index(&deletes.after)?);
    let (gone, new) = (index(&deletes.removed)?, index(&deletes.added)?);
    let mut filter = FileFilter::new(spec);
    let mut changes =
        SnapshotChanges { snapshot_id: diff.snapshot_id(), deletes: Vec::new(), inserts: Vec::new(), pruned: 0 };
    let mut is_wanted = |live: &LiveFile<'_>, pruned: &mut usize| {
        let is_wanted = filter.check(live.file, live.partition_spec_id).is_none();
        *pruned += usize::from(!is_wanted);
        is_wanted
    };
    let whole = |live: &LiveFile<'_>, index: &DeleteIndex| {
        split(&ScanTask::with_deletes(live, index), SPLIT_SIZE_BYTES).into_iter().map(Part::File)
    };
    for live in data.removed.iter().filter(|live| is_wanted(live, &mut changes.pruned)) {
        changes.deletes.extend(whole(live, &before));
    }
    for live in data.added.iter().filter(|live| is_wanted(live, &mut changes.pruned)) {
        changes.inserts.extend(whole(live, &after));
    }
    if deletes.removed.is_empty() && deletes.added.is_empty() {
        return Ok(changes);
    }
    for live in &data.kept {
        let (was, is) = (before.for_file(live), after.for_file(live));
        let takes = is.since(&was, new.for_file(live)).that_may_match(spec, live);
        let took = was.since(&is, gone.for_file(live)).that_may_match(spec, live);
        if takes.is_empty() && took.is_empty() || !is_wanted(live, &mut changes.pruned) {
            continue;
        }
        // The row is live before and dead after, or the other way round, where deletes were dropped.
        for (parts, hidden, taking) in [(&mut changes.deletes, was, takes), (&mut changes.inserts, is, took)] {
            if !taking.is_empty() {
                parts.push(Part::Taken(ScanTask { deletes: hidden, ..ScanTask::new(live) }, taking));
            }
        }
    }
    Ok(changes)
}

impl Part {
    fn task(&self) -> &ScanTask {
        match self {
            Self::File(task) | Self::Taken(task, _) => task,
        }
    }
}

impl SnapshotChanges {
    /// Whether rows went and rows came, so that some of them may be the same.
    pub fn is_two_sided(&self) -> bool {
        !self.deletes.is_empty() && !self.inserts.is_empty()
    }

    /// The locations of the data files of which something is read: where rows went, and where rows came.
    pub fn paths<'a>(&'a self) -> (Vec<&'a str>, Vec<&'a str>) {
        let paths = |parts: &'a [Part]| parts.iter().map(|part| part.task().path()).collect();
        (paths(&self.deletes), paths(&self.inserts))
    }
}

impl fmt::Display for SnapshotChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "changes of snapshot {}; files that hold no wanted row: {}", self.snapshot_id, self.pruned)?;
        for (sign, parts) in [("-", &self.deletes), ("+", &self.inserts)] {
            for part in parts {
                let what = match part {
                    Part::File(task) if task.has_deletes() => "all rows that are not deleted",
                    Part::File(_) => "all rows",
                    Part::Taken(_, by) if by.has_equality() => "rows that equality deletes find",
                    Part::Taken(_, _) => "rows that are deleted by position",
                };
                writeln!(f, "  {sign} {what} of {}", part.task().path())?;
            }
        }
        Ok(())
    }
}
