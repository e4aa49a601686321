//! A Parquet file in the making: the half that computes. It runs on a thread that may block and hands its bytes over
//! through a bounded channel.

use std::collections::HashMap;
use std::io;

use arrow::array::RecordBatch;
use bytes::{Bytes, BytesMut};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::errors::Result;
use parquet::file::metadata::ParquetMetaData;
use tokio::sync::mpsc;

use crate::FileOptions;
use crate::nan::count_nans;

/// Bytes go to the store in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// Pieces between the encoder and the store; with the one that is filled and the one that is written, 4 MiB a file.
pub(crate) const PIECES_IN_FLIGHT: usize = 2;

/// Row groups are numbered in 16 bits.
const ROW_GROUPS_MAX: usize = i16::MAX as usize;

pub(crate) struct Encoder {
    writer: ArrowWriter<Pieces>,
    row_group_bytes_max: usize,
    row_group_rows_max: usize,
    /// Of the row group that is open, and of those that are done.
    nans_open: HashMap<i32, u64>,
    nans: Vec<HashMap<i32, u64>>,
}

/// What is known of a file when its last byte is written.
pub(crate) struct Encoded {
    pub metadata: ParquetMetaData,
    /// For each row group.
    pub nans: Vec<HashMap<i32, u64>>,
}

impl Encoder {
    pub fn new(options: &FileOptions, pieces: mpsc::Sender<Bytes>) -> Result<Self> {
        let writer_options = ArrowWriterOptions::new()
            .with_properties(options.parquet.clone())
            .with_parquet_schema(options.parquet_schema.clone())
            .with_skip_arrow_metadata(true);
        let pieces = Pieces { piece: BytesMut::new(), sender: pieces };
        Ok(Self {
            writer: ArrowWriter::try_new_with_options(pieces, options.arrow_schema.clone(), writer_options)?,
            row_group_bytes_max: usize::try_from(options.row_group_size_bytes).unwrap_or(usize::MAX),
            row_group_rows_max: options.row_group_rows_max,
            nans_open: HashMap::new(),
            nans: Vec::new(),
        })
    }

    /// Encodes rows; ends the row group when it is full.
    pub fn encode(&mut self, rows: &RecordBatch) -> Result<()> {
        count_nans(rows, &mut self.nans_open);
        self.writer.write(rows)?;
        let full = self.writer.in_progress_size() >= self.row_group_bytes_max
            || self.writer.in_progress_rows() >= self.row_group_rows_max;
        if full { self.end_row_group() } else { Ok(()) }
    }

    /// Hands all rows so far to the store.
    pub fn end_row_group(&mut self) -> Result<()> {
        if self.writer.in_progress_rows() > 0 {
            self.writer.flush()?;
            self.nans.push(std::mem::take(&mut self.nans_open));
        }
        Ok(())
    }

    /// Hands over everything with the footer.
    pub fn finish(mut self) -> Result<Encoded> {
        self.end_row_group()?;
        Ok(Encoded { metadata: self.writer.finish()?, nans: self.nans })
    }

    /// Encoded rows that no byte of has been handed over.
    pub fn memory_bytes(&self) -> usize {
        self.writer.memory_size()
    }

    /// What the file would have in bytes if it ended here, but for its footer.
    pub fn size_bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

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
