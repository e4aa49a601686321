//! Other implementations that read and write the same tables, and the components that feed a job.
//!
//! A query peer ([`Peer`]) is a long-lived child that speaks lines of JSON; what each can do is in `tests/peers/`. Its
//! log is a file that every error names.

mod answer;
mod dialect;
mod frazil;
mod kafka;
mod peer;
mod table;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

pub use answer::{Answer, Checksum, ColumnSum};
pub use frazil::FrazilSql;
pub use kafka::Kafka;
pub use peer::{Engine, Error, Peer};
pub use table::{Column, Kind, Table};

use crate::process::target_dir;

/// A component that cannot be had, and why.
#[derive(Debug, Clone)]
pub struct Skip {
    /// The component's name, as in `tests/skips.toml`.
    pub component: String,
    /// Why it is not there, and what to do.
    pub reason: String,
}

impl Skip {
    /// Reports the running test as skipped; the test then returns.
    pub fn report(&self) {
        skip(&self.component, &self.reason);
    }
}

/// Reports the running test as skipped for want of a component; the test then returns.
///
/// `./test` counts it as skipped rather than passed. Call it on the test's own thread: its name is the test's.
#[expect(clippy::print_stderr, reason = "a person who runs cargo test sees it")]
pub fn skip(component: &str, reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    eprintln!("{test} is skipped: no {component}: {reason}");
    if let Some(path) = std::env::var_os("FRAZIL_SKIPS_FILE") {
        let line = serde_json::json!({"component": component, "test": test, "reason": reason});
        File::options()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
            .expect("the file that FRAZIL_SKIPS_FILE names can be written");
    }
}

/// The folder that `tests/peers/install.py` put a component in.
pub fn installed(component: &str) -> Result<PathBuf, Skip> {
    let peers = match std::env::var_os("FRAZIL_PEERS_DIR") {
        Some(folder) => folder.into(),
        None => target_dir().join("peers"),
    };
    let folder = peers.join(component);
    if folder.join(".stamp").is_file() {
        return Ok(folder);
    }
    let reason = std::fs::read_to_string(peers.join(format!("{component}.missing")))
        .unwrap_or_else(|_| format!("{} is not there; ./test installs it", folder.display()));
    Err(Skip { component: component.to_owned(), reason })
}

/// The committed helpers of the peers.
fn helpers() -> PathBuf {
    crate::package_folder().join("peers")
}

/// The Java program to run.
pub(crate) fn java() -> PathBuf {
    match std::env::var_os("JAVA_HOME") {
        Some(home) => PathBuf::from(home).join("bin/java"),
        None => "java".into(),
    }
}
