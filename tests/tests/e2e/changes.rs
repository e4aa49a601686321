//! Changes of rows out of Kafka, as Debezium tells them and as a topic of upserts with tombstones, through a `WHERE` into
//! tables of format versions 2 and 3, killed at steps and at any moment. No key is ever there twice, and in the end each
//! table has exactly the rows that there are.

use std::collections::BTreeMap;

use super::*;

/// Keys of the stream; as many are free for rows that move.
const KEYS: u64 = 200;

/// Every so many values does not pass the `WHERE`.
const LEFT_OUT: u64 = 5;

const CHANGES_PER_ROUND: u64 = 300;

const PARTITIONS: i32 = 2;

/// The jobs: a source, and the format version of its table.
const JOBS: [(&str, u8); 4] = [("debezium", 2), ("debezium", 3), ("upserts", 2), ("upserts", 3)];

/// What a job is stopped at, each at its second time: the first is that of the fence.
const STEPS: [Step; 8] = [
    Step::BarrierSent,
    Step::FilesClosed,
    Step::DeletesWritten,
    Step::ManifestsWritten,
    Step::ManifestListWritten,
    Step::MetadataWritten,
    Step::PointerSwapped,
    Step::CheckpointCommitted,
];

struct Changes {
    folder: TempDir,
    kafka: &'static Kafka,
    random: StdRng,
    next_v: u64,
    model: BTreeMap<u64, u64>,
    deletes: usize,
    /// Deletes of keys that were not there.
    empty_deletes: usize,
    moves: usize,
    kills: usize,
    stops: usize,
}

fn table_of(source: &str, version: u8) -> String {
    format!("{source}{version}")
}

fn topic_of(source: &str) -> String {
    format!("e2e-changes-{source}")
}

impl Changes {
    fn new(kafka: &'static Kafka, seed: u64) -> Self {
        let folder = TempDir::with_prefix("frazil-e2e-").unwrap();
        for source in ["debezium", "upserts"] {
            kafka.create_topic(&topic_of(source), PARTITIONS);
        }
        let brokers = kafka.bootstrap_servers();
        for (source, version) in JOBS {
            let how = match source {
                "debezium" => "'connector' = 'kafka', 'format' = 'debezium-json'",
                _ => "'connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json'",
            };
            let (table, topic) = (table_of(source, version), topic_of(source));
            let script = format!(
                "CREATE TABLE changes (id BIGINT, v BIGINT NOT NULL, PRIMARY KEY (id) NOT ENFORCED)
                 WITH ({how}, 'topic' = '{topic}', 'properties.bootstrap.servers' = '{brokers}');
                 CREATE TABLE IF NOT EXISTS {table} (id BIGINT, twice BIGINT NOT NULL, PRIMARY KEY (id) NOT ENFORCED)
                 WITH ('connector' = 'iceberg', 'format-version' = '{version}', 'write.upsert.enabled' = 'true');
                 INSERT INTO {table} SELECT id, v * 2 FROM changes WHERE v % {LEFT_OUT} <> 0;"
            );
            std::fs::write(folder.path().join(table).with_extension("sql"), script).unwrap();
        }
        let random = StdRng::seed_from_u64(seed);
        let (model, deletes, empty_deletes, moves, kills, stops) = (BTreeMap::new(), 0, 0, 0, 0, 0);
        Self { folder, kafka, random, next_v: 0, model, deletes, empty_deletes, moves, kills, stops }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn script(&self, table: &str) -> PathBuf {
        self.folder.path().join(table).with_extension("sql")
    }

    /// Rows come, change, go, and sometimes get another key. All that is said of a key stands in one partition.
    fn produce(&mut self) {
        let mut events: [Vec<String>; PARTITIONS as usize] = Default::default();
        let mut records: [Vec<(String, Option<String>)>; PARTITIONS as usize] = Default::default();
        for _ in 0..CHANGES_PER_ROUND {
            let id = self.random.random_range(0..2 * KEYS);
            let to = (id + KEYS) % (2 * KEYS);
            let place = (id % PARTITIONS as u64) as usize;
            let (events, records) = (&mut events[place], &mut records[place]);
            let row = |id: u64, v: u64| json!({ "id": id, "v": v });
            let key = |id: u64| json!({ "id": id }).to_string();
            let (v, before) = (self.next_v, self.model.get(&id).copied());
            match (before, self.random.random_range(0..10)) {
                (before, 0..3) => {
                    let old = row(id, before.unwrap_or(v));
                    events.push(json!({ "before": old, "after": null, "op": "d" }).to_string());
                    records.push((key(id), None));
                    let count = if before.is_some() { &mut self.deletes } else { &mut self.empty_deletes };
                    *count += 1;
                    self.model.remove(&id);
                }
                (Some(old), 3) if !self.model.contains_key(&to) => {
                    events.push(json!({ "before": row(id, old), "after": row(to, v), "op": "u" }).to_string());
                    records.extend([(key(id), None), (key(to), Some(row(to, v).to_string()))]);
                    self.model.remove(&id);
                    self.model.insert(to, v);
                    self.moves += 1;
                }
                (before, _) => {
                    let op = if before.is_some() { "u" } else { "c" };
                    let event = json!({ "before": before.map(|old| row(id, old)), "after": row(id, v), "op": op });
                    events.push(event.to_string());
                    records.push((key(id), Some(row(id, v).to_string())));
                    self.model.insert(id, v);
                }
            }
            self.next_v += 1;
        }
        for (partition, (events, records)) in (0..).zip(events.into_iter().zip(records)) {
            self.kafka.produce(&topic_of("debezium"), Some(partition), events);
            self.kafka.produce_keyed(&topic_of("upserts"), partition, records);
        }
    }

    fn spawn(&self, (source, version): (&str, u8), stop_at: Option<&str>) -> Process {
        spawn_job(&self.script(&table_of(source, version)), &self.data_dir(), stop_at)
    }

    /// Runs all jobs and kills them: when one of them has come to a step, or at any moment.
    fn run(&mut self, to_a_step: bool) {
        self.produce();
        let armed = self.random.random_range(0..JOBS.len());
        let stop_at = format!("{}:2", STEPS[self.random.random_range(0..STEPS.len())]);
        let mut places = 0..;
        let mut jobs = JOBS.map(|job| {
            let is_armed = places.next() == Some(armed) && to_a_step;
            self.spawn(job, is_armed.then_some(stop_at.as_str()))
        });
        match to_a_step {
            true => drop(jobs[armed].wait(STEP_TIMEOUT).unwrap()),
            false => std::thread::sleep(Duration::from_millis(self.random.random_range(300..2_500))),
        }
        for (place, job) in jobs.iter_mut().enumerate() {
            match job.try_wait().unwrap() {
                None => job.kill(),
                Some(_) if place == armed && to_a_step => self.stops += 1,
                Some(end) => {
                    let (source, version) = JOBS[place];
                    let log = log_tail(&self.script(&table_of(source, version)).with_extension("log"));
                    panic!("the job from {source} into version {version} ended by itself, with {end}:\n{log}");
                }
            }
        }
        self.kills += jobs.len();
        for (source, version) in JOBS {
            let rows = self.rows(&table_of(source, version));
            let twice: Vec<_> = rows.windows(2).filter(|pair| pair[0].0 == pair[1].0).collect();
            assert!(twice.is_empty(), "keys of {source}, version {version}, that have several rows: {twice:?}");
        }
    }

    /// None of a table that is not there yet.
    fn rows(&self, table: &str) -> Vec<(u64, u64)> {
        let mut command = frazil();
        command.arg("sql").arg("--data-dir").arg(self.data_dir()).args(["--output", "json", "-e"]);
        let output = command.arg(format!("SELECT id, twice FROM {table} ORDER BY id")).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let rows = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        rows.map(|row| (row["id"].as_u64().unwrap(), row["twice"].as_u64().unwrap())).collect()
    }

    /// Lets all jobs finish what is there, and compares every row.
    fn check(&mut self) {
        let passed = self.model.iter().filter(|(_, v)| *v % LEFT_OUT != 0);
        let expected: Vec<(u64, u64)> = passed.map(|(id, v)| (*id, v * 2)).collect();
        let mut jobs = JOBS.map(|job| self.spawn(job, None));
        let deadline = Instant::now() + Duration::from_secs(90);
        let is_done = |(source, version)| self.rows(&table_of(source, version)) == expected;
        while Instant::now() < deadline && !JOBS.into_iter().all(is_done) {
            std::thread::sleep(Duration::from_millis(300));
        }
        for job in &jobs {
            job.interrupt().unwrap();
        }
        for (job, (source, version)) in jobs.iter_mut().zip(JOBS) {
            let table = table_of(source, version);
            let status = job.wait(Duration::from_secs(30)).unwrap().expect("Ctrl-C stops a job");
            let log = log_tail(&self.script(&table).with_extension("log"));
            assert!(status.success(), "a clean stop of the job into {table} ends with {status}:\n{log}");
            assert_eq!(self.rows(&table), expected, "{table}");
            let verified = frazil().args(["verify", &table, "--data-dir"]).arg(self.data_dir()).output().unwrap();
            assert!(verified.status.success(), "{table}: {}", String::from_utf8_lossy(&verified.stdout));
        }
    }
}

#[test]
fn tables_have_the_rows_that_there_are_after_updates_deletes_and_kills() {
    let kafka = match Kafka::shared() {
        Ok(kafka) => kafka,
        Err(skip) => return skip.report(),
    };
    let seed = rand::rng().random();
    println!("changes and moments follow from seed {seed}");
    let mut world = Changes::new(kafka, seed);
    while world.kills < kills_wanted() {
        world.run(true);
        world.run(false);
    }
    world.produce();
    world.check();
    let Changes { kills, stops, next_v, deletes, empty_deletes, moves, .. } = &world;
    println!(
        "{kills} kills, {stops} of them at a step, {next_v} changes, {deletes} deletes and {empty_deletes} of keys that were \
         not there, {moves} keys changed"
    );
    assert!(*deletes > 50 && *empty_deletes > 50 && *moves > 5, "{deletes}, {empty_deletes}, {moves}");
}
