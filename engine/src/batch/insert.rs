//! `INSERT INTO`, `INSERT OVERWRITE`: a query's rows become data files of one commit.

use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use frazil_catalog::Precheck;
use frazil_reader::{Predicate, ReadContext, RowPredicate};
use frazil_table::spec::{PartitionField, Transform};
use frazil_table::{
    Change, Conflict, Overwrite, PartitionFilter, RemovedFiles, RowFilterRef, SnapshotProperties, Table, TableFile,
    Validation,
};
use frazil_writer::{DistributionMode, NdvSketches, StatisticsConfig, TableWriter, WriterConfig};

use super::files::{Crew, Landing, Written, batches, commit, send_rows, shared_config};
use super::query::{plan_query, state_for};
use super::row_change::{Attempts, writable};
use super::row_queues::RowQueues;
use super::{Outcome, unwrapped};
use crate::provider::equal_to;
use crate::session::{IcebergTable, TablePath, UsedTable, same_table};
use crate::sql::{Column, ColumnKind, CreateTable, DataType, Insert, Query, Replace, Span, SqlError, planner};
use crate::statistics::{Known, commit_sketches, sketches_at};
use crate::write_defaults::insert_schema;
use crate::{Error, Result, Session};

/// What an insert has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inserted {
    /// The table.
    pub table: TablePath,
    /// Its new rows.
    pub rows: u64,
    /// Its new data files.
    pub files: usize,
    /// The snapshot with them; `None` when there were no rows.
    pub snapshot_id: Option<i64>,
}

/// Runs an insert as one commit. `script` is the text that it was parsed from.
///
/// # Errors
/// What is wrong with the statement, with its place; a value that does not fit its column; what reading, writing or the
/// catalog fails of. Then nothing of it is in the table, except after
/// [`frazil_catalog::Error::Unavailable`], which leaves it open.
pub async fn run_insert(session: &Session, insert: &Insert, script: &str) -> Result<Inserted> {
    if insert.overwrite {
        let mut attempts = Attempts::new(&insert.target);
        loop {
            match overwrite(session, insert, script).await? {
                Ok(inserted) => return Ok(inserted),
                Err(conflict) => attempts.again(conflict)?,
            }
        }
    }
    let target = writable(session, &insert.target, "INSERT", script).await?;
    let (state, plan) = plan_insert_into(session, insert, &target.table, script).await?;
    let physical = physical_of(insert, &state, &plan, script).await?;
    let written = write(session, &target.table, &state, physical).await?;
    append(session, &target, Vec::new(), written, &same_table(&target.table)).await
}

pub(super) async fn plan_insert(
    session: &Session,
    insert: &Insert,
    script: &str,
) -> Result<(SessionState, LogicalPlan)> {
    let target = writable(session, &insert.target, "INSERT", script).await?;
    plan_insert_into(session, insert, &target.table, script).await
}

async fn plan_insert_into(
    session: &Session,
    insert: &Insert,
    target: &Table,
    script: &str,
) -> Result<(SessionState, LogicalPlan)> {
    let state = state_for(session, &insert.query, script).await?;
    let schema = insert_schema(target.metadata().current_schema())?;
    let plan = planner::plan_insert(insert, &schema, &state, script).await?;
    Ok((state, plan))
}

/// `CREATE TABLE … AS SELECT`: makes the table, then inserts. When the query fails, the table goes again.
/// `CREATE OR REPLACE TABLE … AS SELECT` on a table that is there is one commit: it changes wholly or not at all, and the
/// query may read what it replaces.
///
/// # Errors
/// As for `CREATE TABLE` and [`run_insert`]; a column of the query whose type no table has.
pub async fn run_create_table_as(session: &mut Session, create: &CreateTable, script: &str) -> Result<Outcome> {
    let Some(query) = &create.query else {
        return session.create_table(create, script).await.map(Outcome::Done);
    };
    let path = session.path_of(&create.name);
    let is_there = session.exists(&path).await?;
    let (_, plan) = plan_query(session, query, script).await?;
    let mut definition = CreateTable { query: None, ..create.clone() };
    if definition.columns.is_empty() {
        definition.columns = columns_of(&plan, create, script)?;
    }
    let insert = insert_into(create, query.clone());
    if is_there && create.replace != Replace::No {
        return replace_as(session, &definition, &insert, script).await;
    }
    let done = session.create_table(&definition, script).await?;
    if is_there {
        return Ok(Outcome::Done(done));
    }
    match run_insert(session, &insert, script).await {
        Ok(inserted) => Ok(Outcome::Inserted(vec![inserted])),
        // Whether the rows are in the table is open: it stays, for somebody to look.
        Err(error @ Error::Catalog(frazil_catalog::Error::Unavailable { .. })) => Err(error),
        Err(error) => {
            if let Some(catalog) = session.catalog(&path.catalog)
                && let Err(drop_error) = catalog.drop_table(&path.ident(), true).await
            {
                tracing::warn!(table = %path, %drop_error, "the table of a query that failed stays, empty");
            }
            Err(error)
        }
    }
}

async fn replace_as(session: &Session, create: &CreateTable, insert: &Insert, script: &str) -> Result<Outcome> {
    let replacement = session.replacement_of(create, script).await?;
    let (state, plan) = plan_insert_into(session, insert, &replacement.table, script).await?;
    let physical = physical_of(insert, &state, &plan, script).await?;
    let written = write(session, &replacement.table, &state, physical).await?;
    let precheck = |now: &Table| match replacement.holds_for(now) {
        true => Precheck::Proceed,
        false => Precheck::Refuse("the table's columns or partitions were changed meanwhile; run it again".to_owned()),
    };
    let first = vec![replacement.change.clone()];
    let inserted = append(session, &replacement.base, first, written, &precheck).await?;
    Ok(Outcome::Inserted(vec![inserted]))
}

fn insert_into(create: &CreateTable, query: Query) -> Insert {
    Insert {
        target: create.name.clone(),
        options: crate::options::Options::new(),
        columns: Vec::new(),
        overwrite: false,
        partition: Vec::new(),
        query,
    }
}

fn columns_of(plan: &LogicalPlan, create: &CreateTable, script: &str) -> Result<Vec<Column>> {
    let column = |field: &arrow::datatypes::FieldRef| {
        let data_type = DataType::from_arrow(field.data_type(), field.is_nullable()).map_err(|reason| {
            let message = format!("the column '{}' can't be kept in a table: {reason}", field.name());
            SqlError::new(message, create.name.span(), script).help("write a CAST in the query")
        })?;
        let kind = ColumnKind::Physical(data_type);
        Ok(Column { name: field.name().clone(), kind, comment: None, span: Span::empty() })
    };
    plan.schema().fields().iter().map(column).collect()
}

/// The plan as it runs; an error of a value stands at its place.
async fn physical_of(
    insert: &Insert,
    state: &SessionState,
    plan: &LogicalPlan,
    script: &str,
) -> Result<Arc<dyn ExecutionPlan>> {
    match state.create_physical_plan(plan).await {
        Ok(physical) => Ok(physical),
        Err(error) => Err(planner::locate(error, &insert.query, state, script).await),
    }
}

/// Writes the rows of a plan into files for a table, which no commit names yet.
async fn write(
    session: &Session,
    target: &Table,
    state: &SessionState,
    physical: Arc<dyn ExecutionPlan>,
) -> Result<Written> {
    let streams = execute_stream_partitioned(physical, state.task_ctx()).map_err(unwrapped)?;
    let ndv_sketches = StatisticsConfig::of(target.metadata())?.is_some();
    let config = WriterConfig { ndv_sketches, ..shared_config(streams.len()) };
    let mut writers = Vec::with_capacity(streams.len());
    for _ in &streams {
        writers.push(TableWriter::new(session.env().clone(), target, config.clone())?);
    }
    let mode = DistributionMode::of(target.metadata())?;
    let mut crew = Crew::new(session.env());
    if writers.len() > 1 && mode != DistributionMode::None {
        let queues = RowQueues::start(&mut crew, writers, target, mode);
        for (number, stream) in streams.into_iter().enumerate() {
            crew.add(send_rows(batches(stream), queues.sender(number)?));
        }
    } else {
        for (writer, stream) in writers.into_iter().zip(streams) {
            crew.write(writer, batches(stream));
        }
    }
    crew.join().await
}

/// Commits `first` and an append of the files as one. Without files there is no append.
async fn append(
    session: &Session,
    target: &IcebergTable,
    first: Vec<Change>,
    written: Written,
    precheck: &(dyn Fn(&Table) -> Precheck + Send + Sync),
) -> Result<Inserted> {
    let Written { files, sketches, .. } = written;
    let mut inserted = Inserted::new(target, &files);
    let mut changes = first;
    if !files.is_empty() {
        changes.push(Change::Append { files: files.clone(), properties: SnapshotProperties::new() });
    }
    if changes.is_empty() {
        return Ok(inserted);
    }
    match commit(session.env(), target, &changes, &files, precheck).await? {
        Landing::Landed(table, snapshot_id) => {
            inserted.snapshot_id = snapshot_id;
            keep_statistics(session, target, &table, snapshot_id.zip(sketches)).await;
            Ok(inserted)
        }
        Landing::Conflict(conflict) => {
            Err(frazil_writer::Error::Conflict { table: target.path.to_string(), conflict }.into())
        }
    }
}

/// Unites the sketches of rows that have just landed with those of the rows before. The rows are in the table whatever
/// becomes of it.
async fn keep_statistics(session: &Session, target: &IcebergTable, table: &Table, new: Option<(i64, NdvSketches)>) {
    let Some((snapshot_id, sketches)) = new else { return };
    let context = ReadContext::with_manifests(session.env(), session.manifests());
    let parent = table.metadata().snapshot_by_id(snapshot_id).and_then(|snapshot| snapshot.parent_snapshot_id());
    let stored = async {
        match sketches_at(&context, table, parent).await?.with(sketches) {
            Known::Sketches(all) => {
                let queue = session.queue(target);
                commit_sketches(&queue, table, snapshot_id, all).await.map(drop)
            }
            Known::NoRows => Ok(()),
            Known::Unknown(reason) => {
                let help = "CALL system.compute_table_stats makes them anew";
                tracing::warn!(table = %target.path, reason, help, "the table's statistics can't be kept up");
                Ok(())
            }
        }
    };
    if let Err(error) = stored.await {
        tracing::warn!(table = %target.path, %error, "the rows are in the table, their statistics are not");
    }
}

impl Inserted {
    fn new(target: &IcebergTable, files: &[TableFile]) -> Self {
        let rows = files.iter().map(|file| file.file.record_count()).sum();
        Self { table: target.path.clone(), rows, files: files.len(), snapshot_id: None }
    }
}

/// `INSERT OVERWRITE`: the rows take the place of what is there: of the partitions that `PARTITION (…)` names; else of
/// those that they are in; of all rows in a table without partitions.
async fn overwrite(
    session: &Session,
    insert: &Insert,
    script: &str,
) -> Result<std::result::Result<Inserted, Conflict>> {
    let target = writable(session, &insert.target, "INSERT", script).await?;
    let table = &target.table;
    let named = named_partitions(session, insert, table, script)?;
    let (state, plan) = plan_insert_into(session, insert, table, script).await?;
    let physical = physical_of(insert, &state, &plan, script).await?;
    let files = write(session, table, &state, physical).await?.files;
    let mut inserted = Inserted::new(&target, &files);
    let is_partitioned = !table.metadata().default_partition_spec().is_unpartitioned();
    let (removed, filter): (_, RowFilterRef) = match named {
        Some(named) => (RemovedFiles::Filter(Arc::clone(&named)), named),
        None if is_partitioned => (RemovedFiles::PartitionsOfAdded, Arc::new(PartitionFilter::of(&files))),
        None => {
            let every_row: RowFilterRef = Arc::new(RowPredicate::new(table, &Predicate::True)?);
            (RemovedFiles::Filter(Arc::clone(&every_row)), every_row)
        }
    };
    if files.is_empty() && matches!(removed, RemovedFiles::PartitionsOfAdded) {
        return Ok(Ok(inserted));
    }
    let base_snapshot_id = table.current_snapshot().map(|snapshot| snapshot.snapshot_id());
    let reads_target = session.tables_of(&insert.query, script).await?.tables().iter().any(|used| match &used.table {
        UsedTable::Iceberg(read) | UsedTable::Metadata(read, _) => read.path == target.path,
        UsedTable::External(_) => false,
    });
    // Rows that came meanwhile go as if they had come before, unless the query should have read them.
    let validation = match reads_target {
        true => Validation::serializable(base_snapshot_id, Some(filter)),
        false => Validation::snapshot(base_snapshot_id),
    };
    let properties = SnapshotProperties::new();
    let change = Change::Overwrite(Overwrite { removed, added: files.clone(), validation, properties });
    match commit(session.env(), &target, &[change], &files, &same_table(table)).await? {
        Landing::Landed(_, snapshot_id) => {
            inserted.snapshot_id = snapshot_id;
            Ok(Ok(inserted))
        }
        Landing::Conflict(conflict) => Ok(Err(conflict)),
    }
}

/// The rows of the partitions that `PARTITION (column = value, …)` names.
fn named_partitions(session: &Session, insert: &Insert, table: &Table, script: &str) -> Result<Option<RowFilterRef>> {
    if insert.partition.is_empty() {
        return Ok(None);
    }
    let metadata = table.metadata();
    let schema = frazil_table::arrow::arrow_schema(metadata.current_schema())?;
    let mut condition = Predicate::True;
    for (column, value) in &insert.partition {
        let spec = metadata.default_partition_spec();
        let is_partition = metadata.current_schema().field_by_name(column).is_some_and(|field| {
            let is_source = |part: &PartitionField| part.source_id == field.id && part.transform == Transform::Identity;
            spec.fields().iter().any(is_source)
        });
        if !is_partition {
            let message = format!("{} is not partitioned by '{column}' as it is", insert.target);
            let help = "delete the rows first, then INSERT INTO; or overwrite the partitions that the rows are in, without \
                        PARTITION (…)";
            return Err(SqlError::new(message, insert.target.span(), script).help(help).in_statement("INSERT").into());
        }
        let field = schema.field_with_name(column).expect("the table has the column");
        let value = session.constant(value, script)?.cast_to(field.data_type())?;
        condition = condition.and(match value.is_null() {
            true => Predicate::IsNull(column.clone()),
            false => equal_to(column, value).ok_or_else(|| {
                let message = format!("rows can't be told apart by a value of '{column}'");
                SqlError::new(message, insert.target.span(), script).in_statement("INSERT")
            })?,
        });
    }
    Ok(Some(Arc::new(RowPredicate::new(table, &condition)?)))
}
