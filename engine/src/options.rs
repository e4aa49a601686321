//! `WITH ('key' = 'value', …)`: what was written, and what a connector understands of it.
//!
//! A connector declares its keys once, as a [`Schema`]; [`Schema::check`] turns the written [`Options`] into
//! [`Checked`] ones, whose getters can't fail. Everything a person can get wrong (a misspelt key, a missing one, a value
//! of the wrong kind) is found here and reported with the key's place in the script.
//!
//! ```
//! use frazil_engine::options::{Kind, Options, Schema, Spec};
//!
//! let schema = Schema::new("connector 'filesystem'")
//!     .key(Spec::new("path", Kind::Text).required())
//!     .key(Spec::new("format", Kind::OneOf(&["json", "csv", "parquet"])).default("json"))
//!     .key(Spec::new("source.monitor-interval", Kind::Duration));
//!
//! let options = Options::from_pairs([("path", "/data"), ("source.monitor-interval", "500 ms")]);
//! let checked = schema.check(&options)?;
//! assert_eq!(checked.text("path"), "/data");
//! assert_eq!(checked.text("format"), "json");
//! assert_eq!(checked.duration_opt("source.monitor-interval").map(|d| d.as_millis()), Some(500));
//!
//! let error = schema.check(&Options::from_pairs([("pth", "/data")])).unwrap_err();
//! assert!(error.to_string().contains("did you mean 'path'?"));
//! # Ok::<(), Box<frazil_engine::options::OptionError>>(())
//! ```

mod error;
mod iceberg;
mod schema;
#[cfg(test)]
mod tests;
mod value;

use crate::sql::Span;

pub use error::{OptionError, Problem};
pub use schema::{Checked, Kind, Schema, Spec};
pub use value::{parse_duration, parse_size_bytes};

/// The options as they were written, in their order. Each key is there once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    entries: Vec<Entry>,
}

/// One option as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key, case kept.
    pub key: String,
    /// The value, without quotes.
    pub value: String,
    /// Where the key stands in the script; empty when it does not come from one.
    pub key_span: Span,
    /// Where the value stands in the script; empty when it does not come from one.
    pub value_span: Span,
}

impl Options {
    /// No options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Options that do not come from a script. A later pair replaces an earlier one with the same key.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut options = Self::new();
        for (key, value) in pairs {
            options.put(Entry {
                key: key.into(),
                value: value.into(),
                key_span: Span::empty(),
                value_span: Span::empty(),
            });
        }
        options
    }

    /// Adds an option, or replaces the one with the same key in its place.
    pub fn put(&mut self, entry: Entry) {
        match self.entries.iter_mut().find(|known| known.key == entry.key) {
            Some(known) => *known = entry,
            None => self.entries.push(entry),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entry(key).map(|entry| entry.value.as_str())
    }

    /// A key with its value and place.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// All of them in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// These options with those of a hint (`/*+ OPTIONS(…) */`) over them: the hint wins where both have a key.
    pub fn overlaid(&self, hint: &Options) -> Options {
        let mut merged = self.clone();
        for entry in &hint.entries {
            merged.put(entry.clone());
        }
        merged
    }
}
