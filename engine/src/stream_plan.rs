//! Which queries can run over a stream, and which of their tables is the stream.
//!
//! A stream is read once; every other table of the query is collected when the job starts. That is right as long as each
//! row of the stream can be computed without its neighbours: projection, filter, UNNEST, and joins whose other side is
//! such a collected table and that keep or drop rows of the stream one by one.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Aggregate, Expr, JoinType, LogicalPlan};
use datafusion::sql::sqlparser::ast::Spanned as _;

use crate::sql::{Query, SqlError};
use crate::{Error, Result};

/// Why a plan can't run over a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The part of the statement, as a person calls it.
    what: String,
    /// What to do about it.
    help: String,
    /// Words at which the part begins in the statement, the surest first.
    words: Vec<String>,
}

impl Refusal {
    fn of(what: impl Into<String>, words: &[&str]) -> Self {
        let help = "it comes later; in batch mode it works: --mode batch".to_owned();
        Self { what: what.into(), help, words: words.iter().map(|word| (*word).to_owned()).collect() }
    }

    /// The same of a stream of changes, which no batch query reads.
    pub(crate) fn over_changes(self) -> Self {
        Self { help: "do it in queries on the table that the changes are applied to".to_owned(), ..self }
    }

    /// The error, at the first of the words that stands in the query.
    pub(crate) fn at(self, query: &Query, script: &str) -> Error {
        let message = format!("{} can't run over a stream yet", self.what);
        let span = self.words.iter().find_map(|word| query.word(word, script));
        SqlError::new(message, span.unwrap_or_else(|| query.ast.span()), script).help(self.help).into()
    }
}

/// Checks the part of an optimised plan that lies between the table `stream` and the result: `None` if each row of the
/// stream can be computed without its neighbours.
///
/// # Errors
/// None that is known: what DataFusion could say of walking a plan.
pub(crate) fn check_streamable(plan: &LogicalPlan, stream: &str) -> Result<Option<Refusal>> {
    if !reads(plan, stream)? {
        return Ok(None);
    }
    let refusal = match plan {
        LogicalPlan::TableScan(_)
        | LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_) => None,
        LogicalPlan::Join(join) => check_join(join.join_type, reads(&join.left, stream)?, reads(&join.right, stream)?),
        LogicalPlan::Aggregate(aggregate) => Some(aggregate_refusal(aggregate)),
        LogicalPlan::Distinct(_) => Some(Refusal::of("DISTINCT", &["DISTINCT", "UNION"])),
        LogicalPlan::Window(_) => Some(Refusal::of("a window function (OVER)", &["OVER"])),
        LogicalPlan::Sort(_) => Some(Refusal::of("ORDER BY", &["ORDER"])),
        LogicalPlan::Limit(_) => Some(Refusal::of("LIMIT", &["LIMIT", "FETCH", "OFFSET"])),
        LogicalPlan::Union(_) => Some(Refusal::of("UNION", &["UNION"])),
        LogicalPlan::RecursiveQuery(_) => Some(Refusal::of("WITH RECURSIVE", &["RECURSIVE"])),
        other => Some(Refusal::of(format!("{}", other.display()), &[])),
    };
    if refusal.is_some() {
        return Ok(refusal);
    }
    for input in plan.inputs() {
        if let Some(refusal) = check_streamable(input, stream)? {
            return Ok(Some(refusal));
        }
    }
    Ok(None)
}

fn aggregate_refusal(aggregate: &Aggregate) -> Refusal {
    let functions = aggregate.aggr_expr.iter().filter_map(|expr| match expr.clone().unalias() {
        Expr::AggregateFunction(function) => Some(function.func.name().to_owned()),
        _ => None,
    });
    let functions: Vec<String> = functions.collect();
    let mut words = vec!["GROUP"];
    words.extend(functions.iter().map(String::as_str));
    // How the optimiser writes it.
    words.extend(["DISTINCT", "UNION"]);
    Refusal::of("an aggregate (GROUP BY, DISTINCT, count, sum, …)", &words)
}

fn check_join(join_type: JoinType, left_streams: bool, right_streams: bool) -> Option<Refusal> {
    let row_by_row = match join_type {
        JoinType::Inner => true,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left_streams,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right_streams,
        JoinType::Full => false,
    };
    if left_streams && right_streams {
        return Some(Refusal::of("a join of a stream with itself", &["JOIN"]));
    }
    if row_by_row {
        return None;
    }
    let what = format!("a {join_type} join that keeps the rows of the table that does not stream");
    let mut refusal = Refusal::of(what, &["JOIN"]);
    refusal.help = format!("put the stream on the side whose rows are kept; or: {}", refusal.help);
    Some(refusal)
}

fn reads(plan: &LogicalPlan, stream: &str) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found |= is_stream(scan, stream);
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn is_stream(scan: &datafusion::logical_expr::TableScan, stream: &str) -> bool {
    let provider = datafusion::datasource::source_as_provider(&scan.source);
    provider.is_ok_and(|provider| {
        provider.downcast_ref::<crate::transform::StreamTable>().is_some_and(|table| table.name() == stream)
    })
}
