//! Sorted runs: rows that had to leave memory, in a temporary file, ordered by partition (and within a partition by the
//! table's sort order, if it has one). What two programs would do with a sort and a merge of text files, on Arrow batches.
//!
//! A run's file has no name, so that nothing of it stays when the program ends in whatever way.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::merge::Merge;
use crate::partition::PartitionId;
use crate::rows::{Pick, Rows};
use crate::sort::SortKeys;
use crate::{Error, Result, WriterConfig};

/// Where runs are made.
#[derive(Clone, Debug)]
pub(crate) struct RunFolder {
    folder: PathBuf,
    /// The table's schema, with the partition's number as one more column at the end.
    schema: SchemaRef,
    /// A run is written and read in blocks of about this size: all of a merge's blocks are in memory at once.
    block_bytes: usize,
}

/// A run that is complete.
#[derive(Debug)]
pub(crate) struct Run {
    file: File,
    /// Its size.
    pub bytes: u64,
    /// 0 for one that was written from memory, one more than its parts' for one that runs were merged into.
    pub level: u32,
}

/// Rows of a run that are in memory, with the partition of each.
pub(crate) struct Block {
    pub rows: RecordBatch,
    pub partitions: UInt32Array,
}

const BLOCK_MIN_BYTES: usize = 16 << 10;
const BLOCK_MAX_BYTES: usize = 512 << 10;

impl RunFolder {
    pub fn new(config: &WriterConfig, schema: &SchemaRef) -> Self {
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("partition", DataType::UInt32, false)));
        Self {
            folder: config.spill_dir.clone().unwrap_or_else(std::env::temp_dir),
            schema: Arc::new(Schema::new(fields)),
            block_bytes: (config.memory_max_bytes / 512).clamp(BLOCK_MIN_BYTES, BLOCK_MAX_BYTES),
        }
    }

    /// About what each run holds while it is read.
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Starts a run. Blocks the thread, as everything here does.
    pub fn create(&self) -> Result<RunWriter> {
        let start = || {
            let file = tempfile::tempfile_in(&self.folder)?;
            StreamWriter::try_new(BufWriter::with_capacity(256 << 10, file), &self.schema)
        };
        let stream = start().map_err(|source| self.failed(source))?;
        Ok(RunWriter { folder: self.clone(), stream })
    }

    /// A run of these rows, which are in the order of partitions already.
    pub fn write(&self, parts: &[(PartitionId, Rows)]) -> Result<Run> {
        let mut run = self.create()?;
        for block in self.blocks(parts) {
            run.write(&block?)?;
        }
        run.finish()
    }

    /// One run of several.
    pub fn merge(&self, runs: Vec<Run>, keys: Option<Arc<SortKeys>>) -> Result<Run> {
        let level = runs.iter().map(|run| run.level + 1).max().unwrap_or(0);
        let mut merge = Merge::new(self, runs, Vec::new(), keys)?;
        let mut merged = self.create()?;
        loop {
            let group = merge.next(self.block_bytes)?;
            if group.is_empty() {
                return Ok(Run { level, ..merged.finish()? });
            }
            for part in group {
                for block in self.blocks(&[(part.partition, part.rows)]) {
                    merged.write(&block?)?;
                }
            }
        }
    }

    /// The same rows in memory, as a run would give them.
    pub fn blocks<'a>(&'a self, parts: &'a [(PartitionId, Rows)]) -> impl Iterator<Item = Result<Block>> + 'a {
        let mut rest = parts.iter().flat_map(|(id, rows)| rows.picks().into_iter().map(move |pick| (*id, pick)));
        let all = parts.first().map(|(_, rows)| rows);
        let block_rows = all.map_or(1, |rows| ((self.block_bytes as f64 / rows.row_bytes()) as usize).max(1));
        std::iter::from_fn(move || {
            let (ids, picks): (Vec<PartitionId>, Vec<Pick>) = rest.by_ref().take(block_rows).unzip();
            let rows = all.filter(|_| !picks.is_empty())?.pick(picks);
            let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
            for index in 0..self.schema.fields().len() - 1 {
                match rows.whole_column(index) {
                    Ok(column) => columns.push(column),
                    Err(source) => return Some(Err(self.failed(source))),
                }
            }
            columns.push(Arc::new(UInt32Array::from(ids)));
            let block = RecordBatch::try_new(self.schema.clone(), columns).map(Block::new);
            Some(block.map_err(|source| self.failed(source)))
        })
    }

    /// Reads a run from its start.
    pub fn open(&self, run: Run) -> Result<RunReader> {
        let start = || {
            let mut file = run.file;
            file.rewind()?;
            StreamReader::try_new(BufReader::with_capacity(64 << 10, file), None)
        };
        let stream = start().map_err(|source| self.failed(source))?;
        Ok(RunReader { folder: self.clone(), stream })
    }

    fn failed(&self, source: ArrowError) -> Error {
        Error::Spill { folder: self.folder.clone(), source }
    }
}

/// A run in the making.
pub(crate) struct RunWriter {
    folder: RunFolder,
    stream: StreamWriter<BufWriter<File>>,
}

impl RunWriter {
    pub fn write(&mut self, block: &Block) -> Result<()> {
        let mut columns = block.rows.columns().to_vec();
        columns.push(Arc::new(block.partitions.clone()));
        let batch = RecordBatch::try_new(self.folder.schema.clone(), columns);
        batch.and_then(|batch| self.stream.write(&batch)).map_err(|source| self.folder.failed(source))
    }

    pub fn finish(self) -> Result<Run> {
        let Self { folder, stream } = self;
        let end = || {
            let file = stream.into_inner()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            let bytes = file.metadata()?.len();
            Ok(Run { file, bytes, level: 0 })
        };
        end().map_err(|source: ArrowError| folder.failed(source))
    }
}

/// The blocks of a run, in order.
pub(crate) struct RunReader {
    folder: RunFolder,
    stream: StreamReader<BufReader<File>>,
}

impl RunReader {
    pub fn next(&mut self) -> Result<Option<Block>> {
        let batch = self.stream.next().transpose().map_err(|source| self.folder.failed(source))?;
        Ok(batch.map(Block::new))
    }
}

impl Block {
    fn new(batch: RecordBatch) -> Self {
        let last = batch.num_columns() - 1;
        let partitions = batch.column(last).as_primitive::<UInt32Type>().clone();
        let rows = batch.project(&(0..last).collect::<Vec<_>>()).expect("it has these columns");
        Self { rows, partitions }
    }

    /// What the rows take. A block that was read is one allocation, which each of its arrays would count as its own.
    pub fn bytes(&self) -> usize {
        let of = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0);
        self.rows.columns().iter().map(of).sum()
    }
}
