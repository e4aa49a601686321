//! The scan of an Iceberg table as an operator of DataFusion.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Statistics, internal_err};
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use frazil_reader::{
    BoundPredicate, Predicate, Pruned, ReadContext, ReadSpec, ReadStats, ScanPlan, ScanTask, read_tasks,
};
use frazil_table::Table;
use frazil_table::spec::SchemaRef as TableSchemaRef;
use futures::{StreamExt, TryStreamExt};

use super::path::{LeafPath, Output};
use super::{external, projection_of, statistics};

/// What a scan is made of.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub context: ReadContext,
    pub table: Table,
    /// The schema that goes with the snapshot, as Iceberg and as DataFusion has it.
    pub table_schema: TableSchemaRef,
    pub schema: SchemaRef,
    pub predicate: Option<Predicate>,
    /// The tasks of `plan`, dealt out.
    pub partitions: Vec<Vec<ScanTask>>,
    pub plan: Arc<ScanPlan>,
    pub outputs: Vec<Output>,
    /// No more rows than this are wanted.
    pub limit: Option<usize>,
}

/// Reads the columns and fields that are asked for of the rows that match, in several partitions.
#[derive(Debug)]
pub struct IcebergScanExec {
    scan: Scan,
    spec: ReadSpec,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl IcebergScanExec {
    pub(super) fn new(scan: Scan) -> DfResult<Self> {
        let projection = projection_of(&scan.outputs);
        let spec = ReadSpec::new(&scan.table, &scan.table_schema, &projection, scan.predicate.as_ref());
        let fields: Vec<_> = scan.outputs.iter().map(|output| output.field.clone()).collect();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::new(ArrowSchema::new(fields))),
            Partitioning::UnknownPartitioning(scan.partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            spec: spec.map_err(external)?,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            scan,
        })
    }

    /// The files that are read, and those that are not.
    pub fn plan(&self) -> &ScanPlan {
        &self.scan.plan
    }

    /// The dotted paths of what is fetched, in the order of the result.
    pub fn paths(&self) -> Vec<String> {
        self.scan.outputs.iter().map(|output| output.path.dotted()).collect()
    }

    /// The same scan with other columns.
    fn with_outputs(&self, outputs: Vec<Output>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let context = self.scan.context.with_fresh_counters();
        Ok(Arc::new(Self::new(Scan { outputs, context, ..self.scan.clone() })?))
    }

    /// The field that a path leads to, under a name of its own.
    fn output(&self, path: LeafPath, name: &str) -> Option<Output> {
        let field = path.field_in(&self.scan.schema)?.with_name(name);
        Some(Output { path, field })
    }
}

impl ExecutionPlan for IcebergScanExec {
    fn name(&self) -> &'static str {
        "IcebergScanExec"
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
        let Some(tasks) = self.scan.partitions.get(partition) else {
            return internal_err!("the scan has no partition {partition}");
        };
        let context = self.scan.context.with_fresh_counters();
        let batches = read_tasks(&context, &self.spec, tasks.clone()).map_err(external);
        let mut cost = Cost::new(&self.metrics, partition, context);
        let (outputs, schema) = (self.scan.outputs.clone(), self.schema());
        let mut wanted = self.scan.limit;
        let rows = batches
            .map(move |batch| {
                let made = batch.and_then(|batch| output_batch(&outputs, &schema, &batch));
                cost.settle(made.as_ref().ok());
                made
            })
            .map(move |batch| batch.map(|batch| take(batch, &mut wanted)))
            .try_take_while(|(_, goes_on)| futures::future::ready(Ok(*goes_on)))
            .map_ok(|(batch, _)| batch);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn partition_statistics(&self, partition: Option<usize>) -> DfResult<Arc<Statistics>> {
        let scan = &self.scan;
        let tasks: Vec<&ScanTask> = match partition {
            None => scan.plan.tasks.iter().collect(),
            Some(index) => scan.partitions.get(index).into_iter().flatten().collect(),
        };
        let is_whole = partition.is_none() || tasks.iter().all(|task| task.split.is_none());
        let is_plain =
            is_whole && *self.spec.predicate() == BoundPredicate::True && !tasks.iter().any(|task| task.has_deletes());
        let found = statistics::of_tasks(&tasks, &scan.outputs, &scan.table_schema, is_plain);
        Ok(Arc::new(match scan.limit {
            None => found,
            Some(_) => found.to_inexact(),
        }))
    }

    /// Takes over a projection: what it reads of structs becomes what the scan fetches. If the projection computes
    /// anything, it stays, over the fetched leaves.
    fn try_swapping_with_projection(&self, projection: &ProjectionExec) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let current = &self.scan.outputs;
        let plain: Option<Vec<Output>> = projection
            .expr()
            .iter()
            .map(|projected| self.output(LeafPath::of_physical(&projected.expr, current)?, &projected.alias))
            .collect();
        if let Some(outputs) = plain {
            return self.with_outputs(outputs).map(Some);
        }
        let mut outputs: Vec<Output> = Vec::new();
        let mut exprs = Vec::with_capacity(projection.expr().len());
        for projected in projection.expr() {
            let expr = Arc::clone(&projected.expr).transform_down(|expr| {
                let found = LeafPath::of_physical(&expr, current);
                let Some(output) = found.and_then(|path| self.output(path.clone(), &path.dotted())) else {
                    return Ok(Transformed::no(expr));
                };
                let known = outputs.iter().position(|known| known.path == output.path);
                let index = known.unwrap_or_else(|| {
                    outputs.push(output.clone());
                    outputs.len() - 1
                });
                let column = Arc::new(Column::new(output.field.name(), index)) as Arc<dyn PhysicalExpr>;
                Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
            })?;
            exprs.push(ProjectionExpr { expr: expr.data, alias: projected.alias.clone() });
        }
        let paths = |outputs: &[Output]| outputs.iter().map(|output| output.path.clone()).collect::<Vec<_>>();
        if paths(&outputs) == paths(current) {
            return Ok(None);
        }
        let input = self.with_outputs(outputs)?;
        Ok(Some(Arc::new(ProjectionExec::try_new(exprs, input)?)))
    }
}

fn output_batch(outputs: &[Output], schema: &SchemaRef, batch: &RecordBatch) -> DfResult<RecordBatch> {
    let columns = outputs.iter().map(|output| output.extract(batch)).collect::<DfResult<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// The rows that are still wanted, and whether any were.
fn take(batch: RecordBatch, wanted: &mut Option<usize>) -> (RecordBatch, bool) {
    let Some(left) = wanted else { return (batch, true) };
    let goes_on = *left > 0;
    let taken = batch.num_rows().min(*left);
    *left -= taken;
    (batch.slice(0, taken), goes_on)
}

/// One number of what reading has cost.
type Of = fn(&ReadStats) -> u64;

/// What a partition's reads have cost, as metrics.
struct Cost {
    context: ReadContext,
    baseline: BaselineMetrics,
    counts: Vec<(Count, Of)>,
    told: ReadStats,
}

impl Cost {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize, context: ReadContext) -> Self {
        let named: [(&'static str, Of); 9] = [
            ("bytes_fetched", ReadStats::bytes),
            ("bytes_leaf", |stats| stats.leaf_bytes),
            ("bytes_gap", |stats| stats.gap_bytes),
            ("bytes_footer", |stats| stats.footer_bytes + stats.index_bytes),
            ("bytes_delete", |stats| stats.delete_bytes),
            ("requests", |stats| stats.requests),
            ("files_read", |stats| stats.files),
            ("row_groups_read", |stats| stats.row_groups_read),
            ("row_groups_pruned", |stats| stats.row_groups_pruned),
        ];
        let count = |name| MetricBuilder::new(metrics).counter(name, partition);
        Self {
            baseline: BaselineMetrics::new(metrics, partition),
            counts: named.into_iter().map(|(name, of)| (count(name), of)).collect(),
            told: ReadStats::default(),
            context,
        }
    }

    fn settle(&mut self, batch: Option<&RecordBatch>) {
        if let Some(batch) = batch {
            self.baseline.record_output(batch.num_rows());
        }
        let now = self.context.stats();
        for (count, of) in &self.counts {
            count.add(usize::try_from(of(&now) - of(&self.told)).unwrap_or(usize::MAX));
        }
        self.told = now;
    }
}

/// A partition that gives no row, and the deletes behind the last one, cost too.
impl Drop for Cost {
    fn drop(&mut self) {
        self.settle(None);
    }
}

impl DisplayAs for IcebergScanExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.scan.plan;
        let separator = if matches!(t, DisplayFormatType::TreeRender) { "\n" } else { ", " };
        if !matches!(t, DisplayFormatType::TreeRender) {
            f.write_str("IcebergScanExec: ")?;
        }
        write!(f, "table={}", self.scan.table.ident())?;
        if let Some(id) = plan.snapshot_id {
            write!(f, "{separator}snapshot={id}")?;
        }
        write!(f, "{separator}columns=[{}]", self.paths().join(", "))?;
        if *self.spec.predicate() != BoundPredicate::True {
            write!(f, "{separator}condition={}", self.spec.predicate())?;
        }
        let mut files: Vec<&str> = plan.tasks.iter().map(ScanTask::path).collect();
        files.dedup();
        let pruned = |reason| plan.pruned.get(&reason).copied().unwrap_or(0);
        let (by_partition, by_bounds) = (pruned(Pruned::Partition), pruned(Pruned::Bounds));
        write!(f, "{separator}files={} of {}", files.len(), files.len() + by_partition + by_bounds)?;
        if by_partition + by_bounds > 0 {
            write!(f, " ({by_partition} pruned by partition, {by_bounds} by bounds)")?;
        }
        if let Some(limit) = self.scan.limit {
            write!(f, "{separator}limit={limit}")?;
        }
        Ok(())
    }
}
