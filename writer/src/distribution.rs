//! How rows are shared out among the parallel writers of a table (`write.distribution-mode`, and for statements that change
//! rows `write.update.distribution-mode` and `write.delete.distribution-mode`).
//!
//! | mode | a row goes to | good for |
//! |---|---|---|
//! | `none` | the writer whose turn it is, a batch at a time | no cost; each writer may write a file of each partition |
//! | `hash` | the writer that its partition's hash names | one file of each partition; partitions of like sizes |
//! | `range` | the writer of its range of the sort order, or of partitions where there is none | files that overlap little; skew |
//!
//! Ranges follow a sample of the keys seen so far, which is looked at anew whenever the rows have doubled; so a row's
//! writer may change in time. That is no fault: which writer a row goes to never decides about what the table holds.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{OwnedRow, Rows as Keys};
use frazil_table::Table;
use frazil_table::arrow::murmur3;
use frazil_table::spec::TableMetadata;

use crate::key::KeyColumns;
use crate::partition::PartitionSplitter;
use crate::sort::SortKeys;
use crate::{Error, Result};

const DISTRIBUTION_MODE: &str = "write.distribution-mode";

/// Keys of a sample: enough that ranges of up to a hundred writers are of like sizes, within a few percent.
const SAMPLE_KEYS: usize = 4096;

/// All that share out by key agree on it.
const KEY_SEED: u64 = 0x6672_617a_696c;

/// A table's `write.distribution-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DistributionMode {
    /// Batch by batch, in turn.
    None,
    /// By the hash of the partition.
    Hash,
    /// By ranges of the sort order, or of the partitions.
    Range,
}

impl DistributionMode {
    /// Reads the property. Without it, as other engines do: `range` for a sorted table, `hash` for a partitioned one,
    /// else `none`. `hash` without partitions, and `range` without partitions and sort order, are `none`.
    ///
    /// # Errors
    /// [`Error::BadProperty`] for another value.
    pub fn of(metadata: &TableMetadata) -> Result<Self> {
        let is_sorted = !metadata.default_sort_order().is_unsorted();
        let written = Self::of_property(metadata, DISTRIBUTION_MODE)?;
        Ok(match written.unwrap_or(if is_sorted { Self::Range } else { Self::Hash }) {
            Self::Hash if metadata.default_partition_spec().is_unpartitioned() => Self::None,
            mode => mode,
        })
    }

    /// Reads the property of a kind of statement that changes rows: `write.update.distribution-mode` or
    /// `write.delete.distribution-mode`. Without it, as other engines do: `hash`, which without partitions is by the file that
    /// a row was in ([`share_out`]).
    ///
    /// # Errors
    /// As [`DistributionMode::of`].
    pub fn of_statement(metadata: &TableMetadata, property: &str) -> Result<Self> {
        Ok(Self::of_property(metadata, property)?.unwrap_or(Self::Hash))
    }

    /// What a property says; `range` is `none` where there is nothing to make ranges of.
    fn of_property(metadata: &TableMetadata, property: &str) -> Result<Option<Self>> {
        let has_ranges =
            !metadata.default_sort_order().is_unsorted() || !metadata.default_partition_spec().is_unpartitioned();
        let text = metadata.properties().get(property).map(|text| text.trim().to_ascii_lowercase());
        Ok(Some(match text.as_deref() {
            None => return Ok(None),
            Some("range") if has_ranges => Self::Range,
            Some("none" | "range") => Self::None,
            Some("hash") => Self::Hash,
            Some(other) => {
                let (property, value) = (property.to_owned(), other.to_owned());
                return Err(Error::BadProperty { property, value, wanted: "none, hash or range".to_owned() });
            }
        }))
    }
}

/// Shares batches out among writers. Holds at most a sample of keys.
pub struct Distributor {
    writers: usize,
    way: Way,
}

enum Way {
    InTurn { next: usize },
    Hash(PartitionSplitter),
    Key(Box<KeyColumns>),
    Range { keys: RangeKeys, sample: Box<Sample> },
}

enum RangeKeys {
    Sorted(SortKeys),
    Partitions(PartitionSplitter),
}

impl std::fmt::Debug for Distributor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = match self.way {
            Way::InTurn { .. } => "turn",
            Way::Hash(_) => "partition",
            Way::Key(_) => "key",
            Way::Range { .. } => "range",
        };
        f.debug_struct("Distributor").field("writers", &self.writers).field("by", &by).finish()
    }
}

impl Distributor {
    /// Shares out among `writers`, as the table's `write.distribution-mode` says.
    ///
    /// # Errors
    /// As [`DistributionMode::of`] and [`TableWriter::new`](crate::TableWriter::new).
    pub fn new(table: &Table, writers: usize) -> Result<Self> {
        Self::of_mode(table, DistributionMode::of(table.metadata())?, writers)
    }

    /// Shares out among `writers` in one of the ways.
    ///
    /// # Errors
    /// As [`TableWriter::new`](crate::TableWriter::new).
    pub fn of_mode(table: &Table, mode: DistributionMode, writers: usize) -> Result<Self> {
        let metadata = table.metadata();
        let schema = metadata.current_schema();
        let splitter = || PartitionSplitter::new(metadata.default_partition_spec(), schema);
        let way = match mode {
            DistributionMode::None => Way::InTurn { next: 0 },
            DistributionMode::Hash => Way::Hash(splitter()?),
            DistributionMode::Range => {
                let keys = match SortKeys::of(metadata.default_sort_order(), schema)? {
                    Some(keys) => RangeKeys::Sorted(keys),
                    None => RangeKeys::Partitions(splitter()?),
                };
                Way::Range { keys, sample: Box::default() }
            }
        };
        Ok(Self { writers: writers.max(1), way })
    }

    /// Shares out among `writers` by key: all rows of one key go to one writer, whoever shares them out, for as long as
    /// there are as many writers.
    pub fn by_key(key: KeyColumns, writers: usize) -> Self {
        Self { writers: writers.max(1), way: Way::Key(Box::new(key)) }
    }

    /// The rows for each writer that gets some, by the writer's number; each in the order in which they came. The batch
    /// has the table's Arrow schema ([`TableWriter::schema`](crate::TableWriter::schema)).
    ///
    /// # Errors
    /// [`Error::Table`] or [`Error::Arrow`] for columns of other types than the table's; by key,
    /// [`Error::RequiredNull`] for a key that is null.
    pub fn distribute(&mut self, batch: RecordBatch) -> Result<Vec<(usize, RecordBatch)>> {
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        if self.writers == 1 {
            return Ok(vec![(0, batch)]);
        }
        let writer_of: Vec<usize> = match &mut self.way {
            Way::InTurn { next } => {
                let writer = *next;
                *next = (*next + 1) % self.writers;
                return Ok(vec![(writer, batch)]);
            }
            Way::Hash(splitter) => {
                let keys = splitter.keys(&batch)?;
                keys.iter().map(|key| murmur3(key.data()) as usize % self.writers).collect()
            }
            Way::Key(key) => {
                let keys = key.encode(&key.keys_of(&batch)?)?;
                keys.hashes(KEY_SEED).map(|hash| (hash % self.writers as u64) as usize).collect()
            }
            Way::Range { keys, sample } => {
                let keys = match keys {
                    RangeKeys::Sorted(keys) => keys.keys(&batch)?,
                    RangeKeys::Partitions(splitter) => splitter.keys(&batch)?,
                };
                sample.add(&keys, self.writers);
                keys.iter().map(|key| sample.bounds.partition_point(|bound| bound.row() <= key)).collect()
            }
        };
        share_out(&batch, &writer_of, self.writers)
    }
}

/// Every n-th key of all that were seen; n doubles when there are too many.
struct Sample {
    keys: Vec<OwnedRow>,
    every: usize,
    seen: usize,
    /// The rows at which the bounds are made anew.
    renew_at: usize,
    /// The first key of each range but the first.
    bounds: Vec<OwnedRow>,
}

impl Default for Sample {
    fn default() -> Self {
        Self { keys: Vec::new(), every: 1, seen: 0, renew_at: 1, bounds: Vec::new() }
    }
}

impl Sample {
    fn add(&mut self, keys: &Keys, writers: usize) {
        let first = self.seen.next_multiple_of(self.every) - self.seen;
        for row in (first..keys.num_rows()).step_by(self.every) {
            self.keys.push(keys.row(row).owned());
        }
        self.seen += keys.num_rows();
        while self.keys.len() > SAMPLE_KEYS {
            self.every *= 2;
            let mut keep = false;
            self.keys.retain(|_| {
                keep = !keep;
                keep
            });
        }
        if self.seen >= self.renew_at {
            self.renew_at = self.seen * 2;
            let mut sorted: Vec<_> = self.keys.iter().collect();
            sorted.sort_unstable();
            self.bounds = (1..writers).map(|range| sorted[range * sorted.len() / writers].clone()).collect();
            self.bounds.dedup();
        }
    }
}

/// The rows for each of `writers` that gets some, by the writer's number; `writer_of` has it for each row. They stay in
/// their order.
///
/// # Errors
/// [`Error::Arrow`] for more rows than a batch can have.
pub fn share_out(batch: &RecordBatch, writer_of: &[usize], writers: usize) -> Result<Vec<(usize, RecordBatch)>> {
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); writers];
    for (row, writer) in (0..).zip(writer_of) {
        rows[*writer].push(row);
    }
    let mut shares = Vec::new();
    for (writer, rows) in rows.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
        if rows.len() == batch.num_rows() {
            return Ok(vec![(writer, batch.clone())]);
        }
        let share = take_record_batch(batch, &UInt32Array::from(rows)).map_err(Error::arrow("sharing out rows"))?;
        shares.push((writer, share));
    }
    Ok(shares)
}

#[cfg(test)]
mod tests;
