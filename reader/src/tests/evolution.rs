//! Files of older schemas under the current one: matched by field id at every depth.

use std::sync::Arc;

use expect_test::expect;
use frazil_table::arrow::arrow_schema;
use frazil_table::spec::{FormatVersion, Struct};
use serde_json::{Value, json};

use super::world::*;
use crate::Error;

const NESTED: &str = r#"{"type":"struct","fields":[
    {"id":1,"name":"id","required":true,"type":"long"},
    {"id":2,"name":"a","required":false,"type":{"type":"struct","fields":[
        {"id":4,"name":"c","required":false,"type":"int"},
        {"id":5,"name":"d","required":false,"type":"string"}]}},
    {"id":3,"name":"items","required":false,"type":{"type":"list","element-id":6,"element-required":false,
        "element":{"type":"struct","fields":[
            {"id":7,"name":"price","required":false,"type":"float"},
            {"id":8,"name":"name","required":false,"type":"string"}]}}}]}"#;

fn nested_rows() -> Vec<Value> {
    vec![
        json!({"id": 1, "a": {"c": 1000, "d": "x"}, "items": [{"price": 1.5, "name": "p"}, null, {"price": null, "name": "q"}]}),
        json!({"id": 2, "a": null, "items": []}),
        json!({"id": 3, "a": {"c": null, "d": "z"}, "items": null}),
    ]
}

/// The table with one file of [`NESTED`], under another schema.
async fn evolved(schema: &str) -> World {
    let mut world = World::new(NESTED).await;
    world.append(&nested_rows()).await;
    world.evolve(schema).await;
    world
}

#[tokio::test]
async fn rows_come_back_as_they_went_in() {
    let mut world = World::new(NESTED).await;
    assert_eq!(world.rows(&all()).await, Vec::<Value>::new());
    world.append(&nested_rows()).await;
    assert_eq!(world.rows(&all()).await, sorted(nested_rows()));
}

/// Museum: `iceberg` 0.10.1 swaps the values of children that are renamed and change places, since it casts structs by
/// name and then by place.
#[tokio::test]
async fn children_that_are_renamed_and_reordered_keep_their_values() {
    let world = evolved(
        r#"{"type":"struct","fields":[
        {"id":1,"name":"key","required":true,"type":"long"},
        {"id":2,"name":"b","required":false,"type":{"type":"struct","fields":[
            {"id":5,"name":"c","required":false,"type":"string"},
            {"id":4,"name":"dd","required":false,"type":"int"}]}}]}"#,
    )
    .await;
    let expected = vec![
        json!({"key": 1, "b": {"c": "x", "dd": 1000}}),
        json!({"key": 2, "b": null}),
        json!({"key": 3, "b": {"c": "z", "dd": null}}),
    ];
    assert_eq!(world.rows(&all()).await, sorted(expected));
}

/// Museum: `iceberg` 0.10.1 fails on nested fields that a file lacks ("Incorrect number of arrays for StructArray"), and
/// on new lists and maps ("unexpected target column type List").
#[tokio::test]
async fn fields_that_a_file_lacks_are_null_at_every_depth() {
    let world = evolved(
        r#"{"type":"struct","fields":[
        {"id":1,"name":"id","required":true,"type":"long"},
        {"id":2,"name":"a","required":false,"type":{"type":"struct","fields":[
            {"id":20,"name":"new","required":false,"type":"date"},
            {"id":4,"name":"c","required":false,"type":"int"}]}},
        {"id":3,"name":"items","required":false,"type":{"type":"list","element-id":6,"element-required":false,
            "element":{"type":"struct","fields":[
                {"id":8,"name":"name","required":false,"type":"string"},
                {"id":21,"name":"tags","required":false,"type":{"type":"list","element-id":22,"element-required":true,
                    "element":"string"}}]}}},
        {"id":23,"name":"attributes","required":false,"type":{"type":"map","key-id":24,"key":"string","value-id":25,
            "value-required":false,"value":"long"}}]}"#,
    )
    .await;
    let expected = vec![
        json!({"id": 1, "a": {"new": null, "c": 1000}, "attributes": null,
            "items": [{"name": "p", "tags": null}, null, {"name": "q", "tags": null}]}),
        json!({"id": 2, "a": null, "items": [], "attributes": null}),
        json!({"id": 3, "a": {"new": null, "c": null}, "items": null, "attributes": null}),
    ];
    assert_eq!(world.rows(&all()).await, sorted(expected));
}

#[tokio::test]
async fn a_column_that_was_dropped_and_added_again_is_another_column() {
    let world = evolved(
        r#"{"type":"struct","fields":[
        {"id":1,"name":"id","required":true,"type":"long"},
        {"id":2,"name":"a","required":false,"type":{"type":"struct","fields":[
            {"id":30,"name":"c","required":false,"type":"int"},
            {"id":31,"name":"d","required":false,"type":"string"}]}}]}"#,
    )
    .await;
    // Which structs are null is told by the children that are gone.
    let expected = vec![
        json!({"id": 1, "a": {"c": null, "d": null}}),
        json!({"id": 2, "a": null}),
        json!({"id": 3, "a": {"c": null, "d": null}}),
    ];
    assert_eq!(world.rows(&all()).await, sorted(expected));
}

#[tokio::test]
async fn types_widen_at_every_depth() {
    let world = evolved(
        r#"{"type":"struct","fields":[
        {"id":2,"name":"a","required":false,"type":{"type":"struct","fields":[
            {"id":4,"name":"c","required":false,"type":"long"}]}},
        {"id":3,"name":"items","required":false,"type":{"type":"list","element-id":6,"element-required":false,
            "element":{"type":"struct","fields":[{"id":7,"name":"price","required":false,"type":"double"}]}}}]}"#,
    )
    .await;
    let expected = vec![
        json!({"a": {"c": 1000}, "items": [{"price": 1.5}, null, {"price": null}]}),
        json!({"a": null, "items": []}),
        json!({"a": {"c": null}, "items": null}),
    ];
    assert_eq!(world.rows(&all()).await, sorted(expected));
}

#[tokio::test]
async fn a_decimal_widens_and_keeps_its_scale() {
    let narrow = r#"{"type":"struct","fields":[{"id":1,"name":"d","required":false,"type":"decimal(5, 2)"}]}"#;
    let wide = r#"{"type":"struct","fields":[{"id":1,"name":"d","required":false,"type":"decimal(30, 2)"}]}"#;
    let mut world = World::new(narrow).await;
    world.append(&[json!({"d": "123.45"}), json!({"d": "-0.01"}), json!({"d": null})]).await;
    world.evolve(wide).await;
    world.append(&[json!({"d": "12345678.25"})]).await;
    let plan = world.plan(&all()).await;
    expect![[r#"Decimal128(30, 2)"#]].assert_eq(&plan.spec.projected().arrow().field(0).data_type().to_string());
    let rows: Vec<String> = world.rows(&all()).await.iter().map(|row| row["d"].to_string()).collect();
    expect!["-0.01 123.45 12345678.25 null"].assert_eq(&rows.join(" ").replace('"', ""));
}

#[tokio::test]
async fn a_default_fills_in_for_files_that_are_older_than_the_column() {
    let old = r#"{"type":"struct","fields":[{"id":1,"name":"id","required":true,"type":"long"},
        {"id":2,"name":"s","required":false,"type":{"type":"struct","fields":[
            {"id":3,"name":"x","required":false,"type":"int"}]}}]}"#;
    let new = r#"{"type":"struct","fields":[{"id":1,"name":"id","required":true,"type":"long"},
        {"id":4,"name":"kind","required":true,"type":"string","initial-default":"plain"},
        {"id":2,"name":"s","required":false,"type":{"type":"struct","fields":[
            {"id":3,"name":"x","required":false,"type":"int"},
            {"id":5,"name":"y","required":false,"type":"int","initial-default":7}]}}]}"#;
    let mut world = World::with(old, None, FormatVersion::V3, &[]).await;
    world.append(&[json!({"id": 1, "s": {"x": 1}}), json!({"id": 2, "s": null})]).await;
    world.evolve(new).await;
    world.append(&[json!({"id": 3, "kind": "new", "s": {"x": 1, "y": null}})]).await;
    let expected = vec![
        json!({"id": 1, "kind": "plain", "s": {"x": 1, "y": 7}}),
        json!({"id": 2, "kind": "plain", "s": null}),
        json!({"id": 3, "kind": "new", "s": {"x": 1, "y": null}}),
    ];
    assert_eq!(world.rows(&all()).await, sorted(expected));
    let plain = crate::Predicate::equal("kind", frazil_table::spec::Datum::string("plain"));
    assert_eq!(world.rows(&matching(plain)).await.len(), 2);
    let seven = crate::Predicate::equal("s.y", frazil_table::spec::Datum::int(7));
    assert_eq!(world.rows(&matching(seven)).await.len(), 1);
}

#[tokio::test]
async fn a_required_column_that_a_file_lacks_is_an_error_that_names_both() {
    let old = r#"{"type":"struct","fields":[{"id":1,"name":"id","required":true,"type":"long"}]}"#;
    let mut world = World::new(old).await;
    world.append(&[json!({"id": 1})]).await;
    let other = r#"{"type":"struct","fields":[{"id":9,"name":"other","required":true,"type":"long"}]}"#;
    world.evolve(other).await;
    let error = world.try_rows(&all()).await.unwrap_err().to_string();
    assert!(error.contains(".parquet is damaged: it lacks column other, which is required"), "{error}");
}

#[tokio::test]
async fn a_file_whose_type_is_not_the_tables_is_an_error_and_no_guess() {
    let text = r#"{"type":"struct","fields":[{"id":1,"name":"id","required":false,"type":"string"}]}"#;
    let number = r#"{"type":"struct","fields":[{"id":1,"name":"id","required":false,"type":"int"}]}"#;
    let mut world = World::new(number).await;
    let foreign = Arc::new(arrow_schema(&parse_schema(text)).unwrap());
    let bytes = encode(&to_batch(&foreign, &[json!({"id": "7"})]), 100);
    let schema = world.schema();
    let file = world.store(bytes, &schema, Struct::empty()).await;
    world.append_files(vec![file]).await;
    let error = world.try_rows(&all()).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }));
    assert!(error.to_string().contains("column id is Utf8 in it and Int32 in the table"), "{error}");
}

#[tokio::test]
async fn names_are_asked_only_where_a_file_has_no_ids() {
    let table = r#"{"type":"struct","fields":[
        {"id":1,"name":"id","required":false,"type":"long"},
        {"id":2,"name":"s","required":false,"type":{"type":"struct","fields":[
            {"id":3,"name":"x","required":false,"type":"int"}]}}]}"#;
    let mapping = r#"[{"field-id":1,"names":["id","old_id"]},
        {"field-id":2,"names":["s"],"fields":[{"field-id":3,"names":["x","y"]}]}]"#;
    let foreign: Arc<arrow::datatypes::Schema> = Arc::new(arrow::datatypes::Schema::new(vec![
        arrow::datatypes::Field::new("old_id", arrow::datatypes::DataType::Int64, true),
        arrow::datatypes::Field::new(
            "s",
            arrow::datatypes::DataType::Struct(
                vec![arrow::datatypes::Field::new("y", arrow::datatypes::DataType::Int32, true)].into(),
            ),
            true,
        ),
    ]));
    let rows = [json!({"old_id": 5, "s": {"y": 6}})];
    for (properties, expected) in [
        (vec![("schema.name-mapping.default", mapping)], Ok(vec![json!({"id": 5, "s": {"x": 6}})])),
        (vec![], Err("set the table property schema.name-mapping.default")),
    ] {
        let mut world = World::with(table, None, FormatVersion::V2, &properties).await;
        let schema = world.schema();
        let file = world.store(encode(&to_batch(&foreign, &rows), 100), &schema, Struct::empty()).await;
        world.append_files(vec![file]).await;
        match (world.try_rows(&all()).await, expected) {
            (Ok(rows), Ok(expected)) => assert_eq!(rows, expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }
}

#[tokio::test]
async fn a_column_that_only_the_partition_knows_is_read_from_it() {
    use frazil_table::spec::{Literal, Transform, UnboundPartitionSpec};
    let schema = r#"{"type":"struct","fields":[
        {"id":1,"name":"id","required":false,"type":"long"},{"id":2,"name":"day","required":false,"type":"date"}]}"#;
    let spec = UnboundPartitionSpec::builder().add_partition_field(2, "day", Transform::Identity).unwrap().build();
    let mut world = World::with(schema, Some(spec), FormatVersion::V2, &[]).await;
    let without_day = r#"{"type":"struct","fields":[{"id":1,"name":"id","required":false,"type":"long"}]}"#;
    let foreign = Arc::new(arrow_schema(&parse_schema(without_day)).unwrap());
    let bytes = encode(&to_batch(&foreign, &[json!({"id": 1})]), 100);
    let schema = world.schema();
    let file = world.store(bytes, &schema, Struct::from_iter([Some(Literal::date(3))])).await;
    world.append_files(vec![file]).await;
    assert_eq!(world.rows(&all()).await, vec![json!({"id": 1, "day": "1970-01-04"})]);
}

/// Which structs are null is told by the cheapest column below them; of a map the decoder takes keys and values or nothing.
#[tokio::test]
async fn a_struct_of_which_a_file_has_only_a_map_keeps_its_nulls() {
    let schema = |fields: &str| {
        format!(
            r#"{{"type":"struct","fields":[{{"id":1,"name":"id","required":true,"type":"long"}},
                {{"id":2,"name":"a","required":false,"type":{{"type":"struct","fields":[{fields}]}}}}]}}"#
        )
    };
    let map = r#"{"id":3,"name":"m","required":false,"type":{"type":"map","key-id":4,"key":"string","value-id":5,
        "value-required":false,"value":"long"}}"#;
    let mut world = World::new(&schema(map)).await;
    world
        .append(&[
            json!({"id": 1, "a": {"m": {"k": 1}}}),
            json!({"id": 2, "a": null}),
            json!({"id": 3, "a": {"m": null}}),
        ])
        .await;
    world.evolve(&schema(r#"{"id":6,"name":"later","required":false,"type":"int"}"#)).await;
    let expected = vec![
        json!({"id": 1, "a": {"later": null}}),
        json!({"id": 2, "a": null}),
        json!({"id": 3, "a": {"later": null}}),
    ];
    assert_eq!(world.rows(&all()).await, sorted(expected));
}
