use arrow::array::{Int32Array, Int64Array, StringArray};
use frazil_table::spec::Schema;

use super::*;

const FIELDS: &str = r#"{"type":"struct","schema-id":0,"fields":[
    {"id":1,"name":"a","required":true,"type":"long"},
    {"id":2,"name":"s","required":false,"type":{"type":"struct","fields":[
        {"id":3,"name":"x","required":false,"type":"int"},
        {"id":4,"name":"y","required":false,"type":"string"},
        {"id":5,"name":"d","required":false,"type":"double"}]}},
    {"id":6,"name":"l","required":false,"type":{"type":"list","element-id":7,"element":"int","element-required":true}},
    {"id":8,"name":"z","required":false,"type":"string"}]}"#;

fn schema() -> Schema {
    serde_json::from_str(FIELDS).unwrap()
}

fn batch(a: &[i64], s: &[Option<(Option<i32>, &str)>], z: &[Option<&str>]) -> RecordBatch {
    let arrow = Arc::new(arrow_schema(&schema()).unwrap());
    let DataType::Struct(fields) = arrow.field(1).data_type() else { panic!() };
    let nulls = s.iter().map(Option::is_some).collect::<Vec<_>>();
    let x = Int32Array::from_iter(s.iter().map(|s| s.and_then(|(x, _)| x)));
    let y = StringArray::from_iter(s.iter().map(|s| s.map(|(_, y)| y)));
    let d = arrow::array::new_null_array(&DataType::Float64, s.len());
    let columns: Vec<ArrayRef> = vec![Arc::new(x), Arc::new(y), d];
    let structs = StructArray::new(fields.clone(), columns, Some(nulls.into()));
    let lists = arrow::array::new_null_array(arrow.field(2).data_type(), a.len());
    let z = StringArray::from_iter(z.iter().copied());
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(a.to_vec())), Arc::new(structs), lists, Arc::new(z)];
    RecordBatch::try_new(arrow, columns).unwrap()
}

#[test]
fn a_key_of_several_columns_and_in_structs() {
    let key = KeyColumns::new(&schema(), &[8, 3]).unwrap();
    assert_eq!(key.ids(), [3, 8]);
    assert_eq!(key.names().collect::<Vec<_>>(), ["s.x", "z"]);
    let names = |schema: &ArrowSchemaRef| schema.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    assert_eq!(names(key.arrow_schema()), ["s", "z"]);
    let rows = batch(
        &[1, 2, 3],
        &[Some((Some(7), "y")), Some((Some(7), "other")), Some((Some(8), "y"))],
        &[Some("z"), Some("z"), Some("z")],
    );
    let keys = key.keys_of(&rows).unwrap();
    assert_eq!(keys.column(0).as_struct().num_columns(), 1);
    let encoded = key.encode(&keys).unwrap();
    assert_eq!(encoded.get(0), encoded.get(1));
    assert_ne!(encoded.get(0), encoded.get(2));
    let hashes: Vec<u64> = encoded.hashes(1).collect();
    assert_eq!(hashes[0], hashes[1]);
    assert_ne!(hashes[0], hashes[2]);
    assert_ne!(hashes, encoded.hashes(2).collect::<Vec<_>>());
}

#[test]
fn a_null_in_a_key_is_refused_with_its_row() {
    let key = KeyColumns::new(&schema(), &[3]).unwrap();
    for missing in [None, Some((None, "y"))] {
        let rows = batch(&[1, 2], &[Some((Some(7), "y")), missing], &[None, None]);
        let refused = key.keys_of(&rows).unwrap_err().to_string();
        assert_eq!(refused, "field s.x is required but row 1 of the batch has no value for it");
    }
    let rows = batch(&[1, 2], &[Some((Some(7), "y")), None], &[None, Some("z")]);
    let both = KeyColumns::new(&schema(), &[1, 8]).unwrap();
    assert_eq!(both.complete_rows(&rows.project(&[0, 3]).unwrap()), Some(vec![false, true]));
    assert!(both.encode(&rows.project(&[0, 3]).unwrap()).is_err(), "keys that nobody has looked at yet");
}

#[test]
fn a_null_at_any_depth_makes_a_key_incomplete() {
    let key = KeyColumns::new(&schema(), &[3, 8]).unwrap();
    let (whole, half) = (Some((Some(7), "y")), Some((None, "y")));
    let rows = batch(&[1, 2, 3, 4], &[half, whole, None, whole], &[Some("z"), None, Some("z"), Some("z")]);
    let columns = |rows: &RecordBatch| rows.project(&[1, 3]).unwrap();
    assert_eq!(key.complete_rows(&columns(&rows)), Some(vec![false, false, false, true]));
    // Behind a struct that is null there may be anything.
    let structs = rows.column(1).as_struct();
    let mut fields = structs.columns().to_vec();
    fields[0] = Arc::new(Int32Array::from(vec![7, 7, 7, 7]));
    let masked = StructArray::new(structs.fields().clone(), fields, structs.nulls().cloned());
    let z = StringArray::from(vec!["z"; 4]);
    let masked: Vec<ArrayRef> = vec![rows.column(0).clone(), Arc::new(masked), rows.column(2).clone(), Arc::new(z)];
    let rows = RecordBatch::try_new(rows.schema(), masked).unwrap();
    assert_eq!(key.complete_rows(&columns(&rows)), Some(vec![true, true, false, true]));
    let refused = key.keys_of(&rows).unwrap_err().to_string();
    assert_eq!(refused, "field s.x is required but row 2 of the batch has no value for it");
}

#[test]
fn what_can_be_no_key_is_refused_by_name() {
    let refused = |ids: &[i32]| KeyColumns::new(&schema(), ids).unwrap_err().to_string();
    assert_eq!(refused(&[5]), "key column s.d: a floating-point column can't be in a key");
    assert_eq!(refused(&[2]), "key column s: a column of a nested type can't be in a key: name its leaves");
    assert_eq!(refused(&[7]), "key column l.element: a column in a list or a map can't be in a key");
    assert_eq!(refused(&[99]), "key column id 99: the table has no such column");
    assert_eq!(refused(&[]), "key column *: a key has at least one column");
    assert!(KeyColumns::of(&schema()).unwrap().is_none());
}

/// Values of a column, the first of them twice: at the beginning and at the end.
fn column(field_type: &str, values: ArrayRef) -> (String, ArrayRef) {
    let json = format!(
        r#"{{"type":"struct","schema-id":0,"fields":[{{"id":1,"name":"k","required":true,"type":"{field_type}"}}]}}"#
    );
    let schema: Schema = serde_json::from_str(&json).unwrap();
    let wanted = arrow_schema(&schema).unwrap().field(0).data_type().clone();
    (json, arrow::compute::cast(&values, &wanted).unwrap())
}

fn encoded(json: &str, columns: Vec<ArrayRef>) -> Keys {
    let schema: Schema = serde_json::from_str(json).unwrap();
    let ids: Vec<i32> = schema.as_struct().fields().iter().map(|field| field.id).collect();
    let key = KeyColumns::new(&schema, &ids).unwrap();
    let rows = RecordBatch::try_new(Arc::new(arrow_schema(&schema).unwrap()), columns).unwrap();
    key.encode(&key.keys_of(&rows).unwrap()).unwrap()
}

/// For each pair of rows: equal exactly if they are the same, or the first and the last.
fn assert_only_the_ends_are_equal(what: &str, keys: &Keys) {
    let last = keys.len() - 1;
    let hashes: Vec<u64> = keys.hashes(3).collect();
    for a in 0..=last {
        for b in 0..=last {
            let are_equal = a == b || [(0, last), (last, 0)].contains(&(a, b));
            assert_eq!(keys.get(a) == keys.get(b), are_equal, "{what}: rows {a} and {b}");
            assert_eq!(hashes[a] == hashes[b], are_equal, "{what}: hashes of {a} and {b}");
        }
    }
}

#[test]
fn keys_of_every_type_are_equal_exactly_if_their_values_are() {
    use arrow::array::{BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray};

    let longs = |values: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
    let ints = |values: &[i32]| -> ArrayRef { Arc::new(Int32Array::from(values.to_vec())) };
    let fixed = |values: &[&[u8]]| -> ArrayRef {
        Arc::new(FixedSizeBinaryArray::try_from_iter(values.iter().copied()).unwrap())
    };
    let decimal = |values: &[i128], precision, scale| -> ArrayRef {
        let decimals = Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale);
        Arc::new(decimals.unwrap())
    };
    let (low, high) = (i64::MIN / 1_000, i64::MAX / 1_000);
    let bytes: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"\x01", b"\xff", b""];
    let texts = ["", "\0", "a", "a\0", "A", "é", "e\u{301}", &"a".repeat(40), &"a".repeat(41), ""];
    for (field_type, values) in [
        ("boolean", Arc::new(BooleanArray::from(vec![true, false, true])) as ArrayRef),
        ("int", ints(&[0, 1, -1, i32::MIN, i32::MAX, 0])),
        ("long", longs(&[0, 1, -1, i64::MIN, i64::MAX, 1 << 32, 0])),
        ("decimal(9, 2)", decimal(&[100, 1, -100, 10, 0, 100], 9, 2)),
        ("decimal(38, 0)", decimal(&[1, 1 << 64, -(1 << 64), 1 << 100, 0, 1], 38, 0)),
        ("date", ints(&[0, -1, 1, 0])),
        ("time", longs(&[0, 1, 86_399_999_999, 0])),
        ("timestamp", longs(&[0, low, high, 1, 0])),
        ("timestamptz", longs(&[0, low, high, 1, 0])),
        ("timestamp_ns", longs(&[0, i64::MIN, i64::MAX, 1, 0])),
        ("string", Arc::new(StringArray::from(texts.to_vec()))),
        ("binary", Arc::new(BinaryArray::from(bytes.to_vec()))),
        ("fixed[2]", fixed(&[b"ab", b"ba", b"\0\0", b"\0a", b"ab"])),
        ("uuid", fixed(&[&[0; 16], &[1; 16], b"0123456789abcde\0", &[0; 16]])),
    ] {
        let (json, values) = column(field_type, values);
        assert_only_the_ends_are_equal(field_type, &encoded(&json, vec![values]));
    }
}

#[test]
fn a_key_of_several_columns_keeps_them_apart() {
    let json = r#"{"type":"struct","schema-id":0,"fields":[{"id":1,"name":"a","required":true,"type":"string"},
        {"id":2,"name":"b","required":true,"type":"string"},{"id":3,"name":"c","required":true,"type":"string"}]}"#;
    let rows = [
        ["a", "b", ""],
        ["", "ab", ""],
        ["ab", "", ""],
        ["", "a", "b"],
        ["b", "a", ""],
        ["a", "", "b"],
        ["a", "b", ""],
    ];
    let columns = (0..3).map(|column| Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row[column]))) as _);
    assert_only_the_ends_are_equal("three strings", &encoded(json, columns.collect()));
}

#[test]
fn no_floating_point_column_is_in_a_key() {
    for field_type in ["float", "double"] {
        let json =
            format!(r#"{{"type":"struct","fields":[{{"id":1,"name":"k","required":true,"type":"{field_type}"}}]}}"#);
        let schema: Schema = serde_json::from_str(&json).unwrap();
        let refused = KeyColumns::new(&schema, &[1]).unwrap_err().to_string();
        assert_eq!(refused, "key column k: a floating-point column can't be in a key");
    }
}
