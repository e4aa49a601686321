//! Parquet files: rows by their index.
//!
//! Columns are found by name and cast to the declared types; one that the file does not have is NULL. Files of other
//! programs have no field ids to go by, which is why this is not the reader of Iceberg's data files; its check of the
//! footer, though, stands before the decoder here as well.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::FieldRef;
use bytes::Bytes;
use frazil_storage::Store;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::Handle;

use super::{Position, Shared, SourceFile, source_batch};
use crate::connectors::error::SourceError;
use crate::connectors::task::{End, Output};
use crate::source::SourceBatch;

/// Length of the footer, 4 bytes, and `PAR1`.
const TRAILER_BYTES: u64 = 8;

/// Longest footer: 10,000 columns in 100 row groups at 30 bytes a column chunk.
const FOOTER_BYTES_MAX: u64 = 32 << 20;

/// Bytes of one request where the length of what is read is not known before.
const READ_BYTES: u64 = 64 << 10;

/// Reads a file from a position to its end.
pub(super) async fn read(
    shared: &Shared,
    name: &str,
    file: &SourceFile,
    position: Option<Position>,
    output: &mut Output,
) -> Result<(), End> {
    let mut row = 0;
    match position {
        None => {}
        Some(at @ Position::Row { index, size_bytes }) => {
            if size_bytes != file.size_bytes {
                let reason = format!("the file had {size_bytes} bytes and has {} now", file.size_bytes);
                return Err(shared.lost(name, at, reason).into());
            }
            row = index;
        }
        Some(other) => {
            return Err(shared.lost(name, other, "it is a position in a text file").into());
        }
    }
    let mut reader = open(shared, name, file, row).await?;
    loop {
        let (returned, batch) = next(reader).await;
        reader = returned;
        let Some(batch) = batch else { break };
        let batch = batch.map_err(|error| shared.read_error(name, error))?;
        let batch = conform(shared, name, row, &batch)?;
        row += batch.num_rows() as u64;
        let position = Position::Row { index: row, size_bytes: file.size_bytes };
        output.send(source_batch(batch, name, position)).await?;
    }
    let done = Position::Done { size_bytes: file.size_bytes };
    let nothing = RecordBatch::new_empty(shared.schema.clone());
    output.send(SourceBatch { is_end: true, ..source_batch(nothing, name, done) }).await?;
    Ok(())
}

type Batch = Option<Result<RecordBatch, arrow::error::ArrowError>>;

/// Decodes the next batch on a thread that may block.
async fn next(mut reader: ParquetRecordBatchReader) -> (ParquetRecordBatchReader, Batch) {
    let decoded = tokio::task::spawn_blocking(move || {
        let batch = reader.next();
        (reader, batch)
    });
    match decoded.await {
        Ok(decoded) => decoded,
        // The task that called this turns it into the source's error.
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

async fn open(
    shared: &Shared,
    name: &str,
    file: &SourceFile,
    row: u64,
) -> Result<ParquetRecordBatchReader, Box<SourceError>> {
    let footer = load_footer(shared, name, file).await?;
    let wanted = shared.schema.fields().iter().map(|field| field.name().as_str());
    let mask = ProjectionMask::columns(footer.parquet_schema(), wanted);
    let chunks = FileChunks { store: shared.env.store.clone(), runtime: Handle::current(), file: file.clone() };
    ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, footer)
        .with_projection(mask)
        .with_batch_size(shared.batch_rows)
        .with_offset(row as usize)
        .build()
        .map_err(|error| shared.read_error(name, error))
}

async fn load_footer(shared: &Shared, name: &str, file: &SourceFile) -> Result<ArrowReaderMetadata, Box<SourceError>> {
    let damaged = |reason: String| shared.read_error(name, reason);
    let size = file.size_bytes;
    let read = async |from: u64, to: u64| {
        let bytes = shared.env.store.read_range(&file.location, from..to).await;
        bytes.map_err(|error| shared.read_error(name, error))
    };
    if size < TRAILER_BYTES {
        return Err(damaged(format!("{size} bytes are no Parquet file")));
    }
    let trailer = read(size - TRAILER_BYTES, size).await?;
    let (length, magic) = trailer.split_at(4);
    let length = u64::from(u32::from_le_bytes(length.try_into().expect("it was split at 4")));
    if magic != b"PAR1" {
        return Err(damaged("it does not end like a Parquet file".to_owned()));
    }
    if length > FOOTER_BYTES_MAX.min(size - TRAILER_BYTES) {
        return Err(damaged(format!("its footer claims {length} bytes of {size}")));
    }
    let footer = read(size - TRAILER_BYTES - length, size - TRAILER_BYTES).await?;
    frazil_reader::check_footer(&footer).map_err(damaged)?;
    let metadata = ParquetMetaDataReader::decode_metadata(&footer);
    let metadata = metadata.map_err(|error| shared.read_error(name, error))?;
    let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new());
    metadata.map_err(|error| shared.read_error(name, error))
}

/// The table's columns out of the file's.
fn conform(shared: &Shared, name: &str, first_row: u64, batch: &RecordBatch) -> Result<RecordBatch, Box<SourceError>> {
    let malformed = |field: &FieldRef, row: Option<usize>, reason: String| {
        let place = match row {
            Some(row) => format!("{name} row {}", first_row + row as u64 + 1),
            None => format!("{name} from row {} on", first_row + 1),
        };
        Box::new(SourceError::MalformedRow {
            table: shared.table.clone(),
            place,
            field: Some(field.name().clone()),
            reason,
        })
    };
    let mut columns = Vec::with_capacity(shared.schema.fields().len());
    for field in shared.schema.fields() {
        let column = match batch.column_by_name(field.name()) {
            Some(column) => cast(column, field).map_err(|reason| malformed(field, None, reason))?,
            None => new_null_array(field.data_type(), batch.num_rows()),
        };
        let missing = column.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        if let Some(nulls) = missing.filter(|_| !field.is_nullable()) {
            let row = nulls.iter().position(|valid| !valid);
            let reason = "there is no value, but it is NOT NULL".to_owned();
            return Err(malformed(field, row, reason));
        }
        columns.push(column);
    }
    let batch = RecordBatch::try_new(shared.schema.clone(), columns);
    batch.map_err(|error| shared.read_error(name, error))
}

fn cast(column: &ArrayRef, field: &FieldRef) -> Result<ArrayRef, String> {
    if column.data_type() == field.data_type() {
        return Ok(column.clone());
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, field.data_type(), &options).map_err(|error| error.to_string())
}

/// A file of the store for a decoder that blocks.
struct FileChunks {
    store: Store,
    runtime: Handle,
    file: SourceFile,
}

impl FileChunks {
    fn read(&self, from: u64, to: u64) -> io::Result<Bytes> {
        let read = self.store.read_range(&self.file.location, from..to);
        self.runtime.block_on(read).map_err(io::Error::other)
    }
}

impl Length for FileChunks {
    fn len(&self) -> u64 {
        self.file.size_bytes
    }
}

impl ChunkReader for FileChunks {
    type T = BufReader<FileTail>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let tail = FileTail {
            chunks: Self { store: self.store.clone(), runtime: self.runtime.clone(), file: self.file.clone() },
            at: start,
        };
        Ok(BufReader::with_capacity(READ_BYTES as usize, tail))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.len());
        let end = end.ok_or_else(|| ParquetError::EOF("a page lies behind the file's end".to_owned()))?;
        Ok(self.read(start, end)?)
    }
}

/// A file from an offset on.
struct FileTail {
    chunks: FileChunks,
    at: u64,
}

impl Read for FileTail {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.chunks.len().min(self.at + buffer.len() as u64);
        if self.at >= end {
            return Ok(0);
        }
        let bytes = self.chunks.read(self.at, end)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at = end;
        Ok(bytes.len())
    }
}
