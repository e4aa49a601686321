//! Record batches become data files, by partition and within one memory budget.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use frazil_storage::Env;
use frazil_table::{Table, TableFile};
use tokio::task::JoinHandle;

use crate::closed_files::ClosedFiles;
use crate::conform::conform_batch;
use crate::intake::Intake;
use crate::memory::{Reservation, batch_bytes};
use crate::ndv::{ColumnSketch, column_sketches};
use crate::partition::PartitionSplitter;
use crate::run::{Run, RunFolder};
use crate::shared::Shared;
use crate::sort::SortKeys;
use crate::turn::{OpenWriters, TurnDone, TurnWork, World, run_drain, run_merge, run_turn};
use crate::{Error, FileOptions, NdvSketches, Result, WriterConfig};

/// Totals of a writer since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct WriterCounters {
    /// Rows taken.
    pub rows: u64,
    /// Files closed.
    pub files: u64,
    /// Bytes in those files.
    pub file_bytes: u64,
    /// The most that was held in memory at a time, in bytes.
    pub buffered_bytes_max: usize,
    /// Row groups that were ended early, and files that were closed early, since memory or open files ran out.
    pub early_spills: u64,
    /// Bytes that were put aside in temporary files.
    pub spilled_bytes: u64,
    /// How often gathered rows were encoded or put aside.
    pub turns: u64,
}

/// Writes batches of a table's current schema into data files of its default partition spec.
///
/// Rows gather until there are a few MiB; then those of partitions with an open file are encoded, a column at a time on
/// all threads, while the next ones gather. Row groups stream into the store when they are done; a file is closed when
/// it has the table's target size. Rows of partitions for which memory has no room for an open file wait in temporary
/// files. What is held in memory counts against [`WriterConfig::memory_max_bytes`]. In a table with a sort order, each
/// file is sorted: rows wait until [`TableWriter::flush`] and are merged then.
///
/// Nothing it writes is part of the table: that is a commit's business. What it has not given out by
/// [`TableWriter::flush`] goes with it: [`TableWriter::discard`] waits for that, a writer that is dropped deletes its files
/// in the background.
///
/// No method may be cancelled: a writer whose call was dropped half-way fails from then on. Needs a Tokio runtime.
pub struct TableWriter {
    world: Arc<World>,
    splitter: PartitionSplitter,
    intake: Intake,
    /// The turn that goes on in the background.
    running: Option<Running>,
    open: OpenWriters,
    runs: Vec<Run>,
    closed: ClosedFiles,
    sketches: Vec<ColumnSketch>,
    flushed_sketches: NdvSketches,
    /// What partitions and closed files take.
    overhead: Reservation,
    counters: WriterCounters,
    has_rows: bool,
    failed: bool,
}

struct Running {
    task: JoinHandle<Result<TurnDone>>,
    open_files: usize,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// About what a partition takes without rows: its tuple, names, map entries.
const PARTITION_BYTES: usize = 1 << 10;

/// About what a closed file takes: names and map entries, and for each column its counts and bounds.
const FILE_BYTES: usize = 1 << 10;
const FILE_COLUMN_BYTES: usize = 512;

/// Sorted runs of one size are merged when there are so many of them.
const RUNS_MERGED: usize = 16;

impl std::fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableWriter")
            .field("data_root", &self.world.shared.locations.root())
            .field("partitions", &self.splitter.partitions().len())
            .field("buffered_bytes", &self.buffered_bytes())
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

impl TableWriter {
    /// A writer for a table as it is now: schema, partition spec, sort order and properties are read once.
    ///
    /// # Errors
    /// [`Error::BadProperty`] for settings or table properties that mean nothing; [`Error::Table`] for a schema,
    /// partition spec or sort order that can't be written.
    pub fn new(env: Env, table: &Table, config: WriterConfig) -> Result<Self> {
        let metadata = table.metadata();
        let splitter = PartitionSplitter::new(metadata.default_partition_spec(), metadata.current_schema())?;
        let keys = SortKeys::of(metadata.default_sort_order(), metadata.current_schema())?;
        let mut shared = Shared::new(env, table, config)?;
        if let Some(keys) = &keys {
            shared.sort_order_id = Some(keys.order_id);
            shared.options = Arc::new(FileOptions::clone(&shared.options).sorted_by(metadata.default_sort_order()));
        }
        let sketches = if shared.config.ndv_sketches { column_sketches(&shared.schema) } else { Vec::new() };
        let folder = RunFolder::new(&shared.config, &shared.options.arrow_schema);
        Ok(Self {
            splitter,
            intake: Intake::new(&shared.memory),
            running: None,
            open: OpenWriters::new(),
            runs: Vec::new(),
            closed: shared.closed_files(),
            sketches,
            flushed_sketches: NdvSketches::default(),
            overhead: shared.memory.reserve(0),
            counters: WriterCounters::default(),
            has_rows: false,
            failed: false,
            world: Arc::new(World { shared, folder, keys: keys.map(Arc::new) }),
        })
    }

    /// The Arrow schema that batches have: the table's current one, with the columns of row lineage behind it where the
    /// settings say so.
    pub fn schema(&self) -> &arrow::datatypes::SchemaRef {
        &self.world.shared.options.arrow_schema
    }

    /// Takes a batch. Columns are matched by position at every depth; names don't matter, types do.
    ///
    /// Returns when there is room for another, so that a slow store holds the caller back.
    ///
    /// # Errors
    /// [`Error::BadBatch`] or [`Error::RequiredNull`] for a batch that does not fit: no row of it is taken, and the writer
    /// can go on. After any other error it can't.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.check_usable()?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = compact(conform_batch(&batch, self.schema())?)?;
        let assignment = self.splitter.assign(&batch)?;
        self.failed = true;
        self.counters.rows += batch.num_rows() as u64;
        self.has_rows = true;
        self.intake.push(batch, assignment)?;
        self.count_overhead();
        if self.intake.bytes() >= self.world.shared.config.intake_bytes() {
            self.start_turn().await?;
        }
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
        self.settle().await?;
        self.drain().await?;
        self.flushed_sketches = NdvSketches::new(self.sketches.iter_mut().map(ColumnSketch::take));
        self.failed = false;
        self.has_rows = false;
        let closed = self.closed.give_out();
        self.count_overhead();
        Ok(closed)
    }

    /// As [`TableWriter::flush`], for the last time.
    ///
    /// # Errors
    /// As [`TableWriter::flush`].
    pub async fn close(mut self) -> Result<Vec<TableFile>> {
        self.flush().await
    }

    /// Gives up: the rows since the last [`TableWriter::flush`] leave no file behind. A file that can't be deleted stays as an
    /// orphan, and a line in the log.
    pub async fn discard(mut self) {
        let deletions = self.world.shared.deletions.clone();
        if let Some(mut running) = self.running.take() {
            running.task.abort();
            // What it has closed is dropped with what it says.
            drop((&mut running.task).await);
        }
        drop(self);
        deletions.close();
        deletions.wait().await;
    }

    /// Sketches of the distinct values of the rows that the last [`TableWriter::flush`] gave out, if
    /// [`WriterConfig::ndv_sketches`] is set; empty otherwise, and empty the second time.
    pub fn take_sketches(&mut self) -> NdvSketches {
        std::mem::take(&mut self.flushed_sketches)
    }

    /// Whether there are rows that no [`TableWriter::flush`] has given out.
    pub fn is_open(&self) -> bool {
        self.has_rows
    }

    /// What is held in memory: rows that gather, row groups that are open, what is known of partitions and files.
    pub fn buffered_bytes(&self) -> usize {
        self.world.shared.memory.used_bytes()
    }

    /// Files that are not closed yet.
    pub fn open_files(&self) -> usize {
        self.open.len() + self.running.as_ref().map_or(0, |running| running.open_files)
    }

    /// Totals.
    pub fn counters(&self) -> WriterCounters {
        WriterCounters { buffered_bytes_max: self.world.shared.memory.peak_bytes(), ..self.counters }
    }

    fn check_usable(&self) -> Result<()> {
        if self.failed { Err(Error::WriterFailed) } else { Ok(()) }
    }

    /// Has the rows that gathered encoded or put aside in the background, once the turn before has ended.
    async fn start_turn(&mut self) -> Result<()> {
        self.settle().await?;
        let shared = &self.world.shared;
        let spilled: u64 = self.runs.iter().map(|run| run.bytes).sum();
        if spilled > shared.config.spill_max_bytes || self.overhead.bytes() > shared.config.memory_max_bytes / 2 {
            self.counters.early_spills += self.splitter.partitions().len() as u64;
            return self.drain().await;
        }
        self.counters.turns += 1;
        let (world, turn) = (Arc::clone(&self.world), self.counters.turns);
        let open_files = self.open.len();
        let work = self.take_work();
        let task = tokio::spawn(async move { run_turn(&world, work, turn).await });
        self.running = Some(Running { task, open_files });
        Ok(())
    }

    /// Waits for the turn in the background.
    async fn settle(&mut self) -> Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        let done = (&mut running.task).await.map_err(|error| Error::EncoderLost {
            location: self.world.shared.locations.root().to_owned(),
            reason: error.to_string(),
        })??;
        self.open = done.open;
        self.sketches = done.sketches;
        self.counters.early_spills += done.ended_early;
        self.take_closed(done.closed);
        if let Some(run) = done.run {
            self.counters.spilled_bytes += run.bytes;
            self.runs.push(run);
        }
        while let Some(start) = self.runs.len().checked_sub(RUNS_MERGED)
            && self.runs[start..].iter().all(|run| run.level == self.runs[start].level)
        {
            let runs = self.runs.split_off(start);
            self.runs.push(run_merge(&self.world, runs).await?);
        }
        Ok(())
    }

    /// Closes the files of all partitions, and forgets the partitions.
    async fn drain(&mut self) -> Result<()> {
        let runs = std::mem::take(&mut self.runs);
        let work = self.take_work();
        let done = run_drain(&self.world, work, runs).await?;
        self.sketches = done.sketches;
        self.splitter.clear();
        self.take_closed(done.closed);
        Ok(())
    }

    fn take_work(&mut self) -> TurnWork {
        TurnWork {
            intake: std::mem::replace(&mut self.intake, Intake::new(&self.world.shared.memory)),
            partitions: self.splitter.partitions().to_vec(),
            open: std::mem::take(&mut self.open),
            sketches: std::mem::take(&mut self.sketches),
        }
    }

    fn take_closed(&mut self, closed: ClosedFiles) {
        self.counters.files += closed.as_slice().len() as u64;
        self.counters.file_bytes += closed.as_slice().iter().map(|file| file.file.file_size_in_bytes()).sum::<u64>();
        self.closed.append(closed);
        self.count_overhead();
    }

    fn count_overhead(&mut self) {
        let columns = self.world.shared.options.parquet_schema.num_columns();
        let files = self.closed.as_slice().len() * (FILE_BYTES + columns * FILE_COLUMN_BYTES);
        self.overhead.set(self.splitter.partitions().len() * PARTITION_BYTES + files);
    }
}

/// A batch that is a small part of larger arrays would keep all of them: it is copied out.
fn compact(batch: RecordBatch) -> Result<RecordBatch> {
    let shown: usize = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum();
    const WASTE_MIN_BYTES: usize = 64 << 10;
    if batch_bytes(&batch) <= 2 * shown + WASTE_MIN_BYTES {
        return Ok(batch);
    }
    let rows = u32::try_from(batch.num_rows());
    let Ok(rows) = rows else { return Ok(batch) };
    take_record_batch(&batch, &UInt32Array::from_iter_values(0..rows)).map_err(Error::arrow("copying a batch"))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod memory_tests;
