//! What flows between tasks.

use std::sync::Arc;

use arrow::array::RecordBatch;
use frazil_table::TableFile;
use frazil_writer::{CheckpointId, Generation, NdvSketches, SourcePositions};

use super::event_time::TaskTimes;
use super::evolving_sink::SinkSchema;
use crate::dead_letter::{DeadLetter, Records};

/// Batches that wait between two tasks.
pub(super) const QUEUE_BATCHES: usize = 4;

/// From a source task to the writer tasks.
#[derive(Debug)]
pub(super) enum Message {
    /// Some rows.
    Rows(Rows),
    /// Everything before it belongs to the checkpoint, everything after it to a later one.
    Barrier(Barrier),
}

/// Rows of one split, and those of its records that are bad.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) batch: RecordBatch,
    pub(super) split: Arc<str>,
    pub(super) dead_letters: Vec<DeadLetter>,
    /// The records that the rows came from, where bad rows are put aside.
    pub(super) records: Option<Arc<Records>>,
    /// The sink's schema that the rows have, if they are computed already and the table grows.
    pub(super) sink_schema: Option<SinkSchema>,
}

/// The mark of a checkpoint in a stream.
#[derive(Clone, Debug)]
pub(super) struct Barrier {
    pub(super) checkpoint_id: CheckpointId,
    /// Where the splits of the sending source go on.
    pub(super) positions: SourcePositions,
    /// Of the sending sources that have a watermark.
    pub(super) times: TaskTimes,
    /// Nothing comes after it.
    pub(super) is_last: bool,
}

/// From the coordinator to the source tasks.
#[derive(Clone, Copy, Debug)]
pub(super) struct BarrierRequest {
    pub(super) checkpoint_id: CheckpointId,
    pub(super) is_last: bool,
}

/// From a writer task to the committer: its share of a checkpoint.
#[derive(Debug)]
pub(super) struct WriterShare {
    /// Of which pipeline the writer is.
    pub(super) pipeline: usize,
    pub(super) checkpoint_id: CheckpointId,
    pub(super) files: Vec<TableFile>,
    /// Of a writer that upserts; it has no other files.
    pub(super) generations: Vec<Generation>,
    /// Of the rows in the files, where the table wants them.
    pub(super) sketches: Option<NdvSketches>,
    /// The version of the sink's schema that the files go up to.
    pub(super) schema_version: u64,
    /// Files of the dead-letter table.
    pub(super) dead_letter_files: Vec<TableFile>,
    pub(super) dead_letters: u64,
    pub(super) positions: SourcePositions,
    pub(super) times: TaskTimes,
    pub(super) is_last: bool,
}
