//! Procedures that move `main` and other branches.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use frazil_catalog::Precheck;
use frazil_table::evolve::RefChange;
use frazil_table::spec::MAIN_BRANCH;
use frazil_table::{CherryPick, MetadataChange, Table, find_staged, io, plan_cherry_pick};

use super::{Arguments, answer};
use crate::Result;
use crate::session::change::at_place;
use crate::session::{IcebergTable, Session};
use crate::sql::SqlError;

fn ids(values: impl IntoIterator<Item = Option<i64>>) -> Arc<Int64Array> {
    Arc::new(values.into_iter().collect())
}

fn head(table: &Table) -> Option<i64> {
    table.current_snapshot().map(|snapshot| snapshot.snapshot_id())
}

impl Session {
    pub(super) async fn rollback_to_snapshot(&self, arguments: &Arguments<'_>) -> Result<RecordBatch> {
        let snapshot_id = arguments.integer("snapshot_id").unwrap_or_default();
        self.move_main(arguments, |branch| RefChange::Rollback { branch, snapshot_id }).await
    }

    pub(super) async fn rollback_to_timestamp(&self, arguments: &Arguments<'_>) -> Result<RecordBatch> {
        let timestamp_ms = arguments.timestamp_ms("timestamp").unwrap_or_default();
        self.move_main(arguments, |branch| RefChange::RollbackToTime { branch, timestamp_ms }).await
    }

    pub(super) async fn set_current_snapshot(&self, arguments: &Arguments<'_>) -> Result<RecordBatch> {
        let refuse = |message: String, place: &str| {
            Err(SqlError::new(message, arguments.span_of(place), arguments.script()).into())
        };
        let snapshot_id = match (arguments.integer("snapshot_id"), arguments.text("ref")) {
            (Some(id), None) => id,
            (None, Some(name)) => {
                let table = self.table_of(arguments).await?;
                match table.table.refs().get(&name) {
                    Some(reference) => reference.snapshot_id,
                    None => return refuse(format!("there is no branch or tag '{name}'"), "ref"),
                }
            }
            _ => return refuse("it takes either 'snapshot_id' or 'ref'".to_owned(), "ref"),
        };
        self.move_main(arguments, |branch| RefChange::SetSnapshot { branch, snapshot_id }).await
    }

    async fn move_main(&self, arguments: &Arguments<'_>, to: impl Fn(String) -> RefChange) -> Result<RecordBatch> {
        let table = self.table_of(arguments).await?;
        let change = MetadataChange::Ref(to(MAIN_BRANCH.to_owned()));
        let after = self.commit_for(&table, change.into(), arguments).await?;
        Ok(answer([("previous_snapshot_id", ids([head(&table.table)])), ("current_snapshot_id", ids([head(&after)]))]))
    }

    pub(super) async fn fast_forward(&self, arguments: &Arguments<'_>) -> Result<RecordBatch> {
        let table = self.table_of(arguments).await?;
        let text = |name| arguments.text(name).unwrap_or_default();
        let (branch, to) = (text("branch"), text("to"));
        let previous = table.table.refs().get(&branch).map(|reference| reference.snapshot_id);
        let change = MetadataChange::Ref(RefChange::FastForward { branch: branch.clone(), to });
        let after = self.commit_for(&table, change.into(), arguments).await?;
        let updated = after.refs().get(&branch).map(|reference| reference.snapshot_id);
        Ok(answer([
            ("branch_updated", Arc::new(StringArray::from(vec![branch]))),
            ("previous_ref", ids([previous])),
            ("updated_ref", ids([updated])),
        ]))
    }

    pub(super) async fn cherrypick_snapshot(&self, arguments: &Arguments<'_>) -> Result<RecordBatch> {
        let table = self.table_of(arguments).await?;
        let snapshot_id = arguments.integer("snapshot_id").unwrap_or_default();
        let after = self.pick(&table, snapshot_id, arguments).await?;
        Ok(answer([("source_snapshot_id", ids([Some(snapshot_id)])), ("current_snapshot_id", ids([head(&after)]))]))
    }

    pub(super) async fn publish_changes(&self, arguments: &Arguments<'_>) -> Result<RecordBatch> {
        let table = self.table_of(arguments).await?;
        let staged = find_staged(&table.table, &arguments.text("wap_id").unwrap_or_default());
        let placed =
            |error: frazil_table::Error| at_place(error.into(), |_| arguments.span_of("wap_id"), arguments.script());
        let snapshot_id = staged.map_err(placed)?;
        let after = self.pick(&table, snapshot_id, arguments).await?;
        Ok(answer([("source_snapshot_id", ids([Some(snapshot_id)])), ("current_snapshot_id", ids([head(&after)]))]))
    }

    /// Brings a snapshot over to `main`. Another commit that comes first may turn a fast-forward into a replay, or find
    /// that somebody else was faster: then it is planned anew by the person who called.
    async fn pick(&self, table: &IcebergTable, snapshot_id: i64, arguments: &Arguments<'_>) -> Result<Table> {
        let placed = |error: crate::Error| at_place(error, |_| arguments.span(), arguments.script());
        let pick = plan_cherry_pick(&table.table, snapshot_id).map_err(|error| placed(error.into()))?;
        let files = match pick.needs_files() {
            true => {
                let added = io::load_added_files(&self.env().store, self.manifests(), &table.table, snapshot_id).await;
                added.map_err(|error| placed(error.into()))?
            }
            false => Vec::new(),
        };
        let snapshots = usize::from(matches!(pick, CherryPick::Replay { .. }));
        let still = |now: &Table| match plan_cherry_pick(now, snapshot_id) {
            Ok(again) if again == pick => Precheck::Proceed,
            Ok(_) => Precheck::Refuse("main has moved on meanwhile; call it again".to_owned()),
            Err(error) => Precheck::Refuse(error.to_string()),
        };
        let changes = [pick.clone().into_change(files)];
        self.commit_if(table, &changes, snapshots, &still).await.map_err(placed)
    }

    pub(super) async fn ancestors_of(&self, arguments: &Arguments<'_>) -> Result<RecordBatch> {
        let table = self.table_of(arguments).await?.table;
        let from = match arguments.integer("snapshot_id") {
            Some(id) if table.metadata().snapshot_by_id(id).is_none() => {
                let message = format!("the table has no snapshot {id}");
                return Err(SqlError::new(message, arguments.span_of("snapshot_id"), arguments.script()).into());
            }
            Some(id) => Some(id),
            None => head(&table),
        };
        let chain: Vec<_> = from.into_iter().flat_map(|id| table.ancestors_of(id)).collect();
        let times: TimestampMillisecondArray = chain.iter().map(|snapshot| Some(snapshot.timestamp_ms())).collect();
        Ok(answer([
            ("snapshot_id", ids(chain.iter().map(|snapshot| Some(snapshot.snapshot_id())))),
            ("timestamp", Arc::new(times.with_timezone("+00:00"))),
        ]))
    }
}
