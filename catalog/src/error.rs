//! What a catalog may refuse, and why.

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error with the name it is about. The HTTP service maps each variant to one status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 404: no namespace of that name.
    #[error("namespace {0} does not exist")]
    NoSuchNamespace(String),
    /// 404: no table of that name.
    #[error("table {0} does not exist")]
    NoSuchTable(String),
    /// 404: no consumer of that name.
    #[error("consumer {0} does not exist")]
    NoSuchConsumer(String),
    /// 409: a newer member of the consumer has joined. Stop, and leave what was done since the last commit to it.
    #[error("consumer {0} was taken over by a newer member; this one must stop")]
    ConsumerFenced(String),
    /// 409: a namespace of that name is there.
    #[error("namespace {0} exists already")]
    NamespaceExists(String),
    /// 409: a table of that name is there.
    #[error("table {0} exists already")]
    TableExists(String),
    /// 409: only an empty namespace can be dropped.
    #[error("namespace {0} still holds tables or namespaces; drop them first")]
    NamespaceNotEmpty(String),
    /// 400: the request makes no sense. Fix the request.
    #[error("{0}")]
    BadRequest(String),
    /// 403: the request is understood and refused.
    #[error("{0}")]
    Forbidden(String),
    /// The catalog answered with something that a client can't use, or did not answer. Retry a read.
    #[error("the catalog at {uri} failed: {reason}")]
    Unavailable {
        /// Where it was asked.
        uri: String,
        /// What came back.
        reason: String,
    },
    /// The catalog's own store failed. Retry a read.
    #[error("the catalog's database failed: {0}")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The table's files failed or are damaged.
    #[error(transparent)]
    Table(#[from] frazil_table::Error),
}

impl From<frazil_storage::Error> for Error {
    fn from(error: frazil_storage::Error) -> Self {
        Self::Table(error.into())
    }
}
