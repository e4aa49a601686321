//! SQL, plans, the streaming runtime and its connectors.

mod align;
pub mod batch;
mod changelog;
pub mod coerce;
pub mod connectors;
mod dead_letter;
mod error;
mod evolving_query;
mod graph;
mod job;
mod leaves;
pub mod options;
mod progress;
pub mod provider;
mod runtime;
pub mod session;
mod source;
pub mod sql;
mod statistics;
mod stream_plan;
pub mod suggest;
mod transform;
mod upsert;
mod write_defaults;

pub use changelog::{Changelog, RowKind};
pub use dead_letter::{DEAD_LETTER_SUFFIX, DeadLetter, Origin, Records};
pub use error::{Error, Result};
pub use graph::{Edge, JobGraph, Operator, Strategy};
pub use job::{JOB_RETENTION, JobConfig, JobName, JobPlan, plan_job, run_job};
pub use progress::{Event as ProgressEvent, PipelineProgress, Progress};
pub use session::{Executed, Session};
pub use source::{Lag, LagUnit, SOURCE_QUEUE_BATCHES, Source, SourceBatch, SourceStream};
