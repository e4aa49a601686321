//! Rows of several batches that are put together a column at a time, when the column is encoded.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat, interleave, take};
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
    /// The rows of these numbers, counted over all batches.
    Numbers(UInt32Array, Arc<Wholes>),
}

/// Each column of some batches in one piece, once it was asked for. Many parts of the same batches share it: to gather rows
/// from one array takes half as long as from many.
#[derive(Debug)]
struct Wholes(Box<[OnceLock<ArrayRef>]>);

impl Wholes {
    fn column(&self, batches: &[RecordBatch], index: usize) -> Result<ArrayRef, ArrowError> {
        if let Some(whole) = self.0[index].get() {
            return Ok(whole.clone());
        }
        let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(index).as_ref()).collect();
        let whole = concat(&arrays)?;
        // Another thread may have been first.
        Ok(self.0[index].get_or_init(|| whole).clone())
    }
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

    /// For each list of numbers the rows that have them, counted over all batches.
    pub fn split(&self, parts: Vec<Vec<u32>>) -> Vec<Self> {
        let columns = self.batches.first().map_or(0, RecordBatch::num_columns);
        let wholes = Arc::new(Wholes((0..columns).map(|_| OnceLock::new()).collect()));
        let part = |numbers: Vec<u32>| Self {
            batches: self.batches.clone(),
            which: Which::Numbers(numbers.into(), Arc::clone(&wholes)),
            row_bytes: self.row_bytes,
        };
        parts.into_iter().map(part).collect()
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
            Which::Numbers(numbers, _) => {
                let mut starts = vec![0];
                for batch in self.batches.iter() {
                    starts.push(starts[starts.len() - 1] + batch.num_rows());
                }
                let pick = |number: &u32| {
                    let number = *number as usize;
                    // Behind batches without rows there is one that begins at the same number.
                    let batch = starts.partition_point(|start| *start <= number) - 1;
                    (batch, number - starts[batch])
                };
                numbers.values().iter().map(pick).collect()
            }
        }
    }

    pub fn len(&self) -> usize {
        match &self.which {
            Which::Range(range) | Which::Picks(_, range) => range.len(),
            Which::Numbers(numbers, _) => numbers.len(),
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
        match (&mut self.which, &mut front.which) {
            (Which::Range(mine), Which::Range(its)) | (Which::Picks(_, mine), Which::Picks(_, its)) => {
                let at = mine.start + count.min(mine.len());
                its.end = at;
                mine.start = at;
            }
            (Which::Numbers(mine, _), Which::Numbers(its, _)) => {
                let at = count.min(mine.len());
                *its = mine.slice(0, at);
                *mine = mine.slice(at, mine.len() - at);
            }
            _ => unreachable!("a clone is of the same kind"),
        }
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
            Which::Numbers(numbers, wholes) => {
                if let Some(runs) = ranges(numbers.values()) {
                    return Ok(runs.iter().flat_map(|run| self.shown(run, index)).collect());
                }
                let whole = wholes.column(&self.batches, index)?;
                let starts = (0..numbers.len()).step_by(GATHER_ROWS);
                let chunk = |start| numbers.slice(start, GATHER_ROWS.min(numbers.len() - start));
                starts.map(|start| take(&whole, &chunk(start), None)).collect()
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

/// Where the items of each run are, if they are a few runs in which each item follows the one before: rows that came
/// clustered need not be put together.
fn runs<T: Copy>(items: &[T], follows: impl Fn(T, T) -> bool) -> Option<Vec<Range<usize>>> {
    let runs_max = items.len() / ROWS_MIN + 1;
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        if let Some(run) = runs.last_mut()
            && follows(items[at - 1], *item)
        {
            run.end += 1;
        } else if runs.len() == runs_max {
            return None;
        } else {
            runs.push(at..at + 1);
        }
    }
    Some(runs)
}

/// The picks as a few ranges of rows, if that is what they are.
fn contiguous(picks: &[Pick]) -> Option<Vec<(usize, Range<usize>)>> {
    let runs = runs(picks, |(batch, row), (next_batch, next_row)| batch == next_batch && row + 1 == next_row)?;
    let rows = |run: Range<usize>| {
        let (batch, row) = picks[run.start];
        (batch, row..row + run.len())
    };
    Some(runs.into_iter().map(rows).collect())
}

/// As [`contiguous`], of numbers.
fn ranges(numbers: &[u32]) -> Option<Vec<Range<usize>>> {
    let runs = runs(numbers, |number, next| number.checked_add(1) == Some(next))?;
    let rows = |run: Range<usize>| numbers[run.start] as usize..numbers[run.start] as usize + run.len();
    Some(runs.into_iter().map(rows).collect())
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

    #[test]
    fn parts_have_the_rows_of_their_numbers() {
        let all = Rows::all(batches());
        let mut parts = all.split(vec![vec![0, 3, 6], vec![1, 2, 4, 5]]);
        assert_eq!(parts.iter().map(values).collect::<Vec<_>>(), [vec![0, 3, 6], vec![1, 2, 4, 5]]);
        assert_eq!(parts[0].picks(), [(0, 0), (2, 0), (2, 3)]);
        let front = parts[1].split_to(3);
        assert_eq!((values(&front), values(&parts[1]), parts[1].len()), (vec![1, 2, 4], vec![5], 1));
    }

    #[test]
    fn numbers_that_are_scattered_are_gathered_in_order() {
        let batch = |first: i32| -> RecordBatch {
            let column: ArrayRef = Arc::new(Int32Array::from_iter_values(first..first + 5_000));
            RecordBatch::try_from_iter([("a", column)]).unwrap()
        };
        let all = Rows::all([batch(0), batch(5_000)]);
        let odd = |number: &u32| number % 2 == 1;
        let parts = all.split(vec![(0..10_000).filter(odd).collect(), (2_000..9_000).collect()]);
        assert_eq!(values(&parts[0]), (0..10_000).filter(|n| n % 2 == 1).collect::<Vec<i32>>());
        assert_eq!(values(&parts[1]), (2_000..9_000).collect::<Vec<i32>>());
        assert_eq!(parts[1].column(0).unwrap().len(), 2, "slices of the batches, not a copy");
    }
}
