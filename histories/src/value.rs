//! Values of any type, as the model has them and as Arrow has them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::*;
use chrono::DateTime;
use frazil_table::arrow::field_id;
use frazil_table::row_lineage::{LAST_UPDATED_SEQUENCE_NUMBER, ROW_ID};
use frazil_table::spec::{NestedFieldRef, PrimitiveType, StructType, Type};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::Value;

/// A value. Fields of structs go by id, so that no change of a schema changes a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Val {
    Null,
    Bool(bool),
    /// Also dates, moments and decimals.
    Int(i128),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Struct(BTreeMap<i32, Val>),
    List(Vec<Val>),
    Map(Vec<(Val, Val)>),
}

impl Val {
    /// Whether an equality delete takes them for the same: NaN is NaN, null is null.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            _ => self == other,
        }
    }

    /// The value at a path of ids through structs.
    pub fn at(&self, path: &[i32]) -> Val {
        match (self, path) {
            (value, []) => value.clone(),
            (Self::Struct(fields), [id, rest @ ..]) => fields.get(id).map_or(Val::Null, |value| value.at(rest)),
            _ => Val::Null,
        }
    }

    /// The value of the field with this id, through structs.
    pub fn field(&self, id: i32) -> Option<&Val> {
        let Self::Struct(fields) = self else { return None };
        fields.get(&id).or_else(|| fields.values().find_map(|value| value.field(id)))
    }

    /// A row with its lineage columns.
    pub fn with_row_id(&self, row_id: Option<i64>) -> Val {
        let Self::Struct(fields) = self else { panic!("a row is a struct") };
        let mut fields = fields.clone();
        fields.insert(ROW_ID, row_id.map_or(Self::Null, |id| Self::Int(id.into())));
        fields.insert(LAST_UPDATED_SEQUENCE_NUMBER, Self::Null);
        Self::Struct(fields)
    }

    /// The value as a reader with these fields sees it.
    pub fn project(&self, fields: &[NestedFieldRef]) -> Val {
        let Self::Struct(values) = self else { return Val::Null };
        let value =
            |field: &NestedFieldRef| values.get(&field.id).map_or(Val::Null, |v| v.project_type(&field.field_type));
        Val::Struct(fields.iter().map(|field| (field.id, value(field))).collect())
    }

    /// The row in the form in which peers answer: values by position, structs as lists.
    pub fn plain(&self, fields: &StructType) -> Value {
        let Self::Struct(values) = self else { return Value::Null };
        let value =
            |field: &NestedFieldRef| values.get(&field.id).map_or(Value::Null, |v| v.plain_of(&field.field_type));
        fields.fields().iter().map(value).collect()
    }

    fn plain_of(&self, r#type: &Type) -> Value {
        let day = |days: i64| DateTime::from_timestamp(days * 86_400, 0).unwrap();
        match (self, r#type) {
            (Self::Null, _) => Value::Null,
            (_, Type::Struct(inner)) => self.plain(inner),
            (Self::List(items), Type::List(list)) => {
                items.iter().map(|item| item.plain_of(&list.element_field.field_type)).collect()
            }
            (Self::Int(days), Type::Primitive(PrimitiveType::Date)) => {
                day(*days as i64).format("%Y-%m-%d").to_string().into()
            }
            (Self::Int(micros), Type::Primitive(PrimitiveType::Timestamptz)) => {
                let moment = DateTime::from_timestamp_micros(*micros as i64).unwrap();
                moment.format("%Y-%m-%dT%H:%M:%S%.6f").to_string().into()
            }
            (Self::Int(cents), Type::Primitive(PrimitiveType::Decimal { scale: 2, .. })) => {
                let sign = if *cents < 0 { "-" } else { "" };
                format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100).into()
            }
            (Self::Int(value), _) => (*value as i64).into(),
            (Self::Bool(value), _) => (*value).into(),
            (Self::Text(value), _) => value.as_str().into(),
            (other, of) => unreachable!("{other} is no {of} that all engines have"),
        }
    }

    fn project_type(&self, r#type: &Type) -> Val {
        match (self, r#type) {
            (Self::Struct(_), Type::Struct(inner)) => self.project(inner.fields()),
            (Self::List(items), Type::List(list)) => {
                Val::List(items.iter().map(|item| item.project_type(&list.element_field.field_type)).collect())
            }
            (Self::Map(entries), Type::Map(map)) => {
                let value = |v: &Val| v.project_type(&map.value_field.field_type);
                Val::Map(entries.iter().map(|(k, v)| (k.clone(), value(v))).collect())
            }
            (value, _) => value.clone(),
        }
    }
}

/// Equal texts are equal values.
impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) if value.is_nan() => f.write_str("NaN"),
            Self::Float(value) => write!(f, "{value:?}f"),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::Bytes(value) => write!(f, "x{value:02x?}"),
            Self::Struct(fields) => f.debug_map().entries(fields.iter().map(|(id, v)| (id, Shown(v)))).finish(),
            Self::List(items) => f.debug_list().entries(items.iter().map(Shown)).finish(),
            Self::Map(entries) => f.debug_map().entries(entries.iter().map(|(k, v)| (Shown(k), Shown(v)))).finish(),
        }
    }
}

struct Shown<'a>(&'a Val);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)
    }
}

/// A random value of a type.
pub fn random(random_: &mut StdRng, r#type: &Type, required: bool) -> Val {
    if !required && random_.random_bool(0.15) {
        return Val::Null;
    }
    let small = random_.random_range(-3..6_i128);
    match r#type {
        Type::Primitive(PrimitiveType::Boolean) => Val::Bool(small > 0),
        Type::Primitive(PrimitiveType::Float | PrimitiveType::Double) => {
            let choices = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, 0.5, -1.25, 3.0, 1e20];
            // Of single precision, so that a float that becomes a double stays the same.
            Val::Float(f64::from(*choices.choose(random_).unwrap() as f32))
        }
        Type::Primitive(PrimitiveType::String) => {
            let choices = ["", "a", "b", "ab", "é", "long-enough-to-be-cut-by-bounds", "z\u{10ffff}"];
            Val::Text((*choices.choose(random_).unwrap()).to_owned())
        }
        Type::Primitive(PrimitiveType::Binary) => Val::Bytes(vec![0xff; random_.random_range(0..20)]),
        Type::Primitive(PrimitiveType::Timestamp | PrimitiveType::Timestamptz) => {
            Val::Int(small * 43_200_000_000 + 1_700_000_000_000_000)
        }
        Type::Primitive(PrimitiveType::Date) => Val::Int(small * 400),
        Type::Primitive(_) => Val::Int(small),
        Type::Struct(inner) => {
            let value = |field: &NestedFieldRef| (field.id, random(random_, &field.field_type, field.required));
            Val::Struct(inner.fields().iter().map(value).collect())
        }
        Type::List(list) => {
            let field = &list.element_field;
            let count = random_.random_range(0..4);
            Val::List((0..count).map(|_| random(random_, &field.field_type, field.required)).collect())
        }
        Type::Map(map) => {
            let count = random_.random_range(0..3);
            let field = &map.value_field;
            let entry = |index| (Val::Text(format!("k{index}")), random(random_, &field.field_type, field.required));
            Val::Map((0..count).map(entry).collect())
        }
    }
}

/// Values as an Arrow array of a field's type.
pub fn to_array(field: &Field, values: &[&Val]) -> ArrayRef {
    let ints = || values.iter().map(|v| if let Val::Int(v) = v { Some(*v) } else { None });
    let floats = || values.iter().map(|v| if let Val::Float(v) = v { Some(*v) } else { None });
    match field.data_type() {
        DataType::Boolean => Arc::new(
            values.iter().map(|v| if let Val::Bool(v) = v { Some(*v) } else { None }).collect::<BooleanArray>(),
        ),
        DataType::Int32 => Arc::new(ints().map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(ints().map(|v| v.map(|v| v as i64)).collect::<Int64Array>()),
        DataType::Date32 => Arc::new(ints().map(|v| v.map(|v| v as i32)).collect::<Date32Array>()),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let array: TimestampMicrosecondArray = ints().map(|v| v.map(|v| v as i64)).collect();
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        DataType::Decimal128(precision, scale) => {
            Arc::new(ints().collect::<Decimal128Array>().with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::Float32 => Arc::new(floats().map(|v| v.map(|v| v as f32)).collect::<Float32Array>()),
        DataType::Float64 => Arc::new(floats().collect::<Float64Array>()),
        DataType::Utf8 => {
            let texts = values.iter().map(|v| if let Val::Text(v) = v { Some(v.as_str()) } else { None });
            Arc::new(texts.collect::<StringArray>())
        }
        DataType::Binary => {
            let bytes = values.iter().map(|v| if let Val::Bytes(v) = v { Some(v.as_slice()) } else { None });
            Arc::new(bytes.collect::<BinaryArray>())
        }
        DataType::Struct(fields) => to_struct(fields, values),
        DataType::List(element) => {
            let lengths = values.iter().map(|v| if let Val::List(v) = v { v.len() } else { 0 });
            let inner: Vec<&Val> =
                values.iter().flat_map(|v| if let Val::List(v) = v { v.iter().collect() } else { vec![] }).collect();
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(ListArray::new(element.clone(), offsets, to_array(element, &inner), nulls(values)))
        }
        DataType::Map(entries, sorted) => {
            let DataType::Struct(pair) = entries.data_type() else { unreachable!() };
            let lengths = values.iter().map(|v| if let Val::Map(v) = v { v.len() } else { 0 });
            let inner: Vec<&(Val, Val)> =
                values.iter().flat_map(|v| if let Val::Map(v) = v { v.iter().collect() } else { vec![] }).collect();
            let keys: Vec<&Val> = inner.iter().map(|(key, _)| key).collect();
            let items: Vec<&Val> = inner.iter().map(|(_, value)| value).collect();
            let arrays = vec![to_array(&pair[0], &keys), to_array(&pair[1], &items)];
            let entry_array = StructArray::new(pair.clone(), arrays, None);
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(MapArray::new(entries.clone(), offsets, entry_array, nulls(values), *sorted))
        }
        other => unreachable!("no column is {other}"),
    }
}

fn to_struct(fields: &Fields, values: &[&Val]) -> ArrayRef {
    let null = Val::Null;
    let arrays = fields.iter().map(|field| {
        let id = field_id(field).unwrap();
        let inner = values.iter().map(|value| match value {
            Val::Struct(fields) => fields.get(&id).unwrap_or(&null),
            _ => &null,
        });
        to_array(field, &inner.collect::<Vec<_>>())
    });
    Arc::new(StructArray::try_new_with_length(fields.clone(), arrays.collect(), nulls(values), values.len()).unwrap())
}

/// Rows as a batch.
pub fn to_batch(schema: &SchemaRef, rows: &[&Val]) -> RecordBatch {
    RecordBatch::from(to_struct(schema.fields(), rows).as_struct())
}

fn nulls(values: &[&Val]) -> Option<NullBuffer> {
    Some(NullBuffer::from_iter(values.iter().map(|value| **value != Val::Null)))
}

/// The rows of a batch. Columns without a field id are left out.
pub fn of_batch(batch: &RecordBatch) -> Vec<Val> {
    let rows = StructArray::from(batch.clone());
    (0..batch.num_rows()).map(|row| of_struct(&rows, row)).collect()
}

fn of_struct(array: &StructArray, row: usize) -> Val {
    let values = array.fields().iter().zip(array.columns());
    let values = values.filter_map(|(field, column)| Some((field_id(field)?, of_array(column, row))));
    Val::Struct(values.collect())
}

fn of_array(array: &ArrayRef, row: usize) -> Val {
    if array.is_null(row) {
        return Val::Null;
    }
    match array.data_type() {
        DataType::Boolean => Val::Bool(array.as_boolean().value(row)),
        DataType::Int32 => Val::Int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Val::Int(array.as_primitive::<Int64Type>().value(row).into()),
        DataType::Date32 => Val::Int(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Timestamp(_, _) => Val::Int(array.as_primitive::<TimestampMicrosecondType>().value(row).into()),
        DataType::Decimal128(_, _) => Val::Int(array.as_primitive::<Decimal128Type>().value(row)),
        DataType::Float32 => Val::Float(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => Val::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Val::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => Val::Bytes(array.as_binary::<i32>().value(row).to_owned()),
        DataType::Struct(_) => of_struct(array.as_struct(), row),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            Val::List((0..items.len()).map(|item| of_array(&items, item)).collect())
        }
        DataType::Map(_, _) => {
            let entries = array.as_map().value(row);
            let entry = |item| (of_array(entries.column(0), item), of_array(entries.column(1), item));
            Val::Map((0..entries.len()).map(entry).collect())
        }
        other => unreachable!("no column is {other}"),
    }
}
