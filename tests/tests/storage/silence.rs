//! A server that falls silent: attempts are cut, the whole is bounded, and what was asked for is done when it is back.

use std::time::{Duration, Instant};

use frazil_storage::RetryPolicy;
use frazil_tests::stores::StoreServer;

use super::place::store;

const POLICY: RetryPolicy = RetryPolicy {
    attempt_ms: 400,
    bytes_per_s_min: 1 << 20,
    total_ms: 5_000,
    attempts_max: 100,
    backoff_ms: 20,
    backoff_ms_max: 100,
};

#[tokio::test]
async fn a_server_that_falls_silent_is_waited_for_and_not_for_ever() {
    let server = match StoreServer::start_s3() {
        Ok(server) => server,
        Err(skip) => return skip.report(),
    };
    let store = store(server.properties().iter().cloned()).with_retries(POLICY);
    let at = |name: &str| format!("{}/{name}", server.root());
    store.put_new(&at("a"), "ice".into()).await.unwrap();

    server.freeze();
    let begun = Instant::now();
    let error = store.read(&at("a")).await.unwrap_err();
    let took = begun.elapsed();
    assert!(!error.is_not_found(), "{error}");
    assert!(took >= Duration::from_millis(3_500) && took < Duration::from_secs(15), "given up after {took:?}: {error}");
    assert!(store.counters().snapshot().timeouts >= 3, "attempts are cut: {:?}", store.counters().snapshot());

    // The server is back within the time of the next request; of several puts of it that it then finds, one counts.
    let put = tokio::spawn({
        let (store, location) = (store.clone(), at("b"));
        async move { store.put_new(&location, "water".into()).await }
    });
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    server.thaw();
    put.await.unwrap().expect("the put is its own, however often it was sent");
    assert_eq!(store.read(&at("b")).await.unwrap(), "water");
    assert_eq!(store.read(&at("a")).await.unwrap(), "ice");
}
