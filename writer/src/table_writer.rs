//! Record batches become data files, by partition and within one memory budget.

use std::collections::HashMap;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use frazil_storage::Env;
use frazil_table::{Table, TableFile};
use futures::{StreamExt, TryStreamExt};

use crate::conform::conform_batch;
use crate::partition::{PartitionKey, PartitionSplitter};
use crate::partition_writer::{PartitionWriter, Shared, Work, memory_bytes};
use crate::{Error, Result, WriterConfig};

/// Totals of a writer since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct WriterCounters {
    /// Rows taken.
    pub rows: u64,
    /// Files closed.
    pub files: u64,
    /// Bytes in those files.
    pub file_bytes: u64,
    /// The most that was buffered at a time, in bytes.
    pub buffered_bytes_max: usize,
    /// Row groups that were ended early, and files that were closed early, since memory or open files ran out.
    pub early_spills: u64,
}

/// Files that are worked on at the same time. Their encoders take turns on a few threads; what goes on at once is the
/// waiting for the store to make files durable.
const FILES_AT_ONCE: usize = 16;

/// Writes batches of a table's current schema into data files of its default partition spec.
///
/// Each partition that gets rows has at most one file at a time. Rows wait until a few MiB of a partition have come
/// together, then they are encoded on a thread of their own and stream into the store; a file is closed when it reaches
/// the table's target size. What is neither in the store nor closed counts against
/// [`WriterConfig::memory_max_bytes`].
///
/// Nothing it writes is part of the table: that is a commit's business. A writer that is dropped leaves the files that
/// it closed behind as orphans, and of the open ones nothing.
///
/// No method may be cancelled: a writer whose call was dropped half-way fails from then on.
pub struct TableWriter {
    shared: Shared,
    splitter: PartitionSplitter,
    partitions: HashMap<PartitionKey, PartitionWriter>,
    buffered_bytes: usize,
    open_files: usize,
    closed: Vec<TableFile>,
    counters: WriterCounters,
    clock: u64,
    failed: bool,
}

impl std::fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableWriter")
            .field("data_root", &self.shared.locations.root())
            .field("partitions", &self.partitions.len())
            .field("buffered_bytes", &self.buffered_bytes)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl TableWriter {
    /// A writer for a table as it is now: schema, partition spec and properties are read once.
    ///
    /// # Errors
    /// [`Error::BadProperty`] for settings or table properties that mean nothing; [`Error::Table`] for a schema or
    /// partition spec that can't be written.
    pub fn new(env: Env, table: &Table, config: WriterConfig) -> Result<Self> {
        let metadata = table.metadata();
        let splitter = PartitionSplitter::new(metadata.default_partition_spec(), metadata.current_schema())?;
        Ok(Self {
            shared: Shared::new(env, table, config)?,
            splitter,
            partitions: HashMap::new(),
            buffered_bytes: 0,
            open_files: 0,
            closed: Vec::new(),
            counters: WriterCounters::default(),
            clock: 0,
            failed: false,
        })
    }

    /// The Arrow schema that batches have: the table's current one.
    pub fn schema(&self) -> &arrow::datatypes::SchemaRef {
        &self.shared.options.arrow_schema
    }

    /// Takes a batch. Columns are matched by position at every depth; names don't matter, types do.
    ///
    /// Returns when the writer is within its memory budget again, so that a slow store holds the caller back.
    ///
    /// # Errors
    /// [`Error::BadBatch`] or [`Error::RequiredNull`] for a batch that does not fit: no row of it is taken, and the writer
    /// can go on. After any other error it can't.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.check_usable()?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = compact(conform_batch(&batch, &self.shared.options.arrow_schema)?)?;
        let rows = batch.num_rows() as u64;
        let parts = self.splitter.split(batch, |key| self.partitions.contains_key(key))?;
        self.failed = true;
        self.clock += 1;
        let mut full = Vec::new();
        for part in parts {
            let writer = match part.partition {
                None => self.partitions.get_mut(&part.key).expect("the splitter was told that it is known"),
                Some(partition) => {
                    let writer = PartitionWriter::new(partition);
                    self.buffered_bytes += writer.memory_bytes();
                    self.partitions.entry(part.key.clone()).or_insert(writer)
                }
            };
            let before = writer.pending_bytes();
            writer.push(part.rows);
            writer.last_write = self.clock;
            self.buffered_bytes += writer.pending_bytes() - before;
            if writer.pending_bytes() >= self.shared.config.encode_bytes() {
                full.push(part.key);
            }
        }
        self.counters.rows += rows;
        self.note_buffered();
        self.run(full, Work::Encode).await?;
        self.free_memory().await?;
        self.failed = false;
        Ok(())
    }

    /// Closes all open files and gives all files that were closed since the last flush, durable and in no order. The
    /// writer can go on.
    ///
    /// # Errors
    /// After an error the writer can't go on.
    pub async fn flush(&mut self) -> Result<Vec<TableFile>> {
        self.check_usable()?;
        self.failed = true;
        let all = self.partitions.keys().cloned().collect();
        self.run(all, Work::Close).await?;
        self.failed = false;
        Ok(std::mem::take(&mut self.closed))
    }

    /// As [`TableWriter::flush`], for the last time.
    ///
    /// # Errors
    /// As [`TableWriter::flush`].
    pub async fn close(mut self) -> Result<Vec<TableFile>> {
        self.flush().await
    }

    /// Whether there are rows that no [`TableWriter::flush`] has given out.
    pub fn is_open(&self) -> bool {
        !self.partitions.is_empty() || !self.closed.is_empty()
    }

    /// Rows that are buffered or encoded and not in the store, in bytes.
    pub fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// Files that are not closed yet.
    pub fn open_files(&self) -> usize {
        self.open_files
    }

    /// Totals.
    pub fn counters(&self) -> WriterCounters {
        self.counters
    }

    fn check_usable(&self) -> Result<()> {
        if self.failed { Err(Error::WriterFailed) } else { Ok(()) }
    }

    fn note_buffered(&mut self) {
        self.counters.buffered_bytes_max = self.counters.buffered_bytes_max.max(self.buffered_bytes);
    }

    /// When over the budget: the largest partitions go to the store until a quarter of the budget is free, so that this
    /// is not done again for each small batch.
    async fn free_memory(&mut self) -> Result<()> {
        let budget = self.shared.config.memory_max_bytes;
        if self.buffered_bytes <= budget {
            return Ok(());
        }
        let mut sizes: Vec<_> =
            self.partitions.iter().map(|(key, writer)| (writer.spillable_bytes(), key.clone())).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let excess = self.buffered_bytes - budget / 4 * 3;
        let mut freed = 0;
        let spilled = sizes.into_iter().take_while(|(size, _)| {
            let enough = freed >= excess || *size == 0;
            freed += size;
            !enough
        });
        let spilled: Vec<_> = spilled.map(|(_, key)| key).collect();
        self.counters.early_spills += spilled.len() as u64;
        self.run(spilled, Work::Spill).await?;
        if self.buffered_bytes > budget {
            // What is left is the partitions themselves: too many, however little each holds.
            let all: Vec<_> = self.partitions.keys().cloned().collect();
            self.counters.early_spills += all.len() as u64;
            self.run(all, Work::Close).await?;
        }
        Ok(())
    }

    /// Does work for some partitions, a few at a time, and never with more open files than there may be.
    async fn run(&mut self, keys: Vec<PartitionKey>, work: Work) -> Result<()> {
        let at_once = FILES_AT_ONCE.min(self.shared.config.open_files_max);
        for keys in keys.chunks(at_once) {
            self.close_idle_files(keys).await?;
            self.run_at_once(keys, work).await?;
        }
        Ok(())
    }

    /// Makes room for a file for each of `keys`, by closing those that were written to longest ago.
    async fn close_idle_files(&mut self, keys: &[PartitionKey]) -> Result<()> {
        let new = keys.iter().filter(|key| self.partitions.get(*key).is_some_and(|writer| !writer.has_file())).count();
        let excess = (self.open_files + new).saturating_sub(self.shared.config.open_files_max);
        if excess == 0 {
            return Ok(());
        }
        let others = self.partitions.iter().filter(|(key, writer)| writer.has_file() && !keys.contains(key));
        let mut idle: Vec<_> = others.map(|(key, writer)| (writer.last_write, key.clone())).collect();
        idle.sort_unstable();
        let idle: Vec<_> = idle.into_iter().take(excess).map(|(_, key)| key).collect();
        self.counters.early_spills += idle.len() as u64;
        for keys in idle.chunks(FILES_AT_ONCE) {
            self.run_at_once(keys, Work::Close).await?;
        }
        Ok(())
    }

    async fn run_at_once(&mut self, keys: &[PartitionKey], work: Work) -> Result<()> {
        let mut taken = Vec::with_capacity(keys.len());
        for key in keys {
            // A file that was closed to make room for others took its partition along.
            let Some(writer) = self.partitions.remove(key) else { continue };
            self.buffered_bytes -= writer.memory_bytes();
            self.open_files -= usize::from(writer.has_file());
            taken.push((key.clone(), writer));
        }
        let shared = &self.shared;
        let count = taken.len();
        let done: Vec<_> = futures::stream::iter(taken)
            .map(|(key, writer)| async move { writer.run(work, shared).await.map(|done| (key, done)) })
            .buffer_unordered(count.max(1))
            .try_collect()
            .await?;
        for (key, (writer, closed)) in done {
            self.counters.files += closed.len() as u64;
            self.counters.file_bytes += closed.iter().map(|file| file.file.file_size_in_bytes()).sum::<u64>();
            self.closed.extend(closed);
            if work == Work::Close {
                continue;
            }
            self.buffered_bytes += writer.memory_bytes();
            self.open_files += usize::from(writer.has_file());
            self.partitions.insert(key, writer);
        }
        self.note_buffered();
        Ok(())
    }
}

/// A batch that is a small part of larger arrays would keep all of them: it is copied out.
fn compact(batch: RecordBatch) -> Result<RecordBatch> {
    let shown: usize = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum();
    const WASTE_MIN_BYTES: usize = 64 << 10;
    if memory_bytes(&batch) <= 2 * shown + WASTE_MIN_BYTES {
        return Ok(batch);
    }
    let rows = u32::try_from(batch.num_rows());
    let Ok(rows) = rows else { return Ok(batch) };
    take_record_batch(&batch, &UInt32Array::from_iter_values(0..rows)).map_err(Error::arrow("copying a batch"))
}

#[cfg(test)]
mod tests;
