//! Parquet files of deletes: encoded in memory, since they are small beside the rows that they delete.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use bytes::Bytes;
use frazil_storage::Env;
use frazil_table::spec::{DataContentType, DataFile, Schema, Struct};
use frazil_table::{Table, TableFile, data_file_builder};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::SchemaDescriptor;

use crate::file_options::parquet_schema_of;
use crate::metrics::{FileIdentity, NanCounts, data_file_from_parquet};
use crate::{Error, FileOptions, MetricsConfig, MetricsMode, Result, WriterConfig, new_file_location};

/// Deleted rows that one file may hold: about 32 MiB encoded in the worst case of keys of 8 bytes that don't compress.
pub(crate) const DELETES_OF_FILE_MAX: usize = 4 << 20;

/// Writes delete files of one table and one kind of rows.
pub(crate) struct DeleteFileWriter<'a> {
    env: &'a Env,
    table: &'a Table,
    prefix: String,
    schema: &'a Schema,
    arrow: ArrowSchemaRef,
    parquet_schema: SchemaDescriptor,
    properties: WriterProperties,
    metrics: MetricsConfig,
}

/// What a delete file says of itself beyond its rows.
pub(crate) enum DeleteKind {
    /// The data file, if there is only one.
    Positions { data_file: Option<String> },
    /// The fields that are compared.
    Equality { ids: Vec<i32> },
}

impl<'a> DeleteFileWriter<'a> {
    /// A writer of files with the columns of `schema`, all of whose bounds are exact.
    pub(crate) fn new(env: &'a Env, table: &'a Table, config: &WriterConfig, schema: &'a Schema) -> Result<Self> {
        config.check()?;
        let arrow = std::sync::Arc::new(frazil_table::arrow::arrow_schema(schema)?);
        let encode = |source| Error::Encode { location: table.ident().to_string(), source };
        let parquet_schema = parquet_schema_of(schema, &arrow).map_err(encode)?;
        let properties = WriterProperties::clone(&FileOptions::of(table)?.parquet)
            .into_builder()
            .set_statistics_truncate_length(None)
            .build();
        Ok(Self {
            env,
            table,
            prefix: format!("{}-deletes", config.file_prefix),
            schema,
            arrow,
            parquet_schema,
            properties,
            metrics: MetricsConfig::uniform(schema, MetricsMode::Full),
        })
    }

    pub(crate) fn arrow_schema(&self) -> &ArrowSchemaRef {
        &self.arrow
    }

    /// Makes rows durable as one file of a partition.
    ///
    /// # Errors
    /// What keeps it from being encoded or stored.
    pub(crate) async fn write(
        &self,
        rows: &[RecordBatch],
        partition_spec_id: i32,
        partition: &Struct,
        kind: DeleteKind,
    ) -> Result<TableFile> {
        let metadata = self.table.metadata();
        let id = self.env.ids.uuid();
        let location = new_file_location(metadata, partition_spec_id, partition, &self.prefix, id)?;
        let encode = |source| Error::Encode { location: location.clone(), source };
        let options = ArrowWriterOptions::new()
            .with_properties(self.properties.clone())
            .with_parquet_schema(self.parquet_schema.clone())
            .with_skip_arrow_metadata(true);
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new_with_options(&mut bytes, self.arrow.clone(), options).map_err(encode)?;
        for batch in rows {
            writer.write(batch).map_err(encode)?;
        }
        let parquet = writer.close().map_err(encode)?;
        let size_bytes = bytes.len() as u64;
        self.env.store.put_new(&location, Bytes::from(bytes)).await?;
        let identity = FileIdentity {
            location: &location,
            size_bytes,
            partition_spec_id,
            partition: partition.clone(),
            sort_order_id: None,
        };
        let described = data_file_from_parquet(&parquet, identity, self.schema, &self.metrics, NanCounts::Unknown);
        Ok(TableFile { file: as_deletes(&described, partition_spec_id, kind), partition_spec_id })
    }
}

/// The same file as what it is: a delete file.
fn as_deletes(file: &DataFile, partition_spec_id: i32, kind: DeleteKind) -> DataFile {
    let mut builder = data_file_builder(file, partition_spec_id);
    match kind {
        DeleteKind::Positions { data_file } => {
            builder.content(DataContentType::PositionDeletes).referenced_data_file(data_file);
        }
        DeleteKind::Equality { ids } => {
            builder.content(DataContentType::EqualityDeletes).equality_ids(Some(ids));
        }
    }
    builder.build().expect("it was a whole file")
}
