//! Deletion vectors in Puffin files: how format version 3 deletes rows by their place (Iceberg spec, "Deletion Vectors";
//! Puffin spec).
//!
//! A file is: `PFA1`; the blobs; `PFA1`, a JSON that says where each blob is, the JSON's length, flags, `PFA1`. Each
//! vector's manifest entry has its place, too, so that readers of a table need no look at the footer.

use std::collections::BTreeMap;

use bytes::Bytes;
use frazil_storage::Env;
use frazil_table::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat};
use frazil_table::{DELETION_VECTOR_BLOB, Table, TableFile, encode_deletion_vector};
use serde::Serialize;

use crate::closed_files::ClosedFiles;
use crate::data_location::DataLocations;
use crate::position_deletes::DeletedRows;
use crate::{Error, Result, WriterConfig};

const MAGIC: [u8; 4] = *b"PFA1";

/// A file with as many bytes of blobs is closed: the vectors of one commit are one file but for very large ones.
const FILE_BYTES: usize = 64 << 20;

/// The field that a deletion vector's blob is about: `_pos` (Iceberg spec, "Reserved Field IDs").
const POS_FIELD_ID: i32 = i32::MAX - 2;

/// As the specification wants it for deletion vectors, whose snapshot is not known when they are written.
const UNKNOWN: i64 = -1;

#[derive(Serialize)]
struct Footer<'a> {
    blobs: Vec<BlobMetadata<'a>>,
    properties: BTreeMap<&'a str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct BlobMetadata<'a> {
    r#type: &'a str,
    fields: [i32; 1],
    snapshot_id: i64,
    sequence_number: i64,
    offset: usize,
    length: usize,
    properties: BTreeMap<&'a str, String>,
}

/// Writes one deletion vector for each data file, in as few Puffin files as can be; gives an entry for each vector.
/// `deleted` is all that is deleted of each file: what an earlier vector and position deletes said is to be among it.
/// Every file is durable; none is in the table.
///
/// Memory: the blobs of one Puffin file, about 64 MiB.
///
/// # Errors
/// What keeps a file from being stored; [`Error::Table`] for more positions than a reader would take.
pub async fn write_deletion_vectors(
    env: &Env,
    table: &Table,
    config: &WriterConfig,
    deleted: &[DeletedRows],
) -> Result<Vec<TableFile>> {
    config.check()?;
    let locations = DataLocations::of(table.metadata())?;
    let mut files = ClosedFiles::of(env);
    let mut puffin = Puffin::new();
    for rows in deleted.iter().filter(|deleted| !deleted.rows.is_empty()) {
        puffin.add(rows)?;
        if puffin.bytes.len() >= FILE_BYTES {
            files.extend(std::mem::replace(&mut puffin, Puffin::new()).store(env, &locations, config).await?);
        }
    }
    if !puffin.vectors.is_empty() {
        files.extend(puffin.store(env, &locations, config).await?);
    }
    Ok(files.give_out())
}

struct Puffin<'a> {
    bytes: Vec<u8>,
    /// Each with its place.
    vectors: Vec<(&'a DeletedRows, usize, usize)>,
}

impl<'a> Puffin<'a> {
    fn new() -> Self {
        Self { bytes: MAGIC.to_vec(), vectors: Vec::new() }
    }

    fn add(&mut self, deleted: &'a DeletedRows) -> Result<()> {
        let blob = encode_deletion_vector(&deleted.rows).map_err(|damage| {
            let reason = format!("the deletion vector of {}: {damage}", deleted.path);
            Error::Table(frazil_table::Error::InvalidChange(reason))
        })?;
        self.vectors.push((deleted, self.bytes.len(), blob.len()));
        self.bytes.extend_from_slice(&blob);
        Ok(())
    }

    async fn store(mut self, env: &Env, locations: &DataLocations, config: &WriterConfig) -> Result<Vec<TableFile>> {
        let blobs = self.vectors.iter().map(|(deleted, offset, length)| BlobMetadata {
            r#type: DELETION_VECTOR_BLOB,
            fields: [POS_FIELD_ID],
            snapshot_id: UNKNOWN,
            sequence_number: UNKNOWN,
            offset: *offset,
            length: *length,
            properties: BTreeMap::from([
                ("referenced-data-file", deleted.path.clone()),
                ("cardinality", deleted.rows.len().to_string()),
            ]),
        });
        let created_by = concat!("frazil version ", env!("CARGO_PKG_VERSION")).to_owned();
        let footer = Footer { blobs: blobs.collect(), properties: BTreeMap::from([("created-by", created_by)]) };
        let json = serde_json::to_vec(&footer).expect("a footer has a JSON form");
        self.bytes.extend_from_slice(&MAGIC);
        self.bytes.extend_from_slice(&json);
        let length = u32::try_from(json.len()).expect("names of the data files of 64 MiB of blobs");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&MAGIC);
        let name = format!("{}-deletes-{}.puffin", config.file_prefix, env.ids.uuid());
        let location = locations.location("", &name);
        let size_bytes = self.bytes.len() as u64;
        env.store.put_new(&location, Bytes::from(self.bytes)).await?;
        let entries = self.vectors.iter().map(|(deleted, offset, length)| TableFile {
            file: entry(&location, size_bytes, deleted, (*offset, *length)),
            partition_spec_id: deleted.partition_spec_id,
        });
        Ok(entries.collect())
    }
}

fn entry(location: &str, size_bytes: u64, deleted: &DeletedRows, (offset, length): (usize, usize)) -> DataFile {
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::PositionDeletes)
        .file_path(location.to_owned())
        .file_format(DataFileFormat::Puffin)
        .partition(deleted.partition.clone())
        .partition_spec_id(deleted.partition_spec_id)
        .record_count(deleted.rows.len())
        .file_size_in_bytes(size_bytes)
        .referenced_data_file(Some(deleted.path.clone()))
        .content_offset(Some(offset as i64))
        .content_size_in_bytes(Some(length as i64));
    builder.build().expect("every field without a default is set above")
}

#[cfg(test)]
mod tests;
