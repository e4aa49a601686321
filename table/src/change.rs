//! What may happen to a table.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::MetadataChange;
use crate::promotion::widest_tuple;
use crate::spec::{DataFile, Struct};

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
    /// New rows and deletes of single rows; see [`RowDelta`].
    RowDelta(RowDelta),
    /// Data files go and others come; see [`Overwrite`].
    Overwrite(Overwrite),
    /// Data files go; see [`DeleteFiles`].
    DeleteFiles(DeleteFiles),
    /// Other files with the same rows; a `replace` snapshot.
    ///
    /// In format version 3 every added file must carry the rows' ids: see [`crate::row_lineage`].
    Replace {
        /// Paths of live data files that go.
        removed: Vec<String>,
        /// The files that take their place.
        added: Vec<TableFile>,
        /// Data sequence number of every added file: at least the greatest of the removed ones, so that no delete that
        /// applied to none of them applies now, and not above the base snapshot's, so that every later one still does
        /// (Iceberg spec, "Scan Planning").
        data_sequence_number: i64,
        /// The snapshot the rewrite read. Position deletes of the removed files that came after it are conflicts, unless
        /// they are carried; equality deletes are none, since they apply to the added files by number.
        base_snapshot_id: i64,
        /// Position deletes of the removed files that came after the base, as deletes of the added ones.
        carried: Option<CarriedDeletes>,
        /// Added to the snapshot's summary.
        properties: SnapshotProperties,
    },
    /// Other delete files that delete the same rows; see [`RewriteDeletes`].
    RewriteDeletes(RewriteDeletes),
    /// The same files in other manifests; see [`RewriteManifests`].
    RewriteManifests(RewriteManifests),
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

/// What was deleted by position while a rewrite ran, rebased onto its outputs. It goes into the rewrite's own snapshot, whose
/// number is the deletes' data sequence number: never below that of the files that they apply to.
///
/// It accounts for every position delete and deletion vector that the table had at `up_to_snapshot_id`, whoever wrote it and
/// in whatever form. Only what came later is a conflict then, and the caller rebases again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedDeletes {
    /// Position delete files (format version 2) or deletion vectors (from 3 on), each of one of the added files alone; none
    /// if nothing that is left was deleted.
    pub delete_files: Vec<TableFile>,
    /// The snapshot whose deletes they are: the base, or one that came after it.
    pub up_to_snapshot_id: i64,
}

/// New rows, and deletes of single rows of files that stay, in one snapshot: position deletes and equality deletes in
/// format version 2, deletion vectors and equality deletes in version 3.
///
/// The operation is `append` with data files alone, `delete` with delete files alone, otherwise `overwrite`.
///
/// Equality deletes of a snapshot do not apply to its own data files, position deletes do (Iceberg spec, "Scan
/// Planning"): two versions of one key in one row delta must be told apart by a position delete.
///
/// Checks: the data files that position deletes and deletion vectors refer to are still live, and no delete that came
/// after `validation.base_snapshot_id` may apply to them; see [`Validation`]. A deletion vector takes the place of what
/// its data file had before: its earlier vector and position delete files of that file alone must be among
/// `removed_delete_files` ([`crate::Error::DeletesNotAbsorbed`]).
#[derive(Clone, Debug, Default)]
pub struct RowDelta {
    /// New rows.
    pub data_files: Vec<TableFile>,
    /// Position delete files, equality delete files, deletion vectors.
    pub delete_files: Vec<TableFile>,
    /// Live delete files whose deletes are in `delete_files` too. Files are told apart by path and, since many deletion
    /// vectors share a Puffin file, content offset.
    pub removed_delete_files: Vec<TableFile>,
    /// What must not have happened since the change was worked out.
    pub validation: Validation,
    /// Added to the snapshot's summary.
    pub properties: SnapshotProperties,
}

/// Data files go, others come: copy-on-write by files, INSERT OVERWRITE by filter or by partitions.
///
/// The operation is `overwrite`; `delete` if nothing comes, `append` if nothing goes.
#[derive(Clone, Debug)]
pub struct Overwrite {
    /// What goes.
    pub removed: RemovedFiles,
    /// What comes.
    pub added: Vec<TableFile>,
    /// What must not have happened since the change was worked out.
    pub validation: Validation,
    /// Added to the snapshot's summary.
    pub properties: SnapshotProperties,
}

/// Data files go as wholes; a `delete` snapshot, which costs no look at a row.
#[derive(Clone, Debug)]
pub struct DeleteFiles {
    /// What goes.
    pub removed: RemovedFiles,
    /// What must not have happened since the change was worked out.
    pub validation: Validation,
    /// Added to the snapshot's summary.
    pub properties: SnapshotProperties,
}

/// Which data files go.
#[derive(Clone, Debug)]
pub enum RemovedFiles {
    /// Those at these paths. All of them must be live.
    Files(Vec<String>),
    /// Those whose rows all match, as the table is when the commit lands. A file of which only some rows may match is a
    /// conflict ([`crate::Conflict::PartialMatch`]): its other rows must be written anew first.
    Filter(RowFilterRef),
    /// All in the partitions of the added files (dynamic overwrite). In an unpartitioned table that is every file.
    PartitionsOfAdded,
}

/// Delete files are merged or turned into another form; a `replace` snapshot.
///
/// What is written takes the greatest data sequence number of what is removed, so that it still applies to every file
/// that any of them applied to. Equality deletes may be turned into position deletes or vectors; the reverse is refused.
///
/// Checks: every removed file is live, the data files that the new ones refer to are live, and no data file that a removed
/// equality delete applies to came after the base ([`crate::Conflict::RowsAdded`]): it may have rows that nobody looked at.
#[derive(Clone, Debug, Default)]
pub struct RewriteDeletes {
    /// Live delete files that go.
    pub removed: Vec<TableFile>,
    /// What takes their place.
    pub added: Vec<TableFile>,
    /// What must not have happened since the rewrite began.
    pub validation: Validation,
    /// Added to the snapshot's summary.
    pub properties: SnapshotProperties,
}

/// The live entries of all manifests are sorted by partition and written into manifests of a target size; a `replace`
/// snapshot. Files, sequence numbers and row ids stay as they are.
#[derive(Clone, Debug)]
pub struct RewriteManifests {
    /// Size of a manifest, about; `commit.manifest.target-size-bytes` of the table if `None`.
    pub target_size_bytes: Option<u64>,
    /// Added to the snapshot's summary.
    pub properties: SnapshotProperties,
}

/// What a change promises about the commits that it does not know of.
#[derive(Clone, Debug, Default)]
pub struct Validation {
    /// The snapshot that the change was worked out on; `None` if the branch had none. Only what came after it is looked
    /// at, so the cost is that of the commits since then, not of the table.
    pub base_snapshot_id: Option<i64>,
    /// How much of what came after it is a conflict.
    pub isolation: Isolation,
    /// The rows that the change read, for [`Isolation::Serializable`]; `None`: every row.
    pub conflict_filter: Option<RowFilterRef>,
    /// The data files that position deletes of more than one file refer to. If it is empty, such a file stands for every
    /// data file of its partition.
    pub referenced_data_files: Vec<String>,
}

/// How much of what came after the base is a conflict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Changes of the same rows: no update is lost and no deleted row comes back.
    #[default]
    Snapshot,
    /// Also new rows that the change would have seen, had it been made later.
    Serializable,
}

impl Validation {
    /// Snapshot isolation.
    pub fn snapshot(base_snapshot_id: Option<i64>) -> Self {
        Self { base_snapshot_id, ..Self::default() }
    }

    /// Serializable isolation for a change that read the rows of `filter`; `None`: all rows.
    pub fn serializable(base_snapshot_id: Option<i64>, filter: Option<RowFilterRef>) -> Self {
        Self { base_snapshot_id, isolation: Isolation::Serializable, conflict_filter: filter, ..Self::default() }
    }

    pub(crate) fn is_serializable(&self) -> bool {
        self.isolation == Isolation::Serializable
    }
}

/// A condition on rows, as far as a file's metadata decides it. The reader's predicates are such filters.
pub trait RowFilter: fmt::Debug + fmt::Display + Send + Sync {
    /// Whether any row of the file may match. `true` if nothing is known.
    fn may_match(&self, file: &DataFile, partition_spec_id: i32) -> bool;

    /// Whether every row of the file is sure to match. `false` if nothing is known.
    fn all_match(&self, file: &DataFile, partition_spec_id: i32) -> bool;
}

/// A filter that is shared by all attempts of a commit.
pub type RowFilterRef = Arc<dyn RowFilter>;

/// All rows of some partitions. A file's partition is known exactly, so this filter never half-matches a file that was
/// written with one of its partition specs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionFilter(HashSet<(i32, Struct)>);

impl PartitionFilter {
    /// The partitions of files.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a TableFile>) -> Self {
        Self::new(files.into_iter().map(|file| (file.partition_spec_id, file.file.partition().clone())))
    }

    /// Partitions by spec id and tuple.
    pub fn new(partitions: impl IntoIterator<Item = (i32, Struct)>) -> Self {
        Self(partitions.into_iter().map(|(spec_id, tuple)| (spec_id, widest_tuple(&tuple))).collect())
    }
}

impl RowFilter for PartitionFilter {
    fn may_match(&self, file: &DataFile, partition_spec_id: i32) -> bool {
        let other_spec = || !self.0.iter().any(|(spec_id, _)| *spec_id == partition_spec_id);
        self.all_match(file, partition_spec_id) || other_spec()
    }

    fn all_match(&self, file: &DataFile, partition_spec_id: i32) -> bool {
        self.0.contains(&(partition_spec_id, widest_tuple(file.partition())))
    }
}

impl fmt::Display for PartitionFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} partitions", self.0.len())
    }
}

impl Change {
    /// Whether it makes a snapshot, for which the commit's identity needs an id.
    pub fn makes_snapshot(&self) -> bool {
        match self {
            Self::Append { .. }
            | Self::RowDelta(_)
            | Self::Overwrite(_)
            | Self::DeleteFiles(_)
            | Self::Replace { .. }
            | Self::RewriteDeletes(_)
            | Self::RewriteManifests(_) => true,
            Self::ExpireSnapshots { .. } | Self::SetProperties(_) | Self::RemoveProperties(_) | Self::Metadata(_) => {
                false
            }
        }
    }
}

impl From<MetadataChange> for Change {
    fn from(change: MetadataChange) -> Self {
        Change::Metadata(change)
    }
}
