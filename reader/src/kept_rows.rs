//! Which rows of a file a batch holds, so that reading can go on behind any of them.

use arrow::buffer::BooleanBuffer;

/// The rows of a file that came out as a batch, after deletes and the condition. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct KeptRows {
    /// The file's row that the first bit is about.
    first_row: u64,
    /// A bit for each row that was read; `None`: all of them came out.
    keep: Option<BooleanBuffer>,
    /// Rows that came out and are not in the batch any more, since it was split.
    skipped: usize,
}

impl KeptRows {
    pub(crate) fn new(first_row: u64, keep: Option<BooleanBuffer>) -> Self {
        Self { first_row, keep, skipped: 0 }
    }

    /// Where reading goes on behind the first `rows` of the batch: the file's rows before this one are done.
    pub(crate) fn row_after(&self, rows: usize) -> u64 {
        let done = self.skipped + rows;
        let Some(last) = done.checked_sub(1) else { return self.first_row };
        let offset = match &self.keep {
            None => last,
            Some(keep) => keep.set_indices().nth(last).expect("a batch has a row for each bit that is set"),
        };
        self.first_row + offset as u64 + 1
    }

    /// The same of a batch without its first rows.
    pub(crate) fn behind(&self, rows: usize) -> Self {
        Self { skipped: self.skipped + rows, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_goes_on_right_behind_the_last_row_that_is_done() {
        let all = KeptRows::new(100, None);
        assert_eq!((all.row_after(0), all.row_after(3)), (100, 103));
        let keep = BooleanBuffer::from(vec![false, true, false, true, true, false]);
        let some = KeptRows::new(100, Some(keep));
        assert_eq!((some.row_after(1), some.row_after(2), some.row_after(3)), (102, 104, 105));
        let rest = some.behind(1);
        assert_eq!((rest.row_after(1), rest.row_after(2)), (104, 105));
    }
}
