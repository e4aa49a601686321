//! The small files of a table and what stands in the way of merging them: all that planning looks at.
//!
//! Built from a [`TableState`] or kept up to date by [`CommitDelta`]s; both ways give the same listing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use frazil_table::spec::{
    DataContentType, DataFile, DataFileFormat, FormatVersion, Operation, Snapshot, Struct, TableMetadata,
};
use frazil_table::{LiveFile, Table, TableState};

use crate::{CommitDelta, Config, Result};

/// A live data file that a rewrite may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// The file as the table's manifests have it.
    pub file: Arc<DataFile>,
    /// The partition spec it was written with.
    pub partition_spec_id: i32,
    /// Orders it against deletes (Iceberg spec, "Sequence Number Inheritance").
    pub data_sequence_number: i64,
    /// The snapshot that added it.
    pub added_snapshot_id: i64,
}

/// Files of one partition spec and one partition tuple.
pub(crate) type PartitionKey = (i32, Struct);

/// A live delete file, as far as it says which rewrites it touches.
#[derive(Clone, Debug)]
pub(crate) struct DeleteFile {
    path: String,
    partition: PartitionKey,
    data_sequence_number: i64,
    kind: DeleteKind,
}

#[derive(Clone, Debug)]
enum DeleteKind {
    /// Position deletes or a deletion vector; of one data file if it says so.
    Positions { data_file: Option<String> },
    /// Equality deletes; of all partitions if written unpartitioned.
    Equality { global: bool },
}

/// The small files of a table by partition, the deletes that may apply to them, and the newest commits.
///
/// Large files are not kept, so its size follows the number of small files, which compaction bounds.
#[derive(Clone, Debug)]
pub struct Listing {
    pub(crate) table: Table,
    pub(crate) ref_name: String,
    pub(crate) snapshot_id: Option<i64>,
    pub(crate) partitions: HashMap<PartitionKey, Vec<InputFile>>,
    pub(crate) deletes: Vec<DeleteFile>,
    /// The newest snapshots that changed the table's rows, newest first, at most `delta_commits` of them.
    recent: VecDeque<i64>,
    /// How many of them came after the newest compaction.
    pub(crate) commits_since_compaction: usize,
    config: Config,
}

/// Marks the snapshots of compactions in their summary.
pub(crate) const GROUPS_PROPERTY: &str = "frazil.compaction.groups";

impl Listing {
    /// Lists a state's small files.
    ///
    /// # Errors
    /// [`frazil_table::Error::InvalidChange`] if the state was loaded without its manifests' entries.
    pub fn of(state: &TableState, config: &Config) -> Result<Self> {
        let mut listing = Self {
            table: state.table().clone(),
            ref_name: state.ref_name().to_owned(),
            snapshot_id: state.snapshot_id(),
            partitions: HashMap::new(),
            deletes: Vec::new(),
            recent: VecDeque::new(),
            commits_since_compaction: 0,
            config: config.clone(),
        };
        if let Some(head) = state.snapshot_id() {
            let chain: Vec<_> = state.table().ancestors_of(head).collect();
            listing.note_snapshots(chain.iter().rev().copied());
        }
        for live in state.live_data_files()? {
            listing.note_file(&live);
        }
        for live in state.live_delete_files()? {
            listing.note_file(&live);
        }
        listing.sort();
        Ok(listing)
    }

    /// Follows commits to a later state.
    pub fn apply(&mut self, delta: &CommitDelta) {
        self.table = delta.table.clone();
        self.snapshot_id = delta.table.metadata().snapshot_for_ref(&self.ref_name).map(|s| s.snapshot_id());
        let snapshots = delta.snapshot_ids.iter().filter_map(|id| delta.table.metadata().snapshot_by_id(*id));
        self.note_snapshots(snapshots.map(|snapshot| snapshot.as_ref()));
        for file in &delta.added {
            let live = LiveFile {
                file: &file.file,
                partition_spec_id: file.partition_spec_id,
                data_sequence_number: file.data_sequence_number,
                file_sequence_number: file.data_sequence_number,
                added_snapshot_id: file.added_snapshot_id,
                manifest_path: "",
            };
            self.note_file(&live);
        }
        let removed: HashSet<&str> = delta.removed.iter().map(String::as_str).collect();
        if !removed.is_empty() {
            for files in self.partitions.values_mut() {
                files.retain(|input| !removed.contains(input.file.file_path()));
            }
            self.partitions.retain(|_, files| !files.is_empty());
            self.deletes.retain(|delete| !removed.contains(delete.path.as_str()));
        }
        self.sort();
    }

    /// The settings it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How many small files a partition has at most.
    pub fn small_files_max(&self) -> usize {
        self.partitions.values().map(Vec::len).max().unwrap_or(0)
    }

    /// Why nothing of the table can be rewritten, if so.
    pub(crate) fn refusal(&self) -> Option<String> {
        let version = self.table.metadata().format_version();
        (version >= FormatVersion::V3).then(|| {
            format!(
                "the table has format version {version}: a rewrite would have to carry each row's id along, which is \
                     not supported yet"
            )
        })
    }

    /// Where the last commits' files begin in a partition's list.
    pub(crate) fn is_fresh(&self, input: &InputFile) -> bool {
        self.recent.contains(&input.added_snapshot_id)
    }

    /// Snapshots in the order in which they came.
    fn note_snapshots<'a>(&mut self, snapshots: impl Iterator<Item = &'a Snapshot>) {
        for snapshot in snapshots {
            if snapshot.summary().additional_properties.contains_key(GROUPS_PROPERTY) {
                self.commits_since_compaction = 0;
            }
            if changes_rows(snapshot) {
                self.recent.push_front(snapshot.snapshot_id());
                self.recent.truncate(self.config.delta_commits);
                self.commits_since_compaction = self.commits_since_compaction.saturating_add(1);
            }
        }
    }

    pub(crate) fn note_file(&mut self, live: &LiveFile<'_>) {
        let file = live.file;
        let partition = (live.partition_spec_id, file.partition().clone());
        let kind = match live.content() {
            DataContentType::Data => {
                let small = file.file_size_in_bytes() < self.config.small_file_size_bytes();
                if small && file.file_format() == DataFileFormat::Parquet && file.key_metadata().is_none() {
                    self.partitions.entry(partition).or_default().push(InputFile {
                        file: Arc::new(file.clone()),
                        partition_spec_id: live.partition_spec_id,
                        data_sequence_number: live.data_sequence_number,
                        added_snapshot_id: live.added_snapshot_id,
                    });
                }
                return;
            }
            DataContentType::PositionDeletes => DeleteKind::Positions { data_file: file.referenced_data_file() },
            DataContentType::EqualityDeletes => {
                DeleteKind::Equality { global: is_unpartitioned(self.table.metadata(), live.partition_spec_id) }
            }
        };
        self.deletes.push(DeleteFile {
            path: file.file_path().to_owned(),
            partition,
            data_sequence_number: live.data_sequence_number,
            kind,
        });
    }

    /// Oldest first; by path where a commit added several.
    fn sort(&mut self) {
        for files in self.partitions.values_mut() {
            files.sort_by(|a, b| {
                let key = |input: &InputFile| input.data_sequence_number;
                key(a).cmp(&key(b)).then_with(|| a.file.file_path().cmp(b.file.file_path()))
            });
        }
    }

    /// What deletes do to the files of one partition.
    pub(crate) fn deletes_of<'a>(&'a self, partition: &'a PartitionKey) -> PartitionDeletes<'a> {
        let mut deletes = PartitionDeletes::default();
        for delete in &self.deletes {
            let number = delete.data_sequence_number;
            let same_partition = delete.partition == *partition;
            match &delete.kind {
                DeleteKind::Equality { global } if *global || same_partition => deletes.equality.push(number),
                DeleteKind::Equality { .. } => {}
                DeleteKind::Positions { data_file: Some(path) } => {
                    let newest = deletes.by_file.entry(path).or_insert(number);
                    *newest = number.max(*newest);
                }
                DeleteKind::Positions { data_file: None } if same_partition => {
                    deletes.positions = deletes.positions.max(Some(number));
                }
                DeleteKind::Positions { data_file: None } => {}
            }
        }
        deletes
    }

    /// Whether any equality delete file is live.
    pub(crate) fn has_equality_deletes(&self) -> bool {
        self.deletes.iter().any(|delete| matches!(delete.kind, DeleteKind::Equality { .. }))
    }
}

/// The deletes that may apply to a partition's files (Iceberg spec, "Scan Planning").
#[derive(Debug, Default)]
pub(crate) struct PartitionDeletes<'a> {
    /// Sequence numbers of equality deletes.
    equality: Vec<i64>,
    /// The newest position deletes of each data file that names its deletes.
    by_file: HashMap<&'a str, i64>,
    /// The newest position deletes that name no data file.
    positions: Option<i64>,
}

impl PartitionDeletes<'_> {
    /// Whether position deletes or a deletion vector may name rows of the file.
    pub(crate) fn may_name_rows_of(&self, input: &InputFile) -> bool {
        let own = self.by_file.get(input.file.file_path()).copied();
        own.max(self.positions).is_some_and(|newest| newest >= input.data_sequence_number)
    }

    /// Whether an equality delete applies to the older file and not to the newer one, so that no sequence number of a
    /// merged file would be right.
    pub(crate) fn part(&self, older: &InputFile, newer: &InputFile) -> bool {
        let between = older.data_sequence_number + 1..=newer.data_sequence_number;
        self.equality.iter().any(|number| between.contains(number))
    }
}

fn is_unpartitioned(metadata: &TableMetadata, spec_id: i32) -> bool {
    metadata.partition_spec_by_id(spec_id).is_none_or(|spec| spec.is_unpartitioned())
}

/// A snapshot that counts as a commit: no rewrite, and not one that only left a mark.
pub(crate) fn changes_rows(snapshot: &Snapshot) -> bool {
    let summary = snapshot.summary();
    let partitions = summary.additional_properties.get("changed-partition-count");
    summary.operation != Operation::Replace && partitions.map(String::as_str) != Some("0")
}
