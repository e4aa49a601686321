//! Columns as SQL has them, as steps of a change of schema.

use frazil_table::evolve::{FieldPath, NewField, Position, SchemaStep};
use frazil_table::spec::Type;

use super::path;
use crate::Result;
use crate::session::create_table::sql_type_to_iceberg;
use crate::session::{IcebergTable, Session};
use crate::sql::{ColumnPath, ColumnPlace, ColumnStep, DataType, SqlError};

/// The column that a step is about.
pub(super) fn column_of(step: &ColumnStep) -> &ColumnPath {
    match step {
        ColumnStep::Add { column, .. }
        | ColumnStep::Drop { column, .. }
        | ColumnStep::Rename { column, .. }
        | ColumnStep::Type { column, .. }
        | ColumnStep::Nullable { column, .. }
        | ColumnStep::Comment { column, .. }
        | ColumnStep::Default { column, .. }
        | ColumnStep::Move { column, .. } => column,
    }
}

impl Session {
    pub(super) fn schema_steps(
        &self,
        table: &IcebergTable,
        steps: &[ColumnStep],
        script: &str,
    ) -> Result<Vec<SchemaStep>> {
        let mut bound = Vec::with_capacity(steps.len());
        for step in steps {
            self.schema_step(table, step, script, &mut bound)?;
        }
        Ok(bound)
    }

    fn schema_step(
        &self,
        table: &IcebergTable,
        step: &ColumnStep,
        script: &str,
        bound: &mut Vec<SchemaStep>,
    ) -> Result<()> {
        let schema = table.table.metadata().current_schema();
        let known = |column: &ColumnPath| schema.field_by_name(&column.path.join("."));
        bound.push(match step {
            ColumnStep::Add { column, data_type, default, comment, place } => {
                let field_type = sql_type_to_iceberg(&data_type.kind);
                let default = match default {
                    Some(expr) => self.default_value(expr, &field_type, column.span, script)?,
                    None => None,
                };
                let (parent, name) = path(column)
                    .split_last()
                    .map_or_else(|| (FieldPath::root(), String::new()), |(parent, name)| (parent, name.to_owned()));
                SchemaStep::Add(Box::new(NewField {
                    parent,
                    name,
                    field_type,
                    required: !data_type.nullable,
                    doc: comment.clone(),
                    default,
                    position: place.as_ref().map(position),
                }))
            }
            ColumnStep::Drop { column, if_exists: true } if known(column).is_none() => return Ok(()),
            ColumnStep::Drop { column, .. } => SchemaStep::Drop(path(column)),
            ColumnStep::Rename { column, to } => SchemaStep::Rename { path: path(column), name: to.clone() },
            ColumnStep::Type { column, data_type } => {
                let steps = type_steps(column, data_type, known(column).map(|field| field.field_type.as_ref()), script);
                bound.extend(steps?);
                return Ok(());
            }
            ColumnStep::Nullable { column, nullable } => {
                SchemaStep::SetRequired { path: path(column), required: !nullable }
            }
            ColumnStep::Comment { column, comment } => {
                SchemaStep::SetDoc { path: path(column), doc: Some(comment.clone()) }
            }
            ColumnStep::Default { column, default } => {
                let value = match (default, known(column)) {
                    (Some(expr), Some(field)) => self.default_value(expr, &field.field_type, column.span, script)?,
                    // Without the column the change itself says what is wrong.
                    _ => None,
                };
                SchemaStep::SetWriteDefault { path: path(column), value }
            }
            ColumnStep::Move { column, place } => SchemaStep::Move { path: path(column), position: position(place) },
        });
        Ok(())
    }
}

fn type_steps(
    column: &ColumnPath,
    data_type: &DataType,
    current: Option<&Type>,
    script: &str,
) -> Result<Vec<SchemaStep>> {
    let mut steps = Vec::new();
    match sql_type_to_iceberg(&data_type.kind) {
        Type::Primitive(field_type) => steps.push(SchemaStep::SetType { path: path(column), field_type }),
        // Writing the type of now again changes nothing.
        nested if current.is_some_and(|current| same_shape(current, &nested)) => {}
        _ => {
            let message = format!("'{}' can't become {data_type}", column.path.join("."));
            let help = "the fields of a ROW, ARRAY or MAP change one by one: ALTER COLUMN a.b TYPE …, ADD COLUMN a.c …";
            return Err(SqlError::new(message, column.span, script).help(help).into());
        }
    }
    if !data_type.nullable {
        steps.push(SchemaStep::SetRequired { path: path(column), required: true });
    }
    Ok(steps)
}

/// Whether two types differ in ids and comments at most.
fn same_shape(left: &Type, right: &Type) -> bool {
    match (left, right) {
        (Type::Primitive(left), Type::Primitive(right)) => left == right,
        (Type::Struct(left), Type::Struct(right)) => {
            let pairs = || left.fields().iter().zip(right.fields());
            left.fields().len() == right.fields().len()
                && pairs().all(|(l, r)| {
                    l.name == r.name && l.required == r.required && same_shape(&l.field_type, &r.field_type)
                })
        }
        (Type::List(left), Type::List(right)) => {
            same_shape(&left.element_field.field_type, &right.element_field.field_type)
        }
        (Type::Map(left), Type::Map(right)) => {
            same_shape(&left.key_field.field_type, &right.key_field.field_type)
                && same_shape(&left.value_field.field_type, &right.value_field.field_type)
        }
        _ => false,
    }
}

fn position(place: &ColumnPlace) -> Position {
    match place {
        ColumnPlace::First => Position::First,
        ColumnPlace::After(name) => Position::After(name.clone()),
        ColumnPlace::Before(name) => Position::Before(name.clone()),
    }
}
