//! Changes of a table in a catalog that a statement asks for.

use std::sync::Arc;

use frazil_catalog::{CommitEnd, CommitQueue, Precheck};
use frazil_table::{Change, CommitIdentity, Table};

use super::{IcebergTable, Resolved, Session};
use crate::sql::{Name, Span, SqlError};
use crate::{Error, Result};

impl Session {
    /// The table in a catalog that a name means; what is only in the session is refused.
    pub(super) async fn iceberg_or_refuse(&self, name: &Name, script: &str) -> Result<IcebergTable> {
        let refuse = |message: String, help: &str| Err(SqlError::new(message, name.span(), script).help(help).into());
        match self.resolve(name, script).await? {
            Resolved::Iceberg(table) => Ok(table),
            Resolved::External(table) => {
                let message = format!("'{name}' is a {} table, which lives in the session only", table.connector());
                refuse(message, "drop it and make it anew: its data stays where it is")
            }
            Resolved::View(_) => refuse(format!("'{name}' is a view"), "drop it and make it anew"),
        }
    }

    /// The queue of commits of a table.
    pub(crate) fn queue(&self, table: &IcebergTable) -> CommitQueue {
        CommitQueue::new(Arc::clone(&table.catalog), self.env.clone(), table.path.ident())
    }

    /// Commits changes that need no files; each attempt plans them anew on the table as it is then.
    pub(super) async fn commit_changes(&self, table: &IcebergTable, changes: &[Change]) -> Result<Table> {
        let same = same_table(&table.table);
        let snapshots = changes.iter().filter(|change| change.makes_snapshot()).count();
        self.commit_if(table, changes, snapshots, &same).await
    }

    /// Commits changes if the table still is as `precheck` wants it.
    pub(super) async fn commit_if(
        &self,
        table: &IcebergTable,
        changes: &[Change],
        snapshots: usize,
        precheck: &(dyn Fn(&Table) -> Precheck + Send + Sync),
    ) -> Result<Table> {
        let identity = CommitIdentity::draw(&self.env, snapshots);
        match self.queue(table).commit(changes, identity, precheck).await? {
            CommitEnd::Committed(committed) => Ok(committed.table),
            CommitEnd::AlreadyLanded(table) => Ok(table),
            CommitEnd::Conflict(conflict) => {
                Err(frazil_writer::Error::Conflict { table: table.path.to_string(), conflict }.into())
            }
        }
    }
}

/// Whether a table is still the one that it was.
pub(crate) fn same_table(then: &Table) -> impl Fn(&Table) -> Precheck + Send + Sync + use<> {
    let uuid = then.metadata().uuid();
    move |now| match now.metadata().uuid() == uuid {
        true => Precheck::Proceed,
        false => Precheck::Refuse("the table was dropped and made anew meanwhile".to_owned()),
    }
}

/// A change that the table can't take is a mistake at a place of the script. `place_of` knows where a column stands.
pub(super) fn at_place(error: Error, place_of: impl Fn(&str) -> Span, script: &str) -> Error {
    let refused = match error {
        Error::Catalog(frazil_catalog::Error::Table(refused)) | Error::Table(refused) => refused,
        other => return other,
    };
    let (message, span) = match &refused {
        frazil_table::Error::InvalidChange(reason) => (reason.clone(), place_of("")),
        frazil_table::Error::InvalidSchema { field, reason } if field.is_empty() => (reason.clone(), place_of("")),
        frazil_table::Error::InvalidSchema { field, reason } => {
            (format!("column '{field}': {reason}"), place_of(field))
        }
        _ => return Error::Table(refused),
    };
    // What stands behind a semicolon is what to do about it.
    match message.split_once("; ") {
        Some((message, help)) => SqlError::new(message, span, script).help(help).into(),
        None => SqlError::new(message, span, script).into(),
    }
}
