//! Manifests that become fewer, or are put in order. The files in them become existing entries; nothing else changes.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{ManifestSet, is_live};
use crate::commit::{ManifestRef, PlannedEntry, SnapshotPlan};
use crate::spec::{Literal, ManifestContentType, ManifestFile, ManifestStatus, Struct};
use crate::{Result, TableState};

/// Manifests shorter than this are merged when there are many.
const SMALL_BYTES: i64 = 1 << 20;

/// `commit.manifest.min-count-to-merge`, when the table does not set it.
const MIN_COUNT_TO_MERGE: usize = 100;

/// What a rewrite of manifests did.
#[derive(Default)]
pub(crate) struct RewriteCounts {
    pub(crate) created: usize,
    pub(crate) replaced: usize,
    pub(crate) entries: usize,
}

impl ManifestSet<'_> {
    /// Merges small manifests of one content and partition spec once there are `commit.manifest.min-count-to-merge` of
    /// them and their entries are at hand.
    pub(crate) fn merge_small(&mut self, snapshot: &SnapshotPlan) -> Result<()> {
        for content in [ManifestContentType::Data, ManifestContentType::Deletes] {
            let small = |manifest: &ManifestRef| match manifest {
                ManifestRef::Stored(m) => {
                    m.content == content && is_small(m) && self.state.entries.contains_key(&m.manifest_path)
                }
                ManifestRef::New(_) => false,
            };
            if self.listed.iter().filter(|m| small(m)).count() < min_count_to_merge(self.state) {
                continue;
            }
            let (merged, kept) = self.listed.iter().cloned().partition(small);
            self.listed = kept;
            for (spec_id, entries) in self.take_live(merged)? {
                self.write(content, entries, spec_id, snapshot, false);
            }
        }
        Ok(())
    }

    /// Writes all manifests anew, their entries in the order of their partitions, each of about `target_size_bytes`.
    pub(crate) fn rewrite_all(&mut self, snapshot: &SnapshotPlan, target_size_bytes: u64) -> Result<RewriteCounts> {
        let mut counts = RewriteCounts::default();
        let before = std::mem::take(&mut self.listed);
        for content in [ManifestContentType::Deletes, ManifestContentType::Data] {
            let old: Vec<_> = before.iter().filter(|m| self.describe(m).0 == content).cloned().collect();
            counts.replaced += old.len();
            let per_manifest = self.entries_per_manifest(&old, target_size_bytes);
            for (spec_id, mut entries) in self.take_live(old)? {
                counts.entries += entries.len();
                entries.sort_by(|a, b| compare(a.file.partition(), b.file.partition()));
                counts.created += entries.len().div_ceil(per_manifest);
                self.write_chunks(content, entries.chunks(per_manifest), spec_id, snapshot, false);
            }
        }
        Ok(counts)
    }

    /// How many entries make a manifest of the wanted size, at the size that they have now.
    fn entries_per_manifest(&self, manifests: &[ManifestRef], target_size_bytes: u64) -> usize {
        let (mut bytes, mut entries) = (0_u64, 0_u64);
        for manifest in manifests {
            if let ManifestRef::Stored(file) = manifest {
                let counts = [file.added_files_count, file.existing_files_count, file.deleted_files_count];
                bytes += u64::try_from(file.manifest_length).unwrap_or(0);
                entries += counts.into_iter().flatten().map(u64::from).sum::<u64>();
            }
        }
        let entry_bytes = (bytes / entries.max(1)).max(1);
        usize::try_from(target_size_bytes / entry_bytes).unwrap_or(super::ENTRIES_MAX).clamp(1, super::ENTRIES_MAX)
    }

    /// The live entries of manifests as existing ones, by partition spec.
    fn take_live(&self, manifests: Vec<ManifestRef>) -> Result<BTreeMap<i32, Vec<PlannedEntry>>> {
        let mut by_spec: BTreeMap<i32, Vec<PlannedEntry>> = BTreeMap::new();
        for manifest in manifests {
            let (_, spec_id) = self.describe(&manifest);
            let live = self.entries(&manifest)?.into_iter().filter(is_live);
            by_spec.entry(spec_id).or_default().extend(live.map(|mut entry| {
                entry.status = ManifestStatus::Existing;
                entry
            }));
        }
        Ok(by_spec)
    }
}

/// Orders partition tuples of one spec, nulls first. Values of one field are of one type.
fn compare(a: &Struct, b: &Struct) -> Ordering {
    let value = |literal: Option<&Literal>| literal.and_then(Literal::as_primitive_literal);
    let fields = a.iter().zip(b.iter());
    let order = fields.map(|(a, b)| value(a).partial_cmp(&value(b)).unwrap_or(Ordering::Equal));
    order.fold(Ordering::Equal, Ordering::then)
}

fn is_small(manifest: &ManifestFile) -> bool {
    manifest.manifest_length < SMALL_BYTES
}

/// Whether merging will be due for a manifest, so that its entries are worth loading.
pub(crate) fn merging_is_due(manifests: &[ManifestFile], min_count: usize) -> impl Fn(&ManifestFile) -> bool + use<> {
    let is_due = |content| manifests.iter().filter(|m| m.content == content && is_small(m)).count() >= min_count;
    let (data, deletes) = (is_due(ManifestContentType::Data), is_due(ManifestContentType::Deletes));
    move |manifest| {
        is_small(manifest)
            && match manifest.content {
                ManifestContentType::Data => data,
                ManifestContentType::Deletes => deletes,
            }
    }
}

pub(crate) fn min_count_to_merge(state: &TableState) -> usize {
    let enabled = state.table().property("commit.manifest-merge.enabled") != Some("false");
    let count = state.table().property("commit.manifest.min-count-to-merge").and_then(|v| v.parse().ok());
    if enabled { count.unwrap_or(MIN_COUNT_TO_MERGE).max(2) } else { usize::MAX }
}
