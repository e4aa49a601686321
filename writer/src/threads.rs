//! The threads that encode: a bounded number for all files of a writer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

/// Runs work that computes, so many at a time. Clones share the bound.
#[derive(Clone, Debug)]
pub(crate) struct Threads {
    permits: Arc<Semaphore>,
    count: usize,
}

impl Threads {
    pub fn new(count: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(count)), count }
    }

    /// Runs `work` on a thread that may block. A panic comes out as its message.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        let thread = tokio::task::spawn_blocking(move || catch_unwind(AssertUnwindSafe(work)));
        match thread.await {
            Ok(ended) => ended.map_err(|panic| panic_message(panic.as_ref())),
            Err(cancelled) => Err(cancelled.to_string()),
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

pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
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
