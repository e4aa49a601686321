use arrow::array::{Array, Int64Array, StringArray};
use frazil_table::spec::{NullOrder, SortDirection, SortField, Transform};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use roaring::RoaringTreemap;

use super::*;
use crate::fixture::{batch, read, sorted_by, table};

const FIELDS: &str = r#"{"id":1,"name":"a","required":false,"type":"long"},{"id":2,"name":"b","required":true,"type":"long"},
    {"id":3,"name":"text","required":true,"type":"string"}"#;

fn order(column: i32, direction: SortDirection) -> RowOrder {
    let field = SortField::builder().source_id(column).transform(Transform::Identity).direction(direction);
    let field = field.null_order(NullOrder::First).build();
    RowOrder::Sort(SortOrder { order_id: 0, fields: vec![field] })
}

/// Writes 30,000 rows in no order with so much memory that most of them are put aside: the files, where the rows went, and what
/// was written.
async fn write(table: &Table, env: &Env, order: &RowOrder) -> (Vec<TableFile>, RowPlaces, Vec<i64>) {
    let config = WriterConfig { memory_max_bytes: 1 << 20, ..WriterConfig::default() };
    let partition = (0, Struct::empty());
    let mut writer =
        SortedRewriter::new(env.clone(), table, config, partition, order).unwrap().with_file_bytes(100_000);
    let mut random = StdRng::seed_from_u64(9);
    let mut ids: Vec<i64> = (0..30_000).collect();
    ids.shuffle(&mut random);
    for rows in ids.chunks(777) {
        let a = rows.iter().map(|id| (id % 100 != 0).then_some(id / 3)).collect::<Int64Array>();
        let text = rows.iter().map(|id| format!("{id}: {}", random.random::<u64>())).collect::<Vec<_>>();
        let columns: Vec<ArrayRef> =
            vec![Arc::new(a), Arc::new(Int64Array::from(rows.to_vec())), Arc::new(StringArray::from(text))];
        writer.write(batch(table, columns)).await.unwrap();
    }
    assert!(!writer.runs.is_empty(), "rows are put aside");
    let (files, places) = writer.close().await.unwrap();
    (files, places, ids)
}

#[tokio::test]
async fn rows_are_sorted_over_all_files_and_it_is_told_where_they_went() {
    let env = Env::in_memory(5);
    let plain = table(FIELDS, &[], &[]);
    for (table, order, id) in [
        (plain.clone(), order(1, SortDirection::Ascending), None),
        (sorted_by(plain.clone(), &["b"]), order(2, SortDirection::Descending), None),
        (sorted_by(plain, &["b"]), order(2, SortDirection::Ascending), Some(1)),
    ] {
        let (files, places, ids) = write(&table, &env, &order).await;
        assert!(files.len() > 3, "{} files", files.len());
        assert!(files.iter().all(|file| file.file.sort_order_id() == id), "only what the table knows has an id");
        let mut written: Vec<(Option<i64>, i64)> = Vec::new();
        for file in &files {
            let (rows, _) = read(&env, &table, file.file.file_path()).await;
            let (a, b) = (rows.column(0).as_primitive::<arrow::datatypes::Int64Type>(), rows.column(1));
            let b = b.as_primitive::<arrow::datatypes::Int64Type>().values();
            written.extend(b.iter().enumerate().map(|(row, b)| (a.is_valid(row).then(|| a.value(row)), *b)));
        }
        assert_eq!((written.len() as u64, places.rows()), (30_000, 30_000));
        match order {
            _ if id.is_some() => assert!(written.is_sorted_by_key(|row| row.1)),
            RowOrder::Sort(sort) if sort.fields[0].source_id == 2 => assert!(written.is_sorted_by(|a, b| a.1 > b.1)),
            _ => assert!(written.is_sorted_by_key(|row| row.0), "nulls first"),
        }
        for rank in [0, 1, 12_345, 29_999] {
            let place = places.of_ranks(&RoaringTreemap::from_iter([rank])).await.unwrap();
            let place = place.min().unwrap() as usize;
            assert_eq!(written[place].1, ids[rank as usize], "the row with rank {rank} is at {place}");
        }
    }
}

#[tokio::test]
async fn rows_along_a_curve_make_files_that_are_small_in_every_column() {
    let env = Env::in_memory(6);
    let table = table(FIELDS, &[], &[]);
    let samples = vec![(0..10_000).map(|a| a ^ 1 << 63).collect(), (0..30_000).map(|b| b ^ 1 << 63).collect()];
    for kind in [CurveKind::ZOrder, CurveKind::Hilbert(crate::Cuts::of_samples(samples))] {
        let (files, places, _) = write(&table, &env, &RowOrder::Curve(vec![1, 2], kind)).await;
        assert_eq!((files.iter().map(|file| file.file.record_count()).sum::<u64>(), places.rows()), (30_000, 30_000));
        assert!(files.iter().all(|file| file.file.sort_order_id().is_none()));
    }
    let no_order = RowOrder::Sort(SortOrder::unsorted_order());
    let config = WriterConfig::default();
    SortedRewriter::new(env, &table, config, (0, Struct::empty()), &no_order).unwrap_err();
}
