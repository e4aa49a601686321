//! The main job, end to end, on the real program: Kafka to a table, that table followed into a second one, and `kill -9`
//! of either at every step and at any moment. Each row is in both tables exactly once, or the test fails.

mod changes;
mod payloads;
mod put_aside;
mod two_catalogs;
mod upserts;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use frazil_storage::Step;
use frazil_tests::peers::{Column, Engine, Kafka, Kind, Table};
use frazil_tests::process::{Process, log_tail};
use frazil_tests::server::{Server, frazil};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Rows that are produced before each run, so that a killed run always has something to lose.
const ROWS_PER_RUN: u64 = 400;

/// A step that a run does not come to in this time is not reached in it; the run is killed where it stands.
const STEP_TIMEOUT: Duration = Duration::from_secs(4);

struct World {
    folder: TempDir,
    kafka: &'static Kafka,
    topic: String,
    produced: u64,
}

const FIRST: &str = "first.sql";
const SECOND: &str = "second.sql";

impl World {
    fn new(kafka: &'static Kafka, topic: &str) -> Self {
        let folder = TempDir::with_prefix("frazil-e2e-").unwrap();
        kafka.create_topic(topic, 4);
        let brokers = kafka.bootstrap_servers();
        let first = format!(
            "CREATE TABLE events (id BIGINT NOT NULL, kind STRING, v ROW<n BIGINT, tags ARRAY<STRING>>)
             WITH ('connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{brokers}', 'format' = 'json');
             CREATE TABLE IF NOT EXISTS a (id BIGINT NOT NULL, kind STRING, v ROW<n BIGINT, tags ARRAY<STRING>>)
             PARTITIONED BY (kind) WITH ('auto-compact' = 'true', 'compact.delta.commits' = '2');
             INSERT INTO a SELECT id, kind, v FROM events;"
        );
        let second = "CREATE TABLE IF NOT EXISTS b (id BIGINT NOT NULL, n BIGINT)
             WITH ('auto-compact' = 'true', 'compact.delta.commits' = '3',
                   'history.expire.max-snapshot-age-ms' = '2000', 'history.expire.min-snapshots-to-keep' = '2');
             INSERT INTO b SELECT id, v.n FROM a /*+ OPTIONS('streaming' = 'true', 'monitor-interval' = '50 ms') */
             WHERE id % 3 = 0;";
        std::fs::write(folder.path().join(FIRST), first).unwrap();
        std::fs::write(folder.path().join(SECOND), second).unwrap();
        Self { folder, kafka, topic: topic.to_owned(), produced: 0 }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn produce(&mut self, rows: u64) {
        let lines: Vec<_> = (self.produced..self.produced + rows)
            .map(|id| {
                let tags = if id % 5 == 0 { json!(["x", null]) } else { json!([]) };
                json!({ "id": id, "kind": format!("k{}", id % 3), "v": { "n": id * 2, "tags": tags } }).to_string()
            })
            .collect();
        self.kafka.produce(&self.topic, None, lines);
        self.produced += rows;
    }

    fn spawn(&self, script: &str, stop_at: Option<&str>) -> Process {
        spawn_job(&self.folder.path().join(script), &self.data_dir(), stop_at)
    }

    /// Runs both jobs, `script` with a step armed, until that one is gone.
    fn run_until_killed(&mut self, script: &str, stop_at: &str) -> bool {
        self.produce(ROWS_PER_RUN);
        let other = if script == FIRST { SECOND } else { FIRST };
        let mut beside = self.spawn(other, None);
        let mut armed = self.spawn(script, Some(stop_at));
        let reached = armed.wait(STEP_TIMEOUT).unwrap().is_some();
        armed.kill();
        beside.kill();
        reached
    }

    fn run_for(&mut self, time: Duration) {
        self.produce(ROWS_PER_RUN);
        let mut jobs = [self.spawn(FIRST, None), self.spawn(SECOND, None)];
        std::thread::sleep(time);
        jobs.iter_mut().for_each(Process::kill);
    }

    /// Lets both jobs finish what is there, stops them with Ctrl-C, and checks every row of both tables.
    fn check(&mut self) {
        let mut jobs = [self.spawn(FIRST, None), self.spawn(SECOND, None)];
        let expected_first = expected(self.produced, 1);
        let expected_second = expected(self.produced, 3);
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut found = (Value::Null, Value::Null);
        while Instant::now() < deadline {
            found = (totals(&self.data_dir(), "a"), totals(&self.data_dir(), "b"));
            if found == (expected_first.clone(), expected_second.clone()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        for job in &jobs {
            job.interrupt().unwrap();
        }
        for job in &mut jobs {
            let status = job.wait(Duration::from_secs(30)).unwrap().expect("Ctrl-C stops a job");
            assert!(status.success(), "a clean stop ends with {status}");
        }
        assert_eq!(found, (expected_first, expected_second), "rows, distinct ids and sum of both tables");
        assert_eq!(found.0, totals(&self.data_dir(), "a"), "the last checkpoint added nothing twice");
        for table in ["a", "b"] {
            let verified = frazil().args(["verify", table, "--data-dir"]).arg(self.data_dir()).output().unwrap();
            let said = String::from_utf8_lossy(&verified.stdout);
            assert!(verified.status.success(), "{table} is damaged: {said}");
            println!("{}", said.lines().next().unwrap_or_default());
        }
    }
}

fn spawn_job(script: &Path, data_dir: &Path, stop_at: Option<&str>) -> Process {
    let mut command = frazil();
    command.arg("run").arg(script).arg("--data-dir").arg(data_dir);
    command.args(["--checkpoint-interval", "100 ms", "--output", "json"]);
    let log = std::fs::File::options().create(true).append(true).open(script.with_extension("log")).unwrap();
    command.stdout(Stdio::from(log.try_clone().unwrap())).stderr(Stdio::from(log));
    if let Some(stop_at) = stop_at {
        command.env("FRAZIL_STOP_AT", stop_at);
    }
    Process::spawn(command).unwrap()
}

/// Count, distinct ids and sum of ids of a table; null while it is not there.
fn totals(data_dir: &Path, table: &str) -> Value {
    let query = format!("SELECT count(*) AS n, count(DISTINCT id) AS d, sum(id) AS s FROM {table}");
    let mut command = frazil();
    command.arg("sql").arg("--data-dir").arg(data_dir).args(["--output", "json", "-e", &query]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(text.trim()).unwrap_or(Value::Null)
}

/// What [`totals`] is when the table has every `step`-th of the ids below `count` once.
fn expected(count: u64, step: u64) -> Value {
    let ids = (0..count).step_by(usize::try_from(step).unwrap());
    let n = ids.clone().count();
    json!({ "n": n, "d": n, "s": ids.sum::<u64>() })
}

/// How often a run is made for a step before it counts as not reached: on a busy machine a run may be killed before it.
/// Only positions of more than 4 KiB make a state manifest; only the second table expires its snapshots this soon.
fn attempts(script: &str, step: Step) -> usize {
    match step {
        Step::StateWritten => 0,
        // These jobs only append.
        Step::DeletesWritten | Step::DeletesRebased | Step::DeletesConverted => 0,
        // Both jobs write one catalog, which commits tables at once.
        Step::CommittableWritten | Step::SinkCommitted => 0,
        Step::SnapshotsExpired if script == FIRST => 0,
        _ => 4,
    }
}

fn kills_wanted() -> usize {
    let is_long = std::env::var("FRAZIL_LONG").is_ok_and(|value| value == "1");
    if is_long { 200 } else { 24 }
}

#[test]
fn every_row_is_in_both_tables_once_however_often_the_jobs_are_killed() {
    let kafka = match Kafka::shared() {
        Ok(kafka) => kafka,
        Err(skip) => return skip.report(),
    };
    let mut world = World::new(kafka, "e2e-kills");
    world.produce(ROWS_PER_RUN);
    let mut reached = Vec::new();
    let mut kills = 0;
    // A step of the first commit is that of the fence; the second time is a checkpoint's.
    for (nth, script) in [(2, FIRST), (2, SECOND)] {
        for step in Step::ALL {
            let nth = match step {
                Step::FenceCommitted | Step::SnapshotsExpired | Step::RewritePlanned => 1,
                Step::RewriteWritten | Step::RewriteCommitted => 1,
                _ => nth,
            };
            for _ in 0..attempts(script, *step) {
                kills += 1;
                if world.run_until_killed(script, &format!("{step}:{nth}")) {
                    reached.push((script, *step));
                    break;
                }
            }
        }
    }
    let seed = rand::rng().random();
    println!("random moments follow from seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    while kills < kills_wanted() {
        world.run_for(Duration::from_millis(random.random_range(50..1_500)));
        kills += 2;
    }
    world.check();
    println!("{kills} kills, {} rows, steps reached: {reached:?}", world.produced);
    for script in [FIRST, SECOND] {
        for step in Step::ALL.iter().filter(|step| attempts(script, **step) > 0) {
            assert!(reached.contains(&(script, *step)), "{script} was never stopped at {step}");
        }
    }
}

#[test]
fn a_job_and_a_foreign_client_write_the_same_table_without_loss() {
    const JOB_ROWS: u64 = 3_000;
    const FOREIGN_COMMITS: u64 = 12;
    let folder = TempDir::with_prefix("frazil-e2e-").unwrap();
    let data_dir = folder.path().join("data");
    let server = Server::start(&data_dir);
    let peer = match Engine::PyIceberg.start(&server.url()) {
        Ok(peer) => peer,
        Err(skip) => return skip.report(),
    };
    let table = Table {
        namespace: "shared".to_owned(),
        name: "t".to_owned(),
        columns: vec![Column::new("id", Kind::Long)],
        month_of: None,
    };
    peer.create_namespace("shared").unwrap();
    peer.create(&table).unwrap();
    let input = folder.path().join("in.json");
    let lines: String = (0..JOB_ROWS).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    std::fs::write(&input, lines).unwrap();
    let script = folder.path().join("job.sql");
    let job = format!(
        "CREATE TABLE src (id BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json',
             'rows-per-second' = '600', 'batch-rows' = '50');
         INSERT INTO shared.t /*+ OPTIONS('auto-compact' = 'true', 'compact.delta.commits' = '4') */ SELECT id FROM src;",
        input.display()
    );
    std::fs::write(&script, job).unwrap();
    let mut job = spawn_job(&script, &data_dir, None);
    let mut foreign = 0;
    let mut lost_attempts = 0;
    while foreign < FOREIGN_COMMITS {
        let row = json!({ "id": 1_000_000 + foreign });
        match peer.append(&table, &[row]) {
            Ok(()) => foreign += 1,
            // The job committed first: that is what the client's user would try again as well.
            Err(error) if error.to_string().contains("CommitFailed") => lost_attempts += 1,
            Err(error) => panic!("{error}"),
        }
        assert!(lost_attempts < 500, "the job starves the foreign client");
    }
    let status = job.wait(Duration::from_secs(60)).unwrap().expect("the job comes to its end");
    assert!(status.success());
    println!("{foreign} foreign commits beside the job, {lost_attempts} of their attempts lost to it");
    let ids: Vec<u64> = (0..JOB_ROWS).chain(1_000_000..1_000_000 + FOREIGN_COMMITS).collect();
    let expected = json!({ "n": ids.len(), "d": ids.len(), "s": ids.iter().sum::<u64>() });
    assert_eq!(totals(&data_dir, "shared.t"), expected);
    assert_eq!(peer.count("shared.t").unwrap(), i64::try_from(ids.len()).unwrap());
}
