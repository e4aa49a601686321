//! The program as a person and a script meet it: what it prints, what it exits with, what it leaves behind.
//!
//! Exit codes: 0 done, 1 could not be done, 2 what was typed or given is wrong.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use frazil_tests::data;
use frazil_tests::process::Process;
use frazil_tests::server::{Server, frazil};
use serde_json::Value;
use tempfile::TempDir;

/// The first job of the demo, so that what a newcomer runs is what is tested.
const FLIGHTS: &str = include_str!("../../cli/demo/flights.sql");

/// Longer than any command here takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A folder of its own, with the data folder `data` in it, in which the program is run.
struct World(TempDir);

/// A program that runs, its output in files.
struct Running {
    process: Process,
    out: PathBuf,
    err: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
struct Ended {
    /// None if a signal ended it.
    code: Option<i32>,
    out: String,
    err: String,
}

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes a file, by a move, so that a job that looks at the folder sees it whole.
    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let beside = self.path("being-written");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, path).unwrap();
    }

    fn start(&self, args: &[&str]) -> Running {
        let log =
            |kind: &str| (0..).map(|n| self.path(&format!("run-{n}.{kind}"))).find(|path| !path.exists()).unwrap();
        let (out, err) = (log("out"), log("err"));
        let mut command: Command = frazil();
        command.current_dir(self.0.path()).env_remove("RUST_LOG").args(["--data-dir", "data"]).args(args);
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Running { process: Process::spawn(command).unwrap(), out, err }
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.start(args).ended()
    }

    /// The output of a command that has to succeed.
    #[track_caller]
    fn done(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
        ended.out
    }

    /// The error of a command that has to fail with a code, and to say each of `parts`.
    #[track_caller]
    fn fails(&self, code: i32, args: &[&str], parts: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        for part in parts {
            assert!(ended.err.contains(part), "{args:?} does not say {part:?}:\n{}", ended.err);
        }
        ended.err
    }

    /// Rows of a query.
    #[track_caller]
    fn query(&self, sql: &str) -> Vec<Value> {
        json_lines(&self.done(&["--output", "json", "sql", "-e", sql]))
    }

    #[track_caller]
    fn count(&self, table: &str) -> u64 {
        self.query(&format!("SELECT count(*) AS n FROM {table}"))[0]["n"].as_u64().unwrap()
    }

    /// All files of all tables, with their lengths.
    fn warehouse(&self) -> BTreeMap<PathBuf, u64> {
        fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, u64>) {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                match entry.file_type().unwrap().is_dir() {
                    true => walk(&entry.path(), found),
                    false => _ = found.insert(entry.path(), entry.metadata().unwrap().len()),
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(&self.data().join("warehouse"), &mut found);
        found
    }
}

impl Running {
    /// Waits until the program has printed a text.
    #[track_caller]
    fn says(&mut self, part: &str) {
        let deadline = Instant::now() + TIMEOUT;
        while !read(&self.out).contains(part) {
            let end = self.process.try_wait().unwrap();
            let (out, err) = (read(&self.out), read(&self.err));
            assert!(end.is_none(), "ended with {end:?} before it said {part:?}:\n{out}{err}");
            assert!(Instant::now() < deadline, "did not say {part:?}:\n{out}{err}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn ended(mut self) -> Ended {
        let end = self.process.wait(TIMEOUT).unwrap();
        let (out, err) = (read(&self.out), read(&self.err));
        let end = end.unwrap_or_else(|| panic!("still runs after {TIMEOUT:?}:\n{out}{err}"));
        Ended { code: end.code(), out, err }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Output of which every line has to be a JSON object.
#[track_caller]
fn json_lines(text: &str) -> Vec<Value> {
    let parsed = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")));
    parsed.inspect(|value: &Value| assert!(value.is_object(), "{value}")).collect()
}

/// A job from NDJSON files into the table `events`. `more` goes into the `WITH` of the files.
fn events_job(path: &str, more: &str) -> String {
    format!(
        "CREATE TABLE incoming (id BIGINT, person ROW<name STRING, city ROW<name STRING>>)
WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json'{more});
CREATE TABLE IF NOT EXISTS events (id BIGINT, person ROW<name STRING, city ROW<name STRING>>)
WITH ('connector' = 'iceberg');
INSERT INTO events SELECT id, person FROM incoming;
"
    )
}

const EVENTS: &str = r#"{"id":1,"person":{"name":"ann","city":{"name":"Oslo"}}}
{"id":2,"person":{"name":"bob","city":{"name":"Rome"}}}
{"id":3,"person":null}
"#;

/// The demo's first job on the committed excerpt, without its brake.
fn flights_job(world: &World) {
    let folder = data::flights_excerpt().display().to_string();
    world.write("flights.sql", &FLIGHTS.replace("${FLIGHTS}", &folder).replace("${RATE}", "1000000"));
    let out = world.done(&["run", "flights.sql"]);
    assert!(out.contains("1000 rows"), "{out}");
}

#[test]
fn a_misspelt_option_is_shown_with_its_place_and_the_nearest_name() {
    let world = World::new();
    world.write("in/1.json", EVENTS);
    world.write("job.sql", &events_job("in", ", 'bacth-rows' = '10'"));
    world.fails(2, &["run", "job.sql"], &["'bacth-rows'", "did you mean 'batch-rows'?", "line 2, column"]);
    world.write("job.sql", &events_job("in", "").replace("'iceberg')", "'iceberg', 'auto-compct' = 'true')"));
    world.fails(2, &["run", "job.sql"], &["'auto-compct'", "did you mean 'auto-compact'?", "line 4, column"]);
    world.write("job.sql", &events_job("in", ", 'batch-rows' = 'many'"));
    world.fails(2, &["explain", "job.sql"], &["'batch-rows'", "'many'", "whole number from 1 to 1000000"]);
}

#[test]
fn a_mistake_in_sql_is_shown_at_its_line_and_column() {
    let world = World::new();
    world.write("query.sql", "SELECT 1;\nSELECT id,\n  FROM events;\n");
    world.fails(2, &["sql", "-f", "query.sql"], &["line 3, column 3", "   ^^^^"]);
    world.fails(2, &["sql", "-e", "SELECT 1 FORM t"], &["line 1, column 15", "did you mean 'FROM' by 'FORM'?"]);
}

#[test]
fn a_query_that_can_t_be_planned_is_shown_where_it_is_wrong() {
    let world = World::new();
    world.done(&[
        "sql",
        "-e",
        "CREATE TABLE t (id BIGINT, name STRING, p ROW<lat DOUBLE>); CREATE TABLE u (id BIGINT)",
    ]);
    for (sql, column, part) in [
        ("SELECT id, upper(1, 2) FROM t", 12, "expects 1 arguments but received 2"),
        ("SELECT id FROM t WHERE uper(name) = 'A'", 24, "did you mean 'upper'?"),
        ("SELECT row_number() FROM t", 8, "row_number(…) OVER (…)"),
        ("SELECT p.latt FROM t", 8, "did you mean 'lat'?"),
        ("SELECT id FROM t WHERE id = 1 AND p > name", 35, "ROW(\"lat\": DOUBLE) > STRING"),
        ("SELECT id FROM t WHERE count(*) > 1", 24, "HAVING"),
        ("SELECT name, sum(id) FROM t GROUP BY id", 8, "GROUP BY"),
        ("SELECT sum(name) FROM t", 8, "no function takes sum(STRING)"),
        ("SELECT sum(sum(id)) FROM t", 8, "inside of another aggregate"),
        ("SELECT id FROM t GROUP BY 7", 27, "position 7"),
        ("SELECT id FROM t ORDER BY nam", 27, "did you mean 'name'?"),
        ("SELECT t.id FROM t JOIN u ON t.id = upper(u.id, 1)", 37, "expects 1 arguments"),
        ("SELECT id FROM t WHERE name", 24, "non-boolean"),
        ("SELECT id FROM (SELECT upper(id, 2) AS id FROM t) AS s", 24, "expects 1 arguments"),
        ("WITH s AS (SELECT upper(id, 2) AS id FROM t) SELECT id FROM s", 19, "expects 1 arguments"),
        ("SELECT id FROM t WHERE EXISTS (SELECT upper(1, 2) FROM u)", 39, "expects 1 arguments"),
        ("INSERT INTO u SELECT nullif(1)", 22, "expects 2 arguments"),
        ("CREATE TABLE z AS SELECT CAST(p AS INT) AS x FROM t", 31, "unsupported CAST"),
    ] {
        world.fails(2, &["sql", "-e", sql], &[part, &format!("line 1, column {column},")]);
    }
    // In a job too, where the place is of the whole script.
    world.write("in/1.json", EVENTS);
    world.write("job.sql", &events_job("in", "").replace("SELECT id,", "SELECT upper(id, 2),"));
    world.fails(2, &["run", "job.sql"], &["expects 1 arguments", "line 5, column 27,"]);
}

#[test]
fn an_unknown_table_or_column_names_what_is_near() {
    let world = World::new();
    world.done(&["sql", "-e", "CREATE TABLE events (id BIGINT, place ROW<lat DOUBLE>)"]);
    world.fails(
        2,
        &["sql", "-e", "SELECT id FROM event"],
        &["no table 'event'", "did you mean 'events'?", "column 16"],
    );
    world.fails(2, &["sql", "-e", "SELECT idd FROM events"], &["no column 'idd'", "did you mean 'id'?"]);
    for command in [&["tail", "event", "--no-follow"][..], &["compact", "event"], &["expire", "event"]] {
        world.fails(2, command, &["no table 'event'", "did you mean 'events'?"]);
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let world = World::new();
    world.fails(2, &["sql", "--nope"], &["--nope"]);
    world.fails(2, &["tail", "t", "--from", "noon"], &["earliest, latest, snapshot:ID"]);
    world.fails(2, &["run", "job.sql", "--checkpoint-interval", "1 ms"], &["at least 10 ms"]);
    world.fails(2, &["run", "missing.sql"], &["missing.sql"]);
    world.fails(2, &["--catalog", "nonsense", "sql", "-e", "SELECT 1"], &["\"nonsense\" is no address"]);
    assert!(!world.path("missing.sql").exists());
}

#[test]
fn a_folder_that_is_served_is_not_served_twice_and_commands_use_its_server() {
    let world = World::new();
    let server = Server::start(&world.data());
    world.fails(2, &["serve", "--listen", "127.0.0.1:0"], &[&server.url(), "--data-dir"]);
    world.done(&["sql", "-e", "CREATE TABLE t (id INT); INSERT INTO t VALUES (1), (2)"]);
    assert_eq!(world.count("t"), 2);
    let port = server.port();
    server.kill();
    // Nobody holds the folder any more, however the server ended: the next one has the tables.
    assert_eq!(world.count("t"), 2);
    let server = Server::start_on(&world.data(), port);
    assert_eq!(world.count("t"), 2);
    drop(server);
}

#[test]
fn a_folder_of_a_newer_version_is_left_alone() {
    let world = World::new();
    world.done(&["sql", "-e", "CREATE TABLE t (id INT)"]);
    let before = world.warehouse();
    fs::write(world.data().join("VERSION"), "99\n").unwrap();
    world.fails(2, &["sql", "-e", "DROP TABLE t"], &["\"99\"", "version 1", "newer", "--data-dir"]);
    world.fails(2, &["serve", "--listen", "127.0.0.1:0"], &["\"99\""]);
    assert_eq!(read(&world.data().join("VERSION")), "99\n");
    fs::write(world.data().join("VERSION"), "1\n").unwrap();
    assert_eq!(world.warehouse(), before);
    assert_eq!(world.count("t"), 0);
}

#[test]
fn a_busy_port_is_named_and_the_folder_stays_free() {
    let world = World::new();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    world.fails(2, &["serve", "--listen", &address], &[&address, "--listen", "port 0"]);
    drop(Server::start(&world.data()));
}

#[test]
fn a_missing_file_is_named_and_the_job_runs_once_it_is_there() {
    let world = World::new();
    world.write("job.sql", &events_job("later.json", ""));
    let path = world.path("later.json").display().to_string();
    world.fails(1, &["run", "job.sql"], &[&path, "'path'"]);
    world.write("later.json", EVENTS);
    world.done(&["run", "job.sql"]);
    assert_eq!(world.count("events"), 3);
}

#[test]
fn a_broker_that_is_not_there_is_named_with_what_to_look_at() {
    let world = World::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kafka = |more: &str| {
        format!(
            "CREATE TABLE incoming (id BIGINT) WITH ('connector' = 'kafka', 'topic' = 'events',
             'properties.bootstrap.servers' = '{nobody}', 'format' = 'json'{more});
             CREATE TABLE IF NOT EXISTS events (id BIGINT); INSERT INTO events SELECT id FROM incoming;"
        )
    };
    world.write("job.sql", &kafka(""));
    world.fails(1, &["run", "job.sql"], &[&nobody.to_string(), "'properties.bootstrap.servers'"]);
    // What is wrong with the script shows before anybody is asked.
    world.write("job.sql", &kafka(", 'scan.startup.mode' = 'timestamp'"));
    world.fails(2, &["run", "job.sql"], &["'scan.startup.timestamp-millis'"]);
}

#[test]
fn a_malformed_row_ends_the_job_by_its_place_or_is_passed_over() {
    let world = World::new();
    world.write("in/1.json", "{\"id\":1}\n{\"id\":2}\n");
    world.write("job.sql", &events_job("in", ""));
    world.done(&["run", "job.sql"]);
    world.write("in/2.json", "{\"id\":3}\n{\"id\":\"four\"}\n{\"id\":5}\n");
    world.fails(1, &["run", "job.sql"], &["2.json line 2", "field 'id'", "BIGINT", "'four'", "'on-error'='skip'"]);
    let committed = world.count("events");
    assert!((2..=3).contains(&committed), "{committed}: rows behind the malformed one, or committed rows lost");

    world.write("job.sql", &events_job("in", ", 'on-error' = 'skip'"));
    let ended = world.run(&["run", "job.sql"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("2.json line 2") && ended.err.contains("passed over"), "{}", ended.err);
    let ids: Vec<_> = world.query("SELECT id FROM events ORDER BY id").iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, [1, 2, 3, 5]);
}

#[test]
fn json_output_is_one_object_a_line_from_every_command() {
    let world = World::new();
    world.write("in/1.json", EVENTS);
    world.write("job.sql", &events_job("in", ""));
    let events = json_lines(&world.done(&["--output", "json", "run", "job.sql"]));
    let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["started", "committed", "finished"]);
    assert_eq!((&events[1]["rows"], &events[1]["table"]), (&3.into(), &"default.events".into()));

    let done = json_lines(&world.done(&[
        "--output",
        "json",
        "sql",
        "-e",
        "CREATE TABLE copy (id BIGINT); INSERT INTO copy SELECT id FROM events; SELECT max(id) AS id FROM copy",
    ]));
    assert_eq!(done.len(), 3);
    assert!(done[0]["done"].is_string());
    assert_eq!((&done[1]["rows"], &done[2]["id"]), (&3.into(), &3.into()));

    let graph: Value = serde_json::from_str(&world.done(&["explain", "--json", "job.sql"])).unwrap();
    assert!(graph["operators"].as_array().unwrap().len() >= 4, "{graph}");
}

#[test]
fn ctrl_c_stops_a_job_with_a_last_checkpoint() {
    let mut stopped_with_rows = false;
    // A stop may come before the first row is read: that is as clean, but shows less. So it comes later and later.
    for delay_ms in [0, 500, 2_000, 8_000] {
        let world = World::new();
        world.write("in/1.json", EVENTS);
        world.write("job.sql", &events_job("in", ", 'source.monitor-interval' = '50 ms'"));
        let args = ["--output", "json", "run", "job.sql", "--checkpoint-interval", "1 h"];
        let mut job = world.start(&args);
        job.says("\"started\"");
        std::thread::sleep(Duration::from_millis(delay_ms));
        assert_eq!(job.process.try_wait().unwrap(), None, "a followed folder has no end");
        job.process.interrupt().unwrap();
        let ended = job.ended();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let events = json_lines(&ended.out);
        assert_eq!(events.last().unwrap()["event"], "finished");
        let told: u64 = events.iter().filter_map(|event| event["rows"].as_u64()).sum();
        assert_eq!(world.count("events"), told);
        stopped_with_rows = told == 3;
        if stopped_with_rows {
            break;
        }
    }
    assert!(stopped_with_rows, "no stop put the rows that were read into the table");
}

#[test]
fn ctrl_c_stops_the_server_and_frees_the_folder() {
    let world = World::new();
    let mut server = world.start(&["serve", "--listen", "127.0.0.1:0"]);
    server.says("frazil serves http://127.0.0.1:");
    server.process.interrupt().unwrap();
    let ended = server.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    drop(Server::start(&world.data()));
}

#[test]
fn a_script_stops_at_its_first_error_and_what_was_done_before_stays() {
    let world = World::new();
    let script =
        "CREATE TABLE t (id INT); INSERT INTO t VALUES (1); INSERT INTO t VALUES ('x'); INSERT INTO t VALUES (3);";
    let ended = world.run(&["sql", "-e", script]);
    assert!(ended.code != Some(0) && ended.err.starts_with("frazil: "), "{ended:?}");
    assert_eq!(world.query("SELECT count(*) AS n, sum(id) AS s FROM t")[0], serde_json::json!({"n": 1, "s": 1}));
    // One that can't be read as a whole does nothing.
    world.fails(2, &["sql", "-e", "INSERT INTO t VALUES (2); SELECT FROM WHERE;"], &["line 1, column"]);
    assert_eq!(world.count("t"), 1);
}

#[test]
fn a_catalog_is_used_by_its_address_from_another_folder() {
    let world = World::new();
    let server = Server::start(&world.data());
    world.done(&["sql", "-e", "CREATE TABLE t (id INT); INSERT INTO t VALUES (1)"]);
    let elsewhere = World::new();
    elsewhere.done(&["--catalog", &server.url(), "sql", "-e", "INSERT INTO t VALUES (2)"]);
    assert_eq!(world.count("t"), 2);
    assert!(!elsewhere.data().exists(), "a data folder was made beside a catalog that was named");
    let url = server.url();
    server.kill();
    elsewhere.fails(1, &["--catalog", &url, "sql", "-e", "SELECT * FROM t"], &[&url, "is the server running?"]);
}

#[test]
fn the_same_job_again_adds_only_what_is_new() {
    let world = World::new();
    world.write("in/1.json", EVENTS);
    world.write("job.sql", &events_job("in", ""));
    assert!(world.done(&["run", "job.sql"]).contains("starts from the beginning"));
    assert_eq!(world.count("events"), 3);

    let files = world.warehouse().into_keys().filter(|path| path.extension().is_some_and(|e| e == "parquet")).count();
    let again = world.done(&["run", "job.sql"]);
    assert!(again.contains("goes on from checkpoint 1") && !again.contains("rows in"), "{again}");
    assert_eq!(world.count("events"), 3);
    let after = world.warehouse().into_keys().filter(|path| path.extension().is_some_and(|e| e == "parquet")).count();
    assert_eq!(after, files);

    world.write("in/2.json", "{\"id\":4}\n");
    assert!(world.done(&["run", "job.sql"]).contains("1 rows in 1 files"));
    assert_eq!(world.query("SELECT count(*) AS n, sum(id) AS s FROM events")[0], serde_json::json!({"n": 4, "s": 10}));
    // Another job id is another job.
    world.done(&["run", "job.sql", "--job-id", "other"]);
    assert_eq!(world.count("events"), 8);
}

#[test]
fn a_job_whose_query_or_source_was_changed_goes_on_or_begins_anew_as_a_person_says() {
    let world = World::new();
    world.write("in/1.json", EVENTS);
    let job = events_job("in", "");
    let (tables, insert) = job.split_at(job.find("INSERT INTO").unwrap());
    world.write("a/job.sql", &job);
    assert!(world.done(&["run", "a/job.sql"]).contains("starts from the beginning"));
    // The same but for how it is written.
    world.write("b/job.sql", &format!("{tables} -- again\n {}", insert.replace(' ', "\n  ")));
    assert!(world.done(&["run", "b/job.sql"]).contains("goes on from checkpoint 1"));

    // Another query, and another source: neither is guessed about, and nothing is changed.
    world.write("in/2.json", "{\"id\":4}\n{\"id\":5}\n");
    world.write("c/job.sql", &format!("{tables} {} WHERE id > 4;", insert.trim_end().trim_end_matches(';')));
    world.write("other/1.json", "{\"id\":6}\n");
    world.write("d/job.sql", &events_job("other", ""));
    let before = world.warehouse();
    for script in ["c/job.sql", "d/job.sql"] {
        let says =
            ["the job job has written", "up to checkpoint 1", "--job-id job the new one goes on", "another query"];
        world.fails(2, &["run", script], &says);
    }
    assert_eq!(world.warehouse(), before);
    let goes_on = world.done(&["run", "c/job.sql", "--job-id", "job"]);
    assert!(goes_on.contains("goes on from checkpoint 1"), "{goes_on}");
    assert_eq!(world.count("events"), 4);
    // From now on it is the job's definition, and the old one is the other.
    assert!(world.done(&["run", "c/job.sql"]).contains("goes on from checkpoint 2"));
    world.fails(2, &["run", "a/job.sql"], &["up to checkpoint 2"]);
    let begins = world.done(&["run", "d/job.sql", "--job-id", "job-2"]);
    assert!(begins.contains("starts from the beginning"), "{begins}");
    assert_eq!(world.count("events"), 5);

    world.write("e/job.sql", &format!("SET 'pipeline.name' = 'mine'; {job}"));
    let changed = format!("{tables} {} WHERE id > 2;", insert.trim_end().trim_end_matches(';'));
    world.write("f/other.sql", &format!("SET 'pipeline.name' = 'mine'; {changed}"));
    assert!(world.done(&["run", "e/job.sql"]).contains("starts from the beginning"));
    assert!(world.done(&["run", "f/other.sql"]).contains("goes on from checkpoint 1"));
}

#[test]
fn a_batch_query_over_nested_columns_is_right() {
    let world = World::new();
    flights_job(&world);
    let csv = data::flights_excerpt().join("flights.csv");
    let mut expected: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    for line in data::flights_json(&csv) {
        let row: Value = serde_json::from_str(&line).unwrap();
        let entry = expected.entry(row["dest"].as_str().unwrap().to_owned()).or_default();
        *entry = (entry.0 + 1, entry.1 + row["distance"].as_i64().unwrap());
    }
    let rows =
        world.query("SELECT dest.faa AS faa, count(*) AS n, sum(distance) AS miles FROM flights GROUP BY dest.faa");
    let found: BTreeMap<String, (u64, i64)> = rows
        .iter()
        .map(|row| {
            let faa = row["faa"].as_str().unwrap().to_owned();
            (faa, (row["n"].as_u64().unwrap(), row["miles"].as_i64().unwrap()))
        })
        .collect();
    assert_eq!(found, expected);

    let printed = world.done(&["sql", "-e", "SELECT max(dest.position.lat) AS north FROM flights"]);
    assert!(printed.contains("| 61.174361 |") && printed.contains("1 rows in"), "{printed}");
}

#[test]
fn tail_prints_every_row_once_and_only_the_asked_for_leaves() {
    let world = World::new();
    flights_job(&world);
    let tail = |more: &[&str]| {
        let args = [&["tail", "flights", "--no-follow"][..], more].concat();
        json_lines(&world.done(&args))
    };
    assert_eq!(tail(&["--from", "earliest"]).len(), 1000);
    assert_eq!(tail(&["--from", "latest"]).len(), 0);
    let rows = tail(&["--from", "earliest", "--columns", "carrier,dest.position.lat"]);
    assert_eq!(rows.len(), 1000);
    for row in &rows {
        let keys: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(keys == ["carrier", "dest"] || keys == ["carrier"], "{row}");
        let position = row["dest"]["position"].as_object();
        assert!(position.is_none_or(|fields| fields.keys().all(|key| key == "lat")), "{row}");
    }
    assert!(rows.iter().filter(|row| row["dest"]["position"]["lat"].is_number()).count() > 900);
    world.fails(2, &["tail", "flights", "--no-follow", "--columns", "dest.psition"], &["psition", "position"]);
}

#[test]
fn compact_shows_its_plan_first_and_then_carries_it_out() {
    let world = World::new();
    let inserts: String = (0..4).map(|id| format!("INSERT INTO t VALUES ({id});")).collect();
    world.done(&["sql", "-e", &format!("CREATE TABLE t (id INT); {inserts}")]);
    let before = world.warehouse();
    let plan = world.done(&["compact", "t", "--dry-run"]);
    assert!(plan.contains('4'), "{plan}");
    assert_eq!(world.warehouse(), before, "a dry run wrote or deleted files");

    world.done(&["compact", "t"]);
    assert_ne!(world.warehouse(), before);
    assert!(world.done(&["compact", "t", "--dry-run"]).contains("nothing to rewrite"));
    let printed = world.done(&["sql", "-e", "SELECT id FROM t ORDER BY id"]);
    assert!(printed.contains("from 1 files"), "{printed}");
    assert_eq!(world.query("SELECT count(*) AS n, sum(id) AS s FROM t")[0], serde_json::json!({"n": 4, "s": 6}));
    // One file, in no order that anybody has asked for.
    let sort = ["compact", "t", "--strategy", "sort", "--sort-by", "id desc"];
    let plan = world.done(&[&sort[..], &["--dry-run"]].concat());
    assert!(plan.contains("not-in-order") && plan.contains("put in order by id desc nulls last"), "{plan}");
    assert!(world.done(&sort).contains("1 files"));
    assert!(world.done(&sort).contains("nothing to rewrite"));
    world.fails(2, &["compact", "t", "--strategy", "sort"], &["--sort-by", "no sort order"]);
    world.fails(2, &["compact", "t", "--strategy", "hilbert"], &["--sort-by"]);
    world.fails(2, &["compact", "t", "--sort-by", "id"], &["--strategy sort"]);
    world.fails(2, &["compact", "t", "--strategy", "zorder", "--sort-by", "di"], &["di"]);
    assert!(world.done(&["compact", "t", "--convert-equality-deletes"]).contains("no equality deletes"));
    // A reader that follows gets nothing from the merge.
    assert_eq!(world.done(&["tail", "t", "--from", "earliest", "--no-follow"]).lines().count(), 4);
}

#[test]
fn a_served_table_that_no_job_writes_is_compacted_in_the_background() {
    let world = World::new();
    let server = Server::start(&world.data());
    let inserts: String = (0..4).map(|id| format!("INSERT INTO t VALUES ({id});")).collect();
    let table = "CREATE TABLE t (id INT) WITH ('compact.delta.commits' = '4');";
    world.done(&["sql", "-e", &format!("{table} {inserts}")]);
    let deadline = Instant::now() + TIMEOUT;
    while !world.done(&["sql", "-e", "SELECT id FROM t"]).contains("from 1 files") {
        assert!(Instant::now() < deadline, "not compacted: {}", read(server.log()));
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(world.query("SELECT count(*) AS n, sum(id) AS s FROM t")[0], serde_json::json!({"n": 4, "s": 6}));
}

#[test]
fn expire_lets_go_of_what_no_snapshot_needs() {
    let world = World::new();
    let inserts: String = (0..4).map(|id| format!("INSERT INTO t VALUES ({id});")).collect();
    world.done(&["sql", "-e", &format!("CREATE TABLE t (id INT); {inserts}")]);
    world.done(&["compact", "t"]);
    let parquet = |files: BTreeMap<PathBuf, u64>| {
        files.keys().filter(|path| path.extension().is_some_and(|e| e == "parquet")).count()
    };
    let before = world.warehouse();
    assert_eq!(parquet(before.clone()), 5);
    world.done(&["expire", "t", "--older-than", "0 s", "--dry-run"]);
    assert_eq!(world.warehouse(), before, "a dry run wrote or deleted files");
    let said = world.done(&["expire", "t", "--older-than", "0 s"]);
    assert!(said.contains("4 data and delete files"), "{said}");
    assert_eq!(parquet(world.warehouse()), 1);
    assert_eq!(world.count("t"), 4);
    assert!(world.done(&["expire", "t"]).contains("no snapshot is old enough"));
}

/// What a killed commit leaves is found by name and age, and a second run finds nothing.
#[test]
fn orphans_are_what_a_killed_commit_left() {
    let world = World::new();
    world.done(&["sql", "-e", "CREATE TABLE t (id INT); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);"]);
    let sound = world.warehouse();
    for step in ["files-closed", "manifests-written", "manifest-list-written", "metadata-written"] {
        let mut command: Command = frazil();
        command.current_dir(world.0.path()).args(["--data-dir", "data", "sql", "-e", "INSERT INTO t VALUES (3)"]);
        let ended = command.env("FRAZIL_STOP_AT", step).stderr(Stdio::null()).status().unwrap();
        assert_eq!(ended.signal(), Some(9), "{step}");
    }
    let orphans: Vec<PathBuf> = world.warehouse().into_keys().filter(|path| !sound.contains_key(path)).collect();
    assert!(orphans.len() >= 8, "{orphans:?}");
    let folder = orphans
        .iter()
        .find(|path| path.extension().is_some_and(|e| e == "parquet"))
        .unwrap()
        .parent()
        .unwrap()
        .to_owned();
    let foreign = folder.join("part-00000-4a2f0ed5-5d2a-4a6c-9d2e-3c1f7a6a0b11.parquet");
    fs::write(&foreign, "x").unwrap();
    let unfinished = folder.join(".frazil-tmp-4a2f0ed5-5d2a-4a6c-9d2e-3c1f7a6a0b11");
    fs::write(&unfinished, "x").unwrap();

    // Young as they are they might be committed yet.
    let said = world.done(&["orphans", "t"]);
    assert!(said.contains("there are no orphans to delete"), "{said}");
    let four_days_ago = std::time::SystemTime::now() - Duration::from_secs(4 * 86_400);
    for path in world.warehouse().into_keys() {
        File::options().append(true).open(path).unwrap().set_modified(four_days_ago).unwrap();
    }
    let young = folder.join("frazil-0.parquet");
    fs::write(&young, "x").unwrap();
    world.fails(2, &["orphans", "t", "--older-than", "59 min"], &["files of the last hour stay"]);
    let before = world.warehouse();
    let said = world.done(&["orphans", "t", "--dry-run"]);
    assert!(said.contains(&format!("{} files of", orphans.len() + 1)), "{said}");
    assert!(said.contains("1 files that nothing names are too young"), "{said}");
    assert!(said.contains("1 files that nothing names may be another program's"), "{said}");
    assert_eq!(world.warehouse(), before, "a dry run wrote or deleted files");

    let said = world.done(&["orphans", "t", "--max-files", "2"]);
    assert!(said.contains(&format!("{} files more are beyond the cap", orphans.len() - 1)), "{said}");
    let gone = json_lines(&world.done(&["--output", "json", "orphans", "t"]));
    assert_eq!(gone[0]["deleted"].as_array().unwrap().len(), orphans.len() - 1, "{gone:?}");
    let mut left = sound;
    left.extend([(foreign, 1), (young.clone(), 1)]);
    assert_eq!(world.warehouse(), left);
    let called = world.done(&["sql", "-e", "CALL system.remove_orphan_files(table => 't', any_name => TRUE)"]);
    assert!(called.contains("part-00000-"), "{called}");
    assert!(world.done(&["orphans", "t", "--any-name"]).contains("there are no orphans to delete"));
    assert!(young.exists() && world.count("t") == 2);
    world.done(&["verify", "t"]);

    world.done(&["sql", "-e", "ALTER TABLE t SET ('gc.enabled' = 'false')"]);
    world.fails(1, &["orphans", "t"], &["gc.enabled=false"]);
}

#[test]
fn manifests_are_rewritten_where_that_makes_them_fewer() {
    let world = World::new();
    world.done(&["sql", "-e", "CREATE TABLE t (id INT)"]);
    assert!(world.done(&["rewrite-manifests", "t"]).contains("0 manifests"));
    let inserts: String = (0..4).map(|id| format!("INSERT INTO t VALUES ({id});")).collect();
    world.done(&["sql", "-e", &inserts]);
    let before = world.warehouse();
    assert!(world.done(&["rewrite-manifests", "t", "--dry-run"]).contains("4 manifests would become 1"));
    assert_eq!(world.warehouse(), before, "a dry run wrote or deleted files");
    assert!(world.done(&["rewrite-manifests", "t"]).contains("4 manifests became 1"));
    assert!(world.done(&["rewrite-manifests", "t"]).contains("1 manifests: they would not get fewer"));
    assert_eq!(world.count("t"), 4);
    world.done(&["verify", "t"]);
}

#[test]
fn explain_shows_the_compaction_only_where_it_is_on() {
    let world = World::new();
    world.write("in/1.json", EVENTS);
    for (switch, wanted) in [("true", true), ("false", false)] {
        let job = events_job("in", "").replace("'iceberg')", &format!("'iceberg', 'auto-compact' = '{switch}')"));
        world.write("job.sql", &job.replace("events", switch));
        let graph = world.done(&["explain", "job.sql", "--parallelism", "3"]);
        assert!(graph.contains("Writer ×3"), "{graph}");
        assert_eq!(graph.contains("Compact operator ×3"), wanted, "{graph}");
    }
    assert!(world.done(&["explain", "--dot", "job.sql"]).starts_with("digraph"));
}

#[test]
fn what_a_stream_cannot_do_yet_says_so_and_works_in_batch() {
    let world = World::new();
    world.write("in/1.json", EVENTS);
    let job = events_job("in", "").replace("SELECT id, person FROM", "SELECT count(*), NULL FROM");
    world.write("job.sql", &job);
    world.fails(2, &["run", "job.sql"], &["an aggregate", "later", "--mode batch", "line 5, column 27"]);
    let out = world.done(&["run", "--mode", "batch", "job.sql"]);
    assert!(out.contains("1 rows in 1 files"), "{out}");
    assert_eq!(world.query("SELECT id FROM events")[0]["id"], 3);
}

#[test]
fn the_demo_runs_offline_goes_on_and_begins_anew() {
    let world = World::new();
    let demo = |more: &[&str]| {
        let args = ["demo", "--exit", "--excerpt", "--listen", "127.0.0.1:0"];
        world.done(&[&args[..], more].concat())
    };
    let first = demo(&[]);
    for part in
        ["1000 flights in", "northernmost_destination", "61.174361", "load_catalog(\"frazil\", uri=\"http://127"]
    {
        assert!(first.contains(part), "the demo does not say {part:?}:\n{first}");
    }
    assert_eq!(world.count("flights"), 1000);
    let long_delays = world.count("delayed");
    assert_eq!(world.query("SELECT count(*) AS n FROM flights WHERE dep_delay > 60")[0]["n"], long_delays);

    let again = demo(&[]);
    assert!(again.contains("from an earlier demo") && again.contains("--reset"), "{again}");
    assert_eq!((world.count("flights"), world.count("delayed")), (1000, long_delays));
    let anew = demo(&["--reset"]);
    assert!(anew.contains("dropped the table flights") && anew.contains("1000 flights in"), "{anew}");
    assert_eq!((world.count("flights"), world.count("delayed")), (1000, long_delays));
}

#[test]
fn the_demo_s_service_stays_up_until_ctrl_c() {
    let world = World::new();
    let mut demo = world.start(&["demo", "--excerpt", "--listen", "127.0.0.1:0"]);
    demo.says("the service stays up");
    let said = read(&demo.out);
    let url = said.split([' ', ',']).find(|word| word.starts_with("http://127.0.0.1:")).unwrap();
    let elsewhere = World::new();
    let count = "SELECT count(*) AS n FROM flights";
    let rows = elsewhere.done(&["--catalog", url, "--output", "json", "sql", "-e", count]);
    assert_eq!(json_lines(&rows), [serde_json::json!({"n": 1000})]);
    demo.process.interrupt().unwrap();
    assert_eq!(demo.ended().code, Some(0));
    elsewhere.fails(1, &["--catalog", url, "sql", "-e", count], &[url]);
}

/// Tasks of an operator, and lines of its details, as `explain` shows them.
#[track_caller]
fn explained(world: &World, args: &[&str]) -> (u64, String) {
    let graph: Value = serde_json::from_str(&world.done(args)).unwrap();
    let operator = |kind: &str| {
        let operators = graph["operators"].as_array().unwrap();
        operators
            .iter()
            .find(|operator| operator["kind"] == kind)
            .unwrap_or_else(|| panic!("no {kind}: {graph}"))
            .clone()
    };
    (operator("Writer")["parallelism"].as_u64().unwrap(), operator("Committer")["details"].to_string())
}

#[test]
fn the_command_line_goes_before_the_environment_the_script_and_the_file() {
    let world = World::new();
    world.write("in/1.json", EVENTS);
    world.write("frazil.toml", "[run]\nparallelism = 3\ncheckpoint-interval = '3 s'\n");
    world.write("job.sql", &events_job("in", ""));
    let explain = ["--config", "frazil.toml", "explain", "--json", "job.sql"];
    let (writers, committer) = explained(&world, &explain);
    assert!(writers == 3 && committer.contains("every 3s"), "{writers} {committer}");

    let set = "SET 'parallelism.default' = '4';\nSET 'execution.checkpointing.interval' = '4 s';\n";
    world.write("job.sql", &format!("{set}{}", events_job("in", "")));
    let (writers, committer) = explained(&world, &explain);
    assert!(writers == 4 && committer.contains("every 4s"), "{writers} {committer}");
    let mut args = explain.to_vec();
    args.extend(["--parallelism", "5"]);
    let (writers, committer) = explained(&world, &args);
    assert!(writers == 5 && committer.contains("every 4s"), "{writers} {committer}");

    let mut command: Command = frazil();
    command.current_dir(world.path("")).env("FRAZIL_DATA_DIR", "data").env("FRAZIL_RUN_PARALLELISM", "6").args(explain);
    let out = command.output().unwrap();
    let graph: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{out:?}"));
    let parallelism = graph["operators"].as_array().unwrap().iter().map(|operator| &operator["parallelism"]);
    assert!(parallelism.into_iter().any(|tasks| *tasks == 6), "{graph}");

    world.write("frazil.toml", "[tail]\nno-follow = true\nfrom = 'earliest'\ncolumns = ['id']\n");
    world.done(&["run", "job.sql"]);
    let rows = json_lines(&world.done(&["--config", "frazil.toml", "tail", "events"]));
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.get("person").is_none()), "{rows:?}");
    let none = world.done(&["--config", "frazil.toml", "tail", "events", "--from", "latest"]);
    assert_eq!(none, "");
}

#[test]
fn a_mistake_in_the_configuration_is_shown_with_its_line() {
    let world = World::new();
    for (text, parts) in [
        ("\ndatadir = 'x'\n", ["line 2", "did you mean 'data-dir'?"]),
        ("parallelism = 2\n", ["line 1", "did you mean 'parallelism' in [run]?"]),
        ("[rnu]\n", ["line 1", "did you mean 'run'?"]),
        ("[run]\n\nparalelism = 2\n", ["line 3", "[run] has no key 'paralelism'; did you mean 'parallelism'?"]),
        ("[run]\nmode = 'strem'\n", ["line 2", "'streaming'"]),
        ("[run]\nparallelism = 0\n", ["line 2", "0 is not in 1..=256"]),
        ("[catalog]\nurl = 'x'\n", ["line 2", "did you mean 'uri'?"]),
        ("output = = 'json'\n", ["line 1", "frazil.toml"]),
        ("[storage]\n's3.endpont' = 'x'\n", ["line 2", "s3.endpont: no store knows it; there are s3.endpoint"]),
        ("[storage]\n\ns3.region.x = 'x'\n", ["line 3", "s3.region.x"]),
        ("[stroage]\n", ["line 1", "did you mean 'storage'?"]),
    ] {
        world.write("frazil.toml", text);
        world.fails(2, &["--config", "frazil.toml", "sql", "-e", "SELECT 1"], &parts);
    }
    world.fails(2, &["--config", "nowhere.toml", "sql", "-e", "SELECT 1"], &["nowhere.toml"]);
}

#[test]
fn what_a_script_sets_for_its_job_is_checked_and_obeyed() {
    let world = World::new();
    world.write("in/1.json", EVENTS);
    let job = events_job("in", "");
    world.write("job.sql", &format!("SET 'execution.runtime-mode' = 'batch';\n{job}SELECT count(*) AS n FROM events;"));
    assert!(world.done(&["run", "job.sql"]).contains("| 3 "), "a query runs in batch mode only");
    world.fails(2, &["run", "job.sql", "--mode", "streaming"], &["frazil sql"]);
    for (set, parts) in [
        ("SET 'paralelism.default' = '2';", ["did you mean 'parallelism.default'?", "line 1, column 5"]),
        ("SET 'parallelism.default' = '0';", ["whole number from 1 to 256", "line 1, column 29"]),
        ("SET 'execution.checkpointing.interval' = '1 ms';", ["10 ms or more", "line 1, column 42"]),
        ("SET 'pipeline.name' = 'a b';", ["letters, digits", "line 1, column 23"]),
    ] {
        world.write("job.sql", &format!("{set}\n{job}"));
        world.fails(2, &["run", "job.sql"], &parts);
        world.fails(2, &["explain", "job.sql"], &parts);
    }
    world.write("job.sql", &format!("{job}SET 'parallelism.default' = '2';"));
    world.fails(2, &["run", "job.sql"], &["line 6, column 5", "before the first INSERT"]);
}

#[test]
fn every_command_answers_in_json() {
    let world = World::new();
    world.write("in/1.json", EVENTS);
    world.write("job.sql", &events_job("in", ""));
    world.done(&["run", "job.sql"]);
    world.done(&["sql", "-e", "INSERT INTO events SELECT 4, CAST(NULL AS ROW<name STRING, city ROW<name STRING>>)"]);
    let json = |args: &[&str]| json_lines(&world.done(&[&["--output", "json"], args].concat()));
    assert_eq!(json(&["tail", "events", "--no-follow", "--from", "earliest", "--format", "table"]).len(), 4);
    assert_eq!(json(&["compact", "events", "--dry-run"])[0]["plan"][0]["files"], 2);
    let compacted = &json(&["compact", "events"])[0];
    assert_eq!((&compacted["files-before"], &compacted["files-after"]), (&2.into(), &1.into()));
    let expired = &json(&["expire", "events", "--older-than", "0 s"])[0];
    assert!(!expired["snapshots"].as_array().unwrap().is_empty(), "{expired}");
    assert!(json(&["explain", "job.sql"])[0]["operators"].is_array());
    assert!(json(&["explain", "job.sql", "--mode", "batch"])[1]["plan"].is_string());
    let demo = json(&["demo", "--excerpt", "--exit", "--rate", "1000", "--listen", "127.0.0.1:0"]);
    assert!(demo.iter().any(|line| line["event"] == "committed"), "{demo:?}");
    let failed = world.run(&["--output", "json", "sql", "-e", "SELECT 1 FORM t"]);
    assert_eq!(json_lines(&failed.err)[0]["exit-code"], 2);
}

#[test]
fn an_option_of_another_format_is_refused() {
    let world = World::new();
    world.write("in/1.json", EVENTS);
    for (options, parts) in [
        (
            "'json', 'csv.field-delimiter' = ';'",
            ["format 'json' has no option 'csv.field-delimiter'", "json.ignore-parse-errors"],
        ),
        (
            "'csv', 'json.ignore-parse-errors' = 'true'",
            ["format 'csv' has no option", "did you mean 'csv.ignore-parse-errors'"],
        ),
        ("'parquet', 'csv.header' = 'names'", ["format 'parquet' has no option 'csv.header'", "it takes none"]),
        ("'csv', 'csv.delimiter' = ';'", ["'csv.delimiter'", "did you mean 'csv.field-delimiter'"]),
        ("'json', 'topic' = 'x'", ["connector 'filesystem' has no option 'topic'", "path"]),
    ] {
        let sql = format!(
            "CREATE TABLE t (id BIGINT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = {options})"
        );
        world.fails(2, &["sql", "-e", &sql], &[parts[0], parts[1], "line 1, column"]);
    }
}

#[test]
fn a_snapshot_that_is_not_there_is_an_error_that_names_those_that_are() {
    let world = World::new();
    world.done(&["sql", "-e", "CREATE TABLE t (id BIGINT)"]);
    world.fails(2, &["tail", "t", "--from", "snapshot:5"], &["no snapshot 5", "no snapshots at all"]);
    let inserted = json_lines(&world.done(&[
        "--output",
        "json",
        "sql",
        "-e",
        "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)",
    ]));
    let ids: Vec<String> = inserted.iter().map(|line| line["snapshot-id"].to_string()).collect();
    for from in ["snapshot:5", "after:5"] {
        world.fails(2, &["tail", "t", "--from", from], &["no snapshot 5", &ids.join(", ")]);
    }
    // Also where the history is cut, and the parent of what is left is another unknown one.
    world.done(&["expire", "t", "--older-than", "0 s"]);
    let error = world.fails(2, &["tail", "t", "--from", "snapshot:5"], &["no snapshot 5", &ids[1]]);
    assert!(!error.contains(&ids[0]), "{error}");
    world.fails(2, &["tail", "t", "--from", "tag:eod"], &["no tag \"eod\""]);
}

#[test]
fn verify_finds_what_is_missing_or_changed_and_names_it() {
    let world = World::new();
    world.done(&["sql", "-e", "CREATE TABLE t (id BIGINT); INSERT INTO t VALUES (1), (2); INSERT INTO t VALUES (3)"]);
    let said = world.done(&["verify", "t"]);
    assert!(said.contains("3 rows in the data files of the head") && said.contains("2 data files"), "{said}");
    let files: Vec<PathBuf> = world.warehouse().into_keys().collect();
    for (ending, what) in [(".parquet", "data"), (".avro", "metadata"), (".metadata.json", "metadata")] {
        let named =
            |path: &&PathBuf| path.to_str().unwrap().ends_with(ending) && path.parent().unwrap().ends_with(what);
        // The newest metadata file is the catalog's own: without it the table can't be loaded at all.
        let damaged = files.iter().filter(named).min().unwrap();
        let whole = fs::read(damaged).unwrap();
        let name = damaged.file_name().unwrap().to_str().unwrap();
        let finds = |how: &str| {
            let ended = world.run(&["verify", "t"]);
            assert_eq!(ended.code, Some(1), "{how} {name}: {ended:?}");
            assert!(ended.out.contains(name), "{how} {name}: {}", ended.out);
            let json = world.run(&["--output", "json", "verify", "t"]);
            assert!(!json_lines(&json.out)[0]["findings"].as_array().unwrap().is_empty());
        };
        fs::remove_file(damaged).unwrap();
        finds("removed");
        fs::write(damaged, &whole[..whole.len() / 2]).unwrap();
        finds("cut");
        fs::write(damaged, &whole).unwrap();
        world.done(&["verify", "t"]);
    }
    // As long as before, but no Parquet file any more.
    let data = files.iter().find(|path| path.extension().is_some_and(|ending| ending == "parquet")).unwrap();
    let whole = fs::read(data).unwrap();
    fs::write(data, vec![0; whole.len()]).unwrap();
    let ended = world.run(&["verify", "t"]);
    assert!(ended.code == Some(1) && ended.out.contains("1 things are wrong"), "{ended:?}");
    world.fails(2, &["verify", "tt"], &["no table 'tt'"]);
}

#[test]
fn a_job_says_how_fast_it_is_how_far_behind_and_what_it_passed_over() {
    let world = World::new();
    let lines: String = (0..1_400)
        .map(|id| if id == 30 { "{\"id\":\"x\"}\n".to_owned() } else { format!("{{\"id\":{id}}}\n") })
        .collect();
    world.write("in/1.json", &lines);
    world.write("job.sql", &events_job("in", ", 'rows-per-second' = '100', 'on-error' = 'skip'"));
    let text = world.start(&["run", "job.sql"]);
    let other = World::new();
    other.write("in/1.json", &lines);
    other.write("job.sql", &events_job("in", ", 'rows-per-second' = '100', 'on-error' = 'skip'"));
    let events = json_lines(&other.done(&["--output", "json", "run", "job.sql"]));
    let progress: Vec<_> = events.iter().filter(|event| event["event"] == "progress").collect();
    let (first, last) = (progress[0], progress[progress.len() - 1]);
    let rate = first["rows-per-second"].as_u64().unwrap();
    assert!((50..=200).contains(&rate), "{first}");
    let (lag, read) = (first["lag"]["amount"].as_u64().unwrap(), first["rows-read"].as_u64().unwrap());
    assert_eq!(first["lag"]["unit"], "bytes");
    assert!(lag > 0 && lag < lines.len() as u64, "{first}");
    assert!(read > 0 && read < 1_399, "{first}");
    assert_eq!(
        (&last["rows-read"], &last["rows-skipped"], &last["lag"]["amount"]),
        (&1_399.into(), &1.into(), &0.into())
    );

    let ended = text.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in
        [" rows/s, ", " bytes behind, 1 malformed rows passed over", "default.events: 1 malformed rows passed over"]
    {
        assert!(ended.out.contains(part), "{part:?} is not in\n{}", ended.out);
    }
    assert!(!ended.err.contains('\u{1b}'), "colours are for terminals: {}", ended.err);
}
