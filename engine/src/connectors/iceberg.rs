//! Iceberg tables as sources: whole once, or followed snapshot by snapshot.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use frazil_catalog::CatalogRef;
use frazil_reader::{
    FollowOptions, OnRowLevelChange, Part, Position, Projection, ReadContext, ReadSpec, StartPosition, TableFollower,
    read_increment,
};
use frazil_storage::Env;
use frazil_table::spec::TableIdent;
use frazil_writer::SourcePositions;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::SourceError;
use super::task::{self, End, Output};
use crate::Result;
use crate::options::{Checked, Options};
use crate::session::{IcebergTable, iceberg_schema_of_options};
use crate::source::{Source, SourceBatch, SourceStream};

/// How often a followed table is looked at, unless `monitor-interval` says otherwise. Flink's minute would be most of the
/// time until a row can be seen; a look costs one request to the catalog.
const MONITOR_INTERVAL_MS: u64 = 500;

/// One table, read by one task: snapshots have an order.
pub(crate) struct IcebergSource {
    catalog: CatalogRef,
    ident: TableIdent,
    name: String,
    start: StartPosition,
    streaming: bool,
    monitor_interval_ms: u64,
    projection: Projection,
    schema: SchemaRef,
    context: ReadContext,
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
            monitor_interval_ms: interval
                .map_or(MONITOR_INTERVAL_MS, |i| u64::try_from(i.as_millis()).unwrap_or(u64::MAX).max(1)),
            projection,
            schema: Arc::clone(spec.projected().arrow()),
            context: ReadContext::new(env),
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
            Projection::Paths(paths) => format!(", reads {}", paths.join(", ")),
        };
        format!("iceberg {} ({how}){leaves}", self.name)
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
            on_row_level_change: OnRowLevelChange::Fail,
            poll_interval_ms: self.monitor_interval_ms,
        };
        let follower = TableFollower::start(&self.catalog, &self.context, &self.ident, options).await?;
        let (context, split, streaming) = (self.context.clone(), self.name.clone(), self.streaming);
        Ok(task::spawn(stop, None, move |output| follow(follower, context, split, streaming, output)))
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

async fn follow(
    mut follower: TableFollower,
    context: ReadContext,
    split: String,
    streaming: bool,
    mut output: Output,
) -> Result<(), End> {
    let send_position = |position: Position| serde_json::to_string(&position).expect("a position has a JSON form");
    loop {
        let next = match streaming {
            false => follower.poll().await?.filter(|increment| increment.part == Part::Table),
            true => {
                tokio::select! {
                    next = follower.next() => Some(next?),
                    stopped = output.stopped() => return Err(stopped.into()),
                }
            }
        };
        // A bounded source is the table at one moment: what was added since is no part of it.
        let Some(increment) = next else { return Ok(()) };
        let mut batches = std::pin::pin!(read_increment(&context, follower.spec(), &increment));
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let position = send_position(batch.position);
            output.send(SourceBatch { batch: batch.batch, split: split.clone(), position }).await?;
        }
        let schema = follower.spec().projected().arrow();
        let empty = arrow::array::RecordBatch::new_empty(Arc::clone(schema));
        let position = send_position(increment.end());
        output.send(SourceBatch { batch: empty, split: split.clone(), position }).await?;
        if !streaming {
            return Ok(());
        }
    }
}
