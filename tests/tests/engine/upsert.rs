//! Jobs whose rows take the place of older ones of their keys, in one process with other writers of the table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use expect_test::{Expect, expect};
use frazil_catalog::Catalog;
use frazil_engine::{JobConfig, JobName, Progress, ProgressEvent as Event, Session, plan_job, run_job};
use frazil_table::spec::{DataContentType, Snapshot, TableIdent};
use frazil_table::{ManifestCache, Table, io, is_vector};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Keys of the stream. Those from here on are of other writers.
const KEYS: i64 = 300;

struct World {
    folder: TempDir,
    session: Session,
    random: StdRng,
    files: u32,
    next_v: i64,
    /// The values of all live rows of each key: one, but where another writer appended without looking.
    model: BTreeMap<i64, Vec<i64>>,
}

struct Running {
    job: JoinHandle<Result<()>>,
    stop: CancellationToken,
}

impl World {
    async fn new(create: &str) -> Self {
        let folder = TempDir::with_prefix("frazil-upsert-").unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        let mut session = session(folder.path()).await;
        answers(&mut session, create).await.unwrap();
        let random = StdRng::seed_from_u64(7);
        Self { folder, session, random, files: 0, next_v: 0, model: BTreeMap::new() }
    }

    fn script(&self) -> String {
        format!(
            "CREATE TABLE src (id BIGINT, v BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json',
                 'source.monitor-interval' = '20 ms', 'rows-per-second' = '8000', 'batch-rows' = '40');
             INSERT INTO t SELECT id, v FROM src;",
            self.folder.path().join("in").display()
        )
    }

    /// A job of two writers.
    async fn start(&self) -> Running {
        self.start_with(Progress::new()).await
    }

    async fn start_with(&self, progress: Progress) -> Running {
        let mut session = session(self.folder.path()).await;
        let plan = plan_job(&mut session, &self.script(), &config()).await.unwrap();
        let stop = CancellationToken::new();
        Running { job: tokio::spawn(run_job(plan, progress, stop.clone())), stop }
    }

    /// Gives the job a file of so many rows, of any keys.
    fn stream(&mut self, rows: usize) {
        let ids: Vec<i64> = (0..rows).map(|_| self.random.random_range(0..KEYS)).collect();
        self.stream_of(ids);
    }

    /// Gives the job a file of rows, the later ones of a key newer.
    fn stream_of(&mut self, ids: impl IntoIterator<Item = i64>) {
        let mut lines = String::new();
        for id in ids {
            let v = self.next_v;
            self.next_v += 1;
            writeln!(lines, "{{\"id\":{id},\"v\":{v}}}").unwrap();
            self.model.insert(id, vec![v]);
        }
        self.files += 1;
        let hidden = self.folder.path().join("next");
        std::fs::write(&hidden, lines).unwrap();
        std::fs::rename(hidden, self.folder.path().join(format!("in/{:04}.json", self.files))).unwrap();
    }

    /// Rows that another program appends.
    async fn append(&mut self, ids: impl Iterator<Item = i64>) {
        let mut values = Vec::new();
        for id in ids {
            values.push(format!("({id}, {})", self.next_v));
            self.model.entry(id).or_default().push(self.next_v);
            self.next_v += 1;
        }
        answers(&mut self.session, &format!("INSERT INTO t VALUES {}", values.join(", "))).await.unwrap();
    }

    async fn rows(&self) -> BTreeMap<i64, Vec<i64>> {
        let mut session = session(self.folder.path()).await;
        let query = parse_script("SELECT id, v FROM t ORDER BY id, v").unwrap();
        let Outcome::Rows(rows) = execute(&mut session, &query[0]).await.unwrap() else { panic!("it is a query") };
        let mut found: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for batch in rows.collect().await.unwrap() {
            let [ids, values] = [0, 1].map(|column| batch.column(column).as_primitive::<Int64Type>().values().clone());
            ids.iter().zip(values.iter()).for_each(|(id, v)| found.entry(*id).or_default().push(*v));
        }
        found
    }

    /// Waits until the table has what the model has.
    async fn settle(&self, job: &Running) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let found = self.rows().await;
            if found == self.model {
                return;
            }
            if Instant::now() > deadline || job.job.is_finished() {
                let wrong = found.iter().filter(|(id, rows)| self.model.get(*id) != Some(*rows)).collect::<Vec<_>>();
                panic!("{} keys of {}; wrong: {wrong:?}", found.len(), self.model.len());
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    async fn table(&self) -> Table {
        catalog(self.folder.path()).await.load_table(&TableIdent::from_strs(["default", "t"]).unwrap()).await.unwrap()
    }
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        self.job.await.unwrap().unwrap();
    }
}

fn config() -> JobConfig {
    JobConfig {
        name: JobName::Given("upserts".to_owned()),
        parallelism: 2,
        checkpoint_interval: Duration::from_millis(50),
    }
}

fn sum(snapshots: &[&Snapshot], key: &str) -> u64 {
    let count = |snapshot: &&Snapshot| snapshot.summary().additional_properties.get(key)?.parse::<u64>().ok();
    snapshots.iter().filter_map(count).sum()
}

/// The stream beside other writers, then a restart.
async fn upsert_beside_others(version: u8, partitioned: &str) -> World {
    let mut world = World::new(&format!(
        "CREATE TABLE t (id BIGINT, v BIGINT, PRIMARY KEY (id) NOT ENFORCED) {partitioned}
         WITH ('connector' = 'iceberg', 'format-version' = '{version}', 'write.upsert.enabled' = 'true')"
    ))
    .await;
    let job = world.start().await;
    world.stream(3_000);
    // Many commits of others, each between some plan and its commit.
    for round in 0..10 {
        world.append(KEYS + round * 5..KEYS + round * 5 + 5).await;
    }
    world.settle(&job).await;
    // Rows beside those of the stream: the stream's next rows of these keys take the place of both.
    world.append(0..KEYS / 2).await;
    assert!(world.rows().await.values().any(|rows| rows.len() == 2));
    world.stream(6_000);
    world.settle(&job).await;
    assert!(world.model.range(..KEYS).all(|(_, rows)| rows.len() == 1), "6,000 rows have all of 300 keys");
    job.stop().await;

    world.append(0..KEYS / 3).await;
    let job = world.start().await;
    world.stream(6_000);
    world.settle(&job).await;
    assert!(world.model.values().all(|rows| rows.len() == 1));
    // However large the last checkpoint was: now files have lost some of their rows, and not all.
    world.stream_of(0..KEYS / 2);
    world.settle(&job).await;
    job.stop().await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upserts_of_version_3_delete_by_vectors_alone() {
    let world = upsert_beside_others(3, "").await;
    let table = world.table().await;
    let snapshots: Vec<&Snapshot> = table.ancestors("main").collect();
    assert_eq!(sum(&snapshots, "added-equality-deletes"), 0);
    let most = snapshots.iter().map(|snapshot| sum(&[*snapshot], "added-data-files")).max();
    assert!(most >= Some(2), "rows go to both writers: at most {most:?} files in a checkpoint");
    let env = Env::system();
    let state = io::load_state(&env.store, &ManifestCache::default(), &table, io::Entries::All).await.unwrap();
    let deletes = state.live_delete_files().unwrap();
    assert!(!deletes.is_empty() && deletes.iter().all(|live| is_vector(live.file)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upserts_of_version_3_follow_a_row_into_another_partition() {
    upsert_beside_others(3, "PARTITIONED BY (bucket(3, v))").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upserts_of_version_2_delete_older_rows_by_key() {
    let world = upsert_beside_others(2, "PARTITIONED BY (bucket(2, id))").await;
    let table = world.table().await;
    let snapshots: Vec<&Snapshot> = table.ancestors("main").collect();
    assert!(sum(&snapshots, "added-equality-deletes") > 0);
    let env = Env::system();
    let state = io::load_state(&env.store, &ManifestCache::default(), &table, io::Entries::All).await.unwrap();
    let deletes = state.live_delete_files().unwrap();
    assert!(deletes.iter().all(|live| live.content() == DataContentType::EqualityDeletes));
}

/// Every commit deletes rows of files that are just being compacted. No compaction comes to nothing for it, and no plan of
/// deletes is made again because a compaction came first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upserts_and_the_compaction_of_their_job_never_lose_to_each_other() {
    let mut world = World::new(
        "CREATE TABLE t (id BIGINT, v BIGINT, PRIMARY KEY (id) NOT ENFORCED)
         WITH ('format-version' = '3', 'write.upsert.enabled' = 'true', 'compact.delta.commits' = '5')",
    )
    .await;
    let progress = Progress::new();
    let mut events = progress.subscribe();
    let job = world.start_with(progress).await;
    for _ in 0..3 {
        world.stream(6_000);
        world.settle(&job).await;
    }
    job.stop().await;
    let (mut commits, mut compactions) = (0, 0);
    while let Ok(event) = events.try_recv() {
        match event {
            Event::Committed { retries, .. } => {
                assert_eq!(retries, 0, "after {commits} commits");
                commits += 1;
            }
            Event::Compacted { .. } => compactions += 1,
            Event::CompactionFailed { reason, .. } => panic!("{reason}"),
            _ => {}
        }
    }
    let table = world.table().await;
    let snapshots: Vec<&Snapshot> = table.ancestors("main").collect();
    let rebased = sum(&snapshots, "frazil.compaction.rows-rebased");
    println!("{commits} commits, {compactions} compactions, {rebased} deleted rows rebased");
    assert!(commits >= 20 && compactions >= 3 && rebased > 0);
    assert_eq!(world.rows().await, world.model);
}

async fn refused(script: &str, expected: Expect) {
    let folder = TempDir::with_prefix("frazil-upsert-").unwrap();
    std::fs::write(folder.path().join("in.json"), "{}").unwrap();
    let mut session = session(folder.path()).await;
    let source = format!(
        "CREATE TABLE src (id BIGINT, v BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');",
        folder.path().join("in.json").display()
    );
    answers(&mut session, &source).await.unwrap();
    let error = plan_job(&mut session, script, &config()).await.unwrap_err();
    expected.assert_eq(&format!("{error}\n"));
}

#[tokio::test]
async fn what_can_not_be_upserted_says_what_to_do() {
    let insert = "INSERT INTO t SELECT id, v FROM src";
    refused(
        &format!("CREATE TABLE t (id BIGINT, v BIGINT) WITH ('write.upsert.enabled' = 'true');\n{insert}"),
        expect![[r#"
            rows can't be upserted into t: the table has no primary key
              --> line 2, column 13, in INSERT
               |
             2 | INSERT INTO t SELECT id, v FROM src
               |             ^
               = declare PRIMARY KEY (…) NOT ENFORCED when the table is made, or name its key with ALTER TABLE … SET IDENTIFIER FIELDS
        "#]],
    )
    .await;
    refused(
        &format!(
            "CREATE TABLE t (id BIGINT, v BIGINT, PRIMARY KEY (id) NOT ENFORCED) PARTITIONED BY (v) WITH \
             ('format-version' = '2', 'write.upsert.enabled' = 'true');\n{insert}"
        ),
        expect![[r#"
            rows can't be upserted into t: key column v: the table is partitioned by it, so in format version 2 it must be in the key; format version 3 has no such limit
              --> line 2, column 13, in INSERT
               |
             2 | INSERT INTO t SELECT id, v FROM src
               |             ^
               = ALTER TABLE … SET ('format-version' = '3') lifts the limits of older formats
        "#]],
    )
    .await;
    refused(
        &format!(
            "CREATE TABLE t (id BIGINT, v BIGINT, PRIMARY KEY (id) NOT ENFORCED) WITH ('format-version' = '3', \
             'write.upsert.enabled' = 'true');\n{insert};\n{insert};"
        ),
        expect![[r#"
            a second INSERT INTO t can't run: rows that are upserted come by one
              --> line 3, column 13, in INSERT
               |
             3 | INSERT INTO t SELECT id, v FROM src;
               |             ^
               = let another job write it as well, or write one INSERT
        "#]],
    )
    .await;
    refused(
        &format!(
            "CREATE TABLE t (id BIGINT, v BIGINT, PRIMARY KEY (id) NOT ENFORCED) WITH ('format-version' = '3', \
             'write.upsert.enabled' = 'true', 'schema.evolution' = 'add-columns');\n{insert};"
        ),
        expect![[r#"
            t can't both upsert and grow with its rows yet
              --> line 2, column 13, in INSERT
               |
             2 | INSERT INTO t SELECT id, v FROM src;
               |             ^
               = set 'schema.evolution' = 'none', and add columns with ALTER TABLE
        "#]],
    )
    .await;
}

#[tokio::test]
async fn the_graph_of_a_job_shows_how_rows_are_replaced() {
    let create = |version: u8| {
        format!(
            "CREATE TABLE t (id BIGINT, v BIGINT, PRIMARY KEY (id) NOT ENFORCED)
             WITH ('format-version' = '{version}', 'write.upsert.enabled' = 'true')"
        )
    };
    for (version, deletes) in [(2, "equality deletes"), (3, "deletion vectors")] {
        let world = World::new(&create(version)).await;
        let mut session = session(world.folder.path()).await;
        let graph = plan_job(&mut session, &world.script(), &config()).await.unwrap().graph().to_string();
        assert!(graph.contains("upserts by (id)") && graph.contains(deletes), "{graph}");
        assert!(graph.contains("hash─▶ frazil.default.t/writer"), "{graph}");
    }
}
