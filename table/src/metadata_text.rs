//! The JSON of table metadata (Iceberg spec, "Table Metadata and Snapshots"), of which a commit writes only what is new.
//!
//! Nearly all of a long table's metadata is its snapshots, and they never change. So a text knows where each of its
//! snapshots is, and the text after a commit copies those that stayed. Snapshots come last, oldest first.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use iceberg::spec::EncryptedKey;
use serde::Serialize;
use uuid::Uuid;

use crate::spec::{
    FormatVersion, PartitionSpecRef, PartitionStatisticsFile, SchemaRef, Snapshot, SnapshotReference, SortOrderRef,
    StatisticsFile, Summary, TableMetadata,
};
use crate::{Error, Result, Table};

/// The bytes of a metadata file, not compressed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MetadataText {
    bytes: Bytes,
    /// Where each snapshot is, in the order of the text; empty in format version 1.
    places: Arc<[Place]>,
}

#[derive(Clone, Debug)]
struct Place {
    snapshot_id: i64,
    range: Range<usize>,
}

impl MetadataText {
    /// The whole text.
    ///
    /// Cost: with all snapshots.
    ///
    /// # Errors
    /// [`Error::InvalidChange`] if the metadata has no JSON form.
    pub fn new(table: &Table) -> Result<Self> {
        match table.metadata().format_version() {
            FormatVersion::V1 => version_1(table.metadata()),
            FormatVersion::V2 | FormatVersion::V3 => write(table, None),
        }
    }

    /// The text of a table that was made from another: what it would be by itself, but for the order of the snapshots.
    ///
    /// Cost: a copy of the text before, and what is new.
    ///
    /// # Errors
    /// As [`MetadataText::new`].
    pub fn after(table: &Table, (before, text): (&Table, &Self)) -> Result<Self> {
        let version = table.metadata().format_version();
        if version == FormatVersion::V1 || version != before.metadata().format_version() {
            return Self::new(table);
        }
        write(table, Some((before.metadata(), text)))
    }

    /// The bytes, which are JSON.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The JSON.
    pub fn json(&self) -> &str {
        str::from_utf8(&self.bytes).expect("it was written as text")
    }
}

/// Everything but the snapshots. Iceberg's Java library of 2022, and so Trino of that time, refuses metadata without
/// `properties`, `snapshots` and (before format version 3) `current-snapshot-id`, whose absence it writes as -1; so they
/// are written out also where the specification lets them be left out.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Head<'a> {
    format_version: u8,
    table_uuid: Uuid,
    location: &'a str,
    last_sequence_number: i64,
    last_updated_ms: i64,
    last_column_id: i32,
    schemas: Vec<&'a SchemaRef>,
    current_schema_id: i32,
    partition_specs: Vec<&'a PartitionSpecRef>,
    default_spec_id: i32,
    last_partition_id: i32,
    properties: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_snapshot_id: Option<i64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    snapshot_log: &'a [iceberg::spec::SnapshotLog],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    metadata_log: &'a [iceberg::spec::MetadataLog],
    sort_orders: Vec<&'a SortOrderRef>,
    default_sort_order_id: i64,
    refs: &'a BTreeMap<String, SnapshotReference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statistics: Vec<&'a StatisticsFile>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    partition_statistics: Vec<&'a PartitionStatisticsFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_row_id: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    encryption_keys: Vec<&'a EncryptedKey>,
}

impl<'a> Head<'a> {
    fn of(table: &'a Table) -> Self {
        let metadata = table.metadata().as_ref();
        let is_v3 = metadata.format_version() >= FormatVersion::V3;
        let current = metadata.current_snapshot_id();
        Self {
            format_version: metadata.format_version() as u8,
            table_uuid: metadata.uuid(),
            location: metadata.location(),
            last_sequence_number: metadata.last_sequence_number(),
            last_updated_ms: metadata.last_updated_ms(),
            last_column_id: metadata.last_column_id(),
            schemas: sorted(metadata.schemas_iter(), |schema| schema.schema_id()),
            current_schema_id: metadata.current_schema_id(),
            partition_specs: sorted(metadata.partition_specs_iter(), |spec| spec.spec_id()),
            default_spec_id: metadata.default_partition_spec_id(),
            last_partition_id: metadata.last_partition_id(),
            properties: metadata.properties().iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            current_snapshot_id: current.or((!is_v3).then_some(-1)),
            snapshot_log: metadata.history(),
            metadata_log: metadata.metadata_log(),
            sort_orders: sorted(metadata.sort_orders_iter(), |order| order.order_id),
            default_sort_order_id: metadata.default_sort_order_id(),
            refs: table.refs(),
            statistics: sorted(metadata.statistics_iter(), |file| file.snapshot_id),
            partition_statistics: sorted(metadata.partition_statistics_iter(), |file| file.snapshot_id),
            next_row_id: is_v3.then(|| metadata.next_row_id()),
            encryption_keys: sorted(metadata.encryption_keys_iter(), |key| key.key_id().to_owned()),
        }
    }
}

fn sorted<T, K: Ord>(items: impl Iterator<Item = T>, key: impl FnMut(&T) -> K) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_by_key(key);
    items
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct SnapshotText<'a> {
    snapshot_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_snapshot_id: Option<i64>,
    sequence_number: i64,
    timestamp_ms: i64,
    manifest_list: &'a str,
    summary: &'a Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_row_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    added_rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
}

impl<'a> SnapshotText<'a> {
    fn of(snapshot: &'a Snapshot, version: FormatVersion) -> Self {
        let is_v3 = version >= FormatVersion::V3;
        let row_range = snapshot.row_range().filter(|_| is_v3);
        Self {
            snapshot_id: snapshot.snapshot_id(),
            parent_snapshot_id: snapshot.parent_snapshot_id(),
            sequence_number: snapshot.sequence_number(),
            timestamp_ms: snapshot.timestamp_ms(),
            manifest_list: snapshot.manifest_list(),
            summary: snapshot.summary(),
            schema_id: snapshot.schema_id(),
            first_row_id: row_range.map(|(first, _)| first),
            added_rows: row_range.map(|(_, count)| count),
            key_id: snapshot.encryption_key_id().filter(|_| is_v3),
        }
    }
}

fn no_json(error: impl ToString) -> Error {
    Error::InvalidChange(error.to_string())
}

fn write(table: &Table, before: Option<(&TableMetadata, &MetadataText)>) -> Result<MetadataText> {
    let metadata = table.metadata();
    let head = serde_json::to_vec(&Head::of(table)).map_err(no_json)?;
    let room = before.map_or(metadata.snapshots().len() << 10, |(_, text)| text.bytes.len() + (16 << 10));
    let mut text = Vec::with_capacity(head.len() + room);
    text.extend_from_slice(&head[..head.len() - 1]);
    text.extend_from_slice(br#","snapshots":["#);
    let mut places = Vec::with_capacity(metadata.snapshots().len());
    if let Some((before, old)) = before {
        copy_kept(|id| is_same(metadata, before, id), old, &mut text, &mut places);
    }
    let mut added = Vec::new();
    if places.len() < metadata.snapshots().len() {
        let is_kept = |id| before.is_some_and(|(before, _)| is_same(metadata, before, id));
        let new = metadata.snapshots().filter(|snapshot| !is_kept(snapshot.snapshot_id()));
        added = sorted(new, |one| (one.sequence_number(), one.timestamp_ms(), one.snapshot_id()));
    }
    for snapshot in added {
        if !places.is_empty() {
            text.push(b',');
        }
        let start = text.len();
        serde_json::to_writer(&mut text, &SnapshotText::of(snapshot, metadata.format_version())).map_err(no_json)?;
        places.push(Place { snapshot_id: snapshot.snapshot_id(), range: start..text.len() });
    }
    text.extend_from_slice(b"]}");
    Ok(MetadataText { bytes: text.into(), places: places.into() })
}

/// Whether both have the very same snapshot.
fn is_same(metadata: &TableMetadata, before: &TableMetadata, id: i64) -> bool {
    match (metadata.snapshot_by_id(id), before.snapshot_by_id(id)) {
        (Some(now), Some(then)) => Arc::ptr_eq(now, then),
        _ => false,
    }
}

/// Copies the snapshots that stayed, as many in one piece as lie beside each other.
fn copy_kept(is_kept: impl Fn(i64) -> bool, old: &MetadataText, text: &mut Vec<u8>, places: &mut Vec<Place>) {
    let mut rest = old.places.iter().peekable();
    while let Some(first) = rest.next() {
        if !is_kept(first.snapshot_id) {
            continue;
        }
        if !places.is_empty() {
            text.push(b',');
        }
        let (from, to) = (first.range.start, text.len());
        let mut end = first.range.end;
        let moved = |range: &Range<usize>| range.start - from + to..range.end - from + to;
        places.push(Place { snapshot_id: first.snapshot_id, range: moved(&first.range) });
        while let Some(next) = rest.next_if(|next| is_kept(next.snapshot_id)) {
            end = next.range.end;
            places.push(Place { snapshot_id: next.snapshot_id, range: moved(&next.range) });
        }
        text.extend_from_slice(&old.bytes[from..end]);
    }
}

/// As the ground crate writes it.
fn version_1(metadata: &TableMetadata) -> Result<MetadataText> {
    let mut json = serde_json::to_string(metadata).map_err(no_json)?;
    json.truncate(json.len() - 1);
    if metadata.properties().is_empty() {
        json.push_str(",\"properties\":{}");
    }
    if metadata.snapshots().len() == 0 {
        json.push_str(",\"snapshots\":[]");
    }
    if metadata.current_snapshot().is_none() {
        json.push_str(",\"current-snapshot-id\":-1");
    }
    json.push('}');
    Ok(MetadataText { bytes: json.into(), places: Arc::new([]) })
}

#[cfg(test)]
mod tests;
