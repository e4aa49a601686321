//! `SELECT` and `EXPLAIN`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{ExplainOption, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream;
use datafusion::sql::sqlparser::ast::Expr as SqlExpr;
use frazil_reader::{ReadContext, SnapshotSelector};
use frazil_table::spec::SnapshotRetention;
use futures::{StreamExt, TryStreamExt};

use super::changes::changes_of;
use super::{Cost, Rows, unwrapped};
use crate::connectors::create_source;
use crate::provider::{IcebergTableProvider, MetadataTable, SourceTableProvider, metadata_table};
use crate::session::{IcebergTable, Scope, TableUse, UsedTable};
use crate::sql::{AsOf, ConstructKind, Explain, Query, SqlError, Statement, planner};
use crate::{Result, Session};

/// Plans and starts a query. `script` is the text that it was parsed from.
///
/// # Errors
/// What is wrong with the query, with its place; what the catalog or a connector refuses.
pub async fn run_query(session: &Session, query: &Query, script: &str) -> Result<Rows> {
    let (state, plan) = plan_query(session, query, script).await?;
    start(&state, &plan, query, script).await
}

pub(super) async fn plan_query(session: &Session, query: &Query, script: &str) -> Result<(SessionState, LogicalPlan)> {
    let state = state_for(session, query, script).await?;
    let plan = planner::plan_query(query, &state, script).await?;
    Ok((state, plan))
}

/// Starts a plan.
async fn start(state: &SessionState, plan: &LogicalPlan, query: &Query, script: &str) -> Result<Rows> {
    let physical = match state.create_physical_plan(plan).await {
        Ok(physical) => physical,
        Err(error) => return Err(planner::locate(error, query, state, script).await),
    };
    let batches = execute_stream(Arc::clone(&physical), state.task_ctx()).map_err(unwrapped)?;
    Ok(Rows { schema: batches.schema(), batches: batches.map_err(unwrapped).boxed(), cost: Cost::of(physical) })
}

/// Shows how a statement would run, or with `ANALYZE` runs it and shows how it did.
///
/// # Errors
/// As [`run_query`]; a statement that has no plan.
pub async fn explain(session: &Session, asked: &Explain, script: &str) -> Result<Rows> {
    let ((state, plan), query) = match asked.statement.as_ref() {
        Statement::Query(query) => (plan_query(session, query, script).await?, query.as_ref()),
        Statement::Insert(insert) if !asked.analyze => {
            (super::insert::plan_insert(session, insert, script).await?, &insert.query)
        }
        Statement::RowChange(change) if !asked.analyze => {
            (super::row_change::plan_rows(session, change, script).await?, &change.rows)
        }
        Statement::Insert(_) | Statement::RowChange(_) => {
            let error = SqlError::new("EXPLAIN ANALYZE would have to write", crate::sql::Span::empty(), script);
            return Err(error.help("write EXPLAIN without ANALYZE").into());
        }
        other => {
            let message = format!("a {} has no plan to explain", other.kind());
            return Err(SqlError::new(message, crate::sql::Span::empty(), script).into());
        }
    };
    let option = ExplainOption::default().with_verbose(asked.verbose).with_analyze(asked.analyze);
    let plan = LogicalPlanBuilder::from(plan).explain_option_format(option).and_then(LogicalPlanBuilder::build)?;
    start(&state, &plan, query, script).await
}

/// DataFusion's state with a provider for each table of the query.
pub(super) async fn state_for(session: &Session, query: &Query, script: &str) -> Result<SessionState> {
    for construct in &query.constructs {
        if matches!(construct.kind, ConstructKind::LookupJoin | ConstructKind::MatchRecognize) {
            let message = format!("{} is not supported yet", construct.kind.name());
            return Err(SqlError::new(message, construct.span, script).into());
        }
    }
    let scope = session.tables_of(query, script).await?;
    let providers = providers(session, &scope, script).await?;
    let provide = |used: &TableUse| Ok(Arc::clone(&providers[&used.id]));
    session.planning_state(&scope, &provide).await
}

/// A provider for each table of a query, by its use, but for the table whose rows are changed.
pub(super) async fn providers(
    session: &Session,
    scope: &Scope,
    script: &str,
) -> Result<HashMap<usize, Arc<dyn TableProvider>>> {
    let context = ReadContext::with_manifests(session.env(), session.manifests());
    let plain = scope.tables().iter().filter(|used| !used.with_places);
    let loading = plain.map(|used| async {
        let provider: Arc<dyn TableProvider> = match &used.table {
            UsedTable::Iceberg(table) => {
                let selector = selector(session, table, used, script)?;
                let loaded = IcebergTableProvider::load(context.clone(), &table.table, selector).await;
                let loaded = loaded.map_err(|error| at_use(error, used, script))?;
                Arc::new(loaded.with_metadata_columns(&used.metadata_columns)?)
            }
            UsedTable::Metadata(table, MetadataTable::Changes) => changes_of(context.clone(), table, used, script)?,
            UsedTable::Metadata(table, kind) => {
                let selector = selector(session, table, used, script)?;
                let loaded = metadata_table(&context, &table.table, *kind, &selector).await;
                loaded.map_err(|error| at_use(error, used, script))?
            }
            UsedTable::External(table) => {
                let source = create_source(&table.to_connector(&used.options), session.env())?;
                if source.changelog().is_some() {
                    let message = format!("the records of '{}' are changes of rows, not rows", table.path().table);
                    let help = "let a job apply them: INSERT INTO a table with a primary key and 'write.upsert.enabled' = \
                                'true', and query that";
                    return Err(SqlError::new(message, used.span, script).help(help).into());
                }
                let Some(provider) = SourceTableProvider::new(source) else {
                    let message = format!("'{}' never ends, and a batch query has to", table.path().table);
                    let help = "bound it ('scan.bounded.mode' for kafka, no 'source.monitor-interval' for files), \
                                or run the script with --mode streaming";
                    return Err(SqlError::new(message, used.span, script).help(help).into());
                };
                Arc::new(provider)
            }
        };
        Ok::<_, crate::Error>((used.id, provider))
    });
    futures::future::try_join_all(loading).await.map(|all| all.into_iter().collect())
}

/// A snapshot that does not exist is a mistake at a place of the script.
fn at_use(error: crate::Error, used: &TableUse, script: &str) -> crate::Error {
    match error {
        crate::Error::Reader(missing @ frazil_reader::Error::NoSuchSnapshot { .. }) => {
            SqlError::new(missing.to_string(), used.span, script).into()
        }
        other => other,
    }
}

/// Which snapshot a use of a table means.
fn selector(session: &Session, table: &IcebergTable, used: &TableUse, script: &str) -> Result<SnapshotSelector> {
    Ok(match &used.as_of {
        None => SnapshotSelector::Latest,
        Some(AsOf::Snapshot(id)) => SnapshotSelector::Id(*id),
        Some(AsOf::Time(moment)) => SnapshotSelector::Timestamp(moment_ms(session, moment, used, script)?),
        Some(AsOf::Ref(name)) => match table.table.refs().get(name).map(|reference| &reference.retention) {
            Some(SnapshotRetention::Branch { .. }) => SnapshotSelector::Branch(name.clone()),
            Some(SnapshotRetention::Tag { .. }) => SnapshotSelector::Tag(name.clone()),
            None => {
                let known: Vec<&str> = table.table.refs().keys().map(String::as_str).collect();
                let message = format!("'{}' has no branch or tag '{name}'", table.path.table);
                let near = crate::suggest::nearest_one(name, known.iter().copied());
                let help = match (near, known.is_empty()) {
                    (Some(near), _) => format!("did you mean '{near}'?"),
                    (None, true) => "it has none".to_owned(),
                    (None, false) => format!("there are {}", known.join(", ")),
                };
                return Err(SqlError::new(message, used.span, script).help(help).into());
            }
        },
        Some(AsOf::RowTime(_)) => {
            return Err(SqlError::new("a lookup join is not supported yet", used.span, script).into());
        }
    })
}

/// A constant expression as milliseconds since the Unix epoch; without a zone it is UTC.
fn moment_ms(session: &Session, moment: &SqlExpr, used: &TableUse, script: &str) -> Result<i64> {
    let value = session.constant(moment, script)?;
    match value.cast_to(&DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into()))) {
        Ok(ScalarValue::TimestampMillisecond(Some(at), _)) => Ok(at),
        _ => {
            let message = format!("'{moment}' is not a moment");
            let error = SqlError::new(message, used.span, script);
            Err(error.help("write FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-31 12:00:00'").into())
        }
    }
}
