//! The stateless part of a stream: a DataFusion plan that is run anew for each batch.
//!
//! Operators of DataFusion hold rows back until a batch is full, which on a stream can be for ever. So none of them sees
//! a stream: each batch is a whole input that ends, and everything that a plan holds back comes out at that end. Tables
//! that do not stream, such as the small side of a join, were collected when the job was planned.

use std::fmt;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, TableType};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, reset_plan_states};
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, collect, displayable,
};

use crate::coerce::coerce;
use crate::{Error, Result};

/// Stands for the stream in a query's plan.
#[derive(Debug)]
pub(crate) struct StreamTable {
    /// As a person calls the table.
    name: String,
    schema: SchemaRef,
}

impl StreamTable {
    pub(crate) fn new(name: impl Into<String>, schema: SchemaRef) -> Self {
        Self { name: name.into(), schema }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

#[async_trait]
impl TableProvider for StreamTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(StreamInput::new(self.name.clone(), &self.schema, projection.cloned())?))
    }
}

/// Gives the one batch that lies in its slot.
#[derive(Debug)]
struct StreamInput {
    name: String,
    projection: Option<Vec<usize>>,
    schema: SchemaRef,
    slot: Slot,
    properties: Arc<PlanProperties>,
}

type Slot = Arc<Mutex<Option<RecordBatch>>>;

impl StreamInput {
    fn new(name: String, schema: &SchemaRef, projection: Option<Vec<usize>>) -> DataFusionResult<Self> {
        let schema = match &projection {
            Some(indices) => Arc::new(schema.project(indices)?),
            None => Arc::clone(schema),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self { name, projection, schema, slot: Slot::default(), properties: Arc::new(properties) })
    }
}

impl DisplayAs for StreamInput {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<_> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "StreamInput: {}[{}]", self.name, columns.join(", "))
    }
}

impl ExecutionPlan for StreamInput {
    fn name(&self) -> &str {
        "StreamInput"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    /// The slot stays: it is where the next batch comes from.
    fn reset_state(self: Arc<Self>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        let batch = self.slot.lock().expect("no code panics while it holds this lock").take();
        let batches = match (batch, &self.projection) {
            (None, _) => Vec::new(),
            (Some(batch), None) => vec![batch],
            (Some(batch), Some(indices)) => vec![batch.project(indices)?],
        };
        Ok(Box::pin(MemoryStream::try_new(batches, Arc::clone(&self.schema), None)?))
    }
}

/// A query over one stream, planned once, run by as many tasks as are asked for.
#[derive(Clone)]
pub(crate) struct TransformPlan {
    state: SessionState,
    logical: LogicalPlan,
    /// The columns of the target table.
    target: SchemaRef,
}

impl fmt::Debug for TransformPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.logical.display_indent())
    }
}

impl TransformPlan {
    /// A transform of an optimised logical plan that scans exactly one [`StreamTable`].
    pub(crate) fn new(state: SessionState, logical: LogicalPlan, target: SchemaRef) -> Self {
        Self { state, logical, target }
    }

    /// The physical plan as text, one operator a line.
    ///
    /// # Errors
    /// What keeps DataFusion from planning it.
    pub(crate) async fn describe(&self) -> Result<String> {
        let plan = self.state.create_physical_plan(&self.logical).await?;
        Ok(displayable(plan.as_ref()).indent(false).to_string())
    }

    /// A transform for one task.
    ///
    /// # Errors
    /// What keeps DataFusion from planning it.
    pub(crate) async fn instantiate(&self) -> Result<Transform> {
        let plan = self.state.create_physical_plan(&self.logical).await?;
        let mut slots = Vec::new();
        plan.apply(|node| {
            if let Some(input) = node.downcast_ref::<StreamInput>() {
                slots.push(Arc::clone(&input.slot));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        let [slot] = slots.as_slice() else {
            return Err(Error::NotStreamable {
                what: format!("a query that reads its stream {} times", slots.len()),
                instead: "read it once, or run the job with --mode batch".to_owned(),
            });
        };
        Ok(Transform { slot: Arc::clone(slot), plan, context: self.state.task_ctx(), target: Arc::clone(&self.target) })
    }
}

/// A transform at work in one task.
#[derive(Debug)]
pub(crate) struct Transform {
    slot: Slot,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    target: SchemaRef,
}

impl Transform {
    /// The rows that a batch becomes, in the target's columns. Empty batches are left out.
    ///
    /// # Errors
    /// An expression that fails on a row, such as a cast or a division by zero; a value that does not fit its column.
    pub(crate) async fn apply(&mut self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        *self.slot.lock().expect("no code panics while it holds this lock") = Some(batch);
        self.plan = reset_plan_states(Arc::clone(&self.plan))?;
        let out = collect(Arc::clone(&self.plan), Arc::clone(&self.context)).await?;
        let rows = out.into_iter().filter(|batch| batch.num_rows() > 0);
        rows.map(|batch| coerce(&batch, &self.target)).collect()
    }
}

/// The plan of a batch is run by one task: the parallelism of a stream is in its tasks.
pub(crate) fn one_partition(state: SessionState) -> SessionState {
    let config = state.config().clone().with_target_partitions(1);
    SessionStateBuilder::new_from_existing(state).with_config(config).build()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    fn batch(from: i64) -> RecordBatch {
        let fields = vec![Field::new("k", DataType::Int64, false), Field::new("v", DataType::Utf8, true)];
        let keys = Int64Array::from_iter_values(from..from + 3);
        let values = StringArray::from_iter((from..from + 3).map(|i| Some(format!("v{i}"))));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(keys), Arc::new(values)]).unwrap()
    }

    async fn transform(sql: &str) -> Transform {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        context.register_table("s", Arc::new(StreamTable::new("s", batch(0).schema()))).unwrap();
        context.register_batch("d", batch(2)).unwrap();
        let logical = context.sql(sql).await.unwrap().into_optimized_plan().unwrap();
        let target = Arc::new(logical.schema().as_arrow().clone());
        TransformPlan::new(context.state(), logical, target).instantiate().await.unwrap()
    }

    async fn rows(transform: &mut Transform, from: i64) -> usize {
        transform.apply(batch(from)).await.unwrap().iter().map(RecordBatch::num_rows).sum()
    }

    #[tokio::test]
    async fn every_batch_comes_out_whole() {
        let mut transform = transform("SELECT k + 1, upper(v) FROM s WHERE k <> 4").await;
        for (from, expected) in [(0, 3), (3, 2), (6, 3)] {
            assert_eq!(rows(&mut transform, from).await, expected);
        }
    }

    #[tokio::test]
    async fn a_static_table_is_joined_to_every_batch() {
        let mut left = transform("SELECT s.k, d.v FROM s LEFT JOIN d ON s.k = d.k").await;
        let mut inner = transform("SELECT s.k, d.v FROM s JOIN d ON s.k = d.k").await;
        for (from, matches) in [(0, 1), (2, 3), (4, 1), (9, 0), (2, 3)] {
            assert_eq!(rows(&mut left, from).await, 3);
            assert_eq!(rows(&mut inner, from).await, matches);
        }
    }
}
