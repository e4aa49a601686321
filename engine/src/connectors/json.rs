//! One JSON object, one row.
//!
//! Fields are matched by name, case counts; a field that the table does not have is passed over, and one that is not
//! there is NULL. Numbers are taken from their text, so that no digit is lost on the way through a float. A string is
//! taken where a number, a date or a truth value is declared, if it reads as one; a `STRING` column takes any value,
//! objects and arrays as their JSON text (both as Flink does).

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::columns::{ColumnBuilder, FieldError, Values};
use super::text;

/// How a record is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// By the columns that were declared: see the module's documentation.
    Declared,
    /// By columns that were found in the data: each value is of its column's kind, as it was when the column was found.
    Exact,
    /// As `Exact`, and a field that is not there is an error unless nothing is in it.
    Complete,
}

/// Some of a row's columns, which stand in an object of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// What errors call the object: the record's key or value.
    pub(super) place: &'static str,
    /// For each column of the row whether it is one of them.
    pub(super) columns: Vec<bool>,
    /// What the names of the columns begin with, and those of the object's fields do not.
    pub(super) prefix: String,
}

/// Appends the object in `record` to the columns of `root`, which is a struct.
///
/// # Errors
/// What is wrong with it; `root` is left with a part of the row and has to be truncated.
pub(super) fn append_record(root: &mut ColumnBuilder, record: &[u8], reading: Reading) -> Result<(), FieldError> {
    append(root, record, reading, None)
}

/// Appends one row out of several objects, each with other columns; columns that are in none of them are NULL.
///
/// # Errors
/// As [`append_record`]; a column of no object that is NOT NULL.
pub(super) fn append_parts(root: &mut ColumnBuilder, parts: &[(&Part, &[u8])]) -> Result<(), FieldError> {
    for (part, record) in parts {
        append(root, record, Reading::Declared, Some(part)).map_err(|mut error| {
            error.reason.push_str(" (in the record's ");
            error.reason.push_str(part.place);
            error.reason.push(')');
            error
        })?;
    }
    root.close_nested()
}

fn append(root: &mut ColumnBuilder, record: &[u8], reading: Reading, part: Option<&Part>) -> Result<(), FieldError> {
    let mut failed = None;
    let mut deserializer = serde_json::Deserializer::from_slice(record);
    let seed = Node { builder: root, failed: &mut failed, reading, part };
    let end = seed.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    end.map_err(|error| failed.unwrap_or_else(|| syntax_error(&error)))
}

/// What serde_json says, without the line, which is always the first.
fn syntax_error(error: &serde_json::Error) -> FieldError {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    FieldError::new(format!("not valid JSON at byte {}: {what}", error.column()))
}

/// A value on its way into a builder. What is wrong with it goes to `failed`, since an error of serde has no path.
struct Node<'a> {
    builder: &'a mut ColumnBuilder,
    failed: &'a mut Option<FieldError>,
    reading: Reading,
    /// The columns that it has, where others of its row come from elsewhere; then its row is not closed here.
    part: Option<&'a Part>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match &self.builder.values {
            Values::Struct { .. } | Values::List { .. } | Values::Map { .. } => deserializer.deserialize_any(self),
            _ => {
                let raw = <&RawValue>::deserialize(deserializer)?;
                let end = match self.reading {
                    Reading::Declared => Ok(()),
                    Reading::Exact | Reading::Complete => check_kind(self.builder, raw.get()),
                };
                let end = end.and_then(|()| append_raw(self.builder, raw.get()));
                end.map_err(|error| fail(self.failed, error))
            }
        }
    }
}

fn fail<E: serde::de::Error>(failed: &mut Option<FieldError>, error: FieldError) -> E {
    *failed = Some(error);
    E::custom("")
}

/// Whether a value is written as those of its column are: a text is no number, and a number no text.
fn check_kind(builder: &ColumnBuilder, raw: &str) -> Result<(), FieldError> {
    let quoted = raw.starts_with('"');
    let fits = match builder.values {
        _ if raw == "null" => true,
        Values::Boolean(_) => matches!(raw, "true" | "false"),
        Values::Int(_) | Values::BigInt(_) => !quoted && !raw.contains(['.', 'e', 'E']),
        Values::Float(_) | Values::Double(_) | Values::Decimal { .. } => !quoted,
        _ => quoted,
    };
    match fits {
        true => Ok(()),
        false => {
            let expected = match builder.values {
                Values::Boolean(_) => "true or false",
                Values::Int(_) | Values::BigInt(_) => "a whole number",
                Values::Float(_) | Values::Double(_) | Values::Decimal { .. } => "a number",
                _ => "a text",
            };
            Err(FieldError::new(text::expected(expected, raw)))
        }
    }
}

/// Whether no value is in it, however deep: such a field tells nothing of its type.
fn is_empty(raw: &str) -> bool {
    raw == "null" || raw.chars().all(|c| "[]{}, \t\r\n".contains(c))
}

fn append_raw(builder: &mut ColumnBuilder, raw: &str) -> Result<(), FieldError> {
    let is_text = matches!(builder.values, Values::Text(_));
    match raw.as_bytes().first() {
        Some(b'n') => builder.append_null(),
        Some(b'"') => match &raw[1..raw.len() - 1] {
            plain if !plain.contains('\\') => builder.append_text(plain),
            _ => {
                let text: String = serde_json::from_str(raw).map_err(|e| syntax_error(&e))?;
                builder.append_text(&text)
            }
        },
        Some(b'0'..=b'9' | b'-') if matches!(builder.values, Values::Timestamp(_)) => Err(FieldError::new(format!(
            "expected a timestamp in text, found the number {raw}; declare it as BIGINT and convert it with \
             TO_TIMESTAMP_SECONDS, TO_TIMESTAMP_MILLIS or TO_TIMESTAMP_MICROS"
        ))),
        Some(b'{') if !is_text => Err(FieldError::new("expected a plain value, found an object")),
        Some(b'[') if !is_text => Err(FieldError::new("expected a plain value, found an array")),
        _ => builder.append_text(raw),
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.builder.values {
            Values::List { .. } => "an array",
            _ => "an object",
        })
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.builder.append_null().map_err(|error| fail(self.failed, error))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        match &self.builder.values {
            Values::Struct { .. } => self.fields(map)?,
            Values::Map { .. } => self.entries(map)?,
            _ => return Err(self.wrong("an array", "an object")),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { builder, failed, reading, .. } = self;
        let Values::List { element, .. } = &mut builder.values else {
            return Err(fail(failed, FieldError::new("expected an object, found an array")));
        };
        let before = element.len();
        loop {
            let index = element.len() - before;
            let node = Node { builder: element, failed, reading, part: None };
            match elements.next_element_seed(node) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => return Err(inside(failed, error, &format!("[{index}]"))),
            }
        }
        builder.close_nested().map_err(|error| fail(failed, error))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        let found = format!("the text {}", text::shown(value));
        Err(self.unexpected(&found))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        Err(self.unexpected(&value.to_string()))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        Err(self.unexpected(&format!("the number {value}")))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        Err(self.unexpected(&format!("the number {value}")))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        Err(self.unexpected(&format!("the number {value}")))
    }
}

impl<'a> Node<'a> {
    fn wrong<E: serde::de::Error>(self, expected: &str, found: &str) -> E {
        fail(self.failed, FieldError::new(format!("expected {expected}, found {found}")))
    }

    fn unexpected<E: serde::de::Error>(self, found: &str) -> E {
        match &self.builder.values {
            Values::List { .. } => self.wrong("an array", found),
            _ => self.wrong("an object", found),
        }
    }

    fn fields<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { builder, failed, reading, part } = self;
        let rows = builder.len();
        let Values::Struct { children, by_name } = &mut builder.values else {
            unreachable!("the caller has looked");
        };
        let mut guess = 0;
        while let Some(found) = map.next_key_seed(FieldName { children, by_name, guess, part })? {
            let Some(index) = found else {
                if reading != Reading::Complete {
                    map.next_value::<IgnoredAny>()?;
                } else if !is_empty(map.next_value::<&RawValue>()?.get()) {
                    return Err(fail(failed, FieldError::new("it has a field that no column is for")));
                }
                continue;
            };
            guess = index + 1;
            let child = &mut children[index];
            if child.len() > rows {
                let twice = FieldError::new("it is there twice").within(child.field.name());
                return Err(fail(failed, twice));
            }
            let field = child.field.clone();
            map.next_value_seed(Node { builder: child, failed, reading, part: None })
                .map_err(|error| inside(failed, error, field.name()))?;
        }
        match part {
            None => builder.close_nested().map_err(|error| fail(failed, error)),
            Some(_) => Ok(()),
        }
    }

    fn entries<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { builder, failed, reading, .. } = self;
        let Values::Map { key, value, .. } = &mut builder.values else {
            unreachable!("the caller has looked");
        };
        while let Some(name) = map.next_key::<String>()? {
            key.append_text(&name).map_err(|error| fail(failed, error))?;
            map.next_value_seed(Node { builder: value, failed, reading, part: None })
                .map_err(|error| inside(failed, error, &format!("['{name}']")))?;
        }
        builder.close_nested().map_err(|error| fail(failed, error))
    }
}

/// Puts a name before the path of an error that a part of a value gave.
fn inside<E: serde::de::Error>(failed: &mut Option<FieldError>, error: E, name: &str) -> E {
    *failed = failed.take().map(|inner| inner.within(name));
    error
}

/// A key, as the place of its field.
struct FieldName<'a> {
    children: &'a [ColumnBuilder],
    by_name: &'a std::collections::HashMap<String, usize>,
    /// Objects mostly have their fields in the table's order.
    guess: usize,
    part: Option<&'a Part>,
}

impl<'de> DeserializeSeed<'de> for FieldName<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Option<usize>, E> {
        if let Some(part) = self.part {
            let found = match part.prefix.as_str() {
                "" => self.by_name.get(name),
                prefix => self.by_name.get(&format!("{prefix}{name}")),
            };
            return Ok(found.copied().filter(|column| part.columns[*column]));
        }
        let guessed = self.children.get(self.guess);
        Ok(match guessed.is_some_and(|child| child.field.name() == name) {
            true => Some(self.guess),
            false => self.by_name.get(name).copied(),
        })
    }
}
