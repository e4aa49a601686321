//! SQL, plans, the streaming runtime and its connectors.

pub mod batch;
pub mod coerce;
pub mod connectors;
mod error;
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
mod stream_plan;
pub mod suggest;
mod transform;

pub use error::{Error, Result};
pub use graph::{Edge, JobGraph, Operator, Strategy};
pub use job::{JOB_RETENTION, JobConfig, JobPlan, plan_job, run_job};
pub use progress::{Event as ProgressEvent, PipelineProgress, Progress};
pub use session::{Executed, Session};
pub use source::{Lag, LagUnit, SOURCE_QUEUE_BATCHES, Source, SourceBatch, SourceStream};
