//! Rows that could not be read or computed, with the records that they came from.
//!
//! With `'on-error' = 'dead-letter'` a bad record does not stop a job and is not lost: it goes, with the reason and its
//! place, into the table `<target>__dlq`, in the same commit as the good rows around it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use frazil_table::arrow::UTC;

/// What stands behind a target's name in that of its dead-letter table.
pub const DEAD_LETTER_SUFFIX: &str = "__dlq";

/// A record that was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// What is wrong with it.
    pub reason: String,
    /// The path of the field; none when the record as a whole is wrong.
    pub field: Option<String>,
    /// The record as it was read.
    pub raw: Vec<u8>,
    /// Where it stands in its split.
    pub origin: Origin,
}

/// Where a record stands in its split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Of a record in a partition, or of its first byte in a file.
    pub offset: i64,
    /// In a file, from 1.
    pub line: Option<i64>,
}

/// Records in the order of the rows that they became.
#[derive(Clone, Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
    /// Where each record ends in the bytes.
    ends: Vec<usize>,
    origins: Vec<Origin>,
}

impl Records {
    /// Adds the record of the next row.
    pub(crate) fn push(&mut self, record: &[u8], origin: Origin) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
        self.origins.push(origin);
    }

    /// The record of a row, put aside.
    pub(crate) fn put_aside(&self, row: usize, reason: String, field: Option<String>) -> DeadLetter {
        let begin = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        let raw = self.bytes[begin..self.ends[row]].to_vec();
        DeadLetter { reason, field, raw, origin: self.origins[row] }
    }
}

/// The columns of a dead-letter table.
pub(crate) fn schema() -> Schema {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()));
    Schema::new(vec![
        Field::new("time", time, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("field", DataType::Utf8, true),
        Field::new("source", DataType::Utf8, false),
        Field::new("split", DataType::Utf8, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("line", DataType::Int64, true),
        Field::new("raw", DataType::Binary, false),
    ])
}

/// Rows of a dead-letter table: when they were put aside, the source's name and the split.
pub(crate) fn to_batch(letters: &[DeadLetter], now_ms: i64, source: &str, split: &str) -> RecordBatch {
    let count = letters.len();
    let times = TimestampMicrosecondArray::from_value(now_ms.saturating_mul(1_000), count).with_timezone(UTC);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times),
        Arc::new(StringArray::from_iter_values(letters.iter().map(|letter| &letter.reason))),
        Arc::new(StringArray::from_iter(letters.iter().map(|letter| letter.field.as_deref()))),
        Arc::new(StringArray::from_iter_values(letters.iter().map(|_| source))),
        Arc::new(StringArray::from_iter_values(letters.iter().map(|_| split))),
        Arc::new(Int64Array::from_iter_values(letters.iter().map(|letter| letter.origin.offset))),
        Arc::new(Int64Array::from_iter(letters.iter().map(|letter| letter.origin.line))),
        Arc::new(BinaryArray::from_iter_values(letters.iter().map(|letter| &letter.raw))),
    ];
    RecordBatch::try_new(Arc::new(schema()), columns).expect("the columns are those of the schema")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_a_row_is_found_again() {
        let mut records = Records::default();
        for (index, record) in ["one", "", "three"].into_iter().enumerate() {
            records.push(record.as_bytes(), Origin { offset: index as i64, line: None });
        }
        let letter = |row| records.put_aside(row, "bad".to_owned(), None);
        assert_eq!([letter(0).raw, letter(1).raw, letter(2).raw], [b"one".to_vec(), vec![], b"three".to_vec()]);
        assert_eq!(letter(2).origin.offset, 2);
        let batch = to_batch(&[letter(0), letter(2)], 1_000, "events", "a.json");
        assert_eq!((batch.num_rows(), batch.schema().as_ref()), (2, &schema()));
    }
}
