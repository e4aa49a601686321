//! The files of a table in fewer manifests, each of one partition spec and sorted by partition.

use std::fmt;

use frazil_catalog::{CommitEnd, CommitQueue, Precheck};
use frazil_table::{
    Change, CommitIdentity, CommitTarget, Conflict, RewriteManifests, SnapshotProperties, io, plan_commit,
};

use crate::Result;

/// What a rewrite of the manifests did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestReport {
    /// Manifests of the snapshot before.
    pub manifests_before: usize,
    /// Manifests of the snapshot after it.
    pub manifests_after: usize,
    /// Manifests that went, and those that came instead. Both are 0 if it would not have made them fewer.
    pub rewritten: usize,
    /// See `rewritten`.
    pub added: usize,
    /// Why nothing was done, if another program was in the way.
    pub conflict: Option<Conflict>,
    /// Nothing was changed.
    pub dry_run: bool,
}

/// Rewrites the manifests at the head of `main` if that makes them fewer. Deletes and row ids stay as they are (format
/// versions 1 to 3). `commit.manifest.target-size-bytes` of the table is how large one gets.
///
/// Cost: reads and writes all manifests. Memory: their entries.
///
/// # Errors
/// [`crate::Error::Catalog`] and [`crate::Error::Table`].
pub async fn run_rewrite_manifests(queue: &CommitQueue, dry_run: bool) -> Result<ManifestReport> {
    let env = queue.env();
    let table = queue.load().await?;
    let mut report = ManifestReport { dry_run, ..ManifestReport::default() };
    if table.current_snapshot().is_none() {
        return Ok(report);
    }
    let rewrite = RewriteManifests { target_size_bytes: None, properties: SnapshotProperties::new() };
    let changes = [Change::RewriteManifests(rewrite)];
    let state = io::load_state_for(&env.store, queue.cache(), &table, &CommitTarget::default(), &changes).await?;
    let plan = match plan_commit(&state, &changes, &CommitIdentity::draw(env, 1), env.now_ms())? {
        Ok(plan) => plan,
        Err(conflict) => return Ok(ManifestReport { conflict: Some(conflict), ..report }),
    };
    report.manifests_before = state.manifests().len();
    report.manifests_after = plan.snapshots.last().map_or(report.manifests_before, |snapshot| snapshot.manifests.len());
    if report.manifests_after >= report.manifests_before {
        report.manifests_after = report.manifests_before;
        return Ok(report);
    }
    let said = |key: &str| plan.snapshots.last()?.summary.get(key)?.parse().ok();
    report.rewritten = said("manifests-replaced").unwrap_or(0);
    report.added = said("manifests-created").unwrap_or(0);
    if dry_run {
        return Ok(report);
    }
    match queue.commit(&changes, CommitIdentity::draw(env, 1), &|_| Precheck::Proceed).await? {
        CommitEnd::Committed(_) | CommitEnd::AlreadyLanded(_) => Ok(report),
        CommitEnd::Conflict(conflict) => Ok(ManifestReport { conflict: Some(conflict), dry_run, ..Default::default() }),
    }
}

impl fmt::Display for ManifestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(conflict) = &self.conflict {
            return writeln!(f, "not rewritten: {conflict}");
        }
        match (self.rewritten, self.dry_run) {
            (0, _) => writeln!(f, "{} manifests: they would not get fewer", self.manifests_before),
            (_, true) => writeln!(f, "{} manifests would become {}", self.manifests_before, self.manifests_after),
            (_, false) => writeln!(f, "{} manifests became {}", self.manifests_before, self.manifests_after),
        }
    }
}
