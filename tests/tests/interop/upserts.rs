//! Tables that a job upserts into, beside other engines that write them, as all of them read them.
//!
//! The job stands still while the others write, so that none of them loses to it; its next rows then take the place of
//! whatever they have made of the table.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use frazil_tests::peers::{Engine, Error, FrazilSql, Peer};
use frazil_tests::process::Process;
use frazil_tests::server::frazil;
use serde_json::json;
use tempfile::TempDir;

use super::world;

const TIMEOUT: Duration = Duration::from_secs(90);

/// A job into one table, and what the table has to hold.
struct Upserts<'a> {
    folder: TempDir,
    table: String,
    sql: &'a FrazilSql,
    files: u32,
    next_v: i64,
    model: BTreeMap<i64, i64>,
}

impl<'a> Upserts<'a> {
    fn new(version: u8, sql: &'a FrazilSql) -> Self {
        let folder = TempDir::with_prefix("frazil-interop-").unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        let table = format!("upserts.v{version}");
        let script = format!(
            "CREATE TABLE changes (id BIGINT, v BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}',
                 'format' = 'json', 'source.monitor-interval' = '100 ms', 'rows-per-second' = '2000', 'batch-rows' = '50');
             CREATE DATABASE IF NOT EXISTS upserts;
             CREATE TABLE IF NOT EXISTS {table} (id BIGINT, v BIGINT, PRIMARY KEY (id) NOT ENFORCED)
             PARTITIONED BY (bucket(2, id)) WITH ('connector' = 'iceberg', 'format-version' = '{version}',
                 'write.upsert.enabled' = 'true', 'write.delete.mode' = 'merge-on-read');
             INSERT INTO {table} SELECT id, v FROM changes;",
            folder.path().join("in").display()
        );
        std::fs::write(folder.path().join("job.sql"), script).unwrap();
        Self { folder, table, sql, files: 0, next_v: 0, model: BTreeMap::new() }
    }

    fn start(&self, uri: &str) -> Process {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let mut command = frazil();
        command.arg("run").arg(self.folder.path().join("job.sql")).args(["--catalog", uri, "--data-dir"]);
        command.arg(self.folder.path().join("data")).args(["--checkpoint-interval", "200 ms"]);
        command.stdout(Stdio::from(log.try_clone().unwrap())).stderr(Stdio::from(log));
        Process::spawn(command).unwrap()
    }

    /// Several rows of each of some keys.
    fn stream(&mut self, keys: std::ops::Range<i64>, rounds: usize) {
        let mut lines = String::new();
        for _ in 0..rounds {
            for id in keys.clone() {
                lines += &format!("{{\"id\":{id},\"v\":{}}}\n", self.next_v);
                self.model.insert(id, self.next_v);
                self.next_v += 1;
            }
        }
        self.files += 1;
        let hidden = self.folder.path().join("next");
        std::fs::write(&hidden, lines).unwrap();
        std::fs::rename(hidden, self.folder.path().join(format!("in/{:04}.json", self.files))).unwrap();
    }

    fn rows(&self) -> Vec<String> {
        let mut rows: Vec<String> = self.model.iter().map(|(id, v)| json!([id, v]).to_string()).collect();
        rows.sort();
        rows
    }

    /// Waits until the job has brought the table to where the model is.
    fn settle(&self, job: &mut Process) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let rows = self.sql.sql(&format!("SELECT id, v FROM {}", self.table)).unwrap_or_default();
            let mut found: Vec<String> = rows.iter().map(|row| json!([row["id"], row["v"]]).to_string()).collect();
            found.sort();
            if found == self.rows() {
                return;
            }
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(job.try_wait().unwrap().is_none(), "the job ended: {}", log());
            let wanted = self.model.len();
            assert!(Instant::now() < deadline, "{}: {} rows of {wanted}: {}", self.table, found.len(), log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// What others do: rows are deleted, rows of keys that are there are added beside them, files are rewritten.
    fn others_write(&mut self, peers: &[Peer], version: u8) -> Result<(), Error> {
        let table = format!("frazil.{}", self.table);
        for peer in peers {
            match peer.engine() {
                Engine::Spark => {
                    peer.sql(&format!("DELETE FROM {table} WHERE id % 10 = 3"))?;
                    self.model.retain(|id, _| id % 10 != 3);
                    peer.sql(&format!("INSERT INTO {table} VALUES (0, -1), (1, -1), (2, -1)"))?;
                    let rewrite = "CALL frazil.system.rewrite_data_files(table => '{}', \
                                   options => map('rewrite-all', 'true'))";
                    peer.sql(&rewrite.replace("{}", &self.table))?;
                }
                Engine::PyIceberg if version == 2 => {
                    let rows = [json!({"id": 3, "v": -2}), json!({"id": 4, "v": -2})];
                    peer.ask(&json!({"op": "append", "table": self.table, "rows": rows}))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// `refusal`: what an engine is known to say instead of reading the table.
fn upsert_between_others(version: u8, refusal: impl Fn(Engine) -> Option<&'static str>) -> Result<(), Error> {
    let world = world();
    for skip in &world.skips {
        skip.report();
    }
    let Some(sql) = &world.frazil else { return Ok(()) };
    let mut upserts = Upserts::new(version, sql);
    let mut job = upserts.start(&world.uri);
    upserts.stream(0..300, 4);
    upserts.settle(&mut job);
    upserts.others_write(&world.peers, version)?;
    upserts.stream(0..200, 3);
    upserts.settle(&mut job);
    job.interrupt().unwrap();
    let status = job.wait(TIMEOUT).unwrap().expect("Ctrl-C stops a job");
    assert!(status.success(), "{status}");
    let mut failures = Vec::new();
    // Trino 406 knows no format version 3.
    for peer in world.peers.iter().filter(|peer| version < 3 || peer.engine() != Engine::Trino) {
        let engine = peer.engine();
        match (peer.scan(&upserts.table), refusal(engine)) {
            // What an engine can't read, the job's compaction may have applied.
            (Ok(found), _) if found.sorted_rows() == upserts.rows() => {}
            (Ok(found), _) => failures.push(format!("{engine} reads {} rows, not these", found.rows.len())),
            (Err(error), Some(refusal)) if error.to_string().contains(refusal) => {}
            (Err(error), _) => failures.push(error.to_string()),
        }
    }
    assert!(failures.is_empty(), "{}:\n{}", upserts.table, failures.join("\n"));
    Ok(())
}

#[test]
fn upserts_of_version_2_between_other_engines() -> Result<(), Error> {
    let refusal = "PyIceberg does not yet support equality deletes";
    upsert_between_others(2, |engine| (engine == Engine::PyIceberg).then_some(refusal))
}

#[test]
fn upserts_of_version_3_between_other_engines() -> Result<(), Error> {
    upsert_between_others(3, |_| None)
}
