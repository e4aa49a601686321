//! Whether a table is as a change would have left it, and what a schema looks like in a line.

use crate::Table;
use crate::spec::{NestedFieldRef, Schema, TableUpdate, Type};

/// Whether the table shows everything that the updates ask for. This is how a commit without a snapshot, which leaves no
/// mark of its own, is found again after an answer that never came.
pub(crate) fn has_outcome(table: &Table, updates: &[TableUpdate]) -> bool {
    let overwritten = |at: usize| updates[at + 1..].iter().any(|later| replaces(later, &updates[at]));
    updates.iter().enumerate().all(|(at, update)| overwritten(at) || shows(table, update))
}

/// Whether nothing of an update is left to see after a later one.
fn replaces(later: &TableUpdate, update: &TableUpdate) -> bool {
    use TableUpdate::{
        AddSchema, AddSortOrder, AddSpec, SetCurrentSchema, SetDefaultSortOrder, SetDefaultSpec, SetLocation,
    };
    match (later, update) {
        // What has just been added is set as -1, by the update behind the one that adds it.
        (AddSchema { .. }, AddSchema { .. } | SetCurrentSchema { .. })
        | (AddSpec { .. }, AddSpec { .. } | SetDefaultSpec { .. })
        | (AddSortOrder { .. }, AddSortOrder { .. } | SetDefaultSortOrder { .. })
        | (SetLocation { .. }, SetLocation { .. }) => true,
        (SetCurrentSchema { schema_id: id }, AddSchema { .. } | SetCurrentSchema { .. })
        | (SetDefaultSpec { spec_id: id }, AddSpec { .. } | SetDefaultSpec { .. }) => *id >= 0,
        (SetDefaultSortOrder { sort_order_id: id }, AddSortOrder { .. } | SetDefaultSortOrder { .. }) => *id >= 0,
        _ => false,
    }
}

fn shows(table: &Table, update: &TableUpdate) -> bool {
    let metadata = table.metadata();
    match update {
        TableUpdate::AddSchema { schema } => {
            let current = metadata.current_schema();
            current.as_struct() == schema.as_struct() && super::schema::same_identifiers(current, schema)
        }
        TableUpdate::AddSpec { spec } => {
            super::current::same_partitions(metadata.default_partition_spec().fields(), spec.fields())
        }
        TableUpdate::AddSortOrder { sort_order } => metadata.default_sort_order().fields == sort_order.fields,
        // -1 follows the update that adds what it sets.
        TableUpdate::SetCurrentSchema { schema_id: id } => *id < 0 || metadata.current_schema_id() == *id,
        TableUpdate::SetDefaultSpec { spec_id: id } => *id < 0 || metadata.default_partition_spec_id() == *id,
        TableUpdate::SetDefaultSortOrder { sort_order_id: id } => *id < 0 || metadata.default_sort_order_id() == *id,
        TableUpdate::AddSnapshot { snapshot } => metadata.snapshot_by_id(snapshot.snapshot_id()).is_some(),
        TableUpdate::SetSnapshotRef { ref_name, reference } => table.refs().get(ref_name) == Some(reference),
        TableUpdate::RemoveSnapshotRef { ref_name } => !table.refs().contains_key(ref_name),
        TableUpdate::RemoveSnapshots { snapshot_ids } => {
            snapshot_ids.iter().all(|id| metadata.snapshot_by_id(*id).is_none())
        }
        TableUpdate::SetLocation { location } => metadata.location().trim_end_matches('/') == location,
        TableUpdate::SetProperties { updates } => {
            updates.iter().all(|(key, value)| table.property(key) == Some(value.as_str()))
        }
        TableUpdate::RemoveProperties { removals } => removals.iter().all(|key| table.property(key).is_none()),
        TableUpdate::UpgradeFormatVersion { format_version } => metadata.format_version() >= *format_version,
        TableUpdate::SetStatistics { statistics } => {
            metadata.statistics_for_snapshot(statistics.snapshot_id) == Some(statistics)
        }
        TableUpdate::RemoveStatistics { snapshot_id } => metadata.statistics_for_snapshot(*snapshot_id).is_none(),
        TableUpdate::SetPartitionStatistics { partition_statistics } => {
            let id = partition_statistics.snapshot_id;
            metadata.partition_statistics_for_snapshot(id) == Some(partition_statistics)
        }
        TableUpdate::RemovePartitionStatistics { snapshot_id } => {
            metadata.partition_statistics_for_snapshot(*snapshot_id).is_none()
        }
        TableUpdate::AssignUuid { uuid } => metadata.uuid() == *uuid,
        _ => false,
    }
}

/// Columns with ids, for a person.
pub(super) fn schema_text(schema: &Schema) -> String {
    fields_text(schema.as_struct().fields())
}

fn fields_text(fields: &[NestedFieldRef]) -> String {
    fields.iter().map(field_text).collect::<Vec<_>>().join(", ")
}

fn field_text(field: &NestedFieldRef) -> String {
    let not_null = if field.required { " not null" } else { "" };
    format!("{}: {} {}{not_null}", field.id, field.name, type_text(&field.field_type))
}

/// A type with the ids inside of it.
pub(super) fn type_text(field_type: &Type) -> String {
    match field_type {
        Type::Primitive(primitive) => primitive.to_string(),
        Type::Struct(inner) => format!("struct<{}>", fields_text(inner.fields())),
        Type::List(list) => format!("list<{}>", field_text(&list.element_field)),
        Type::Map(map) => format!("map<{}, {}>", field_text(&map.key_field), field_text(&map.value_field)),
    }
}
