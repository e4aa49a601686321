//! What brings rows into a job.

use std::fmt::{self, Debug};
use std::sync::Arc;

use arrow::array::{Int8Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use frazil_writer::SourcePositions;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Result;
use crate::changelog::Changelog;
use crate::dead_letter::{DeadLetter, Records};

/// Batches that wait between a source and its task: a bound on what a checkpoint leaves behind, not a tuning knob.
pub const SOURCE_QUEUE_BATCHES: usize = 4;

/// Rows of one split, and where the split goes on after them.
#[derive(Clone, Debug)]
pub struct SourceBatch {
    /// In the source's schema, or, where the schema is inferred, in what was known of it when the batch was made. May
    /// have no rows, when only the position moved.
    pub batch: RecordBatch,
    /// The split: a file, a partition, a table. Unique within the source.
    pub split: String,
    /// Reading on from here gives exactly the rows after this batch.
    pub position: String,
    /// Records before the position that could not be read and are to be put aside.
    pub dead_letters: Vec<DeadLetter>,
    /// The records that the rows came from, where bad rows are to be put aside: which of them are bad may show later.
    pub records: Option<Arc<Records>>,
    /// Whether the split has no more rows: it does not hold the watermark back any longer.
    pub is_end: bool,
    /// A [`RowKind`](crate::RowKind) for each row, from a source of changes.
    pub kinds: Option<Int8Array>,
}

impl SourceBatch {
    /// Rows that are all good.
    pub fn new(batch: RecordBatch, split: impl Into<String>, position: impl Into<String>) -> Self {
        let (split, position) = (split.into(), position.into());
        Self { batch, split, position, dead_letters: Vec::new(), records: None, is_end: false, kinds: None }
    }
}

/// The batches of one subtask in order. It ends when the sender is dropped after the last batch of a bounded source or
/// after a stop; an error is the last thing it gives.
pub type SourceStream = mpsc::Receiver<Result<SourceBatch>>;

/// How far a source is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lag {
    /// How much.
    pub amount: u64,
    /// Of what: each source counts what it can count without reading it.
    pub unit: LagUnit,
}

/// What a lag is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LagUnit {
    /// Bytes of files.
    Bytes,
    /// Records of a topic.
    Records,
    /// Snapshots of a table.
    Snapshots,
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            LagUnit::Bytes => "bytes",
            LagUnit::Records => "records",
            LagUnit::Snapshots => "snapshots",
        };
        write!(f, "{} {unit} behind", self.amount)
    }
}

/// A table that rows can be read from, each exactly once.
///
/// The same positions give the same rows: what is read after a restart is what would have been read without it.
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// The columns, in the order of the table's definition.
    fn schema(&self) -> SchemaRef;

    /// Whether it ends by itself.
    fn is_bounded(&self) -> bool;

    /// More subtasks than this would find nothing to read.
    ///
    /// # Errors
    /// What keeps the source from being looked at, such as a missing file or topic.
    async fn parallelism_max(&self) -> Result<usize>;

    /// One line for a person: connector, place, format.
    fn describe(&self) -> String;

    /// Malformed rows that were passed over since it was made, because its options say so.
    fn rows_skipped(&self) -> u64 {
        0
    }

    /// What is there to be read and has not been read yet, as of the last look; `None` if the source can't tell, or has
    /// not looked.
    fn lag(&self) -> Option<Lag> {
        None
    }

    /// Whether bad rows are to be put aside into the target's dead-letter table ([`SourceBatch::dead_letters`]).
    fn puts_aside(&self) -> bool {
        false
    }

    /// Whether its rows are changes, each with its kind ([`SourceBatch::kinds`]), and what they tell.
    fn changelog(&self) -> Option<Changelog> {
        None
    }

    /// Whether columns that the table's definition does not have are found in the data.
    fn infers_schema(&self) -> bool {
        false
    }

    /// Tells a source that infers its schema what is known of it already: the columns of the table that its rows go to,
    /// or what the beginning of the data shows.
    ///
    /// # Errors
    /// What keeps the data from being looked at.
    async fn learn_schema(&self, known: &SchemaRef) -> Result<()> {
        let _ = known;
        Ok(())
    }

    /// Starts reading the splits of `subtask` (of `parallelism`), each from its position; splits without one from where
    /// the source's options say. Reads in a task of its own into a queue of [`SOURCE_QUEUE_BATCHES`].
    ///
    /// # Errors
    /// What keeps it from starting: a missing file or topic, a position that is gone.
    async fn start(
        &self,
        subtask: usize,
        parallelism: usize,
        positions: &SourcePositions,
        stop: CancellationToken,
    ) -> Result<SourceStream>;
}
