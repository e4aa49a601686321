//! Table properties that name columns follow a change of schema, as in Iceberg's Java library: settings of a column go
//! with it, and the name mapping learns its new name.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::super::tree::Tree;
use crate::spec::{NestedFieldRef, Schema, TableMetadata, TableUpdate, Type};
use crate::{Error, Result};

/// Properties whose keys end with the name of a column.
const COLUMN_PROPERTIES: [&str; 5] = [
    "write.metadata.metrics.column.",
    "write.parquet.bloom-filter-enabled.column.",
    "write.parquet.bloom-filter-fpp.column.",
    "write.parquet.bloom-filter-ndv.column.",
    "write.parquet.stats-enabled.column.",
];

/// Which names stand for which fields in files that carry no field ids (Iceberg spec, "Column Projection").
const NAME_MAPPING: &str = "schema.name-mapping.default";

/// Columns whose full name is another now, by the old one; `None` for those that were dropped. With the new tree.
pub(super) struct MovedNames {
    moved: BTreeMap<String, Option<String>>,
    fields: Vec<NestedFieldRef>,
}

pub(super) fn moved_names(current: &Schema, tree: &Tree) -> MovedNames {
    let fields = tree.fields_of(None);
    let mut names = HashMap::new();
    name_all(&fields, "", &mut names);
    let moved = current.field_id_to_name_map().iter().filter_map(|(id, old)| {
        let new = names.get(id).cloned();
        (new.as_deref() != Some(old)).then(|| (old.clone(), new))
    });
    MovedNames { moved: moved.collect(), fields }
}

fn name_all(fields: &[NestedFieldRef], prefix: &str, names: &mut HashMap<i32, String>) {
    for field in fields {
        let name = if prefix.is_empty() { field.name.clone() } else { format!("{prefix}.{}", field.name) };
        match field.field_type.as_ref() {
            Type::Primitive(_) => {}
            Type::Struct(inner) => name_all(inner.fields(), &name, names),
            Type::List(list) => name_all(std::slice::from_ref(&list.element_field), &name, names),
            Type::Map(map) => name_all(&[map.key_field.clone(), map.value_field.clone()], &name, names),
        }
        names.insert(field.id, name);
    }
}

/// # Errors
/// [`Error::InvalidChange`] if the table's name mapping is not one.
pub(super) fn property_updates(metadata: &TableMetadata, names: &MovedNames) -> Result<Vec<TableUpdate>> {
    let mut set = HashMap::new();
    let mut removals = Vec::new();
    for (key, value) in metadata.properties() {
        let Some(prefix) = COLUMN_PROPERTIES.into_iter().find(|prefix| key.starts_with(prefix)) else { continue };
        if let Some(new) = names.moved.get(&key[prefix.len()..]) {
            removals.push(key.clone());
            set.extend(new.as_ref().map(|new| (format!("{prefix}{new}"), value.clone())));
        }
    }
    removals.retain(|key| !set.contains_key(key));
    if let Some(mapping) = metadata.properties().get(NAME_MAPPING) {
        let damaged = |error: serde_json::Error| {
            Error::InvalidChange(format!("table property {NAME_MAPPING} is not a name mapping: {error}"))
        };
        let old: Value = serde_json::from_str(mapping).map_err(damaged)?;
        let new = map_fields(&names.fields, old.as_array().map_or(&[], Vec::as_slice));
        if new != old {
            set.insert(NAME_MAPPING.to_owned(), new.to_string());
        }
    }
    removals.sort();
    let mut updates = Vec::new();
    if !removals.is_empty() {
        updates.push(TableUpdate::RemoveProperties { removals });
    }
    if !set.is_empty() {
        updates.push(TableUpdate::SetProperties { updates: set });
    }
    Ok(updates)
}

/// The mapping of a list of fields: each keeps the names that it had and gets its name of now, which no other field
/// beside it has any more.
fn map_fields(fields: &[NestedFieldRef], old: &[Value]) -> Value {
    let owner: HashMap<&str, i32> = fields.iter().map(|field| (field.name.as_str(), field.id)).collect();
    let mapped = fields.iter().map(|field| {
        let before = old.iter().find(|entry| entry["field-id"] == field.id);
        let known = before.and_then(|entry| entry["names"].as_array()).into_iter().flatten();
        let mut names: Vec<&str> = known
            .filter_map(Value::as_str)
            .filter(|name| owner.get(name).is_none_or(|owner| *owner == field.id))
            .collect();
        if !names.contains(&field.name.as_str()) {
            names.push(&field.name);
        }
        let inside = before.and_then(|entry| entry["fields"].as_array()).map_or(&[][..], Vec::as_slice);
        let mut entry = json!({"field-id": field.id, "names": names});
        match field.field_type.as_ref() {
            Type::Primitive(_) => {}
            Type::Struct(inner) => entry["fields"] = map_fields(inner.fields(), inside),
            Type::List(list) => entry["fields"] = map_fields(std::slice::from_ref(&list.element_field), inside),
            Type::Map(map) => {
                entry["fields"] = map_fields(&[map.key_field.clone(), map.value_field.clone()], inside);
            }
        }
        entry
    });
    // Fields that were dropped keep their names, so that old files' columns are not taken for others; but for those that
    // a field has now.
    let dropped =
        old.iter().filter(|entry| fields.iter().all(|field| entry["field-id"] != field.id)).filter_map(|entry| {
            let mut entry = entry.clone();
            let names = entry["names"].as_array_mut()?;
            names.retain(|name| name.as_str().is_some_and(|name| !owner.contains_key(name)));
            (!names.is_empty()).then_some(entry)
        });
    mapped.chain(dropped).collect()
}
