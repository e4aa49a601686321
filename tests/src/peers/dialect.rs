//! One table, three dialects: DDL and literals for the peers that speak SQL.

use serde_json::Value;

use super::peer::Engine;
use super::table::{Column, Kind, Table};

/// `CREATE TABLE` of an Iceberg table of format version 2.
pub(crate) fn create_sql(engine: Engine, table: &Table) -> String {
    let columns = columns_sql(engine, &table.columns, " ", ", ");
    let month = table.month_of.as_deref();
    let rest = match engine {
        Engine::Spark => format!(
            "USING iceberg{} TBLPROPERTIES ('format-version' = '2')",
            month.map_or(String::new(), |column| format!(" PARTITIONED BY (months({column}))"))
        ),
        Engine::Trino => format!(
            "WITH (format_version = 2{})",
            month.map_or(String::new(), |c| format!(", partitioning = ARRAY['month({c})']"))
        ),
        Engine::DuckDb | Engine::PyIceberg => {
            month.map_or(String::new(), |column| format!("PARTITIONED BY (month({column}))"))
        }
    };
    format!("CREATE TABLE frazil.{} ({columns}) {rest}", table.path())
}

/// `INSERT INTO` with the rows as literals.
pub(crate) fn insert_sql(engine: Engine, table: &Table, rows: &[Value]) -> String {
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            let values: Vec<String> =
                table.columns.iter().map(|c| literal_sql(engine, &c.kind, &row[&c.name])).collect();
            format!("({})", values.join(", "))
        })
        .collect();
    format!("INSERT INTO frazil.{} VALUES {}", table.path(), rows.join(", "))
}

fn columns_sql(engine: Engine, columns: &[Column], between: &str, separator: &str) -> String {
    let columns: Vec<String> =
        columns.iter().map(|column| format!("{}{between}{}", column.name, type_sql(engine, &column.kind))).collect();
    columns.join(separator)
}

fn type_sql(engine: Engine, kind: &Kind) -> String {
    let trino = engine == Engine::Trino;
    let spark = engine == Engine::Spark;
    match kind {
        Kind::Boolean => "BOOLEAN".into(),
        Kind::Int => "INTEGER".into(),
        Kind::Long => "BIGINT".into(),
        Kind::Double => "DOUBLE".into(),
        Kind::Decimal(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        Kind::String if spark => "STRING".into(),
        Kind::String => "VARCHAR".into(),
        Kind::Date => "DATE".into(),
        Kind::Timestamp if spark => "TIMESTAMP_NTZ".into(),
        Kind::Timestamp if trino => "TIMESTAMP(6)".into(),
        Kind::Timestamp => "TIMESTAMP".into(),
        Kind::Timestamptz if spark => "TIMESTAMP".into(),
        Kind::Timestamptz if trino => "TIMESTAMP(6) WITH TIME ZONE".into(),
        Kind::Timestamptz => "TIMESTAMPTZ".into(),
        Kind::Struct(fields) if spark => {
            format!("STRUCT<{}>", columns_sql(engine, fields, ": ", ", "))
        }
        Kind::Struct(fields) if trino => format!("ROW({})", columns_sql(engine, fields, " ", ", ")),
        Kind::Struct(fields) => format!("STRUCT({})", columns_sql(engine, fields, " ", ", ")),
        Kind::List(element) if spark => format!("ARRAY<{}>", type_sql(engine, element)),
        Kind::List(element) if trino => format!("ARRAY({})", type_sql(engine, element)),
        Kind::List(element) => format!("{}[]", type_sql(engine, element)),
    }
}

fn literal_sql(engine: Engine, kind: &Kind, value: &Value) -> String {
    if value.is_null() {
        return format!("CAST(NULL AS {})", type_sql(engine, kind));
    }
    let text = || value.as_str().expect("this type's values are text in a test's row");
    match kind {
        Kind::Boolean => value.to_string(),
        Kind::Struct(fields) => struct_sql(engine, kind, fields, value),
        Kind::List(element) => {
            let items = value.as_array().expect("a list is an array in a test's row");
            let items: Vec<String> = items.iter().map(|item| literal_sql(engine, element, item)).collect();
            let (open, close) = match engine {
                Engine::Spark => ("array(", ")"),
                Engine::Trino => ("ARRAY[", "]"),
                Engine::DuckDb | Engine::PyIceberg => ("[", "]"),
            };
            format!("CAST({open}{}{close} AS {})", items.join(", "), type_sql(engine, kind))
        }
        Kind::String => string_sql(engine, text()),
        Kind::Date => format!("DATE '{}'", text()),
        Kind::Timestamp => {
            let name = if engine == Engine::Spark { "TIMESTAMP_NTZ" } else { "TIMESTAMP" };
            format!("{name} '{}'", text().replace('T', " "))
        }
        Kind::Timestamptz => {
            let name = if engine == Engine::DuckDb { "TIMESTAMPTZ" } else { "TIMESTAMP" };
            format!("{name} '{} UTC'", text().replace('T', " "))
        }
        // Numbers go through text, so that no dialect's own type of a literal comes between.
        Kind::Int | Kind::Long | Kind::Double | Kind::Decimal(..) => {
            let number = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("CAST('{number}' AS {})", type_sql(engine, kind))
        }
    }
}

fn struct_sql(engine: Engine, kind: &Kind, fields: &[Column], value: &Value) -> String {
    let values: Vec<(&str, String)> =
        fields.iter().map(|f| (f.name.as_str(), literal_sql(engine, &f.kind, &value[&f.name]))).collect();
    let joined = |write: &dyn Fn(&(&str, String)) -> String| values.iter().map(write).collect::<Vec<_>>().join(", ");
    match engine {
        Engine::Spark => format!("named_struct({})", joined(&|(n, v)| format!("'{n}', {v}"))),
        Engine::Trino => {
            format!("CAST(ROW({}) AS {})", joined(&|(_, v)| v.clone()), type_sql(engine, kind))
        }
        Engine::DuckDb | Engine::PyIceberg => {
            format!("{{{}}}", joined(&|(n, v)| format!("'{n}': {v}")))
        }
    }
}

fn string_sql(engine: Engine, text: &str) -> String {
    match engine {
        Engine::Spark => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        _ => format!("'{}'", text.replace('\'', "''")),
    }
}
