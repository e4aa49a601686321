//! `METADATA` columns: what a record has besides its value.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int64Array, MapBuilder, MapFieldNames, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, FieldRef, Fields, TimeUnit};
use rdkafka::message::{BorrowedMessage, Headers, Message};

use crate::connectors::columns::FieldError;
use crate::suggest::{nearest_one, one_of};

const KEYS: [&str; 6] = ["topic", "partition", "offset", "timestamp", "key", "headers"];

/// Which part of a record a column is.
#[derive(Debug, Clone)]
pub(super) struct MetadataColumn {
    part: Part,
    field: FieldRef,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Topic,
    Partition,
    Offset,
    Timestamp,
    KeyText,
    KeyBytes,
    Headers,
}

impl MetadataColumn {
    /// # Errors
    /// When there is no such part, or it is of another type.
    pub(super) fn new(key: &str, field: &FieldRef) -> Result<Self, String> {
        let (part, wanted) = match (key, field.data_type()) {
            ("topic", DataType::Utf8) => (Part::Topic, ""),
            ("topic", _) => (Part::Topic, "STRING"),
            ("partition", DataType::Int32) => (Part::Partition, ""),
            ("partition", _) => (Part::Partition, "INT"),
            ("offset", DataType::Int64) => (Part::Offset, ""),
            ("offset", _) => (Part::Offset, "BIGINT"),
            ("timestamp", DataType::Timestamp(TimeUnit::Microsecond, _)) => (Part::Timestamp, ""),
            ("timestamp", _) => (Part::Timestamp, "TIMESTAMP_LTZ(3)"),
            ("key", DataType::Utf8) => (Part::KeyText, ""),
            ("key", DataType::Binary) => (Part::KeyBytes, ""),
            ("key", _) => (Part::KeyBytes, "BYTES or STRING"),
            ("headers", DataType::Map(entries, false)) if header_fields(entries).is_some() => (Part::Headers, ""),
            ("headers", _) => (Part::Headers, "MAP<STRING, BYTES>"),
            (other, _) => {
                let help = match nearest_one(other, KEYS) {
                    Some(near) => format!("did you mean '{near}'?"),
                    None => format!("there are {}", one_of(&KEYS).replace(" or ", " and ")),
                };
                return Err(format!("column '{}': records have no metadata '{other}'; {help}", field.name()));
            }
        };
        if !wanted.is_empty() {
            return Err(format!("column '{}': the metadata '{key}' has the type {wanted}", field.name()));
        }
        Ok(Self { part, field: field.clone() })
    }

    /// A builder for it.
    pub(super) fn builder(&self, topic: &str, partition: i32) -> MetadataBuilder {
        let values = match self.part {
            Part::Topic => Values::Topic { topic: topic.to_owned(), rows: 0 },
            Part::Partition => Values::Partition { partition, rows: 0 },
            Part::Offset => Values::Offset(Vec::new()),
            Part::Timestamp => Values::Timestamp(Vec::new()),
            Part::KeyText => Values::KeyText(StringBuilder::new()),
            Part::KeyBytes => Values::KeyBytes(BinaryBuilder::new()),
            Part::Headers => Values::Headers(Box::new(header_builder(&self.field))),
        };
        MetadataBuilder { field: self.field.clone(), values }
    }
}

/// The fields of `MAP<STRING, BYTES>`.
fn header_fields(entries: &FieldRef) -> Option<&Fields> {
    let DataType::Struct(fields) = entries.data_type() else {
        return None;
    };
    let types: Vec<&DataType> = fields.iter().map(|field| field.data_type()).collect();
    (types == [&DataType::Utf8, &DataType::Binary] && fields[1].is_nullable()).then_some(fields)
}

fn header_builder(field: &FieldRef) -> MapBuilder<StringBuilder, BinaryBuilder> {
    let DataType::Map(entries, _) = field.data_type() else {
        unreachable!("MetadataColumn::new has checked it");
    };
    let fields = header_fields(entries).expect("MetadataColumn::new has checked it");
    let names =
        MapFieldNames { entry: entries.name().clone(), key: fields[0].name().clone(), value: fields[1].name().clone() };
    MapBuilder::new(Some(names), StringBuilder::new(), BinaryBuilder::new())
        .with_keys_field(fields[0].clone())
        .with_values_field(fields[1].clone())
}

/// The values of a metadata column since the last batch.
#[derive(Debug)]
pub(super) struct MetadataBuilder {
    field: FieldRef,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Topic { topic: String, rows: usize },
    Partition { partition: i32, rows: usize },
    Offset(Vec<i64>),
    Timestamp(Vec<Option<i64>>),
    KeyText(StringBuilder),
    KeyBytes(BinaryBuilder),
    Headers(Box<MapBuilder<StringBuilder, BinaryBuilder>>),
}

impl MetadataBuilder {
    /// Whether [`Self::append`] can take the record.
    ///
    /// # Errors
    /// When a part that is NOT NULL is not there, or a key that is declared as text is none.
    pub(super) fn check(&self, message: &BorrowedMessage<'_>) -> Result<(), FieldError> {
        let missing = match &self.values {
            Values::Timestamp(_) => message.timestamp().to_millis().is_none(),
            Values::KeyText(_) | Values::KeyBytes(_) => message.key().is_none(),
            _ => false,
        };
        let reason = match (&self.values, message.key()) {
            _ if missing && !self.field.is_nullable() => "there is no value, but it is NOT NULL",
            (Values::KeyText(_), Some(key)) if std::str::from_utf8(key).is_err() => {
                "the key is not UTF-8; declare it as BYTES"
            }
            _ => return Ok(()),
        };
        Err(FieldError::new(reason).within(self.field.name()))
    }

    /// Appends the record's part, which [`Self::check`] has seen.
    pub(super) fn append(&mut self, message: &BorrowedMessage<'_>) {
        match &mut self.values {
            Values::Topic { rows, .. } | Values::Partition { rows, .. } => *rows += 1,
            Values::Offset(values) => values.push(message.offset()),
            Values::Timestamp(values) => {
                values.push(message.timestamp().to_millis().map(|millis| millis.saturating_mul(1000)));
            }
            Values::KeyText(values) => {
                values.append_option(message.key().and_then(|key| std::str::from_utf8(key).ok()))
            }
            Values::KeyBytes(values) => values.append_option(message.key()),
            Values::Headers(values) => {
                for header in message.headers().into_iter().flat_map(Headers::iter) {
                    values.keys().append_value(header.key);
                    values.values().append_option(header.value);
                }
                values.append(true).expect("a key and a value are appended together");
            }
        }
    }

    /// The values since the last batch.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match &mut self.values {
            Values::Topic { topic, rows } => {
                let rows = std::mem::take(rows);
                Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&*topic, rows)))
            }
            Values::Partition { partition, rows } => Arc::new(Int32Array::from_value(*partition, std::mem::take(rows))),
            Values::Offset(values) => Arc::new(Int64Array::from(std::mem::take(values))),
            Values::Timestamp(values) => {
                let array = TimestampMicrosecondArray::from(std::mem::take(values));
                Arc::new(array.with_data_type(self.field.data_type().clone()))
            }
            Values::KeyText(values) => Arc::new(values.finish()),
            Values::KeyBytes(values) => Arc::new(values.finish()),
            Values::Headers(values) => Arc::new(values.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_type;

    #[test]
    fn parts_by_name_and_type() {
        let column = |key: &str, sql: &str| MetadataColumn::new(key, &Arc::new(parse_type(sql).unwrap().to_field("c")));
        for (key, sql) in [
            ("topic", "STRING"),
            ("partition", "INT"),
            ("offset", "BIGINT NOT NULL"),
            ("timestamp", "TIMESTAMP_LTZ(3)"),
            ("timestamp", "TIMESTAMP(3)"),
            ("key", "BYTES"),
            ("key", "STRING"),
            ("headers", "MAP<STRING, BYTES>"),
        ] {
            let column = column(key, sql).unwrap_or_else(|error| panic!("{key} {sql}: {error}"));
            let array = column.builder("t", 0).finish();
            assert_eq!(array.data_type(), column.field.data_type(), "{key} {sql}");
        }
        assert!(column("offset", "INT").unwrap_err().contains("BIGINT"));
        assert!(column("timestmp", "BIGINT").unwrap_err().contains("did you mean 'timestamp'?"));
        assert!(column("zzz", "BIGINT").unwrap_err().contains("'key' and 'headers'"));
    }
}
