//! Record batches become data files, data files become commits.
//!
//! A row's way into a table:
//! 1. [`TableWriter`] takes record batches, splits them by partition and encodes them into Parquet files that are durable
//!    but that no snapshot names ([`TableWriter::flush`]).
//! 2. [`data_file_from_parquet`] says of each file what its manifest entry has to: counts, sizes, column bounds.
//! 3. The committer makes the files of a checkpoint part of the table, exactly once.
//!
//! What this crate does not know: SQL, sources, how rows are read back.

mod bound;
mod committer;
mod config;
mod conform;
mod encoder;
mod error;
mod file_options;
#[cfg(test)]
mod fixture;
mod leaf;
mod ledger;
mod metrics;
mod metrics_mode;
mod nan;
mod open_file;
mod partition;
mod partition_path;
mod partition_writer;
mod rewriter;
mod table_writer;

pub use committer::{Committable, Committer, Landed, QUIET_CHECKPOINTS_MAX, Recovered};
pub use config::WriterConfig;
pub use error::{Error, Result};
pub use file_options::FileOptions;
pub use ledger::{CheckpointId, FencingEpoch, Ledger, SinkId, SourcePositions};
pub use metrics::{FileIdentity, NanCounts, data_file_from_parquet};
pub use metrics_mode::{MetricsConfig, MetricsMode};
pub use rewriter::{Rewriter, new_file_location};
pub use table_writer::{TableWriter, WriterCounters};
