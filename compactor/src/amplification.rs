//! How often the bytes of a table were written.
//!
//! Each compaction leaves in its snapshot's summary what was written into the table up to then, so that the count outlives
//! snapshots that expire: the newest compaction's count, and what the snapshots after it say of themselves, is the count now.

use frazil_table::spec::{Operation, Snapshot};
use frazil_table::{OPERATION_ID, SnapshotProperties, Table};

use crate::past::key;

/// Bytes of files that were put into a table, by whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BytesWritten {
    /// By writers: new data and deletes.
    pub added: u64,
    /// In the place of other files with the same rows (`replace` snapshots, whoever made them).
    pub rewritten: u64,
}

const ADDED: &str = key!("total-added-bytes");
const REWRITTEN: &str = key!("total-rewritten-bytes");
/// The newest snapshot that a compaction's count includes, besides its own.
const COUNTED_TO: &str = key!("total-counted-to");

impl BytesWritten {
    /// What was written up to the newest snapshot of `main`: since the table was made, or where the beginning of its history
    /// expired before the first compaction, since then.
    ///
    /// Cost: a look at each snapshot since the last compaction.
    pub fn of(table: &Table) -> Self {
        let mut written = Self::default();
        let mut newest: Option<(i64, Option<&String>)> = None;
        for snapshot in table.ancestors("main") {
            let commit = snapshot.summary().additional_properties.get(OPERATION_ID);
            match newest {
                Some((counted_to, _)) if counted_to == snapshot.snapshot_id() => break,
                // Of one commit the newest snapshot counts the others.
                Some((_, of)) if of == commit && of.is_some() => {}
                None if let Some((total, counted_to)) = Self::left_by(snapshot) => {
                    written = written.plus(total);
                    newest = Some((counted_to, commit));
                }
                _ => written = written.plus(Self::by(snapshot)),
            }
        }
        written
    }

    /// How often each byte that writers added was written on average, themselves included; `None` if they added none.
    pub fn amplification(&self) -> Option<f64> {
        let all = self.added.saturating_add(self.rewritten);
        (self.added > 0).then(|| all as f64 / self.added as f64)
    }

    /// With so many bytes more by a compaction.
    pub(crate) fn after_rewrite(self, bytes: u64) -> Self {
        self.plus(Self { added: 0, rewritten: bytes })
    }

    /// What the compaction that makes the count up to `counted_to` its own says of it.
    pub(crate) fn properties(&self, counted_to: i64) -> SnapshotProperties {
        SnapshotProperties::from([
            (ADDED.to_owned(), self.added.to_string()),
            (REWRITTEN.to_owned(), self.rewritten.to_string()),
            (COUNTED_TO.to_owned(), counted_to.to_string()),
        ])
    }

    /// The count in a compaction's snapshot, and up to which snapshot it goes.
    pub(crate) fn left_by(snapshot: &Snapshot) -> Option<(Self, i64)> {
        let number = |key| snapshot.summary().additional_properties.get(key);
        let total = Self { added: number(ADDED)?.parse().ok()?, rewritten: number(REWRITTEN)?.parse().ok()? };
        Some((total, number(COUNTED_TO)?.parse().ok()?))
    }

    fn by(snapshot: &Snapshot) -> Self {
        let summary = snapshot.summary();
        let bytes = summary.additional_properties.get("added-files-size").and_then(|bytes| bytes.parse().ok());
        let bytes = bytes.unwrap_or(0);
        match summary.operation {
            Operation::Replace => Self { added: 0, rewritten: bytes },
            _ => Self { added: bytes, rewritten: 0 },
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            added: self.added.saturating_add(other.added),
            rewritten: self.rewritten.saturating_add(other.rewritten),
        }
    }
}

#[cfg(test)]
mod tests;
