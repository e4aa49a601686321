//! Records in, batches out; what happens to a record that is malformed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, SchemaRef};

use super::columns::{ColumnBuilder, FieldError};
use super::csv;
use super::error::SourceError;
use super::json;

/// What a record is written in.
#[derive(Debug, Clone)]
pub(super) enum Format {
    Json,
    Csv(csv::Layout),
}

/// What happens to a malformed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnError {
    Fail,
    Skip,
}

/// Malformed records are logged one by one up to this many, then at each power of ten.
const LOGGED_ONE_BY_ONE: u64 = 10;

/// Decodes records into one batch after the other.
#[derive(Debug)]
pub(super) struct Decoder {
    root: ColumnBuilder,
    format: Format,
    bytes: usize,
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
        Ok(Self { root: ColumnBuilder::new(&Arc::new(root))?, format, bytes: 0 })
    }

    /// Adds a record as one row, or leaves the rows as they were.
    ///
    /// # Errors
    /// What is wrong with the record.
    pub(super) fn append(&mut self, record: &[u8]) -> Result<(), FieldError> {
        let rows = self.rows();
        let end = match &self.format {
            Format::Json => json::append_record(&mut self.root, record),
            Format::Csv(layout) => csv::append_record(&mut self.root, record, layout),
        };
        match end {
            Ok(()) => self.bytes += record.len(),
            Err(_) => self.root.truncate(rows),
        }
        end
    }

    /// Rows since the last batch.
    pub(super) fn rows(&self) -> usize {
        self.root.len()
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

    /// How many were passed over.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped.load(Relaxed)
    }

    /// Counts and logs the record, or makes an error of it. `place` is such as `flights.csv line 17`.
    pub(super) fn take(&self, place: impl FnOnce() -> String, error: FieldError) -> Result<(), Box<SourceError>> {
        if self.on_error == OnError::Fail {
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
