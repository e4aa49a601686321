//! Batches as a table wants them: its columns by position, its types, its field ids, no null where a value is required.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, SchemaRef};

use crate::{Error, Result};

/// The batch under the table's Arrow schema. Columns are taken by position at every depth; names and metadata of the
/// batch do not matter. Other encodings of text and binary (large, view, dictionary) are decoded, and moments take the
/// table's name for UTC; any other difference of types is an error, and so is a null in a required field.
pub(crate) fn conform_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        let reason = format!("the batch has {} columns, the table {}", batch.num_columns(), schema.fields().len());
        return Err(Error::bad_batch("*", reason));
    }
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        check_required(column, field, field.name(), &Some)?;
        conform(column, field.data_type(), field.name())
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(Error::arrow("taking a batch"))
}

fn conform(array: &ArrayRef, wanted: &DataType, path: &str) -> Result<ArrayRef> {
    if array.data_type() == wanted {
        return Ok(array.clone());
    }
    let differs = || {
        let reason = format!("the batch has {}, the table {wanted}", array.data_type());
        Error::bad_batch(path, reason)
    };
    Ok(match (array.data_type(), wanted) {
        (DataType::Struct(found), DataType::Struct(fields)) if found.len() == fields.len() => {
            let array = array.as_struct();
            let columns = conform_fields(array.columns(), fields, path)?;
            let whole = StructArray::try_new_with_length(fields.clone(), columns, array.nulls().cloned(), array.len());
            Arc::new(whole.map_err(Error::arrow("taking a struct"))?)
        }
        (DataType::List(_), DataType::List(element)) => {
            let array = array.as_list::<i32>();
            let (offsets, values) = (rebased(array.offsets()), shown(array.offsets(), array.values()));
            let values = conform(&values, element.data_type(), &join(path, "element"))?;
            let nulls = array.nulls().cloned();
            Arc::new(
                ListArray::try_new(element.clone(), offsets, values, nulls).map_err(Error::arrow("taking a list"))?,
            )
        }
        (DataType::Map(_, _), DataType::Map(entries, _)) => {
            let array = array.as_map();
            let DataType::Struct(fields) = entries.data_type() else { return Err(differs()) };
            let columns: Vec<_> =
                array.entries().columns().iter().map(|column| shown(array.offsets(), column)).collect();
            let columns = conform_fields(&columns, fields, path)?;
            let pairs = StructArray::try_new(fields.clone(), columns, None).map_err(Error::arrow("taking a map"))?;
            let (offsets, nulls) = (rebased(array.offsets()), array.nulls().cloned());
            let map = MapArray::try_new(entries.clone(), offsets, pairs, nulls, false);
            Arc::new(map.map_err(Error::arrow("taking a map"))?)
        }
        (found, _) if is_other_encoding(found, wanted) => {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(array, wanted, &options).map_err(Error::arrow("decoding a column"))?
        }
        _ => return Err(differs()),
    })
}

fn conform_fields(columns: &[ArrayRef], fields: &Fields, path: &str) -> Result<Vec<ArrayRef>> {
    let columns = fields.iter().zip(columns);
    columns.map(|(field, column)| conform(column, field.data_type(), &join(path, field.name()))).collect()
}

/// The elements that some list shows. What a slice leaves outside may break rules that only shown elements keep.
fn shown(offsets: &OffsetBuffer<i32>, values: &ArrayRef) -> ArrayRef {
    let (first, end) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
    values.slice(first, end - first)
}

/// The offsets of the same lists in [`shown`].
fn rebased(offsets: &OffsetBuffer<i32>) -> OffsetBuffer<i32> {
    match offsets[0] {
        0 => offsets.clone(),
        first => OffsetBuffer::new(offsets.iter().map(|offset| offset - first).collect()),
    }
}

/// Whether a value means the same in both types, so that only its encoding differs.
fn is_other_encoding(found: &DataType, wanted: &DataType) -> bool {
    match (found, wanted) {
        (DataType::Dictionary(_, values), wanted) => values.as_ref() == wanted || is_other_encoding(values, wanted),
        (DataType::LargeUtf8 | DataType::Utf8View, DataType::Utf8) => true,
        (DataType::LargeBinary | DataType::BinaryView, DataType::Binary) => true,
        (DataType::Timestamp(found, Some(_)), DataType::Timestamp(wanted, Some(_))) => found == wanted,
        _ => false,
    }
}

/// Looks for a null where `field` requires a value. `row_of` gives the batch's row of a position in the array, or
/// `None` for a position that nothing shows, since a struct or a list around it is null.
fn check_required(array: &ArrayRef, field: &Field, path: &str, row_of: &dyn Fn(usize) -> Option<usize>) -> Result<()> {
    if let Some(nulls) = array.logical_nulls().filter(|nulls| !field.is_nullable() && nulls.null_count() > 0) {
        let missing = (0..array.len()).filter(|i| nulls.is_null(*i)).find_map(row_of);
        if let Some(row) = missing {
            return Err(Error::RequiredNull { field: path.to_owned(), row });
        }
    }
    let shown = |i: usize| if array.is_valid(i) { row_of(i) } else { None };
    match (array.data_type(), field.data_type()) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                check_required(column, field, &join(path, field.name()), &shown)?;
            }
        }
        (DataType::List(_), DataType::List(element)) => {
            let list = array.as_list::<i32>();
            let row_of = |i| holder(list.value_offsets(), i).and_then(shown);
            check_required(list.values(), element, &join(path, "element"), &row_of)?;
        }
        (DataType::Map(_, _), DataType::Map(entries, _)) => {
            let map = array.as_map();
            let row_of = |i| holder(map.value_offsets(), i).and_then(shown);
            let DataType::Struct(fields) = entries.data_type() else { return Ok(()) };
            for (field, column) in fields.iter().zip(map.entries().columns()) {
                check_required(column, field, &join(path, field.name()), &row_of)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The list that an element belongs to; `None` for an element outside of all of them, as slices leave them.
fn holder(offsets: &[i32], element: usize) -> Option<usize> {
    let after = offsets.partition_point(|offset| *offset as usize <= element);
    (after > 0 && after < offsets.len()).then(|| after - 1)
}

fn join(path: &str, name: &str) -> String {
    format!("{path}.{name}")
}

#[cfg(test)]
mod tests;
