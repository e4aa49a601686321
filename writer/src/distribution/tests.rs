use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use expect_test::expect;
use frazil_table::spec::Transform;

use super::*;
use crate::fixture::{batch, sorted_by, table};

const FIELDS: &str = r#"{"id":1,"name":"id","required":true,"type":"long"},
                        {"id":2,"name":"name","required":false,"type":"string"}"#;

fn mode(partition: &[(&str, Transform)], sort: &[&str], property: Option<&str>) -> DistributionMode {
    let properties: Vec<_> = property.map(|value| (DISTRIBUTION_MODE, value)).into_iter().collect();
    let table = sorted_by(table(FIELDS, partition, &properties), sort);
    DistributionMode::of(table.metadata()).unwrap()
}

#[test]
fn the_mode_is_what_partitions_and_order_allow() {
    use DistributionMode as M;
    let by_id = &[("id", Transform::Bucket(4))][..];
    assert_eq!(
        (mode(&[], &[], None), mode(by_id, &[], None), mode(by_id, &["id"], None)),
        (M::None, M::Hash, M::Range)
    );
    assert_eq!((mode(&[], &[], Some("hash")), mode(&[], &[], Some("range"))), (M::None, M::None));
    assert_eq!((mode(by_id, &["id"], Some("NONE")), mode(by_id, &[], Some("range"))), (M::None, M::Range));
    let table = table(FIELDS, &[], &[(DISTRIBUTION_MODE, "shuffle")]);
    expect![[r#"table property write.distribution-mode is "shuffle", but it must be none, hash or range"#]]
        .assert_eq(&DistributionMode::of(table.metadata()).unwrap_err().to_string());
}

#[test]
fn statements_that_change_rows_have_modes_of_their_own() {
    use DistributionMode as M;
    const UPDATE: &str = "write.update.distribution-mode";
    let of = |partition: &[(&str, Transform)], sort: &[&str], properties: &[(&str, &str)]| {
        let table = sorted_by(table(FIELDS, partition, properties), sort);
        DistributionMode::of_statement(table.metadata(), UPDATE).unwrap()
    };
    let by_id = &[("id", Transform::Bucket(4))][..];
    let inserts = &[(DISTRIBUTION_MODE, "range")][..];
    assert_eq!((of(&[], &[], inserts), of(by_id, &[], inserts), of(by_id, &["id"], &[])), (M::Hash, M::Hash, M::Hash));
    assert_eq!((of(by_id, &[], &[(UPDATE, "Range")]), of(&[], &[], &[(UPDATE, "range")])), (M::Range, M::None));
    assert_eq!(of(by_id, &["id"], &[(UPDATE, "none")]), M::None);
}

/// The ids that each of three writers gets of `batches`.
fn shares(table: &Table, batches: &[Vec<i64>]) -> BTreeMap<usize, Vec<i64>> {
    let mut distributor = Distributor::new(table, 3).unwrap();
    let mut shares: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    for ids in batches {
        let names = StringArray::from_iter_values(ids.iter().map(|id| format!("n{id}")));
        let rows = batch(table, vec![Arc::new(Int64Array::from(ids.clone())), Arc::new(names)]);
        for (writer, rows) in distributor.distribute(rows).unwrap() {
            let ids = rows.column(0).as_primitive::<Int64Type>().values().to_vec();
            let names: Vec<_> = rows.column(1).as_string::<i32>().iter().map(|name| name.unwrap().to_owned()).collect();
            assert_eq!(names, ids.iter().map(|id| format!("n{id}")).collect::<Vec<_>>());
            shares.entry(writer).or_default().extend(ids);
        }
    }
    shares
}

#[test]
fn without_a_distribution_batches_go_round() {
    let table = table(FIELDS, &[], &[]);
    let shares = shares(&table, &[vec![1, 2], vec![3], vec![4], vec![5]]);
    assert_eq!(shares, BTreeMap::from([(0, vec![1, 2, 5]), (1, vec![3]), (2, vec![4])]));
}

#[test]
fn by_hash_a_partition_has_one_writer() {
    let table = table(FIELDS, &[("id", Transform::Truncate(10))], &[]);
    let batches: Vec<Vec<i64>> = (0..20).map(|round| (0..50).map(|i| (i * 37 + round * 11) % 500).collect()).collect();
    let shares = shares(&table, &batches);
    assert_eq!(shares.len(), 3);
    let mut seen = BTreeSet::new();
    for ids in shares.values() {
        let partitions: BTreeSet<_> = ids.iter().map(|id| id / 10).collect();
        assert!(partitions.iter().all(|partition| seen.insert(*partition)), "{partitions:?} {seen:?}");
    }
    assert_eq!(shares.values().map(Vec::len).sum::<usize>(), 1000);
}

#[test]
fn by_key_rows_of_one_key_stay_together_and_in_order() {
    let table = table(FIELDS, &[], &[]);
    let key = || KeyColumns::new(table.metadata().current_schema(), &[1]).unwrap();
    let mut shares: BTreeMap<usize, Vec<(i64, i64)>> = BTreeMap::new();
    for round in 0..20_i64 {
        // Each source task has a distributor of its own.
        let mut distributor = Distributor::by_key(key(), 3);
        let ids = Int64Array::from_iter_values((0..60).map(|i| (i * 7 + round) % 30));
        let names = StringArray::from_iter_values((0..60).map(|i| (round * 60 + i).to_string()));
        for (writer, rows) in distributor.distribute(batch(&table, vec![Arc::new(ids), Arc::new(names)])).unwrap() {
            let ids = rows.column(0).as_primitive::<Int64Type>().values().to_vec();
            let numbers = rows.column(1).as_string::<i32>().iter().map(|name| name.unwrap().parse().unwrap());
            shares.entry(writer).or_default().extend(ids.into_iter().zip(numbers));
        }
    }
    assert_eq!(shares.len(), 3);
    let keys = shares.values().map(|rows| rows.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len());
    assert_eq!(keys.sum::<usize>(), 30, "no key is with two writers");
    assert!(shares.values().all(|rows| rows.is_sorted_by_key(|(_, number)| *number)));
}

#[test]
fn by_range_writers_get_like_shares_that_hardly_overlap() {
    let table = sorted_by(table(FIELDS, &[], &[]), &["id"]);
    let mut state = 7u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Most of the ids are small: ranges of like widths would be of unlike sizes.
        ((state >> 40) as i64).pow(2) >> 24
    };
    let batches: Vec<Vec<i64>> = (0..40).map(|_| (0..1000).map(|_| random()).collect()).collect();
    let shares = shares(&table, &batches);
    let sizes: Vec<_> = shares.values().map(Vec::len).collect();
    assert!(sizes.iter().all(|size| (11_000..16_000).contains(size)), "{sizes:?}");
    let middle = |ids: &Vec<i64>, part: usize| {
        let mut ids = ids.clone();
        ids.sort_unstable();
        ids[ids.len() * part / 100]
    };
    assert!(middle(&shares[&0], 95) <= middle(&shares[&1], 5) && middle(&shares[&1], 95) <= middle(&shares[&2], 5));
}

#[test]
fn the_sample_stays_small() {
    let table = sorted_by(table(FIELDS, &[], &[]), &["id"]);
    let mut distributor = Distributor::new(&table, 2).unwrap();
    for round in 0..10 {
        let ids = Int64Array::from_iter_values((0..10_000).map(|i| i * 10 + round));
        let names = StringArray::new_null(10_000);
        distributor.distribute(batch(&table, vec![Arc::new(ids), Arc::new(names)])).unwrap();
    }
    let Way::Range { sample, .. } = &distributor.way else { panic!() };
    assert!(sample.keys.len() <= SAMPLE_KEYS && sample.keys.len() > SAMPLE_KEYS / 3, "{}", sample.keys.len());
}

#[test]
fn ranges_follow_keys_that_were_not_there_at_first() {
    let table = sorted_by(table(FIELDS, &[], &[]), &["id"]);
    // At first a part of the keys that come later: ranges of these alone would leave all others to one writer.
    let first: Vec<i64> = (0..100).collect();
    let later = (1..40_i64).map(|round| (0..500).map(|i| (i * 7_919 + round * 104_729) % 1_000_000).collect());
    let batches: Vec<Vec<i64>> = std::iter::once(first).chain(later).collect();
    let sizes: Vec<_> = shares(&table, &batches).values().map(Vec::len).collect();
    assert!(sizes.len() == 3 && sizes.iter().all(|size| *size > 5_000), "{sizes:?}");
}
