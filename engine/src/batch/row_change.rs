//! `DELETE`, `UPDATE` and `TRUNCATE`: rows that are there go or get other values, in one commit.
//!
//! 1. *Find*: the statement's query says of each row that it changes in which file it is and where, and for an `UPDATE`
//!    its new values, which go to the writers at once. A `DELETE` whose condition the files' metadata decides finds
//!    nothing and drops whole files.
//! 2. *Copy*: with copy-on-write (`write.delete.mode`, `write.update.mode`) what is left of the files concerned goes to the
//!    same writers, so that a partition gets one file, or as many as its size asks for. From format version 3 on, rows keep
//!    their ids. Who writes which row: `write.delete.distribution-mode`, `write.update.distribution-mode`.
//! 3. *Delete*: with merge-on-read the places of the rows become position deletes or deletion vectors.
//! 4. *Commit*, checked against all that others did meanwhile (`write.delete.isolation-level`,
//!    `write.update.isolation-level`). After a conflict it begins anew on the table as it is then.

use std::fmt;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream_partitioned;
use frazil_reader::{
    LAST_UPDATED_COLUMN, Predicate, ROW_ID_COLUMN, ReadContext, RowPredicate, RowReader, SnapshotSelector,
};
use frazil_table::spec::FormatVersion;
use frazil_table::{
    Change, Conflict, Isolation, Overwrite, RemovedFiles, RowDelta, RowFilterRef, SnapshotProperties, Table, TableFile,
    TableState, Validation,
};
use frazil_writer::{DeletedRows, DistributionMode, TableWriter, WriterConfig, write_row_deletes};

use super::files::{Crew, Landing, Places, Written, batches, commit, forget, shared_config};
use super::query::providers;
use super::row_parts::{Rest, find_part, find_then_copy};
use super::row_queues::RowQueues;
use super::unwrapped;
use super::whole_files::{are_whole_files, remove_whole_files, whole_condition};
use crate::provider::{IcebergTableProvider, place_fields};
use crate::session::{IcebergTable, Resolved, TablePath, TableUse, same_table};
use crate::sql::{Name, RowChange, SqlError, planner};
use crate::write_defaults::insert_schema;
use crate::{Result, Session};

/// How often a statement begins anew after a conflict.
const ATTEMPTS_MAX: usize = 10;

/// What a change of rows has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsChanged {
    /// The table.
    pub table: TablePath,
    /// `DELETE`, `UPDATE` or `TRUNCATE`.
    pub kind: &'static str,
    /// Rows that went or have other values.
    pub rows: u64,
    /// Data files that are not in the table any more.
    pub removed_files: usize,
    /// New data files.
    pub added_files: usize,
    /// New delete files and deletion vectors.
    pub delete_files: usize,
    /// The snapshot; `None` when no row was concerned.
    pub snapshot_id: Option<i64>,
}

/// How rows leave a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    CopyOnWrite,
    MergeOnRead,
}

/// What a statement changes, as worked out on one snapshot. Prints for a person.
#[derive(Debug)]
struct RowChangePlan {
    base_snapshot_id: Option<i64>,
    mode: Mode,
    /// The rows, by file.
    deleted: Vec<DeletedRows>,
}

/// What the table's properties say of a kind of statement.
#[derive(Clone, Copy, Debug)]
struct Settings {
    mode: Mode,
    isolation: Isolation,
    distribution: DistributionMode,
}

/// Runs a `DELETE` or `UPDATE` as one commit. `script` is the text that it was parsed from.
///
/// # Errors
/// What is wrong with the statement, with its place; a value that does not fit its column; what reading, writing or the
/// catalog fails of. Then nothing of it is in the table, except after [`frazil_catalog::Error::Unavailable`], which leaves
/// it open. A conflict, if others change the same rows again and again.
pub async fn run_row_change(session: &Session, change: &RowChange, script: &str) -> Result<RowsChanged> {
    let mut attempts = Attempts::new(&change.target);
    loop {
        let target = writable(session, &change.target, change.kind(), script).await?;
        match Statement::bind(session, change, target, script).await?.run().await? {
            Ok(done) => return Ok(done),
            Err(conflict) => attempts.again(conflict)?,
        }
    }
}

/// Removes all rows.
///
/// # Errors
/// As [`run_row_change`].
pub async fn run_truncate(session: &Session, target: &Name, script: &str) -> Result<RowsChanged> {
    const KIND: &str = "TRUNCATE";
    let mut attempts = Attempts::new(target);
    loop {
        let target = writable(session, target, KIND, script).await?;
        let context = ReadContext::with_manifests(session.env(), session.manifests());
        let provider = IcebergTableProvider::load(context.clone(), &target.table, SnapshotSelector::Latest).await?;
        let every_row: RowFilterRef = Arc::new(RowPredicate::new(&target.table, &Predicate::True)?);
        let how = (KIND, Isolation::Snapshot);
        match remove_whole_files(&context, &target, provider.state(), how, every_row).await? {
            Ok(done) => return Ok(done),
            Err(conflict) => attempts.again(conflict)?,
        }
    }
}

/// The plan of the query that finds the rows.
pub(super) async fn plan_rows(
    session: &Session,
    change: &RowChange,
    script: &str,
) -> Result<(SessionState, LogicalPlan)> {
    let target = writable(session, &change.target, change.kind(), script).await?;
    let statement = Statement::bind(session, change, target, script).await?;
    Ok((statement.state, statement.plan))
}

/// The table that a statement changes.
pub(super) async fn writable(session: &Session, name: &Name, kind: &'static str, script: &str) -> Result<IcebergTable> {
    let refuse = |message: String, help: &str| {
        let error = SqlError::new(message, name.span(), script);
        Err(error.help(help).in_statement(kind).into())
    };
    match session.resolve(name, script).await? {
        Resolved::Iceberg(table) => Ok(table),
        Resolved::External(table) => {
            let message = format!("'{name}' is a {} table, which is only read", table.connector());
            refuse(message, "write into a table of 'connector' = 'iceberg'")
        }
        Resolved::View(_) => refuse(format!("'{name}' is a view"), "write into the tables that it reads"),
    }
}

/// The attempts of a statement, each on the table as it is then.
pub(super) struct Attempts<'a> {
    target: &'a Name,
    failed: usize,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(target: &'a Name) -> Self {
        Self { target, failed: 0 }
    }

    /// After a conflict: whether there is another attempt.
    ///
    /// # Errors
    /// The conflict, if there is none.
    pub(super) fn again(&mut self, conflict: Conflict) -> Result<()> {
        self.failed += 1;
        if self.failed >= ATTEMPTS_MAX || matches!(conflict, Conflict::Refused { .. }) {
            return Err(frazil_writer::Error::Conflict { table: self.target.to_string(), conflict }.into());
        }
        tracing::info!(table = %self.target, %conflict, attempt = self.failed, "begins anew");
        Ok(())
    }
}

/// A statement over one state of its table.
struct Statement<'a> {
    change: &'a RowChange,
    context: ReadContext,
    target: IcebergTable,
    provider: Arc<IcebergTableProvider>,
    settings: Settings,
    state: SessionState,
    /// The rows: where they are, then their new values.
    plan: LogicalPlan,
    /// How many columns say where a row is.
    places: usize,
    /// The condition, if the reader decides all of it.
    filter: Option<RowFilterRef>,
}

impl<'a> Statement<'a> {
    async fn bind(session: &Session, change: &'a RowChange, target: IcebergTable, script: &str) -> Result<Self> {
        let context = ReadContext::with_manifests(session.env(), session.manifests());
        let scope = session.tables_around(&change.rows, script, Some(&target)).await?;
        let settings = Settings::of(&target.table, change.kind())?;
        let provider = IcebergTableProvider::load(context.clone(), &target.table, SnapshotSelector::Latest).await?;
        let provider = Arc::new(provider.with_places()?);
        let others = providers(session, &scope, script).await?;
        let provide = |used: &TableUse| -> Result<Arc<dyn TableProvider>> {
            Ok(match used.with_places {
                true => Arc::clone(&provider) as _,
                false => Arc::clone(&others[&used.id]),
            })
        };
        let state = session.planning_state(&scope, &provide).await?;
        let mut places = place_fields(&target.table);
        if change.assignments.is_empty() {
            // Deleted rows need no id.
            places.truncate(2);
        }
        let schema = insert_schema(target.table.metadata().current_schema())?;
        let plan = planner::plan_row_change(change, &places, &schema, &state, script).await?;
        let plan = match state.optimize(&plan) {
            Ok(plan) => plan,
            Err(error) => return Err(planner::locate(error, &change.rows, &state, script).await),
        };
        let condition = whole_condition(&plan).and_then(|filters| provider.predicate_of(&filters));
        let filter = match condition {
            None => None,
            Some(condition) => Some(Arc::new(RowPredicate::new(&target.table, &condition)?) as RowFilterRef),
        };
        Ok(Self { change, context, target, provider, settings, state, plan, places: places.len(), filter })
    }

    async fn run(&self) -> Result<std::result::Result<RowsChanged, Conflict>> {
        let state = self.provider.state();
        if self.change.assignments.is_empty()
            && let Some(filter) = &self.filter
            && are_whole_files(state, filter)?
        {
            let how = (self.change.kind(), self.settings.isolation);
            return remove_whole_files(&self.context, &self.target, state, how, Arc::clone(filter)).await;
        }
        let found = self.write().await?;
        let mut written = found.files;
        let plan = match RowChangePlan::new(state, found.places, self.settings.mode) {
            Ok(plan) if plan.deleted.is_empty() => return Ok(Ok(self.done(&plan, 0, None))),
            Ok(plan) => plan,
            Err(error) => return self.gave_up(error, &written).await,
        };
        tracing::info!(table = %self.target.path, %plan, "{}", self.change.kind());
        match self.change_of(&plan, &mut written).await {
            Ok((change, delete_files)) => self.land(&plan, change, delete_files, &written).await,
            Err(error) => self.gave_up(error, &written).await,
        }
    }

    /// Ends with an error. No commit has named the files.
    async fn gave_up<T>(&self, error: crate::Error, written: &[TableFile]) -> Result<T> {
        forget(&self.context.env, written).await;
        Err(error)
    }

    /// Finds the rows, and writes what goes into data files: their new values, and with copy-on-write what stays of the files
    /// that they are in.
    async fn write(&self) -> Result<Written> {
        let physical = self.state.create_physical_plan(&self.plan).await.map_err(unwrapped)?;
        let streams = execute_stream_partitioned(physical, self.state.task_ctx()).map_err(unwrapped)?;
        let updates = !self.change.assignments.is_empty();
        let copies = self.settings.mode == Mode::CopyOnWrite;
        let mut crew = Crew::new(&self.context.env);
        let queues = if updates || copies { Some(self.start_writers(&mut crew)?) } else { None };
        let mut finders = Vec::with_capacity(streams.len());
        for (number, stream) in streams.into_iter().enumerate() {
            let sender = queues.as_ref().filter(|_| updates).map(|queues| queues.sender(number)).transpose()?;
            finders.push(find_part(batches(stream), self.places, sender));
        }
        let rest = queues.filter(|_| copies).map(|queues| self.rest(queues));
        crew.add(find_then_copy(finders, rest));
        crew.join().await
    }

    fn start_writers(&self, crew: &mut Crew) -> Result<RowQueues> {
        let table = &self.target.table;
        let count = self.state.config().target_partitions().max(1);
        let config = WriterConfig { row_lineage: keeps_ids(table), ..shared_config(count) };
        let writer = |_| TableWriter::new(self.context.env.clone(), table, config.clone());
        let writers = (0..count).map(writer).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(RowQueues::start(crew, writers, table, self.settings.distribution))
    }

    fn rest(&self, queues: RowQueues) -> Rest {
        let table = &self.target.table;
        let fields = table.metadata().current_schema().as_struct().fields();
        let mut columns: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
        if keeps_ids(table) {
            columns.extend([ROW_ID_COLUMN.to_owned(), LAST_UPDATED_COLUMN.to_owned()]);
        }
        let readers = self.state.config().target_partitions();
        Rest { context: self.context.clone(), state: Arc::clone(self.provider.state()), columns, queues, readers }
    }

    /// The change of the table, for which new values and copies are in `files` already; how many of the files are delete
    /// files.
    async fn change_of(&self, plan: &RowChangePlan, files: &mut Vec<TableFile>) -> Result<(Change, usize)> {
        let state = self.provider.state();
        let paths: Vec<String> = plan.deleted.iter().map(|deleted| deleted.path.clone()).collect();
        let validation = Validation {
            base_snapshot_id: plan.base_snapshot_id,
            isolation: self.settings.isolation,
            conflict_filter: self.filter.clone(),
            referenced_data_files: Vec::new(),
        };
        let properties = SnapshotProperties::new();
        Ok(match plan.mode {
            Mode::CopyOnWrite => {
                let removed = RemovedFiles::Files(paths);
                (Change::Overwrite(Overwrite { removed, added: files.clone(), validation, properties }), 0)
            }
            Mode::MergeOnRead => {
                let stored = RowReader::new(&self.context, 2);
                let config = WriterConfig::default();
                let deletes =
                    write_row_deletes(&self.context.env, &stored, state, &config, plan.deleted.clone()).await?;
                let count = deletes.delete_files.len();
                let delta = RowDelta {
                    data_files: files.clone(),
                    delete_files: deletes.delete_files.clone(),
                    removed_delete_files: deletes.removed_delete_files,
                    validation: Validation { referenced_data_files: paths, ..validation },
                    properties,
                };
                files.extend(deletes.delete_files);
                (Change::RowDelta(delta), count)
            }
        })
    }

    async fn land(
        &self,
        plan: &RowChangePlan,
        change: Change,
        delete_files: usize,
        files: &[TableFile],
    ) -> Result<std::result::Result<RowsChanged, Conflict>> {
        let precheck = same_table(&self.target.table);
        match commit(&self.context.env, &self.target, &[change], files, &precheck).await? {
            Landing::Landed(_, snapshot_id) => {
                let done = self.done(plan, delete_files, snapshot_id);
                Ok(Ok(RowsChanged { added_files: files.len() - delete_files, ..done }))
            }
            Landing::Conflict(conflict) => Ok(Err(conflict)),
        }
    }

    fn done(&self, plan: &RowChangePlan, delete_files: usize, snapshot_id: Option<i64>) -> RowsChanged {
        RowsChanged {
            table: self.target.path.clone(),
            kind: self.change.kind(),
            rows: plan.rows(),
            removed_files: if plan.mode == Mode::CopyOnWrite { plan.deleted.len() } else { 0 },
            added_files: 0,
            delete_files,
            snapshot_id,
        }
    }
}

impl Settings {
    fn of(table: &Table, kind: &str) -> Result<Self> {
        let word = kind.to_ascii_lowercase();
        let read = |name: &str, first: &'static str, second: &'static str| {
            let property = format!("write.{word}.{name}");
            match table.property(&property) {
                None => Ok(true),
                Some(value) if value == first => Ok(true),
                Some(value) if value == second => Ok(false),
                Some(value) => {
                    let (value, wanted) = (value.to_owned(), format!("{first} or {second}"));
                    Err(frazil_writer::Error::BadProperty { property, value, wanted })
                }
            }
        };
        let is_copied = read("mode", "copy-on-write", "merge-on-read")?;
        let is_serializable = read("isolation-level", "serializable", "snapshot")?;
        let distribution = format!("write.{word}.distribution-mode");
        Ok(Self {
            distribution: DistributionMode::of_statement(table.metadata(), &distribution)?,
            mode: if is_copied { Mode::CopyOnWrite } else { Mode::MergeOnRead },
            isolation: if is_serializable { Isolation::Serializable } else { Isolation::Snapshot },
        })
    }
}

impl RowChangePlan {
    fn new(state: &TableState, places: Places, mode: Mode) -> Result<Self> {
        let live = state.live_data_files_by_path()?;
        let deleted = places.into_iter().map(|(path, rows)| {
            let file = live.get(path.as_str()).expect("rows were found in files of this state alone");
            let (partition_spec_id, partition) = (file.partition_spec_id, file.file.partition().clone());
            DeletedRows { path, partition_spec_id, partition, rows }
        });
        Ok(Self { base_snapshot_id: state.snapshot_id(), mode, deleted: deleted.collect() })
    }

    fn rows(&self) -> u64 {
        self.deleted.iter().map(|deleted| deleted.rows.len()).sum()
    }
}

impl fmt::Display for RowChangePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.mode {
            Mode::CopyOnWrite => "are written anew",
            Mode::MergeOnRead => "get deletes",
        };
        write!(f, "{} rows; {} files {how}", self.rows(), self.deleted.len())
    }
}

/// From format version 3 on rows have ids, which they keep in whatever file they are.
fn keeps_ids(table: &Table) -> bool {
    table.metadata().format_version() >= FormatVersion::V3
}

#[cfg(test)]
mod tests;
