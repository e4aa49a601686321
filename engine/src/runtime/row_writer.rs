//! What a writer task writes with: rows are added, or take the place of older rows of their keys.

use std::sync::Arc;

use arrow::array::RecordBatch;
use frazil_reader::{ReadContext, RowReader};
use frazil_table::{Table, TableFile};
use frazil_writer::{Generation, NdvSketches, TableWriter, UpsertPlanner, UpsertWriter};

use super::pipeline::PipelineSpec;
use crate::Result;
use crate::changelog::split_kinds;
use crate::upsert::key_of;

/// A writer of one of the two kinds.
#[derive(Debug)]
pub(super) enum RowWriter {
    Append(Box<TableWriter>),
    Upsert(Box<UpsertWriter>),
}

/// What a writer has written.
#[derive(Debug, Default)]
pub(super) struct FlushedRows {
    /// Of a writer that appends.
    pub(super) files: Vec<TableFile>,
    /// Of one that upserts.
    pub(super) generations: Vec<Generation>,
    /// Of the rows in the files, where the table wants them.
    pub(super) sketches: Option<NdvSketches>,
}

impl RowWriter {
    /// A writer for a table as it is now.
    ///
    /// # Errors
    /// As [`TableWriter::new`] and [`UpsertWriter::new`].
    pub(super) fn new(spec: &PipelineSpec, table: &Table) -> Result<Self> {
        let (env, config) = (spec.queue.env().clone(), spec.writer_config.clone());
        Ok(match spec.upserts {
            false => Self::Append(Box::new(TableWriter::new(env, table, config)?)),
            true => Self::Upsert(Box::new(UpsertWriter::new(env, table, key_of(table)?, config)?)),
        })
    }

    pub(super) async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        match self {
            Self::Append(writer) => Ok(writer.write(rows).await?),
            Self::Upsert(writer) => match split_kinds(rows) {
                (rows, None) => Ok(writer.upsert(rows).await?),
                (rows, Some(deletes)) => Ok(writer.change(rows, &deletes).await?),
            },
        }
    }

    /// What was written since the last flush.
    pub(super) async fn flush(&mut self) -> Result<FlushedRows> {
        Ok(match self {
            Self::Append(writer) => {
                let files = writer.flush().await?;
                let sketches = writer.take_sketches();
                // Sketches of no rows would only take columns away from those of the others.
                let sketches = (!sketches.is_empty() && !files.is_empty()).then_some(sketches);
                FlushedRows { files, generations: Vec::new(), sketches }
            }
            Self::Upsert(writer) => FlushedRows { generations: writer.flush().await?, ..FlushedRows::default() },
        })
    }
}

/// The index of keys may take so much memory, room for 16 million keys and more; beyond that it lies on disk.
const KEY_INDEX_BYTES_MAX: usize = 256 << 20;

/// Files whose keys are read at the same time.
const KEY_READERS: usize = 2;

/// What plans a pipeline's deletes, with its index up to date; `None` for a pipeline that appends.
///
/// Cost: in format version 3 the key columns of the whole table.
///
/// # Errors
/// What keeps the table's keys from being read.
pub(super) async fn open_planner(spec: &PipelineSpec) -> Result<Option<UpsertPlanner>> {
    if !spec.upserts {
        return Ok(None);
    }
    let (env, cache) = (spec.queue.env().clone(), spec.queue.cache().clone());
    let stored = Arc::new(RowReader::new(&ReadContext::with_manifests(&env, &cache), KEY_READERS));
    let table = spec.queue.load().await?;
    let settings = (spec.writer_config.clone(), KEY_INDEX_BYTES_MAX);
    let mut planner = UpsertPlanner::new(env, stored, cache, key_of(&table)?, settings);
    planner.open(&table).await?;
    Ok(Some(planner))
}
