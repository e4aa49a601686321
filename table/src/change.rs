//! What may happen to a table.

use std::collections::{BTreeMap, HashMap};

use crate::MetadataChange;
use crate::spec::DataFile;

pub use crate::spec::Operation;

/// Extra entries of a snapshot's summary. They must not use keys of the specification.
pub type SnapshotProperties = BTreeMap<String, String>;

/// A data or delete file that is, or is to be, in a table, with the partition spec that its partition tuple follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFile {
    /// The file.
    pub file: DataFile,
    /// A partition spec of the table.
    pub partition_spec_id: i32,
}

/// One change. Several may go into one commit; they are applied in order.
#[derive(Clone, Debug)]
pub enum Change {
    /// New data files; an `append` snapshot. Without files the snapshot is empty, which is how a writer leaves a mark.
    Append {
        /// Written with one of the table's partition specs.
        files: Vec<TableFile>,
        /// Added to the snapshot's summary.
        properties: SnapshotProperties,
    },
    /// Other files with the same rows; a `replace` snapshot.
    Replace {
        /// Paths of live data files that go.
        removed: Vec<String>,
        /// The files that take their place.
        added: Vec<TableFile>,
        /// Data sequence number of every added file: the greatest of the removed ones, so that no delete that applied to
        /// none of them applies now, and every later one still does (Iceberg spec, "Scan Planning").
        data_sequence_number: i64,
        /// The snapshot the rewrite read. Deletes that came after it are conflicts.
        base_snapshot_id: i64,
        /// Added to the snapshot's summary.
        properties: SnapshotProperties,
    },
    /// Snapshots leave the metadata. Nothing is deleted from the store by this.
    ExpireSnapshots {
        /// None of them may be the head of a branch or a tag.
        snapshot_ids: Vec<i64>,
    },
    /// Table properties are set.
    SetProperties(HashMap<String, String>),
    /// Table properties are removed.
    RemoveProperties(Vec<String>),
    /// Schema, partition spec, sort order, refs and so on. Applied before all changes of files, wherever it stands in the
    /// list: they are made with the new schema and spec.
    Metadata(MetadataChange),
}
