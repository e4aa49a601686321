//! What every store does with a file.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use frazil_storage::{Error, Store};
use futures::StreamExt;

use super::place::{Place, is_long};

/// Names that are easily mangled on their way into a URL, an XML answer or a folder.
const ODD_NAMES: [&str; 11] = [
    "b=x y/c%2F.parquet",
    "100%/plain",
    "%41",
    "plus+and&amp;/semi;colon",
    "ümläut/雪/🧊.parquet",
    "q?uery#frag",
    "quo'te\"s/<x>",
    "brackets[1]{2}|^`~",
    "comma,=@$!*()",
    "e\u{301}\u{a0}x",
    "trailing dot./.hidden",
];
/// What HDFS has no place for in a name.
const NOT_ON_HDFS: &str = "colon:s";

pub async fn what_is_put_is_read_back(place: &Place) {
    let (store, file) = (&place.store, place.at("d/a"));
    for missing in [store.read(&file).await.err(), store.head(&file).await.err()] {
        let missing = missing.expect("nothing is there yet");
        assert!(missing.is_not_found(), "{missing}");
    }
    assert_eq!(place.names(&place.root).await, [""; 0]);
    let begun_ms = now_ms();
    store.put_new(&file, "one".into()).await.unwrap();
    assert_eq!(store.read(&file).await.unwrap(), "one");
    store.put(&file, "three".into()).await.unwrap();
    assert_eq!(store.read(&file).await.unwrap(), "three", "a put replaces");
    let ranges = [1..3, 0..1, 2..2, 0..5];
    assert_eq!(store.read_ranges(&file, &ranges).await.unwrap(), ["hr", "t", "", "three"]);
    for outside in [3..9, 5..6, 7..9] {
        let error = store.read_range(&file, outside.clone()).await.unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{outside:?}: {error}");
    }
    let meta = store.head(&file).await.unwrap();
    assert_eq!((meta.location.as_str(), meta.size_bytes), (file.as_str(), 5));
    // Some stores tell seconds only.
    assert!((begun_ms - 2_000..=now_ms() + 2_000).contains(&meta.modified_ms), "{meta:?} at {begun_ms}");
    store.put_new(&place.at("empty"), Bytes::new()).await.unwrap();
    assert_eq!(store.read(&place.at("empty")).await.unwrap(), "");
    let mut writer = store.writer(&place.at("written")).await.unwrap();
    writer.write("pie".into()).await.unwrap();
    writer.write("ces".into()).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), 6);
    assert_eq!(store.read(&place.at("written")).await.unwrap(), "pieces");
    let totals = store.counters().snapshot();
    assert_eq!((totals.bytes_written, totals.writes >= 4, totals.timeouts), (3 + 5 + 6, true, 0), "{totals:?}");
    assert_eq!(totals.bytes_read, 3 + 5 + (2 + 1 + 5) + 6, "{totals:?}");
    assert_eq!(totals.retries, 0, "nothing that a store says for good is tried again: {totals:?}");
}

pub async fn a_name_that_must_be_new_is_taken_once(place: &Place) {
    let (store, file) = (&place.store, place.at("v1.metadata.json"));
    store.put_new(&file, "first".into()).await.unwrap();
    let error = store.put_new(&file, "second".into()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    let mut late = store.writer(&file).await.unwrap();
    late.write("late".into()).await.unwrap();
    let error = late.finish().await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(store.read(&file).await.unwrap(), "first");
    assert!(store.capabilities(&file).unwrap().exclusive_create, "all of these stores can promise it");
}

/// Two programs, each with several tasks, all at once, again and again.
pub async fn of_two_creators_exactly_one_wins(place: &Place) {
    let rounds = if is_long() { 100 } else { 10 };
    let programs = [place.store.clone(), place.other_store()];
    for round in 0..rounds {
        let file = place.at(&format!("r{round}/v1.json"));
        let create = |(nth, store): (usize, Store)| {
            let file = file.clone();
            tokio::spawn(async move { (nth, store.put_new(&file, nth.to_string().into()).await) })
        };
        let creators = (0..6).map(|nth| create((nth, programs[nth % 2].clone()))).collect::<Vec<_>>();
        let ended = futures::future::join_all(creators).await;
        let ended: Vec<_> = ended.into_iter().map(Result::unwrap).collect();
        let winners: Vec<_> = ended.iter().filter(|(_, end)| end.is_ok()).map(|(nth, _)| *nth).collect();
        assert_eq!(winners.len(), 1, "round {round}: {ended:?}");
        let is_lost = |end: &Result<(), Error>| matches!(end, Ok(()) | Err(Error::AlreadyExists { .. }));
        assert!(ended.iter().all(|(_, end)| is_lost(end)), "round {round}: {ended:?}");
        assert_eq!(place.store.read(&file).await.unwrap(), winners[0].to_string(), "the file is the winner's");
    }
}

pub async fn names_are_kept_as_they_are(place: &Place) {
    let store = &place.store;
    let at = |name: &str| place.at(&format!("odd/{name}"));
    for name in ODD_NAMES {
        store.put_new(&at(name), name.into()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let mut wanted = ODD_NAMES.map(at).to_vec();
    match store.put_new(&at(NOT_ON_HDFS), NOT_ON_HDFS.into()).await {
        Ok(()) => wanted.push(at(NOT_ON_HDFS)),
        Err(error) => assert!(place.is_hdfs() && matches!(error, Error::Io { .. }), "{error}"),
    }
    store.put_new(&place.at("odd2/x"), "a neighbour".into()).await.unwrap();
    wanted.sort();
    assert_eq!(place.names(&place.at("odd")).await, wanted, "spelt as they were put, without the folder's neighbour");
    for (name, location) in ODD_NAMES.map(|name| (name, at(name))) {
        assert_eq!(store.read(&location).await.unwrap(), name);
        assert_eq!(store.read_range(&location, 1..2).await.unwrap(), name.as_bytes()[1..2]);
        assert_eq!(store.head(&location).await.unwrap().size_bytes, name.len() as u64);
    }
    for name in ODD_NAMES {
        store.delete(&at(name)).await.unwrap();
        assert!(store.head(&at(name)).await.unwrap_err().is_not_found(), "{name}");
    }
}

/// On S3 more than the server lists at once.
pub async fn a_listing_is_whole_and_of_its_folder_only(place: &Place) {
    let files = if is_long() || place.root.starts_with("s3:") { 1_050 } else { 70 };
    let name = move |i: usize| place.at(&format!("t/part={}/{i:05}.parquet", i % 7));
    let begun_ms = now_ms();
    let put = |i: usize| async move { place.store.put(&name(i), vec![b'x'; i % 5].into()).await.unwrap() };
    futures::stream::iter((0..files).map(put)).buffer_unordered(16).for_each(|()| async {}).await;
    place.store.put(&place.at("t2/neighbour"), "x".into()).await.unwrap();
    let found = place.list(&place.at("t")).await;
    let mut wanted: Vec<_> = (0..files).map(name).collect();
    wanted.sort();
    assert_eq!(found.iter().map(|meta| meta.location.clone()).collect::<Vec<_>>(), wanted);
    let total: u64 = found.iter().map(|meta| meta.size_bytes).sum();
    assert_eq!(total, (0..files as u64).map(|i| i % 5).sum::<u64>());
    let ages = begun_ms - 2_000..=now_ms() + 2_000;
    let odd = found.iter().find(|meta| !ages.contains(&meta.modified_ms));
    assert!(odd.is_none(), "{odd:?} is not of {ages:?}");
    assert_eq!(place.names(&place.at("t/part=3")).await.len(), files / 7);
    assert_eq!(place.names(&place.at("nothing")).await, [""; 0]);
    if place.root.starts_with("s3:") {
        assert!(place.store.counters().snapshot().lists > 3, "the first has more than one page");
    }
    let deletes = place.store.counters().snapshot().deletes;
    assert!(place.store.delete_many(&wanted).await.is_empty());
    assert_eq!(place.names(&place.root).await, [place.at("t2/neighbour")]);
    if place.root.starts_with("s3:") {
        assert_eq!(place.store.counters().snapshot().deletes - deletes, 2, "1,000 names in a request");
    }
}

pub async fn deleted_files_are_gone(place: &Place) {
    let store = &place.store;
    for name in ["a", "b", "c"] {
        store.put(&place.at(name), "x".into()).await.unwrap();
    }
    store.delete(&place.at("a")).await.unwrap();
    store.delete(&place.at("a")).await.expect("a file that is gone already is no error");
    assert!(store.read(&place.at("a")).await.unwrap_err().is_not_found());
    let all = ["a", "b", "c", "never was"].map(|name| place.at(name));
    let failed = store.delete_many(&all).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(place.names(&place.root).await, [""; 0]);
    store.put_new(&place.at("a"), "again".into()).await.expect("its name is free");
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
