//! Rows of several batches that are put together a column at a time, when the column is encoded.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{concat, interleave};
use arrow::error::ArrowError;

use crate::memory::batch_bytes;

/// A row: which batch, which of its rows.
pub(crate) type Pick = (usize, usize);

/// Some rows of some batches, in an order. Cheap to clone; the batches are shared.
#[derive(Clone)]
pub(crate) struct Rows {
    batches: Arc<[RecordBatch]>,
    which: Which,
    row_bytes: f64,
}

#[derive(Clone)]
enum Which {
    /// A range of the rows as they follow each other in the batches.
    Range(Range<usize>),
    /// A range of these.
    Picks(Arc<[Pick]>, Range<usize>),
}

/// Columns of batches with fewer rows than this are put together first: each call of an encoder has a cost of its own.
const ROWS_MIN: usize = 1024;

/// At most so many rows of a column are put together at a time, so that they are still in the caches when they are
/// encoded.
const GATHER_ROWS: usize = 64 << 10;

impl Rows {
    /// All rows of the batches.
    pub fn all(batches: impl Into<Arc<[RecordBatch]>>) -> Self {
        let batches = batches.into();
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let bytes: usize = batches.iter().map(batch_bytes).sum();
        Self { batches, which: Which::Range(0..rows), row_bytes: bytes as f64 / rows.max(1) as f64 }
    }

    /// All rows of slices of larger batches, whose rows take about `row_bytes` each.
    pub fn slices(batches: Vec<RecordBatch>, row_bytes: f64) -> Self {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        Self { batches: batches.into(), which: Which::Range(0..rows), row_bytes }
    }

    /// Rows of the same batches, in the order of `picks`.
    pub fn pick(&self, picks: impl Into<Arc<[Pick]>>) -> Self {
        let picks = picks.into();
        let range = 0..picks.len();
        Self { batches: self.batches.clone(), which: Which::Picks(picks, range), row_bytes: self.row_bytes }
    }

    /// The batches that the rows are in.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// Its rows one by one.
    pub fn picks(&self) -> Vec<Pick> {
        match &self.which {
            Which::Picks(picks, range) => picks[range.clone()].to_vec(),
            Which::Range(range) => {
                let all = self.batches.iter().enumerate();
                let all = all.flat_map(|(batch, rows)| (0..rows.num_rows()).map(move |row| (batch, row)));
                all.skip(range.start).take(range.len()).collect()
            }
        }
    }

    pub fn len(&self) -> usize {
        match &self.which {
            Which::Range(range) | Which::Picks(_, range) => range.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes of memory a row takes.
    pub fn row_bytes(&self) -> f64 {
        self.row_bytes
    }

    /// About how many bytes of memory the rows take.
    pub fn bytes(&self) -> usize {
        (self.row_bytes * self.len() as f64) as usize
    }

    /// Takes the first `count` rows off.
    pub fn split_to(&mut self, count: usize) -> Self {
        let mut front = self.clone();
        let ((Which::Range(mine), Which::Range(its)) | (Which::Picks(_, mine), Which::Picks(_, its))) =
            (&mut self.which, &mut front.which)
        else {
            unreachable!("a clone is of the same kind")
        };
        let at = mine.start + count.min(mine.len());
        its.end = at;
        mine.start = at;
        front
    }

    /// One column, in pieces that follow each other.
    pub fn column(&self, index: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        match &self.which {
            Which::Picks(picks, range) => {
                if let Some(runs) = contiguous(&picks[range.clone()]) {
                    let slice = |(batch, rows): (usize, Range<usize>)| {
                        self.batches[batch].column(index).slice(rows.start, rows.len())
                    };
                    return Ok(runs.into_iter().map(slice).collect());
                }
                let arrays: Vec<&dyn Array> = self.batches.iter().map(|batch| batch.column(index).as_ref()).collect();
                picks[range.clone()].chunks(GATHER_ROWS).map(|picks| interleave(&arrays, picks)).collect()
            }
            Which::Range(range) => {
                let arrays = self.shown(range, index);
                if arrays.len() > 1 && range.len() / arrays.len() < ROWS_MIN {
                    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
                    return Ok(vec![concat(&arrays)?]);
                }
                Ok(arrays)
            }
        }
    }

    /// One column in one piece.
    pub fn whole_column(&self, index: usize) -> Result<ArrayRef, ArrowError> {
        let mut parts = self.column(index)?;
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        concat(&parts)
    }

    fn shown(&self, range: &Range<usize>, index: usize) -> Vec<ArrayRef> {
        let mut slices = Vec::new();
        let mut start = 0;
        for batch in self.batches.iter() {
            let end = start + batch.num_rows();
            let (from, to) = (range.start.clamp(start, end), range.end.clamp(start, end));
            if from < to {
                slices.push(batch.column(index).slice(from - start, to - from));
            }
            start = end;
        }
        slices
    }
}

/// The picks as a few ranges of rows, if that is what they are: rows that came clustered need not be put together.
fn contiguous(picks: &[Pick]) -> Option<Vec<(usize, Range<usize>)>> {
    let runs_max = picks.len() / ROWS_MIN + 1;
    let mut runs: Vec<(usize, Range<usize>)> = Vec::new();
    for (batch, row) in picks {
        if let Some((last, rows)) = runs.last_mut()
            && last == batch
            && rows.end == *row
        {
            rows.end += 1;
        } else if runs.len() == runs_max {
            return None;
        } else {
            runs.push((*batch, *row..*row + 1));
        }
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;
    use arrow::array::cast::AsArray;
    use arrow::datatypes::Int32Type;

    use super::*;

    fn batches() -> Arc<[RecordBatch]> {
        [0..3, 3..3, 3..7]
            .map(|range| {
                let column: ArrayRef = Arc::new(Int32Array::from_iter_values(range));
                RecordBatch::try_from_iter([("a", column)]).unwrap()
            })
            .into()
    }

    fn values(rows: &Rows) -> Vec<i32> {
        let parts = rows.column(0).unwrap();
        parts.iter().flat_map(|part| part.as_primitive::<Int32Type>().values().to_vec()).collect()
    }

    #[test]
    fn a_range_is_taken_apart_across_batches() {
        let mut rows = Rows::all(batches());
        let front = rows.split_to(4);
        assert_eq!((values(&front), values(&rows)), (vec![0, 1, 2, 3], vec![4, 5, 6]));
        assert_eq!(rows.split_to(9).len(), 3);
        assert!(rows.is_empty());
        assert_eq!(front.picks(), [(0, 0), (0, 1), (0, 2), (2, 0)]);
    }

    #[test]
    fn picks_that_follow_each_other_are_ranges() {
        let picks: Vec<Pick> = (0..2000).map(|row| (row / 1500, row % 1500)).collect();
        assert_eq!(contiguous(&picks), Some(vec![(0, 0..1500), (1, 0..500)]));
        let picks: Vec<Pick> = (0..2000).map(|row| (0, row / 2)).collect();
        assert_eq!(contiguous(&picks), None);
    }

    #[test]
    fn picks_keep_their_order() {
        let mut rows = Rows::all(batches()).pick(vec![(2, 3), (0, 0), (2, 0)]);
        assert_eq!(values(&rows), [6, 0, 3]);
        assert_eq!(values(&rows.split_to(1)), [6]);
        assert_eq!(rows.whole_column(0).unwrap().as_primitive::<Int32Type>().values(), &[0, 3]);
    }
}
