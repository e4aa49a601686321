//! Rows of several streams into new files of a table, which no commit names yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use frazil_catalog::{CommitEnd, CommitQueue, Committed, Precheck};
use frazil_storage::{Env, Step};
use frazil_table::{Change, CommitIdentity, Table, TableFile};
use frazil_writer::{NdvSketches, TableWriter, WriterConfig};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use roaring::RoaringTreemap;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::row_queues::{Origin, RowSender};
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
    async fn by(writer: &mut TableWriter) -> Result<Self> {
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

/// Streams and writers that work side by side. When one fails the others end, and what they wrote is deleted.
pub(super) struct Crew {
    env: Env,
    stop: CancellationToken,
    running: JoinSet<Result<Written>>,
}

impl Crew {
    pub(super) fn new(env: &Env) -> Self {
        Self { env: env.clone(), stop: CancellationToken::new(), running: JoinSet::new() }
    }

    /// Starts a part that leaves no file behind where it is dropped.
    pub(super) fn add(&mut self, part: Part) {
        let stop = self.stop.clone();
        self.running.spawn(async move { stop.run_until_cancelled(part).await.unwrap_or(Err(Error::Cancelled)) });
    }

    /// Starts a writer of the rows of a stream.
    pub(super) fn write(&mut self, mut writer: TableWriter, rows: BoxStream<'static, Result<RecordBatch>>) {
        let stop = self.stop.clone();
        self.running.spawn(async move {
            match stop.run_until_cancelled(write_rows(&mut writer, rows)).await {
                Some(Ok(written)) => Ok(written),
                ended => {
                    writer.discard().await;
                    ended.unwrap_or(Err(Error::Cancelled))
                }
            }
        });
    }

    /// Waits for all.
    ///
    /// # Errors
    /// The one that began it. Nothing that was written is left, but for what could not be deleted.
    pub(super) async fn join(mut self) -> Result<Written> {
        let stop = self.stop.clone();
        let (all, failed) = join(&mut self.running, || stop.cancel()).await;
        if let Some(error) = failed {
            // No commit has named them.
            forget(&self.env, &all.files).await;
            return Err(error);
        }
        self.env.steps.reach(Step::FilesClosed)?;
        Ok(all)
    }
}

/// Runs parts that write no files themselves, within another part.
///
/// # Errors
/// The one that began it.
pub(super) async fn run_all(parts: Vec<Part>) -> Result<Places> {
    let mut running = JoinSet::new();
    for part in parts {
        running.spawn(part);
    }
    match join(&mut running, || {}).await {
        (_, Some(error)) => Err(error),
        (all, None) => Ok(all.places),
    }
}

/// What all came to, and why it is not whole. At an error, `stop` has the others end.
async fn join(running: &mut JoinSet<Result<Written>>, stop: impl Fn()) -> (Written, Option<Error>) {
    let (mut all, mut failed) = (Written::default(), None);
    while let Some(joined) = running.join_next().await {
        let lost = |error: JoinError| match error.is_cancelled() {
            true => Err(Error::Cancelled),
            false => Err(Error::TaskPanicked(error.to_string())),
        };
        match joined.unwrap_or_else(lost) {
            Ok(written) => all.add(written),
            Err(error) => {
                stop();
                // The first error is the cause; the others are only of the stop, or of a queue that nobody empties.
                if matches!(failed, None | Some(Error::Cancelled)) {
                    failed = Some(error);
                }
            }
        }
    }
    (all, failed)
}

/// The batches of a stream of DataFusion.
pub(super) fn batches(rows: SendableRecordBatchStream) -> BoxStream<'static, Result<RecordBatch>> {
    rows.map_err(unwrapped).boxed()
}

async fn write_rows(writer: &mut TableWriter, mut rows: BoxStream<'static, Result<RecordBatch>>) -> Result<Written> {
    let schema = Arc::clone(writer.schema());
    while let Some(batch) = rows.try_next().await? {
        writer.write(coerce(&batch, &schema)?).await?;
    }
    Written::by(writer).await
}

/// Sends the rows of a stream to the writers that they are for.
pub(super) fn send_rows(mut rows: BoxStream<'static, Result<RecordBatch>>, mut sender: RowSender) -> Part {
    Box::pin(async move {
        while let Some(batch) = rows.try_next().await? {
            let batch = coerce(&batch, sender.schema())?;
            sender.send(batch, Origin::New).await?;
        }
        Ok(Written::default())
    })
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
