//! What of a table must be read before changes of it can be planned.

use std::collections::HashSet;

use crate::TableFile;
use crate::change::{Change, RemovedFiles, RowDelta, Validation};
use crate::conflict::targets_of;
use crate::deletes::is_vector;
use crate::spec::{Datum, ManifestContentType, ManifestFile, Struct, TableMetadata, Type};

/// Of the manifests of one content, those whose entries a change looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Want {
    #[default]
    Nothing,
    /// Those that may list files of these partitions.
    Partitions(HashSet<(i32, Struct)>),
    Everything,
}

/// What changes need.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    pub(crate) data: Want,
    pub(crate) deletes: Want,
    /// The bases since which the history is looked at.
    pub(crate) bases: Vec<Option<i64>>,
    /// Whether small manifests may be merged.
    pub(crate) merges: bool,
}

impl Needs {
    pub(crate) fn of(changes: &[Change]) -> Self {
        let mut needs = Self::default();
        for change in changes {
            needs.include(change);
        }
        needs
    }

    fn include(&mut self, change: &Change) {
        match change {
            Change::Append { .. } => self.merges = true,
            Change::RowDelta(delta) => self.include_row_delta(delta),
            Change::Overwrite(overwrite) => {
                let rows_move = !overwrite.added.is_empty();
                self.include_removal(&overwrite.removed, &overwrite.validation, rows_move);
            }
            Change::DeleteFiles(delete) => self.include_removal(&delete.removed, &delete.validation, false),
            Change::Replace { base_snapshot_id, carried, .. } => {
                self.everything();
                self.bases.push(Some(*base_snapshot_id));
                self.bases.extend(carried.iter().map(|carried| Some(carried.up_to_snapshot_id)));
            }
            Change::RewriteDeletes(rewrite) => {
                self.data = Want::Everything;
                self.deletes.widen(partitions_of(rewrite.removed.iter().chain(&rewrite.added)));
                self.bases.push(rewrite.validation.base_snapshot_id);
            }
            Change::RewriteManifests(_) => self.everything(),
            Change::ExpireSnapshots { .. }
            | Change::SetProperties(_)
            | Change::RemoveProperties(_)
            | Change::Metadata(_) => {}
        }
    }

    fn include_row_delta(&mut self, delta: &RowDelta) {
        self.merges = true;
        let vectors = delta.delete_files.iter().filter(|added| is_vector(&added.file));
        self.deletes.widen(partitions_of(vectors.chain(&delta.removed_delete_files)));
        let targets = targets_of(&delta.delete_files, &delta.data_files, &delta.validation);
        if !targets.is_empty() || delta.validation.is_serializable() {
            self.bases.push(delta.validation.base_snapshot_id);
        }
    }

    fn include_removal(&mut self, removed: &RemovedFiles, validation: &Validation, rows_move: bool) {
        self.everything();
        let by_path = matches!(removed, RemovedFiles::Files(paths) if !paths.is_empty());
        if (by_path && rows_move) || validation.is_serializable() {
            self.bases.push(validation.base_snapshot_id);
        }
    }

    fn everything(&mut self) {
        self.data = Want::Everything;
        self.deletes = Want::Everything;
    }

    pub(crate) fn want(&self, content: ManifestContentType) -> &Want {
        match content {
            ManifestContentType::Data => &self.data,
            ManifestContentType::Deletes => &self.deletes,
        }
    }
}

impl Want {
    fn widen(&mut self, partitions: HashSet<(i32, Struct)>) {
        match self {
            _ if partitions.is_empty() => {}
            Self::Nothing => *self = Self::Partitions(partitions),
            Self::Partitions(own) => own.extend(partitions),
            Self::Everything => {}
        }
    }

    /// Whether the manifest's entries must be read.
    pub(crate) fn includes(&self, metadata: &TableMetadata, manifest: &ManifestFile) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Partitions(partitions) => {
                let own = partitions.iter().filter(|(spec_id, _)| *spec_id == manifest.partition_spec_id);
                own.into_iter().any(|(_, tuple)| may_list(metadata, manifest, tuple))
            }
        }
    }
}

fn partitions_of<'a>(files: impl Iterator<Item = &'a TableFile>) -> HashSet<(i32, Struct)> {
    files.map(|file| (file.partition_spec_id, file.file.partition().clone())).collect()
}

/// Whether a partition of the manifest's spec lies within its field summaries. `true` if they don't tell.
pub fn may_list(metadata: &TableMetadata, manifest: &ManifestFile, tuple: &Struct) -> bool {
    let (Some(summaries), Some(spec)) =
        (&manifest.partitions, metadata.partition_spec_by_id(manifest.partition_spec_id))
    else {
        return true;
    };
    let Ok(types) = spec.partition_type(metadata.current_schema()) else { return true };
    let mut fields = types.fields().iter().zip(summaries).zip(tuple.iter());
    fields.all(|((field, summary), literal)| {
        let Type::Primitive(primitive) = field.field_type.as_ref() else { return true };
        let Some(value) = literal else { return summary.contains_null };
        let Some(value) = value.as_primitive_literal() else { return true };
        let bound = |bytes: Option<&[u8]>| {
            let bound = Datum::try_from_bytes(bytes?, primitive.clone()).ok()?.literal().clone();
            (std::mem::discriminant(&bound) == std::mem::discriminant(&value)).then_some(bound)
        };
        let lower = bound(summary.lower_bound.as_ref().map(|bytes| bytes.as_slice()));
        let upper = bound(summary.upper_bound.as_ref().map(|bytes| bytes.as_slice()));
        // NaN is in no bound.
        let is_nan = match value {
            crate::spec::PrimitiveLiteral::Float(v) => v.is_nan(),
            crate::spec::PrimitiveLiteral::Double(v) => v.is_nan(),
            _ => false,
        };
        is_nan || (lower.is_none_or(|lower| lower <= value) && upper.is_none_or(|upper| value <= upper))
    })
}
