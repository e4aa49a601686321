//! The rows of TPC-H's lineitem as Arrow batches, with the types that Iceberg tables of it have.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Builder, Decimal128Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
};
use frazil_table::spec::Schema;
use tpchgen::generators::LineItemGenerator;

use crate::Result;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// Columns and types; all required.
const COLUMNS: [(&str, &str); 16] = [
    ("l_orderkey", "long"),
    ("l_partkey", "long"),
    ("l_suppkey", "long"),
    ("l_linenumber", "int"),
    ("l_quantity", "decimal(15, 2)"),
    ("l_extendedprice", "decimal(15, 2)"),
    ("l_discount", "decimal(15, 2)"),
    ("l_tax", "decimal(15, 2)"),
    ("l_returnflag", "string"),
    ("l_linestatus", "string"),
    ("l_shipdate", "date"),
    ("l_commitdate", "date"),
    ("l_receiptdate", "date"),
    ("l_shipinstruct", "string"),
    ("l_shipmode", "string"),
    ("l_comment", "string"),
];

/// The table's schema.
pub fn schema() -> Result<Schema> {
    let fields = (1..)
        .zip(COLUMNS)
        .map(|(id, (name, r#type))| format!(r#"{{"id":{id},"name":"{name}","required":true,"type":"{type}"}}"#));
    let fields = fields.collect::<Vec<_>>().join(",");
    Ok(serde_json::from_str(&format!(r#"{{"type":"struct","schema-id":0,"fields":[{fields}]}}"#))?)
}

/// The first `rows` rows of scale factor 1.
pub fn batches(rows: usize) -> Result<Vec<RecordBatch>> {
    stream(rows, BATCH_ROWS)?.collect()
}

/// The same in batches of `batch_rows`, each made when it is asked for.
pub fn stream(rows: usize, batch_rows: usize) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let schema = Arc::new(frazil_table::arrow::arrow_schema(&schema()?)?);
    let mut items = LineItemGenerator::new(1.0, 1, 1).iter().take(rows).peekable();
    Ok(std::iter::from_fn(move || {
        items.peek()?;
        let mut columns = Columns::default();
        items.by_ref().take(batch_rows).for_each(|item| columns.push(&item));
        Some(columns.finish().and_then(|columns| Ok(RecordBatch::try_new(schema.clone(), columns)?)))
    }))
}

#[derive(Default)]
struct Columns {
    longs: [Int64Builder; 3],
    number: Int32Builder,
    decimals: [Decimal128Builder; 4],
    dates: [Date32Builder; 3],
    flags: [StringBuilder; 2],
    texts: [StringBuilder; 3],
}

impl Columns {
    fn push(&mut self, item: &tpchgen::generators::LineItem<'_>) {
        let longs = [item.l_orderkey, item.l_partkey, item.l_suppkey];
        self.longs.iter_mut().zip(longs).for_each(|(column, value)| column.append_value(value));
        self.number.append_value(item.l_linenumber);
        let decimals = [item.l_quantity * 100, item.l_extendedprice.0, item.l_discount.0, item.l_tax.0];
        self.decimals.iter_mut().zip(decimals).for_each(|(column, value)| column.append_value(value.into()));
        let dates = [item.l_shipdate, item.l_commitdate, item.l_receiptdate];
        self.dates.iter_mut().zip(dates).for_each(|(column, value)| column.append_value(value.to_unix_epoch()));
        let flags = [item.l_returnflag, item.l_linestatus];
        self.flags.iter_mut().zip(flags).for_each(|(column, value)| column.append_value(value));
        let texts = [item.l_shipinstruct, item.l_shipmode, item.l_comment];
        self.texts.iter_mut().zip(texts).for_each(|(column, value)| column.append_value(value));
    }

    fn finish(mut self) -> Result<Vec<ArrayRef>> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(COLUMNS.len());
        for mut column in self.longs {
            columns.push(Arc::new(column.finish()));
        }
        columns.push(Arc::new(self.number.finish()));
        for mut column in self.decimals {
            columns.push(Arc::new(column.finish().with_precision_and_scale(15, 2)?));
        }
        for mut column in self.flags {
            columns.push(Arc::new(column.finish()));
        }
        for mut column in self.dates {
            columns.push(Arc::new(column.finish()));
        }
        for mut column in self.texts {
            columns.push(Arc::new(column.finish()));
        }
        Ok(columns)
    }
}
