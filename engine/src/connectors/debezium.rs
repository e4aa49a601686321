//! Debezium's change events in JSON, one record each: what a row was, what it is, and what happened to it.
//!
//! | `op` | rows |
//! |---|---|
//! | `c` (create), `r` (read by a snapshot) | `+I` of `after` |
//! | `u` (update) | `-U` of `before`, `+U` of `after` |
//! | `d` (delete) | `-D` of `before` |
//!
//! Both rows of an update are needed, as in Flink: a database that leaves `before` out has to be told (PostgreSQL:
//! `ALTER TABLE … REPLICA IDENTITY FULL`).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::columns::{ColumnBuilder, FieldError};
use super::json::{self, Reading};
use crate::changelog::RowKind;

/// How the events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DebeziumEncoding {
    /// Each event stands in `payload`, beside its schema (`debezium-json.schema-include`).
    pub(super) schema_include: bool,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    payload: Option<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    before: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
    op: Option<String>,
}

/// Appends the rows of an event to the columns of `root`, and their kinds.
///
/// # Errors
/// What is wrong with it; `root` and `kinds` are left with a part of the rows and have to be truncated.
pub(super) fn append_record(
    root: &mut ColumnBuilder,
    kinds: &mut Vec<i8>,
    record: &[u8],
    encoding: DebeziumEncoding,
) -> Result<(), FieldError> {
    let not_json = |error: serde_json::Error| FieldError::new(format!("no change event of Debezium: {error}"));
    let event = match encoding.schema_include {
        true => {
            let message: Message<'_> = serde_json::from_slice(record).map_err(not_json)?;
            let help = "is 'debezium-json.schema-include' right?";
            message.payload.ok_or_else(|| FieldError::new(format!("the event has no payload; {help}")))?
        }
        false => serde_json::from_slice(record).map_err(not_json)?,
    };
    let mut append = |kind: RowKind, name: &str, row: Option<&RawValue>| {
        let Some(row) = row.filter(|row| row.get() != "null") else {
            let help = match kind {
                RowKind::UpdateBefore | RowKind::Delete => {
                    "; have the database tell of whole rows (PostgreSQL: ALTER TABLE … REPLICA IDENTITY FULL)"
                }
                RowKind::Insert | RowKind::UpdateAfter => "",
            };
            return Err(FieldError::new(format!("the event has no '{name}'{help}")));
        };
        json::append_record(root, row.get().as_bytes(), Reading::Declared).map_err(|error| error.within(name))?;
        kinds.push(kind as i8);
        Ok(())
    };
    match event.op.as_deref() {
        Some("c" | "r") => append(RowKind::Insert, "after", event.after),
        Some("u") => {
            append(RowKind::UpdateBefore, "before", event.before)?;
            append(RowKind::UpdateAfter, "after", event.after)
        }
        Some("d") => append(RowKind::Delete, "before", event.before),
        Some(other) => Err(FieldError::new(format!("the event's op is '{other}'; c, r, u and d are known"))),
        None => {
            let help =
                if encoding.schema_include { "" } else { "; is 'debezium-json.schema-include' = 'true' missing?" };
            Err(FieldError::new(format!("the event has no op{help}")))
        }
    }
}
