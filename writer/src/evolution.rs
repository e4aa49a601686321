//! How a table's schema follows the rows that come: columns are added and types widened, nothing is taken away.
//!
//! [`plan_evolution`] is pure: what a table lacks to take rows of an Arrow schema, by name at every depth. The steps are
//! values that can be stored with a prepared checkpoint. They are planned on one schema, and the ids of the new fields
//! follow from it, so they are committed on that schema or not at all: files that were written with these ids would else
//! be read under others.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema};
use frazil_table::arrow::iceberg_schema;
use frazil_table::evolve::{FieldPath, NewField, SchemaChange, SchemaStep};
use frazil_table::spec::{NestedField, PrimitiveType, Schema, StructType, Type};
use frazil_table::{Change, MetadataChange, Table};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// One step by which a schema grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvolutionStep {
    /// A new field that may be null, last among its siblings.
    Add {
        /// The names of the fields around it; none for a column.
        parent: Vec<String>,
        /// Its name.
        name: String,
        /// Its type; ids in it say nothing.
        field_type: Box<Type>,
    },
    /// A field gets a wider type (Iceberg spec, "Schema Evolution").
    Promote {
        /// Its names.
        path: Vec<String>,
        /// The wider type.
        field_type: PrimitiveType,
    },
}

/// Steps, and the schema that they are made for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SchemaEvolution {
    base: StructType,
    last_column_id: i32,
    steps: Vec<EvolutionStep>,
}

impl SchemaEvolution {
    /// Steps that are to be taken on a table as it is. Those that come later are added by [`SchemaEvolution::push`].
    pub fn new(table: &Table) -> Self {
        let metadata = table.metadata();
        let base = metadata.current_schema().as_struct().clone();
        Self { base, last_column_id: metadata.last_column_id(), steps: Vec::new() }
    }

    /// Adds steps behind those that are there.
    pub fn push(&mut self, steps: impl IntoIterator<Item = EvolutionStep>) {
        self.steps.extend(steps);
    }

    /// Whether the table is as it was when the steps were planned.
    pub(crate) fn is_based_on(&self, table: &Table) -> bool {
        let metadata = table.metadata();
        metadata.last_column_id() == self.last_column_id && *metadata.current_schema().as_struct() == self.base
    }

    /// The change that takes all steps.
    pub fn change(&self) -> Change {
        Change::Metadata(MetadataChange::Schema(self.schema_change()))
    }

    fn schema_change(&self) -> SchemaChange {
        let steps = self.steps.iter().map(|step| match step {
            EvolutionStep::Add { parent, name, field_type } => SchemaStep::Add(Box::new(NewField {
                parent: FieldPath::new(parent.iter().cloned()),
                name: name.clone(),
                field_type: field_type.as_ref().clone(),
                required: false,
                doc: None,
                default: None,
                position: None,
            })),
            EvolutionStep::Promote { path, field_type } => {
                SchemaStep::SetType { path: FieldPath::new(path.iter().cloned()), field_type: field_type.clone() }
            }
        });
        SchemaChange { steps: steps.collect(), ..SchemaChange::default() }
    }

    /// The table as it will be once the steps are committed: what files are written for until then.
    ///
    /// # Errors
    /// [`Error::Table`] if the table can't take the steps, such as for a name that differs from another by case alone.
    pub fn preview(&self, table: &Table) -> Result<Table> {
        Ok(frazil_table::preview_metadata(table, &MetadataChange::Schema(self.schema_change()))?)
    }
}

/// What a schema lacks to take rows of an Arrow schema: fields that it does not have, and types that are too narrow.
/// Fields are matched by name. Cost: linear in the fields of both.
///
/// # Errors
/// [`Error::BadBatch`] names a field whose type can't be widened to that of the rows.
pub fn plan_evolution(schema: &Schema, rows: &ArrowSchema) -> Result<Vec<EvolutionStep>> {
    let mut steps = Vec::new();
    widen_struct(schema.as_struct(), rows.fields(), &mut Vec::new(), &mut steps)?;
    Ok(steps)
}

fn widen_struct(
    fields: &StructType,
    rows: &Fields,
    path: &mut Vec<String>,
    steps: &mut Vec<EvolutionStep>,
) -> Result<()> {
    for row_field in rows {
        match fields.fields().iter().find(|field| field.name == *row_field.name()) {
            Some(field) => {
                path.push(field.name.clone());
                widen(&field.field_type, row_field.data_type(), path, steps)?;
                path.pop();
            }
            None => {
                let parent = path.clone();
                let field_type = Box::new(iceberg_type(row_field)?);
                steps.push(EvolutionStep::Add { parent, name: row_field.name().clone(), field_type });
            }
        }
    }
    Ok(())
}

fn widen(to: &Type, from: &DataType, path: &mut Vec<String>, steps: &mut Vec<EvolutionStep>) -> Result<()> {
    let mut inside = |name: &str, field: &Arc<NestedField>, rows: &Field| {
        path.push(name.to_owned());
        let end = widen(&field.field_type, rows.data_type(), path, steps);
        path.pop();
        end
    };
    match (to, from) {
        (Type::Struct(fields), DataType::Struct(rows)) => widen_struct(fields, rows, path, steps),
        (Type::List(list), DataType::List(element) | DataType::LargeList(element)) => {
            inside("element", &list.element_field, element)
        }
        (Type::Map(map), DataType::Map(entries, _)) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => inside("value", &map.value_field, &pair[1]),
            _ => Err(misfit(path, to, from)),
        },
        (Type::Primitive(to_type), from) => {
            match (to_type, from) {
                (PrimitiveType::Int, DataType::Int64) => promote(path, PrimitiveType::Long, steps),
                (PrimitiveType::Float, DataType::Float64) => promote(path, PrimitiveType::Double, steps),
                // Whether a value fits is told when it comes.
                _ if !from.is_nested() => {}
                _ => return Err(misfit(path, to, from)),
            }
            Ok(())
        }
        _ => Err(misfit(path, to, from)),
    }
}

fn promote(path: &[String], field_type: PrimitiveType, steps: &mut Vec<EvolutionStep>) {
    steps.push(EvolutionStep::Promote { path: path.to_vec(), field_type });
}

fn iceberg_type(field: &Field) -> Result<Type> {
    let alone = ArrowSchema::new(vec![field.clone()]);
    let schema = iceberg_schema(&alone)?;
    Ok(schema.as_struct().fields()[0].field_type.as_ref().clone())
}

fn misfit(path: &[String], to: &Type, from: &DataType) -> Error {
    let from = match from {
        DataType::Struct(_) => "objects".to_owned(),
        DataType::List(_) | DataType::LargeList(_) => "arrays".to_owned(),
        DataType::Map(..) => "maps".to_owned(),
        other => other.to_string(),
    };
    let to = match to {
        Type::Struct(_) => "a struct".to_owned(),
        Type::List(_) => "a list".to_owned(),
        Type::Map(_) => "a map".to_owned(),
        Type::Primitive(primitive) => primitive.to_string(),
    };
    Error::bad_batch(
        &path.join("."),
        format!("the rows have {from}, the table has {to}, and neither can become the other"),
    )
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn schema(fields: Vec<Field>) -> Schema {
        iceberg_schema(&ArrowSchema::new(fields)).unwrap()
    }

    fn optional(name: &str, data_type: DataType) -> Field {
        Field::new(name, data_type, true)
    }

    fn object(fields: Vec<Field>) -> DataType {
        DataType::Struct(fields.into())
    }

    fn list(element: DataType) -> DataType {
        DataType::List(Arc::new(optional("element", element)))
    }

    fn text(steps: &[EvolutionStep]) -> String {
        let lines = steps.iter().map(|step| match step {
            EvolutionStep::Add { parent, name, field_type } => format!("add {parent:?} {name} {field_type}\n"),
            EvolutionStep::Promote { path, field_type } => format!("promote {path:?} {field_type}\n"),
        });
        lines.collect()
    }

    #[test]
    fn what_is_missing_is_added_at_every_depth_and_narrow_types_are_widened() {
        let table = schema(vec![
            optional("a", DataType::Int32),
            optional("s", object(vec![optional("x", DataType::Float32)])),
            optional("l", list(object(vec![optional("y", DataType::Int64)]))),
        ]);
        let rows = ArrowSchema::new(vec![
            optional("l", list(object(vec![optional("z", DataType::Utf8), optional("y", DataType::Int64)]))),
            optional("s", object(vec![optional("x", DataType::Float64), optional("t", list(DataType::Boolean))])),
            optional("a", DataType::Int64),
            optional("new", object(vec![optional("k", DataType::Utf8)])),
        ]);
        let steps = plan_evolution(&table, &rows).unwrap();
        expect![[r#"
            add ["l", "element"] z string
            promote ["s", "x"] double
            add ["s"] t list
            promote ["a"] long
            add [] new struct<string>
        "#]]
        .assert_eq(&text(&steps));
        assert!(plan_evolution(&table, &ArrowSchema::new(vec![optional("a", DataType::Int32)])).unwrap().is_empty());
    }

    #[test]
    fn a_type_that_is_another_kind_is_refused_by_name() {
        let table = schema(vec![optional("s", object(vec![optional("x", DataType::Utf8)]))]);
        let rows = ArrowSchema::new(vec![optional("s", object(vec![optional("x", list(DataType::Utf8))]))]);
        let error = plan_evolution(&table, &rows).unwrap_err();
        expect!["field s.x: the rows have arrays, the table has string, and neither can become the other"]
            .assert_eq(&error.to_string());
    }
}
