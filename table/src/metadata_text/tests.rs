use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;
use crate::spec::{
    MAIN_BRANCH, Operation, Schema, SnapshotRetention, SortOrder, TableIdent, TableMetadataBuilder, TableUpdate,
    UnboundPartitionSpec,
};

fn first(version: FormatVersion) -> Table {
    let schema: Schema = serde_json::from_value(json!({"type": "struct", "schema-id": 0, "identifier-field-ids": [1],
        "fields": [{"id": 1, "name": "id", "required": true, "type": "long", "doc": "a \"key\""}]}))
    .unwrap();
    let builder = TableMetadataBuilder::new(
        schema,
        UnboundPartitionSpec::builder().build(),
        SortOrder::unsorted_order(),
        "memory://w/t".to_owned(),
        version,
        HashMap::new(),
    );
    let metadata = builder.unwrap().build().unwrap().metadata;
    Table::new(TableIdent::from_strs(["n", "t"]).unwrap(), Arc::new(metadata), "memory://w/t/metadata/0.metadata.json")
}

fn changed(table: &Table, updates: &[TableUpdate]) -> Table {
    let mut builder = table.metadata().as_ref().clone().into_builder(Some(table.metadata_location().to_owned()));
    for update in updates {
        builder = update.clone().apply(builder).unwrap();
    }
    let location = format!("{}+", table.metadata_location());
    table.after(updates, Arc::new(builder.build().unwrap().metadata), &location)
}

fn append(table: &Table, id: i64) -> Vec<TableUpdate> {
    let metadata = table.metadata();
    let builder = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(metadata.current_snapshot_id())
        .with_sequence_number(metadata.next_sequence_number())
        .with_timestamp_ms(metadata.last_updated_ms() + id)
        .with_manifest_list(format!("memory://w/t/metadata/snap-{id}.avro"))
        .with_summary(Summary {
            operation: Operation::Append,
            additional_properties: [("k".to_owned(), "\"é".to_owned())].into(),
        })
        .with_schema_id(0);
    let snapshot = match metadata.format_version() {
        FormatVersion::V3 => builder.with_row_range(metadata.next_row_id(), 3).build(),
        _ => builder.build(),
    };
    vec![TableUpdate::AddSnapshot { snapshot }, set_ref(MAIN_BRANCH, id, SnapshotRetention::branch(None, None, None))]
}

fn set_ref(name: &str, id: i64, retention: SnapshotRetention) -> TableUpdate {
    TableUpdate::SetSnapshotRef { ref_name: name.to_owned(), reference: SnapshotReference::new(id, retention) }
}

/// Lists in an order of their own, which the ground crate writes as they come.
fn in_order(mut json: Value) -> Value {
    for list in ["snapshots", "statistics"] {
        if let Some(list) = json.get_mut(list).and_then(Value::as_array_mut) {
            list.sort_by_key(|item| item["snapshot-id"].as_i64());
        }
    }
    json
}

/// What the ground crate writes, with what other readers ask for beyond it.
fn ground(table: &Table) -> Value {
    let mut json = serde_json::to_value(table.metadata().as_ref()).unwrap();
    let version = table.metadata().format_version();
    let fields = json.as_object_mut().unwrap();
    fields.entry("properties").or_insert_with(|| json!({}));
    fields.entry("snapshots").or_insert_with(|| json!([]));
    if version < FormatVersion::V3 {
        fields.entry("current-snapshot-id").or_insert_with(|| json!(-1));
    }
    in_order(json)
}

/// A history in which snapshots come, go from both ends and the middle, and the format version rises.
fn history(version: FormatVersion) -> Vec<Table> {
    let mut tables = vec![first(version)];
    let mut step = |updates: &dyn Fn(&Table) -> Vec<TableUpdate>| {
        let last = tables.last().unwrap();
        let next = changed(last, &updates(last));
        tables.push(next);
    };
    for id in 1..=6 {
        step(&|table| append(table, id));
    }
    let tag = SnapshotRetention::Tag { max_ref_age_ms: Some(9) };
    step(&|_| vec![set_ref("a tag", 2, tag.clone())]);
    step(&|_| vec![set_ref("b", 4, SnapshotRetention::branch(Some(1), Some(2), None))]);
    step(&|_| vec![TableUpdate::SetProperties { updates: HashMap::from([("a".to_owned(), "b".to_owned())]) }]);
    step(&|_| vec![TableUpdate::RemoveSnapshots { snapshot_ids: vec![1, 3] }]);
    step(&|_| vec![TableUpdate::RemoveSnapshotRef { ref_name: "b".to_owned() }]);
    step(&|table| append(table, 7));
    step(&|_| vec![TableUpdate::RemoveSnapshots { snapshot_ids: vec![2] }]);
    if version == FormatVersion::V2 {
        step(&|_| vec![TableUpdate::UpgradeFormatVersion { format_version: FormatVersion::V3 }]);
        step(&|table| append(table, 8));
    }
    tables
}

#[test]
fn a_text_says_what_the_ground_crate_says() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        for table in history(version) {
            let text = MetadataText::new(&table).unwrap();
            assert_eq!(in_order(serde_json::from_str(text.json()).unwrap()), ground(&table));
            // Of version 1 the ground crate writes no refs.
            if version > FormatVersion::V1 {
                assert_eq!(&serde_json::from_str::<TableMetadata>(text.json()).unwrap(), table.metadata().as_ref());
            }
        }
    }
}

#[test]
fn a_text_after_another_is_the_text_by_itself() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let tables = history(version);
        let mut text = MetadataText::new(&tables[0]).unwrap();
        for pair in tables.windows(2) {
            text = MetadataText::after(&pair[1], (&pair[0], &text)).unwrap();
            let alone = MetadataText::new(&pair[1]).unwrap();
            assert_eq!(
                serde_json::from_str::<Value>(text.json()).unwrap(),
                serde_json::from_str::<Value>(alone.json()).unwrap()
            );
            for place in text.places.iter() {
                let snapshot: Value = serde_json::from_slice(&text.bytes[place.range.clone()]).unwrap();
                assert_eq!(snapshot["snapshot-id"], place.snapshot_id);
            }
        }
    }
}

/// Refs are told from updates; what the ground crate keeps to itself shows in its JSON.
#[test]
fn refs_are_those_of_the_metadata() {
    for table in history(FormatVersion::V2) {
        let json = serde_json::to_value(table.metadata().as_ref()).unwrap();
        assert_eq!(serde_json::to_value(table.refs()).unwrap(), json["refs"]);
    }
}
