//! Attempts: a slow one is cut, a failed one made again, and all of them together are bounded.
//!
//! The limit of time lies inside the retries: an attempt that hangs costs its own limit, not the whole budget. Waits
//! grow twofold with full jitter (Brooker, "Exponential Backoff and Jitter", 2015), so that many clients that failed
//! together do not come back together; a store that says how long to wait is obeyed within the budget.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use crate::backend::{Failure, Outcome};
use crate::counters::Request;
use crate::{Counters, Error, Result};

/// How long and how often a request is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// One attempt may take this long, beside the time that its bytes take.
    pub attempt_ms: u64,
    /// A transfer slower than this is cut.
    pub bytes_per_s_min: u64,
    /// All attempts of a request and the waits between them, beside the time that the bytes of one take.
    pub total_ms: u64,
    /// Attempts of a request.
    pub attempts_max: u32,
    /// Longest wait before the second attempt; it doubles with each.
    pub backoff_ms: u64,
    /// Longest wait at all.
    pub backoff_ms_max: u64,
}

impl Default for RetryPolicy {
    /// 10 s for an attempt and 256 KiB/s for its bytes; 2 min and 10 attempts in all; waits of up to 100 ms, doubling up
    /// to 10 s. S3's own clients call a request slow after some seconds; a throttled bucket recovers in about a minute.
    fn default() -> Self {
        Self {
            attempt_ms: 10_000,
            bytes_per_s_min: 256 << 10,
            total_ms: 120_000,
            attempts_max: 10,
            backoff_ms: 100,
            backoff_ms_max: 10_000,
        }
    }
}

impl RetryPolicy {
    /// What `bytes` may take at the slowest bearable rate.
    pub(crate) fn transfer_time(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1_000) / self.bytes_per_s_min.max(1))
    }

    pub(crate) fn attempt_time(&self, bytes: u64) -> Duration {
        Duration::from_millis(self.attempt_ms) + self.transfer_time(bytes)
    }

    /// For what cannot be cut: work on a local disk goes on even if nobody waits for it.
    pub(crate) fn without_limits(self) -> Self {
        const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
        Self { attempt_ms: DAY_MS, total_ms: 2 * DAY_MS, ..self }
    }

    /// The longest wait after the `failed`-th attempt.
    fn backoff_ceiling_ms(&self, failed: u32) -> u64 {
        let doublings = failed.saturating_sub(1).min(32);
        self.backoff_ms.saturating_mul(1 << doublings).min(self.backoff_ms_max)
    }
}

/// What an attempt is told of those before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tried {
    /// An earlier attempt ended without an answer: what it was to do may be done.
    pub(crate) uncertain: bool,
}

/// Makes attempts and counts them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Retrier {
    pub(crate) policy: RetryPolicy,
    pub(crate) counters: Arc<Counters>,
}

impl Retrier {
    /// Tries until it works, until it can't, or until the budget is used up. `bytes` is what one attempt moves.
    pub(crate) async fn run<T, F>(
        &self,
        request: Request,
        location: &str,
        bytes: u64,
        mut attempt: impl FnMut(Tried) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Outcome<T>>,
    {
        let bytes = AtomicU64::new(bytes);
        let limited = |tried| self.limit(bytes.load(Relaxed), attempt(tried));
        self.run_limited(request, location, &bytes, limited).await
    }

    /// As [`Retrier::run`] for attempts that see to their limits by themselves, and learn on the way how many bytes they
    /// move.
    pub(crate) async fn run_limited<T, F>(
        &self,
        request: Request,
        location: &str,
        bytes: &AtomicU64,
        mut attempt: impl FnMut(Tried) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Outcome<T>>,
    {
        let policy = &self.policy;
        let begun = Instant::now();
        let mut tried = Tried::default();
        let mut failed = 0;
        loop {
            self.counters.count(request);
            let (reason, wait_ms) = match attempt(tried).await {
                Ok(value) => return Ok(value),
                Err(Failure::Transient { reason, wait_ms }) => (reason, wait_ms),
                Err(failure) => return Err(final_error(request, location, failure)),
            };
            failed += 1;
            tried.uncertain = true;
            let wait = Duration::from_millis(match wait_ms {
                Some(asked) => asked,
                None => rand::rng().random_range(0..=policy.backoff_ceiling_ms(failed)),
            });
            let budget = Duration::from_millis(policy.total_ms) + policy.transfer_time(bytes.load(Relaxed));
            // An attempt that could not come to its end is not begun.
            let latest_start = budget.saturating_sub(policy.attempt_time(bytes.load(Relaxed)));
            if failed >= policy.attempts_max || begun.elapsed() + wait > latest_start {
                let spent = begun.elapsed().as_secs_f64();
                let reason = format!("{reason} (gave up after {failed} attempts in {spent:.1} s)");
                return Err(Error::io(request.verb(), location, reason));
            }
            self.counters.retried();
            tracing::debug!(location, verb = request.verb(), failed, %reason, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Cuts an attempt that takes longer than `bytes` may take.
    pub(crate) async fn limit<T>(&self, bytes: u64, attempt: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        let limit = self.policy.attempt_time(bytes);
        match tokio::time::timeout(limit, attempt).await {
            Ok(ended) => ended,
            Err(_elapsed) => {
                self.counters.timed_out();
                Err(Failure::transient(format!("no answer in {:.1} s", limit.as_secs_f64())))
            }
        }
    }
}

/// What the caller gets of a failure that trying again does not help.
pub(crate) fn final_error(request: Request, location: &str, failure: Failure) -> Error {
    let location = location.to_owned();
    match failure {
        Failure::NotFound => Error::NotFound { location },
        Failure::Exists => Error::AlreadyExists { location },
        Failure::Denied(source) => Error::Denied { operation: request.verb(), location, source },
        Failure::Transient { reason, .. } | Failure::Refused(reason) => {
            Error::Io { operation: request.verb(), location, source: reason }
        }
    }
}

#[cfg(test)]
mod tests;
