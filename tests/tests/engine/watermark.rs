//! Watermarks of sources, and late rows counted exactly over runs that break off.

use std::time::{Duration, Instant};

use frazil_catalog::Catalog;
use frazil_engine::{JobConfig, JobName, Progress, plan_job, run_job};
use frazil_table::Table;
use frazil_table::spec::{Operation, Snapshot, TableIdent};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Behind the newest row by so much the stream is complete.
const DELAY_MS: i64 = 5_000;

const BEGIN_MS: i64 = 1_700_000_000_000;

struct World {
    folder: TempDir,
    random: StdRng,
    rows: u64,
    newest_ms: i64,
    late_rows: u64,
    files: u32,
}

impl World {
    async fn new() -> Self {
        let folder = TempDir::with_prefix("frazil-watermark-").unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        let mut session = session(folder.path()).await;
        answers(&mut session, "CREATE TABLE t (id BIGINT, at TIMESTAMP(3))").await.unwrap();
        Self { folder, random: StdRng::seed_from_u64(11), rows: 0, newest_ms: BEGIN_MS, late_rows: 0, files: 0 }
    }

    /// A file whose rows are up to twice the delay out of order. What is late is worked out row by row.
    fn write(&mut self, rows: u64) {
        let mut lines = String::new();
        for _ in 0..rows {
            let at_ms = self.newest_ms + self.random.random_range(-2 * DELAY_MS..200);
            self.late_rows += u64::from(self.rows > 0 && at_ms <= self.newest_ms - DELAY_MS);
            self.newest_ms = if self.rows == 0 { at_ms } else { self.newest_ms.max(at_ms) };
            writeln!(lines, "{{\"id\":{},\"at_ms\":{at_ms}}}", self.rows).unwrap();
            self.rows += 1;
        }
        self.files += 1;
        let hidden = self.folder.path().join("next");
        std::fs::write(&hidden, lines).unwrap();
        std::fs::rename(hidden, self.folder.path().join(format!("in/{:04}.json", self.files))).unwrap();
    }

    async fn start(&self) -> (JoinHandle<Result<()>>, CancellationToken, Progress) {
        let mut session = session(self.folder.path()).await;
        let script = format!(
            "CREATE TABLE src (id BIGINT, at_ms BIGINT, at AS TO_TIMESTAMP_MILLIS(at_ms),
                 WATERMARK FOR at AS at - INTERVAL '5' SECOND)
             WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json', 'source.monitor-interval' = '10 ms',
                 'rows-per-second' = '6000', 'batch-rows' = '37');
             INSERT INTO t SELECT id, CAST(at AS TIMESTAMP(3)) FROM src;",
            self.folder.path().join("in").display()
        );
        let config = JobConfig {
            name: JobName::Given("late".to_owned()),
            // One task reads, so that rows come in one order.
            parallelism: 1,
            checkpoint_interval: Duration::from_millis(40),
        };
        let plan = plan_job(&mut session, &script, &config).await.unwrap();
        assert!(plan.graph().to_string().contains("watermark of at is at - INTERVAL '5' SECOND"), "{}", plan.graph());
        let (progress, stop) = (Progress::new(), CancellationToken::new());
        (tokio::spawn(run_job(plan, progress.clone(), stop.clone())), stop, progress)
    }

    async fn table(&self) -> Table {
        catalog(self.folder.path()).await.load_table(&TableIdent::from_strs(["default", "t"]).unwrap()).await.unwrap()
    }
}

/// Of all snapshots, oldest first: rows, late rows, watermark.
fn told(table: &Table) -> (u64, u64, Vec<i64>) {
    // A compaction adds files, but no rows.
    let is_append = |snapshot: &&Snapshot| snapshot.summary().operation == Operation::Append;
    let mut snapshots: Vec<_> = table.ancestors("main").filter(is_append).collect();
    snapshots.reverse();
    let number = |snapshot: &Snapshot, key: &str| {
        snapshot.summary().additional_properties.get(key).and_then(|value| value.parse::<i64>().ok())
    };
    let sum = |key: &str| snapshots.iter().filter_map(|snapshot| number(snapshot, key)).sum::<i64>() as u64;
    let watermarks = snapshots.iter().filter_map(|snapshot| number(snapshot, "frazil.watermark-ms")).collect();
    (sum("added-records"), sum("frazil.late-rows"), watermarks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_rows_are_written_and_counted_once_however_often_the_job_breaks_off() {
    let mut world = World::new().await;
    let mut broken_off = 0;
    for _ in 0..6 {
        world.write(700);
        let (job, stop, _) = world.start().await;
        let begun = Instant::now();
        // Broken off in the middle of the file, at a moment that nobody chose.
        let some = world.rows - world.random.random_range(50..600);
        while told(&world.table().await).0 < some {
            assert!(begun.elapsed() < TIMEOUT && !job.is_finished(), "{:?}", told(&world.table().await));
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
        job.abort();
        job.await.ok();
        broken_off += 1;
        drop(stop);
    }
    world.write(300);
    let (job, stop, progress) = world.start().await;
    let begun = Instant::now();
    while told(&world.table().await).0 < world.rows {
        assert!(begun.elapsed() < TIMEOUT && !job.is_finished(), "{:?}", told(&world.table().await));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    job.await.unwrap().unwrap();
    let (rows, late_rows, watermarks) = told(&world.table().await);
    assert_eq!((rows, broken_off), (world.rows, 6));
    assert!(world.late_rows > 500, "{} are late by the model", world.late_rows);
    assert_eq!(late_rows, world.late_rows);
    assert!(watermarks.is_sorted(), "{watermarks:?}");
    assert_eq!(watermarks.last(), Some(&(world.newest_ms - DELAY_MS)));
    let last_run = &progress.pipelines()[0];
    assert!(last_run.late_rows > 0 && last_run.late_rows < late_rows, "{last_run:?}");
}

#[tokio::test]
async fn a_watermark_that_is_no_time_is_refused() {
    let folder = TempDir::with_prefix("frazil-watermark-").unwrap();
    let mut session = session(folder.path()).await;
    let script = format!(
        "CREATE TABLE t (id BIGINT);
         CREATE TABLE src (id BIGINT, WATERMARK FOR id AS id - 5)
         WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');
         INSERT INTO t SELECT id FROM src;",
        folder.path().display()
    );
    let config = JobConfig {
        name: JobName::Given("late".to_owned()),
        parallelism: 1,
        checkpoint_interval: Duration::from_secs(1),
    };
    let error = plan_job(&mut session, &script, &config).await.unwrap_err().to_string();
    expect![[r#"
        the event time of 'src' is no timestamp
          --> line 2, column 53, in INSERT
           |
         2 |          CREATE TABLE src (id BIGINT, WATERMARK FOR id AS id - 5)
           |                                                     ^^
           = declare a column AS TO_TIMESTAMP_MILLIS(…), and write WATERMARK FOR it"#]]
    .assert_eq(&error);
}
