//! What can be wrong with a table or a change of it.

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error that names the table's part.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed. Retry a read; a write may have landed.
    #[error(transparent)]
    Storage(#[from] frazil_storage::Error),
    /// Bytes that are not what the specification says. Not retryable.
    #[error("{location} is damaged: {reason}")]
    Damaged {
        /// The file.
        location: String,
        /// What is wrong in it.
        reason: String,
    },
    /// The change makes no sense for this table. Fix the change.
    #[error("the change can't be made: {0}")]
    InvalidChange(String),
    /// A deletion vector was added beside deletes of the same data file, which a reader of it would not look at. Read
    /// them, write one vector with all of them, and remove them in the same change.
    #[error("{data_file} gets a deletion vector, but {delete_file} with deletes of it stays live")]
    DeletesNotAbsorbed {
        /// The data file.
        data_file: String,
        /// The deletion vector or position delete file.
        delete_file: String,
    },
    /// A schema has a column that has no counterpart. Fix the schema.
    #[error("{}: {reason}", if .field.is_empty() { "the schema".to_owned() } else { format!("field {field}") })]
    InvalidSchema {
        /// The field's name with the names of the fields around it, joined by dots; empty for the schema as a whole.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The specification's own implementation refused.
    #[error("{doing}: {source}")]
    Spec {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: Box<iceberg::Error>,
    },
}

impl Error {
    pub(crate) fn spec(doing: &'static str) -> impl FnOnce(iceberg::Error) -> Self {
        move |source| Self::Spec { doing, source: Box::new(source) }
    }

    pub(crate) fn invalid_schema(field: &str, reason: impl Into<String>) -> Self {
        Self::InvalidSchema { field: field.to_owned(), reason: reason.into() }
    }

    pub(crate) fn damaged(location: &str, reason: impl ToString) -> Self {
        Self::Damaged { location: location.to_owned(), reason: reason.to_string() }
    }
}
