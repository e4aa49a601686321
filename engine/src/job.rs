//! A job: a script whose definitions are carried out and whose inserts run as pipelines.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Spanned as _;
use frazil_catalog::CommitQueue;
use frazil_compactor::Config as CompactConfig;
use frazil_reader::Projection;
use frazil_storage::Env;
use frazil_table::Retention;
use frazil_table::spec::TableIdent;
use frazil_writer::{Definition, DistributionMode, SinkId, StatisticsConfig, WriterConfig};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::Result;
use crate::changelog::{Changes, carry_kinds, target_with_kind};
use crate::connectors::{IcebergSource, TableDefinition, collect_bounded, create_source};
use crate::dead_letter::DEAD_LETTER_SUFFIX;
use crate::evolving_query::{EvolvingQuery, STREAM, takes_all};
use crate::graph::JobGraph;
use crate::leaves::used_leaves;
use crate::progress::Progress;
use crate::runtime::{CompactionSpec, DeadLetterTable, EventTimePlan, PipelineQuery, PipelineSpec, run_pipelines};
use crate::session::{IcebergTable, Resolved, Scope, Session, TableUse, UsedTable, placed};
use crate::source::Source;
use crate::sql::{Insert, Query, Spanned, SqlError, Statement, parse_script, planner};
use crate::stream_plan::check_streamable;
use crate::transform::{StreamTable, TransformPlan, one_partition};
use crate::upsert::{check_together, check_upserts, key_of, refuse_changes};
use crate::write_defaults::insert_schema;

mod describe;
mod watermark;

use describe::describe;
use watermark::plan_event_time;

/// Settings of a job.
#[derive(Clone, Debug)]
pub struct JobConfig {
    /// Names the job over all its runs: a run goes on where the last run of the same name stopped.
    pub name: JobName,
    /// Tasks for each source, writer and compact operator, where there is work for so many.
    pub parallelism: usize,
    /// From the end of a checkpoint to the begin of the next.
    pub checkpoint_interval: Duration,
}

/// What a job is called in the tables that it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobName {
    /// A name that a person gave it, by an option or by `SET 'pipeline.name'`. Letters, digits, `-`, `_` and `.`.
    Given(String),
    /// The name of the script's file. Two scripts may have the same one, and a script may be changed: a run whose source
    /// and query are not those that wrote the table is refused, since only a person knows whether it goes on or begins.
    OfScript(String),
}

impl JobName {
    fn job_id(&self) -> &str {
        match self {
            Self::Given(name) | Self::OfScript(name) => name,
        }
    }

    /// What an INSERT does, however it is written.
    fn definition(&self, source: &dyn Source, insert: &Insert) -> Definition {
        let columns: Vec<_> = insert.columns.iter().map(|(name, _)| name.as_str()).collect();
        let hash = Sha256::digest(format!("{} {columns:?} {}", source.describe(), insert.query.ast));
        let fingerprint = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Definition { fingerprint, may_replace: matches!(self, Self::Given(_)) }
    }
}

/// A collected side of a join may not be larger than this.
const STATIC_TABLE_BYTES_MAX: usize = 256 << 20;

/// What a job keeps of a table's history, unless the table says otherwise (`history.expire.*`): an hour, and never fewer
/// than the last 100 snapshots. At a commit a second that bounds the metadata at about 3,600 snapshots.
pub const JOB_RETENTION: Retention = Retention { max_snapshot_age_ms: 3_600_000, min_snapshots_to_keep: 100 };

/// How often a job looks for snapshots to expire: a quarter of the age at which they do, within these bounds.
const EXPIRE_INTERVAL_MIN: Duration = Duration::from_secs(1);
const EXPIRE_INTERVAL_MAX: Duration = Duration::from_secs(30);

/// What a script came to when it was planned.
#[derive(Debug)]
pub struct JobPlan {
    pipelines: Vec<PipelineSpec>,
    graph: JobGraph,
    checkpoint_interval: Duration,
}

impl JobPlan {
    /// The operators.
    pub fn graph(&self) -> &JobGraph {
        &self.graph
    }

    /// Whether the script had no inserts.
    pub fn is_empty(&self) -> bool {
        self.pipelines.is_empty()
    }
}

/// Carries out the definitions of a script and plans its inserts as pipelines, all of them before any runs.
///
/// # Errors
/// What is wrong with the script, with its place; what a connector or the catalog refuses.
pub async fn plan_job(session: &mut Session, script: &str, config: &JobConfig) -> Result<JobPlan> {
    let mut planner = JobPlanner { config, pipelines: Vec::new(), graph: JobGraph::default() };
    for statement in parse_script(script)? {
        if session.execute(&statement).await?.is_some() {
            continue;
        }
        let kind = statement.node.kind();
        let added = match &statement.node {
            Statement::Insert(insert) => planner.add_insert(session, insert, script).await,
            Statement::StatementSet(inserts) => {
                let mut added = Ok(());
                for Spanned { node: insert, .. } in inserts {
                    added = planner.add_insert(session, insert, script).await;
                    if added.is_err() {
                        break;
                    }
                }
                added
            }
            other => {
                let message = format!("a job does not take a {}", other.kind());
                let help = "a job takes definitions and INSERT INTO; ask queries with `frazil sql`, or run the script with \
                            --mode batch";
                Err(SqlError::new(message, statement.span, script).help(help).into())
            }
        };
        added.map_err(|error| placed(error, kind, script))?;
    }
    Ok(JobPlan { pipelines: planner.pipelines, graph: planner.graph, checkpoint_interval: config.checkpoint_interval })
}

/// Runs all pipelines of a job until all their sources end or `stop` is asked for; then the last checkpoint is in the
/// tables. A checkpoint is one of all pipelines: tables of one catalog with transactions get it at once, others one after
/// the other. A pipeline that fails takes the others with it, all at the last checkpoint.
///
/// # Errors
/// The error that came first.
pub async fn run_job(plan: JobPlan, progress: Progress, stop: CancellationToken) -> Result<()> {
    run_pipelines(plan.pipelines, plan.checkpoint_interval, progress, stop).await
}

/// What the query of an INSERT was planned as.
struct PlannedQuery {
    source: Arc<dyn Source>,
    query: PipelineQuery,
    event_time: Option<EventTimePlan>,
}

struct JobPlanner<'a> {
    config: &'a JobConfig,
    pipelines: Vec<PipelineSpec>,
    graph: JobGraph,
}

impl JobPlanner<'_> {
    async fn add_insert(&mut self, session: &Session, insert: &Insert, script: &str) -> Result<()> {
        if insert.overwrite {
            let error = SqlError::new("INSERT OVERWRITE can't run over a stream", insert.target.span(), script);
            return Err(error.help("INSERT INTO adds the rows").into());
        }
        let target = match session.resolve(&insert.target, script).await? {
            Resolved::Iceberg(target) => target,
            Resolved::External(_) | Resolved::View(_) => {
                let message = format!("'{}' is no Iceberg table, and a job writes only these yet", insert.target);
                let error = SqlError::new(message, insert.target.span(), script);
                return Err(error.help("create the target with 'connector' = 'iceberg'").into());
            }
        };
        let schema: SchemaRef = Arc::new(insert_schema(target.table.metadata().current_schema())?);
        let options = options_of(&target, insert);
        let evolves = options.get("schema.evolution").is_some_and(|kind| kind == "add-columns");
        let upserts = check_upserts(&target, insert, &options, script)?;
        let key = match upserts {
            true => Some(key_of(&target.table)?.columns().collect::<Vec<_>>()),
            false => None,
        };
        let planned = match evolves {
            true => self.plan_evolving(session, insert, script, (&target, &schema)).await?,
            false => self.plan_query(session, insert, script, (&schema, key.as_deref())).await?,
        };
        let mut spec = self.build_pipeline(session.env(), insert, target, planned).await?;
        if upserts {
            spec.upserts = true;
            spec.distribution = DistributionMode::None;
            // Values that go with older rows can't be taken out of a sketch.
            spec.statistics = None;
            spec.writer_config.ndv_sketches = false;
        }
        check_together(&self.pipelines, &spec, insert, script)?;
        describe(&mut self.graph, &spec, self.config.checkpoint_interval).await?;
        self.pipelines.push(spec);
        Ok(())
    }

    /// A query whose columns are known. `target`: the target's columns, and the places of those that rows are upserted by.
    async fn plan_query(
        &self,
        session: &Session,
        insert: &Insert,
        script: &str,
        (target, target_key): (&SchemaRef, Option<&[usize]>),
    ) -> Result<PlannedQuery> {
        insert.query.check_streaming(script)?;
        let scope = session.tables_of(&insert.query, script).await?;
        let (mut source, stream, mut providers) = bind_tables(&scope, session.env(), insert, script).await?;
        if source.infers_schema() {
            let message = format!(
                "the columns of {} are found in the data, but those of {} are fixed",
                source.describe(),
                insert.target
            );
            let help = "let the target grow with 'schema.evolution' = 'add-columns', or declare the source's columns and \
                        take 'schema.inference' away";
            return Err(SqlError::new(message, insert.target.span(), script).help(help).into());
        }
        providers.insert(stream, Arc::new(StreamTable::new(STREAM, source.schema())));
        let stream = scope.tables().iter().find(|table| table.id == stream).expect("it is one of them");
        let (state, logical) = plan_over(session, &scope, &providers, insert, target, script).await?;
        if let Some(refusal) = check_streamable(&logical, STREAM)? {
            let refusal = if source.changelog().is_some() { refusal.over_changes() } else { refusal };
            return Err(refusal.at(&insert.query, script));
        }
        if let Some(changelog) = source.changelog() {
            let target_key = target_key.ok_or_else(|| refuse_changes(source.as_ref(), insert, script))?;
            let changes = Changes { name: STREAM, columns: &source.schema(), changelog: &changelog, target_key };
            let logical = carry_kinds(logical, &changes, insert, script)?;
            let event_time = plan_event_time(session, stream, &source.schema()).await?;
            let plan = TransformPlan::new(state, logical, target_with_kind(target));
            return Ok(PlannedQuery { source, query: PipelineQuery::Fixed(Box::new(plan)), event_time });
        }
        let fixed =
            |state, logical| PipelineQuery::Fixed(Box::new(TransformPlan::new(state, logical, Arc::clone(target))));
        let UsedTable::Iceberg(iceberg) = &stream.table else {
            let event_time = plan_event_time(session, stream, &source.schema()).await?;
            return Ok(PlannedQuery { source, query: fixed(state, logical), event_time });
        };
        // Planned once more over a stream that has only the leaves that the plan uses.
        let leaves = Projection::Paths(used_leaves(&logical, &source.schema())?);
        source = Arc::new(IcebergSource::new(iceberg, &stream.options, leaves, session.env())?);
        providers.insert(stream.id, Arc::new(StreamTable::new(STREAM, source.schema())));
        let (state, logical) = plan_over(session, &scope, &providers, insert, target, script).await?;
        Ok(PlannedQuery { source, query: fixed(state, logical), event_time: None })
    }

    /// A query whose result is matched with the target's columns by name, over a stream that may get new columns.
    async fn plan_evolving(
        &self,
        session: &Session,
        insert: &Insert,
        script: &str,
        (target, schema): (&IcebergTable, &SchemaRef),
    ) -> Result<PlannedQuery> {
        check_evolving(insert, script)?;
        let (ident, name) = (target.path.ident(), target.path.to_string());
        if self.pipelines.iter().any(|pipeline| *pipeline.queue.ident() == ident) {
            let message =
                format!("a second INSERT INTO {name} can't run: the columns of the table come from the rows of one");
            let help = "write one INSERT over a view, or set 'schema.evolution' = 'none'";
            return Err(SqlError::new(message, insert.target.span(), script).help(help).into());
        }
        insert.query.check_streaming(script)?;
        let scope = session.tables_of(&insert.query, script).await?;
        let (source, stream, providers) = bind_tables(&scope, session.env(), insert, script).await?;
        if source.changelog().is_some() {
            return Err(refuse_changes(source.as_ref(), insert, script));
        }
        let known = match takes_all(insert) {
            true => Arc::clone(schema),
            false => Arc::new(arrow::datatypes::Schema::empty()),
        };
        source.learn_schema(&known).await?;
        let used = scope.tables().iter().find(|table| table.id == stream).expect("it is one of them");
        let event_time = plan_event_time(session, used, &source.schema()).await?;
        let query = EvolvingQuery {
            session: session.clone(),
            scope,
            providers,
            stream,
            insert: insert.clone(),
            script: script.to_owned(),
        };
        let columns = source.schema();
        if !columns.fields().is_empty() {
            query.plan(&columns).await?;
        }
        Ok(PlannedQuery { source, query: PipelineQuery::Evolving(Arc::new(query)), event_time })
    }

    async fn build_pipeline(
        &self,
        env: &Env,
        insert: &Insert,
        target: IcebergTable,
        planned: PlannedQuery,
    ) -> Result<PipelineSpec> {
        let PlannedQuery { source, query, event_time } = planned;
        let parallelism = self.config.parallelism.max(1);
        let source_parallelism = source.parallelism_max().await?.clamp(1, parallelism);
        let options = options_of(&target, insert);
        let table = &target.table;
        let compaction = CompactConfig::from_options(table.metadata().properties(), &options, parallelism)?;
        let retention = Retention::of(table, JOB_RETENTION);
        let quarter = Duration::from_millis(u64::try_from(retention.max_snapshot_age_ms / 4).unwrap_or(0));
        let queue = self.queue_of(env, &target);
        let statistics = StatisticsConfig::of(table.metadata())?;
        let distribution = match (DistributionMode::of(table.metadata())?, parallelism) {
            (_, 1) => DistributionMode::None,
            (mode, _) => mode,
        };
        // What a job writes it merges a few commits later.
        let writer_config = WriterConfig {
            ndv_sketches: statistics.is_some(),
            keep_files: compaction.enabled,
            ..WriterConfig::default()
        };
        let dead_letters = source.puts_aside().then(|| self.dead_letters_of(env, &target, source.as_ref()));
        Ok(PipelineSpec {
            dead_letters: dead_letters.map(Arc::new),
            sink: SinkId { job_id: self.config.name.job_id().to_owned(), sink_uid: self.sink_uid(&target) },
            definition: self.config.name.definition(source.as_ref(), insert),
            source,
            source_parallelism,
            transform: query,
            event_time,
            queue,
            writer_parallelism: parallelism,
            writer_config,
            distribution,
            upserts: false,
            statistics,
            compaction: CompactionSpec {
                config: compaction,
                parallelism,
                retention,
                expire_interval: quarter.clamp(EXPIRE_INTERVAL_MIN, EXPIRE_INTERVAL_MAX),
            },
        })
    }

    /// The table beside the target that bad rows of the source are put aside into.
    fn dead_letters_of(&self, env: &Env, target: &IcebergTable, source: &dyn Source) -> DeadLetterTable {
        let target_ident = target.path.ident();
        let name = format!("{}{DEAD_LETTER_SUFFIX}", target_ident.name());
        let ident = TableIdent::new(target_ident.namespace().clone(), name);
        DeadLetterTable {
            queue: self.queue_of_ident(env, target, ident),
            source: source.describe(),
            table: tokio::sync::OnceCell::new(),
        }
    }

    /// All pipelines into one table share its queue.
    fn queue_of(&self, env: &Env, target: &IcebergTable) -> Arc<CommitQueue> {
        self.queue_of_ident(env, target, target.path.ident())
    }

    fn queue_of_ident(&self, env: &Env, target: &IcebergTable, ident: TableIdent) -> Arc<CommitQueue> {
        let is_of_target =
            |queue: &&Arc<CommitQueue>| Arc::ptr_eq(queue.catalog(), &target.catalog) && *queue.ident() == ident;
        let dead_letters = self.pipelines.iter().filter_map(|pipeline| pipeline.dead_letters.as_ref());
        let targets = self.pipelines.iter().map(|pipeline| &pipeline.queue);
        let mut queues = targets.chain(dead_letters.map(|table| &table.queue));
        match queues.find(is_of_target) {
            Some(queue) => Arc::clone(queue),
            None => Arc::new(CommitQueue::new(target.catalog.clone(), env.clone(), ident)),
        }
    }

    /// The target's name; with a number if the job writes the table more than once.
    fn sink_uid(&self, target: &IcebergTable) -> String {
        let name = target.path.name().to_string();
        let taken = |uid: &str| self.pipelines.iter().any(|pipeline| pipeline.sink.sink_uid == uid);
        let numbered = (2..).map(|n| format!("{name}#{n}"));
        std::iter::once(name.clone()).chain(numbered).find(|uid| !taken(uid)).expect("the numbers don't end")
    }
}

/// The optimised plan of an insert over tables that are given.
async fn plan_over(
    session: &Session,
    scope: &Scope,
    providers: &HashMap<usize, Arc<dyn TableProvider>>,
    insert: &Insert,
    target: &SchemaRef,
    script: &str,
) -> Result<(SessionState, LogicalPlan)> {
    let provide = |table: &TableUse| Ok(Arc::clone(&providers[&table.id]));
    let state = one_partition(session.planning_state(scope, &provide).await?);
    let logical = planner::plan_insert(insert, target, &state, script).await?;
    match state.optimize(&logical) {
        Ok(logical) => Ok((state, logical)),
        Err(error) => Err(planner::locate(error, &insert.query, &state, script).await),
    }
}

/// The stream among a query's tables with its use, and the others as they are now.
async fn bind_tables(
    scope: &Scope,
    env: &Env,
    insert: &Insert,
    script: &str,
) -> Result<(Arc<dyn Source>, usize, HashMap<usize, Arc<dyn TableProvider>>)> {
    let mut sources = Vec::with_capacity(scope.tables().len());
    for table in scope.tables() {
        sources.push(source_of(table, env)?);
    }
    let stream = choose_stream(&insert.query, scope.tables(), &sources, script)?;
    let mut providers: HashMap<usize, Arc<dyn TableProvider>> = HashMap::new();
    for (index, source) in sources.iter().enumerate().filter(|(index, _)| *index != stream) {
        let name = source.describe();
        let batches = collect_bounded(source.as_ref(), &name, STATIC_TABLE_BYTES_MAX).await?;
        let table = MemTable::try_new(source.schema(), vec![batches])?;
        providers.insert(scope.tables()[index].id, Arc::new(table));
    }
    Ok((sources.swap_remove(stream), scope.tables()[stream].id, providers))
}

/// Columns of a target that grows are matched by name.
fn check_evolving(insert: &Insert, script: &str) -> Result<()> {
    if insert.columns.is_empty() && insert.partition.is_empty() {
        return Ok(());
    }
    let message = format!("the columns of {} come from the rows, by name, so none are listed here", insert.target);
    let error = SqlError::new(message, insert.target.span(), script);
    Err(error.help("name the columns in the query with AS").into())
}

/// What brings the rows of a table of the query.
fn source_of(table: &TableUse, env: &Env) -> Result<Arc<dyn Source>> {
    match &table.table {
        UsedTable::External(external) => {
            let mut definition = TableDefinition::from_statement(external.definition());
            definition.options = table.options.clone();
            create_source(&definition, env)
        }
        UsedTable::Iceberg(iceberg) => Ok(Arc::new(IcebergSource::new(iceberg, &table.options, Projection::All, env)?)),
        UsedTable::Metadata(described, kind) => Err(crate::Error::NotStreamable {
            what: format!("{}${}", described.path.table, kind.name()),
            instead: "run the script with --mode batch".to_owned(),
        }),
    }
}

/// The one unbounded source; the first table of the query's text if all end by themselves.
fn choose_stream(query: &Query, tables: &[TableUse], sources: &[Arc<dyn Source>], script: &str) -> Result<usize> {
    let unbounded: Vec<_> = (0..sources.len()).filter(|index| !sources[*index].is_bounded()).collect();
    match unbounded.as_slice() {
        [] => {
            let first = (0..tables.len()).min_by_key(|index| tables[*index].span.start);
            first.ok_or_else(|| {
                let error = SqlError::new("the query reads no table, so nothing streams", query.ast.span(), script);
                error.help("run it in batch mode: --mode batch").into()
            })
        }
        [only] => Ok(*only),
        [first, second, ..] => {
            let (first, second) = (sources[*first].describe(), sources[*second].describe());
            let message = format!("a join of two streams ({first} and {second}) can't run yet");
            let place = query.word("JOIN", script).unwrap_or_else(|| query.ast.span());
            let help =
                "it comes later; let one of them be bounded, or run the job with --mode batch, where both have to be";
            Err(SqlError::new(message, place, script).help(help).into())
        }
    }
}

/// The target's own options with those of the statement's hint over them.
fn options_of(target: &IcebergTable, insert: &Insert) -> HashMap<String, String> {
    let merged = target.options.overlaid(&insert.options);
    merged.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
}
