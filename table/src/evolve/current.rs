//! Which schema, partition spec and sort order a table has from now on.
//!
//! One that the table has had before is named by its id. Catalogs on Iceberg's Java library refuse to have it added again
//! and then set as `-1`, the last one added: nothing was added there.

use super::schema::same_identifiers;
use crate::spec::{
    PartitionField, Schema, SortOrder, TableMetadata, TableUpdate, UnboundPartitionField, UnboundPartitionSpec,
};

/// The updates that make the schema the current one; none if it is.
pub(super) fn schema_updates(metadata: &TableMetadata, schema: Schema) -> Vec<TableUpdate> {
    let is_same = |known: &Schema| known.as_struct() == schema.as_struct() && same_identifiers(known, &schema);
    if is_same(metadata.current_schema()) {
        return Vec::new();
    }
    match metadata.schemas_iter().find(|known| is_same(known)) {
        Some(known) => vec![TableUpdate::SetCurrentSchema { schema_id: known.schema_id() }],
        None => vec![TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: -1 }],
    }
}

/// The updates that make the partition spec the default; none if it is. Ids of partition fields are not compared, as no
/// catalog does.
pub(super) fn spec_updates(metadata: &TableMetadata, spec: UnboundPartitionSpec) -> Vec<TableUpdate> {
    let is_same = |known: &[PartitionField]| same_partitions(known, spec.fields());
    if is_same(metadata.default_partition_spec().fields()) {
        return Vec::new();
    }
    match metadata.partition_specs_iter().find(|known| is_same(known.fields())) {
        Some(known) => vec![TableUpdate::SetDefaultSpec { spec_id: known.spec_id() }],
        None => vec![TableUpdate::AddSpec { spec }, TableUpdate::SetDefaultSpec { spec_id: -1 }],
    }
}

/// Whether two specs part a table alike, under the same names.
pub(super) fn same_partitions(known: &[PartitionField], asked: &[UnboundPartitionField]) -> bool {
    let alike = |(a, b): (&PartitionField, &UnboundPartitionField)| {
        a.name == b.name && a.source_id == b.source_id && a.transform == b.transform
    };
    known.len() == asked.len() && known.iter().zip(asked).all(alike)
}

/// The updates that make the sort order the default; none if it is.
pub(super) fn order_updates(metadata: &TableMetadata, sort_order: SortOrder) -> Vec<TableUpdate> {
    if metadata.default_sort_order().fields == sort_order.fields {
        return Vec::new();
    }
    match metadata.sort_orders_iter().find(|known| known.fields == sort_order.fields) {
        Some(known) => vec![TableUpdate::SetDefaultSortOrder { sort_order_id: known.order_id }],
        None => {
            vec![TableUpdate::AddSortOrder { sort_order }, TableUpdate::SetDefaultSortOrder { sort_order_id: -1 }]
        }
    }
}
