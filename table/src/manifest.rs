//! Manifests as they are kept in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use crate::spec::ManifestEntry;

/// The entries of manifests that were read or written lately, by location. A manifest never changes, so an entry is
/// never stale. Bounded by the number of entries in all manifests together.
#[derive(Clone, Debug)]
pub struct ManifestCache(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    manifests: HashMap<String, Arc<Vec<ManifestEntry>>>,
    /// Oldest first.
    order: VecDeque<String>,
    entries: usize,
    entries_max: usize,
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

    /// The manifest's entries, if they are here.
    pub fn get(&self, location: &str) -> Option<Arc<Vec<ManifestEntry>>> {
        self.lock().manifests.get(location).cloned()
    }

    /// Keeps a manifest's entries, letting go of the oldest others.
    pub fn insert(&self, location: &str, entries: Arc<Vec<ManifestEntry>>) {
        let mut inner = self.lock();
        let size = entries.len().max(1);
        if size > inner.entries_max || inner.manifests.contains_key(location) {
            return;
        }
        while inner.entries + size > inner.entries_max {
            let Some(oldest) = inner.order.pop_front() else { break };
            let freed = inner.manifests.remove(&oldest).map_or(0, |old| old.len().max(1));
            inner.entries -= freed;
        }
        inner.entries += size;
        inner.order.push_back(location.to_owned());
        inner.manifests.insert(location.to_owned(), entries);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let cache = ManifestCache::with_capacity(2);
        for name in ["a", "b", "c"] {
            cache.insert(name, Arc::default());
        }
        assert!(cache.get("a").is_none());
        assert!(cache.get("b").is_some() && cache.get("c").is_some());
    }
}
