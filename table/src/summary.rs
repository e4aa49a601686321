//! What a snapshot says of itself in numbers (Iceberg spec, "Optional Snapshot Summary Fields").

use std::collections::{HashMap, HashSet};

use crate::TableFile;
use crate::deletes::is_vector;
use crate::spec::{DataContentType, DataFile, Struct, Summary};

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
    data_files: u64,
    records: u64,
    bytes: u64,
    delete_files: u64,
    position_delete_files: u64,
    equality_delete_files: u64,
    vectors: u64,
    position_deletes: u64,
    equality_deletes: u64,
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

    /// The counts of another snapshot begin.
    pub(crate) fn begin(&mut self) {
        self.partitions.clear();
        self.added = Counts::default();
        self.removed = Counts::default();
    }

    pub(crate) fn add(&mut self, added: &[TableFile]) {
        for TableFile { file, partition_spec_id } in added {
            self.added.count(file);
            self.partitions.insert((*partition_spec_id, file.partition().clone()));
        }
    }

    pub(crate) fn remove<'a>(&mut self, removed: impl Iterator<Item = (&'a DataFile, i32)>) {
        for (file, partition_spec_id) in removed {
            self.removed.count(file);
            self.partitions.insert((partition_spec_id, file.partition().clone()));
        }
    }

    pub(crate) fn end(&mut self) -> HashMap<String, String> {
        for ((total, plus), minus) in self.totals.iter_mut().zip(self.added.totals()).zip(self.removed.totals()) {
            *total = total.and_then(|value| (value + plus).checked_sub(minus));
        }
        let mut summary = HashMap::from([
            ("changed-partition-count".to_owned(), self.partitions.len().to_string()),
            ("engine-name".to_owned(), "frazil".to_owned()),
            ("engine-version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ]);
        let added = self.added.named(["added-data-files", "added-records", "added-files-size"], "added");
        let removed = self.removed.named(["deleted-data-files", "deleted-records", "removed-files-size"], "removed");
        summary.extend(added.into_iter().chain(removed).filter(|(_, n)| *n > 0).map(|(k, n)| (k, n.to_string())));
        let totals = TOTALS.into_iter().zip(self.totals);
        summary.extend(totals.filter_map(|(key, total)| Some((key.to_owned(), total?.to_string()))));
        summary
    }
}

impl Counts {
    fn count(&mut self, file: &DataFile) {
        let rows = file.record_count();
        match file.content_type() {
            DataContentType::Data => {
                self.data_files += 1;
                self.records += rows;
            }
            DataContentType::PositionDeletes => {
                self.delete_files += 1;
                self.position_deletes += rows;
                match is_vector(file) {
                    true => self.vectors += 1,
                    false => self.position_delete_files += 1,
                }
            }
            DataContentType::EqualityDeletes => {
                self.delete_files += 1;
                self.equality_delete_files += 1;
                self.equality_deletes += rows;
            }
        }
        // Of a Puffin file a vector has only its own part.
        let part = file.content_size_in_bytes().and_then(|size| u64::try_from(size).ok());
        self.bytes += part.filter(|_| is_vector(file)).unwrap_or_else(|| file.file_size_in_bytes());
    }

    fn totals(&self) -> [u64; 6] {
        [self.data_files, self.records, self.bytes, self.delete_files, self.position_deletes, self.equality_deletes]
    }

    /// By the names of the specification, which are regular but for rows.
    fn named(&self, [data_files, records, size]: [&str; 3], did: &str) -> [(String, u64); 9] {
        let key = |what: &str| format!("{did}-{what}");
        [
            (data_files.to_owned(), self.data_files),
            (records.to_owned(), self.records),
            (size.to_owned(), self.bytes),
            (key("delete-files"), self.delete_files),
            (key("position-delete-files"), self.position_delete_files),
            (key("equality-delete-files"), self.equality_delete_files),
            (key("dvs"), self.vectors),
            (key("position-deletes"), self.position_deletes),
            (key("equality-deletes"), self.equality_deletes),
        ]
    }
}
