//! Rows brought into a table's columns by name, at every depth: what the rows lack is NULL, their order is the table's.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

use crate::Result;
use crate::coerce::coerce;

/// The batch in the columns of `schema`, which has every column of the batch.
///
/// # Errors
/// As [`coerce`].
pub(crate) fn align(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for field in schema.fields() {
        let column = match batch.column_by_name(field.name()) {
            Some(column) => align_array(column, field.data_type()),
            None => new_null_array(field.data_type(), batch.num_rows()),
        };
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let aligned = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .expect("each column has a row for each row of the batch");
    coerce(&aligned, schema)
}

/// The array with the structs in it in the order of `to`; what else is different is for the conversion.
fn align_array(array: &ArrayRef, to: &DataType) -> ArrayRef {
    match (array.data_type(), to) {
        (from, to) if from == to => Arc::clone(array),
        (DataType::Struct(_), DataType::Struct(fields)) => align_struct(array.as_struct(), fields),
        (DataType::List(_), DataType::List(field)) => {
            let (_, offsets, values, nulls) = array.as_list::<i32>().clone().into_parts();
            let values = align_array(&values, field.data_type());
            Arc::new(ListArray::new(nullable("element", &values), offsets, values, nulls))
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let DataType::Struct(pair) = entries.data_type() else { return Arc::clone(array) };
            let (_, offsets, entries, nulls, _) = array.as_map().clone().into_parts();
            let keys = Arc::clone(entries.column(0));
            let values = align_array(entries.column(1), pair[1].data_type());
            let key = Arc::new(Field::new("key", keys.data_type().clone(), false));
            let fields = Fields::from(vec![key, nullable("value", &values)]);
            let entries = StructArray::new(fields, vec![keys, values], None);
            let entry = Arc::new(Field::new("key_value", entries.data_type().clone(), false));
            Arc::new(MapArray::new(entry, offsets, entries, nulls, *sorted))
        }
        _ => Arc::clone(array),
    }
}

fn align_struct(array: &StructArray, fields: &Fields) -> ArrayRef {
    let columns = fields.iter().map(|field| match array.column_by_name(field.name()) {
        Some(column) => align_array(column, field.data_type()),
        None => new_null_array(field.data_type(), array.len()),
    });
    let columns: Vec<ArrayRef> = columns.collect();
    let fields = fields.iter().zip(&columns).map(|(field, column)| nullable(field.name(), column)).collect();
    let aligned = StructArray::try_new_with_length(fields, columns, array.nulls().cloned(), array.len());
    Arc::new(aligned.expect("each field has a value for each struct"))
}

fn nullable(name: &str, values: &ArrayRef) -> FieldRef {
    Arc::new(Field::new(name, values.data_type().clone(), true))
}

#[cfg(test)]
mod tests {
    use arrow::json::{LineDelimitedWriter, ReaderBuilder};

    use super::*;

    fn read(json: &str) -> RecordBatch {
        let schema = arrow::json::reader::infer_json_schema(json.as_bytes(), None).unwrap().0;
        ReaderBuilder::new(Arc::new(schema)).build(json.as_bytes()).unwrap().next().unwrap().unwrap()
    }

    fn text(batch: &RecordBatch) -> String {
        let mut writer = LineDelimitedWriter::new(Vec::new());
        writer.write(batch).unwrap();
        String::from_utf8(writer.into_inner()).unwrap()
    }

    #[test]
    fn fields_are_found_by_name_at_every_depth() {
        let rows = read(
            "{\"b\":{\"y\":[{\"q\":1},{}],\"x\":2},\"a\":1}\n{\"b\":null,\"a\":2}\n{\"b\":{\"y\":null,\"x\":3},\"a\":null}\n",
        );
        // The table has them in another order, with more beside them, and wider.
        let table = read("{\"a\":1.5,\"b\":{\"x\":1,\"w\":\"t\",\"y\":[{\"p\":true,\"q\":1}]},\"c\":[{\"z\":1}]}\n");
        let aligned = align(&rows, &table.schema()).unwrap();
        assert_eq!(aligned.schema(), table.schema());
        assert_eq!(
            text(&aligned),
            "{\"a\":1.0,\"b\":{\"x\":2,\"y\":[{\"q\":1},{}]}}\n{\"a\":2.0}\n{\"b\":{\"x\":3}}\n"
        );
    }
}
