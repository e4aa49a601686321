//! Changes of a table's metadata: schema, partition spec, sort order, branches and tags, location, statistics, format
//! version. None of them adds a file.
//!
//! [`plan_metadata`] is pure. It turns one [`MetadataChange`] into the updates and requirements of the Iceberg REST
//! protocol and checks that a table could take them. In a commit each attempt plans the change anew, on the table as it
//! is then, so a change says what it wants (`rename a to b`), never what the outcome is.
//!
//! What this module does not know: files of data, SQL.

mod branch;
mod current;
mod field_path;
mod fresh_ids;
mod outcome;
mod promotion;
mod replace;
mod schema;
mod sort;
mod spec;
mod tree;
mod upgrade;

use std::fmt;
use std::sync::Arc;

pub use branch::{IfThere, RefChange, RefKind, ancestor_at};
pub use field_path::FieldPath;
pub use promotion::check_promotion;
pub use replace::Replacement;
pub use schema::{NewField, Position, SchemaChange, SchemaStep};
pub use sort::SortTerm;
pub use spec::{SpecStep, partition_field_name};

pub(crate) use outcome::has_outcome;

use crate::spec::{FormatVersion, PartitionStatisticsFile, StatisticsFile, TableRequirement, TableUpdate};
use crate::{Error, Result, Table};

/// A change of a table's metadata that adds no file.
#[derive(Clone, Debug)]
pub enum MetadataChange {
    /// Columns at any depth (Iceberg spec, "Schema Evolution").
    Schema(SchemaChange),
    /// Partition fields (Iceberg spec, "Partition Evolution").
    PartitionSpec(Vec<SpecStep>),
    /// The order that writers sort by; without terms the table is unsorted (Iceberg spec, "Sorting").
    SortOrder(Vec<SortTerm>),
    /// A branch or a tag (Iceberg spec, "Snapshot References").
    Ref(RefChange),
    /// Where new files go. Old ones stay where they are.
    Location(String),
    /// A statistics file of a snapshot; one that is there already is replaced (Iceberg spec, "Table Statistics").
    SetStatistics(StatisticsFile),
    /// A snapshot has no statistics file any more.
    RemoveStatistics(i64),
    /// A partition statistics file of a snapshot (Iceberg spec, "Partition Statistics").
    SetPartitionStatistics(PartitionStatisticsFile),
    /// A snapshot has no partition statistics file any more.
    RemovePartitionStatistics(i64),
    /// A newer version of the format. There is no way back.
    UpgradeFormatVersion(FormatVersion),
    /// Another table under the same name and history: `CREATE OR REPLACE TABLE`.
    Replace(Box<Replacement>),
}

/// What one change of metadata asks of a catalog. Prints as a list for a person.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetadataPlan {
    /// What must still be true when the pointer moves.
    pub requirements: Vec<TableRequirement>,
    /// What changes. Empty if the table is that way already.
    pub updates: Vec<TableUpdate>,
}

/// Plans one change of metadata.
///
/// Cost: linear in the size of the metadata.
///
/// # Errors
/// [`Error::InvalidChange`] or [`Error::InvalidSchema`] if the table can't take the change; the text says what to do.
pub fn plan_metadata(table: &Table, change: &MetadataChange) -> Result<MetadataPlan> {
    let metadata = table.metadata();
    let mut plan = match change {
        MetadataChange::Schema(change) => schema::plan(metadata, change)?,
        MetadataChange::PartitionSpec(steps) => spec::plan(metadata, steps)?,
        MetadataChange::SortOrder(terms) => sort::plan(metadata, terms)?,
        MetadataChange::Ref(change) => branch::plan(table, change)?,
        MetadataChange::Replace(replacement) => replace::plan(table, replacement)?,
        MetadataChange::UpgradeFormatVersion(version) => upgrade::plan(metadata, *version)?,
        MetadataChange::Location(location) => one(TableUpdate::SetLocation { location: checked_location(location)? }),
        MetadataChange::SetStatistics(statistics) => {
            branch::check_snapshot(table, statistics.snapshot_id)?;
            one(TableUpdate::SetStatistics { statistics: statistics.clone() })
        }
        MetadataChange::RemoveStatistics(snapshot_id) => {
            one(TableUpdate::RemoveStatistics { snapshot_id: *snapshot_id })
        }
        MetadataChange::SetPartitionStatistics(statistics) => {
            branch::check_snapshot(table, statistics.snapshot_id)?;
            one(TableUpdate::SetPartitionStatistics { partition_statistics: statistics.clone() })
        }
        MetadataChange::RemovePartitionStatistics(snapshot_id) => {
            one(TableUpdate::RemovePartitionStatistics { snapshot_id: *snapshot_id })
        }
    };
    plan.requirements.insert(0, TableRequirement::UuidMatch { uuid: metadata.uuid() });
    apply(table, &plan.updates)?;
    Ok(plan)
}

/// The table as a change of metadata would leave it; nothing is stored. Files for it can be written before it is committed.
///
/// # Errors
/// As [`plan_metadata`].
pub fn preview_metadata(table: &Table, change: &MetadataChange) -> Result<Table> {
    let plan = plan_metadata(table, change)?;
    apply(table, &plan.updates)
}

/// The table as the updates leave it; nothing is stored.
///
/// # Errors
/// [`Error::InvalidChange`] if it can't take them.
pub(crate) fn apply(table: &Table, updates: &[TableUpdate]) -> Result<Table> {
    let location = table.metadata_location();
    let refuse = |error: iceberg::Error| Error::InvalidChange(error.message().to_owned());
    let mut builder = table.metadata().as_ref().clone().into_builder(Some(location.to_owned()));
    for update in updates {
        builder = update.clone().apply(builder).map_err(refuse)?;
    }
    let metadata = builder.build().map_err(refuse)?.metadata;
    Ok(table.after(updates, Arc::new(metadata), location))
}

/// The table with the time of its last change as it was before: the builder takes the machine's clock.
pub(crate) fn dated(table: &Table, last_updated_ms: i64) -> Result<Table> {
    let refuse = |error: serde_json::Error| Error::InvalidChange(error.to_string());
    let mut json = serde_json::to_value(table.metadata().as_ref()).map_err(refuse)?;
    json["last-updated-ms"] = last_updated_ms.into();
    for entry in json["snapshot-log"].as_array_mut().into_iter().flatten() {
        if entry["timestamp-ms"].as_i64().is_some_and(|at| at > last_updated_ms) {
            entry["timestamp-ms"] = last_updated_ms.into();
        }
    }
    let metadata = serde_json::from_value(json).map_err(refuse)?;
    Ok(Table::new(table.ident().clone(), Arc::new(metadata), table.metadata_location()))
}

fn one(update: TableUpdate) -> MetadataPlan {
    MetadataPlan { requirements: Vec::new(), updates: vec![update] }
}

fn checked_location(location: &str) -> Result<String> {
    let trimmed = location.trim_end_matches('/');
    match trimmed.is_empty() {
        true => Err(Error::InvalidChange("a table's location can't be empty".to_owned())),
        false => Ok(trimmed.to_owned()),
    }
}

impl fmt::Display for MetadataPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.updates.is_empty() {
            return writeln!(f, "nothing to change");
        }
        for update in &self.updates {
            writeln!(f, "{}", Described(update))?;
        }
        for requirement in &self.requirements {
            if !matches!(requirement, TableRequirement::UuidMatch { .. }) {
                writeln!(f, "requires {}", DescribedRequirement(requirement))?;
            }
        }
        Ok(())
    }
}

/// An update in words.
pub(crate) struct Described<'a>(pub(crate) &'a TableUpdate);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            TableUpdate::AddSchema { schema } => write!(f, "schema {}", outcome::schema_text(schema)),
            TableUpdate::SetCurrentSchema { schema_id: -1 } => write!(f, "the schema becomes the current one"),
            TableUpdate::SetCurrentSchema { schema_id } => {
                write!(f, "schema {schema_id} becomes the current one again")
            }
            TableUpdate::AddSpec { spec } => write!(f, "partition spec [{}]", spec::spec_text(spec.fields())),
            TableUpdate::SetDefaultSpec { spec_id: -1 } => write!(f, "the partition spec becomes the default"),
            TableUpdate::SetDefaultSpec { spec_id } => write!(f, "partition spec {spec_id} becomes the default again"),
            TableUpdate::AddSortOrder { sort_order } => write!(f, "sort order [{}]", sort::order_text(sort_order)),
            TableUpdate::SetDefaultSortOrder { sort_order_id: -1 } => write!(f, "the sort order becomes the default"),
            TableUpdate::SetDefaultSortOrder { sort_order_id } => {
                write!(f, "sort order {sort_order_id} becomes the default again")
            }
            TableUpdate::SetSnapshotRef { ref_name, reference } => {
                write!(f, "{} {ref_name} points to {}", RefKind::of(reference), reference.snapshot_id)?;
                branch::write_retention(f, &reference.retention)
            }
            TableUpdate::RemoveSnapshotRef { ref_name } => write!(f, "ref {ref_name} is removed"),
            TableUpdate::RemoveSnapshots { snapshot_ids } => {
                write!(f, "{} snapshots leave the metadata", snapshot_ids.len())
            }
            TableUpdate::SetProperties { updates } => write!(f, "{} properties are set", updates.len()),
            TableUpdate::RemoveProperties { removals } => write!(f, "{} properties are removed", removals.len()),
            TableUpdate::SetLocation { location } => write!(f, "location {location}"),
            TableUpdate::UpgradeFormatVersion { format_version } => write!(f, "format version {format_version}"),
            TableUpdate::SetStatistics { statistics } => {
                write!(f, "snapshot {} has statistics {}", statistics.snapshot_id, statistics.statistics_path)
            }
            TableUpdate::RemoveStatistics { snapshot_id } => {
                write!(f, "snapshot {snapshot_id} has no statistics")
            }
            TableUpdate::SetPartitionStatistics { partition_statistics: file } => {
                write!(f, "snapshot {} has partition statistics {}", file.snapshot_id, file.statistics_path)
            }
            TableUpdate::RemovePartitionStatistics { snapshot_id } => {
                write!(f, "snapshot {snapshot_id} has no partition statistics")
            }
            other => write!(f, "{other:?}"),
        }
    }
}

struct DescribedRequirement<'a>(&'a TableRequirement);

impl fmt::Display for DescribedRequirement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            TableRequirement::NotExist => write!(f, "that there is no table"),
            TableRequirement::UuidMatch { uuid } => write!(f, "table uuid {uuid}"),
            TableRequirement::RefSnapshotIdMatch { r#ref, snapshot_id: Some(id) } => write!(f, "{ref} at {id}"),
            TableRequirement::RefSnapshotIdMatch { r#ref, snapshot_id: None } => write!(f, "no ref {ref}"),
            TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: id } => {
                write!(f, "last assigned field id {id}")
            }
            TableRequirement::CurrentSchemaIdMatch { current_schema_id: id } => write!(f, "current schema id {id}"),
            TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id: id } => {
                write!(f, "last assigned partition id {id}")
            }
            TableRequirement::DefaultSpecIdMatch { default_spec_id: id } => write!(f, "default spec id {id}"),
            TableRequirement::DefaultSortOrderIdMatch { default_sort_order_id: id } => {
                write!(f, "default sort order id {id}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
