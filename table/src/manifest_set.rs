//! The manifests of a snapshot while a commit is being planned.

use std::collections::{BTreeMap, HashSet};

use crate::commit::{CommitIdentity, ManifestPlan, ManifestRef, PlannedEntry, SnapshotPlan};
use crate::conflict::Target;
use crate::deletes::{DeleteScope, FileKey};
use crate::row_lineage::{with_first_row_id, without_row_ids};
use crate::spec::{
    DataContentType, DataFile, ManifestContentType, ManifestEntry, ManifestFile, ManifestStatus, Struct, TableMetadata,
};
use crate::{Error, Result, TableFile, TableState, layout};

mod dead;
mod merge;

pub(crate) use merge::{merging_is_due, min_count_to_merge};

/// Entries in one new manifest: about 8 MiB (`commit.manifest.target-size-bytes`) at 800 bytes an entry.
const ENTRIES_MAX: usize = 10_000;

pub(crate) struct ManifestSet<'a> {
    state: &'a TableState,
    identity: &'a CommitIdentity,
    /// In the order of the manifest list: newest first.
    listed: Vec<ManifestRef>,
    new: Vec<ManifestPlan>,
    /// Data files that changes of this commit removed.
    removed: HashSet<String>,
    reusable: usize,
}

/// What became of files that were to be removed.
pub(crate) enum Removal {
    /// All were live.
    Removed(Vec<RemovedFile>),
    /// This one was not, or could not be removed as a whole.
    Missing(String),
}

/// A file that was live.
pub(crate) struct RemovedFile {
    pub(crate) file: DataFile,
    pub(crate) partition_spec_id: i32,
    pub(crate) data_sequence_number: i64,
}

/// A live file as it is looked at.
pub(crate) struct Live<'a> {
    pub(crate) file: &'a DataFile,
    /// `None` only in a damaged manifest.
    pub(crate) data_sequence_number: Option<i64>,
    pub(crate) partition_spec_id: i32,
}

impl RemovedFile {
    pub(crate) fn counted(&self) -> (&DataFile, i32) {
        (&self.file, self.partition_spec_id)
    }
}

/// Whether a file is among those that go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matched {
    Yes,
    No,
    /// Some of its rows only: it can't go.
    Partly,
}

impl<'a> ManifestSet<'a> {
    /// The manifests of the state. Those that list nothing live any more are left out.
    pub(crate) fn new(state: &'a TableState, identity: &'a CommitIdentity) -> Self {
        let live = |m: &&ManifestFile| m.has_added_files() || m.has_existing_files();
        let listed = state.manifests().iter().filter(live).cloned().map(ManifestRef::Stored).collect();
        Self { state, identity, listed, new: Vec::new(), removed: HashSet::new(), reusable: 0 }
    }

    /// The manifests as a snapshot lists them now.
    pub(crate) fn list(&self) -> Vec<ManifestRef> {
        self.listed.clone()
    }

    pub(crate) fn into_new_manifests(self) -> Vec<ManifestPlan> {
        self.new
    }

    /// Lists new files, one manifest for each partition spec and [`ENTRIES_MAX`] files.
    pub(crate) fn add(
        &mut self,
        content: ManifestContentType,
        files: &[TableFile],
        snapshot: &SnapshotPlan,
        data_sequence_number: Option<i64>,
        reusable: bool,
    ) {
        let mut by_spec: BTreeMap<i32, Vec<PlannedEntry>> = BTreeMap::new();
        for added in files {
            // A number of its own has what takes the place of others: its rows are old ones.
            let file = match data_sequence_number {
                None => without_row_ids(added),
                Some(_) => added.file.clone(),
            };
            by_spec.entry(added.partition_spec_id).or_default().push(PlannedEntry {
                status: ManifestStatus::Added,
                snapshot_id: snapshot.snapshot_id,
                data_sequence_number,
                file_sequence_number: None,
                file,
            });
        }
        for (spec_id, entries) in by_spec {
            self.write(content, entries, spec_id, snapshot, reusable);
        }
    }

    /// Marks files as deleted. The manifests that list them are written anew, merged.
    pub(crate) fn remove(
        &mut self,
        content: ManifestContentType,
        keys: &HashSet<FileKey>,
        snapshot: &SnapshotPlan,
    ) -> Result<Removal> {
        let removal =
            self.remove_where(content, snapshot, |entry, _| match keys.contains(&FileKey::of(entry.file)) {
                true => Matched::Yes,
                false => Matched::No,
            })?;
        let Removal::Removed(removed) = &removal else { return Ok(removal) };
        let found: HashSet<FileKey> = removed.iter().map(|removed| FileKey::of(&removed.file)).collect();
        match keys.difference(&found).min() {
            Some(missing) => Ok(Removal::Missing(missing.path().to_owned())),
            None => Ok(removal),
        }
    }

    /// Marks the files as deleted for which `matched` says so. The manifests that list them are written anew, merged.
    pub(crate) fn remove_where(
        &mut self,
        content: ManifestContentType,
        snapshot: &SnapshotPlan,
        matched: impl Fn(&Live<'_>, i32) -> Matched,
    ) -> Result<Removal> {
        let mut removed = Vec::new();
        let mut kept = Vec::new();
        let mut rewritten: BTreeMap<i32, Vec<PlannedEntry>> = BTreeMap::new();
        for manifest in std::mem::take(&mut self.listed) {
            let (own_content, spec_id) = self.describe(&manifest);
            if own_content != content || !self.is_readable(&manifest) {
                kept.push(manifest);
                continue;
            }
            let mut verdicts = Vec::new();
            for live in self.live_in(&manifest)? {
                let verdict = matched(&live, spec_id);
                if verdict == Matched::Partly {
                    return Ok(Removal::Missing(live.file.file_path().to_owned()));
                }
                verdicts.push(verdict);
            }
            if !verdicts.contains(&Matched::Yes) {
                kept.push(manifest);
                continue;
            }
            let entries = self.entries(&manifest)?.into_iter().filter(is_live);
            let into = rewritten.entry(spec_id).or_default();
            for (mut entry, verdict) in entries.zip(verdicts) {
                entry.status = ManifestStatus::Existing;
                if verdict == Matched::Yes {
                    removed.push(removed_file(&entry, spec_id));
                    entry.status = ManifestStatus::Deleted;
                    entry.snapshot_id = snapshot.snapshot_id;
                }
                into.push(entry);
            }
        }
        self.listed = kept;
        for (spec_id, entries) in rewritten {
            self.write(content, entries, spec_id, snapshot, false);
        }
        if content == ManifestContentType::Data {
            self.removed.extend(removed.iter().map(|removed| removed.file.file_path().to_owned()));
        }
        Ok(Removal::Removed(removed))
    }

    /// Whether a change of this commit removed the data file.
    pub(crate) fn has_removed(&self, path: &str) -> bool {
        self.removed.contains(path)
    }

    /// The first of `paths` that is a live data file, among the manifests at hand.
    pub(crate) fn find_live_data(&self, paths: &HashSet<&str>) -> Result<Option<String>> {
        if paths.is_empty() {
            return Ok(None);
        }
        for manifest in self.of(ManifestContentType::Data) {
            let path = self.live_in(manifest)?.map(|live| live.file.file_path()).find(|path| paths.contains(path));
            if let Some(path) = path {
                return Ok(Some(path.to_owned()));
            }
        }
        Ok(None)
    }

    /// The live delete files of some partitions.
    pub(crate) fn live_deletes_in(&self, partitions: &HashSet<(i32, Struct)>) -> Result<Vec<DataFile>> {
        let mut live = Vec::new();
        for manifest in self.of(ManifestContentType::Deletes) {
            let (_, spec_id) = self.describe(manifest);
            let inside = |file: &&DataFile| partitions.contains(&(spec_id, file.partition().clone()));
            live.extend(self.live_in(manifest)?.map(|live| live.file).filter(inside).cloned());
        }
        Ok(live)
    }

    /// The live equality delete files, among the manifests at hand.
    pub(crate) fn live_equality_deletes(&self) -> Result<Vec<Live<'_>>> {
        let mut live = Vec::new();
        for manifest in self.of(ManifestContentType::Deletes) {
            let is_equality = |live: &Live<'_>| live.file.content_type() == DataContentType::EqualityDeletes;
            live.extend(self.live_in(manifest)?.filter(is_equality));
        }
        Ok(live)
    }

    /// A position delete or deletion vector that a change of this commit added and that may delete rows of a target:
    /// the data file and the delete file.
    pub(crate) fn new_delete_of(
        &self,
        metadata: &TableMetadata,
        targets: &HashSet<Target>,
    ) -> Option<(String, String)> {
        let deletes = self.listed.iter().filter_map(|manifest| match manifest {
            ManifestRef::New(index) => Some(&self.new[*index]),
            ManifestRef::Stored(_) => None,
        });
        for plan in deletes.filter(|plan| plan.content == ManifestContentType::Deletes) {
            for entry in plan.entries.iter().filter(|entry| entry.status == ManifestStatus::Added) {
                let scope = DeleteScope::of(metadata, &entry.file, plan.partition_spec_id);
                let hit = targets.iter().find_map(|target| {
                    let (path, (spec_id, partition)) = (target.path.as_ref()?, target.partition.as_ref()?);
                    scope.covers(path, *spec_id, partition).then_some(path)
                });
                if let Some(path) = hit {
                    return Some((path.clone(), entry.file.file_path().to_owned()));
                }
            }
        }
        None
    }

    /// Gives a first row id to each data manifest without one, in the order of the list, and returns the next one (Iceberg
    /// spec, "First Row ID Assignment").
    pub(crate) fn assign_row_ids(&mut self, first: u64) -> Result<u64> {
        let mut next = first;
        for manifest in &mut self.listed {
            match manifest {
                ManifestRef::Stored(file) => {
                    if file.content != ManifestContentType::Data || file.first_row_id.is_some() {
                        continue;
                    }
                    let (Some(added), Some(existing)) = (file.added_rows_count, file.existing_rows_count) else {
                        return Err(Error::damaged(&file.manifest_path, "its list entry has no row counts"));
                    };
                    file.first_row_id = Some(next);
                    next += added + existing;
                }
                ManifestRef::New(index) => {
                    let plan = &mut self.new[*index];
                    if plan.content != ManifestContentType::Data || plan.first_row_id.is_some() {
                        continue;
                    }
                    plan.first_row_id = Some(next);
                    next += plan.entries.iter().filter(|e| is_live(e)).map(|e| e.file.record_count()).sum::<u64>();
                }
            }
        }
        Ok(next)
    }

    /// A manifest of an earlier snapshot of this commit that lists nothing live is of no use to a later one.
    pub(crate) fn leave_out_dead(&mut self) {
        let new = &self.new;
        self.listed.retain(|manifest| match manifest {
            ManifestRef::Stored(_) => true,
            ManifestRef::New(index) => new[*index].entries.iter().any(is_live),
        });
    }

    fn write(
        &mut self,
        content: ManifestContentType,
        entries: Vec<PlannedEntry>,
        partition_spec_id: i32,
        snapshot: &SnapshotPlan,
        reusable: bool,
    ) {
        self.write_chunks(content, entries.chunks(ENTRIES_MAX), partition_spec_id, snapshot, reusable);
    }

    fn write_chunks<'e>(
        &mut self,
        content: ManifestContentType,
        chunks: impl Iterator<Item = &'e [PlannedEntry]>,
        partition_spec_id: i32,
        snapshot: &SnapshotPlan,
        reusable: bool,
    ) {
        let metadata = self.state.table().metadata();
        let uuid = self.identity.uuid;
        for part in chunks {
            let index = self.new.len();
            // What depends on the base gets a new name at each attempt. What does not keeps one that counts only its own
            // kind, so that it is the same however many of the others an attempt has.
            let name = match reusable {
                true => format!("{uuid}-a{}", self.reusable),
                false => format!("{uuid}-{}-m{index}", self.identity.attempt),
            };
            self.reusable += usize::from(reusable);
            self.new.push(ManifestPlan {
                location: layout::manifest_location(metadata, &name),
                content,
                partition_spec_id,
                snapshot_id: snapshot.snapshot_id,
                sequence_number: snapshot.sequence_number,
                format_version: snapshot.format_version,
                first_row_id: None,
                entries: part.to_vec(),
                reusable,
            });
            self.listed.insert(0, ManifestRef::New(index));
        }
    }

    fn of(&self, content: ManifestContentType) -> impl Iterator<Item = &ManifestRef> {
        self.listed.iter().filter(move |manifest| self.describe(manifest).0 == content && self.is_readable(manifest))
    }

    /// Whether the manifest's entries are at hand. The others can't list what the changes look for.
    fn is_readable(&self, manifest: &ManifestRef) -> bool {
        match manifest {
            ManifestRef::Stored(stored) => !self.state.skipped.contains(&stored.manifest_path),
            ManifestRef::New(_) => true,
        }
    }

    fn describe(&self, manifest: &ManifestRef) -> (ManifestContentType, i32) {
        match manifest {
            ManifestRef::Stored(stored) => (stored.content, stored.partition_spec_id),
            ManifestRef::New(index) => {
                let plan = &self.new[*index];
                (plan.content, plan.partition_spec_id)
            }
        }
    }

    /// The live files of a manifest, without a copy of what it says of them.
    fn live_in(&self, manifest: &ManifestRef) -> Result<Box<dyn Iterator<Item = Live<'_>> + '_>> {
        Ok(match manifest {
            ManifestRef::Stored(stored) => {
                let partition_spec_id = stored.partition_spec_id;
                let live = self.state.entries_of(stored)?.iter().filter(|entry| entry.is_alive());
                Box::new(live.map(move |e| Live {
                    file: e.data_file(),
                    data_sequence_number: e.sequence_number(),
                    partition_spec_id,
                }))
            }
            ManifestRef::New(index) => {
                let plan = &self.new[*index];
                Box::new(plan.entries.iter().filter(|entry| is_live(entry)).map(|entry| Live {
                    file: &entry.file,
                    data_sequence_number: Some(entry.data_sequence_number.unwrap_or(plan.sequence_number)),
                    partition_spec_id: plan.partition_spec_id,
                }))
            }
        })
    }

    /// A manifest's entries with every inherited value filled in.
    fn entries(&self, manifest: &ManifestRef) -> Result<Vec<PlannedEntry>> {
        match manifest {
            ManifestRef::Stored(stored) => {
                let entries = self.state.entries_of(stored)?;
                let planned = entries.iter().map(|entry| planned_entry(stored, entry));
                let mut planned: Vec<_> = planned.collect::<Result<_>>()?;
                inherit_row_ids(stored.first_row_id, stored.partition_spec_id, &mut planned);
                Ok(planned)
            }
            ManifestRef::New(index) => Ok(self.new[*index].inherited_entries()),
        }
    }
}

impl ManifestPlan {
    /// The entries as a reader of the stored manifest sees them.
    pub(crate) fn inherited_entries(&self) -> Vec<PlannedEntry> {
        let mut entries = self.entries.clone();
        for entry in &mut entries {
            entry.data_sequence_number.get_or_insert(self.sequence_number);
            entry.file_sequence_number.get_or_insert(self.sequence_number);
        }
        inherit_row_ids(self.first_row_id, self.partition_spec_id, &mut entries);
        entries
    }

    /// The least data sequence number of the live files, those that the commit adds among them: a reader that looks for
    /// older files passes the manifest over.
    pub(crate) fn min_sequence_number(&self) -> i64 {
        let live = self.entries.iter().filter(|entry| is_live(entry));
        live.map(|entry| entry.data_sequence_number.unwrap_or(self.sequence_number))
            .min()
            .unwrap_or(self.sequence_number)
    }
}

/// As [`crate::row_lineage::inherit_row_ids`].
fn inherit_row_ids(first: Option<u64>, partition_spec_id: i32, entries: &mut [PlannedEntry]) {
    let Some(first) = first else { return };
    let mut next = i64::try_from(first).unwrap_or(i64::MAX);
    for entry in entries.iter_mut().filter(|entry| is_live(entry) && entry.file.first_row_id().is_none()) {
        entry.file = with_first_row_id(&entry.file, partition_spec_id, next);
        next = next.saturating_add(i64::try_from(entry.file.record_count()).unwrap_or(i64::MAX));
    }
}

fn is_live(entry: &PlannedEntry) -> bool {
    entry.status != ManifestStatus::Deleted
}

fn removed_file(entry: &PlannedEntry, partition_spec_id: i32) -> RemovedFile {
    RemovedFile {
        file: entry.file.clone(),
        partition_spec_id,
        data_sequence_number: entry.data_sequence_number.unwrap_or(0),
    }
}

fn planned_entry(manifest: &ManifestFile, entry: &ManifestEntry) -> Result<PlannedEntry> {
    let missing = || Error::damaged(&manifest.manifest_path, "an entry without snapshot or sequence number");
    Ok(PlannedEntry {
        status: entry.status(),
        snapshot_id: entry.snapshot_id().ok_or_else(missing)?,
        data_sequence_number: Some(entry.sequence_number().ok_or_else(missing)?),
        file_sequence_number: Some(entry.file_sequence_number.ok_or_else(missing)?),
        file: entry.data_file().clone(),
    })
}
