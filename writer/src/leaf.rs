//! The leaf columns of a schema: what a Parquet file stores, and what metrics are about.

use frazil_table::spec::{NestedField, PrimitiveType, Schema, Type};

/// A leaf of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub id: i32,
    /// The full name, with `element`, `key` and `value` for what is in lists and maps.
    pub name: String,
    pub r#type: PrimitiveType,
    /// In a list or a map: it has not one value for each row.
    pub repeated: bool,
    /// How many fields are around it.
    pub depth: usize,
    /// Where Parquet keeps it.
    pub parquet_path: Vec<String>,
}

/// The leaves in schema order.
pub(crate) fn leaves(schema: &Schema) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    for field in schema.as_struct().fields() {
        visit(field, &field.name, &Position::default(), &mut leaves);
    }
    leaves
}

#[derive(Clone, Default)]
struct Position {
    name: Vec<String>,
    parquet_path: Vec<String>,
    repeated: bool,
}

fn visit(field: &NestedField, name: &str, around: &Position, leaves: &mut Vec<Leaf>) {
    let mut here = around.clone();
    here.name.push(name.to_owned());
    here.parquet_path.push(name.to_owned());
    match field.field_type.as_ref() {
        Type::Primitive(primitive) => leaves.push(Leaf {
            id: field.id,
            name: here.name.join("."),
            r#type: primitive.clone(),
            repeated: here.repeated,
            depth: around.name.len(),
            parquet_path: here.parquet_path,
        }),
        Type::Struct(fields) => {
            for field in fields.fields() {
                visit(field, &field.name, &here, leaves);
            }
        }
        Type::List(list) => {
            here.repeated = true;
            here.parquet_path.push("list".to_owned());
            visit(&list.element_field, "element", &here, leaves);
        }
        Type::Map(map) => {
            here.repeated = true;
            here.parquet_path.push("key_value".to_owned());
            visit(&map.key_field, "key", &here, leaves);
            visit(&map.value_field, "value", &here, leaves);
        }
    }
}
