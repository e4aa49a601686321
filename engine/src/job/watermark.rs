//! `WATERMARK FOR column AS expression` of a stream's definition, planned.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;

use crate::connectors::{WATERMARK_IDLE_TIMEOUT, connector_options};
use crate::evolving_query::STREAM;
use crate::runtime::EventTimePlan;
use crate::session::{Session, TableUse, UsedTable};
use crate::sql::{SqlError, Statement, parse_one, planner};
use crate::transform::{StreamTable, TransformPlan, one_partition};
use crate::{Error, Result};

/// How the event time of a stream is followed; `None` if its definition has no watermark. Computed columns count: the
/// expressions are planned as a query over the table.
///
/// # Errors
/// An expression that can't be planned, or is no time.
pub(super) async fn plan_event_time(
    session: &Session,
    stream: &TableUse,
    columns: &SchemaRef,
) -> Result<Option<EventTimePlan>> {
    let UsedTable::External(table) = &stream.table else { return Ok(None) };
    let Some(watermark) = &table.definition().watermark else { return Ok(None) };
    let path = table.path();
    let quoted = |names: &[String]| {
        let names: Vec<_> = names.iter().map(|name| format!("`{}`", name.replace('`', "``"))).collect();
        names.join(".")
    };
    let name = quoted(&[path.catalog.clone(), path.database.clone(), path.table.clone()]);
    let text =
        format!("SELECT {} AS event_time, {} AS watermark FROM {name}", quoted(&watermark.column), watermark.expr);
    let Statement::Query(query) = parse_one(&text)?.node else { unreachable!("it is a SELECT") };
    let scope = session.tables_of(&query, &text).await?;
    let provide = |_: &TableUse| Ok(Arc::new(StreamTable::new(STREAM, Arc::clone(columns))) as Arc<dyn TableProvider>);
    let state = one_partition(session.planning_state(&scope, &provide).await?);
    let logical = planner::plan_query(&query, &state, &text).await?;
    let logical = state.optimize(&logical)?;
    let result = Arc::new(logical.schema().as_arrow().clone());
    if let Some(field) = result.fields().iter().find(|field| !matches!(field.data_type(), DataType::Timestamp(..))) {
        let message = format!("the {} of '{}' is no timestamp", field.name().replace('_', " "), path.table);
        let help = "declare a column AS TO_TIMESTAMP_MILLIS(…), and write WATERMARK FOR it";
        return Err(SqlError::new(message, watermark.span, table.script()).help(help).into());
    }
    let options = connector_options(table.connector()).expect("its source was made before");
    let idle_timeout = options.check(&stream.options).map_err(Error::from)?.duration(WATERMARK_IDLE_TIMEOUT);
    let text = format!("watermark of {} is {}", watermark.column.join("."), watermark.expr);
    Ok(Some(EventTimePlan { times: TransformPlan::new(state, logical, result), idle_timeout, text }))
}
