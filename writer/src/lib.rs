//! Record batches become data files, data files become commits.
//!
//! A row's way into a table:
//! 1. [`TableWriter`] takes record batches, splits them by partition and encodes them into Parquet files that are durable
//!    but that no snapshot names ([`TableWriter::flush`]).
//! 2. [`data_file_from_parquet`] says of each file what its manifest entry has to: counts, sizes, column bounds.
//! 3. The committer makes the files of a checkpoint part of the table, exactly once.
//!
//! What this crate does not know: SQL, sources, how rows are read back.
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
//! use frazil_storage::Env;
//! use frazil_table::spec::{
//!     FormatVersion, PartitionSpec, SortOrder, TableIdent, TableMetadataBuilder,
//! };
//! use frazil_writer::{TableWriter, WriterConfig};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
//! let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("c")]));
//! let batch = RecordBatch::try_from_iter([("id", ids), ("name", names)])?;
//! let schema = frazil_table::arrow::iceberg_schema(&batch.schema())?;
//! let (spec, order) = (PartitionSpec::unpartition_spec(), SortOrder::unsorted_order());
//! let location = "memory://warehouse/t".to_owned();
//! let metadata =
//!     TableMetadataBuilder::new(schema, spec, order, location, FormatVersion::V2, Default::default())?.build()?;
//! let table = frazil_table::Table::new(
//!     TableIdent::from_strs(["n", "t"])?,
//!     metadata.metadata.into(),
//!     "memory://warehouse/t/metadata/00000-0.metadata.json",
//! );
//!
//! let mut writer = TableWriter::new(Env::in_memory(7), &table, WriterConfig::default())?;
//! writer.write(batch).await?;
//! let files = writer.close().await?;
//! assert_eq!(files[0].file.record_count(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bound;
mod closed_files;
mod column_encoder;
mod committable;
mod committer;
mod config;
mod conform;
mod curve;
mod data_location;
mod delete_file;
mod deletion_vectors;
mod distribution;
mod encoder;
mod equality_deletes;
mod error;
mod evolution;
mod file_options;
#[cfg(test)]
mod fixture;
mod flat;
mod intake;
mod key;
mod key_index;
mod key_spill;
mod leaf;
mod ledger;
mod memory;
mod merge;
mod metrics;
mod metrics_mode;
mod nan;
mod ndv;
mod nested;
mod open_file;
mod partition;
mod partition_path;
mod partition_writer;
mod position_deletes;
mod rewriter;
mod row_deletes;
mod row_places;
mod rows;
mod run;
mod shared;
mod sort;
mod sorted_rewriter;
mod statistics;
mod stored_file;
mod table_writer;
mod threads;
mod turn;
mod upsert_planner;
mod upsert_writer;

pub use committable::{Committable, Flushed};
pub use committer::{Committer, Definition, Landed, QUIET_CHECKPOINTS_MAX, Recovered, Sink};
pub use config::WriterConfig;
pub use curve::{CURVE_COLUMNS_MAX, CurveKind, CutSampler, Cuts};
pub use data_location::DataLocations;
pub use deletion_vectors::write_deletion_vectors;
pub use distribution::{DistributionMode, Distributor, share_out};
pub use equality_deletes::write_equality_deletes;
pub use error::{Error, Result};
pub use evolution::{EvolutionStep, SchemaEvolution, plan_evolution};
pub use file_options::FileOptions;
pub use key::KeyColumns;
pub use ledger::{CheckpointId, FencingEpoch, Ledger, RowCounts, SinkId, SourcePositions};
pub use metrics::{FileIdentity, NanCounts, data_file_from_parquet};
pub use metrics_mode::{MetricsConfig, MetricsMode};
pub use ndv::{NDV_COLUMNS_MAX, NdvCounter, NdvSketches};
pub use position_deletes::{DeletedRows, write_position_deletes};
pub use rewriter::{Rewriter, new_file_location};
pub use row_deletes::{RowDeletes, write_row_deletes};
pub use row_places::RowPlaces;
pub use sorted_rewriter::{RowOrder, SortedRewriter};
pub use statistics::{
    Before, EXTENDED_STATISTICS_ENABLED, EXTENDED_STATISTICS_INTERVAL, StatisticsConfig, changes_rows, load_sketches,
    statistics_before, store_statistics, theta_statistics,
};
pub use table_writer::{TableWriter, WriterCounters};
pub use upsert_planner::{UpsertCounters, UpsertPlan, UpsertPlanner};
pub use upsert_writer::{Generation, UpsertWriter};
