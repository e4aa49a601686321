//! The frazil program: what a person types becomes calls of the other crates.

mod api;
mod args;
mod config_file;
mod consumers;
mod data_dir;
mod demo;
mod error;
mod from;
mod maintain;
mod meter;
mod print;
mod run;
mod serve;
mod shutdown;
mod sql;
mod tail;
mod world;

use std::io::IsTerminal;
use std::process::ExitCode;

use crate::args::{Args, Command, Output};

/// Planning goes as deep as a statement is nested; only what is used of it is ever touched.
const STACK_BYTES: usize = 16 << 20;

fn main() -> ExitCode {
    let args = match config_file::parse_args() {
        Ok(args) => args,
        Err(error) => return ended_by(&error, Output::Text),
    };
    let output = args.output;
    log_to_stderr(output);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().thread_stack_size(STACK_BYTES).build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(args)),
        Err(error) => Err(error::Error::failed("starting", error)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ended_by(&error, output),
    }
}

fn ended_by(error: &error::Error, output: Output) -> ExitCode {
    error.print(output);
    ExitCode::from(error.exit_code())
}

async fn dispatch(args: Args) -> error::Result<()> {
    let Args { common, output, command, .. } = args;
    match command {
        Command::Serve(serve) => serve::serve(&common, &serve, output).await,
        Command::Run(run) => run::run(&common, &run, output).await,
        Command::Explain(explain) => run::explain(&common, &explain, output).await,
        Command::Sql(sql) => sql::sql(&common, &sql, output).await,
        Command::Tail(tail) => tail::tail(&common, &tail, output).await,
        Command::Consumers(consumers) => consumers::consumers(&common, &consumers, output).await,
        Command::Compact(compact) => maintain::compact(&common, &compact, output).await,
        Command::Expire(expire) => maintain::expire(&common, &expire, output).await,
        Command::Orphans(orphans) => maintain::orphans(&common, &orphans, output).await,
        Command::RewriteManifests(rewrite) => maintain::rewrite_manifests(&common, &rewrite, output).await,
        Command::Verify(verify) => maintain::verify(&common, &verify, output).await,
        Command::Demo(demo) => demo::demo(&common, &demo, output).await,
    }
}

/// Warnings of all, more of our own; `RUST_LOG` says otherwise.
fn log_to_stderr(output: Output) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let builder = builder.with_ansi(std::io::stderr().is_terminal());
    match output {
        Output::Text => builder.init(),
        Output::Json => builder.json().init(),
    }
}
