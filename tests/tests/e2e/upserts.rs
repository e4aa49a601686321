//! Kafka into tables whose rows take the place of older ones, in format versions 2 and 3, killed at every step and at any
//! moment. No key is ever there twice, and in the end each has its last row.

use std::collections::BTreeMap;

use super::*;

/// Keys of the stream.
const KEYS: u64 = 500;

/// Keys of another writer begin here.
const FOREIGN: u64 = 1_000_000;

/// The tables, by their format version.
const TABLES: [(&str, u8); 2] = [("t2", 2), ("t3", 3)];

/// What a job that upserts comes to: these tables have nothing that a compaction rewrites.
const STEPS: [Step; 10] = [
    Step::FenceCommitted,
    Step::BarrierSent,
    Step::FilesClosed,
    Step::DeletesWritten,
    Step::ManifestsWritten,
    Step::ManifestListWritten,
    Step::MetadataWritten,
    Step::PointerSwapped,
    Step::CheckpointCommitted,
    Step::SnapshotsExpired,
];

struct Upserts {
    folder: TempDir,
    kafka: &'static Kafka,
    topic: String,
    random: StdRng,
    next_v: u64,
    model: BTreeMap<u64, u64>,
    kills: usize,
}

impl Upserts {
    fn new(kafka: &'static Kafka, topic: &str, seed: u64) -> Self {
        let folder = TempDir::with_prefix("frazil-e2e-").unwrap();
        kafka.create_topic(topic, 4);
        for (table, version) in TABLES {
            let script = format!(
                "CREATE TABLE changes (id BIGINT, v BIGINT) WITH ('connector' = 'kafka', 'topic' = '{topic}',
                     'properties.bootstrap.servers' = '{}', 'format' = 'json');
                 CREATE TABLE IF NOT EXISTS {table} (id BIGINT, v BIGINT, PRIMARY KEY (id) NOT ENFORCED)
                 WITH ('connector' = 'iceberg', 'format-version' = '{version}', 'write.upsert.enabled' = 'true',
                       'auto-compact' = 'true', 'compact.delta.commits' = '2',
                       'history.expire.max-snapshot-age-ms' = '2000', 'history.expire.min-snapshots-to-keep' = '2');
                 INSERT INTO {table} SELECT id, v FROM changes;",
                kafka.bootstrap_servers()
            );
            std::fs::write(folder.path().join(table).with_extension("sql"), script).unwrap();
        }
        let random = StdRng::seed_from_u64(seed);
        Self { folder, kafka, topic: topic.to_owned(), random, next_v: 0, model: BTreeMap::new(), kills: 0 }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn spawn(&self, table: &str, stop_at: Option<&str>) -> Process {
        spawn_job(&self.folder.path().join(table).with_extension("sql"), &self.data_dir(), stop_at)
    }

    /// New rows of random keys. A key has one partition, since only there have its rows an order.
    fn produce(&mut self, rows: u64) {
        let mut partitions: [Vec<String>; 4] = Default::default();
        for _ in 0..rows {
            let (id, v) = (self.random.random_range(0..KEYS), self.next_v);
            self.next_v += 1;
            self.model.insert(id, v);
            partitions[(id % 4) as usize].push(json!({ "id": id, "v": v }).to_string());
        }
        for (partition, lines) in (0..).zip(partitions) {
            self.kafka.produce(&self.topic, Some(partition), lines);
        }
    }

    /// Another program appends a row of a key of its own to each table.
    fn append_beside(&mut self) {
        let (id, v) = (FOREIGN + self.next_v, self.next_v);
        let inserts = TABLES.map(|(table, _)| format!("INSERT INTO {table} VALUES ({id}, {v});"));
        let done = self.sql(&inserts.concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        self.next_v += 1;
        self.model.insert(id, v);
    }

    fn sql(&self, statements: &str) -> std::process::Output {
        let mut command = frazil();
        command.arg("sql").arg("--data-dir").arg(self.data_dir()).args(["--output", "json", "-e", statements]);
        command.output().unwrap()
    }

    fn query(&self, query: &str) -> Vec<Value> {
        // A table that is not there yet has no rows.
        let text = String::from_utf8_lossy(&self.sql(query).stdout).into_owned();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Runs both jobs, one with a step armed, until that one is gone.
    fn run_until_killed(&mut self, table: &str, stop_at: &str) -> bool {
        self.produce(ROWS_PER_RUN);
        let other = TABLES.iter().find(|(other, _)| *other != table).expect("there are two").0;
        let mut beside = self.spawn(other, None);
        let mut armed = self.spawn(table, Some(stop_at));
        let reached = armed.wait(STEP_TIMEOUT).unwrap().is_some();
        armed.kill();
        beside.kill();
        self.kills += 2;
        self.check_keys(&format!("after a kill at {stop_at}"));
        reached
    }

    fn run_for(&mut self, time: Duration) {
        self.produce(ROWS_PER_RUN);
        let mut jobs = TABLES.map(|(table, _)| self.spawn(table, None));
        std::thread::sleep(time);
        self.append_beside();
        jobs.iter_mut().for_each(Process::kill);
        self.kills += jobs.len();
        self.check_keys("after a kill at random");
    }

    fn check_keys(&self, when: &str) {
        for (table, _) in TABLES {
            let twice = self.query(&format!("SELECT id, count(*) AS n FROM {table} GROUP BY id HAVING count(*) > 1"));
            assert!(twice.is_empty(), "{table} {when}: {} keys have several rows: {:?}", twice.len(), twice.first());
        }
    }

    fn rows(&self, table: &str) -> BTreeMap<u64, u64> {
        let rows = self.query(&format!("SELECT id, v FROM {table}"));
        rows.iter().map(|row| (row["id"].as_u64().unwrap(), row["v"].as_u64().unwrap())).collect()
    }

    /// Lets both jobs finish what is there, and compares every row.
    fn check(&mut self) {
        let mut jobs = TABLES.map(|(table, _)| self.spawn(table, None));
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline && TABLES.iter().any(|(table, _)| self.rows(table) != self.model) {
            std::thread::sleep(Duration::from_millis(200));
        }
        for job in &jobs {
            job.interrupt().unwrap();
        }
        for job in &mut jobs {
            let status = job.wait(Duration::from_secs(30)).unwrap().expect("Ctrl-C stops a job");
            assert!(status.success(), "a clean stop ends with {status}");
        }
        self.check_keys("at the end");
        for (table, _) in TABLES {
            let found = self.rows(table);
            let wrong = self.model.iter().filter(|(id, v)| found.get(*id) != Some(*v)).collect::<Vec<_>>();
            assert!(found == self.model, "{table}: {} rows of {}; wrong: {wrong:?}", found.len(), self.model.len());
            let verified = frazil().args(["verify", table, "--data-dir"]).arg(self.data_dir()).output().unwrap();
            let said = String::from_utf8_lossy(&verified.stdout);
            assert!(verified.status.success(), "{table} is damaged: {said}");
            println!("{}", said.lines().next().unwrap_or_default());
        }
    }
}

#[test]
fn each_key_has_its_last_row_however_often_the_jobs_are_killed() {
    let kafka = match Kafka::shared() {
        Ok(kafka) => kafka,
        Err(skip) => return skip.report(),
    };
    let seed = rand::rng().random();
    println!("rows and random moments follow from seed {seed}");
    let mut world = Upserts::new(kafka, "e2e-upserts", seed);
    world.produce(ROWS_PER_RUN);
    let mut reached = Vec::new();
    for step in STEPS {
        // The first commit is the fence.
        let nth = match step {
            Step::BarrierSent
            | Step::ManifestsWritten
            | Step::ManifestListWritten
            | Step::MetadataWritten
            | Step::PointerSwapped => 2,
            _ => 1,
        };
        for (table, _) in TABLES {
            for _ in 0..4 {
                if world.run_until_killed(table, &format!("{step}:{nth}")) {
                    reached.push((table, step));
                    break;
                }
            }
        }
    }
    while world.kills < kills_wanted() {
        let time = Duration::from_millis(world.random.random_range(50..1_500));
        world.run_for(time);
    }
    world.run_for(Duration::from_secs(2));
    world.check();
    println!("{} kills, {} rows, steps reached: {reached:?}", world.kills, world.next_v);
    for step in STEPS {
        for (table, _) in TABLES {
            assert!(reached.contains(&(table, step)), "the job into {table} was never stopped at {step}");
        }
    }
}
