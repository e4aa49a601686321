//! Rows of several streams into new files of a table, which no commit names yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use frazil_catalog::{CommitEnd, CommitQueue, Committed, Precheck};
use frazil_storage::{Env, Step};
use frazil_table::{Change, CommitIdentity, Table, TableFile};
use frazil_writer::{Distributor, NdvSketches, TableWriter, WriterConfig};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use roaring::RoaringTreemap;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_stream::wrappers::ReceiverStream;

use super::unwrapped;
use crate::coerce::coerce;
use crate::session::IcebergTable;
use crate::{Error, Result};

/// Rows of data files, by location.
pub(super) type Places = BTreeMap<String, RoaringTreemap>;

/// What streams of rows came to.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Durable, in no order.
    pub files: Vec<TableFile>,
    /// Rows that were found on the way.
    pub places: Places,
    /// Of the rows in the files, if their writers were asked for them.
    pub sketches: Option<NdvSketches>,
}

impl Written {
    /// What a writer has written.
    pub(super) async fn by(mut writer: TableWriter) -> Result<Self> {
        let files = writer.flush().await?;
        let sketches = Some(writer.take_sketches()).filter(|sketches| !sketches.is_empty() && !files.is_empty());
        Ok(Self { files, sketches, ..Self::default() })
    }

    fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        for (path, rows) in other.places {
            *self.places.entry(path).or_default() |= rows;
        }
        match (&mut self.sketches, other.sketches) {
            (Some(all), Some(sketches)) => all.unite(&sketches),
            (all, sketches) => *all = all.take().or(sketches),
        }
    }
}

/// One stream's part of the work.
pub(super) type Part = BoxFuture<'static, Result<Written>>;

/// The settings of each of `writers` that work at the same time: they share what one may hold.
pub(super) fn shared_config(writers: usize) -> WriterConfig {
    let mut config = WriterConfig::default();
    config.memory_max_bytes /= writers.max(1);
    config.open_files_max = (config.open_files_max / writers.max(1)).max(1);
    config
}

/// Runs all parts at the same time. When one fails, the others end, and what they wrote is deleted.
pub(super) async fn write_all(env: &Env, parts: Vec<Part>) -> Result<Written> {
    let mut running = JoinSet::new();
    for part in parts {
        running.spawn(part);
    }
    let mut all = Written::default();
    let mut failed = None;
    while let Some(written) = running.join_next().await {
        let lost = |error: JoinError| match error.is_cancelled() {
            true => Err(Error::Cancelled),
            false => Err(Error::TaskPanicked(error.to_string())),
        };
        match written.unwrap_or_else(lost) {
            Ok(written) => all.add(written),
            Err(error) => {
                running.abort_all();
                // The first error is the cause; the others are only of the abort, or of a queue that nobody empties.
                if matches!(failed, None | Some(Error::Cancelled)) {
                    failed = Some(error);
                }
            }
        }
    }
    if let Some(error) = failed {
        // No commit has named them.
        delete(env, &all.files).await?;
        return Err(error);
    }
    env.steps.reach(Step::FilesClosed)?;
    Ok(all)
}

/// The batches of a stream of DataFusion.
pub(super) fn batches(rows: SendableRecordBatchStream) -> BoxStream<'static, Result<RecordBatch>> {
    rows.map_err(unwrapped).boxed()
}

/// Writes rows into files for a table.
pub(super) fn write_rows(mut writer: TableWriter, mut rows: BoxStream<'static, Result<RecordBatch>>) -> Part {
    Box::pin(async move {
        let schema = Arc::clone(writer.schema());
        while let Some(batch) = rows.try_next().await? {
            writer.write(coerce(&batch, &schema)?).await?;
        }
        Written::by(writer).await
    })
}

/// Batches that wait for a writer.
const QUEUE_BATCHES: usize = 4;

/// Shares the rows of all streams out among the writers as `write.distribution-mode` says, so that not each of them writes
/// a file of each partition.
pub(super) fn share_out(
    streams: impl Iterator<Item = BoxStream<'static, Result<RecordBatch>>>,
    writers: Vec<TableWriter>,
    table: &Table,
) -> Result<Vec<Part>> {
    let count = writers.len();
    let (mut senders, mut parts) = (Vec::with_capacity(count), Vec::new());
    let schema = Arc::clone(writers[0].schema());
    for writer in writers {
        let (sender, receiver) = mpsc::channel(QUEUE_BATCHES);
        senders.push(sender);
        parts.push(write_rows(writer, ReceiverStream::new(receiver).boxed()));
    }
    for mut rows in streams {
        let (senders, schema) = (senders.clone(), Arc::clone(&schema));
        let mut distributor = Distributor::new(table, count)?;
        parts.push(Box::pin(async move {
            while let Some(batch) = rows.try_next().await? {
                for (writer, share) in distributor.distribute(coerce(&batch, &schema)?)? {
                    senders[writer].send(Ok(share)).await.map_err(|_| Error::Cancelled)?;
                }
            }
            Ok(Written::default())
        }));
    }
    Ok(parts)
}

/// How a commit of written files ended, short of an error.
pub(super) enum Landing {
    /// They are in the table, which is this now, by this snapshot if there are any changes of files.
    Landed(Table, Option<i64>),
    /// They are proven not to be, and never to be: they are deleted.
    Conflict(frazil_table::Conflict),
}

/// Commits changes that name `written`, if the table still is the one that they were made for.
pub(super) async fn commit(
    env: &Env,
    target: &IcebergTable,
    changes: &[Change],
    written: &[TableFile],
    precheck: &(dyn Fn(&Table) -> Precheck + Send + Sync),
) -> Result<Landing> {
    let queue = CommitQueue::new(Arc::clone(&target.catalog), env.clone(), target.path.ident());
    let identity = CommitIdentity::of(env, changes);
    let snapshot_id = identity.snapshot_ids.last().copied();
    let end = match queue.commit(changes, identity, precheck).await {
        Ok(end) => end,
        Err(error) => {
            if is_certainly_not_landed(&error) {
                forget(env, written).await;
            }
            return Err(error.into());
        }
    };
    match end {
        CommitEnd::Committed(Committed { table, .. }) | CommitEnd::AlreadyLanded(table) => {
            Ok(Landing::Landed(table, snapshot_id))
        }
        CommitEnd::Conflict(conflict) => {
            delete(env, written).await?;
            Ok(Landing::Conflict(conflict))
        }
    }
}

/// Whether an error of a commit proves that no attempt of it is in the table. What a store, a database or a silent catalog
/// failed of proves nothing.
fn is_certainly_not_landed(error: &frazil_catalog::Error) -> bool {
    use frazil_catalog::Error as Catalog;
    use frazil_table::Error as Refused;
    match error {
        Catalog::NoSuchTable(_) | Catalog::NoSuchNamespace(_) | Catalog::BadRequest(_) | Catalog::Forbidden(_) => true,
        Catalog::Table(error) => matches!(error, Refused::InvalidChange(_) | Refused::InvalidSchema { .. }),
        _ => false,
    }
}

/// Deletes files that no commit names, on the way out with an error: one that can't be deleted stays as an orphan.
pub(super) async fn forget(env: &Env, files: &[TableFile]) {
    if let Err(error) = delete(env, files).await {
        tracing::warn!(%error, "files that no snapshot names stay as orphans");
    }
}

async fn delete(env: &Env, files: &[TableFile]) -> Result<()> {
    for file in files {
        env.store.delete(file.file.file_path()).await?;
    }
    Ok(())
}
