//! A job at work: all its pipelines, with one coordinator and one committer.

use std::sync::Arc;
use std::time::Duration;

use frazil_compactor::lease;
use frazil_table::SnapshotProperties;
use frazil_writer::{Committer, Recovered, Sink, SourcePositions};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::committer_task::{CommittedPipeline, CommitterTask, dead_letter_sink};
use super::compaction::{self, CompactionTasks, Pace};
use super::coordinator::Coordinator;
use super::dead_letters::DeadLetterTable;
use super::gather::Gather;
use super::pipeline::{Connections, PipelineSpec, Spawned, spawn_pipeline};
use super::statistics_keeper::StatisticsKeeper;
use crate::progress::{Counters, Event, Progress};
use crate::{Error, Result};

/// Runs the pipelines of a job until all sources end or `stop` is asked for; in both cases the last checkpoint is in the
/// tables when it returns.
///
/// # Errors
/// The first error of any task. What was committed stays; a new run goes on from there.
pub(crate) async fn run_pipelines(
    specs: Vec<PipelineSpec>,
    checkpoint_interval: Duration,
    progress: Progress,
    stop: CancellationToken,
) -> Result<()> {
    if specs.is_empty() {
        return Ok(());
    }
    let (sinks, mut dead_letters) = sinks_of(&specs, checkpoint_interval).await?;
    let (committer, recovered) = Committer::recover(sinks).await?;
    let counters = begin(&specs, &recovered, &progress);

    let source_stop = CancellationToken::new();
    // However this ends, nothing goes on reading.
    let _stop_sources = source_stop.clone().drop_guard();
    let mut tasks = JoinSet::new();
    let sources = specs.iter().map(|spec| spec.source_parallelism).sum();
    let writers: Vec<usize> = specs.iter().map(|spec| spec.writer_parallelism).collect();
    let (share_sender, shares) = mpsc::channel(writers.iter().sum());
    let (done_sender, done) = mpsc::channel(1);
    let (ended_sender, ended) = mpsc::channel(sources);
    let connections = Connections { shares: share_sender, ended: ended_sender, source_stop: source_stop.clone() };
    let mut requests = Vec::with_capacity(sources);
    let mut committed_pipelines = Vec::with_capacity(specs.len());
    let compaction_stop = CancellationToken::new();
    let (committed, compactions) = spawn_compactions(&specs, &counters, &progress, &compaction_stop);
    let (kept, statistics) = keep_statistics(&specs, &progress);
    let recovered = recovered.into_iter().map(|recovered| match recovered.ledger {
        Some(ledger) => (ledger.positions, ledger.watermark_ms),
        None => (SourcePositions::new(), None),
    });
    let parts = specs.iter().zip(recovered).zip(counters).zip(committed);
    for (index, (((spec, (positions, watermark_ms)), counters), (committed, pace))) in parts.enumerate() {
        let spec = (index, spec);
        let Spawned { requests: of_sources, evolving, upserts } =
            spawn_pipeline(spec, (&positions, watermark_ms), &connections, &counters, &mut tasks).await?;
        requests.extend(of_sources);
        let dead_letters = dead_letters[index].take();
        let statistics = kept[index];
        let pipeline = CommittedPipeline {
            positions,
            watermark_ms,
            late_rows: 0,
            committed,
            pace,
            counters,
            evolving,
            upserts,
            dead_letters,
            statistics,
        };
        committed_pipelines.push(pipeline);
    }
    drop(connections);
    let coordinator =
        Coordinator { requests, done, ended, interval: checkpoint_interval, next: committer.last_checkpoint().next() };
    let task = CommitterTask {
        committer,
        pipelines: committed_pipelines,
        gather: Gather::new(writers),
        shares,
        done: done_sender,
        progress,
        statistics,
    };
    tasks.spawn(task.run());
    tasks.spawn(coordinator.run(stop));
    let result = join_all(tasks, CAUSE_WAIT).await;
    source_stop.cancel();
    if result.is_err() {
        compaction_stop.cancel();
    }
    for compaction in compactions {
        compaction.finish().await;
    }
    result
}

/// A dead-letter table, and its index among the sinks if it is there already.
type DeadLetters = Option<(Arc<DeadLetterTable>, Option<usize>)>;

/// The target of each pipeline, then the dead-letter tables that are there already.
async fn sinks_of(specs: &[PipelineSpec], checkpoint_interval: Duration) -> Result<(Vec<Sink>, Vec<DeadLetters>)> {
    let targets = specs.iter().map(|spec| Sink {
        id: spec.sink.clone(),
        queue: Arc::clone(&spec.queue),
        follows: None,
        summary: if spec.compaction.config.enabled { lease(checkpoint_interval) } else { SnapshotProperties::new() },
        definition: Some(spec.definition.clone()),
    });
    let mut sinks: Vec<Sink> = targets.collect();
    let mut dead_letters = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let Some(table) = &spec.dead_letters else {
            dead_letters.push(None);
            continue;
        };
        let exists = table.exists().await?;
        dead_letters.push(Some((Arc::clone(table), exists.then_some(sinks.len()))));
        if exists {
            let (id, queue) = (dead_letter_sink(&spec.sink), Arc::clone(&table.queue));
            let summary = SnapshotProperties::new();
            sinks.push(Sink { id, queue, follows: Some(index), summary, definition: None });
        }
    }
    Ok((sinks, dead_letters))
}

/// Tells where each pipeline goes on; its counters.
fn begin(specs: &[PipelineSpec], recovered: &[Recovered], progress: &Progress) -> Vec<Arc<Counters>> {
    let tell = |(spec, recovered): (&PipelineSpec, &Recovered)| {
        let table = spec.queue.ident().to_string();
        progress.tell(Event::Started {
            table: table.clone(),
            from_checkpoint: recovered.ledger.as_ref().map(|ledger| ledger.checkpoint_id.0),
            rolled_back_from: recovered.rolled_back_from.map(|checkpoint| checkpoint.0),
        });
        progress.add_pipeline(&table, Arc::clone(&spec.source))
    };
    specs.iter().zip(recovered).map(tell).collect()
}

/// For each pipeline the index of what keeps its table's statistics, and those that do: one for each table.
fn keep_statistics(specs: &[PipelineSpec], progress: &Progress) -> (Vec<Option<usize>>, Vec<StatisticsKeeper>) {
    let (mut kept, mut keepers) = (Vec::with_capacity(specs.len()), Vec::new());
    for (index, spec) in specs.iter().enumerate() {
        let same = specs[..index].iter().position(|before| Arc::ptr_eq(&before.queue, &spec.queue));
        kept.push(match (same, spec.statistics) {
            (Some(same), _) => kept[same],
            (None, Some(config)) => {
                keepers.push(StatisticsKeeper::new(config, Arc::clone(&spec.queue), progress.clone()));
                Some(keepers.len() - 1)
            }
            (None, None) => None,
        });
    }
    (kept, keepers)
}

/// How a committer and the compaction behind it are joined: where that is told of commits, and how far they may be ahead.
type Behind = (watch::Sender<Option<frazil_table::Table>>, Pace);

/// Starts one compaction for each table; for each pipeline where it is told of commits.
fn spawn_compactions(
    specs: &[PipelineSpec],
    counters: &[Arc<Counters>],
    progress: &Progress,
    stop: &CancellationToken,
) -> (Vec<Behind>, Vec<CompactionTasks>) {
    let mut committed: Vec<Behind> = Vec::with_capacity(specs.len());
    let mut compactions = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        if let Some(same) = specs[..index].iter().position(|before| Arc::ptr_eq(&before.queue, &spec.queue)) {
            committed.push(committed[same].clone());
            continue;
        }
        let (sender, new_tables) = watch::channel(None);
        let (queue, counters) = (Arc::clone(&spec.queue), Arc::clone(&counters[index]));
        let (compaction, pace) =
            compaction::spawn(spec.compaction.clone(), queue, new_tables, counters, progress.clone(), stop.clone());
        committed.push((sender, pace));
        compactions.push(compaction);
    }
    (committed, compactions)
}

/// How long the error that broke a queue may come after those that follow from the broken queue.
const CAUSE_WAIT: Duration = Duration::from_secs(5);

/// Waits for all tasks. A task that fails takes the others with it, of all pipelines; the error that began it is the one
/// returned, not the broken queues that follow from it.
async fn join_all(mut tasks: JoinSet<Result<()>>, cause_wait: Duration) -> Result<()> {
    let mut broken = None;
    loop {
        let joined = match broken {
            None => tasks.join_next().await,
            Some(since) => tokio::time::timeout_at(since + cause_wait, tasks.join_next()).await.unwrap_or_default(),
        };
        let error = match joined {
            None if broken.is_none() => return Ok(()),
            None => Error::Cancelled,
            Some(Ok(Ok(()))) => continue,
            Some(Ok(Err(Error::Cancelled))) => {
                broken.get_or_insert_with(Instant::now);
                continue;
            }
            Some(Ok(Err(error))) => error,
            Some(Err(join_error)) => Error::TaskPanicked(join_error.to_string()),
        };
        tasks.shutdown().await;
        return Err(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_cause_is_told_and_not_what_follows_from_it_and_nobody_is_waited_for() {
        let mut tasks = JoinSet::new();
        tasks.spawn(async { Err(Error::Cancelled) });
        tasks.spawn(std::future::pending());
        tasks.spawn(async {
            tokio::task::yield_now().await;
            Err(Error::TaskPanicked("the cause".to_owned()))
        });
        let error = join_all(tasks, CAUSE_WAIT).await.unwrap_err();
        assert!(error.to_string().contains("the cause"), "{error}");
        let mut tasks = JoinSet::new();
        tasks.spawn(async { Err(Error::Cancelled) });
        tasks.spawn(std::future::pending());
        assert!(matches!(join_all(tasks, Duration::from_millis(10)).await, Err(Error::Cancelled)));
        let mut tasks = JoinSet::new();
        tasks.spawn(async { Ok(()) });
        join_all(tasks, CAUSE_WAIT).await.unwrap();
    }
}
