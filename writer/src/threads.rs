//! The threads that encode: a bounded number for all files of a writer, and always the same ones. Work that wandered
//! over a runtime's many threads would leave freed memory behind in the allocator's arena of each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Runs work that computes. Clones share the threads; they start with the first work and end with the last clone.
#[derive(Clone, Debug)]
pub(crate) struct Threads {
    count: usize,
    /// As many jobs wait at most as files are worked on at the same time, times the threads.
    jobs: Arc<OnceLock<Sender<Job>>>,
}

impl Threads {
    pub fn new(count: usize) -> Self {
        Self { count, jobs: Arc::default() }
    }

    /// Runs `work`, which may block. A panic comes out as its message.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        let (sender, result) = oneshot::channel();
        let job = move || {
            // Nobody waits any more if the caller was cancelled.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
        };
        let jobs = self.jobs.get_or_init(|| start(self.count));
        jobs.send(Box::new(job)).map_err(|_| "no thread could be started".to_owned())?;
        match result.await {
            Ok(ended) => ended.map_err(|panic| panic_message(panic.as_ref())),
            Err(_) => Err("no thread could be started".to_owned()),
        }
    }

    /// Does `work` for each item, on as many threads as there are; the results in no order. After an error the rest is
    /// left undone.
    pub async fn for_each<T, U, E>(
        &self,
        items: Vec<T>,
        work: impl Fn(T) -> Result<U, E> + Send + Sync + 'static,
    ) -> Result<Result<Vec<U>, E>, String>
    where
        T: Send + 'static,
        U: Send + 'static,
        E: Send + 'static,
    {
        let threads = self.count.min(items.len());
        let shared = Arc::new((Mutex::new(items), work));
        let workers = (0..threads).map(|_| {
            let shared = Arc::clone(&shared);
            self.run(move || {
                let mut done = Vec::new();
                loop {
                    let item = shared.0.lock().map_or(None, |mut items| items.pop());
                    let Some(item) = item else { return Ok(done) };
                    match (shared.1)(item) {
                        Ok(result) => done.push(result),
                        Err(error) => {
                            shared.0.lock().map(|mut items| items.clear()).unwrap_or_default();
                            return Err(error);
                        }
                    }
                }
            })
        });
        let mut all = Vec::new();
        for ended in futures::future::join_all(workers).await {
            match ended? {
                Ok(done) => all.extend(done),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(all))
    }
}

/// Starts threads that take jobs until all senders are gone. Those that the system refuses are done without.
fn start(count: usize) -> Sender<Job> {
    let (sender, jobs) = channel();
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..count {
        let jobs = Arc::clone(&jobs);
        let thread = std::thread::Builder::new().name("frazil-encode".to_owned());
        if let Err(error) = thread.spawn(move || work_off(&jobs)) {
            tracing::warn!(%error, "a thread for encoding could not be started");
        }
    }
    sender
}

fn work_off(jobs: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting for a job, not while doing it; a job's panics are its own.
        let Ok(job) = jobs.lock().expect("no job runs under this lock").recv() else { return };
        job();
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_item_is_done_once() {
        let mut done = Threads::new(3).for_each((0..100).collect(), Ok::<i32, ()>).await.unwrap().unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn an_error_and_a_panic_end_it() {
        let threads = Threads::new(2);
        let fails = threads.for_each(vec![1, 2, 3], |item| if item == 2 { Err("two") } else { Ok(item) });
        assert_eq!(fails.await, Ok(Err("two")));
        let panics =
            threads.for_each(vec![1, 2, 3], |item| if item == 2 { panic!("at {item}") } else { Ok::<_, ()>(item) });
        assert_eq!(panics.await, Err("at 2".to_owned()));
    }
}
