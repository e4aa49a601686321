//! Batches in the schema of a table: by position at every depth.
//!
//! The fields of a `ROW` go by position like columns do, lists and maps element by element, and leaves are converted
//! where nothing of a value can be lost without a word: a number that does not fit is an error, not NULL. A value that
//! would have to be understood (a text as a number) is refused: that takes a `CAST` in the script.
//!
//! | from | to |
//! |---|---|
//! | NULL | anything |
//! | whole number | whole number, `FLOAT`, `DOUBLE`, `DECIMAL`; an error when it does not fit |
//! | `FLOAT`, `DOUBLE`, `DECIMAL` | `FLOAT`, `DOUBLE`, `DECIMAL`; rounded, an error when it does not fit |
//! | text, bytes | text, bytes in any of Arrow's layouts; a `BINARY(n)` needs n bytes |
//! | `DATE`, `TIMESTAMP`, `TIMESTAMP_LTZ` | `TIMESTAMP`, `TIMESTAMP_LTZ` (the zone is UTC); nanoseconds are cut |
//! | `TIME` | `TIME` |
//! | `ROW`, `ARRAY`, `MAP` | the same with as many fields |

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, PrimitiveArray, RecordBatch, RecordBatchOptions, StructArray,
    new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options, is_null, nullif};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, FieldRef, Float32Type, Float64Type, Schema, SchemaRef, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::util::display::FormatOptions;

use crate::{Error, Result};

/// The batch with the names, types, nullability and field metadata of `schema`.
///
/// # Errors
/// [`Error::Unfit`] names the column: another number of columns or fields, a type that is not converted, a value that
/// does not fit, a NULL where none may be (with its row in the batch).
pub fn coerce(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if Arc::ptr_eq(batch.schema_ref(), schema) {
        return Ok(batch.clone());
    }
    check_count("the rows", "columns", batch.num_columns(), schema.fields().len())?;
    let columns = batch.columns().iter().zip(schema.fields());
    let columns =
        columns.map(|(column, field)| coerce_field(column, field, None, field.name())).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| unfit("the rows", error.to_string()))
}

/// Whether batches of schema `from` can go into `to`, before there are any.
///
/// # Errors
/// As [`coerce`], for what can be told from the types.
pub fn check_coercion(from: &Schema, to: &Schema) -> Result<()> {
    check_count("the rows", "columns", from.fields().len(), to.fields().len())?;
    let mut pairs = from.fields().iter().zip(to.fields());
    pairs.try_for_each(|(from, to)| check_type(from.data_type(), to.data_type(), to.name()))
}

/// One column in the type of `field`.
///
/// # Errors
/// As [`coerce`].
pub(crate) fn coerce_column(array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    coerce_field(array, field, None, field.name())
}

fn unfit(column: &str, reason: impl Into<String>) -> Error {
    Error::Unfit { column: column.to_owned(), reason: reason.into() }
}

fn check_count(path: &str, what: &str, given: usize, wanted: usize) -> Result<()> {
    match given == wanted {
        true => Ok(()),
        false => Err(unfit(path, format!("{given} {what} are given, but {wanted} are wanted"))),
    }
}

fn check_type(from: &DataType, to: &DataType, path: &str) -> Result<()> {
    let refuse = || Err(unfit(path, refusal(from, to)));
    match (plain(from), to) {
        (from, to) if from == to => Ok(()),
        (DataType::Null, _) => Ok(()),
        (DataType::Struct(from), DataType::Struct(to)) => {
            check_count(path, "fields", from.len(), to.len())?;
            let mut pairs = from.iter().zip(to);
            pairs.try_for_each(|(from, to)| check_type(from.data_type(), to.data_type(), &join(path, to.name())))
        }
        (from, DataType::List(to)) => match element_of(from) {
            Some(from) => check_type(from.data_type(), to.data_type(), &join(path, "element")),
            None => refuse(),
        },
        (DataType::Map(from, _), DataType::Map(to, _)) => match (from.data_type(), to.data_type()) {
            (DataType::Struct(from), DataType::Struct(to)) if from.len() == 2 && to.len() == 2 => {
                check_type(from[0].data_type(), to[0].data_type(), &join(path, "key"))?;
                check_type(from[1].data_type(), to[1].data_type(), &join(path, "value"))
            }
            _ => refuse(),
        },
        (from, to) if is_converted(from, to) => Ok(()),
        _ => refuse(),
    }
}

/// What an encoded array stands for.
fn plain(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        other => other,
    }
}

fn element_of(data_type: &DataType) -> Option<&FieldRef> {
    match data_type {
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _)
        | DataType::ListView(element)
        | DataType::LargeListView(element) => Some(element),
        _ => None,
    }
}

fn is_converted(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    let text = |t: &DataType| matches!(t, Utf8 | LargeUtf8 | Utf8View);
    let bytes = |t: &DataType| matches!(t, Binary | LargeBinary | BinaryView | FixedSizeBinary(_));
    let fraction = |t: &DataType| t.is_floating() || t.is_decimal();
    let number = |t: &DataType| t.is_integer() || fraction(t);
    match (from, to) {
        _ if from.is_integer() && number(to) || fraction(from) && fraction(to) => true,
        _ if text(from) && text(to) || bytes(from) && bytes(to) => true,
        (Timestamp(..) | Date32 | Date64, Timestamp(..)) => true,
        (Date32 | Date64, Date32 | Date64) => true,
        (Time32(_) | Time64(_), Time32(_) | Time64(_)) => true,
        _ => false,
    }
}

fn refusal(from: &DataType, to: &DataType) -> String {
    let (from, to) = (sql_type(from), sql_type(to));
    format!("{from} is not converted to {to} by itself; write CAST(… AS {to})")
}

fn sql_type(data_type: &DataType) -> String {
    match crate::sql::DataType::from_arrow(data_type, true) {
        Ok(sql) => sql.to_string(),
        Err(_) => data_type.to_string(),
    }
}

fn join(path: &str, name: &str) -> String {
    format!("{path}.{name}")
}

/// An array in a field's type, and without NULLs where the field has none. Where `parent` is NULL there is no value, so
/// what the array holds there does not count.
fn coerce_field(array: &ArrayRef, field: &Field, parent: Option<&NullBuffer>, path: &str) -> Result<ArrayRef> {
    let coerced = coerce_array(array, field.data_type(), path)?;
    if !field.is_nullable()
        && let Some(nulls) = coerced.logical_nulls()
    {
        let missing = |row: &usize| nulls.is_null(*row) && parent.is_none_or(|parent| parent.is_valid(*row));
        if let Some(row) = (0..nulls.len()).find(missing) {
            return Err(unfit(path, format!("it is NOT NULL, but is NULL in row {} of a batch", row + 1)));
        }
    }
    Ok(coerced)
}

fn coerce_array(array: &ArrayRef, to: &DataType, path: &str) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    if *array.data_type() == DataType::Null {
        return Ok(new_null_array(to, array.len()));
    }
    let decoded = plain(array.data_type());
    if decoded != array.data_type() {
        return coerce_array(&cast(array, decoded, path)?, to, path);
    }
    match to {
        DataType::Struct(fields) => {
            let Some(array) = array.as_struct_opt() else { return Err(unfit(path, refusal(decoded, to))) };
            coerce_struct(array, fields, path)
        }
        DataType::List(element) => coerce_list(array, element, path),
        DataType::Map(entries, _) => coerce_map(array, to, entries, path),
        _ => coerce_leaf(array, to, path),
    }
}

fn coerce_struct(array: &StructArray, fields: &arrow::datatypes::Fields, path: &str) -> Result<ArrayRef> {
    check_count(path, "fields", array.num_columns(), fields.len())?;
    let parent = array.nulls().filter(|nulls| nulls.null_count() > 0);
    let absent = parent.map(|_| is_null(array)).transpose().map_err(|e| unfit(path, e.to_string()))?;
    let mut columns = Vec::with_capacity(fields.len());
    for (column, field) in array.columns().iter().zip(fields) {
        let path = join(path, field.name());
        // What stands below a NULL is no value: it must not fail a conversion.
        let masked = match &absent {
            Some(absent) if column.data_type() != field.data_type() && !column.data_type().is_null() => {
                &nullif(column, absent).map_err(|e| unfit(&path, e.to_string()))?
            }
            _ => column,
        };
        columns.push(coerce_field(masked, field, parent, &path)?);
    }
    match columns.is_empty() {
        true => Ok(Arc::new(StructArray::new_empty_fields(array.len(), array.nulls().cloned()))),
        false => StructArray::try_new(fields.clone(), columns, array.nulls().cloned())
            .map(|array| Arc::new(array) as ArrayRef)
            .map_err(|error| unfit(path, error.to_string())),
    }
}

fn coerce_list(array: &ArrayRef, element: &FieldRef, path: &str) -> Result<ArrayRef> {
    let Some(given) = element_of(array.data_type()) else {
        return Err(unfit(path, refusal(array.data_type(), &DataType::List(Arc::clone(element)))));
    };
    let list = cast(array, &DataType::List(Arc::clone(given)), path)?;
    let list = compact_list(list.as_list::<i32>(), path)?;
    let (_, offsets, values, nulls) = list.into_parts();
    let values = coerce_field(&values, element, None, &join(path, "element"))?;
    ListArray::try_new(Arc::clone(element), offsets, values, nulls)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| unfit(path, error.to_string()))
}

/// The same lists with no values but those that are in one: not those of a slice's surroundings, nor below a NULL.
fn compact_list(list: &ListArray, path: &str) -> Result<ListArray> {
    let offsets = list.value_offsets();
    let (first, last) = (offsets[0] as usize, offsets[list.len()] as usize);
    let below_null = list
        .nulls()
        .is_some_and(|nulls| (0..list.len()).any(|row| nulls.is_null(row) && offsets[row] != offsets[row + 1]));
    if first == 0 && last == list.values().len() && !below_null {
        return Ok(list.clone());
    }
    let rows = arrow::array::UInt32Array::from_iter_values(0..list.len() as u32);
    let taken = arrow::compute::take(list, &rows, None).map_err(|error| unfit(path, error.to_string()))?;
    Ok(taken.as_list::<i32>().clone())
}

fn coerce_map(array: &ArrayRef, to: &DataType, entries: &FieldRef, path: &str) -> Result<ArrayRef> {
    let refuse = || unfit(path, refusal(array.data_type(), to));
    let (Some(map), DataType::Struct(fields)) = (array.as_map_opt(), entries.data_type()) else {
        return Err(refuse());
    };
    let [key, value] = fields.as_ref() else { return Err(refuse()) };
    let rows = arrow::array::UInt32Array::from_iter_values(0..map.len() as u32);
    let tight = map.value_offsets()[0] == 0 && map.value_offsets()[map.len()] as usize == map.entries().len();
    let map = match tight && map.null_count() == 0 {
        true => map.clone(),
        false => {
            let taken = arrow::compute::take(map, &rows, None).map_err(|error| unfit(path, error.to_string()))?;
            taken.as_map().clone()
        }
    };
    let keys = coerce_field(map.keys(), key, None, &join(path, "key"))?;
    let values = coerce_field(map.values(), value, None, &join(path, "value"))?;
    let bad = |error: arrow::error::ArrowError| unfit(path, error.to_string());
    let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None).map_err(bad)?;
    let sorted = matches!(to, DataType::Map(_, true));
    let (_, offsets, _, nulls, _) = map.into_parts();
    let map = MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, sorted).map_err(bad)?;
    Ok(Arc::new(map))
}

fn coerce_leaf(array: &ArrayRef, to: &DataType, path: &str) -> Result<ArrayRef> {
    let from = array.data_type();
    if !is_converted(from, to) {
        return Err(unfit(path, refusal(from, to)));
    }
    match (from, to) {
        (DataType::Timestamp(unit, _), DataType::Timestamp(wanted, _)) => {
            rescale_timestamp(array, *unit, *wanted, to, path)
        }
        (_, DataType::Timestamp(unit, Some(_))) => {
            let local = cast(array, &DataType::Timestamp(*unit, None), path)?;
            rescale_timestamp(&local, *unit, *unit, to, path)
        }
        (_, DataType::FixedSizeBinary(length)) => {
            cast(array, to, path).map_err(|_| unfit(path, format!("every value has to be {length} bytes long")))
        }
        (_, DataType::Float32) => {
            let narrowed = cast(array, to, path)?;
            check_still_finite(array, &narrowed, path)?;
            Ok(narrowed)
        }
        _ => cast(array, to, path),
    }
}

fn cast(array: &ArrayRef, to: &DataType, path: &str) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    cast_with_options(array, to, &options).map_err(|error| {
        let reason = error.to_string();
        // Arrow begins with the kind of its error, which says nothing to a person.
        let reason = reason.split_once(" error: ").map_or(reason.as_str(), |(_, said)| said);
        unfit(path, reason)
    })
}

/// A finite double beyond the floats would become infinite.
fn check_still_finite(wide: &ArrayRef, narrow: &ArrayRef, path: &str) -> Result<()> {
    let Some(wide) = wide.as_primitive_opt::<Float64Type>() else { return Ok(()) };
    let narrow = narrow.as_primitive::<Float32Type>();
    let mut pairs = wide.iter().flatten().zip(narrow.iter().flatten());
    match pairs.find(|(wide, narrow)| wide.is_finite() && !narrow.is_finite()) {
        Some((value, _)) => Err(unfit(path, format!("{value} is too large for FLOAT"))),
        None => Ok(()),
    }
}

const fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// A moment in another unit. A finer one is cut towards the past, before 1970 too. With and without zone are the same
/// number, since the zone is UTC.
fn rescale_timestamp(array: &ArrayRef, from: TimeUnit, unit: TimeUnit, to: &DataType, path: &str) -> Result<ArrayRef> {
    let values: PrimitiveArray<arrow::datatypes::Int64Type> = match from {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().reinterpret_cast(),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().reinterpret_cast(),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().reinterpret_cast(),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().reinterpret_cast(),
    };
    let (from, wanted) = (per_second(from), per_second(unit));
    let values = match wanted >= from {
        true => values.try_unary(|value| {
            value.checked_mul(wanted / from).ok_or_else(|| unfit(path, "a timestamp is beyond what can be stored"))
        })?,
        false => values.unary(|value| value.div_euclid(from / wanted)),
    };
    fn typed<T: ArrowPrimitiveType<Native = i64>>(
        values: &PrimitiveArray<arrow::datatypes::Int64Type>,
        to: &DataType,
    ) -> ArrayRef {
        Arc::new(values.reinterpret_cast::<T>().with_data_type(to.clone()))
    }
    Ok(match unit {
        TimeUnit::Second => typed::<TimestampSecondType>(&values, to),
        TimeUnit::Millisecond => typed::<TimestampMillisecondType>(&values, to),
        TimeUnit::Microsecond => typed::<TimestampMicrosecondType>(&values, to),
        TimeUnit::Nanosecond => typed::<TimestampNanosecondType>(&values, to),
    })
}

#[cfg(test)]
mod tests;
