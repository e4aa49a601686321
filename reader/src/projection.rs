//! Which leaves of a table's schema are wanted.
//!
//! A projection is a set of field ids, closed upward: a leaf brings the structs, lists and maps around it along, but not
//! their other leaves. The shape stays: a list of structs becomes a list of structs with fewer fields.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use frazil_table::arrow::arrow_schema;
use frazil_table::row_lineage;
use frazil_table::spec::{
    ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema, SchemaRef, StructType, Type,
};

use crate::{Error, Result};

/// What of a row is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Projection {
    /// Every column of the table, but no metadata columns.
    #[default]
    All,
    /// Every column of the table, then `_row_id` and `_last_updated_sequence_number`: what a file must hold that takes the
    /// place of others in a format version 3 table.
    AllWithLineage,
    /// Columns and leaves by dotted path: `a.b.c`, `items.element.price` or `items.price`, `attributes.value.x`, and the
    /// metadata columns `_file`, `_pos`, `_spec_id`, `_partition`, `_row_id` and `_last_updated_sequence_number`. Top-level
    /// columns come out in the order in which they are first named.
    Paths(Vec<String>),
}

impl Projection {
    /// A projection of paths.
    pub fn paths<S: Into<String>>(paths: impl IntoIterator<Item = S>) -> Self {
        Self::Paths(paths.into_iter().map(Into::into).collect())
    }
}

/// The metadata column with the data file's location (Iceberg spec, "Reserved Field IDs").
pub const FILE_COLUMN: &str = "_file";
/// The metadata column with the row's position in its data file, from 0.
pub const POS_COLUMN: &str = "_pos";
/// The metadata column with the row's id, which it keeps over rewrites; null before format version 3 (Iceberg spec, "Row
/// Lineage").
pub const ROW_ID_COLUMN: &str = row_lineage::ROW_ID_NAME;
/// The metadata column with the sequence number of the commit that last wrote the row's values; null before format version
/// 3.
pub const LAST_UPDATED_COLUMN: &str = row_lineage::LAST_UPDATED_SEQUENCE_NUMBER_NAME;
/// The metadata column with the id of the partition spec that the row's data file was written with.
pub const SPEC_ID_COLUMN: &str = "_spec_id";
/// The metadata column with the partition of the row's data file: a struct of the partition fields of all specs. A table
/// without any has no such column.
pub const PARTITION_COLUMN: &str = "_partition";
pub(crate) const FILE_FIELD_ID: i32 = i32::MAX - 1;
pub(crate) const POS_FIELD_ID: i32 = i32::MAX - 2;
pub(crate) const SPEC_ID_FIELD_ID: i32 = i32::MAX - 4;
pub(crate) const PARTITION_FIELD_ID: i32 = i32::MAX - 5;

/// A pruned schema, as Iceberg and as Arrow has it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ProjectedSchema {
    schema: SchemaRef,
    arrow: ArrowSchemaRef,
}

impl ProjectedSchema {
    /// The pruned schema; metadata columns have their reserved ids.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The schema of the batches that come out.
    pub fn arrow(&self) -> &ArrowSchemaRef {
        &self.arrow
    }

    fn new(fields: Vec<NestedFieldRef>) -> Result<Self> {
        if fields.is_empty() {
            let schema = Schema::builder().build().expect("an empty schema has no two fields alike");
            return Ok(Self { schema: Arc::new(schema), arrow: Arc::new(ArrowSchema::empty()) });
        }
        let schema = Schema::builder().with_fields(fields).build().map_err(|error| Error::InvalidPredicate {
            path: "the projection".to_owned(),
            reason: error.to_string(),
        })?;
        let arrow = Arc::new(arrow_schema(&schema)?);
        Ok(Self { schema: Arc::new(schema), arrow })
    }
}

/// Prunes a schema to a projection. The column `_partition` is not known here.
///
/// # Errors
/// [`Error::UnknownColumn`] with the nearest names for a path that the schema lacks.
pub fn project(schema: &Schema, projection: &Projection) -> Result<ProjectedSchema> {
    project_of_table(schema, projection, &StructType::new(Vec::new()))
}

/// The same for a table with these partition fields.
pub(crate) fn project_of_table(
    schema: &Schema,
    projection: &Projection,
    partition_type: &StructType,
) -> Result<ProjectedSchema> {
    let all = || schema.as_struct().fields().to_vec();
    let paths = match projection {
        Projection::All => return ProjectedSchema::new(all()),
        Projection::AllWithLineage => return ProjectedSchema::new([all(), row_lineage::fields().to_vec()].concat()),
        Projection::Paths(paths) => paths,
    };
    let mut order: Vec<NestedFieldRef> = Vec::new();
    let mut wanted = HashSet::new();
    for path in paths {
        let (top, id) = match metadata_field(path, schema, partition_type) {
            Some(field) => (field.clone(), field.id),
            None => {
                let (top, leaf) = resolve(schema, path)?;
                (top.clone(), leaf.id)
            }
        };
        wanted.insert(id);
        if order.iter().all(|known| known.id != top.id) {
            order.push(top);
        }
    }
    let pruned = order.iter().filter_map(|field| prune(field, &wanted)).collect();
    ProjectedSchema::new(pruned)
}

/// The top-level column and the field itself that a dotted path names.
pub(crate) fn resolve<'a>(schema: &'a Schema, path: &str) -> Result<(&'a NestedFieldRef, &'a NestedFieldRef)> {
    let segments: Vec<&str> = path.split('.').collect();
    resolve_in_struct(schema.as_struct(), &segments)
        .ok_or_else(|| Error::unknown_column(path, schema.field_id_to_name_map().values().map(String::as_str)))
}

/// Names may hold dots, so every way to cut the path is tried, the shortest first name first.
fn resolve_in_struct<'a>(
    fields: &'a StructType,
    segments: &[&str],
) -> Option<(&'a NestedFieldRef, &'a NestedFieldRef)> {
    (1..=segments.len()).find_map(|taken| {
        let field = fields.field_by_name(&segments[..taken].join("."))?;
        Some((field, resolve_below(field, &segments[taken..])?))
    })
}

fn resolve_below<'a>(field: &'a NestedFieldRef, rest: &[&str]) -> Option<&'a NestedFieldRef> {
    if rest.is_empty() {
        return Some(field);
    }
    let step_into =
        |name: &str, nested: &'a NestedFieldRef| (rest[0] == name).then(|| resolve_below(nested, &rest[1..])).flatten();
    match field.field_type.as_ref() {
        Type::Primitive(_) => None,
        Type::Struct(fields) => resolve_in_struct(fields, rest).map(|(_, leaf)| leaf),
        Type::List(list) => {
            step_into("element", &list.element_field).or_else(|| resolve_below(&list.element_field, rest))
        }
        Type::Map(map) => step_into("key", &map.key_field)
            .or_else(|| step_into("value", &map.value_field))
            .or_else(|| resolve_below(&map.value_field, rest)),
    }
}

/// The field with only the wanted ids in it, and what is below a wanted id whole. `None` if nothing of it is wanted.
fn prune(field: &NestedFieldRef, wanted: &HashSet<i32>) -> Option<NestedFieldRef> {
    if wanted.contains(&field.id) {
        return Some(field.clone());
    }
    let pruned = match field.field_type.as_ref() {
        Type::Primitive(_) => return None,
        Type::Struct(fields) => {
            let kept: Vec<_> = fields.fields().iter().filter_map(|f| prune(f, wanted)).collect();
            if kept.is_empty() {
                return None;
            }
            Type::Struct(StructType::new(kept))
        }
        Type::List(list) => Type::List(ListType::new(prune(&list.element_field, wanted)?)),
        Type::Map(map) => {
            // A map without its keys or its values is none: the key stays whole, and so does the value beside a key.
            let value = prune(&map.value_field, wanted);
            let key = prune(&map.key_field, wanted);
            let value = match (key, value) {
                (None, None) => return None,
                (Some(_), None) => map.value_field.clone(),
                (_, Some(value)) => value,
            };
            Type::Map(MapType::new(map.key_field.clone(), value))
        }
    };
    Some(Arc::new(NestedField { field_type: Box::new(pruned), ..field.as_ref().clone() }))
}

/// A metadata column, unless the table has a column of that name of its own.
fn metadata_field(path: &str, schema: &Schema, partition_type: &StructType) -> Option<NestedFieldRef> {
    // A partition is the same for a whole file: it comes whole, whatever of it is asked for.
    let name = path.split('.').next().filter(|name| *name == PARTITION_COLUMN).unwrap_or(path);
    if schema.field_by_name(name).is_some() {
        return None;
    }
    let field = match name {
        SPEC_ID_COLUMN => NestedField::required(SPEC_ID_FIELD_ID, SPEC_ID_COLUMN, Type::Primitive(PrimitiveType::Int)),
        PARTITION_COLUMN if !partition_type.fields().is_empty() => {
            NestedField::required(PARTITION_FIELD_ID, PARTITION_COLUMN, Type::Struct(partition_type.clone()))
        }
        FILE_COLUMN => NestedField::required(FILE_FIELD_ID, FILE_COLUMN, Type::Primitive(PrimitiveType::String)),
        POS_COLUMN => NestedField::required(POS_FIELD_ID, POS_COLUMN, Type::Primitive(PrimitiveType::Long)),
        _ => return row_lineage::fields().into_iter().find(|field| field.name == path),
    };
    Some(Arc::new(field))
}

#[cfg(test)]
mod tests;
