//! Streams at work: tasks that push batches to each other, and barriers among the batches.
//!
//! ```text
//!  source × s ──rebalance──▶ transform + writer × w ──▶ committer ──▶ compact coordinator
//!     ▲ barriers                                            │              │    ▲
//!  coordinator ◀──────────── checkpoint done ───────────────┘    compact operators × n ──▶ compact committer
//! ```
//!
//! A checkpoint: the pipeline's coordinator asks every source task for a barrier; each sends it, with its positions, to
//! every writer task behind the batches read so far; a writer task that has it from all its inputs closes its files and
//! hands them to the committer; the committer, with the files of all writers, commits rows and positions as one. Only
//! then may the next checkpoint begin. Nothing of this waits for a compaction.
//!
//! Each queue is bounded, so a slow table slows its sources down.

mod committer_task;
mod compaction;
mod input;
mod message;
mod pipeline;
mod source_task;
mod writer_task;

pub(crate) use compaction::CompactionSpec;
pub(crate) use pipeline::{PipelineSpec, run_pipeline};
