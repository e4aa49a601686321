//! `t$changes`: which rows came and went, as a table.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session as DfSession, TableProvider};
use datafusion::common::internal_err;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use frazil_reader::{
    BoundPredicate, ChangelogForm, ChangelogPlan, ChangelogReader, ChangelogRequest, Predicate, Projection,
    ReadContext, plan_changelog,
};
use frazil_table::Table;
use frazil_table::arrow::arrow_schema;
use futures::{StreamExt, TryStreamExt};

use super::{bare_schema, external, filter};
use crate::Result;

/// The changes between two snapshots of a table.
#[derive(Debug)]
pub struct ChangelogTableProvider {
    context: ReadContext,
    table: Table,
    request: ChangelogRequest,
    /// The columns of the table, then those of the changelog.
    schema: SchemaRef,
    /// The columns of the table.
    columns: SchemaRef,
}

impl ChangelogTableProvider {
    /// Plans the changes of whole rows. `request` has neither projection nor condition: those are the query's.
    ///
    /// # Errors
    /// As [`plan_changelog`].
    pub fn new(context: ReadContext, table: &Table, request: ChangelogRequest) -> Result<Self> {
        let plan = plan_changelog(table, &request)?;
        Ok(Self {
            context,
            table: table.clone(),
            request,
            schema: Arc::new(bare_schema(plan.arrow())),
            columns: Arc::new(bare_schema(&arrow_schema(plan.spec().schema())?)),
        })
    }

    /// The condition, if the reader may decide it. As an upsert a row is told by what became of it, which a condition
    /// before that would change.
    fn predicate(&self, filter: &Expr) -> Option<Predicate> {
        if self.request.form == ChangelogForm::Upsert {
            return None;
        }
        let predicate = filter::predicate(filter, &self.columns)?;
        let request = ChangelogRequest { predicate: Some(predicate.clone()), ..self.request.clone() };
        plan_changelog(&self.table, &request).is_ok().then_some(predicate)
    }
}

#[async_trait]
impl TableProvider for ChangelogTableProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(filter::support(filters, |filter| self.predicate(filter)))
    }

    async fn scan(
        &self,
        state: &dyn DfSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let outputs: Vec<Field> =
            projection.unwrap_or(&all).iter().map(|index| self.schema.field(*index).clone()).collect();
        let is_own = |field: &&Field| self.columns.field_with_name(field.name()).is_ok();
        let wanted = outputs.iter().filter(is_own).map(|field| field.name().clone());
        let predicate = filter::all_of(filters, |filter| self.predicate(filter))?;
        let request = ChangelogRequest { projection: Projection::paths(wanted), predicate, ..self.request.clone() };
        let schema = Arc::new(ArrowSchema::new(outputs));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Arc::new(ChangelogScanExec {
            context: self.context.with_fresh_counters(),
            plan: plan_changelog(&self.table, &request).map_err(external)?,
            parallelism: state.config().target_partitions(),
            schema,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }
}

/// Reads a changelog, in the order of its snapshots.
#[derive(Debug)]
struct ChangelogScanExec {
    context: ReadContext,
    plan: ChangelogPlan,
    parallelism: usize,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ExecutionPlan for ChangelogScanExec {
    fn name(&self) -> &'static str {
        "ChangelogScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => internal_err!("a scan has no inputs"),
        }
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let reader = ChangelogReader::new(&self.context, &self.plan, self.parallelism);
        let schema = Arc::clone(&self.schema);
        let rows = reader.into_stream().map_err(external).map(move |batch| {
            let batch = in_order(&schema, &batch?)?;
            baseline.record_output(batch.num_rows());
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// The columns as the query wants them.
fn in_order(schema: &SchemaRef, batch: &RecordBatch) -> DfResult<RecordBatch> {
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name());
        let column = column.ok_or_else(|| DataFusionError::Internal(format!("no column {}", field.name())))?;
        crate::coerce::coerce_column(column, field).map_err(external)
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<DfResult<_>>()?, &options)?)
}

impl DisplayAs for ChangelogScanExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if matches!(t, DisplayFormatType::TreeRender) { "\n" } else { ", " };
        if !matches!(t, DisplayFormatType::TreeRender) {
            f.write_str("ChangelogScanExec: ")?;
        }
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let passed = self.plan.steps.iter().filter(|step| step.ordinal.is_none()).count();
        write!(f, "table={}{separator}form={}", self.plan.table().ident(), self.plan.form)?;
        write!(f, "{separator}columns=[{}]", names.join(", "))?;
        if *self.plan.spec().predicate() != BoundPredicate::True {
            write!(f, "{separator}condition={}", self.plan.spec().predicate())?;
        }
        write!(f, "{separator}snapshots={}", self.plan.steps.len() - passed)?;
        if passed > 0 {
            write!(f, " ({passed} passed over)")?;
        }
        Ok(())
    }
}
