//! Arguments of a `CALL`, bound to the parameters of its procedure.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::ScalarValue;

use super::Procedure;
use crate::Result;
use crate::session::Session;
use crate::sql::{Call, CallArgument, Name, Span, SqlError};
use crate::suggest::nearest_one;

/// What a procedure takes.
pub(super) struct Parameter {
    name: &'static str,
    kind: Kind,
    required: bool,
}

/// What a parameter's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Boolean,
    /// A moment; without a zone it is UTC.
    Timestamp,
    /// `MAP['key', 'value', …]`
    Options,
    /// `ARRAY['a', 'b', …]`
    Texts,
}

impl Parameter {
    pub(super) const fn required(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, required: true }
    }

    pub(super) const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, required: false }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.required {
            true => f.write_str(self.name),
            false => write!(f, "[{}]", self.name),
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Boolean => "TRUE or FALSE",
            Self::Timestamp => "a moment: TIMESTAMP '2024-01-31 12:00:00'",
            Self::Options => "a map of texts: MAP['key', 'value']",
            Self::Texts => "a list of texts: ARRAY['a', 'b']",
        }
    }

    fn arrow(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::Boolean => DataType::Boolean,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into())),
            Self::Texts => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
            Self::Options => {
                let fields = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)];
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields.into()), false)), false)
            }
        }
    }

    /// Whether a value may be meant for it: a number is no text, and a text no number.
    fn takes(self, value: &ScalarValue) -> bool {
        let data_type = value.data_type();
        match self {
            Self::Text => matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8),
            Self::Integer => data_type.is_integer(),
            Self::Boolean => data_type == DataType::Boolean,
            Self::Timestamp => !data_type.is_numeric() && !data_type.is_nested(),
            Self::Options => matches!(data_type, DataType::Map(..)),
            Self::Texts => matches!(data_type, DataType::List(_)),
        }
    }
}

/// The values of a call's arguments.
pub(super) struct Arguments<'a> {
    call: &'a Call,
    script: &'a str,
    values: BTreeMap<&'static str, (ScalarValue, Span)>,
}

impl<'a> Arguments<'a> {
    pub(super) fn bind(session: &Session, call: &'a Call, procedure: &Procedure, script: &'a str) -> Result<Self> {
        let mut bound = Self { call, script, values: BTreeMap::new() };
        for (position, argument) in call.arguments.iter().enumerate() {
            let parameter = bound.parameter(procedure, position, argument)?;
            if bound.values.contains_key(parameter.name) {
                let message = format!("the argument '{}' is there twice", parameter.name);
                return Err(bound.refuse(message, argument.span, Some(procedure)));
            }
            let value = session.constant(&argument.value, script)?;
            if value.is_null() {
                continue;
            }
            let cast = value.cast_to(&parameter.kind.arrow()).ok();
            match cast.filter(|cast| parameter.kind.takes(&value) && !cast.is_null()) {
                Some(cast) => drop(bound.values.insert(parameter.name, (cast, argument.span))),
                None => {
                    let message = format!("'{}' is {}", parameter.name, parameter.kind.name());
                    return Err(bound.refuse(message, argument.span, None));
                }
            }
        }
        let missing = procedure.parameters.iter().find(|p| p.required && !bound.values.contains_key(p.name));
        match missing {
            None => Ok(bound),
            Some(parameter) => {
                let message = format!("the argument '{}' is missing", parameter.name);
                Err(bound.refuse(message, call.procedure.span(), Some(procedure)))
            }
        }
    }

    fn parameter(&self, procedure: &Procedure, position: usize, argument: &CallArgument) -> Result<&'static Parameter> {
        let Some((name, span)) = &argument.name else {
            return procedure.parameters.get(position).ok_or_else(|| {
                let message = format!("{} takes {} arguments", procedure.name, procedure.parameters.len());
                self.refuse(message, argument.span, Some(procedure))
            });
        };
        let found = procedure.parameters.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let names = procedure.parameters.iter().map(|parameter| parameter.name);
            let error = SqlError::new(format!("{} takes no '{name}'", procedure.name), *span, self.script);
            match nearest_one(name, names) {
                Some(near) => error.help(format!("did you mean '{near}'?")).into(),
                None => error.help(format!("write {procedure}")).into(),
            }
        })
    }

    fn refuse(&self, message: String, span: Span, called_as: Option<&Procedure>) -> crate::Error {
        let error = SqlError::new(message, span, self.script);
        match called_as {
            Some(procedure) => error.help(format!("write CALL {procedure}")).into(),
            None => error.into(),
        }
    }

    /// The text that the call stands in.
    pub(super) fn script(&self) -> &'a str {
        self.script
    }

    /// Where the call's procedure stands, with its arguments.
    pub(super) fn span(&self) -> Span {
        let arguments = self.call.arguments.iter().map(|argument| argument.span);
        arguments.fold(self.call.procedure.span(), |span, argument| span.union(&argument))
    }

    /// The table's name; a catalog in front of the procedure counts for it, too.
    pub(super) fn table_name(&self) -> Result<Name> {
        let (value, span) = &self.values["table"];
        let text = text_of(value).unwrap_or_default();
        let mut parts: Vec<String> = text.split('.').map(|part| part.trim_matches('`').to_owned()).collect();
        if parts.iter().any(String::is_empty) || parts.len() > 3 {
            let error = SqlError::new(format!("'{text}' is not a table's name"), *span, self.script);
            return Err(error.help("write 'database.table'").into());
        }
        if let (2, Some(catalog)) = (parts.len(), self.call.procedure.catalog()) {
            parts.insert(0, catalog.to_owned());
        }
        Ok(Name::new(parts).at(*span))
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        text_of(&self.values.get(name)?.0)
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        match self.values.get(name)?.0 {
            ScalarValue::Int64(value) => value,
            _ => None,
        }
    }

    pub(super) fn boolean(&self, name: &str) -> bool {
        matches!(self.values.get(name), Some((ScalarValue::Boolean(Some(true)), _)))
    }

    /// Milliseconds since the Unix epoch.
    pub(super) fn timestamp_ms(&self, name: &str) -> Option<i64> {
        match self.values.get(name)?.0 {
            ScalarValue::TimestampMillisecond(value, _) => value,
            _ => None,
        }
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let Some((ScalarValue::List(list), _)) = self.values.get(name) else { return Vec::new() };
        list.value(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
    }

    pub(super) fn options(&self, name: &str) -> HashMap<String, String> {
        let Some((ScalarValue::Map(map), _)) = self.values.get(name) else { return HashMap::new() };
        let entries = map.value(0);
        let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
        let pairs = (0..entries.len()).filter(|row| values.is_valid(*row));
        pairs.map(|row| (keys.value(row).to_owned(), values.value(row).to_owned())).collect()
    }

    /// Where an argument stands.
    pub(super) fn span_of(&self, name: &str) -> Span {
        self.values.get(name).map_or(self.call.procedure.span(), |(_, span)| *span)
    }
}

fn text_of(value: &ScalarValue) -> Option<String> {
    match value {
        ScalarValue::Utf8(text) => text.clone(),
        _ => None,
    }
}
