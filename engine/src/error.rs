//! What can go wrong in this crate, by what the caller can do about it.

use datafusion::error::DataFusionError;

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

    /// DataFusion could not plan or run a statement.
    #[error("{}", .0.strip_backtrace())]
    DataFusion(#[from] DataFusionError),
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
