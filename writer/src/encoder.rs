//! A Parquet file in the making: the half that computes. Its columns are encoded apart from it, on any thread; when a
//! row group is done it goes out through a bounded channel.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::errors::Result;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::writer::SerializedFileWriter;
use tokio::sync::mpsc;

use crate::FileOptions;
use crate::column_encoder::{ColumnEncoder, EncodedColumn, Leaves};
use crate::flat::FlatColumn;

/// Bytes go to the store in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// Pieces between the encoder and the store; with the one that is filled and the one that is written, 4 MiB a file.
pub(crate) const PIECES_IN_FLIGHT: usize = 2;

/// Row groups are numbered in 16 bits.
const ROW_GROUPS_MAX: usize = i16::MAX as usize;

pub(crate) struct Encoder {
    writer: SerializedFileWriter<Pieces>,
    factory: ArrowRowGroupWriterFactory,
    /// How many leaves each top-level column has.
    leaf_counts: Vec<usize>,
    options: Arc<FileOptions>,
    /// Of the row groups that are done.
    nans: Vec<HashMap<i32, u64>>,
}

/// What is known of a file when its last byte is written.
pub(crate) struct Encoded {
    pub metadata: ParquetMetaData,
    /// For each row group.
    pub nans: Vec<HashMap<i32, u64>>,
}

impl Encoder {
    pub fn new(options: &Arc<FileOptions>, pieces: mpsc::Sender<Bytes>) -> Result<Self> {
        let pieces = Pieces { piece: BytesMut::new(), sender: pieces };
        let root = options.parquet_schema.root_schema_ptr();
        let writer = SerializedFileWriter::new(pieces, root, Arc::clone(&options.parquet))?;
        let factory = ArrowRowGroupWriterFactory::new(&writer, options.arrow_schema.clone());
        let mut leaf_counts = vec![0; options.arrow_schema.fields().len()];
        for leaf in 0..options.parquet_schema.num_columns() {
            leaf_counts[options.parquet_schema.get_column_root_idx(leaf)] += 1;
        }
        Ok(Self { writer, factory, leaf_counts, options: Arc::clone(options), nans: Vec::new() })
    }

    /// The columns of the next row group.
    pub fn columns(&self) -> Result<Vec<ColumnEncoder>> {
        let FileOptions { parquet, parquet_schema, arrow_schema, .. } = self.options.as_ref();
        let fields = arrow_schema.fields().iter().enumerate();
        let mut first_leaf = 0;
        let columns = fields.zip(&self.leaf_counts).map(|((index, field), count)| {
            let descr = parquet_schema.column(first_leaf);
            first_leaf += count;
            (index, field.clone(), *count, FlatColumn::of(field.data_type(), &descr, parquet))
        });
        let columns: Vec<_> = columns.collect();
        // The crate makes writers for all or for none.
        let nested = match columns.iter().all(|(.., flat)| flat.is_some()) {
            true => Vec::new(),
            false => self.factory.create_column_writers(self.writer.flushed_row_groups().len())?,
        };
        let mut nested = nested.into_iter();
        let columns = columns.into_iter().map(|(index, field, count, flat)| {
            let own: Vec<_> = nested.by_ref().take(count).collect();
            let leaves = flat.map_or(Leaves::Nested(own), |flat| Leaves::Flat(Box::new(flat)));
            ColumnEncoder::new(index, field, leaves)
        });
        Ok(columns.collect())
    }

    /// Hands a row group to the store; its columns in order.
    pub fn append(&mut self, columns: Vec<EncodedColumn>) -> Result<()> {
        let mut group = self.writer.next_row_group()?;
        let mut nans = HashMap::new();
        for column in columns {
            nans.extend(column.nans);
            for chunk in column.chunks {
                chunk.append_to_row_group(&mut group)?;
            }
        }
        group.close()?;
        self.nans.push(nans);
        Ok(())
    }

    /// Hands over the footer.
    pub fn finish(mut self) -> Result<Encoded> {
        Ok(Encoded { metadata: self.writer.finish()?, nans: self.nans })
    }

    /// The row groups that are done, in bytes.
    pub fn written_bytes(&self) -> u64 {
        self.writer.bytes_written() as u64
    }

    /// Whether no row group may follow.
    pub fn is_full(&self) -> bool {
        self.writer.flushed_row_groups().len() >= ROW_GROUPS_MAX
    }
}

/// Sends what is written in pieces; blocks while the store is behind.
struct Pieces {
    piece: BytesMut,
    sender: mpsc::Sender<Bytes>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        let piece = self.piece.split().freeze();
        if piece.is_empty() {
            return Ok(());
        }
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the file's store failed");
        self.sender.blocking_send(piece).map_err(gone)
    }
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES - self.piece.len();
        let taken = bytes.len().min(room);
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE_BYTES {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}
