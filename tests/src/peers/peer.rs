//! A query engine as a child process that answers lines of JSON.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::answer::{Answer, Checksum};
use super::table::Table;
use super::{Skip, dialect, helpers, installed};
use crate::process::{Process, leashed, log_tail};

/// A busy machine with two cores starts a Java program in minutes.
const START_TIMEOUT: Duration = Duration::from_secs(400);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(150);

/// An engine that can be started as a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// Has no SQL: its operations are those of `tests/peers/pyiceberg_peer.py`.
    PyIceberg,
    /// DuckDB with its iceberg extension.
    DuckDb,
    /// Spark with Iceberg's runtime.
    Spark,
    /// A Trino server.
    Trino,
}

impl Engine {
    /// All of them.
    pub const ALL: [Engine; 4] = [Engine::PyIceberg, Engine::DuckDb, Engine::Spark, Engine::Trino];

    /// The component's name.
    pub fn name(self) -> &'static str {
        match self {
            Engine::PyIceberg => "pyiceberg",
            Engine::DuckDb => "duckdb",
            Engine::Spark => "spark",
            Engine::Trino => "trino",
        }
    }

    /// Starts the engine on the Iceberg REST catalog at a URI, which its SQL knows as `frazil`, and waits until it
    /// answers: a second for PyIceberg and DuckDB, 5 to 30 for Spark and Trino.
    ///
    /// # Panics
    /// If it is installed but does not start; the message has the last lines of its log.
    pub fn start(self, catalog_uri: &str) -> Result<Peer, Skip> {
        let folder = installed(self.name())?;
        let scratch =
            TempDir::with_prefix(format!("frazil-{}-", self.name())).expect("a test may write to the temporary folder");
        let log = scratch.path().join("log");
        let output = File::create(&log).expect("a test may write to its own folder");
        let mut command = self.command(&folder, catalog_uri, scratch.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::from(output));
        let process = Process::spawn(command).expect("an installed peer can be run");
        let peer = Peer { engine: self, conversation: Mutex::new(Conversation::new(process)), scratch };
        let ready = peer.conversation().receive(START_TIMEOUT);
        assert!(
            ready.as_ref().is_ok_and(|reply| reply["ready"] == true),
            "{} did not start: {ready:?}\n{}",
            self.name(),
            log_tail(&log)
        );
        Ok(peer)
    }

    fn command(self, folder: &Path, catalog_uri: &str, scratch: &Path) -> Command {
        let python = match self {
            Engine::Trino => PathBuf::from("python3"),
            _ => folder.join("venv/bin/python"),
        };
        let mut command = leashed(python);
        command.arg(helpers().join(format!("{}_peer.py", self.name()))).arg(catalog_uri);
        match self {
            Engine::PyIceberg | Engine::DuckDb => {}
            Engine::Spark => {
                command.arg(scratch);
            }
            Engine::Trino => {
                command.arg(scratch).arg(folder);
            }
        }
        command
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A request that an engine refused, or an engine that ended or fell silent.
#[derive(Debug)]
pub struct Error {
    /// Who was asked.
    pub engine: Engine,
    /// What was asked.
    pub request: String,
    /// What it said.
    pub message: String,
    /// Where the rest of what it said is.
    pub log: PathBuf,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Error { engine, request, message, log } = self;
        // Engines append whole plans; the log has them.
        let message = message.lines().take(4).collect::<Vec<_>>().join(" ");
        let request: String = request.chars().take(300).collect();
        writeln!(f, "{engine}: {message}")?;
        write!(f, "    asked: {request}\n    log: {}", log.display())
    }
}

impl std::error::Error for Error {}

/// A running engine. Requests are answered one at a time; dropping it ends the engine and removes its files.
#[derive(Debug)]
pub struct Peer {
    engine: Engine,
    conversation: Mutex<Conversation>,
    scratch: TempDir,
}

impl Peer {
    /// Which engine it is.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Where its log is.
    pub fn log(&self) -> PathBuf {
        self.scratch.path().join("log")
    }

    /// Runs one statement. PyIceberg has no SQL and says so.
    pub fn sql(&self, sql: &str) -> Result<Answer, Error> {
        self.query(&json!({"op": "sql", "sql": sql}))
    }

    /// Makes a namespace unless it exists.
    pub fn create_namespace(&self, namespace: &str) -> Result<(), Error> {
        let noun = if self.engine == Engine::Spark { "NAMESPACE" } else { "SCHEMA" };
        match self.engine {
            Engine::PyIceberg => self.ask(&json!({"op": "create_namespace", "namespace": namespace})),
            _ => self.ask(&sql_request(&format!("CREATE {noun} IF NOT EXISTS frazil.{namespace}"))),
        }
        .map(drop)
    }

    /// Makes an empty table of format version 2.
    pub fn create(&self, table: &Table) -> Result<(), Error> {
        let request = match self.engine {
            Engine::PyIceberg => json!({
                "op": "create",
                "table": table.path(),
                "schema": table.iceberg_schema(),
                "partition": table.month_of.iter().map(|c| json!([c, "month"])).collect::<Vec<_>>(),
                "properties": {"format-version": "2"},
            }),
            engine => sql_request(&dialect::create_sql(engine, table)),
        };
        self.ask(&request).map(drop)
    }

    /// Appends rows in one commit.
    pub fn append(&self, table: &Table, rows: &[Value]) -> Result<(), Error> {
        let request = match self.engine {
            Engine::PyIceberg => json!({"op": "append", "table": table.path(), "rows": rows}),
            engine => sql_request(&dialect::insert_sql(engine, table, rows)),
        };
        self.ask(&request).map(drop)
    }

    /// Reads every row of `namespace.table`.
    pub fn scan(&self, table: &str) -> Result<Answer, Error> {
        match self.engine {
            Engine::PyIceberg => self.query(&json!({"op": "scan", "table": table})),
            _ => self.sql(&format!("SELECT * FROM frazil.{table}")),
        }
    }

    /// Counts the rows of `namespace.table`.
    pub fn count(&self, table: &str) -> Result<i64, Error> {
        let answer = match self.engine {
            Engine::PyIceberg => self.query(&json!({"op": "count", "table": table})),
            _ => self.sql(&format!("SELECT count(*) FROM frazil.{table}")),
        };
        answer.map(|answer| answer.integer())
    }

    /// The checksum of `namespace.table` over integer columns.
    pub fn checksum(&self, table: &str, columns: &[&str]) -> Result<Checksum, Error> {
        let answer = match self.engine {
            Engine::PyIceberg => self.query(&json!({"op": "checksum", "table": table, "columns": columns})),
            _ => self.sql(&format!("SELECT {} FROM frazil.{table}", Checksum::expressions(columns))),
        };
        answer.map(|answer| Checksum::from_answer(&answer, columns))
    }

    /// Drops `namespace.table`; whether its files go too is the engine's choice.
    pub fn drop_table(&self, table: &str) -> Result<(), Error> {
        match self.engine {
            Engine::PyIceberg => self.ask(&json!({"op": "drop", "table": table})),
            _ => self.ask(&sql_request(&format!("DROP TABLE frazil.{table}"))),
        }
        .map(drop)
    }

    /// Sends a request of `tests/peers/*_peer.py` and reads rows from the reply.
    pub fn query(&self, request: &Value) -> Result<Answer, Error> {
        let reply = self.ask(request)?;
        serde_json::from_value(reply).map_err(|error| self.error(request, &error.to_string()))
    }

    /// Sends a request of `tests/peers/*_peer.py`. An engine that does not answer in time is killed: its next answer
    /// would belong to another request.
    pub fn ask(&self, request: &Value) -> Result<Value, Error> {
        let reply = self.conversation().ask(request).map_err(|message| self.error(request, &message))?;
        match reply.get("error") {
            Some(message) => Err(self.error(request, message.as_str().unwrap_or_default())),
            None => Ok(reply),
        }
    }

    fn conversation(&self) -> std::sync::MutexGuard<'_, Conversation> {
        // A test that panicked while it asked has left a conversation that is whole: requests are sent in one piece.
        self.conversation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, request: &Value, message: &str) -> Error {
        let request = match request["sql"].as_str() {
            Some(sql) => sql.to_owned(),
            None => request.to_string(),
        };
        Error { engine: self.engine, request, message: message.to_owned(), log: self.log() }
    }
}

fn sql_request(sql: &str) -> Value {
    json!({"op": "sql", "sql": sql})
}

#[derive(Debug)]
struct Conversation {
    process: Process,
    requests: ChildStdin,
    replies: Receiver<String>,
}

impl Conversation {
    fn new(mut process: Process) -> Conversation {
        let child = process.child_mut();
        let requests = child.stdin.take().expect("the command has a pipe for input");
        let output = child.stdout.take().expect("the command has a pipe for output");
        let (sender, replies) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Conversation { process, requests, replies }
    }

    fn ask(&mut self, request: &Value) -> Result<Value, String> {
        let sent = self.requests.write_all(format!("{request}\n").as_bytes());
        sent.map_err(|error| format!("it has ended: {error}"))?;
        self.receive(ANSWER_TIMEOUT)
    }

    fn receive(&mut self, timeout: Duration) -> Result<Value, String> {
        match self.replies.recv_timeout(timeout) {
            Ok(line) => serde_json::from_str(&line).map_err(|error| format!("{error} in {line}")),
            Err(RecvTimeoutError::Disconnected) => Err("it ended without an answer".into()),
            Err(RecvTimeoutError::Timeout) => {
                self.process.kill();
                Err(format!("no answer within {} s", timeout.as_secs()))
            }
        }
    }
}
