//! What a person may type.

use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Parser, Subcommand, ValueEnum};
use frazil_compactor::ORPHAN_AGE_MS_MIN;
use frazil_engine::options::parse_duration;
use frazil_engine::session::{CHECKPOINT_INTERVAL_MIN, is_job_id};
use frazil_reader::StartPosition;

use crate::from::From;

/// Lakehouse storage for Apache Iceberg with streaming compaction.
#[derive(Debug, Parser)]
#[command(
    name = "frazil",
    version,
    about,
    max_term_width = 100,
    after_help = "An option that takes a value can be given as a variable too: FRAZIL_DATA_DIR, FRAZIL_RUN_PARALLELISM.\n\
                  The command line goes before variables, and variables before the file of --config."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    /// A TOML file of options, under their long names: those of all commands at its top, those of a command in its section,
    /// as in `[run]`.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
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
    /// Sent to the catalog as a bearer token.
    #[arg(long, global = true, value_name = "TOKEN")]
    pub(crate) catalog_token: Option<String>,
    /// Which of the catalog's warehouses.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) catalog_warehouse: Option<String>,
    /// Where the embedded catalog puts its tables: a folder, or s3://BUCKET/PATH, gs://…, abfss://…, hdfs://…. Given when
    /// the data folder is made; it is remembered there. Default: the folder warehouse in the data folder.
    #[arg(long, global = true, value_name = "LOCATION", conflicts_with = "catalog")]
    pub(crate) warehouse: Option<String>,
    /// How a store is reached, by a property of Iceberg's FileIO: s3.endpoint, s3.access-key-id, gcs.…, adls.…. May be
    /// given more than once. Secrets are better kept in the section storage of --config, or where a cloud's own tools
    /// look for them (AWS_ACCESS_KEY_ID, …).
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = parse_property)]
    pub(crate) storage: Vec<(String, String)>,
}

impl Args {
    /// The job of commands that have one.
    pub(crate) fn job_mut(&mut self) -> Option<&mut Job> {
        match &mut self.command {
            Command::Run(run) => Some(&mut run.job),
            Command::Explain(explain) => Some(&mut explain.job),
            _ => None,
        }
    }
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
    /// Carries out SQL statements and prints their results.
    Sql(Sql),
    /// Prints the rows of a table as they come.
    Tail(Tail),
    /// Shows who follows a table and how far they have come, and sets that.
    Consumers(Consumers),
    /// Merges the small files of a table.
    Compact(Compact),
    /// Lets old snapshots of a table go, with the files that only they name.
    Expire(Expire),
    /// Deletes files in a table's folders that nothing names any more.
    Orphans(Orphans),
    /// Merges the manifests of a table.
    RewriteManifests(RewriteManifests),
    /// Walks everything that a table references and checks it.
    Verify(Verify),
    /// Shows the whole on real data: two streaming jobs, compaction, queries, other engines.
    Demo(Demo),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Sql {
    /// The statements. Without -e and -f they are read from standard input, line by line if that is a terminal.
    #[arg(short, long, value_name = "SQL", conflicts_with = "file")]
    pub(crate) execute: Option<String>,
    /// A file of statements.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Tail {
    /// The table: [[catalog.]database.]table
    pub(crate) table: String,
    /// Where to begin: earliest, latest, snapshot:ID (with it), after:ID (without it), timestamp:MILLISECONDS, tag:NAME,
    /// position:POSITION (as --positions prints it), consumer:NAME (where that consumer has come to).
    #[arg(long, default_value = "latest", value_name = "PLACE")]
    pub(crate) from: From,
    /// Follows as this consumer: what has been printed is committed to the catalog, a restart goes on behind it whatever
    /// --from says, and members of the name that joined before are fenced.
    #[arg(long, value_name = "NAME")]
    pub(crate) consumer: Option<String>,
    /// For so long after its last commit the consumer's position keeps what it needs from expiry.
    #[arg(long, default_value = "7 d", value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) lease: Duration,
    /// Only these columns and leaves: a,b.c.d
    #[arg(long, value_delimiter = ',', value_name = "PATHS")]
    pub(crate) columns: Vec<String>,
    /// Only rows that match an SQL condition: price > 10 AND city.name = 'Oslo'
    #[arg(long, value_name = "SQL")]
    pub(crate) filter: Option<String>,
    /// What became of rows, over snapshots that change and remove rows too: as rows that went and came, as updates of rows
    /// with the same identifier, or as what all that is there comes to.
    #[arg(long, value_enum, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "changes")]
    pub(crate) changelog: Option<Form>,
    /// For --changelog=upsert: the columns that identify a row. Default: the table's identifier fields.
    #[arg(long, value_delimiter = ',', value_name = "PATHS", requires = "changelog")]
    pub(crate) identifier: Vec<String>,
    /// Without --changelog: what to do about snapshots that change or remove rows.
    #[arg(long, value_enum, default_value_t = OnRowChanges::Fail, conflicts_with = "changelog")]
    pub(crate) on_row_changes: OnRowChanges,
    /// What to do if the history behind the start is gone: fail, or begin with the oldest snapshot that is there and say so.
    #[arg(long, value_enum, default_value_t = LostPolicy::Fail)]
    pub(crate) on_lost: LostPolicy,
    /// How rows are printed.
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    pub(crate) format: Format,
    /// With ndjson and arrow: also prints where reading goes on behind the rows, as the HTTP interface does.
    #[arg(long)]
    pub(crate) positions: bool,
    /// Ends when everything that is there is printed.
    #[arg(long)]
    pub(crate) no_follow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Rows that went, then rows that came, of one snapshot after the other.
    Changes,
    /// The same, but updates of a row are told as such.
    Upsert,
    /// What all snapshots that are there come to.
    Net,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnRowChanges {
    /// Stop at such a snapshot.
    Fail,
    /// Pass it over.
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LostPolicy {
    /// Stop.
    Fail,
    /// Begin with the oldest snapshot that is there.
    Earliest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line.
    Ndjson,
    /// A stream of Arrow IPC.
    Arrow,
    /// Tables for a person.
    Table,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Consumers {
    /// The table: [[catalog.]database.]table
    pub(crate) table: String,
    /// Moves this consumer to the place of --to, and fences its members. It is made if it is not there.
    #[arg(long, value_name = "NAME", requires = "to", conflicts_with = "drop")]
    pub(crate) reset: Option<String>,
    /// Where to: as --from of tail.
    #[arg(long, value_name = "PLACE", requires = "reset")]
    pub(crate) to: Option<StartPosition>,
    /// Forgets this consumer: it holds nothing back any more.
    #[arg(long, value_name = "NAME")]
    pub(crate) drop: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Compact {
    /// The table: [[catalog.]database.]table
    pub(crate) table: String,
    /// How: binpack merges small files, sort, zorder and hilbert also put rows in order, where they are not yet.
    #[arg(long, value_enum, default_value_t = Strategy::Binpack, conflicts_with = "convert_equality_deletes")]
    pub(crate) strategy: Strategy,
    /// The columns that rows are ordered by: a,b. For sort also 'a DESC NULLS LAST, bucket(16, b)'; without them by the table's own
    /// sort order.
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) sort_by: Option<String>,
    /// Merges nothing, but turns the equality deletes of other programs into position deletes, or deletion vectors from format
    /// version 3 on.
    #[arg(long)]
    pub(crate) convert_equality_deletes: bool,
    /// Only shows the plan.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What is done with the files of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// Small files become large ones; rows keep their order.
    Binpack,
    /// Rows are sorted.
    Sort,
    /// Rows lie along the z-order curve of some columns.
    Zorder,
    /// Rows lie along the Hilbert curve of some columns.
    Hilbert,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Expire {
    /// The table: [[catalog.]database.]table
    pub(crate) table: String,
    /// Snapshots younger than this stay. The table's history.expire.* properties go before it.
    #[arg(long, default_value = "5 d", value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) older_than: Duration,
    /// So many of the newest snapshots stay whatever their age.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) keep: usize,
    /// Only shows what would go.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Orphans {
    /// The table: [[catalog.]database.]table
    pub(crate) table: String,
    /// Files younger than this stay: somebody may be about to commit them. At least an hour.
    #[arg(long, default_value = "3 d", value_name = "DURATION", value_parser = parse_orphan_age)]
    pub(crate) older_than: Duration,
    /// Files with names that other programs give go as well.
    #[arg(long)]
    pub(crate) any_name: bool,
    /// So many files go at most, the oldest first.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub(crate) max_files: usize,
    /// Only shows what would go.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RewriteManifests {
    /// The table: [[catalog.]database.]table
    pub(crate) table: String,
    /// Only shows what would be merged.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// The table: [[catalog.]database.]table
    pub(crate) table: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Flights a second.
    #[arg(long, default_value_t = 10_000, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// The address that the service listens on.
    #[arg(long, default_value = "127.0.0.1:8181", value_name = "ADDRESS")]
    pub(crate) listen: String,
    /// Deletes what an earlier demo made, and begins anew.
    #[arg(long)]
    pub(crate) reset: bool,
    /// Takes the small excerpt that is built in instead of fetching all flights.
    #[arg(long)]
    pub(crate) excerpt: bool,
    /// Ends after the queries instead of leaving the service up.
    #[arg(long)]
    pub(crate) exit: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// The address to listen on. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8181", value_name = "ADDRESS")]
    pub(crate) listen: String,
    /// Tells every client the secrets of --storage too, with each table that it loads. Without it, clients are only told
    /// where the store is.
    #[arg(long)]
    pub(crate) share_credentials: bool,
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
#[derive(Clone, Debug, clap::Args)]
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
    /// Names the job over all its runs; a run goes on where the last one of the same name stopped. Default: what SET
    /// 'pipeline.name' says, else the script's file name.
    #[arg(long, value_name = "NAME", value_parser = parse_job_id)]
    pub(crate) job_id: Option<String>,
    /// Which of these were given by a person, so that the script's `SET` does not go over them.
    #[arg(skip)]
    pub(crate) given: Given,
}

/// Which options of a job stand on the command line or in the environment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given {
    pub(crate) mode: bool,
    pub(crate) parallelism: bool,
    pub(crate) checkpoint_interval: bool,
}

impl Given {
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let given = |id| matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable));
        Self {
            mode: given("mode"),
            parallelism: given("parallelism"),
            checkpoint_interval: given("checkpoint_interval"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Streaming,
    Batch,
}

/// `KEY=VALUE`; only the first equals sign parts them.
fn parse_property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("it must be KEY=VALUE".to_owned()),
    }
}

fn parse_orphan_age(text: &str) -> Result<Duration, String> {
    let age = parse_duration(text)?;
    match i64::try_from(age.as_millis()) {
        Ok(age_ms) if age_ms < ORPHAN_AGE_MS_MIN => {
            Err("files of the last hour stay: a commit may be about to name them".to_owned())
        }
        _ => Ok(age),
    }
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if interval < CHECKPOINT_INTERVAL_MIN {
        return Err(format!("a checkpoint interval is at least {} ms", CHECKPOINT_INTERVAL_MIN.as_millis()));
    }
    Ok(interval)
}

fn parse_job_id(text: &str) -> Result<String, String> {
    match is_job_id(text) {
        true => Ok(text.to_owned()),
        false => Err("a job id has letters, digits, '-', '_' and '.' only".to_owned()),
    }
}
