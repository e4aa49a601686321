//! What can go wrong in this crate, by what the caller can do about it.

use datafusion::error::DataFusionError;

use crate::connectors::SourceError;
use crate::options::OptionError;
use crate::sql::SqlError;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A statement can't be read, or asks for what does not exist. Not worth a retry: the script has to be changed.
    #[error(transparent)]
    Sql(#[from] Box<SqlError>),

    /// A `WITH` option or a hint is missing, misspelt or has a wrong value. Not worth a retry: the script has to be
    /// changed.
    #[error(transparent)]
    Option(#[from] Box<OptionError>),

    /// A value, or a type, does not fit the column that it is for. Not worth a retry: the query or the data has to be
    /// changed.
    #[error("column {column}: {reason}")]
    Unfit {
        /// The column; fields inside of it behind dots.
        column: String,
        /// What does not fit.
        reason: String,
    },

    /// A source's definition, place, position or data is wrong; see [`SourceError`] for what to do about which.
    #[error(transparent)]
    Source(#[from] Box<SourceError>),

    /// DataFusion could not plan or run a statement.
    #[error("{}", .0.strip_backtrace())]
    DataFusion(#[from] DataFusionError),

    /// A statement is right but can't run over a stream. The script has to be changed, or the mode.
    #[error("{what} can't run over a stream yet; {instead}")]
    NotStreamable {
        /// The part of the statement.
        what: String,
        /// What to do about it.
        instead: String,
    },

    /// Rows could not be written or committed.
    #[error(transparent)]
    Writer(#[from] frazil_writer::Error),

    /// A compaction's settings mean nothing, or its files failed.
    #[error(transparent)]
    Compactor(#[from] frazil_compactor::Error),

    /// The catalog failed or refused.
    #[error(transparent)]
    Catalog(#[from] frazil_catalog::Error),

    /// A table could not be read.
    #[error(transparent)]
    Reader(#[from] frazil_reader::Error),

    /// A table's metadata failed or is damaged.
    #[error(transparent)]
    Table(#[from] frazil_table::Error),

    /// The store failed.
    #[error(transparent)]
    Storage(#[from] frazil_storage::Error),

    /// The work was stopped from outside, or because another task failed first. Never an early end of a stream.
    #[error("the work was stopped before its end")]
    Cancelled,

    /// A task ended by a panic. A bug; what was committed stays.
    #[error("a task of the job ended unexpectedly (a bug, please report it): {0}")]
    TaskPanicked(String),
}

impl From<SqlError> for Error {
    fn from(error: SqlError) -> Self {
        Error::Sql(Box::new(error))
    }
}

impl From<OptionError> for Error {
    fn from(error: OptionError) -> Self {
        Error::Option(Box::new(error))
    }
}
