//! The procedure that counts the distinct values of a table's columns.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use frazil_reader::{ReadContext, SnapshotSelector, select_snapshot};
use frazil_table::spec::Type;

use super::{Arguments, answer};
use crate::session::Session;
use crate::sql::SqlError;
use crate::statistics::{commit_sketches, compute_sketches};
use crate::suggest::nearest_one;
use crate::{Error, Result};

impl Session {
    /// Reads the table at a snapshot, the newest by default, and puts the numbers of distinct values of its columns, or of
    /// those that are named, into a statistics file of that snapshot. The one that the snapshot has goes.
    pub(super) async fn compute_table_stats(&self, arguments: &Arguments<'_>) -> Result<RecordBatch> {
        let table = self.table_of(arguments).await?;
        let selector = arguments.integer("snapshot_id").map_or(SnapshotSelector::Latest, SnapshotSelector::Id);
        let refuse =
            |message: String, place: &str| SqlError::new(message, arguments.span_of(place), arguments.script());
        let selected = select_snapshot(&table.table, &selector)
            .map_err(|error| Error::from(refuse(error.to_string(), "snapshot_id")))?;
        let mut wanted = Vec::new();
        for name in arguments.texts("columns") {
            let names = || selected.schema.field_id_to_name_map().values().map(String::as_str);
            match selected.schema.field_by_name(&name) {
                Some(field) if matches!(*field.field_type, Type::Primitive(_)) => wanted.push(field.id),
                Some(_) => {
                    let error = refuse(format!("'{name}' has no values of its own"), "columns");
                    return Err(error.help("name a column in it").into());
                }
                None => {
                    let error = refuse(format!("there is no column '{name}'"), "columns");
                    return Err(match nearest_one(&name, names()) {
                        Some(near) => error.help(format!("did you mean '{near}'?")),
                        None => error,
                    }
                    .into());
                }
            }
        }
        let file = match &selected.snapshot {
            None => None,
            Some(snapshot) => {
                let context = ReadContext::with_manifests(self.env(), self.manifests());
                let sketches = compute_sketches(&context, &table.table, selector, &wanted, READERS).await?;
                commit_sketches(&self.queue(&table), &table.table, snapshot.snapshot_id(), sketches).await?
            }
        };
        let location = file.map(|file| file.statistics_path);
        Ok(answer([("statistics_file", Arc::new(StringArray::from(vec![location])))]))
    }
}

/// Files that are read at the same time.
const READERS: usize = 2;
