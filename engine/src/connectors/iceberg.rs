//! Iceberg tables as sources: whole once, or followed snapshot by snapshot.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use frazil_catalog::CatalogRef;
use frazil_reader::{
    FollowOptions, Increment, OnRowLevelChange, Part, Position, PositionedBatch, Projection, ReadContext, ReadSpec,
    StartPosition, TableFollower, read_increment,
};
use frazil_storage::Env;
use frazil_table::spec::{MAIN_BRANCH, TableIdent};
use frazil_writer::SourcePositions;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::SourceError;
use super::task::{self, End, Output};
use crate::Result;
use crate::options::{Checked, Options};
use crate::session::{IcebergTable, iceberg_schema_of_options};
use crate::source::{Lag, LagUnit, Source, SourceBatch, SourceStream};

/// How often a followed table is looked at, unless `monitor-interval` says otherwise. Flink's minute would be most of the
/// time until a row can be seen; a look costs one request to the catalog.
const MONITOR_INTERVAL: Duration = Duration::from_millis(500);

/// One table, read by one task: snapshots have an order.
pub(crate) struct IcebergSource {
    catalog: CatalogRef,
    ident: TableIdent,
    name: String,
    start: StartPosition,
    streaming: bool,
    monitor_interval: Duration,
    projection: Projection,
    schema: SchemaRef,
    context: ReadContext,
    /// Snapshots that are not read yet.
    behind: Arc<AtomicU64>,
}

impl fmt::Debug for IcebergSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IcebergSource").field("name", &self.name).field("start", &self.start).finish_non_exhaustive()
    }
}

impl IcebergSource {
    /// A source of the leaves that `projection` asks for. `options` are the table's own with those of a hint over them.
    ///
    /// # Errors
    /// Options that do not go together; a path that the table does not have.
    pub(crate) fn new(table: &IcebergTable, options: &Options, projection: Projection, env: &Env) -> Result<Self> {
        let name = table.path.name().to_string();
        let checked = iceberg_schema_of_options().check(options)?;
        let schema = table.table.metadata().current_schema();
        let spec = ReadSpec::new(&table.table, schema, &projection, None)?;
        let interval = checked.duration_opt("monitor-interval");
        Ok(Self {
            catalog: table.catalog.clone(),
            ident: table.path.ident(),
            start: start_position(&checked, &name)?,
            streaming: checked.boolean_opt("streaming").unwrap_or(false),
            monitor_interval: interval.unwrap_or(MONITOR_INTERVAL).max(Duration::from_millis(1)),
            projection,
            schema: Arc::clone(spec.projected().arrow()),
            context: ReadContext::new(env),
            behind: Arc::default(),
            name,
        })
    }
}

/// `starting-strategy` with what it needs; a lone `start-…` option is enough to say which.
fn start_position(options: &Checked, name: &str) -> Result<StartPosition> {
    let id = options.integer_opt("start-snapshot-id");
    let timestamp_ms = options.integer_opt("start-snapshot-timestamp");
    let tag = options.text_opt("start-tag");
    let needs = |key: &str| SourceError::Definition {
        table: name.to_owned(),
        reason: format!("this 'starting-strategy' needs '{key}'"),
    };
    Ok(match options.text_opt("starting-strategy") {
        Some("INCREMENTAL_FROM_LATEST_SNAPSHOT") => StartPosition::Latest,
        Some("INCREMENTAL_FROM_EARLIEST_SNAPSHOT") => StartPosition::Earliest,
        Some("INCREMENTAL_FROM_SNAPSHOT_ID") => {
            StartPosition::Snapshot(id.ok_or_else(|| Box::new(needs("start-snapshot-id")))?)
        }
        Some("INCREMENTAL_FROM_SNAPSHOT_TIMESTAMP") => {
            StartPosition::Timestamp(timestamp_ms.ok_or_else(|| Box::new(needs("start-snapshot-timestamp")))?)
        }
        Some(_) => StartPosition::TableScanThenIncremental,
        None => match (id, timestamp_ms, tag) {
            (None, None, None) => StartPosition::TableScanThenIncremental,
            (Some(id), None, None) => StartPosition::Snapshot(id),
            (None, Some(timestamp_ms), None) => StartPosition::Timestamp(timestamp_ms),
            (None, None, Some(tag)) => StartPosition::Tag(tag.to_owned()),
            _ => {
                let reason = "'start-snapshot-id', 'start-snapshot-timestamp' and 'start-tag' exclude each other";
                let (table, reason) = (name.to_owned(), reason.to_owned());
                return Err(Box::new(SourceError::Definition { table, reason }).into());
            }
        },
    })
}

#[async_trait]
impl Source for IcebergSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn is_bounded(&self) -> bool {
        !self.streaming
    }

    async fn parallelism_max(&self) -> Result<usize> {
        Ok(1)
    }

    fn describe(&self) -> String {
        let how = if self.streaming { "followed" } else { "once" };
        let leaves = match &self.projection {
            Projection::All => String::new(),
            Projection::AllWithLineage => ", reads every column and the row ids".to_owned(),
            Projection::Paths(paths) => format!(", reads {}", paths.join(", ")),
        };
        format!("iceberg {} ({how}){leaves}", self.name)
    }

    fn lag(&self) -> Option<Lag> {
        self.streaming.then(|| Lag { amount: self.behind.load(Relaxed), unit: LagUnit::Snapshots })
    }

    async fn start(
        &self,
        subtask: usize,
        _parallelism: usize,
        positions: &SourcePositions,
        stop: CancellationToken,
    ) -> Result<SourceStream> {
        if subtask > 0 {
            return Ok(task::spawn(stop, None, |_| async { Ok(()) }));
        }
        let position = positions.get(&self.name).map(|text| self.parse_position(text)).transpose()?;
        let start = match (position, self.streaming) {
            (Some(position), _) => StartPosition::Position(position),
            (None, true) => self.start.clone(),
            (None, false) => StartPosition::TableScanThenIncremental,
        };
        let options = FollowOptions {
            start,
            projection: self.projection.clone(),
            predicate: None,
            // Once it has its snapshot, a bounded source has no use for those that follow.
            on_row_level_change: match self.streaming {
                true => OnRowLevelChange::Fail,
                false => OnRowLevelChange::Skip,
            },
            ..FollowOptions::default()
        };
        let follower = TableFollower::start(&self.catalog, &self.context, &self.ident, options).await?;
        let following = Following {
            follower,
            context: self.context.clone(),
            split: self.name.clone(),
            streaming: self.streaming,
            monitor_interval: self.monitor_interval,
            told: position,
            behind: Arc::clone(&self.behind),
        };
        Ok(task::spawn(stop, None, move |output| following.run(output)))
    }
}

impl IcebergSource {
    fn parse_position(&self, text: &str) -> Result<Position> {
        let lost = |error: serde_json::Error| SourceError::PositionLost {
            table: self.name.clone(),
            split: self.name.clone(),
            position: text.to_owned(),
            reason: error.to_string(),
            help: "the job was last run by another version; start it under a new --job-id".to_owned(),
        };
        Ok(serde_json::from_str(text).map_err(|error| Box::new(lost(error)))?)
    }
}

/// A table on its way into a source's queue.
struct Following {
    follower: TableFollower,
    context: ReadContext,
    split: String,
    streaming: bool,
    monitor_interval: Duration,
    /// What the checkpoints know.
    told: Option<Position>,
    behind: Arc<AtomicU64>,
}

impl Following {
    async fn run(mut self, mut output: Output) -> Result<(), End> {
        loop {
            // Told without rows as well: a restart must not look for the start anew, and a snapshot that was passed over
            // may be expired by then.
            let position = self.follower.position();
            if self.told != Some(position) {
                let nothing = RecordBatch::new_empty(Arc::clone(self.follower.spec().projected().arrow()));
                self.send(nothing, position, &mut output).await?;
            }
            // A bounded source is the table at one moment: what was added since is no part of it.
            if !self.streaming && matches!(position, Position::After { .. }) {
                return Ok(());
            }
            let increment = tokio::select! {
                polled = self.follower.poll() => polled?,
                stopped = output.stopped() => return Err(stopped.into()),
            };
            self.behind.store(self.snapshots_behind(increment.as_ref()), Relaxed);
            match increment {
                Some(increment) if self.streaming || increment.part == Part::Table => {
                    self.deliver(&increment, &mut output).await?;
                }
                None if self.streaming => output.pause(self.monitor_interval).await?,
                _ => return Ok(()),
            }
        }
    }

    /// Snapshots of the table as it was seen last, from the one on that is read next.
    fn snapshots_behind(&self, next: Option<&Increment>) -> u64 {
        let Some(next) = next else { return 0 };
        let newer = self.follower.table().ancestors(MAIN_BRANCH).take_while(|s| s.snapshot_id() != next.snapshot_id);
        newer.count() as u64 + 1
    }

    async fn deliver(&mut self, increment: &Increment, output: &mut Output) -> Result<(), End> {
        let mut batches = std::pin::pin!(read_increment(&self.context, self.follower.spec(), increment));
        while let Some(batch) = batches.next().await {
            let PositionedBatch { batch, position, .. } = batch?;
            self.send(batch, position, output).await?;
        }
        Ok(())
    }

    async fn send(&mut self, batch: RecordBatch, position: Position, output: &mut Output) -> Result<(), End> {
        let text = serde_json::to_string(&position).expect("a position has a JSON form");
        output.send(SourceBatch::new(batch, self.split.clone(), text)).await?;
        self.told = Some(position);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
