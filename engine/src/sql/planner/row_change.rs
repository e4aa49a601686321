//! `DELETE` and `UPDATE`: the rows that change, where they are, and their new values.

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    SelectItem, SetExpr, Spanned as _, Value,
};

use super::{plan_query, with_help};
use crate::coerce::check_coercion;
use crate::sql::row_change::{Assignment, RowChange};
use crate::sql::{Span, SqlError};
use crate::suggest::nearest_one;
use crate::{Error, Result};

/// Plans the query of the rows that a statement changes: the columns of `places`, which say where each row is, and for an
/// `UPDATE` all columns of `target` with the rows' new values. The values keep the types of their expressions;
/// [`coerce`](crate::coerce) converts the batches.
///
/// # Errors
/// As [`plan_query`]; a column that is not there or is set twice; a value that has no conversion to its column's type.
pub async fn plan_row_change(
    change: &RowChange,
    places: &[Field],
    target: &Schema,
    state: &SessionState,
    script: &str,
) -> Result<LogicalPlan> {
    let column = |name: &str| Expr::CompoundIdentifier(vec![change.alias.clone(), quoted(name)]);
    let mut items: Vec<SelectItem> = places.iter().map(|place| item(column(place.name()), place.name())).collect();
    if !change.assignments.is_empty() {
        let assigned = assigned_columns(change, target, script)?;
        let values = target.fields().iter().map(|field| {
            let inside: Vec<_> = of_column(&assigned, field.name()).collect();
            item(new_value(field, vec![change.alias.clone(), quoted(field.name())], &inside), field.name())
        });
        items.extend(values);
    }
    let mut rows = change.rows.clone();
    let SetExpr::Select(select) = rows.ast.body.as_mut() else { unreachable!("the parser makes a select") };
    select.projection = items;
    let plan = plan_query(&rows, state, script).await?;
    for (given, wanted) in plan.schema().fields().iter().skip(places.len()).zip(target.fields()) {
        let (given, wanted) = (Schema::new(vec![given.as_ref().clone()]), Schema::new(vec![wanted.as_ref().clone()]));
        match check_coercion(&given, &wanted) {
            Ok(()) => {}
            Err(Error::Unfit { column, reason }) => {
                let set = change.assignments.iter().find(|assignment| column.starts_with(&assignment.path[0]));
                let span = set.map_or(change.span, |assignment| assignment.value.span());
                let message = format!("the value does not fit the column '{column}'");
                return Err(refuse(message, span, Some(reason), script));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(plan)
}

/// A field that gets a value: the names from the column down.
type Assigned<'a> = (&'a [String], &'a Expr);

/// The assignments, each to a field that is there, none inside of another.
fn assigned_columns<'a>(change: &'a RowChange, target: &Schema, script: &str) -> Result<Vec<Assigned<'a>>> {
    let mut assigned: Vec<Assigned<'a>> = Vec::with_capacity(change.assignments.len());
    for Assignment { path, value, span } in &change.assignments {
        let is_qualified =
            path.len() > 1 && path[0] == change.alias.value && target.column_with_name(&path[0]).is_none();
        let path = if is_qualified { &path[1..] } else { path.as_slice() };
        check_is_there(path, target, *span, script)?;
        if assigned.iter().any(|(other, _)| other.starts_with(path) || path.starts_with(other)) {
            return Err(refuse(format!("'{}' is set twice", path.join(".")), *span, None, script));
        }
        assigned.push((path, value));
    }
    Ok(assigned)
}

fn check_is_there(path: &[String], target: &Schema, span: Span, script: &str) -> Result<()> {
    let mut fields = target.fields();
    for (depth, name) in path.iter().enumerate() {
        let Some((_, field)) = fields.find(name) else {
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            let help = match nearest_one(name, names.iter().copied()) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("there are {}", names.join(", ")),
            };
            let message = format!("there is no column '{}'", path[..=depth].join("."));
            return Err(refuse(message, span, Some(help), script));
        };
        match field.data_type() {
            DataType::Struct(inner) => fields = inner,
            _ if depth + 1 < path.len() => {
                let message = format!("'{}' has no fields to set", path[..=depth].join("."));
                return Err(refuse(message, span, Some("set the column as a whole".to_owned()), script));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The assignments to a column or in it, their paths from below it on.
fn of_column<'a>(assigned: &'a [Assigned<'a>], name: &'a str) -> impl Iterator<Item = Assigned<'a>> {
    assigned
        .iter()
        .filter(move |(path, _)| path.first().is_some_and(|first| first == name))
        .map(|(path, v)| (&path[1..], *v))
}

/// The column's value after the assignments in it. A struct of which one field is set is made anew around it; where it was
/// NULL, its other fields are.
fn new_value(field: &Field, path: Vec<Ident>, assigned: &[Assigned<'_>]) -> Expr {
    match (assigned, field.data_type()) {
        ([], _) => Expr::CompoundIdentifier(path),
        ([([], value)], _) => (*value).clone(),
        (_, DataType::Struct(fields)) => {
            let args = fields.iter().flat_map(|child| {
                let inside: Vec<_> = of_column(assigned, child.name()).collect();
                let path = path.iter().cloned().chain([quoted(child.name())]).collect();
                let name = Expr::value(Value::SingleQuotedString(child.name().clone()));
                [name, new_value(child, path, &inside)]
            });
            call("named_struct", args.collect())
        }
        _ => unreachable!("it was checked that the field is there"),
    }
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    let args = FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() });
    Expr::Function(Function {
        name: ObjectName::from(Ident::new(name)),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args,
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('`', name)
}

fn item(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: quoted(name) }
}

fn refuse(message: String, span: Span, help: Option<String>, script: &str) -> Error {
    with_help(SqlError::new(message, span, script), help).into()
}
