//! A condition that stands by itself, as a person types it: `price > 10 AND city.name = 'Oslo'`.

use std::fmt;
use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::prelude::SessionConfig;
use frazil_reader::Predicate;
use frazil_table::Table;
use frazil_table::arrow::arrow_schema;

use super::{bare_schema, filter};
use crate::Result;
use crate::sql::{Span, SqlError, planner};

/// Understands SQL conditions on a table's rows, as far as the reader decides them exactly. Cheap to clone.
#[derive(Clone)]
pub struct ConditionParser {
    state: Arc<SessionState>,
}

impl fmt::Debug for ConditionParser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConditionParser").finish_non_exhaustive()
    }
}

impl Default for ConditionParser {
    fn default() -> Self {
        Self { state: Arc::new(planner::session(SessionConfig::new()).build()) }
    }
}

impl ConditionParser {
    /// The condition on rows of a table with its present columns.
    ///
    /// # Errors
    /// [`crate::Error::Sql`]: it is no condition, names what the table does not have, or is one that the reader can't
    /// decide by itself.
    pub fn parse(&self, table: &Table, text: &str) -> Result<Predicate> {
        let schema = bare_schema(&arrow_schema(table.metadata().current_schema())?);
        let columns = Arc::new(DFSchema::try_from(schema.clone())?);
        let placed = |error| planner::planning_error(error, text);
        let written = self.state.create_logical_expr(text, &columns).map_err(placed)?;
        let context = SimplifyContext::builder()
            .with_schema(Arc::clone(&columns))
            .with_config_options(Arc::clone(self.state.config_options()))
            .build();
        let simplifier = ExprSimplifier::new(context);
        let coerced = simplifier.coerce(written, &columns).map_err(placed)?;
        let simple = simplifier.simplify(coerced).map_err(placed)?;
        let predicate = filter::predicate(&simple, &schema);
        let predicate = predicate.filter(|predicate| predicate.bind(table.metadata().current_schema()).is_ok());
        predicate.ok_or_else(|| {
            let message = format!("the condition {simple} can't be decided while rows are read");
            let error = SqlError::new(message, Span::empty(), text);
            let help = "use =, <>, <, <=, >, >=, IN, BETWEEN, IS NULL, LIKE 'prefix%', AND, OR and NOT on columns and \
                        fields of structs";
            error.help(help).into()
        })
    }
}

#[cfg(test)]
mod tests;
