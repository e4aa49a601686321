//! What the streams of a change of rows do, side by side: find the rows, send their new values to the writers, and behind
//! them the rows that stay of the same files. So a copy-on-write leaves one file where there was one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema};
use frazil_reader::{
    LAST_UPDATED_COLUMN, POS_COLUMN, Projection, ROW_ID_COLUMN, ReadContext, ReadSpec, ScanRequest, ScanTask,
    plan_scan, read_file,
};
use frazil_table::TableState;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use roaring::RoaringTreemap;

use super::files::{Part, Places, Written, run_all};
use super::row_queues::{Origin, RowQueues, RowSender};
use crate::coerce::coerce;
use crate::{Error, Result};

/// Takes the places of the rows of a stream, and sends what follows them on.
pub(super) fn find_part(
    mut rows: BoxStream<'static, Result<RecordBatch>>,
    places: usize,
    mut sender: Option<RowSender>,
) -> Part {
    Box::pin(async move {
        let mut found = Places::new();
        while let Some(batch) = rows.try_next().await? {
            let files = arrow::compute::cast(batch.column(0), &DataType::Utf8).map_err(arrow_error)?;
            let files = files.as_string::<i32>();
            note_places(files, batch.column(1).as_primitive::<Int64Type>(), &mut found);
            if let Some(sender) = &mut sender {
                let values = coerce(&new_values(&batch, places)?, sender.schema())?;
                sender.send(values, Origin::Files(files)).await?;
            }
        }
        Ok(Written { places: found, ..Written::default() })
    })
}

/// Finds rows, and only when all are known sends the others of their files on.
pub(super) fn find_then_copy(finders: Vec<Part>, rest: Option<Rest>) -> Part {
    Box::pin(async move {
        let places = run_all(finders).await?;
        if let Some(rest) = rest.filter(|_| !places.is_empty()) {
            run_all(rest.parts(&places)?).await?;
        }
        Ok(Written { places, ..Written::default() })
    })
}

/// The rows that stay of files that are written anew.
pub(super) struct Rest {
    pub(super) context: ReadContext,
    pub(super) state: Arc<TableState>,
    /// Of the table, and those that rows keep their ids in.
    pub(super) columns: Vec<String>,
    pub(super) queues: RowQueues,
    /// Files that are read at the same time.
    pub(super) readers: usize,
}

impl Rest {
    fn parts(mut self, gone: &Places) -> Result<Vec<Part>> {
        self.columns.push(POS_COLUMN.to_owned());
        let projection = Projection::Paths(self.columns);
        let request = ScanRequest { projection, split_size_bytes: Some(u64::MAX), ..ScanRequest::default() };
        let scan = plan_scan(&self.state, &request)?;
        let tasks = scan.tasks.iter().filter_map(|task| Some((task.clone(), gone.get(task.path())?.clone())));
        let mut shares: Vec<Vec<(ScanTask, RoaringTreemap)>> = vec![Vec::new(); self.readers.clamp(1, gone.len())];
        let readers = shares.len();
        for (index, task) in tasks.enumerate() {
            shares[index % readers].push(task);
        }
        let part = |(number, share)| {
            let sender = self.queues.sender(number)?;
            Ok(copy_part(self.context.clone(), scan.spec.clone(), share, sender))
        };
        shares.into_iter().enumerate().map(part).collect()
    }
}

fn note_places(files: &StringArray, rows: &Int64Array, found: &mut Places) {
    let mut here: BTreeMap<&str, RoaringTreemap> = BTreeMap::new();
    for (file, row) in files.iter().zip(rows.values()) {
        let file = file.expect("every row is in a file");
        here.entry(file).or_default().insert(row.unsigned_abs());
    }
    for (file, rows) in here {
        match found.get_mut(file) {
            Some(all) => *all |= rows,
            None => drop(found.insert(file.to_owned(), rows)),
        }
    }
}

/// The columns behind the places; the row's id, if it has one, and no sequence number, since its values are new.
fn new_values(batch: &RecordBatch, places: usize) -> Result<RecordBatch> {
    let schema = batch.schema();
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().skip(places).cloned().collect();
    let mut columns: Vec<ArrayRef> = batch.columns()[places..].to_vec();
    if places > 2 {
        fields.push(Arc::new(Field::new(ROW_ID_COLUMN, DataType::Int64, true)));
        columns.push(Arc::clone(batch.column(2)));
        fields.push(Arc::new(Field::new(LAST_UPDATED_COLUMN, DataType::Int64, true)));
        columns.push(new_null_array(&DataType::Int64, batch.num_rows()));
    }
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).map_err(arrow_error)
}

/// Sends on the rows of files that are not `gone`. The last column of what is read is the row's place.
fn copy_part(
    context: ReadContext,
    spec: ReadSpec,
    tasks: Vec<(ScanTask, RoaringTreemap)>,
    mut sender: RowSender,
) -> Part {
    Box::pin(async move {
        for (task, gone) in tasks {
            let mut rows = read_file(&context, &spec, &task).boxed();
            while let Some(read) = rows.try_next().await? {
                let last = read.batch.num_columns() - 1;
                let positions: &Int64Array = read.batch.column(last).as_primitive();
                let stays: BooleanArray =
                    positions.values().iter().map(|row| Some(!gone.contains(row.unsigned_abs()))).collect();
                let columns: Vec<usize> = (0..last).collect();
                let values = read.batch.project(&columns).map_err(arrow_error)?;
                let values = filter_record_batch(&values, &stays).map_err(arrow_error)?;
                sender.send(values, Origin::File(task.path())).await?;
            }
        }
        Ok(Written::default())
    })
}

fn arrow_error(error: arrow::error::ArrowError) -> Error {
    datafusion::error::DataFusionError::from(error).into()
}
