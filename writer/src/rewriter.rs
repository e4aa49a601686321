//! Rows whose partition is known, into one file.

use arrow::array::RecordBatch;
use frazil_storage::Env;
use frazil_table::spec::{Struct, TableMetadata, Type};
use frazil_table::{Table, TableFile};
use uuid::Uuid;

use crate::conform::conform_batch;
use crate::partition::Partition;
use crate::partition_path::segment;
use crate::partition_writer::{PartitionWriter, Shared, Work};
use crate::{DataLocations, Error, Result, WriterConfig};

/// Writes rows that were in one partition of a table already into one new file of that partition, in the order in which
/// they come, whatever the partition spec and the file's size. Used where files are merged.
///
/// Dropped, it leaves nothing behind. No method may be cancelled.
pub struct Rewriter {
    shared: Shared,
    /// Taken while it works: lost after an error.
    writer: Option<PartitionWriter>,
}

impl std::fmt::Debug for Rewriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rewriter").field("data_root", &self.shared.locations.root()).finish_non_exhaustive()
    }
}

impl Rewriter {
    /// A writer into partition `tuple` of partition spec `spec_id`.
    ///
    /// # Errors
    /// As [`crate::TableWriter::new`]; [`Error::Table`] if the table has no such spec.
    pub fn new(env: Env, table: &Table, config: WriterConfig, spec_id: i32, tuple: Struct) -> Result<Self> {
        let folder = partition_folder(table.metadata(), spec_id, &tuple)?;
        let mut shared = Shared::new(env, table, config)?;
        shared.spec_id = spec_id;
        shared.options.target_file_size_bytes = u64::MAX;
        Ok(Self { shared, writer: Some(PartitionWriter::new(Partition { tuple, folder })) })
    }

    /// Takes a batch of the table's current schema.
    ///
    /// # Errors
    /// As [`crate::TableWriter::write`], but after any error the writer can't go on.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let mut writer = self.writer.take().ok_or(Error::WriterFailed)?;
        if batch.num_rows() > 0 {
            writer.push(conform_batch(&batch, &self.shared.options.arrow_schema)?);
        }
        if writer.pending_bytes() >= self.shared.config.encode_bytes() {
            let full = writer.memory_bytes() > self.shared.config.memory_max_bytes;
            let work = if full { Work::Spill } else { Work::Encode };
            (writer, _) = writer.run(work, &self.shared).await?;
        }
        self.writer = Some(writer);
        Ok(())
    }

    /// Makes the file durable. `None` if it got no row.
    ///
    /// # Errors
    /// As [`crate::TableWriter::flush`].
    pub async fn close(mut self) -> Result<Option<TableFile>> {
        let writer = self.writer.take().ok_or(Error::WriterFailed)?;
        let (_, mut files) = writer.run(Work::Close, &self.shared).await?;
        Ok(files.pop())
    }
}

/// A location for a new data file of a partition, named as [`crate::TableWriter`] names its own.
///
/// # Errors
/// [`Error::Table`] if the table has no such partition spec; [`Error::BadProperty`] as [`DataLocations::of`].
pub fn new_file_location(
    metadata: &TableMetadata,
    spec_id: i32,
    tuple: &Struct,
    prefix: &str,
    id: Uuid,
) -> Result<String> {
    let folder = partition_folder(metadata, spec_id, tuple)?;
    Ok(DataLocations::of(metadata)?.new_location(&folder, prefix, id))
}

fn partition_folder(metadata: &TableMetadata, spec_id: i32, tuple: &Struct) -> Result<String> {
    let bad = |reason: String| Error::Table(frazil_table::Error::InvalidChange(reason));
    let spec = metadata
        .partition_spec_by_id(spec_id)
        .ok_or_else(|| bad(format!("the table has no partition spec {spec_id}")))?;
    if tuple.fields().len() != spec.fields().len() {
        return Err(bad(format!("a tuple of {} is no partition of spec {spec_id}", tuple.fields().len())));
    }
    let schemas = std::iter::once(metadata.current_schema()).chain(metadata.schemas_iter());
    // A spec of old may name a column that only an older schema has.
    let types = schemas.map(|schema| spec.partition_type(schema)).find_map(std::result::Result::ok);
    let types = types.ok_or_else(|| bad(format!("no schema has the columns of partition spec {spec_id}")))?;
    let segments = spec.fields().iter().zip(types.fields()).zip(tuple.iter()).map(|((field, result), value)| {
        match result.field_type.as_ref() {
            Type::Primitive(r#type) => Ok(segment(&field.name, &field.transform, r#type, value)),
            _ => Err(bad(format!("partition field {} is of a nested type", field.name))),
        }
    });
    Ok(segments.collect::<Result<Vec<_>>>()?.join("/"))
}
