use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use frazil_table::Table;

use super::*;
use crate::fixture::{batch, table};
use crate::{TableWriter, WriterConfig};

const FIELDS: &str = r#"{"id":1,"name":"id","required":true,"type":"long"},
    {"id":2,"name":"name","required":false,"type":"string"}"#;

async fn written(env: &Env, table: &Table, range: std::ops::Range<i64>) -> NdvSketches {
    // Several turns: sketches go from one to the next.
    let config = WriterConfig { ndv_sketches: true, memory_max_bytes: 128 << 10, ..WriterConfig::default() };
    let mut writer = TableWriter::new(env.clone(), table, config).unwrap();
    for start in range.clone().step_by(1000) {
        let names: ArrayRef = Arc::new(StringArray::from_iter(
            (start..start + 1000).map(|i| (i % 10 != 0).then(|| format!("name {}", i % 100))),
        ));
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(start..start + 1000));
        writer.write(batch(table, vec![ids, names])).await.unwrap();
    }
    writer.flush().await.unwrap();
    assert!(writer.counters().turns > 1);
    let sketches = writer.take_sketches();
    assert!(writer.take_sketches().is_empty());
    sketches
}

#[tokio::test]
async fn the_statistics_of_a_snapshot_are_those_of_all_rows_up_to_it() {
    let (env, table) = (Env::in_memory(1), table(FIELDS, &[], &[]));
    let metadata = table.metadata();
    let first = written(&env, &table, 0..20_000).await;
    assert_eq!(statistics_before(metadata, None), Before::Nothing);
    let file = store_statistics(&env, metadata, (7, 1), Before::Nothing, first).await.unwrap().unwrap();
    assert!(file.statistics_path.starts_with("memory://w/t/metadata/7-"), "{}", file.statistics_path);
    let ndv: HashMap<_, u64> =
        file.blob_metadata.iter().map(|blob| (blob.fields[0], blob.properties["ndv"].parse().unwrap())).collect();
    assert_eq!(ndv[&2], 90);
    assert!((19_000..21_000).contains(&ndv[&1]), "{ndv:?}");

    let second = written(&env, &table, 10_000..40_000).await;
    let file = store_statistics(&env, metadata, (8, 2), Before::Statistics(&file), second).await.unwrap().unwrap();
    let ndv: HashMap<_, u64> =
        file.blob_metadata.iter().map(|blob| (blob.fields[0], blob.properties["ndv"].parse().unwrap())).collect();
    assert_eq!(ndv[&2], 90);
    assert!((38_500..41_500).contains(&ndv[&1]), "{ndv:?}");
    let whole = load_sketches(&env, &file).await.unwrap();
    assert_eq!(whole.estimate(2), Some(90.0));
    let third = written(&env, &table, 0..2000).await;
    assert_eq!(store_statistics(&env, metadata, (9, 3), Before::Unknown, third).await.unwrap(), None);
}

/// Byte for byte: magic, blobs, magic, JSON, its length, flags, magic.
#[tokio::test]
async fn the_file_is_puffin_and_a_damaged_one_is_an_error() {
    let (env, table) = (Env::in_memory(1), table(FIELDS, &[], &[]));
    let sketches = written(&env, &table, 0..3000).await;
    let file = store_statistics(&env, table.metadata(), (7, 1), Before::Nothing, sketches).await.unwrap().unwrap();
    let bytes = env.store.read(&file.statistics_path).await.unwrap();
    assert_eq!(bytes.len() as i64, file.file_size_in_bytes);
    let footer = &bytes[bytes.len() - file.file_footer_size_in_bytes as usize..];
    assert!(bytes.starts_with(MAGIC) && footer.starts_with(MAGIC) && footer.ends_with(MAGIC));
    let json = &footer[4..footer.len() - 12];
    assert_eq!(footer[footer.len() - 12..footer.len() - 8], (json.len() as i32).to_le_bytes());
    let json: serde_json::Value = serde_json::from_slice(json).unwrap();
    let blob = &json["blobs"][0];
    assert_eq!((blob["type"].as_str(), blob["offset"].as_u64()), (Some(THETA), Some(4)));
    for end in [0, 3, 11, bytes.len() / 2, bytes.len() - 1] {
        env.store.put(&file.statistics_path, bytes.slice(..end)).await.unwrap();
        let error = load_sketches(&env, &file).await.unwrap_err().to_string();
        assert!(error.ends_with("can't be read: it has no Puffin footer"), "{error}");
    }
}
