//! Columns in structs: where they are, and what they hold.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{is_null, nullif};
use arrow::error::ArrowError;
use frazil_table::spec::{NestedField, Type};

/// The path to a field outside of lists and maps: column of the batch, then positions in nested structs.
pub(crate) fn position(fields: &[Arc<NestedField>], id: i32) -> Option<Vec<usize>> {
    for (index, field) in fields.iter().enumerate() {
        if field.id == id {
            return Some(vec![index]);
        }
        if let Type::Struct(nested) = field.field_type.as_ref()
            && let Some(rest) = position(nested.fields(), id)
        {
            return Some([vec![index], rest].concat());
        }
    }
    None
}

/// The values at a path; null where a struct around them is.
pub(crate) fn values_at(batch: &RecordBatch, path: &[usize]) -> Result<ArrayRef, ArrowError> {
    let mut array = batch.column(path[0]).clone();
    for child in &path[1..] {
        let column = array.as_struct().column(*child).clone();
        // What a null struct holds inside is nothing.
        array = match array.null_count() {
            0 => column,
            _ => nullif(&column, &is_null(&array)?)?,
        };
    }
    Ok(array)
}
