//! How far a follower of a table has come, and where one begins.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place in a table's history of rows. Serialises, and means the same in another process and at another time.
///
/// As text it is `beginning`, `after:SNAPSHOT`, `table:SNAPSHOT:FILE:ROW`, `added:SNAPSHOT:FILE:ROW` or
/// `changes:AFTER:SNAPSHOT:ROWS`, where `AFTER` is `-` if the snapshot is told whole.
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
    /// In the changes that a range of snapshots comes to, as one form and one condition tell them.
    Changes {
        /// The snapshot before the range; `None`: everything that is live at `to` is told.
        after: Option<i64>,
        /// The last snapshot of the range.
        to: i64,
        /// So many changes of the range are done.
        rows: u64,
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
    /// The oldest snapshot that is needed to go on; `None` before the first. As long as it is retained, and all that come
    /// after it, reading can go on.
    pub fn snapshot_id(&self) -> Option<i64> {
        match self {
            Self::Beginning => None,
            Self::Changes { after, to, .. } => Some(after.unwrap_or(*to)),
            Self::Within { snapshot_id, .. } | Self::After { snapshot_id } => Some(*snapshot_id),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("beginning"),
            Self::After { snapshot_id } => write!(f, "after:{snapshot_id}"),
            Self::Within { snapshot_id, part, file_index, row } => {
                let part = if *part == Part::Table { "table" } else { "added" };
                write!(f, "{part}:{snapshot_id}:{file_index}:{row}")
            }
            Self::Changes { after: Some(after), to, rows } => write!(f, "changes:{after}:{to}:{rows}"),
            Self::Changes { after: None, to, rows } => write!(f, "changes:-:{to}:{rows}"),
        }
    }
}

/// The error says what a position looks like.
impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_position(text).ok_or_else(|| {
            format!("{text:?} is no position: give one as it came with a batch, such as after:123 or added:123:0:4096")
        })
    }
}

fn parse_position(text: &str) -> Option<Position> {
    let id = |text: &str| text.parse::<i64>().ok();
    let count = |text: &str| text.parse::<u64>().ok();
    let parts: Vec<&str> = text.split(':').collect();
    Some(match parts.as_slice() {
        ["beginning"] => Position::Beginning,
        ["after", snapshot] => Position::After { snapshot_id: id(snapshot)? },
        [part @ ("table" | "added"), snapshot, file, row] => Position::Within {
            snapshot_id: id(snapshot)?,
            part: if *part == "table" { Part::Table } else { Part::Added },
            file_index: count(file)?,
            row: count(row)?,
        },
        ["changes", "-", to, rows] => Position::Changes { after: None, to: id(to)?, rows: count(rows)? },
        ["changes", after, to, rows] => Position::Changes { after: Some(id(after)?), to: id(to)?, rows: count(rows)? },
        _ => return None,
    })
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

/// `earliest`, `latest`, `snapshot:ID`, `after:ID`, `timestamp:MS`, `tag:NAME`, `position:…` (see [`Position`]). The error
/// lists them.
impl FromStr for StartPosition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |what: &str, value: &str| {
            value.parse::<i64>().map_err(|_| format!("{what} in {text:?} must be a whole number"))
        };
        Ok(match text.split_once(':') {
            None if text == "earliest" => Self::Earliest,
            None if text == "latest" => Self::Latest,
            Some(("snapshot", id)) => Self::Snapshot(number("the snapshot id", id)?),
            Some(("after", id)) => Self::After(number("the snapshot id", id)?),
            Some(("timestamp", ms)) => Self::Timestamp(number("the milliseconds", ms)?),
            Some(("tag", name)) => Self::Tag(name.to_owned()),
            Some(("position", position)) => Self::Position(position.parse()?),
            _ => {
                return Err("use earliest, latest, snapshot:ID, after:ID, timestamp:MILLISECONDS, tag:NAME or \
                            position:POSITION"
                    .to_owned());
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_the_same_after_its_text_and_its_json() {
        let within = |part| Position::Within { snapshot_id: 7, part, file_index: 2, row: 4096 };
        let positions = [
            (Position::Beginning, "beginning"),
            (Position::After { snapshot_id: -3 }, "after:-3"),
            (within(Part::Table), "table:7:2:4096"),
            (within(Part::Added), "added:7:2:4096"),
            (Position::Changes { after: None, to: 9, rows: 1 }, "changes:-:9:1"),
            (Position::Changes { after: Some(8), to: 9, rows: 0 }, "changes:8:9:0"),
        ];
        for (position, text) in positions {
            assert_eq!(position.to_string(), text);
            assert_eq!(text.parse(), Ok(position));
            let consumer = frazil_catalog::Consumer {
                name: "c".to_owned(),
                epoch: 1,
                position: Some(text.to_owned()),
                seen_ms: 0,
                lease_ms: 0,
            };
            assert_eq!(consumer.needed_snapshot(), position.snapshot_id(), "what the catalog holds back for it");
            let json = serde_json::to_string(&position).unwrap();
            assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position, "{json}");
        }
        for wrong in ["", "after", "after:x", "after:1:2", "added:1:2", "added:1:-1:0", "changes:1:2", "nowhere:1"] {
            wrong.parse::<Position>().unwrap_err();
        }
    }

    #[test]
    fn a_start_is_read_as_it_is_typed() {
        let position = Position::After { snapshot_id: 5 };
        assert_eq!("position:after:5".parse(), Ok(StartPosition::Position(position)));
        assert_eq!("tag:a:b".parse(), Ok(StartPosition::Tag("a:b".to_owned())));
        assert_eq!("timestamp:12".parse(), Ok(StartPosition::Timestamp(12)));
        assert!("noon".parse::<StartPosition>().unwrap_err().contains("timestamp:MILLISECONDS"));
        assert!("snapshot:x".parse::<StartPosition>().unwrap_err().contains("whole number"));
    }
}
