//! How large a batch becomes.

use std::num::NonZeroU64;

use arrow::array::{Array, RecordBatch};

use super::FeedBatch;
use crate::positioned_batch::PlaceInFile;
use crate::{Position, PositionedBatch};

/// Bytes of a batch, whatever is asked for: 64 MiB.
pub const FEED_BATCH_BYTES_MAX: u64 = 64 << 20;

/// The most that a batch holds. Without any limit a batch is what is read at one go, some thousand rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchLimits {
    /// Rows.
    pub rows: Option<NonZeroU64>,
    /// Bytes of the rows in Arrow's form; one row that is larger comes alone. At most [`FEED_BATCH_BYTES_MAX`].
    pub bytes: Option<NonZeroU64>,
    /// Data files that rows come from. Changes are not counted by it.
    pub files: Option<NonZeroU64>,
}

impl BatchLimits {
    fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// A batch that is being made.
#[derive(Debug)]
pub(super) struct Gathering {
    limits: BatchLimits,
    batches: Vec<RecordBatch>,
    position: Option<Position>,
    rows: u64,
    bytes: u64,
    files: u64,
    file: Option<PlaceInFile>,
}

impl Gathering {
    pub(super) fn new(limits: BatchLimits) -> Self {
        Self { limits, batches: Vec::new(), position: None, rows: 0, bytes: 0, files: 0, file: None }
    }

    /// Takes what fits of some rows and returns the others.
    pub(super) fn add(&mut self, rows: PositionedBatch) -> Option<PositionedBatch> {
        let is_new_file = rows.file().is_some() && rows.file() != self.file;
        if is_new_file && self.limits.files.is_some_and(|max| self.files >= max.get()) {
            return Some(rows);
        }
        let fits = self.fitting(&rows.batch);
        let (head, rest) = match fits {
            0 => return Some(rows),
            fits if fits < rows.batch.num_rows() => {
                let (head, rest) = rows.split_at(fits);
                (head, Some(rest))
            }
            _ => (rows, None),
        };
        self.files += u64::from(is_new_file);
        self.file = head.file();
        self.rows += head.batch.num_rows() as u64;
        self.bytes += size_bytes(&head.batch);
        self.position = Some(head.position);
        self.batches.push(head.batch);
        rest
    }

    /// How many of the rows fit; at least one into an empty batch.
    fn fitting(&self, batch: &RecordBatch) -> usize {
        let by_rows = self.limits.rows.map_or(u64::MAX, |max| max.get().saturating_sub(self.rows));
        let most = usize::try_from(by_rows).unwrap_or(usize::MAX).min(batch.num_rows());
        let bytes_max = self.limits.bytes.map_or(FEED_BATCH_BYTES_MAX, |max| max.get().min(FEED_BATCH_BYTES_MAX));
        let room = bytes_max.saturating_sub(self.bytes);
        if size_bytes(&batch.slice(0, most)) <= room {
            return most;
        }
        // The size grows with the rows: the last count that fits.
        let (mut fits, mut too_many) = (0, most);
        while fits + 1 < too_many {
            let middle = usize::midpoint(fits, too_many);
            match size_bytes(&batch.slice(0, middle)) <= room {
                true => fits = middle,
                false => too_many = middle,
            }
        }
        if self.batches.is_empty() { fits.max(1) } else { fits }
    }

    /// Whether nothing more may come to it.
    pub(super) fn is_full(&self) -> bool {
        let reached = |limit: Option<NonZeroU64>, count: u64| limit.is_some_and(|max| count >= max.get());
        self.limits.is_unlimited()
            || reached(self.limits.rows, self.rows)
            || reached(self.limits.bytes, self.bytes)
            || self.bytes >= FEED_BATCH_BYTES_MAX
    }

    /// The batch, if there are rows in it; then the next one begins.
    pub(super) fn take(&mut self) -> Option<FeedBatch> {
        let position = self.position.take()?;
        let done = std::mem::replace(self, Self::new(self.limits));
        Some(FeedBatch { batches: done.batches, position })
    }
}

/// Bytes of the rows themselves, not of buffers that they share with others.
fn size_bytes(batch: &RecordBatch) -> u64 {
    let of_column = |column: &arrow::array::ArrayRef| {
        let data = column.to_data();
        data.get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()) as u64
    };
    batch.columns().iter().map(of_column).sum()
}
