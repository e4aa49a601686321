//! A schema's fields while they are being changed.

use std::sync::Arc;

use super::FieldPath;
use crate::spec::{ListType, MapType, NestedField, NestedFieldRef, StructType, Type};
use crate::{Error, Result};

/// The name of a list's element in a path.
const ELEMENT: &str = "element";
/// The name of a map's key in a path.
const KEY: &str = "key";
/// The name of a map's value in a path.
const VALUE: &str = "value";

/// The fields of a schema, edited one after the other.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    fields: Vec<NestedFieldRef>,
    /// Whether names have to agree in case, too.
    case_sensitive: bool,
}

/// Where a field stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A field of a struct or of the schema.
    Field,
    /// A list's element.
    Element,
    /// A map's key.
    Key,
    /// A map's value.
    Value,
}

/// A field that a path has led to.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) field: NestedFieldRef,
    pub(super) role: Role,
    /// The struct that it is a field of; `None` for the schema itself. Meaningless for elements, keys and values.
    pub(super) parent: Option<i32>,
    /// Whether it is a map's key or inside of one.
    pub(super) in_map_key: bool,
    /// Its names in full, in the case of the schema.
    pub(super) path: FieldPath,
}

impl Tree {
    pub(super) fn new(fields: &[NestedFieldRef], case_sensitive: bool) -> Self {
        Self { fields: fields.to_vec(), case_sensitive }
    }

    pub(super) fn into_fields(self) -> Vec<NestedFieldRef> {
        self.fields
    }

    /// The field at a path.
    ///
    /// # Errors
    /// [`Error::InvalidSchema`] with the nearest names that are there.
    pub(super) fn locate(&self, path: &FieldPath) -> Result<Located> {
        let mut at: Option<Located> = None;
        for name in path.names() {
            let below = self.children(at.as_ref());
            at = Some(self.pick(&below, name, path)?);
        }
        at.ok_or_else(|| Error::InvalidChange("a column's name is missing".to_owned()))
    }

    /// The struct that fields may be added to: at the path itself, or the element or value of a list or map there.
    /// `None` is the schema.
    ///
    /// # Errors
    /// [`Error::InvalidSchema`] if it is no struct.
    pub(super) fn locate_struct(&self, path: &FieldPath) -> Result<Option<Located>> {
        if path.names().is_empty() {
            return Ok(None);
        }
        let mut located = self.locate(path)?;
        let inside = match located.field.field_type.as_ref() {
            Type::List(_) => Some(ELEMENT),
            Type::Map(_) => Some(VALUE),
            _ => None,
        };
        if let Some(name) = inside {
            located = self.locate(&located.path.join(name))?;
        }
        match located.field.field_type.as_ref() {
            Type::Struct(_) => Ok(Some(located)),
            other => Err(Error::invalid_schema(&path.to_string(), format!("it is {other}, which has no fields"))),
        }
    }

    /// The fields of the struct with an id; of the schema for `None`.
    pub(super) fn fields_of(&self, parent: Option<i32>) -> Vec<NestedFieldRef> {
        let Some(id) = parent else { return self.fields.clone() };
        let mut found = Vec::new();
        visit(&self.fields, &mut |field| {
            if let (true, Type::Struct(fields)) = (field.id == id, field.field_type.as_ref()) {
                found = fields.fields().to_vec();
            }
        });
        found
    }

    /// The fields from the outermost down to the one with an id.
    pub(super) fn way_to(&self, id: i32) -> Option<Vec<NestedFieldRef>> {
        way_to(&self.fields, id)
    }

    /// Changes one field.
    pub(super) fn edit(&mut self, id: i32, edit: &mut dyn FnMut(&mut NestedField)) {
        self.fields = rebuild_all(&self.fields, &mut |field| {
            if field.id == id {
                edit(field);
            }
        });
    }

    /// Changes the list of a struct's fields; of the schema's for `None`.
    pub(super) fn edit_fields(&mut self, parent: Option<i32>, edit: impl FnOnce(&mut Vec<NestedFieldRef>)) {
        let mut fields = self.fields_of(parent);
        edit(&mut fields);
        match parent {
            None => self.fields = fields,
            Some(id) => self.edit(id, &mut |field| *field.field_type = Type::Struct(StructType::new(fields.clone()))),
        }
    }

    /// Whether two names are the same column's.
    pub(super) fn same_name(&self, left: &str, right: &str) -> bool {
        match self.case_sensitive {
            true => left == right,
            false => left.to_lowercase() == right.to_lowercase(),
        }
    }

    fn pick(&self, below: &[Located], name: &str, path: &FieldPath) -> Result<Located> {
        if let Some(exact) = below.iter().find(|located| located.field.name == name) {
            return Ok(exact.clone());
        }
        let mut alike = below.iter().filter(|located| self.same_name(&located.field.name, name));
        match (alike.next(), alike.next()) {
            (Some(one), None) => Ok(one.clone()),
            (Some(one), Some(other)) => Err(Error::invalid_schema(
                &path.to_string(),
                format!("'{name}' may be {} or {}; write it as the schema has it", one.path, other.path),
            )),
            (None, _) => Err(Error::invalid_schema(&path.to_string(), missing(below, name))),
        }
    }

    /// What a name below a field may mean, full names before those that leave `element` or `value` out.
    fn children(&self, at: Option<&Located>) -> Vec<Located> {
        let Some(at) = at else {
            return self.fields.iter().map(|field| child(None, field, Role::Field)).collect();
        };
        let direct = direct_children(at);
        let through = direct.iter().rev().find(|located| located.role != Role::Field);
        let shortened = through.filter(|located| located.role != Role::Key).map(direct_children).unwrap_or_default();
        let structs_only = shortened.into_iter().filter(|located| located.role == Role::Field);
        direct.iter().cloned().chain(structs_only).collect()
    }
}

fn direct_children(at: &Located) -> Vec<Located> {
    match at.field.field_type.as_ref() {
        Type::Primitive(_) => Vec::new(),
        Type::Struct(fields) => fields.fields().iter().map(|field| child(Some(at), field, Role::Field)).collect(),
        Type::List(list) => vec![child(Some(at), &list.element_field, Role::Element)],
        Type::Map(map) => {
            vec![child(Some(at), &map.key_field, Role::Key), child(Some(at), &map.value_field, Role::Value)]
        }
    }
}

fn child(at: Option<&Located>, field: &NestedFieldRef, role: Role) -> Located {
    let root = FieldPath::root();
    let name = match role {
        Role::Field => field.name.as_str(),
        Role::Element => ELEMENT,
        Role::Key => KEY,
        Role::Value => VALUE,
    };
    Located {
        field: field.clone(),
        role,
        parent: at.map(|at| at.field.id),
        in_map_key: role == Role::Key || at.is_some_and(|at| at.in_map_key),
        path: at.map_or(&root, |at| &at.path).join(name),
    }
}

fn missing(below: &[Located], name: &str) -> String {
    let wanted = name.to_lowercase();
    let other_case = below.iter().find(|located| located.field.name.to_lowercase() == wanted);
    match (other_case, below) {
        (Some(other), _) => format!("there is no such field, but there is '{}'; case counts", other.path),
        (None, []) => "there is no such field: what it would be in has no fields".to_owned(),
        (None, below) => {
            let names: Vec<_> = below.iter().map(|located| located.field.name.as_str()).collect();
            format!("there is no field '{name}'; there are {}", shortened(&names))
        }
    }
}

fn shortened(names: &[&str]) -> String {
    const NAMES_MAX: usize = 12;
    match names.len() > NAMES_MAX {
        true => format!("{} and {} more", names[..NAMES_MAX].join(", "), names.len() - NAMES_MAX),
        false => names.join(", "),
    }
}

fn way_to(fields: &[NestedFieldRef], id: i32) -> Option<Vec<NestedFieldRef>> {
    fields.iter().find_map(|field| {
        let mut way = vec![field.clone()];
        if field.id != id {
            way.extend(match field.field_type.as_ref() {
                Type::Primitive(_) => None,
                Type::Struct(inner) => way_to(inner.fields(), id),
                Type::List(list) => way_to(std::slice::from_ref(&list.element_field), id),
                Type::Map(map) => way_to(&[map.key_field.clone(), map.value_field.clone()], id),
            }?);
        }
        Some(way)
    })
}

fn visit(fields: &[NestedFieldRef], look: &mut impl FnMut(&NestedFieldRef)) {
    for field in fields {
        look(field);
        match field.field_type.as_ref() {
            Type::Primitive(_) => {}
            Type::Struct(inner) => visit(inner.fields(), look),
            Type::List(list) => visit(std::slice::from_ref(&list.element_field), look),
            Type::Map(map) => visit(&[map.key_field.clone(), map.value_field.clone()], look),
        }
    }
}

fn rebuild_all(fields: &[NestedFieldRef], edit: &mut dyn FnMut(&mut NestedField)) -> Vec<NestedFieldRef> {
    fields.iter().map(|field| rebuild(field, edit)).collect()
}

fn rebuild(field: &NestedFieldRef, edit: &mut dyn FnMut(&mut NestedField)) -> NestedFieldRef {
    let mut rebuilt = field.as_ref().clone();
    *rebuilt.field_type = match field.field_type.as_ref() {
        Type::Primitive(primitive) => Type::Primitive(primitive.clone()),
        Type::Struct(inner) => Type::Struct(StructType::new(rebuild_all(inner.fields(), edit))),
        Type::List(list) => Type::List(ListType::new(rebuild(&list.element_field, edit))),
        Type::Map(map) => Type::Map(MapType::new(rebuild(&map.key_field, edit), rebuild(&map.value_field, edit))),
    };
    edit(&mut rebuilt);
    Arc::new(rebuilt)
}
