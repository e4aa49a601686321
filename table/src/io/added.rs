//! What one snapshot added.

use frazil_storage::Store;

use super::{load_manifest, load_manifest_list};
use crate::promotion::Promotions;
use crate::spec::{ManifestContentType, ManifestStatus};
use crate::{Error, ManifestCache, Result, Table, TableFile};

/// The data files that a snapshot added itself, as they are to be added once more: without row ids, which a new snapshot
/// gives out anew.
///
/// Cost: the snapshot's manifest list, and the manifests that it added.
///
/// # Errors
/// [`Error::InvalidChange`] if the table has no such snapshot, or it added delete files; [`Error::Damaged`].
pub async fn load_added_files(
    store: &Store,
    cache: &ManifestCache,
    table: &Table,
    snapshot_id: i64,
) -> Result<Vec<TableFile>> {
    let metadata = table.metadata();
    let snapshot = metadata
        .snapshot_by_id(snapshot_id)
        .ok_or_else(|| Error::InvalidChange(format!("the table has no snapshot {snapshot_id}")))?;
    let promotions = Promotions::of(metadata);
    let mut files = Vec::new();
    for manifest in load_manifest_list(store, cache, metadata, snapshot).await?.iter() {
        if manifest.added_snapshot_id != snapshot_id {
            continue;
        }
        let entries = load_manifest(store, cache, manifest).await?;
        let entries = promotions.widen_entries(manifest.partition_spec_id, entries);
        let added = entries.iter().filter(|e| e.status == ManifestStatus::Added && e.snapshot_id == Some(snapshot_id));
        for entry in added {
            if manifest.content == ManifestContentType::Deletes {
                let reason = format!("snapshot {snapshot_id} added delete file {}", entry.file_path());
                return Err(Error::InvalidChange(reason));
            }
            files.push(TableFile { file: entry.data_file().clone(), partition_spec_id: manifest.partition_spec_id });
        }
    }
    Ok(files)
}
