//! The small files of a table and what stands in the way of merging them: all that planning looks at.
//!
//! Built from a [`TableState`] or kept up to date by [`CommitDelta`]s; both ways give the same listing.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use frazil_table::spec::{DataContentType, DataFile, DataFileFormat, FormatVersion, Operation, Snapshot, Struct};
use frazil_table::{DeleteScope, LiveFile, Table, TableState, data_file_builder, row_lineage};

use crate::deletes::DeleteFile;
use crate::{CommitDelta, Config, Result};

/// A live file that a rewrite may read: a data file, or a delete file that may apply to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// The file as the table's manifests have it; a large one without its column metrics.
    pub file: Arc<DataFile>,
    /// The partition spec it was written with.
    pub partition_spec_id: i32,
    /// Orders data against deletes (Iceberg spec, "Sequence Number Inheritance").
    pub data_sequence_number: i64,
    /// When the file itself came: a rewrite gives its outputs an older data sequence number than this.
    pub file_sequence_number: i64,
    /// The snapshot that added it.
    pub added_snapshot_id: i64,
}

impl InputFile {
    pub(crate) fn of(live: &LiveFile<'_>, file: DataFile) -> Self {
        Self {
            file: Arc::new(file),
            partition_spec_id: live.partition_spec_id,
            data_sequence_number: live.data_sequence_number,
            file_sequence_number: live.file_sequence_number,
            added_snapshot_id: live.added_snapshot_id,
        }
    }

    /// The same as a state gives it.
    pub(crate) fn live(&self) -> LiveFile<'_> {
        LiveFile {
            file: &self.file,
            partition_spec_id: self.partition_spec_id,
            data_sequence_number: self.data_sequence_number,
            file_sequence_number: self.file_sequence_number,
            added_snapshot_id: self.added_snapshot_id,
            manifest_path: "",
        }
    }

    /// What tells live files apart: many deletion vectors share one Puffin file.
    pub(crate) fn key(&self) -> (&str, Option<i64>) {
        (self.file.file_path(), self.file.content_offset())
    }

    /// Oldest first; by path where a commit added several.
    pub(crate) fn by_age(&self, other: &Self) -> Ordering {
        self.data_sequence_number.cmp(&other.data_sequence_number).then_with(|| self.key().cmp(&other.key()))
    }
}

/// Files of one partition spec and one partition tuple.
pub(crate) type PartitionKey = (i32, Struct);

/// The data files of a table that may be rewritten, by partition, the deletes that may apply to them, and the newest
/// commits.
///
/// Of a table without row-level deletes only small files are kept, so its size follows their number, which compaction
/// bounds. Where there are deletes, any file may have lost rows: large ones are kept as well, without their metrics, at some
/// 400 bytes each.
#[derive(Clone, Debug)]
pub struct Listing {
    pub(crate) table: Table,
    pub(crate) ref_name: String,
    pub(crate) snapshot_id: Option<i64>,
    pub(crate) partitions: HashMap<PartitionKey, Vec<InputFile>>,
    pub(crate) deletes: Vec<DeleteFile>,
    /// Whether large files are kept.
    has_large_files: bool,
    /// The newest snapshots that changed the table's rows, newest first, at most `delta_commits` of them.
    recent: VecDeque<i64>,
    /// How many of them came after the newest compaction.
    pub(crate) commits_since_compaction: usize,
    config: Config,
}

/// Marks the snapshots of compactions in their summary.
pub(crate) const GROUPS_PROPERTY: &str = "frazil.compaction.groups";

impl Listing {
    /// Lists a state's files.
    ///
    /// # Errors
    /// [`frazil_table::Error::InvalidChange`] if the state was loaded without its manifests' entries.
    pub fn of(state: &TableState, config: &Config) -> Result<Self> {
        Self::build(state, config, !state.live_delete_files()?.is_empty())
    }

    /// The same with all large files, as if the table had deletes.
    pub(crate) fn of_all(state: &TableState, config: &Config) -> Result<Self> {
        Self::build(state, config, true)
    }

    fn build(state: &TableState, config: &Config, has_large_files: bool) -> Result<Self> {
        let mut listing = Self {
            table: state.table().clone(),
            ref_name: state.ref_name().to_owned(),
            snapshot_id: state.snapshot_id(),
            partitions: HashMap::new(),
            deletes: Vec::new(),
            has_large_files,
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

    /// Whether a delta is all that the listing lacks. If not, the whole state has to be read: types of partitions may have
    /// changed with the schema, deletes may concern large files that were not kept, or files get row ids that no manifest
    /// tells.
    pub(crate) fn can_follow(&self, delta: &CommitDelta) -> bool {
        let (before, now) = (self.table.metadata(), delta.table.metadata());
        let is_delete = |added: &InputFile| added.file.content_type() != DataContentType::Data;
        before.current_schema_id() == now.current_schema_id()
            && before.format_version() == now.format_version()
            && (self.has_large_files || !delta.added.iter().any(is_delete))
            && self.files().all(|file| self.can_rewrite(&file.file))
    }

    /// Follows commits to a later state.
    pub fn apply(&mut self, delta: &CommitDelta) {
        self.table = delta.table.clone();
        self.snapshot_id = delta.table.metadata().snapshot_for_ref(&self.ref_name).map(|s| s.snapshot_id());
        let snapshots = delta.snapshot_ids.iter().filter_map(|id| delta.table.metadata().snapshot_by_id(*id));
        self.note_snapshots(snapshots.map(|snapshot| snapshot.as_ref()));
        for file in &delta.added {
            self.note_file(&file.live());
        }
        let removed: HashSet<(&str, Option<i64>)> =
            delta.removed.iter().map(|removed| (removed.path.as_str(), removed.content_offset)).collect();
        if !removed.is_empty() {
            for files in self.partitions.values_mut() {
                files.retain(|input| !removed.contains(&input.key()));
            }
            self.partitions.retain(|_, files| !files.is_empty());
            self.deletes.retain(|delete| !removed.contains(&delete.input.key()));
        }
        self.sort();
    }

    /// The settings it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How many small files a partition has at most.
    pub fn small_files_max(&self) -> usize {
        let small = |files: &Vec<InputFile>| files.iter().filter(|input| self.is_small(&input.file)).count();
        self.partitions.values().map(small).max().unwrap_or(0)
    }

    /// How many equality delete files are live.
    pub fn equality_deletes(&self) -> usize {
        let is_equality = |delete: &&DeleteFile| delete.input.file.content_type() == DataContentType::EqualityDeletes;
        self.deletes.iter().filter(is_equality).count()
    }

    /// Whether a file is to be merged with others for its size.
    pub(crate) fn is_small(&self, file: &DataFile) -> bool {
        file.file_size_in_bytes() < self.config.small_file_size_bytes()
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &InputFile> {
        self.partitions.values().flatten()
    }

    /// Why nothing of the table can be rewritten, if so.
    pub(crate) fn refusal(&self) -> Option<String> {
        let metadata = self.table.metadata();
        if metadata.format_version() < FormatVersion::V3 {
            return None;
        }
        let schema = metadata.current_schema();
        let own = row_lineage::fields().into_iter().find(|field| schema.field_by_name(&field.name).is_some())?;
        Some(format!("its column {} has the name under which files keep the ids of rows; rename it", own.name))
    }

    /// Whether the file can be rewritten. In a table that was upgraded to format version 3, files have no row ids until
    /// something is committed to it: a rewrite would give their rows ids other than those that they get then.
    pub(crate) fn can_rewrite(&self, file: &DataFile) -> bool {
        self.table.metadata().format_version() < FormatVersion::V3 || file.first_row_id().is_some()
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
        if live.content() != DataContentType::Data {
            let scope = DeleteScope::of(self.table.metadata(), file, live.partition_spec_id);
            self.deletes.push(DeleteFile { input: InputFile::of(live, file.clone()), scope });
            return;
        }
        let is_small = self.is_small(file);
        let is_readable = file.file_format() == DataFileFormat::Parquet && file.key_metadata().is_none();
        if is_readable && (is_small || self.has_large_files) {
            let kept = if is_small { file.clone() } else { without_metrics(file, live.partition_spec_id) };
            let partition = (live.partition_spec_id, file.partition().clone());
            self.partitions.entry(partition).or_default().push(InputFile::of(live, kept));
        }
    }

    fn sort(&mut self) {
        for files in self.partitions.values_mut() {
            files.sort_by(InputFile::by_age);
        }
        self.deletes.sort_by(|a, b| a.input.by_age(&b.input));
    }
}

/// What is needed to read a file: the metrics of a rewritten one are those of its output.
fn without_metrics(file: &DataFile, partition_spec_id: i32) -> DataFile {
    let mut builder = data_file_builder(file, partition_spec_id);
    let none = HashMap::new;
    builder.column_sizes(none()).value_counts(none()).null_value_counts(none()).nan_value_counts(none());
    builder.lower_bounds(HashMap::new()).upper_bounds(HashMap::new()).split_offsets(None);
    builder.build().expect("every field that must be set is set")
}

/// A snapshot that counts as a commit: no rewrite, and not one that only left a mark.
pub(crate) fn changes_rows(snapshot: &Snapshot) -> bool {
    let summary = snapshot.summary();
    let partitions = summary.additional_properties.get("changed-partition-count");
    summary.operation != Operation::Replace && partitions.map(String::as_str) != Some("0")
}
