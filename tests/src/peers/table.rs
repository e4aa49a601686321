//! A table as the tests describe it to every peer.

use serde_json::{Value, json};

/// The type of a column. Each has one spelling in every peer's SQL and in Iceberg's JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `boolean`
    Boolean,
    /// `int`
    Int,
    /// `long`
    Long,
    /// `double`
    Double,
    /// `decimal(precision, scale)`
    Decimal(u8, u8),
    /// `string`
    String,
    /// `date`
    Date,
    /// `timestamp`, in microseconds
    Timestamp,
    /// `timestamptz`, in microseconds
    Timestamptz,
    /// `struct`
    Struct(Vec<Column>),
    /// `list` with elements that may be null
    List(Box<Kind>),
}

/// A column or a struct's field; it may be null.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name: lower case, since not every peer keeps case.
    pub name: String,
    /// Its type.
    pub kind: Kind,
}

impl Column {
    /// A column of a type.
    pub fn new(name: &str, kind: Kind) -> Column {
        Column { name: name.to_owned(), kind }
    }
}

/// A table that a test makes. Rows are JSON objects by column name: timestamps and dates as ISO 8601 text (in UTC,
/// without a zone, with six digits of fraction), decimals as text, structs as objects, lists as arrays.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The namespace: one level.
    pub namespace: String,
    /// The table's name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// The timestamp column whose month partitions the table, if any.
    pub month_of: Option<String>,
}

impl Table {
    /// `namespace.name`
    pub fn path(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// Iceberg's JSON of the schema, with ids given in order.
    pub fn iceberg_schema(&self) -> Value {
        let mut next_id = 0;
        let mut schema = iceberg_struct(&self.columns, &mut next_id);
        schema["schema-id"] = json!(0);
        schema
    }

    /// A row in the form that peers answer in: values by position, structs as lists.
    pub fn plain_row(&self, row: &Value) -> Vec<Value> {
        plain_fields(&self.columns, row)
    }
}

fn plain_fields(columns: &[Column], row: &Value) -> Vec<Value> {
    columns.iter().map(|column| plain(&column.kind, &row[&column.name])).collect()
}

fn plain(kind: &Kind, value: &Value) -> Value {
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        (Kind::Struct(fields), value) => plain_fields(fields, value).into(),
        (Kind::List(element), Value::Array(items)) => items.iter().map(|item| plain(element, item)).collect(),
        (_, value) => value.clone(),
    }
}

fn iceberg_struct(columns: &[Column], next_id: &mut i32) -> Value {
    // A level's ids come before those below it, as in tables that engines make.
    let first_id = *next_id + 1;
    *next_id += i32::try_from(columns.len()).expect("a test's table is small");
    let fields: Vec<Value> = (first_id..)
        .zip(columns)
        .map(|(id, column)| {
            json!({
                "id": id,
                "name": column.name,
                "required": false,
                "type": iceberg_type(&column.kind, next_id),
            })
        })
        .collect();
    json!({"type": "struct", "fields": fields})
}

fn iceberg_type(kind: &Kind, next_id: &mut i32) -> Value {
    match kind {
        Kind::Boolean => json!("boolean"),
        Kind::Int => json!("int"),
        Kind::Long => json!("long"),
        Kind::Double => json!("double"),
        Kind::Decimal(precision, scale) => json!(format!("decimal({precision}, {scale})")),
        Kind::String => json!("string"),
        Kind::Date => json!("date"),
        Kind::Timestamp => json!("timestamp"),
        Kind::Timestamptz => json!("timestamptz"),
        Kind::Struct(fields) => iceberg_struct(fields, next_id),
        Kind::List(element) => {
            *next_id += 1;
            let element_id = *next_id;
            json!({
                "type": "list",
                "element-id": element_id,
                "element-required": false,
                "element": iceberg_type(element, next_id),
            })
        }
    }
}
