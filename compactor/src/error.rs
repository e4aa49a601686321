//! What can keep files from being merged.

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error that names the file or the property.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed. The rewrite may be planned again.
    #[error(transparent)]
    Storage(#[from] frazil_storage::Error),
    /// The table's metadata failed or is damaged.
    #[error(transparent)]
    Table(#[from] frazil_table::Error),
    /// The catalog failed. After a commit whose end is unknown the outputs of the rewrite stay where they are.
    #[error(transparent)]
    Catalog(#[from] frazil_catalog::Error),
    /// An input could not be read.
    #[error(transparent)]
    Reader(#[from] frazil_reader::Error),
    /// An output could not be written.
    #[error(transparent)]
    Writer(#[from] frazil_writer::Error),
    /// An option or a table property has a value that means nothing. Fix it.
    #[error("{name} is {value:?}, but it must be {wanted}")]
    BadOption {
        /// The option or property.
        name: String,
        /// The value it has.
        value: String,
        /// What it may be.
        wanted: &'static str,
    },
    /// An input is not what the table's metadata say of it. Nothing was changed; the file is left alone until a person
    /// looked at it.
    #[error("{location} is damaged: {reason}; it is left as it is, run `frazil verify` on the table")]
    Damaged {
        /// The file.
        location: String,
        /// What is wrong in it.
        reason: String,
    },
    /// The outputs hold another number of rows than the inputs less the deleted ones. Nothing was committed. A bug: please
    /// report it.
    #[error(
        "a rewrite of {files} files in {partition} would turn {rows_in} rows, {rows_deleted} of them deleted, into \
         {rows_out}; nothing was committed"
    )]
    RowsDiffer {
        /// The partition.
        partition: String,
        /// How many files went in.
        files: usize,
        /// Rows that the table's metadata count in the inputs.
        rows_in: u64,
        /// Rows of them that deletes took away.
        rows_deleted: u64,
        /// Rows in the outputs.
        rows_out: u64,
    },
    /// The table's property `gc.enabled` is false: its files belong to somebody else, too.
    #[error(
        "table {table} says gc.enabled=false, so no file of it is deleted; set the property to true if its files are its own"
    )]
    KeepsFiles {
        /// The table.
        table: String,
    },
    /// A file that a killed rewrite left can't be deleted. The next start tries again.
    #[error("{location}, which a rewrite that was killed has left, can't be deleted: {reason}")]
    NotDeleted {
        /// The file.
        location: String,
        /// Why.
        reason: String,
    },
    /// The rewrite was stopped. Its outputs are deleted.
    #[error("the rewrite was stopped before it was done")]
    Cancelled,
    /// The thread that encoded a file is gone; its message is in the log. A bug: please report it.
    #[error("the rewrite of {partition} stopped without a result: {reason}")]
    WorkerLost {
        /// The partition.
        partition: String,
        /// Whether it panicked or was cancelled.
        reason: String,
    },
}

impl Error {
    pub(crate) fn damaged(location: &str, reason: impl ToString) -> Self {
        Self::Damaged { location: location.to_owned(), reason: reason.to_string() }
    }
}
