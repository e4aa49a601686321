//! What flows between tasks.

use arrow::array::RecordBatch;
use frazil_table::TableFile;
use frazil_writer::{CheckpointId, SourcePositions};

/// Batches that wait between two tasks.
pub(super) const QUEUE_BATCHES: usize = 4;

/// From a source task to the writer tasks.
#[derive(Debug)]
pub(super) enum Message {
    /// Rows.
    Batch(RecordBatch),
    /// Everything before it belongs to the checkpoint, everything after it to a later one.
    Barrier(Barrier),
}

/// The mark of a checkpoint in a stream.
#[derive(Clone, Debug)]
pub(super) struct Barrier {
    pub(super) checkpoint_id: CheckpointId,
    /// Where the splits of the sending source go on.
    pub(super) positions: SourcePositions,
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
    pub(super) positions: SourcePositions,
    pub(super) is_last: bool,
}
