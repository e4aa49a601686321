//! Changes after which the table has the same rows: rewrites of data files, delete files and manifests.

use std::collections::HashSet;

use crate::change::{CarriedDeletes, RewriteDeletes, RewriteManifests, SnapshotProperties};
use crate::conflict::{Checks, targets_of};
use crate::deletes::{DeleteScope, applies_by_number, dropped_field, referenced_data_file};
use crate::row_lineage::check_keeps_row_ids;
use crate::spec::{DataContentType, FormatVersion, ManifestContentType, Operation};
use crate::{Conflict, Error, Result, TableFile};

use super::overwrite::targets;
use super::planner::Planner;
use super::{Planned, checks};

/// `commit.manifest.target-size-bytes`, when the table does not set it.
const MANIFEST_SIZE_BYTES: u64 = 8 << 20;

/// The data sequence number that a rewrite asks for, and the snapshot it read.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) data: i64,
    pub(super) base: i64,
}

impl Planner<'_> {
    pub(super) fn replace(
        &mut self,
        removed: &[String],
        added: &[TableFile],
        numbers: Numbers,
        carried: Option<&CarriedDeletes>,
        properties: &SnapshotProperties,
    ) -> Planned {
        checks::check_data_files(&self.metadata, added)?;
        if self.metadata.format_version() >= FormatVersion::V3 {
            check_keeps_row_ids(added)?;
        }
        let carried_files = carried.map_or(&[][..], |carried| &carried.delete_files);
        checks::check_delete_files(&self.metadata, carried_files)?;
        check_are_of(carried_files, added)?;
        let since = Checks::since(self.state, Some(numbers.base))?;
        let since_carried = match carried {
            None => since,
            Some(carried) => since.later(self.state, carried.up_to_snapshot_id)?,
        };
        let gone = Conflict::BaseGone { base_snapshot_id: Some(numbers.base) };
        let base_number = self.metadata.snapshot_by_id(numbers.base).ok_or(gone)?.sequence_number();
        let snapshot = self.begin_snapshot()?;
        let removed = self.remove_paths(removed, &snapshot)?;
        let targets = targets(&removed);
        since_carried.no_new_positions(&targets)?;
        since.new_equality_deletes_reach(&targets, added)?;
        self.check_no_deletes_here(&targets)?;
        let newest = removed.iter().map(|removed| removed.data_sequence_number).max();
        check_number(numbers.data, newest.unwrap_or(numbers.data), base_number)?;
        self.check_not_live(added)?;
        self.check_has_delete_columns(added, numbers.data)?;
        self.working.add(ManifestContentType::Data, added, &snapshot, Some(numbers.data), true);
        self.working.add(ManifestContentType::Deletes, carried_files, &snapshot, None, true);
        self.totals.add(added);
        self.totals.add(carried_files);
        self.drop_dead_deletes(&snapshot)?;
        self.end_snapshot(snapshot, Operation::Replace, properties)?;
        Ok(())
    }

    /// Files that are written now have the columns of now: an equality delete by a column that was dropped finds null in
    /// every row of theirs (Iceberg spec, "Equality Delete Files": such a column must still be read).
    fn check_has_delete_columns(&self, added: &[TableFile], data_number: i64) -> Planned {
        for delete in self.working.live_equality_deletes()? {
            let Some(field_id) = dropped_field(&self.metadata, delete.file) else { continue };
            let number = delete.data_sequence_number.unwrap_or(i64::MAX);
            if !applies_by_number(DataContentType::EqualityDeletes, number, data_number) {
                continue;
            }
            let scope = DeleteScope::of(&self.metadata, delete.file, delete.partition_spec_id);
            let covers = |output: &&TableFile| {
                scope.covers(output.file.file_path(), output.partition_spec_id, output.file.partition())
            };
            if let Some(output) = added.iter().find(covers) {
                return Err(Conflict::DeleteByDroppedField {
                    path: output.file.file_path().to_owned(),
                    delete_file: delete.file.file_path().to_owned(),
                    field_id,
                }
                .into());
            }
        }
        Ok(())
    }

    pub(super) fn rewrite_deletes(&mut self, rewrite: &RewriteDeletes) -> Planned {
        checks::check_delete_files(&self.metadata, &rewrite.added)?;
        let targets = targets_of(&rewrite.added, &[], &rewrite.validation);
        let since = Checks::since(self.state, rewrite.validation.base_snapshot_id)?;
        since.targets_exist(&targets)?;
        let snapshot = self.begin_snapshot()?;
        let removed = self.remove_deletes(&rewrite.removed, &snapshot)?;
        since.no_new_files_under(&removed)?;
        let newest = removed.iter().map(|removed| removed.data_sequence_number).max().unwrap_or(0);
        self.check_still_deleted(rewrite)?;
        self.check_absorbed(&rewrite.added)?;
        self.working.add(ManifestContentType::Deletes, &rewrite.added, &snapshot, Some(newest), true);
        self.totals.add(&rewrite.added);
        self.end_snapshot(snapshot, Operation::Replace, &rewrite.properties)?;
        Ok(())
    }

    /// What a rewrite of deletes removes is in what it adds, as far as metadata tells.
    fn check_still_deleted(&self, rewrite: &RewriteDeletes) -> Result<()> {
        let is_equality = |file: &TableFile| file.file.content_type() == DataContentType::EqualityDeletes;
        if let Some(file) = rewrite.added.iter().find(|file| is_equality(file)) {
            return Err(Error::InvalidChange(format!(
                "{} holds equality deletes: a rewrite of deletes writes position deletes or deletion vectors, since \
                 equality deletes of different numbers can't be one",
                file.file.file_path()
            )));
        }
        let covered: HashSet<String> =
            rewrite.added.iter().filter_map(|added| referenced_data_file(&added.file)).collect();
        let wide = rewrite.added.iter().any(|added| referenced_data_file(&added.file).is_none());
        let lost: Vec<(String, &str)> = rewrite
            .removed
            .iter()
            .filter_map(|removed| Some((referenced_data_file(&removed.file)?, removed.file.file_path())))
            .filter(|(data_file, _)| !wide && !covered.contains(data_file))
            .collect();
        let paths = lost.iter().map(|(data_file, _)| data_file.as_str()).collect();
        match self.working.find_live_data(&paths)? {
            None => Ok(()),
            Some(data_file) => Err(Error::InvalidChange(format!(
                "the rewrite removes deletes of {data_file}, which is live, and adds none for it"
            ))),
        }
    }

    pub(super) fn rewrite_manifests(&mut self, rewrite: &RewriteManifests) -> Planned {
        let size = rewrite
            .target_size_bytes
            .or_else(|| self.state.table().property("commit.manifest.target-size-bytes").and_then(|v| v.parse().ok()));
        let snapshot = self.begin_snapshot()?;
        let counts = self.working.rewrite_all(&snapshot, size.unwrap_or(MANIFEST_SIZE_BYTES).max(1))?;
        let mut properties = rewrite.properties.clone();
        let counts = [
            ("manifests-created", counts.created),
            ("manifests-kept", 0),
            ("manifests-replaced", counts.replaced),
            ("entries-processed", counts.entries),
        ];
        properties.extend(counts.map(|(key, count)| (key.to_owned(), count.to_string())));
        self.end_snapshot(snapshot, Operation::Replace, &properties)?;
        Ok(())
    }
}

/// Deletes that a rewrite carries are of its own outputs and of nothing else: of other files they would delete rows, and a
/// rewrite changes none.
fn check_are_of(carried: &[TableFile], added: &[TableFile]) -> Result<()> {
    let added: HashSet<&str> = added.iter().map(|added| added.file.file_path()).collect();
    let is_of_one =
        |file: &TableFile| referenced_data_file(&file.file).is_some_and(|path| added.contains(path.as_str()));
    match carried.iter().find(|file| !is_of_one(file)) {
        None => Ok(()),
        Some(file) => Err(Error::InvalidChange(format!(
            "{} is carried by a rewrite, but does not delete by position from one of its files alone",
            file.file.file_path()
        ))),
    }
}

/// The number of a rewrite's outputs lies between that of the newest input and that of the base. Above, equality deletes
/// that came since the base would not apply and their rows would be back; below, rows that came after an equality delete
/// would be lost to it. A file that an earlier change of the same commit added may be newer than the base.
fn check_number(number: i64, newest_removed: i64, base: i64) -> Result<()> {
    if (newest_removed..=newest_removed.max(base)).contains(&number) {
        return Ok(());
    }
    Err(Error::InvalidChange(format!(
        "rewritten files can't have the data sequence number {number}: the newest file that goes has {newest_removed}, the \
         snapshot that the rewrite read has {base}"
    )))
}
