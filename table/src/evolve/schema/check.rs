//! What a change of schema must leave in place.

use super::super::tree::Tree;
use super::{FieldPath, refuse};
use crate::spec::{FormatVersion, Literal, PrimitiveLiteral, PrimitiveType, Schema, TableMetadata, Transform, Type};
use crate::{Error, Result};

/// A default has the field's type and needs format version 3 (Iceberg spec, "Default values").
pub(super) fn check_default(
    path: &FieldPath,
    field_type: &Type,
    value: &Literal,
    format_version: FormatVersion,
) -> Result<()> {
    if format_version < FormatVersion::V3 {
        let reason = format!(
            "a DEFAULT needs format version 3, and the table has {format_version}; \
             ALTER TABLE … SET ('format-version' = '3') upgrades it"
        );
        return Err(refuse(path, reason));
    }
    match (field_type, value) {
        (Type::Primitive(primitive), Literal::Primitive(literal)) if primitive.compatible(literal) => Ok(()),
        (Type::Primitive(primitive), _) => Err(refuse(path, format!("the DEFAULT is not of the type {primitive}"))),
        (other, _) => Err(refuse(path, format!("a field of type {other} can only be null by default"))),
    }
}

/// A default in the wider type of its field.
pub(super) fn promoted(value: Option<Literal>, from: &Type, to: &PrimitiveType) -> Option<Literal> {
    let Some(Literal::Primitive(literal)) = value else { return value };
    let wider = match (from, literal, to) {
        (Type::Primitive(PrimitiveType::Int), PrimitiveLiteral::Int(value), PrimitiveType::Long) => {
            PrimitiveLiteral::Long(value.into())
        }
        (Type::Primitive(PrimitiveType::Float), PrimitiveLiteral::Float(value), PrimitiveType::Double) => {
            PrimitiveLiteral::Double(f64::from(value.0).into())
        }
        (_, literal, _) => literal,
    };
    Some(Literal::Primitive(wider))
}

/// Every identifier field is there, has a value in each row, and can be compared for equality (Iceberg spec, "Identifier
/// Field IDs").
pub(super) fn check_identifiers(metadata: &TableMetadata, tree: &Tree, identifiers: &[i32]) -> Result<()> {
    let current = metadata.current_schema();
    for id in identifiers {
        let Some(way) = tree.way_to(*id) else {
            let name = current.name_by_field_id(*id).unwrap_or("?");
            let reason =
                "it is an identifier field, so it can't be dropped; take it out of the identifier fields first";
            return Err(Error::invalid_schema(name, reason));
        };
        let names = way.iter().map(|field| field.name.as_str());
        let name = FieldPath::new(names).to_string();
        let refuse = |reason: &str| Err(Error::invalid_schema(&name, format!("{reason}, so it can't identify rows")));
        let (field, around) = way.split_last().expect("a way ends with its field");
        match field.field_type.as_ref() {
            Type::Primitive(PrimitiveType::Float | PrimitiveType::Double) => {
                return refuse("it is a floating-point number");
            }
            Type::Primitive(_) => {}
            _ => return refuse("it is not of a primitive type"),
        }
        if around.iter().any(|outer| !matches!(outer.field_type.as_ref(), Type::Struct(_))) {
            return refuse("it is inside of a list or map");
        }
        if let Some(nullable) = way.iter().find(|field| !field.required) {
            return refuse(&format!("'{}' may be null", nullable.name));
        }
    }
    Ok(())
}

/// What the table's partition spec and sort order are made from stays, and partition values stay what they are.
pub(super) fn check_dependents(metadata: &TableMetadata, schema: &Schema) -> Result<()> {
    let current = metadata.current_schema();
    let name = |id| current.name_by_field_id(id).unwrap_or("?");
    for field in metadata.default_partition_spec().fields() {
        if schema.field_by_id(field.source_id).is_none() {
            let reason = match field.transform {
                // A table of version 1 keeps dropped partition fields in its spec for ever.
                Transform::Void => format!(
                    "partition field '{}' stays in a table of format version 1 and needs it; upgrade the table to \
                     format version 2 and drop the partition field again",
                    field.name
                ),
                _ => format!("partition field '{0}' is made from it; DROP PARTITION FIELD {0} first", field.name),
            };
            return Err(Error::invalid_schema(name(field.source_id), reason));
        }
    }
    for field in &metadata.default_sort_order().fields {
        if schema.field_by_id(field.source_id).is_none() {
            let reason = "the table is sorted by it; set another WRITE ORDERED BY, or WRITE UNORDERED, first";
            return Err(Error::invalid_schema(name(field.source_id), reason));
        }
    }
    Ok(())
}
