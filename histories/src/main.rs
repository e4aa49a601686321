//! Runs random histories for as long as it is let, and goes on where the last run stopped. Ends with 1 if one broke a
//! promise.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use frazil_histories::{Pace, Progress, narrate};

/// Random histories of tables against a model in memory.
#[derive(Debug, Parser)]
struct Arguments {
    /// Runs only the history of this seed, and tells its steps.
    #[arg(long, env = "FRAZIL_SEED")]
    seed: Option<u64>,
    /// Runs the seeds below this one.
    #[arg(long, default_value_t = 100_000)]
    count: u64,
    /// Begins no history later than this.
    #[arg(long, default_value_t = 3_600)]
    seconds: u64,
    /// Histories at the same time.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Where it is kept how far all runs have come.
    #[arg(long)]
    progress: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "it is a command")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        let (ended, steps) = narrate(seed);
        match ended {
            Ok(tally) => println!("  {steps}\n{:#?}", tally.0),
            Err(broken) => {
                println!("{broken}");
                return ExitCode::FAILURE;
            }
        }
        return ExitCode::SUCCESS;
    }
    let begun = Instant::now();
    let file = arguments.progress.as_deref();
    let before = file.map(Progress::load).unwrap_or_default();
    let first = before.next;
    let pace = Pace {
        count: arguments.count,
        time: Duration::from_secs(arguments.seconds),
        threads: arguments.threads.max(1),
    };
    let after = before.go_on(pace, file, &|seed, broken| println!("--seed {seed}: {broken}\n"));
    println!("{:#?}", after.tally);
    println!("seeds {first} to {} in {:.0} s", after.next, begun.elapsed().as_secs_f64());
    let missing = after.missing();
    if !missing.is_empty() {
        println!("no history had {missing:?}");
    }
    if !after.failed.is_empty() {
        println!("seeds that broke a promise: {:?}", after.failed);
    }
    if after.failed.is_empty() && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
