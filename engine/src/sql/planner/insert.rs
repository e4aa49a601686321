//! `INSERT INTO t (columns) SELECT …`: the query's columns into the table's, by position.
//!
//! The plan gives the target's columns in their order and under their names; those that the statement does not write
//! have their default, or are NULL. The values keep the types of the query: [`coerce`](crate::coerce) converts the batches on their way into
//! the table. What it would refuse is refused here already, with its place in the script.

use std::collections::HashSet;

use arrow::datatypes::{Field, Schema};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{self, Ident, SelectItem, SetExpr, Spanned as _};

use super::{locate, plan_query, with_help};
use crate::coerce::check_coercion;
use crate::sql::query::empty_query;
use crate::sql::{DataType, Insert, Query, Span, SqlError};
use crate::suggest::nearest_one;
use crate::write_defaults::value_of_unnamed;
use crate::{Error, Result};

const KIND: &str = "INSERT";

/// Plans the query of an insert so that its result has the target's columns.
///
/// `target` is the schema of what is written (physical columns and writable metadata columns). `script` is the text that
/// the statement was parsed from.
///
/// # Errors
/// As [`plan_query`]; when the columns don't match the target's; when a value has no conversion to its column's type;
/// when a column that may not be NULL gets no value.
pub async fn plan_insert(insert: &Insert, target: &Schema, state: &SessionState, script: &str) -> Result<LogicalPlan> {
    let written = written_columns(insert, target, script)?;
    let mut query = insert.query.clone();
    tell_apart(&mut query.ast.body);
    if !insert.partition.is_empty() {
        with_constants(&mut query, &insert.partition, target);
    }
    let plan = plan_query(&query, state, script).await?;
    let given = plan.schema().fields().len();
    if given != written.len() {
        // Those of PARTITION (…) stand behind the query's own.
        let constants = insert.partition.len();
        let (table, given, wanted) = (&insert.target, given - constants, written.len() - constants);
        let message = format!("the query has {given} columns, but {table} takes {wanted}");
        let help = column_list_help(&plan, target, (&written[..wanted], given));
        return Err(refuse(message, insert.target.span(), Some(help), script));
    }
    let mut outputs = Vec::with_capacity(target.fields().len());
    for (index, field) in target.fields().iter().enumerate() {
        let output = match written.iter().position(|target_index| *target_index == index) {
            Some(position) => output(insert, &plan, position, field, script)?,
            None => value_of_unnamed(field).ok_or_else(|| {
                let message = format!("the column '{}' is NOT NULL and gets no value", field.name());
                refuse(message, insert.target.span(), None, script)
            })?,
        };
        outputs.push(output.alias(field.name()));
    }
    let projected = LogicalPlanBuilder::from(plan).project(outputs);
    match projected.and_then(LogicalPlanBuilder::build) {
        Ok(plan) => Ok(plan),
        Err(error) => Err(locate(error, &insert.query, state, script).await),
    }
}

/// Gives the later ones of columns that are written alike (`SELECT a, a`, `SELECT NULL, NULL`) names of their own:
/// DataFusion wants them, and where rows are written only the order of the columns counts.
fn tell_apart(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            let mut known = HashSet::new();
            for (index, item) in select.projection.iter_mut().enumerate() {
                let SelectItem::UnnamedExpr(expr) = item else { continue };
                if !known.insert(expr.to_string()) {
                    let alias = Ident::with_quote('`', format!("column {}", index + 1));
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
                }
            }
        }
        SetExpr::Query(query) => tell_apart(&mut query.body),
        SetExpr::SetOperation { left, right, .. } => {
            tell_apart(left);
            tell_apart(right);
        }
        _ => {}
    }
}

/// For each column of the query the index of its column in the target.
fn written_columns(insert: &Insert, target: &Schema, script: &str) -> Result<Vec<usize>> {
    let names = || target.fields().iter().map(|field| field.name().as_str());
    let find = |(name, span): &(String, Span)| {
        names().position(|known| known == name).ok_or_else(|| {
            let message = format!("{} has no column '{name}'", insert.target);
            let help = match nearest_one(name, names()) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("its columns are {}", names().collect::<Vec<_>>().join(", ")),
            };
            refuse(message, *span, Some(help), script)
        })
    };
    let constants = insert.partition.iter().map(|(name, _)| find(&(name.clone(), insert.target.span())));
    let constants = constants.collect::<Result<Vec<_>>>()?;
    let mut written = match insert.columns.is_empty() {
        true => (0..target.fields().len()).filter(|index| !constants.contains(index)).collect(),
        false => insert.columns.iter().map(find).collect::<Result<Vec<_>>>()?,
    };
    if let Some(twice) = constants.iter().find(|index| written.contains(index)) {
        let message = format!("'{}' gets its value from PARTITION (…) already", target.field(*twice).name());
        return Err(refuse(message, insert.target.span(), None, script));
    }
    written.extend(constants);
    Ok(written)
}

/// Puts the values of `PARTITION (column = value, …)` behind the query's columns.
fn with_constants(query: &mut Query, constants: &[(String, ast::Expr)], target: &Schema) {
    let mut outer = empty_query();
    let SetExpr::Select(select) = outer.body.as_mut() else { unreachable!("SELECT 1 is a select") };
    let all = SelectItem::Wildcard(ast::WildcardAdditionalOptions::default());
    let values = constants.iter().enumerate().map(|(index, (column, value))| SelectItem::ExprWithAlias {
        expr: in_type_of(column, value, target),
        alias: Ident::with_quote('`', format!("partition {}", index + 1)),
    });
    select.projection = std::iter::once(all).chain(values).collect();
    let inner = std::mem::replace(&mut query.ast, outer);
    let SetExpr::Select(select) = query.ast.body.as_mut() else { unreachable!("it was made above") };
    let relation = ast::TableFactor::Derived { lateral: false, subquery: inner, alias: None, sample: None };
    select.from = vec![ast::TableWithJoins { relation, joins: Vec::new() }];
}

fn column_list_help(plan: &LogicalPlan, target: &Schema, (written, given): (&[usize], usize)) -> String {
    let query: Vec<&str> = plan.schema().fields().iter().take(given).map(|field| field.name().as_str()).collect();
    let table: Vec<&str> = written.iter().map(|index| target.field(*index).name().as_str()).collect();
    format!("the query has ({}), the table ({})", query.join(", "), table.join(", "))
}

/// The query's column at `position`, when it can go into the target's column.
fn output(insert: &Insert, plan: &LogicalPlan, position: usize, target: &Field, script: &str) -> Result<Expr> {
    let (qualifier, source) = plan.schema().qualified_field(position);
    let given = Schema::new(vec![source.as_ref().clone()]);
    match check_coercion(&given, &Schema::new(vec![target.clone()])) {
        Ok(()) => Ok(Expr::from((qualifier, source))),
        Err(Error::Unfit { column, reason }) => {
            let span = item_span(&insert.query.ast.body, position);
            let message = format!("the value does not fit the column '{column}'");
            Err(refuse(message, span.unwrap_or(insert.target.span()), Some(reason), script))
        }
        Err(error) => Err(error),
    }
}

/// A constant in its column's type, which a text may stand for: `day = '2024-01-31'`.
fn in_type_of(column: &str, value: &ast::Expr, target: &Schema) -> ast::Expr {
    let field = target.field_with_name(column).ok();
    match field.and_then(|field| DataType::from_arrow(field.data_type(), true).ok()) {
        None => value.clone(),
        Some(data_type) => ast::Expr::Cast {
            kind: ast::CastKind::Cast,
            expr: Box::new(value.clone()),
            data_type: ast::DataType::Custom(Ident::new(data_type.to_string()).into(), Vec::new()),
            array: false,
            format: None,
        },
    }
}

/// Where the query's column stands, when it is an item of one `SELECT` without a wildcard before it.
fn item_span(body: &SetExpr, position: usize) -> Option<Span> {
    let SetExpr::Select(select) = body else {
        return None;
    };
    let wild = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    if select.projection.iter().take(position + 1).any(wild) {
        return None;
    }
    select.projection.get(position).map(|item| item.span()).filter(|span| span.start.line > 0)
}

fn refuse(message: String, span: Span, help: Option<String>, script: &str) -> Error {
    with_help(SqlError::new(message, span, script).in_statement(KIND), help).into()
}
