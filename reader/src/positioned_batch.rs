//! Rows with the place where reading goes on behind them.

use arrow::array::RecordBatch;

use crate::FileBatch;
use crate::kept_rows::KeptRows;
use crate::position::{Part, Position};

/// Some rows of a table's history, in its order.
#[derive(Clone, Debug)]
pub struct PositionedBatch {
    /// The rows.
    pub batch: RecordBatch,
    /// Where reading goes on after them.
    pub position: Position,
    rows: Rows,
}

/// A data file of an increment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlaceInFile {
    pub snapshot_id: i64,
    pub part: Part,
    pub file_index: u64,
}

/// Where each row of the batch is.
#[derive(Clone, Debug)]
enum Rows {
    File(PlaceInFile, KeptRows),
    /// Counted among the changes of a range.
    Changes {
        after: Option<i64>,
        to: i64,
        done: u64,
    },
}

impl PositionedBatch {
    pub(crate) fn of_file(rows: FileBatch, place: PlaceInFile) -> Self {
        let FileBatch { batch, next_row, kept } = rows;
        Self { batch, position: place.before(next_row), rows: Rows::File(place, kept) }
    }

    /// Changes from `after` to `to`, of which `done` rows come before these.
    pub(crate) fn of_changes(batch: RecordBatch, after: Option<i64>, to: i64, done: u64) -> Self {
        let position = Position::Changes { after, to, rows: done + batch.num_rows() as u64 };
        Self { batch, position, rows: Rows::Changes { after, to, done } }
    }

    /// The data file, if the rows are those of one.
    pub(crate) fn file(&self) -> Option<PlaceInFile> {
        match &self.rows {
            Rows::File(place, _) => Some(*place),
            Rows::Changes { .. } => None,
        }
    }

    /// The first `rows` and the others, each with its own position. Both share the batch's memory.
    ///
    /// # Panics
    /// If there are not more than `rows`.
    pub fn split_at(self, rows: usize) -> (Self, Self) {
        let (batch, all) = (&self.batch, self.batch.num_rows());
        assert!(rows < all, "a batch of {all} rows can't be split behind row {rows}");
        let (head, tail) = (batch.slice(0, rows), batch.slice(rows, all - rows));
        match self.rows {
            Rows::File(place, kept) => {
                let position = place.before(kept.row_after(rows));
                let rest = Rows::File(place, kept.behind(rows));
                let head = Self { batch: head, position, rows: Rows::File(place, kept) };
                (head, Self { batch: tail, position: self.position, rows: rest })
            }
            Rows::Changes { after, to, done } => {
                (Self::of_changes(head, after, to, done), Self::of_changes(tail, after, to, done + rows as u64))
            }
        }
    }
}

impl PlaceInFile {
    fn before(self, row: u64) -> Position {
        let Self { snapshot_id, part, file_index } = self;
        Position::Within { snapshot_id, part, file_index, row }
    }
}
