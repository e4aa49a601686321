//! Small files become large ones while the stream goes on.
//!
//! The three stages, the same in a job's graph, in the background service and in `frazil compact`:
//! 1. a [`Coordinator`] (one) follows the table's commits and hands out groups of files; [`plan_rewrite`] makes the same
//!    plan from a whole state;
//! 2. [`run_group`] (several at a time) rewrites a group;
//! 3. [`commit_rewrite`] (one) puts the outputs in the place of the inputs, in turn with the writers' commits, and rebases
//!    what was deleted meanwhile ([`PositionMap`]).
//!
//! What this crate decides: which files are merged, how, when deletes are applied, when snapshots expire, and which files
//! are orphans. What it does not know: jobs, SQL, who writes the table.
//!
//! A job does this after each of its commits:
//!
//! ```
//! # use std::collections::HashMap;
//! # use std::sync::Arc;
//! # use arrow::array::{Int64Array, RecordBatch};
//! # use frazil_catalog::{Catalog, CommitQueue, Precheck, SqlCatalog};
//! # use frazil_compactor::{Config, Coordinator, commit_rewrite, follow, run_group};
//! # use frazil_storage::Env;
//! # use frazil_table::spec::*;
//! # use frazil_table::{Change, CommitIdentity, SnapshotProperties, io};
//! # use frazil_writer::{TableWriter, WriterConfig};
//! # use tokio_util::sync::CancellationToken;
//! # async fn append(queue: &CommitQueue) -> Result<(), Box<dyn std::error::Error>> {
//! #     let mut writer = TableWriter::new(queue.env().clone(), &queue.load().await?, WriterConfig::default())?;
//! #     let rows = Arc::new(Int64Array::from(vec![1, 2, 3]));
//! #     writer.write(RecordBatch::try_new(writer.schema().clone(), vec![rows])?).await?;
//! #     let change = Change::Append { files: writer.close().await?, properties: SnapshotProperties::new() };
//! #     let identity = CommitIdentity::draw(queue.env(), 1);
//! #     let _ = queue.commit(&[change], identity, &|_| Precheck::Proceed).await?;
//! #     Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let env = Env::in_memory(7);
//! # let catalog = Arc::new(SqlCatalog::in_memory(env.clone(), "memory://w").await?);
//! # let namespace = NamespaceIdent::new("db".to_owned());
//! # catalog.create_namespace(&namespace, Default::default()).await?;
//! # let id = NestedField::optional(1, "id", Type::Primitive(PrimitiveType::Long));
//! # let schema = Schema::builder().with_fields([Arc::new(id)]).build()?;
//! # let creation = TableCreation::builder().name("t".to_owned()).schema(schema).build();
//! # catalog.create_table(&namespace, creation).await?;
//! # let ident = TableIdent::new(namespace, "t".to_owned());
//! # let stop = CancellationToken::new();
//! let queue = CommitQueue::new(catalog, env.clone(), ident);
//! let table = queue.load().await?;
//! let options = HashMap::from([("compact.delta.commits".to_owned(), "3".to_owned())]);
//! let config = Config::from_options(table.metadata().properties(), &options, 1)?;
//! let state = io::load_state(&env.store, queue.cache(), &table, io::Entries::All).await?;
//! let mut coordinator = Coordinator::new(&state, &config)?;
//! for commit in 1..=3 {
//!     append(&queue).await?;
//!     let table = queue.load().await?;
//!     for group in follow(&mut coordinator, &queue, &table, &config).await? {
//!         let result = run_group(&group, &env, &table, &config, &stop).await?;
//!         let end = commit_rewrite(&queue, vec![result]).await?;
//!         coordinator.on_end(&group);
//!         assert_eq!((commit, end.committed[0].group.inputs.len()), (3, 3));
//!     }
//! }
//! let state = io::load_state(&env.store, queue.cache(), &queue.load().await?, io::Entries::All).await?;
//! assert_eq!(state.live_data_files()?.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod amplification;
mod clustering;
mod commit;
mod config;
mod conversion;
mod cooling;
mod coordinator;
mod deletes;
mod delta;
mod error;
mod expire;
mod group;
mod intent;
mod lease;
mod listing;
mod manifests;
mod orphans;
mod past;
mod plan;
mod position_map;
mod rebase;
mod run;
mod service;
pub mod tier;
mod verify;
#[cfg(test)]
mod world;

pub use amplification::BytesWritten;
pub use clustering::{ClusterOrder, Clustering, plan_clustering};
pub use commit::{RewriteEnd, commit_rewrite, delete_outputs};
pub use config::{AUTO_COMPACT, COOLING_MS, Config, DELETE_RATIO, DELTA_COMMITS, EQUALITY_DELETES_MAX, Policy};
pub use conversion::{
    Conversion, ConversionEnd, ConversionPlan, ConversionReason, ConversionReport, PlannedDelete, commit_conversion,
    convert_equality_deletes, plan_conversion, run_conversion,
};
pub use coordinator::{Coordinator, DeltaGap};
pub use delta::{CommitDelta, RemovedFile, follow, load_delta};
pub use error::{Error, Result};
pub use expire::{ExpireReport, SNAPSHOTS_MAX, STREAMING_RETENTION, run_expire, run_expire_with};
pub use group::{FileGroup, Reason};
pub use intent::{Intent, run_recover};
pub use lease::lease;
pub use listing::{InputFile, Listing};
pub use manifests::{ManifestReport, run_rewrite_manifests};
pub use orphans::{ORPHAN_AGE_MS_MIN, OrphanConfig, OrphanPlan, OrphanReport, plan_orphans, run_orphans};
pub use past::PastCompaction;
pub use plan::{RewritePlan, plan_rewrite};
pub use position_map::PositionMap;
pub use run::{RewriteKind, RewriteResult, run_group};
pub use service::{Report, ServiceConfig, cluster_table, compact_table, run};
pub use verify::{Finding, VerifyReport, run_verify};
