//! Which field of a schema is meant.

use std::fmt;

/// The names on the way from a schema's root to a field. Below a list the next name is `element`, below a map `key` or
/// `value`; where a struct's field is named directly below a list or a map of structs, `element` or `value` is left out,
/// as in Iceberg's Java library.
///
/// Prints with dots between the names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FieldPath(Vec<String>);

impl FieldPath {
    /// The schema itself: where new columns go.
    pub fn root() -> Self {
        Self::default()
    }

    /// A path of names, outermost first.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// Outermost first.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The names in front of the last one, and the last one. `None` for the root.
    pub fn split_last(&self) -> Option<(Self, &str)> {
        let (last, parent) = self.0.split_last()?;
        Some((Self(parent.to_vec()), last))
    }

    /// The path of a field below this one.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Self(self.0.iter().cloned().chain([name.to_owned()]).collect())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// Dots part the names.
impl From<&str> for FieldPath {
    fn from(dotted: &str) -> Self {
        Self::new(dotted.split('.'))
    }
}
