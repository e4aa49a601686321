//! What the table's metadata alone says: snapshots, history, branches and tags.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, MapBuilder, MapFieldNames, RecordBatch, StringArray, StringBuilder,
};
use frazil_table::Table;
use frazil_table::spec::{MAIN_BRANCH, SnapshotRetention};

use super::{batch, made, moments, optional, required};
use crate::Result;

pub(super) fn snapshots(table: &Table) -> Result<RecordBatch> {
    let mut all: Vec<_> = table.metadata().snapshots().collect();
    all.sort_by_key(|snapshot| (snapshot.timestamp_ms(), snapshot.sequence_number()));
    let names = MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let mut summaries = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for snapshot in &all {
        let mut properties: Vec<_> = snapshot.summary().additional_properties.iter().collect();
        properties.sort();
        for (key, value) in properties {
            summaries.keys().append_value(key);
            summaries.values().append_value(value);
        }
        made(summaries.append(true))?;
    }
    let operations = all.iter().map(|snapshot| Some(snapshot.summary().operation.as_str()));
    let lists = all.iter().map(|snapshot| Some(snapshot.manifest_list()));
    batch(vec![
        required("committed_at", moments(all.iter().map(|snapshot| Some(snapshot.timestamp_ms())))?),
        required("snapshot_id", Arc::new(all.iter().map(|s| Some(s.snapshot_id())).collect::<Int64Array>())),
        optional("parent_id", Arc::new(all.iter().map(|s| s.parent_snapshot_id()).collect::<Int64Array>())),
        optional("operation", Arc::new(operations.collect::<StringArray>())),
        optional("manifest_list", Arc::new(lists.collect::<StringArray>())),
        optional("summary", Arc::new(summaries.finish())),
    ])
}

pub(super) fn history(table: &Table) -> Result<RecordBatch> {
    let metadata = table.metadata();
    let ancestors: HashSet<i64> = table.ancestors(MAIN_BRANCH).map(|snapshot| snapshot.snapshot_id()).collect();
    let log = metadata.history();
    let parent = |id: i64| metadata.snapshot_by_id(id).and_then(|snapshot| snapshot.parent_snapshot_id());
    let current = log.iter().map(|entry| Some(ancestors.contains(&entry.snapshot_id)));
    batch(vec![
        required("made_current_at", moments(log.iter().map(|entry| Some(entry.timestamp_ms)))?),
        required("snapshot_id", Arc::new(log.iter().map(|entry| Some(entry.snapshot_id)).collect::<Int64Array>())),
        optional("parent_id", Arc::new(log.iter().map(|entry| parent(entry.snapshot_id)).collect::<Int64Array>())),
        required("is_current_ancestor", Arc::new(current.collect::<BooleanArray>())),
    ])
}

pub(super) fn refs(table: &Table) -> Result<RecordBatch> {
    let refs: Vec<_> = table.refs().iter().collect();
    let (mut kinds, mut ref_ages, mut counts, mut ages) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (_, reference) in &refs {
        let (kind, ref_age, count, age) = match reference.retention {
            SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms } => {
                ("BRANCH", max_ref_age_ms, min_snapshots_to_keep, max_snapshot_age_ms)
            }
            SnapshotRetention::Tag { max_ref_age_ms } => ("TAG", max_ref_age_ms, None, None),
        };
        kinds.push(kind);
        ref_ages.push(ref_age);
        counts.push(count);
        ages.push(age);
    }
    let ids: ArrayRef = Arc::new(refs.iter().map(|(_, r)| Some(r.snapshot_id)).collect::<Int64Array>());
    batch(vec![
        required("name", Arc::new(StringArray::from_iter_values(refs.iter().map(|(name, _)| name)))),
        required("type", Arc::new(StringArray::from(kinds))),
        required("snapshot_id", ids),
        optional("max_reference_age_in_ms", Arc::new(Int64Array::from(ref_ages))),
        optional("min_snapshots_to_keep", Arc::new(Int32Array::from(counts))),
        optional("max_snapshot_age_in_ms", Arc::new(Int64Array::from(ages))),
    ])
}
