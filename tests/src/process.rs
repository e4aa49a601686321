//! Child processes that end with the tests.
//!
//! A child is killed when its [`Process`] is dropped, and by the kernel when the test process ends without dropping it
//! (statics, a kill, an abort). The kernel's rule goes by the thread that spawned the child, and a test's thread ends
//! with the test; so every child is spawned by one thread that ends with the process.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running child process; dropping it kills it.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Spawns what [`leashed`] began. The error names the program.
    pub fn spawn(command: Command) -> io::Result<Process> {
        static NURSERY: OnceLock<Sender<Job>> = OnceLock::new();
        let nursery = NURSERY.get_or_init(|| {
            let (sender, jobs) = channel::<Job>();
            std::thread::spawn(move || {
                for mut job in jobs {
                    // The asker waits for the answer; if it is gone, so is the need for the child.
                    if let Err(unwanted) = job.reply.send(job.command.spawn()) {
                        unwanted.0.map(Process).ok();
                    }
                }
            });
            sender
        });
        let text = format!("{command:?}");
        let (reply, answer) = channel();
        nursery.send(Job { command, reply }).expect("the nursery's thread ends with the process");
        answer
            .recv()
            .expect("the nursery answers every job")
            .map(Process)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot run {text}: {error}")))
    }

    /// The process id: that of the program itself, also for signals.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The pipes that the command asked for.
    pub fn child_mut(&mut self) -> &mut Child {
        &mut self.0
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Waits for the end; `None` if it still runs after the timeout.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.0.try_wait()? {
                None if Instant::now() < deadline => std::thread::sleep(POLL_INTERVAL),
                end => return Ok(end),
            }
        }
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) {
        // Both fail only if the process has ended and was waited for: then there is nothing left to do.
        self.0.kill().ok();
        self.0.wait().ok();
    }

    /// Asks the process to stop, as Ctrl-C does (SIGINT).
    pub fn interrupt(&self) -> io::Result<()> {
        let status = Command::new("kill").args(["-INT", &self.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("kill -INT: {status}"))) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Job {
    command: Command,
    reply: Sender<io::Result<Child>>,
}

/// A command for [`Process::spawn`]: runs the program under its own process id, killed when the test process ends, with
/// no input.
pub fn leashed(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).stdin(Stdio::null());
    command
}

/// A port of the loopback interface that nothing listened on a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("the loopback interface has free ports")
        .port()
}

/// The last lines of a log, for an error.
pub fn log_tail(path: &Path) -> String {
    const LINES: usize = 30;
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// The folder that cargo builds into: the one that the running test is in, unless CARGO_TARGET_DIR names it.
pub fn target_dir() -> std::path::PathBuf {
    if let Some(named) = std::env::var_os("CARGO_TARGET_DIR") {
        return named.into();
    }
    let test = std::env::current_exe().expect("a running program has a path");
    test.ancestors().nth(3).expect("a test runs as TARGET/PROFILE/deps/NAME").to_path_buf()
}

/// The folder of the running test's profile, such as `target/debug`.
pub fn profile_dir() -> std::path::PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    test.ancestors().nth(2).expect("a test runs as TARGET/PROFILE/deps/NAME").to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_process_is_gone() {
        let mut command = leashed("sleep");
        command.arg("1000");
        let process = Process::spawn(command).expect("sleep is everywhere");
        let id = process.id();
        assert!(Path::new(&format!("/proc/{id}")).exists());
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn a_process_outlives_the_thread_that_asked_for_it() {
        let asked = std::thread::spawn(|| {
            let mut command = leashed("sleep");
            command.arg("1000");
            Process::spawn(command).expect("sleep is everywhere")
        });
        let mut process = asked.join().expect("spawning does not panic");
        let end = process.wait(Duration::from_millis(200)).expect("it can be waited for");
        assert_eq!(end, None, "it was killed with the thread");
    }
}
