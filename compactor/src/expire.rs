//! Lets old snapshots go, and the files that only they named.
//!
//! 1. [`frazil_table::plan_expire`] says which snapshots no branch, tag or reader needs;
//! 2. they leave the metadata by a commit;
//! 3. what only they named is found by comparing the table before with the table after, and deleted.
//!
//! Between 2 and 3 a crash leaves orphans, never a snapshot without its files.

use std::collections::HashSet;
use std::fmt;

use frazil_catalog::{CommitEnd, CommitQueue, Precheck};
use frazil_storage::{Env, Step};
use frazil_table::spec::MAIN_BRANCH;
use frazil_table::{CommitIdentity, Retention, Table, io, plan_expire};
use futures::StreamExt;

use crate::Result;

/// What is kept when nothing else is said: a job's own snapshots for five minutes, and ten of them.
pub const STREAMING_RETENTION: Retention = Retention { max_snapshot_age_ms: 5 * 60 * 1_000, min_snapshots_to_keep: 10 };

/// Snapshots that one call lets go at most: the rest goes with the next, so that a call in a job's loop is short.
pub const SNAPSHOTS_MAX: usize = 500;

/// Files that are deleted at the same time.
const DELETES_AT_ONCE: usize = 16;

/// What an expiry did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpireReport {
    /// Snapshots that left the metadata, oldest first.
    pub snapshot_ids: Vec<i64>,
    /// Branches and tags that were kept no longer.
    pub refs: Vec<String>,
    /// Consumers of which at least one needs snapshots that would have gone.
    pub held_by: Vec<String>,
    /// Snapshots that may go as well, with the next call.
    pub deferred_snapshots: usize,
    /// Data and delete files that were deleted.
    pub content_files: usize,
    /// Manifests and manifest lists that were deleted.
    pub metadata_files: usize,
    /// Files that could not be deleted, and why. They are orphans now.
    pub failed: Vec<(String, String)>,
    /// Nothing was changed: this is what would be.
    pub dry_run: bool,
}

/// Expires a table's snapshots by `retention`, over which the table's own `history.expire.*` properties and its
/// branches' retention go. `protected` snapshots stay, and everything after them: those that readers or rewrites need, and
/// those that the positions of the table's consumers need while their leases last.
///
/// Cost: nothing beyond loading the table if no snapshot is due; else a commit, the lists and manifests of what goes, and
/// a deletion for each file.
///
/// # Errors
/// [`crate::Error::Catalog`] and [`crate::Error::Table`]. Files that could not be deleted are no error but reported.
pub async fn run_expire(
    queue: &CommitQueue,
    retention: Retention,
    protected: &[i64],
    dry_run: bool,
) -> Result<ExpireReport> {
    let before = queue.load().await?;
    expire(queue, before.clone(), Retention::of(&before, retention), protected, dry_run).await
}

/// As [`run_expire`], but `retention` goes over the table's properties: a person asked for it.
///
/// # Errors
/// As [`run_expire`].
pub async fn run_expire_with(
    queue: &CommitQueue,
    retention: Retention,
    protected: &[i64],
    dry_run: bool,
) -> Result<ExpireReport> {
    let before = queue.load().await?;
    expire(queue, before, retention, protected, dry_run).await
}

async fn expire(
    queue: &CommitQueue,
    before: Table,
    retention: Retention,
    protected: &[i64],
    dry_run: bool,
) -> Result<ExpireReport> {
    let env = queue.env();
    let mut plan = plan_expire(&before, retention, protected, env.now_ms());
    let mut report = ExpireReport { dry_run, ..ExpireReport::default() };
    if !plan.snapshot_ids.is_empty() {
        let held = held_by_consumers(queue, &before).await?;
        let protected = [protected, &held.snapshot_ids].concat();
        let without = plan.snapshot_ids.len();
        plan = plan_expire(&before, retention, &protected, env.now_ms());
        if plan.snapshot_ids.len() < without {
            report.held_by = held.names;
        }
    }
    report.deferred_snapshots = plan.snapshot_ids.len().saturating_sub(SNAPSHOTS_MAX);
    plan.snapshot_ids.truncate(SNAPSHOTS_MAX);
    report.snapshot_ids.clone_from(&plan.snapshot_ids);
    report.refs = plan.refs.iter().map(|(name, _)| name.clone()).collect();
    if dry_run || plan.is_empty() {
        return Ok(report);
    }
    let changes = plan.changes(&before);
    let (wanted, going) = (&report.snapshot_ids, &report.refs);
    // Another process may have expired them first, or have made a tag of one.
    let still_due = |table: &Table| {
        let staying = table.refs().iter().filter(|(name, _)| !going.contains(name));
        let heads: HashSet<i64> = staying.map(|(_, reference)| reference.snapshot_id).collect();
        let there = wanted.iter().filter(|id| table.metadata().snapshot_by_id(**id).is_some()).count();
        match there {
            0 if going.iter().all(|name| !table.refs().contains_key(name)) => Precheck::AlreadyLanded,
            _ if there < wanted.len() => Precheck::Refuse("some of the snapshots are gone already".to_owned()),
            _ if wanted.iter().any(|id| heads.contains(id)) => Precheck::Refuse("a snapshot has a name now".to_owned()),
            _ => Precheck::Proceed,
        }
    };
    let after = match queue.commit(&changes, CommitIdentity::draw(env, 0), &still_due).await? {
        CommitEnd::Committed(committed) => committed.table,
        CommitEnd::AlreadyLanded(_) | CommitEnd::Conflict(_) => {
            tracing::debug!(table = %queue.ident(), "snapshots were expired by somebody else");
            return Ok(ExpireReport::default());
        }
    };
    env.steps.reach(Step::SnapshotsExpired)?;
    let files = io::find_unreachable_files(&env.store, queue.cache(), &before, &after).await?;
    let files = files.with_statistics(&before, &after);
    report.content_files = files.content_files.len();
    report.metadata_files = files.manifests.len() + files.manifest_lists.len() + files.statistics.len();
    // What names a file goes after the file, so that a crash half-way leaves nothing unnamed that a person could not find.
    let waves = [&files.content_files, &files.statistics, &files.manifests, &files.manifest_lists];
    for wave in waves {
        report.failed.extend(delete_all(env, wave.iter().map(String::as_str)).await);
    }
    tracing::info!(
        table = %queue.ident(), snapshots = report.snapshot_ids.len(), content_files = report.content_files,
        metadata_files = report.metadata_files, failed = report.failed.len(), "snapshots expired"
    );
    Ok(report)
}

/// Snapshots that consumers need to go on.
struct Held {
    names: Vec<String>,
    snapshot_ids: Vec<i64>,
}

/// What has not been looked at is not let go: a catalog that does not answer is an error.
async fn held_by_consumers(queue: &CommitQueue, table: &Table) -> Result<Held> {
    let now_ms = queue.env().now_ms();
    let mut held = Held { names: Vec::new(), snapshot_ids: Vec::new() };
    for consumer in queue.catalog().consumers(queue.ident()).await? {
        if !consumer.is_held(now_ms) {
            continue;
        }
        let oldest = || table.ancestors(MAIN_BRANCH).last().map(|snapshot| snapshot.snapshot_id());
        held.snapshot_ids.extend(consumer.needed_snapshot().or_else(oldest));
        held.names.push(consumer.name);
    }
    Ok(held)
}

async fn delete_all(env: &Env, files: impl Iterator<Item = &str>) -> Vec<(String, String)> {
    let deletes: Vec<_> = files
        .map(|file| async move { env.store.delete(file).await.err().map(|error| (file.to_owned(), error.to_string())) })
        .collect();
    futures::stream::iter(deletes).buffer_unordered(DELETES_AT_ONCE).filter_map(std::future::ready).collect().await
}

impl fmt::Display for ExpireReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.refs.is_empty() {
            let would = if self.dry_run { "would be" } else { "are" };
            writeln!(f, "branches and tags that {would} dropped: {}", self.refs.join(", "))?;
        }
        match (self.snapshot_ids.as_slice(), self.dry_run) {
            ([], _) => writeln!(f, "no snapshot is old enough to expire")?,
            (ids, true) => {
                writeln!(f, "{} snapshots would expire, from {} to {}", ids.len(), ids[0], ids[ids.len() - 1])?
            }
            (ids, false) => writeln!(
                f,
                "{} snapshots expired; {} data and delete files and {} metadata files deleted",
                ids.len(),
                self.content_files,
                self.metadata_files
            )?,
        }
        if !self.held_by.is_empty() {
            writeln!(f, "snapshots stay that consumers need: {}", self.held_by.join(", "))?;
        }
        if self.deferred_snapshots > 0 {
            writeln!(f, "{} snapshots more are due", self.deferred_snapshots)?;
        }
        for (file, reason) in &self.failed {
            writeln!(f, "{file} could not be deleted: {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
