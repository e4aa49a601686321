//! Rows that grow value by value, and can take the last one back.
//!
//! A row that turns out to be malformed half way is undone by [`ColumnBuilder::truncate`], so that the rows before it
//! stay and nothing has to be decoded twice. Arrow's own builders can't do that.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Decimal128Array, FixedSizeBinaryArray, ListArray,
    MapArray, NullBufferBuilder, PrimitiveArray, StringArray, StructArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Field, FieldRef, Fields, Float32Type, Float64Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::text;

/// Why a value can't be taken, and where in its row it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldError {
    /// Names from the innermost out.
    path: Vec<String>,
    /// Reads on after "field 'x': ".
    pub(super) reason: String,
}

impl FieldError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { path: Vec::new(), reason: reason.into() }
    }

    pub(super) fn within(mut self, name: &str) -> Self {
        self.path.push(name.to_owned());
        self
    }

    /// `a.b[3].c`; `None` when the row as a whole is wrong.
    pub(super) fn field(&self) -> Option<String> {
        let mut names = self.path.iter().rev();
        let mut path = names.next()?.clone();
        for name in names {
            if !name.starts_with('[') {
                path.push('.');
            }
            path.push_str(name);
        }
        Some(path)
    }
}

/// The values of one column, or of one part of a nested column.
#[derive(Debug)]
pub(super) struct ColumnBuilder {
    pub(super) field: FieldRef,
    validity: NullBufferBuilder,
    pub(super) values: Values,
}

#[derive(Debug)]
pub(super) enum Values {
    Boolean(BooleanBufferBuilder),
    Int(Vec<i32>),
    BigInt(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Decimal { values: Vec<i128>, precision: u8, scale: i8 },
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>),
    Text(Bytes),
    Binary(Bytes),
    FixedBinary { values: Vec<u8>, length: usize },
    Struct { children: Vec<ColumnBuilder>, by_name: HashMap<String, usize> },
    List { offsets: Vec<i32>, element: Box<ColumnBuilder> },
    Map { offsets: Vec<i32>, key: Box<ColumnBuilder>, value: Box<ColumnBuilder> },
}

/// Values of varying length, one after the other.
#[derive(Debug)]
pub(super) struct Bytes {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Bytes {
    fn new() -> Self {
        Self { offsets: vec![0], bytes: Vec::new() }
    }

    fn push(&mut self, value: &[u8]) -> Result<(), FieldError> {
        let end = i32::try_from(self.bytes.len() + value.len());
        let end = end.map_err(|_| FieldError::new("the batch would hold more than 2 GiB of it"))?;
        self.bytes.extend_from_slice(value);
        self.offsets.push(end);
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.bytes.truncate(self.offsets[rows] as usize);
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let taken = std::mem::replace(self, Self::new());
        (offset_buffer(taken.offsets), Buffer::from_vec(taken.bytes))
    }
}

impl ColumnBuilder {
    /// A builder for the field's type.
    ///
    /// # Errors
    /// Names the part whose type neither JSON nor CSV can give.
    pub(super) fn new(field: &FieldRef) -> Result<Self, FieldError> {
        let values = match field.data_type() {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            DataType::Int32 => Values::Int(Vec::new()),
            DataType::Int64 => Values::BigInt(Vec::new()),
            DataType::Float32 => Values::Float(Vec::new()),
            DataType::Float64 => Values::Double(Vec::new()),
            DataType::Decimal128(precision, scale) => {
                Values::Decimal { values: Vec::new(), precision: *precision, scale: *scale }
            }
            DataType::Date32 => Values::Date(Vec::new()),
            DataType::Time64(TimeUnit::Microsecond) => Values::Time(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Values::Timestamp(Vec::new()),
            DataType::Utf8 => Values::Text(Bytes::new()),
            DataType::Binary => Values::Binary(Bytes::new()),
            DataType::FixedSizeBinary(length) => {
                Values::FixedBinary { values: Vec::new(), length: usize::try_from(*length).unwrap_or_default() }
            }
            DataType::Struct(fields) => Self::structure(fields)?,
            DataType::List(element) => Values::List {
                offsets: vec![0],
                element: Box::new(Self::new(element).map_err(|e| e.within(field.name()))?),
            },
            DataType::Map(entries, _) => Self::map(entries)?,
            other => {
                return Err(FieldError::new(format!("it can't be of the type {other}")).within(field.name()));
            }
        };
        Ok(Self { field: field.clone(), validity: NullBufferBuilder::new(0), values })
    }

    fn structure(fields: &Fields) -> Result<Values, FieldError> {
        let names = fields.iter().map(|field| field.name().clone());
        Ok(Values::Struct {
            by_name: names.zip(0..).collect(),
            children: fields.iter().map(Self::new).collect::<Result<_, _>>()?,
        })
    }

    fn map(entries: &Field) -> Result<Values, FieldError> {
        match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 && *fields[0].data_type() == DataType::Utf8 => {
                Ok(Values::Map {
                    offsets: vec![0],
                    key: Box::new(Self::new(&fields[0])?),
                    value: Box::new(Self::new(&fields[1])?),
                })
            }
            _ => Err(FieldError::new("the keys of a MAP have to be STRING")),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.validity.len()
    }

    /// Takes back all values from the `rows`th on, also those of a nested value that was left half way.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.validity.truncate(rows);
        match &mut self.values {
            Values::Boolean(values) => values.truncate(rows),
            Values::Int(values) | Values::Date(values) => values.truncate(rows),
            Values::BigInt(values) | Values::Time(values) | Values::Timestamp(values) => values.truncate(rows),
            Values::Float(values) => values.truncate(rows),
            Values::Double(values) => values.truncate(rows),
            Values::Decimal { values, .. } => values.truncate(rows),
            Values::Text(values) | Values::Binary(values) => values.truncate(rows),
            Values::FixedBinary { values, length } => values.truncate(rows * *length),
            Values::Struct { children, .. } => {
                for child in children {
                    child.truncate(rows);
                }
            }
            Values::List { offsets, element } => {
                offsets.truncate(rows + 1);
                element.truncate(offsets[rows] as usize);
            }
            Values::Map { offsets, key, value } => {
                offsets.truncate(rows + 1);
                key.truncate(offsets[rows] as usize);
                value.truncate(offsets[rows] as usize);
            }
        }
    }

    /// Appends NULL.
    ///
    /// # Errors
    /// When the column is NOT NULL.
    pub(super) fn append_null(&mut self) -> Result<(), FieldError> {
        if !self.field.is_nullable() {
            return Err(FieldError::new("there is no value, but it is NOT NULL"));
        }
        self.append_masked();
        Ok(())
    }

    /// Appends what stands below a NULL.
    fn append_masked(&mut self) {
        self.validity.append_null();
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int(values) | Values::Date(values) => values.push(0),
            Values::BigInt(values) | Values::Time(values) | Values::Timestamp(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Double(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Text(values) | Values::Binary(values) => values.offsets.push(values.bytes.len() as i32),
            Values::FixedBinary { values, length } => values.resize(values.len() + *length, 0),
            Values::Struct { children, .. } => {
                for child in children {
                    child.append_masked();
                }
            }
            Values::List { offsets, .. } | Values::Map { offsets, .. } => {
                offsets.push(*offsets.last().expect("it begins with 0"));
            }
        }
    }

    /// Appends a value that is written as text.
    ///
    /// # Errors
    /// When the text is none of the column's type.
    pub(super) fn append_text(&mut self, value: &str) -> Result<(), FieldError> {
        self.append_parsed(value).map_err(FieldError::new)?;
        self.validity.append_non_null();
        Ok(())
    }

    fn append_parsed(&mut self, value: &str) -> Result<(), String> {
        match &mut self.values {
            Values::Boolean(values) => values.append(text::parse_boolean(value)?),
            Values::Int(values) => values.push(text::parse_int(value)?),
            Values::BigInt(values) => values.push(text::parse_integer(value, "BIGINT")?),
            Values::Float(values) => values.push(text::parse_float(value)?),
            Values::Double(values) => values.push(text::parse_double(value)?),
            Values::Decimal { values, precision, scale } => {
                values.push(text::parse_decimal(value, *precision, *scale)?);
            }
            Values::Date(values) => values.push(text::parse_date(value)?),
            Values::Time(values) => values.push(text::parse_time(value)?),
            Values::Timestamp(values) => values.push(text::parse_timestamp(value)?),
            Values::Text(values) => values.push(value.as_bytes()).map_err(|e| e.reason)?,
            Values::Binary(values) => values.push(&base64(value)?).map_err(|e| e.reason)?,
            Values::FixedBinary { values, length } => {
                let bytes = base64(value)?;
                if bytes.len() != *length {
                    return Err(format!("expected {length} bytes, found {}", bytes.len()));
                }
                values.extend_from_slice(&bytes);
            }
            Values::Struct { .. } => return Err(text::expected("an object", value)),
            Values::List { .. } => return Err(text::expected("an array", value)),
            Values::Map { .. } => return Err(text::expected("an object", value)),
        }
        Ok(())
    }

    /// Closes a nested value whose parts were appended.
    ///
    /// # Errors
    /// When a part of a `ROW` that is NOT NULL was not appended; parts that may be NULL are NULL then.
    pub(super) fn close_nested(&mut self) -> Result<(), FieldError> {
        let rows = self.len() + 1;
        match &mut self.values {
            Values::Struct { children, .. } => {
                for child in children.iter_mut().filter(|child| child.len() < rows) {
                    child.append_null().map_err(|e| e.within(child.field.name()))?;
                }
            }
            Values::List { offsets, element } => offsets.push(offset(element.len())?),
            Values::Map { offsets, key, .. } => offsets.push(offset(key.len())?),
            _ => unreachable!("only nested values are closed"),
        }
        self.validity.append_non_null();
        Ok(())
    }

    /// Takes in more columns, and wider types of those that it has; what is there already stays, with NULL in the new
    /// ones. Whether anything changed. For a struct, between two rows.
    ///
    /// # Errors
    /// Names the part whose type JSON can't give.
    pub(super) fn widen(&mut self, fields: &Fields) -> Result<bool, FieldError> {
        let data_type = DataType::Struct(fields.clone());
        if *self.field.data_type() == data_type {
            return Ok(false);
        }
        let field = self.field.as_ref().clone().with_data_type(data_type);
        self.widen_to(&Arc::new(field))?;
        Ok(true)
    }

    fn widen_to(&mut self, field: &FieldRef) -> Result<(), FieldError> {
        match (&mut self.values, field.data_type()) {
            (Values::Struct { children, by_name }, DataType::Struct(fields)) => {
                for field in fields {
                    if let Some(known) = by_name.get(field.name()) {
                        children[*known].widen_to(field)?;
                        continue;
                    }
                    let mut child = Self::new(field).map_err(|error| error.within(field.name()))?;
                    (0..self.validity.len()).for_each(|_| child.append_masked());
                    by_name.insert(field.name().clone(), children.len());
                    children.push(child);
                }
            }
            (Values::List { element, .. }, DataType::List(field)) => element.widen_to(field)?,
            (Values::Map { value, .. }, DataType::Map(entries, _)) => match entries.data_type() {
                DataType::Struct(pair) if pair.len() == 2 => value.widen_to(&pair[1])?,
                _ => {}
            },
            (Values::Int(values), DataType::Int64) => {
                self.values = Values::BigInt(std::mem::take(values).into_iter().map(i64::from).collect());
            }
            (Values::Float(values), DataType::Float64) => {
                self.values = Values::Double(std::mem::take(values).into_iter().map(f64::from).collect());
            }
            _ => {}
        }
        self.field = Arc::clone(field);
        Ok(())
    }

    /// Everything as an array, and an empty builder again.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let rows = self.len();
        let nulls = self.validity.finish();
        match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int(values) => primitive::<Int32Type>(values, nulls),
            Values::BigInt(values) => primitive::<Int64Type>(values, nulls),
            Values::Float(values) => primitive::<Float32Type>(values, nulls),
            Values::Double(values) => primitive::<Float64Type>(values, nulls),
            Values::Decimal { values, .. } => {
                let array = Decimal128Array::new(std::mem::take(values).into(), nulls);
                Arc::new(array.with_data_type(self.field.data_type().clone()))
            }
            Values::Date(values) => primitive::<Date32Type>(values, nulls),
            Values::Time(values) => primitive::<Time64MicrosecondType>(values, nulls),
            Values::Timestamp(values) => {
                let values: ScalarBuffer<i64> = std::mem::take(values).into();
                let array = PrimitiveArray::<TimestampMicrosecondType>::new(values, nulls);
                Arc::new(array.with_data_type(self.field.data_type().clone()))
            }
            Values::Text(values) => {
                let (offsets, bytes) = values.take();
                let array = StringArray::try_new(offsets, bytes, nulls);
                Arc::new(array.expect("only whole strings are appended"))
            }
            Values::Binary(values) => {
                let (offsets, bytes) = values.take();
                Arc::new(BinaryArray::new(offsets, bytes, nulls))
            }
            Values::FixedBinary { values, length } => {
                let bytes = Buffer::from_vec(std::mem::take(values));
                Arc::new(FixedSizeBinaryArray::new(*length as i32, bytes, nulls))
            }
            Values::Struct { .. } | Values::List { .. } | Values::Map { .. } => self.finish_nested(rows, nulls),
        }
    }

    fn finish_nested(&mut self, rows: usize, nulls: Option<NullBuffer>) -> ArrayRef {
        match (&mut self.values, self.field.data_type()) {
            (Values::Struct { children, .. }, DataType::Struct(fields)) => {
                let arrays = children.iter_mut().map(Self::finish).collect();
                let array = StructArray::try_new_with_length(fields.clone(), arrays, nulls, rows);
                Arc::new(array.expect("a NULL stands only where the field or its parent allows it"))
            }
            (Values::List { offsets, element }, DataType::List(field)) => {
                let offsets = offset_buffer(std::mem::replace(offsets, vec![0]));
                Arc::new(ListArray::new(field.clone(), offsets, element.finish(), nulls))
            }
            (Values::Map { offsets, key, value }, DataType::Map(field, sorted)) => {
                let DataType::Struct(fields) = field.data_type() else {
                    unreachable!("new has checked it");
                };
                let offsets = offset_buffer(std::mem::replace(offsets, vec![0]));
                let entries = StructArray::new(fields.clone(), vec![key.finish(), value.finish()], None);
                Arc::new(MapArray::new(field.clone(), offsets, entries, nulls, *sorted))
            }
            _ => unreachable!("the values were made for the type"),
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(std::mem::take(values).into(), nulls))
}

fn offset(length: usize) -> Result<i32, FieldError> {
    i32::try_from(length).map_err(|_| FieldError::new("the batch would hold too many elements of it"))
}

fn offset_buffer(offsets: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

fn base64(text: &str) -> Result<Vec<u8>, String> {
    let decoded = BASE64_STANDARD.decode(text);
    decoded.map_err(|_| text::expected("BYTES in base64", text))
}
