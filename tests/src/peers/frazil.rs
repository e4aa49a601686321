//! Frazil's own command line as one more reader beside the peers.

use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use super::answer::{Answer, Checksum};
use super::table::{Column, Kind, Table};
use crate::server::frazil;

/// `frazil sql` on the Iceberg REST catalog at a URI: a process per statement.
#[derive(Debug)]
pub struct FrazilSql {
    uri: String,
    /// An empty data folder, so that nothing of another run is found.
    scratch: TempDir,
}

impl FrazilSql {
    /// A reader of the catalog.
    pub fn new(catalog_uri: &str) -> FrazilSql {
        let scratch = TempDir::with_prefix("frazil-sql-").expect("a test may write to the temporary folder");
        FrazilSql { uri: catalog_uri.to_owned(), scratch }
    }

    /// Runs one statement; its rows as JSON objects, without the fields that are null.
    ///
    /// # Errors
    /// What the program wrote to its standard error, if it did not end well.
    pub fn sql(&self, sql: &str) -> Result<Vec<Value>, String> {
        let output = frazil()
            .args(["sql", "--output", "json", "--catalog", &self.uri, "--data-dir"])
            .arg(self.scratch.path())
            .args(["--execute", sql])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| format!("frazil sql cannot be run: {error}"))?;
        let (text, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            return Err(format!("frazil sql: {}: {}\n    asked: {sql}", output.status, complaint.trim()));
        }
        let row = |line| serde_json::from_str(line).map_err(|error| format!("{error} in {line}"));
        text.lines().filter(|line| !line.is_empty()).map(row).collect()
    }

    /// Reads every row of a table, written down as the peers do.
    ///
    /// # Errors
    /// As [`FrazilSql::sql`].
    pub fn scan(&self, table: &Table) -> Result<Answer, String> {
        let rows = self.sql(&format!("SELECT * FROM {}", table.path()))?;
        Ok(Answer {
            columns: table.columns.iter().map(|column| column.name.clone()).collect(),
            rows: rows.iter().map(|row| plain_fields(&table.columns, row)).collect(),
        })
    }

    /// The checksum of `namespace.table` over integer columns.
    ///
    /// # Errors
    /// As [`FrazilSql::sql`].
    pub fn checksum(&self, table: &str, columns: &[&str]) -> Result<Checksum, String> {
        let mut names = vec!["n".to_owned()];
        let mut expressions = vec!["count(*) AS n".to_owned()];
        for column in columns {
            for figure in ["sum", "min", "max"] {
                names.push(format!("{figure}_{column}"));
                expressions.push(format!("{figure}({column}) AS {figure}_{column}"));
            }
        }
        let rows = self.sql(&format!("SELECT {} FROM {table}", expressions.join(", ")))?;
        let rows = rows.iter().map(|row| names.iter().map(|name| row[name].clone()).collect()).collect();
        Ok(Checksum::from_answer(&Answer { columns: names, rows }, columns))
    }
}

fn plain_fields(columns: &[Column], row: &Value) -> Vec<Value> {
    columns.iter().map(|column| plain(&column.kind, &row[&column.name])).collect()
}

/// Arrow's JSON of a value as the peers write it (`tests/peers/peer.py`, `plain`).
fn plain(kind: &Kind, value: &Value) -> Value {
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        (Kind::Struct(fields), row) => plain_fields(fields, row).into(),
        (Kind::List(element), Value::Array(items)) => items.iter().map(|item| plain(element, item)).collect(),
        (Kind::Timestamp | Kind::Timestamptz, Value::String(text)) => {
            let text = text.trim_end_matches('Z').trim_end_matches("+00:00");
            let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
            format!("{}.{fraction:0<6}", seconds.replace(' ', "T")).into()
        }
        (Kind::Decimal(..), Value::Number(number)) => number.to_string().into(),
        (_, other) => other.clone(),
    }
}
