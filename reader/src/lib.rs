//! A snapshot becomes record batches: scans, increments, only the leaves that were asked for.
//!
//! A scan goes through three hands:
//! 1. [`plan_scan`] is pure: a table's state and a [`ScanRequest`] become a [`ScanPlan`] that can be printed; it leaves
//!    out files by partition and column bounds and gives every other one the deletes that apply to it.
//! 2. [`FileReader`] reads one [`ScanTask`]: only the column chunks of the wanted leaves, matched by field id at every
//!    depth, without the rows that are deleted or do not match.
//! 3. [`scan`] runs the tasks on several cores.
//!
//! [`TableFollower`] turns a table's history into [`Increment`]s, one for each snapshot that appends rows, with a
//! [`Position`] after every batch from which another follower goes on.
//!
//! What this crate does not know: SQL, jobs, how files are written.

mod context;
mod deletes;
mod error;
mod fetch;
mod file_reader;
mod file_schema;
mod follower;
mod footer;
mod increment;
mod literal;
mod parquet_rows;
mod plan;
mod position;
mod predicate;
mod projection;
mod raw;
mod reconcile;
mod row_groups;
mod row_plan;
mod scan;
mod stats;
mod task;
mod thrift;

#[cfg(test)]
mod tests;

pub use context::{ReadContext, ReadSpec};
pub use error::{Error, Result};
pub use file_reader::{FileBatch, FileReader, read_file};
pub use follower::{FollowOptions, TableFollower};
pub use footer::FooterCache;
pub use increment::{
    Increment, IncrementFile, IncrementPlan, IncrementStart, IncrementStep, OnRowLevelChange, PositionedBatch,
    load_increment, plan_increment, read_increment,
};
pub use plan::{
    Pruned, ScanPlan, ScanRequest, SelectedSnapshot, SnapshotSelector, load_scan, plan_scan, select_snapshot,
};
pub use position::{Part, Position, StartPosition};
pub use predicate::{BoundColumn, BoundPredicate, Comparison, Predicate, Test};
pub use projection::{FILE_COLUMN, POS_COLUMN, ProjectedSchema, Projection, project};
pub use raw::{load_page_indexes, load_parquet};
pub use scan::{ScanStream, read_tasks, scan};
pub use stats::{ReadCounters, ReadStats};
pub use task::ScanTask;
pub use thrift::check_footer;
