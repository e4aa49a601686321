//! The order that writers sort rows by within a file (Iceberg spec, "Sorting").

use super::tree::Tree;
use super::{FieldPath, MetadataPlan};
use crate::spec::{
    NestedFieldRef, NullOrder, Schema, SortDirection, SortField, SortOrder, TableMetadata, TableRequirement, Transform,
    Type,
};
use crate::{Error, Result};

/// One term of a sort order.
#[derive(Clone, Debug)]
pub struct SortTerm {
    /// A column of a primitive type, not inside of a list or map.
    pub source: FieldPath,
    /// What is compared.
    pub transform: Transform,
    /// Which way.
    pub direction: SortDirection,
    /// Where nulls go.
    pub null_order: NullOrder,
}

pub(super) fn plan(metadata: &TableMetadata, terms: &[SortTerm]) -> Result<MetadataPlan> {
    let updates = super::current::order_updates(metadata, order(metadata, metadata.current_schema(), terms)?);
    if updates.is_empty() {
        return Ok(MetadataPlan::default());
    }
    let default_sort_order_id = metadata.default_sort_order_id();
    let requirements = vec![
        TableRequirement::DefaultSortOrderIdMatch { default_sort_order_id },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
    ];
    Ok(MetadataPlan { requirements, updates })
}

/// The terms bound to a schema, under an id that the table's sort orders have not had.
pub(super) fn order(metadata: &TableMetadata, schema: &Schema, terms: &[SortTerm]) -> Result<SortOrder> {
    let tree = Tree::new(schema.as_struct().fields(), true);
    let fields = terms.iter().map(|term| sort_field(&tree, term)).collect::<Result<Vec<_>>>()?;
    if let Some(twice) = fields.iter().enumerate().find(|(index, f)| fields[..*index].contains(f)) {
        return Err(Error::invalid_schema(&terms[twice.0].source.to_string(), "the order has it twice"));
    }
    let order_id = metadata.sort_orders_iter().map(|order| order.order_id).max().unwrap_or(0) + 1;
    Ok(match fields.is_empty() {
        true => SortOrder::unsorted_order(),
        false => SortOrder { order_id, fields },
    })
}

fn sort_field(tree: &Tree, term: &SortTerm) -> Result<SortField> {
    let located = tree.locate(&term.source)?;
    let field_type = located.field.field_type.as_ref();
    if let (Type::Primitive(_), true) = (field_type, in_list_or_map(tree, located.field.id)) {
        let reason = "a table can't be sorted by it: it is inside of a list or map, so a row has any number of them";
        return Err(Error::invalid_schema(&located.path.to_string(), reason));
    }
    if !matches!(field_type, Type::Primitive(_)) {
        let reason = format!("a table can't be sorted by it: it is {field_type}");
        return Err(Error::invalid_schema(&located.path.to_string(), reason));
    }
    if term.transform.result_type(field_type).is_err() {
        let reason = format!("there is no {} of {field_type}", term.transform);
        return Err(Error::invalid_schema(&located.path.to_string(), reason));
    }
    let SortTerm { transform, direction, null_order, .. } = term;
    Ok(SortField { source_id: located.field.id, transform: *transform, direction: *direction, null_order: *null_order })
}

fn in_list_or_map(tree: &Tree, id: i32) -> bool {
    let is_repeated = |around: &NestedFieldRef| matches!(around.field_type.as_ref(), Type::List(_) | Type::Map(_));
    tree.way_to(id).is_some_and(|way| way.iter().any(is_repeated))
}

/// The fields of an order in a few words.
pub(super) fn order_text(order: &SortOrder) -> String {
    let texts = order.fields.iter().map(|field| {
        format!("{}({}) {} nulls {}", field.transform, field.source_id, field.direction, field.null_order)
    });
    texts.collect::<Vec<_>>().join(", ")
}
