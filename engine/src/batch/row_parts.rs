//! What the streams of a change of rows do, side by side: find the rows, write their new values, copy the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema};
use frazil_reader::{LAST_UPDATED_COLUMN, ROW_ID_COLUMN, ReadContext, ReadSpec, ScanTask, read_file};
use frazil_writer::TableWriter;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use roaring::RoaringTreemap;

use super::files::{Part, Places, Written};
use crate::coerce::coerce;
use crate::{Error, Result};

/// Takes the places of the rows of a stream, and writes what follows them.
pub(super) fn find_part(
    mut rows: BoxStream<'static, Result<RecordBatch>>,
    places: usize,
    mut writer: Option<TableWriter>,
) -> Part {
    Box::pin(async move {
        let mut found = Places::new();
        while let Some(batch) = rows.try_next().await? {
            note_places(&batch, &mut found)?;
            if let Some(writer) = &mut writer {
                let values = new_values(&batch, places)?;
                let schema = Arc::clone(writer.schema());
                writer.write(coerce(&values, &schema)?).await?;
            }
        }
        let written = match writer {
            None => Written::default(),
            Some(writer) => Written::by(writer).await?,
        };
        Ok(Written { places: found, ..written })
    })
}

fn note_places(batch: &RecordBatch, found: &mut Places) -> Result<()> {
    let files = arrow::compute::cast(batch.column(0), &DataType::Utf8).map_err(arrow_error)?;
    let (files, rows) = (files.as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
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
    Ok(())
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

/// Copies the rows of files that are not `gone`. The last column of what is read is the row's place.
pub(super) fn copy_part(
    context: ReadContext,
    spec: ReadSpec,
    tasks: Vec<(ScanTask, RoaringTreemap)>,
    mut writer: TableWriter,
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
                writer.write(filter_record_batch(&values, &stays).map_err(arrow_error)?).await?;
            }
        }
        Written::by(writer).await
    })
}

fn arrow_error(error: arrow::error::ArrowError) -> Error {
    datafusion::error::DataFusionError::from(error).into()
}
