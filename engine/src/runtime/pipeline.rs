//! One pipeline: from a source to a table, with its coordinator.

use std::sync::Arc;
use std::time::Duration;

use frazil_catalog::CommitQueue;
use frazil_writer::{CheckpointId, Committer, SinkId, TableWriter, WriterConfig};
use futures::future::try_join_all;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::committer_task::CommitterTask;
use super::compaction::{self, CompactionSpec};
use super::input::AlignedInput;
use super::message::{BarrierRequest, QUEUE_BATCHES};
use super::source_task::SourceTask;
use super::writer_task::WriterTask;
use crate::progress::{Event, Progress};
use crate::source::Source;
use crate::transform::TransformPlan;
use crate::{Error, Result};

/// Everything that a pipeline is made of.
#[derive(Debug)]
pub(crate) struct PipelineSpec {
    pub(crate) sink: SinkId,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) source_parallelism: usize,
    pub(crate) transform: TransformPlan,
    pub(crate) queue: Arc<CommitQueue>,
    pub(crate) writer_parallelism: usize,
    pub(crate) writer_config: WriterConfig,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) compaction: CompactionSpec,
}

/// Runs a pipeline until its source ends or `stop` is asked for; in both cases the last checkpoint is in the table when
/// it returns. `abort` leaves everything as it stands.
///
/// # Errors
/// The first error of any task. What was committed stays; a new run goes on from there.
pub(crate) async fn run_pipeline(
    spec: PipelineSpec,
    progress: Progress,
    stop: CancellationToken,
    abort: CancellationToken,
) -> Result<()> {
    let table_name = spec.queue.ident().to_string();
    let (committer, recovered) = Committer::recover(Arc::clone(&spec.queue), spec.sink.clone()).await?;
    progress.tell(Event::Started {
        table: table_name.clone(),
        from_checkpoint: recovered.ledger.as_ref().map(|ledger| ledger.checkpoint_id.0),
        rolled_back_from: recovered.rolled_back_from.map(|checkpoint| checkpoint.0),
    });
    let positions = recovered.ledger.map(|ledger| ledger.positions).unwrap_or_default();
    let last_checkpoint = committer.last_checkpoint();
    let counters = progress.add_pipeline(&table_name);
    let steps = spec.queue.env().steps.clone();
    let source_stop = abort.child_token();

    let mut tasks = JoinSet::new();
    let (share_sender, shares) = mpsc::channel(spec.writer_parallelism);
    let (done_sender, done) = mpsc::channel(1);
    let (ended_sender, ended) = mpsc::channel(spec.source_parallelism);
    let (committed, new_tables) = watch::channel(None);

    let streams = (0..spec.source_parallelism)
        .map(|subtask| spec.source.start(subtask, spec.source_parallelism, &positions, source_stop.clone()));
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
            ended: ended_sender.clone(),
            counters: Arc::clone(&counters),
            steps: steps.clone(),
        };
        tasks.spawn(task.run());
    }
    let table = spec.queue.load().await?;
    for _ in 0..spec.writer_parallelism {
        let task = WriterTask {
            input: AlignedInput::new(inputs.pop().expect("one set of inputs for each writer task")),
            transform: spec.transform.instantiate().await?,
            writer: TableWriter::new(spec.queue.env().clone(), &table, spec.writer_config.clone())?,
            committer: share_sender.clone(),
            counters: Arc::clone(&counters),
            steps: steps.clone(),
        };
        tasks.spawn(task.run());
    }
    drop(share_sender);
    let task = CommitterTask {
        committer,
        writers: spec.writer_parallelism,
        shares,
        positions,
        done: done_sender,
        committed,
        counters: Arc::clone(&counters),
        progress: progress.clone(),
    };
    tasks.spawn(task.run());
    let coordinator = Coordinator {
        requests,
        done,
        ended,
        sources_open: spec.source_parallelism,
        interval: spec.checkpoint_interval,
        next: last_checkpoint.next(),
    };
    tasks.spawn(coordinator.run(stop));

    let compaction_stop = abort.child_token();
    let compaction = compaction::spawn(
        spec.compaction,
        Arc::clone(&spec.queue),
        new_tables,
        counters,
        progress,
        compaction_stop.clone(),
    );
    let result = join_all(tasks, &abort).await;
    source_stop.cancel();
    if result.is_err() {
        compaction_stop.cancel();
    }
    compaction.finish().await;
    result
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

/// Waits for all tasks. A task that fails takes the others with it; the error that began it is the one returned, not
/// the broken queues that follow from it.
async fn join_all(mut tasks: JoinSet<Result<()>>, abort: &CancellationToken) -> Result<()> {
    let mut first: Option<Error> = None;
    loop {
        let joined = tokio::select! {
            joined = tasks.join_next() => joined,
            () = abort.cancelled() => {
                tasks.shutdown().await;
                return Err(first.unwrap_or(Error::Cancelled));
            }
        };
        let Some(joined) = joined else { break };
        let error = match joined {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error,
            Err(join_error) => Error::TaskPanicked(join_error.to_string()),
        };
        match &first {
            Some(known) if !matches!(known, Error::Cancelled) => {}
            _ => first = Some(error),
        }
    }
    first.map_or(Ok(()), Err)
}

/// Decides when a checkpoint begins.
struct Coordinator {
    requests: Vec<mpsc::Sender<BarrierRequest>>,
    done: mpsc::Receiver<CheckpointId>,
    ended: mpsc::Receiver<()>,
    sources_open: usize,
    interval: Duration,
    next: CheckpointId,
}

impl Coordinator {
    /// One checkpoint after the other, the last one when all sources have ended or a stop is asked for.
    async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let mut ticks = tokio::time::interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                _ = ticks.tick() => false,
                () = stop.cancelled() => true,
                ended = self.ended.recv() => {
                    ended.ok_or(Error::Cancelled)?;
                    self.sources_open -= 1;
                    if self.sources_open > 0 {
                        continue;
                    }
                    true
                }
            };
            let request = BarrierRequest { checkpoint_id: self.next, is_last };
            for source in &self.requests {
                source.send(request).await.map_err(|_| Error::Cancelled)?;
            }
            let done = self.done.recv().await.ok_or(Error::Cancelled)?;
            assert_eq!(done, self.next, "one checkpoint is under way at a time");
            if is_last {
                return Ok(());
            }
            self.next = self.next.next();
        }
    }
}
