//! Errors get the line that they are about.

use crate::sql::{Name, Spanned, SqlError};
use crate::{Error, Result};

/// A text in which the statement stands at its place: its lines and columns are those of the script that it was parsed
/// from. What stands around it is blank.
pub fn script_around<T>(statement: &Spanned<T>) -> String {
    let start = statement.span.start;
    let lines = start.line.saturating_sub(1) as usize;
    let columns = start.column.saturating_sub(1) as usize;
    format!("{}{}{}", "\n".repeat(lines), " ".repeat(columns), statement.text)
}

/// The error with its line and statement, as far as it has a place.
pub(crate) fn placed(error: Error, kind: &'static str, script: &str) -> Error {
    match error {
        Error::Option(option) if option.span.start.line > 0 => option.in_script(script).in_statement(kind).into(),
        Error::Sql(mut sql) if sql.statement.is_empty() => {
            sql.statement = kind;
            Error::Sql(sql)
        }
        other => other,
    }
}

/// A refusal at a name.
pub(super) fn refuse<T>(message: impl Into<String>, help: Option<String>, name: &Name, script: &str) -> Result<T> {
    let error = SqlError::new(message, name.span(), script);
    Err(match help {
        Some(help) => error.help(help),
        None => error,
    }
    .into())
}
