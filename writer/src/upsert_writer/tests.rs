use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};

use super::*;
use crate::fixture::{batch, table};

/// Which rows stay of batches of ids.
fn last(batches: &[&[i64]], hashes: impl Fn(&Keys) -> Vec<u64>) -> Vec<Vec<bool>> {
    let table = table(r#"{"id":1,"name":"id","required":true,"type":"long"}"#, &[], &[]);
    let key = KeyColumns::new(table.metadata().current_schema(), &[1]).unwrap();
    let keys = |ids: &&[i64]| {
        let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
        key.encode(&key.keys_of(&batch(&table, vec![ids])).unwrap()).unwrap()
    };
    let keys: Vec<Keys> = batches.iter().map(keys).collect();
    last_of_each_key(&keys, hashes).iter().map(|last| last.values().iter().collect()).collect()
}

#[test]
fn the_last_row_of_each_key_stays_however_hashes_fall() {
    let batches: [&[i64]; 3] = [&[1, 2, 1, 3], &[], &[2, 4, 5, 4, 6]];
    let expected = [vec![false, false, true, true], vec![], vec![true, false, true, true, true]];
    assert_eq!(last(&batches, |keys| keys.hashes(1).collect()), expected, "hashes as they are");
    assert_eq!(last(&batches, |keys| vec![7; keys.len()]), expected, "all alike");
    let last_bit = |keys: &Keys, row: usize| keys.get(row).last().map_or(0, |byte| u64::from(byte % 2));
    let two = |keys: &Keys| (0..keys.len()).map(|row| last_bit(keys, row)).collect();
    assert_eq!(last(&batches, two), expected, "two hashes for all");
}
