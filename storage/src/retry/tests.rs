use std::cell::Cell;

use super::*;

const POLICY: RetryPolicy = RetryPolicy {
    attempt_ms: 100,
    bytes_per_s_min: 10_000,
    total_ms: 1_000,
    attempts_max: 5,
    backoff_ms: 10,
    backoff_ms_max: 40,
};

fn retrier() -> Retrier {
    Retrier { policy: POLICY, counters: Arc::default() }
}

#[tokio::test]
async fn an_attempt_that_hangs_is_cut_and_made_again() {
    let retrier = retrier();
    let attempts = Cell::new(0);
    let begun = Instant::now();
    let done = retrier
        .run(Request::Read, "memory://w/a", 0, |tried| {
            attempts.set(attempts.get() + 1);
            let hangs = attempts.get() < 3;
            assert_eq!(tried.uncertain, attempts.get() > 1);
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                Ok(7)
            }
        })
        .await;
    assert_eq!(done.unwrap(), 7);
    assert!(begun.elapsed() >= Duration::from_millis(200), "two attempts to their limit: {:?}", begun.elapsed());
    let totals = retrier.counters.snapshot();
    assert_eq!((totals.reads, totals.timeouts, totals.retries), (3, 2, 2));
}

#[tokio::test]
async fn the_number_and_the_time_of_attempts_are_bounded() {
    let retrier = retrier();
    let fail = |_| async { Err::<(), _>(Failure::transient("503")) };
    let error = retrier.run(Request::Write, "memory://w/a", 0, fail).await.unwrap_err().to_string();
    assert!(error.contains("5 attempts") && error.contains("503"), "{error}");

    let begun = Instant::now();
    let slow = |_| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err::<(), _>(Failure::Transient { reason: "slow down".into(), wait_ms: Some(500) })
    };
    let error = retrier.run(Request::Write, "memory://w/a", 0, slow).await.unwrap_err().to_string();
    assert!(error.contains("2 attempts"), "the store's wish is obeyed within the budget: {error}");
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_cannot_pass_is_tried_once() {
    let retrier = retrier();
    for failure in [Failure::NotFound, Failure::Exists, Failure::refused("400"), Failure::Denied("403".into())] {
        let failure = Cell::new(Some(failure));
        let once = |_| {
            let failure = failure.take().expect("a second attempt");
            async { Err::<(), _>(failure) }
        };
        retrier.run(Request::Delete, "memory://w/a", 0, once).await.unwrap_err();
    }
    assert_eq!(retrier.counters.snapshot().retries, 0);
}

#[tokio::test]
async fn large_transfers_have_more_time() {
    let retrier = retrier();
    let slow = |_| async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        Ok(())
    };
    retrier.run(Request::Write, "memory://w/a", 10_000, slow).await.unwrap();
    assert_eq!(retrier.counters.snapshot().timeouts, 0);
}

#[test]
fn waits_double_up_to_their_bound() {
    let ceilings: Vec<u64> = (1..=5).map(|failed| POLICY.backoff_ceiling_ms(failed)).collect();
    assert_eq!(ceilings, [10, 20, 40, 40, 40]);
    assert_eq!(POLICY.backoff_ceiling_ms(u32::MAX), 40);
}
