//! Branches and tags (Iceberg spec, "Snapshot References").

use std::fmt;

use super::MetadataPlan;
use crate::spec::{FormatVersion, MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableRequirement, TableUpdate};
use crate::{Error, Result, Table, moment};

/// A change of a branch or a tag.
#[derive(Clone, Debug)]
pub enum RefChange {
    /// One is made, or points elsewhere.
    Create {
        /// Its name.
        name: String,
        /// What it points to; `None`: the head of `main`.
        snapshot_id: Option<i64>,
        /// Branch or tag, and how long it and its snapshots are kept. What is not said stays as it was.
        retention: SnapshotRetention,
        /// What happens if there is one of that name.
        if_there: IfThere,
    },
    /// One goes. Its snapshots stay until they expire.
    Drop {
        /// Its name.
        name: String,
        /// What it has to be.
        kind: RefKind,
        /// Whether it is fine if there is none.
        if_exists: bool,
    },
    /// A branch moves forward to another ref, whose history it is part of. One that is not there is made.
    FastForward {
        /// The branch that moves.
        branch: String,
        /// The branch or tag that it moves to.
        to: String,
    },
    /// A branch moves back to a snapshot of its own history.
    Rollback {
        /// The branch that moves.
        branch: String,
        /// An ancestor of its head.
        snapshot_id: i64,
    },
    /// A branch moves back to the last snapshot of its own history that was made before a time.
    RollbackToTime {
        /// The branch that moves.
        branch: String,
        /// Milliseconds since the Unix epoch; a snapshot of this very moment does not count.
        timestamp_ms: i64,
    },
    /// A branch moves to any snapshot of the table.
    SetSnapshot {
        /// The branch that moves.
        branch: String,
        /// The snapshot.
        snapshot_id: i64,
    },
}

/// What becomes of a `CREATE` if there is such a ref already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfThere {
    /// An error.
    Refuse,
    /// It stays as it is.
    Keep,
    /// It is replaced.
    Replace,
    /// It is replaced, and it is an error if there is none.
    ReplaceOnly,
}

/// Branch or tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefKind {
    /// Moves with each commit to it.
    Branch,
    /// Stays.
    Tag,
}

impl RefKind {
    /// What a ref is.
    pub fn of(reference: &SnapshotReference) -> Self {
        Self::kept(&reference.retention)
    }

    fn kept(retention: &SnapshotRetention) -> Self {
        match retention {
            SnapshotRetention::Branch { .. } => Self::Branch,
            SnapshotRetention::Tag { .. } => Self::Tag,
        }
    }
}

impl fmt::Display for RefKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
        })
    }
}

pub(super) fn plan(table: &Table, change: &RefChange) -> Result<MetadataPlan> {
    match change {
        RefChange::Create { name, snapshot_id, retention, if_there } => {
            create(table, name, *snapshot_id, retention, *if_there)
        }
        RefChange::Drop { name, kind, if_exists } => drop_ref(table, name, *kind, *if_exists),
        RefChange::FastForward { branch, to } => fast_forward(table, branch, to),
        RefChange::Rollback { branch, snapshot_id } => {
            check_snapshot(table, *snapshot_id)?;
            if !table.ancestors(branch).any(|snapshot| snapshot.snapshot_id() == *snapshot_id) {
                let reason = format!(
                    "snapshot {snapshot_id} is not in the history of {branch}, so it can't be rolled back to; \
                     set_current_snapshot takes any snapshot"
                );
                return Err(Error::InvalidChange(reason));
            }
            move_branch(table, branch, *snapshot_id)
        }
        RefChange::RollbackToTime { branch, timestamp_ms } => {
            let older = ancestor_at(table, branch, timestamp_ms.saturating_sub(1));
            let snapshot_id = older.ok_or_else(|| {
                Error::InvalidChange(format!("{branch} has no snapshot from before {}", moment(*timestamp_ms)))
            })?;
            move_branch(table, branch, snapshot_id)
        }
        RefChange::SetSnapshot { branch, snapshot_id } => {
            check_snapshot(table, *snapshot_id)?;
            move_branch(table, branch, *snapshot_id)
        }
    }
}

/// The newest snapshot in the history of a branch or tag that was made at `timestamp_ms` or before.
pub fn ancestor_at(table: &Table, ref_name: &str, timestamp_ms: i64) -> Option<i64> {
    let mut history = table.ancestors(ref_name);
    history.find(|snapshot| snapshot.timestamp_ms() <= timestamp_ms).map(|snapshot| snapshot.snapshot_id())
}

/// # Errors
/// [`Error::InvalidChange`] if the table has no such snapshot.
pub(super) fn check_snapshot(table: &Table, snapshot_id: i64) -> Result<()> {
    match table.metadata().snapshot_by_id(snapshot_id) {
        Some(_) => Ok(()),
        None => Err(Error::InvalidChange(format!("the table has no snapshot {snapshot_id}; has it expired?"))),
    }
}

fn create(
    table: &Table,
    name: &str,
    snapshot_id: Option<i64>,
    retention: &SnapshotRetention,
    if_there: IfThere,
) -> Result<MetadataPlan> {
    let kind = RefKind::kept(retention);
    if name.is_empty() {
        return Err(Error::InvalidChange(format!("a {kind}'s name can't be empty")));
    }
    if name == MAIN_BRANCH && kind == RefKind::Tag {
        return Err(Error::InvalidChange("main is a branch, so no tag can have its name".to_owned()));
    }
    check_retention(retention)?;
    // The ground crate drops them from the metadata of such a table.
    if table.metadata().format_version() < FormatVersion::V2 && name != MAIN_BRANCH {
        let reason = format!(
            "a table of format version 1 keeps no {kind} but main here; ALTER TABLE … SET ('format-version' = '2') \
             upgrades it"
        );
        return Err(Error::InvalidChange(reason));
    }
    let there = table.refs().get(name);
    match (there, if_there) {
        (Some(_), IfThere::Keep) => return Ok(MetadataPlan::default()),
        (Some(old), IfThere::Refuse) => {
            return Err(Error::InvalidChange(format!("there is a {} '{name}' already", RefKind::of(old))));
        }
        (Some(old), _) if RefKind::of(old) != kind => {
            let reason = format!("'{name}' is a {}, which can't be replaced by a {kind}", RefKind::of(old));
            return Err(Error::InvalidChange(reason));
        }
        (None, IfThere::ReplaceOnly) => return Err(no_such(table, name, kind)),
        _ => {}
    }
    let head = table.current_snapshot().map(|snapshot| snapshot.snapshot_id());
    let snapshot_id = snapshot_id.or(head).ok_or_else(|| {
        Error::InvalidChange(format!("the table has no snapshot yet that a {kind} could point to; write to it first"))
    })?;
    check_snapshot(table, snapshot_id)?;
    let retention = merged(there.map(|old| &old.retention), retention);
    Ok(set_ref(table, name, SnapshotReference::new(snapshot_id, retention)))
}

fn merged(old: Option<&SnapshotRetention>, new: &SnapshotRetention) -> SnapshotRetention {
    use SnapshotRetention::{Branch, Tag};
    match (old, new) {
        (
            Some(Branch { min_snapshots_to_keep: old_keep, max_snapshot_age_ms: old_age, max_ref_age_ms: old_ref_age }),
            Branch { min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms },
        ) => Branch {
            min_snapshots_to_keep: min_snapshots_to_keep.or(*old_keep),
            max_snapshot_age_ms: max_snapshot_age_ms.or(*old_age),
            max_ref_age_ms: max_ref_age_ms.or(*old_ref_age),
        },
        (Some(Tag { max_ref_age_ms: old_ref_age }), Tag { max_ref_age_ms }) => {
            Tag { max_ref_age_ms: max_ref_age_ms.or(*old_ref_age) }
        }
        (_, new) => new.clone(),
    }
}

fn check_retention(retention: &SnapshotRetention) -> Result<()> {
    let bad = match retention {
        SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms } => {
            min_snapshots_to_keep.is_some_and(|n| n < 1)
                || max_snapshot_age_ms.is_some_and(|ms| ms < 1)
                || max_ref_age_ms.is_some_and(|ms| ms < 1)
        }
        SnapshotRetention::Tag { max_ref_age_ms } => max_ref_age_ms.is_some_and(|ms| ms < 1),
    };
    match bad {
        true => Err(Error::InvalidChange("what a branch or tag retains is counted from 1 up".to_owned())),
        false => Ok(()),
    }
}

fn drop_ref(table: &Table, name: &str, kind: RefKind, if_exists: bool) -> Result<MetadataPlan> {
    let Some(reference) = table.refs().get(name) else {
        return match if_exists {
            true => Ok(MetadataPlan::default()),
            false => Err(no_such(table, name, kind)),
        };
    };
    if RefKind::of(reference) != kind {
        return Err(Error::InvalidChange(format!("'{name}' is a {}, not a {kind}", RefKind::of(reference))));
    }
    if name == MAIN_BRANCH {
        return Err(Error::InvalidChange("main can't be dropped: it is the table".to_owned()));
    }
    Ok(MetadataPlan {
        requirements: vec![require(name, Some(reference.snapshot_id))],
        updates: vec![TableUpdate::RemoveSnapshotRef { ref_name: name.to_owned() }],
    })
}

fn fast_forward(table: &Table, branch: &str, to: &str) -> Result<MetadataPlan> {
    let target = table.refs().get(to).ok_or_else(|| no_such(table, to, RefKind::Branch))?;
    let Some(reference) = table.refs().get(branch) else {
        let reference = SnapshotReference::new(target.snapshot_id, SnapshotRetention::branch(None, None, None));
        return Ok(set_ref(table, branch, reference));
    };
    check_branch(branch, reference)?;
    if !table.ancestors(to).any(|snapshot| snapshot.snapshot_id() == reference.snapshot_id) {
        let reason = format!(
            "{branch} can't be fast-forwarded to {to}: it has commits that {to} has not; cherrypick_snapshot brings \
             single snapshots over"
        );
        return Err(Error::InvalidChange(reason));
    }
    let mut plan = move_branch(table, branch, target.snapshot_id)?;
    if !plan.updates.is_empty() {
        plan.requirements.push(require(to, Some(target.snapshot_id)));
    }
    Ok(plan)
}

fn check_branch(name: &str, reference: &SnapshotReference) -> Result<()> {
    match reference.is_branch() {
        true => Ok(()),
        false => Err(Error::InvalidChange(format!("'{name}' is a tag, and tags stay where they are"))),
    }
}

fn move_branch(table: &Table, branch: &str, snapshot_id: i64) -> Result<MetadataPlan> {
    let reference = match table.refs().get(branch) {
        Some(reference) => reference.clone(),
        // A table whose main was never set may be given a staged snapshot.
        None if branch == MAIN_BRANCH => {
            SnapshotReference::new(snapshot_id, SnapshotRetention::branch(None, None, None))
        }
        None => return Err(no_such(table, branch, RefKind::Branch)),
    };
    check_branch(branch, &reference)?;
    Ok(set_ref(table, branch, SnapshotReference { snapshot_id, ..reference }))
}

fn set_ref(table: &Table, name: &str, reference: SnapshotReference) -> MetadataPlan {
    let there = table.refs().get(name);
    if there == Some(&reference) {
        return MetadataPlan::default();
    }
    MetadataPlan {
        requirements: vec![require(name, there.map(|old| old.snapshot_id))],
        updates: vec![TableUpdate::SetSnapshotRef { ref_name: name.to_owned(), reference }],
    }
}

fn require(ref_name: &str, snapshot_id: Option<i64>) -> TableRequirement {
    TableRequirement::RefSnapshotIdMatch { r#ref: ref_name.to_owned(), snapshot_id }
}

fn no_such(table: &Table, name: &str, kind: RefKind) -> Error {
    let names: Vec<_> = table.refs().keys().map(String::as_str).collect();
    let there = match names.is_empty() {
        true => "the table has neither branches nor tags yet".to_owned(),
        false => format!("there are {}", names.join(", ")),
    };
    Error::InvalidChange(format!("there is no {kind} '{name}'; {there}"))
}

/// What a ref retains, in words, where it says so itself.
pub(super) fn write_retention(f: &mut fmt::Formatter<'_>, retention: &SnapshotRetention) -> fmt::Result {
    let (keep, age, ref_age) = match retention {
        SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms } => {
            (*min_snapshots_to_keep, *max_snapshot_age_ms, *max_ref_age_ms)
        }
        SnapshotRetention::Tag { max_ref_age_ms } => (None, None, *max_ref_age_ms),
    };
    if let Some(keep) = keep {
        write!(f, ", at least {keep} snapshots")?;
    }
    if let Some(age) = age {
        write!(f, ", snapshots of {age} ms")?;
    }
    if let Some(age) = ref_age {
        write!(f, ", itself for {age} ms")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
