//! The keys that a connector declares, and options that were checked against them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::{OptionError, Problem};
use super::iceberg::{self, Property};
use super::value::{parse_duration, parse_size_bytes};
use super::{Entry, Options};
use crate::sql::Span;
use crate::suggest::{nearest_one, one_of};

/// What the value of a key has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text that is not empty.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number in a range, both ends inclusive.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// A number from 0 to 1, such as `0.3`. Kept as the text that it is.
    Ratio,
    /// A time span, such as `500 ms`, `1 s`, `10 min`; see [`parse_duration`].
    Duration,
    /// A number of bytes, such as `128 mb`; see [`parse_size_bytes`].
    Size,
    /// One of these words; case does not count.
    OneOf(&'static [&'static str]),
}

impl Kind {
    /// A whole number from 1 up.
    pub const COUNT: Kind = Kind::Integer { min: 1, max: i64::MAX };

    fn expected(self) -> String {
        match self {
            Kind::Text => "a text".to_owned(),
            Kind::Boolean => "'true' or 'false'".to_owned(),
            Kind::Integer { min: i64::MIN, max: i64::MAX } => "a whole number".to_owned(),
            Kind::Integer { min, max: i64::MAX } => format!("a whole number from {min} up"),
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Ratio => "a number from 0 to 1".to_owned(),
            Kind::Duration => "a time span such as '500 ms', '1 s' or '10 min'".to_owned(),
            Kind::Size => "a size such as '64 kb' or '128 mb'".to_owned(),
            Kind::OneOf(words) => one_of(words),
        }
    }

    /// The value, or why it is none.
    fn parse(self, text: &str) -> Result<Value, Option<String>> {
        let trimmed = text.trim();
        match self {
            Kind::Text if text.is_empty() => Err(Some("it is empty".to_owned())),
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::Boolean => match trimmed.to_ascii_lowercase().as_str() {
                "true" => Ok(Value::Boolean(true)),
                "false" => Ok(Value::Boolean(false)),
                _ => Err(None),
            },
            Kind::Integer { min, max } => match trimmed.parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(Value::Integer(number)),
                _ => Err(None),
            },
            Kind::Ratio => match trimmed.parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(Value::Text(trimmed.to_owned())),
                _ => Err(None),
            },
            Kind::Duration => parse_duration(trimmed).map(Value::Duration).map_err(Some),
            Kind::Size => parse_size_bytes(trimmed).map(Value::Size).map_err(Some),
            Kind::OneOf(words) => words
                .iter()
                .find(|word| word.eq_ignore_ascii_case(trimmed))
                .map(|word| Value::Text((*word).to_owned()))
                .ok_or(None),
        }
    }
}

/// One declared key.
#[derive(Debug, Clone)]
pub struct Spec {
    key: &'static str,
    kind: Kind,
    required: bool,
    default: Option<&'static str>,
}

impl Spec {
    /// A key that may be absent.
    pub fn new(key: &'static str, kind: Kind) -> Self {
        Self { key, kind, required: false, default: None }
    }

    /// The key has to be there.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The value when the key is absent, written as in a script.
    ///
    /// # Panics
    /// When `value` is not of the key's kind, which is a mistake in the declaration.
    pub fn default(mut self, value: &'static str) -> Self {
        let parsed = self.kind.parse(value);
        assert!(parsed.is_ok(), "default '{value}' of '{}' is not {}", self.key, self.kind.expected());
        self.default = Some(value);
        self
    }
}

/// The keys that one owner (a connector, a format, a catalog type) understands.
#[derive(Debug, Clone)]
pub struct Schema {
    owner: String,
    specs: Vec<Spec>,
    prefixes: Vec<&'static str>,
    table_properties: bool,
}

impl Schema {
    /// An empty one. `owner` is how errors call it: `connector 'kafka'`.
    pub fn new(owner: impl Into<String>) -> Self {
        Self { owner: owner.into(), specs: Vec::new(), prefixes: Vec::new(), table_properties: false }
    }

    /// Declares a key.
    ///
    /// # Panics
    /// When the key is declared already, which is a mistake in the declaration.
    pub fn key(mut self, spec: Spec) -> Self {
        assert!(self.spec(spec.key).is_none(), "option '{}' is declared twice", spec.key);
        self.specs.push(spec);
        self
    }

    /// Declares that every key with this prefix passes unchecked, such as Kafka's `properties.`.
    pub fn prefix(mut self, prefix: &'static str) -> Self {
        self.prefixes.push(prefix);
        self
    }

    /// Declares that Iceberg's table properties pass (`format-version`, `write.…`, `commit.…`, `history.…`, `read.…`).
    /// A name that is a slip away from one that Iceberg defines is refused.
    pub fn table_properties(mut self) -> Self {
        self.table_properties = true;
        self
    }

    /// Adds all that another one declares, as a connector does with its format's keys. The owner stays.
    ///
    /// # Panics
    /// When both declare a key, which is a mistake in the declaration.
    pub fn include(mut self, other: Schema) -> Self {
        self = other.specs.into_iter().fold(self, Schema::key);
        self.prefixes.extend(other.prefixes);
        self.table_properties |= other.table_properties;
        self
    }

    /// Checks what was written.
    ///
    /// # Errors
    /// The first unknown key or wrong value in the order in which they were written; then the first missing key.
    pub fn check(&self, options: &Options) -> Result<Checked, Box<OptionError>> {
        let mut values = BTreeMap::new();
        let mut passed = Vec::new();
        let mut kinds: BTreeMap<&'static str, Kind> = BTreeMap::new();
        for entry in options.iter() {
            match self.spec(&entry.key) {
                Some(spec) => {
                    values.insert(spec.key, self.parse(spec, entry)?);
                }
                None if self.passes(entry)? => passed.push((entry.key.clone(), entry.value.clone())),
                None => return Err(Box::new(self.unknown(entry))),
            }
        }
        for spec in &self.specs {
            kinds.insert(spec.key, spec.kind);
            if values.contains_key(spec.key) {
                continue;
            }
            if spec.required {
                return Err(Box::new(self.missing(spec, options)));
            }
            if let Some(default) = spec.default {
                let value = spec.kind.parse(default).expect("Spec::default has parsed it");
                values.insert(spec.key, value);
            }
        }
        Ok(Checked { owner: self.owner.clone(), kinds, values, passed })
    }

    fn spec(&self, key: &str) -> Option<&Spec> {
        self.specs.iter().find(|spec| spec.key == key)
    }

    fn parse(&self, spec: &Spec, entry: &Entry) -> Result<Value, Box<OptionError>> {
        spec.kind.parse(&entry.value).map_err(|why| {
            let mut expected = spec.kind.expected();
            if let Some(why) = why {
                expected = format!("{expected} ({why})");
            }
            let nearest = match spec.kind {
                Kind::OneOf(words) => nearest_one(&entry.value, words.iter().copied()),
                _ => None,
            };
            Box::new(OptionError {
                owner: self.owner.clone(),
                key: entry.key.clone(),
                problem: Problem::Value { value: entry.value.clone(), expected, nearest: nearest.map(str::to_owned) },
                span: entry.value_span,
            })
        })
    }

    /// Whether the key goes through although it is not declared.
    fn passes(&self, entry: &Entry) -> Result<bool, Box<OptionError>> {
        let prefixed =
            self.prefixes.iter().any(|prefix| entry.key.len() > prefix.len() && entry.key.starts_with(prefix));
        if prefixed || !self.table_properties {
            return Ok(prefixed);
        }
        match iceberg::classify(&entry.key) {
            Property::PassesThrough => Ok(true),
            Property::No => Ok(false),
            Property::MeantFor(meant) => Err(Box::new(OptionError {
                owner: self.owner.clone(),
                key: entry.key.clone(),
                problem: Problem::Unknown {
                    nearest: vec![meant.to_owned()],
                    valid: self.names().map(str::to_owned).collect(),
                },
                span: entry.key_span,
            })),
        }
    }

    fn unknown(&self, entry: &Entry) -> OptionError {
        let properties = self.table_properties.then(iceberg::names).into_iter().flatten();
        let all = self.names().chain(properties);
        let mut error = OptionError::unknown(&self.owner, &entry.key, entry.key_span, all);
        if let Problem::Unknown { valid, .. } = &mut error.problem {
            *valid = self.names().map(str::to_owned).collect();
        }
        error
    }

    fn missing(&self, spec: &Spec, options: &Options) -> OptionError {
        let passed = options.iter().filter(|entry| self.spec(&entry.key).is_none());
        let written = nearest_one(spec.key, passed.map(|entry| entry.key.as_str()));
        OptionError {
            owner: self.owner.clone(),
            key: spec.key.to_owned(),
            problem: Problem::Missing { expected: spec.kind.expected(), written: written.map(str::to_owned) },
            span: Span::empty(),
        }
    }

    fn names(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.specs.iter().map(|spec| spec.key)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    Boolean(bool),
    Integer(i64),
    Duration(Duration),
    Size(u64),
}

/// Options that were checked: every value is there in its type, defaults filled in.
///
/// A getter panics when its key was not declared with the kind that it gives, or has neither a value nor a default:
/// these are mistakes in the connector, not in a script. The `…_opt` getters give `None` for an absent key.
#[derive(Debug, Clone)]
pub struct Checked {
    owner: String,
    kinds: BTreeMap<&'static str, Kind>,
    values: BTreeMap<&'static str, Value>,
    passed: Vec<(String, String)>,
}

macro_rules! getters {
    ($($get:ident, $get_opt:ident, $variant:ident($kind:pat), $type:ty, $doc:literal;)*) => {$(
        #[doc = concat!("The ", $doc, " of a key that is required or has a default.")]
        pub fn $get(&self, key: &str) -> $type {
            match self.$get_opt(key) {
                Some(value) => value,
                None => panic!("option '{key}' of {} has neither a value nor a default", self.owner),
            }
        }

        #[doc = concat!("The ", $doc, " of a key, if it is there.")]
        pub fn $get_opt(&self, key: &str) -> Option<$type> {
            match self.kinds.get(key) {
                Some($kind) => {}
                other => panic!("option '{key}' of {} is declared as {other:?}", self.owner),
            }
            match self.values.get(key) {
                Some(Value::$variant(value)) => Some(value.clone()),
                _ => None,
            }
        }
    )*};
}

impl Checked {
    getters! {
        boolean, boolean_opt, Boolean(Kind::Boolean), bool, "truth value";
        integer, integer_opt, Integer(Kind::Integer { .. }), i64, "whole number";
        duration, duration_opt, Duration(Kind::Duration), Duration, "time span";
        size_bytes, size_bytes_opt, Size(Kind::Size), u64, "number of bytes";
    }

    /// The text, or the word in its declared spelling, of a key that is required or has a default.
    pub fn text(&self, key: &str) -> &str {
        match self.text_opt(key) {
            Some(text) => text,
            None => panic!("option '{key}' of {} has neither a value nor a default", self.owner),
        }
    }

    /// The text, or the word in its declared spelling, of a key, if it is there.
    pub fn text_opt(&self, key: &str) -> Option<&str> {
        match self.kinds.get(key) {
            Some(Kind::Text | Kind::OneOf(_)) => {}
            other => panic!("option '{key}' of {} is declared as {other:?}", self.owner),
        }
        match self.values.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Keys that passed by a declared prefix or as table properties, in the order in which they were written.
    pub fn passed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.passed.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Those of [`Self::passed`] that have this prefix, without it.
    pub fn passed_under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.passed().filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value)))
    }
}
