//! Which snapshots may leave, and which files leave with them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use crate::evolve::{MetadataChange, RefChange, RefKind};
use crate::spec::{MAIN_BRANCH, ManifestEntry, ManifestFile, SnapshotReference, SnapshotRetention, TableMetadata};
use crate::{Change, Retention, Table};

/// Snapshots, branches and tags that may leave a table's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpirePlan {
    /// Oldest first.
    pub snapshot_ids: Vec<i64>,
    /// Branches and tags that are kept no longer, in the order of their names.
    pub refs: Vec<(String, RefKind)>,
}

/// How long a branch or tag is kept that does not say so itself; for ever if the property is not set.
const MAX_REF_AGE: &str = "history.expire.max-ref-age-ms";

/// Plans what leaves: branches and tags whose snapshot is older than they are kept, and snapshots that no other branch
/// keeps by its retention and that no other branch or tag points to. A branch's own retention goes before `default`, a
/// ref's own age before `history.expire.max-ref-age-ms`; `main` never goes. `protected` snapshots and everything after
/// them on a branch stay.
pub fn plan_expire(table: &Table, default: Retention, protected: &[i64], now_ms: i64) -> ExpirePlan {
    let metadata = table.metadata();
    let mut kept: HashSet<i64> = protected.iter().copied().collect();
    let (gone, refs): (BTreeMap<_, _>, BTreeMap<_, _>) =
        table.refs().iter().partition(|(name, reference)| ref_is_due(table, name, reference, protected, now_ms));
    for (name, reference) in &refs {
        kept.insert(reference.snapshot_id);
        let SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, .. } = &reference.retention else {
            continue;
        };
        let keep_min =
            min_snapshots_to_keep.map_or(default.min_snapshots_to_keep, |n| usize::try_from(n).unwrap_or(1).max(1));
        let age_max_ms = max_snapshot_age_ms.unwrap_or(default.max_snapshot_age_ms);
        let chain: Vec<_> = table.ancestors(name).collect();
        let protected_depth = chain.iter().rposition(|s| protected.contains(&s.snapshot_id()));
        for (depth, snapshot) in chain.iter().enumerate() {
            let young = now_ms.saturating_sub(snapshot.timestamp_ms()) <= age_max_ms;
            if depth < keep_min || young || protected_depth.is_some_and(|at| depth <= at) {
                kept.insert(snapshot.snapshot_id());
            }
        }
    }
    // Snapshots on no branch, such as staged ones, go by age alone.
    let on_branches: HashSet<i64> =
        refs.keys().flat_map(|name| table.ancestors(name)).map(|s| s.snapshot_id()).collect();
    let mut expired: Vec<_> = metadata
        .snapshots()
        .filter(|snapshot| {
            let id = snapshot.snapshot_id();
            let age_ms = now_ms.saturating_sub(snapshot.timestamp_ms());
            !kept.contains(&id) && (on_branches.contains(&id) || age_ms > default.max_snapshot_age_ms)
        })
        .collect();
    expired.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.timestamp_ms()));
    ExpirePlan {
        snapshot_ids: expired.iter().map(|snapshot| snapshot.snapshot_id()).collect(),
        refs: gone.into_iter().map(|(name, reference)| (name.clone(), RefKind::of(reference))).collect(),
    }
}

fn ref_is_due(table: &Table, name: &str, reference: &SnapshotReference, protected: &[i64], now_ms: i64) -> bool {
    let (SnapshotRetention::Branch { max_ref_age_ms, .. } | SnapshotRetention::Tag { max_ref_age_ms }) =
        &reference.retention;
    let by_table = || table.property(MAX_REF_AGE)?.parse().ok();
    let Some(age_max_ms) = max_ref_age_ms.or_else(by_table) else { return false };
    let snapshot = table.metadata().snapshot_by_id(reference.snapshot_id);
    let is_old = snapshot.is_some_and(|s| now_ms.saturating_sub(s.timestamp_ms()) > age_max_ms);
    name != MAIN_BRANCH && is_old && !table.ancestors(name).any(|s| protected.contains(&s.snapshot_id()))
}

impl ExpirePlan {
    /// Whether nothing leaves.
    pub fn is_empty(&self) -> bool {
        self.snapshot_ids.is_empty() && self.refs.is_empty()
    }

    /// The changes that let it all go, statistics of the snapshots too.
    pub fn changes(&self, table: &Table) -> Vec<Change> {
        let metadata = table.metadata();
        let drops = self.refs.iter().map(|(name, kind)| {
            MetadataChange::Ref(RefChange::Drop { name: name.clone(), kind: *kind, if_exists: true })
        });
        let described = self.snapshot_ids.iter().filter(|id| metadata.statistics_for_snapshot(**id).is_some());
        let parted = self.snapshot_ids.iter().filter(|id| metadata.partition_statistics_for_snapshot(**id).is_some());
        let changes = drops
            .chain(described.map(|id| MetadataChange::RemoveStatistics(*id)))
            .chain(parted.map(|id| MetadataChange::RemovePartitionStatistics(*id)));
        let mut changes: Vec<_> = changes.map(Change::Metadata).collect();
        if !self.snapshot_ids.is_empty() {
            changes.push(Change::ExpireSnapshots { snapshot_ids: self.snapshot_ids.clone() });
        }
        changes
    }
}

impl fmt::Display for ExpirePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, kind) in &self.refs {
            writeln!(f, "{kind} {name} is dropped")?;
        }
        match self.snapshot_ids.as_slice() {
            [] => writeln!(f, "no snapshot is old enough to expire"),
            ids => writeln!(f, "{} snapshots expire, from {} to {}", ids.len(), ids[0], ids[ids.len() - 1]),
        }
    }
}

/// Files that only expired snapshots named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnreachableFiles {
    /// Manifest lists of the expired snapshots.
    pub manifest_lists: BTreeSet<String>,
    /// Manifests that no retained snapshot lists.
    pub manifests: BTreeSet<String>,
    /// Data and delete files that no retained snapshot holds.
    pub content_files: BTreeSet<String>,
    /// Statistics files of snapshots that have none any more.
    pub statistics: BTreeSet<String>,
}

impl UnreachableFiles {
    /// Compares what expired snapshots listed with what the retained ones list. `dropped` are the manifests that only
    /// expired snapshots list, with their entries; `retained` every manifest of every retained snapshot.
    pub fn new<'a>(
        manifest_lists: BTreeSet<String>,
        dropped: impl Iterator<Item = (&'a ManifestFile, &'a [ManifestEntry])>,
        retained: impl Iterator<Item = &'a [ManifestEntry]>,
    ) -> Self {
        let mut manifests = BTreeSet::new();
        let mut content_files = BTreeSet::new();
        for (manifest, entries) in dropped {
            manifests.insert(manifest.manifest_path.clone());
            // A deleted entry names a file too: it was live in a snapshot that expired before.
            content_files.extend(entries.iter().map(|entry| entry.file_path().to_owned()));
        }
        for entry in retained.flatten().filter(|entry| entry.is_alive()) {
            content_files.remove(entry.file_path());
        }
        Self { manifest_lists, manifests, content_files, statistics: BTreeSet::new() }
    }

    /// With the statistics files that the table named before and names no more.
    #[must_use]
    pub fn with_statistics(self, before: &Table, after: &Table) -> Self {
        let after = statistics_of(after.metadata());
        Self { statistics: statistics_of(before.metadata()).difference(&after).cloned().collect(), ..self }
    }

    /// All of them, content files first: what names a file goes after the file.
    pub fn in_order_of_deletion(&self) -> impl Iterator<Item = &str> {
        let all = self.content_files.iter().chain(&self.statistics).chain(&self.manifests).chain(&self.manifest_lists);
        all.map(String::as_str)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.content_files.len() + self.statistics.len() + self.manifests.len() + self.manifest_lists.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn statistics_of(metadata: &TableMetadata) -> BTreeSet<String> {
    let table = metadata.statistics_iter().map(|file| file.statistics_path.clone());
    table.chain(metadata.partition_statistics_iter().map(|file| file.statistics_path.clone())).collect()
}
