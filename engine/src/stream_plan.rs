//! Which queries can run over a stream, and which of their tables is the stream.
//!
//! A stream is read once; every other table of the query is collected when the job starts. That is right as long as each
//! row of the stream can be computed without its neighbours: projection, filter, UNNEST, and joins whose other side is
//! such a collected table and that keep or drop rows of the stream one by one.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{JoinType, LogicalPlan};

use crate::{Error, Result};

/// Checks the part of an optimised plan that lies between the table `stream` and the result.
///
/// # Errors
/// [`Error::NotStreamable`] names the operator that would need more than one row, and what to do instead.
pub(crate) fn check_streamable(plan: &LogicalPlan, stream: &str) -> Result<()> {
    if !reads(plan, stream)? {
        return Ok(());
    }
    match plan {
        LogicalPlan::TableScan(_) => {}
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_) => {}
        LogicalPlan::Join(join) => check_join(join.join_type, reads(&join.left, stream)?, reads(&join.right, stream)?)?,
        LogicalPlan::Aggregate(_) => return Err(refuse("an aggregate (GROUP BY, count, sum, …)")),
        LogicalPlan::Distinct(_) => return Err(refuse("DISTINCT")),
        LogicalPlan::Window(_) => return Err(refuse("a window function (OVER)")),
        LogicalPlan::Sort(_) => return Err(refuse("ORDER BY")),
        LogicalPlan::Limit(_) => return Err(refuse("LIMIT")),
        LogicalPlan::Union(_) => return Err(refuse("UNION")),
        LogicalPlan::RecursiveQuery(_) => return Err(refuse("WITH RECURSIVE")),
        other => return Err(refuse(&format!("{}", other.display()))),
    }
    for input in plan.inputs() {
        check_streamable(input, stream)?;
    }
    Ok(())
}

fn check_join(join_type: JoinType, left_streams: bool, right_streams: bool) -> Result<()> {
    let row_by_row = match join_type {
        JoinType::Inner => true,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left_streams,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right_streams,
        JoinType::Full => false,
    };
    if left_streams && right_streams {
        return Err(refuse("a join of a stream with itself"));
    }
    if row_by_row {
        return Ok(());
    }
    Err(Error::NotStreamable {
        what: format!("a {join_type} join that keeps the rows of the table that does not stream"),
        instead: "put the stream on the side whose rows are kept, or run the job with --mode batch".to_owned(),
    })
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

fn refuse(what: &str) -> Error {
    Error::NotStreamable { what: what.to_owned(), instead: "run the job with --mode batch, or leave it out".to_owned() }
}
