use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use frazil_catalog::SqlCatalog;

use super::*;
use crate::batch::{self, Outcome};
use crate::session::{Resolved, Session};
use crate::sql::{Name, parse_script};

async fn session() -> Session {
    let env = Env::in_memory(7);
    let catalog = SqlCatalog::in_memory(env.clone(), "memory://warehouse").await.unwrap();
    let mut session = Session::open(env, Arc::new(catalog)).await.unwrap();
    run(&mut session, "CREATE TABLE t (id BIGINT, place ROW<name STRING, lat DOUBLE>) PARTITIONED BY (bucket(2, id))")
        .await;
    session
}

async fn run(session: &mut Session, script: &str) {
    for statement in parse_script(script).unwrap() {
        if let Outcome::Rows(rows) = batch::execute(session, &statement).await.unwrap() {
            rows.collect().await.unwrap();
        }
    }
}

/// Appends rows with these ids, in one snapshot.
async fn insert(session: &mut Session, ids: std::ops::Range<i64>) {
    let rows: Vec<String> = ids.map(|id| format!("({id}, ROW('n{id}', 0.5))")).collect();
    run(session, &format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
}

async fn try_source(session: &Session, options: &[(&str, &str)], projection: Projection) -> Result<IcebergSource> {
    let Resolved::Iceberg(table) = session.resolve(&Name::new(["t"]), "").await.unwrap() else {
        panic!("t is an Iceberg table");
    };
    IcebergSource::new(&table, &Options::from_pairs(options.iter().copied()), projection, session.env())
}

async fn source(session: &Session, options: &[(&str, &str)]) -> IcebergSource {
    try_source(session, options, Projection::All).await.unwrap()
}

const FOLLOW: [(&str, &str); 2] = [("streaming", "true"), ("monitor-interval", "5 ms")];

/// Reads until the source ends, or has given as many rows, and then to the position behind them.
async fn read(source: &IcebergSource, positions: &SourcePositions, rows: usize) -> Vec<SourceBatch> {
    let stop = CancellationToken::new();
    let mut stream = source.start(0, 1, positions, stop.clone()).await.unwrap();
    let mut all: Vec<SourceBatch> = Vec::new();
    while let Some(batch) = stream.recv().await {
        all.push(batch.unwrap());
        let count: usize = all.iter().map(|batch| batch.batch.num_rows()).sum();
        let is_position = all.last().is_some_and(|batch| batch.batch.num_rows() == 0);
        if count >= rows && is_position {
            break;
        }
    }
    all
}

fn ids(batches: &[SourceBatch]) -> Vec<i64> {
    let columns = batches.iter().map(|batch| batch.batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    let mut ids: Vec<i64> = columns.flatten().collect();
    ids.sort_unstable();
    ids
}

fn after(batch: &SourceBatch) -> SourcePositions {
    SourcePositions::from([(batch.split.clone(), batch.position.clone())])
}

#[tokio::test]
async fn a_bounded_read_stays_with_its_snapshot() {
    let mut session = session().await;
    insert(&mut session, 0..10).await;
    insert(&mut session, 10..20).await;
    let source = source(&session, &[]).await;
    assert!(source.is_bounded());
    let all = read(&source, &SourcePositions::new(), usize::MAX).await;
    assert_eq!(ids(&all), (0..20).collect::<Vec<_>>());
    assert!(all.len() >= 4 + 2, "four files, the start and the end: {}", all.len());
    insert(&mut session, 20..30).await;
    for (index, batch) in all.iter().enumerate() {
        let rest = read(&source, &after(batch), usize::MAX).await;
        assert_eq!(ids(&rest), ids(&all[index + 1..]), "after {}", batch.position);
    }
    assert_eq!(ids(&read(&source, &SourcePositions::new(), usize::MAX).await).len(), 30);
}

#[tokio::test]
async fn an_empty_table_ends_at_once() {
    let session = session().await;
    let all = read(&source(&session, &[]).await, &SourcePositions::new(), usize::MAX).await;
    assert!(ids(&all).is_empty());
}

#[tokio::test]
async fn following_goes_on_from_every_position() {
    let mut session = session().await;
    insert(&mut session, 0..10).await;
    let source = source(&session, &FOLLOW).await;
    assert!(!source.is_bounded());
    let mut all = read(&source, &SourcePositions::new(), 10).await;
    insert(&mut session, 10..20).await;
    insert(&mut session, 20..30).await;
    let last = after(all.last().unwrap());
    all.extend(read(&source, &last, 20).await);
    assert_eq!(ids(&all), (0..30).collect::<Vec<_>>());
    for (index, batch) in all.iter().enumerate().filter(|(index, _)| !ids(&all[index + 1..]).is_empty()) {
        let wanted = ids(&all[index + 1..]);
        let rest = read(&source, &after(batch), wanted.len()).await;
        assert_eq!(ids(&rest), wanted, "after {}", batch.position);
    }
}

#[tokio::test]
async fn a_restart_does_not_look_for_the_latest_snapshot_anew() {
    let mut session = session().await;
    insert(&mut session, 0..10).await;
    let latest = [FOLLOW[0], FOLLOW[1], ("starting-strategy", "INCREMENTAL_FROM_LATEST_SNAPSHOT")];
    let source = source(&session, &latest).await;
    let start = read(&source, &SourcePositions::new(), 0).await;
    assert_eq!((start.len(), ids(&start).len()), (1, 0));
    insert(&mut session, 10..20).await;
    assert_eq!(ids(&read(&source, &after(&start[0]), 10).await), (10..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn only_the_leaves_that_are_asked_for() {
    let mut session = session().await;
    insert(&mut session, 0..3).await;
    let source = try_source(&session, &[], Projection::paths(["place.name"])).await.unwrap();
    let all = read(&source, &SourcePositions::new(), usize::MAX).await;
    let fields: Vec<String> = source.schema().flattened_fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(fields, ["place", "name"]);
    assert!(all.iter().all(|batch| batch.batch.schema() == source.schema()));
}

#[tokio::test]
async fn options_that_do_not_go_together_are_refused() {
    let session = session().await;
    for (options, wanted) in [
        (&[("starting-strategy", "INCREMENTAL_FROM_SNAPSHOT_ID")][..], "needs 'start-snapshot-id'"),
        (&[("start-snapshot-id", "1"), ("start-tag", "x")], "exclude each other"),
        (&[("starting-strategy", "INCREMENTAL_FROM_SNAPSHOT")], "did you mean"),
        (&[("monitor-intervall", "1 s")], "did you mean 'monitor-interval'?"),
    ] {
        let error = try_source(&session, options, Projection::All).await.unwrap_err().to_string();
        assert!(error.contains(wanted), "{options:?}: {error}");
    }
    let source = source(&session, &[]).await;
    let foreign = SourcePositions::from([(source.name.clone(), "12".to_owned())]);
    let error = source.start(0, 1, &foreign, CancellationToken::new()).await.unwrap_err().to_string();
    assert!(error.contains("can't be read on from 12"), "{error}");
}
