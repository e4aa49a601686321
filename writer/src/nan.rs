//! Counting NaNs, which Parquet does not do.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};
use frazil_table::arrow::field_id;

/// Adds to `counts` the NaNs of a column, or of the float and double columns in it, by field id. Columns without a NaN
/// are counted as 0. Values in lists and maps are not counted: nothing asks for the NaNs of a repeated column.
pub(crate) fn count_nans(field: &Field, column: &ArrayRef, counts: &mut HashMap<i32, u64>) {
    count_field(field, column, None, counts);
}

fn count_field(field: &Field, column: &ArrayRef, around: Option<&NullBuffer>, counts: &mut HashMap<i32, u64>) {
    let nans = match field.data_type() {
        DataType::Float32 => {
            let array = column.as_primitive::<Float32Type>();
            count(array.values().iter().map(|v| v.is_nan()), array.nulls(), around)
        }
        DataType::Float64 => {
            let array = column.as_primitive::<Float64Type>();
            count(array.values().iter().map(|v| v.is_nan()), array.nulls(), around)
        }
        DataType::Struct(fields) => {
            let nulls = NullBuffer::union(around, column.nulls());
            for (field, column) in fields.iter().zip(column.as_struct().columns()) {
                count_field(field, column, nulls.as_ref(), counts);
            }
            return;
        }
        _ => return,
    };
    if let Some(id) = field_id(field) {
        *counts.entry(id).or_default() += nans;
    }
}

fn count(is_nan: impl Iterator<Item = bool>, nulls: Option<&NullBuffer>, around: Option<&NullBuffer>) -> u64 {
    match NullBuffer::union(nulls, around) {
        None => is_nan.filter(|nan| *nan).count() as u64,
        Some(valid) => is_nan.zip(valid.iter()).filter(|(nan, valid)| *nan && *valid).count() as u64,
    }
}
