//! A snapshot becomes record batches: scans, increments, only the leaves that were asked for.
//!
//! A scan goes through three hands:
//! 1. [`plan_scan`] is pure: a table's state and a [`ScanRequest`] become a [`ScanPlan`] that can be printed; it leaves
//!    out files by partition and column bounds and gives every other one the deletes that apply to it.
//! 2. [`FileReader`] reads one [`ScanTask`]: only the column chunks of the wanted leaves, matched by field id at every
//!    depth, without the rows that are deleted or do not match.
//! 3. [`scan()`] runs the tasks on several cores.
//!
//! [`TableFollower`] turns a table's history into [`Increment`]s, one for each snapshot that appends rows, with a
//! [`Position`] after every batch from which another follower goes on.
//!
//! ```
//! use frazil_reader::{Projection, ReadContext, ScanRequest, load_scan, scan};
//! # use frazil_catalog::{Catalog, SqlCatalog};
//! # use frazil_table::spec::{NamespaceIdent, Schema, TableCreation};
//! # use futures::TryStreamExt;
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let env = frazil_storage::Env::in_memory(7);
//! let catalog = SqlCatalog::in_memory(env.clone(), "memory://warehouse").await?;
//! # let namespace = NamespaceIdent::new("db".to_owned());
//! # catalog.create_namespace(&namespace, Default::default()).await?;
//! # let schema: Schema = serde_json::from_str(r#"{"type":"struct","fields":[
//! #     {"id":1,"name":"origin","required":false,"type":{"type":"struct","fields":[
//! #         {"id":2,"name":"city","required":false,"type":"string"}]}}]}"#)?;
//! # let creation = TableCreation::builder().name("flights".to_owned()).schema(schema).build();
//! let table = catalog.create_table(&namespace, creation).await?;
//!
//! let context = ReadContext::new(&env);
//! let request = ScanRequest { projection: Projection::paths(["origin.city"]), ..ScanRequest::default() };
//! let plan = load_scan(&context, &table, &request).await?;
//! println!("{plan}");
//! let batches: Vec<_> = scan(&context, &plan, 2).try_collect().await?;
//! assert!(batches.is_empty(), "nothing was written yet");
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! What this crate does not know: SQL, jobs, how files are written.

mod changelog;
mod consumer;
mod context;
mod deletes;
mod error;
mod feed;
mod fetch;
mod file_reader;
mod file_schema;
mod follower;
mod footer;
mod increment;
mod kept_rows;
mod literal;
mod pages;
mod parquet_rows;
mod plan;
mod position;
mod positioned_batch;
mod predicate;
mod projection;
mod raw;
mod reconcile;
mod row_groups;
mod row_plan;
mod row_predicate;
mod scan;
mod stats;
mod stored_rows;
mod task;
mod thrift;

#[cfg(test)]
mod tests;

pub use changelog::{
    CHANGE_ORDINAL_COLUMN, CHANGE_TYPE_COLUMN, COMMIT_SNAPSHOT_ID_COLUMN, ChangelogForm, ChangelogPlan,
    ChangelogReader, ChangelogRequest, ChangelogStep, SnapshotChanges, SnapshotDiff, load_snapshot_diff,
    plan_changelog, plan_snapshot_changes,
};
pub use consumer::{ConsumerMember, consumer_position};
pub use context::{ReadContext, ReadSpec};
pub use deletes::{DeleteIndex, EqualityHits, HitLimits, find_equality_deleted};
pub use error::{Error, Result};
pub use feed::{BatchLimits, FEED_BATCH_BYTES_MAX, FeedBatch, FeedForm, FeedOptions, OnLost, TableFeed};
pub use file_reader::{FileBatch, FileReader, read_file};
pub use follower::{FollowOptions, TableFollower, resolve_start};
pub use footer::FooterCache;
pub use increment::{
    Increment, IncrementFile, IncrementPlan, IncrementStart, IncrementStep, OnRowLevelChange, load_increment,
    plan_increment, read_increment,
};
pub use literal::to_array as literal_array;
pub use plan::{
    Pruned, ScanPlan, ScanRequest, SelectedSnapshot, SnapshotSelector, load_scan, plan_scan, select_snapshot,
};
pub use position::{Part, Position, StartPosition};
pub use positioned_batch::PositionedBatch;
pub use predicate::{BoundColumn, BoundPredicate, Comparison, Predicate, Test};
pub use projection::{
    FILE_COLUMN, LAST_UPDATED_COLUMN, PARTITION_COLUMN, POS_COLUMN, ProjectedSchema, Projection, ROW_ID_COLUMN,
    SPEC_ID_COLUMN, project,
};
pub use raw::{load_page_indexes, load_parquet};
pub use row_predicate::RowPredicate;
pub use scan::{ScanStream, SideBySide, read_tasks, scan};
pub use stats::{ReadCounters, ReadStats};
pub use stored_rows::RowReader;
pub use task::ScanTask;
pub use thrift::check_footer;
