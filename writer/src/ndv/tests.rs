use std::sync::Arc;

use arrow::array::{Decimal128Array, Int32Array, Int64Array, StringArray};
use expect_test::expect;

use super::*;
use crate::fixture::{batch, id, table};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sketch_of(array: ArrayRef) -> CompactThetaSketch {
    let mut sketch = new_sketch();
    for_each_value(&array, |value| sketch.update(raw_bytes::from_slice(value)));
    sketch.compact(true)
}

/// The bytes that DataSketches for Java 3.3.0 gives for the same values, as Iceberg for Spark asks it; but for a sampling
/// rate of 1.0 in bytes 12 to 15 and a flag for single values in byte 5, which Java writes and reads sketches without.
#[test]
fn sketches_are_those_of_java() {
    let three = sketch_of(Arc::new(Int32Array::from(vec![Some(1), None, Some(2), Some(3), Some(1)])));
    expect!["02030300001acc930300000000000000ab129f62d10914095d9caa2282e0f92487c967fd15c6547f"]
        .assert_eq(&hex(&three.serialize()));
    let one = sketch_of(Arc::new(Int32Array::from(vec![1])));
    expect!["01030300001acc935d9caa2282e0f924"].assert_eq(&hex(&one.serialize()));
    let text = sketch_of(Arc::new(StringArray::from(vec!["ice", "frazil"])));
    expect!["02030300001acc93020000000000000062b4c804ad6d7477fee009453da4f278"].assert_eq(&hex(&text.serialize()));
    let none = sketch_of(Arc::new(Int32Array::from(vec![None::<i32>])));
    expect!["01030300001e0000"].assert_eq(&hex(&none.serialize()));
}

#[test]
fn values_are_counted_as_the_specification_serializes_them() {
    let bytes = |array: ArrayRef| {
        let mut all = Vec::new();
        for_each_value(&array, |value| all.push(hex(value)));
        all.join(" ")
    };
    let decimals = Decimal128Array::from(vec![1420, -1, 128]).with_precision_and_scale(9, 2).unwrap();
    expect!["058c ff 0080"].assert_eq(&bytes(Arc::new(decimals)));
    expect!["2200000000000000 ffffffffffffffff"].assert_eq(&bytes(Arc::new(Int64Array::from(vec![34, -1]))));
}

fn counted(ids: std::ops::Range<i64>) -> NdvSketches {
    let table = table(
        r#"{"id":1,"name":"id","required":true,"type":"long"},{"id":2,"name":"l","required":false,
            "type":{"type":"list","element-id":3,"element-required":false,"element":"int"}}"#,
        &[],
        &[],
    );
    let mut sketches = column_sketches(table.metadata().current_schema());
    assert_eq!(sketches.len(), 1, "not what is in lists");
    let lists = arrow::array::new_null_array(
        frazil_table::arrow::arrow_schema(table.metadata().current_schema()).unwrap().field(1).data_type(),
        ids.clone().count(),
    );
    let rows = batch(&table, vec![Arc::new(Int64Array::from_iter_values(ids)), lists]);
    sketches[0].update(&rows).unwrap();
    assert_eq!(id(&table, "id"), 1);
    NdvSketches::new(sketches.iter_mut().map(ColumnSketch::take))
}

#[test]
fn parts_that_overlap_are_united_into_the_whole() {
    let mut sketches = counted(0..60_000);
    sketches.unite(&counted(30_000..100_000));
    let estimate = sketches.estimate(1).unwrap();
    assert!((97_000.0..103_000.0).contains(&estimate), "{estimate}");
    let bytes: Vec<_> = sketches.serialized().collect();
    let back = NdvSketches::deserialize(bytes.iter().map(|(id, bytes)| (*id, bytes.as_slice()))).unwrap();
    assert_eq!(back.estimate(1), Some(estimate));
    sketches.unite(&NdvSketches::default());
    assert!(sketches.is_empty(), "of a column that only one part has nothing is known");
}

#[test]
fn a_few_values_are_counted_exactly() {
    assert_eq!(counted(0..4000).estimate(1), Some(4000.0));
}
