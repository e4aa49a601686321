//! Manifests as they are kept in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use crate::spec::{ManifestEntry, ManifestFile};

/// The entries of manifests that were read or written lately, by location. A manifest never changes, but what its entries
/// inherit does: an attempt that lost may have listed it with another sequence number or first row id, so they are part
/// of the key. Bounded by the number of entries in all manifests together.
#[derive(Clone, Debug)]
pub struct ManifestCache(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    manifests: HashMap<String, Cached>,
    /// Oldest first.
    order: VecDeque<String>,
    entries: usize,
    entries_max: usize,
}

#[derive(Debug)]
struct Cached {
    inherited: Inherited,
    entries: Arc<Vec<ManifestEntry>>,
}

/// What entries inherit.
type Inherited = (i64, Option<u64>);

fn inherited(manifest: &ManifestFile) -> Inherited {
    (manifest.sequence_number, manifest.first_row_id)
}

/// About 1 KiB an entry: 100 MiB.
const ENTRIES_MAX: usize = 100_000;

impl Default for ManifestCache {
    fn default() -> Self {
        Self::with_capacity(ENTRIES_MAX)
    }
}

impl ManifestCache {
    /// A cache that holds manifests of up to `entries_max` entries in all. A single larger one is not kept.
    pub fn with_capacity(entries_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner { manifests: HashMap::new(), order: VecDeque::new(), entries: 0, entries_max })))
    }

    /// The manifest's entries, if they are here as this list entry gives them.
    pub fn get(&self, manifest: &ManifestFile) -> Option<Arc<Vec<ManifestEntry>>> {
        let inner = self.lock();
        let cached = inner.manifests.get(&manifest.manifest_path)?;
        (cached.inherited == inherited(manifest)).then(|| cached.entries.clone())
    }

    /// Keeps a manifest's entries, letting go of the oldest others.
    pub fn insert(&self, manifest: &ManifestFile, entries: Arc<Vec<ManifestEntry>>) {
        let mut inner = self.lock();
        let size = entries.len().max(1);
        let location = &manifest.manifest_path;
        if size > inner.entries_max {
            return;
        }
        if let Some(cached) = inner.manifests.get_mut(location) {
            *cached = Cached { inherited: inherited(manifest), entries };
            return;
        }
        while inner.entries + size > inner.entries_max {
            let Some(oldest) = inner.order.pop_front() else { break };
            let freed = inner.manifests.remove(&oldest).map_or(0, |old| old.entries.len().max(1));
            inner.entries -= freed;
        }
        inner.entries += size;
        inner.order.push_back(location.clone());
        inner.manifests.insert(location.clone(), Cached { inherited: inherited(manifest), entries });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ManifestContentType;

    fn manifest(name: &str, sequence_number: i64) -> ManifestFile {
        ManifestFile {
            manifest_path: name.to_owned(),
            manifest_length: 1,
            partition_spec_id: 0,
            content: ManifestContentType::Data,
            sequence_number,
            min_sequence_number: sequence_number,
            added_snapshot_id: 1,
            added_files_count: None,
            existing_files_count: None,
            deleted_files_count: None,
            added_rows_count: None,
            existing_rows_count: None,
            deleted_rows_count: None,
            partitions: None,
            key_metadata: None,
            first_row_id: None,
        }
    }

    #[test]
    fn the_oldest_go_first() {
        let cache = ManifestCache::with_capacity(2);
        for name in ["a", "b", "c"] {
            cache.insert(&manifest(name, 1), Arc::default());
        }
        assert!(cache.get(&manifest("a", 1)).is_none());
        assert!(cache.get(&manifest("b", 1)).is_some() && cache.get(&manifest("c", 1)).is_some());
    }

    #[test]
    fn entries_that_inherited_another_number_are_not_given_out() {
        let cache = ManifestCache::default();
        cache.insert(&manifest("a", 1), Arc::default());
        assert!(cache.get(&manifest("a", 2)).is_none());
        cache.insert(&manifest("a", 2), Arc::default());
        assert!(cache.get(&manifest("a", 2)).is_some());
    }
}
