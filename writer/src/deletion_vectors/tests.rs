use frazil_table::decode_deletion_vector;
use frazil_table::spec::Struct;

use super::*;
use crate::fixture;

fn deleted(path: &str, rows: impl IntoIterator<Item = u64>) -> DeletedRows {
    let rows = rows.into_iter().collect();
    DeletedRows { path: path.to_owned(), partition_spec_id: 0, partition: Struct::empty(), rows }
}

#[tokio::test]
async fn several_vectors_share_a_file_and_each_entry_says_where_its_own_is() {
    let env = Env::in_memory(1);
    let table = fixture::table(r#"{"id":1,"name":"a","required":true,"type":"int"}"#, &[], &[]);
    let deleted = [deleted("a.parquet", [3, 9]), deleted("none", []), deleted("b.parquet", 5..70_000)];
    let files = write_deletion_vectors(&env, &table, &WriterConfig::default(), &deleted).await.unwrap();
    assert_eq!(files.len(), 2);
    let location = files[0].file.file_path();
    assert!(location.ends_with(".puffin") && files.iter().all(|file| file.file.file_path() == location));
    let bytes = env.store.read(location).await.unwrap();
    for (file, deleted) in files.iter().zip([&deleted[0], &deleted[2]]) {
        let start = file.file.content_offset().unwrap() as usize;
        let blob = &bytes[start..start + file.file.content_size_in_bytes().unwrap() as usize];
        assert_eq!(decode_deletion_vector(blob).unwrap(), deleted.rows);
        assert_eq!(file.file.record_count(), deleted.rows.len());
        assert_eq!(file.file.referenced_data_file().as_deref(), Some(deleted.path.as_str()));
        assert_eq!(file.file.file_size_in_bytes(), bytes.len() as u64);
        assert_eq!(file.file.file_format(), DataFileFormat::Puffin);
    }
    // The footer, read from the end as the Puffin specification has it.
    assert!(bytes.starts_with(&MAGIC) && bytes.ends_with(&MAGIC));
    let end = bytes.len() - 12;
    let length = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize;
    assert_eq!(bytes[end + 4..end + 8], [0; 4]);
    assert_eq!(bytes[end - length - 4..end - length], MAGIC);
    let footer: serde_json::Value = serde_json::from_slice(&bytes[end - length..end]).unwrap();
    assert_eq!(footer["blobs"].as_array().unwrap().len(), 2);
    let second = &footer["blobs"][1];
    assert_eq!(second["type"], "deletion-vector-v1");
    assert_eq!(second["offset"], files[1].file.content_offset().unwrap());
    assert_eq!(second["length"], files[1].file.content_size_in_bytes().unwrap());
    assert_eq!(second["properties"]["referenced-data-file"], "b.parquet");
    assert_eq!(second["properties"]["cardinality"], "69995");
    assert_eq!((&second["snapshot-id"], &second["sequence-number"]), (&(-1).into(), &(-1).into()));
}

#[tokio::test]
async fn nothing_deleted_is_no_file() {
    let env = Env::in_memory(1);
    let table = fixture::table(r#"{"id":1,"name":"a","required":true,"type":"int"}"#, &[], &[]);
    assert!(write_deletion_vectors(&env, &table, &WriterConfig::default(), &[]).await.unwrap().is_empty());
}
