//! The one module of this crate that reads and writes.

mod added;
mod load;
mod store;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Write;
use std::sync::Arc;

use frazil_storage::Store;

use crate::cherry_pick::{PUBLISHED_WAP_ID, SOURCE_SNAPSHOT_ID};
use crate::row_lineage::inherit_row_ids;
use crate::spec::{ManifestEntry, ManifestFile, Snapshot, TableMetadata};
use crate::{Error, ManifestCache, MetadataText, OPERATION_ID, Result, Table, UnreachableFiles, decode, layout};

use load::load_entries;

pub use added::load_added_files;
pub use load::{Entries, load_entries_of, load_state, load_state_at, load_state_for};
pub use store::{WrittenManifests, store_commit};

/// Reads a metadata file; `.gz.metadata.json` and `.metadata.json.gz` are compressed.
///
/// # Errors
/// [`Error::Damaged`] if it is not table metadata.
pub async fn load_metadata(store: &Store, location: &str) -> Result<TableMetadata> {
    let bytes = store.read(location).await?;
    decode::metadata(&bytes).map_err(|reason| Error::damaged(location, reason))
}

/// Writes a metadata file under a new name, compressed if the name says so.
///
/// # Errors
/// [`frazil_storage::Error::AlreadyExists`] if the name is taken.
pub async fn store_metadata(store: &Store, location: &str, text: &MetadataText) -> Result<()> {
    let mut bytes = text.bytes();
    if layout::is_gzip(location) {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&bytes).expect("memory takes every byte");
        bytes = encoder.finish().expect("memory takes every byte").into();
    }
    Ok(store.put_new(location, bytes).await?)
}

/// Reads the manifest list of a snapshot. Kept in `cache`.
///
/// # Errors
/// [`Error::Damaged`] if it is not one.
pub async fn load_manifest_list(
    store: &Store,
    cache: &ManifestCache,
    metadata: &TableMetadata,
    snapshot: &Snapshot,
) -> Result<Arc<Vec<ManifestFile>>> {
    let location = snapshot.manifest_list();
    if let Some(manifests) = cache.list(location) {
        return Ok(manifests);
    }
    let bytes = store.read(location).await?;
    let manifests = decode::manifest_list(&bytes, metadata.format_version());
    let manifests = Arc::new(manifests.map_err(|reason| Error::damaged(location, reason))?);
    cache.insert_list(location, Arc::clone(&manifests));
    Ok(manifests)
}

/// Reads a manifest's entries, with sequence numbers, snapshot ids and first row ids inherited (Iceberg spec, "Sequence
/// Number Inheritance", "First Row ID Inheritance"). Kept in `cache`.
///
/// # Errors
/// [`Error::Damaged`] if it is not a manifest.
pub async fn load_manifest(
    store: &Store,
    cache: &ManifestCache,
    manifest: &ManifestFile,
) -> Result<Arc<Vec<ManifestEntry>>> {
    let location = &manifest.manifest_path;
    if let Some(entries) = cache.get(manifest) {
        return Ok(entries);
    }
    let bytes = store.read(location).await?;
    let mut entries = decode::manifest(&bytes, manifest).await.map_err(|reason| Error::damaged(location, reason))?;
    inherit_row_ids(manifest, &mut entries);
    let entries = Arc::new(entries);
    cache.insert(manifest, Arc::clone(&entries));
    Ok(entries)
}

/// Finds the files that only expired snapshots name, by comparing the table before an expiry with the table after it.
///
/// Of the retained snapshots those are read whose parent is not retained: a snapshot lists what its parent listed and
/// what it added itself, so what was live before the expiry and is live in any retained snapshot is live in one of those,
/// unless a later one added it once more. Cherry-picks do, and other programs may: what such snapshots added is read too.
/// And what a retained snapshot added, expired ones above it list as well: where snapshots expire from the middle of the
/// history, or of a branch, every retained one that is not newer than all of them is read. In format version 1, whose
/// snapshots have no sequence numbers, that is every one.
/// Cost: the lists and manifests of the expired snapshots and of the oldest retained one of each branch.
///
/// # Errors
/// As [`load_state`]. A manifest that is gone already counts as empty: an earlier clean-up got that far.
pub async fn find_unreachable_files(
    store: &Store,
    cache: &ManifestCache,
    before: &Table,
    after: &Table,
) -> Result<UnreachableFiles> {
    let kept: HashSet<i64> = after.metadata().snapshots().map(|s| s.snapshot_id()).collect();
    let mut lists = BTreeSet::new();
    let mut dropped: HashMap<String, ManifestFile> = HashMap::new();
    let expired: Vec<_> = before.metadata().snapshots().filter(|s| !kept.contains(&s.snapshot_id())).collect();
    let newest_expired = expired.iter().map(|snapshot| snapshot.sequence_number()).max();
    for snapshot in expired {
        lists.insert(snapshot.manifest_list().to_owned());
        for manifest in unless_gone(load_manifest_list(store, cache, before.metadata(), snapshot).await)?.iter() {
            dropped.insert(manifest.manifest_path.clone(), manifest.clone());
        }
    }
    let mut retained: HashMap<String, ManifestFile> = HashMap::new();
    for snapshot in after.metadata().snapshots() {
        lists.remove(snapshot.manifest_list());
        let has_parent = snapshot.parent_snapshot_id().is_some_and(|parent| kept.contains(&parent));
        let is_below_expired = newest_expired.is_some_and(|expired| snapshot.sequence_number() <= expired);
        if has_parent && !is_below_expired && !may_add_again(snapshot) {
            continue;
        }
        for manifest in load_manifest_list(store, cache, after.metadata(), snapshot).await?.iter() {
            if has_parent && !is_below_expired && manifest.added_snapshot_id != snapshot.snapshot_id() {
                continue;
            }
            dropped.remove(&manifest.manifest_path);
            retained.insert(manifest.manifest_path.clone(), manifest.clone());
        }
    }
    let mut dropped_entries = Vec::new();
    for manifest in dropped.into_values() {
        let entries = unless_gone(load_manifest(store, cache, &manifest).await)?;
        dropped_entries.push((manifest, entries));
    }
    let retained: Vec<_> = retained.into_values().collect();
    let retained = load_entries(store, cache, &retained).await?;
    Ok(UnreachableFiles::new(
        lists,
        dropped_entries.iter().map(|(manifest, entries)| (manifest, entries.as_slice())),
        retained.values().map(|entries| entries.as_slice()),
    ))
}

/// Whether a snapshot may have added files that were in the table before. What this program commits has new names.
fn may_add_again(snapshot: &Snapshot) -> bool {
    let said = |key: &str| snapshot.summary().additional_properties.contains_key(key);
    !said(OPERATION_ID) || said(SOURCE_SNAPSHOT_ID) || said(PUBLISHED_WAP_ID)
}

fn unless_gone<T: Default>(result: Result<T>) -> Result<T> {
    match result {
        Err(Error::Storage(error)) if error.is_not_found() => Ok(T::default()),
        other => other,
    }
}
