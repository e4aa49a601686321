//! Running a plan on several cores. The one file of this crate that spawns.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::{Error, ReadContext, ReadSpec, Result, ScanPlan, ScanTask, read_file};

/// Finished items that wait for the consumer, for each worker: one to take while the next is made.
const WAITING_PER_WORKER: usize = 2;

/// The batches of a scan, in no order. Dropping it stops the scan.
///
/// It ends after the first error; an error of the runtime is an error, never an early end.
pub type ScanStream = SideBySide<RecordBatch>;

/// What several workers make, in no order. Dropping it stops them.
///
/// It ends after the first error; an error of the runtime is an error, never an early end.
#[derive(Debug)]
pub struct SideBySide<T> {
    items: mpsc::Receiver<Result<T>>,
    workers: JoinSet<()>,
    failed: bool,
}

/// Reads all tasks of a plan with `parallelism` workers on the current runtime.
///
/// Memory: for each worker the wanted chunks of one row group and three batches.
pub fn scan(context: &ReadContext, plan: &ScanPlan, parallelism: usize) -> ScanStream {
    let (context, spec) = (context.clone(), plan.spec.clone());
    let read = move |task: ScanTask| read_file(&context, &spec, &task).map_ok(|batch| batch.batch);
    side_by_side(plan.tasks.clone(), parallelism, read)
}

/// Reads every job with as many workers as there may be, one job after the other on each.
pub(crate) fn side_by_side<J, T, S>(
    jobs: impl IntoIterator<Item = J>,
    parallelism: usize,
    read: impl Fn(J) -> S + Clone + Send + 'static,
) -> SideBySide<T>
where
    J: Send + 'static,
    T: Send + 'static,
    S: Stream<Item = Result<T>> + Send,
{
    let queue: VecDeque<J> = jobs.into_iter().collect();
    let workers_max = parallelism.clamp(1, queue.len().max(1));
    let (sender, items) = mpsc::channel(workers_max * WAITING_PER_WORKER);
    let queue = Arc::new(Mutex::new(queue));
    let mut workers = JoinSet::new();
    for _ in 0..workers_max {
        let (queue, sender, read) = (queue.clone(), sender.clone(), read.clone());
        workers.spawn(async move {
            loop {
                let next = queue.lock().expect("no code panics while it holds this lock").pop_front();
                let Some(job) = next else { return };
                let mut made = Box::pin(read(job));
                while let Some(item) = made.next().await {
                    let failed = item.is_err();
                    let sent = sender.send(item).await;
                    if failed || sent.is_err() {
                        // What the others still have to do is of no use to anybody.
                        queue.lock().expect("no code panics while it holds this lock").clear();
                        return;
                    }
                }
            }
        });
    }
    SideBySide { items, workers, failed: false }
}

/// Reads tasks one after the other, in order: one partition of a scan.
pub fn read_tasks(
    context: &ReadContext,
    spec: &ReadSpec,
    tasks: Vec<ScanTask>,
) -> impl Stream<Item = Result<RecordBatch>> + Send + use<> {
    let (context, spec) = (context.clone(), spec.clone());
    futures::stream::iter(tasks)
        .map(move |task| read_file(&context, &spec, &task))
        .flatten()
        .map_ok(|batch| batch.batch)
}

impl<T> Stream for SideBySide<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.failed {
            return Poll::Ready(None);
        }
        if let Some(item) = ready!(self.items.poll_recv(cx)) {
            self.failed = item.is_err();
            return Poll::Ready(Some(item));
        }
        // All workers are gone. Did each of them finish?
        while let Some(ended) = ready!(self.workers.poll_join_next(cx)) {
            if ended.is_err() {
                self.failed = true;
                return Poll::Ready(Some(Err(Error::Cancelled)));
            }
        }
        Poll::Ready(None)
    }
}
