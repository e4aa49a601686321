//! Streams at work: tasks that push batches to each other, and barriers among the batches.
//!
//! A job has one or several pipelines, one for each INSERT:
//!
//! ```text
//!  source × s ──rebalance──▶ transform + writer × w ──▶ committer ──▶ compact coordinator
//!     ▲ barriers                                            │              │    ▲
//!  coordinator ◀──────────── checkpoint done ───────────────┘    compact operators × n ──▶ compact committer
//! ```
//!
//! Where several writers share rows out by partition or range (`write.distribution-mode`), the transform is a task of its
//! own, and each row goes to the writer of its partition. Where rows take the place of older ones of their keys, the source
//! tasks compute them, and each row goes to the writer of its key; the committer plans the deletes (`exchange.rs`).
//!
//! A checkpoint: the job's coordinator asks every source task for a barrier; each sends it, with its positions, to every
//! writer task of its pipeline behind the batches read so far; a writer task that has it from all its inputs closes its
//! files and hands them to the committer; the committer, with the files of all writers of all pipelines, commits rows and
//! positions as one. Only then may the next checkpoint begin. A commit waits for a
//! compaction only where it would run away from it.
//!
//! Each queue is bounded, so a slow table slows its sources down.

mod committer_task;
mod compaction;
mod coordinator;
mod dead_letters;
mod event_time;
mod evolving_sink;
mod exchange;
mod gather;
mod input;
mod message;
mod pipeline;
mod row_transform;
mod row_writer;
mod run;
mod source_task;
mod statistics_keeper;
mod transform_task;
mod writer_task;

pub(crate) use compaction::CompactionSpec;
pub(crate) use dead_letters::DeadLetterTable;
pub(crate) use event_time::EventTimePlan;
pub(crate) use pipeline::{PipelineQuery, PipelineSpec};
pub(crate) use run::run_pipelines;
