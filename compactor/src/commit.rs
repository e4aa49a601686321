//! Puts the outputs of rewrites in the place of their inputs, in turn with the writers' commits.
//!
//! A rewrite never loses to deletes that came while it ran: equality deletes have a greater number than the outputs and apply
//! to them; position deletes and deletion vectors of an input name rows that are elsewhere now, and are rebased
//! (`rebase.rs`), as often as more of them come before the commit.
//!
//! All results go into one swap of the table's pointer. If a group can't be committed any more, because one of its files
//! is gone, that group is dropped, its outputs are deleted, and the rest goes again.

use std::collections::{BTreeMap, BTreeSet};

use frazil_catalog::{CommitEnd, CommitQueue, Precheck, Turns};
use frazil_storage::{Env, Step};
use frazil_table::{Change, CommitIdentity, Conflict, SnapshotProperties, Table, TableFile};
use futures::future::join_all;

use crate::listing::GROUPS_PROPERTY;
use crate::past::key;
use crate::rebase::{Rebased, rebase_deletes};
use crate::run::{RewriteKind, RewriteResult};
use crate::{BytesWritten, FileGroup, Result};

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
    /// How often deletes were rebased once more, since others came before the commit.
    pub rebased_again: u32,
    /// Rows that were deleted by position while the rewrites ran, and are deleted of the outputs.
    pub rows_rebased: u64,
}

/// How often deletes are rebased once more before what they reach is dropped. An attempt takes some milliseconds, and one is
/// lost only to another process that deletes rows of an input within them.
const REBASES_MAX: u32 = 20;

/// Commits rewrites, with the deletes that came since they read. Those of one partition spec that were planned at one snapshot
/// make one new snapshot, and all of them one swap of the table's pointer.
///
/// # Errors
/// [`crate::Error::Catalog`]: the rewrites may be in the table or not. Their outputs stay: a later look at the table tells
/// whether they are live, and files that no snapshot names are orphans, not damage. What keeps deletes from being rebased:
/// nothing is in the table, and the outputs are deleted.
pub async fn commit_rewrite(queue: &CommitQueue, mut results: Vec<RewriteResult>) -> Result<RewriteEnd> {
    let env = queue.env();
    let mut end = RewriteEnd::default();
    let Some(first) = results.first() else { return Ok(end) };
    let (intent, noted_env) = first.intent.beside(env);
    let mut commit_id = env.ids.uuid();
    if let Err(error) = intent.note_commit(commit_id).await {
        abandon(env, &results).await;
        return Err(error);
    }
    // Writers of this process wait, so that none of them deletes rows between the rebase and the commit.
    let turns = Turns::take([queue]).await;
    results = end.drop_given_up(queue, results).await?;
    while !results.is_empty() {
        let batches = match rebase(queue, &noted_env, &results).await {
            Ok(batches) => batches,
            Err(error) => {
                abandon(env, &results).await;
                intent.settle().await;
                return Err(error);
            }
        };
        let changes: Vec<Change> = batches.iter().map(Batch::change).collect();
        let identity = CommitIdentity { uuid: commit_id, ..CommitIdentity::draw(env, changes.len()) };
        let conflict = match queue.commit_in_turn(&turns, &changes, identity, &|_| Precheck::Proceed).await? {
            CommitEnd::Committed(committed) => {
                env.steps.reach(Step::RewriteCommitted)?;
                end.rows_rebased = batches.iter().map(|batch| batch.rebased.rows).sum();
                end.snapshot_ids = committed.snapshot_ids;
                end.retries += committed.retries;
                end.table = Some(committed.table);
                env.store.forget(results.iter().flat_map(|result| result.group.paths()));
                let intents: Vec<_> = results.iter().map(|result| result.intent.settle()).collect();
                join_all(intents).await;
                intent.settle().await;
                end.committed = results;
                return Ok(end);
            }
            CommitEnd::AlreadyLanded(_) => unreachable!("the precheck never finds it landed"),
            CommitEnd::Conflict(conflict) => conflict,
        };
        delete_files(env, batches.iter().flat_map(Batch::delete_files)).await;
        commit_id = env.ids.uuid();
        if let Err(error) = intent.note_commit(commit_id).await {
            abandon(env, &results).await;
            return Err(error);
        }
        if matches!(conflict, Conflict::RowsDeleted { .. }) && end.rebased_again < REBASES_MAX {
            end.rebased_again += 1;
            tracing::debug!(table = %queue.ident(), %conflict, "deletes are rebased once more");
            continue;
        }
        results = end.drop_some(queue, results, &conflict).await;
    }
    intent.settle().await;
    Ok(end)
}

impl RewriteEnd {
    /// Drops the results whose process was taken for dead, which it is not: their outputs may be gone.
    async fn drop_given_up(&mut self, queue: &CommitQueue, results: Vec<RewriteResult>) -> Result<Vec<RewriteResult>> {
        let mut held = Vec::with_capacity(results.len());
        for result in results {
            if result.intent.holds(queue.env().now_ms()).await? {
                held.push(result);
                continue;
            }
            let reason = "it took longer than a day, and was given up".to_owned();
            delete_outputs(queue.env(), &result).await;
            self.dropped.push((result.group, Conflict::Refused { reason }));
        }
        Ok(held)
    }

    /// Drops the results that a conflict is about, and gives back the rest.
    async fn drop_some(
        &mut self,
        queue: &CommitQueue,
        results: Vec<RewriteResult>,
        conflict: &Conflict,
    ) -> Vec<RewriteResult> {
        let (dropped, rest) = match file_of(conflict) {
            Some(path) => results.into_iter().partition(|result| result.has(path)),
            None => (results, Vec::new()),
        };
        // A conflict about a file that is in no group can't be cured by dropping one.
        let (dropped, rest): (Vec<_>, _) = if dropped.is_empty() { (rest, Vec::new()) } else { (dropped, rest) };
        for result in dropped {
            tracing::info!(table = %queue.ident(), partition = result.group.place(), %conflict, "rewrite dropped");
            delete_outputs(queue.env(), &result).await;
            self.dropped.push((result.group, conflict.clone()));
        }
        rest
    }
}

async fn abandon(env: &Env, results: &[RewriteResult]) {
    for result in results {
        delete_outputs(env, result).await;
    }
}

/// Deletes what a rewrite wrote. To be called only for outputs that no commit was sent for, or only ones that provably
/// did not land.
pub async fn delete_outputs(env: &Env, result: &RewriteResult) {
    if delete_files(env, &result.outputs).await {
        result.intent.settle().await;
    }
}

/// Whether all are gone. Many deletion vectors share a file.
pub(crate) async fn delete_files(env: &Env, files: impl IntoIterator<Item = &TableFile>) -> bool {
    let paths: BTreeSet<&str> = files.into_iter().map(|file| file.file.file_path()).collect();
    let mut all = true;
    for path in paths {
        if let Err(error) = env.store.delete(path).await {
            tracing::warn!(%error, "a file of a dropped rewrite stays as an orphan");
            all = false;
        }
    }
    all
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

/// All rewrites that read one snapshot, of one partition spec: one change. Of a change with files of several specs nobody could
/// tell that rows stay in the reach of the equality deletes that came meanwhile.
struct Batch<'a> {
    base_snapshot_id: i64,
    data_sequence_number: i64,
    results: Vec<&'a RewriteResult>,
    rebased: Rebased,
    /// Into the table, by this too, as far as the snapshots up to `counted_to` tell.
    written: BytesWritten,
    counted_to: i64,
}

/// The rewrites by the snapshot that they read and by partition spec, with what came since.
async fn rebase<'a>(queue: &CommitQueue, env: &Env, results: &'a [RewriteResult]) -> Result<Vec<Batch<'a>>> {
    let table = queue.load().await?;
    let counted_to = table.current_snapshot().map_or(-1, |head| head.snapshot_id());
    let mut written = BytesWritten::of(&table);
    let mut by_base: BTreeMap<(i64, i64, i32), Vec<&RewriteResult>> = BTreeMap::new();
    for result in results {
        let FileGroup { data_sequence_number, base_snapshot_id, partition_spec_id, .. } = result.group;
        by_base.entry((data_sequence_number, base_snapshot_id, partition_spec_id)).or_default().push(result);
    }
    let mut batches: Vec<Batch<'_>> = Vec::with_capacity(by_base.len());
    for ((data_sequence_number, base_snapshot_id, _), results) in by_base {
        match rebase_deletes(queue, env, &table, base_snapshot_id, &results).await {
            Ok(rebased) => {
                let mut batch = Batch { base_snapshot_id, data_sequence_number, results, rebased, written, counted_to };
                written = written.after_rewrite(batch.bytes_out());
                batch.written = written;
                batches.push(batch);
            }
            Err(error) => {
                delete_files(queue.env(), batches.iter().flat_map(Batch::delete_files)).await;
                return Err(error);
            }
        }
    }
    Ok(batches)
}

impl Batch<'_> {
    /// The outputs have the sequence number of the snapshot that was read, since its deletes were applied and every one that
    /// came later has a greater number.
    fn change(&self) -> Change {
        let results = &self.results;
        Change::Replace {
            removed: results.iter().flat_map(|result| result.group.paths().map(str::to_owned)).collect(),
            added: results.iter().flat_map(|result| result.outputs.iter().cloned()).collect(),
            data_sequence_number: self.data_sequence_number,
            base_snapshot_id: self.base_snapshot_id,
            carried: self.rebased.carried.clone(),
            properties: self.properties(),
        }
    }

    fn bytes_out(&self) -> u64 {
        // Many deletion vectors share a file.
        let files = self.results.iter().flat_map(|result| &result.outputs).chain(self.delete_files());
        let sizes: BTreeMap<_, _> = files.map(|file| (file.file.file_path(), file.file.file_size_in_bytes())).collect();
        sizes.values().sum()
    }

    fn properties(&self) -> SnapshotProperties {
        let mut properties = properties(&self.results, self.rebased.rows);
        properties.extend(self.written.properties(self.counted_to));
        properties
    }

    fn delete_files(&self) -> impl Iterator<Item = &TableFile> {
        self.rebased.carried.iter().flat_map(|carried| &carried.delete_files)
    }
}

/// What a compaction says of itself in its snapshot's summary.
fn properties(results: &[&RewriteResult], rows_rebased: u64) -> SnapshotProperties {
    let sum = |of: fn(&RewriteResult) -> u64| results.iter().map(|result| of(result)).sum::<u64>().to_string();
    let count = |kind| results.iter().filter(|result| result.kind == kind).count();
    let kinds = RewriteKind::ALL.map(|kind| (kind.name(), count(kind)));
    let kinds: Vec<_> = kinds.into_iter().filter(|(_, count)| *count > 0).collect();
    let kind = match &kinds[..] {
        [(name, _)] => (*name).to_owned(),
        several => several.iter().map(|(name, count)| format!("{name}:{count}")).collect::<Vec<_>>().join(","),
    };
    let mut reasons: Vec<_> = results.iter().map(|result| result.group.reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let reasons: Vec<_> = reasons.into_iter().map(|reason| reason.name()).collect();
    SnapshotProperties::from([
        (GROUPS_PROPERTY.to_owned(), results.len().to_string()),
        (key!("reason").to_owned(), reasons.join(",")),
        (key!("kind").to_owned(), kind),
        (key!("files-in").to_owned(), sum(|result| result.group.inputs.len() as u64)),
        (key!("rows-deleted").to_owned(), sum(|result| result.rows_deleted)),
        (key!("rows-rebased").to_owned(), rows_rebased.to_string()),
        (key!("rows-carried").to_owned(), sum(|result| result.rows_carried)),
        (key!("bytes-in").to_owned(), sum(|result| result.group.bytes_in())),
        (key!("bytes-out").to_owned(), sum(|result| result.bytes_out())),
        (key!("rewrite-ms").to_owned(), sum(|result| result.elapsed_ms)),
    ])
}

#[cfg(test)]
mod tests;
