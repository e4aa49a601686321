//! Damaged files end in errors: no panic, no end of the process, no endless loop.

use std::sync::Arc;

use frazil_table::arrow::arrow_schema;
use frazil_table::spec::Struct;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use super::world::*;
use crate::{Error, ScanTask};

const SCHEMA: &str = r#"{"type":"struct","fields":[
    {"id":1,"name":"id","required":true,"type":"long"},
    {"id":2,"name":"v","required":false,"type":"string"},
    {"id":3,"name":"l","required":false,"type":{"type":"list","element-id":4,"element-required":false,
        "element":"int"}}]}"#;

fn rows() -> Vec<Value> {
    (0..40).map(|id| json!({"id": id, "v": format!("v{}", id % 4), "l": [id, null]})).collect()
}

#[tokio::test]
async fn a_flipped_byte_anywhere_is_an_error_or_changes_values_and_nothing_worse() {
    for compression in [Compression::UNCOMPRESSED, Compression::ZSTD(ZstdLevel::default())] {
        let mut world = World::new(SCHEMA).await;
        let schema = world.schema();
        let batch = to_batch(&Arc::new(arrow_schema(&schema).unwrap()), &rows());
        let properties =
            WriterProperties::builder().set_compression(compression).set_max_row_group_row_count(Some(20)).build();
        let bytes = encode_with(&batch, properties);
        let file = world.store(bytes.clone(), &schema, Struct::empty()).await;
        world.append_files(vec![file]).await;
        let plan = world.plan(&all()).await;
        let (mut whole, mut damaged) = (0, 0);
        for at in (0..bytes.len()).step_by(3) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            world.env.store.put(plan.tasks[0].path(), flipped.into()).await.unwrap();
            match read(&world, &plan.spec, &plan.tasks[0]).await {
                Ok(_) => whole += 1,
                Err(Error::Damaged { .. } | Error::Unsupported { .. } | Error::Storage(_)) => damaged += 1,
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
        assert!(whole > 0 && damaged > 0, "{whole} {damaged}");
    }
}

#[tokio::test]
async fn a_file_cut_anywhere_is_an_error() {
    let mut world = World::new(SCHEMA).await;
    let file = world.write(&rows(), 20, Struct::empty()).await;
    world.append_files(vec![file]).await;
    let plan = world.plan(&all()).await;
    let bytes = world.env.store.read(plan.tasks[0].path()).await.unwrap();
    for length in (0..bytes.len()).step_by(7) {
        world.env.store.put(plan.tasks[0].path(), bytes.slice(..length)).await.unwrap();
        read(&world, &plan.spec, &plan.tasks[0]).await.unwrap_err();
    }
}

/// Counting rows reads no data, so that only the table can tell that a footer's count is wrong.
#[tokio::test]
async fn a_file_with_other_rows_than_the_table_says_is_an_error() {
    let mut world = World::new(SCHEMA).await;
    let file = world.write(&rows(), 20, Struct::empty()).await;
    let other = world.write(&rows()[..30], 20, Struct::empty()).await;
    let (path, other) = (file.file.file_path().to_owned(), other.file.file_path().to_owned());
    world.append_files(vec![file]).await;
    let plan = world.plan(&columns(&[])).await;
    let mut bytes = world.env.store.read(&other).await.unwrap().to_vec();
    // Of the same length, since the table's length is right.
    let length = plan.tasks[0].file.file_size_in_bytes() as usize;
    let padding = length - bytes.len();
    bytes.splice(0..0, std::iter::repeat_n(b'P', padding));
    world.env.store.put(&path, bytes.into()).await.unwrap();
    let error = read(&world, &plan.spec, &plan.tasks[0]).await.unwrap_err().to_string();
    assert!(error.contains("it holds 30 rows, the table says 40"), "{error}");
}

/// With cold caches.
async fn read(world: &World, spec: &crate::ReadSpec, task: &ScanTask) -> crate::Result<usize> {
    let context = crate::ReadContext::new(&world.env);
    let mut reader = crate::FileReader::open(&context, spec, task).await?;
    let mut rows = 0;
    while let Some(batch) = reader.next().await? {
        rows += batch.batch.num_rows();
    }
    Ok(rows)
}
