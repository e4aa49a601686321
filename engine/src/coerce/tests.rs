use std::collections::HashMap;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Fields, Int32Type};
use expect_test::{Expect, expect};

use super::*;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

/// One column `x` to the type `to`, as a person sees it.
fn check(from: ArrayRef, to: DataType, expected: Expect) {
    let given = batch(vec![("given", from)]);
    let wanted = schema(vec![Field::new("x", to, true)]);
    let planned = check_coercion(given.schema_ref(), &wanted);
    let shown = match coerce(&given, &wanted) {
        Ok(batch) => {
            planned.expect("types that are coerced pass the check");
            assert_eq!(batch.schema_ref(), &wanted);
            let options = FormatOptions::default().with_null("NULL");
            let shown = arrow::util::display::ArrayFormatter::try_new(batch.column(0), &options).unwrap();
            (0..batch.num_rows()).map(|row| shown.value(row).to_string()).collect::<Vec<_>>().join(" | ")
        }
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&shown);
}

#[test]
fn numbers_fit_or_fail() {
    let longs = || Arc::new(Int64Array::from(vec![Some(1), None, Some(-7)])) as ArrayRef;
    check(longs(), DataType::Int32, expect!["1 | NULL | -7"]);
    check(longs(), DataType::Float64, expect!["1.0 | NULL | -7.0"]);
    check(longs(), DataType::Decimal128(5, 2), expect!["1.00 | NULL | -7.00"]);
    let wide = Arc::new(Int64Array::from(vec![3_000_000_000])) as ArrayRef;
    check(wide.clone(), DataType::Int32, expect!["column x: Can't cast value 3000000000 to type Int32"]);
    check(
        wide,
        DataType::Decimal128(5, 2),
        expect!["column x: 3000000000.00 is too large to store in a Decimal128 of precision 5. Max is 999.99"],
    );
    check(
        Arc::new(UInt64Array::from(vec![u64::MAX])),
        DataType::Int64,
        expect!["column x: Can't cast value 18446744073709551615 to type Int64"],
    );
    check(Arc::new(Float64Array::from(vec![1.5, f64::INFINITY])), DataType::Float32, expect!["1.5 | inf"]);
    check(
        Arc::new(Float64Array::from(vec![1e300])),
        DataType::Float32,
        expect![
            "column x: 1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000 is too large for FLOAT"
        ],
    );
    check(Arc::new(Float64Array::from(vec![1.25])), DataType::Decimal128(3, 1), expect!["1.3"]);
}

#[test]
fn what_has_to_be_understood_wants_a_cast() {
    let text = || Arc::new(StringArray::from(vec!["1"])) as ArrayRef;
    check(text(), DataType::Int32, expect!["column x: STRING is not converted to INT by itself; write CAST(… AS INT)"]);
    check(text(), DataType::LargeUtf8, expect!["1"]);
    check(
        Arc::new(Float64Array::from(vec![1.5])),
        DataType::Int64,
        expect!["column x: DOUBLE is not converted to BIGINT by itself; write CAST(… AS BIGINT)"],
    );
    check(
        Arc::new(BooleanArray::from(vec![true])),
        DataType::Int32,
        expect!["column x: BOOLEAN is not converted to INT by itself; write CAST(… AS INT)"],
    );
    let list = DataType::List(Arc::new(Field::new("element", DataType::Int32, true)));
    check(
        text(),
        list,
        expect!["column x: STRING is not converted to ARRAY<INT> by itself; write CAST(… AS ARRAY<INT>)"],
    );
}

#[test]
fn moments_keep_their_instant_and_are_cut_towards_the_past() {
    let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let nanos = || Arc::new(TimestampNanosecondArray::from(vec![1_999, -1])) as ArrayRef;
    check(nanos(), micros(None), expect!["1970-01-01T00:00:00.000001 | 1969-12-31T23:59:59.999999"]);
    check(nanos(), micros(Some("+00:00")), expect!["1970-01-01T00:00:00.000001Z | 1969-12-31T23:59:59.999999Z"]);
    let elsewhere = TimestampMillisecondArray::from(vec![0]).with_timezone("+02:00");
    check(Arc::new(elsewhere), micros(None), expect!["1970-01-01T00:00:00"]);
    check(Arc::new(Date32Array::from(vec![1])), micros(Some("+00:00")), expect!["1970-01-02T00:00:00Z"]);
    let far = TimestampSecondArray::from(vec![i64::MAX]);
    check(Arc::new(far), micros(None), expect!["column x: a timestamp is beyond what can be stored"]);
}

#[test]
fn encoded_and_absent_values() {
    let dictionary: DictionaryArray<Int32Type> = vec!["a", "b", "a"].into_iter().collect();
    check(Arc::new(dictionary), DataType::Utf8, expect!["a | b | a"]);
    check(Arc::new(NullArray::new(2)), DataType::Int32, expect!["NULL | NULL"]);
    let bytes = || Arc::new(BinaryArray::from(vec![b"ab".as_slice()])) as ArrayRef;
    check(bytes(), DataType::FixedSizeBinary(2), expect!["6162"]);
    check(bytes(), DataType::FixedSizeBinary(3), expect!["column x: every value has to be 3 bytes long"]);
}

#[test]
fn rows_go_by_position_at_every_depth() {
    let inner = StructArray::from(vec![
        (Arc::new(Field::new("c0", DataType::Int64, true)), Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef),
        (
            Arc::new(Field::new("c1", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec!["a", "b", "c"])) as ArrayRef,
        ),
    ]);
    let item = Arc::new(Field::new("item", inner.data_type().clone(), true));
    let list = ListArray::new(item, OffsetBuffer::new(vec![0, 1, 3].into()), Arc::new(inner), None);
    let id = HashMap::from([("PARQUET:field_id".to_owned(), "7".to_owned())]);
    let row = Fields::from(vec![
        Field::new("id", DataType::Int32, true).with_metadata(id),
        Field::new("name", DataType::Utf8, true),
    ]);
    let to = DataType::List(Arc::new(Field::new("element", DataType::Struct(row), true)));
    check(Arc::new(list), to, expect!["[{id: 1, name: a}] | [{id: 2, name: b}, {id: 3, name: c}]"]);
}

#[test]
fn rows_of_another_width_are_refused() {
    let row = StructArray::from(vec![(
        Arc::new(Field::new("a", DataType::Int32, true)),
        Arc::new(Int32Array::from(vec![1])) as ArrayRef,
    )]);
    let two = Fields::from(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Int32, true)]);
    check(Arc::new(row), DataType::Struct(two), expect!["column x: 1 fields are given, but 2 are wanted"]);
    let narrow = batch(vec![("a", Arc::new(Int32Array::from(vec![1])))]);
    let wide = schema(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Int32, true)]);
    expect!["column the rows: 1 columns are given, but 2 are wanted"]
        .assert_eq(&coerce(&narrow, &wide).unwrap_err().to_string());
}

#[test]
fn what_stands_below_a_null_is_no_value() {
    // The hidden 3,000,000,000 fits no INT.
    let hidden = Arc::new(Int64Array::from(vec![1, 3_000_000_000])) as ArrayRef;
    let fields = Fields::from(vec![Field::new("a", DataType::Int64, false)]);
    let nulls = Some(NullBuffer::from(vec![true, false]));
    let row = StructArray::new(fields, vec![hidden.clone()], nulls.clone());
    let to = Fields::from(vec![Field::new("a", DataType::Int32, false)]);
    check(Arc::new(row), DataType::Struct(to), expect!["{a: 1} | NULL"]);

    let item = Arc::new(Field::new("item", DataType::Int64, true));
    let list = ListArray::new(item, OffsetBuffer::new(vec![0, 1, 2].into()), hidden, nulls);
    let to = DataType::List(Arc::new(Field::new("element", DataType::Int32, true)));
    check(Arc::new(list.clone()), to.clone(), expect!["[1] | NULL"]);
    check(Arc::new(list.slice(0, 1)), to, expect!["[1]"]);
}

#[test]
fn maps_go_entry_by_entry() {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    builder.keys().append_value("a");
    builder.values().append_value(1);
    builder.append(true).unwrap();
    builder.append(false).unwrap();
    let entries =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int32, true)]);
    let to = DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false);
    check(Arc::new(builder.finish()), to, expect!["{a: 1} | NULL"]);
}

#[test]
fn not_null_names_the_column_and_the_row() {
    let given = batch(vec![("a", Arc::new(Int32Array::from(vec![Some(1), None])))]);
    let wanted = schema(vec![Field::new("a", DataType::Int32, false)]);
    expect!["column a: it is NOT NULL, but is NULL in row 2 of a batch"]
        .assert_eq(&coerce(&given, &wanted).unwrap_err().to_string());
}
