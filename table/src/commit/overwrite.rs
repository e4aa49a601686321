//! Data files that go, with or without others that come.

use std::collections::HashSet;
use std::sync::Arc;

use crate::change::{DeleteFiles, Overwrite, PartitionFilter, RemovedFiles, RowFilter, RowFilterRef, Validation};
use crate::conflict::{Checks, Target};
use crate::deletes::FileKey;
use crate::manifest_set::{Matched, Removal, RemovedFile};
use crate::spec::{ManifestContentType, Operation};
use crate::{Conflict, Result, TableFile};

use super::planner::Planner;
use super::{Planned, SnapshotPlan, checks};

/// The summary key of a dynamic overwrite, as Iceberg's Java library writes it.
const REPLACE_PARTITIONS: &str = "replace-partitions";

impl RemovedFiles {
    fn asks_for_any(&self) -> bool {
        !matches!(self, Self::Files(paths) if paths.is_empty())
    }
}

impl Overwrite {
    fn operation(&self) -> Operation {
        match (&self.removed, self.added.is_empty()) {
            (RemovedFiles::PartitionsOfAdded, _) => Operation::Overwrite,
            (removed, true) if removed.asks_for_any() => Operation::Delete,
            (removed, false) if !removed.asks_for_any() => Operation::Append,
            _ => Operation::Overwrite,
        }
    }
}

impl Planner<'_> {
    pub(super) fn overwrite(&mut self, overwrite: &Overwrite) -> Planned {
        checks::check_data_files(&self.metadata, &overwrite.added)?;
        let snapshot = self.begin_snapshot()?;
        self.remove_data(&overwrite.removed, &overwrite.added, &overwrite.validation, &snapshot)?;
        self.check_not_live(&overwrite.added)?;
        self.working.add(ManifestContentType::Data, &overwrite.added, &snapshot, None, true);
        self.totals.add(&overwrite.added);
        self.drop_dead_deletes(&snapshot)?;
        let mut properties = overwrite.properties.clone();
        if matches!(overwrite.removed, RemovedFiles::PartitionsOfAdded) {
            properties.insert(REPLACE_PARTITIONS.to_owned(), "true".to_owned());
        }
        self.end_snapshot(snapshot, overwrite.operation(), &properties)?;
        Ok(())
    }

    pub(super) fn delete_files(&mut self, delete: &DeleteFiles) -> Planned {
        let snapshot = self.begin_snapshot()?;
        self.remove_data(&delete.removed, &[], &delete.validation, &snapshot)?;
        self.drop_dead_deletes(&snapshot)?;
        self.end_snapshot(snapshot, Operation::Delete, &delete.properties)?;
        Ok(())
    }

    /// Removes data files, and checks what must not have happened since the base.
    fn remove_data(
        &mut self,
        removed: &RemovedFiles,
        added: &[TableFile],
        validation: &Validation,
        snapshot: &SnapshotPlan,
    ) -> Planned {
        match removed {
            RemovedFiles::Files(paths) => {
                let removed = self.remove_paths(paths, snapshot)?;
                // A file that goes without another in its place takes rows that were deleted meanwhile along.
                if !added.is_empty() && !removed.is_empty() {
                    let targets = targets(&removed);
                    self.check_no_deletes_here(&targets)?;
                    Checks::since(self.state, validation.base_snapshot_id)?.no_new_deletes(&targets)?;
                }
                if validation.is_serializable() {
                    let since = Checks::since(self.state, validation.base_snapshot_id)?;
                    since.no_new_rows(validation.conflict_filter.as_deref())?;
                }
            }
            RemovedFiles::Filter(filter) => self.remove_matching(filter, validation, snapshot)?,
            RemovedFiles::PartitionsOfAdded => {
                let filter: RowFilterRef = match self.covers_everything(added) {
                    true => Arc::new(EveryRow),
                    false => Arc::new(PartitionFilter::of(added)),
                };
                self.remove_matching(&filter, validation, snapshot)?;
            }
        }
        Ok(())
    }

    fn remove_matching(&mut self, filter: &RowFilterRef, validation: &Validation, snapshot: &SnapshotPlan) -> Planned {
        if validation.is_serializable() {
            let since = Checks::since(self.state, validation.base_snapshot_id)?;
            let read = validation.conflict_filter.as_ref().unwrap_or(filter);
            since.no_new_rows(Some(read.as_ref()))?;
            since.no_deleted_rows(read.as_ref())?;
        }
        let removal = self.working.remove_where(ManifestContentType::Data, snapshot, |live, spec_id| {
            match (filter.may_match(live.file, spec_id), filter.all_match(live.file, spec_id)) {
                (false, _) => Matched::No,
                (true, true) => Matched::Yes,
                (true, false) => Matched::Partly,
            }
        })?;
        match removal {
            Removal::Missing(path) => Err(Conflict::PartialMatch { path, filter: filter.to_string() }.into()),
            Removal::Removed(removed) => {
                self.totals.remove(removed.iter().map(RemovedFile::counted));
                Ok(())
            }
        }
    }

    /// Removes live data files by path.
    pub(super) fn remove_paths(&mut self, paths: &[String], snapshot: &SnapshotPlan) -> Planned<Vec<RemovedFile>> {
        let keys: HashSet<FileKey> = paths.iter().map(|path| FileKey::data(path)).collect();
        match self.working.remove(ManifestContentType::Data, &keys, snapshot)? {
            Removal::Missing(path) => Err(Conflict::FileGone { path }.into()),
            Removal::Removed(removed) => {
                self.totals.remove(removed.iter().map(RemovedFile::counted));
                Ok(removed)
            }
        }
    }

    /// No earlier change of the same commit deletes rows of files that go now: their successors would not have them
    /// deleted.
    pub(super) fn check_no_deletes_here(&self, targets: &HashSet<Target>) -> Planned {
        let Some((path, delete_file)) = self.working.new_delete_of(&self.metadata, targets) else { return Ok(()) };
        Err(Conflict::RowsDeleted { path, delete_file }.into())
    }

    /// A file must not be live twice. Looked for where the entries are at hand anyway.
    pub(super) fn check_not_live(&self, added: &[TableFile]) -> Result<()> {
        let paths: HashSet<&str> = added.iter().map(|added| added.file.file_path()).collect();
        match self.working.find_live_data(&paths)? {
            None => Ok(()),
            Some(path) => Err(crate::Error::InvalidChange(format!("{path} is added but is live already"))),
        }
    }

    pub(super) fn drop_dead_deletes(&mut self, snapshot: &SnapshotPlan) -> Planned {
        let dropped = self.working.drop_dead_deletes(&self.metadata, snapshot)?;
        self.totals.remove(dropped.iter().map(RemovedFile::counted));
        Ok(())
    }

    /// Whether the partitions of these files are the whole table.
    fn covers_everything(&self, added: &[TableFile]) -> bool {
        let mut specs = added.iter().filter_map(|added| self.metadata.partition_spec_by_id(added.partition_spec_id));
        specs.any(|spec| spec.is_unpartitioned())
    }
}

/// Removed data files as what later deletes may have hit.
pub(super) fn targets(removed: &[RemovedFile]) -> HashSet<Target> {
    let target = |removed: &RemovedFile| Target {
        path: Some(removed.file.file_path().to_owned()),
        partition: Some((removed.partition_spec_id, removed.file.partition().clone())),
    };
    removed.iter().map(target).collect()
}

/// The filter of an overwrite of an unpartitioned table.
#[derive(Debug)]
struct EveryRow;

impl RowFilter for EveryRow {
    fn may_match(&self, _: &crate::spec::DataFile, _: i32) -> bool {
        true
    }

    fn all_match(&self, _: &crate::spec::DataFile, _: i32) -> bool {
        true
    }
}

impl std::fmt::Display for EveryRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("every row")
    }
}
