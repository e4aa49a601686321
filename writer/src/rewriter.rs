//! Rows whose partition is known, into one file.

use std::sync::Arc;

use arrow::array::RecordBatch;
use frazil_storage::Env;
use frazil_table::spec::{Struct, TableMetadata, Type};
use frazil_table::{Table, TableFile};
use uuid::Uuid;

use crate::conform::conform_batch;
use crate::file_options::ROW_GROUP_ROWS;
use crate::memory::{Reservation, batch_bytes};
use crate::partition::Partition;
use crate::partition_path::segment;
use crate::partition_writer::PartitionWriter;
use crate::rows::Rows;
use crate::shared::Shared;
use crate::{DataLocations, Error, Result, WriterConfig};

/// Rows of a row group, unless the table says otherwise: four times those of a new file. What is merged is mostly scanned,
/// and the page index finds what is not.
const ROW_GROUP_ROWS_MAX: usize = 1 << 22;

/// Writes rows that were in one partition of a table already into one new file of that partition, in the order in which
/// they come, whatever the partition spec and the file's size. Used where files are merged.
///
/// Dropped, it leaves nothing behind. No method may be cancelled.
pub struct Rewriter {
    shared: Shared,
    /// Taken while it works: lost after an error.
    writer: Option<PartitionWriter>,
    pending: Vec<RecordBatch>,
    memory: Reservation,
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
        let options = Arc::make_mut(&mut shared.options);
        options.target_file_size_bytes = u64::MAX;
        if table.property(ROW_GROUP_ROWS).is_none() {
            options.row_group_rows_max = ROW_GROUP_ROWS_MAX;
        }
        let writer = PartitionWriter::new(0, Arc::new(Partition { tuple, folder }));
        Ok(Self { pending: Vec::new(), memory: shared.memory.reserve(0), shared, writer: Some(writer) })
    }

    /// Takes a batch of the table's current schema.
    ///
    /// # Errors
    /// As [`crate::TableWriter::write`], but after any error the writer can't go on.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let writer = self.writer.take().ok_or(Error::WriterFailed)?;
        if batch.num_rows() > 0 {
            let batch = conform_batch(&batch, &self.shared.options.arrow_schema)?;
            self.memory.grow(batch_bytes(&batch));
            self.pending.push(batch);
        }
        let full = self.memory.bytes() >= self.shared.config.intake_bytes();
        self.writer = Some(if full { self.encode(writer).await? } else { writer });
        Ok(())
    }

    async fn encode(&mut self, writer: PartitionWriter) -> Result<PartitionWriter> {
        let rows = Rows::all(std::mem::take(&mut self.pending));
        let writer = writer.encode(rows, &self.shared, &mut self.shared.closed_files()).await?;
        self.memory.set(0);
        if writer.memory_bytes() > self.shared.config.encoders_bytes() {
            return writer.end_row_group(&self.shared).await;
        }
        Ok(writer)
    }

    /// Makes the file durable. `None` if it got no row.
    ///
    /// # Errors
    /// As [`crate::TableWriter::flush`].
    pub async fn close(mut self) -> Result<Option<TableFile>> {
        let writer = self.writer.take().ok_or(Error::WriterFailed)?;
        let (writer, mut files) = (self.encode(writer).await?, self.shared.closed_files());
        writer.close(&self.shared, &mut files).await?;
        Ok(files.give_out().pop())
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

pub(crate) fn partition_folder(metadata: &TableMetadata, spec_id: i32, tuple: &Struct) -> Result<String> {
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
