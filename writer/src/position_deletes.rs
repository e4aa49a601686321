//! Position delete files (Iceberg spec, "Position Delete Files"): how format version 2 deletes rows by their place.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use frazil_storage::Env;
use frazil_table::spec::{NestedField, PrimitiveType, Schema, Struct, Type};
use frazil_table::{Table, TableFile};
use roaring::RoaringTreemap;

use crate::closed_files::ClosedFiles;
use crate::delete_file::{DELETES_OF_FILE_MAX, DeleteFileWriter, DeleteKind};
use crate::{Error, Result, WriterConfig};

/// Whether each data file has delete files of its own or each partition shares them.
const GRANULARITY: &str = "write.delete.granularity";

/// Rows of one data file that are to be deleted.
#[derive(Clone, Debug)]
pub struct DeletedRows {
    /// The data file's location.
    pub path: String,
    /// The partition spec that it was written with.
    pub partition_spec_id: i32,
    /// Its partition.
    pub partition: Struct,
    /// Its deleted rows, counted from 0; never none.
    pub rows: RoaringTreemap,
}

/// `file_path` and `pos` (Iceberg spec, "Reserved Field IDs").
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let field = |id, name: &str, primitive| NestedField::required(id, name, Type::Primitive(primitive));
    let fields =
        [field(i32::MAX - 101, "file_path", PrimitiveType::String), field(i32::MAX - 102, "pos", PrimitiveType::Long)];
    Schema::builder().with_fields(fields.map(Arc::new)).build().expect("two fields that differ in name and id")
});

/// Writes position delete files, sorted by path and position: one for each data file, or with
/// `write.delete.granularity` = `partition` (which is what a table has that does not set it) one for each partition. A
/// file that deletes from one data file alone says so (`referenced_data_file`); bounds of `file_path` are exact. Every
/// file is durable; none is in the table.
///
/// Memory: the deletes of one file, at most 4 Mi of them.
///
/// # Errors
/// [`Error::BadProperty`] for a table property that means nothing; what keeps a file from being stored.
pub async fn write_position_deletes(
    env: &Env,
    table: &Table,
    config: &WriterConfig,
    deleted: &[DeletedRows],
) -> Result<Vec<TableFile>> {
    let writer = DeleteFileWriter::new(env, table, config, &SCHEMA)?;
    let mut by_path: Vec<&DeletedRows> = deleted.iter().filter(|deleted| !deleted.rows.is_empty()).collect();
    by_path.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let mut files = ClosedFiles::of(env);
    for group in groups(table, by_path)? {
        let mut rows = group.iter().flat_map(|deleted| deleted.rows.iter().map(|row| (deleted.path.as_str(), row)));
        loop {
            let (paths, positions): (Vec<&str>, Vec<i64>) =
                rows.by_ref().take(DELETES_OF_FILE_MAX).map(|(path, row)| (path, row as i64)).unzip();
            let (Some(first), Some(last)) = (paths.first(), paths.last()) else { break };
            let data_file = (first == last).then(|| (*first).to_owned());
            let columns: Vec<ArrayRef> =
                vec![Arc::new(StringArray::from(paths)), Arc::new(Int64Array::from(positions))];
            let batch = RecordBatch::try_new(writer.arrow_schema().clone(), columns)
                .map_err(Error::arrow("gathering position deletes"))?;
            let (spec_id, partition) = (group[0].partition_spec_id, &group[0].partition);
            files.push(writer.write(&[batch], spec_id, partition, DeleteKind::Positions { data_file }).await?);
        }
    }
    Ok(files.give_out())
}

/// The data files whose deletes go together, by path in each group.
fn groups<'a>(table: &Table, by_path: Vec<&'a DeletedRows>) -> Result<Vec<Vec<&'a DeletedRows>>> {
    match table.property(GRANULARITY).unwrap_or("partition") {
        "file" => Ok(by_path.into_iter().map(|deleted| vec![deleted]).collect()),
        "partition" => {
            let mut groups: BTreeMap<usize, Vec<&DeletedRows>> = BTreeMap::new();
            let mut numbers = std::collections::HashMap::new();
            for deleted in by_path {
                let next = numbers.len();
                let number = *numbers.entry((deleted.partition_spec_id, &deleted.partition)).or_insert(next);
                groups.entry(number).or_default().push(deleted);
            }
            Ok(groups.into_values().collect())
        }
        other => Err(Error::BadProperty {
            property: GRANULARITY.to_owned(),
            value: other.to_owned(),
            wanted: "file or partition".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
