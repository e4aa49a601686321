use std::sync::Arc;

use arrow::array::{Int32Array, Int64Array, StringArray, StructArray, TimestampMicrosecondArray};
use arrow::buffer::NullBuffer;
use expect_test::{Expect, expect};

use super::*;
use crate::fixture::{batch, table};

fn check(fields: &str, spec: &[(&str, Transform)], columns: Vec<ArrayRef>, expected: Expect) {
    let table = table(fields, spec, &[]);
    let metadata = table.metadata();
    let mut splitter = PartitionSplitter::new(metadata.default_partition_spec(), metadata.current_schema()).unwrap();
    let rows = batch(&table, columns);
    let assigned = match splitter.assign(&rows).unwrap() {
        Assignment::One(id) => vec![id; rows.num_rows()],
        Assignment::Each(ids) => ids,
    };
    let lines = (0..).zip(splitter.partitions()).map(|(id, partition)| {
        let values: Vec<_> = partition.tuple.iter().collect();
        format!("{} {values:?} × {}\n", partition.folder, assigned.iter().filter(|of| **of == id).count())
    });
    expected.assert_eq(&lines.collect::<String>());
}

#[test]
fn moments_are_split_by_every_unit_of_time() {
    let split = |unit, expected| {
        let moments = [Some(1_510_871_468_000_000), Some(-1), None, Some(1_510_871_468_000_001)];
        check(
            r#"{"id":1,"name":"t","required":false,"type":"timestamp"}"#,
            &[("t", unit)],
            vec![Arc::new(TimestampMicrosecondArray::from(moments.to_vec()))],
            expected,
        );
    };
    split(
        Transform::Year,
        expect![[r#"
            t_year=2017 [Some(Primitive(Int(47)))] × 2
            t_year=1969 [Some(Primitive(Int(-1)))] × 1
            t_year=null [None] × 1
        "#]],
    );
    split(
        Transform::Month,
        expect![[r#"
            t_month=2017-11 [Some(Primitive(Int(574)))] × 2
            t_month=1969-12 [Some(Primitive(Int(-1)))] × 1
            t_month=null [None] × 1
        "#]],
    );
    split(
        Transform::Day,
        expect![[r#"
            t_day=2017-11-16 [Some(Primitive(Int(17486)))] × 2
            t_day=1969-12-31 [Some(Primitive(Int(-1)))] × 1
            t_day=null [None] × 1
        "#]],
    );
    split(
        Transform::Hour,
        expect![[r#"
            t_hour=2017-11-16-22 [Some(Primitive(Int(419686)))] × 2
            t_hour=1969-12-31-23 [Some(Primitive(Int(-1)))] × 1
            t_hour=null [None] × 1
        "#]],
    );
}

#[test]
fn buckets_are_those_of_the_specification() {
    // murmur3("iceberg") = 1210000089, murmur3(34) = 2017239379 (Iceberg spec, Appendix B).
    check(
        r#"{"id":1,"name":"s","required":true,"type":"string"},{"id":2,"name":"n","required":true,"type":"long"}"#,
        &[("s", Transform::Bucket(128)), ("n", Transform::Bucket(100))],
        vec![Arc::new(StringArray::from(vec!["iceberg"])), Arc::new(Int64Array::from(vec![34]))],
        expect![[r#"
            s_bucket=89/n_bucket=79 [Some(Primitive(Int(89))), Some(Primitive(Int(79)))] × 1
        "#]],
    );
}

#[test]
fn a_field_of_a_null_struct_is_null_whatever_it_holds() {
    let fields = r#"{"id":1,"name":"s","required":false,"type":{"type":"struct","fields":[
        {"id":2,"name":"a","required":true,"type":"int"}]}}"#;
    let table = table(fields, &[], &[]);
    let schema = frazil_table::arrow::arrow_schema(table.metadata().current_schema()).unwrap();
    let DataType::Struct(inner) = schema.field(0).data_type() else { panic!() };
    let column: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let nulls = NullBuffer::from(vec![true, false, true]);
    let column = StructArray::new(inner.clone(), vec![column], Some(nulls));
    check(
        fields,
        &[("s.a", Transform::Identity)],
        vec![Arc::new(column)],
        expect![[r#"
            s.a_identity=1 [Some(Primitive(Int(1)))] × 1
            s.a_identity=null [None] × 1
            s.a_identity=3 [Some(Primitive(Int(3)))] × 1
        "#]],
    );
}

#[test]
fn void_makes_one_partition() {
    check(
        r#"{"id":1,"name":"n","required":true,"type":"long"}"#,
        &[("n", Transform::Void)],
        vec![Arc::new(Int64Array::from(vec![1, 2]))],
        expect![[r#"
            n_void=null [None] × 2
        "#]],
    );
}
