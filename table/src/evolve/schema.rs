//! Columns: added, dropped, renamed, moved, retyped, described, at any depth (Iceberg spec, "Schema Evolution").
//!
//! The steps of one change are applied in order, each on what the one before left, and make one new schema. Ids are
//! never used twice: new fields get ids above the last one that the table ever assigned.

mod check;
mod dependents;

use std::sync::Arc;

use super::fresh_ids::FreshIds;
use super::tree::{Located, Role, Tree};
use super::{FieldPath, MetadataPlan, check_promotion};
use crate::spec::{FormatVersion, Literal, NestedField, PrimitiveType, Schema, TableMetadata, TableRequirement, Type};
use crate::{Error, Result};

/// Steps that make one new schema.
#[derive(Clone, Debug, Default)]
pub struct SchemaChange {
    /// In order.
    pub steps: Vec<SchemaStep>,
    /// Whether names agree without regard to case. Then no two fields of a struct may differ by case alone.
    pub ignore_case: bool,
    /// Whether a field may become required, or be added as required without a default, though old rows may have none.
    pub allow_incompatible: bool,
}

/// One step of a change of schema.
#[derive(Clone, Debug)]
pub enum SchemaStep {
    /// A new field, with an id that nobody has had.
    Add(Box<NewField>),
    /// A field goes, with all fields inside of it. Its id stays used.
    Drop(FieldPath),
    /// A field of a struct gets another name; the id stays.
    Rename {
        /// The field.
        path: FieldPath,
        /// Its new name, without the names around it.
        name: String,
    },
    /// A field of a primitive type gets a wider one ([`check_promotion`]).
    SetType {
        /// The field.
        path: FieldPath,
        /// Its new type.
        field_type: PrimitiveType,
    },
    /// A field may have no value (`false`), or has to have one.
    SetRequired {
        /// The field.
        path: FieldPath,
        /// Whether it has to have a value.
        required: bool,
    },
    /// A field is described, or no longer.
    SetDoc {
        /// The field.
        path: FieldPath,
        /// The description.
        doc: Option<String>,
    },
    /// What writers fill in where a row says nothing (format version 3). What older rows have stays as it is.
    SetWriteDefault {
        /// The field.
        path: FieldPath,
        /// `None`: null.
        value: Option<Literal>,
    },
    /// A field goes to another place in its struct.
    Move {
        /// The field.
        path: FieldPath,
        /// The place.
        position: Position,
    },
    /// The fields that identify a row (Iceberg spec, "Identifier Field IDs"). None: rows have no identity.
    SetIdentifierFields(Vec<FieldPath>),
}

/// A field that is to be added.
#[derive(Clone, Debug)]
pub struct NewField {
    /// The struct that it goes into, or a list or map of structs; [`FieldPath::root`] for a column.
    pub parent: FieldPath,
    /// Its name, without the names around it.
    pub name: String,
    /// Its type; ids inside of it are replaced by fresh ones.
    pub field_type: Type,
    /// Whether each row has a value.
    pub required: bool,
    /// A description.
    pub doc: Option<String>,
    /// The value of rows that were written before, and of later ones that say nothing (format version 3).
    pub default: Option<Literal>,
    /// Its place; `None` is the last.
    pub position: Option<Position>,
}

/// A place among the fields of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// In front of all others.
    First,
    /// Right in front of a field of the same struct.
    Before(String),
    /// Right behind a field of the same struct.
    After(String),
}

pub(super) fn plan(metadata: &TableMetadata, change: &SchemaChange) -> Result<MetadataPlan> {
    let current = metadata.current_schema();
    let mut evolution = Evolution::of(metadata, change);
    for step in &change.steps {
        evolution.apply(step)?;
    }
    let moved_names = dependents::moved_names(current, &evolution.tree);
    let schema = evolution.build(metadata)?;
    check::check_dependents(metadata, &schema)?;
    if schema.as_struct() == current.as_struct() && same_identifiers(&schema, current) {
        return Ok(MetadataPlan::default());
    }
    let mut updates = super::current::schema_updates(metadata, schema);
    updates.extend(dependents::property_updates(metadata, &moved_names)?);
    let requirements = vec![
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: current.schema_id() },
        TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: metadata.last_column_id() },
    ];
    Ok(MetadataPlan { requirements, updates })
}

pub(super) fn same_identifiers(left: &Schema, right: &Schema) -> bool {
    let ids = |schema: &Schema| schema.identifier_field_ids().collect::<std::collections::BTreeSet<_>>();
    ids(left) == ids(right)
}

struct Evolution<'a> {
    change: &'a SchemaChange,
    format_version: FormatVersion,
    tree: Tree,
    fresh: FreshIds,
    identifiers: Vec<i32>,
}

impl<'a> Evolution<'a> {
    fn of(metadata: &TableMetadata, change: &'a SchemaChange) -> Self {
        let current = metadata.current_schema();
        let mut identifiers: Vec<i32> = current.identifier_field_ids().collect();
        identifiers.sort_unstable();
        Self {
            change,
            format_version: metadata.format_version(),
            tree: Tree::new(current.as_struct().fields(), !change.ignore_case),
            fresh: FreshIds::after(metadata.last_column_id()),
            identifiers,
        }
    }

    fn apply(&mut self, step: &SchemaStep) -> Result<()> {
        match step {
            SchemaStep::Add(field) => self.add(field),
            SchemaStep::Drop(path) => self.drop_field(path),
            SchemaStep::Rename { path, name } => self.rename(path, name),
            SchemaStep::SetType { path, field_type } => self.set_type(path, field_type),
            SchemaStep::SetRequired { path, required } => self.set_required(path, *required),
            SchemaStep::SetDoc { path, doc } => {
                let id = self.tree.locate(path)?.field.id;
                self.tree.edit(id, &mut |field| field.doc.clone_from(doc));
                Ok(())
            }
            SchemaStep::SetWriteDefault { path, value } => {
                let located = self.tree.locate(path)?;
                if let Some(value) = value {
                    check::check_default(path, &located.field.field_type, value, self.format_version)?;
                }
                self.tree.edit(located.field.id, &mut |field| field.write_default.clone_from(value));
                Ok(())
            }
            SchemaStep::Move { path, position } => self.move_field(path, position),
            SchemaStep::SetIdentifierFields(paths) => {
                let ids = paths.iter().map(|path| self.tree.locate(path).map(|located| located.field.id));
                self.identifiers = ids.collect::<Result<_>>()?;
                Ok(())
            }
        }
    }

    fn add(&mut self, new: &NewField) -> Result<()> {
        let path = new.parent.join(&new.name);
        let parent = self.tree.locate_struct(&new.parent)?;
        if parent.as_ref().is_some_and(|parent| parent.in_map_key) {
            return Err(refuse(&path, "a map's keys can't get new fields: old keys would not be equal any more"));
        }
        let parent = parent.map(|parent| parent.field.id);
        self.check_name(&path, &new.name, parent, None)?;
        if new.required && new.default.is_none() && !self.change.allow_incompatible {
            let reason = "it can't be NOT NULL: rows that are there already have no value for it; let it be nullable, \
                          or give it a DEFAULT (format version 3)";
            return Err(refuse(&path, reason));
        }
        if let Some(value) = &new.default {
            check::check_default(&path, &new.field_type, value, self.format_version)?;
        }
        let id = self.fresh.next()?;
        let mut field = NestedField::new(id, &new.name, self.fresh.assign(&new.field_type)?, new.required);
        field.doc.clone_from(&new.doc);
        field.initial_default.clone_from(&new.default);
        field.write_default.clone_from(&new.default);
        let at = match &new.position {
            None => None,
            Some(position) => Some(self.index_of(&path, parent, position, id)?),
        };
        self.tree.edit_fields(parent, |fields| fields.insert(at.unwrap_or(fields.len()), Arc::new(field)));
        Ok(())
    }

    fn drop_field(&mut self, path: &FieldPath) -> Result<()> {
        let located = self.named(path, "dropped")?;
        if located.in_map_key {
            return Err(refuse(path, "fields of a map's keys can't be dropped: keys that differ would become equal"));
        }
        if self.tree.fields_of(located.parent).len() == 1 {
            let what = if located.parent.is_some() { "struct" } else { "table" };
            return Err(refuse(path, format!("it is the only field of its {what}, so it can't be dropped")));
        }
        let id = located.field.id;
        self.tree.edit_fields(located.parent, |fields| fields.retain(|field| field.id != id));
        Ok(())
    }

    fn rename(&mut self, path: &FieldPath, name: &str) -> Result<()> {
        let located = self.named(path, "renamed")?;
        if located.field.name == name {
            return Ok(());
        }
        self.check_name(path, name, located.parent, Some(located.field.id))?;
        self.tree.edit(located.field.id, &mut |field| name.clone_into(&mut field.name));
        Ok(())
    }

    fn set_type(&mut self, path: &FieldPath, field_type: &PrimitiveType) -> Result<()> {
        let located = self.tree.locate(path)?;
        let wanted = Type::Primitive(field_type.clone());
        if *located.field.field_type == wanted {
            return Ok(());
        }
        if located.in_map_key {
            return Err(refuse(path, "the types of a map's keys can't change"));
        }
        check_promotion(&located.field.field_type, &wanted, self.format_version)
            .map_err(|reason| refuse(path, reason))?;
        self.tree.edit(located.field.id, &mut |field| {
            field.initial_default = check::promoted(field.initial_default.take(), &field.field_type, field_type);
            field.write_default = check::promoted(field.write_default.take(), &field.field_type, field_type);
            *field.field_type = wanted.clone();
        });
        Ok(())
    }

    fn set_required(&mut self, path: &FieldPath, required: bool) -> Result<()> {
        let located = self.tree.locate(path)?;
        if located.field.required == required {
            return Ok(());
        }
        if located.role == Role::Key {
            return Err(refuse(path, "a map's keys always have a value"));
        }
        // A default of old rows makes good for the values that they lack.
        if required && !self.change.allow_incompatible && located.field.initial_default.is_none() {
            let reason = "it can't become NOT NULL: rows that are there already may have no value for it";
            return Err(refuse(path, reason));
        }
        self.tree.edit(located.field.id, &mut |field| field.required = required);
        Ok(())
    }

    fn move_field(&mut self, path: &FieldPath, position: &Position) -> Result<()> {
        let located = self.named(path, "moved")?;
        let id = located.field.id;
        let at = self.index_of(path, located.parent, position, id)?;
        self.tree.edit_fields(located.parent, |fields| {
            fields.retain(|field| field.id != id);
            fields.insert(at, located.field.clone());
        });
        Ok(())
    }

    /// A field that has a name of its own.
    fn named(&self, path: &FieldPath, what: &str) -> Result<Located> {
        let located = self.tree.locate(path)?;
        let part = match located.role {
            Role::Field => return Ok(located),
            Role::Element => "a list's element",
            Role::Key => "a map's key",
            Role::Value => "a map's value",
        };
        Err(refuse(path, format!("{part} can't be {what}")))
    }

    /// The index that a position means among the fields of a struct without the one with id `moving`.
    fn index_of(&self, path: &FieldPath, parent: Option<i32>, position: &Position, moving: i32) -> Result<usize> {
        let (name, behind) = match position {
            Position::First => return Ok(0),
            Position::Before(name) => (name, 0),
            Position::After(name) => (name, 1),
        };
        let fields = self.tree.fields_of(parent);
        let others: Vec<_> = fields.iter().filter(|field| field.id != moving).collect();
        let exact = others.iter().position(|field| field.name == *name);
        let found = exact.or_else(|| others.iter().position(|field| self.tree.same_name(&field.name, name)));
        found.map(|index| index + behind).ok_or_else(|| {
            let itself = fields.iter().any(|field| field.id == moving && self.tree.same_name(&field.name, name));
            match itself {
                true => refuse(path, "a field can't be moved next to itself"),
                false => refuse(path, format!("there is no field '{name}' beside it")),
            }
        })
    }

    fn check_name(&self, path: &FieldPath, name: &str, parent: Option<i32>, own: Option<i32>) -> Result<()> {
        if name.is_empty() {
            return Err(refuse(path, "a field's name can't be empty"));
        }
        let fields = self.tree.fields_of(parent);
        let taken = fields.iter().find(|field| Some(field.id) != own && self.tree.same_name(&field.name, name));
        match taken {
            Some(other) => Err(refuse(path, format!("there is a field '{}' already", other.name))),
            None => Ok(()),
        }
    }

    fn build(self, metadata: &TableMetadata) -> Result<Schema> {
        check::check_identifiers(metadata, &self.tree, &self.identifiers)?;
        let schema_id = metadata.schemas_iter().map(|schema| schema.schema_id()).max().unwrap_or(0) + 1;
        Schema::builder()
            .with_schema_id(schema_id)
            .with_fields(self.tree.into_fields())
            .with_identifier_field_ids(self.identifiers)
            .build()
            .map_err(|error| Error::invalid_schema("", error.message()))
    }
}

fn refuse(path: &FieldPath, reason: impl Into<String>) -> Error {
    Error::invalid_schema(&path.to_string(), reason)
}
