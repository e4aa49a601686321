//! `DELETE FROM t [AS a] [WHERE …]` and `UPDATE t [AS a] SET column = value, … [WHERE …]`.
//!
//! Both become a query for the rows that they change, in which the changed table has columns that say where a row is
//! ([`super::TableRef::with_places`]).

use datafusion::sql::sqlparser::ast::{
    self, AssignmentTarget, Expr, FromTable, Ident, ObjectName, SelectItem, SetExpr, Spanned as _, TableAlias,
    TableFactor, TableWithJoins,
};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

use super::hint::Hints;
use super::query::{Query, TableRef, empty_query, query_of};
use super::tokens::err_in;
use super::{Name, Span};
use crate::options::Options;

/// Rows of a table that are deleted or get other values.
#[derive(Debug, Clone, PartialEq)]
pub struct RowChange {
    /// The table.
    pub target: Name,
    /// What the statement calls it.
    pub alias: Ident,
    /// Where its name stands.
    pub span: Span,
    /// `SET column = value, …`; none: the rows are deleted.
    pub assignments: Vec<Assignment>,
    /// The rows: `FROM` and `WHERE` are the statement's, what is selected are the values of the assignments.
    pub rows: Query,
}

/// A column, or a field inside of structs, gets a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// The names from the column down.
    pub path: Vec<String>,
    /// The value, over the row's columns.
    pub value: Expr,
    /// Where the column stands.
    pub span: Span,
}

impl RowChange {
    /// `DELETE` or `UPDATE`.
    pub fn kind(&self) -> &'static str {
        if self.assignments.is_empty() { "DELETE" } else { "UPDATE" }
    }
}

/// From before `DELETE` or `UPDATE`.
pub(super) fn parse_row_change(parser: &mut Parser<'_>, hints: &mut Hints) -> Result<RowChange, ParserError> {
    let start = parser.peek_token().span.start;
    let refused = |what: &str, help: &str| err_in(format!("{what} is not supported here"), start, Some(help));
    match parser.parse_statement()? {
        ast::Statement::Delete(delete) => {
            let plain = delete.tables.is_empty()
                && delete.returning.is_none()
                && delete.output.is_none()
                && delete.order_by.is_empty()
                && delete.limit.is_none();
            if !plain || delete.using.is_some() {
                return refused(
                    "more than FROM and WHERE",
                    "name the rows in WHERE: DELETE FROM t WHERE id IN (SELECT …)",
                );
            }
            let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = delete.from;
            let [table] = <[TableWithJoins; 1]>::try_from(from).or_else(|_| {
                err_in("a DELETE is from one table", start, Some("name the rows in WHERE: … WHERE id IN (SELECT …)"))
            })?;
            row_change(table, Vec::new(), delete.selection, hints)
        }
        ast::Statement::Update(update) => {
            let plain = update.returning.is_none()
                && update.output.is_none()
                && update.or.is_none()
                && update.order_by.is_empty()
                && update.limit.is_none();
            if !plain || update.from.is_some() {
                return refused(
                    "more than SET and WHERE",
                    "take values of other tables by a query: SET a = (SELECT … WHERE o.id = t.id)",
                );
            }
            let assignments = update.assignments.into_iter().map(assignment).collect::<Result<_, _>>()?;
            row_change(update.table, assignments, update.selection, hints)
        }
        _ => err_in("expected DELETE or UPDATE", start, None),
    }
}

fn assignment(given: ast::Assignment) -> Result<Assignment, ParserError> {
    let span = given.span();
    let AssignmentTarget::ColumnName(name) = &given.target else {
        return err_in("columns are set one by one", span.start, Some("write SET a = …, b = …"));
    };
    let path: Option<Vec<String>> = name.0.iter().map(|part| Some(part.as_ident()?.value.clone())).collect();
    match path {
        Some(path) if !path.is_empty() => Ok(Assignment { path, value: given.value, span: name.span() }),
        _ => err_in(format!("'{name}' is not a column"), span.start, None),
    }
}

fn row_change(
    mut table: TableWithJoins,
    mut assignments: Vec<Assignment>,
    selection: Option<Expr>,
    hints: &mut Hints,
) -> Result<RowChange, ParserError> {
    let span = table.relation.span();
    let one_table = || err_in("rows of one table are changed", span.start, Some("write its name alone"));
    if !table.joins.is_empty() {
        return one_table();
    }
    let TableFactor::Table { name, alias, args: None, version: None, .. } = &mut table.relation else {
        return one_table();
    };
    let place = name.span();
    let (Some(target), Some(own)) = (Name::from_ast(name), name.0.last().and_then(|part| part.as_ident()).cloned())
    else {
        return err_in(format!("'{name}' is not a table's name"), place.start, None);
    };
    if hints.at_table(place.end).is_some() {
        return err_in(
            "a change of rows has no OPTIONS",
            place.start,
            Some("set them at the table: ALTER TABLE … SET (…)"),
        );
    }
    // A name of its own: a subquery may read the same table without the columns of places.
    let planned_name = format!("{}@target", target.last());
    let alias = alias.get_or_insert_with(|| TableAlias { explicit: true, name: own, columns: Vec::new(), at: None });
    let alias = alias.name.clone();
    *name = ObjectName::from(Ident::with_quote_and_span('`', place, planned_name.clone()));
    let mut ast = empty_query();
    let SetExpr::Select(select) = ast.body.as_mut() else { unreachable!("SELECT 1 is a select") };
    // The tables of the new values count as the query's.
    let values = assignments.iter().map(|assignment| SelectItem::UnnamedExpr(assignment.value.clone())).collect();
    (select.projection, select.from, select.selection) = (values, vec![table], selection);
    let mut rows = query_of(ast, hints)?;
    let SetExpr::Select(select) = rows.ast.body.as_ref() else { unreachable!("it was one above") };
    for (assignment, value) in assignments.iter_mut().zip(&select.projection) {
        if let SelectItem::UnnamedExpr(value) = value {
            assignment.value.clone_from(value);
        }
    }
    let with_places = true;
    rows.tables.push(TableRef {
        planned_name,
        name: target.clone(),
        options: Options::new(),
        as_of: None,
        with_places,
    });
    Ok(RowChange { target, alias, span: place, assignments, rows })
}
