//! Which changes a use of `t$changes` means, by the options of its hint.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use frazil_reader::{ChangelogForm, ChangelogRequest, IncrementStart, ReadContext, SnapshotSelector, select_snapshot};
use frazil_table::Table;
use frazil_table::spec::MAIN_BRANCH;

use crate::options::{Kind, Options, Schema, Spec};
use crate::provider::ChangelogTableProvider;
use crate::session::{IcebergTable, TableUse};
use crate::sql::SqlError;
use crate::{Error, Result};

const FORMS: [(&str, ChangelogForm); 3] =
    [("changes", ChangelogForm::Changes), ("upsert", ChangelogForm::Upsert), ("net", ChangelogForm::Net)];

/// What may stand in a hint at `t$changes`: as Iceberg's own options of incremental reads, and the form.
pub(crate) fn schema_of_changes() -> Schema {
    const ANY: Kind = Kind::Integer { min: i64::MIN, max: i64::MAX };
    const MOMENT: Kind = Kind::Integer { min: 0, max: i64::MAX };
    Schema::new("t$changes")
        .key(Spec::new("start-snapshot-id", ANY))
        .key(Spec::new("start-snapshot-timestamp", MOMENT))
        .key(Spec::new("start-tag", Kind::Text))
        .key(Spec::new("end-snapshot-id", ANY))
        .key(Spec::new("end-snapshot-timestamp", MOMENT))
        .key(Spec::new("end-tag", Kind::Text))
        .key(Spec::new("branch", Kind::Text))
        .key(Spec::new("changes.form", Kind::OneOf(&["changes", "upsert", "net"])).default("changes"))
        .key(Spec::new("changes.identifier-columns", Kind::Text))
}

/// Plans the changes. A mistake is shown at the table's place in the script.
pub(super) fn changes_of(
    context: ReadContext,
    table: &IcebergTable,
    used: &TableUse,
    script: &str,
) -> Result<Arc<dyn TableProvider>> {
    if used.as_of.is_some() {
        let error = SqlError::new("changes are of a range of snapshots, not of one", used.span, script);
        return Err(error.help("write /*+ OPTIONS('end-snapshot-id' = '…') */").into());
    }
    let request = request_of(&table.table, &used.options, used, script)?;
    match ChangelogTableProvider::new(context, &table.table, request) {
        Ok(provider) => Ok(Arc::new(provider)),
        Err(Error::Reader(error)) => Err(SqlError::new(error.to_string(), used.span, script).into()),
        Err(other) => Err(other),
    }
}

fn request_of(table: &Table, options: &Options, used: &TableUse, script: &str) -> Result<ChangelogRequest> {
    let checked = schema_of_changes().check(options)?;
    let both = |keys: &[&'static str]| -> Result<Option<&'static str>> {
        let given: Vec<&'static str> = keys.iter().copied().filter(|key| options.get(key).is_some()).collect();
        match given.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            [one, other, ..] => {
                let message = format!("'{one}' and '{other}' can't both be given");
                Err(SqlError::new(message, used.span, script).into())
            }
        }
    };
    // All changes after that state.
    let at = |selector: SnapshotSelector| -> Result<IncrementStart> {
        let selected = select_snapshot(table, &selector);
        let selected = selected.map_err(|error| SqlError::new(error.to_string(), used.span, script))?;
        let snapshot = selected.snapshot.map(|snapshot| snapshot.snapshot_id());
        Ok(snapshot.map_or(IncrementStart::Beginning, IncrementStart::Exclusive))
    };
    let start = match both(&["start-snapshot-id", "start-snapshot-timestamp", "start-tag"])? {
        None => IncrementStart::Beginning,
        Some("start-snapshot-id") => IncrementStart::Exclusive(checked.integer("start-snapshot-id")),
        Some("start-tag") => at(SnapshotSelector::Tag(checked.text("start-tag").to_owned()))?,
        Some(_) => start_at(table, checked.integer("start-snapshot-timestamp")),
    };
    let end = match both(&["end-snapshot-id", "end-snapshot-timestamp", "end-tag", "branch"])? {
        None => SnapshotSelector::Latest,
        Some("end-snapshot-id") => SnapshotSelector::Id(checked.integer("end-snapshot-id")),
        Some("end-tag") => SnapshotSelector::Tag(checked.text("end-tag").to_owned()),
        Some("branch") => SnapshotSelector::Branch(checked.text("branch").to_owned()),
        Some(_) => SnapshotSelector::Timestamp(checked.integer("end-snapshot-timestamp")),
    };
    let form = FORMS.iter().find(|(name, _)| *name == checked.text("changes.form"));
    let identifier = checked.text_opt("changes.identifier-columns").unwrap_or_default();
    let named = identifier.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    Ok(ChangelogRequest {
        start,
        end,
        form: form.map_or(ChangelogForm::Changes, |(_, form)| *form),
        identifier_columns: named.collect(),
        ..ChangelogRequest::default()
    })
}

/// After the newest snapshot of `main` that is not younger; from the first one on if all are.
fn start_at(table: &Table, at_ms: i64) -> IncrementStart {
    let older = table.ancestors(MAIN_BRANCH).find(|snapshot| snapshot.timestamp_ms() <= at_ms);
    older.map_or(IncrementStart::Beginning, |snapshot| IncrementStart::Exclusive(snapshot.snapshot_id()))
}

#[cfg(test)]
mod tests;
