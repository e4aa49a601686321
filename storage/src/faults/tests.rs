use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};

use super::*;
use crate::{Error, RetryPolicy, Store};

/// Patient in attempts, quick in time.
const POLICY: RetryPolicy = RetryPolicy {
    attempt_ms: 60,
    bytes_per_s_min: 64 << 20,
    total_ms: 20_000,
    attempts_max: 40,
    backoff_ms: 1,
    backoff_ms_max: 2,
};

fn rough(seed: u64) -> (Store, Arc<Faults>) {
    let faults = Faults::new(seed, FaultRates::ROUGH);
    (Store::new().with_retries(POLICY).with_faults(Arc::clone(&faults)), faults)
}

/// Two writers race for each name; one is told that it won, and its content is there.
#[tokio::test]
async fn of_two_creators_one_is_told_that_it_won_whatever_fails() {
    let mut injected = 0;
    for seed in 0..12 {
        let (store, faults) = rough(seed);
        let names: Vec<String> = (0..20).map(|i| format!("memory://w/{i}")).collect();
        let racers = &store;
        let races = names.iter().map(|name| async move {
            let put = |who: &'static str| racers.put_new(name, who.into());
            let ends = futures::join!(put("one"), put("two"));
            let winners: Vec<&str> = match ends {
                (Ok(()), Err(Error::AlreadyExists { .. })) => vec!["one"],
                (Err(Error::AlreadyExists { .. }), Ok(())) => vec!["two"],
                ends => panic!("seed {seed}: {ends:?}"),
            };
            (name.clone(), winners[0])
        });
        let won: BTreeMap<String, &str> = futures::stream::iter(races).buffer_unordered(8).collect().await;
        for (name, who) in &won {
            assert_eq!(store.read(name).await.unwrap(), *who, "seed {seed}, {name}");
        }
        let listed: Vec<_> = store.list("memory://w").await.unwrap().try_collect().await.unwrap();
        assert_eq!(listed.len(), names.len(), "seed {seed}");
        assert!(store.delete_many(&names).await.is_empty(), "seed {seed}");
        let left: Vec<_> = store.without_faults().list("memory://w").await.unwrap().collect().await;
        assert!(left.is_empty(), "seed {seed}: {left:?}");
        injected += faults.injected();
    }
    assert!(injected > 100, "{injected} faults are no test");
}

#[tokio::test]
async fn files_in_parts_come_out_whole_or_not_at_all() {
    let content: Bytes = (0..18_u32 << 20).map(|i| (i >> 8) as u8).collect::<Vec<_>>().into();
    for seed in 0..4 {
        let (store, faults) = rough(seed);
        let mut writer = store.writer("memory://w/large").await.unwrap();
        for piece in content.chunks(3 << 20) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        writer.finish().await.unwrap();
        let calm = store.clone().without_faults();
        assert!(calm.read("memory://w/large").await.unwrap() == content, "seed {seed}");
        let mut dropped = store.writer("memory://w/dropped").await.unwrap();
        dropped.write(content.clone()).await.unwrap();
        drop(dropped);
        assert!(calm.head("memory://w/dropped").await.unwrap_err().is_not_found(), "seed {seed}");
        assert!(faults.injected() > 0, "seed {seed}");
    }
}

#[tokio::test]
async fn a_seed_strikes_the_same_requests_in_any_order() {
    let strikes = async |names: &[&str]| {
        let faults = Faults::new(7, FaultRates::ROUGH);
        let mut struck = BTreeMap::new();
        for name in names {
            struck.insert((*name).to_owned(), faults.next(Request::Write, name).await);
        }
        struck
    };
    let names: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    let forth: Vec<&str> = names.iter().map(String::as_str).collect();
    let back: Vec<&str> = forth.iter().rev().copied().collect();
    let struck = strikes(&forth).await;
    assert!(struck.values().any(|fault| *fault != Fault::None));
    let debug = |struck: &BTreeMap<String, Fault>| format!("{struck:?}");
    assert_eq!(debug(&struck), debug(&strikes(&back).await));
}

#[tokio::test]
async fn local_files_fail_too() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = rough(3);
    for i in 0..60 {
        let location = format!("file://{}/{i}", folder.path().display());
        store.put_new(&location, i.to_string().into()).await.unwrap();
        assert_eq!(store.read(&location).await.unwrap(), i.to_string());
    }
    assert!(faults.injected() > 5);
}
