//! The `frazil` program as a test runs it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{Process, free_port, leashed, log_tail, profile_dir};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The program under test: `FRAZIL_BIN`, or the one that was built beside the running test.
///
/// # Panics
/// If it is not there: a test of the program means nothing without it.
pub fn frazil_path() -> PathBuf {
    let path = match std::env::var_os("FRAZIL_BIN") {
        Some(path) => path.into(),
        None => profile_dir().join("frazil"),
    };
    assert!(
        path.is_file(),
        "{} is not there: build it (cargo build -p frazil) or name another in FRAZIL_BIN",
        path.display()
    );
    path
}

/// A command that runs the program, killed when the test process ends; see [`leashed`].
pub fn frazil() -> Command {
    leashed(frazil_path())
}

/// A running `frazil serve`; dropping it kills it as `kill -9` does.
#[derive(Debug)]
pub struct Server {
    process: Process,
    port: u16,
    log: PathBuf,
}

impl Server {
    /// Serves a data folder on a free port of the loopback interface, and waits until it is healthy.
    ///
    /// # Panics
    /// If the server ends or is not healthy within a minute; the message has the last lines of its log.
    pub fn start(data_dir: &Path) -> Server {
        Server::start_on(data_dir, free_port())
    }

    /// As [`Server::start`] on a given port, for a restart that clients must not notice.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub fn start_on(data_dir: &Path, port: u16) -> Server {
        Server::start_with(data_dir, port, &[])
    }

    /// As [`Server::start_on`] with more options.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub fn start_with(data_dir: &Path, port: u16, options: &[String]) -> Server {
        std::fs::create_dir_all(data_dir).expect("a test may write to its data folder");
        let log = data_dir.with_extension("serve.log");
        let output =
            File::options().create(true).append(true).open(&log).expect("a test may write beside its data folder");
        let mut command = frazil();
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(data_dir)
            .arg("--listen")
            .arg(format!("127.0.0.1:{port}"))
            .args(options)
            .stdout(Stdio::from(output.try_clone().expect("a file handle can be copied")))
            .stderr(Stdio::from(output));
        let process = Process::spawn(command).expect("the server can be started");
        let mut server = Server { process, port, log };
        server.wait_until_healthy();
        server
    }

    /// The URL that an Iceberg REST client takes as its `uri`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Asks it to stop, as Ctrl-C does.
    ///
    /// # Panics
    /// If it is gone already.
    pub fn interrupt(&self) {
        self.process.interrupt().expect("a running server can be interrupted");
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(mut self) {
        self.process.kill();
    }

    fn wait_until_healthy(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        while !is_healthy(self.port) {
            let end = self.process.try_wait().expect("a child can be waited for");
            assert!(
                end.is_none() && Instant::now() < deadline,
                "frazil serve {}; {}:\n{}",
                end.map_or("is not healthy".into(), |status| format!("ended with {status}")),
                self.log.display(),
                log_tail(&self.log)
            );
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

fn is_healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
