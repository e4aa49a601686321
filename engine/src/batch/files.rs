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
use tokio::task::JoinSet;

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
        match written.unwrap_or_else(|error| Err(Error::TaskPanicked(error.to_string()))) {
            Ok(written) => all.add(written),
            Err(error) => {
                running.abort_all();
                // The first error is the cause; the others may only be of the abort.
                failed.get_or_insert(error);
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
    match queue.commit(changes, identity, precheck).await? {
        CommitEnd::Committed(Committed { table, .. }) | CommitEnd::AlreadyLanded(table) => {
            Ok(Landing::Landed(table, snapshot_id))
        }
        CommitEnd::Conflict(conflict) => {
            delete(env, written).await?;
            Ok(Landing::Conflict(conflict))
        }
    }
}

/// Whether a table is still the one that it was.
pub(super) fn same_table(then: &Table) -> impl Fn(&Table) -> Precheck + Send + Sync + use<> {
    let uuid = then.metadata().uuid();
    move |now| match now.metadata().uuid() == uuid {
        true => Precheck::Proceed,
        false => Precheck::Refuse("the table was dropped and made anew meanwhile".to_owned()),
    }
}

async fn delete(env: &Env, files: &[TableFile]) -> Result<()> {
    for file in files {
        env.store.delete(file.file.file_path()).await?;
    }
    Ok(())
}
