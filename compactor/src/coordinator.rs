//! Decides, commit by commit, what is merged next. Pure: commits come in, groups of files go out.
//!
//! 1. [`Coordinator::new`] reads the standing of a table off a whole state;
//! 2. [`Coordinator::on_commit`] follows a commit's delta, [`Coordinator::observe`] a whole state where the deltas were
//!    not seen;
//! 3. after every `compact.delta.commits` commits that changed rows, whoever made them, a plan is made on the listing.
//!    What it hands out is in flight until [`Coordinator::on_end`] says how it ended; files in flight are in no other plan.
//!
//! Its plans are those of [`crate::plan_rewrite`] on the same state, as long as nothing is in flight.

use std::collections::HashSet;

use frazil_table::TableState;

use crate::listing::Listing;
use crate::plan::{InFlight, RewritePlan, plan_listing};
use crate::{CommitDelta, Config, FileGroup, Result};

/// Decides, commit by commit, what is merged next. Commits come in ([`crate::follow`], or [`Coordinator::on_commit`] and
/// [`Coordinator::observe`]), groups of files go out, and each group's end comes back ([`Coordinator::on_end`]).
///
/// Does no IO. Memory: the table's small files, where it has deletes every file, and what is in flight.
#[derive(Debug)]
pub struct Coordinator {
    listing: Listing,
    in_flight: Vec<FileGroup>,
    /// Files of groups that ended since the last look at the table.
    ended: HashSet<String>,
    /// Commits that changed rows since the last plan.
    commits: usize,
}

/// A delta can't be followed: load the state and call [`Coordinator::observe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaGap {
    /// It did not begin where the coordinator stands.
    #[error("the delta begins after snapshot {begins_after:?}, but snapshot {known:?} is the last that was seen")]
    Elsewhere {
        /// Where the delta begins.
        begins_after: Option<i64>,
        /// The last snapshot that was seen.
        known: Option<i64>,
    },
    /// It says too little of the files of before: the schema or the format version changed, these are the table's first
    /// deletes, or files have no row ids yet.
    #[error("what came with the delta concerns files that were not kept, or changes what is known of them")]
    WholeStateNeeded,
}

impl Coordinator {
    /// A coordinator that stands at `state`. Commits since the last compaction count already.
    ///
    /// # Errors
    /// As [`Listing::of`].
    pub fn new(state: &TableState, config: &Config) -> Result<Self> {
        let listing = Listing::of(state, config)?;
        let commits = listing.commits_since_compaction;
        Ok(Self { listing, in_flight: Vec::new(), ended: HashSet::new(), commits })
    }

    /// The last snapshot that was seen.
    pub fn snapshot_id(&self) -> Option<i64> {
        self.listing.snapshot_id
    }

    /// The files as they are known.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// Groups that were handed out and have not ended.
    pub fn in_flight(&self) -> &[FileGroup] {
        &self.in_flight
    }

    /// The snapshots that the rewrites in flight read. They must not expire, or the rewrites can't be committed.
    pub fn base_snapshot_ids(&self) -> Vec<i64> {
        let mut ids: Vec<_> = self.in_flight.iter().map(|group| group.base_snapshot_id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Follows commits and returns what is to be merged now.
    ///
    /// # Errors
    /// [`DeltaGap`]: nothing was changed; the caller loads the whole state.
    pub fn on_commit(&mut self, delta: &CommitDelta) -> std::result::Result<Vec<FileGroup>, DeltaGap> {
        let known = self.listing.snapshot_id;
        if delta.after_snapshot_id != known {
            return Err(DeltaGap::Elsewhere { begins_after: delta.after_snapshot_id, known });
        }
        if !self.listing.can_follow(delta) {
            return Err(DeltaGap::WholeStateNeeded);
        }
        let metadata = delta.table.metadata();
        let snapshots = delta.snapshot_ids.iter().filter_map(|id| metadata.snapshot_by_id(*id));
        self.commits += snapshots.filter(|snapshot| crate::listing::changes_rows(snapshot)).count();
        self.listing.apply(delta);
        Ok(self.plan_if_due())
    }

    /// Stands at `state` from now on and returns what is to be merged now. Settings may have changed with it.
    ///
    /// # Errors
    /// As [`Listing::of`].
    pub fn observe(&mut self, state: &TableState, config: &Config) -> Result<Vec<FileGroup>> {
        let listing = Listing::of(state, config)?;
        self.commits = self.commits.max(listing.commits_since_compaction);
        self.listing = listing;
        Ok(self.plan_if_due())
    }

    /// Commits that are to come before the next plan; `None` if the table is not compacted by itself (`auto-compact`).
    pub fn commits_to_wait(&self) -> Option<usize> {
        let config = self.listing.config();
        config.enabled.then(|| config.delta_commits.saturating_sub(self.commits))
    }

    /// A plan of what would be merged now, whether it is due or not. Nothing is handed out.
    pub fn plan(&self) -> RewritePlan {
        plan_listing(&self.listing, &self.in_flight_files())
    }

    /// A group that was handed out is committed, dropped or failed. What became of its files is seen by the deltas: since
    /// the next one may still be older than the end, they are free only after it.
    pub fn on_end(&mut self, group: &FileGroup) {
        let first = group.paths().next();
        self.in_flight.retain(|other| other.paths().next() != first);
        self.ended.extend(group.paths().map(str::to_owned));
    }

    fn plan_if_due(&mut self) -> Vec<FileGroup> {
        let config = self.listing.config();
        if !config.enabled || self.commits < config.delta_commits {
            self.ended.clear();
            return Vec::new();
        }
        let plan = self.plan();
        self.ended.clear();
        // What did not fit into this plan is due with the next commit.
        self.commits = if plan.deferred_groups > 0 { config.delta_commits.saturating_sub(1) } else { 0 };
        self.in_flight.extend(plan.groups.iter().cloned());
        plan.groups
    }

    fn in_flight_files(&self) -> InFlight {
        let in_flight = self.in_flight.iter().flat_map(|group| group.paths().map(str::to_owned));
        InFlight {
            paths: in_flight.chain(self.ended.iter().cloned()).collect(),
            partitions: self.in_flight.iter().map(|g| (g.partition_spec_id, g.partition.clone())).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
