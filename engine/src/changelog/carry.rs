//! Which queries can run over a stream of changes, and how the kinds of the rows go through their plans.
//!
//! Such a query may compute columns and leave rows out, nothing else: its rows stay in order, each with its kind.
//!
//! | changes | `WHERE` |
//! |---|---|
//! | [`Changelog::WholeRows`] | asked of each row as it is: where the old row passes and the new one does not, the `-U` is left, and the row goes |
//! | [`Changelog::Keys`], asks the key alone | the same, since the key of each row is known |
//! | [`Changelog::Keys`], asks other columns | the row that was there is not known, so a row that does not pass is a `-D` |
//!
//! A row goes by its key. So the key of the target must be the same for the old row and the new one as long as the
//! source's key is: no function in it, or in a `WHERE`, may give something else each time, and where the changes have keys
//! alone, the target's key is computed from them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    Expr, Filter, LogicalPlan, LogicalPlanBuilder, Projection, SubqueryAlias, TableScan, lit, when,
};

use super::{Changelog, RowKind, with_kind};
use crate::sql::{Insert, SqlError};
use crate::transform::StreamTable;
use crate::{Error, Result};

/// Whether a row passes a `WHERE`; no column of a table has this name.
const PASSES: &str = "\u{0}passes";

/// The changes that a query is over, and what becomes of them.
#[derive(Clone, Copy)]
pub(crate) struct Changes<'a> {
    /// As the plan calls the stream.
    pub(crate) name: &'a str,
    /// The stream's columns.
    pub(crate) columns: &'a SchemaRef,
    pub(crate) changelog: &'a Changelog,
    /// The columns of the target's key, by their position.
    pub(crate) target_key: &'a [usize],
}

/// Carries the kinds through an optimised plan over the stream of an INSERT: they are the last column of its result.
///
/// # Errors
/// A query that does more than a stream of changes allows, with what to do about it.
pub(crate) fn carry_kinds(
    plan: LogicalPlan,
    changes: &Changes<'_>,
    insert: &Insert,
    script: &str,
) -> Result<LogicalPlan> {
    let checked = changes.check_key(&plan);
    checked.and_then(|()| changes.carry(plan)).map_err(|refusal| {
        let (message, help) = match refusal {
            Refusal::Operator(what) => (
                format!("{what} can't run over a stream of changes"),
                "compute columns and leave rows out by WHERE; do the rest in queries on the table".to_owned(),
            ),
            Refusal::Volatile(what) => (
                format!("{what} has a function that gives something else each time, and runs over a stream of changes"),
                "the older row would not be found by it; compute it from the columns of the stream".to_owned(),
            ),
            Refusal::Key(key) => (
                format!("the key of {} is not computed from the key of the changes, ({})", insert.target, key.join(", ")),
                "a row that is gone is told by its key alone: let the PRIMARY KEY of the table be the same columns, all of \
                 them; or take a source of whole rows, such as 'format' = 'debezium-json'"
                    .to_owned(),
            ),
            Refusal::Failed(error) => return Error::from(error),
        };
        SqlError::new(message, insert.target.span(), script).help(help).into()
    })
}

enum Refusal {
    /// An operator that no stream of changes goes through, as a person calls it.
    Operator(String),
    /// Where a function stands that gives something else each time.
    Volatile(&'static str),
    /// The key of the changes, which the target's is not computed from.
    Key(Vec<String>),
    Failed(DataFusionError),
}

impl From<DataFusionError> for Refusal {
    fn from(error: DataFusionError) -> Self {
        Self::Failed(error)
    }
}

impl Changes<'_> {
    fn check_key(&self, plan: &LogicalPlan) -> Result<(), Refusal> {
        let origins = self.target_key.iter().map(|column| self.origin_of_column(plan, *column));
        let origin = origins.fold(Origin::default(), Origin::and);
        match self.changelog {
            _ if origin.is_volatile => Err(Refusal::Volatile("the table's key")),
            Changelog::Keys(key) if !origin.is_just(key) => Err(Refusal::Key(key.clone())),
            _ => Ok(()),
        }
    }

    fn carry(&self, plan: LogicalPlan) -> Result<LogicalPlan, Refusal> {
        let input_of = |input: Arc<LogicalPlan>| self.carry(Arc::unwrap_or_clone(input)).map(Arc::new);
        Ok(match plan {
            LogicalPlan::Projection(projection) => {
                let input = input_of(projection.input)?;
                let mut columns = projection.expr;
                columns.extend(input.schema().columns().pop().map(Expr::Column));
                LogicalPlan::Projection(Projection::try_new(columns, input)?)
            }
            LogicalPlan::Filter(filter) => {
                let origin = self.origin_of(&filter.input, &filter.predicate);
                match self.changelog {
                    _ if origin.is_volatile => return Err(Refusal::Volatile("a WHERE")),
                    Changelog::Keys(key) if !origin.is_within(key) => self.delete_others(filter, key)?,
                    _ => LogicalPlan::Filter(Filter::try_new(filter.predicate, input_of(filter.input)?)?),
                }
            }
            LogicalPlan::SubqueryAlias(alias) => {
                LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input_of(alias.input)?, alias.alias)?)
            }
            LogicalPlan::TableScan(scan) if scan.fetch.is_none() && scan.filters.is_empty() => self.scan(scan)?,
            LogicalPlan::Join(_) => return Err(Refusal::Operator("a join".to_owned())),
            other => return Err(Refusal::Operator(other.display().to_string())),
        })
    }

    fn scan(&self, scan: TableScan) -> Result<LogicalPlan, DataFusionError> {
        let kind = self.columns.fields().len();
        let projection = scan.projection.unwrap_or_else(|| (0..kind).collect());
        let projection = projection.into_iter().chain([kind]).collect();
        let provider = provider_as_source(Arc::new(StreamTable::new(self.name, with_kind(self.columns))));
        LogicalPlanBuilder::scan(scan.table_name, provider, Some(projection))?.build()
    }

    /// A filter that makes deletes of the rows that do not pass. Of these only the key is left, so that what the query
    /// computes from other columns can't fail on rows that it was not to see.
    fn delete_others(&self, filter: Filter, key: &[String]) -> Result<LogicalPlan, Refusal> {
        let input = Arc::unwrap_or_clone(filter.input);
        let count = input.schema().fields().len();
        let of_key: Vec<bool> = (0..count).map(|column| self.origin_of_column(&input, column).is_within(key)).collect();
        let input = self.carry(input)?;
        let columns = input.schema().columns();
        let tested = columns.iter().cloned().map(Expr::Column).chain([filter.predicate.is_true().alias(PASSES)]);
        let tested = Projection::try_new(tested.collect(), Arc::new(input))?;
        let passes = || Expr::Column(Column::new_unqualified(PASSES));
        let mut chosen = Vec::with_capacity(columns.len());
        for (place, column) in columns.into_iter().enumerate() {
            let value = Expr::Column(column.clone());
            let value = match of_key.get(place) {
                Some(true) => value,
                Some(false) => when(passes(), value).end()?.alias_qualified(column.relation, column.name),
                None => {
                    let kind = when(passes(), value).otherwise(lit(RowKind::Delete as i8))?;
                    kind.alias_qualified(column.relation, column.name)
                }
            };
            chosen.push(value);
        }
        Ok(LogicalPlan::Projection(Projection::try_new(chosen, Arc::new(LogicalPlan::Projection(tested)))?))
    }

    /// What an expression over the columns of a plan is computed from.
    fn origin_of(&self, plan: &LogicalPlan, expr: &Expr) -> Origin {
        let own = Origin { columns: BTreeSet::new(), is_volatile: expr.is_volatile() };
        let places = expr.column_refs().into_iter().filter_map(|column| plan.schema().maybe_index_of_column(column));
        places.map(|column| self.origin_of_column(plan, column)).fold(own, Origin::and)
    }

    /// What a column of a plan is computed from; nothing for plans that [`Self::carry`] refuses.
    fn origin_of_column(&self, plan: &LogicalPlan, column: usize) -> Origin {
        match plan {
            LogicalPlan::Projection(projection) => self.origin_of(&projection.input, &projection.expr[column]),
            LogicalPlan::Filter(filter) => self.origin_of_column(&filter.input, column),
            LogicalPlan::SubqueryAlias(alias) => self.origin_of_column(&alias.input, column),
            LogicalPlan::TableScan(scan) => {
                let column = scan.projection.as_ref().map_or(column, |projection| projection[column]);
                Origin { columns: [self.columns.field(column).name().clone()].into(), is_volatile: false }
            }
            _ => Origin::default(),
        }
    }
}

/// What a value is computed from.
#[derive(Default)]
struct Origin {
    /// Columns of the stream.
    columns: BTreeSet<String>,
    /// A function that gives something else each time, though its arguments are the same.
    is_volatile: bool,
}

impl Origin {
    fn and(mut self, other: Self) -> Self {
        self.columns.extend(other.columns);
        Self { is_volatile: self.is_volatile || other.is_volatile, ..self }
    }

    fn is_within(&self, key: &[String]) -> bool {
        self.columns.iter().all(|column| key.contains(column))
    }

    fn is_just(&self, key: &[String]) -> bool {
        self.is_within(key) && key.iter().all(|column| self.columns.contains(column))
    }
}
