//! Records in, batches out; what happens to a record that is malformed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrow::array::{AsArray, Int8Array, RecordBatch};
use arrow::datatypes::{DataType, Field, SchemaRef};

use super::columns::{ColumnBuilder, FieldError};
use super::csv;
use super::debezium::{self, DebeziumEncoding};
use super::error::SourceError;
use super::infer::Inference;
use super::json;
use crate::changelog::RowKind;
use crate::dead_letter::{DeadLetter, Origin, Records};
use crate::source::SourceBatch;

/// What a record is written in.
#[derive(Debug, Clone)]
pub(super) enum Format {
    Json,
    Csv(csv::Layout),
    /// Changes of rows: a record may be two of them.
    Debezium(DebeziumEncoding),
}

/// What happens to a malformed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnError {
    Fail,
    Skip,
    DeadLetter,
}

/// Malformed records are logged one by one up to this many, then at each power of ten.
const LOGGED_ONE_BY_ONE: u64 = 10;

/// Decodes records into one batch after the other.
#[derive(Debug)]
pub(super) struct Decoder {
    root: ColumnBuilder,
    format: Format,
    bytes: usize,
    /// Of changes of rows: a kind for each row since the last batch.
    kinds: Vec<i8>,
    /// Where columns that are found in the data are agreed on.
    inference: Option<Arc<Inference>>,
    /// Where bad rows are put aside: those that are known to be bad, and the records of all others.
    aside: Option<Aside>,
}

#[derive(Debug, Default)]
struct Aside {
    letters: Vec<DeadLetter>,
    records: Records,
}

impl Decoder {
    /// A decoder for rows of this schema.
    ///
    /// # Errors
    /// Names the column whose type the format can't give.
    pub(super) fn new(schema: &SchemaRef, format: Format) -> Result<Self, FieldError> {
        if let Format::Csv(_) = format {
            let nested = schema.fields().iter().find(|field| field.data_type().is_nested());
            if let Some(field) = nested {
                let reason = "CSV has no nested values; declare it as STRING or use the format json";
                return Err(FieldError::new(reason).within(field.name()));
            }
        }
        let root = Field::new("row", DataType::Struct(schema.fields().clone()), false);
        let root = ColumnBuilder::new(&Arc::new(root))?;
        Ok(Self { root, format, bytes: 0, kinds: Vec::new(), inference: None, aside: None })
    }

    /// Takes the columns from what the decoders of a source have found together, and grows with them.
    pub(super) fn inferring(mut self, inference: Option<&Arc<Inference>>) -> Self {
        self.inference = inference.cloned();
        self
    }

    /// Keeps bad records, if that is what is to be done with them.
    pub(super) fn putting_aside(mut self, malformed: &Malformed) -> Self {
        self.aside = malformed.puts_aside().then(Aside::default);
        self
    }

    /// Adds a record as one row, or does with it what is to be done with bad ones. `place` is such as
    /// `flights.csv line 17`.
    ///
    /// # Errors
    /// [`SourceError::MalformedRow`] if a bad record is to fail.
    pub(super) fn take(
        &mut self,
        record: &[u8],
        origin: Origin,
        malformed: &Malformed,
        place: impl FnOnce() -> String,
    ) -> Result<(), Box<SourceError>> {
        let end = self.append(record);
        self.settle(end, record, origin, malformed, place)
    }

    /// Does with a record that could not be appended what is to be done with bad ones, and keeps good ones where that is
    /// wanted. `end`: what appending it gave.
    ///
    /// # Errors
    /// As [`Decoder::take`].
    pub(super) fn settle(
        &mut self,
        end: Result<(), FieldError>,
        record: &[u8],
        origin: Origin,
        malformed: &Malformed,
        place: impl FnOnce() -> String,
    ) -> Result<(), Box<SourceError>> {
        let Err(error) = end else {
            if let Some(aside) = &mut self.aside {
                aside.records.push(record, origin);
            }
            return Ok(());
        };
        let Some(aside) = &mut self.aside else { return malformed.take(place, error) };
        let field = error.field();
        aside.letters.push(DeadLetter { reason: error.reason, field, raw: record.to_vec(), origin });
        self.bytes += record.len();
        Ok(())
    }

    /// Adds a record as one row, or leaves the rows as they were.
    ///
    /// # Errors
    /// What is wrong with the record.
    pub(super) fn append(&mut self, record: &[u8]) -> Result<(), FieldError> {
        let rows = self.root.len();
        let end = match (&self.format, &self.inference) {
            (Format::Json, None) => json::append_record(&mut self.root, record, json::Reading::Declared),
            (Format::Json, Some(inference)) => append_inferring(&mut self.root, inference, record),
            (Format::Csv(layout), _) => csv::append_record(&mut self.root, record, layout),
            (Format::Debezium(encoding), _) => {
                debezium::append_record(&mut self.root, &mut self.kinds, record, *encoding)
            }
        };
        self.end_record(rows, record.len(), end)
    }

    /// Adds one row whose columns stand in several objects, or leaves the rows as they were. `kind`: of a change.
    ///
    /// # Errors
    /// What is wrong with an object.
    pub(super) fn append_parts(
        &mut self,
        parts: &[(&json::Part, &[u8])],
        kind: Option<RowKind>,
    ) -> Result<(), FieldError> {
        let rows = self.root.len();
        let end = json::append_parts(&mut self.root, parts);
        if end.is_ok() {
            self.kinds.extend(kind.map(|kind| kind as i8));
        }
        self.end_record(rows, parts.iter().map(|(_, record)| record.len()).sum(), end)
    }

    fn end_record(&mut self, rows: usize, bytes: usize, end: Result<(), FieldError>) -> Result<(), FieldError> {
        match end {
            Ok(()) => self.bytes += bytes,
            Err(_) => {
                self.root.truncate(rows);
                self.kinds.truncate(rows);
            }
        }
        end
    }

    /// Rows since the last batch.
    pub(super) fn good_rows(&self) -> usize {
        self.root.len()
    }

    /// Rows since the last batch, those included that were put aside.
    pub(super) fn rows(&self) -> usize {
        self.root.len() + self.aside.as_ref().map_or(0, |aside| aside.letters.len())
    }

    /// Bytes of the records since the last batch.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows since the last batch.
    pub(super) fn finish(&mut self) -> RecordBatch {
        self.bytes = 0;
        RecordBatch::from(self.root.finish().as_struct())
    }

    /// A source's batch of the rows since the last one, which [`Decoder::finish`] has given.
    pub(super) fn source_batch(&mut self, batch: RecordBatch, split: String, position: String) -> SourceBatch {
        let mut batch = SourceBatch::new(batch, split, position);
        if !self.kinds.is_empty() {
            batch.kinds = Some(Int8Array::from(std::mem::take(&mut self.kinds)));
        }
        if let Some(aside) = &mut self.aside {
            batch.dead_letters = std::mem::take(&mut aside.letters);
            batch.records = Some(Arc::new(std::mem::take(&mut aside.records)));
        }
        batch
    }
}

/// Adds a record; where it has what the columns lack, they grow first.
fn append_inferring(root: &mut ColumnBuilder, inference: &Inference, record: &[u8]) -> Result<(), FieldError> {
    let rows = root.len();
    let Err(error) = json::append_record(root, record, json::Reading::Complete) else { return Ok(()) };
    root.truncate(rows);
    let fields = inference.grow(record)?;
    let grown = root.widen(&fields)?;
    let end = json::append_record(root, record, json::Reading::Exact);
    // What is wrong with a record that brings nothing new was said at the first try.
    match grown || end.is_ok() {
        true => end,
        false => Err(error),
    }
}

/// Decides about malformed records and counts those that were passed over.
#[derive(Debug, Clone)]
pub(super) struct Malformed {
    table: Arc<str>,
    on_error: OnError,
    skipped: Arc<AtomicU64>,
}

impl Malformed {
    pub(super) fn new(table: &str, on_error: OnError) -> Self {
        Self { table: table.into(), on_error, skipped: Arc::default() }
    }

    /// Whether they are put aside.
    pub(super) fn puts_aside(&self) -> bool {
        self.on_error == OnError::DeadLetter
    }

    /// How many were passed over.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped.load(Relaxed)
    }

    /// Counts and logs the record, or makes an error of it. `place` is such as `flights.csv line 17`.
    pub(super) fn take(&self, place: impl FnOnce() -> String, error: FieldError) -> Result<(), Box<SourceError>> {
        if self.on_error != OnError::Skip {
            return Err(Box::new(SourceError::MalformedRow {
                table: self.table.to_string(),
                place: place(),
                field: error.field(),
                reason: error.reason,
            }));
        }
        let count = self.skipped.fetch_add(1, Relaxed) + 1;
        let power_of_ten = count.checked_ilog10().is_some_and(|log| count == 10_u64.pow(log));
        if count <= LOGGED_ONE_BY_ONE || power_of_ten {
            tracing::warn!(
                table = %self.table,
                place = place(),
                field = error.field().unwrap_or_default(),
                reason = error.reason,
                skipped = count,
                "a malformed row was passed over"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
