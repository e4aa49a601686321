//! New rows and deletes of single rows.

use std::collections::{HashMap, HashSet};

use crate::change::RowDelta;
use crate::conflict::{Checks, targets_of};
use crate::deletes::{FileKey, is_vector, referenced_data_file};
use crate::manifest_set::{Removal, RemovedFile};
use crate::spec::{DataContentType, ManifestContentType, Operation};
use crate::{Conflict, Error, Result, TableFile};

use super::planner::Planner;
use super::{Planned, checks};

impl RowDelta {
    /// Append with data files alone, delete with delete files alone, else overwrite.
    fn operation(&self) -> Operation {
        match (self.data_files.is_empty(), self.delete_files.is_empty(), self.removed_delete_files.is_empty()) {
            (_, true, true) => Operation::Append,
            (true, false, _) => Operation::Delete,
            _ => Operation::Overwrite,
        }
    }
}

impl Planner<'_> {
    pub(super) fn row_delta(&mut self, delta: &RowDelta) -> Planned {
        checks::check_data_files(&self.metadata, &delta.data_files)?;
        checks::check_delete_files(&self.metadata, &delta.delete_files)?;
        check_removed_are_replaced(&delta.removed_delete_files, &delta.delete_files)?;
        let targets = targets_of(&delta.delete_files, &delta.data_files, &delta.validation);
        if !targets.is_empty() || delta.validation.is_serializable() {
            let since = Checks::since(self.state, delta.validation.base_snapshot_id)?;
            since.targets_exist(&targets)?;
            // Equality deletes count even for a plain delete: the row may have a new version elsewhere by now.
            since.no_new_deletes(&targets)?;
            if delta.validation.is_serializable() {
                since.no_new_rows(delta.validation.conflict_filter.as_deref())?;
            }
        }
        for target in &targets {
            if let Some(path) = target.path.as_ref().filter(|path| self.working.has_removed(path)) {
                return Err(Conflict::FileGone { path: path.clone() }.into());
            }
        }
        let snapshot = self.begin_snapshot()?;
        self.remove_deletes(&delta.removed_delete_files, &snapshot)?;
        self.check_absorbed(&delta.delete_files)?;
        self.working.add(ManifestContentType::Data, &delta.data_files, &snapshot, None, true);
        self.working.add(ManifestContentType::Deletes, &delta.delete_files, &snapshot, None, true);
        self.working.merge_small(&snapshot)?;
        self.totals.add(&delta.data_files);
        self.totals.add(&delta.delete_files);
        self.end_snapshot(snapshot, delta.operation(), &delta.properties)?;
        Ok(())
    }

    /// Marks delete files as removed.
    pub(super) fn remove_deletes(
        &mut self,
        removed: &[TableFile],
        snapshot: &super::SnapshotPlan,
    ) -> Planned<Vec<RemovedFile>> {
        if removed.is_empty() {
            return Ok(Vec::new());
        }
        let keys: HashSet<FileKey> = removed.iter().map(|removed| FileKey::of(&removed.file)).collect();
        match self.working.remove(ManifestContentType::Deletes, &keys, snapshot)? {
            Removal::Missing(path) => Err(Conflict::FileGone { path }.into()),
            Removal::Removed(removed) => {
                self.totals.remove(removed.iter().map(RemovedFile::counted));
                Ok(removed)
            }
        }
    }

    /// A data file has at most one live deletion vector, and with it no position delete file of its own (Iceberg spec,
    /// "Deletion Vectors").
    pub(super) fn check_absorbed(&self, added: &[TableFile]) -> Result<()> {
        let vectors: HashMap<String, &TableFile> = added
            .iter()
            .filter(|added| is_vector(&added.file))
            .filter_map(|added| Some((added.file.referenced_data_file()?, added)))
            .collect();
        if vectors.is_empty() {
            return Ok(());
        }
        let partitions = added.iter().map(|added| (added.partition_spec_id, added.file.partition().clone())).collect();
        for live in self.working.live_deletes_in(&partitions)? {
            let Some(data_file) = referenced_data_file(&live) else { continue };
            if vectors.contains_key(&data_file) {
                let delete_file = live.file_path().to_owned();
                return Err(Error::DeletesNotAbsorbed { data_file, delete_file });
            }
        }
        Ok(())
    }
}

/// Checks that no deleted row comes back: the deletes of one data file may go only if a delete file for it comes that has
/// at least as many; other deletes go only in a rewrite of deletes.
fn check_removed_are_replaced(removed: &[TableFile], added: &[TableFile]) -> Result<()> {
    let mut positions: HashMap<String, u64> = HashMap::new();
    for TableFile { file, .. } in added {
        if let Some(data_file) = referenced_data_file(file) {
            *positions.entry(data_file).or_default() += file.record_count();
        }
    }
    for TableFile { file, .. } in removed {
        let path = file.file_path();
        if file.content_type() == DataContentType::Data {
            return Err(Error::InvalidChange(format!("{path} is a data file: a row delta removes delete files only")));
        }
        let Some(data_file) = referenced_data_file(file) else {
            return Err(Error::InvalidChange(format!(
                "{path} deletes rows of more than one file: it can go in a rewrite of deletes only"
            )));
        };
        let needed = if is_vector(file) { file.record_count() } else { 1 };
        if positions.get(&data_file).is_none_or(|count| *count < needed) {
            return Err(Error::InvalidChange(format!(
                "{path} deletes {} rows of {data_file} and can't go without deletes of the same rows",
                file.record_count()
            )));
        }
    }
    Ok(())
}
