//! Small files become large ones while the stream goes on.
//!
//! The three stages, the same in a job's graph, in the background service and in `frazil compact`:
//! 1. a [`Coordinator`] (one) follows the table's commits and hands out groups of files; [`plan_rewrite`] makes the same
//!    plan from a whole state;
//! 2. [`run_group`] (several at a time) rewrites a group;
//! 3. [`commit_rewrite`] (one) puts the outputs in the place of the inputs, in turn with the writers' commits.
//!
//! What this crate decides: which files are merged, how, and when snapshots expire. What it does not know: jobs, SQL,
//! who writes the table.

mod commit;
mod config;
mod coordinator;
mod delta;
mod error;
mod expire;
mod listing;
mod plan;
mod run;
mod service;
pub mod tier;
#[cfg(test)]
mod world;

pub use commit::{RewriteEnd, commit_rewrite, delete_outputs};
pub use config::{AUTO_COMPACT, Config, DELTA_COMMITS, Policy};
pub use coordinator::{Coordinator, DeltaGap};
pub use delta::{CommitDelta, load_delta};
pub use error::{Error, Result};
pub use expire::{ExpireReport, SNAPSHOTS_MAX, STREAMING_RETENTION, run_expire};
pub use listing::{InputFile, Listing};
pub use plan::{FileGroup, Reason, RewritePlan, plan_rewrite};
pub use run::{RewriteKind, RewriteResult, run_group};
pub use service::{Report, ServiceConfig, compact_table, run};
