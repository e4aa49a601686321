//! Types as Arrow has them, in the form in which batches flow through a job.
//!
//! Iceberg has no integer below 32 bits and no time below microseconds (Iceberg spec, "Primitive Types"), so `TINYINT`
//! and `SMALLINT` become `Int32`, and every time and timestamp is in microseconds whatever its precision.

use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field, Fields, TimeUnit};

use super::data_type::{DataType, RowField, TypeKind};

/// The zone of an instant, as Iceberg's Arrow schemas write UTC.
pub const UTC: &str = "+00:00";

impl DataType {
    /// The Arrow type; nullability of nested values is in its fields.
    pub fn to_arrow(&self) -> ArrowType {
        match &self.kind {
            TypeKind::Boolean => ArrowType::Boolean,
            TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int => ArrowType::Int32,
            TypeKind::BigInt => ArrowType::Int64,
            TypeKind::Float => ArrowType::Float32,
            TypeKind::Double => ArrowType::Float64,
            TypeKind::Decimal { precision, scale } => ArrowType::Decimal128(*precision, *scale as i8),
            TypeKind::Char(_) | TypeKind::VarChar(_) | TypeKind::String => ArrowType::Utf8,
            TypeKind::Binary(length) => ArrowType::FixedSizeBinary(*length as i32),
            TypeKind::VarBinary(_) | TypeKind::Bytes => ArrowType::Binary,
            TypeKind::Date => ArrowType::Date32,
            TypeKind::Time { .. } => ArrowType::Time64(TimeUnit::Microsecond),
            TypeKind::Timestamp { .. } => ArrowType::Timestamp(TimeUnit::Microsecond, None),
            TypeKind::TimestampLtz { .. } => ArrowType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            TypeKind::Array(element) => ArrowType::List(Arc::new(element.to_field(Field::LIST_FIELD_DEFAULT_NAME))),
            TypeKind::Map(key, value) => {
                let key = Field::new("key", key.to_arrow(), false);
                let entry = Fields::from(vec![key, value.to_field("value")]);
                let entries = Field::new("entries", ArrowType::Struct(entry), false);
                ArrowType::Map(Arc::new(entries), false)
            }
            TypeKind::Row(fields) => {
                ArrowType::Struct(fields.iter().map(|field| field.data_type.to_field(&field.name)).collect())
            }
        }
    }

    /// An Arrow field of this type.
    pub fn to_field(&self, name: &str) -> Field {
        Field::new(name, self.to_arrow(), self.nullable)
    }

    /// The type that shows an Arrow type, for `DESCRIBE` and errors.
    ///
    /// # Errors
    /// Names the Arrow type when SQL has none for it.
    pub fn from_arrow(arrow: &ArrowType, nullable: bool) -> Result<Self, String> {
        let kind = match arrow {
            ArrowType::Boolean => TypeKind::Boolean,
            ArrowType::Int8 => TypeKind::TinyInt,
            ArrowType::Int16 => TypeKind::SmallInt,
            ArrowType::Int32 => TypeKind::Int,
            ArrowType::Int64 => TypeKind::BigInt,
            ArrowType::Float32 => TypeKind::Float,
            ArrowType::Float64 => TypeKind::Double,
            ArrowType::Decimal128(precision, scale) if *scale >= 0 => {
                TypeKind::Decimal { precision: *precision, scale: *scale as u8 }
            }
            ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => TypeKind::String,
            ArrowType::FixedSizeBinary(length) if *length > 0 => TypeKind::Binary(*length as u32),
            ArrowType::Binary | ArrowType::LargeBinary | ArrowType::BinaryView => TypeKind::Bytes,
            ArrowType::Date32 => TypeKind::Date,
            ArrowType::Time64(TimeUnit::Microsecond) => TypeKind::Time { precision: 6 },
            ArrowType::Timestamp(unit, zone) => {
                let precision = match unit {
                    TimeUnit::Second => 0,
                    TimeUnit::Millisecond => 3,
                    TimeUnit::Microsecond => 6,
                    TimeUnit::Nanosecond => return Err(format!("no SQL type for {arrow}")),
                };
                match zone {
                    None => TypeKind::Timestamp { precision },
                    Some(_) => TypeKind::TimestampLtz { precision },
                }
            }
            ArrowType::List(element) | ArrowType::LargeList(element) => {
                TypeKind::Array(Box::new(Self::from_field(element)?))
            }
            ArrowType::Map(entries, _) => match entries.data_type() {
                ArrowType::Struct(fields) if fields.len() == 2 => {
                    TypeKind::Map(Box::new(Self::from_field(&fields[0])?), Box::new(Self::from_field(&fields[1])?))
                }
                other => return Err(format!("no SQL type for a map of {other}")),
            },
            ArrowType::Struct(fields) if !fields.is_empty() => TypeKind::Row(
                fields
                    .iter()
                    .map(|field| {
                        Ok(RowField { name: field.name().clone(), data_type: Self::from_field(field)?, comment: None })
                    })
                    .collect::<Result<_, String>>()?,
            ),
            other => return Err(format!("no SQL type for {other}")),
        };
        Ok(Self { kind, nullable })
    }

    fn from_field(field: &Field) -> Result<Self, String> {
        Self::from_arrow(field.data_type(), field.is_nullable())
    }
}
