//! Rows of one partition, in an order of their own, into files of the table's target size.
//!
//! What a sort and a merge of text files would do, within the writer's memory: rows gather, are sorted and put aside in sorted runs
//! (`run.rs`); at the end all runs are merged into files (`merge.rs`). Each row has the number of its place in the input beside it
//! until it is written, so that it can be told where every row went ([`RowPlaces`]).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use frazil_storage::Env;
use frazil_table::spec::{SortOrder, Struct};
use frazil_table::{Table, TableFile};

use crate::conform::conform_batch;
use crate::curve::CurveKind;
use crate::intake::Intake;
use crate::merge::Merged;
use crate::partition::{Assignment, Partition};
use crate::partition_writer::PartitionWriter;
use crate::rewriter::partition_folder;
use crate::row_places::{RowPlaces, RowPlacesWriter};
use crate::rows::Rows;
use crate::run::{Run, RunFolder};
use crate::shared::Shared;
use crate::sort::SortKeys;
use crate::turn::{World, group, next_group, on_thread, open_merge, put_aside, run_merge};
use crate::{Error, FileOptions, Result, WriterConfig};

/// In which order rows go into files.
#[derive(Clone, Debug, PartialEq)]
pub enum RowOrder {
    /// By a sort order. Files say so (`sort_order_id`) if the table has the order under an id.
    Sort(SortOrder),
    /// Along a curve through these columns, by field id.
    Curve(Vec<i32>, CurveKind),
}

/// Sorted runs of one size are merged when there are so many of them.
const RUNS_MERGED: usize = 16;

/// Writes rows that were in one partition of a table already into new files of that partition, ordered over all of them.
///
/// Dropped, it leaves nothing behind. No method may be cancelled.
pub struct SortedRewriter {
    world: World,
    partition: Arc<Partition>,
    /// The files' columns, and the rank.
    schema: SchemaRef,
    intake: Intake,
    runs: Vec<Run>,
    rows: u64,
    failed: bool,
}

impl std::fmt::Debug for SortedRewriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SortedRewriter")
            .field("rows", &self.rows)
            .field("runs", &self.runs.len())
            .finish_non_exhaustive()
    }
}

impl SortedRewriter {
    /// A writer into partition `tuple` of partition spec `spec_id`.
    ///
    /// # Errors
    /// As [`crate::TableWriter::new`]; [`Error::Table`] if the table has no such spec, or rows have no such order.
    pub fn new(
        env: Env,
        table: &Table,
        config: WriterConfig,
        (spec_id, tuple): (i32, Struct),
        order: &RowOrder,
    ) -> Result<Self> {
        let metadata = table.metadata();
        let folder = partition_folder(metadata, spec_id, &tuple)?;
        let mut shared = Shared::new(env, table, config)?;
        shared.spec_id = spec_id;
        let keys = match order {
            RowOrder::Curve(field_ids, kind) => SortKeys::along(&shared.schema, field_ids, kind.clone())?,
            RowOrder::Sort(order) => {
                let known = metadata.sort_orders_iter().find(|known| known.fields == order.fields);
                shared.sort_order_id = known.and_then(|known| i32::try_from(known.order_id).ok());
                shared.options = Arc::new(FileOptions::clone(&shared.options).sorted_by(order));
                let unsorted = || Error::Table(frazil_table::Error::InvalidChange("no order to sort by".to_owned()));
                SortKeys::of(order, &shared.schema)?.ok_or_else(unsorted)?
            }
        };
        let mut fields: Vec<_> = shared.options.arrow_schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("rank", DataType::UInt64, false)));
        let schema = Arc::new(Schema::new(fields));
        Ok(Self {
            partition: Arc::new(Partition { tuple, folder }),
            intake: Intake::new(&shared.memory),
            runs: Vec::new(),
            rows: 0,
            failed: false,
            world: World { folder: RunFolder::new(&shared.config, &schema), shared, keys: Some(Arc::new(keys)) },
            schema,
        })
    }

    /// The size at which files are closed, instead of the table's `write.target-file-size-bytes`.
    #[must_use]
    pub fn with_file_bytes(mut self, target_file_size_bytes: u64) -> Self {
        Arc::make_mut(&mut self.world.shared.options).target_file_size_bytes = target_file_size_bytes;
        self
    }

    /// Takes a batch of the table's current schema, with the columns of row lineage where the settings say so.
    ///
    /// # Errors
    /// As [`crate::TableWriter::write`], but after any error the writer can't go on.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.begin()?;
        if batch.num_rows() > 0 {
            let batch = conform_batch(&batch, &self.world.shared.options.arrow_schema)?;
            let first = self.rows;
            self.rows += batch.num_rows() as u64;
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new(UInt64Array::from_iter_values(first..self.rows)) as ArrayRef);
            let batch = RecordBatch::try_new(self.schema.clone(), columns)
                .map_err(Error::arrow("numbering the rows of a batch"))?;
            self.intake.push(batch, Assignment::One(0))?;
        }
        if self.intake.bytes() >= self.world.shared.config.intake_bytes() {
            self.put_aside().await?;
        }
        self.failed = false;
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.failed, true) {
            true => Err(Error::WriterFailed),
            false => Ok(()),
        }
    }

    /// Sorts what has gathered into a run.
    async fn put_aside(&mut self) -> Result<()> {
        let intake = std::mem::replace(&mut self.intake, Intake::new(&self.world.shared.memory));
        let (parts, _) = group(&self.world, intake, Vec::new()).await?;
        self.runs.extend(put_aside(&self.world, parts.parts).await?);
        while let Some(start) = self.runs.len().checked_sub(RUNS_MERGED)
            && self.runs[start..].iter().all(|run| run.level == self.runs[start].level)
        {
            let runs = self.runs.split_off(start);
            self.runs.push(run_merge(&self.world, runs).await?);
        }
        Ok(())
    }

    /// Makes the files durable, in order, and tells where each row went: its rank is its place among all that were written to
    /// here.
    ///
    /// # Errors
    /// As [`crate::TableWriter::flush`].
    pub async fn close(mut self) -> Result<(Vec<TableFile>, RowPlaces)> {
        self.begin()?;
        let Self { world, partition, intake, runs, schema, .. } = self;
        let shared = &world.shared;
        let held = runs.len() * world.folder.block_bytes() + shared.config.merge_bytes();
        let _held = shared.memory.reserve(held);
        let (parts, _) = group(&world, intake, Vec::new()).await?;
        let mut merge = open_merge(&world, runs, parts).await?;
        let config = shared.config.clone();
        let mut places = on_thread(shared, move || RowPlacesWriter::new(&config)).await?;
        let mut writer = PartitionWriter::new(0, partition);
        let mut closed = shared.closed_files();
        let rank = schema.fields().len() - 1;
        loop {
            let merged;
            (merge, merged) = next_group(shared, merge).await?;
            if merged.is_empty() {
                break;
            }
            for Merged { rows, .. } in merged {
                let ranks = rows.clone();
                places = on_thread(shared, move || push_ranks(places, &ranks, rank)).await?;
                writer = writer.encode(rows, shared, &mut closed).await?;
                if writer.memory_bytes() > shared.config.encoders_bytes() {
                    writer = writer.end_row_group(shared).await?;
                }
            }
        }
        writer.close(shared, &mut closed).await?;
        let places = on_thread(shared, move || places.finish()).await?;
        Ok((closed.give_out(), places))
    }
}

fn push_ranks(mut places: RowPlacesWriter, rows: &Rows, column: usize) -> Result<RowPlacesWriter> {
    let ranks = rows.whole_column(column).map_err(Error::arrow("noting where rows went"))?;
    places.push(ranks.as_primitive::<UInt64Type>().values())?;
    Ok(places)
}

#[cfg(test)]
mod tests;
