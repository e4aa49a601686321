//! What is wrong with an option, and what would be right.

use std::fmt;

use crate::sql::{Span, SqlError};
use crate::suggest::{nearest, one_of};

/// How many names an error lists before it says how many more there are.
const NAMES_LISTED_MAX: usize = 12;

/// An option that can't be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionError {
    /// Whose option it is, as a person reads it: `connector 'kafka'`.
    pub owner: String,
    /// The option's key.
    pub key: String,
    /// What is wrong.
    pub problem: Problem,
    /// Where in the script; empty when the option does not come from one, or is missing.
    pub span: Span,
}

/// What is wrong with an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// No such key.
    Unknown {
        /// The near ones, nearest first.
        nearest: Vec<String>,
        /// All that are declared.
        valid: Vec<String>,
    },
    /// A required key is absent.
    Missing {
        /// What its value looks like.
        expected: String,
        /// A written key that may have been meant for it.
        written: Option<String>,
    },
    /// The value is not of the key's kind.
    Value {
        /// What was written.
        value: String,
        /// What its value looks like.
        expected: String,
        /// The valid value that is nearest, where the valid ones can be listed.
        nearest: Option<String>,
    },
}

impl OptionError {
    /// The error with its place, line and caret; `script` is the text in which the option stands.
    pub fn in_script(&self, script: &str) -> SqlError {
        SqlError::new(self.to_string(), self.span, script)
    }

    pub(super) fn unknown<'a>(
        owner: &str,
        key: &str,
        span: Span,
        valid: impl Iterator<Item = &'a str> + Clone,
    ) -> Self {
        let mut listed: Vec<String> = valid.clone().map(str::to_owned).collect();
        listed.sort();
        let nearest = nearest(key, valid, 3).into_iter().map(str::to_owned).collect();
        Self {
            owner: owner.to_owned(),
            key: key.to_owned(),
            problem: Problem::Unknown { nearest, valid: listed },
            span,
        }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner, key, problem, .. } = self;
        match problem {
            Problem::Unknown { nearest, valid } => {
                write!(f, "{owner} has no option '{key}'")?;
                if !nearest.is_empty() {
                    let names: Vec<&str> = nearest.iter().map(String::as_str).collect();
                    return write!(f, "; did you mean {}?", one_of(&names));
                }
                if valid.is_empty() {
                    return write!(f, "; it takes none");
                }
                let shown = &valid[..valid.len().min(NAMES_LISTED_MAX)];
                write!(f, "; it has {}", shown.join(", "))?;
                match valid.len() - shown.len() {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Problem::Missing { expected, written } => {
                write!(f, "{owner} needs the option '{key}' ({expected})")?;
                match written {
                    Some(written) => write!(f, "; is '{written}' meant for it?"),
                    None => Ok(()),
                }
            }
            Problem::Value { value, expected, nearest } => {
                write!(f, "option '{key}' of {owner} is '{value}', but has to be {expected}")?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean '{nearest}'?"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for OptionError {}
