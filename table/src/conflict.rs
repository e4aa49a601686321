//! Whether a change still makes sense on the table as it is now.
//!
//! A change was worked out on a base snapshot. What other commits did since then is read from the manifests that they
//! wrote ([`crate::history`]); the checks here are pure and cost what those commits cost.

use std::collections::HashSet;

use crate::change::{RowFilter, Validation};
use crate::commit::Stop;
use crate::deletes::{DeleteScope, applies_by_number, referenced_data_file};
use crate::history::{EntriesByPath, Event, HistoryStep, events};
use crate::manifest_set::RemovedFile;
use crate::spec::{DataContentType, ManifestContentType, ManifestStatus, Operation, Struct, TableMetadata};
use crate::{Error, Result, TableFile, TableState};

/// Why a change can't be made any more. The caller decides: plan again, or give up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The pointer moved between reading and swapping. Retry on the new state.
    #[error("another commit came first: {reason}")]
    Moved {
        /// The requirement that failed.
        reason: String,
    },
    /// A file that was to be replaced, or that deletes refer to, is not live any more. Work the change out again.
    #[error("{path} is not live any more")]
    FileGone {
        /// The file.
        path: String,
    },
    /// Rows of a file were deleted that the change replaces or deletes from. Work the change out again.
    #[error("rows of {path} were deleted by {delete_file} after the change had read it")]
    RowsDeleted {
        /// The data file.
        path: String,
        /// The delete file or deletion vector.
        delete_file: String,
    },
    /// An equality delete goes on applying to a rewritten file that lacks a column of it: the rows that it had deleted
    /// would be back, or others gone. Work the rewrite out again: with the deletes applied, and the base's sequence number.
    #[error(
        "{delete_file} deletes rows of {path} by the field {field_id}, which the schema has no more: rewrite {path} with its \
         deletes applied, under the sequence number of the snapshot that was read"
    )]
    DeleteByDroppedField {
        /// The rewritten data file.
        path: String,
        /// The delete file.
        delete_file: String,
        /// One of its equality ids.
        field_id: i32,
    },
    /// Rows came that the change would have seen. Work the change out again.
    #[error("{path} came after the change had been worked out, and may have rows that it would have seen")]
    RowsAdded {
        /// The new data file.
        path: String,
    },
    /// Of a file's rows only some match the filter of an overwrite or delete. Write the others anew, then remove the file.
    #[error("some rows of {path} may match ({filter}) and others not: the file can't go as a whole")]
    PartialMatch {
        /// The data file.
        path: String,
        /// The filter.
        filter: String,
    },
    /// The snapshot that the change was worked out on is not in the branch's history: it expired, or the branch was
    /// rolled back. Work the change out again.
    #[error("{}", match .base_snapshot_id {
        Some(id) => format!("snapshot {id}, on which the change was worked out, is not in the branch's history any more"),
        None => "the change was worked out on an empty branch, whose history since then is not all there".to_owned(),
    })]
    BaseGone {
        /// The snapshot; `None` for the branch without one.
        base_snapshot_id: Option<i64>,
    },
    /// The caller's own check refused the state.
    #[error("{reason}")]
    Refused {
        /// What it found.
        reason: String,
    },
}

/// A data file whose rows a change replaces or deletes, or all of a partition where the change does not say which.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    /// `None`: any file of the partition.
    pub(crate) path: Option<String>,
    /// `None`: not known, so any.
    pub(crate) partition: Option<(i32, Struct)>,
}

impl Target {
    /// Whether a delete file may delete rows of it.
    fn is_hit_by(&self, event: &Event<'_>, scope: &DeleteScope) -> bool {
        match (scope, &self.path) {
            (DeleteScope::Table, _) => true,
            (DeleteScope::File(path), Some(own)) => path == own,
            (DeleteScope::File(_) | DeleteScope::Partition(..), _) => self.is_in_partition_of(event),
        }
    }

    fn is(&self, event: &Event<'_>) -> bool {
        match &self.path {
            Some(path) => path == event.entry.file_path(),
            None => self.is_in_partition_of(event),
        }
    }

    fn is_in_partition_of(&self, event: &Event<'_>) -> bool {
        self.partition.as_ref().is_none_or(|(spec_id, tuple)| {
            *spec_id == event.partition_spec_id && tuple == event.entry.data_file.partition()
        })
    }
}

/// The checks of one change against the steps since its base.
#[derive(Clone, Copy)]
pub(crate) struct Checks<'a> {
    metadata: &'a TableMetadata,
    entries: &'a EntriesByPath,
    steps: &'a [HistoryStep],
}

impl<'a> Checks<'a> {
    /// # Errors
    /// [`Conflict::BaseGone`].
    pub(crate) fn since(state: &'a TableState, base_snapshot_id: Option<i64>) -> std::result::Result<Self, Stop> {
        let steps = state.history.since(base_snapshot_id)?;
        Ok(Self { metadata: state.table().metadata(), entries: &state.entries, steps })
    }

    /// The same of what came after a later snapshot.
    ///
    /// # Errors
    /// [`Conflict::BaseGone`] if it is not in the history any more; [`crate::Error::InvalidChange`] if it came before these.
    pub(crate) fn later(self, state: &'a TableState, snapshot_id: i64) -> std::result::Result<Self, Stop> {
        let later = Self::since(state, Some(snapshot_id))?;
        if later.steps.len() > self.steps.len() {
            let reason = format!("deletes up to snapshot {snapshot_id} can't be carried: it is older than the base");
            return Err(Error::InvalidChange(reason).into());
        }
        Ok(later)
    }

    fn events(&self, content: ManifestContentType, status: ManifestStatus) -> Result<Vec<Event<'a>>> {
        events(self.steps, self.entries, content, status)
    }

    /// The targets are still live: no operation removed them, a rewrite neither.
    pub(crate) fn targets_exist(&self, targets: &HashSet<Target>) -> std::result::Result<(), Stop> {
        if targets.is_empty() {
            return Ok(());
        }
        let by_path: HashSet<&str> = targets.iter().filter_map(|target| target.path.as_deref()).collect();
        let others: Vec<&Target> = targets.iter().filter(|target| target.path.is_none()).collect();
        for event in self.events(ManifestContentType::Data, ManifestStatus::Deleted)? {
            let path = event.entry.file_path();
            if by_path.contains(path) || others.iter().any(|target| target.is(&event)) {
                return Err(Conflict::FileGone { path: path.to_owned() }.into());
            }
        }
        Ok(())
    }

    /// No delete of any kind came that may delete rows of the targets. What a `replace` added was there before in another
    /// form.
    pub(crate) fn no_new_deletes(&self, targets: &HashSet<Target>) -> std::result::Result<(), Stop> {
        self.none_hits(targets, |event| *event.operation != Operation::Replace)
    }

    /// No position delete and no deletion vector came, in whatever operation, that may delete rows of files which are
    /// rewritten. What a `replace` added counts too: it may stand for an equality delete, which would have applied to the
    /// outputs.
    pub(crate) fn no_new_positions(&self, removed: &HashSet<Target>) -> std::result::Result<(), Stop> {
        self.none_hits(removed, |event| event.entry.data_file.content_type() == DataContentType::PositionDeletes)
    }

    fn none_hits(
        &self,
        targets: &HashSet<Target>,
        counts: impl Fn(&Event<'_>) -> bool,
    ) -> std::result::Result<(), Stop> {
        if targets.is_empty() {
            return Ok(());
        }
        let events = self.events(ManifestContentType::Deletes, ManifestStatus::Added)?;
        for event in events.iter().filter(|event| counts(event)) {
            let file = &event.entry.data_file;
            let scope = DeleteScope::of(self.metadata, file, event.partition_spec_id);
            if let Some(target) = targets.iter().find(|target| target.is_hit_by(event, &scope)) {
                let path = target.path.clone().or_else(|| referenced_data_file(file));
                return Err(Conflict::RowsDeleted {
                    path: path.unwrap_or_else(|| "a file of the same partition".to_owned()),
                    delete_file: file.file_path().to_owned(),
                }
                .into());
            }
        }
        Ok(())
    }

    /// Equality deletes that came meanwhile apply to the outputs of a rewrite too: by number, and because each row stays in
    /// its partition. That is known where all inputs and outputs have one spec and the outputs lie in the inputs'
    /// partitions; elsewhere a row may move out of the reach of such a delete, which would be lost.
    pub(crate) fn new_equality_deletes_reach(
        &self,
        removed: &HashSet<Target>,
        added: &[TableFile],
    ) -> std::result::Result<(), Stop> {
        let spec_ids: HashSet<i32> = removed
            .iter()
            .filter_map(|target| target.partition.as_ref().map(|(spec_id, _)| *spec_id))
            .chain(added.iter().map(|output| output.partition_spec_id))
            .collect();
        let inside = |output: &TableFile| {
            let is_it = |(_, tuple): &(i32, Struct)| tuple == output.file.partition();
            removed.iter().any(|target| target.partition.as_ref().is_some_and(is_it))
        };
        match spec_ids.len() <= 1 && added.iter().all(inside) {
            true => Ok(()),
            false => self
                .none_hits(removed, |event| event.entry.data_file.content_type() == DataContentType::EqualityDeletes),
        }
    }

    /// No rows came that the change would have seen. What a `replace` added was there before.
    pub(crate) fn no_new_rows(&self, filter: Option<&dyn RowFilter>) -> std::result::Result<(), Stop> {
        for event in self.events(ManifestContentType::Data, ManifestStatus::Added)? {
            let file = &event.entry.data_file;
            let seen = filter.is_none_or(|filter| filter.may_match(file, event.partition_spec_id));
            if *event.operation != Operation::Replace && seen {
                return Err(Conflict::RowsAdded { path: file.file_path().to_owned() }.into());
            }
        }
        Ok(())
    }

    /// No data file came that one of these equality deletes, which go, applies to: whoever works out what such a delete hits
    /// has not seen the rows of a file that a rewrite puts in the place of older ones, with their number.
    pub(crate) fn no_new_files_under(&self, removed: &[RemovedFile]) -> std::result::Result<(), Stop> {
        let is_equality = |delete: &&RemovedFile| delete.file.content_type() == DataContentType::EqualityDeletes;
        let deletes: Vec<(DeleteScope, i64)> = removed
            .iter()
            .filter(is_equality)
            .map(|delete| {
                let scope = DeleteScope::of(self.metadata, &delete.file, delete.partition_spec_id);
                (scope, delete.data_sequence_number)
            })
            .collect();
        if deletes.is_empty() {
            return Ok(());
        }
        for event in self.events(ManifestContentType::Data, ManifestStatus::Added)? {
            let file = &event.entry.data_file;
            // Without a number, which only a damaged manifest leaves out, a file counts as old.
            let number = event.entry.sequence_number().unwrap_or(0);
            let is_reached = deletes.iter().any(|(scope, delete)| {
                applies_by_number(DataContentType::EqualityDeletes, *delete, number)
                    && scope.covers(file.file_path(), event.partition_spec_id, file.partition())
            });
            if is_reached {
                return Err(Conflict::RowsAdded { path: file.file_path().to_owned() }.into());
            }
        }
        Ok(())
    }

    /// No row that the change would have read was deleted: neither by a delete file nor with its data file.
    pub(crate) fn no_deleted_rows(&self, filter: &dyn RowFilter) -> std::result::Result<(), Stop> {
        for event in self.events(ManifestContentType::Data, ManifestStatus::Deleted)? {
            let file = &event.entry.data_file;
            if *event.operation != Operation::Replace && filter.may_match(file, event.partition_spec_id) {
                return Err(Conflict::FileGone { path: file.file_path().to_owned() }.into());
            }
        }
        for event in self.events(ManifestContentType::Deletes, ManifestStatus::Added)? {
            let file = &event.entry.data_file;
            if *event.operation != Operation::Replace && filter.may_match(file, event.partition_spec_id) {
                let path = referenced_data_file(file).unwrap_or_else(|| "a file of the same partition".to_owned());
                return Err(Conflict::RowsDeleted { path, delete_file: file.file_path().to_owned() }.into());
            }
        }
        Ok(())
    }
}

/// The data files, other than those it adds itself, from which a change deletes single rows.
pub(crate) fn targets_of(delete_files: &[TableFile], own: &[TableFile], validation: &Validation) -> HashSet<Target> {
    let own: HashSet<&str> = own.iter().map(|added| added.file.file_path()).collect();
    let mut targets = HashSet::new();
    let named = &validation.referenced_data_files;
    for TableFile { file, partition_spec_id } in delete_files {
        if file.content_type() != DataContentType::PositionDeletes {
            continue;
        }
        let partition = Some((*partition_spec_id, file.partition().clone()));
        match referenced_data_file(file) {
            Some(path) if own.contains(path.as_str()) => {}
            Some(path) => drop(targets.insert(Target { path: Some(path), partition })),
            None if named.is_empty() => drop(targets.insert(Target { path: None, partition })),
            None => {}
        }
    }
    let named = named.iter().filter(|path| !own.contains(path.as_str()));
    targets.extend(named.map(|path| Target { path: Some(path.clone()), partition: None }));
    targets
}
