//! What a snapshot says of itself in numbers (Iceberg spec, "Optional Snapshot Summary Fields").

use std::collections::{HashMap, HashSet};

use crate::TableFile;
use crate::spec::{Struct, Summary};

/// Running totals of a branch, and the counts of the snapshot that is being planned.
pub(crate) struct SummaryTotals {
    /// `None`: the snapshot below does not say, so neither does this one.
    totals: [Option<u64>; 6],
    added: Counts,
    removed: Counts,
    partitions: HashSet<(i32, Struct)>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    files: u64,
    records: u64,
    bytes: u64,
}

const TOTALS: [&str; 6] = [
    "total-data-files",
    "total-records",
    "total-files-size",
    "total-delete-files",
    "total-position-deletes",
    "total-equality-deletes",
];

impl SummaryTotals {
    /// Totals of the snapshot below; zeros if there is none.
    pub(crate) fn of(below: Option<&Summary>) -> Self {
        let total = |key: &str| match below {
            None => Some(0),
            Some(summary) => summary.additional_properties.get(key).and_then(|v| v.parse().ok()),
        };
        Self {
            totals: TOTALS.map(total),
            added: Counts::default(),
            removed: Counts::default(),
            partitions: HashSet::new(),
        }
    }

    pub(crate) fn begin(&mut self, added: &[TableFile]) {
        self.partitions.clear();
        self.removed = Counts::default();
        self.added = self.count(added);
    }

    pub(crate) fn remove(&mut self, removed: &[TableFile]) {
        self.removed = self.count(removed);
    }

    fn count(&mut self, files: &[TableFile]) -> Counts {
        let mut counts = Counts::default();
        for TableFile { file, partition_spec_id } in files {
            counts.files += 1;
            counts.records += file.record_count();
            counts.bytes += file.file_size_in_bytes();
            self.partitions.insert((*partition_spec_id, file.partition().clone()));
        }
        counts
    }

    pub(crate) fn end(&mut self) -> HashMap<String, String> {
        let (added, removed) = (self.added, self.removed);
        let changes = [(added.files, removed.files), (added.records, removed.records), (added.bytes, removed.bytes)];
        for (total, (plus, minus)) in self.totals.iter_mut().zip(changes) {
            *total = total.and_then(|value| (value + plus).checked_sub(minus));
        }
        let mut summary = HashMap::from([
            ("changed-partition-count".to_owned(), self.partitions.len().to_string()),
            ("engine-name".to_owned(), "frazil".to_owned()),
            ("engine-version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ]);
        let counts = [
            ("added-data-files", added.files),
            ("added-records", added.records),
            ("added-files-size", added.bytes),
            ("deleted-data-files", removed.files),
            ("deleted-records", removed.records),
            ("removed-files-size", removed.bytes),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count > 0).map(|(k, v)| (k, Some(v)));
        for (key, value) in counts.chain(TOTALS.into_iter().zip(self.totals)) {
            if let Some(value) = value {
                summary.insert(key.to_owned(), value.to_string());
            }
        }
        summary
    }
}
