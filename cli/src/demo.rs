//! `frazil demo`: the main job on real data. Everything that it does, `serve`, `run`, `tail` and `sql` do too.

mod data;

use std::time::{Duration, Instant};

use frazil_catalog::CatalogRef;
use frazil_engine::sql::parse_script;
use frazil_engine::{JobConfig, JobName, Progress, ProgressEvent, Session, batch, plan_job, run_job};
use frazil_storage::Env;
use frazil_table::spec::TableIdent;
use tokio::sync::broadcast::Receiver;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::args::{Common, Demo, Output};
use crate::error::{Error, Result};
use crate::print::{StatusLine, note, say, say_ndjson, say_table};
use crate::run::print_event;
use crate::serve::Service;
use crate::{shutdown, sql, world};

const FLIGHTS: &str = include_str!("../demo/flights.sql");
const DELAYED: &str = include_str!("../demo/delayed.sql");
const QUERIES: &str = include_str!("../demo/queries.sql");

/// How long the second job may take to read what the first has written, after the first has ended.
const CATCH_UP: Duration = Duration::from_secs(30);

/// Rows of the second table that are shown as they arrive.
const ROWS_SHOWN: usize = 5;

pub(crate) async fn demo(common: &Common, args: &Demo, output: Output) -> Result<()> {
    if common.catalog.is_some() {
        return Err(Error::BadInput("the demo has a catalog of its own: leave --catalog out".to_owned()));
    }
    let stop = shutdown::on_signal().map_err(|e| Error::failed("listening for signals", e))?;
    let env = world::env(common)?;
    let service = Service::bind(common, &args.listen, env.clone()).await?;
    let (url, catalog) = (service.url.clone(), service.catalog.clone() as CatalogRef);
    note(output, &format!("the catalog is at {url}, the tables are in {}", service.catalog.warehouse()));
    let folder = service.data_dir.path().join("demo");
    let served = tokio::spawn(service.run(stop.clone()));

    look_at_earlier_run(&env, &catalog, args.reset, output).await?;
    let flights = data::prepare(&folder, args.excerpt, output).await?;
    note(output, &format!("streaming {} at {} rows a second:", flights.what, args.rate));
    let script =
        FLIGHTS.replace("${FLIGHTS}", &flights.folder.display().to_string()).replace("${RATE}", &args.rate.to_string());
    run_jobs(&env, &catalog, &script, &stop, output).await?;
    if !stop.is_cancelled() {
        run_queries(&env, &catalog, output).await?;
        if output == Output::Text {
            say_connections(&url);
        }
    }
    if args.exit {
        stop.cancel();
    } else if !stop.is_cancelled() {
        note(output, "the service stays up; Ctrl-C ends it");
    }
    served.await.map_err(|e| Error::failed("serving", e))?
}

/// Says what an earlier demo left, or drops it.
async fn look_at_earlier_run(env: &Env, catalog: &CatalogRef, reset: bool, output: Output) -> Result<()> {
    let mut session = Session::open(env.clone(), catalog.clone()).await?;
    for name in ["delayed", "flights"] {
        let ident = TableIdent::from_strs(["default", name]).expect("two parts are a name");
        if !catalog.table_exists(&ident).await? {
            continue;
        }
        if reset {
            catalog.drop_table(&ident, true).await?;
            note(output, &format!("dropped the table {name} of an earlier demo"));
            continue;
        }
        note(
            output,
            &format!(
                "the table {name} is there from an earlier demo; the jobs go on where they stopped (--reset begins anew):"
            ),
        );
        run_each(&mut session, &format!("SELECT count(*) AS {name} FROM {name};"), output).await?;
    }
    Ok(())
}

/// Runs the first job to its end and the second until it has read all of it.
async fn run_jobs(
    env: &Env,
    catalog: &CatalogRef,
    script: &str,
    stop: &CancellationToken,
    output: Output,
) -> Result<()> {
    let (first, second) = (Progress::new(), Progress::new());
    let events = (first.subscribe(), second.subscribe());
    let flights = start(env, catalog, "demo-flights", script, &first, stop.child_token()).await?;
    let second_stop = stop.child_token();
    let delayed = start(env, catalog, "demo-delayed", DELAYED, &second, second_stop.clone()).await?;
    let shown = stop.child_token();
    let watch = tokio::spawn(watch(first.clone(), second.clone(), events, shown.clone(), output));
    let tail = tokio::spawn(show_arriving(env.clone(), catalog.clone(), shown.clone(), output));
    flights.await.map_err(|e| Error::failed("running the first job", e))??;
    let written = rows(&first, |p| p.rows_committed);
    let deadline = Instant::now() + CATCH_UP;
    while rows(&second, |p| p.rows_in) < written && Instant::now() < deadline && !delayed.is_finished() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    second_stop.cancel();
    delayed.await.map_err(|e| Error::failed("running the second job", e))??;
    shown.cancel();
    let (seconds, commits, compactions) = watch.await.map_err(|e| Error::failed("watching the jobs", e))?;
    tail.await.map_err(|e| Error::failed("following the second table", e))??;
    let summary = format!(
        "{written} flights in {seconds:.1} s: {commits} commits, {compactions} compactions; the second job kept {} rows",
        rows(&second, |p| p.rows_committed)
    );
    note(output, &summary);
    Ok(())
}

async fn start(
    env: &Env,
    catalog: &CatalogRef,
    job_id: &str,
    script: &str,
    progress: &Progress,
    stop: CancellationToken,
) -> Result<JoinHandle<frazil_engine::Result<()>>> {
    let mut session = Session::open(env.clone(), catalog.clone()).await?;
    let config = JobConfig {
        name: JobName::Given(job_id.to_owned()),
        parallelism: 2,
        checkpoint_interval: Duration::from_secs(1),
    };
    let plan = plan_job(&mut session, script, &config).await?;
    Ok(tokio::spawn(run_job(plan, progress.clone(), stop)))
}

fn rows(progress: &Progress, count: impl Fn(&frazil_engine::PipelineProgress) -> u64) -> u64 {
    progress.pipelines().iter().map(count).sum()
}

/// Shows events and a line of progress. Gives seconds, commits and compactions of the first job.
async fn watch(
    first: Progress,
    second: Progress,
    (mut first_events, mut second_events): (Receiver<ProgressEvent>, Receiver<ProgressEvent>),
    stop: CancellationToken,
    output: Output,
) -> (f64, u64, u64) {
    let begun = Instant::now();
    let mut line = StatusLine::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    loop {
        let event = tokio::select! {
            biased;
            event = first_events.recv() => event.ok(),
            event = second_events.recv() => event.ok(),
            _ = ticks.tick() => {
                let (read, written) = (rows(&first, |p| p.rows_in), rows(&first, |p| p.rows_committed));
                let lag = written.saturating_sub(rows(&second, |p| p.rows_in));
                let rate = read as f64 / begun.elapsed().as_secs_f64().max(0.001);
                line.show(&format!(
                    "{read} rows read, {rate:.0} rows/s, {written} in the table, the second job {lag} rows behind"
                ));
                None
            }
            () = stop.cancelled() => break,
        };
        if let Some(event) = event.filter(|event| !matches!(event, ProgressEvent::Expired { .. })) {
            line.clear();
            match output {
                Output::Text => say(&format!("  {event}")),
                Output::Json => print_event(&event, output),
            }
        }
    }
    line.clear();
    let compactions = rows(&first, |p| p.compactions);
    (begun.elapsed().as_secs_f64(), rows(&first, |p| p.commits), compactions)
}

/// Follows the second table and shows the first rows that arrive.
async fn show_arriving(env: Env, catalog: CatalogRef, stop: CancellationToken, output: Output) -> Result<()> {
    use frazil_reader::{FollowOptions, ReadContext, StartPosition, TableFollower, read_increment};
    use futures::StreamExt;
    let ident = TableIdent::from_strs(["default", "delayed"]).expect("two parts are a name");
    let options = FollowOptions { start: StartPosition::Latest, poll_interval_ms: 200, ..FollowOptions::default() };
    let context = ReadContext::new(&env);
    let follower = TableFollower::start(&catalog, &context, &ident, options).await;
    let mut follower = follower.map_err(frazil_engine::Error::from)?;
    let increment = tokio::select! {
        next = follower.next() => next.map_err(frazil_engine::Error::from)?,
        () = stop.cancelled() => return Ok(()),
    };
    let mut batches = std::pin::pin!(read_increment(&context, follower.spec(), &increment));
    if let Some(batch) = batches.next().await {
        let batch = batch.map_err(frazil_engine::Error::from)?.batch;
        note(output, "  the first rows that a reader following the table `delayed` gets:");
        let rows = batch.slice(0, batch.num_rows().min(ROWS_SHOWN));
        match output {
            Output::Text => say_table(&batch.schema(), &[rows])?,
            Output::Json => say_ndjson(&rows)?,
        }
    }
    Ok(())
}

async fn run_queries(env: &Env, catalog: &CatalogRef, output: Output) -> Result<()> {
    let mut session = Session::open(env.clone(), catalog.clone()).await?;
    run_each(&mut session, QUERIES, output).await
}

async fn run_each(session: &mut Session, script: &str, output: Output) -> Result<()> {
    for statement in parse_script(script).map_err(frazil_engine::Error::from)? {
        note(output, &format!("\n{};", statement.text.trim()));
        let begun = Instant::now();
        let outcome = batch::execute(session, &statement).await?;
        sql::print_outcome(outcome, begun, output).await?;
    }
    Ok(())
}

fn say_connections(url: &str) {
    say(&format!(
        r#"
connect to the same tables with
  frazil:    frazil sql -e 'SELECT count(*) FROM flights'
  PyIceberg: pip install 'pyiceberg[pyarrow]'
             from pyiceberg.catalog import load_catalog
             load_catalog("frazil", uri="{url}").load_table("default.flights").scan(limit=5).to_arrow()
  DuckDB:    INSTALL iceberg; LOAD iceberg;
             ATTACH '' AS frazil (TYPE iceberg, ENDPOINT '{url}', AUTHORIZATION_TYPE 'none');
             SELECT dest.name, count(*) FROM frazil.default.flights GROUP BY 1 ORDER BY 2 DESC LIMIT 5;
  Spark:     spark-sql --packages org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.11.0 \
               --conf spark.sql.catalog.frazil=org.apache.iceberg.spark.SparkCatalog \
               --conf spark.sql.catalog.frazil.type=rest --conf spark.sql.catalog.frazil.uri={url}
             SELECT count(*) FROM frazil.default.flights;
  Trino:     connector.name=iceberg
             iceberg.catalog.type=rest
             iceberg.rest-catalog.uri={url}
"#
    ));
}
