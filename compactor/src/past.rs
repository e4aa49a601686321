//! What compactions of a table did, as their snapshots tell.

use frazil_table::Table;
use frazil_table::spec::Snapshot;

use crate::BytesWritten;
use crate::listing::GROUPS_PROPERTY;

/// A compaction that is in a table's history: one `replace` snapshot of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct PastCompaction {
    /// When it was committed, milliseconds since the Unix epoch.
    pub committed_at_ms: i64,
    /// The snapshot that it made.
    pub snapshot_id: i64,
    /// Why ([`crate::Reason::name`]), sorted and separated by commas.
    pub reasons: String,
    /// How ([`crate::RewriteKind::name`]), or how many groups how.
    pub kind: String,
    /// Groups of files that were rewritten.
    pub groups: u64,
    /// Data files that went.
    pub files_in: u64,
    /// Data files that came.
    pub files_out: u64,
    /// Bytes of the files that went.
    pub bytes_in: u64,
    /// Bytes of the files that came.
    pub bytes_out: u64,
    /// Rows that had been deleted and are in no file any more.
    pub rows_deleted: u64,
    /// Rows that were deleted while it ran, and are deleted of the files that came.
    pub rows_rebased: u64,
    /// What the rewrites of all groups took, added up.
    pub rewrite_ms: u64,
    /// What was written into the table up to then; `None` if it kept no count.
    pub written: Option<BytesWritten>,
}

/// A key of a compaction's snapshot.
macro_rules! key {
    ($name:literal) => {
        concat!("frazil.compaction.", $name)
    };
}
pub(crate) use key;

impl PastCompaction {
    /// All that snapshots of the table tell of, oldest first; on whatever branch they are.
    pub fn all(table: &Table) -> Vec<Self> {
        let mut all: Vec<Self> = table.metadata().snapshots().filter_map(|snapshot| Self::of(snapshot)).collect();
        all.sort_by_key(|one| (one.committed_at_ms, one.snapshot_id));
        all
    }

    /// `None`: no compaction of ours made it.
    pub fn of(snapshot: &Snapshot) -> Option<Self> {
        let summary = &snapshot.summary().additional_properties;
        let text = |key: &str| summary.get(key).cloned().unwrap_or_default();
        let number = |key: &str| summary.get(key).and_then(|value| value.parse().ok()).unwrap_or(0);
        summary.contains_key(GROUPS_PROPERTY).then(|| Self {
            committed_at_ms: snapshot.timestamp_ms(),
            snapshot_id: snapshot.snapshot_id(),
            reasons: text(key!("reason")),
            kind: text(key!("kind")),
            groups: number(GROUPS_PROPERTY),
            files_in: number(key!("files-in")),
            files_out: number("added-data-files"),
            bytes_in: number(key!("bytes-in")),
            bytes_out: number(key!("bytes-out")),
            rows_deleted: number(key!("rows-deleted")),
            rows_rebased: number(key!("rows-rebased")),
            rewrite_ms: number(key!("rewrite-ms")),
            written: BytesWritten::left_by(snapshot).map(|(written, _)| written),
        })
    }
}
