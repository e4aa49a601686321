//! Files that other programs are changing rows of, which are left alone for a while.
//!
//! A program that reads files, works for seconds and then deletes rows of them, or writes them anew, fails if they have been
//! rewritten meanwhile; most others do so every time. Who has just changed rows of a file is likely to do it again. So a file
//! rests for [`crate::Config::cooling_ms`] after a commit of another program that deleted rows of it by position, or that wrote
//! it in the place of others. What counts as now is the time of the newest snapshot: without commits nothing is planned.
//!
//! Commits of this program need no rest. Its jobs never lose to a compaction, and its statements begin anew.

use std::collections::HashSet;

use frazil_table::spec::{DataContentType, Operation, Snapshot};
use frazil_table::{DeleteScope, OPERATION_ID};

use crate::listing::{InputFile, Listing, PartitionKey};

/// The files of a listing that rest.
#[derive(Debug, Default)]
pub(crate) struct Cooling<'a> {
    /// Snapshots of other programs that changed single rows.
    snapshots: HashSet<i64>,
    paths: HashSet<&'a str>,
    partitions: HashSet<PartitionKey>,
}

impl<'a> Cooling<'a> {
    /// Cost: linear in the snapshots of the time, and in the delete files.
    pub(crate) fn of(listing: &'a Listing) -> Self {
        let mut cooling = Self::default();
        let metadata = listing.table.metadata();
        let head = listing.snapshot_id.and_then(|id| metadata.snapshot_by_id(id));
        let Some(head) = head.filter(|_| listing.config().cooling_ms > 0) else { return cooling };
        let cooling_ms = i64::try_from(listing.config().cooling_ms).unwrap_or(i64::MAX);
        let is_young = |snapshot: &&Snapshot| head.timestamp_ms().saturating_sub(snapshot.timestamp_ms()) < cooling_ms;
        let recent = listing.table.ancestors_of(head.snapshot_id()).take_while(is_young);
        cooling.snapshots = recent.filter(|snapshot| is_foreign(snapshot)).map(Snapshot::snapshot_id).collect();
        if !cooling.snapshots.is_empty() {
            cooling.note_deletes(listing);
        }
        cooling
    }

    fn note_deletes(&mut self, listing: &'a Listing) {
        for delete in &listing.deletes {
            let by_position = delete.input.file.content_type() == DataContentType::PositionDeletes;
            if !by_position || !self.snapshots.contains(&delete.input.added_snapshot_id) {
                continue;
            }
            match &delete.scope {
                DeleteScope::File(path) => drop(self.paths.insert(path)),
                DeleteScope::Partition(spec_id, tuple) => drop(self.partitions.insert((*spec_id, tuple.clone()))),
                DeleteScope::Table => {}
            }
        }
    }

    /// Whether a file of a partition rests.
    pub(crate) fn has(&self, partition: &PartitionKey, input: &InputFile) -> bool {
        !self.snapshots.is_empty()
            && (self.snapshots.contains(&input.added_snapshot_id)
                || self.paths.contains(input.file.file_path())
                || self.partitions.contains(partition))
    }
}

/// Whether another program changed rows by this snapshot.
fn is_foreign(snapshot: &Snapshot) -> bool {
    let summary = snapshot.summary();
    matches!(summary.operation, Operation::Overwrite | Operation::Delete)
        && !summary.additional_properties.contains_key(OPERATION_ID)
}

#[cfg(test)]
mod tests;
