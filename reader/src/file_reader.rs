//! One data file as record batches of the projected schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and_kleene, filter_record_batch, not, prep_null_mask_filter};
use arrow::datatypes::Schema as ArrowSchema;
use frazil_table::spec::{DataFile, DataFileFormat};
use futures::{Stream, TryFutureExt};
use parquet::file::metadata::ParquetMetaData;
use roaring::RoaringTreemap;

use crate::deletes::TaskDeletes;
use crate::file_schema::file_fields;
use crate::footer::{Footer, load_footer};
use crate::kept_rows::KeptRows;
use crate::parquet_rows::ParquetRows;
use crate::predicate::{BoundPredicate, evaluate};
use crate::row_groups::{choose_row_groups, select_rows};
use crate::row_plan::{FileLineage, RowPlan, RowPlanner};
use crate::stats::ByteKind;
use crate::{Error, ReadContext, ReadSpec, Result, ScanTask};

/// Some rows of a file.
#[derive(Clone, Debug)]
pub struct FileBatch {
    /// The rows, never none.
    pub batch: RecordBatch,
    /// Where reading goes on after them: the rows of the file before this one are done.
    pub next_row: u64,
    pub(crate) kept: KeptRows,
}

/// Reads one task. Memory: the wanted column chunks of one row group, and one batch.
#[derive(Debug)]
pub struct FileReader {
    context: ReadContext,
    location: String,
    predicate: BoundPredicate,
    plan: RowPlan,
    rows: ParquetRows,
    deletes: TaskDeletes,
    /// The rows that deletes took away so far, if they are to be told.
    deleted: Option<RoaringTreemap>,
    taken_by: Option<TaskDeletes>,
}

impl FileReader {
    /// Reads the footer, and the deletes that apply.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Unsupported`] name the file and what is wrong in it.
    pub async fn open(context: &ReadContext, spec: &ReadSpec, task: &ScanTask) -> Result<Self> {
        let location = task.path();
        if task.file.file_format() != DataFileFormat::Parquet {
            let reason = format!("it is {}; only Parquet data files are read", task.file.file_format());
            return Err(Error::unsupported(location, reason));
        }
        let opened = (location, task.file.file_size_in_bytes(), ByteKind::Leaf);
        let footer = load_footer(&context.env.store, &context.footers, &context.counters, opened).await?;
        let file = file_fields(location, footer.metadata.schema(), spec.name_mapping())?;
        let metadata = footer.metadata.metadata();
        check_row_count(metadata, &task.file)?;
        let (mut groups, pruned) =
            choose_row_groups(metadata, &file, task.split.as_ref(), task.first_row, spec.predicate());
        if let Some(only) = &task.only {
            groups = select_rows(groups, only);
        }
        context.counters.file(groups.len() as u64, pruned);
        let (mut deletes, mut taken_by) = (TaskDeletes::default(), None);
        if !groups.is_empty() {
            deletes = TaskDeletes::load(context, spec, task, &task.deletes).await?;
            if let Some(taking) = &task.taken_by {
                taken_by = Some(TaskDeletes::load(context, spec, task, taking).await?);
            }
        }
        let by_deletes = deletes.key_ids().chain(taken_by.iter().flat_map(TaskDeletes::key_ids));
        let wanted_keys = spec.predicate().columns().into_keys().chain(by_deletes);
        let keys = wanted_keys
            .map(|id| {
                let key = spec.key_field(id).ok_or_else(|| {
                    let reason =
                        format!("deletes name field {id}, which no schema of the table has as a leaf of its own");
                    Error::unsupported(location, reason)
                })?;
                Ok((id, key))
            })
            .collect::<Result<BTreeMap<_, _>>>()?;
        let planner = RowPlanner {
            location,
            file: &file,
            leaf_bytes: &leaf_bytes(&footer),
            constants: &spec.constants(task.partition_spec_id, task.file.partition()),
            lineage: FileLineage {
                first_row_id: task.file.first_row_id(),
                data_sequence_number: task.data_sequence_number,
            },
            partition: &spec.partition_of(task.partition_spec_id, task.file.partition()),
        };
        let plan = planner.plan(spec.projected(), &keys)?;
        let rows = ParquetRows::new(context, location, ByteKind::Leaf, &footer).read(
            plan.leaves.iter().copied(),
            groups,
            spec.batch_rows(),
        );
        Ok(Self {
            context: context.clone(),
            location: location.to_owned(),
            predicate: spec.predicate().clone(),
            plan,
            rows,
            deletes,
            deleted: None,
            taken_by,
        })
    }

    /// From now on notes which rows deletes of any kind take away, by position in the file. Memory: a bit for each row at
    /// most.
    #[must_use]
    pub fn noting_deleted(mut self) -> Self {
        self.deleted.get_or_insert_default();
        self
    }

    /// The rows that deletes took away, as far as the file was read; none if they were not noted.
    pub fn into_deleted(self) -> RoaringTreemap {
        self.deleted.unwrap_or_default()
    }

    /// The next rows that are left after deletes and the condition. `None` at the end.
    ///
    /// # Errors
    /// [`Error::Storage`]; [`Error::Damaged`] if pages can't be decoded or hold what the table rules out.
    pub async fn next(&mut self) -> Result<Option<FileBatch>> {
        while let Some((first_row, read)) = self.rows.next().await? {
            let next_row = first_row + read.num_rows() as u64;
            let (batch, kept) = self.finish(first_row, &read)?;
            if batch.num_rows() > 0 {
                return Ok(Some(FileBatch { batch, next_row, kept }));
            }
        }
        Ok(None)
    }

    /// The batches as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<FileBatch>> + Send {
        futures::stream::try_unfold(
            self,
            |mut reader| async move { Ok(reader.next().await?.map(|batch| (batch, reader))) },
        )
    }

    fn finish(&mut self, first_row: u64, read: &RecordBatch) -> Result<(RecordBatch, KeptRows)> {
        let rows = read.num_rows();
        let damaged = |error: arrow::error::ArrowError| Error::damaged(&self.location, error);
        let keys = self.plan.keys(read, &self.location)?;
        let mut keep: Option<BooleanArray> = self.deletes.keep(first_row, rows, &keys, &self.location)?;
        let deleted = keep.as_ref().map_or(0, |keep| rows - keep.true_count());
        if let (Some(noted), Some(keep)) = (&mut self.deleted, &keep) {
            let gone = !keep.values();
            for (start, end) in gone.set_slices() {
                noted.insert_range(first_row + start as u64..first_row + end as u64);
            }
        }
        if let Some(taken_by) = &self.taken_by {
            let taken = match taken_by.keep(first_row, rows, &keys, &self.location)? {
                None => BooleanArray::new(BooleanBuffer::new_unset(rows), None),
                Some(left) => not(&left).map_err(damaged)?,
            };
            keep = Some(match keep {
                None => taken,
                Some(keep) => and_kleene(&keep, &taken).map_err(damaged)?,
            });
        }
        if self.predicate != BoundPredicate::True {
            let matches = evaluate(&self.predicate, &keys, rows).map_err(damaged)?;
            keep = Some(match keep {
                None => matches,
                Some(keep) => and_kleene(&keep, &matches).map_err(damaged)?,
            });
        }
        let positions = match self.plan.has_positions() {
            true => first_row as i64..(first_row + rows as u64) as i64,
            false => 0..0,
        };
        let (read, positions, kept) = match keep {
            None => (read.clone(), Int64Array::from_iter_values(positions), KeptRows::new(first_row, None)),
            Some(keep) => {
                let keep = match keep.null_count() {
                    0 => keep,
                    _ => prep_null_mask_filter(&keep),
                };
                let kept_rows = positions.zip(keep.values()).filter(|(_, keep)| *keep);
                let kept_rows = Int64Array::from_iter_values(kept_rows.map(|(row, _)| row));
                let kept = KeptRows::new(first_row, Some(keep.values().clone()));
                (filter(read, &keep).map_err(damaged)?, kept_rows, kept)
            }
        };
        self.context.counters.rows(rows as u64, deleted as u64, read.num_rows() as u64);
        Ok((self.plan.output(&read, &positions, &self.location)?, kept))
    }
}

/// Rows are counted without being read, and positions rest on the counts of row groups: both must be what the table says.
fn check_row_count(metadata: &ParquetMetaData, file: &DataFile) -> Result<()> {
    let rows: u64 = metadata.row_groups().iter().map(|group| group.num_rows().unsigned_abs()).sum();
    if rows == file.record_count() {
        return Ok(());
    }
    let reason = format!("it holds {rows} rows, the table says {}", file.record_count());
    Err(Error::damaged(file.file_path(), reason))
}

fn filter(batch: &RecordBatch, keep: &BooleanArray) -> std::result::Result<RecordBatch, arrow::error::ArrowError> {
    if batch.num_columns() > 0 {
        return filter_record_batch(batch, keep);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(keep.true_count()));
    RecordBatch::try_new_with_options(Arc::new(ArrowSchema::empty()), Vec::new(), &options)
}

pub(crate) fn leaf_bytes(footer: &Footer) -> Vec<u64> {
    let metadata = footer.metadata.metadata();
    let mut bytes = vec![0_u64; metadata.file_metadata().schema_descr().num_columns()];
    for group in metadata.row_groups() {
        for (sum, chunk) in bytes.iter_mut().zip(group.columns()) {
            *sum += chunk.compressed_size().unsigned_abs();
        }
    }
    bytes
}

/// Reads a task as a stream of batches.
///
/// # Errors
/// The stream ends with the first error, as [`FileReader::open`] and [`FileReader::next`] have them.
pub fn read_file(
    context: &ReadContext,
    spec: &ReadSpec,
    task: &ScanTask,
) -> impl Stream<Item = Result<FileBatch>> + Send + use<> {
    let (context, spec, task) = (context.clone(), spec.clone(), task.clone());
    let open = async move { Ok(FileReader::open(&context, &spec, &task).await?.into_stream()) };
    Box::pin(open).try_flatten_stream()
}
