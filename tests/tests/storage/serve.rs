//! A warehouse on S3, as a person has it: `frazil serve` on it, a job into it that is killed on its way, SQL and upkeep
//! over it, and other engines that are told by the catalog how it is reached.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use frazil_tests::peers::{Column, Engine, Kind, Peer, Skip, Table};
use frazil_tests::process::{Process, free_port};
use frazil_tests::server::{Server, frazil};
use frazil_tests::stores::StoreServer;
use futures::TryStreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::place::store;

const ROWS: u64 = 2_000;
const TIMEOUT: Duration = Duration::from_secs(60);

/// A data folder whose warehouse is on S3.
struct World {
    folder: TempDir,
    s3: &'static StoreServer,
    warehouse: String,
}

impl World {
    fn new(name: &str) -> Result<Self, Skip> {
        let s3 = StoreServer::s3()?;
        let warehouse = format!("{}/warehouses/{name}", s3.root());
        Ok(Self { folder: TempDir::with_prefix("frazil-s3-").unwrap(), s3, warehouse })
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// `--storage` for everything that it takes to reach the store.
    fn storage(&self) -> Vec<String> {
        let option = |(key, value): &(String, String)| ["--storage".to_owned(), format!("{key}={value}")];
        self.s3.properties().iter().flat_map(option).collect()
    }

    fn serve(&self, more: &[&str]) -> Server {
        let options = [self.storage(), more.iter().map(|&option| option.to_owned()).collect()].concat();
        Server::start_with(&self.data_dir(), free_port(), &options)
    }

    /// A command on the data folder, by somebody who has no credentials but those that are given.
    fn command(&self, arguments: &[&str], storage: &[String]) -> Command {
        let mut command = frazil();
        command.args(arguments).arg("--data-dir").arg(self.data_dir()).args(storage).current_dir(self.folder.path());
        command
    }

    #[track_caller]
    fn done(&self, arguments: &[&str], storage: &[String]) -> String {
        let Output { status, stdout, stderr } = self.command(arguments, storage).output().unwrap();
        assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    #[track_caller]
    fn totals(&self, table: &str, storage: &[String]) -> Value {
        let query = format!("SELECT count(*) AS n, count(DISTINCT id) AS d, sum(id) AS s FROM {table}");
        serde_json::from_str(self.done(&["sql", "--output", "json", "-e", &query], storage).trim()).unwrap()
    }

    /// Streams the rows in until the file ends, first with a `kill -9` in the middle of a commit.
    fn run_job(&self) {
        let lines: String = (0..ROWS).map(|id| format!("{{\"id\":{id},\"kind\":\"k{}\"}}\n", id % 3)).collect();
        std::fs::write(self.folder.path().join("in.json"), lines).unwrap();
        let job = "CREATE TABLE incoming (id BIGINT, kind STRING)
             WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'json', 'rows-per-second' = '2000',
                   'batch-rows' = '100');
             CREATE DATABASE IF NOT EXISTS db;
             CREATE TABLE IF NOT EXISTS db.events (id BIGINT, kind STRING) PARTITIONED BY (kind)
             WITH ('auto-compact' = 'true', 'compact.delta.commits' = '2');
             INSERT INTO db.events SELECT id, kind FROM incoming;";
        std::fs::write(self.folder.path().join("job.sql"), job).unwrap();
        let arguments = ["run", "job.sql", "--checkpoint-interval", "100 ms", "--output", "json"];
        let mut first = self.command(&arguments, &self.storage());
        let log = std::fs::File::create(self.folder.path().join("job.log")).unwrap();
        first.env("FRAZIL_STOP_AT", "pointer-swapped:2").stdout(log.try_clone().unwrap()).stderr(log);
        let mut first = Process::spawn(first).unwrap();
        let ended = first.wait(TIMEOUT).unwrap().expect("it comes to its step");
        let log = std::fs::read_to_string(self.folder.path().join("job.log")).unwrap();
        assert!(ended.code().is_none(), "it is killed at its step: {ended}\n{log}");
        self.done(&arguments, &self.storage());
    }

    /// The files of a kind in the warehouse.
    fn files(&self, end: &str) -> usize {
        let store = store(self.s3.properties().iter().cloned());
        let listed =
            runtime().block_on(async { store.list(&self.warehouse).await.unwrap().try_collect::<Vec<_>>().await });
        listed.unwrap().iter().filter(|meta| meta.location.ends_with(end)).count()
    }
}

fn expected(ids: impl Iterator<Item = u64> + Clone) -> Value {
    json!({ "n": ids.clone().count(), "d": ids.clone().count(), "s": ids.sum::<u64>() })
}

#[test]
fn a_job_writes_into_a_warehouse_on_s3_and_everybody_reads_it() {
    let world = match World::new("shared") {
        Ok(world) => world,
        Err(skip) => return skip.report(),
    };
    let server = world.serve(&["--warehouse", &world.warehouse, "--share-credentials"]);
    world.run_job();
    assert!(world.files(".parquet") >= 3 && world.files(".metadata.json") >= 3, "the tables are in S3");
    let beside = std::fs::read_dir(world.data_dir().join("warehouse")).unwrap().count();
    assert_eq!(beside, 0, "and not beside the catalog");
    let all = expected(0..ROWS);
    assert_eq!(world.totals("db.events", &[]), all, "the catalog says how its tables are reached");

    let foreign = Table {
        namespace: "db".to_owned(),
        name: "foreign".to_owned(),
        columns: vec![Column::new("id", Kind::Long)],
        month_of: None,
    };
    match Engine::PyIceberg.start(&server.url()) {
        Err(skip) => skip.report(),
        Ok(peer) => {
            check_reads(&peer);
            peer.create(&foreign).unwrap();
            peer.append(&foreign, &[json!({ "id": 7 }), json!({ "id": 8 })]).unwrap();
            assert_eq!(world.totals("db.foreign", &[]), expected(7..9), "what another engine wrote");
        }
    }
    match Engine::DuckDb.start(&server.url()) {
        Err(skip) => skip.report(),
        Ok(peer) => check_reads(&peer),
    }

    let before = world.files(".parquet");
    world.done(&["compact", "db.events"], &world.storage());
    assert!(world.files(".parquet") > before, "it writes anew beside what is there");
    world.done(&["expire", "db.events", "--older-than", "0 s", "--keep", "1"], &world.storage());
    assert!(world.files(".parquet") <= before, "what only old snapshots named is gone from S3");
    world.done(&["verify", "db.events"], &world.storage());
    assert_eq!(world.totals("db.events", &[]), all);
}

fn check_reads(peer: &Peer) {
    let found = peer.checksum("db.events", &["id"]).unwrap();
    let rows = i64::try_from(ROWS).unwrap();
    assert_eq!((found.rows, found.columns[0].sum), (rows, Some(rows * (rows - 1) / 2)), "{}", peer.engine());
}

/// The warehouse is decided once; secrets stay where they are unless their owner says otherwise.
#[test]
fn a_warehouse_is_remembered_and_its_secrets_are_not_told() {
    let world = match World::new("kept") {
        Ok(world) => world,
        Err(skip) => return skip.report(),
    };
    let warehouse = world.warehouse.clone();
    let create = ["sql", "-e", "CREATE TABLE t (id BIGINT); INSERT INTO t VALUES (1), (2)", "--warehouse", &warehouse];
    world.done(&create, &world.storage());
    assert_eq!(world.totals("t", &world.storage()), expected(1..3), "without a server, and without --warehouse");
    let other = ["sql", "-e", "SELECT 1", "--warehouse", "s3://elsewhere/w"];
    let Output { status, stderr, .. } = world.command(&other, &world.storage()).output().unwrap();
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.code() == Some(2) && said.contains(&warehouse), "{status}: {said}");

    let server = world.serve(&[]);
    let url = format!("{}/v1/namespaces/default/tables/t", server.url());
    let told: Value = runtime().block_on(async { reqwest::get(url).await.unwrap().json().await.unwrap() });
    assert_eq!(told["config"]["s3.endpoint"], json!(world.s3.endpoint()), "{}", told["config"]);
    assert_eq!(told["config"]["s3.path-style-access"], "true", "other clients would ask for ice.127.0.0.1");
    let secrets = ["s3.access-key-id", "s3.secret-access-key"];
    assert!(secrets.iter().all(|key| told["config"].get(key).is_none()), "{}", told["config"]);
    // The file of --config is the place for them.
    let properties = world.s3.properties().iter().map(|(key, value)| format!("{key} = '{value}'\n"));
    let file = format!("[storage]\n{}", properties.collect::<String>());
    std::fs::write(world.folder.path().join("frazil.toml"), file).unwrap();
    let query = ["--config", "frazil.toml", "sql", "--output", "json", "-e", "SELECT sum(id) AS s FROM t"];
    assert_eq!(world.done(&query, &[]).trim(), "{\"s\":3}");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
