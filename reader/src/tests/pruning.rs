//! Only what was asked for is fetched, and nothing that could match is left out.

use std::sync::Arc;

use arrow::array::RecordBatch;
use expect_test::expect;
use frazil_table::arrow::arrow_schema;
use frazil_table::spec::{Datum, FormatVersion, Literal, Struct, Transform, UnboundPartitionSpec};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde_json::{Value, json};

use super::world::*;
use crate::{Comparison, Predicate, Projection, Pruned, ScanRequest, SnapshotSelector};

/// A struct of 16 leaves, a list of structs of 4, a map to structs of 4.
fn wide_schema() -> String {
    let leaves = |from: i32, count: i32| {
        let leaf = |i| format!(r#"{{"id":{},"name":"l{i}","required":false,"type":"long"}}"#, from + i);
        (0..count).map(leaf).collect::<Vec<_>>().join(",")
    };
    format!(
        r#"{{"type":"struct","fields":[
        {{"id":1,"name":"id","required":true,"type":"long"}},
        {{"id":2,"name":"s","required":false,"type":{{"type":"struct","fields":[{}]}}}},
        {{"id":3,"name":"items","required":false,"type":{{"type":"list","element-id":21,"element-required":false,
            "element":{{"type":"struct","fields":[{}]}}}}}},
        {{"id":4,"name":"m","required":false,"type":{{"type":"map","key-id":22,"key":"string","value-id":23,
            "value-required":false,"value":{{"type":"struct","fields":[{}]}}}}}}]}}"#,
        leaves(5, 16),
        leaves(24, 4),
        leaves(28, 4),
    )
}

fn wide_row(row: i64) -> Value {
    let leaves = |count: i64, salt: i64| -> Value {
        let leaf = |i: i64| (format!("l{i}"), json!((row * 1_000_003 + i * 7_919 + salt).wrapping_mul(2_654_435_761)));
        (0..count).map(leaf).collect::<serde_json::Map<_, _>>().into()
    };
    json!({"id": row, "s": leaves(16, 1), "items": [leaves(4, 2), leaves(4, 3)], "m": {"k": leaves(4, 4)}})
}

async fn wide_world() -> World {
    let mut world = World::new(&wide_schema()).await;
    let rows: Vec<Value> = (0..20_000).map(wide_row).collect();
    let file = world.write(&rows, 8_000, Struct::empty()).await;
    world.append_files(vec![file]).await;
    world
}

/// Bytes of the chunks of some leaves, by the last part of their names.
async fn chunk_bytes(world: &World, leaves: &[&str]) -> u64 {
    let state = world.state().await;
    let path = state.live_data_files().unwrap()[0].file.file_path().to_owned();
    let metadata = parquet_metadata(&world.env.store.read(&path).await.unwrap());
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    let wanted = chunks.filter(|chunk| leaves.contains(&chunk.column_path().string().as_str()));
    wanted.map(|chunk| chunk.compressed_size() as u64).sum()
}

#[tokio::test]
async fn one_leaf_costs_the_bytes_of_its_chunks() {
    let world = wide_world().await;
    let size = world.state().await.live_data_files().unwrap()[0].file.file_size_in_bytes();
    for (path, chunks) in [
        ("s.l3", vec!["s.l3"]),
        ("items.l1", vec!["items.list.element.l1"]),
        ("items.element.l1", vec!["items.list.element.l1"]),
        ("m.l2", vec!["m.key_value.key", "m.key_value.value.l2"]),
        ("m.value.l2", vec!["m.key_value.key", "m.key_value.value.l2"]),
    ] {
        let (rows, stats) = world.cost(&columns(&[path])).await;
        assert_eq!(rows.len(), 20_000);
        let chunks = chunk_bytes(&world, &chunks).await;
        assert!(chunks > 0, "{path}");
        assert_eq!(stats.leaf_bytes, chunks, "{path}");
        assert_eq!(stats.gap_bytes, 0, "{path}");
        assert!(stats.bytes() * 8 < size, "{path}: {stats:?} of {size}");
        assert_eq!((stats.files, stats.row_groups_read, stats.rows_returned), (1, 3, 20_000));
    }
}

#[tokio::test]
async fn the_shape_stays_and_the_other_leaves_go() {
    let world = wide_world().await;
    let (rows, _) = world.cost(&columns(&["items.l1", "s.l3", "m.l0"])).await;
    let full = wide_row(17);
    let expected = json!({
        "items": [{"l1": full["items"][0]["l1"]}, {"l1": full["items"][1]["l1"]}],
        "s": {"l3": full["s"]["l3"]},
        "m": {"k": {"l0": full["m"]["k"]["l0"]}}});
    assert_eq!(rows[17], expected);
    let names: Vec<&String> = rows[17].as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 3);
}

#[tokio::test]
async fn counting_rows_reads_no_data() {
    let world = wide_world().await;
    let plan = world.plan(&columns(&[])).await;
    assert_eq!(plan.exact_row_count(), Some(20_000));
    let context = crate::ReadContext::new(&world.env);
    let batches: Vec<RecordBatch> = futures::TryStreamExt::try_collect(crate::scan(&context, &plan, 1)).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 20_000);
    assert_eq!(context.stats().leaf_bytes, 0);
}

#[tokio::test]
async fn where_a_file_has_none_of_the_leaves_the_cheapest_one_tells_the_levels() {
    let mut world = wide_world().await;
    let schema = wide_schema().replace(
        r#""name":"l3","required":false,"type":"long"}"#,
        r#""name":"l3","required":false,"type":"long"},{"id":99,"name":"later","required":false,"type":"int"}"#,
    );
    // The first struct is `s`: only there the new leaf has a unique id.
    let schema = schema.replacen(r#"{"id":99,"name":"later""#, r#"{"id":98,"name":"later""#, 1);
    let mut seen = 99;
    let mut unique = String::new();
    for part in schema.split(r#"{"id":99,"#) {
        if !unique.is_empty() {
            seen += 1;
            unique.push_str(&format!(r#"{{"id":{seen},"#));
        }
        unique.push_str(part);
    }
    world.evolve(&unique).await;
    let (rows, stats) = world.cost(&columns(&["s.later"])).await;
    assert_eq!(rows[5], json!({"s": {"later": null}}));
    let cheapest = {
        let mut all = Vec::new();
        for leaf in 0..16 {
            all.push(chunk_bytes(&world, &[&format!("s.l{leaf}")]).await);
        }
        all.into_iter().min().unwrap()
    };
    assert_eq!(stats.leaf_bytes, cheapest);
    let (rows, stats) = world.cost(&columns(&["items.later"])).await;
    assert_eq!(rows[5], json!({"items": [{"later": null}, {"later": null}]}));
    assert!(
        stats.leaf_bytes > 0
            && stats.leaf_bytes * 3
                < chunk_bytes(
                    &world,
                    &[
                        "items.list.element.l0",
                        "items.list.element.l1",
                        "items.list.element.l2",
                        "items.list.element.l3"
                    ]
                )
                .await
    );
}

#[tokio::test]
async fn metadata_columns_say_where_a_row_is() {
    let mut world =
        World::new(r#"{"type":"struct","fields":[{"id":1,"name":"id","required":true,"type":"long"}]}"#).await;
    let rows: Vec<Value> = (0..10).map(|id| json!({"id": id})).collect();
    let file = world.write(&rows, 3, Struct::empty()).await;
    let path = file.file.file_path().to_owned();
    world.append_files(vec![file]).await;
    let request = ScanRequest {
        predicate: Some(Predicate::compare("id", Comparison::GreaterOrEqual, Datum::long(7))),
        ..columns(&["_pos", "id", "_file"])
    };
    let expected: Vec<Value> = (7..10).map(|id| json!({"_pos": id, "id": id, "_file": path})).collect();
    assert_eq!(world.rows(&request).await, expected);
}

#[tokio::test]
async fn files_and_row_groups_that_cannot_match_are_not_read() {
    let mut world = World::new(
        r#"{"type":"struct","fields":[{"id":1,"name":"id","required":true,"type":"long"},
        {"id":2,"name":"s","required":false,"type":{"type":"struct","fields":[
            {"id":3,"name":"x","required":false,"type":"int"}]}}]}"#,
    )
    .await;
    for part in 0..4_i64 {
        let rows: Vec<Value> = (part * 100..part * 100 + 100).map(|id| json!({"id": id, "s": {"x": id * 2}})).collect();
        let file = world.write(&rows, 10, Struct::empty()).await;
        world.append_files(vec![file]).await;
    }
    let request = matching(Predicate::equal("s.x", Datum::int(2 * 123)));
    let plan = world.plan(&request).await;
    assert_eq!((plan.tasks.len(), plan.pruned[&Pruned::Bounds]), (1, 3));
    let (rows, stats) = world.cost(&request).await;
    assert_eq!(rows, vec![json!({"id": 123, "s": {"x": 246}})]);
    assert_eq!((stats.row_groups_read, stats.row_groups_pruned), (1, 9));
    expect![[r#"
        columns: id, s
        condition: s.x = 246
        1 tasks, SIZE bytes, 0 of them with deletes; files pruned by partition: 0, by bounds: 3
    "#]]
    .assert_eq(&plan.to_string().lines().skip(1).take(3).fold(String::new(), |text, line| {
        let size = plan.tasks[0].size_bytes().to_string();
        text + line.trim_start().replace(&size, "SIZE").as_str() + "\n"
    }));
}

/// Museum: `iceberg` 0.10.1 writes column bounds from the row groups whose statistics are exact alone, so that files are
/// pruned that hold matches. Here the statistics of one row group are truncated.
#[tokio::test]
async fn truncated_statistics_rule_nothing_out_that_is_there() {
    let mut world =
        World::new(r#"{"type":"struct","fields":[{"id":1,"name":"s","required":false,"type":"string"}]}"#).await;
    let long = |c: char| c.to_string().repeat(100);
    let rows = [json!({"s": "aa"}), json!({"s": "bb"}), json!({"s": long('z')}), json!({"s": long('y')})];
    let schema = world.schema();
    let batch = to_batch(&Arc::new(arrow_schema(&schema).unwrap()), &rows);
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(2))
        .set_statistics_truncate_length(Some(8))
        .build();
    let file = world.store(encode_with(&batch, properties), &schema, Struct::empty()).await;
    world.append_files(vec![file]).await;
    for (predicate, expected) in [
        (Predicate::equal("s", Datum::string(long('z'))), 1),
        (Predicate::equal("s", Datum::string("aa")), 1),
        (Predicate::compare("s", Comparison::Greater, Datum::string(long('y'))), 1),
        (Predicate::compare("s", Comparison::Greater, Datum::string("zzzzzzzz")), 1),
        (Predicate::compare("s", Comparison::Less, Datum::string("z")), 3),
        (Predicate::StartsWith { path: "s".to_owned(), prefix: "z".repeat(50) }, 1),
        (Predicate::StartsWith { path: "s".to_owned(), prefix: "b".to_owned() }, 1),
        (Predicate::StartsWith { path: "s".to_owned(), prefix: "z".repeat(50) }.negate(), 3),
    ] {
        assert_eq!(world.rows(&matching(predicate.clone())).await.len(), expected, "{predicate:?}");
    }
}

#[tokio::test]
async fn nan_is_greater_than_every_number_and_never_pruned() {
    let mut world =
        World::new(r#"{"type":"struct","fields":[{"id":1,"name":"d","required":false,"type":"double"}]}"#).await;
    let schema = world.schema();
    let values = arrow::array::Float64Array::from(vec![Some(1.0), Some(f64::NAN), Some(-0.0), None, Some(-f64::NAN)]);
    let batch = RecordBatch::try_new(Arc::new(arrow_schema(&schema).unwrap()), vec![Arc::new(values)]).unwrap();
    let file = world.store(encode(&batch, 100), &schema, Struct::empty()).await;
    world.append_files(vec![file]).await;
    let compare = |comparison, value| Predicate::compare("d", comparison, Datum::double(value));
    for (predicate, expected) in [
        (compare(Comparison::Greater, 5.0), 2),
        (compare(Comparison::GreaterOrEqual, 1.0), 3),
        (compare(Comparison::Less, 5.0), 2),
        (compare(Comparison::Equal, 0.0), 1),
        (compare(Comparison::Less, 0.0), 0),
        (compare(Comparison::Equal, f64::NAN), 2),
        (Predicate::IsNan("d".to_owned()), 2),
        (Predicate::IsNan("d".to_owned()).negate(), 3),
        (Predicate::IsNull("d".to_owned()), 1),
        (compare(Comparison::Greater, 5.0).negate(), 2),
    ] {
        assert_eq!(world.rows(&matching(predicate.clone())).await.len(), expected, "{predicate:?}");
    }
}

#[tokio::test]
async fn partitions_rule_files_out_through_every_transform() {
    let schema = r#"{"type":"struct","fields":[{"id":1,"name":"id","required":true,"type":"long"},
        {"id":2,"name":"at","required":false,"type":"timestamp"},{"id":3,"name":"kind","required":false,"type":"string"}]}"#;
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(2, "at_day", Transform::Day)
        .unwrap()
        .add_partition_field(3, "kind_t", Transform::Truncate(2))
        .unwrap()
        .build();
    let mut world = World::with(schema, Some(spec), FormatVersion::V2, &[]).await;
    for (day, kind) in [(0, "ab"), (1, "ab"), (1, "cd"), (2, "cd")] {
        let rows: Vec<Value> = (0..3)
            .map(|i| json!({"id": day * 10 + i, "at": format!("1970-01-0{}T0{i}:00:00", day + 1), "kind": format!("{kind}{i}")}))
            .collect();
        let partition = Struct::from_iter([Some(Literal::int(day)), Some(Literal::string(kind))]);
        // Without column bounds only the partition can tell.
        let batch = to_batch(&Arc::new(arrow_schema(&world.schema()).unwrap()), &rows);
        let properties = WriterProperties::builder().set_statistics_enabled(EnabledStatistics::None).build();
        let schema = world.schema();
        let file = world.store(encode_with(&batch, properties), &schema, partition).await;
        world.append_files(vec![file]).await;
    }
    let at = |text: &str| Datum::timestamp_from_str(text).unwrap();
    let starts = |prefix: &str| Predicate::StartsWith { path: "kind".to_owned(), prefix: prefix.to_owned() };
    for (predicate, files, rows) in [
        (Predicate::compare("at", Comparison::Less, at("1970-01-02T00:00:00")), 3, 3),
        (Predicate::compare("at", Comparison::Greater, at("1970-01-02T01:00:00")), 3, 5),
        (Predicate::equal("kind", Datum::string("cd1")), 2, 2),
        (starts("c"), 2, 6),
        (starts("cd"), 2, 6),
        (starts("cd2"), 2, 2),
        (starts("cd").negate(), 2, 6),
        (Predicate::In { path: "kind".to_owned(), values: vec![Datum::string("ab0"), Datum::string("zz")] }, 2, 2),
        (starts("ab").and(Predicate::equal("at", at("1970-01-01T00:00:00"))), 1, 1),
        (Predicate::Or(vec![starts("ab"), Predicate::IsNull("at".to_owned())]), 2, 6),
        (Predicate::compare("at", Comparison::NotEqual, at("1970-01-02T00:00:00")), 4, 10),
    ] {
        let request = matching(predicate.clone());
        assert_eq!(world.plan(&request).await.tasks.len(), files, "{predicate:?}");
        assert_eq!(world.rows(&request).await.len(), rows, "{predicate:?}");
    }
}

#[tokio::test]
async fn splits_cover_every_row_group_once() {
    let mut world =
        World::new(r#"{"type":"struct","fields":[{"id":1,"name":"id","required":true,"type":"long"}]}"#).await;
    let rows: Vec<Value> = (0..1_000).map(|id| json!({"id": id})).collect();
    let file = world.write(&rows, 100, Struct::empty()).await;
    world.append_files(vec![file]).await;
    for split_size_bytes in [1, 500, 1_000, 3_000, u64::MAX] {
        let request = ScanRequest { split_size_bytes: Some(split_size_bytes), ..all() };
        let plan = world.plan(&request).await;
        assert_eq!(plan.tasks.len() == 1, split_size_bytes == u64::MAX, "{split_size_bytes}");
        assert_eq!(plan.exact_row_count(), Some(1_000));
        assert_eq!(world.rows(&request).await, sorted(rows.clone()));
        let dealt: usize = plan.partitions(3).iter().map(Vec::len).sum();
        assert_eq!(dealt, plan.tasks.len());
    }
}

#[tokio::test]
async fn older_states_are_read_with_their_own_schema() {
    let one = r#"{"type":"struct","fields":[{"id":1,"name":"id","required":true,"type":"long"}]}"#;
    let two = r#"{"type":"struct","fields":[{"id":1,"name":"key","required":true,"type":"long"}]}"#;
    let mut world = World::new(one).await;
    let first = world.append(&[json!({"id": 1})]).await;
    world.set_ref("v1", first).await;
    world.evolve(two).await;
    world.append(&[json!({"key": 2})]).await;
    let read = |snapshot| ScanRequest { snapshot, ..all() };
    assert_eq!(world.rows(&all()).await, vec![json!({"key": 1}), json!({"key": 2})]);
    assert_eq!(world.rows(&read(SnapshotSelector::Id(first))).await, vec![json!({"id": 1})]);
    assert_eq!(world.rows(&read(SnapshotSelector::Tag("v1".to_owned()))).await, vec![json!({"id": 1})]);
    let committed = world.table.metadata().snapshot_by_id(first).unwrap().timestamp_ms();
    assert_eq!(world.rows(&read(SnapshotSelector::Timestamp(committed))).await, vec![json!({"id": 1})]);
    for (selector, expected) in [
        (SnapshotSelector::Tag("v2".to_owned()), expect![[r#"the table has no tag "v2"; it has v1"#]]),
        (SnapshotSelector::Branch("v1".to_owned()), expect![[r#"the table has no branch "v1"; it has main"#]]),
    ] {
        expected.assert_eq(&world.try_rows(&read(selector)).await.unwrap_err().to_string());
    }
    let error = world.try_rows(&read(SnapshotSelector::Timestamp(committed - 1))).await.unwrap_err();
    assert!(matches!(error, crate::Error::NoSuchSnapshot { .. }));
}

#[tokio::test]
async fn an_unknown_column_is_an_error_with_the_nearest_names() {
    let world = World::new(&wide_schema()).await;
    let error = world.try_rows(&columns(&["items.l9"])).await.unwrap_err().to_string();
    expect![[r#"there is no column "items.l9"; the nearest are items.element.l0, items.element.l1, items.element.l2"#]]
        .assert_eq(&error);
    let projection = Projection::paths(["idd"]);
    let error = crate::project(&world.schema(), &projection).unwrap_err().to_string();
    assert!(error.starts_with(r#"there is no column "idd"; the nearest are id,"#), "{error}");
}

/// A value of each type in its own row group: statistics of every type must find it and rule the others out.
#[tokio::test]
async fn every_type_comes_back_and_is_found_by_its_statistics() {
    let types = [
        ("int", json!(-5), json!(7)),
        ("long", json!(-5), json!(1_i64 << 40)),
        ("float", json!(-0.5), json!(2.25)),
        ("double", json!(-0.5), json!(2.25)),
        ("decimal(9, 2)", json!(-1.25), json!(3.5)),
        ("decimal(18, 2)", json!(-1.25), json!(3.5)),
        ("decimal(38, 2)", json!(-1.25), json!(3.5)),
        ("date", json!("1969-12-31"), json!("2013-01-01")),
        ("time", json!("00:00:01"), json!("23:59:59.999999")),
        ("timestamp", json!("1969-12-31T23:59:59.500"), json!("2013-01-01T00:00:00.000001")),
        ("timestamptz", json!("1969-12-31T23:59:59.500Z"), json!("2013-01-01T00:00:00.000001Z")),
        ("string", json!("a"), json!("zebra")),
        ("uuid", json!("00000000000000000000000000000001"), json!("ffffffffffffffffffffffffffffffff")),
        ("fixed[3]", json!("000001"), json!("ffff00")),
        ("binary", json!("00"), json!("ff00")),
    ];
    let datum = |kind: &str, value: &Value| {
        let text = value.as_str().unwrap_or_default();
        let bytes = || (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap());
        match kind {
            "int" | "long" => Datum::long(value.as_i64().unwrap()),
            "float" => Datum::float(value.as_f64().unwrap() as f32),
            "double" => Datum::double(value.as_f64().unwrap()),
            "uuid" => Datum::uuid(uuid::Uuid::from_slice(&bytes().collect::<Vec<_>>()).unwrap()),
            "fixed[3]" => Datum::fixed(bytes()),
            "binary" => Datum::binary(bytes()),
            decimal if decimal.starts_with("decimal") => {
                Datum::decimal_from_str(format!("{:.2}", value.as_f64().unwrap())).unwrap()
            }
            _ => Datum::string(text),
        }
    };
    for (kind, low, high) in types {
        let schema =
            format!(r#"{{"type":"struct","fields":[{{"id":1,"name":"v","required":false,"type":"{kind}"}}]}}"#);
        let mut world = World::new(&schema).await;
        let rows = [json!({"v": low}), json!({"v": high}), json!({"v": null})];
        let file = world.write(&rows, 1, Struct::empty()).await;
        world.append_files(vec![file]).await;
        assert_eq!(world.rows(&all()).await, sorted(rows.to_vec()), "{kind}");
        let (low, high) = (datum(kind, &low), datum(kind, &high));
        for (predicate, expected, groups) in [
            (Predicate::equal("v", low.clone()), 1, 1),
            (Predicate::equal("v", high.clone()), 1, 1),
            (Predicate::compare("v", Comparison::Less, high.clone()), 1, 1),
            (Predicate::compare("v", Comparison::LessOrEqual, high.clone()), 2, 2),
            (Predicate::compare("v", Comparison::NotEqual, low.clone()), 1, 2),
            (Predicate::In { path: "v".to_owned(), values: vec![low.clone(), high.clone()] }, 2, 2),
            (Predicate::In { path: "v".to_owned(), values: vec![high.clone(); 20] }, 1, 1),
            (Predicate::In { path: "v".to_owned(), values: vec![high; 20] }.negate(), 1, 2),
            (Predicate::IsNull("v".to_owned()), 1, 1),
        ] {
            let (rows, stats) = world.cost(&matching(predicate.clone())).await;
            assert_eq!(rows.len(), expected, "{kind}: {predicate:?}");
            assert_eq!(stats.row_groups_read, groups, "{kind}: {predicate:?}");
        }
    }
}
