//! What can be wrong with a source, and what a person can do about it.

use crate::suggest::one_of;

/// An error of a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A row can't be read as the table declares it. Fix the data, or set `'on-error'='skip'`.
    #[error("{}", malformed(.table, .place, .field.as_deref(), .reason))]
    MalformedRow {
        /// The table.
        table: String,
        /// File and line, or topic, partition and offset.
        place: String,
        /// The path of the field; none when the row as a whole is wrong.
        field: Option<String>,
        /// What is wrong.
        reason: String,
    },

    /// There is nothing to read from, or it can't be reached. Make it, or set the option right; a retry may help with
    /// what can't be reached.
    #[error("table '{table}': {what}; {help}")]
    Unavailable {
        /// The table.
        table: String,
        /// What is missing.
        what: String,
        /// What to check.
        help: String,
    },

    /// What was read up to a checkpoint is gone or another, so that reading on would lose or repeat rows. Needs a
    /// decision of a person.
    #[error("table '{table}': {split} can't be read on from {position}: {reason}; {help}")]
    PositionLost {
        /// The table.
        table: String,
        /// The file, partition or table.
        split: String,
        /// The position.
        position: String,
        /// What happened to it.
        reason: String,
        /// The choices.
        help: String,
    },

    /// The columns or options of a table do not fit its connector. Fix the definition.
    #[error("table '{table}': {reason}")]
    Definition {
        /// The table.
        table: String,
        /// What does not fit.
        reason: String,
    },

    /// No such connector. Fix the definition.
    #[error("table '{table}': there is no connector '{connector}'; {}", known(.nearest.as_deref(), .valid))]
    UnknownConnector {
        /// The table.
        table: String,
        /// What was written.
        connector: String,
        /// The one that may have been meant.
        nearest: Option<String>,
        /// All that there are.
        valid: Vec<&'static str>,
    },

    /// A table that is to be held in memory is larger than allowed.
    #[error(
        "table '{table}' has more than {bytes_max} bytes, the most that may be held in memory; use a smaller one, or a filter"
    )]
    TooLarge {
        /// The table.
        table: String,
        /// The bound in bytes.
        bytes_max: usize,
    },

    /// Reading failed. A retry may help.
    #[error("table '{table}': reading {split} failed: {source}")]
    Read {
        /// The table.
        table: String,
        /// The file, partition or table.
        split: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn malformed(table: &str, place: &str, field: Option<&str>, reason: &str) -> String {
    let field = field.map(|field| format!(", field '{field}'")).unwrap_or_default();
    format!("table '{table}': {place}{field}: {reason} ('on-error'='skip' passes over such rows)")
}

fn known(nearest: Option<&str>, valid: &[&str]) -> String {
    match nearest {
        Some(nearest) => format!("did you mean '{nearest}'?"),
        None => format!("there are {}", one_of(valid).replace(" or ", " and ")),
    }
}
