//! The order that writers sort rows by within a file (Iceberg spec, "Sorting").

use super::tree::Tree;
use super::{FieldPath, MetadataPlan};
use crate::spec::{
    NestedFieldRef, NullOrder, SortDirection, SortField, SortOrder, TableMetadata, TableRequirement, TableUpdate,
    Transform, Type,
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
    let order_id = metadata.sort_orders_iter().map(|order| order.order_id).max().unwrap_or(0) + 1;
    let tree = Tree::new(metadata.current_schema().as_struct().fields(), true);
    let fields = terms.iter().map(|term| sort_field(&tree, term)).collect::<Result<Vec<_>>>()?;
    if let Some(twice) = fields.iter().enumerate().find(|(index, f)| fields[..*index].contains(f)) {
        return Err(Error::invalid_schema(&terms[twice.0].source.to_string(), "the order has it twice"));
    }
    if fields == metadata.default_sort_order().fields {
        return Ok(MetadataPlan::default());
    }
    let sort_order = match fields.is_empty() {
        true => SortOrder::unsorted_order(),
        false => SortOrder { order_id, fields },
    };
    let updates =
        vec![TableUpdate::AddSortOrder { sort_order }, TableUpdate::SetDefaultSortOrder { sort_order_id: -1 }];
    let default_sort_order_id = metadata.default_sort_order_id();
    let requirements = vec![
        TableRequirement::DefaultSortOrderIdMatch { default_sort_order_id },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
    ];
    Ok(MetadataPlan { requirements, updates })
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
