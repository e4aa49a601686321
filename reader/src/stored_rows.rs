//! Keys and deletes of rows that are stored already, for writers of row-level changes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use frazil_table::spec::Schema;
use frazil_table::{LiveFile, RowKeys, StoredRows, Table, TableFile, TableState};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use roaring::{RoaringBitmap, RoaringTreemap};

use crate::deletes::DeleteIndex;
use crate::scan::{SideBySide, side_by_side};
use crate::{Error, POS_COLUMN, Projection, ReadContext, ReadSpec, ScanTask, read_file};

/// Reads what a writer of row-level changes has to know of the rows that are there.
#[derive(Clone, Debug)]
pub struct RowReader {
    context: ReadContext,
    /// Files that are read at the same time.
    parallelism: usize,
}

impl RowReader {
    /// A reader of `parallelism` files at a time.
    pub fn new(context: &ReadContext, parallelism: usize) -> Self {
        Self { context: context.clone(), parallelism: parallelism.max(1) }
    }
}

#[async_trait]
impl StoredRows for RowReader {
    async fn live_keys(
        &self,
        state: &TableState,
        paths: BTreeSet<String>,
        ids: &[i32],
    ) -> frazil_table::Result<BoxStream<'static, frazil_table::Result<RowKeys>>> {
        let mut columns = names(state.table().metadata().current_schema(), ids)?;
        columns.push(POS_COLUMN.to_owned());
        let spec = spec(state.table(), columns)?;
        let deletes = delete_index(state)?;
        let mut tasks = VecDeque::new();
        for live in state.live_data_files()?.iter().filter(|live| paths.contains(live.file.file_path())) {
            tasks.push_back(ScanTask::with_deletes(live, &deletes));
        }
        let keys = read_side_by_side(&self.context, &spec, tasks, self.parallelism);
        Ok(keys.map_err(table_error).boxed())
    }

    async fn keys_at(
        &self,
        table: &Table,
        file: &TableFile,
        rows: Option<RoaringBitmap>,
        ids: &[i32],
    ) -> frazil_table::Result<BoxStream<'static, frazil_table::Result<RecordBatch>>> {
        let spec = spec(table, names(table.metadata().current_schema(), ids)?)?;
        let live = LiveFile {
            file: &file.file,
            partition_spec_id: file.partition_spec_id,
            data_sequence_number: 0,
            file_sequence_number: 0,
            added_snapshot_id: 0,
            manifest_path: "",
        };
        let mut task = ScanTask::new(&live);
        task.only = rows.map(Arc::new);
        let batches = read_file(&self.context, &spec, &task);
        Ok(batches.map_ok(|batch| batch.batch).map_err(table_error).boxed())
    }

    async fn deleted_rows(
        &self,
        state: &TableState,
        paths: BTreeSet<String>,
    ) -> frazil_table::Result<HashMap<String, Arc<RoaringTreemap>>> {
        let deletes = delete_index(state)?;
        let mut deleted = HashMap::new();
        for live in state.live_data_files()?.iter().filter(|live| paths.contains(live.file.file_path())) {
            let path = live.file.file_path();
            let positions = deletes.load_positions(&self.context, live).await.map_err(table_error)?;
            deleted.extend(positions.map(|positions| (path.to_owned(), positions)));
        }
        Ok(deleted)
    }
}

fn names(schema: &Schema, ids: &[i32]) -> frazil_table::Result<Vec<String>> {
    let name = |id: &i32| {
        let name = schema.name_by_field_id(*id).map(str::to_owned);
        name.ok_or_else(|| frazil_table::Error::InvalidChange(format!("the schema has no field {id} any more")))
    };
    ids.iter().map(name).collect()
}

fn spec(table: &Table, columns: Vec<String>) -> frazil_table::Result<ReadSpec> {
    let schema = table.metadata().current_schema();
    ReadSpec::new(table, schema, &Projection::Paths(columns), None).map_err(table_error)
}

fn delete_index(state: &TableState) -> frazil_table::Result<DeleteIndex> {
    // Equality deletes of other writers count as well: what they deleted is no row any more.
    DeleteIndex::new(&state.live_delete_files()?, state.table().metadata()).map_err(table_error)
}

/// The stream's own error, in the words of the crate that both sides know.
fn table_error(error: Error) -> frazil_table::Error {
    match error {
        Error::Storage(error) => error.into(),
        Error::Table(error) => error,
        Error::Damaged { location, reason } | Error::Unsupported { location, reason } => {
            frazil_table::Error::Damaged { location, reason }
        }
        other => frazil_table::Error::InvalidChange(other.to_string()),
    }
}

/// Reads tasks with several workers. Dropping the stream stops them.
fn read_side_by_side(
    context: &ReadContext,
    spec: &ReadSpec,
    tasks: VecDeque<ScanTask>,
    parallelism: usize,
) -> SideBySide<RowKeys> {
    let (context, spec) = (context.clone(), spec.clone());
    side_by_side(tasks, parallelism, move |task: ScanTask| {
        let path: Arc<str> = task.path().into();
        read_file(&context, &spec, &task).map_ok(move |batch| row_keys(path.clone(), &batch.batch))
    })
}

/// The last column is the position.
fn row_keys(path: Arc<str>, batch: &RecordBatch) -> RowKeys {
    let last = batch.num_columns() - 1;
    let rows = batch.column(last).as_primitive::<Int64Type>().values().iter().map(|row| row.unsigned_abs()).collect();
    let keys = batch.project(&(0..last).collect::<Vec<_>>()).expect("all columns but the last are there");
    RowKeys { path, rows, keys }
}
