use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use frazil_table::spec::{DataContentType, Literal, PrimitiveLiteral, Transform};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::fixture;

const FIELDS: &str = r#"{"id":1,"name":"p","required":true,"type":"int"}"#;

fn deleted(path: &str, partition: i32, rows: &[u64]) -> DeletedRows {
    DeletedRows {
        path: path.to_owned(),
        partition_spec_id: 0,
        partition: Struct::from_iter([Some(Literal::int(partition))]),
        rows: rows.iter().copied().collect(),
    }
}

async fn stored(env: &Env, file: &TableFile) -> Vec<(String, i64)> {
    let bytes = env.store.read(file.file.file_path()).await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let ids = reader.parquet_schema().columns().iter().map(|c| c.self_type().get_basic_info().id()).collect::<Vec<_>>();
    assert_eq!(ids, [2_147_483_546, 2_147_483_545]);
    let mut rows = Vec::new();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let (paths, positions) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
        rows.extend(paths.iter().zip(positions.values()).map(|(path, row)| (path.unwrap().to_owned(), *row)));
    }
    rows
}

fn bounds(file: &TableFile) -> [String; 2] {
    let text = |bounds: &std::collections::HashMap<i32, frazil_table::spec::Datum>| {
        let PrimitiveLiteral::String(text) = bounds[&2_147_483_546].literal() else { panic!() };
        text.clone()
    };
    [text(file.file.lower_bounds()), text(file.file.upper_bounds())]
}

fn input() -> [DeletedRows; 4] {
    let long = format!("memory://w/t/data/{}", "b".repeat(300));
    [
        deleted(&long, 1, &[5, 1]),
        deleted("memory://w/t/a", 1, &[9, 3, 70_000]),
        deleted("s3://c", 2, &[0]),
        deleted("d", 2, &[]),
    ]
}

#[tokio::test]
async fn by_partition_unless_the_table_says_otherwise() {
    let (env, table) = (Env::in_memory(1), fixture::table(FIELDS, &[("p", Transform::Identity)], &[]));
    let input = input();
    let files = write_position_deletes(&env, &table, &WriterConfig::default(), &input).await.unwrap();
    assert_eq!(files.len(), 2);
    let long = input[0].path.clone();
    let [both, only] = [&files[0], &files[1]];
    let at = |path: &str, row| (path.to_owned(), row);
    let (a, b) = ("memory://w/t/a", long.as_str());
    assert_eq!(stored(&env, both).await, [at(a, 3), at(a, 9), at(a, 70_000), at(b, 1), at(b, 5)]);
    assert_eq!(bounds(both), [a.to_owned(), long.clone()]);
    assert_eq!((both.file.referenced_data_file(), both.file.record_count()), (None, 5));
    assert_eq!(stored(&env, only).await, [at("s3://c", 0)]);
    assert_eq!(only.file.referenced_data_file().as_deref(), Some("s3://c"));
    assert_eq!(only.file.content_type(), DataContentType::PositionDeletes);
    assert_eq!(*only.file.partition(), input[2].partition);
}

#[tokio::test]
async fn by_file_where_the_table_says_so() {
    let properties = [("write.delete.granularity", "file")];
    let (env, table) = (Env::in_memory(1), fixture::table(FIELDS, &[("p", Transform::Identity)], &properties));
    let files = write_position_deletes(&env, &table, &WriterConfig::default(), &input()).await.unwrap();
    let of: Vec<_> = files.iter().map(|file| file.file.referenced_data_file().unwrap()).collect();
    assert_eq!(of.len(), 3);
    for (file, path) in files.iter().zip(&of) {
        assert_eq!(bounds(file), [path.clone(), path.clone()]);
        assert!(stored(&env, file).await.iter().all(|(of, _)| of == path));
    }
    let properties = [("write.delete.granularity", "row")];
    let table = fixture::table(FIELDS, &[("p", Transform::Identity)], &properties);
    let refused = write_position_deletes(&env, &table, &WriterConfig::default(), &input()).await.unwrap_err();
    assert!(refused.to_string().contains("file or partition"), "{refused}");
}
