//! The types of columns and casts, as Flink SQL writes them.

use std::fmt;

use super::name::quoted;

/// A type and whether its values may be NULL. Displays as SQL that parses to the same type again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataType {
    /// Which values there are besides NULL.
    pub kind: TypeKind,
    /// Whether NULL is a value; `NOT NULL` makes this false.
    pub nullable: bool,
}

/// The values of a type besides NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeKind {
    /// `BOOLEAN`
    Boolean,
    /// `TINYINT`
    TinyInt,
    /// `SMALLINT`
    SmallInt,
    /// `INT`
    Int,
    /// `BIGINT`
    BigInt,
    /// `FLOAT`, 4 bytes
    Float,
    /// `DOUBLE`, 8 bytes
    Double,
    /// `DECIMAL(precision, scale)`
    Decimal {
        /// All digits, 1 to 38.
        precision: u8,
        /// Digits after the point, 0 to `precision`.
        scale: u8,
    },
    /// `CHAR(length)`; the length is in characters.
    Char(u32),
    /// `VARCHAR(length)`
    VarChar(u32),
    /// `STRING`
    String,
    /// `BINARY(length)`; the length is in bytes.
    Binary(u32),
    /// `VARBINARY(length)`
    VarBinary(u32),
    /// `BYTES`
    Bytes,
    /// `DATE`
    Date,
    /// `TIME(precision)`
    Time {
        /// Digits of the second's fraction, 0 to 6.
        precision: u8,
    },
    /// `TIMESTAMP(precision)`: a date and a time of day, no zone.
    Timestamp {
        /// Digits of the second's fraction, 0 to 6.
        precision: u8,
    },
    /// `TIMESTAMP_LTZ(precision)`: an instant.
    TimestampLtz {
        /// Digits of the second's fraction, 0 to 6.
        precision: u8,
    },
    /// `ARRAY<element>`
    Array(Box<DataType>),
    /// `MAP<key, value>`
    Map(Box<DataType>, Box<DataType>),
    /// `ROW<name type, …>`
    Row(Vec<RowField>),
}

/// One field of a `ROW`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowField {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Its comment.
    pub comment: Option<String>,
}

impl TypeKind {
    /// The type with NULL.
    pub fn nullable(self) -> DataType {
        DataType { kind: self, nullable: true }
    }

    /// The type without NULL.
    pub fn not_null(self) -> DataType {
        DataType { kind: self, nullable: false }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        match self.nullable {
            true => Ok(()),
            false => f.write_str(" NOT NULL"),
        }
    }
}

impl fmt::Display for TypeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TypeKind::Boolean => f.write_str("BOOLEAN"),
            TypeKind::TinyInt => f.write_str("TINYINT"),
            TypeKind::SmallInt => f.write_str("SMALLINT"),
            TypeKind::Int => f.write_str("INT"),
            TypeKind::BigInt => f.write_str("BIGINT"),
            TypeKind::Float => f.write_str("FLOAT"),
            TypeKind::Double => f.write_str("DOUBLE"),
            TypeKind::Decimal { precision, scale } => write!(f, "DECIMAL({precision}, {scale})"),
            TypeKind::Char(length) => write!(f, "CHAR({length})"),
            TypeKind::VarChar(length) => write!(f, "VARCHAR({length})"),
            TypeKind::String => f.write_str("STRING"),
            TypeKind::Binary(length) => write!(f, "BINARY({length})"),
            TypeKind::VarBinary(length) => write!(f, "VARBINARY({length})"),
            TypeKind::Bytes => f.write_str("BYTES"),
            TypeKind::Date => f.write_str("DATE"),
            TypeKind::Time { precision } => write!(f, "TIME({precision})"),
            TypeKind::Timestamp { precision } => write!(f, "TIMESTAMP({precision})"),
            TypeKind::TimestampLtz { precision } => write!(f, "TIMESTAMP_LTZ({precision})"),
            TypeKind::Array(element) => write!(f, "ARRAY<{element}>"),
            TypeKind::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            TypeKind::Row(fields) => {
                f.write_str("ROW<")?;
                for (index, field) in fields.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{} {}", quoted(&field.name), field.data_type)?;
                    if let Some(comment) = &field.comment {
                        write!(f, " '{}'", comment.replace('\'', "''"))?;
                    }
                }
                f.write_str(">")
            }
        }
    }
}
