//! Another table under the same name: `CREATE OR REPLACE TABLE`.
//!
//! Schema, partition spec and sort order are new, `main` begins anew without a parent, and what was before stays
//! reachable by snapshot id, branches and tags until it expires.

use std::collections::{BTreeMap, HashMap};

use super::fresh_ids::FreshIds;
use super::{MetadataPlan, SortTerm};
use crate::spec::{
    FormatVersion, MAIN_BRANCH, Schema, SortOrder, TableMetadata, TableRequirement, TableUpdate, UnboundPartitionSpec,
};
use crate::{Error, Result, Table};

/// What a table is replaced by.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// Columns; their ids only tell them apart here and are replaced by fresh ones.
    pub schema: Schema,
    /// The partition spec, whose fields name columns of `schema` by id.
    pub partition_spec: UnboundPartitionSpec,
    /// The sort order; empty: unsorted.
    pub sort_order: Vec<SortTerm>,
    /// Set; those that are not named go.
    pub properties: BTreeMap<String, String>,
    /// Where new files go; `None`: where they went before.
    pub location: Option<String>,
    /// At least the version of now.
    pub format_version: FormatVersion,
}

pub(super) fn plan(table: &Table, new: &Replacement) -> Result<MetadataPlan> {
    let metadata = table.metadata();
    let mut updates = Vec::new();
    if new.format_version > metadata.format_version() {
        updates.push(TableUpdate::UpgradeFormatVersion { format_version: new.format_version });
    }
    let (schema, ids) = fresh_schema(metadata, &new.schema)?;
    let version = new.format_version.max(metadata.format_version());
    let spec = fresh_spec(metadata, version, &new.partition_spec, &ids)?;
    updates.extend([
        TableUpdate::AddSchema { schema },
        TableUpdate::SetCurrentSchema { schema_id: -1 },
        TableUpdate::AddSpec { spec },
        TableUpdate::SetDefaultSpec { spec_id: -1 },
    ]);
    // The old order is of columns that are gone, so it goes before the new one is looked at.
    updates.extend([
        TableUpdate::AddSortOrder { sort_order: SortOrder::unsorted_order() },
        TableUpdate::SetDefaultSortOrder { sort_order_id: -1 },
    ]);
    let bound = super::apply(table, &updates)?;
    updates.extend(super::sort::plan(bound.metadata(), &new.sort_order)?.updates);
    if table.refs().contains_key(MAIN_BRANCH) {
        updates.push(TableUpdate::RemoveSnapshotRef { ref_name: MAIN_BRANCH.to_owned() });
    }
    updates.extend(property_updates(metadata, &new.properties));
    if let Some(location) = &new.location {
        updates.push(TableUpdate::SetLocation { location: super::checked_location(location)? });
    }
    let snapshot_id = table.current_snapshot().map(|snapshot| snapshot.snapshot_id());
    let requirements = vec![
        TableRequirement::RefSnapshotIdMatch { r#ref: MAIN_BRANCH.to_owned(), snapshot_id },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
        TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: metadata.last_column_id() },
        TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id: metadata.last_partition_id() },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: metadata.default_partition_spec_id() },
        TableRequirement::DefaultSortOrderIdMatch { default_sort_order_id: metadata.default_sort_order_id() },
    ];
    Ok(MetadataPlan { requirements, updates })
}

/// The schema with ids that the table never had, and the new id of each old one.
fn fresh_schema(metadata: &TableMetadata, schema: &Schema) -> Result<(Schema, HashMap<i32, i32>)> {
    let invalid = |error: iceberg::Error| Error::invalid_schema("", error.message());
    let fields = FreshIds::after(metadata.last_column_id()).assign_fields(schema.as_struct().fields())?;
    let fresh = Schema::builder().with_fields(fields.clone()).build().map_err(invalid)?;
    let named = schema.field_id_to_name_map().iter();
    let ids: HashMap<i32, i32> =
        named.filter_map(|(old, name)| fresh.field_id_by_name(name).map(|new| (*old, new))).collect();
    let identifiers: Vec<i32> = schema.identifier_field_ids().filter_map(|old| ids.get(&old).copied()).collect();
    let schema_id = metadata.schemas_iter().map(|schema| schema.schema_id()).max().unwrap_or(0) + 1;
    let builder = Schema::builder().with_schema_id(schema_id).with_fields(fields);
    Ok((builder.with_identifier_field_ids(identifiers).build().map_err(invalid)?, ids))
}

/// Field ids go on from the last one; in version 1 they count from 1000 in each spec (Iceberg spec, "Partition
/// Evolution").
fn fresh_spec(
    metadata: &TableMetadata,
    version: FormatVersion,
    spec: &UnboundPartitionSpec,
    ids: &HashMap<i32, i32>,
) -> Result<UnboundPartitionSpec> {
    const FIRST_FIELD_ID: i32 = 1000;
    let last = if version == FormatVersion::V1 { FIRST_FIELD_ID - 1 } else { metadata.last_partition_id() };
    let mut fields = Vec::with_capacity(spec.fields().len());
    for (field, field_id) in spec.fields().iter().zip(last + 1..) {
        let source_id = ids.get(&field.source_id).copied().ok_or_else(|| {
            Error::InvalidChange(format!("partition field '{}' names no column of the new schema", field.name))
        })?;
        let mut field = field.clone();
        (field.source_id, field.field_id) = (source_id, Some(field_id));
        fields.push(field);
    }
    let spec_id = metadata.partition_specs_iter().map(|spec| spec.spec_id()).max().unwrap_or(0) + 1;
    let builder = UnboundPartitionSpec::builder().with_spec_id(spec_id).add_partition_fields(fields);
    Ok(builder.map_err(|error| Error::InvalidChange(error.message().to_owned()))?.build())
}

fn property_updates(metadata: &TableMetadata, new: &BTreeMap<String, String>) -> Vec<TableUpdate> {
    let mut removals: Vec<_> = metadata.properties().keys().filter(|key| !new.contains_key(*key)).cloned().collect();
    removals.sort();
    let mut updates = Vec::new();
    if !removals.is_empty() {
        updates.push(TableUpdate::RemoveProperties { removals });
    }
    if !new.is_empty() {
        updates.push(TableUpdate::SetProperties { updates: new.clone().into_iter().collect() });
    }
    updates
}
