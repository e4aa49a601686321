//! What commits changed in a table's listing of files. The one file of planning that reads.

use std::sync::Arc;

use frazil_catalog::CommitQueue;
use frazil_table::spec::{DataFile, ManifestStatus};
use frazil_table::{Table, io};

use crate::{Config, Coordinator, FileGroup, InputFile, Result};

/// The files that came and went between two heads of `main`.
#[derive(Clone, Debug)]
pub struct CommitDelta {
    /// The table after the last of the commits.
    pub table: Table,
    /// The head before the first of them.
    pub after_snapshot_id: Option<i64>,
    /// Their snapshots, oldest first.
    pub snapshot_ids: Vec<i64>,
    /// Data and delete files that were added and not removed again.
    pub added: Vec<InputFile>,
    /// Files that were removed.
    pub removed: Vec<RemovedFile>,
}

/// A file that is live no more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RemovedFile {
    /// Its location.
    pub path: String,
    /// Of a deletion vector: where in the file it is. Others in the same file may live on.
    pub content_offset: Option<i64>,
}

/// More snapshots than this are not followed one by one: the whole listing is as quick to read.
const SNAPSHOTS_MAX: usize = 100;

/// Brings a coordinator to where `table` is and returns what is to be merged now: by deltas where that is possible, by
/// the whole state where it is not or where `config` is another one.
///
/// # Errors
/// As [`io::load_state`].
pub async fn follow(
    coordinator: &mut Coordinator,
    queue: &CommitQueue,
    table: &Table,
    config: &Config,
) -> Result<Vec<FileGroup>> {
    if coordinator.listing().config() == config
        && let Some(delta) = load_delta(queue, table, coordinator.snapshot_id()).await?
        && let Ok(groups) = coordinator.on_commit(&delta)
    {
        return Ok(groups);
    }
    let state = io::load_state(&queue.env().store, queue.cache(), table, io::Entries::All).await?;
    coordinator.observe(&state, config)
}

/// Reads what the commits after `after_snapshot_id` changed. `None` if they can't be followed: the snapshot is not in the
/// history of `main` any more, or too many came since; then the whole state has to be read.
///
/// Cost: one manifest list for each snapshot, and the manifests that it wrote. Those of this process's own commits are in
/// the queue's cache.
///
/// # Errors
/// As [`io::load_manifest`].
pub async fn load_delta(
    queue: &CommitQueue,
    table: &Table,
    after_snapshot_id: Option<i64>,
) -> Result<Option<CommitDelta>> {
    let mut delta = CommitDelta {
        table: table.clone(),
        after_snapshot_id,
        snapshot_ids: Vec::new(),
        added: Vec::new(),
        removed: Vec::new(),
    };
    let Some(head) = table.current_snapshot() else {
        return Ok(after_snapshot_id.is_none().then_some(delta));
    };
    let mut chain = Vec::new();
    let mut below = Some(head.snapshot_id());
    for snapshot in table.ancestors_of(head.snapshot_id()).take_while(|s| Some(s.snapshot_id()) != after_snapshot_id) {
        below = snapshot.parent_snapshot_id();
        chain.push(snapshot);
        if chain.len() > SNAPSHOTS_MAX {
            return Ok(None);
        }
    }
    if below != after_snapshot_id && after_snapshot_id != Some(head.snapshot_id()) {
        return Ok(None);
    }
    let (store, cache) = (&queue.env().store, queue.cache());
    for snapshot in chain.into_iter().rev() {
        let id = snapshot.snapshot_id();
        delta.snapshot_ids.push(id);
        let manifests = io::load_manifest_list(store, cache, table.metadata(), snapshot).await?;
        for manifest in manifests.iter().filter(|manifest| manifest.added_snapshot_id == id) {
            let entries = io::load_entries_of(store, cache, table, manifest).await?;
            for entry in entries.iter().filter(|entry| entry.snapshot_id() == Some(id)) {
                match entry.status() {
                    ManifestStatus::Existing => {}
                    ManifestStatus::Deleted => delta.remove(entry.data_file()),
                    ManifestStatus::Added => delta.added.push(InputFile {
                        file: Arc::new(entry.data_file().clone()),
                        partition_spec_id: manifest.partition_spec_id,
                        data_sequence_number: entry.sequence_number().unwrap_or(manifest.sequence_number),
                        file_sequence_number: entry.file_sequence_number.unwrap_or(manifest.sequence_number),
                        added_snapshot_id: id,
                    }),
                }
            }
        }
    }
    Ok(Some(delta))
}

impl CommitDelta {
    fn remove(&mut self, file: &DataFile) {
        let removed = RemovedFile { path: file.file_path().to_owned(), content_offset: file.content_offset() };
        self.added.retain(|input| input.key() != (removed.path.as_str(), removed.content_offset));
        self.removed.push(removed);
    }
}
