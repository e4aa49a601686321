//! Jobs that keep the numbers of distinct values of their table, in one process with other writers of the table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use frazil_catalog::Catalog;
use frazil_engine::{JobConfig, JobName, Progress, ProgressEvent, plan_job, run_job};
use frazil_table::Table;
use frazil_table::spec::TableIdent;
use tempfile::TempDir;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);

struct World {
    folder: TempDir,
    files: u32,
}

impl World {
    async fn new() -> Self {
        let folder = TempDir::with_prefix("frazil-statistics-").unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        let mut session = session(folder.path()).await;
        let create = "CREATE TABLE t (id BIGINT, v BIGINT) WITH ('write.extended-statistics.enabled' = 'true',
                          'write.extended-statistics.interval-ms' = '3600000', 'auto-compact' = 'true',
                          'compact.delta.commits' = '4');";
        answers(&mut session, create).await.unwrap();
        Self { folder, files: 0 }
    }

    /// A file of rows for the next run.
    fn write(&mut self, ids: std::ops::Range<i64>) {
        self.files += 1;
        self.write_file(self.files, ids);
    }

    fn write_file(&self, number: u32, ids: std::ops::Range<i64>) {
        let rows: String = ids.map(|id| format!("{{\"id\":{id},\"v\":{}}}\n", id % 5)).collect();
        std::fs::write(self.folder.path().join(format!("in/{number:04}.json")), rows).unwrap();
    }

    /// Runs a job of two writers over the files that it has not read yet; the events that tell of statistics. It is
    /// stopped when the table has `rows`, by a clean end, or by dropping it on the floor.
    async fn run(&self, rows: u64, is_clean: bool) -> Vec<ProgressEvent> {
        self.run_beside(rows, is_clean, async {}).await
    }

    /// As [`World::run`], while others do something.
    async fn run_beside(&self, rows: u64, is_clean: bool, others: impl Future<Output = ()>) -> Vec<ProgressEvent> {
        let mut session = session(self.folder.path()).await;
        let script = format!(
            "CREATE TABLE src (id BIGINT, v BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json',
                 'source.monitor-interval' = '20 ms', 'rows-per-second' = '20000', 'batch-rows' = '100');
             INSERT INTO t SELECT id, v FROM src;",
            self.folder.path().join("in").display()
        );
        let config = JobConfig {
            name: JobName::Given("counting".to_owned()),
            parallelism: 2,
            checkpoint_interval: Duration::from_millis(30),
        };
        let plan = plan_job(&mut session, &script, &config).await.unwrap();
        let (progress, stop) = (Progress::new(), CancellationToken::new());
        let mut events = progress.subscribe();
        let job = tokio::spawn(run_job(plan, progress.clone(), stop.clone()));
        others.await;
        let begun = Instant::now();
        while self.rows().await < rows {
            assert!(begun.elapsed() < TIMEOUT, "the rows are not in the table");
            assert!(!job.is_finished(), "{:?}", job.await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        match is_clean {
            true => {
                stop.cancel();
                job.await.unwrap().unwrap();
            }
            false => job.abort(),
        }
        let mut told = Vec::new();
        while let Ok(event) = events.try_recv() {
            if matches!(event, ProgressEvent::Statistics { .. } | ProgressEvent::StatisticsUnknown { .. }) {
                told.push(event);
            }
        }
        told
    }

    async fn table(&self) -> Table {
        catalog(self.folder.path()).await.load_table(&TableIdent::from_strs(["default", "t"]).unwrap()).await.unwrap()
    }

    async fn rows(&self) -> u64 {
        let table = self.table().await;
        let summary = table.current_snapshot().map(|snapshot| snapshot.summary().additional_properties.clone());
        summary.and_then(|summary| summary.get("total-records")?.parse().ok()).unwrap_or(0)
    }

    /// The newest numbers of distinct values, by field id.
    async fn distinct_values(&self) -> BTreeMap<i32, f64> {
        let table = self.table().await;
        let of = |id: i64| table.metadata().statistics_for_snapshot(id);
        let newest = table.ancestors("main").find_map(|snapshot| of(snapshot.snapshot_id())).expect("statistics");
        let blobs = newest.blob_metadata.iter();
        blobs.map(|blob| (blob.fields[0], blob.properties["ndv"].parse().unwrap())).collect()
    }

    async fn sql(&self, script: &str) {
        answers(&mut session(self.folder.path()).await, script).await.unwrap();
    }
}

fn assert_near(found: f64, wanted: f64) {
    assert!((found / wanted - 1.0).abs() < 0.0625, "{found}, wanted {wanted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_counts_distinct_values_over_restarts_and_beside_others() {
    let mut world = World::new().await;
    world.write(0..6_000);
    let told = world.run(6_000, true).await;
    // The first commit, the end, and nothing between them.
    assert_eq!(told.len(), 2, "{told:?}");
    let found = world.distinct_values().await;
    assert_near(found[&1], 6_000.0);
    assert_eq!(found[&2], 5.0);

    // A run that does not come to its end leaves rows behind that no statistics count, and others add some.
    world.write(6_000..9_000);
    world.run(9_000, false).await;
    world.sql("ALTER TABLE t SET ('write.extended-statistics.enabled' = 'false')").await;
    world.sql("INSERT INTO t VALUES (-1, 77), (-2, 78)").await;
    world.sql("ALTER TABLE t SET ('write.extended-statistics.enabled' = 'true')").await;
    world.write(8_000..12_000);
    let told = world.run(13_002, true).await;
    assert!(told.iter().all(|event| matches!(event, ProgressEvent::Statistics { .. })), "{told:?}");
    let found = world.distinct_values().await;
    assert_near(found[&1], 12_002.0);
    assert_eq!(found[&2], 7.0);

    // Where rows were deleted, nobody can tell without reading them; then it goes on.
    world.sql("DELETE FROM t WHERE id < 0").await;
    world.write(12_000..12_500);
    let told = world.run(13_500, true).await;
    assert!(matches!(told[..], [ProgressEvent::StatisticsUnknown { .. }]), "{told:?}");
    world.sql("CALL system.compute_table_stats('t')").await;
    world.write(12_500..13_000);
    world.run(14_000, true).await;
    let found = world.distinct_values().await;
    assert_near(found[&1], 13_000.0);
    assert_eq!(found[&2], 5.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_others_put_between_those_of_a_job_are_counted() {
    let mut world = World::new().await;
    world.write(0..1_000);
    let others = async {
        let begun = Instant::now();
        while world.rows().await < 1_000 {
            assert!(begun.elapsed() < TIMEOUT, "the first rows are not in the table");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world.sql("INSERT INTO t VALUES (-1, 77), (-2, 78)").await;
        world.write_file(2, 1_000..1_500);
    };
    world.run_beside(1_502, true, others).await;
    let found = world.distinct_values().await;
    assert_near(found[&1], 1_502.0);
    assert_eq!(found[&2], 7.0);
}
