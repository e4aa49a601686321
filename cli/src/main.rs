//! The frazil program: what a person types becomes calls of the other crates.

mod args;
mod data_dir;
mod demo;
mod error;
mod maintain;
mod print;
mod run;
mod serve;
mod shutdown;
mod sql;
mod tail;
mod world;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command, Output};

/// Planning goes as deep as a statement is nested; only what is used of it is ever touched.
const STACK_BYTES: usize = 16 << 20;

fn main() -> ExitCode {
    let args = Args::parse();
    log_to_stderr(args.output);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().thread_stack_size(STACK_BYTES).build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(args)),
        Err(error) => Err(error::Error::failed("starting", error)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print();
            ExitCode::from(error.exit_code())
        }
    }
}

async fn dispatch(args: Args) -> error::Result<()> {
    let Args { common, output, command } = args;
    match command {
        Command::Serve(serve) => serve::serve(&common, &serve).await,
        Command::Run(run) => run::run(&common, &run, output).await,
        Command::Explain(explain) => run::explain(&common, &explain, output).await,
        Command::Sql(sql) => sql::sql(&common, &sql, output).await,
        Command::Tail(tail) => tail::tail(&common, &tail).await,
        Command::Compact(compact) => maintain::compact(&common, &compact).await,
        Command::Expire(expire) => maintain::expire(&common, &expire).await,
        Command::Demo(demo) => demo::demo(&common, &demo).await,
    }
}

/// Warnings of all, more of our own; `RUST_LOG` says otherwise.
fn log_to_stderr(output: Output) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match output {
        Output::Text => builder.init(),
        Output::Json => builder.json().init(),
    }
}
