//! What a person may type.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use frazil_engine::options::parse_duration;

/// Lakehouse storage for Apache Iceberg with streaming compaction.
#[derive(Debug, Parser)]
#[command(name = "frazil", version, about, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How results and progress are printed: for a person, or one JSON object a line.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the tables are.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    /// The folder of the embedded catalog and its tables.
    #[arg(long, global = true, default_value = "frazil-data", value_name = "FOLDER")]
    pub(crate) data_dir: PathBuf,
    /// An Iceberg REST catalog to use in place of the embedded one. Without it, a server that runs on the data folder is
    /// used, or the folder itself.
    #[arg(long, global = true, value_name = "URI")]
    pub(crate) catalog: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves the catalog to Spark, Trino, Flink, DuckDB and PyIceberg.
    Serve(Serve),
    /// Runs the job of an SQL script until its sources end or Ctrl-C.
    Run(Run),
    /// Shows the operators of a script's job without running it.
    Explain(Explain),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// The address to listen on. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8181", value_name = "ADDRESS")]
    pub(crate) listen: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) job: Job,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) job: Job,
    /// As JSON.
    #[arg(long, conflicts_with = "dot")]
    pub(crate) json: bool,
    /// For Graphviz.
    #[arg(long)]
    pub(crate) dot: bool,
}

/// A script and how it is run.
#[derive(Debug, clap::Args)]
pub(crate) struct Job {
    /// The SQL script: definitions and INSERT statements.
    #[arg(value_name = "JOB.sql")]
    pub(crate) script: PathBuf,
    /// Whether inserts follow their sources or read what is there and end.
    #[arg(long, value_enum, default_value_t = Mode::Streaming)]
    pub(crate) mode: Mode,
    /// Tasks for each source, writer and compact operator.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) parallelism: u16,
    /// Time between two checkpoints, which is the time until rows can be read.
    #[arg(long, default_value = "1 s", value_name = "DURATION", value_parser = parse_interval)]
    pub(crate) checkpoint_interval: Duration,
    /// Names the job over all its runs; a run goes on where the last one of the same name stopped. Default: the script's
    /// file name.
    #[arg(long, value_name = "NAME", value_parser = parse_job_id)]
    pub(crate) job_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Streaming,
    Batch,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if interval < Duration::from_millis(10) {
        return Err("a checkpoint interval is at least 10 ms".to_owned());
    }
    Ok(interval)
}

fn parse_job_id(text: &str) -> Result<String, String> {
    let valid = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || !text.chars().all(valid) {
        return Err("a job id has letters, digits, '-', '_' and '.' only".to_owned());
    }
    Ok(text.to_owned())
}
