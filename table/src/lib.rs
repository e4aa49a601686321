//! What an Iceberg table is and how it changes.
//!
//! The crate is the only one that names the `iceberg` crate; its types of the specification pass through [`spec`].
//!
//! A change of a table goes through three hands:
//! 1. [`plan_commit`] is pure: a [`TableState`] and a list of [`Change`]s become a [`CommitPlan`] that can be printed.
//! 2. [`io::store_commit`] writes the manifests that the plan asks for and returns what a catalog has to be told.
//! 3. A catalog swaps the table's pointer. That is not done here.
//!
//! [`arrow`] says what the table's schema and partition transforms are in Arrow's terms.
//!
//! What this crate does not know: catalogs, Parquet, jobs.

pub mod arrow;
mod avro;
mod avro_name;
mod change;
mod cherry_pick;
mod commit;
mod conflict;
mod data_file;
mod decode;
mod deletes;
mod deletion_vector;
mod error;
pub mod evolve;
mod expire;
mod file_json;
mod history;
pub mod io;
pub mod layout;
mod manifest;
mod manifest_set;
mod metadata_text;
mod moment;
mod needs;
mod partition_type;
mod promotion;
mod retention;
pub mod row_lineage;
pub mod spec;
mod state;
mod stored_rows;
mod summary;
mod table;

pub use change::{
    CarriedDeletes, Change, DeleteFiles, Isolation, Operation, Overwrite, PartitionFilter, RemovedFiles,
    RewriteDeletes, RewriteManifests, RowDelta, RowFilter, RowFilterRef, SnapshotProperties, TableFile, Validation,
};
pub use cherry_pick::{CherryPick, PUBLISHED_WAP_ID, SOURCE_SNAPSHOT_ID, STAGED_WAP_ID, find_staged, plan_cherry_pick};
pub use commit::{
    CommitIdentity, CommitPlan, Evolution, ManifestPlan, ManifestRef, OPERATION_ID, PlannedEntry, PreparedCommit,
    SnapshotPlan, plan_commit,
};
pub use conflict::Conflict;
pub use data_file::data_file_builder;
pub use deletes::{DeleteScope, applies_by_number, is_vector, referenced_data_file};
pub use deletion_vector::{
    DELETION_VECTOR_BLOB, DELETION_VECTOR_BYTES_MAX, VectorDamage, decode_deletion_vector, encode_deletion_vector,
};
pub use error::{Error, Result};
pub use evolve::{MetadataChange, MetadataPlan, plan_metadata, preview_metadata};
pub use expire::{ExpirePlan, UnreachableFiles, plan_expire};
pub use manifest::ManifestCache;
pub use metadata_text::MetadataText;
pub use moment::moment;
pub use needs::may_list;
pub use partition_type::{partition_type, partition_values};
pub use retention::Retention;
pub use state::{CommitTarget, LiveFile, TableState};
pub use stored_rows::{RowKeys, StoredRows};
pub use table::{Ancestors, Table};
