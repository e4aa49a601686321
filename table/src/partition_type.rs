//! One struct for the partitions of all specs of a table: what metadata tables and the column `_partition` show.
//!
//! A partition field keeps its id as long as it means the same (Iceberg spec, "Partition Evolution"), so the struct has a
//! field for each id. A file that was written by a spec without that field has null there.

use std::sync::Arc;

use crate::promotion::{schema_of_spec, widest_tuple};
use crate::spec::{
    NestedField, NestedFieldRef, PrimitiveLiteral, PrimitiveType, Struct, StructType, TableMetadata, Transform, Type,
};

/// The fields of all partition specs, those of the newest spec first. A field that was dropped in format version 1 has the
/// type that it had before.
pub fn partition_type(metadata: &TableMetadata) -> StructType {
    let mut specs: Vec<_> = metadata.partition_specs_iter().collect();
    specs.sort_by_key(|spec| std::cmp::Reverse(spec.spec_id()));
    let mut fields: Vec<NestedFieldRef> = Vec::new();
    for spec in &specs {
        let Ok(types) = spec.partition_type(&schema_of_spec(metadata, spec)) else { continue };
        for (field, typed) in spec.fields().iter().zip(types.fields()) {
            let is_known = fields.iter().any(|known| known.id == field.field_id);
            if !is_known && field.transform != Transform::Void {
                let data_type = typed.field_type.as_ref().clone();
                fields.push(Arc::new(NestedField::optional(field.field_id, &field.name, data_type)));
            }
        }
    }
    StructType::new(fields)
}

/// The values of a partition of one spec in the order of [`partition_type`], each with its field's type.
pub fn partition_values(
    metadata: &TableMetadata,
    partition_type: &StructType,
    spec_id: i32,
    partition: &Struct,
) -> Vec<Option<(PrimitiveLiteral, PrimitiveType)>> {
    let Some(spec) = metadata.partition_spec_by_id(spec_id) else { return vec![None; partition_type.fields().len()] };
    let wide = widest_tuple(partition);
    let value = |field: &NestedFieldRef| {
        let Type::Primitive(primitive) = field.field_type.as_ref() else { return None };
        let index = spec.fields().iter().position(|own| own.field_id == field.id)?;
        let is_wide = matches!(primitive, PrimitiveType::Long | PrimitiveType::Double);
        let tuple = if is_wide { &wide } else { partition };
        let literal = tuple.iter().nth(index)??.as_primitive_literal()?;
        Some((literal, primitive.clone()))
    };
    partition_type.fields().iter().map(value).collect()
}
