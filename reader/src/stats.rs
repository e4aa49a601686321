//! What reading cost, by kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// What bytes were fetched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteKind {
    /// Column chunks of data files that were asked for.
    Leaf,
    /// Column chunks of delete files, and deletion vectors.
    Delete,
}

/// Running totals of a scan; clones share them.
#[derive(Clone, Debug, Default)]
pub struct ReadCounters(Arc<Totals>);

#[derive(Debug, Default)]
struct Totals {
    leaf_bytes: AtomicU64,
    gap_bytes: AtomicU64,
    footer_bytes: AtomicU64,
    index_bytes: AtomicU64,
    delete_bytes: AtomicU64,
    requests: AtomicU64,
    files: AtomicU64,
    row_groups_read: AtomicU64,
    row_groups_pruned: AtomicU64,
    rows_decoded: AtomicU64,
    rows_deleted: AtomicU64,
    rows_returned: AtomicU64,
}

/// What reading cost up to one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReadStats {
    /// Bytes of the column chunks that were asked for.
    pub leaf_bytes: u64,
    /// Bytes between them that were fetched along to save a request.
    pub gap_bytes: u64,
    /// Bytes of footers, with what was read too far.
    pub footer_bytes: u64,
    /// Bytes of page indexes and bloom filters.
    pub index_bytes: u64,
    /// Bytes of delete files and deletion vectors.
    pub delete_bytes: u64,
    /// Reads of one range each.
    pub requests: u64,
    /// Data files, or parts of them, that were opened.
    pub files: u64,
    /// Row groups that were read.
    pub row_groups_read: u64,
    /// Row groups that statistics ruled out.
    pub row_groups_pruned: u64,
    /// Rows that were decoded.
    pub rows_decoded: u64,
    /// Rows of them that deletes took away.
    pub rows_deleted: u64,
    /// Rows of them that were given out.
    pub rows_returned: u64,
}

impl ReadStats {
    /// All bytes that were fetched.
    pub fn bytes(&self) -> u64 {
        self.leaf_bytes + self.gap_bytes + self.footer_bytes + self.index_bytes + self.delete_bytes
    }
}

impl ReadCounters {
    /// The totals now.
    pub fn stats(&self) -> ReadStats {
        let totals = &self.0;
        ReadStats {
            leaf_bytes: totals.leaf_bytes.load(Relaxed),
            gap_bytes: totals.gap_bytes.load(Relaxed),
            footer_bytes: totals.footer_bytes.load(Relaxed),
            index_bytes: totals.index_bytes.load(Relaxed),
            delete_bytes: totals.delete_bytes.load(Relaxed),
            requests: totals.requests.load(Relaxed),
            files: totals.files.load(Relaxed),
            row_groups_read: totals.row_groups_read.load(Relaxed),
            row_groups_pruned: totals.row_groups_pruned.load(Relaxed),
            rows_decoded: totals.rows_decoded.load(Relaxed),
            rows_deleted: totals.rows_deleted.load(Relaxed),
            rows_returned: totals.rows_returned.load(Relaxed),
        }
    }

    pub(crate) fn fetched(&self, kind: ByteKind, bytes: u64, gap_bytes: u64, requests: u64) {
        match kind {
            ByteKind::Leaf => self.0.leaf_bytes.fetch_add(bytes, Relaxed),
            ByteKind::Delete => self.0.delete_bytes.fetch_add(bytes, Relaxed),
        };
        self.0.gap_bytes.fetch_add(gap_bytes, Relaxed);
        self.0.requests.fetch_add(requests, Relaxed);
    }

    pub(crate) fn footer(&self, kind: ByteKind, bytes: u64) {
        match kind {
            ByteKind::Leaf => self.0.footer_bytes.fetch_add(bytes, Relaxed),
            ByteKind::Delete => self.0.delete_bytes.fetch_add(bytes, Relaxed),
        };
        self.0.requests.fetch_add(1, Relaxed);
    }

    pub(crate) fn file(&self, row_groups_read: u64, row_groups_pruned: u64) {
        self.0.files.fetch_add(1, Relaxed);
        self.0.row_groups_read.fetch_add(row_groups_read, Relaxed);
        self.0.row_groups_pruned.fetch_add(row_groups_pruned, Relaxed);
    }

    pub(crate) fn rows(&self, decoded: u64, deleted: u64, returned: u64) {
        self.0.rows_decoded.fetch_add(decoded, Relaxed);
        self.0.rows_deleted.fetch_add(deleted, Relaxed);
        self.0.rows_returned.fetch_add(returned, Relaxed);
    }
}
