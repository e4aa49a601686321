//! A query over a stream whose columns are found in the data: planned anew when more of them come.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::sql::sqlparser::ast::{SelectItem, SetExpr};

use crate::Result;
use crate::session::{Scope, Session, TableUse};
use crate::sql::{Insert, planner};
use crate::stream_plan::check_streamable;
use crate::transform::{StreamTable, TransformPlan, one_partition};

/// The name of the stream in plans.
pub(crate) const STREAM: &str = "stream";

/// Everything that is needed to plan the query of an insert over any columns of its stream.
pub(crate) struct EvolvingQuery {
    pub(crate) session: Session,
    pub(crate) scope: Scope,
    /// The tables that do not stream, by the id of their use.
    pub(crate) providers: HashMap<usize, Arc<dyn TableProvider>>,
    /// The use of the table that does.
    pub(crate) stream: usize,
    pub(crate) insert: Insert,
    pub(crate) script: String,
}

impl fmt::Debug for EvolvingQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvolvingQuery").field("query", &self.insert.query.ast.to_string()).finish_non_exhaustive()
    }
}

impl EvolvingQuery {
    /// The query over a stream of these columns. Its result has columns of its own, which are matched with the table's by
    /// name.
    ///
    /// # Errors
    /// A column that the query names and the stream does not have yet, and what else can't be planned.
    pub(crate) async fn plan(&self, stream: &SchemaRef) -> Result<TransformPlan> {
        let provide = |table: &TableUse| -> Result<Arc<dyn TableProvider>> {
            Ok(match table.id == self.stream {
                true => Arc::new(StreamTable::new(STREAM, Arc::clone(stream))),
                false => Arc::clone(&self.providers[&table.id]),
            })
        };
        let state = one_partition(self.session.planning_state(&self.scope, &provide).await?);
        let logical = planner::plan_query(&self.insert.query, &state, &self.script).await?;
        let logical = match state.optimize(&logical) {
            Ok(logical) => logical,
            Err(error) => return Err(planner::locate(error, &self.insert.query, &state, &self.script).await),
        };
        if let Some(refusal) = check_streamable(&logical, STREAM)? {
            return Err(refusal.at(&self.insert.query, &self.script));
        }
        let columns = Arc::new(logical.schema().as_arrow().clone());
        Ok(TransformPlan::new(state, logical, columns))
    }
}

/// Whether the query is `SELECT * FROM t`, so that the columns of the target are those of the stream.
pub(crate) fn takes_all(insert: &Insert) -> bool {
    let SetExpr::Select(select) = insert.query.ast.body.as_ref() else { return false };
    let one_table = select.from.len() == 1 && select.from[0].joins.is_empty();
    one_table && matches!(select.projection.as_slice(), [SelectItem::Wildcard(_)])
}
