//! `./bench`: figures beside what the machine, the libraries underneath or a rival does with the same work in the same
//! run. Prints one table, leaves it as JSON under `benches/results/`, and ends with 1 if a floor is missed.
//!
//! Not a test: figures vary by tens of percent between runs on a shared machine; ratios within one run by less.

mod commit;
mod encode;
mod figure;
mod lineitem;
mod measure;
mod peers;
mod upsert;

use std::process::ExitCode;

use figure::{Figure, Report};

/// What went wrong, for a person.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SUITES: [&str; 1] = ["writer"];

#[expect(clippy::print_stderr, reason = "it is a command")]
fn main() -> ExitCode {
    let suites: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = suites.iter().find(|suite| !SUITES.contains(&suite.as_str())) {
        eprintln!("./bench: no suite named {unknown}; there are {}", SUITES.join(", "));
        return ExitCode::from(2);
    }
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("./bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the suites; says whether all floors held.
fn run() -> Result<bool> {
    let mut figures: Vec<Figure> = Vec::new();
    figures.extend(encode::run()?);
    figures.extend(commit::run()?);
    figures.extend(upsert::run()?);
    let report = Report::new("writer", figures);
    report.print();
    report.store()?;
    Ok(report.holds())
}
