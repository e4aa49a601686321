//! The files of a commit.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use frazil_storage::{Env, Step};
use futures::future::try_join;
use futures::{StreamExt, TryStreamExt};
use iceberg::io::{FileIO, FileWrite};
use iceberg::spec::{ManifestListWriter, ManifestWriterBuilder};

use crate::avro_name::{for_readers, with_avro_names};
use crate::commit::{CommitPlan, ManifestPlan, ManifestRef, PreparedCommit, SnapshotPlan};
use crate::promotion::schema_of_spec;
use crate::spec::{
    FormatVersion, ManifestContentType, ManifestEntry, ManifestFile, ManifestStatus, Snapshot, Summary, TableMetadata,
    TableUpdate,
};
use crate::{Error, ManifestCache, Result, TableState, decode};

/// Manifests that a commit's earlier attempts wrote and that a later one may use again.
#[derive(Debug, Default)]
pub struct WrittenManifests(HashMap<String, ManifestFile>);

impl WrittenManifests {
    /// Where they are: garbage once it is proven that no attempt landed and no more will be made.
    pub fn locations(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Files that are written at the same time.
const WRITES_MAX: usize = 8;

/// Writes the manifests and manifest lists of a plan. The table does not change by this.
///
/// Cost: one write for each new manifest and each snapshot, all at the same time: nobody looks at any of them before the
/// table's pointer moves.
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
    let mut new = Vec::new();
    for manifest in &plan.manifests {
        let stored = match written.0.get(&manifest.location).filter(|_| manifest.reusable) {
            Some(file) => file.clone(),
            None => {
                let (file, bytes) = encode_manifest(state.table().metadata(), manifest).await?;
                new.push((manifest, file.clone(), bytes));
                file
            }
        };
        manifests.push(ManifestFile {
            sequence_number: manifest.sequence_number,
            min_sequence_number: manifest.min_sequence_number(),
            first_row_id: manifest.first_row_id,
            ..stored
        });
    }
    let store_manifests = async {
        store_all(env, new.iter().map(|(plan, _, bytes)| (plan.location.as_str(), bytes.clone()))).await?;
        Ok::<_, Error>(env.steps.reach(Step::ManifestsWritten)?)
    };
    // Encoded while the manifests are on their way.
    let store_lists = async {
        let lists = encode_lists(plan, &manifests).await?;
        store_all(env, lists.iter().map(|(location, _, bytes)| (*location, bytes.clone()))).await?;
        Ok(lists)
    };
    let ((), lists) = try_join(store_manifests, store_lists).await?;
    for (manifest, file, _) in new {
        match manifest.reusable {
            true => drop(written.0.insert(manifest.location.clone(), file)),
            false => attempt_files.push(manifest.location.clone()),
        }
    }
    let mut updates = plan.evolution.as_ref().map_or_else(Vec::new, |evolution| evolution.updates.clone());
    for snapshot in &plan.snapshots {
        attempt_files.push(snapshot.manifest_list.clone());
        updates.push(TableUpdate::AddSnapshot { snapshot: snapshot_of(snapshot) });
    }
    for (plan, file) in plan.manifests.iter().zip(&manifests) {
        cache.insert(file, Arc::new(plan.stored_entries()));
    }
    for (location, listed, _) in lists {
        cache.insert_list(location, listed);
    }
    env.steps.reach(Step::ManifestListWritten)?;
    updates.extend(plan.ref_update(state));
    updates.extend_from_slice(&plan.updates);
    Ok(PreparedCommit {
        requirements: plan.requirements.clone(),
        updates,
        snapshot_ids: plan.snapshots.iter().map(|snapshot| snapshot.snapshot_id).collect(),
        attempt_files,
    })
}

async fn store_all(env: &Env, files: impl Iterator<Item = (&str, Bytes)>) -> Result<()> {
    // Futures first: a closure that lends to a future inside a stream keeps callers from being `Send`.
    let writes: Vec<_> = files.map(|(location, bytes)| env.store.put_new(location, bytes)).collect();
    Ok(futures::stream::iter(writes).buffer_unordered(WRITES_MAX).try_collect().await?)
}

async fn encode_manifest(metadata: &TableMetadata, plan: &ManifestPlan) -> Result<(ManifestFile, Bytes)> {
    let spec = metadata
        .partition_spec_by_id(plan.partition_spec_id)
        .ok_or_else(|| Error::InvalidChange(format!("the table has no partition spec {}", plan.partition_spec_id)))?;
    let spec = with_avro_names(spec)?;
    let encode = Error::spec("encoding a manifest");
    async {
        let memory = FileIO::new_with_memory();
        let output = memory.new_output(&plan.location)?;
        let schema = schema_of_spec(metadata, &spec);
        let builder = ManifestWriterBuilder::new(output, Some(plan.snapshot_id), schema, spec);
        let mut writer = match (plan.format_version, plan.content) {
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
        let bytes = for_readers(memory.new_input(&plan.location)?.read().await?);
        Ok((ManifestFile { manifest_length: bytes.len() as i64, ..file }, bytes))
    }
    .await
    .map_err(encode)
}

fn snapshot_of(plan: &SnapshotPlan) -> Snapshot {
    let builder = Snapshot::builder()
        .with_snapshot_id(plan.snapshot_id)
        .with_parent_snapshot_id(plan.parent_id)
        .with_sequence_number(plan.sequence_number)
        .with_timestamp_ms(plan.timestamp_ms)
        .with_manifest_list(plan.manifest_list.clone())
        .with_summary(Summary { operation: plan.operation.clone(), additional_properties: plan.summary.clone() })
        .with_schema_id(plan.schema_id);
    match plan.row_range {
        Some((first, count)) => builder.with_row_range(first, count).build(),
        None => builder.build(),
    }
}

/// For each snapshot where its list goes, what it lists, and that as bytes.
async fn encode_lists<'a>(
    plan: &'a CommitPlan,
    new_manifests: &[ManifestFile],
) -> Result<Vec<(&'a str, Arc<Vec<ManifestFile>>, Bytes)>> {
    let mut lists = Vec::with_capacity(plan.snapshots.len());
    for snapshot in &plan.snapshots {
        let listed = snapshot.manifests.iter().map(|manifest| match manifest {
            ManifestRef::Stored(file) => file.clone(),
            ManifestRef::New(index) => new_manifests[*index].clone(),
        });
        let listed = Arc::new(listed.collect::<Vec<_>>());
        let bytes = encode_manifest_list(snapshot, &listed).await.map_err(Error::spec("encoding a manifest list"))?;
        debug_assert_eq!(decode::manifest_list(&bytes, snapshot.format_version).as_ref(), Ok(listed.as_ref()));
        lists.push((snapshot.manifest_list.as_str(), listed, bytes));
    }
    Ok(lists)
}

async fn encode_manifest_list(plan: &SnapshotPlan, manifests: &[ManifestFile]) -> iceberg::Result<Bytes> {
    let memory = FileIO::new_with_memory();
    let output = memory.new_output(&plan.manifest_list)?;
    let sink: Box<dyn FileWrite> = output.writer().await?;
    let (id, parent, number) = (plan.snapshot_id, plan.parent_id, plan.sequence_number);
    let first_row_id = plan.row_range.map(|(first, _)| first);
    let mut writer = match plan.format_version {
        FormatVersion::V1 => ManifestListWriter::v1(sink, id, parent),
        FormatVersion::V2 => ManifestListWriter::v2(sink, id, parent, number),
        FormatVersion::V3 => ManifestListWriter::v3(sink, id, parent, number, first_row_id),
    };
    writer.add_manifests(manifests.iter().cloned())?;
    writer.close().await?;
    memory.new_input(&plan.manifest_list)?.read().await
}

impl ManifestPlan {
    /// The entries as a reader of the stored manifest sees them.
    fn stored_entries(&self) -> Vec<ManifestEntry> {
        let entries = self.inherited_entries().into_iter().map(|entry| ManifestEntry {
            status: entry.status,
            snapshot_id: Some(entry.snapshot_id),
            sequence_number: entry.data_sequence_number,
            file_sequence_number: entry.file_sequence_number,
            data_file: entry.file,
        });
        entries.collect()
    }
}
