//! Manifests as they are kept in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use crate::spec::{ManifestEntry, ManifestFile};

/// Manifests and manifest lists that were read or written lately, by location. Bounded by the number of entries in all of
/// them together; the oldest go first.
///
/// Neither ever changes, but what the entries of a manifest inherit does: an attempt that lost may have listed it with
/// another sequence number or first row id, so they are part of the key.
#[derive(Clone, Debug)]
pub struct ManifestCache(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    manifests: Newest<(Inherited, Arc<Vec<ManifestEntry>>)>,
    lists: Newest<Arc<Vec<ManifestFile>>>,
}

/// What entries inherit.
type Inherited = (i64, Option<u64>);

fn inherited(manifest: &ManifestFile) -> Inherited {
    (manifest.sequence_number, manifest.first_row_id)
}

/// About 1 KiB an entry of a manifest and half of that one of a list: 150 MiB.
const ENTRIES_MAX: usize = 100_000;

impl Default for ManifestCache {
    fn default() -> Self {
        Self::with_capacity(ENTRIES_MAX)
    }
}

impl ManifestCache {
    /// A cache that holds manifests of up to `entries_max` entries in all, and as many entries of lists. A single larger
    /// one is not kept.
    pub fn with_capacity(entries_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner { manifests: Newest::new(entries_max), lists: Newest::new(entries_max) })))
    }

    /// The manifest's entries, if they are here as this list entry gives them.
    pub fn get(&self, manifest: &ManifestFile) -> Option<Arc<Vec<ManifestEntry>>> {
        let inner = self.lock();
        let (as_listed, entries) = inner.manifests.get(&manifest.manifest_path)?;
        (*as_listed == inherited(manifest)).then(|| entries.clone())
    }

    /// Keeps a manifest's entries.
    pub fn insert(&self, manifest: &ManifestFile, entries: Arc<Vec<ManifestEntry>>) {
        let size = entries.len().max(1);
        self.lock().manifests.insert(&manifest.manifest_path, size, (inherited(manifest), entries));
    }

    /// The manifest list at a location.
    pub fn list(&self, location: &str) -> Option<Arc<Vec<ManifestFile>>> {
        self.lock().lists.get(location).cloned()
    }

    /// Keeps a manifest list.
    pub fn insert_list(&self, location: &str, manifests: Arc<Vec<ManifestFile>>) {
        let size = manifests.len().max(1);
        self.lock().lists.insert(location, size, manifests);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

/// Values by location, the newest that have room.
#[derive(Debug)]
struct Newest<V> {
    /// With their sizes.
    values: HashMap<String, (usize, V)>,
    /// Oldest first.
    order: VecDeque<String>,
    size: usize,
    size_max: usize,
}

impl<V> Newest<V> {
    fn new(size_max: usize) -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), size: 0, size_max }
    }

    fn get(&self, location: &str) -> Option<&V> {
        self.values.get(location).map(|(_, value)| value)
    }

    /// Under a location that is taken the new value takes the old one's place; both have the same size.
    fn insert(&mut self, location: &str, size: usize, value: V) {
        if size > self.size_max {
            return;
        }
        if let Some((_, old)) = self.values.get_mut(location) {
            *old = value;
            return;
        }
        while self.size + size > self.size_max {
            let Some(oldest) = self.order.pop_front() else { break };
            self.size -= self.values.remove(&oldest).map_or(0, |(size, _)| size);
        }
        self.size += size;
        self.order.push_back(location.to_owned());
        self.values.insert(location.to_owned(), (size, value));
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
