//! How long snapshots are kept.

use crate::Table;

/// Which snapshots of a branch stay (Iceberg spec, "Snapshot Retention Policy").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A snapshot older than this may go.
    pub max_snapshot_age_ms: i64,
    /// So many of a branch's newest snapshots stay whatever their age.
    pub min_snapshots_to_keep: usize,
}

impl Retention {
    /// `history.expire.max-snapshot-age-ms` and `history.expire.min-snapshots-to-keep` of the table, else `default`.
    pub fn of(table: &Table, default: Self) -> Self {
        fn number<T: std::str::FromStr>(table: &Table, key: &str) -> Option<T> {
            table.property(key)?.parse().ok()
        }
        Self {
            max_snapshot_age_ms: number(table, "history.expire.max-snapshot-age-ms")
                .unwrap_or(default.max_snapshot_age_ms),
            min_snapshots_to_keep: number(table, "history.expire.min-snapshots-to-keep")
                .unwrap_or(default.min_snapshots_to_keep)
                .max(1),
        }
    }
}
