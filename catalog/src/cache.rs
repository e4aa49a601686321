//! Metadata files that were read or written lately.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use frazil_table::spec::TableUpdate;
use frazil_table::{MetadataText, Table};
use serde_json::value::RawValue;

use crate::Result;

/// A metadata file, parsed and as its text.
#[derive(Clone, Debug)]
pub(crate) struct CachedMetadata {
    /// Under the name that it had when this was made.
    table: Table,
    text: MetadataText,
    /// Made when it is first asked for: a writer in this process never does.
    raw: Arc<OnceLock<Arc<RawValue>>>,
}

impl CachedMetadata {
    /// # Errors
    /// If the metadata has no JSON form.
    pub(crate) fn new(table: Table) -> Result<Self> {
        let text = MetadataText::new(&table)?;
        Ok(Self { table, text, raw: Arc::default() })
    }

    /// What updates made of this one.
    ///
    /// # Errors
    /// As [`CachedMetadata::new`].
    pub(crate) fn after(table: Table, updates: &[TableUpdate], before: &Self) -> Result<Self> {
        let text = MetadataText::after(&table, updates, (&before.table, &before.text))?;
        Ok(Self { table, text, raw: Arc::default() })
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn text(&self) -> &MetadataText {
        &self.text
    }

    pub(crate) fn json(&self) -> Arc<RawValue> {
        let make = || RawValue::from_string(self.text.json()).expect("what was written as JSON is JSON").into();
        self.raw.get_or_init(make).clone()
    }

    /// The parsed form takes about three times the text.
    fn size_bytes(&self) -> usize {
        self.text.size_bytes() * 4
    }
}

/// The newest few metadata files by location. A metadata file never changes, so an entry is never stale.
#[derive(Debug)]
pub(crate) struct MetadataCache(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<String, (u64, CachedMetadata)>,
    size_bytes: usize,
    /// Counts uses; the entry with the smallest count goes first.
    uses: u64,
}

/// More tables than are written to at the same time.
const ENTRIES_MAX: usize = 256;
/// A table with 10,000 snapshots takes about 40 MiB.
const SIZE_BYTES_MAX: usize = 128 << 20;

impl MetadataCache {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    pub(crate) fn get(&self, location: &str) -> Option<CachedMetadata> {
        let mut inner = self.lock();
        inner.uses += 1;
        let now = inner.uses;
        let (used, cached) = inner.entries.get_mut(location)?;
        *used = now;
        Some(cached.clone())
    }

    pub(crate) fn insert(&self, location: &str, cached: CachedMetadata) {
        let size_bytes = cached.size_bytes();
        if size_bytes > SIZE_BYTES_MAX / 2 {
            return;
        }
        let mut inner = self.lock();
        inner.uses += 1;
        let now = inner.uses;
        inner.size_bytes += size_bytes;
        if let Some((_, old)) = inner.entries.insert(location.to_owned(), (now, cached)) {
            inner.size_bytes -= old.size_bytes();
        }
        while inner.entries.len() > ENTRIES_MAX || inner.size_bytes > SIZE_BYTES_MAX {
            let oldest = inner.entries.iter().min_by_key(|(_, (used, _))| *used);
            let oldest = oldest.map(|(location, _)| location.clone()).expect("it holds too much");
            inner.remove(&oldest);
        }
    }

    pub(crate) fn remove(&self, location: &str) {
        self.lock().remove(location);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

impl Inner {
    fn remove(&mut self, location: &str) {
        if let Some((_, cached)) = self.entries.remove(location) {
            self.size_bytes -= cached.size_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use frazil_table::spec::{
        FormatVersion, Schema, SortOrder, TableIdent, TableMetadataBuilder, UnboundPartitionSpec,
    };

    use super::*;

    #[test]
    fn holds_the_entries_used_last() {
        let builder = TableMetadataBuilder::new(
            Schema::builder().build().unwrap(),
            UnboundPartitionSpec::builder().build(),
            SortOrder::unsorted_order(),
            "memory://w/t".to_owned(),
            FormatVersion::V2,
            HashMap::new(),
        );
        let metadata = builder.unwrap().build().unwrap().metadata.into();
        let table = Table::new(TableIdent::from_strs(["n", "t"]).unwrap(), metadata, "memory://w/t/metadata/0.json");
        let cached = CachedMetadata::new(table).unwrap();
        let cache = MetadataCache::new();
        for n in 0..ENTRIES_MAX + 10 {
            cache.insert(&n.to_string(), cached.clone());
            cache.get("0").expect("used all the time");
        }
        assert!(cache.get("1").is_none());
        let inner = cache.lock();
        assert_eq!(inner.entries.len(), ENTRIES_MAX);
        assert_eq!(inner.size_bytes, ENTRIES_MAX * cached.size_bytes());
    }
}
