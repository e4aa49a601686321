//! The one file of this crate that reads and writes.

mod added;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use frazil_storage::{Env, Step, Store};
use futures::{StreamExt, TryStreamExt};
use iceberg::io::{FileIO, FileWrite};
use iceberg::spec::{ManifestListWriter, ManifestWriterBuilder};

use crate::avro_name::{manifest_with_avro_names, with_avro_names};
use crate::commit::{CommitPlan, ManifestPlan, ManifestRef, PreparedCommit, SnapshotPlan};
use crate::manifest_set::{merging_is_due, min_count_to_merge};
use crate::spec::{
    FormatVersion, MAIN_BRANCH, ManifestContentType, ManifestEntry, ManifestFile, ManifestList, ManifestStatus,
    Snapshot, Summary, TableMetadata, TableUpdate,
};
use crate::{Change, Error, ManifestCache, Result, Table, TableState, UnreachableFiles};

pub use added::load_added_files;

/// Manifests that are read at the same time.
const READS_MAX: usize = 16;

/// A metadata file larger than this is refused before it is parsed.
const METADATA_BYTES_MAX: u64 = 1 << 30;

/// Reads a metadata file; `.gz.metadata.json` and `.metadata.json.gz` are compressed.
///
/// # Errors
/// [`Error::Damaged`] if it is not table metadata.
pub async fn load_metadata(store: &Store, location: &str) -> Result<TableMetadata> {
    let mut bytes = store.read(location).await?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut inflated = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_ref())
            .take(METADATA_BYTES_MAX)
            .read_to_end(&mut inflated)
            .map_err(|error| Error::damaged(location, error))?;
        bytes = inflated.into();
    }
    serde_json::from_slice(&bytes).map_err(|error| Error::damaged(location, error))
}

/// The JSON of table metadata as every reader takes it. Iceberg's Java library of 2022, and so Trino of that time,
/// refuses metadata without `properties`, `snapshots` and (before format version 3) `current-snapshot-id`, whose absence
/// it writes as -1; so they are written out also where the specification lets them be left out.
///
/// # Errors
/// [`Error::InvalidChange`] if the metadata has no JSON form.
pub fn metadata_json(metadata: &TableMetadata) -> Result<String> {
    let mut json = serde_json::to_string(metadata).map_err(|error| Error::InvalidChange(error.to_string()))?;
    json.truncate(json.len() - 1);
    if metadata.properties().is_empty() {
        json.push_str(",\"properties\":{}");
    }
    if metadata.snapshots().len() == 0 {
        json.push_str(",\"snapshots\":[]");
    }
    if metadata.current_snapshot().is_none() && metadata.format_version() < FormatVersion::V3 {
        json.push_str(",\"current-snapshot-id\":-1");
    }
    json.push('}');
    Ok(json)
}

/// Writes a metadata file under a new name, compressed if the name says so.
///
/// # Errors
/// [`frazil_storage::Error::AlreadyExists`] if the name is taken.
pub async fn store_metadata(store: &Store, location: &str, metadata: &TableMetadata) -> Result<()> {
    let mut bytes = metadata_json(metadata)?.into_bytes();
    if location.ends_with(".gz.metadata.json") {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&bytes).expect("memory takes every byte");
        bytes = encoder.finish().expect("memory takes every byte");
    }
    Ok(store.put_new(location, bytes.into()).await?)
}

/// Reads the manifest list of a snapshot.
///
/// # Errors
/// [`Error::Damaged`] if it is not one.
pub async fn load_manifest_list(
    store: &Store,
    metadata: &TableMetadata,
    snapshot: &Snapshot,
) -> Result<Vec<ManifestFile>> {
    let location = snapshot.manifest_list();
    let bytes = store.read(location).await?;
    let list = ManifestList::parse_with_version(&bytes, metadata.format_version())
        .map_err(|error| Error::damaged(location, error))?;
    Ok(list.consume_entries().into_iter().collect())
}

/// Reads a manifest's entries, with sequence numbers and snapshot ids inherited (Iceberg spec, "Sequence Number
/// Inheritance"). Kept in `cache`.
///
/// # Errors
/// [`Error::Damaged`] if it is not a manifest.
pub async fn load_manifest(
    store: &Store,
    cache: &ManifestCache,
    manifest: &ManifestFile,
) -> Result<Arc<Vec<ManifestEntry>>> {
    let location = &manifest.manifest_path;
    if let Some(entries) = cache.get(location) {
        return Ok(entries);
    }
    let bytes = manifest_with_avro_names(store.read(location).await?);
    let memory = FileIO::new_with_memory();
    let damaged = |error: iceberg::Error| Error::damaged(location, error);
    memory.new_output(location).map_err(damaged)?.write(bytes).await.map_err(damaged)?;
    let (entries, _) = manifest.load_manifest(&memory).await.map_err(damaged)?.into_parts();
    let entries = entries.into_iter().map(Arc::unwrap_or_clone).collect();
    let entries = Arc::new(entries);
    cache.insert(location, Arc::clone(&entries));
    Ok(entries)
}

/// What of a state's manifests is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// Only the manifest list.
    None,
    /// Every manifest.
    All,
}

/// Loads a table at the head of `main`.
///
/// # Errors
/// [`Error::Storage`] and [`Error::Damaged`] as the files are.
pub async fn load_state(store: &Store, cache: &ManifestCache, table: &Table, entries: Entries) -> Result<TableState> {
    let snapshot = table.current_snapshot().cloned();
    load_state_at(store, cache, table, MAIN_BRANCH, snapshot, entries).await
}

/// Loads a table at a snapshot.
///
/// # Errors
/// As [`load_state`].
pub async fn load_state_at(
    store: &Store,
    cache: &ManifestCache,
    table: &Table,
    ref_name: &str,
    snapshot: Option<Arc<Snapshot>>,
    entries: Entries,
) -> Result<TableState> {
    let manifests = match &snapshot {
        None => Vec::new(),
        Some(snapshot) => load_manifest_list(store, table.metadata(), snapshot).await?,
    };
    let mut state = TableState {
        table: table.clone(),
        ref_name: ref_name.to_owned(),
        snapshot,
        manifests,
        entries: HashMap::new(),
    };
    if entries == Entries::All {
        state.entries = load_entries(store, cache, &state.manifests).await?;
    }
    Ok(state)
}

/// Loads the state that [`crate::plan_commit`] needs for `changes`: entries are read only where a change looks at them.
///
/// # Errors
/// As [`load_state`].
pub async fn load_state_for(
    store: &Store,
    cache: &ManifestCache,
    table: &Table,
    changes: &[Change],
) -> Result<TableState> {
    let mut state = load_state(store, cache, table, Entries::None).await?;
    let adds = changes.iter().any(Change::makes_snapshot);
    let merges = adds && merging_is_due(&state.manifests, min_count_to_merge(&state));
    if merges || changes.iter().any(Change::reads_entries) {
        state.entries = load_entries(store, cache, &state.manifests).await?;
    }
    Ok(state)
}

async fn load_entries(
    store: &Store,
    cache: &ManifestCache,
    manifests: &[ManifestFile],
) -> Result<HashMap<String, Arc<Vec<ManifestEntry>>>> {
    // Futures first: a closure that lends to a future inside a stream keeps callers from being `Send`.
    let reads: Vec<_> = manifests.iter().map(|manifest| load_named(store, cache, manifest)).collect();
    futures::stream::iter(reads).buffer_unordered(READS_MAX).try_collect().await
}

async fn load_named(
    store: &Store,
    cache: &ManifestCache,
    manifest: &ManifestFile,
) -> Result<(String, Arc<Vec<ManifestEntry>>)> {
    let entries = load_manifest(store, cache, manifest).await?;
    Ok((manifest.manifest_path.clone(), entries))
}

/// Manifests that a commit's earlier attempts wrote and that a later one may use again.
#[derive(Debug, Default)]
pub struct WrittenManifests(HashMap<String, ManifestFile>);

/// Writes the manifests and manifest lists of a plan. The table does not change by this.
///
/// Cost: one write for each new manifest and each snapshot.
///
/// # Errors
/// [`Error::Storage`] if a write fails: what was written is garbage that nothing names.
pub async fn store_commit(
    env: &Env,
    cache: &ManifestCache,
    state: &TableState,
    plan: &CommitPlan,
    written: &mut WrittenManifests,
) -> Result<PreparedCommit> {
    let state = plan.evolution.as_ref().map_or(state, |evolution| evolution.state());
    let mut attempt_files = Vec::new();
    let mut manifests = Vec::with_capacity(plan.manifests.len());
    for manifest in &plan.manifests {
        if manifest.reusable
            && let Some(file) = written.0.get(&manifest.location)
        {
            let mut file = file.clone();
            set_sequence_numbers(&mut file, manifest.sequence_number);
            manifests.push(file);
            continue;
        }
        let mut file = store_manifest(env, state, manifest).await?;
        match manifest.reusable {
            true => drop(written.0.insert(manifest.location.clone(), file.clone())),
            false => attempt_files.push(manifest.location.clone()),
        }
        set_sequence_numbers(&mut file, manifest.sequence_number);
        manifests.push(file);
    }
    env.steps.reach(Step::ManifestsWritten)?;
    let mut updates = plan.evolution.as_ref().map_or_else(Vec::new, |evolution| evolution.updates.clone());
    let mut next_row_id = state.table().metadata().next_row_id();
    for snapshot in &plan.snapshots {
        attempt_files.push(snapshot.manifest_list.clone());
        let snapshot = store_snapshot(env, state, snapshot, &mut manifests, &mut next_row_id).await?;
        updates.push(TableUpdate::AddSnapshot { snapshot });
    }
    for (plan, file) in plan.manifests.iter().zip(&manifests) {
        cache.insert(&file.manifest_path, Arc::new(plan.inherited_entries()));
    }
    env.steps.reach(Step::ManifestListWritten)?;
    updates.extend(plan.ref_update(state));
    updates.extend(plan.updates.iter().cloned());
    Ok(PreparedCommit {
        requirements: plan.requirements.clone(),
        updates,
        snapshot_ids: plan.snapshots.iter().map(|snapshot| snapshot.snapshot_id).collect(),
        attempt_files,
    })
}

/// A manifest's numbers as its snapshot gives them, so that a later snapshot of the same commit may list it too.
fn set_sequence_numbers(file: &mut ManifestFile, sequence_number: i64) {
    const UNASSIGNED: i64 = iceberg::spec::UNASSIGNED_SEQUENCE_NUMBER;
    file.sequence_number = sequence_number;
    if file.min_sequence_number == UNASSIGNED {
        file.min_sequence_number = sequence_number;
    }
}

async fn store_manifest(env: &Env, state: &TableState, plan: &ManifestPlan) -> Result<ManifestFile> {
    let metadata = state.table().metadata();
    let spec = metadata
        .partition_spec_by_id(plan.partition_spec_id)
        .ok_or_else(|| Error::InvalidChange(format!("the table has no partition spec {}", plan.partition_spec_id)))?;
    let spec = with_avro_names(spec)?;
    let encode = Error::spec("encoding a manifest");
    let (file, bytes) = async {
        let memory = FileIO::new_with_memory();
        let output = memory.new_output(&plan.location)?;
        let schema = metadata.current_schema().clone();
        let builder = ManifestWriterBuilder::new(output, Some(plan.snapshot_id), schema, spec);
        let mut writer = match (metadata.format_version(), plan.content) {
            (FormatVersion::V1, _) => builder.build_v1(),
            (FormatVersion::V2, ManifestContentType::Data) => builder.build_v2_data(),
            (FormatVersion::V2, ManifestContentType::Deletes) => builder.build_v2_deletes(),
            (FormatVersion::V3, ManifestContentType::Data) => builder.build_v3_data(),
            (FormatVersion::V3, ManifestContentType::Deletes) => builder.build_v3_deletes(),
        };
        for entry in &plan.entries {
            let (file, added_by) = (entry.file.clone(), entry.snapshot_id);
            let data_number = entry.data_sequence_number;
            let file_number = entry.file_sequence_number;
            match entry.status {
                ManifestStatus::Added => writer.add_file(file, data_number.unwrap_or(-1))?,
                ManifestStatus::Existing => {
                    writer.add_existing_file(file, added_by, data_number.unwrap_or(0), file_number)?;
                }
                ManifestStatus::Deleted => {
                    writer.add_delete_file(file, data_number.unwrap_or(0), file_number)?;
                }
            }
        }
        let file = writer.write_manifest_file().await?;
        let bytes = memory.new_input(&plan.location)?.read().await?;
        Ok((file, bytes))
    }
    .await
    .map_err(encode)?;
    env.store.put_new(&plan.location, bytes).await?;
    Ok(file)
}

/// Writes a snapshot's manifest list; in v3 also gives out the row ids of its new files.
async fn store_snapshot(
    env: &Env,
    state: &TableState,
    plan: &SnapshotPlan,
    new_manifests: &mut [ManifestFile],
    next_row_id: &mut u64,
) -> Result<Snapshot> {
    let metadata = state.table().metadata();
    let first_row_id = *next_row_id;
    let mut manifests = Vec::with_capacity(plan.manifests.len());
    for manifest in &plan.manifests {
        match manifest {
            ManifestRef::Stored(file) => {
                let mut file = file.clone();
                assign_first_row_id(metadata.format_version(), &mut file, next_row_id)?;
                manifests.push(file);
            }
            ManifestRef::New(index) => {
                let file = &mut new_manifests[*index];
                assign_first_row_id(metadata.format_version(), file, next_row_id)?;
                manifests.push(file.clone());
            }
        }
    }
    let encode = Error::spec("encoding a manifest list");
    let bytes = encode_manifest_list(metadata.format_version(), plan, manifests, first_row_id);
    env.store.put_new(&plan.manifest_list, bytes.await.map_err(encode)?).await?;
    let builder = Snapshot::builder()
        .with_snapshot_id(plan.snapshot_id)
        .with_parent_snapshot_id(plan.parent_id)
        .with_sequence_number(plan.sequence_number)
        .with_timestamp_ms(plan.timestamp_ms)
        .with_manifest_list(plan.manifest_list.clone())
        .with_summary(Summary { operation: plan.operation.clone(), additional_properties: plan.summary.clone() })
        .with_schema_id(metadata.current_schema_id());
    Ok(match metadata.format_version() {
        FormatVersion::V3 => builder.with_row_range(first_row_id, *next_row_id - first_row_id).build(),
        _ => builder.build(),
    })
}

/// Iceberg spec, "First Row ID Assignment".
fn assign_first_row_id(version: FormatVersion, manifest: &mut ManifestFile, next_row_id: &mut u64) -> Result<()> {
    let unassigned = manifest.content == ManifestContentType::Data && manifest.first_row_id.is_none();
    if version < FormatVersion::V3 || !unassigned {
        return Ok(());
    }
    let (Some(added), Some(existing)) = (manifest.added_rows_count, manifest.existing_rows_count) else {
        return Err(Error::damaged(&manifest.manifest_path, "its list entry has no row counts"));
    };
    manifest.first_row_id = Some(*next_row_id);
    *next_row_id += added + existing;
    Ok(())
}

async fn encode_manifest_list(
    version: FormatVersion,
    plan: &SnapshotPlan,
    manifests: Vec<ManifestFile>,
    first_row_id: u64,
) -> iceberg::Result<Bytes> {
    let memory = FileIO::new_with_memory();
    let output = memory.new_output(&plan.manifest_list)?;
    let sink: Box<dyn FileWrite> = output.writer().await?;
    let (id, parent, number) = (plan.snapshot_id, plan.parent_id, plan.sequence_number);
    let mut writer = match version {
        FormatVersion::V1 => ManifestListWriter::v1(sink, id, parent),
        FormatVersion::V2 => ManifestListWriter::v2(sink, id, parent, number),
        FormatVersion::V3 => ManifestListWriter::v3(sink, id, parent, number, Some(first_row_id)),
    };
    writer.add_manifests(manifests.into_iter())?;
    writer.close().await?;
    memory.new_input(&plan.manifest_list)?.read().await
}

impl ManifestPlan {
    /// The entries as a reader of the stored manifest sees them.
    fn inherited_entries(&self) -> Vec<ManifestEntry> {
        let entries = self.entries.iter().map(|entry| ManifestEntry {
            status: entry.status,
            snapshot_id: Some(entry.snapshot_id),
            sequence_number: Some(entry.data_sequence_number.unwrap_or(self.sequence_number)),
            file_sequence_number: Some(entry.file_sequence_number.unwrap_or(self.sequence_number)),
            data_file: entry.file.clone(),
        });
        entries.collect()
    }
}

/// Finds the files that only expired snapshots name, by comparing the table before an expiry with the table after it.
///
/// Of the retained snapshots only those are read whose parent is not retained: a snapshot lists what its parent listed
/// and what it added itself, so what was live before the expiry and is live in any retained snapshot is live in one of
/// those. Cost: the lists and manifests of the expired snapshots and of the oldest retained one of each branch.
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
    for snapshot in expired {
        lists.insert(snapshot.manifest_list().to_owned());
        for manifest in unless_gone(load_manifest_list(store, before.metadata(), snapshot).await)? {
            dropped.insert(manifest.manifest_path.clone(), manifest);
        }
    }
    let mut retained: HashMap<String, ManifestFile> = HashMap::new();
    for snapshot in after.metadata().snapshots() {
        lists.remove(snapshot.manifest_list());
        if snapshot.parent_snapshot_id().is_some_and(|parent| kept.contains(&parent)) {
            continue;
        }
        for manifest in load_manifest_list(store, after.metadata(), snapshot).await? {
            dropped.remove(&manifest.manifest_path);
            retained.insert(manifest.manifest_path.clone(), manifest);
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

fn unless_gone<T: Default>(result: Result<T>) -> Result<T> {
    match result {
        Err(Error::Storage(error)) if error.is_not_found() => Ok(T::default()),
        other => other,
    }
}
