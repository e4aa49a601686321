//! Changes of rows on their way through a job: each row has its kind, `+I`, `-U`, `+U` or `-D`, as in Flink.
//!
//! The kind is one more column, last and unknown to the query, from the source to the writer ([`carry_kinds`]). In the
//! target the last word on a key counts: `+I` and `+U` upsert, `-U` and `-D` delete by key; to delete a key that is not
//! there changes nothing. So an update that changes a key takes the row of the old key away.

mod carry;

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int8Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, FieldRef, Int8Type, Schema, SchemaRef};

pub(crate) use carry::{Changes, carry_kinds};

/// What a row says of its key. The numbers are those of Flink's `RowKind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum RowKind {
    /// `+I`: there is a new row.
    Insert = 0,
    /// `-U`: the row is this no longer; what it is now follows.
    UpdateBefore = 1,
    /// `+U`: the row is this now.
    UpdateAfter = 2,
    /// `-D`: the row is gone.
    Delete = 3,
}

/// What a source of changes knows of the rows that it takes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changelog {
    /// All of their columns: a `-U` comes before each `+U`.
    WholeRows,
    /// The columns of their key, which are these; all others are NULL. An update is a `+U` alone.
    Keys(Vec<String>),
}

/// The name of the column with the kinds; no column of a table has it.
const ROW_KIND: &str = "\u{0}row-kind";

fn kind_field() -> FieldRef {
    Arc::new(Field::new(ROW_KIND, DataType::Int8, false))
}

/// Columns with the kinds behind them.
fn with_kind(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().cloned().chain([kind_field()]);
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

/// What comes out of a query over changes: the target's columns, NULL in rows that are taken away, and the kinds.
pub(crate) fn target_with_kind(target: &SchemaRef) -> SchemaRef {
    let nullable = target.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
    with_kind(&Arc::new(Schema::new(nullable.collect::<Vec<_>>())))
}

/// The rows with their kinds behind them.
pub(crate) fn join_kinds(batch: RecordBatch, kinds: Int8Array) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let schema = with_kind(&batch.schema());
    let columns = batch.columns().iter().cloned().chain([Arc::new(kinds) as _]);
    RecordBatch::try_new_with_options(schema, columns.collect(), &options).expect("a kind for each row")
}

/// The rows, and which of them take a row away; `None` where they have no kinds, and are only added.
pub(crate) fn split_kinds(batch: RecordBatch) -> (RecordBatch, Option<BooleanArray>) {
    let last = batch.num_columns().saturating_sub(1);
    if batch.schema_ref().fields().last().is_none_or(|field| field.name() != ROW_KIND) {
        return (batch, None);
    }
    let deletes = deletes_of(batch.column(last).as_primitive::<Int8Type>());
    let rows = batch.project(&(0..last).collect::<Vec<_>>()).expect("these columns are there");
    (rows, Some(deletes))
}

/// Which rows take a row away.
pub(crate) fn deletes_of(kinds: &Int8Array) -> BooleanArray {
    let gone = [RowKind::UpdateBefore as i8, RowKind::Delete as i8];
    BooleanArray::from_unary(kinds, |kind| gone.contains(&kind))
}
