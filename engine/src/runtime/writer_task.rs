//! Computes and writes: a chained transform and table writer.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use frazil_storage::{Env, Step};
use frazil_table::TableFile;
use frazil_writer::{NdvSketches, TableWriter, WriterConfig};
use tokio::sync::mpsc;

use super::dead_letters::DeadLetterWriter;
use super::evolving_sink::SinkSchema;
use super::gather::unite;
use super::input::{Aligned, AlignedInput};
use super::message::{Rows, WriterShare};
use super::row_transform::RowTransform;
use super::row_writer::RowWriter;
use crate::progress::Counters;
use crate::{Error, Result};

/// One writer task.
pub(super) struct WriterTask {
    pub(super) pipeline: usize,
    pub(super) input: AlignedInput,
    /// `None`: the rows come computed.
    pub(super) transform: Option<RowTransform>,
    pub(super) writer: RowWriter,
    pub(super) writer_config: WriterConfig,
    /// The version of the sink's schema that the writer has.
    pub(super) schema_version: u64,
    /// Files of earlier versions since the last barrier.
    pub(super) files: Vec<TableFile>,
    /// Of the rows in those files.
    pub(super) sketches: Option<NdvSketches>,
    /// For sources whose bad rows are put aside.
    pub(super) dead_letters: Option<DeadLetterWriter>,
    /// Rows that were put aside since the last barrier.
    pub(super) dead_letter_count: u64,
    pub(super) committer: mpsc::Sender<WriterShare>,
    pub(super) counters: Arc<Counters>,
    pub(super) env: Env,
}

impl WriterTask {
    /// Runs until the last barrier.
    pub(super) async fn run(mut self) -> Result<()> {
        loop {
            let barrier = match self.input.next().await? {
                Aligned::Rows(rows) => {
                    self.take(rows).await?;
                    continue;
                }
                Aligned::Barrier(barrier) => barrier,
            };
            let mut files = std::mem::take(&mut self.files);
            let mut sketches = self.sketches.take();
            let flushed = self.writer.flush().await?;
            files.extend(flushed.files);
            unite(&mut sketches, flushed.sketches);
            let generations = flushed.generations;
            let dead_letter_files = match &mut self.dead_letters {
                Some(dead_letters) => dead_letters.flush().await?,
                None => Vec::new(),
            };
            if !files.is_empty() || !generations.is_empty() || !dead_letter_files.is_empty() {
                self.env.steps.reach(Step::FilesClosed)?;
            }
            let share = WriterShare {
                pipeline: self.pipeline,
                checkpoint_id: barrier.checkpoint_id,
                files,
                generations,
                sketches,
                schema_version: self.schema_version,
                dead_letter_files,
                dead_letters: std::mem::take(&mut self.dead_letter_count),
                positions: barrier.positions,
                times: barrier.times,
                is_last: barrier.is_last,
            };
            self.committer.send(share).await.map_err(|_| Error::Cancelled)?;
            if barrier.is_last {
                return Ok(());
            }
        }
    }

    async fn take(&mut self, rows: Rows) -> Result<()> {
        let Rows { batch, split, mut dead_letters, records, mut sink_schema } = rows;
        let results = match &mut self.transform {
            Some(transform) => {
                let results = transform.apply_to(batch, records.as_deref(), &mut dead_letters).await?;
                sink_schema = transform.sink_schema().cloned();
                results
            }
            None => vec![batch],
        };
        if let Some(writer) = &mut self.dead_letters {
            writer.write(&dead_letters, &split).await?;
            self.dead_letter_count += dead_letters.len() as u64;
        }
        for result in results.into_iter().filter(|result| result.num_rows() > 0) {
            self.counters.rows_out.fetch_add(result.num_rows() as u64, Relaxed);
            self.fit_writer(sink_schema.as_ref()).await?;
            self.writer.write(result).await?;
        }
        Ok(())
    }

    /// A writer of the schema that the rows have: another one when the schema grew.
    async fn fit_writer(&mut self, schema: Option<&SinkSchema>) -> Result<()> {
        // Tasks that compute rows may be at different versions; a later one has all columns of an earlier one, and more.
        let Some(now) = schema.filter(|now| now.version != self.schema_version) else {
            return Ok(());
        };
        let flushed = self.writer.flush().await?;
        self.files.extend(flushed.files);
        unite(&mut self.sketches, flushed.sketches);
        let writer = TableWriter::new(self.env.clone(), &now.table, self.writer_config.clone())?;
        self.writer = RowWriter::Append(Box::new(writer));
        self.schema_version = now.version;
        Ok(())
    }
}
