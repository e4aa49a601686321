//! Rows of several batches that are put together a column at a time, when the column is encoded.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{concat, interleave};
use arrow::error::ArrowError;

use crate::memory::batch_bytes;

/// A row: which batch, which of its rows.
pub(crate) type Pick = (usize, usize);

/// Rows of a batch that lie beside each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub batch: u32,
    pub rows: Range<u32>,
}

/// Some rows of some batches, in an order. Cheap to clone; the batches are shared.
#[derive(Clone)]
pub(crate) struct Rows {
    batches: Arc<[RecordBatch]>,
    which: Which,
    row_bytes: f64,
}

#[derive(Clone)]
enum Which {
    /// A range of the rows as they follow each other in these places.
    Places(Arc<[Place]>, Range<usize>),
    /// A range of these.
    Picks(Arc<[Pick]>, Range<usize>),
}

/// Pieces of a column with fewer rows than this are put together first: each call of an encoder has a cost of its own.
const ROWS_MIN: usize = 1024;

/// About so many rows of a column are put together at a time, so that they are still in the caches when they are
/// encoded.
const GATHER_ROWS: usize = 16 << 10;

impl Rows {
    /// All rows of the batches.
    pub fn all(batches: impl Into<Arc<[RecordBatch]>>) -> Self {
        let batches = batches.into();
        let row_bytes = row_bytes(&batches);
        Self { which: whole(&batches), batches, row_bytes }
    }

    /// All rows of slices of larger batches, whose rows take about `row_bytes` each.
    pub fn slices(batches: Vec<RecordBatch>, row_bytes: f64) -> Self {
        Self { which: whole(&batches), batches: batches.into(), row_bytes }
    }

    /// For each list of places the rows that are there.
    pub fn split(batches: Vec<RecordBatch>, parts: Vec<Vec<Place>>) -> Vec<Self> {
        let row_bytes = row_bytes(&batches);
        let batches: Arc<[RecordBatch]> = batches.into();
        let part = |places: Vec<Place>| Self { batches: batches.clone(), which: Which::of(places), row_bytes };
        parts.into_iter().map(part).collect()
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
            Which::Places(places, range) => {
                let rows = |(batch, rows): (usize, Range<usize>)| rows.map(move |row| (batch, row));
                shown(places, range).flat_map(rows).collect()
            }
        }
    }

    pub fn len(&self) -> usize {
        match &self.which {
            Which::Places(_, range) | Which::Picks(_, range) => range.len(),
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
        let (Which::Places(_, mine) | Which::Picks(_, mine)) = &mut self.which;
        let (Which::Places(_, its) | Which::Picks(_, its)) = &mut front.which;
        let at = mine.start + count.min(mine.len());
        its.end = at;
        mine.start = at;
        front
    }

    /// One column, in pieces that follow each other.
    pub fn column(&self, index: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        let slice =
            |(batch, rows): (usize, Range<usize>)| self.batches[batch].column(index).slice(rows.start, rows.len());
        match &self.which {
            Which::Picks(picks, range) => {
                if let Some(runs) = contiguous(&picks[range.clone()]) {
                    return Ok(runs.into_iter().map(slice).collect());
                }
                let arrays: Vec<&dyn Array> = self.batches.iter().map(|batch| batch.column(index).as_ref()).collect();
                picks[range.clone()].chunks(GATHER_ROWS).map(|picks| interleave(&arrays, picks)).collect()
            }
            Which::Places(places, range) => {
                let pieces: Vec<ArrayRef> = shown(places, range).map(slice).collect();
                match pieces.len() > 1 && range.len() / pieces.len() < ROWS_MIN {
                    true => together(&pieces),
                    false => Ok(pieces),
                }
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
}

impl Which {
    fn of(places: Vec<Place>) -> Self {
        let rows = places.iter().map(|place| place.rows.len()).sum();
        Self::Places(places.into(), 0..rows)
    }
}

fn whole(batches: &[RecordBatch]) -> Which {
    let places = (0..).zip(batches).map(|(batch, rows)| Place { batch, rows: 0..rows.num_rows() as u32 });
    Which::of(places.collect())
}

fn row_bytes(batches: &[RecordBatch]) -> f64 {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let bytes: usize = batches.iter().map(batch_bytes).sum();
    bytes as f64 / rows.max(1) as f64
}

/// The rows of a range, as they follow each other in the places: for each place the batch and which of its rows.
fn shown<'a>(places: &'a [Place], range: &Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> + use<'a> {
    let (range, mut end) = (range.clone(), 0);
    places.iter().filter_map(move |place| {
        let start = end;
        end += place.rows.len();
        let (from, to) = (range.start.clamp(start, end), range.end.clamp(start, end));
        let row = |at: usize| place.rows.start as usize + at - start;
        (from < to).then(|| (place.batch as usize, row(from)..row(to)))
    })
}

/// The pieces, as many in one as have about the rows that are gathered at a time.
fn together(pieces: &[ArrayRef]) -> Result<Vec<ArrayRef>, ArrowError> {
    let (mut joined, mut group, mut rows) = (Vec::new(), Vec::new(), 0);
    for (at, piece) in (1..).zip(pieces) {
        group.push(piece.as_ref());
        rows += piece.len();
        if rows >= GATHER_ROWS || at == pieces.len() {
            joined.push(concat(&group)?);
            group.clear();
            rows = 0;
        }
    }
    Ok(joined)
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
            runs.push((*batch, *row..row + 1));
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

    fn place(batch: u32, rows: Range<u32>) -> Place {
        Place { batch, rows }
    }

    #[test]
    fn parts_have_the_rows_of_their_places() {
        let places = vec![vec![place(0, 0..1), place(2, 0..1), place(2, 3..4)], vec![place(0, 1..3), place(2, 1..3)]];
        let mut parts = Rows::split(batches().to_vec(), places);
        assert_eq!(parts.iter().map(values).collect::<Vec<_>>(), [vec![0, 3, 6], vec![1, 2, 4, 5]]);
        assert_eq!(parts[0].picks(), [(0, 0), (2, 0), (2, 3)]);
        let front = parts[1].split_to(3);
        assert_eq!((values(&front), values(&parts[1]), parts[1].len()), (vec![1, 2, 4], vec![5], 1));
        assert_eq!((front.picks(), parts[1].picks()), (vec![(0, 1), (0, 2), (2, 1)], vec![(2, 2)]));
    }

    #[test]
    fn small_pieces_are_put_together_and_large_ones_are_not_copied() {
        let batch = |first: i32, rows: i32| -> RecordBatch {
            let column: ArrayRef = Arc::new(Int32Array::from_iter_values(first..first + rows));
            RecordBatch::try_from_iter([("a", column)]).unwrap()
        };
        let small = Rows::all((0..100).map(|n| batch(n * 500, 500)).collect::<Vec<_>>());
        let sizes: Vec<usize> = small.column(0).unwrap().iter().map(|piece| piece.len()).collect();
        assert_eq!(sizes, [16_500, 16_500, 16_500, 500]);
        assert_eq!(values(&small), (0..50_000).collect::<Vec<i32>>());
        let large = Rows::split(
            vec![batch(0, 5_000), batch(5_000, 5_000)],
            vec![vec![place(0, 2_000..5_000), place(1, 0..4_000)]],
        );
        assert_eq!(large[0].column(0).unwrap().len(), 2);
        assert_eq!(values(&large[0]), (2_000..9_000).collect::<Vec<i32>>());
    }
}
