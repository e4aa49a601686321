//! One pipeline: the tasks from a source to the writers of a table.

use std::sync::Arc;

use frazil_catalog::CommitQueue;
use frazil_writer::{SinkId, SourcePositions, TableWriter, WriterConfig};
use futures::future::try_join_all;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::compaction::CompactionSpec;
use super::input::AlignedInput;
use super::message::{BarrierRequest, QUEUE_BATCHES, WriterShare};
use super::source_task::SourceTask;
use super::writer_task::WriterTask;
use crate::Result;
use crate::progress::Counters;
use crate::source::Source;
use crate::transform::TransformPlan;

/// Everything that a pipeline is made of.
#[derive(Debug)]
pub(crate) struct PipelineSpec {
    pub(crate) sink: SinkId,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) source_parallelism: usize,
    pub(crate) transform: TransformPlan,
    /// Shared with the other pipelines into the same table.
    pub(crate) queue: Arc<CommitQueue>,
    pub(crate) writer_parallelism: usize,
    pub(crate) writer_config: WriterConfig,
    pub(crate) compaction: CompactionSpec,
}

/// What connects a pipeline's tasks with those of the whole job.
pub(super) struct Connections {
    pub(super) shares: mpsc::Sender<WriterShare>,
    pub(super) ended: mpsc::Sender<()>,
    /// Ends the sources.
    pub(super) source_stop: CancellationToken,
}

/// Starts the tasks of a pipeline; where each of its source tasks is asked for barriers.
///
/// # Errors
/// What keeps the source from starting at `positions`, or the writers from being made.
pub(super) async fn spawn_pipeline(
    (index, spec): (usize, &PipelineSpec),
    positions: &SourcePositions,
    connections: &Connections,
    counters: &Arc<Counters>,
    tasks: &mut JoinSet<Result<()>>,
) -> Result<Vec<mpsc::Sender<BarrierRequest>>> {
    let steps = spec.queue.env().steps.clone();
    let streams = (0..spec.source_parallelism).map(|subtask| {
        let stop = connections.source_stop.clone();
        spec.source.start(subtask, spec.source_parallelism, positions, stop)
    });
    let streams = try_join_all(streams).await?;
    let (mut outputs, mut inputs) = exchange(spec.source_parallelism, spec.writer_parallelism);
    let mut requests = Vec::new();
    for stream in streams {
        let (request_sender, request_receiver) = mpsc::channel(1);
        requests.push(request_sender);
        let task = SourceTask {
            stream,
            requests: request_receiver,
            outputs: outputs.pop().expect("one set of outputs for each source task"),
            ended: connections.ended.clone(),
            counters: Arc::clone(counters),
            steps: steps.clone(),
        };
        tasks.spawn(task.run());
    }
    let table = spec.queue.load().await?;
    for _ in 0..spec.writer_parallelism {
        let task = WriterTask {
            pipeline: index,
            input: AlignedInput::new(inputs.pop().expect("one set of inputs for each writer task")),
            transform: spec.transform.instantiate().await?,
            writer: TableWriter::new(spec.queue.env().clone(), &table, spec.writer_config.clone())?,
            committer: connections.shares.clone(),
            counters: Arc::clone(counters),
            steps: steps.clone(),
        };
        tasks.spawn(task.run());
    }
    Ok(requests)
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
