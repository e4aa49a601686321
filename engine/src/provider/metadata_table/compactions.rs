//! What compactions of a table did.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use frazil_compactor::{BytesWritten, PastCompaction};
use frazil_table::Table;

use super::{batch, moments, optional, required};
use crate::Result;

/// One row for each, oldest first.
pub(super) fn compactions(table: &Table) -> Result<RecordBatch> {
    let all = PastCompaction::all(table);
    let long = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let longs = |of: fn(&PastCompaction) -> u64| -> ArrayRef {
        Arc::new(all.iter().map(|one| Some(long(of(one)))).collect::<Int64Array>())
    };
    let texts =
        |of: fn(&PastCompaction) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(all.iter().map(of))) };
    let amplification = all.iter().map(|one| one.written.as_ref().and_then(BytesWritten::amplification));
    batch(vec![
        required("committed_at", moments(all.iter().map(|one| Some(one.committed_at_ms)))?),
        required("snapshot_id", Arc::new(all.iter().map(|one| Some(one.snapshot_id)).collect::<Int64Array>())),
        required("reason", texts(|one| &one.reasons)),
        required("kind", texts(|one| &one.kind)),
        required("groups", longs(|one| one.groups)),
        required("files_in", longs(|one| one.files_in)),
        required("files_out", longs(|one| one.files_out)),
        required("bytes_in", longs(|one| one.bytes_in)),
        required("bytes_out", longs(|one| one.bytes_out)),
        required("bytes_saved", Arc::new(all.iter().map(|one| Some(saved(one))).collect::<Int64Array>())),
        required("rows_deleted", longs(|one| one.rows_deleted)),
        required("rows_rebased", longs(|one| one.rows_rebased)),
        required("rewrite_ms", longs(|one| one.rewrite_ms)),
        optional("write_amplification", Arc::new(amplification.collect::<Float64Array>())),
    ])
}

/// Bytes that the table is smaller by; below zero where it grew.
fn saved(one: &PastCompaction) -> i64 {
    let long = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    long(one.bytes_in).saturating_sub(long(one.bytes_out))
}
