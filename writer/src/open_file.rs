//! A Parquet file in the making: the half that waits. Columns are encoded on the writer's threads; when a row group is
//! done, its bytes flow into the store.

use bytes::Bytes;
use frazil_storage::FileWriter;
use frazil_table::TableFile;
use parquet::errors::ParquetError;
use tokio::sync::mpsc;

use crate::column_encoder::ColumnEncoder;
use crate::encoder::{Encoded, Encoder, PIECES_IN_FLIGHT};
use crate::memory::Reservation;
use crate::metrics::{FileIdentity, NanCounts, data_file_from_parquet};
use crate::partition::Partition;
use crate::rows::Rows;
use crate::shared::Shared;
use crate::threads::Threads;
use crate::{Error, Result};

/// A file with a place in the store. Dropped, it leaves nothing there.
pub(crate) struct OpenFile {
    location: String,
    encoder: Encoder,
    pieces: mpsc::Receiver<Bytes>,
    file: FileWriter,
    /// The open row group's columns; none before its first row.
    columns: Vec<ColumnEncoder>,
    rows_in_group: usize,
    rows: u64,
    /// What the row groups that are done were estimated at, to learn from.
    estimated_bytes: u64,
    memory: Reservation,
}

/// A file is closed when it has its size but for this part: ending a row group brings certainty about a size, so what is
/// missing then would become a small row group of its own.
const NEARLY_FULL: f64 = 0.95;

/// How sure an estimated size is: it is trusted to be too high by no more than a percent or two after a row group.
const ESTIMATE_FULL: f64 = 0.99;

/// Rows are encoded by at least so many, whatever the sizes.
const ROWS_MIN: usize = 128;

/// Columns of fewer bytes in all are encoded on one thread: starting another costs more.
const PARALLEL_MIN_BYTES: usize = 256 << 10;

impl OpenFile {
    pub async fn create(shared: &Shared, location: String) -> Result<Self> {
        let file = shared.env.store.writer(&location).await?;
        let file = if shared.config.keep_files { file.keep() } else { file };
        let (sender, pieces) = mpsc::channel(PIECES_IN_FLIGHT);
        let encoder = Encoder::new(&shared.options, sender)
            .map_err(|source| Error::Encode { location: location.clone(), source })?;
        let memory = shared.memory.reserve(0);
        Ok(Self {
            location,
            encoder,
            pieces,
            file,
            columns: Vec::new(),
            rows_in_group: 0,
            rows: 0,
            estimated_bytes: 0,
            memory,
        })
    }

    /// Encodes as many of the rows as go in before something is to be decided, at least one; leaves the rest.
    pub async fn encode(mut self, rows: &mut Rows, shared: &Shared) -> Result<Self> {
        let rows = rows.split_to(self.room_rows(rows.row_bytes(), shared));
        self.rows += rows.len() as u64;
        self.rows_in_group += rows.len();
        if self.columns.is_empty() {
            self.columns = self.encoder.columns().map_err(|source| self.failed(source))?;
        }
        let columns = std::mem::take(&mut self.columns);
        let is_parallel = rows.bytes() >= PARALLEL_MIN_BYTES;
        let work = move |mut column: ColumnEncoder| column.encode(&rows).map(|()| column);
        self.columns = on_columns(&self.location, columns, is_parallel, work, shared).await?;
        self.columns.sort_unstable_by_key(|column| column.index);
        self.memory.set(self.columns.iter().map(ColumnEncoder::memory_bytes).sum());
        let (bytes, rows) = (shared.options.row_group_size_bytes, shared.options.row_group_rows_max);
        if self.rows_in_group >= rows || self.group_bytes() >= bytes || self.seems_full(shared) {
            self = self.end_row_group(shared).await?;
        }
        Ok(self)
    }

    /// Hands the rows of the open row group to the store.
    pub async fn end_row_group(mut self, shared: &Shared) -> Result<Self> {
        if self.columns.is_empty() {
            return Ok(self);
        }
        self.estimated_bytes += self.estimate_bytes();
        self.rows_in_group = 0;
        let columns = std::mem::take(&mut self.columns);
        let mut encoded = on_columns(&self.location, columns, true, ColumnEncoder::close, shared).await?;
        encoded.sort_unstable_by_key(|column| column.index);
        let Self {
            location,
            mut encoder,
            mut pieces,
            mut file,
            columns,
            rows_in_group,
            rows,
            estimated_bytes,
            mut memory,
        } = self;
        let append = move || encoder.append(encoded).map(|()| encoder);
        let encoder = pump(&shared.threads, &location, &mut pieces, &mut file, append).await?;
        memory.set(0);
        Ok(Self { location, encoder, pieces, file, columns, rows_in_group, rows, estimated_bytes, memory })
    }

    /// Writes the footer and makes the file durable.
    pub async fn close(self, partition: &Partition, shared: &Shared) -> Result<TableFile> {
        let Self { location, encoder, mut pieces, mut file, rows, .. } = self.end_row_group(shared).await?;
        let encoded: Encoded =
            pump(&shared.threads, &location, &mut pieces, &mut file, move || encoder.finish()).await?;
        let size_bytes = file.finish().await?;
        let identity = FileIdentity {
            location: &location,
            size_bytes,
            partition_spec_id: shared.spec_id,
            partition: partition.tuple.clone(),
            sort_order_id: shared.sort_order_id,
        };
        let nans = NanCounts::RowGroups(&encoded.nans);
        let file = data_file_from_parquet(&encoded.metadata, identity, &shared.schema, &shared.options.metrics, nans);
        assert_eq!(file.record_count(), rows, "{location}: its footer counts other rows than were written");
        Ok(TableFile { file, partition_spec_id: shared.spec_id })
    }

    pub fn memory_bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// Whether it has its size.
    pub fn is_full(&self, shared: &Shared) -> bool {
        let target = shared.options.target_file_size_bytes as f64;
        self.encoder.is_full() || self.columns.is_empty() && self.encoder.written_bytes() as f64 >= NEARLY_FULL * target
    }

    fn seems_full(&self, shared: &Shared) -> bool {
        let size = self.encoder.written_bytes() + self.group_bytes();
        size as f64 >= ESTIMATE_FULL * shared.options.target_file_size_bytes as f64
    }

    /// The open row group in the file, by what came of the estimates for those before it.
    fn group_bytes(&self) -> u64 {
        let ratio = match self.estimated_bytes {
            0 => 1.0,
            estimated => self.encoder.written_bytes() as f64 / estimated as f64,
        };
        (self.estimate_bytes() as f64 * ratio) as u64
    }

    fn estimate_bytes(&self) -> u64 {
        self.columns.iter().map(|column| column.size_bytes() as u64).sum()
    }

    /// How many rows to take before the sizes are looked at again.
    fn room_rows(&self, row_bytes: f64, shared: &Shared) -> usize {
        let options = &shared.options;
        let file_bytes = self.encoder.written_bytes() + self.group_bytes();
        let encoded_row_bytes = match self.rows {
            0 => row_bytes.max(1.0),
            rows => (file_bytes as f64 / rows as f64).max(0.01),
        };
        let room = (options.target_file_size_bytes as f64 * ESTIMATE_FULL - file_bytes as f64)
            .min(options.row_group_size_bytes as f64 - self.group_bytes() as f64);
        // By halves, since an estimate may be wrong and what is encoded can't be taken back.
        let rows = (room / 2.0 / encoded_row_bytes).ceil().max(ROWS_MIN as f64) as usize;
        rows.min(options.row_group_rows_max - self.rows_in_group.min(options.row_group_rows_max - 1))
    }

    fn failed(&self, source: ParquetError) -> Error {
        Error::Encode { location: self.location.clone(), source }
    }
}

/// Does `work` for each column of the file at `location`; the results in no order.
async fn on_columns<U: Send + 'static>(
    location: &str,
    columns: Vec<ColumnEncoder>,
    is_parallel: bool,
    work: impl Fn(ColumnEncoder) -> std::result::Result<U, ParquetError> + Send + Sync + 'static,
    shared: &Shared,
) -> Result<Vec<U>> {
    let ended = if is_parallel {
        shared.threads.for_each(by_weight(columns), work).await
    } else {
        shared.threads.run(move || columns.into_iter().map(work).collect()).await
    };
    let lost = |reason| Error::EncoderLost { location: location.to_owned(), reason };
    ended.map_err(lost)?.map_err(|source| Error::Encode { location: location.to_owned(), source })
}

/// The largest last, since the last is taken first: a long column that begins late would leave the other threads idle.
fn by_weight(mut columns: Vec<ColumnEncoder>) -> Vec<ColumnEncoder> {
    columns.sort_by_key(ColumnEncoder::size_bytes);
    columns
}

/// Runs `work` on one of the threads, and writes to the store what it sends meanwhile. A panic of `work` comes out as an
/// error. When the store fails, `work` finds its channel closed and ends by itself.
async fn pump<T: Send + 'static>(
    threads: &Threads,
    location: &str,
    pieces: &mut mpsc::Receiver<Bytes>,
    file: &mut FileWriter,
    work: impl FnOnce() -> std::result::Result<T, ParquetError> + Send + 'static,
) -> Result<T> {
    let thread = threads.run(work);
    tokio::pin!(thread);
    let ended = loop {
        tokio::select! {
            biased;
            Some(piece) = pieces.recv() => {
                if let Err(error) = file.write(piece).await {
                    pieces.close();
                    return Err(error.into());
                }
            }
            ended = &mut thread => break ended,
        }
    };
    while let Ok(piece) = pieces.try_recv() {
        file.write(piece).await?;
    }
    let lost = |reason| Error::EncoderLost { location: location.to_owned(), reason };
    ended.map_err(lost)?.map_err(|source| Error::Encode { location: location.to_owned(), source })
}

#[cfg(test)]
mod tests;
