use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, StructArray};
use arrow::datatypes::{DataType, Int64Type};
use frazil_table::spec::{DataContentType, Literal, PrimitiveLiteral, Struct, Transform};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::fixture;

const FIELDS: &str = r#"{"id":1,"name":"p","required":true,"type":"int"},
    {"id":2,"name":"v","required":false,"type":"string"},
    {"id":3,"name":"s","required":true,"type":{"type":"struct","fields":[
        {"id":4,"name":"v","required":false,"type":"string"},
        {"id":5,"name":"k","required":true,"type":"long"}]}}"#;

fn keys(key: &KeyColumns, rows: &[(i32, i64)]) -> RecordBatch {
    let schema = key.arrow_schema();
    let DataType::Struct(fields) = schema.field(1).data_type() else { panic!() };
    let inner: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StructArray::new(fields.clone(), vec![inner], None)),
    ];
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

#[tokio::test]
async fn one_file_for_each_partition_with_the_key_columns_alone() {
    let (env, table) = (Env::in_memory(1), fixture::table(FIELDS, &[("p", Transform::Identity)], &[]));
    let key = KeyColumns::new(table.metadata().current_schema(), &[5, 1]).unwrap();
    let batches = [keys(&key, &[(1, 10), (2, 20)]), keys(&key, &[(1, -7), (1, 11)])];
    let files = write_equality_deletes(&env, &table, &WriterConfig::default(), &key, &batches).await.unwrap();
    assert_eq!(files.len(), 2);
    for (file, (p, expected)) in files.iter().zip([(1, vec![10, -7, 11]), (2, vec![20])]) {
        assert_eq!(file.file.content_type(), DataContentType::EqualityDeletes);
        assert_eq!(file.file.equality_ids(), Some(vec![1, 5]));
        assert_eq!(*file.file.partition(), Struct::from_iter([Some(Literal::int(p))]));
        assert_eq!(file.file.record_count(), expected.len() as u64);
        assert_eq!((file.file.null_value_counts()[&5], file.file.value_counts()[&5]), (0, expected.len() as u64));
        let PrimitiveLiteral::Long(lower) = file.file.lower_bounds()[&5].literal() else { panic!() };
        assert_eq!(lower, expected.iter().min().unwrap());
        let bytes = env.store.read(file.file.file_path()).await.unwrap();
        let batches = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let stored = batches.flat_map(|batch| {
            let batch = batch.unwrap();
            assert_eq!(batch.num_columns(), 2);
            batch.column(1).as_struct().column(0).as_primitive::<Int64Type>().values().to_vec()
        });
        assert_eq!(stored.collect::<Vec<_>>(), expected);
    }
    assert!(write_equality_deletes(&env, &table, &WriterConfig::default(), &key, &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_partition_column_outside_of_the_key_is_refused() {
    let (env, table) = (Env::in_memory(1), fixture::table(FIELDS, &[("p", Transform::Bucket(4))], &[]));
    let key = KeyColumns::new(table.metadata().current_schema(), &[5]).unwrap();
    let refused = write_equality_deletes(&env, &table, &WriterConfig::default(), &key, &[]).await.unwrap_err();
    assert!(refused.to_string().starts_with("key column p: the table is partitioned by it"), "{refused}");
}
