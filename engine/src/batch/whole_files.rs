//! Changes of rows that the files' metadata decides: files go as wholes, and no row is read.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use frazil_reader::ReadContext;
use frazil_table::{
    Change, Conflict, DeleteFiles, Isolation, RemovedFiles, RowFilterRef, SnapshotProperties, TableState, Validation,
};

use super::RowsChanged;
use super::files::{Landing, commit};
use crate::Result;
use crate::session::{IcebergTable, same_table};

/// The conditions that decide which rows of the target a plan has, if nothing else does.
pub(super) fn whole_condition(plan: &LogicalPlan) -> Option<Vec<Expr>> {
    match plan {
        // New values may come from other rows, which then decide as well.
        LogicalPlan::Projection(projection) if projection.expr.iter().any(has_subquery) => None,
        LogicalPlan::Projection(projection) => whole_condition(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => whole_condition(&alias.input),
        LogicalPlan::Filter(filter) => {
            let mut all = whole_condition(&filter.input)?;
            all.push(filter.predicate.clone());
            Some(all)
        }
        LogicalPlan::TableScan(scan) if scan.fetch.is_none() => Some(scan.filters.clone()),
        LogicalPlan::EmptyRelation(_) => Some(vec![lit(false)]),
        _ => None,
    }
}

fn has_subquery(expr: &Expr) -> bool {
    let is_subquery = |part: &Expr| {
        Ok(matches!(part, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)))
    };
    expr.exists(is_subquery).expect("looking at it does not fail")
}

/// Whether the files' metadata says of every file that all of its rows match, or none. Rows that are deleted already must
/// not be counted again, so a table with deletes is read.
pub(super) fn are_whole_files(state: &TableState, filter: &RowFilterRef) -> Result<bool> {
    if state.has_deletes() {
        return Ok(false);
    }
    let live = state.live_data_files()?;
    Ok(live.iter().all(|live| {
        filter.all_match(live.file, live.partition_spec_id) || !filter.may_match(live.file, live.partition_spec_id)
    }))
}

/// Removes the files whose rows all match: nothing is read or written but metadata.
pub(super) async fn remove_whole_files(
    context: &ReadContext,
    target: &IcebergTable,
    state: &TableState,
    (kind, isolation): (&'static str, Isolation),
    filter: RowFilterRef,
) -> Result<std::result::Result<RowsChanged, Conflict>> {
    let live = state.live_data_files()?;
    let removed: Vec<_> = live.iter().filter(|live| filter.all_match(live.file, live.partition_spec_id)).collect();
    let mut done = RowsChanged {
        table: target.path.clone(),
        kind,
        rows: removed.iter().map(|live| live.file.record_count()).sum(),
        removed_files: removed.len(),
        added_files: 0,
        delete_files: 0,
        snapshot_id: None,
    };
    if removed.is_empty() {
        return Ok(Ok(done));
    }
    let validation = Validation {
        base_snapshot_id: state.snapshot_id(),
        isolation,
        conflict_filter: Some(Arc::clone(&filter)),
        ..Validation::default()
    };
    let removed = RemovedFiles::Filter(filter);
    let change = Change::DeleteFiles(DeleteFiles { removed, validation, properties: SnapshotProperties::new() });
    match commit(&context.env, target, &[change], &[], &same_table(&target.table)).await? {
        Landing::Landed(_, snapshot_id) => {
            done.snapshot_id = snapshot_id;
            Ok(Ok(done))
        }
        Landing::Conflict(conflict) => Ok(Err(conflict)),
    }
}
