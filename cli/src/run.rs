//! `frazil run` and `frazil explain`.

use std::path::Path;

use frazil_engine::{JobConfig, JobPlan, Progress, ProgressEvent, plan_job, run_job};
use tokio::sync::broadcast::error::RecvError;

use crate::args::{Common, Explain, Job, Mode, Output, Run};
use crate::error::{Error, Result};
use crate::print::say;
use crate::{shutdown, sql, world};

pub(crate) async fn run(common: &Common, args: &Run, output: Output) -> Result<()> {
    if args.job.mode == Mode::Batch {
        let script = read_script(&args.job.script)?;
        return sql::run_script(&mut world::session(common).await?, &script, output).await;
    }
    let stop = shutdown::on_signal().map_err(|e| Error::failed("listening for signals", e))?;
    let plan = plan(common, &args.job).await?;
    if plan.is_empty() {
        say("the script has no INSERT: its definitions are carried out, there is nothing to run");
        return Ok(());
    }
    let progress = Progress::new();
    let mut events = progress.subscribe();
    let printer = tokio::spawn(async move {
        loop {
            match events.recv().await {
                Ok(event) => print_event(&event, output),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    });
    let result = run_job(plan, progress, stop).await;
    // The job's end drops the last sender, which ends the printer behind the last event.
    printer.await.map_err(|e| Error::failed("printing progress", e))?;
    Ok(result?)
}

pub(crate) async fn explain(common: &Common, args: &Explain, output: Output) -> Result<()> {
    let plan = plan(common, &args.job).await?;
    let graph = plan.graph();
    match () {
        () if args.dot => say(graph.to_dot().trim_end()),
        () if args.json || output == Output::Json => say(&graph.to_json()),
        () => say(graph.to_string().trim_end()),
    }
    Ok(())
}

async fn plan(common: &Common, job: &Job) -> Result<JobPlan> {
    let script = read_script(&job.script)?;
    let mut session = world::session(common).await?;
    let config = JobConfig {
        job_id: job.job_id.clone().unwrap_or_else(|| job_id_of(&job.script)),
        parallelism: usize::from(job.parallelism),
        checkpoint_interval: job.checkpoint_interval,
    };
    Ok(plan_job(&mut session, &script, &config).await?)
}

fn read_script(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::BadInput(format!("the script {} can't be read: {error}", path.display())))
}

/// The file's name without its ending, with other characters than a job id may have replaced.
fn job_id_of(script: &Path) -> String {
    let stem = script.file_stem().unwrap_or_default().to_string_lossy();
    let valid = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    stem.chars().map(|c| if valid(c) { c } else { '_' }).collect()
}

fn print_event(event: &ProgressEvent, output: Output) {
    match output {
        Output::Json => say(&serde_json::to_string(event).expect("an event has a JSON form")),
        Output::Text => say(&event.to_string()),
    }
}
