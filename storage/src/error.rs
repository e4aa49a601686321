//! What can go wrong between the program and its bytes.

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error that names the place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is there. Not retryable; the caller decides what absence means.
    #[error("{location} does not exist")]
    NotFound {
        /// The full location that was asked for.
        location: String,
    },
    /// A file of that name is there already. Not retryable under the same name.
    #[error("{location} exists already")]
    AlreadyExists {
        /// The full location that was to be created.
        location: String,
    },
    /// The location can't be understood or its scheme has no store. Fix the input.
    #[error("location {location:?} can't be used: {reason}")]
    BadLocation {
        /// The location as it was given.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store does not let us. Give it other credentials, or have its administrator allow it.
    #[error("{operation} {location} is not allowed: {source}; check the credentials given for this store")]
    Denied {
        /// What was tried: read, write, list, delete.
        operation: &'static str,
        /// Where.
        location: String,
        /// What the store said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A storage property can't be used. Fix it.
    #[error("storage property {key}: {reason}")]
    BadProperty {
        /// The property's name.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store failed, again and again where trying again could have helped. For a read: retrying later may help. For a write: the file may or may not be there.
    #[error("{operation} {location} failed: {source}")]
    Io {
        /// What was tried: read, write, list, delete.
        operation: &'static str,
        /// Where.
        location: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A step armed by a test asked for a failure here.
    #[error("stopped at step {step} as asked")]
    Stopped {
        /// The step's name.
        step: &'static str,
    },
}

impl Error {
    pub(crate) fn io(
        operation: &'static str,
        location: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Io { operation, location: location.to_owned(), source: source.into() }
    }

    /// Whether the error says that nothing is there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}
