//! The operators behind the committer: coordinator, operators and committer of the compaction, and the expiry.
//!
//! Rows don't wait for them, unless they fall behind: a commit that would come more than [`Config::commits_ahead_max`]
//! commits after the last one that was looked at, or while a compaction of such a one is under way, waits for that
//! ([`Pace`]). So the number of small files has its bound however fast commits are. The coordinator looks at the newest table
//! only.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use frazil_catalog::CommitQueue;
use frazil_compactor::{
    BytesWritten, Config, Coordinator, FileGroup, RewriteResult, commit_rewrite, follow, run_expire, run_group,
    run_recover,
};
use frazil_storage::{Env, Step};
use frazil_table::{Retention, Table, io};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::committer_task::data_files;
use crate::Result;
use crate::progress::{Counters, Event, Progress};

/// How long the end of a job waits for rewrites that are under way before it gives them up.
const FINISH_WAIT: Duration = Duration::from_secs(60);

/// How a pipeline keeps its table in shape.
#[derive(Clone, Debug)]
pub(crate) struct CompactionSpec {
    pub(crate) config: Config,
    /// Compact operators.
    pub(crate) parallelism: usize,
    pub(crate) retention: Retention,
    /// Between two looks for old snapshots.
    pub(crate) expire_interval: Duration,
}

/// Keeps the commits to a table from running away from its compaction.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Commits that were made.
    made: Arc<AtomicU64>,
    /// Those of them after which no compaction was due, or the one that was has ended.
    settled: watch::Receiver<u64>,
    ahead_max: u64,
}

impl Pace {
    /// Waits until the next commit may be made. A compaction that has ended for good keeps nobody waiting.
    pub(super) async fn wait(&mut self) {
        let (made, ahead_max) = (self.made.load(Relaxed), self.ahead_max);
        self.settled.wait_for(|settled| made.saturating_sub(*settled) <= ahead_max).await.ok();
    }

    /// Counts a commit, before the compaction is told of it.
    pub(super) fn note_commit(&self) {
        self.made.fetch_add(1, Relaxed);
    }
}

/// The tasks of one pipeline's compaction.
pub(super) struct CompactionTasks {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    expire_stop: CancellationToken,
}

impl CompactionTasks {
    /// Waits until the rewrites under way are committed, or gives them up after a while. Either way the table is whole.
    pub(super) async fn finish(mut self) {
        self.expire_stop.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FINISH_WAIT, all).await.is_err() {
            self.stop.cancel();
            while self.tasks.join_next().await.is_some() {}
        }
    }
}

#[derive(Clone)]
struct Shared {
    spec: CompactionSpec,
    queue: Arc<CommitQueue>,
    counters: Arc<Counters>,
    progress: Progress,
    stop: CancellationToken,
}

struct Work {
    group: FileGroup,
    table: Table,
    planned: Instant,
}

type Rewritten = (Work, frazil_compactor::Result<RewriteResult>);

/// Starts the tasks. They end when `new_tables` does and what is under way is done.
pub(super) fn spawn(
    spec: CompactionSpec,
    queue: Arc<CommitQueue>,
    new_tables: watch::Receiver<Option<Table>>,
    counters: Arc<Counters>,
    progress: Progress,
    stop: CancellationToken,
) -> (CompactionTasks, Pace) {
    let mut tasks = JoinSet::new();
    let expire_stop = stop.child_token();
    let shared = Shared { spec, queue, counters, progress, stop: stop.clone() };
    let (in_flight_sender, in_flight) = watch::channel(Vec::new());
    let (settled_sender, settled) = watch::channel(0);
    let ahead_max = shared.spec.config.commits_ahead_max() as u64;
    let pace = Pace { made: Arc::default(), settled, ahead_max };
    if shared.spec.config.enabled {
        let (work_sender, work) = mpsc::channel(shared.spec.parallelism);
        let (rewritten_sender, rewritten) = mpsc::channel(shared.spec.parallelism);
        let (ended_sender, ended) = mpsc::channel(shared.spec.parallelism);
        let work = Arc::new(Mutex::new(work));
        for _ in 0..shared.spec.parallelism {
            tasks.spawn(operate(shared.clone(), Arc::clone(&work), rewritten_sender.clone()));
        }
        drop(rewritten_sender);
        tasks.spawn(commit(shared.clone(), rewritten, ended_sender));
        let task = CoordinatorTask {
            shared: shared.clone(),
            new_tables,
            work: work_sender,
            ended,
            in_flight_sender,
            made: Arc::clone(&pace.made),
            settled_sender,
        };
        tasks.spawn(task.run());
    }
    tasks.spawn(expire(shared, in_flight, expire_stop.clone()));
    (CompactionTasks { tasks, stop, expire_stop }, pace)
}

struct CoordinatorTask {
    shared: Shared,
    new_tables: watch::Receiver<Option<Table>>,
    work: mpsc::Sender<Work>,
    ended: mpsc::Receiver<FileGroup>,
    /// The snapshots that rewrites under way read.
    in_flight_sender: watch::Sender<Vec<i64>>,
    made: Arc<AtomicU64>,
    settled_sender: watch::Sender<u64>,
}

impl CoordinatorTask {
    async fn run(mut self) {
        if let Err(error) = self.coordinate().await {
            let table = self.shared.queue.ident().to_string();
            self.shared.progress.tell(Event::CompactionFailed { table, reason: error.to_string() });
        }
    }

    async fn coordinate(&mut self) -> Result<()> {
        let queue = Arc::clone(&self.shared.queue);
        run_recover(&queue).await?;
        let table = queue.load().await?;
        let state = io::load_state(&queue.env().store, queue.cache(), &table, io::Entries::All).await?;
        let mut coordinator = Coordinator::new(&state, &self.shared.spec.config)?;
        let mut pending: VecDeque<Work> = VecDeque::new();
        let mut commits_end = false;
        let mut looked_at = 0;
        loop {
            self.in_flight_sender.send_replace(coordinator.base_snapshot_ids());
            if coordinator.in_flight().is_empty() {
                self.settled_sender.send_replace(looked_at);
            }
            if commits_end && coordinator.in_flight().is_empty() {
                return Ok(());
            }
            tokio::select! {
                () = self.shared.stop.cancelled() => return Ok(()),
                changed = self.new_tables.changed(), if !commits_end => {
                    commits_end = changed.is_err();
                    // Counted before the table is taken: what is counted later is looked at later.
                    looked_at = self.made.load(Relaxed);
                    let table = self.new_tables.borrow_and_update().clone();
                    if let Some(table) = table.filter(|_| !commits_end) {
                        pending.extend(self.plan(&mut coordinator, table).await?);
                    }
                }
                Some(group) = self.ended.recv() => coordinator.on_end(&group),
                permit = self.work.reserve(), if !pending.is_empty() => {
                    let (Ok(permit), Some(work)) = (permit, pending.pop_front()) else { return Ok(()) };
                    permit.send(work);
                }
            }
        }
    }

    async fn plan(&self, coordinator: &mut Coordinator, table: Table) -> Result<Vec<Work>> {
        let queue = &self.shared.queue;
        let groups = follow(coordinator, queue, &table, &self.shared.spec.config).await?;
        if !groups.is_empty() {
            queue.env().steps.reach(Step::RewritePlanned)?;
        }
        let planned = Instant::now();
        Ok(groups.into_iter().map(|group| Work { group, table: table.clone(), planned }).collect())
    }
}

/// One compact operator.
async fn operate(shared: Shared, work: Arc<Mutex<mpsc::Receiver<Work>>>, done: mpsc::Sender<Rewritten>) {
    loop {
        let next = work.lock().await.recv().await;
        let Some(work) = next else { return };
        let (env, config) = (shared.queue.env(), &shared.spec.config);
        let result = rewrite(&work, env, config, &shared.stop).await;
        if done.send((work, result)).await.is_err() {
            return;
        }
    }
}

/// Boxed, so that the compiler need not look through the whole rewrite to see that it may move between threads.
fn rewrite<'a>(
    work: &'a Work,
    env: &'a Env,
    config: &'a Config,
    stop: &'a CancellationToken,
) -> BoxFuture<'a, frazil_compactor::Result<RewriteResult>> {
    run_group(&work.group, env, &work.table, config, stop).boxed()
}

/// The compact committer.
async fn commit(shared: Shared, mut rewritten: mpsc::Receiver<Rewritten>, ended: mpsc::Sender<FileGroup>) {
    while let Some(first) = rewritten.recv().await {
        // What else is done by now goes into the same swap.
        let mut done = vec![first];
        while let Ok(next) = rewritten.try_recv() {
            done.push(next);
        }
        let groups: Vec<_> = done.iter().map(|(work, _)| work.group.clone()).collect();
        if let Err(error) = commit_all(&shared, done).await {
            shared.tell_failure(error.to_string());
        }
        for group in groups {
            if ended.send(group).await.is_err() {
                return;
            }
        }
    }
}

async fn commit_all(shared: &Shared, done: Vec<Rewritten>) -> Result<()> {
    let planned = done.iter().map(|(work, _)| work.planned).min();
    let mut results = Vec::with_capacity(done.len());
    for (_, result) in done {
        match result {
            Ok(result) => results.push(result),
            Err(error) => shared.tell_failure(error.to_string()),
        }
    }
    let end = commit_rewrite(&shared.queue, results).await?;
    for (_, conflict) in &end.dropped {
        shared.tell_failure(conflict.to_string());
    }
    let (Some(now), Some(snapshot_id)) = (&end.table, end.snapshot_ids.last()) else { return Ok(()) };
    shared.counters.compactions.fetch_add(1, Relaxed);
    let committed = &end.committed;
    let elapsed = planned.map(|planned| planned.elapsed()).unwrap_or_default();
    shared.progress.tell(Event::Compacted {
        table: shared.queue.ident().to_string(),
        snapshot_id: *snapshot_id,
        files_before: committed.iter().map(|result| result.group.paths().count() as u64).sum(),
        files_after: committed.iter().map(|result| result.outputs.len() as u64).sum(),
        bytes_before: committed.iter().map(|result| result.group.bytes_in()).sum(),
        bytes_after: committed.iter().map(RewriteResult::bytes_out).sum(),
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        data_files: data_files(now),
        write_amplification: BytesWritten::of(now).amplification(),
    });
    Ok(())
}

impl Shared {
    fn tell_failure(&self, reason: String) {
        self.progress.tell(Event::CompactionFailed { table: self.queue.ident().to_string(), reason });
    }
}

/// Lets old snapshots go, so that a commit each second does not grow the metadata for ever.
async fn expire(shared: Shared, in_flight: watch::Receiver<Vec<i64>>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(shared.spec.expire_interval) => {}
        }
        let protected = in_flight.borrow().clone();
        match run_expire(&shared.queue, shared.spec.retention, &protected, false).await {
            Ok(report) if report.snapshot_ids.is_empty() => {}
            Ok(report) => shared.progress.tell(Event::Expired {
                table: shared.queue.ident().to_string(),
                snapshots: report.snapshot_ids.len() as u64,
                files: (report.content_files + report.metadata_files) as u64,
            }),
            Err(error) => tracing::warn!(table = %shared.queue.ident(), %error, "expiry failed; it is tried again"),
        }
    }
}
