//! Columns that are found in the data.
//!
//! All subtasks of a source agree on one schema, which only grows: fields are added at any depth as values for them
//! come, an `INT` becomes a `BIGINT` and a `FLOAT` a `DOUBLE` where a value needs it. A JSON number is a `BIGINT`, one with
//! a fraction or an exponent a `DOUBLE`, a text a `STRING`. A field of which only NULL, `{}` or `[]` was seen is none yet. A
//! value of another kind than its column is an error of its record.

use std::sync::{Arc, Mutex};

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use serde_json::{Map, Value};

use super::columns::{ColumnBuilder, FieldError};

/// Fields of an inferred schema, at all depths together: what a stream of ever new names may take of memory and metadata.
const FIELDS_MAX: usize = 10_000;

/// Structs and lists inside of each other.
const DEPTH_MAX: usize = 32;

/// The schema that the subtasks of a source have found so far.
#[derive(Debug)]
pub(super) struct Inference {
    fields: Mutex<Fields>,
}

impl Inference {
    /// Begins with columns that are known.
    pub(super) fn new(known: Fields) -> Self {
        Self { fields: Mutex::new(known) }
    }

    /// The columns so far.
    pub(super) fn fields(&self) -> Fields {
        self.fields.lock().expect("no code panics while it holds this lock").clone()
    }

    /// Adds columns that are known from elsewhere, as far as JSON can give their types and they are not here yet.
    pub(super) fn learn(&self, known: &Fields) {
        let mut fields = self.fields.lock().expect("no code panics while it holds this lock");
        let is_new =
            |field: &&FieldRef| fields.find(field.name()).is_none() && ColumnBuilder::new(&bare(field)).is_ok();
        let new: Vec<_> = known.iter().filter(is_new).map(bare).collect();
        *fields = fields.iter().cloned().chain(new).collect();
    }

    /// Grows by what a record has; the columns then.
    ///
    /// # Errors
    /// The record is no JSON object, a value is of another kind than its column, or the schema would be too large.
    pub(super) fn grow(&self, record: &[u8]) -> Result<Fields, FieldError> {
        let value: Value = serde_json::from_slice(record)
            .map_err(|error| FieldError::new(format!("not valid JSON at byte {}", error.column())))?;
        let Value::Object(object) = value else { return Err(FieldError::new("expected an object")) };
        let mut fields = self.fields.lock().expect("no code panics while it holds this lock");
        let grown = grow_struct(&fields, &object, 0)?;
        if count(&grown) > FIELDS_MAX {
            return Err(FieldError::new(format!(
                "with it there would be more than {FIELDS_MAX} fields; declare an object with ever new names as MAP or STRING"
            )));
        }
        *fields = grown;
        Ok(fields.clone())
    }
}

fn count(fields: &Fields) -> usize {
    let of = |data_type: &DataType| -> usize {
        match data_type {
            DataType::Struct(fields) => count(fields),
            DataType::List(element) => count(&Fields::from(vec![Arc::clone(element)])),
            _ => 0,
        }
    };
    fields.iter().map(|field| 1 + of(field.data_type())).sum()
}

/// Without the metadata of a table, at any depth.
fn bare(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(bare).collect()),
        DataType::List(element) => DataType::List(bare(element)),
        DataType::Map(entries, sorted) => DataType::Map(bare(entries), *sorted),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

fn grow_struct(fields: &Fields, object: &Map<String, Value>, depth: usize) -> Result<Fields, FieldError> {
    if depth > DEPTH_MAX {
        return Err(FieldError::new(format!("it is nested more than {DEPTH_MAX} deep")));
    }
    let mut grown = Vec::with_capacity(fields.len());
    for field in fields {
        grown.push(match object.get(field.name()) {
            Some(value) => grow_field(field, value, depth).map_err(|error| error.within(field.name()))?,
            None => Arc::clone(field),
        });
    }
    for (name, value) in object.iter().filter(|(name, _)| fields.find(name).is_none()) {
        let found = infer(value, depth).map_err(|error| error.within(name))?;
        grown.extend(found.map(|data_type| Arc::new(Field::new(name, data_type, true))));
    }
    Ok(grown.into())
}

fn grow_field(field: &FieldRef, value: &Value, depth: usize) -> Result<FieldRef, FieldError> {
    let data_type = match (field.data_type(), value) {
        (_, Value::Null) => return Ok(Arc::clone(field)),
        (DataType::Struct(fields), Value::Object(object)) => DataType::Struct(grow_struct(fields, object, depth + 1)?),
        (DataType::Struct(_), _) => return Err(conflict("an object", value)),
        (DataType::List(element), Value::Array(values)) => DataType::List(grow_element(element, values, depth + 1)?),
        (DataType::List(_), _) => return Err(conflict("an array", value)),
        (DataType::Int32, Value::Number(number)) => match number.as_i64() {
            Some(number) if i32::try_from(number).is_err() => DataType::Int64,
            _ => return Ok(Arc::clone(field)),
        },
        (DataType::Float32, Value::Number(number)) => match number.as_f64() {
            Some(number) if f64::from(number as f32) != number => DataType::Float64,
            _ => return Ok(Arc::clone(field)),
        },
        // Whether a plain value fits is found out when it is read.
        _ => return Ok(Arc::clone(field)),
    };
    Ok(Arc::new(field.as_ref().clone().with_data_type(data_type)))
}

fn grow_element(element: &FieldRef, values: &[Value], depth: usize) -> Result<FieldRef, FieldError> {
    let mut grown = Arc::clone(element);
    for (index, value) in values.iter().enumerate() {
        grown = grow_field(&grown, value, depth).map_err(|error| error.within(&format!("[{index}]")))?;
    }
    Ok(grown)
}

/// The type of a value that no column is for; none while it tells nothing.
fn infer(value: &Value, depth: usize) -> Result<Option<DataType>, FieldError> {
    Ok(match value {
        Value::Null => None,
        Value::Bool(_) => Some(DataType::Boolean),
        Value::Number(number) if number.is_f64() => Some(DataType::Float64),
        Value::Number(number) if number.is_i64() => Some(DataType::Int64),
        Value::Number(number) => {
            return Err(FieldError::new(format!("the number {number} is beyond BIGINT; declare it as DECIMAL(20, 0)")));
        }
        Value::String(_) => Some(DataType::Utf8),
        Value::Object(object) => {
            let fields = grow_struct(&Fields::empty(), object, depth + 1)?;
            (!fields.is_empty()).then_some(DataType::Struct(fields))
        }
        Value::Array(values) => infer_list(values, depth)?,
    })
}

fn infer_list(values: &[Value], depth: usize) -> Result<Option<DataType>, FieldError> {
    if depth > DEPTH_MAX {
        return Err(FieldError::new(format!("it is nested more than {DEPTH_MAX} deep")));
    }
    let mut element: Option<FieldRef> = None;
    for (index, value) in values.iter().enumerate() {
        let found = match &element {
            Some(element) => grow_field(element, value, depth + 1).map(Some),
            None => infer(value, depth + 1)
                .map(|found| found.map(|data_type| Arc::new(Field::new("element", data_type, true)))),
        };
        element = found.map_err(|error| error.within(&format!("[{index}]")))?;
    }
    Ok(element.map(DataType::List))
}

fn conflict(expected: &str, value: &Value) -> FieldError {
    let found = match value {
        Value::Object(_) => "an object",
        Value::Array(_) => "an array",
        Value::String(_) => "a text",
        Value::Number(_) => "a number",
        Value::Bool(_) | Value::Null => "a truth value",
    };
    FieldError::new(format!("expected {expected}, found {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::json::{Reading, append_record};

    fn grown(records: &[&str]) -> Result<String, String> {
        let inference = Inference::new(Fields::empty());
        for record in records {
            inference
                .grow(record.as_bytes())
                .map_err(|e| format!("{:?} {}", e.field().unwrap_or_default(), e.reason))?;
        }
        Ok(names(&inference.fields()).join("\n"))
    }

    /// Each field with its type, by name.
    fn names(fields: &Fields) -> Vec<String> {
        let mut names: Vec<_> =
            fields.iter().map(|field| format!("{}: {}", field.name(), shape(field.data_type()))).collect();
        names.sort();
        names
    }

    fn shape(data_type: &DataType) -> String {
        match data_type {
            DataType::Struct(fields) => format!("{{{}}}", names(fields).join(", ")),
            DataType::List(element) => format!("[{}]", shape(element.data_type())),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn fields_are_found_at_every_depth_once_they_have_a_value() {
        let records = [
            r#"{"a": 1, "n": null, "e": {}, "l": [], "deep": {"x": [{"y": true}]}}"#,
            r#"{"l": [null, {"k": "v"}], "deep": {"x": [{}, {"z": 0.5}]}, "n": "now"}"#,
        ];
        expect_test::expect![[r#"
            a: Int64
            deep: {x: [{y: Boolean, z: Float64}]}
            l: [{k: Utf8}]
            n: Utf8"#]]
        .assert_eq(&grown(&records).unwrap());
    }

    #[test]
    fn a_value_of_another_kind_is_an_error_of_its_record_by_name() {
        for (record, expected) in [
            (r#"{"s": {"x": "text"}}"#, "\"s.x\" expected an object, found a text"),
            (r#"{"s": []}"#, "\"s\" expected an object, found an array"),
            (r#"{"l": [1, {}]}"#, ""),
            (r#"{"l": {}}"#, "\"l\" expected an array, found an object"),
        ] {
            let end = grown(&[r#"{"s": {"x": {"y": 1}}, "l": [1]}"#, record]);
            match expected {
                "" => assert!(end.is_ok()),
                _ => assert_eq!(end.unwrap_err(), expected),
            }
        }
        assert!(grown(&["[1]"]).is_err());
        let deep = format!("{}1{}", r#"{"a":"#.repeat(60), "}".repeat(60));
        assert!(grown(&[&deep]).unwrap_err().contains("deep"));
    }

    #[test]
    fn rows_that_are_there_keep_their_values_when_columns_come() {
        let inference = Inference::new(Fields::empty());
        let root = Field::new("row", DataType::Struct(Fields::empty()), false);
        let mut builder = ColumnBuilder::new(&Arc::new(root)).unwrap();
        let records =
            [r#"{"a": [{"x": 1}, {"x": 2}]}"#, r#"{"b": "t", "a": [{"y": "u"}]}"#, r#"{"a": null, "c": {"d": 1}}"#];
        for record in records {
            let fields = inference.grow(record.as_bytes()).unwrap();
            builder.widen(&fields).unwrap();
            append_record(&mut builder, record.as_bytes(), Reading::Complete).unwrap();
        }
        let array = builder.finish();
        let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
        use arrow::array::AsArray;
        writer.write(&array.as_struct().into()).unwrap();
        let text = String::from_utf8(writer.into_inner()).unwrap();
        let expected = [r#"{"a":[{"x":1},{"x":2}]}"#, r#"{"a":[{"y":"u"}],"b":"t"}"#, r#"{"c":{"d":1}}"#];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn in_inferred_columns_a_text_is_no_number_and_a_number_no_text() {
        let inference = Inference::new(Fields::empty());
        let root = Field::new("row", DataType::Struct(Fields::empty()), false);
        let mut builder = ColumnBuilder::new(&Arc::new(root)).unwrap();
        let fields = inference.grow(br#"{"n": 1, "d": 0.5, "t": "1", "b": true}"#).unwrap();
        builder.widen(&fields).unwrap();
        for wrong in
            [r#"{"n": "1"}"#, r#"{"n": 1.5}"#, r#"{"d": "0.5"}"#, r#"{"t": 1}"#, r#"{"t": {"x": 1}}"#, r#"{"b": 1}"#]
        {
            append_record(&mut builder, wrong.as_bytes(), Reading::Exact).unwrap_err();
            builder.truncate(0);
        }
        append_record(&mut builder, br#"{"n": 2, "d": 1, "t": "x", "b": false}"#, Reading::Exact).unwrap();
    }
}
