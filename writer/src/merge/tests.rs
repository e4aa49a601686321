use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array};
use arrow::datatypes::{Int32Type, Int64Type};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::WriterConfig;
use crate::fixture::{batch, sorted_by, table};

/// Rows `(partition, key, number)`: what a merge gives is what sorting all of them by partition, key and number gives.
fn check(is_sorted: bool, seed: u64) {
    let fields =
        r#"{"id":1,"name":"key","required":false,"type":"int"},{"id":2,"name":"n","required":true,"type":"long"}"#;
    let table = sorted_by(table(fields, &[], &[]), if is_sorted { &["key"] } else { &[] });
    let metadata = table.metadata();
    let keys = SortKeys::of(metadata.default_sort_order(), metadata.current_schema()).unwrap().map(Arc::new);
    let schema =
        batch(&table, vec![Arc::new(Int32Array::new_null(0)), Arc::new(Int64Array::from(vec![0; 0]))]).schema();
    let folder = RunFolder::new(&WriterConfig { memory_max_bytes: 1 << 20, ..WriterConfig::default() }, &schema);
    let mut random = StdRng::seed_from_u64(seed);
    let mut number = 0i64;
    let mut all: Vec<(u32, Option<i32>, i64)> = Vec::new();
    let mut run = |random: &mut StdRng| {
        let count = random.random_range(0..4000);
        let mut rows: Vec<(u32, Option<i32>, i64)> = (0..count)
            .map(|_| {
                number += 1;
                // Skewed, so that a partition is longer than a block.
                let partition = random.random_range(0..40u32).saturating_sub(20);
                (partition, random.random_bool(0.9).then(|| random.random_range(0..50)), number)
            })
            .collect();
        rows.sort_by_key(|(partition, key, _)| (*partition, is_sorted.then_some(*key)));
        all.extend(&rows);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.1).collect::<Int32Array>()),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
        ];
        let everything = Rows::all(vec![batch(&table, columns)]);
        let chunks = rows.chunk_by(|a, b| a.0 == b.0);
        let mut start = 0;
        let parts = chunks.map(|chunk| {
            let picks: Vec<_> = (start..start + chunk.len()).map(|row| (0, row)).collect();
            start += chunk.len();
            (chunk[0].0, everything.pick(picks))
        });
        parts.collect::<Vec<_>>()
    };
    let mut runs: Vec<_> = (0..7).map(|_| folder.write(&run(&mut random)).unwrap()).collect();
    let rest = runs.split_off(3);
    let merged = folder.merge(runs, keys.clone()).unwrap();
    assert_eq!(merged.level, 1);
    let runs = std::iter::once(merged).chain(rest).collect();
    let memory = folder.blocks(&run(&mut random)).collect::<Result<Vec<_>>>().unwrap();
    let mut merge = Merge::new(&folder, runs, memory, keys).unwrap();
    let mut found = Vec::new();
    let mut open = None;
    loop {
        let group = merge.next(10_000).unwrap();
        if group.is_empty() {
            break;
        }
        for Merged { partition, rows, is_last } in group {
            assert!(open.is_none_or(|open| open == partition), "{open:?} had not ended when {partition} began");
            open = (!is_last).then_some(partition);
            let (keys, numbers) = (rows.whole_column(0).unwrap(), rows.whole_column(1).unwrap());
            let numbers = numbers.as_primitive::<Int64Type>().values();
            let keys = keys.as_primitive::<Int32Type>().iter();
            found.extend(keys.zip(numbers).map(|(key, number)| (partition, key, *number)));
        }
    }
    assert_eq!(open, None);
    all.sort_by_key(|(partition, key, number)| (*partition, is_sorted.then_some(*key), *number));
    assert_eq!(found.len(), all.len());
    assert!(found == all);
}

#[test]
fn without_an_order_rows_follow_by_partition_and_run() {
    (0..8).for_each(|seed| check(false, seed));
}

#[test]
fn with_an_order_rows_follow_by_partition_and_key() {
    (0..8).for_each(|seed| check(true, seed));
}

#[test]
fn of_nothing_comes_nothing() {
    let table = table(r#"{"id":1,"name":"n","required":true,"type":"long"}"#, &[], &[]);
    let schema = batch(&table, vec![Arc::new(Int64Array::from(vec![0; 0]))]).schema();
    let folder = RunFolder::new(&WriterConfig::default(), &schema);
    let empty = folder.write(&[]).unwrap();
    let mut merge = Merge::new(&folder, vec![empty], Vec::new(), None).unwrap();
    assert!(merge.next(1 << 20).unwrap().is_empty());
}
