//! `frazil run` and `frazil explain`.

use std::path::Path;
use std::time::Duration;

use frazil_engine::session::JobSettings;
use frazil_engine::{JobConfig, JobName, JobPlan, Progress, ProgressEvent, plan_job, run_job};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::args::{Common, Explain, Job, Mode, Output, Run};
use crate::error::{Error, Result};
use crate::meter::{Figures, Meter};
use crate::print::{StatusLine, note, say};
use crate::{shutdown, sql, world};

/// How often the line on a terminal is written over.
const STATUS_INTERVAL: Duration = Duration::from_millis(250);

/// How often it is said elsewhere how the job goes on.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

pub(crate) async fn run(common: &Common, args: &Run, output: Output) -> Result<()> {
    let (script, job) = read_job(&args.job)?;
    if job.mode == Mode::Batch {
        return sql::run_script(&mut world::session(common).await?, &script, output).await;
    }
    let stop = shutdown::on_signal().map_err(|e| Error::failed("listening for signals", e))?;
    let plan = plan(common, &script, &job).await?;
    if plan.is_empty() {
        note(output, "the script has no INSERT: its definitions are carried out, there is nothing to run");
        return Ok(());
    }
    let progress = Progress::new();
    let ended = CancellationToken::new();
    let printer = print_progress(progress.clone(), progress.subscribe(), output, ended.clone());
    let printer = tokio::spawn(printer);
    let result = run_job(plan, progress, stop).await;
    ended.cancel();
    printer.await.map_err(|e| Error::failed("printing progress", e))?;
    Ok(result?)
}

/// Prints events as they come, and how it goes on: on a terminal in a line that is written over, elsewhere in a line from
/// time to time, until the job has ended.
async fn print_progress(
    progress: Progress,
    mut events: Receiver<ProgressEvent>,
    output: Output,
    ended: CancellationToken,
) {
    let mut line = StatusLine::new();
    let mut meter = Meter::new();
    let mut ticks = tokio::time::interval(if line.is_terminal() { STATUS_INTERVAL } else { LOG_INTERVAL });
    // The first tick comes at once, when there is nothing to say.
    ticks.tick().await;
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Ok(event) => {
                    line.clear();
                    print_event(&event, output);
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            _ = ticks.tick() => {
                let figures = meter.read(&progress);
                match (line.is_terminal(), output) {
                    (true, _) => line.show(&figures.iter().map(Figures::to_string).collect::<Vec<_>>().join(" | ")),
                    (false, Output::Text) => figures.iter().for_each(|figures| say(&figures.to_string())),
                    (false, Output::Json) => figures.iter().for_each(|figures| say(&figures.to_json())),
                }
            }
            () = ended.cancelled() => break,
        }
    }
    line.clear();
    // What happened between the last look and the end.
    while let Ok(event) = events.try_recv() {
        print_event(&event, output);
    }
    for skipped in meter.read(&progress).iter().filter(|figures| figures.pipeline.rows_skipped > 0) {
        match output {
            Output::Text => say(&format!(
                "{}: {} malformed rows passed over",
                skipped.pipeline.table, skipped.pipeline.rows_skipped
            )),
            Output::Json => say(&skipped.to_json()),
        }
    }
}

pub(crate) async fn explain(common: &Common, args: &Explain, output: Output) -> Result<()> {
    let (script, job) = read_job(&args.job)?;
    if job.mode == Mode::Batch {
        let wants_json = args.json || output == Output::Json;
        let output = if wants_json { Output::Json } else { Output::Text };
        if args.dot {
            return Err(Error::BadInput(
                "--dot draws a streaming job; a batch job has the plans of its statements".to_owned(),
            ));
        }
        return sql::explain_script(&mut world::session(common).await?, &script, output).await;
    }
    let plan = plan(common, &script, &job).await?;
    let graph = plan.graph();
    match () {
        () if args.dot => say(graph.to_dot().trim_end()),
        () if args.json => say(&graph.to_json()),
        () if output == Output::Json => say(&serde_json::to_string(graph).expect("a graph has a JSON form")),
        () => say(graph.to_string().trim_end()),
    }
    Ok(())
}

async fn plan(common: &Common, script: &str, job: &Job) -> Result<JobPlan> {
    let mut session = world::session(common).await?;
    let config = JobConfig {
        name: match &job.job_id {
            Some(name) => JobName::Given(name.clone()),
            None => JobName::OfScript(stem_of(&job.script)),
        },
        parallelism: usize::from(job.parallelism),
        checkpoint_interval: job.checkpoint_interval,
    };
    Ok(plan_job(&mut session, script, &config).await?)
}

/// The script, and the job with what the script sets where the command line and the environment say nothing.
fn read_job(job: &Job) -> Result<(String, Job)> {
    let script = std::fs::read_to_string(&job.script)
        .map_err(|error| Error::BadInput(format!("the script {} can't be read: {error}", job.script.display())))?;
    let set = JobSettings::of_script(&script)?;
    let mut job = job.clone();
    if let Some(is_batch) = set.is_batch.filter(|_| !job.given.mode) {
        job.mode = if is_batch { Mode::Batch } else { Mode::Streaming };
    }
    if let Some(parallelism) = set.parallelism.filter(|_| !job.given.parallelism) {
        job.parallelism = u16::try_from(parallelism).unwrap_or(u16::MAX);
    }
    if let Some(interval) = set.checkpoint_interval.filter(|_| !job.given.checkpoint_interval) {
        job.checkpoint_interval = interval;
    }
    job.job_id = job.job_id.or(set.job_id);
    Ok((script, job))
}

/// The file's name without its ending, with other characters than a job id may have replaced.
fn stem_of(script: &Path) -> String {
    let stem = script.file_stem().unwrap_or_default().to_string_lossy();
    let valid = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    stem.chars().map(|c| if valid(c) { c } else { '_' }).collect()
}

pub(crate) fn print_event(event: &ProgressEvent, output: Output) {
    match output {
        Output::Json => say(&serde_json::to_string(event).expect("an event has a JSON form")),
        Output::Text => say(&event.to_string()),
    }
}
