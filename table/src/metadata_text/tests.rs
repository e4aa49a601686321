use std::collections::HashMap;
use std::sync::Arc;

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
    if version > FormatVersion::V1 {
        fields.entry("snapshot-log").or_insert_with(|| json!([]));
    }
    if version < FormatVersion::V3 {
        fields.entry("current-snapshot-id").or_insert_with(|| json!(-1));
    }
    in_order(json)
}

/// A history in which snapshots come, go from both ends and the middle, and the format version rises.
fn history(version: FormatVersion) -> Vec<(Vec<TableUpdate>, Table)> {
    let mut tables = vec![(Vec::new(), first(version))];
    let mut step = |updates: &dyn Fn(&Table) -> Vec<TableUpdate>| {
        let (_, last) = tables.last().unwrap();
        let updates = updates(last);
        let next = changed(last, &updates);
        tables.push((updates, next));
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
    let next = if version == FormatVersion::V1 { FormatVersion::V2 } else { FormatVersion::V3 };
    if version < next {
        step(&|_| vec![TableUpdate::UpgradeFormatVersion { format_version: next }]);
        step(&|table| append(table, 8));
    }
    tables
}

#[test]
fn a_text_says_what_the_ground_crate_says() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        for (_, table) in history(version) {
            let text = MetadataText::new(&table).unwrap();
            assert_eq!(in_order(serde_json::from_str(&text.json()).unwrap()), ground(&table));
            // Of version 1 the ground crate writes no refs.
            if version > FormatVersion::V1 {
                assert_eq!(&serde_json::from_str::<TableMetadata>(&text.json()).unwrap(), table.metadata().as_ref());
            }
        }
    }
}

#[test]
fn a_text_after_another_is_the_text_by_itself() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let tables = history(version);
        let (_, mut before) = tables[0].clone();
        let mut text = MetadataText::new(&before).unwrap();
        for (updates, table) in &tables[1..] {
            let next = MetadataText::after(table, updates, (&before, &text)).unwrap();
            let alone = MetadataText::new(table).unwrap();
            assert_eq!(json_of(&next), json_of(&alone), "{updates:?}");
            assert_eq!(next.bytes().len(), next.size_bytes());
            let kept = next.kept_bytes();
            assert_eq!(next.bytes()[..kept], text.bytes()[..kept]);
            assert_eq!([&next.bytes()[..kept], &next.pieces_from(kept).concat()].concat(), next.bytes());
            let went = updates.iter().any(|update| matches!(update, TableUpdate::RemoveSnapshots { .. }));
            let grew = !went && before.metadata().format_version() > FormatVersion::V1;
            assert_eq!(grew, kept > 0, "{updates:?}");
            if grew {
                assert_eq!(next.bytes()[..kept], text.lasting_pieces().concat());
                assert_eq!(kept, text.lasting_bytes());
            }
            (before, text) = (table.clone(), next);
        }
    }
}

fn json_of(text: &MetadataText) -> Value {
    in_order(serde_json::from_str(&text.json()).unwrap())
}

/// A log that was rewritten is written anew.
#[test]
fn a_log_that_does_not_go_on_is_not_continued() {
    let main = |id| set_ref(MAIN_BRANCH, id, SnapshotRetention::branch(None, None, None));
    let first = first(FormatVersion::V2);
    let one = changed(&first, &append(&first, 1));
    let two = changed(&one, &append(&one, 2));
    let back = changed(&changed(&two, &[main(1)]), &[main(2)]);
    assert_ne!(two.metadata().history(), back.metadata().history());
    let text = MetadataText::new(&back).unwrap();
    let after = MetadataText::after(&two, &[], (&back, &text)).unwrap();
    assert_eq!(json_of(&after), json_of(&MetadataText::new(&two).unwrap()));
}

/// A list of more than a piece: what was added later is not seen in the text before.
#[test]
fn texts_share_what_they_have_in_common() {
    let mut list = ListText::beginning_with(b"[");
    let mut earlier = Vec::new();
    for number in 0..30_000 {
        list.push(&number).unwrap();
        if number % 1_000 == 0 {
            earlier.push((number, list.clone()));
        }
    }
    earlier.push((29_999, list));
    for (last, list) in &earlier {
        let text = list.pieces().flatten().copied().chain(*b"]").collect::<Vec<u8>>();
        assert_eq!(text.len(), list.size_bytes() + 1);
        assert_eq!(serde_json::from_slice::<Vec<i32>>(&text).unwrap(), (0..=*last).collect::<Vec<_>>());
    }
    let ends = [&earlier[28].1, &earlier[30].1].map(|list| list.pieces().next().unwrap().as_ptr());
    assert_eq!(ends[0], ends[1], "full pieces are the same memory");
}

/// Refs are told from updates; what the ground crate keeps to itself shows in its JSON.
#[test]
fn refs_are_those_of_the_metadata() {
    for (_, table) in history(FormatVersion::V2) {
        let json = serde_json::to_value(table.metadata().as_ref()).unwrap();
        assert_eq!(serde_json::to_value(table.refs()).unwrap(), json["refs"]);
    }
}
