//! Equality delete files (Iceberg spec, "Equality Delete Files"): keys whose rows are deleted wherever they are.

use arrow::array::RecordBatch;
use frazil_storage::Env;
use frazil_table::{Table, TableFile};

use crate::closed_files::ClosedFiles;
use crate::delete_file::{DELETES_OF_FILE_MAX, DeleteFileWriter, DeleteKind};
use crate::key::KeyColumns;
use crate::partition::PartitionSplitter;
use crate::{Error, Result, WriterConfig};

/// Writes the keys as equality delete files of the table's current partition spec. They delete every row of those keys
/// that is older than the commit that adds them, and none of that commit. Every file is durable; none is in the table.
///
/// Keys are batches of [`KeyColumns::arrow_schema`]. Memory: the keys, and one encoded file.
///
/// # Errors
/// [`Error::BadKey`] if the table is partitioned by a column that is not in the key: an equality delete reaches only rows
/// of its own partition, and older rows of the key may be in another. What keeps a file from being stored.
pub async fn write_equality_deletes(
    env: &Env,
    table: &Table,
    config: &WriterConfig,
    key: &KeyColumns,
    keys: &[RecordBatch],
) -> Result<Vec<TableFile>> {
    check_partitioned_by_key(table, key)?;
    let spec = table.metadata().default_partition_spec();
    let mut splitter = PartitionSplitter::new(spec, key.schema())?;
    let writer = DeleteFileWriter::new(env, table, config, key.schema())?;
    let all = arrow::compute::concat_batches(key.arrow_schema(), keys).map_err(Error::arrow("gathering keys"))?;
    if all.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let mut files = ClosedFiles::of(env);
    for (partition, keys) in splitter.split(&all)? {
        for start in (0..keys.num_rows()).step_by(DELETES_OF_FILE_MAX) {
            let rows = keys.slice(start, DELETES_OF_FILE_MAX.min(keys.num_rows() - start));
            let kind = DeleteKind::Equality { ids: key.ids().to_vec() };
            files.push(writer.write(&[rows], spec.spec_id(), &partition.tuple, kind).await?);
        }
    }
    Ok(files.give_out())
}

/// Whether all rows of a key are in one partition.
///
/// # Errors
/// [`Error::BadKey`] names the column.
pub(crate) fn check_partitioned_by_key(table: &Table, key: &KeyColumns) -> Result<()> {
    let schema = table.metadata().current_schema();
    for field in table.metadata().default_partition_spec().fields() {
        if !key.ids().contains(&field.source_id) {
            let name = schema.name_by_field_id(field.source_id).unwrap_or(&field.name);
            return Err(Error::BadKey {
                field: name.to_owned(),
                reason: "the table is partitioned by it, so in format version 2 it must be in the key; \
                         format version 3 has no such limit"
                    .to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
