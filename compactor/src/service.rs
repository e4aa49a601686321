//! Compaction of whole tables: once, or for ever over a catalog. The one file of this crate that spawns.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use frazil_catalog::{CatalogRef, CommitQueue};
use frazil_storage::{Env, Step};
use frazil_table::spec::{NamespaceIdent, TableIdent};
use frazil_table::{Conflict, Table, TableState, io};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::lease::is_leased;
use crate::plan::size;
use crate::{
    BytesWritten, Clustering, Config, Coordinator, Error, FileGroup, Result, RewriteEnd, RewritePlan, RewriteResult,
    commit_rewrite, convert_equality_deletes, follow, plan_clustering, plan_rewrite, run_group, run_recover,
};

/// What a compaction of a table did, or would do.
#[derive(Debug, Default)]
pub struct Report {
    /// The first plan. All of it, if nothing was to be changed.
    pub plan: Option<RewritePlan>,
    /// Nothing was changed.
    pub dry_run: bool,
    /// Groups that were rewritten and committed.
    pub groups: usize,
    /// Files that went.
    pub files_in: usize,
    /// Files that came.
    pub files_out: usize,
    /// Rows that had been deleted and are in no file any more.
    pub rows_deleted: u64,
    /// Rows that had been deleted and are deleted of the files that came.
    pub rows_carried: u64,
    /// Rows that were deleted by position while files were rewritten, and are deleted of the files that came.
    pub rows_rebased: u64,
    /// Bytes of the files that went.
    pub bytes_in: u64,
    /// Bytes of the files that came.
    pub bytes_out: u64,
    /// What was written into the table by then.
    pub written: Option<BytesWritten>,
    /// Groups that could not be committed since the table changed meanwhile, by place.
    pub dropped: Vec<(String, Conflict)>,
    /// Groups that could not be rewritten, by place.
    pub failed: Vec<(String, Error)>,
}

/// Plans in a row that may end without anything committed before a compaction gives up.
const FRUITLESS_PLANS_MAX: usize = 2;

/// Compacts a table until a plan has nothing to do any more, or nothing that can be done.
///
/// # Errors
/// [`Error::Cancelled`] when `stop` says so: what was committed by then stays. [`Error::Catalog`] and [`Error::Table`] if the
/// table can't be read or committed to. What concerns single groups is reported instead.
pub async fn compact_table(
    queue: &CommitQueue,
    config: &Config,
    dry_run: bool,
    stop: &CancellationToken,
) -> Result<Report> {
    run_plans(queue, config, dry_run, stop, |state| plan_rewrite(state, config)).await
}

/// Puts the rows of a table in order, until a plan has nothing to do any more, or nothing that can be done.
///
/// # Errors
/// As [`compact_table`].
pub async fn cluster_table(
    queue: &CommitQueue,
    config: &Config,
    clustering: &Clustering,
    dry_run: bool,
    stop: &CancellationToken,
) -> Result<Report> {
    // Files of two plans may overlap.
    let plan = |state: &TableState| plan_clustering(state, config, &clustering.next(queue.env()));
    run_plans(queue, config, dry_run, stop, plan).await
}

async fn run_plans(
    queue: &CommitQueue,
    config: &Config,
    dry_run: bool,
    stop: &CancellationToken,
    plan: impl Fn(&TableState) -> Result<RewritePlan>,
) -> Result<Report> {
    let mut report = Report { dry_run, ..Report::default() };
    if !dry_run {
        run_recover(queue).await?;
    }
    let mut fruitless = 0;
    while fruitless < FRUITLESS_PLANS_MAX {
        let state = load_state(queue).await?;
        let plan = plan(&state)?;
        let groups = plan.groups.clone();
        report.plan.get_or_insert(plan);
        if dry_run || groups.is_empty() {
            break;
        }
        let before = report.groups;
        run_groups(queue, state.table(), config, groups, stop, &mut report).await?;
        fruitless = if report.groups > before { 0 } else { fruitless + 1 };
    }
    Ok(report)
}

/// Rewrites groups, several at a time, and commits each batch of finished ones while the others go on.
async fn run_groups(
    queue: &CommitQueue,
    table: &Table,
    config: &Config,
    groups: Vec<FileGroup>,
    stop: &CancellationToken,
    report: &mut Report,
) -> Result<()> {
    queue.env().steps.reach(Step::RewritePlanned)?;
    // Stops the rewrites that still run when this one returns early.
    let stop = stop.child_token();
    let _guard = stop.clone().drop_guard();
    let mut waiting = groups.into_iter();
    let mut running: JoinSet<(FileGroup, Result<RewriteResult>)> = JoinSet::new();
    loop {
        while running.len() < config.parallelism.max(1) && !stop.is_cancelled() {
            let Some(group) = waiting.next() else { break };
            let (env, table, config, stop) = (queue.env().clone(), table.clone(), config.clone(), stop.clone());
            running.spawn(async move {
                let result = run_group(&group, &env, &table, &config, &stop).await;
                (group, result)
            });
        }
        let Some(ended) = running.join_next().await else { break };
        let mut ended = vec![ended];
        while let Some(more) = running.try_join_next() {
            ended.push(more);
        }
        let mut results = Vec::new();
        for end in ended {
            match end {
                Ok((_, Ok(result))) => results.push(result),
                Ok((_, Err(Error::Cancelled))) => return Err(Error::Cancelled),
                Ok((group, Err(error))) => {
                    tracing::warn!(table = %queue.ident(), partition = group.place(), %error, "rewrite failed");
                    report.failed.push((group.place().to_owned(), error));
                }
                Err(lost) => {
                    let partition = table.ident().to_string();
                    return Err(Error::WorkerLost { partition, reason: lost.to_string() });
                }
            }
        }
        report.add(commit_rewrite(queue, results).await?);
    }
    if stop.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
}

impl Report {
    fn add(&mut self, end: RewriteEnd) {
        self.groups += end.committed.len();
        for result in &end.committed {
            self.files_in += result.group.inputs.len();
            self.files_out += result.outputs.len();
            self.rows_deleted += result.rows_deleted;
            self.rows_carried += result.rows_carried;
            self.bytes_in += result.group.bytes_in();
            self.bytes_out += result.bytes_out();
        }
        self.rows_rebased += end.rows_rebased;
        self.written = end.table.as_ref().map(BytesWritten::of).or(self.written);
        self.dropped.extend(end.dropped.into_iter().map(|(group, why)| (group.place().to_owned(), why)));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(plan) = &self.plan {
            write!(f, "{plan}")?;
        }
        if self.dry_run {
            return Ok(());
        }
        if self.groups > 0 {
            let (bytes_in, bytes_out) = (size(self.bytes_in), size(self.bytes_out));
            write!(f, "{} files of {bytes_in} became {} of {bytes_out}", self.files_in, self.files_out)?;
            match self.rows_deleted {
                0 => writeln!(f)?,
                rows => writeln!(f, ", without {rows} deleted rows")?,
            }
            if self.rows_carried > 0 {
                writeln!(f, "{} rows that had been deleted are deleted of the new files", self.rows_carried)?;
            }
            if self.rows_rebased > 0 {
                writeln!(f, "{} rows were deleted meanwhile, and are deleted of the new files", self.rows_rebased)?;
            }
            if let Some(times) = self.written.as_ref().and_then(BytesWritten::amplification) {
                writeln!(f, "each byte that came into the table was written {times:.2} times so far")?;
            }
        }
        for (place, conflict) in &self.dropped {
            writeln!(f, "{place}: not committed: {conflict}")?;
        }
        for (place, error) in &self.failed {
            writeln!(f, "{place}: not rewritten: {error}")?;
        }
        Ok(())
    }
}

async fn load_state(queue: &CommitQueue) -> Result<TableState> {
    let table = queue.load().await?;
    Ok(io::load_state(&queue.env().store, queue.cache(), &table, io::Entries::All).await?)
}

/// Settings of the service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceConfig {
    /// How often the catalog is looked at.
    pub interval_ms: u64,
    /// Settings of compaction; a table's own properties go over them. A table whose job compacts it ([`crate::lease()`]) is
    /// left alone for as long as that job is at work.
    pub compaction: Config,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self { interval_ms: 5_000, compaction: Config::default() }
    }
}

/// Compacts the tables of a catalog as they change, until `shutdown`. A table that fails is tried again when it changed.
///
/// # Errors
/// None that concerns a single table: those are logged.
pub async fn run(config: ServiceConfig, catalog: CatalogRef, env: Env, shutdown: CancellationToken) -> Result<()> {
    let mut tables: HashMap<TableIdent, Watched> = HashMap::new();
    loop {
        match list_tables(&catalog).await {
            Ok(idents) => {
                tables.retain(|ident, _| idents.contains(ident));
                for ident in idents {
                    let watched = tables.entry(ident.clone()).or_insert_with(|| Watched {
                        queue: Arc::new(CommitQueue::new(catalog.clone(), env.clone(), ident)),
                        metadata_location: String::new(),
                        coordinator: None,
                    });
                    match watched.look(&config.compaction, &shutdown).await {
                        Ok(()) => {}
                        Err(Error::Cancelled) => return Ok(()),
                        Err(error) => {
                            watched.coordinator = None;
                            tracing::warn!(table = %watched.queue.ident(), %error, "compaction failed");
                        }
                    }
                }
            }
            Err(error) => tracing::warn!(catalog = catalog.name(), %error, "tables can't be listed"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(config.interval_ms)) => {}
        }
    }
}

/// A table and what is known of it.
struct Watched {
    queue: Arc<CommitQueue>,
    metadata_location: String,
    coordinator: Option<Coordinator>,
}

impl Watched {
    async fn look(&mut self, config: &Config, shutdown: &CancellationToken) -> Result<()> {
        let table = self.queue.load().await?;
        if table.metadata_location() == self.metadata_location {
            return Ok(());
        }
        if is_leased(&table, self.queue.env().now_ms()) {
            self.coordinator = None;
            return Ok(());
        }
        table.metadata_location().clone_into(&mut self.metadata_location);
        let config = service_config(&table, config)?;
        if !config.enabled {
            self.coordinator = None;
            return Ok(());
        }
        let groups = match &mut self.coordinator {
            Some(coordinator) => follow(coordinator, &self.queue, &table, &config).await?,
            none => {
                run_recover(&self.queue).await?;
                let state = load_state(&self.queue).await?;
                none.insert(Coordinator::new(&state, &config)?).observe(&state, &config)?
            }
        };
        if !groups.is_empty() {
            self.compact(&table, &config, groups, shutdown).await?;
        }
        let equality_deletes = self.coordinator.as_ref().map_or(0, |known| known.listing().equality_deletes());
        if equality_deletes > config.equality_deletes_max {
            convert_equality_deletes(&self.queue, &config, false, shutdown).await?;
        }
        Ok(())
    }

    async fn compact(
        &mut self,
        table: &Table,
        config: &Config,
        groups: Vec<FileGroup>,
        shutdown: &CancellationToken,
    ) -> Result<()> {
        let mut report = Report::default();
        let ended = run_groups(&self.queue, table, config, groups.clone(), shutdown, &mut report).await;
        if let Some(coordinator) = &mut self.coordinator {
            groups.iter().for_each(|group| coordinator.on_end(group));
        }
        tracing::info!(
            table = %self.queue.ident(), groups = report.groups, files_in = report.files_in,
            files_out = report.files_out, bytes_in = report.bytes_in, bytes_out = report.bytes_out,
            rows_deleted = report.rows_deleted, rows_rebased = report.rows_rebased,
            dropped = report.dropped.len(), failed = report.failed.len(),
            write_amplification = report.written.as_ref().and_then(BytesWritten::amplification), "compacted"
        );
        ended
    }
}

fn service_config(table: &Table, default: &Config) -> Result<Config> {
    let own = Config::from_options(table.metadata().properties(), &HashMap::new(), default.writers)?;
    let is_set = |key: &str| table.property(key).is_some();
    let delta_commits = if is_set(crate::DELTA_COMMITS) { own.delta_commits } else { default.delta_commits };
    let enabled = if is_set(crate::AUTO_COMPACT) { own.enabled } else { default.enabled };
    let delete_ratio = if is_set(crate::DELETE_RATIO) { own.delete_ratio } else { default.delete_ratio };
    let cooling_ms = if is_set(crate::COOLING_MS) { own.cooling_ms } else { default.cooling_ms };
    let equality_deletes_max = match is_set(crate::EQUALITY_DELETES_MAX) {
        true => own.equality_deletes_max,
        false => default.equality_deletes_max,
    };
    Ok(Config {
        enabled,
        equality_deletes_max,
        delta_commits,
        delete_ratio,
        cooling_ms,
        target_file_size_bytes: own.target_file_size_bytes,
        row_group_size_bytes: own.row_group_size_bytes,
        ..default.clone()
    })
}

async fn list_tables(catalog: &CatalogRef) -> Result<Vec<TableIdent>> {
    let mut tables = Vec::new();
    let mut namespaces: Vec<NamespaceIdent> = catalog.list_namespaces(None).await?;
    while let Some(namespace) = namespaces.pop() {
        tables.extend(catalog.list_tables(&namespace).await?);
        namespaces.extend(catalog.list_namespaces(Some(&namespace)).await?);
    }
    Ok(tables)
}

#[cfg(test)]
mod tests;
