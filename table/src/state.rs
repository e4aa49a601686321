//! A table with the listing of its files: what planning works on.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::history::{EntriesByPath, History, not_loaded};
use crate::promotion::Promotions;
use crate::spec::{
    DataContentType, DataFile, MAIN_BRANCH, ManifestContentType, ManifestEntry, ManifestFile, SnapshotRef,
};
use crate::{Error, Result, Table};

/// A table at one snapshot of one ref, with its manifests and, as far as they were loaded, their entries.
///
/// Made by [`crate::io::load_state`]; everything that decides works on this value and does no IO.
#[derive(Clone, Debug)]
pub struct TableState {
    pub(crate) table: Table,
    pub(crate) ref_name: String,
    pub(crate) snapshot: Option<SnapshotRef>,
    pub(crate) manifests: Arc<Vec<ManifestFile>>,
    pub(crate) entries: EntriesByPath,
    /// Manifests whose entries were left unread because the changes can't concern them.
    pub(crate) skipped: HashSet<String>,
    /// What happened since the changes' bases.
    pub(crate) history: History,
    /// Set where the changes are to be staged.
    pub(crate) wap_id: Option<String>,
}

/// Where the snapshots of a commit go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitTarget {
    /// On a branch, which moves to the last of them. It must be there; `main` is made by its first snapshot.
    Branch(String),
    /// On top of `main`, listed but not moved to, until somebody publishes them (write-audit-publish). The table's
    /// property `write.wap.enabled` must be `true`.
    Staged {
        /// By which they are found; `wap.id` in the snapshot's summary.
        wap_id: String,
    },
}

impl Default for CommitTarget {
    fn default() -> Self {
        Self::Branch(MAIN_BRANCH.to_owned())
    }
}

impl CommitTarget {
    /// The branch on which the snapshots are.
    pub fn branch(&self) -> &str {
        match self {
            Self::Branch(name) => name,
            Self::Staged { .. } => MAIN_BRANCH,
        }
    }
}

/// A live entry of a manifest.
#[derive(Clone, Copy, Debug)]
pub struct LiveFile<'a> {
    /// The file.
    pub file: &'a DataFile,
    /// The partition spec it was written with.
    pub partition_spec_id: i32,
    /// Orders it against deletes (Iceberg spec, "Sequence Number Inheritance").
    pub data_sequence_number: i64,
    /// When the file itself was added.
    pub file_sequence_number: i64,
    /// The snapshot that added it.
    pub added_snapshot_id: i64,
    /// The manifest that lists it.
    pub manifest_path: &'a str,
}

impl TableState {
    /// Brings the partitions of the entries into the types of the table's schema.
    pub(crate) fn widen_partitions(&mut self) {
        let promotions = Promotions::of(self.table.metadata());
        let below = self.history.steps.iter().flat_map(|step| &step.manifests);
        for manifest in self.manifests.iter().chain(below) {
            if let Some(entries) = self.entries.get_mut(&manifest.manifest_path) {
                *entries = promotions.widen_entries(manifest.partition_spec_id, Arc::clone(entries));
            }
        }
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The branch or tag.
    pub fn ref_name(&self) -> &str {
        &self.ref_name
    }

    /// The snapshot; `None` for a ref without one.
    pub fn snapshot(&self) -> Option<&SnapshotRef> {
        self.snapshot.as_ref()
    }

    /// The snapshot's manifests, data and deletes.
    pub fn manifests(&self) -> &[ManifestFile] {
        &self.manifests
    }

    /// The snapshot's id; `None` for a ref without one.
    pub fn snapshot_id(&self) -> Option<i64> {
        self.snapshot.as_ref().map(|snapshot| snapshot.snapshot_id())
    }

    /// Every entry of a manifest.
    ///
    /// # Errors
    /// [`Error::InvalidChange`] if the state was loaded without that manifest's entries.
    pub fn entries_of(&self, manifest: &ManifestFile) -> Result<&[ManifestEntry]> {
        self.entries
            .get(&manifest.manifest_path)
            .map(|entries| entries.as_slice())
            .ok_or_else(|| not_loaded(&manifest.manifest_path))
    }

    /// The live data files.
    ///
    /// # Errors
    /// As [`TableState::entries_of`].
    pub fn live_data_files(&self) -> Result<Vec<LiveFile<'_>>> {
        self.live_files(ManifestContentType::Data)
    }

    /// The live delete files and deletion vectors.
    ///
    /// # Errors
    /// As [`TableState::entries_of`].
    pub fn live_delete_files(&self) -> Result<Vec<LiveFile<'_>>> {
        self.live_files(ManifestContentType::Deletes)
    }

    /// Whether any delete file is live.
    pub fn has_deletes(&self) -> bool {
        self.manifests.iter().any(|manifest| {
            manifest.content == ManifestContentType::Deletes
                && (manifest.has_added_files() || manifest.has_existing_files())
        })
    }

    /// A table that begins anew: it has its history, but nothing is live.
    pub(crate) fn forget_snapshot(&mut self) {
        self.snapshot = None;
        self.manifests = Arc::default();
        self.entries.clear();
    }

    fn live_files(&self, content: ManifestContentType) -> Result<Vec<LiveFile<'_>>> {
        let mut files = Vec::new();
        for manifest in self.manifests.iter().filter(|manifest| manifest.content == content) {
            let live = self.entries_of(manifest)?.iter().filter(|entry| entry.is_alive());
            for entry in live {
                files.push(LiveFile::new(manifest, entry)?);
            }
        }
        Ok(files)
    }

    /// Live data files by path.
    ///
    /// # Errors
    /// As [`TableState::entries_of`].
    pub fn live_data_files_by_path(&self) -> Result<BTreeMap<&str, LiveFile<'_>>> {
        Ok(self.live_data_files()?.into_iter().map(|live| (live.file.file_path(), live)).collect())
    }
}

impl<'a> LiveFile<'a> {
    /// A live entry of a manifest, with what it inherits.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it lacks a sequence number or the snapshot that added it.
    pub fn new(manifest: &'a ManifestFile, entry: &'a ManifestEntry) -> Result<Self> {
        let missing =
            |what: &str| Error::damaged(&manifest.manifest_path, format!("{} has no {what}", entry.file_path()));
        Ok(Self {
            file: entry.data_file(),
            partition_spec_id: manifest.partition_spec_id,
            data_sequence_number: entry.sequence_number().ok_or_else(|| missing("data sequence number"))?,
            file_sequence_number: entry.file_sequence_number.ok_or_else(|| missing("file sequence number"))?,
            added_snapshot_id: entry.snapshot_id().ok_or_else(|| missing("snapshot id"))?,
            manifest_path: &manifest.manifest_path,
        })
    }

    /// Data, position deletes (deletion vectors too) or equality deletes.
    pub fn content(&self) -> DataContentType {
        self.file.content_type()
    }
}
