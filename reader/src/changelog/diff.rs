//! What two snapshots of a table list differently.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use frazil_table::spec::{
    DataContentType, ManifestContentType, ManifestEntry, ManifestFile, Snapshot, SnapshotRef, Struct,
};
use frazil_table::{LiveFile, Table, io, may_list};
use futures::{StreamExt, TryStreamExt};

use crate::{Error, ReadContext, Result};

/// Manifests that are read at the same time.
const READS_MAX: usize = 16;

/// The manifests in which a snapshot and the one before it differ, and those of both that have to do with it.
#[derive(Clone, Debug)]
pub struct SnapshotDiff {
    table: Table,
    snapshot_id: i64,
    /// Data manifests of only one of both.
    data_before: Vec<Listed>,
    data_after: Vec<Listed>,
    /// Data manifests of both, that may list files which changed deletes reach.
    data_both: Vec<Listed>,
    /// Delete manifests, as far as they can apply to what changed.
    deletes_before: Vec<Listed>,
    deletes_after: Vec<Listed>,
}

/// A manifest with its entries.
#[derive(Clone, Debug)]
struct Listed {
    manifest: ManifestFile,
    entries: Arc<Vec<ManifestEntry>>,
}

/// Data files by path and data sequence number: those of one side only, and those of both.
#[derive(Debug, Default)]
pub(super) struct DataFiles<'a> {
    pub removed: Vec<LiveFile<'a>>,
    pub added: Vec<LiveFile<'a>>,
    /// Those of manifests that were read.
    pub kept: Vec<LiveFile<'a>>,
}

/// Delete files of each side, and those that the other side lacks.
#[derive(Debug, Default)]
pub(super) struct DeleteFiles<'a> {
    pub before: Vec<LiveFile<'a>>,
    pub after: Vec<LiveFile<'a>>,
    pub removed: Vec<LiveFile<'a>>,
    pub added: Vec<LiveFile<'a>>,
}

/// Reads the manifests in which a snapshot differs from its parent.
///
/// Cost: both manifest lists; the data manifests that only one of them names, those of both that may list a file which new
/// deletes reach, and the delete manifests. Less what is cached.
///
/// # Errors
/// [`Error::NoSuchSnapshot`] if one of both is not retained; [`Error::Table`] if a manifest can't be read.
pub async fn load_snapshot_diff(
    context: &ReadContext,
    table: &Table,
    parent_id: Option<i64>,
    snapshot_id: i64,
) -> Result<SnapshotDiff> {
    let before = match parent_id {
        None => Arc::default(),
        Some(id) => load_list(context, table, find(table, id)?).await?,
    };
    let after = load_list(context, table, find(table, snapshot_id)?).await?;
    let paths = |manifests: &[ManifestFile]| -> HashSet<String> {
        manifests.iter().map(|manifest| manifest.manifest_path.clone()).collect()
    };
    let (old, new) = (paths(&before), paths(&after));
    let is_data = |manifest: &ManifestFile| manifest.content == ManifestContentType::Data;
    let mut diff = SnapshotDiff {
        table: table.clone(),
        snapshot_id,
        data_before: load(context, table, &before, |m| is_data(m) && !new.contains(&m.manifest_path)).await?,
        data_after: load(context, table, &after, |m| is_data(m) && !old.contains(&m.manifest_path)).await?,
        data_both: Vec::new(),
        deletes_before: Vec::new(),
        deletes_after: Vec::new(),
    };
    // A delete applies to no file that is newer than it, and no delete is newer than its manifest.
    let oldest = diff.oldest_changed()?;
    let one_sided = |m: &ManifestFile, other: &HashSet<String>| !is_data(m) && !other.contains(&m.manifest_path);
    let deletes_differ = before.iter().any(|m| one_sided(m, &new)) || after.iter().any(|m| one_sided(m, &old));
    let may_apply =
        |m: &ManifestFile| !is_data(m) && (deletes_differ || oldest.is_some_and(|oldest| m.sequence_number >= oldest));
    diff.deletes_before = load(context, table, &before, may_apply).await?;
    diff.deletes_after = load(context, table, &after, may_apply).await?;
    if deletes_differ {
        let reach = Reach::of(&diff)?;
        let metadata = table.metadata();
        let reached = |m: &ManifestFile| {
            is_data(m) && old.contains(&m.manifest_path) && reach.includes(|tuple| may_list(metadata, m, tuple), m)
        };
        diff.data_both = load(context, table, &after, reached).await?;
    }
    Ok(diff)
}

fn find(table: &Table, id: i64) -> Result<&SnapshotRef> {
    table.metadata().snapshot_by_id(id).ok_or_else(|| Error::NoSuchSnapshot {
        wanted: format!("snapshot {id}"),
        hint: "choose one that is retained".to_owned(),
    })
}

async fn load_list(context: &ReadContext, table: &Table, snapshot: &Snapshot) -> Result<Arc<Vec<ManifestFile>>> {
    let list = io::load_manifest_list(&context.env.store, &context.manifests, table.metadata(), snapshot);
    Ok(list.await?)
}

async fn load(
    context: &ReadContext,
    table: &Table,
    manifests: &[ManifestFile],
    wanted: impl Fn(&ManifestFile) -> bool,
) -> Result<Vec<Listed>> {
    // Futures first: a closure that lends to a future inside a stream keeps callers from being `Send`.
    let wanted: Vec<ManifestFile> = manifests.iter().filter(|manifest| wanted(manifest)).cloned().collect();
    let reads: Vec<_> = wanted.into_iter().map(|manifest| load_one(context, table, manifest)).collect();
    futures::stream::iter(reads).buffered(READS_MAX).try_collect().await
}

async fn load_one(context: &ReadContext, table: &Table, manifest: ManifestFile) -> Result<Listed> {
    let entries = io::load_entries_of(&context.env.store, &context.manifests, table, &manifest).await?;
    Ok(Listed { manifest, entries })
}

/// Where the deletes that only one side has can apply.
struct Reach {
    newest: i64,
    is_everywhere: bool,
    partitions: HashSet<(i32, Struct)>,
}

impl Reach {
    fn of(diff: &SnapshotDiff) -> Result<Self> {
        let mut reach = Self { newest: i64::MIN, is_everywhere: false, partitions: HashSet::new() };
        let deletes = diff.delete_files()?;
        for delete in deletes.removed.iter().chain(&deletes.added) {
            reach.newest = reach.newest.max(delete.data_sequence_number);
            let spec = diff.table.metadata().partition_spec_by_id(delete.partition_spec_id);
            reach.is_everywhere |= delete.content() == DataContentType::EqualityDeletes
                && spec.is_some_and(|spec| spec.is_unpartitioned());
            reach.partitions.insert((delete.partition_spec_id, delete.file.partition().clone()));
        }
        Ok(reach)
    }

    fn includes(&self, may_list: impl Fn(&Struct) -> bool, manifest: &ManifestFile) -> bool {
        let here = |(spec_id, tuple): &(i32, Struct)| *spec_id == manifest.partition_spec_id && may_list(tuple);
        manifest.min_sequence_number <= self.newest && (self.is_everywhere || self.partitions.iter().any(here))
    }
}

impl SnapshotDiff {
    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The snapshot that is compared with the one before it.
    pub fn snapshot_id(&self) -> i64 {
        self.snapshot_id
    }

    fn oldest_changed(&self) -> Result<Option<i64>> {
        let files = self.data_files()?;
        Ok(files.removed.iter().chain(&files.added).map(|live| live.data_sequence_number).min())
    }

    /// A manifest that was written anew lists files that were there before: only what one side lacks counts.
    pub(super) fn data_files(&self) -> Result<DataFiles<'_>> {
        let mut files = DataFiles::default();
        let (mut before, after) = (by_identity(&self.data_before)?, by_identity(&self.data_after)?);
        for (identity, after) in after {
            let before = before.remove(&identity).unwrap_or_default();
            let both = before.len().min(after.len());
            files.kept.extend(&after[..both]);
            files.added.extend(&after[both..]);
            files.removed.extend(&before[both..]);
        }
        files.removed.extend(before.into_values().flatten());
        files.kept.extend(live_files(&self.data_both)?);
        Ok(files)
    }

    pub(super) fn delete_files(&self) -> Result<DeleteFiles<'_>> {
        let (before, after) = (live_files(&self.deletes_before)?, live_files(&self.deletes_after)?);
        let lacking = |these: &[LiveFile<'_>]| -> HashSet<(String, Option<i64>, i64)> {
            these.iter().map(delete_identity).collect()
        };
        let (old, new) = (lacking(&before), lacking(&after));
        let removed = before.iter().filter(|delete| !new.contains(&delete_identity(delete))).copied().collect();
        let added = after.iter().filter(|delete| !old.contains(&delete_identity(delete))).copied().collect();
        Ok(DeleteFiles { before, after, removed, added })
    }
}

/// Several deletion vectors may be in one file.
fn delete_identity(delete: &LiveFile<'_>) -> (String, Option<i64>, i64) {
    (delete.file.file_path().to_owned(), delete.file.content_offset(), delete.data_sequence_number)
}

/// A file that a damaged table lists twice is read twice by scans, and so it is here.
fn by_identity(manifests: &[Listed]) -> Result<BTreeMap<(String, i64), Vec<LiveFile<'_>>>> {
    let mut files: BTreeMap<(String, i64), Vec<LiveFile<'_>>> = BTreeMap::new();
    for live in live_files(manifests)? {
        files.entry((live.file.file_path().to_owned(), live.data_sequence_number)).or_default().push(live);
    }
    Ok(files)
}

fn live_files(manifests: &[Listed]) -> Result<Vec<LiveFile<'_>>> {
    let live = manifests.iter().flat_map(|Listed { manifest, entries }| {
        entries.iter().filter(|entry| entry.is_alive()).map(move |entry| LiveFile::new(manifest, entry))
    });
    Ok(live.collect::<frazil_table::Result<_>>()?)
}
