//! Finds what equality deletes take away, and converts them whole: plan, look, commit, until none is left that can go.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use frazil_catalog::CommitQueue;
use frazil_reader::{HitLimits, ReadContext, find_equality_deleted};
use frazil_table::{Conflict, LiveFile, Table, io};
use roaring::RoaringTreemap;
use tokio_util::sync::CancellationToken;

use super::{ConversionPlan, ConversionReason, commit_conversion, plan_conversion};
use crate::{Config, Error, InputFile, Result};

/// What planned equality deletes take away.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// The plan.
    pub plan: ConversionPlan,
    /// The rows of each data file that go, counted from 0; whether other deletes had taken them before does not matter.
    pub rows: BTreeMap<String, RoaringTreemap>,
    /// How often keys were loaded: once, if all of them fit into memory.
    pub passes: u32,
}

impl Conversion {
    /// The data files that were read.
    pub(crate) fn read(&self) -> HashSet<&str> {
        self.plan.data.iter().map(|input| input.file.file_path()).collect()
    }
}

/// Looks for the rows of a plan. Nothing is written.
///
/// Memory: the keys that are looked for at a time take at most half of [`Config::memory_max_bytes`]; the compared columns of a row
/// group for each of [`Config::parallelism`] files; about a bit for each row that is found.
///
/// # Errors
/// [`Error::Reader`] names the file that can't be read; [`Error::Cancelled`].
pub async fn run_conversion(
    plan: ConversionPlan,
    queue: &CommitQueue,
    table: &Table,
    config: &Config,
    stop: &CancellationToken,
) -> Result<Conversion> {
    let context = ReadContext::with_manifests(queue.env(), queue.cache());
    let live = plan.deletes.iter().filter(|delete| delete.reason == ConversionReason::Live);
    let deletes: Vec<LiveFile<'_>> = live.map(|delete| delete.input.live()).collect();
    let data: Vec<LiveFile<'_>> = plan.data.iter().map(InputFile::live).collect();
    // A hash table that grows holds its old half as well.
    let limits = HitLimits { keys_bytes_max: config.memory_max_bytes / 2, parallelism: config.parallelism };
    let hits = tokio::select! {
        hits = find_equality_deleted(&context, table, &deletes, &data, limits) => hits?,
        () = stop.cancelled() => return Err(Error::Cancelled),
    };
    Ok(Conversion { rows: hits.rows, passes: hits.passes, plan })
}

/// What a conversion of a table's equality deletes did, or would do.
#[derive(Debug, Default)]
pub struct ConversionReport {
    /// The first plan. All of it, if nothing was to be changed.
    pub plan: Option<ConversionPlan>,
    /// Nothing was changed.
    pub dry_run: bool,
    /// Equality delete files that went.
    pub converted: usize,
    /// Position delete files or deletion vectors that came, each counted once.
    pub delete_files: usize,
    /// Rows that they delete and that no delete by position had deleted before.
    pub rows: u64,
    /// Equality delete files that can be converted and were not, since the table changed too often.
    pub left: usize,
    /// What was in the way the last time, if anything.
    pub conflict: Option<Conflict>,
    /// Snapshots that were committed, oldest first.
    pub snapshot_ids: Vec<i64>,
}

/// Plans that may follow on the first one, each for what came between the plan before and its commit.
const PLANS_MORE: usize = 2;

/// Converts all equality deletes of `main` that can be converted.
///
/// # Errors
/// As [`run_conversion`] and [`commit_conversion`]; what was committed by then stays.
pub async fn convert_equality_deletes(
    queue: &CommitQueue,
    config: &Config,
    dry_run: bool,
    stop: &CancellationToken,
) -> Result<ConversionReport> {
    let mut report = ConversionReport { dry_run, ..ConversionReport::default() };
    for _ in 0..=PLANS_MORE {
        let table = queue.load().await?;
        let state = io::load_state(&queue.env().store, queue.cache(), &table, io::Entries::All).await?;
        let plan = plan_conversion(&state)?;
        report.plan.get_or_insert_with(|| plan.clone());
        report.left = plan.going().count();
        if dry_run || plan.is_empty() {
            break;
        }
        let conversion = run_conversion(plan, queue, &table, config, stop).await?;
        let end = commit_conversion(queue, &conversion).await?;
        report.left = report.left.saturating_sub(end.converted);
        report.converted += end.converted;
        report.delete_files += end.delete_files;
        report.rows += end.rows;
        report.conflict = end.conflict;
        report.snapshot_ids.extend(end.snapshot_id);
        if report.left == 0 {
            break;
        }
    }
    Ok(report)
}

impl fmt::Display for ConversionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(plan) = &self.plan {
            write!(f, "{plan}")?;
        }
        if self.dry_run {
            return Ok(());
        }
        if self.converted > 0 {
            let (files, rows) = (self.converted, self.rows);
            writeln!(f, "{files} equality delete files went; {rows} rows are deleted by position instead")?;
        }
        if self.left > 0 {
            let why = self.conflict.as_ref().map_or("others rewrote data files".to_owned(), ToString::to_string);
            writeln!(f, "{} stay, since the table changed meanwhile ({why}): run it again", self.left)?;
        }
        Ok(())
    }
}
