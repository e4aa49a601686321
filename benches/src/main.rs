//! `./bench`: figures beside what the machine, the libraries underneath or a rival does with the same work in the same
//! run. Prints one table, leaves it as JSON under `benches/results/`, and ends with 1 if a floor is missed.
//!
//! Not a test: figures vary by tens of percent between runs on a shared machine; ratios within one run by less.

mod commit;
mod compact;
mod encode;
mod figure;
mod lineitem;
mod measure;
mod peers;
mod upsert;
mod world;

use std::process::ExitCode;

use figure::{Figure, Report};

/// What went wrong, for a person.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Figures that are measured together, after the part of Frazil that they are about.
type Suite = (&'static str, fn() -> Result<Vec<Figure>>);

const SUITES: [Suite; 4] = [
    ("writer.encode", encode::run),
    ("writer.commit", commit::run),
    ("writer.upsert", upsert::run),
    ("compactor.rewrite", compact::run),
];

#[expect(clippy::print_stderr, reason = "it is a command")]
fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let is_of = |asked: &str, name: &str| name == asked || name.split('.').next() == Some(asked);
    if let Some(unknown) = asked.iter().find(|asked| !SUITES.iter().any(|(name, _)| is_of(asked, name))) {
        let names = SUITES.map(|(name, _)| name).join(", ");
        eprintln!(
            "./bench: no suite named {unknown}; there are {names}; a name alone before the dot is all that begin so"
        );
        return ExitCode::from(2);
    }
    let wanted = |(name, _): &Suite| asked.is_empty() || asked.iter().any(|asked| is_of(asked, name));
    let wanted: Vec<Suite> = SUITES.into_iter().filter(wanted).collect();
    let is_alone = wanted.len() == 1;
    let mut holds = true;
    for (name, run) in wanted {
        match if is_alone { measured(name, run) } else { measured_apart(name) } {
            Ok(held) => holds &= held,
            Err(error) => {
                eprintln!("./bench: {name}: {error}");
                holds = false;
            }
        }
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a suite in a process of its own: what another one has left in memory must not count.
fn measured_apart(name: &'static str) -> Result<bool> {
    Ok(std::process::Command::new(std::env::current_exe()?).arg(name).status()?.success())
}

/// Runs a suite; says whether all of its floors held.
fn measured(name: &'static str, run: fn() -> Result<Vec<Figure>>) -> Result<bool> {
    let report = Report::new(name, run()?);
    report.print();
    report.store()?;
    Ok(report.holds())
}
