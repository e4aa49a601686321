//! The bytes that a writer holds, counted where they are held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arrow::array::{Array, RecordBatch};

/// Counts what its reservations hold. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryPool(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    used: AtomicUsize,
    peak: AtomicUsize,
}

impl MemoryPool {
    pub fn used_bytes(&self) -> usize {
        self.0.used.load(Relaxed)
    }

    /// The most there was at a time.
    pub fn peak_bytes(&self) -> usize {
        self.0.peak.load(Relaxed)
    }

    pub fn reserve(&self, bytes: usize) -> Reservation {
        let mut reservation = Reservation { pool: self.clone(), bytes: 0 };
        reservation.set(bytes);
        reservation
    }
}

/// Bytes that somebody holds; counted until dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    pool: MemoryPool,
    bytes: usize,
}

impl Reservation {
    pub fn set(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            let more = bytes - self.bytes;
            let used = self.pool.0.used.fetch_add(more, Relaxed) + more;
            self.pool.0.peak.fetch_max(used, Relaxed);
        } else {
            self.pool.0.used.fetch_sub(self.bytes - bytes, Relaxed);
        }
        self.bytes = bytes;
    }

    pub fn grow(&mut self, bytes: usize) {
        self.set(self.bytes + bytes);
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The memory that a batch keeps from being freed.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.get_array_memory_size()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_until_it_is_dropped() {
        let pool = MemoryPool::default();
        let mut first = pool.reserve(10);
        first.grow(5);
        let second = pool.reserve(7);
        assert_eq!((pool.used_bytes(), first.bytes()), (22, 15));
        drop(first);
        assert_eq!(pool.used_bytes(), 7);
        drop(second);
        assert_eq!((pool.used_bytes(), pool.peak_bytes()), (0, 22));
    }
}
