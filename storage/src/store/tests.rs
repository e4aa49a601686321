//! The same contract for every store.

use futures::TryStreamExt;

use super::*;

/// Names that are easily mangled on their way into a URL, an XML answer or a folder.
const ODD_NAMES: [&str; 12] = [
    "b=x y/c%2F.parquet",
    "100%/plain",
    "%41",
    "plus+and&amp;/semi;colon",
    "ümläut/雪/🧊.parquet",
    "q?uery#frag",
    "quo'te\"s/<x>",
    "back\\slash",
    "brackets[1]{2}|^`~",
    "comma,=@:$!*()",
    "e\u{301}\u{a0}x",
    "trailing dot./.hidden",
];

async fn names(store: &Store, location: &str) -> Vec<String> {
    let mut found: Vec<_> = store.list(location).await.unwrap().try_collect().await.unwrap();
    found.sort_by(|a: &ObjectMeta, b| a.location.cmp(&b.location));
    found.into_iter().map(|meta| meta.location).collect()
}

async fn check_contract(store: &Store, root: &str) {
    let at = |name: &str| format!("{root}/{name}");
    assert!(store.read(&at("a")).await.unwrap_err().is_not_found());
    assert!(store.head(&at("a")).await.unwrap_err().is_not_found());
    assert!(names(store, root).await.is_empty());

    store.put_new(&at("d/a"), "one".into()).await.unwrap();
    let error = store.put_new(&at("d/a"), "two".into()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(store.read(&at("d/a")).await.unwrap(), "one");
    store.put(&at("d/a"), "three".into()).await.unwrap();
    assert_eq!(store.read_ranges(&at("d/a"), &[1..3, 0..1, 2..2]).await.unwrap(), ["hr", "t", ""]);
    assert!(store.read_range(&at("d/a"), 3..9).await.is_err());
    assert_eq!(store.head(&at("d/a")).await.unwrap().size_bytes, 5);

    let mut writer = store.writer(&at("d/b=x y/c%2F.parquet")).await.unwrap();
    writer.write("pie".into()).await.unwrap();
    assert_eq!(names(store, root).await, [at("d/a")], "unfinished files are not visible");
    writer.write("ces".into()).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), 6);
    assert_eq!(store.read(&at("d/b=x y/c%2F.parquet")).await.unwrap(), "pieces");
    let mut late = store.writer(&at("d/a")).await.unwrap();
    late.write("late".into()).await.unwrap();
    assert!(matches!(late.finish().await, Err(Error::AlreadyExists { .. })));

    let mut dropped = store.writer(&at("d/dropped")).await.unwrap();
    dropped.write("x".into()).await.unwrap();
    drop(dropped);
    assert_eq!(names(store, root).await, [at("d/a"), at("d/b=x y/c%2F.parquet")]);

    store.delete(&at("d/a")).await.unwrap();
    store.delete(&at("d/a")).await.unwrap();
    assert_eq!(names(store, root).await, [at("d/b=x y/c%2F.parquet")]);
    store.delete(&at("d/b=x y/c%2F.parquet")).await.unwrap();
    check_names(store, root).await;
}

async fn check_names(store: &Store, root: &str) {
    let at = |name: &str| format!("{root}/odd/{name}");
    for name in ODD_NAMES {
        store.put_new(&at(name), name.into()).await.unwrap();
    }
    store.put_new(&format!("{root}/odd2/x"), "a neighbour".into()).await.unwrap();
    let mut wanted = ODD_NAMES.map(at);
    wanted.sort();
    let found = names(store, &format!("{root}/odd")).await;
    assert_eq!(found, wanted, "a listing spells names as they were put, and a folder's neighbour is not in it");
    for (name, location) in ODD_NAMES.map(|name| (name, at(name))) {
        assert_eq!(store.read(&location).await.unwrap(), name);
        assert_eq!(store.head(&location).await.unwrap().size_bytes, name.len() as u64);
    }
    let mut gone = found;
    gone.push(at("never was"));
    assert!(store.delete_many(&gone).await.is_empty());
    assert_eq!(names(store, root).await, [format!("{root}/odd2/x")]);
}

#[tokio::test]
async fn local_files_keep_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    check_contract(&Store::new(), &format!("file://{}", directory.path().display())).await;
    let left: Vec<_> = std::fs::read_dir(directory.path().join("d")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["b=x y"], "no temporary file stays");
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    check_contract(&Store::new(), "memory://w").await;
}

#[tokio::test]
async fn large_memory_files_go_in_parts() {
    let store = Store::new();
    let mut writer = store.writer("memory://w/large").await.unwrap();
    let bytes = Bytes::from((0..20_u32 << 20).map(|i| (i >> 12) as u8).collect::<Vec<_>>());
    for piece in bytes.chunks(5 << 20) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        assert!(writer.buffered_bytes() <= 8 << 20);
    }
    assert_eq!(writer.finish().await.unwrap(), 20 << 20);
    assert!(store.read("memory://w/large").await.unwrap() == bytes);
    assert_eq!(store.counters().snapshot().parts, 3, "8 + 8 + 4 MiB");
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
async fn a_listing_of_local_files_reads_a_page_ahead_and_follows_no_links() {
    let directory = tempfile::tempdir().unwrap();
    let root = format!("file://{}", directory.path().display());
    for i in 0..1_200 {
        let folder = directory.path().join(format!("f{}", i % 7));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{i}")), "x").unwrap();
    }
    std::os::unix::fs::symlink(directory.path(), directory.path().join("f0/loop")).unwrap();
    let store = Store::new();
    let mut listing = store.list(&root).await.unwrap();
    let first = listing.next().await.unwrap().unwrap();
    assert!(first.modified_ms > 1_500_000_000_000, "files have ages: {first:?}");
    assert_eq!(store.counters().snapshot().lists, 1, "one page, the rest when it is asked for");
    assert_eq!(listing.count().await, 1_200, "1,199 more and the link itself");
}

#[tokio::test]
async fn requests_are_counted_by_kind() {
    let store = Store::new();
    store.put_new("memory://w/a", "four".into()).await.unwrap();
    store.put("memory://w/b", "six!!!".into()).await.unwrap();
    store.read("memory://w/a").await.unwrap();
    store.read_range("memory://w/b", 0..3).await.unwrap();
    store.head("memory://w/a").await.unwrap();
    assert_eq!(names(&store, "memory://w").await.len(), 2);
    store.delete_many(&["memory://w/a".to_owned(), "memory://w/b".to_owned()]).await;
    let totals = store.counters().snapshot();
    assert_eq!((totals.writes, totals.bytes_written), (2, 10));
    assert_eq!((totals.reads, totals.bytes_read), (2, 7));
    assert_eq!((totals.heads, totals.lists), (1, 2), "the second page of the listing is its end");
    assert_eq!((totals.deletes, totals.files_deleted), (1, 2));
    assert_eq!((totals.retries, totals.timeouts), (0, 0));
}

#[tokio::test]
async fn unknown_schemes_say_what_is_there() {
    let error = Store::new().read("gopher://x/y").await.unwrap_err().to_string();
    assert!(error.contains("gopher") && error.contains("file"), "{error}");
}

/// What has no name yet can't be left behind by a program that is killed.
#[tokio::test]
async fn a_local_file_in_the_making_has_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new();
    let location = format!("file://{}/t/a", folder.path().display());
    let found = || std::fs::read_dir(folder.path().join("t")).unwrap().count();
    let mut file = store.writer(&location).await.unwrap();
    file.write("one".into()).await.unwrap();
    file.settle().await.unwrap();
    assert_eq!(found(), 0);
    file.finish().await.unwrap();
    assert_eq!((found(), store.read(&location).await.unwrap()), (1, "one".into()));
    let mut second = store.writer(&location).await.unwrap();
    second.write("two".into()).await.unwrap();
    assert!(matches!(second.finish().await, Err(Error::AlreadyExists { .. })));
    store.put(&location, "three".into()).await.unwrap();
    assert_eq!((found(), store.read(&location).await.unwrap()), (1, "three".into()));
}
