//! A Parquet file's columns as a tree of field ids.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Fields, Schema as ArrowSchema};
use frazil_table::arrow::field_id;
use frazil_table::spec::{MappedField, NameMapping};

use crate::{Error, Result};

/// A column of a file, or a part of one.
#[derive(Clone, Debug)]
pub(crate) struct FileField {
    /// `None` where neither the file nor the name mapping gives one.
    pub id: Option<i32>,
    pub name: String,
    pub nullable: bool,
    pub data_type: DataType,
    pub kind: FileKind,
    /// The Parquet leaf columns at and below it.
    pub leaves: Range<usize>,
}

#[derive(Clone, Debug)]
pub(crate) enum FileKind {
    Leaf,
    Struct(Vec<FileField>),
    List(Box<FileField>),
    Map(Box<FileField>, Box<FileField>),
}

/// The columns of a file.
///
/// Ids come from the file. Only where it has none at all do they come from the table's name mapping
/// (`schema.name-mapping.default`; Iceberg spec, "Column Projection").
///
/// # Errors
/// [`Error::Unsupported`] if there are neither ids nor a mapping.
pub(crate) fn file_fields(
    location: &str,
    schema: &ArrowSchema,
    mapping: Option<&NameMapping>,
) -> Result<Vec<FileField>> {
    let mut next_leaf = 0;
    let mut fields = read_fields(schema.fields(), &mut next_leaf);
    if !fields.is_empty() && !fields.iter().any(has_id) {
        let mapping = mapping.ok_or_else(|| {
            let reason = "its columns have no field ids; set the table property schema.name-mapping.default";
            Error::unsupported(location, reason)
        })?;
        let mapped: Vec<&MappedField> = mapping.fields().iter().collect();
        fields.iter_mut().for_each(|field| assign(field, &mapped));
    }
    Ok(fields)
}

fn read_fields(fields: &Fields, next_leaf: &mut usize) -> Vec<FileField> {
    fields.iter().map(|field| read_field(field, next_leaf)).collect()
}

fn read_field(field: &FieldRef, next_leaf: &mut usize) -> FileField {
    let first = *next_leaf;
    let kind = match field.data_type() {
        DataType::Struct(fields) => FileKind::Struct(read_fields(fields, next_leaf)),
        DataType::List(element) => FileKind::List(Box::new(read_field(element, next_leaf))),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                let key = Box::new(read_field(&pair[0], next_leaf));
                FileKind::Map(key, Box::new(read_field(&pair[1], next_leaf)))
            }
            other => unreachable!("the parquet crate makes map entries of a key and a value, not {other}"),
        },
        _ => {
            *next_leaf += 1;
            FileKind::Leaf
        }
    };
    FileField {
        id: field_id(field),
        name: field.name().clone(),
        nullable: field.is_nullable(),
        data_type: field.data_type().clone(),
        kind,
        leaves: first..*next_leaf,
    }
}

fn has_id(field: &FileField) -> bool {
    field.id.is_some()
        || match &field.kind {
            FileKind::Leaf => false,
            FileKind::Struct(fields) => fields.iter().any(has_id),
            FileKind::List(element) => has_id(element),
            FileKind::Map(key, value) => has_id(key) || has_id(value),
        }
}

/// In a mapping, parts of lists and maps are called `element`, `key` and `value`, whatever the file calls them.
fn assign(field: &mut FileField, mapped: &[&MappedField]) {
    let name = field.name.clone();
    assign_as(field, &name, mapped);
}

fn assign_as(field: &mut FileField, name: &str, mapped: &[&MappedField]) {
    let Some(found) = mapped.iter().find(|m| m.names().iter().any(|n| n == name)) else { return };
    field.id = found.field_id();
    let below: Vec<&MappedField> = found.fields().iter().map(Arc::as_ref).collect();
    match &mut field.kind {
        FileKind::Leaf => {}
        FileKind::Struct(fields) => fields.iter_mut().for_each(|f| assign(f, &below)),
        FileKind::List(element) => assign_as(element, "element", &below),
        FileKind::Map(key, value) => {
            assign_as(key, "key", &below);
            assign_as(value, "value", &below);
        }
    }
}

/// The field of that id among siblings.
pub(crate) fn by_id(fields: &[FileField], id: i32) -> Option<&FileField> {
    fields.iter().find(|field| field.id == Some(id))
}
