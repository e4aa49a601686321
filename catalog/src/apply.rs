//! What a table's metadata becomes by a commit. Pure.
//!
//! Requirements that fail, and snapshots that were built on an older state than the table's, are conflicts: the client
//! builds them again. Everything else that does not fit is the client's mistake.

use std::collections::HashMap;

use frazil_table::spec::{
    FormatVersion, Schema, SortOrder, TableMetadata, TableMetadataBuilder, TableRequirement, TableUpdate,
    UnboundPartitionSpec,
};
use frazil_table::{Conflict, Table};
use serde_json::json;
use uuid::Uuid;

use crate::{Error, Result, TableCommit};

/// The metadata that a commit leads to.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) metadata: TableMetadata,
    /// Locations of metadata files that fell out of the metadata log.
    pub(crate) expired_metadata: Vec<String>,
}

/// Applies a commit to a table, or makes the table if the commit asserts that there is none.
///
/// # Errors
/// [`Error::BadRequest`] if no state of the table could take the commit; [`Error::NoSuchTable`].
pub(crate) fn apply(
    base: Option<&Table>,
    commit: &TableCommit,
    now_ms: i64,
) -> Result<std::result::Result<Applied, Conflict>> {
    let metadata = base.map(|table| table.metadata().as_ref());
    if metadata.is_none() && !commit.requirements.contains(&TableRequirement::NotExist) {
        return Err(Error::NoSuchTable(commit.ident.to_string()));
    }
    for requirement in &commit.requirements {
        if let Err(error) = requirement.check(metadata) {
            return Ok(Err(Conflict::Moved { reason: error.to_string() }));
        }
    }
    let updates = split_format_version(&commit.updates)?;
    let created;
    let (metadata, location) = match base {
        Some(table) => (table.metadata().as_ref(), Some(table.metadata_location().to_owned())),
        None => {
            created = first_metadata(&updates)?;
            (&created, None)
        }
    };
    if let Some(reason) = stale(metadata, &updates) {
        return Ok(Err(Conflict::Moved { reason }));
    }
    let previous_ms = base.map_or(0, |table| table.metadata().last_updated_ms());
    let adds_snapshot = updates.iter().any(|update| matches!(update, TableUpdate::AddSnapshot { .. }));
    let mut builder = metadata.clone().into_builder(location);
    for update in updates {
        builder = update.apply(builder).map_err(bad_request)?;
    }
    let built = builder.build().map_err(bad_request)?;
    let metadata = match adds_snapshot {
        true => built.metadata,
        false => with_last_updated(built.metadata, now_ms.max(previous_ms))?,
    };
    let expired_metadata = built.expired_metadata_logs.into_iter().map(|log| log.metadata_file).collect();
    Ok(Ok(Applied { metadata, expired_metadata }))
}

/// The metadata of a new table.
///
/// # Errors
/// [`Error::BadRequest`] if the parts do not fit together.
pub(crate) fn create(creation: frazil_table::spec::TableCreation, uuid: Uuid, now_ms: i64) -> Result<TableMetadata> {
    let builder = TableMetadataBuilder::from_table_creation(creation).map_err(bad_request)?;
    let metadata = builder.assign_uuid(uuid).build().map_err(bad_request)?.metadata;
    with_last_updated(metadata, now_ms)
}

/// The builder takes the machine's clock where no snapshot brings a time, in the history of `main` too; ours comes from
/// the environment.
fn with_last_updated(metadata: TableMetadata, now_ms: i64) -> Result<TableMetadata> {
    let mut json = serde_json::to_value(&metadata).expect("table metadata has a JSON form");
    json["last-updated-ms"] = now_ms.into();
    for entry in json["snapshot-log"].as_array_mut().into_iter().flatten() {
        if entry["timestamp-ms"].as_i64().is_some_and(|at| at > now_ms) {
            entry["timestamp-ms"] = now_ms.into();
        }
    }
    serde_json::from_value(json).map_err(|error| Error::BadRequest(error.to_string()))
}

/// Some engines set the format version as a property (Iceberg, "Reserved table properties").
fn split_format_version(updates: &[TableUpdate]) -> Result<Vec<TableUpdate>> {
    let mut split = Vec::with_capacity(updates.len());
    for update in updates {
        match update {
            TableUpdate::SetProperties { updates } if updates.contains_key("format-version") => {
                let mut updates = updates.clone();
                let format_version = parse_format_version(updates.remove("format-version"))?;
                split.push(TableUpdate::UpgradeFormatVersion { format_version });
                split.push(TableUpdate::SetProperties { updates });
            }
            update => split.push(update.clone()),
        }
    }
    Ok(split)
}

/// The format version that a property asks for; 2 if none does.
///
/// # Errors
/// [`Error::BadRequest`] for anything but 1, 2 and 3.
pub(crate) fn parse_format_version(property: Option<String>) -> Result<FormatVersion> {
    match property.as_deref() {
        Some("1") => Ok(FormatVersion::V1),
        None | Some("2") => Ok(FormatVersion::V2),
        Some("3") => Ok(FormatVersion::V3),
        Some(other) => Err(Error::BadRequest(format!("format-version {other:?} is not one of 1, 2 and 3"))),
    }
}

/// Why the snapshots of a commit were built on an older state: their numbers are used up (Iceberg spec, "Sequence
/// Numbers", "Row Lineage"). No requirement covers it if the commit is on another branch.
fn stale(metadata: &TableMetadata, updates: &[TableUpdate]) -> Option<String> {
    let mut version = metadata.format_version();
    let mut last_number = metadata.last_sequence_number();
    let mut next_row_id = metadata.next_row_id();
    for update in updates {
        match update {
            TableUpdate::UpgradeFormatVersion { format_version } => version = *format_version,
            TableUpdate::AddSnapshot { snapshot } => {
                let number = snapshot.sequence_number();
                if version >= FormatVersion::V2 && number <= last_number {
                    return Some(format!("sequence number {number} is used: the last is {last_number}"));
                }
                last_number = number;
                if let Some((first_row_id, added_rows)) = snapshot.row_range()
                    && version >= FormatVersion::V3
                {
                    if first_row_id < next_row_id {
                        return Some(format!("row id {first_row_id} is used: the next is {next_row_id}"));
                    }
                    next_row_id = first_row_id.saturating_add(added_rows);
                }
            }
            _ => {}
        }
    }
    None
}

/// What a staged table's first commit begins with: the first schema, spec and sort order, under the very ids that the
/// staging gave them. The updates are applied on top and find these parts there.
fn first_metadata(updates: &[TableUpdate]) -> Result<TableMetadata> {
    let mut schema: Option<Schema> = None;
    let mut spec: Option<UnboundPartitionSpec> = None;
    let mut order: Option<SortOrder> = None;
    let mut place: Option<&str> = None;
    let mut table_uuid = None;
    let mut format_version = FormatVersion::V1;
    for update in updates {
        match update {
            TableUpdate::AddSchema { schema: first } if schema.is_none() => schema = Some(first.clone()),
            TableUpdate::AddSpec { spec: first } if spec.is_none() => spec = Some(first.clone()),
            TableUpdate::AddSortOrder { sort_order } if order.is_none() => order = Some(sort_order.clone()),
            TableUpdate::SetLocation { location } => place = Some(location),
            TableUpdate::AssignUuid { uuid } => table_uuid = Some(*uuid),
            TableUpdate::UpgradeFormatVersion { format_version: version } => {
                format_version = format_version.max(*version);
            }
            _ => {}
        }
    }
    let missing = |what: &str| Error::BadRequest(format!("the commit that makes the table has no {what}"));
    let schema = schema.ok_or_else(|| missing("add-schema"))?;
    let place = place.ok_or_else(|| missing("set-location"))?;
    let table_uuid = table_uuid.ok_or_else(|| missing("assign-uuid"))?;
    let spec = spec.unwrap_or_else(|| UnboundPartitionSpec::builder().build());
    let order = order.unwrap_or_else(SortOrder::unsorted_order);
    build_first(format_version, table_uuid, place, &schema, &spec, &order)
        .map_err(|error| Error::BadRequest(format!("the table can't be made: {error}")))
}

fn build_first(
    format_version: FormatVersion,
    table_uuid: Uuid,
    location: &str,
    schema: &Schema,
    spec: &UnboundPartitionSpec,
    order: &SortOrder,
) -> serde_json::Result<TableMetadata> {
    const FIRST_PARTITION_FIELD_ID: i32 = 1000;
    let mut fields = Vec::new();
    let mut last_partition_id = FIRST_PARTITION_FIELD_ID - 1;
    for field in spec.fields() {
        let field_id = field.field_id.unwrap_or(last_partition_id + 1);
        last_partition_id = last_partition_id.max(field_id);
        let mut json = serde_json::to_value(field)?;
        json["field-id"] = field_id.into();
        fields.push(json);
    }
    let spec_id = spec.spec_id().unwrap_or(0);
    let mut metadata = json!({
        "format-version": format_version,
        "table-uuid": table_uuid,
        "location": location.trim_end_matches('/'),
        "last-sequence-number": 0,
        "last-updated-ms": 0,
        "last-column-id": schema.highest_field_id(),
        "schemas": [schema],
        "current-schema-id": schema.schema_id(),
        "partition-specs": [{"spec-id": spec_id, "fields": fields}],
        "default-spec-id": spec_id,
        "last-partition-id": last_partition_id,
        "sort-orders": [order],
        "default-sort-order-id": order.order_id,
        "properties": HashMap::<String, String>::new(),
    });
    match format_version {
        FormatVersion::V1 => {
            metadata["schema"] = serde_json::to_value(schema)?;
            metadata["partition-spec"] = metadata["partition-specs"][0]["fields"].clone();
        }
        FormatVersion::V2 => {}
        FormatVersion::V3 => metadata["next-row-id"] = 0.into(),
    }
    serde_json::from_value(metadata)
}

fn bad_request(error: impl ToString) -> Error {
    Error::BadRequest(error.to_string())
}
