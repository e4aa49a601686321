//! One pipeline: the tasks from a source to the writers of a table.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use frazil_catalog::CommitQueue;
use frazil_table::Table;
use frazil_writer::{
    Definition, DistributionMode, Distributor, SinkId, SourcePositions, StatisticsConfig, UpsertPlanner, WriterConfig,
};
use futures::future::try_join_all;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::compaction::CompactionSpec;
use super::dead_letters::{DeadLetterTable, DeadLetterWriter};
use super::event_time::EventTimePlan;
use super::evolving_sink::EvolvingSink;
use super::exchange::Exchange;
use super::input::AlignedInput;
use super::message::{BarrierRequest, Message, QUEUE_BATCHES, WriterShare};
use super::row_transform::{EvolvingTransform, RowTransform};
use super::row_writer::{RowWriter, open_planner};
use super::source_task::SourceTask;
use super::transform_task::TransformTask;
use super::writer_task::WriterTask;
use crate::Result;
use crate::evolving_query::EvolvingQuery;
use crate::progress::Counters;
use crate::source::Source;
use crate::transform::TransformPlan;
use crate::upsert::key_of;

/// Everything that a pipeline is made of.
#[derive(Debug)]
pub(crate) struct PipelineSpec {
    pub(crate) sink: SinkId,
    /// Of the source and the query.
    pub(crate) definition: Definition,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) source_parallelism: usize,
    pub(crate) transform: PipelineQuery,
    /// Shared with the other pipelines into the same table.
    pub(crate) queue: Arc<CommitQueue>,
    pub(crate) writer_parallelism: usize,
    pub(crate) writer_config: WriterConfig,
    /// How rows are shared out among several writers; `None` for one, and where rows go by their key.
    pub(crate) distribution: DistributionMode,
    /// Rows take the place of older ones of their keys. Its query is a fixed one.
    pub(crate) upserts: bool,
    /// Of a source with a watermark.
    pub(crate) event_time: Option<EventTimePlan>,
    /// How the table's statistics are kept, if they are.
    pub(crate) statistics: Option<StatisticsConfig>,
    pub(crate) compaction: CompactionSpec,
    /// Where bad rows go, if they are put aside.
    pub(crate) dead_letters: Option<Arc<DeadLetterTable>>,
}

/// What a pipeline computes.
#[derive(Debug)]
pub(crate) enum PipelineQuery {
    /// Columns in and out are known.
    Fixed(Box<TransformPlan>),
    /// The target grows by the columns that come.
    Evolving(Arc<EvolvingQuery>),
}

impl PipelineQuery {
    /// The plan as text, over a stream of these columns.
    ///
    /// # Errors
    /// What keeps DataFusion from planning it.
    pub(crate) async fn describe(&self, stream: &SchemaRef) -> Result<String> {
        match self {
            Self::Fixed(plan) => plan.describe().await,
            Self::Evolving(_) if stream.fields().is_empty() => {
                Ok("planned when the first columns are found".to_owned())
            }
            Self::Evolving(query) => query.plan(stream).await?.describe().await,
        }
    }
}

/// What connects a pipeline's tasks with those of the whole job.
pub(super) struct Connections {
    pub(super) shares: mpsc::Sender<WriterShare>,
    pub(super) ended: mpsc::Sender<()>,
    /// Ends the sources.
    pub(super) source_stop: CancellationToken,
}

/// Starts the tasks of a pipeline.
///
/// # Errors
/// What keeps the source from starting at `positions`, or the writers from being made.
pub(super) async fn spawn_pipeline(
    (index, spec): (usize, &PipelineSpec),
    (positions, watermark_ms): (&SourcePositions, Option<i64>),
    connections: &Connections,
    counters: &Arc<Counters>,
    tasks: &mut JoinSet<Result<()>>,
) -> Result<Spawned> {
    let upserts = open_planner(spec).await?;
    let table = spec.queue.load().await?;
    let evolving = match &spec.transform {
        PipelineQuery::Fixed(_) => None,
        PipelineQuery::Evolving(_) => Some(Arc::new(EvolvingSink::new(Arc::clone(&spec.queue), &table)?)),
    };
    let streams = (0..spec.source_parallelism).map(|subtask| {
        let stop = connections.source_stop.clone();
        spec.source.start(subtask, spec.source_parallelism, positions, stop)
    });
    let streams = try_join_all(streams).await?;
    let (mut outputs, mut inputs) = exchange(spec.source_parallelism, spec.writer_parallelism);
    let is_shared_out = spec.distribution != DistributionMode::None;
    if is_shared_out {
        let (to_writers, from_transforms) = exchange(spec.writer_parallelism, spec.writer_parallelism);
        let from_sources = std::mem::replace(&mut inputs, from_transforms);
        for (input, outputs) in from_sources.into_iter().zip(to_writers) {
            let transform = row_transform(spec, evolving.as_ref()).await?;
            let distributor = Distributor::new(&table, outputs.len())?;
            let exchange = Exchange::computed(outputs, transform, distributor);
            tasks.spawn(TransformTask { input: AlignedInput::new(input), exchange }.run());
        }
    }
    let mut requests = Vec::new();
    for (subtask, stream) in streams.into_iter().enumerate() {
        let event_time = match &spec.event_time {
            Some(plan) => Some(plan.instantiate(watermark_ms).await?),
            None => None,
        };
        let (request_sender, request_receiver) = mpsc::channel(1);
        requests.push(request_sender);
        let outputs = outputs.pop().expect("one set of outputs for each source task");
        let task = SourceTask {
            stream,
            requests: request_receiver,
            exchange: source_exchange(spec, &table, outputs).await?,
            ended: connections.ended.clone(),
            subtask,
            event_time,
            counters: Arc::clone(counters),
            steps: spec.queue.env().steps.clone(),
        };
        tasks.spawn(task.run());
    }
    let comes_computed = is_shared_out || spec.upserts;
    for _ in 0..spec.writer_parallelism {
        let task = WriterTask {
            pipeline: index,
            input: AlignedInput::new(inputs.pop().expect("one set of inputs for each writer task")),
            transform: if comes_computed { None } else { Some(row_transform(spec, evolving.as_ref()).await?) },
            writer: RowWriter::new(spec, &table)?,
            writer_config: spec.writer_config.clone(),
            schema_version: 0,
            files: Vec::new(),
            sketches: None,
            dead_letters: spec.dead_letters.clone().map(DeadLetterWriter::new),
            dead_letter_count: 0,
            committer: connections.shares.clone(),
            counters: Arc::clone(counters),
            env: spec.queue.env().clone(),
        };
        tasks.spawn(task.run());
    }
    Ok(Spawned { requests, evolving, upserts })
}

/// How one source task's rows leave it.
async fn source_exchange(spec: &PipelineSpec, table: &Table, outputs: Vec<mpsc::Sender<Message>>) -> Result<Exchange> {
    if !spec.upserts {
        return Ok(Exchange::in_turn(outputs));
    }
    let distributor = Distributor::by_key(key_of(table)?, outputs.len());
    Ok(Exchange::computed(outputs, row_transform(spec, None).await?, distributor))
}

/// The pipeline's query for one task.
async fn row_transform(spec: &PipelineSpec, evolving: Option<&Arc<EvolvingSink>>) -> Result<RowTransform> {
    Ok(match (&spec.transform, evolving) {
        (PipelineQuery::Fixed(plan), _) => RowTransform::Fixed(Box::new(plan.instantiate().await?)),
        (PipelineQuery::Evolving(query), Some(sink)) => {
            RowTransform::Evolving(Box::new(EvolvingTransform::new(Arc::clone(query), Arc::clone(sink))))
        }
        (PipelineQuery::Evolving(_), None) => unreachable!("a table that is upserted into does not grow"),
    })
}

/// What the rest of the job has to know of a pipeline's tasks.
pub(super) struct Spawned {
    /// Where each source task is asked for barriers.
    pub(super) requests: Vec<mpsc::Sender<BarrierRequest>>,
    /// The schema of a table that grows.
    pub(super) evolving: Option<Arc<EvolvingSink>>,
    /// What plans the deletes of a table that is upserted into.
    pub(super) upserts: Option<UpsertPlanner>,
}

/// Queues from each of `from` tasks to each of `to` tasks: senders by sending task, receivers by receiving task.
#[expect(clippy::type_complexity, reason = "two matrices, taken apart at once")]
fn exchange<T>(from: usize, to: usize) -> (Vec<Vec<mpsc::Sender<T>>>, Vec<Vec<mpsc::Receiver<T>>>) {
    let mut senders: Vec<Vec<_>> = (0..from).map(|_| Vec::with_capacity(to)).collect();
    let mut receivers: Vec<Vec<_>> = (0..to).map(|_| Vec::with_capacity(from)).collect();
    for sender in &mut senders {
        for receiver in &mut receivers {
            let (to_receiver, from_sender) = mpsc::channel(QUEUE_BATCHES);
            sender.push(to_receiver);
            receiver.push(from_sender);
        }
    }
    (senders, receivers)
}
