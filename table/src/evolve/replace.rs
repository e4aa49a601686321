//! Another table under the same name: `CREATE OR REPLACE TABLE`.
//!
//! Schema, partition spec and sort order are new, `main` begins anew without a parent, and what was before stays
//! reachable by snapshot id, branches and tags until it expires. Fields and partition fields that were there before keep
//! their ids, as Iceberg's Java library has it (`TableMetadata.buildReplacement`).

use std::collections::BTreeMap;

use super::fresh_ids::FreshIds;
use super::{MetadataPlan, SortTerm, current};
use crate::spec::{
    FormatVersion, MAIN_BRANCH, Schema, TableMetadata, TableRequirement, TableUpdate, Transform, UnboundPartitionField,
    UnboundPartitionSpec,
};
use crate::{Error, Result, Table};

/// What a table is replaced by.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// Columns; their ids only tell them apart here. A field whose name and kind of type the table has, at any depth, gets its
    /// id; others get fresh ones.
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
    let schema = schema_with_ids(metadata, &new.schema)?;
    let spec = spec_with_ids(metadata, new, &schema)?;
    let order = super::sort::order(metadata, &schema, &new.sort_order)?;
    updates.extend(current::schema_updates(metadata, schema));
    updates.extend(current::spec_updates(metadata, spec));
    updates.extend(current::order_updates(metadata, order));
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

/// The schema with the ids that its fields have in the table: engines take fields of one id for one, also across a
/// replacement, and those of one name with two ids for a clash (Trino does, with the names of partition fields).
fn schema_with_ids(metadata: &TableMetadata, schema: &Schema) -> Result<Schema> {
    let invalid = |error: iceberg::Error| Error::invalid_schema("", error.message());
    let known = metadata.current_schema().as_struct().fields();
    let fields = FreshIds::after(metadata.last_column_id()).assign_fields(schema.as_struct().fields(), known)?;
    let named = Schema::builder().with_fields(fields.clone()).build().map_err(invalid)?;
    let identifiers: Vec<i32> = schema.identifier_field_ids().filter_map(|id| same_named(schema, id, &named)).collect();
    let schema_id = metadata.schemas_iter().map(|schema| schema.schema_id()).max().unwrap_or(0) + 1;
    let builder = Schema::builder().with_schema_id(schema_id).with_fields(fields);
    builder.with_identifier_field_ids(identifiers).build().map_err(invalid)
}

/// The id in one schema of what has an id in another.
fn same_named(schema: &Schema, id: i32, other: &Schema) -> Option<i32> {
    other.field_id_by_name(schema.name_by_field_id(id)?)
}

fn spec_with_ids(metadata: &TableMetadata, new: &Replacement, schema: &Schema) -> Result<UnboundPartitionSpec> {
    let mut fields = Vec::with_capacity(new.partition_spec.fields().len());
    for field in new.partition_spec.fields() {
        let source_id = same_named(&new.schema, field.source_id, schema).ok_or_else(|| {
            Error::InvalidChange(format!("partition field '{}' names no column of the new schema", field.name))
        })?;
        fields.push(UnboundPartitionField { source_id, ..field.clone() });
    }
    match new.format_version.max(metadata.format_version()) {
        FormatVersion::V1 => fields = behind_those_before(metadata, schema, fields),
        _ => assign_field_ids(metadata, &mut fields),
    }
    let spec_id = metadata.partition_specs_iter().map(|spec| spec.spec_id()).max().unwrap_or(0) + 1;
    let builder = UnboundPartitionSpec::builder().with_spec_id(spec_id).add_partition_fields(fields);
    Ok(builder.map_err(|error| Error::InvalidChange(error.message().to_owned()))?.build())
}

/// A field of the same source and transform as one of before has its id, others go on from the last one.
fn assign_field_ids(metadata: &TableMetadata, fields: &mut [UnboundPartitionField]) {
    let known = |field: &UnboundPartitionField| {
        let fields = metadata.partition_specs_iter().flat_map(|spec| spec.fields());
        let same = fields.filter(|f| f.source_id == field.source_id && f.transform == field.transform);
        same.map(|known| known.field_id).max()
    };
    let mut fresh = metadata.last_partition_id() + 1..;
    for field in fields {
        field.field_id = known(field).or_else(|| fresh.next());
    }
}

/// In version 1 a field's id is its place in the spec, counted from 1000. So the fields of now stay where they are, `void`
/// if the new spec lacks them, and new ones come behind (Iceberg spec, "Partition Evolution"). Where that can't be, since a
/// column is gone or would be void twice, places are given out anew.
fn behind_those_before(
    metadata: &TableMetadata,
    schema: &Schema,
    mut new: Vec<UnboundPartitionField>,
) -> Vec<UnboundPartitionField> {
    const FIRST_FIELD_ID: i32 = 1000;
    let is_taken = |name: &str, new: &[UnboundPartitionField]| {
        new.iter().any(|field| field.name == name) || schema.field_by_name(name).is_some()
    };
    let asked = new.clone();
    let mut fields: Vec<UnboundPartitionField> = Vec::new();
    for before in metadata.default_partition_spec().fields() {
        let same = |f: &UnboundPartitionField| f.source_id == before.source_id && f.transform == before.transform;
        let field = match new.iter().position(same) {
            Some(index) => new.remove(index),
            None => {
                let mut gone = UnboundPartitionField::from(before.clone());
                gone.transform = Transform::Void;
                if is_taken(&gone.name, &asked) {
                    gone.name = format!("{}_{}", before.name, before.field_id);
                }
                gone
            }
        };
        fields.push(field);
    }
    let is_void_of = |f: &UnboundPartitionField, id: i32| f.source_id == id && f.transform == Transform::Void;
    let stays = |f: &UnboundPartitionField| {
        let twice = fields.iter().filter(|other| is_void_of(other, f.source_id)).count() > 1;
        schema.field_by_id(f.source_id).is_some() && !twice
    };
    let mut fields = if fields.iter().all(stays) { [fields, new].concat() } else { asked };
    for (field, id) in fields.iter_mut().zip(FIRST_FIELD_ID..) {
        field.field_id = Some(id);
    }
    fields
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
