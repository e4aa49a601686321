//! What can go wrong between a record batch and a commit.

use std::path::PathBuf;

use parquet::errors::ParquetError;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error that names the field, file or property.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed. The writer is to be dropped; nothing of its open files stays.
    #[error(transparent)]
    Storage(#[from] frazil_storage::Error),
    /// The table can't be read or changed as asked.
    #[error(transparent)]
    Table(#[from] frazil_table::Error),
    /// The catalog failed before anything was changed.
    #[error(transparent)]
    Catalog(#[from] frazil_catalog::Error),
    /// The table can't tell whether a checkpoint of the sink landed. Nothing may start before a person chose.
    #[error(
        "table {table} does not say whether checkpoint {checkpoint_id} of {sink} is in it: its snapshot is neither in the \
         history of main nor before the oldest snapshot that is kept; start from a snapshot you name, from the beginning, \
         or under a new job id"
    )]
    Undecidable {
        /// The table.
        table: String,
        /// The sink.
        sink: String,
        /// The checkpoint that the table's properties name.
        checkpoint_id: u64,
    },
    /// The table's rows of this sink were made by another definition, and nobody said that the new one is to go on there.
    #[error(
        "the job {job_id} has written {table} up to checkpoint {checkpoint_id} with another query or from another source; \
         with --job-id {job_id} the new one goes on from there, under any other --job-id it reads its source from the \
         start and what the old one wrote stays in the table"
    )]
    OtherDefinition {
        /// The table.
        table: String,
        /// The job.
        job_id: String,
        /// The last checkpoint of the other definition.
        checkpoint_id: u64,
    },
    /// A newer run of the same job has taken over. Stop; do not retry.
    #[error("table {table}: a newer run of {sink} took over from epoch {epoch}; this run must stop")]
    Fenced {
        /// The table.
        table: String,
        /// The sink.
        sink: String,
        /// This run's epoch.
        epoch: u64,
    },
    /// The table has changed so that the commit makes no sense any more. Not retryable as it is.
    #[error("table {table}: {conflict}")]
    Conflict {
        /// The table.
        table: String,
        /// What is in the way.
        conflict: frazil_table::Conflict,
    },
    /// A checkpoint does not begin where the sink's newest one in the table ends, so that committing it would lose or
    /// repeat rows. Start the job again: it goes on from what the table says.
    #[error(
        "table {table}: a checkpoint of {sink} begins at {begins}, but what the table has of it ends at {ends}; start the \
         job again to go on from there"
    )]
    NotContiguous {
        /// The table.
        table: String,
        /// The sink.
        sink: String,
        /// Where the sources of the refused checkpoint began.
        begins: String,
        /// Where those of the newest checkpoint in the table ended.
        ends: String,
    },
    /// A source forgot a split whose position is in the table: its rows would be read twice or never. A bug of the source.
    #[error("the sources of {sink} have lost the position of {split}, which the last checkpoint had")]
    SplitLost {
        /// The sink.
        sink: String,
        /// The split.
        split: String,
    },
    /// A checkpoint's watermark is older than its predecessor's: rows that were late would be in time again. Start the
    /// job again.
    #[error("the watermark of {sink} went back from {from_ms} to {to_ms} ms")]
    WatermarkRegressed {
        /// The sink.
        sink: String,
        /// The watermark in the table, milliseconds since the Unix epoch.
        from_ms: i64,
        /// The refused one.
        to_ms: i64,
    },
    /// A checkpoint was given out of its order, or after one that has not landed and whose rows it would leave out. Start
    /// the job again: it goes on from what the table says.
    #[error("checkpoint {given} can't follow checkpoint {last}, which is in the tables already or has not landed")]
    CheckpointOrder {
        /// The checkpoint that was given.
        given: u64,
        /// The one before it.
        last: u64,
    },
    /// The schema was changed by somebody else while rows that need new columns were on their way, so that the ids of
    /// their columns may be taken. Start the job again: nothing is lost, and it goes on with the new schema.
    #[error("table {table}: its schema was changed while the job was adding columns to it; start the job again")]
    SchemaMoved {
        /// The table.
        table: String,
    },
    /// The sink's own record in the table can't be read. Not retryable.
    #[error("the record of {sink} is damaged at {place}")]
    DamagedLedger {
        /// The sink.
        sink: String,
        /// Which part of it.
        place: String,
    },
    /// A statistics file is not what its specification says. Remove it from the table, or compute it anew.
    #[error("statistics file {location} can't be read: {reason}")]
    DamagedStatistics {
        /// The file.
        location: String,
        /// What is wrong in it.
        reason: String,
    },
    /// A table property has a value that means nothing. Fix the property.
    #[error("table property {property} is {value:?}, but it must be {wanted}")]
    BadProperty {
        /// The property's key.
        property: String,
        /// The value it has.
        value: String,
        /// What it may be.
        wanted: String,
    },
    /// A batch does not have the table's columns. Fix the query or the schema.
    #[error("field {field}: {reason}")]
    BadBatch {
        /// The field's full name in the table.
        field: String,
        /// How it differs.
        reason: String,
    },
    /// A required field is null. Fix the input, or make the field optional.
    #[error("field {field} is required but row {row} of the batch has no value for it")]
    RequiredNull {
        /// The field's full name.
        field: String,
        /// Row in the batch, from 0.
        row: usize,
    },
    /// A key makes no sense for the table. Fix the key or the table.
    #[error("key column {field}: {reason}")]
    BadKey {
        /// The column's full name; `*` for the key as a whole.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another commit came between the plan of a checkpoint's deletes and its commit. Plan them again on the table as it is
    /// now ([`crate::Committable::replace_deletes`]) and commit the same committable.
    #[error("table {table} has moved on since the deletes of the checkpoint were planned")]
    Stale {
        /// The table.
        table: String,
    },
    /// More rows have one key than an index of keys can hold together. Delete the duplicates first.
    #[error("{count} live rows of the table have keys that are alike: the key does not tell rows apart")]
    KeyNotUnique {
        /// How many were met when it was given up.
        count: usize,
    },
    /// Rows could not be encoded. Not retryable.
    #[error("encoding {location}: {source}")]
    Encode {
        /// The file that was being written.
        location: String,
        /// Why.
        #[source]
        source: ParquetError,
    },
    /// An array operation failed. Not retryable.
    #[error("{doing}: {source}")]
    Arrow {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// What had no room in memory, rows or keys, could not be put aside. Make room in the folder, or name another
    /// ([`WriterConfig::spill_dir`](crate::WriterConfig::spill_dir)).
    #[error("what has no room in memory can't be put aside in {}: {source}", folder.display())]
    Spill {
        /// Where the temporary file is, or was to be.
        folder: PathBuf,
        /// Why.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// The thread that encoded a file is gone; its message is in the log. A bug: please report it.
    #[error("the encoder of {location} stopped without a result: {reason}")]
    EncoderLost {
        /// The file that was being written.
        location: String,
        /// Whether it panicked or was cancelled.
        reason: String,
    },
    /// An earlier call failed or was cancelled half-way, so that rows may be missing from the writer. Drop it and start
    /// again from the last commit.
    #[error("this writer failed before; drop it and start again from the last commit")]
    WriterFailed,
}

impl Error {
    pub(crate) fn arrow(doing: &'static str) -> impl FnOnce(arrow::error::ArrowError) -> Self {
        move |source| Self::Arrow { doing, source }
    }

    pub(crate) fn bad_batch(field: &str, reason: impl Into<String>) -> Self {
        Self::BadBatch { field: field.to_owned(), reason: reason.into() }
    }
}
