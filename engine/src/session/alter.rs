//! `ALTER TABLE`: what is written becomes a change of the table's metadata, which the table's own rules check.

mod columns;

use std::collections::HashMap;

use frazil_table::evolve::{FieldPath, IfThere, RefChange, RefKind, SchemaChange, SchemaStep, SortTerm, SpecStep};
use frazil_table::spec::{FormatVersion, NullOrder, SnapshotRetention, SortDirection, Transform};
use frazil_table::{Change, MetadataChange};

use super::change::at_place;
use super::create_table::{COMMENT, transform_of};
use super::iceberg_options::iceberg_schema_of_options;
use super::text::refuse;
use super::{IcebergTable, Session, TablePath};
use crate::Result;
use crate::options::{Kind, Options, Spec};
use crate::sql::{AlterAction, AlterTable, ColumnPath, CreateRef, Name, OrderTerm, PartitionField, Span, SqlError};

/// The property that says how writers share rows among themselves.
const DISTRIBUTION_MODE: &str = "write.distribution-mode";

impl Session {
    pub(super) async fn alter_table(&mut self, alter: &AlterTable, script: &str) -> Result<String> {
        let name = &alter.name;
        if alter.if_exists && !self.exists(&self.path_of(name)).await? {
            return Ok(format!("there is no table {name}"));
        }
        let table = self.iceberg_or_refuse(name, script).await?;
        if let AlterAction::RenameTo(to) = &alter.action {
            return self.rename_table(&table, name, to, script).await;
        }
        let changes = self.changes_of(&table, alter, script)?;
        if changes.is_empty() {
            return Ok(format!("table {name} is that way already"));
        }
        let altered = self.commit_changes(&table, &changes).await;
        let altered = altered.map_err(|error| at_place(error, |field| place_of(alter, field), script))?;
        match altered.metadata_location() == table.table.metadata_location() {
            true => Ok(format!("table {name} is that way already")),
            false => Ok(format!("table {name} is altered")),
        }
    }

    async fn rename_table(&self, table: &IcebergTable, name: &Name, to: &Name, script: &str) -> Result<String> {
        let path = &table.path;
        if to.catalog().is_some_and(|catalog| catalog != path.catalog) {
            return refuse(
                "a table can't go to another catalog",
                Some("CREATE TABLE … AS SELECT".to_owned()),
                to,
                script,
            );
        }
        let database = to.database().unwrap_or(&path.database).to_owned();
        let target = TablePath { catalog: path.catalog.clone(), database, table: to.last().to_owned() };
        match table.catalog.rename_table(&path.ident(), &target.ident()).await {
            Ok(()) => Ok(format!("table {name} is called {target} now")),
            Err(frazil_catalog::Error::TableExists(_)) => {
                refuse(format!("there is a table '{}' already", target.table), None, to, script)
            }
            Err(frazil_catalog::Error::NoSuchNamespace(_)) => {
                self.refuse_unknown_database(&target.catalog, &target.database, to, script).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What the statement asks of the table. Pure but for constants, which DataFusion computes.
    fn changes_of(&self, table: &IcebergTable, alter: &AlterTable, script: &str) -> Result<Vec<Change>> {
        let metadata = |change| Ok(vec![Change::Metadata(change)]);
        match &alter.action {
            AlterAction::RenameTo(_) => unreachable!("a new name is the catalog's matter"),
            AlterAction::Set(options) => set(table, options, script),
            AlterAction::Reset { keys, if_exists } => {
                let unset = keys.iter().find(|(key, _)| table.table.property(key).is_none());
                if let (false, Some((key, span))) = (*if_exists, unset) {
                    let error = SqlError::new(format!("the table has no property '{key}'"), *span, script);
                    return Err(error.help("UNSET TBLPROPERTIES IF EXISTS (…) takes that").into());
                }
                let there = keys.iter().filter(|(key, _)| table.table.property(key).is_some());
                let removals: Vec<String> = there.map(|(key, _)| key.clone()).collect();
                Ok(if removals.is_empty() { Vec::new() } else { vec![Change::RemoveProperties(removals)] })
            }
            AlterAction::SetLocation(location) => metadata(MetadataChange::Location(location.clone())),
            AlterAction::Columns(steps) => {
                let steps = self.schema_steps(table, steps, script)?;
                Ok(if steps.is_empty() { Vec::new() } else { vec![schema_change(steps)] })
            }
            AlterAction::SetIdentifierFields(fields) => {
                let paths = fields.iter().map(path).collect();
                Ok(vec![schema_change(vec![SchemaStep::SetIdentifierFields(paths)])])
            }
            AlterAction::DropIdentifierFields(fields) => {
                Ok(vec![schema_change(vec![without_identifiers(table, fields, script)?])])
            }
            AlterAction::AddPartitionField { field, name } => {
                metadata(MetadataChange::PartitionSpec(vec![add_step(field, name.clone())]))
            }
            AlterAction::DropPartitionField(field) => {
                metadata(MetadataChange::PartitionSpec(vec![drop_step(table, field)]))
            }
            AlterAction::ReplacePartitionField { old, new, name } => {
                metadata(MetadataChange::PartitionSpec(vec![drop_step(table, old), add_step(new, name.clone())]))
            }
            AlterAction::RenamePartitionField { name, to } => {
                metadata(MetadataChange::PartitionSpec(vec![SpecStep::Rename { name: name.clone(), to: to.clone() }]))
            }
            AlterAction::WriteOrder { terms, distribution } => {
                let terms = terms.iter().map(sort_term).collect();
                let mut changes = vec![Change::Metadata(MetadataChange::SortOrder(terms))];
                if table.table.property(DISTRIBUTION_MODE) != Some(distribution) {
                    let mode = HashMap::from([(DISTRIBUTION_MODE.to_owned(), (*distribution).to_owned())]);
                    changes.push(Change::SetProperties(mode));
                }
                Ok(changes)
            }
            AlterAction::CreateRef(create) => metadata(MetadataChange::Ref(create_ref(create))),
            AlterAction::DropRef { is_tag, name, if_exists } => {
                let kind = if *is_tag { RefKind::Tag } else { RefKind::Branch };
                metadata(MetadataChange::Ref(RefChange::Drop { name: name.clone(), kind, if_exists: *if_exists }))
            }
        }
    }
}

fn schema_change(steps: Vec<SchemaStep>) -> Change {
    Change::Metadata(MetadataChange::Schema(SchemaChange { steps, ..SchemaChange::default() }))
}

fn path(column: &ColumnPath) -> FieldPath {
    FieldPath::new(column.path.iter().cloned())
}

/// Where a column stands in the statement; the whole action if it does not.
fn place_of(alter: &AlterTable, field: &str) -> Span {
    let written = |column: &&ColumnPath| column.path.join(".") == field;
    let column = match &alter.action {
        AlterAction::Columns(steps) => {
            let columns = steps.iter().map(columns::column_of);
            match steps.len() {
                1 => columns.into_iter().next(),
                _ => columns.into_iter().find(|column| written(column)),
            }
        }
        AlterAction::SetIdentifierFields(fields) | AlterAction::DropIdentifierFields(fields) => {
            fields.iter().find(written)
        }
        _ => None,
    };
    column.map_or(alter.span, |column| column.span)
}

/// `SET ('key' = 'value')`: properties, but for the format version and the location, which the metadata has elsewhere.
fn set(table: &IcebergTable, options: &Options, script: &str) -> Result<Vec<Change>> {
    let known =
        iceberg_schema_of_options().key(Spec::new(COMMENT, Kind::Text)).key(Spec::new("gc.enabled", Kind::Boolean));
    known.check(options)?;
    let mut properties = HashMap::new();
    let mut changes = Vec::new();
    for entry in options.iter() {
        let refuse = |message: String| Err(SqlError::new(message, entry.key_span, script).into());
        match entry.key.as_str() {
            "connector" => return refuse("the connector of a table can't change".to_owned()),
            "location" => changes.push(Change::Metadata(MetadataChange::Location(entry.value.clone()))),
            "format-version" => {
                let version = match entry.value.as_str() {
                    "1" => FormatVersion::V1,
                    "2" => FormatVersion::V2,
                    "3" => FormatVersion::V3,
                    other => {
                        let message = format!("option 'format-version' is '{other}', but has to be 1, 2 or 3");
                        return Err(SqlError::new(message, entry.value_span, script).into());
                    }
                };
                changes.push(Change::Metadata(MetadataChange::UpgradeFormatVersion(version)));
            }
            key if table.table.property(key) == Some(&entry.value) => {}
            key => drop(properties.insert(key.to_owned(), entry.value.clone())),
        }
    }
    if !properties.is_empty() {
        changes.push(Change::SetProperties(properties));
    }
    Ok(changes)
}

fn without_identifiers(table: &IcebergTable, fields: &[ColumnPath], script: &str) -> Result<SchemaStep> {
    let schema = table.table.metadata().current_schema();
    let mut ids: Vec<i32> = schema.identifier_field_ids().collect();
    ids.sort_unstable();
    for field in fields {
        let id = schema.field_id_by_name(&field.path.join("."));
        match ids.iter().position(|known| Some(*known) == id) {
            Some(index) => drop(ids.remove(index)),
            None => {
                let message = format!("'{}' is no identifier field", field.path.join("."));
                return Err(SqlError::new(message, field.span, script).into());
            }
        }
    }
    let names = ids.into_iter().filter_map(|id| schema.name_by_field_id(id)).map(FieldPath::from);
    Ok(SchemaStep::SetIdentifierFields(names.collect()))
}

fn source(field: &PartitionField) -> (FieldPath, Transform) {
    (FieldPath::new(field.column.iter().cloned()), transform_of(field.transform))
}

fn add_step(field: &PartitionField, name: Option<String>) -> SpecStep {
    let (source, transform) = source(field);
    SpecStep::Add { source, transform, name }
}

/// A single name is that of a partition field, if there is one of that name, and else a column.
fn drop_step(table: &IcebergTable, field: &PartitionField) -> SpecStep {
    let (source, transform) = source(field);
    let metadata = table.table.metadata();
    let is_column = metadata.current_schema().field_by_name(&field.column.join(".")).is_some();
    let is_field = metadata.default_partition_spec().fields().iter().any(|f| [f.name.as_str()] == field.column[..]);
    match transform == Transform::Identity && field.column.len() == 1 && (is_field || !is_column) {
        true => SpecStep::Drop { name: field.column[0].clone() },
        false => SpecStep::DropTerm { source, transform },
    }
}

fn sort_term(term: &OrderTerm) -> SortTerm {
    let (source, transform) = source(&term.field);
    SortTerm {
        source,
        transform,
        direction: if term.descending { SortDirection::Descending } else { SortDirection::Ascending },
        null_order: if term.nulls_first { NullOrder::First } else { NullOrder::Last },
    }
}

fn create_ref(create: &CreateRef) -> RefChange {
    let retention = match create.is_tag {
        true => SnapshotRetention::Tag { max_ref_age_ms: create.max_ref_age_ms },
        false => {
            SnapshotRetention::branch(create.min_snapshots_to_keep, create.max_snapshot_age_ms, create.max_ref_age_ms)
        }
    };
    let if_there = match (create.replace_only, create.or_replace, create.if_not_exists) {
        (true, ..) => IfThere::ReplaceOnly,
        (_, true, _) => IfThere::Replace,
        (.., true) => IfThere::Keep,
        _ => IfThere::Refuse,
    };
    RefChange::Create { name: create.name.clone(), snapshot_id: create.snapshot_id, retention, if_there }
}

#[cfg(test)]
mod tests;
