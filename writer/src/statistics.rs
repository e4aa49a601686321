//! Statistics files: Puffin files with a table's sketches, which its metadata names for a snapshot (Iceberg spec, "Table
//! Statistics"; Puffin spec).

use std::collections::HashMap;

use bytes::Bytes;
use frazil_storage::Env;
use frazil_table::layout;
use frazil_table::spec::{BlobMetadata, Operation, Snapshot, StatisticsFile, TableMetadata};
use serde::{Deserialize, Serialize};

use crate::{Error, NdvSketches, Result};

const MAGIC: &[u8; 4] = b"PFA1";
const THETA: &str = "apache-datasketches-theta-v1";
const NDV: &str = "ndv";
const TOTAL_FILES: &str = "total-data-files";

/// A statistics file that says it is larger is not read: a sketch takes 32 KiB at most.
const FILE_MAX_BYTES: u64 = 256 << 20;

#[derive(Serialize, Deserialize)]
struct Footer {
    blobs: Vec<FooterBlob>,
    #[serde(default)]
    properties: HashMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FooterBlob {
    r#type: String,
    fields: Vec<i32>,
    snapshot_id: i64,
    sequence_number: i64,
    offset: u64,
    length: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compression_codec: Option<String>,
    #[serde(default)]
    properties: HashMap<String, String>,
}

/// The table property by which jobs and `INSERT`s keep sketches of distinct values; `false` by default. Named after
/// Trino's `iceberg.extended-statistics.enabled`: Iceberg itself has no name for it.
pub const EXTENDED_STATISTICS_ENABLED: &str = "write.extended-statistics.enabled";

/// How often a job writes a statistics file at most, in milliseconds.
pub const EXTENDED_STATISTICS_INTERVAL: &str = "write.extended-statistics.interval-ms";

const INTERVAL_MS: u64 = 60_000;

/// How the writers of a table keep its statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatisticsConfig {
    /// At most one statistics file in so many milliseconds, by one job.
    pub interval_ms: u64,
}

impl StatisticsConfig {
    /// What the table's properties say; `None` if they don't ask for statistics.
    ///
    /// # Errors
    /// [`Error::BadProperty`] for values that mean nothing.
    pub fn of(metadata: &TableMetadata) -> Result<Option<Self>> {
        let bad = |property: &str, value: &str, wanted: &str| Error::BadProperty {
            property: property.to_owned(),
            value: value.to_owned(),
            wanted: wanted.to_owned(),
        };
        let property = |key: &str| metadata.properties().get(key).map(|value| value.trim());
        let is_enabled = match property(EXTENDED_STATISTICS_ENABLED) {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(bad(EXTENDED_STATISTICS_ENABLED, other, "true or false")),
        };
        let interval_ms = match property(EXTENDED_STATISTICS_INTERVAL) {
            None => INTERVAL_MS,
            Some(text) => {
                let parsed = text.parse();
                parsed.map_err(|_| bad(EXTENDED_STATISTICS_INTERVAL, text, "a number of milliseconds"))?
            }
        };
        Ok(is_enabled.then_some(Self { interval_ms }))
    }
}

/// What is known of the rows that a new snapshot adds to.
#[derive(Clone, Debug, PartialEq)]
pub enum Before<'a> {
    /// There are none: the sketches of the new rows are those of the table.
    Nothing,
    /// Their sketches are in this file.
    Statistics(&'a StatisticsFile),
    /// Nothing: sketches of the new rows alone would understate. Statistics have to be computed from the whole table.
    Unknown,
}

/// What is known of the table at a snapshot, `None` for a table without one. Snapshots that changed no rows are looked
/// through: those that replaced files, and those that only carry a job's positions.
pub fn statistics_before(metadata: &TableMetadata, snapshot_id: Option<i64>) -> Before<'_> {
    let mut next = snapshot_id;
    // Damaged metadata may name parents in a circle.
    for _ in 0..=metadata.snapshots().len() {
        let Some(snapshot_id) = next else { return Before::Nothing };
        if let Some(statistics) = theta_statistics(metadata, snapshot_id) {
            return Before::Statistics(statistics);
        }
        match metadata.snapshot_by_id(snapshot_id) {
            Some(snapshot) if !changes_rows(metadata, snapshot) => next = snapshot.parent_snapshot_id(),
            _ => return Before::Unknown,
        }
    }
    Before::Unknown
}

/// The statistics file of a snapshot, if it has sketches.
pub fn theta_statistics(metadata: &TableMetadata, snapshot_id: i64) -> Option<&StatisticsFile> {
    let statistics = metadata.statistics_for_snapshot(snapshot_id)?;
    statistics.blob_metadata.iter().any(|blob| blob.r#type == THETA).then_some(statistics)
}

/// Whether a snapshot may have other rows than its parent: all but those that replace files, and those that append none,
/// as their totals tell.
pub fn changes_rows(metadata: &TableMetadata, snapshot: &Snapshot) -> bool {
    let total = |snapshot: &Snapshot| snapshot.summary().additional_properties.get(TOTAL_FILES).cloned();
    let before = match snapshot.parent_snapshot_id() {
        None => Some("0".to_owned()),
        Some(parent) => metadata.snapshot_by_id(parent).and_then(|parent| total(parent)),
    };
    match snapshot.summary().operation {
        Operation::Replace => false,
        Operation::Append => before.is_none() || before != total(snapshot),
        Operation::Overwrite | Operation::Delete => true,
    }
}

/// Writes the sketches of a snapshot's whole table: those of its new rows united with those of before. The file is
/// durable and named by nothing: put it into the table by a `SetStatistics` change.
///
/// `None` if it is not known what was before, or if no column has sketches in both.
///
/// # Errors
/// [`Error::Storage`]; [`Error::DamagedStatistics`] if the file of before can't be read.
pub async fn store_statistics(
    env: &Env,
    metadata: &TableMetadata,
    (snapshot_id, sequence_number): (i64, i64),
    before: Before<'_>,
    mut sketches: NdvSketches,
) -> Result<Option<StatisticsFile>> {
    match before {
        Before::Nothing => {}
        Before::Statistics(file) => sketches.unite(&load_sketches(env, file).await?),
        Before::Unknown => return Ok(None),
    }
    if sketches.is_empty() {
        return Ok(None);
    }
    let (bytes, footer_bytes, blobs) = encode(&sketches, snapshot_id, sequence_number);
    let statistics_path = format!("{}/{snapshot_id}-{}.stats", layout::metadata_root(metadata), env.ids.uuid());
    let size = bytes.len() as i64;
    env.store.put_new(&statistics_path, bytes).await?;
    Ok(Some(StatisticsFile {
        snapshot_id,
        statistics_path,
        file_size_in_bytes: size,
        file_footer_size_in_bytes: footer_bytes,
        key_metadata: None,
        blob_metadata: blobs,
    }))
}

/// The sketches of a statistics file, of whoever wrote it.
///
/// # Errors
/// [`Error::DamagedStatistics`] if it is not what its specification says.
pub async fn load_sketches(env: &Env, file: &StatisticsFile) -> Result<NdvSketches> {
    let location = &file.statistics_path;
    let damaged = |reason: &str| Error::DamagedStatistics { location: location.clone(), reason: reason.to_owned() };
    if env.store.head(location).await?.size_bytes > FILE_MAX_BYTES {
        return Err(damaged("it is larger than 256 MiB"));
    }
    let bytes = env.store.read(location).await?;
    let footer = footer(&bytes).ok_or_else(|| damaged("it has no Puffin footer"))?;
    let mut sketches = Vec::new();
    for blob in footer.blobs.iter().filter(|blob| blob.r#type == THETA) {
        let [field] = blob.fields.as_slice() else { continue };
        let end = blob.offset.checked_add(blob.length).and_then(|end| usize::try_from(end).ok());
        let range = usize::try_from(blob.offset).ok().zip(end).and_then(|(start, end)| bytes.get(start..end));
        let range = range.ok_or_else(|| damaged("a blob is outside of it"))?;
        match blob.compression_codec.as_deref() {
            None => sketches.push((*field, range.to_vec())),
            Some("zstd") => sketches.push((*field, inflate(range).ok_or_else(|| damaged("a blob is no zstd"))?)),
            Some(other) => return Err(damaged(&format!("a blob is compressed by {other}; zstd is known"))),
        }
    }
    let sketches = sketches.iter().map(|(field, bytes)| (*field, bytes.as_slice()));
    NdvSketches::deserialize(sketches).ok_or_else(|| damaged("a blob is no theta sketch"))
}

/// The largest sketch that other engines write: 2^26 hashes are for nobody.
const SKETCH_MAX_BYTES: u64 = 16 << 20;

fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut inflated = Vec::new();
    zstd::Decoder::new(bytes).ok()?.take(SKETCH_MAX_BYTES + 1).read_to_end(&mut inflated).ok()?;
    (inflated.len() as u64 <= SKETCH_MAX_BYTES).then_some(inflated)
}

/// The file, the size of its footer, and what the table's metadata says of its blobs.
fn encode(sketches: &NdvSketches, snapshot_id: i64, sequence_number: i64) -> (Bytes, i64, Vec<BlobMetadata>) {
    let mut bytes = MAGIC.to_vec();
    let (mut blobs, mut described) = (Vec::new(), Vec::new());
    for (field, sketch) in sketches.serialized() {
        let ndv = sketches.estimate(field).unwrap_or_default().round() as u64;
        let properties = HashMap::from([(NDV.to_owned(), ndv.to_string())]);
        blobs.push(FooterBlob {
            r#type: THETA.to_owned(),
            fields: vec![field],
            snapshot_id,
            sequence_number,
            offset: bytes.len() as u64,
            length: sketch.len() as u64,
            compression_codec: None,
            properties: properties.clone(),
        });
        described.push(BlobMetadata {
            r#type: THETA.to_owned(),
            snapshot_id,
            sequence_number,
            fields: vec![field],
            properties,
        });
        bytes.extend(sketch);
    }
    let created_by = concat!("frazil version ", env!("CARGO_PKG_VERSION"));
    let properties = HashMap::from([("created-by".to_owned(), created_by.to_owned())]);
    let footer = serde_json::to_vec(&Footer { blobs, properties }).expect("names and numbers have a JSON form");
    let start = bytes.len();
    bytes.extend(MAGIC);
    bytes.extend(&footer);
    bytes.extend((footer.len() as i32).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(MAGIC);
    let footer_bytes = (bytes.len() - start) as i64;
    (bytes.into(), footer_bytes, described)
}

/// A Puffin file's footer: magic, JSON, its length, flags, magic. A compressed one is not known.
fn footer(bytes: &[u8]) -> Option<Footer> {
    let rest = bytes.strip_prefix(MAGIC)?.strip_suffix(MAGIC)?;
    let (rest, flags) = rest.split_last_chunk::<4>()?;
    let (rest, length) = rest.split_last_chunk::<4>()?;
    let (rest, json) =
        rest.split_at_checked(rest.len().checked_sub(usize::try_from(i32::from_le_bytes(*length)).ok()?)?)?;
    (*flags == [0; 4] && rest.ends_with(MAGIC)).then(|| serde_json::from_slice(json).ok())?
}

#[cfg(test)]
mod tests;
