//! A table as SQL: `DESCRIBE`, `SHOW CREATE TABLE`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use frazil_table::spec::{NestedField, Schema, Transform};

use super::create_table::COMMENT;
use super::external::ExternalTable;
use super::resolve::{IcebergTable, Resolved};
use super::{Executed, Session};
use crate::Result;
use crate::sql::{ColumnKind, DataType, Name};

/// One line of `DESCRIBE`.
#[derive(Default)]
struct Line {
    name: String,
    data_type: String,
    nullable: Option<bool>,
    key: Option<String>,
    extras: Option<String>,
    watermark: Option<String>,
    comment: Option<String>,
}

impl Session {
    pub(super) async fn describe(&self, name: &Name, script: &str) -> Result<Executed> {
        let lines = match self.resolve(name, script).await? {
            Resolved::Iceberg(table) => lines_of_iceberg(&table),
            Resolved::External(table) => lines_of_external(&table),
            Resolved::View(view) => {
                let plan = self.plan_for_types(&view).await?;
                let fields = plan.schema().fields().iter().zip(0..);
                let named = |index: usize, own: &str| view.columns.get(index).map_or(own, String::as_str).to_owned();
                fields
                    .map(|(field, index)| Line {
                        name: named(index, field.name()),
                        data_type: sql_type(field.data_type()),
                        nullable: Some(field.is_nullable()),
                        ..Line::default()
                    })
                    .collect()
            }
        };
        Ok(Executed::Rows(to_rows(&lines)))
    }
}

fn to_rows(lines: &[Line]) -> RecordBatch {
    let text = |of: fn(&Line) -> Option<&str>| Arc::new(lines.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let nullable = Arc::new(lines.iter().map(|line| line.nullable).collect::<BooleanArray>()) as ArrayRef;
    let columns = [
        ("name", text(|line| Some(&line.name))),
        ("type", text(|line| Some(&line.data_type))),
        ("null", nullable),
        ("key", text(|line| line.key.as_deref())),
        ("extras", text(|line| line.extras.as_deref())),
        ("watermark", text(|line| line.watermark.as_deref())),
        ("comment", text(|line| line.comment.as_deref())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
        .expect("the columns have one value for each line")
}

fn key_text(keys: &[String]) -> String {
    format!("PRI({})", keys.join(", "))
}

fn lines_of_external(table: &ExternalTable) -> Vec<Line> {
    let definition = table.definition();
    let watermark = definition.watermark.as_ref();
    let line = |column: &crate::sql::Column| Line {
        name: column.name.clone(),
        data_type: column.data_type().map_or_else(|| "computed".to_owned(), |t| t.kind.to_string()),
        nullable: column.data_type().map(|data_type| data_type.nullable),
        key: definition.primary_key.contains(&column.name).then(|| key_text(&definition.primary_key)),
        extras: match &column.kind {
            ColumnKind::Physical(_) => None,
            ColumnKind::Computed(expr) => Some(format!("AS {expr}")),
            ColumnKind::Metadata { key, is_virtual, .. } => {
                let from = key.as_ref().map(|key| format!(" FROM '{key}'")).unwrap_or_default();
                Some(format!("METADATA{from}{}", if *is_virtual { " VIRTUAL" } else { "" }))
            }
        },
        watermark: watermark.filter(|w| w.column == [column.name.clone()]).map(|w| w.expr.to_string()),
        comment: column.comment.clone(),
    };
    definition.columns.iter().map(line).collect()
}

fn lines_of_iceberg(table: &IcebergTable) -> Vec<Line> {
    let schema = table.table.metadata().current_schema();
    let keys = key_names(schema);
    let partition = partition_fields(table);
    let line = |field: &NestedField| {
        let below = format!("{}.", field.name);
        let of_field = partition.iter().filter(|(source, _)| *source == field.name || source.starts_with(&below));
        let parts: Vec<&str> = of_field.map(|(_, text)| text.as_str()).collect();
        Line {
            name: field.name.clone(),
            data_type: iceberg_sql_type(field).kind_text,
            nullable: Some(!field.required),
            key: keys.contains(&field.name).then(|| key_text(&keys)),
            extras: (!parts.is_empty()).then(|| format!("PARTITIONED BY {}", parts.join(", "))),
            watermark: None,
            comment: field.doc.clone(),
        }
    };
    schema.as_struct().fields().iter().map(|field| line(field)).collect()
}

struct SqlText {
    kind_text: String,
    whole: String,
}

fn iceberg_sql_type(field: &NestedField) -> SqlText {
    let shown = frazil_table::arrow::arrow_type(&field.field_type)
        .ok()
        .and_then(|arrow| DataType::from_arrow(&arrow, !field.required).ok());
    match shown {
        Some(sql) => SqlText { kind_text: sql.kind.to_string(), whole: sql.to_string() },
        // What SQL has no word for is shown as Iceberg writes it.
        None => SqlText { kind_text: field.field_type.to_string(), whole: field.field_type.to_string() },
    }
}

fn sql_type(arrow: &arrow::datatypes::DataType) -> String {
    DataType::from_arrow(arrow, true).map_or_else(|_| arrow.to_string(), |sql| sql.to_string())
}

fn key_names(schema: &Schema) -> Vec<String> {
    let mut ids: Vec<i32> = schema.identifier_field_ids().collect();
    ids.sort_unstable();
    ids.into_iter().filter_map(|id| schema.name_by_field_id(id)).map(str::to_owned).collect()
}

/// For each field of the partition spec the path of its source and its text: `month(ts)`.
fn partition_fields(table: &IcebergTable) -> Vec<(String, String)> {
    let metadata = table.table.metadata();
    let schema = metadata.current_schema();
    let fields = metadata.default_partition_spec().fields().iter();
    fields
        .filter(|field| field.transform != Transform::Void)
        .filter_map(|field| {
            let source = schema.name_by_field_id(field.source_id)?.to_owned();
            let quoted: Vec<String> = source.split('.').map(quoted).collect();
            let column = quoted.join(".");
            let text = match field.transform {
                Transform::Identity => column,
                Transform::Bucket(count) => format!("bucket({count}, {column})"),
                Transform::Truncate(width) => format!("truncate({width}, {column})"),
                other => format!("{other}({column})"),
            };
            Some((source, text))
        })
        .collect()
}

/// The statement that makes a table like this one.
pub(super) fn create_iceberg(table: &IcebergTable) -> String {
    let metadata = table.table.metadata();
    let schema = metadata.current_schema();
    let mut lines: Vec<String> = Vec::new();
    for field in schema.as_struct().fields() {
        let mut line = format!("  {} {}", quoted(&field.name), iceberg_sql_type(field).whole);
        if let Some(doc) = &field.doc {
            line.push_str(&format!(" COMMENT {}", text(doc)));
        }
        lines.push(line);
    }
    let keys = key_names(schema);
    if !keys.is_empty() {
        let keys: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
        lines.push(format!("  PRIMARY KEY ({}) NOT ENFORCED", keys.join(", ")));
    }
    let mut statement = format!("CREATE TABLE {} (\n{}\n)", table.path, lines.join(",\n"));
    if let Some(comment) = table.table.property(COMMENT) {
        statement.push_str(&format!(" COMMENT {}", text(comment)));
    }
    let partition: Vec<String> = partition_fields(table).into_iter().map(|(_, text)| text).collect();
    if !partition.is_empty() {
        statement.push_str(&format!(" PARTITIONED BY ({})", partition.join(", ")));
    }
    let mut options = vec![
        ("connector".to_owned(), "iceberg".to_owned()),
        ("format-version".to_owned(), (metadata.format_version() as u8).to_string()),
    ];
    let mut properties: Vec<_> = metadata.properties().iter().filter(|(key, _)| shown(key)).collect();
    properties.sort();
    options.extend(properties.into_iter().map(|(key, value)| (key.clone(), value.clone())));
    statement.push_str(&with(options.iter().map(|(key, value)| (key.as_str(), value.as_str()))));
    statement
}

/// What a job has left in the properties for itself is no option of the table.
fn shown(key: &str) -> bool {
    key != COMMENT && !key.starts_with("frazil.")
}

/// The statement that made the table, in full names.
pub(super) fn create_external(table: &ExternalTable) -> String {
    let definition = table.definition();
    let mut lines: Vec<String> = Vec::new();
    for column in &definition.columns {
        let name = quoted(&column.name);
        let mut line = match &column.kind {
            ColumnKind::Physical(data_type) => format!("  {name} {data_type}"),
            ColumnKind::Computed(expr) => format!("  {name} AS {expr}"),
            ColumnKind::Metadata { data_type, key, is_virtual } => {
                let from = key.as_ref().map(|key| format!(" FROM {}", text(key))).unwrap_or_default();
                let last = if *is_virtual { " VIRTUAL" } else { "" };
                format!("  {name} {data_type} METADATA{from}{last}")
            }
        };
        if let Some(comment) = &column.comment {
            line.push_str(&format!(" COMMENT {}", text(comment)));
        }
        lines.push(line);
    }
    if let Some(watermark) = &definition.watermark {
        let path: Vec<String> = watermark.column.iter().map(|part| quoted(part)).collect();
        lines.push(format!("  WATERMARK FOR {} AS {}", path.join("."), watermark.expr));
    }
    if !definition.primary_key.is_empty() {
        let keys: Vec<String> = definition.primary_key.iter().map(|key| quoted(key)).collect();
        lines.push(format!("  PRIMARY KEY ({}) NOT ENFORCED", keys.join(", ")));
    }
    let mut statement = format!("CREATE TABLE {} (\n{}\n)", table.path(), lines.join(",\n"));
    if let Some(comment) = &definition.comment {
        statement.push_str(&format!(" COMMENT {}", text(comment)));
    }
    statement
        .push_str(&with(table.options().iter().map(|entry| (entry.key.as_str(), masked(&entry.key, &entry.value)))));
    statement
}

/// A password is not shown.
fn masked<'a>(key: &str, value: &'a str) -> &'a str {
    let lower = key.to_ascii_lowercase();
    let secret = ["password", "secret", "token", "jaas"].iter().any(|word| lower.contains(word));
    if secret { "******" } else { value }
}

fn with<'a>(options: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let lines: Vec<String> = options.map(|(key, value)| format!("  {} = {}", text(key), text(value))).collect();
    format!(" WITH (\n{}\n)", lines.join(",\n"))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// An identifier as it is written in SQL.
fn quoted(identifier: &str) -> String {
    Name::new([identifier]).to_string()
}
