//! Statements to DataFusion's logical plans.
//!
//! A session that is built from [`session`] plans what this crate's parser gives: names keep their case, Flink's types
//! are known, and the table factors that DataFusion lacks are planned here (`unnest`, `window`). Errors of planning
//! come out as [`SqlError`]s with their place (`place`).

mod insert;
mod map;
mod place;
mod row_change;
#[cfg(test)]
mod tests;
mod unnest;
mod window;

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::SchemaError;
use datafusion::execution::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning, TypePlanner,
};
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{self, TableFactor};

use super::SqlError;
use super::query::Query;
use super::type_parser::parse_type;
use crate::Result;
use crate::suggest::nearest;

pub use insert::plan_insert;
pub(crate) use place::{locate, planning_error};
pub use row_change::plan_row_change;
pub(super) use unnest::wrap_unnest;

/// A session's state, to which the caller adds its catalogs and tables.
pub fn session(config: SessionConfig) -> SessionStateBuilder {
    let mut config = config;
    let parser = &mut config.options_mut().sql_parser;
    parser.enable_ident_normalization = false;
    parser.collect_spans = true;
    parser.map_string_types_to_utf8view = false;
    SessionStateBuilder::new()
        .with_config(config)
        // Before DataFusion's own, so that it is asked first.
        .with_expr_planners(vec![Arc::new(map::MapPlanner)])
        .with_default_features()
        .with_type_planner(Arc::new(FlinkTypes))
        .with_relation_planners(vec![Arc::new(FlinkRelations)])
}

/// Plans a query. The tables in [`Query::tables`] have to be registered under their planned names. `script` is the text
/// that the query was parsed from.
///
/// # Errors
/// A table, column or function that does not exist, a type that does not fit, with the place in the script.
pub async fn plan_query(query: &Query, state: &SessionState, script: &str) -> Result<LogicalPlan> {
    query.check_supported(script)?;
    let statement = ast::Statement::Query(query.ast.clone());
    let statement = DfStatement::Statement(Box::new(statement));
    match state.statement_to_plan(statement).await {
        Ok(plan) => Ok(plan),
        Err(error) => Err(locate(error, query, state, script).await),
    }
}

fn with_help(error: SqlError, help: Option<String>) -> SqlError {
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}

/// A column that is not there, with those that are near.
fn in_words(error: &SchemaError) -> (Option<String>, Option<String>) {
    let SchemaError::FieldNotFound { field, valid_fields } = error else {
        return (None, None);
    };
    let names: Vec<&str> = valid_fields.iter().map(|valid| valid.name.as_str()).collect();
    let near = nearest(&field.name, names.iter().copied(), 3);
    const LISTED_MAX: usize = 12;
    let help = match (near.is_empty(), names.len()) {
        (false, _) => Some(format!("did you mean {}?", crate::suggest::one_of(&near))),
        (true, 0) => None,
        (true, 1..=LISTED_MAX) => Some(format!("there are {}", names.join(", "))),
        (true, more) => {
            let more = more - LISTED_MAX;
            Some(format!("there are {} and {more} more", names[..LISTED_MAX].join(", ")))
        }
    };
    (Some(format!("there is no column '{}'", field.flat_name())), help)
}

/// Makes Arrow types of Flink's. What the dialect has parsed itself comes as a custom type whose name is its text.
#[derive(Debug)]
struct FlinkTypes;

impl TypePlanner for FlinkTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> datafusion::error::Result<Option<FieldRef>> {
        // What is no type of Flink (an interval, an unsigned integer) is left to DataFusion.
        Ok(parse_type(&sql_type.to_string()).ok().map(|data_type| Arc::new(data_type.to_field(""))))
    }
}

/// Plans the table factors that DataFusion has no plan for.
#[derive(Debug)]
struct FlinkRelations;

impl RelationPlanner for FlinkRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> datafusion::error::Result<RelationPlanning> {
        let planned = match relation {
            TableFactor::NestedJoin { table_with_joins, alias: None }
                if unnest::ends_with_unnest(&table_with_joins) =>
            {
                PlannedRelation::new(unnest::plan(*table_with_joins, context)?, None)
            }
            TableFactor::TableFunction { expr: ast::Expr::Function(function), alias }
                if window::Kind::of(&function).is_some() =>
            {
                PlannedRelation::new(window::plan(&function, context)?, alias)
            }
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        Ok(RelationPlanning::Planned(Box::new(planned)))
    }
}
