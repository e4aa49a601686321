//! The manifests of a snapshot while a commit is being planned.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use crate::commit::{CommitIdentity, ManifestPlan, ManifestRef, PlannedEntry, SnapshotPlan};
use crate::spec::{ManifestContentType, ManifestEntry, ManifestFile, ManifestStatus};
use crate::{Error, Result, TableFile, TableState, layout};

/// Entries in one new manifest: about 8 MiB (`commit.manifest.target-size-bytes`) at 800 bytes an entry.
const ENTRIES_MAX: usize = 10_000;

/// Manifests shorter than this are merged when there are many.
const SMALL_BYTES: i64 = 1 << 20;

/// `commit.manifest.min-count-to-merge`, when the table does not set it.
const MIN_COUNT_TO_MERGE: usize = 100;

pub(crate) struct ManifestSet<'a> {
    state: &'a TableState,
    /// In the order of the manifest list: newest first.
    listed: Vec<ManifestRef>,
    new: Vec<ManifestPlan>,
}

/// What became of files that were to be removed.
pub(crate) enum Removal {
    /// All were live.
    Removed(Vec<TableFile>),
    /// This one was not.
    Missing(String),
}

impl<'a> ManifestSet<'a> {
    /// The manifests of the state. Those that list nothing live any more are left out.
    pub(crate) fn new(state: &'a TableState) -> Self {
        let live = |m: &&ManifestFile| m.has_added_files() || m.has_existing_files();
        let listed = state.manifests().iter().filter(live).cloned().map(ManifestRef::Stored).collect();
        Self { state, listed, new: Vec::new() }
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
        files: &[TableFile],
        snapshot: &SnapshotPlan,
        data_sequence_number: Option<i64>,
        identity: &CommitIdentity,
        reusable: bool,
    ) -> Result<()> {
        self.leave_out_dead(snapshot);
        let mut by_spec: BTreeMap<i32, Vec<PlannedEntry>> = BTreeMap::new();
        for TableFile { file, partition_spec_id } in files {
            by_spec.entry(*partition_spec_id).or_default().push(PlannedEntry {
                status: ManifestStatus::Added,
                snapshot_id: snapshot.snapshot_id,
                data_sequence_number,
                file_sequence_number: None,
                file: file.clone(),
            });
        }
        for (spec_id, entries) in by_spec {
            self.write(entries, spec_id, snapshot, identity, reusable);
        }
        Ok(())
    }

    /// Marks files as deleted. The manifests that list them are written anew, merged.
    pub(crate) fn remove(
        &mut self,
        paths: &[String],
        snapshot: &SnapshotPlan,
        identity: &CommitIdentity,
    ) -> Result<Removal> {
        self.leave_out_dead(snapshot);
        let mut wanted: HashSet<&str> = paths.iter().map(String::as_str).collect();
        let mut removed = Vec::new();
        let mut kept = Vec::new();
        let mut rewritten: BTreeMap<i32, Vec<PlannedEntry>> = BTreeMap::new();
        for manifest in std::mem::take(&mut self.listed) {
            let (content, spec_id) = self.describe(&manifest);
            if content != ManifestContentType::Data {
                kept.push(manifest);
                continue;
            }
            let entries = self.entries(&manifest)?;
            if !entries.iter().any(|e| is_live(e) && wanted.contains(e.file.file_path())) {
                kept.push(manifest);
                continue;
            }
            let into = rewritten.entry(spec_id).or_default();
            for mut entry in entries.into_owned().into_iter().filter(is_live) {
                if wanted.remove(entry.file.file_path()) {
                    removed.push(TableFile { file: entry.file.clone(), partition_spec_id: spec_id });
                    entry.status = ManifestStatus::Deleted;
                    entry.snapshot_id = snapshot.snapshot_id;
                } else {
                    entry.status = ManifestStatus::Existing;
                }
                into.push(entry);
            }
        }
        if let Some(missing) = wanted.into_iter().min() {
            return Ok(Removal::Missing(missing.to_owned()));
        }
        self.listed = kept;
        for (spec_id, entries) in rewritten {
            self.write(entries, spec_id, snapshot, identity, false);
        }
        Ok(Removal::Removed(removed))
    }

    /// Merges small data manifests of one partition spec once there are `commit.manifest.min-count-to-merge` of them
    /// and their entries are at hand. The files in them become existing entries; nothing else changes.
    pub(crate) fn merge_small(&mut self, snapshot: &SnapshotPlan, identity: &CommitIdentity) -> Result<()> {
        let small = |manifest: &ManifestRef| match manifest {
            ManifestRef::Stored(m) => {
                m.content == ManifestContentType::Data
                    && m.manifest_length < SMALL_BYTES
                    && self.state.entries.contains_key(&m.manifest_path)
            }
            ManifestRef::New(_) => false,
        };
        if self.listed.iter().filter(|m| small(m)).count() < min_count_to_merge(self.state) {
            return Ok(());
        }
        let (merged, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.listed).into_iter().partition(small);
        self.listed = kept;
        let mut by_spec: BTreeMap<i32, Vec<PlannedEntry>> = BTreeMap::new();
        for manifest in merged {
            let (_, spec_id) = self.describe(&manifest);
            let live = self.entries(&manifest)?.into_owned().into_iter().filter(is_live);
            by_spec.entry(spec_id).or_default().extend(live.map(|mut entry| {
                entry.status = ManifestStatus::Existing;
                entry
            }));
        }
        for (spec_id, entries) in by_spec {
            self.write(entries, spec_id, snapshot, identity, false);
        }
        Ok(())
    }

    /// A manifest of an earlier snapshot of this commit that lists nothing live is of no use to a later one.
    fn leave_out_dead(&mut self, snapshot: &SnapshotPlan) {
        let new = &self.new;
        self.listed.retain(|manifest| match manifest {
            ManifestRef::Stored(_) => true,
            ManifestRef::New(index) => {
                let plan = &new[*index];
                plan.snapshot_id == snapshot.snapshot_id || plan.entries.iter().any(is_live)
            }
        });
    }

    fn write(
        &mut self,
        entries: Vec<PlannedEntry>,
        partition_spec_id: i32,
        snapshot: &SnapshotPlan,
        identity: &CommitIdentity,
        reusable: bool,
    ) {
        let metadata = self.state.table().metadata();
        for part in entries.chunks(ENTRIES_MAX) {
            let index = self.new.len();
            // What depends on the base gets a new name at each attempt.
            let name = match reusable {
                true => format!("{}-m{index}", identity.uuid),
                false => format!("{}-{}-m{index}", identity.uuid, identity.attempt),
            };
            self.new.push(ManifestPlan {
                location: layout::manifest_location(metadata, &name),
                content: ManifestContentType::Data,
                partition_spec_id,
                snapshot_id: snapshot.snapshot_id,
                sequence_number: snapshot.sequence_number,
                entries: part.to_vec(),
                reusable,
            });
            self.listed.insert(0, ManifestRef::New(index));
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

    /// A manifest's entries with every inherited value filled in.
    fn entries(&self, manifest: &ManifestRef) -> Result<Cow<'_, [PlannedEntry]>> {
        match manifest {
            ManifestRef::Stored(stored) => {
                let entries = self.state.entries_of(stored)?;
                let planned = entries.iter().map(|entry| planned_entry(stored, entry));
                Ok(Cow::Owned(planned.collect::<Result<_>>()?))
            }
            ManifestRef::New(index) => {
                let plan = &self.new[*index];
                let filled = plan.entries.iter().cloned().map(|mut entry| {
                    entry.data_sequence_number.get_or_insert(plan.sequence_number);
                    entry.file_sequence_number.get_or_insert(plan.sequence_number);
                    entry
                });
                Ok(Cow::Owned(filled.collect()))
            }
        }
    }
}

fn is_live(entry: &PlannedEntry) -> bool {
    entry.status != ManifestStatus::Deleted
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

/// Whether merging will be due at this state, so that the entries are worth loading.
pub(crate) fn merging_is_due(manifests: &[ManifestFile], min_count: usize) -> bool {
    let small = |m: &&ManifestFile| m.content == ManifestContentType::Data && m.manifest_length < SMALL_BYTES;
    manifests.iter().filter(small).count() >= min_count
}

pub(crate) fn min_count_to_merge(state: &TableState) -> usize {
    let enabled = state.table().property("commit.manifest-merge.enabled") != Some("false");
    let count = state.table().property("commit.manifest.min-count-to-merge").and_then(|v| v.parse().ok());
    if enabled { count.unwrap_or(MIN_COUNT_TO_MERGE).max(2) } else { usize::MAX }
}
