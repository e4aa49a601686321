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
