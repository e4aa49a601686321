use std::sync::Arc;

use arrow::array::{
    DictionaryArray, Int32Array, Int64Array, LargeStringArray, StringArray, StringViewArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::Int8Type;
use expect_test::{Expect, expect};

use super::*;
use crate::fixture::table;

fn schema(fields: &str) -> SchemaRef {
    Arc::new(frazil_table::arrow::arrow_schema(table(fields, &[], &[]).metadata().current_schema()).unwrap())
}

fn fails(fields: &str, column: ArrayRef, expected: Expect) {
    let batch = RecordBatch::try_from_iter([("c", column)]).unwrap();
    expected.assert_eq(&conform_batch(&batch, &schema(fields)).unwrap_err().to_string());
}

const STRING: &str = r#"{"id":1,"name":"s","required":false,"type":"string"}"#;
const LIST: &str = r#"{"id":1,"name":"l","required":false,"type":
    {"type":"list","element-id":2,"element-required":true,"element":{"type":"struct","fields":[
        {"id":3,"name":"a","required":true,"type":"int"}]}}}"#;
const STRUCT: &str = r#"{"id":1,"name":"s","required":false,"type":{"type":"struct","fields":[
        {"id":2,"name":"a","required":true,"type":"int"}]}}"#;

#[test]
fn other_encodings_of_text_are_decoded() {
    let texts = [Some("a"), None, Some("b")];
    let dictionary: DictionaryArray<Int8Type> = texts.into_iter().collect();
    let columns: [ArrayRef; 3] = [
        Arc::new(LargeStringArray::from_iter(texts)),
        Arc::new(StringViewArray::from_iter(texts)),
        Arc::new(dictionary),
    ];
    for column in columns {
        let batch = RecordBatch::try_from_iter([("c", column)]).unwrap();
        let taken = conform_batch(&batch, &schema(STRING)).unwrap();
        assert_eq!(taken.column(0).as_string::<i32>(), &StringArray::from_iter(texts));
    }
}

#[test]
fn a_zone_is_another_name_for_the_same_moments() {
    let fields = r#"{"id":1,"name":"t","required":false,"type":"timestamptz"}"#;
    let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("Europe/Paris"));
    let batch = RecordBatch::try_from_iter([("c", column)]).unwrap();
    let taken = conform_batch(&batch, &schema(fields)).unwrap();
    assert_eq!(taken.column(0).as_ref(), &TimestampMicrosecondArray::from(vec![1]).with_timezone("+00:00"));
}

#[test]
fn other_types_are_refused_by_the_name_of_the_field() {
    fails(STRING, Arc::new(Int64Array::from(vec![1])), expect!["field s: the batch has Int64, the table Utf8"]);
    let list = ListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>([Some([Some(1)])]);
    let nested = r#"{"id":1,"name":"l","required":false,"type":
        {"type":"list","element-id":2,"element-required":false,"element":"string"}}"#;
    fails(nested, Arc::new(list), expect!["field l.element: the batch has Int32, the table Utf8"]);
}

#[test]
fn another_number_of_columns_is_refused() {
    let column: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let batch = RecordBatch::try_from_iter([("a", column.clone()), ("b", column)]).unwrap();
    let error = conform_batch(&batch, &schema(STRING)).unwrap_err().to_string();
    expect!["field *: the batch has 2 columns, the table 1"].assert_eq(&error);
}

fn structs(values: Vec<Option<i32>>, shown: Vec<bool>) -> StructArray {
    let fields = Fields::from(vec![Field::new("x", DataType::Int32, true)]);
    StructArray::new(fields, vec![Arc::new(Int32Array::from(values))], Some(NullBuffer::from(shown)))
}

#[test]
fn a_required_field_may_be_null_only_inside_of_a_null() {
    fails(
        STRUCT,
        Arc::new(structs(vec![None, Some(1), None], vec![false, true, true])),
        expect!["field s.a is required but row 2 of the batch has no value for it"],
    );
    let column: ArrayRef = Arc::new(structs(vec![None, Some(1)], vec![false, true]));
    let batch = RecordBatch::try_from_iter([("c", column)]).unwrap();
    let taken = conform_batch(&batch, &schema(STRUCT)).unwrap();
    assert_eq!(taken.column(0).null_count(), 1);
    assert_eq!(taken.schema(), schema(STRUCT));
}

#[test]
fn a_null_in_a_list_is_reported_with_the_row_of_the_batch() {
    let values = structs(vec![Some(1), Some(2), Some(3), None], vec![true; 4]);
    let element = Arc::new(Field::new("item", values.data_type().clone(), true));
    let offsets = OffsetBuffer::<i32>::from_lengths([1, 0, 0, 3]);
    let list = ListArray::new(element, offsets, Arc::new(values), None);
    fails(LIST, Arc::new(list), expect!["field l.element.a is required but row 3 of the batch has no value for it"]);
}

#[test]
fn elements_outside_of_a_slice_do_not_count() {
    let values = structs(vec![None, Some(2)], vec![true; 2]);
    let element = Arc::new(Field::new("item", values.data_type().clone(), true));
    let list = ListArray::new(element, OffsetBuffer::<i32>::from_lengths([1, 1]), Arc::new(values), None);
    let batch = RecordBatch::try_from_iter([("c", Arc::new(list.slice(1, 1)) as ArrayRef)]).unwrap();
    let taken = conform_batch(&batch, &schema(LIST)).unwrap();
    assert_eq!(taken.column(0).as_list::<i32>().value(0).as_struct().column(0).as_ref(), &Int32Array::from(vec![2]));
}
