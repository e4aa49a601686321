//! What can keep a table from being read.

use frazil_table::spec::Operation;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error that names the place and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed. A retry may help.
    #[error(transparent)]
    Storage(#[from] frazil_storage::Error),
    /// The table's metadata failed or is damaged.
    #[error(transparent)]
    Table(#[from] frazil_table::Error),
    /// The catalog failed. A retry may help.
    #[error(transparent)]
    Catalog(#[from] frazil_catalog::Error),
    /// The schema has no column of that path. Fix the request.
    #[error("there is no column {path:?}{}", did_you_mean(.nearest))]
    UnknownColumn {
        /// The dotted path as it was asked for.
        path: String,
        /// The paths that look most like it.
        nearest: Vec<String>,
    },
    /// A predicate makes no sense for the column's type. Fix the request.
    #[error("the condition on {path} can't be used: {reason}")]
    InvalidPredicate {
        /// The column.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The table has no such snapshot, branch or tag. Fix the request.
    #[error("the table has no {wanted}; {hint}")]
    NoSuchSnapshot {
        /// What was asked for.
        wanted: String,
        /// What there is.
        hint: String,
    },
    /// Bytes that are not what the specification or the table's metadata say. Not retryable.
    #[error("{location} is damaged: {reason}")]
    Damaged {
        /// The file.
        location: String,
        /// What is wrong in it.
        reason: String,
    },
    /// A file of a kind that this program can't read. No row of it was given out.
    #[error("{location} can't be read: {reason}")]
    Unsupported {
        /// The file.
        location: String,
        /// What is missing.
        reason: String,
    },
    /// Keys of equality deletes take more memory than they may. Fewer of them at a time may fit.
    #[error("with {location} the keys of equality deletes take more than the {bytes_max} bytes that they may")]
    KeysExceedMemory {
        /// The delete file that was being read.
        location: String,
        /// The limit.
        bytes_max: usize,
    },
    /// Snapshots between the position and the head have been expired: what they added can't be told any more.
    #[error(
        "what happened from {from} on can't be read: snapshot {missing} has been expired; start again from \
         earliest or latest, or read the table whole, and let snapshots live longer (history.expire.max-snapshot-age-ms)"
    )]
    SnapshotsExpired {
        /// Where reading was to begin, in words.
        from: String,
        /// The parent that is named but no longer retained.
        missing: i64,
    },
    /// The position is not in the history of the head: the table was rolled back, or the id is of another branch.
    #[error(
        "snapshot {from} is not in the history of snapshot {head}: the table was rolled back, or the id belongs to \
         another branch; start again from a snapshot of this history, earliest or latest"
    )]
    NotAnAncestor {
        /// The position.
        from: i64,
        /// The head.
        head: i64,
    },
    /// A snapshot changes or removes rows, which an append increment can't express.
    #[error(
        "snapshot {snapshot_id} is {}: it changes or removes rows, which an append increment can't express; skip such \
         snapshots if appended rows alone are wanted", article(.operation)
    )]
    RowLevelChange {
        /// The snapshot.
        snapshot_id: i64,
        /// What it does.
        operation: Operation,
    },
    /// A position of appended rows where changes are read, or the other way round. Fix the request.
    #[error(
        "position {position} can't be gone on from here: it is one of {}; read in that form, or begin at after:SNAPSHOT",
        match position { crate::Position::Changes { .. } => "changes", _ => "appended rows" }
    )]
    OtherPosition {
        /// What was asked for.
        position: crate::Position,
    },
    /// The table has got or lost columns since changes of its rows were begun to be told: rows of both kinds can't be
    /// compared. Start again from the position.
    #[error(
        "the columns of {table} have changed: changes can't be told on with those that it had; go on from position \
         {position} and take the new ones"
    )]
    ColumnsChanged {
        /// The table.
        table: String,
        /// What is done.
        position: crate::Position,
    },
    /// Changes are to be told as upserts, and nothing says which rows are the same. Fix the request or the table.
    #[error(
        "changes can't be told as upserts: {reason}; name the columns that identify a row, or set the table's identifier \
         fields"
    )]
    NoIdentifier {
        /// What is missing.
        reason: String,
    },
    /// More than one row with the same identifier went or came in one snapshot, so that nobody can tell which of them became
    /// which. Fix the request or the table.
    #[error(
        "snapshot {snapshot_id} changes several rows with the same {}: which became which can't be told; name columns \
         that identify a row, or read the changes in another form", .columns.join(", ")
    )]
    AmbiguousUpdate {
        /// The snapshot.
        snapshot_id: i64,
        /// The columns that were to identify a row.
        columns: Vec<String>,
    },
    /// A temporary file failed: the folder of temporary files may be full. A retry may help.
    #[error("rows that are being compared can't be put aside in {}: {source}", std::env::temp_dir().display())]
    Spill {
        /// Why.
        #[from]
        source: std::io::Error,
    },
    /// The runtime ended a part of the scan before it was done. What was given out is only a part.
    #[error("the scan was stopped before it was done")]
    Cancelled,
}

impl Error {
    pub(crate) fn damaged(location: &str, reason: impl ToString) -> Self {
        Self::Damaged { location: location.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn unsupported(location: &str, reason: impl ToString) -> Self {
        Self::Unsupported { location: location.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn invalid_predicate(path: &str, reason: impl ToString) -> Self {
        Self::InvalidPredicate { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn unknown_column<'a>(path: &str, known: impl Iterator<Item = &'a str>) -> Self {
        Self::UnknownColumn { path: path.to_owned(), nearest: nearest(path, known) }
    }
}

/// How many names an error suggests.
const NEAREST_MAX: usize = 3;

fn nearest<'a>(path: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let score = |name: &str| {
        let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_lowercase();
        // A path may leave out the parts of lists and maps.
        let short = name.replace(".element", "").replace(".value", "").to_lowercase();
        let whole = strsim::jaro_winkler(&path.to_lowercase(), &short);
        whole.max(0.9 * strsim::jaro_winkler(&last(path), &last(name)))
    };
    let mut scored: Vec<(f64, &str)> = known.map(|name| (score(name), name)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.into_iter().take(NEAREST_MAX).map(|(_, name)| name.to_owned()).collect()
}

fn did_you_mean(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!("; the nearest are {}", names.join(", ")),
    }
}

fn article(operation: &Operation) -> String {
    match operation {
        Operation::Overwrite => "an overwrite".to_owned(),
        other => format!("a {}", other.as_str()),
    }
}
