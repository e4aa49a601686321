//! `EXPLAIN COMPACTION`: what would be rewritten of a table, why, what it costs and what it saves.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use frazil_compactor::{Config, Coordinator, FileGroup};
use frazil_table::io;

use super::{Executed, Resolved};
use crate::sql::{Name, SqlError};
use crate::{Result, Session};

impl Session {
    /// One row for each group of files that a job of one writer, or the service, would rewrite next. Nothing is rewritten.
    ///
    /// Cost: all manifests are read.
    pub(super) async fn explain_compaction(&self, name: &Name, script: &str) -> Result<Executed> {
        let Resolved::Iceberg(table) = self.resolve(name, script).await? else {
            let message = format!("'{name}' is no Iceberg table, so nothing of it is compacted");
            return Err(SqlError::new(message, name.span(), script).into());
        };
        let config = Config::from_options(table.table.metadata().properties(), &Default::default(), 1)?;
        let state = io::load_state(&self.env().store, self.manifests(), &table.table, io::Entries::All).await?;
        let coordinator = Coordinator::new(&state, &config)?;
        let plan = coordinator.plan();
        if let Some(refusal) = plan.refusal {
            return Err(
                SqlError::new(format!("nothing of '{name}' is compacted: {refusal}"), name.span(), script).into()
            );
        }
        Ok(Executed::Rows(rows(&plan.groups, coordinator.commits_to_wait())))
    }
}

fn rows(groups: &[FileGroup], commits_to_wait: Option<usize>) -> RecordBatch {
    let long = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let longs = |of: fn(&FileGroup) -> u64| -> ArrayRef {
        Arc::new(groups.iter().map(|group| Some(long(of(group)))).collect::<Int64Array>())
    };
    let texts =
        |of: fn(&FileGroup) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(groups.iter().map(of))) };
    let wait = commits_to_wait.map(|commits| long(commits as u64));
    let columns: [(&str, ArrayRef); 9] = [
        ("partition", texts(|group| &group.partition_path)),
        ("reason", texts(|group| group.reason.name())),
        ("files", longs(|group| group.inputs.len() as u64)),
        ("rows", longs(FileGroup::rows_in)),
        ("delete_files", longs(|group| group.deletes.len() as u64)),
        ("rows_deleted_max", longs(|group| group.rows_deleted_max)),
        ("bytes_read", longs(|group| group.bytes_in() + group.delete_bytes())),
        ("bytes_written_estimate", longs(FileGroup::bytes_out_estimate)),
        ("commits_to_wait", Arc::new(groups.iter().map(|_| wait).collect::<Int64Array>())),
    ];
    RecordBatch::try_from_iter(columns).expect("the columns have one value for each group")
}
