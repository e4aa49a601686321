//! How far a follower of a table has come.

use serde::{Deserialize, Serialize};

/// A place in a table's history of appended rows. Serialises, and means the same in another process and at another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Position {
    /// Before the table's first snapshot.
    Beginning,
    /// In a snapshot: its files before `file_index` are done, and the rows of that file before `row`.
    Within {
        /// The snapshot.
        snapshot_id: i64,
        /// Which of its files are counted.
        part: Part,
        /// A place among those files in order of their paths.
        file_index: u64,
        /// A row of that file, counted from 0, deleted ones too.
        row: u64,
    },
    /// A snapshot is done, with all before it.
    After {
        /// The snapshot.
        snapshot_id: i64,
    },
}

/// Which files of a snapshot an increment is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// All that are live at it: the table whole.
    Table,
    /// Those that it added.
    Added,
}

impl Position {
    /// The snapshot; `None` before the first. As long as it is retained, and all that come after it, reading can go on.
    pub fn snapshot_id(&self) -> Option<i64> {
        match self {
            Self::Beginning => None,
            Self::Within { snapshot_id, .. } | Self::After { snapshot_id } => Some(*snapshot_id),
        }
    }
}

/// Where a follower begins that has no position yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartPosition {
    /// The whole table at the oldest retained snapshot of the history, then increments.
    Earliest,
    /// What is committed from now on.
    Latest,
    /// The whole table as it is now, then increments.
    TableScanThenIncremental,
    /// What this snapshot added, and all after it.
    Snapshot(i64),
    /// All after this snapshot.
    After(i64),
    /// All snapshots that were committed at or after a moment, milliseconds since the Unix epoch.
    Timestamp(i64),
    /// What the snapshot of a tag added, and all after it.
    Tag(String),
    /// Where another follower of the same table stopped.
    Position(Position),
}
