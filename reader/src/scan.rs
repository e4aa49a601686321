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

/// Finished batches that wait for the consumer, for each worker: one to take while the next is made.
const WAITING_PER_WORKER: usize = 2;

/// The batches of a scan, in no order. Dropping it stops the scan.
///
/// It ends after the first error; an error of the runtime is an error, never an early end.
#[derive(Debug)]
pub struct ScanStream {
    batches: mpsc::Receiver<Result<RecordBatch>>,
    workers: JoinSet<()>,
    failed: bool,
}

/// Reads all tasks of a plan with `parallelism` workers on the current runtime.
///
/// Memory: for each worker the wanted chunks of one row group and three batches.
pub fn scan(context: &ReadContext, plan: &ScanPlan, parallelism: usize) -> ScanStream {
    let workers_max = parallelism.clamp(1, plan.tasks.len().max(1));
    let (sender, batches) = mpsc::channel(workers_max * WAITING_PER_WORKER);
    let queue: Arc<Mutex<VecDeque<ScanTask>>> = Arc::new(Mutex::new(plan.tasks.iter().cloned().collect()));
    let mut workers = JoinSet::new();
    for _ in 0..workers_max {
        let (context, spec) = (context.clone(), plan.spec.clone());
        let (queue, sender) = (queue.clone(), sender.clone());
        workers.spawn(async move {
            loop {
                let next = queue.lock().expect("no code panics while it holds this lock").pop_front();
                let Some(task) = next else { return };
                let mut batches = Box::pin(read_file(&context, &spec, &task));
                while let Some(batch) = batches.next().await {
                    let failed = batch.is_err();
                    let sent = sender.send(batch.map(|batch| batch.batch)).await;
                    if failed || sent.is_err() {
                        // What the others still have to do is of no use to anybody.
                        queue.lock().expect("no code panics while it holds this lock").clear();
                        return;
                    }
                }
            }
        });
    }
    ScanStream { batches, workers, failed: false }
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

impl Stream for ScanStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.failed {
            return Poll::Ready(None);
        }
        if let Some(batch) = ready!(self.batches.poll_recv(cx)) {
            self.failed = batch.is_err();
            return Poll::Ready(Some(batch));
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
