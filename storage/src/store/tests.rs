//! The same contract for every store.

use futures::TryStreamExt;

use super::*;

async fn names(store: &Store, location: &str) -> Vec<String> {
    let mut found: Vec<_> = store.list(location).await.unwrap().try_collect().await.unwrap();
    found.sort_by(|a: &ObjectMeta, b| a.location.cmp(&b.location));
    found.into_iter().map(|meta| meta.location).collect()
}

async fn check_contract(root: &str) {
    let store = Store::new();
    let at = |name: &str| format!("{root}/{name}");
    assert!(store.read(&at("a")).await.unwrap_err().is_not_found());
    assert!(store.head(&at("a")).await.unwrap_err().is_not_found());
    assert!(names(&store, root).await.is_empty());

    store.put_new(&at("d/a"), "one".into()).await.unwrap();
    let error = store.put_new(&at("d/a"), "two".into()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(store.read(&at("d/a")).await.unwrap(), "one");
    store.put(&at("d/a"), "three".into()).await.unwrap();
    assert_eq!(store.read_ranges(&at("d/a"), &[1..3, 0..1]).await.unwrap(), ["hr", "t"]);
    assert!(store.read_range(&at("d/a"), 3..9).await.is_err());
    assert_eq!(store.head(&at("d/a")).await.unwrap().size_bytes, 5);

    let mut writer = store.writer(&at("d/b=x y/c%2F.parquet")).await.unwrap();
    writer.write("pie".into()).await.unwrap();
    assert_eq!(names(&store, root).await, [at("d/a")], "unfinished files are not visible");
    writer.write("ces".into()).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), 6);
    assert_eq!(store.read(&at("d/b=x y/c%2F.parquet")).await.unwrap(), "pieces");

    let mut dropped = store.writer(&at("d/dropped")).await.unwrap();
    dropped.write("x".into()).await.unwrap();
    drop(dropped);
    assert_eq!(names(&store, root).await, [at("d/a"), at("d/b=x y/c%2F.parquet")]);

    store.delete(&at("d/a")).await.unwrap();
    store.delete(&at("d/a")).await.unwrap();
    assert_eq!(names(&store, root).await, [at("d/b=x y/c%2F.parquet")]);
}

#[tokio::test]
async fn local_files_keep_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    check_contract(&format!("file://{}", directory.path().display())).await;
    let left: Vec<_> = std::fs::read_dir(directory.path().join("d")).unwrap().collect();
    assert_eq!(left.len(), 1, "no temporary file stays: {left:?}");
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    check_contract("memory://w").await;
}

#[tokio::test]
async fn large_memory_files_go_in_parts() {
    let store = Store::new();
    let mut writer = store.writer("memory://w/large").await.unwrap();
    let piece = Bytes::from(vec![7; 5 << 20]);
    for _ in 0..4 {
        writer.write(piece.clone()).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), 20 << 20);
    assert_eq!(store.read("memory://w/large").await.unwrap().len(), 20 << 20);
}

#[tokio::test]
async fn of_many_creators_exactly_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    for root in [format!("file://{}", directory.path().display()), "memory://w".to_owned()] {
        let store = Store::new();
        let puts = (0..16).map(|i| {
            let (store, location) = (store.clone(), format!("{root}/v1.json"));
            tokio::spawn(async move { store.put_new(&location, format!("{i}").into()).await.is_ok() })
        });
        let won = futures::future::join_all(puts).await.into_iter().filter(|r| *r.as_ref().unwrap()).count();
        assert_eq!(won, 1, "{root}");
    }
}

#[tokio::test]
async fn unknown_schemes_say_what_is_there() {
    let error = Store::new().read("gopher://x/y").await.unwrap_err().to_string();
    assert!(error.contains("gopher") && error.contains("file"), "{error}");
}
