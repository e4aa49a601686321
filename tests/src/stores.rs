//! Object stores and HDFS as servers of this machine: other people's implementations of what a cloud sells.

mod azurite;
mod fake_gcs;
mod hdfs;
mod http;
mod moto;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::peers::Skip;
use crate::process::{Process, log_tail};

const START_TIMEOUT: Duration = Duration::from_secs(240);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The bucket or container that every server begins with.
const BUCKET: &str = "ice";

/// A store that runs as a server; dropping it kills it and removes its files.
#[derive(Debug)]
pub struct StoreServer {
    process: Process,
    scratch: TempDir,
    root: String,
    properties: Vec<(String, String)>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    S3 { port: u16 },
    Gcs,
    Azure,
    Hdfs { http_port: u16 },
}

impl StoreServer {
    /// S3, by moto: atomic conditional writes; it does not look at signatures. A second or two.
    ///
    /// # Errors
    /// If it is not installed.
    ///
    /// # Panics
    /// As all of them, if it is installed and does not start; the message has the last lines of its log.
    pub fn start_s3() -> Result<Self, Skip> {
        moto::start()
    }

    /// The server of S3 that the tests of one binary share: use a folder of the test's own.
    ///
    /// # Errors
    /// As [`StoreServer::start_s3`].
    pub fn s3() -> Result<&'static Self, Skip> {
        static SHARED: OnceLock<Result<StoreServer, Skip>> = OnceLock::new();
        SHARED.get_or_init(moto::start).as_ref().map_err(Skip::clone)
    }

    /// Google Cloud Storage, by fake-gcs-server, shared. It has no uploads in parts (see `fake_gcs`).
    ///
    /// # Errors
    /// As [`StoreServer::start_s3`].
    pub fn gcs() -> Result<&'static Self, Skip> {
        static SHARED: OnceLock<Result<StoreServer, Skip>> = OnceLock::new();
        SHARED.get_or_init(fake_gcs::start).as_ref().map_err(Skip::clone)
    }

    /// Azure Blob Storage, by Azurite, shared. It checks signatures.
    ///
    /// # Errors
    /// As [`StoreServer::start_s3`].
    pub fn azure() -> Result<&'static Self, Skip> {
        static SHARED: OnceLock<Result<StoreServer, Skip>> = OnceLock::new();
        SHARED.get_or_init(azurite::start).as_ref().map_err(Skip::clone)
    }

    /// HDFS, a namenode and a datanode of Hadoop in one JVM, shared. 5 to 15 s.
    ///
    /// # Errors
    /// As [`StoreServer::start_s3`].
    pub fn hdfs() -> Result<&'static Self, Skip> {
        static SHARED: OnceLock<Result<StoreServer, Skip>> = OnceLock::new();
        SHARED.get_or_init(hdfs::start).as_ref().map_err(Skip::clone)
    }

    /// The location of its bucket, container or file system, without a slash at the end.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// How it is reached, as Iceberg's FileIO says it.
    pub fn properties(&self) -> &[(String, String)] {
        &self.properties
    }

    /// Where it listens, where that is part of its properties.
    pub fn endpoint(&self) -> Option<&str> {
        let ends = [".endpoint", ".service.host"];
        self.properties
            .iter()
            .find(|(key, _)| ends.iter().any(|end| key.ends_with(end)))
            .map(|(_, value)| value.as_str())
    }

    /// Files that are begun and not finished at or below a location, by what the server itself says; `None` where it
    /// does not say, or where the store has no way to let go of them (Azure: blocks expire after a week).
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn unfinished(&self, location: &str) -> Option<Vec<String>> {
        let key = location.strip_prefix(&self.root).expect("a location of this server").trim_start_matches('/');
        match self.kind {
            Kind::S3 { port } => Some(moto::uploads(port, key)),
            Kind::Hdfs { http_port } => Some(hdfs::temporary_files(http_port, key)),
            Kind::Gcs | Kind::Azure => None,
        }
    }

    /// Stops the server where it stands (`SIGSTOP`): it accepts connections and is silent.
    ///
    /// # Panics
    /// If `kill` cannot be run.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// If `kill` cannot be run.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(status.expect("kill can be run").success());
    }

    /// Where its log is.
    pub fn log(&self) -> std::path::PathBuf {
        self.scratch.path().join("log")
    }
}

/// Spawns a server with its output in a log, and waits until it is ready.
fn spawn(mut command: Command, scratch: &Path, mut is_ready: impl FnMut() -> bool) -> Process {
    let log = scratch.join("log");
    let output = std::fs::File::create(&log).expect("a test may write to its own folder");
    command.stdout(Stdio::from(output.try_clone().expect("a file handle can be copied"))).stderr(Stdio::from(output));
    let name = format!("{command:?}");
    let mut process = Process::spawn(command).expect("an installed server can be run");
    let deadline = Instant::now() + START_TIMEOUT;
    while !is_ready() {
        let end = process.try_wait().expect("a child can be waited for");
        assert!(
            end.is_none() && Instant::now() < deadline,
            "{name} {}:\n{}",
            end.map_or("is not ready".to_owned(), |status| format!("ended with {status}")),
            log_tail(&log)
        );
        std::thread::sleep(POLL_INTERVAL);
    }
    process
}

fn scratch(name: &str) -> TempDir {
    TempDir::with_prefix(format!("frazil-{name}-")).expect("a test may write to the temporary folder")
}

fn properties<const N: usize>(properties: [(&str, String); N]) -> Vec<(String, String)> {
    properties.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
