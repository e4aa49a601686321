//! Iceberg schemas as Arrow schemas and back, and partition transforms on Arrow arrays.
//!
//! What this module decides: which Arrow type stands for which Iceberg type, and that every Arrow field of a table
//! carries its Iceberg field id at every depth, so that nobody has to match by name (Iceberg spec, "Column Projection").
//! What it does not know: Parquet, files, tables.
//!
//! | Iceberg | Arrow |
//! |---|---|
//! | boolean, int, long, float, double | `Boolean`, `Int32`, `Int64`, `Float32`, `Float64` |
//! | decimal(P, S) | `Decimal128(P, S)` |
//! | date, time | `Date32`, `Time64(µs)` |
//! | timestamp, timestamptz | `Timestamp(µs)`, `Timestamp(µs, "+00:00")` |
//! | timestamp_ns, timestamptz_ns | `Timestamp(ns)`, `Timestamp(ns, "+00:00")` |
//! | string, binary | `Utf8`, `Binary` |
//! | uuid, fixed(L) | `FixedSizeBinary(16)`, `FixedSizeBinary(L)` |
//! | struct, list, map | `Struct`, `List` of `element`, `Map` of `key_value{key, value}` |

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Fields, Schema as ArrowSchema, TimeUnit};

use crate::spec::{ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, Type};
use crate::{Error, Result};

mod transform;

pub use transform::{murmur3, shortest_bytes, transform_array};

/// The key under which an Arrow field's metadata holds its Iceberg field id, as a decimal number. It is the one that the
/// `parquet` crate writes into and reads from Parquet schemas.
pub const FIELD_ID_KEY: &str = "PARQUET:field_id";

/// The key under which an Arrow field's metadata holds its documentation.
pub const DOC_KEY: &str = "doc";

/// The time zone of `timestamptz` columns.
pub const UTC: &str = "+00:00";

/// The Arrow schema of a table's schema, with field ids in the metadata of every field, elements, keys and values too.
///
/// # Errors
/// [`Error::InvalidSchema`] for a decimal or fixed type that is too wide for Arrow.
pub fn arrow_schema(schema: &Schema) -> Result<ArrowSchema> {
    Ok(ArrowSchema::new(arrow_fields(schema.as_struct(), "")?))
}

/// The Arrow type of an Iceberg type; see the table in the [module documentation](self).
///
/// # Errors
/// As [`arrow_schema`].
pub fn arrow_type(r#type: &Type) -> Result<DataType> {
    data_type(r#type, "")
}

/// The Iceberg field id that an Arrow field carries, if it does.
pub fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(FIELD_ID_KEY)?.parse().ok()
}

fn arrow_fields(fields: &StructType, path: &str) -> Result<Fields> {
    let fields = fields.fields().iter();
    fields.map(|field| arrow_field(&field.name, field, &join(path, &field.name))).collect()
}

fn arrow_field(name: &str, field: &NestedField, path: &str) -> Result<FieldRef> {
    let mut metadata = HashMap::from([(FIELD_ID_KEY.to_owned(), field.id.to_string())]);
    if let Some(doc) = &field.doc {
        metadata.insert(DOC_KEY.to_owned(), doc.clone());
    }
    let r#type = data_type(&field.field_type, path)?;
    Ok(Arc::new(Field::new(name, r#type, !field.required).with_metadata(metadata)))
}

fn data_type(r#type: &Type, path: &str) -> Result<DataType> {
    Ok(match r#type {
        Type::Primitive(primitive) => primitive_type(primitive, path)?,
        Type::Struct(fields) => DataType::Struct(arrow_fields(fields, path)?),
        Type::List(list) => {
            let element = arrow_field("element", &list.element_field, &join(path, "element"))?;
            DataType::List(element)
        }
        Type::Map(map) => {
            let key = arrow_field("key", &map.key_field, &join(path, "key"))?;
            let value = arrow_field("value", &map.value_field, &join(path, "value"))?;
            let entries = DataType::Struct([key, value].into_iter().collect());
            DataType::Map(Arc::new(Field::new("key_value", entries, false)), false)
        }
    })
}

fn primitive_type(primitive: &PrimitiveType, path: &str) -> Result<DataType> {
    let utc = || Some(Arc::from(UTC));
    Ok(match primitive {
        PrimitiveType::Boolean => DataType::Boolean,
        PrimitiveType::Int => DataType::Int32,
        PrimitiveType::Long => DataType::Int64,
        PrimitiveType::Float => DataType::Float32,
        PrimitiveType::Double => DataType::Float64,
        PrimitiveType::Decimal { precision, scale } => decimal_type(*precision, *scale, path)?,
        PrimitiveType::Date => DataType::Date32,
        PrimitiveType::Time => DataType::Time64(TimeUnit::Microsecond),
        PrimitiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        PrimitiveType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, utc()),
        PrimitiveType::TimestampNs => DataType::Timestamp(TimeUnit::Nanosecond, None),
        PrimitiveType::TimestamptzNs => DataType::Timestamp(TimeUnit::Nanosecond, utc()),
        PrimitiveType::String => DataType::Utf8,
        PrimitiveType::Uuid => DataType::FixedSizeBinary(16),
        PrimitiveType::Fixed(length) => {
            let length = i32::try_from(*length)
                .map_err(|_| Error::invalid_schema(path, format!("fixed({length}) is too long for Arrow")))?;
            DataType::FixedSizeBinary(length)
        }
        PrimitiveType::Binary => DataType::Binary,
    })
}

fn decimal_type(precision: u32, scale: u32, path: &str) -> Result<DataType> {
    let fits = |precision: u8, scale: i8| {
        (1..=DECIMAL128_MAX_PRECISION).contains(&precision) && u32::from(precision) >= u32::from(scale.unsigned_abs())
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p), Ok(s)) if fits(p, s) => Ok(DataType::Decimal128(p, s)),
        _ => Err(Error::invalid_schema(
            path,
            format!("decimal({precision}, {scale}) needs 1 ≤ precision ≤ 38 and scale ≤ precision"),
        )),
    }
}

/// An Iceberg schema for data of an Arrow schema, with fresh ids from 1: the fields of a struct first, then what is
/// nested in them.
///
/// Types that Iceberg lacks become the narrowest type that holds all of their values: small and unsigned integers
/// `int` or `long`, `UInt64` `decimal(20, 0)`, half floats `float`, seconds and milliseconds microseconds.
/// Dictionaries and views become what they stand for; a time zone other than UTC is dropped, since the instants stay.
///
/// # Errors
/// [`Error::InvalidSchema`] names the field whose type has no such counterpart.
pub fn iceberg_schema(schema: &ArrowSchema) -> Result<Schema> {
    let mut next_id = 1;
    let fields = iceberg_fields(schema.fields(), "", &mut next_id)?;
    Schema::builder().with_fields(fields).build().map_err(Error::spec("building a schema"))
}

fn iceberg_fields(fields: &Fields, path: &str, next_id: &mut i32) -> Result<Vec<NestedFieldRef>> {
    let first = *next_id;
    *next_id +=
        i32::try_from(fields.len()).map_err(|_| Error::invalid_schema(path, "it has too many fields".to_owned()))?;
    let ids = first..;
    ids.zip(fields)
        .map(|(id, field)| {
            let r#type = iceberg_type(field.data_type(), &join(path, field.name()), next_id)?;
            let mut nested = NestedField::new(id, field.name(), r#type, !field.is_nullable());
            nested.doc = field.metadata().get(DOC_KEY).cloned();
            Ok(Arc::new(nested))
        })
        .collect()
}

fn iceberg_type(r#type: &DataType, path: &str, next_id: &mut i32) -> Result<Type> {
    Ok(match r#type {
        DataType::Struct(fields) => Type::Struct(StructType::new(iceberg_fields(fields, path, next_id)?)),
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::FixedSizeList(element, _) => {
            let id = take_id(next_id);
            let nested = iceberg_type(element.data_type(), &join(path, "element"), next_id)?;
            let element = NestedField::list_element(id, nested, !element.is_nullable());
            Type::List(ListType::new(Arc::new(element)))
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(entries) = entries.data_type() else {
                return Err(Error::invalid_schema(path, "its map entries are no struct".to_owned()));
            };
            let [key, value] = entries.as_ref() else {
                return Err(Error::invalid_schema(path, "its map entries are no pairs".to_owned()));
            };
            let (key_id, value_id) = (take_id(next_id), take_id(next_id));
            let key_type = iceberg_type(key.data_type(), &join(path, "key"), next_id)?;
            let value_type = iceberg_type(value.data_type(), &join(path, "value"), next_id)?;
            Type::Map(MapType::new(
                Arc::new(NestedField::map_key_element(key_id, key_type)),
                Arc::new(NestedField::map_value_element(value_id, value_type, !value.is_nullable())),
            ))
        }
        DataType::Dictionary(_, values) => iceberg_type(values, path, next_id)?,
        DataType::RunEndEncoded(_, values) => iceberg_type(values.data_type(), path, next_id)?,
        leaf => Type::Primitive(iceberg_primitive(leaf, path)?),
    })
}

fn iceberg_primitive(r#type: &DataType, path: &str) -> Result<PrimitiveType> {
    Ok(match r#type {
        DataType::Boolean => PrimitiveType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => PrimitiveType::Int,
        DataType::Int64 | DataType::UInt32 => PrimitiveType::Long,
        DataType::UInt64 => PrimitiveType::Decimal { precision: 20, scale: 0 },
        DataType::Float16 | DataType::Float32 => PrimitiveType::Float,
        DataType::Float64 => PrimitiveType::Double,
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s)
            if *s >= 0 && *s as u8 <= *p =>
        {
            PrimitiveType::Decimal { precision: u32::from(*p), scale: u32::from(s.unsigned_abs()) }
        }
        DataType::Date32 => PrimitiveType::Date,
        DataType::Time32(_) | DataType::Time64(TimeUnit::Microsecond) => PrimitiveType::Time,
        DataType::Timestamp(TimeUnit::Nanosecond, None) => PrimitiveType::TimestampNs,
        DataType::Timestamp(TimeUnit::Nanosecond, Some(_)) => PrimitiveType::TimestamptzNs,
        DataType::Timestamp(_, None) => PrimitiveType::Timestamp,
        DataType::Timestamp(_, Some(_)) => PrimitiveType::Timestamptz,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => PrimitiveType::String,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => PrimitiveType::Binary,
        DataType::FixedSizeBinary(length) => PrimitiveType::Fixed(u64::from(length.unsigned_abs())),
        other => {
            let reason = format!("Iceberg has no type for Arrow's {other}; cast the column first");
            return Err(Error::invalid_schema(path, reason));
        }
    })
}

fn take_id(next_id: &mut i32) -> i32 {
    let id = *next_id;
    *next_id += 1;
    id
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests;
