//! The rows and the open file of one partition.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use frazil_storage::Env;
use frazil_table::spec::SchemaRef;
use frazil_table::{Table, TableFile};
use tokio::sync::Semaphore;

use crate::open_file::OpenFile;
use crate::partition::Partition;
use crate::{DataLocations, Error, FileOptions, Result, WriterConfig};

/// What all partitions of a writer share.
pub(crate) struct Shared {
    pub env: Env,
    pub config: WriterConfig,
    pub options: FileOptions,
    pub schema: SchemaRef,
    pub spec_id: i32,
    pub locations: DataLocations,
    /// Threads that may encode at the same time.
    pub threads: Arc<Semaphore>,
}

/// What is to be done with a partition's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Encode what is pending.
    Encode,
    /// Encode what is pending and hand it to the store.
    Spill,
    /// End the file.
    Close,
}

/// Rows wait unencoded until there are enough of them to be worth it; only then a file is opened.
pub(crate) struct PartitionWriter {
    partition: Partition,
    pending: Vec<RecordBatch>,
    pending_bytes: usize,
    file: Option<OpenFile>,
    /// Greater for one that was written to later.
    pub last_write: u64,
}

/// About what a partition takes without rows: its tuple, names, map entries.
const OVERHEAD_BYTES: usize = 1 << 10;

impl PartitionWriter {
    pub fn new(partition: Partition) -> Self {
        Self { partition, pending: Vec::new(), pending_bytes: 0, file: None, last_write: 0 }
    }

    pub fn push(&mut self, rows: RecordBatch) {
        self.pending_bytes += memory_bytes(&rows);
        self.pending.push(rows);
    }

    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Everything that is here and not in the store.
    pub fn memory_bytes(&self) -> usize {
        OVERHEAD_BYTES + self.pending_bytes + self.file.as_ref().map_or(0, OpenFile::memory_bytes)
    }

    /// What [`Work::Spill`] can free.
    pub fn spillable_bytes(&self) -> usize {
        self.memory_bytes() - OVERHEAD_BYTES
    }

    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Does the work; gives the files that were closed by it. The writer is lost when it fails or is cancelled.
    pub async fn run(mut self, work: Work, shared: &Shared) -> Result<(Self, Vec<TableFile>)> {
        let mut closed = Vec::new();
        self.pending_bytes = 0;
        for rows in pieces(std::mem::take(&mut self.pending), shared.config.encode_bytes())? {
            let file = match self.file.take() {
                Some(file) => file,
                None => {
                    let location = self.new_location(shared);
                    OpenFile::create(&shared.env, &shared.options, &shared.threads, location).await?
                }
            };
            let file = file.encode(rows).await?;
            if file.is_full(shared.options.target_file_size_bytes) {
                closed.push(close(file, &self.partition, shared).await?);
            } else {
                self.file = Some(file);
            }
        }
        match (work, self.file.take()) {
            (Work::Spill, Some(file)) => self.file = Some(file.end_row_group().await?),
            (Work::Close, Some(file)) => closed.push(close(file, &self.partition, shared).await?),
            (_, file) => self.file = file,
        }
        Ok((self, closed))
    }

    fn new_location(&self, shared: &Shared) -> String {
        shared.locations.new_location(&self.partition.folder, &shared.config.file_prefix, shared.env.ids.uuid())
    }
}

async fn close(file: OpenFile, partition: &Partition, shared: &Shared) -> Result<TableFile> {
    file.close(&shared.schema, &shared.options, shared.spec_id, partition).await
}

impl Shared {
    pub fn new(env: Env, table: &Table, config: WriterConfig) -> Result<Self> {
        config.check()?;
        let metadata = table.metadata();
        Ok(Self {
            env,
            threads: Arc::new(Semaphore::new(config.encoders_max)),
            config,
            options: FileOptions::of(table)?,
            schema: Arc::clone(metadata.current_schema()),
            spec_id: metadata.default_partition_spec_id(),
            locations: DataLocations::of(metadata)?,
        })
    }
}

/// The rows as batches of about `bytes`: small ones put together, large ones cut.
fn pieces(batches: Vec<RecordBatch>, bytes: usize) -> Result<Vec<RecordBatch>> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let whole = match batches.len() {
        1 => first.clone(),
        _ => concat_batches(&first.schema(), &batches).map_err(Error::arrow("gathering rows"))?,
    };
    let rows = whole.num_rows();
    let count = memory_bytes(&whole).div_ceil(bytes.max(1)).clamp(1, rows.max(1));
    let length = rows.div_ceil(count).max(1);
    Ok((0..rows).step_by(length).map(|start| whole.slice(start, length.min(rows - start))).collect())
}

/// The memory that a batch keeps from being freed.
pub(crate) fn memory_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.get_array_memory_size()).sum()
}
