//! Whether the rows of an INSERT take the place of older rows of their keys, and whether its table can take that.

use std::collections::HashMap;
use std::sync::Arc;

use frazil_catalog::CommitQueue;
use frazil_table::Table;
use frazil_table::spec::FormatVersion;
use frazil_writer::{KeyColumns, UpsertWriter};

use crate::runtime::PipelineSpec;
use crate::session::IcebergTable;
use crate::source::Source;
use crate::sql::{Insert, SqlError};
use crate::{Error, Result};

/// The option, of the table or of the statement, as Iceberg's Flink connector calls it.
pub(crate) const UPSERT_ENABLED: &str = "write.upsert.enabled";

/// Whether an INSERT upserts. `options`: those of the table with the statement's hint over them.
///
/// # Errors
/// For a table without a key, and for one whose format or partitions don't allow it; each with what to do about it.
pub(crate) fn check_upserts(
    target: &IcebergTable,
    insert: &Insert,
    options: &HashMap<String, String>,
    script: &str,
) -> Result<bool> {
    let refuse = |message: String, help: &str| {
        Err(SqlError::new(message, insert.target.span(), script).help(help.to_owned()).into())
    };
    match options.get(UPSERT_ENABLED).map(String::as_str) {
        None | Some("false") => return Ok(false),
        Some("true") => {}
        Some(other) => {
            return refuse(format!("'{UPSERT_ENABLED}' is '{other}'"), "it must be 'true' or 'false'");
        }
    }
    if options.get("schema.evolution").is_some_and(|kind| kind == "add-columns") {
        let message = format!("{} can't both upsert and grow with its rows yet", insert.target);
        return refuse(message, "set 'schema.evolution' = 'none', and add columns with ALTER TABLE");
    }
    let key = match key_of(&target.table) {
        Ok(key) => key,
        Err(Error::Writer(frazil_writer::Error::BadKey { field, reason })) if field == "*" => {
            let help = "declare PRIMARY KEY (…) NOT ENFORCED when the table is made, or name its key with \
                        ALTER TABLE … SET IDENTIFIER FIELDS";
            return refuse(format!("rows can't be upserted into {}: {reason}", insert.target), help);
        }
        Err(error) => return Err(error),
    };
    match UpsertWriter::check(&target.table, &key) {
        Ok(()) => Ok(true),
        Err(error) => {
            let help = "ALTER TABLE … SET ('format-version' = '3') lifts the limits of older formats";
            refuse(format!("rows can't be upserted into {}: {error}", insert.target), help)
        }
    }
}

/// Why changes can't go into a table that only adds rows: they need a key that they are applied by.
pub(crate) fn refuse_changes(source: &dyn Source, insert: &Insert, script: &str) -> Error {
    let message =
        format!("{} brings updates and deletes, and rows are only added to {}", source.describe(), insert.target);
    let help = format!(
        "give the table a PRIMARY KEY (…) NOT ENFORCED and '{UPSERT_ENABLED}' = 'true', so that they are applied by key"
    );
    SqlError::new(message, insert.target.span(), script).help(help).into()
}

/// Whether a pipeline can run beside those before it: deletes are planned on one state of their table, so nothing else of
/// the job may write it, and they can't wait in a file for another catalog's commit.
///
/// # Errors
/// What can't be, with what to do instead.
pub(crate) fn check_together(before: &[PipelineSpec], new: &PipelineSpec, insert: &Insert, script: &str) -> Result<()> {
    let refuse = |message: String, help: &str| {
        Err(SqlError::new(message, insert.target.span(), script).help(help.to_owned()).into())
    };
    if before.iter().any(|other| Arc::ptr_eq(&other.queue, &new.queue) && (other.upserts || new.upserts)) {
        let message = format!("a second INSERT INTO {} can't run: rows that are upserted come by one", insert.target);
        return refuse(message, "let another job write it as well, or write one INSERT");
    }
    let all = || before.iter().chain([new]);
    let tables = all().flat_map(|spec| [Some(&spec.queue), spec.dead_letters.as_ref().map(|table| &table.queue)]);
    let tables: Vec<_> = tables.flatten().collect();
    let is_at_once = |queue: &Arc<CommitQueue>| {
        let catalog = queue.catalog();
        Arc::ptr_eq(queue, tables[0]) || (Arc::ptr_eq(catalog, tables[0].catalog()) && catalog.has_transactions())
    };
    match all().any(|spec| spec.upserts) && !tables.iter().all(|queue| is_at_once(queue)) {
        true => {
            let message =
                format!("the tables of the job can't commit at once, and rows of {} are upserted", insert.target);
            refuse(message, "write each of them by a job of its own, and its bad rows not into a dead-letter table")
        }
        false => Ok(()),
    }
}

/// One line for a person: how older rows go.
pub(crate) fn describe_upserts(table: &Table) -> Result<String> {
    let key = key_of(table)?;
    let names: Vec<_> = key.names().collect();
    let way = match table.metadata().format_version() {
        FormatVersion::V3 => "deletion vectors, by an index of the keys",
        _ => "equality deletes, and position deletes within a checkpoint",
    };
    Ok(format!("upserts by ({}): {way}", names.join(", ")))
}

/// The key of a table, from its identifier fields.
///
/// # Errors
/// [`frazil_writer::Error::BadKey`] if it has none.
pub(crate) fn key_of(table: &Table) -> Result<KeyColumns> {
    let key = KeyColumns::of(table.metadata().current_schema())?;
    Ok(key.ok_or_else(|| frazil_writer::Error::BadKey {
        field: "*".to_owned(),
        reason: "the table has no primary key".to_owned(),
    })?)
}
