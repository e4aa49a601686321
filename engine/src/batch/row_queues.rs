//! How rows come to the writers of a statement: shared out as the table's distribution mode says, through a queue of each
//! writer.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use frazil_table::Table;
use frazil_table::arrow::murmur3;
use frazil_writer::{DistributionMode, Distributor, TableWriter, share_out};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::files::Crew;
use crate::{Error, Result};

/// Batches that wait for a writer.
const QUEUE_BATCHES: usize = 4;

/// The queues of writers that work side by side. They end when all that send into them are gone.
#[derive(Clone)]
pub(super) struct RowQueues {
    queues: Vec<mpsc::Sender<Result<RecordBatch>>>,
    schema: SchemaRef,
    table: Table,
    mode: DistributionMode,
}

impl RowQueues {
    /// Gives each writer, of which there is at least one, a queue and a place in the crew.
    pub(super) fn start(crew: &mut Crew, writers: Vec<TableWriter>, table: &Table, mode: DistributionMode) -> Self {
        let schema = Arc::clone(writers[0].schema());
        let start = |writer| {
            let (sender, receiver) = mpsc::channel(QUEUE_BATCHES);
            crew.write(writer, ReceiverStream::new(receiver).boxed());
            sender
        };
        Self { queues: writers.into_iter().map(start).collect(), schema, table: table.clone(), mode }
    }

    /// For the stream of rows of that number. Streams whose batches go round begin at different writers.
    pub(super) fn sender(&self, stream: usize) -> Result<RowSender> {
        let is_unpartitioned = self.table.metadata().default_partition_spec().is_unpartitioned();
        let distributor = match self.mode {
            DistributionMode::Hash if is_unpartitioned => None,
            mode => Some(Distributor::of_mode(&self.table, mode, self.queues.len())?),
        };
        let mut queues = self.queues.clone();
        if self.mode == DistributionMode::None {
            queues.rotate_left(stream % self.queues.len());
        }
        Ok(RowSender { queues, schema: Arc::clone(&self.schema), distributor })
    }
}

/// The files that rows were in.
#[derive(Clone, Copy)]
pub(super) enum Origin<'a> {
    /// In none: they are new.
    New,
    /// All in one.
    File(&'a str),
    /// Each in its own.
    Files(&'a StringArray),
}

/// Sends the rows of one stream to the writers that they are for.
pub(super) struct RowSender {
    queues: Vec<mpsc::Sender<Result<RecordBatch>>>,
    schema: SchemaRef,
    /// `None`: rows that were in one file go to one writer.
    distributor: Option<Distributor>,
}

impl RowSender {
    /// What batches have to have.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Waits while the writers have enough to do.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when a writer has failed, whose own error says why.
    pub(super) async fn send(&mut self, batch: RecordBatch, origin: Origin<'_>) -> Result<()> {
        let count = self.queues.len();
        let writer_of = |path: &str| murmur3(path.as_bytes()) as usize % count;
        let shares = match (&mut self.distributor, origin) {
            (Some(distributor), _) => distributor.distribute(batch)?,
            (None, Origin::New) => vec![(0, batch)],
            (None, Origin::File(path)) => vec![(writer_of(path), batch)],
            (None, Origin::Files(paths)) => {
                let writers: Vec<usize> = (0..paths.len()).map(|row| writer_of(paths.value(row))).collect();
                share_out(&batch, &writers, count)?
            }
        };
        for (writer, share) in shares {
            self.queues[writer].send(Ok(share)).await.map_err(|_| Error::Cancelled)?;
        }
        Ok(())
    }
}
