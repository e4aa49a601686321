//! Two tables and their dead-letter tables written by one job, killed at every step.

use super::*;

/// Of so many records one is bad.
const BAD_EVERY: u64 = 7;
const RECORDS: u64 = 3_000;

/// The record of an id: bad JSON, a number too large for its column, or a good one.
fn record(id: u64) -> String {
    match (id % BAD_EVERY, id % 2) {
        (0, 0) => format!("{{\"id\":{id},\"n\":"),
        (0, _) => format!("{{\"id\":{id},\"n\":1,\"small\":5000000000}}"),
        // This one can be read, but not be computed.
        (1, _) if id.is_multiple_of(3) => format!("{{\"id\":{id},\"n\":0}}"),
        _ => format!("{{\"id\":{id},\"n\":{}}}", id % 5 + 1),
    }
}

fn is_bad(id: u64) -> bool {
    id.is_multiple_of(BAD_EVERY) || (id % BAD_EVERY == 1 && id.is_multiple_of(3))
}

struct Job {
    folder: TempDir,
}

impl Job {
    fn new() -> Self {
        let folder = TempDir::with_prefix("frazil-e2e-").unwrap();
        let lines: String = (0..RECORDS).map(|id| record(id) + "\n").collect();
        std::fs::write(folder.path().join("in.json"), lines).unwrap();
        let source = |name: &str| {
            format!(
                "CREATE TABLE {name} (id BIGINT, n BIGINT, small INT) WITH ('connector' = 'filesystem', 'path' = '{}',
                     'format' = 'json', 'on-error' = 'dead-letter', 'rows-per-second' = '1500', 'batch-rows' = '40');",
                folder.path().join("in.json").display()
            )
        };
        let script = format!(
            "{} {}
             CREATE TABLE IF NOT EXISTS a (id BIGINT NOT NULL, per BIGINT);
             CREATE TABLE IF NOT EXISTS b (id BIGINT NOT NULL);
             EXECUTE STATEMENT SET BEGIN
               INSERT INTO a SELECT id, 100 / n FROM src_a;
               INSERT INTO b SELECT id FROM src_b WHERE 100 / n > 0;
             END;",
            source("src_a"),
            source("src_b")
        );
        std::fs::write(folder.path().join("job.sql"), script).unwrap();
        Self { folder }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn spawn(&self, stop_at: Option<&str>) -> Process {
        spawn_job(&self.folder.path().join("job.sql"), &self.data_dir(), stop_at)
    }

    /// The ids in a table and in its dead-letter table.
    fn ids(&self, table: &str) -> (Vec<u64>, Vec<u64>) {
        let good = self.query(&format!("SELECT id FROM {table} ORDER BY id"));
        let bad = self
            .query(&format!("SELECT CAST(raw AS STRING) AS raw, reason, split, `line`, `offset` FROM {table}__dlq"));
        let id_of = |row: &Value| {
            let raw = row["raw"].as_str().unwrap();
            let id: u64 = raw["{\"id\":".len()..].split(',').next().unwrap().parse().unwrap();
            assert_eq!(raw, record(id), "the record as it was read");
            assert_eq!((&row["split"], &row["line"]), (&json!("in.json"), &json!(id + 1)), "{row}");
            assert!(!row["reason"].as_str().unwrap().is_empty());
            id
        };
        let mut bad: Vec<u64> = bad.iter().map(id_of).collect();
        bad.sort_unstable();
        (good.iter().map(|row| row["id"].as_u64().unwrap()).collect(), bad)
    }

    fn query(&self, query: &str) -> Vec<Value> {
        let mut command = frazil();
        command.arg("sql").arg("--data-dir").arg(self.data_dir()).args(["--output", "json", "-e", query]);
        let output = command.output().unwrap();
        // A table that is not there yet has no rows.
        String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What is in a table and beside it are the first records of the file, each once: good and bad ones come together.
    fn check_prefix(&self, table: &str, when: &str) -> u64 {
        let (good, bad) = self.ids(table);
        let count = (good.len() + bad.len()) as u64;
        let (expected_bad, expected_good): (Vec<u64>, Vec<u64>) = (0..count).partition(|id| is_bad(*id));
        assert_eq!((good, bad), (expected_good, expected_bad), "{table} {when}");
        count
    }
}

#[test]
fn good_and_bad_rows_of_two_tables_land_together_and_once_however_often_the_job_is_killed() {
    let job = Job::new();
    let steps = [
        Step::FenceCommitted,
        Step::BarrierSent,
        Step::FilesClosed,
        Step::ManifestsWritten,
        Step::ManifestListWritten,
        Step::MetadataWritten,
        Step::PointerSwapped,
        Step::CheckpointCommitted,
    ];
    let mut reached = 0;
    for step in steps {
        let nth = if matches!(step, Step::FenceCommitted) { 1 } else { 2 };
        let mut armed = job.spawn(Some(&format!("{step}:{nth}")));
        reached += usize::from(armed.wait(STEP_TIMEOUT).unwrap().is_some());
        armed.kill();
        for table in ["a", "b"] {
            job.check_prefix(table, &format!("after a kill at {step}"));
        }
    }
    assert!(reached >= steps.len() / 2, "most steps are reached: {reached} of {}", steps.len());
    let mut last = job.spawn(None);
    let status = last.wait(Duration::from_secs(120)).unwrap().expect("the file ends");
    assert!(status.success());
    for table in ["a", "b"] {
        assert_eq!(job.check_prefix(table, "at the end"), RECORDS);
    }
    println!("{reached} of {} steps reached, {RECORDS} records twice", steps.len());
}
