//! The JSON of table metadata (Iceberg spec, "Table Metadata and Snapshots"), of which a commit makes only what is new.
//!
//! Nearly all of a long table's metadata is its snapshots and the log of them, and both only grow. So a text keeps them as
//! lists that the text after a commit shares and adds to. Snapshots come first, oldest first: what a commit adds leaves
//! the beginning of the file as it was, which can be written before anybody commits ([`MetadataText::kept_bytes`]).

use std::collections::BTreeMap;

use bytes::Bytes;
use iceberg::spec::EncryptedKey;
use serde::Serialize;
use uuid::Uuid;

use crate::spec::{
    FormatVersion, PartitionSpecRef, PartitionStatisticsFile, SchemaRef, Snapshot, SnapshotReference, SortOrderRef,
    StatisticsFile, Summary, TableMetadata, TableUpdate,
};
use crate::{Error, Result, Table};

mod list;

use list::ListText;

/// The bytes of a metadata file, not compressed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MetadataText {
    /// In format version 1 empty, as the log is: the ground crate writes it whole.
    snapshots: ListText,
    log: ListText,
    /// What comes after both.
    rest: Bytes,
    kept_bytes: usize,
}

/// How the text begins.
const START: &[u8] = br#"{"snapshots":["#;
/// What stands between the snapshots and their log.
const LOG: &[u8] = br#"],"snapshot-log":["#;

impl MetadataText {
    /// The whole text.
    ///
    /// Cost: with all snapshots.
    ///
    /// # Errors
    /// [`Error::InvalidChange`] if the metadata has no JSON form.
    pub fn new(table: &Table) -> Result<Self> {
        let metadata = table.metadata();
        if metadata.format_version() == FormatVersion::V1 {
            let (snapshots, log) = (ListText::default(), ListText::default());
            return Ok(Self { snapshots, log, rest: version_1(metadata)?, kept_bytes: 0 });
        }
        let mut text = Self {
            snapshots: ListText::beginning_with(START),
            log: ListText::beginning_with(LOG),
            rest: rest(table)?,
            kept_bytes: 0,
        };
        let oldest_first = |one: &&Snapshot| (one.sequence_number(), one.timestamp_ms(), one.snapshot_id());
        for snapshot in sorted(metadata.snapshots().map(AsRef::as_ref), oldest_first) {
            text.snapshots.push(&SnapshotText::of(snapshot, metadata.format_version()))?;
        }
        metadata.history().iter().try_for_each(|entry| text.log.push(entry))?;
        Ok(text)
    }

    /// The text of a table that updates made from another: what it would be by itself, but for the order of the
    /// snapshots.
    ///
    /// Cost: with what is new, unless snapshots went: then as [`MetadataText::new`].
    ///
    /// # Errors
    /// As [`MetadataText::new`].
    pub fn after(table: &Table, updates: &[TableUpdate], (before, text): (&Table, &Self)) -> Result<Self> {
        let (now, then) = (table.metadata(), before.metadata());
        let version = now.format_version();
        let Some(added) = added_snapshots(now, then, updates) else { return Self::new(table) };
        if then.format_version() == FormatVersion::V1 {
            return Self::new(table);
        }
        let mut next = Self { rest: rest(table)?, kept_bytes: text.snapshots.size_bytes(), ..text.clone() };
        for snapshot in added {
            next.snapshots.push(&SnapshotText::of(snapshot, version))?;
        }
        match now.history().strip_prefix(then.history()) {
            Some(added) => added.iter().try_for_each(|entry| next.log.push(entry))?,
            None => {
                next.log = ListText::beginning_with(LOG);
                now.history().iter().try_for_each(|entry| next.log.push(entry))?;
            }
        }
        Ok(next)
    }

    /// The bytes, which are JSON. Cost: a copy.
    pub fn bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.size_bytes());
        self.pieces().for_each(|piece| bytes.extend_from_slice(piece));
        bytes.into()
    }

    /// The bytes from an offset on, as pieces in order.
    pub fn pieces_from(&self, offset: usize) -> Vec<Bytes> {
        let mut skip = offset;
        let mut pieces = Vec::new();
        for piece in self.pieces() {
            if skip < piece.len() {
                pieces.push(piece.slice(skip..));
            }
            skip = skip.saturating_sub(piece.len());
        }
        pieces
    }

    /// The JSON. Cost: a copy.
    pub fn json(&self) -> String {
        String::from_utf8(self.bytes().into()).expect("it was written as text")
    }

    /// The bytes with which the text of the table's next commit begins, unless snapshots go by it, as pieces in order.
    pub fn lasting_pieces(&self) -> Vec<Bytes> {
        self.snapshots.pieces().cloned().collect()
    }

    /// How many bytes [`MetadataText::lasting_pieces`] are.
    pub fn lasting_bytes(&self) -> usize {
        self.snapshots.size_bytes()
    }

    /// How many of the first bytes are those of the text that this one was made after: all of that one's
    /// [`MetadataText::lasting_pieces`], or none.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// The length of the text.
    pub fn size_bytes(&self) -> usize {
        self.snapshots.size_bytes() + self.log.size_bytes() + self.rest.len()
    }

    fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.snapshots.pieces().chain(self.log.pieces()).chain([&self.rest])
    }
}

/// The snapshots that updates added, if none went.
fn added_snapshots<'a>(
    now: &'a TableMetadata,
    then: &TableMetadata,
    updates: &[TableUpdate],
) -> Option<Vec<&'a Snapshot>> {
    let mut added: Vec<&Snapshot> = Vec::new();
    for update in updates {
        if let TableUpdate::AddSnapshot { snapshot } = update {
            added.push(now.snapshot_by_id(snapshot.snapshot_id())?);
        }
    }
    let is_new = |snapshot: &&Snapshot| then.snapshot_by_id(snapshot.snapshot_id()).is_none();
    let none_went = then.snapshots().len() + added.len() == now.snapshots().len();
    (none_went && added.iter().all(is_new)).then_some(added)
}

/// Everything but the snapshots and their log. Iceberg's Java library of 2022, and so Trino of that time, refuses metadata without
/// `properties`, `snapshots` and (before format version 3) `current-snapshot-id`, whose absence it writes as -1; so they
/// are written out also where the specification lets them be left out.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Rest<'a> {
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

impl<'a> Rest<'a> {
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

/// What closes the log, and everything else.
fn rest(table: &Table) -> Result<Bytes> {
    let mut rest = b"],".to_vec();
    let start = rest.len();
    serde_json::to_writer(&mut rest, &Rest::of(table)).map_err(no_json)?;
    // The object is open already.
    rest.remove(start);
    Ok(rest.into())
}

/// As the ground crate writes it.
fn version_1(metadata: &TableMetadata) -> Result<Bytes> {
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
    Ok(json.into())
}

#[cfg(test)]
mod tests;
