//! Bringing one snapshot over to `main`: a staged one that was audited (write-audit-publish), or one of another branch.
//!
//! If `main` still is where the snapshot was made from, `main` simply moves to it. Else what the snapshot appended is
//! appended again as a new snapshot, which says where it comes from, so that nothing is brought over twice.

use std::fmt;

use crate::evolve::{MetadataChange, RefChange};
use crate::spec::{MAIN_BRANCH, Operation, Snapshot};
use crate::{Change, Error, Result, SnapshotProperties, Table, TableFile};

/// The summary key under which a writer stages a snapshot that is to be audited.
pub const STAGED_WAP_ID: &str = "wap.id";
/// The summary key of a snapshot that was published: the `wap.id` of the staged one.
pub const PUBLISHED_WAP_ID: &str = "published-wap-id";
/// The summary key of a snapshot that was picked: the id of the original.
pub const SOURCE_SNAPSHOT_ID: &str = "source-snapshot-id";

/// How a snapshot comes over to `main`. Prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CherryPick {
    /// `main` moves to the snapshot itself.
    FastForward {
        /// The snapshot.
        snapshot_id: i64,
    },
    /// The files that the snapshot appended are appended again.
    Replay {
        /// The snapshot.
        snapshot_id: i64,
        /// For the summary of the new snapshot: where it comes from.
        properties: SnapshotProperties,
    },
}

/// Plans how a snapshot comes over to `main` as it is now.
///
/// # Errors
/// [`Error::InvalidChange`] if there is no such snapshot, if it is in `main` already, itself or as a copy, or may have been
/// before the part of the history that expired, or if it did something else than append and `main` has moved on since.
pub fn plan_cherry_pick(table: &Table, snapshot_id: i64) -> Result<CherryPick> {
    let invalid = |reason: String| Err(Error::InvalidChange(reason));
    let Some(picked) = table.metadata().snapshot_by_id(snapshot_id) else {
        return invalid(format!("the table has no snapshot {snapshot_id}; has it expired?"));
    };
    let wap_id = staged_wap_id(picked);
    let mut ancestors = table.ancestors(MAIN_BRANCH);
    let mut oldest = None;
    for ancestor in ancestors.by_ref() {
        oldest = Some(ancestor);
        let said = |key: &str| ancestor.summary().additional_properties.get(key).map(String::as_str);
        if ancestor.snapshot_id() == snapshot_id {
            return invalid(format!("snapshot {snapshot_id} is in the history of main already"));
        }
        if said(SOURCE_SNAPSHOT_ID) == Some(snapshot_id.to_string().as_str()) {
            let copy = ancestor.snapshot_id();
            return invalid(format!("snapshot {snapshot_id} was picked already: its copy in main is {copy}"));
        }
        if let Some(wap_id) = wap_id
            && (said(PUBLISHED_WAP_ID) == Some(wap_id) || said(STAGED_WAP_ID) == Some(wap_id))
        {
            return invalid(format!("the changes '{wap_id}' were published already, by {}", ancestor.snapshot_id()));
        }
    }
    if ancestors.cut_at().is_some() && oldest.is_some_and(|oldest| came_before(picked, oldest)) {
        return invalid(format!(
            "snapshot {snapshot_id} is older than what is left of main's history, which does not say any more whether main \
             has it; insert its rows with FOR SYSTEM_VERSION AS OF {snapshot_id} if it has not"
        ));
    }
    let head = table.current_snapshot().map(|snapshot| snapshot.snapshot_id());
    if picked.parent_snapshot_id() == head {
        return Ok(CherryPick::FastForward { snapshot_id });
    }
    match picked.summary().operation {
        Operation::Append => {
            let mut properties = SnapshotProperties::from([(SOURCE_SNAPSHOT_ID.to_owned(), snapshot_id.to_string())]);
            properties.extend(wap_id.map(|id| (PUBLISHED_WAP_ID.to_owned(), id.to_owned())));
            Ok(CherryPick::Replay { snapshot_id, properties })
        }
        ref other => invalid(format!(
            "snapshot {snapshot_id} is of the kind {}, and main has moved on since it was made: only what was appended \
             can be made again",
            other.as_str()
        )),
    }
}

/// Whether a snapshot was made before another one of the table, or can't be told to have been made after it. In format
/// version 1 snapshots have no numbers.
fn came_before(one: &Snapshot, other: &Snapshot) -> bool {
    match (one.sequence_number(), other.sequence_number()) {
        (0, 0) => one.timestamp_ms() <= other.timestamp_ms(),
        (one, other) => one <= other,
    }
}

/// The snapshot that is staged under a `wap.id`.
///
/// # Errors
/// [`Error::InvalidChange`] if there is none, or more than one.
pub fn find_staged(table: &Table, wap_id: &str) -> Result<i64> {
    let mut staged = table.metadata().snapshots().filter(|snapshot| staged_wap_id(snapshot) == Some(wap_id));
    match (staged.next(), staged.next()) {
        (Some(one), None) => Ok(one.snapshot_id()),
        (None, _) => Err(Error::InvalidChange(format!("no snapshot is staged under the wap.id '{wap_id}'"))),
        (Some(one), Some(other)) => Err(Error::InvalidChange(format!(
            "snapshots {} and {} are both staged under the wap.id '{wap_id}'; cherrypick_snapshot takes one by its id",
            one.snapshot_id(),
            other.snapshot_id()
        ))),
    }
}

fn staged_wap_id(snapshot: &Snapshot) -> Option<&str> {
    snapshot.summary().additional_properties.get(STAGED_WAP_ID).map(String::as_str)
}

impl CherryPick {
    /// The change that does it. `added` are the files that the snapshot added, from [`crate::io::load_added_files`]; a
    /// fast-forward needs none.
    pub fn into_change(self, added: Vec<TableFile>) -> Change {
        match self {
            Self::FastForward { snapshot_id } => Change::Metadata(MetadataChange::Ref(RefChange::SetSnapshot {
                branch: MAIN_BRANCH.to_owned(),
                snapshot_id,
            })),
            Self::Replay { properties, .. } => Change::Append { files: added, properties },
        }
    }

    /// Whether the files of the snapshot are needed.
    pub fn needs_files(&self) -> bool {
        matches!(self, Self::Replay { .. })
    }
}

impl fmt::Display for CherryPick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FastForward { snapshot_id } => write!(f, "main moves to {snapshot_id}"),
            Self::Replay { snapshot_id, .. } => write!(f, "what {snapshot_id} appended is appended to main"),
        }
    }
}

#[cfg(test)]
mod tests;
