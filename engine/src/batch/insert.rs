//! `INSERT INTO`: a query's rows become data files of one commit.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use frazil_catalog::{CommitEnd, CommitQueue, Precheck};
use frazil_storage::{Env, Step};
use frazil_table::{Change, CommitIdentity, SnapshotProperties, Table, TableFile};
use frazil_writer::{TableWriter, WriterConfig};
use futures::StreamExt;
use tokio::task::JoinSet;

use super::query::{plan_query, state_for};
use super::{Outcome, unwrapped};
use crate::coerce::coerce;
use crate::session::{IcebergTable, Resolved, TablePath};
use crate::sql::{Column, ColumnKind, CreateTable, DataType, Insert, Query, Replace, Span, SqlError, planner};
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
    let target = target_of(session, insert, script).await?;
    let (state, plan) = plan_insert_into(session, insert, &target.table, script).await?;
    let physical = physical_of(insert, &state, &plan, script).await?;
    let files = write(session, &target.table, &state, physical).await?;
    let uuid = target.table.metadata().uuid();
    let precheck = |now: &Table| match now.metadata().uuid() == uuid {
        true => Precheck::Proceed,
        false => Precheck::Refuse("the table was dropped and made anew meanwhile".to_owned()),
    };
    commit(session.env(), &target, Vec::new(), files, &precheck).await
}

pub(super) async fn plan_insert(
    session: &Session,
    insert: &Insert,
    script: &str,
) -> Result<(SessionState, LogicalPlan)> {
    let target = target_of(session, insert, script).await?;
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

async fn target_of(session: &Session, insert: &Insert, script: &str) -> Result<IcebergTable> {
    let refuse = |message: String, help: &str| {
        let error = SqlError::new(message, insert.target.span(), script);
        Err(error.help(help).in_statement("INSERT").into())
    };
    if insert.overwrite {
        return refuse("INSERT OVERWRITE is not supported yet".to_owned(), "INSERT INTO adds the rows");
    }
    match session.resolve(&insert.target, script).await? {
        Resolved::Iceberg(table) => Ok(table),
        Resolved::External(table) => {
            let message = format!("'{}' is a {} table, which is only read", insert.target, table.connector());
            refuse(message, "write into a table of 'connector' = 'iceberg'")
        }
        Resolved::View(_) => refuse(format!("'{}' is a view", insert.target), "write into the tables that it reads"),
    }
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
    let files = write(session, &replacement.table, &state, physical).await?;
    let precheck = |now: &Table| match replacement.holds_for(now) {
        true => Precheck::Proceed,
        false => Precheck::Refuse("the table's columns or partitions were changed meanwhile; run it again".to_owned()),
    };
    let first = vec![replacement.change.clone()];
    let inserted = commit(session.env(), &replacement.base, first, files, &precheck).await?;
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
) -> Result<Vec<TableFile>> {
    let streams = execute_stream_partitioned(physical, state.task_ctx()).map_err(unwrapped)?;
    let env = session.env();
    let mut config = WriterConfig::default();
    // The partitions' writers share what one may hold.
    config.memory_max_bytes /= streams.len().max(1);
    config.open_files_max = (config.open_files_max / streams.len().max(1)).max(1);
    let mut writers = JoinSet::new();
    for stream in streams {
        let writer = TableWriter::new(env.clone(), target, config.clone())?;
        let schema = Arc::clone(writer.schema());
        writers.spawn(write_partition(writer, schema, stream));
    }
    let mut files: Vec<TableFile> = Vec::new();
    let mut failed = None;
    while let Some(written) = writers.join_next().await {
        match written.unwrap_or_else(|error| Err(Error::TaskPanicked(error.to_string()))) {
            Ok(written) => files.extend(written),
            Err(error) => {
                writers.abort_all();
                // The first error is the cause; the others may only be of the abort.
                failed.get_or_insert(error);
            }
        }
    }
    if let Some(error) = failed {
        // No commit has named them.
        delete(env, &files).await?;
        return Err(error);
    }
    env.steps.reach(Step::FilesClosed)?;
    Ok(files)
}

async fn write_partition(
    mut writer: TableWriter,
    schema: SchemaRef,
    mut rows: SendableRecordBatchStream,
) -> Result<Vec<TableFile>> {
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(unwrapped)?;
        writer.write(coerce(&batch, &schema)?).await?;
    }
    Ok(writer.close().await?)
}

/// Commits `first` and an append of the files as one. Without files there is no append.
async fn commit(
    env: &Env,
    target: &IcebergTable,
    first: Vec<Change>,
    files: Vec<TableFile>,
    precheck: &(dyn Fn(&Table) -> Precheck + Send + Sync),
) -> Result<Inserted> {
    let rows = files.iter().map(|file| file.file.record_count()).sum();
    let mut inserted = Inserted { table: target.path.clone(), rows, files: files.len(), snapshot_id: None };
    let written = files.clone();
    let queue = CommitQueue::new(Arc::clone(&target.catalog), env.clone(), target.path.ident());
    let identity = CommitIdentity::draw(env, 1);
    let mut changes = first;
    if !files.is_empty() {
        inserted.snapshot_id = Some(identity.snapshot_ids[0]);
        changes.push(Change::Append { files, properties: SnapshotProperties::new() });
    }
    if changes.is_empty() {
        return Ok(inserted);
    }
    match queue.commit(&changes, identity, precheck).await? {
        CommitEnd::Committed(_) | CommitEnd::AlreadyLanded(_) => Ok(inserted),
        CommitEnd::Conflict(conflict) => {
            // Proven not to be in the table, and never to be: the files are nobody's.
            delete(env, &written).await?;
            Err(frazil_writer::Error::Conflict { table: target.path.to_string(), conflict }.into())
        }
    }
}

async fn delete(env: &Env, files: &[TableFile]) -> Result<()> {
    for file in files {
        env.store.delete(file.file.file_path()).await?;
    }
    Ok(())
}
