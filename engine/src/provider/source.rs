//! A bounded source of a connector as a table: every query reads it from its start.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session as DfSession, TableProvider};
use datafusion::common::internal_err;
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use frazil_writer::SourcePositions;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::external;
use crate::Result;
use crate::connectors::rows_without_target;
use crate::source::{Source, SourceBatch};

/// A source that ends by itself, as a table.
#[derive(Debug)]
pub struct SourceTableProvider {
    source: Arc<dyn Source>,
}

impl SourceTableProvider {
    /// `None` for a source that never ends: no query over it would.
    pub fn new(source: Arc<dyn Source>) -> Option<Self> {
        source.is_bounded().then_some(Self { source })
    }
}

#[async_trait]
impl TableProvider for SourceTableProvider {
    fn schema(&self) -> SchemaRef {
        self.source.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn DfSession,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let useful = self.source.parallelism_max().await.map_err(external)?;
        let parallelism = useful.clamp(1, state.config().target_partitions().max(1));
        let schema = match projection {
            Some(columns) => Arc::new(self.schema().project(columns)?),
            None => self.schema(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(parallelism),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Arc::new(SourceScanExec {
            source: Arc::clone(&self.source),
            projection: projection.cloned(),
            parallelism,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }
}

/// Reads a source; a partition is one of its subtasks.
#[derive(Debug)]
struct SourceScanExec {
    source: Arc<dyn Source>,
    projection: Option<Vec<usize>>,
    parallelism: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ExecutionPlan for SourceScanExec {
    fn name(&self) -> &'static str {
        "SourceScanExec"
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
        let projection = self.projection.clone();
        let batches = subtask(Arc::clone(&self.source), partition, self.parallelism);
        let name = self.source.describe();
        let rows = batches.map(move |batch| {
            let batch = batch.and_then(|batch| rows_without_target(&name, batch)).map_err(external)?;
            let batch = match &projection {
                Some(columns) => batch.project(columns)?,
                None => batch,
            };
            baseline.record_output(batch.num_rows());
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One subtask from its start. Dropping the stream stops it.
fn subtask(
    source: Arc<dyn Source>,
    subtask: usize,
    parallelism: usize,
) -> impl Stream<Item = Result<SourceBatch>> + Send {
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let started = async move {
        let batches = source.start(subtask, parallelism, &SourcePositions::new(), stop).await?;
        Ok::<_, crate::Error>(ReceiverStream::new(batches))
    };
    futures::stream::once(started).try_flatten().map(move |batch| {
        let _stops_when_dropped = &guard;
        batch
    })
}

impl DisplayAs for SourceScanExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceScanExec: {}", self.source.describe())?;
        let fields = self.schema();
        let names: Vec<&str> = fields.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, ", columns=[{}]", names.join(", "))
    }
}
