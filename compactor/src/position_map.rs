//! Where the rows of a rewrite's inputs are in its outputs.
//!
//! A rewrite keeps order: the outputs, one behind the other, hold the inputs' rows, one input behind the other, without
//! those that deletes of the base took away. So the place of a row is told by a rank: row `p` of an input whose rows begin
//! at `b` is row `b + p - (rows before p that are gone)` of the outputs. What is kept for it is a compressed bitmap of the
//! rows that are gone: nothing where nothing was deleted, runs where runs were, and never more than about a bit for each
//! row.
//!
//! Rows that a rewrite puts in another order have a rank all the same: their place among those that were read. Where each rank
//! went is told by the writer, in a temporary file ([`RowPlaces`]).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use frazil_writer::RowPlaces;
use roaring::RoaringTreemap;

use crate::{InputFile, Result};

/// Where the rows of a rewrite's inputs are in its outputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PositionMap {
    /// In the order in which their rows were written.
    inputs: Vec<MappedInput>,
    /// Where the rows that were read went, by their ranks; `None`: they kept their order.
    places: Option<RowPlaces>,
}

#[derive(Clone, Debug, PartialEq)]
struct MappedInput {
    path: String,
    rows: u64,
    /// Rows that are in no output.
    gone: RoaringTreemap,
}

impl PositionMap {
    /// Of inputs whose rows were all written.
    pub fn of_copies(inputs: &[InputFile]) -> Self {
        let mut map = Self::default();
        for input in inputs {
            map.push(input.file.file_path(), input.file.record_count(), RoaringTreemap::new());
        }
        map
    }

    /// The next input, `rows` long, of which those `gone` were not written.
    pub fn push(&mut self, path: &str, rows: u64, mut gone: RoaringTreemap) {
        gone.remove_range(rows..);
        gone.optimize();
        self.inputs.push(MappedInput { path: path.to_owned(), rows, gone });
    }

    /// Rows of the inputs that are in no output.
    pub fn rows_gone(&self) -> u64 {
        self.inputs.iter().map(|input| input.gone.len()).sum()
    }

    /// Says that rows did not keep their order.
    pub fn reorder(&mut self, places: RowPlaces) {
        self.places = Some(places);
    }

    /// What is deleted of each output, if `deleted` is what was deleted of the inputs, by path. Rows that no output holds and
    /// places behind the end of an input name nothing.
    ///
    /// Cost: linear in the deleted rows, in the rows of the blocks of 65,536 that they lie in, and for each of these blocks
    /// in the blocks before it. Where rows were put in another order: 8 bytes of a temporary file for each of them.
    ///
    /// # Errors
    /// [`crate::Error::Writer`] if the temporary file can't be read.
    pub async fn rebase(
        &self,
        deleted: &HashMap<String, Arc<RoaringTreemap>>,
        outputs_rows: impl IntoIterator<Item = u64>,
    ) -> Result<Vec<RoaringTreemap>> {
        let ranks = self.ranks(deleted);
        let moved = match &self.places {
            Some(places) if !ranks.is_empty() => places.of_ranks(&ranks).await?,
            _ => ranks,
        };
        let mut begin = 0;
        let cut = outputs_rows.into_iter().map(|rows| {
            let range = begin..begin + rows;
            begin = range.end;
            slice(&moved, range)
        });
        Ok(cut.collect())
    }

    /// The places of deleted rows among those that were read and written.
    fn ranks(&self, deleted: &HashMap<String, Arc<RoaringTreemap>>) -> RoaringTreemap {
        let mut first = 0;
        let mut moved = RoaringTreemap::new();
        for input in &self.inputs {
            let left = first..first + (input.rows - input.gone.len());
            if let Some(deleted) = deleted.get(&input.path) {
                let end = moved.append(input.moved(deleted).map(|row| left.start + row));
                end.expect("each input's rows are behind those of the one before");
            }
            first = left.end;
        }
        moved
    }
}

/// Rows that share a container of a bitmap: their number is known without looking at each.
const BLOCK_BITS: u32 = 16;

impl MappedInput {
    /// Where rows are among those that are left of the file, in order.
    fn moved(&self, rows: &RoaringTreemap) -> impl Iterator<Item = u64> {
        let mut block = None;
        let mut gone_before = 0;
        let mut gone = self.gone.iter().peekable();
        rows.iter().take_while(|row| *row < self.rows).filter_map(move |row| {
            // Ranks from block to block, counting within one.
            if block.replace(row >> BLOCK_BITS) != Some(row >> BLOCK_BITS) {
                let begin = row >> BLOCK_BITS << BLOCK_BITS;
                gone_before = begin.checked_sub(1).map_or(0, |last| self.gone.rank(last));
                let mut here = self.gone.iter();
                here.advance_to(begin);
                gone = here.peekable();
            }
            while gone.next_if(|gone| *gone < row).is_some() {
                gone_before += 1;
            }
            (gone.peek() != Some(&row)).then(|| row - gone_before)
        })
    }
}

/// The part of a set that lies in a range, counted from its begin.
fn slice(rows: &RoaringTreemap, range: Range<u64>) -> RoaringTreemap {
    let mut here = rows.iter();
    here.advance_to(range.start);
    let here = here.take_while(|row| *row < range.end).map(|row| row - range.start);
    RoaringTreemap::from_sorted_iter(here).expect("a part of a sorted set is sorted")
}

#[cfg(test)]
mod tests;
