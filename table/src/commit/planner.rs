//! The plan while changes are applied to it one after the other.

use std::collections::HashMap;

use crate::change::SnapshotProperties;
use crate::cherry_pick::STAGED_WAP_ID;
use crate::manifest_set::ManifestSet;
use crate::spec::{FormatVersion, ManifestContentType, Operation, TableMetadataRef, TableRequirement, TableUpdate};
use crate::summary::SummaryTotals;
use crate::{Change, Error, Result, TableState, layout};

use super::{CommitIdentity, CommitPlan, OPERATION_ID, Planned, SnapshotPlan, checks};

pub(super) struct Planner<'a> {
    pub(super) state: &'a TableState,
    identity: &'a CommitIdentity,
    now_ms: i64,
    /// The metadata with the commit's changes of it.
    pub(super) metadata: TableMetadataRef,
    pub(super) working: ManifestSet<'a>,
    snapshots: Vec<SnapshotPlan>,
    updates: Vec<TableUpdate>,
    expires: bool,
    pub(super) totals: SummaryTotals,
    next_row_id: u64,
}

impl<'a> Planner<'a> {
    pub(super) fn new(state: &'a TableState, identity: &'a CommitIdentity, now_ms: i64) -> Result<Self> {
        let metadata = state.table().metadata().clone();
        let staged = state.wap_id.is_some();
        if staged && state.table().property("write.wap.enabled").is_none_or(|v| !v.eq_ignore_ascii_case("true")) {
            let reason = "a snapshot can be staged only where the table's property write.wap.enabled is true";
            return Err(Error::InvalidChange(reason.to_owned()));
        }
        Ok(Self {
            state,
            identity,
            now_ms,
            next_row_id: metadata.next_row_id(),
            metadata,
            working: ManifestSet::new(state, identity),
            snapshots: Vec::new(),
            updates: Vec::new(),
            expires: false,
            totals: SummaryTotals::of(state.snapshot().map(|s| s.summary())),
        })
    }

    pub(super) fn apply(&mut self, change: &Change) -> Planned {
        match change {
            Change::Append { files, properties } => {
                checks::check_data_files(&self.metadata, files)?;
                let snapshot = self.begin_snapshot()?;
                self.working.add(ManifestContentType::Data, files, &snapshot, None, true);
                self.working.merge_small(&snapshot)?;
                self.totals.add(files);
                self.end_snapshot(snapshot, Operation::Append, properties)?;
            }
            Change::RowDelta(delta) => self.row_delta(delta)?,
            Change::Overwrite(overwrite) => self.overwrite(overwrite)?,
            Change::DeleteFiles(delete) => self.delete_files(delete)?,
            Change::Replace { removed, added, data_sequence_number, base_snapshot_id, carried, properties } => {
                let numbers = super::rewrite::Numbers { data: *data_sequence_number, base: *base_snapshot_id };
                self.replace(removed, added, numbers, carried.as_ref(), properties)?;
            }
            Change::RewriteDeletes(rewrite) => self.rewrite_deletes(rewrite)?,
            Change::RewriteManifests(rewrite) => self.rewrite_manifests(rewrite)?,
            Change::ExpireSnapshots { snapshot_ids } => {
                self.expires = true;
                self.updates.push(TableUpdate::RemoveSnapshots { snapshot_ids: snapshot_ids.clone() });
            }
            Change::SetProperties(updates) => {
                self.updates.push(TableUpdate::SetProperties { updates: updates.clone() });
            }
            Change::RemoveProperties(removals) => {
                self.updates.push(TableUpdate::RemoveProperties { removals: removals.clone() });
            }
            // Planned before, by `evolved::evolve`: this planner works on its outcome.
            Change::Metadata(_) => {}
        }
        Ok(())
    }

    pub(super) fn begin_snapshot(&mut self) -> Result<SnapshotPlan> {
        let metadata = &self.metadata;
        let index = self.snapshots.len();
        let snapshot_id = *self
            .identity
            .snapshot_ids
            .get(index)
            .ok_or_else(|| Error::InvalidChange(format!("no id was drawn for snapshot {index} of the commit")))?;
        let below = self.snapshots.last();
        let parent_id = below.map(|s| s.snapshot_id).or_else(|| self.state.snapshot_id());
        let format_version = metadata.format_version();
        let sequence_number = match format_version {
            FormatVersion::V1 => 0,
            _ => below.map_or(metadata.last_sequence_number(), |s| s.sequence_number) + 1,
        };
        let file_id = format!("{}-{}", self.identity.attempt, self.identity.uuid);
        self.working.leave_out_dead();
        self.totals.begin();
        Ok(SnapshotPlan {
            snapshot_id,
            parent_id,
            sequence_number,
            timestamp_ms: self.now_ms.max(metadata.last_updated_ms()),
            format_version,
            schema_id: metadata.current_schema_id(),
            row_range: None,
            operation: Operation::Append,
            summary: HashMap::new(),
            manifests: Vec::new(),
            manifest_list: layout::manifest_list_location(metadata, &file_id, snapshot_id),
        })
    }

    pub(super) fn end_snapshot(
        &mut self,
        mut snapshot: SnapshotPlan,
        operation: Operation,
        properties: &SnapshotProperties,
    ) -> Result<()> {
        snapshot.operation = operation;
        if snapshot.format_version >= FormatVersion::V3 {
            let first = self.next_row_id;
            self.next_row_id = self.working.assign_row_ids(first)?;
            snapshot.row_range = Some((first, self.next_row_id - first));
        }
        snapshot.manifests = self.working.list();
        snapshot.summary = self.totals.end();
        snapshot.summary.extend(properties.iter().map(|(k, v)| (k.clone(), v.clone())));
        snapshot.summary.insert(OPERATION_ID.to_owned(), self.identity.uuid.to_string());
        if let Some(id) = &self.state.wap_id {
            snapshot.summary.insert(STAGED_WAP_ID.to_owned(), id.clone());
        }
        self.snapshots.push(snapshot);
        Ok(())
    }

    /// `base_snapshot_id` is the head of the branch as it was loaded, which a replaced table has no more.
    pub(super) fn finish(self, base_snapshot_id: Option<i64>) -> CommitPlan {
        let metadata = self.state.table().metadata();
        let mut requirements = vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }];
        let mut require = |ref_name: &str, snapshot_id| {
            let requirement = TableRequirement::RefSnapshotIdMatch { r#ref: ref_name.to_owned(), snapshot_id };
            if !requirements.contains(&requirement) {
                requirements.push(requirement);
            }
        };
        if !self.snapshots.is_empty() {
            require(self.state.ref_name(), base_snapshot_id);
        }
        if self.expires {
            for (name, reference) in self.state.table().refs() {
                require(name, Some(reference.snapshot_id));
            }
        }
        CommitPlan {
            snapshots: self.snapshots,
            manifests: self.working.into_new_manifests(),
            requirements,
            updates: self.updates,
            ref_name: self.state.ref_name().to_owned(),
            moves_ref: self.state.wap_id.is_none(),
            evolution: None,
        }
    }
}
