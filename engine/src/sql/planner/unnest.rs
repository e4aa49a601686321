//! `FROM orders AS o CROSS JOIN UNNEST(o.items) AS i (sku, quantity)`.
//!
//! DataFusion plans an `UNNEST` of a constant, but not one of a column of the tables before it. The parser puts such an
//! `UNNEST` and what comes before it into a nested join ([`wrap_unnest`]); that is planned here as
//! 1. the tables before, with the array as one more column,
//! 2. DataFusion's unnest of that column,
//! 3. the columns of before under their own qualifiers, and the element's fields (or the element, when it has none)
//!    under the alias's.
//!
//! A row whose array is NULL or empty gives no rows. A map gives its keys and values.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Column, RecursionUnnestOption, Result, UnnestOptions, not_impl_err, plan_err};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::functions_nested::expr_fn::map_entries;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    self, Join, JoinConstraint, JoinOperator, TableAlias, TableFactor, TableWithJoins, Value,
};

/// The qualifier of the columns when the `UNNEST` has no alias.
const NO_ALIAS: &str = "unnest";

/// Puts each `UNNEST` of a column, with what comes before it, into a nested join.
pub(in crate::sql) fn wrap_unnest(select: &mut ast::Select) {
    let mut items: Vec<TableWithJoins> = Vec::with_capacity(select.from.len());
    for mut item in std::mem::take(&mut select.from) {
        if of_columns(&item.relation)
            && let Some(before) = items.pop()
        {
            let unnest = Join {
                relation: item.relation,
                global: false,
                join_operator: JoinOperator::CrossJoin(JoinConstraint::None),
            };
            item.relation = nested(before, unnest);
        }
        for join in std::mem::take(&mut item.joins) {
            if of_columns(&join.relation) && can_follow(&join.join_operator) {
                let before = TableWithJoins { relation: item.relation, joins: item.joins };
                item = TableWithJoins { relation: nested(before, join), joins: Vec::new() };
            } else {
                item.joins.push(join);
            }
        }
        items.push(item);
    }
    select.from = items;
}

/// `CROSS JOIN`, or a join `ON TRUE`.
fn can_follow(operator: &JoinOperator) -> bool {
    match operator {
        JoinOperator::CrossJoin(JoinConstraint::None) => true,
        JoinOperator::Join(JoinConstraint::On(on)) | JoinOperator::Inner(JoinConstraint::On(on)) => {
            matches!(on, ast::Expr::Value(value) if value.value == Value::Boolean(true))
        }
        _ => false,
    }
}

fn nested(mut before: TableWithJoins, unnest: Join) -> TableFactor {
    before.joins.push(unnest);
    TableFactor::NestedJoin { table_with_joins: Box::new(before), alias: None }
}

/// Whether it is an `UNNEST` of something that has a column in it.
fn of_columns(factor: &TableFactor) -> bool {
    let TableFactor::UNNEST { array_exprs, .. } = factor else {
        return false;
    };
    let found = ast::visit_expressions(array_exprs, |expr| match expr {
        ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

pub(super) fn ends_with_unnest(tables: &TableWithJoins) -> bool {
    tables.joins.last().is_some_and(|join| of_columns(&join.relation) && can_follow(&join.join_operator))
}

pub(super) fn plan(mut tables: TableWithJoins, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let unnest = tables.joins.pop().map(|join| join.relation);
    let Some(TableFactor::UNNEST { alias, mut array_exprs, with_offset, with_ordinality, .. }) = unnest else {
        return plan_err!("a nested join without an UNNEST at its end");
    };
    if with_offset || with_ordinality {
        return not_impl_err!("UNNEST … WITH ORDINALITY is not supported yet");
    }
    let (Some(array), true) = (array_exprs.pop(), array_exprs.is_empty()) else {
        return not_impl_err!("UNNEST of several arrays is not supported; unnest them one by one");
    };
    let before = context.plan(match tables.joins.is_empty() {
        true => tables.relation,
        false => TableFactor::NestedJoin { table_with_joins: Box::new(tables), alias: None },
    })?;

    let array = context.sql_to_expr(array, before.schema())?;
    let (array, element) = array_and_element(array, &before)?;
    let names = Names::new(alias, &element)?;
    let (column, unnesting) = element_column(&names.qualifier);

    let kept: Vec<Expr> = before.schema().columns().into_iter().map(Expr::Column).collect();
    let with_array = kept.iter().cloned().chain([array.alias(unnesting.recursions[0].input_column.name.as_str())]);
    let fields: Vec<Expr> = match element.data_type() {
        DataType::Struct(fields) => {
            fields.iter().map(|field| get_field(Expr::Column(column.clone()), field.name().as_str())).collect()
        }
        _ => vec![Expr::Column(column.clone())],
    };
    let fields = fields
        .into_iter()
        .zip(names.columns)
        .map(|(field, name)| field.alias_qualified(Some(names.qualifier.as_str()), name));
    LogicalPlanBuilder::from(before)
        .project(with_array)?
        .unnest_column_with_options(unnesting.recursions[0].input_column.clone(), unnesting)?
        .project(kept.into_iter().chain(fields))?
        .build()
}

/// The column of the elements, and how it is made from that of the array. They have different names: where a column of
/// another type has the same name below an unnest, DataFusion's `push_down_leaf_projections` takes it for the same and
/// moves accesses to fields below the unnest.
pub(super) fn element_column(of: &str) -> (Column, UnnestOptions) {
    let element = Column::new_unqualified(format!("{of}@element"));
    let unnesting = UnnestOptions::new().with_preserve_nulls(false).with_recursions(RecursionUnnestOption {
        input_column: Column::new_unqualified(format!("{of}@array")),
        output_column: element.clone(),
        depth: 1,
    });
    (element, unnesting)
}

fn array_and_element(array: Expr, before: &LogicalPlan) -> Result<(Expr, FieldRef)> {
    match array.get_type(before.schema())? {
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
            Ok((array, element))
        }
        DataType::Map(entries, _) => Ok((map_entries(array), entries)),
        other => plan_err!("UNNEST takes an ARRAY or a MAP, and '{array}' is {other}"),
    }
}

struct Names {
    qualifier: String,
    columns: Vec<String>,
}

impl Names {
    fn new(alias: Option<TableAlias>, element: &FieldRef) -> Result<Self> {
        let (qualifier, given) = match alias {
            Some(alias) => {
                let columns: Vec<String> = alias.columns.into_iter().map(|column| column.name.value).collect();
                (alias.name.value, columns)
            }
            None => (NO_ALIAS.to_owned(), Vec::new()),
        };
        let own: Vec<String> = match element.data_type() {
            DataType::Struct(fields) => fields.iter().map(|field| field.name().clone()).collect(),
            _ => vec![qualifier.clone()],
        };
        if !given.is_empty() && given.len() != own.len() {
            let (count, given) = (own.len(), given.len());
            return plan_err!("UNNEST gives {count} columns, but '{qualifier}' names {given}");
        }
        let columns = if given.is_empty() { own } else { given };
        Ok(Self { qualifier, columns })
    }
}
