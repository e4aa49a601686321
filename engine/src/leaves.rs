//! Which leaves of a stream's columns a plan uses.
//!
//! By name, and rather too many than too few: a column that stands alone anywhere in the plan is wanted whole, one that
//! only stands in field accesses (`a.b.c`) is wanted by those leaves. DataFusion's optimiser has moved field accesses
//! down to the scan before this looks.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::Result;

/// The dotted paths, in the order of the schema. Never empty: a plan that uses no column still needs the rows, for which
/// the first column that is not nested is read.
pub(crate) fn used_leaves(plan: &LogicalPlan, schema: &Schema) -> Result<Vec<String>> {
    let mut used: BTreeMap<usize, BTreeSet<Vec<String>>> = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                let Some((column, fields)) = access(part) else { return Ok(TreeNodeRecursion::Continue) };
                if let Some((index, field)) = schema.column_with_name(column) {
                    let depth = struct_depth(field.data_type(), &fields);
                    used.entry(index).or_default().insert(fields[..depth].to_vec());
                }
                // The parts of an access are no uses of their own.
                Ok(TreeNodeRecursion::Jump)
            })
        })
    })?;
    let mut paths = Vec::new();
    for (index, accesses) in used {
        let column = schema.field(index).name();
        // An access covers every longer one: `a` covers `a.b`.
        let covered = |fields: &[String]| (0..fields.len()).any(|length| accesses.contains(&fields[..length]));
        for fields in accesses.iter().filter(|fields| !covered(fields)) {
            paths.push(std::iter::once(column).chain(fields).map(String::as_str).collect::<Vec<_>>().join("."));
        }
    }
    if paths.is_empty() {
        let flat = schema.fields().iter().find(|field| !field.data_type().is_nested());
        paths.extend(flat.or(schema.fields().first()).map(|field| field.name().clone()));
    }
    Ok(paths)
}

/// `a`, or `get_field(get_field(a, 'b'), 'c')` as column `a` and fields `b`, `c`.
fn access(expr: &Expr) -> Option<(&str, Vec<String>)> {
    match expr {
        Expr::Column(column) => Some((&column.name, Vec::new())),
        Expr::ScalarFunction(call) if call.name() == "get_field" => {
            let (base, names) = call.args.split_first()?;
            let (column, mut fields) = access(base)?;
            for name in names {
                let Expr::Literal(ScalarValue::Utf8(Some(name)), _) = name else { return None };
                fields.push(name.clone());
            }
            Some((column, fields))
        }
        _ => None,
    }
}

/// How many of the accessed fields are fields of structs: what is looked up in a map or a list is not a leaf by name.
fn struct_depth(mut data_type: &DataType, fields: &[String]) -> usize {
    for (depth, name) in fields.iter().enumerate() {
        let DataType::Struct(children) = data_type else { return depth };
        let Some((_, child)) = children.find(name) else { return depth };
        data_type = child.data_type();
    }
    fields.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, Fields};
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::transform::StreamTable;

    async fn leaves(sql: &str) -> Vec<String> {
        let position =
            Fields::from(vec![Field::new("lat", DataType::Float64, true), Field::new("lon", DataType::Float64, true)]);
        let place = Fields::from(vec![
            Field::new("name", DataType::Utf8, true),
            Field::new("position", DataType::Struct(position), true),
        ]);
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("origin", DataType::Struct(place.clone()), true),
            Field::new("dest", DataType::Struct(place), true),
        ]));
        let context = SessionContext::new();
        context.register_table("s", Arc::new(StreamTable::new("s", Arc::clone(&schema)))).unwrap();
        let plan = context.sql(sql).await.unwrap().into_optimized_plan().unwrap();
        used_leaves(&plan, &schema).unwrap()
    }

    #[tokio::test]
    async fn only_what_a_query_uses_is_wanted() {
        for (sql, expected) in [
            ("SELECT id, origin['name'] FROM s", &["id", "origin.name"][..]),
            ("SELECT dest['position']['lat'] FROM s WHERE origin['name'] = 'x'", &["origin.name", "dest.position.lat"]),
            ("SELECT origin, origin['name'] FROM s", &["origin"]),
            ("SELECT dest['position'], dest['position']['lat'] FROM s", &["dest.position"]),
            ("SELECT 1 FROM s", &["id"]),
            ("SELECT t.p['lat'] FROM (SELECT dest['position'] AS p FROM s) AS t", &["dest.position.lat"]),
        ] {
            assert_eq!(leaves(sql).await, expected, "{sql}");
        }
    }
}
