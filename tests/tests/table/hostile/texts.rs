//! The decoders of text, as [`super::decoders`] has those of files.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, TimeUnit};
use frazil_engine::connectors::{TableDefinition, bounded_stream, create_source};
use frazil_storage::Env;
use futures::StreamExt;

use super::decoders::{FOLDER, Outcome, text, with_store};

/// A script of SQL statements.
pub fn sql_script(bytes: &[u8]) -> Outcome {
    let script = str::from_utf8(bytes).map_err(text)?;
    frazil_engine::sql::parse_script(script).map(drop).map_err(text)
}

/// Records of JSON, one a line.
pub fn json_rows(bytes: &[u8]) -> Outcome {
    let item = Field::new("item", DataType::Int32, true);
    let inner = Field::new("d", DataType::Float64, true);
    let schema = ArrowSchema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("v", DataType::Utf8, true),
        Field::new("l", DataType::List(Arc::new(item)), true),
        Field::new("s", DataType::Struct(vec![inner].into()), true),
        Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("n", DataType::Decimal128(20, 3), true),
    ]);
    records(bytes, "json", &schema)
}

/// Records of CSV.
pub fn csv_rows(bytes: &[u8]) -> Outcome {
    let schema = ArrowSchema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("v", DataType::Utf8, true),
        Field::new("d", DataType::Date32, true),
        Field::new("b", DataType::Boolean, true),
    ]);
    records(bytes, "csv", &schema)
}

fn records(bytes: &[u8], format: &str, schema: &ArrowSchema) -> Outcome {
    let mut options = vec![("connector", "filesystem"), ("path", FOLDER), ("format", format)];
    if format == "csv" {
        options.push(("csv.header", "none"));
    }
    let table = TableDefinition::new("t", schema, options);
    with_store(bytes, async |store| {
        let env = Env { store: store.clone(), ..Env::in_memory(1) };
        let source = create_source(&table, &env).map_err(text)?;
        let mut stream = bounded_stream(source.as_ref(), "t", 1).await.map_err(text)?;
        while let Some(batch) = stream.next().await {
            batch.map_err(text)?;
        }
        Ok(())
    })
}
