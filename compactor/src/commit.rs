//! Puts the outputs of rewrites in the place of their inputs, in turn with the writers' commits.
//!
//! Deletes that came while a rewrite ran are not lost: equality deletes have a greater number than the outputs and apply to
//! them; position deletes and deletion vectors of an input name rows that are elsewhere now, and are a conflict.
//!
//! All results go into one swap of the table's pointer. If a group can't be committed any more, because one of its files
//! is gone or rows of it were deleted meanwhile, that group is dropped, its outputs are deleted, and the rest goes again.

use std::collections::BTreeMap;

use frazil_catalog::{CommitEnd, CommitQueue, Precheck};
use frazil_storage::{Env, Step};
use frazil_table::{Change, CommitIdentity, Conflict, SnapshotProperties, Table};

use crate::listing::GROUPS_PROPERTY;
use crate::run::{RewriteKind, RewriteResult};
use crate::{FileGroup, Result};

/// How the commit of some rewrites ended. Every result is in exactly one of the two lists.
#[derive(Debug, Default)]
pub struct RewriteEnd {
    /// The table with the rewrites in it; `None` if all were dropped.
    pub table: Option<Table>,
    /// The new snapshots, oldest first.
    pub snapshot_ids: Vec<i64>,
    /// The rewrites that are in the table.
    pub committed: Vec<RewriteResult>,
    /// The groups that could not be committed any more, and why. Their outputs are deleted; the files are planned anew.
    pub dropped: Vec<(FileGroup, Conflict)>,
    /// Attempts that lost to commits of others.
    pub retries: u32,
}

/// Commits rewrites. Those that were planned at one snapshot make one new snapshot, and all of them one swap of the
/// table's pointer.
///
/// # Errors
/// [`crate::Error::Catalog`]: the rewrites may be in the table or not. Their outputs stay: a later look at the table tells
/// whether they are live, and files that no snapshot names are orphans, not damage.
pub async fn commit_rewrite(queue: &CommitQueue, mut results: Vec<RewriteResult>) -> Result<RewriteEnd> {
    let env = queue.env();
    let mut end = RewriteEnd::default();
    while !results.is_empty() {
        let changes = build_changes(&results);
        let identity = CommitIdentity::draw(env, changes.len());
        let conflict = match queue.commit(&changes, identity, &|_| Precheck::Proceed).await? {
            CommitEnd::Committed(committed) => {
                env.steps.reach(Step::RewriteCommitted)?;
                end.snapshot_ids = committed.snapshot_ids;
                end.retries += committed.retries;
                end.table = Some(committed.table);
                end.committed = results;
                return Ok(end);
            }
            CommitEnd::AlreadyLanded(_) => unreachable!("the precheck never finds it landed"),
            CommitEnd::Conflict(conflict) => conflict,
        };
        let (dropped, rest) = match file_of(&conflict) {
            Some(path) => results.into_iter().partition(|result| result.has(path)),
            None => (results, Vec::new()),
        };
        // A conflict about a file that is in no group can't be cured by dropping one.
        let (dropped, rest) = if dropped.is_empty() { (rest, Vec::new()) } else { (dropped, rest) };
        for result in dropped {
            tracing::info!(table = %queue.ident(), partition = result.group.place(), %conflict, "rewrite dropped");
            delete_outputs(env, &result).await;
            end.dropped.push((result.group, conflict.clone()));
        }
        results = rest;
    }
    Ok(end)
}

/// Deletes what a rewrite wrote. To be called only for outputs that no commit was sent for, or only ones that provably
/// did not land.
pub async fn delete_outputs(env: &Env, result: &RewriteResult) {
    for output in &result.outputs {
        if let Err(error) = env.store.delete(output.file.file_path()).await {
            tracing::warn!(%error, "an output of a dropped rewrite stays as an orphan");
        }
    }
}

/// The input or output that a conflict is about.
fn file_of(conflict: &Conflict) -> Option<&str> {
    match conflict {
        Conflict::FileGone { path }
        | Conflict::RowsDeleted { path, .. }
        | Conflict::DeleteByDroppedField { path, .. } => Some(path),
        _ => None,
    }
}

impl RewriteResult {
    fn has(&self, path: &str) -> bool {
        let mut outputs = self.outputs.iter().map(|output| output.file.file_path());
        self.group.paths().any(|input| input == path) || outputs.any(|output| output == path)
    }
}

/// One change for all groups that read the same snapshot: their outputs have its sequence number, since its deletes were
/// applied and every one that came later has a greater number.
fn build_changes(results: &[RewriteResult]) -> Vec<Change> {
    let mut changes: BTreeMap<(i64, i64), Vec<&RewriteResult>> = BTreeMap::new();
    for result in results {
        let key = (result.group.data_sequence_number, result.group.base_snapshot_id);
        changes.entry(key).or_default().push(result);
    }
    let changes = changes.into_iter().map(|((data_sequence_number, base_snapshot_id), results)| Change::Replace {
        removed: results.iter().flat_map(|result| result.group.paths().map(str::to_owned)).collect(),
        added: results.iter().flat_map(|result| result.outputs.iter().cloned()).collect(),
        data_sequence_number,
        base_snapshot_id,
        properties: properties(&results),
    });
    changes.collect()
}

/// What a compaction says of itself in its snapshot's summary.
fn properties(results: &[&RewriteResult]) -> SnapshotProperties {
    let sum = |of: fn(&RewriteResult) -> u64| results.iter().map(|result| of(result)).sum::<u64>().to_string();
    let count = |kind| results.iter().filter(|result| result.kind == kind).count();
    let (copied, encoded) = (count(RewriteKind::Copy), count(RewriteKind::Encode));
    let kind = match (copied, encoded) {
        (_, 0) => "copy".to_owned(),
        (0, _) => "encode".to_owned(),
        _ => format!("copy:{copied},encode:{encoded}"),
    };
    let mut reasons: Vec<_> = results.iter().map(|result| result.group.reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let reasons: Vec<_> = reasons.into_iter().map(|reason| reason.name()).collect();
    SnapshotProperties::from([
        (GROUPS_PROPERTY.to_owned(), results.len().to_string()),
        ("frazil.compaction.reason".to_owned(), reasons.join(",")),
        ("frazil.compaction.kind".to_owned(), kind),
        ("frazil.compaction.files-in".to_owned(), sum(|result| result.group.inputs.len() as u64)),
        ("frazil.compaction.rows-deleted".to_owned(), sum(|result| result.rows_deleted)),
        ("frazil.compaction.bytes-in".to_owned(), sum(|result| result.group.bytes_in())),
        ("frazil.compaction.bytes-out".to_owned(), sum(|result| result.bytes_out())),
        ("frazil.compaction.rewrite-ms".to_owned(), sum(|result| result.elapsed_ms)),
    ])
}

#[cfg(test)]
mod tests;
