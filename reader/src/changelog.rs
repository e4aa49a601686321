//! Which rows came and went between two snapshots of a table, whatever kinds of snapshots lie between.
//!
//! 1. [`plan_changelog`] is pure: it walks the history and says of each snapshot whether it is looked at; `replace`
//!    snapshots hold the same rows as before and are passed over.
//! 2. [`load_snapshot_diff`] reads those manifests of a snapshot and of its parent in which they differ.
//! 3. [`plan_snapshot_changes`] is pure: it says which data files are read whole, since they came or went, and of which
//!    files that stayed the rows are read that new deletes take away.
//! 4. [`ChangelogReader`] reads that, snapshot by snapshot.
//!
//! A snapshot is compared with its parent by what is live in each, not by what its summary or its manifests say was done.
//! So it is of no matter by which means a row goes: with its file, by a position delete, by an equality delete or by a
//! deletion vector; a row that was dead already does not go again, a row that came and went in one commit is not told,
//! and deletes that only took another form take nothing away.

mod balance;
mod diff;
mod follow;
mod read;
mod row_code;
mod snapshot_changes;

use std::fmt;

use frazil_table::arrow::arrow_schema;
use frazil_table::spec::{NestedField, NestedFieldRef, Operation, PrimitiveType, Schema, SchemaRef, Snapshot, Type};
use frazil_table::{Table, moment};

use crate::increment::history_between;
use crate::{Error, IncrementStart, Predicate, Projection, ReadSpec, Result, SnapshotSelector, select_snapshot};

pub(crate) use follow::ChangelogFollower;

pub use diff::{SnapshotDiff, load_snapshot_diff};
pub use read::ChangelogReader;
pub use snapshot_changes::{SnapshotChanges, plan_snapshot_changes};

/// The column that says what became of a row: `INSERT`, `DELETE`, `UPDATE_BEFORE` or `UPDATE_AFTER` (Iceberg's
/// `_change_type`).
pub const CHANGE_TYPE_COLUMN: &str = "_change_type";
/// The column with the place of the row's snapshot among those of the changelog that are not passed over, from 0.
pub const CHANGE_ORDINAL_COLUMN: &str = "_change_ordinal";
/// The column with the id of the snapshot that made the change.
pub const COMMIT_SNAPSHOT_ID_COLUMN: &str = "_commit_snapshot_id";

/// Field ids of the three (Iceberg, reserved field ids).
const CHANGE_FIELD_IDS: [i32; 3] = [i32::MAX - 104, i32::MAX - 105, i32::MAX - 106];

/// Ids from here on are those of metadata columns (Iceberg spec, "Reserved Field IDs").
const RESERVED_IDS: i32 = i32::MAX - 200;

/// How changes are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangelogForm {
    /// Rows that were deleted, then rows that were inserted, of one snapshot after the other. A row that a snapshot both
    /// took and brought is not told: copy-on-write copies rows.
    #[default]
    Changes,
    /// The same, but where a row went and one with the same identifier came in the same snapshot, they are told one after
    /// the other as `UPDATE_BEFORE` and `UPDATE_AFTER`.
    Upsert,
    /// What the whole range comes to: rows that came and went again, or went and came again, are not told.
    Net,
}

/// Which changes to read.
#[derive(Clone, Debug)]
pub struct ChangelogRequest {
    /// Where to begin. The parent of the first snapshot must be retained too, since it says what was there before.
    pub start: IncrementStart,
    /// The last snapshot; its schema is that of all rows.
    pub end: SnapshotSelector,
    /// How changes are told.
    pub form: ChangelogForm,
    /// Which columns, without metadata columns; those of the changelog come behind them by themselves. Rows are compared
    /// whole, so that a projection changes no row but only narrows it.
    pub projection: Projection,
    /// Which rows. Rows that do not match are as if they were in no snapshot: an update that makes a row match is an
    /// `INSERT`.
    pub predicate: Option<Predicate>,
    /// For [`ChangelogForm::Upsert`]: the columns that identify a row, by dotted path; the table's identifier fields if
    /// none are named.
    pub identifier_columns: Vec<String>,
}

impl Default for ChangelogRequest {
    /// All changes from the table's first snapshot to its newest.
    fn default() -> Self {
        Self {
            start: IncrementStart::Beginning,
            end: SnapshotSelector::Latest,
            form: ChangelogForm::Changes,
            projection: Projection::All,
            predicate: None,
            identifier_columns: Vec::new(),
        }
    }
}

/// The snapshots of a changelog, oldest first. Prints for a person.
#[derive(Clone, Debug)]
pub struct ChangelogPlan {
    /// How changes are told.
    pub form: ChangelogForm,
    /// Each snapshot and what is done about it.
    pub steps: Vec<ChangelogStep>,
    table: Table,
    /// What comes out of a file whose rows need not be compared with others.
    wanted: ReadSpec,
    /// All columns, for rows that are compared.
    whole: ReadSpec,
    schema: SchemaRef,
    arrow: arrow::datatypes::SchemaRef,
    /// The leaves that identify a row, each by the names on the way to it.
    key: Vec<Vec<String>>,
}

/// One snapshot of a changelog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangelogStep {
    /// The snapshot.
    pub snapshot_id: i64,
    /// The snapshot before it; `None` for the table's first.
    pub parent_id: Option<i64>,
    /// What its summary says that it does.
    pub operation: Operation,
    /// When it was committed, milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Its `_change_ordinal`; `None`: passed over, for it holds the same rows as the one before.
    pub ordinal: Option<i32>,
}

/// Finds the snapshots of a changelog and binds what is wanted of their rows.
///
/// # Errors
/// [`Error::NoSuchSnapshot`] for the end, [`Error::NotAnAncestor`] if the start is not in its history,
/// [`Error::SnapshotsExpired`] if a snapshot between them, or the one before the first, is not retained;
/// [`Error::UnknownColumn`] and [`Error::InvalidPredicate`]; [`Error::NoIdentifier`] if changes are to be told as upserts
/// and nothing identifies a row; [`Error::Unsupported`] if a column of the table has the name of one of the changelog's.
pub fn plan_changelog(table: &Table, request: &ChangelogRequest) -> Result<ChangelogPlan> {
    let end = select_snapshot(table, &request.end)?;
    let steps = match (&end.snapshot, request.start) {
        (Some(end), start) => steps(table, start, end.snapshot_id())?,
        (None, IncrementStart::Beginning) => Vec::new(),
        (None, IncrementStart::Inclusive(id) | IncrementStart::Exclusive(id)) => {
            return Err(Error::NoSuchSnapshot {
                wanted: format!("snapshot {id}"),
                hint: "it has no snapshots".to_owned(),
            });
        }
    };
    Ok(ChangelogPlan { steps, ..bind(table, &end.schema, request)? })
}

/// A plan of no snapshot, bound to the columns of a schema.
fn bind(table: &Table, schema: &SchemaRef, request: &ChangelogRequest) -> Result<ChangelogPlan> {
    let wanted = ReadSpec::new(table, schema, &request.projection, request.predicate.as_ref())?;
    let whole = wanted.of_columns(&Projection::All)?;
    let output = output_schema(table, wanted.projected().schema())?;
    let key = match request.form {
        ChangelogForm::Upsert => identifier(schema, &request.identifier_columns)?,
        ChangelogForm::Changes | ChangelogForm::Net => Vec::new(),
    };
    Ok(ChangelogPlan {
        form: request.form,
        steps: Vec::new(),
        table: table.clone(),
        wanted,
        whole,
        arrow: std::sync::Arc::new(arrow_schema(&output)?),
        schema: output,
        key,
    })
}

fn steps(table: &Table, start: IncrementStart, end: i64) -> Result<Vec<ChangelogStep>> {
    let chain = history_between(table, start, end)?;
    if let Some(missing) = chain.first().and_then(|first| first.parent_snapshot_id())
        && table.metadata().snapshot_by_id(missing).is_none()
    {
        let from = match start {
            IncrementStart::Beginning => "the table's beginning".to_owned(),
            IncrementStart::Inclusive(id) | IncrementStart::Exclusive(id) => format!("snapshot {id}"),
        };
        return Err(Error::SnapshotsExpired { from, missing });
    }
    let mut ordinals = 0..;
    let step = |snapshot: &Snapshot| {
        let operation = snapshot.summary().operation.clone();
        let ordinal = if operation == Operation::Replace { None } else { ordinals.next() };
        ChangelogStep {
            snapshot_id: snapshot.snapshot_id(),
            parent_id: snapshot.parent_snapshot_id(),
            operation,
            timestamp_ms: snapshot.timestamp_ms(),
            ordinal,
        }
    };
    Ok(chain.into_iter().map(step).collect())
}

/// The changelog's own columns: type, ordinal, snapshot.
fn change_fields() -> [NestedFieldRef; 3] {
    let [change_type, ordinal, snapshot] = CHANGE_FIELD_IDS;
    [
        NestedField::required(change_type, CHANGE_TYPE_COLUMN, Type::Primitive(PrimitiveType::String)),
        NestedField::required(ordinal, CHANGE_ORDINAL_COLUMN, Type::Primitive(PrimitiveType::Int)),
        NestedField::required(snapshot, COMMIT_SNAPSHOT_ID_COLUMN, Type::Primitive(PrimitiveType::Long)),
    ]
    .map(NestedFieldRef::new)
}

fn output_schema(table: &Table, projected: &Schema) -> Result<SchemaRef> {
    let fields = projected.as_struct().fields();
    if let Some(field) = fields.iter().find(|field| field.id > RESERVED_IDS) {
        let reason = format!("a change has no column {}: leave it out", field.name);
        return Err(Error::unsupported(table.metadata_location(), reason));
    }
    let own = change_fields();
    if let Some(field) = fields.iter().find(|field| own.iter().any(|own| own.name == field.name)) {
        let reason = format!("its column {} has a name that changes need for themselves; rename it first", field.name);
        return Err(Error::unsupported(table.metadata_location(), reason));
    }
    let schema = Schema::builder().with_fields(fields.iter().cloned().chain(own)).build();
    Ok(schema.expect("ids and names of the table's columns and of the changelog's differ").into())
}

fn identifier(schema: &Schema, columns: &[String]) -> Result<Vec<Vec<String>>> {
    let ids: Vec<i32> = match columns {
        [] => {
            let mut ids: Vec<i32> = schema.identifier_field_ids().collect();
            ids.sort_unstable();
            ids
        }
        named => named.iter().map(|path| Ok(crate::projection::resolve(schema, path)?.1.id)).collect::<Result<_>>()?,
    };
    if ids.is_empty() {
        return Err(Error::NoIdentifier {
            reason: "the table has no identifier fields and no columns are named".into(),
        });
    }
    ids.iter()
        .map(|id| {
            let path = names_to(schema.as_struct().fields(), *id);
            path.ok_or_else(|| Error::NoIdentifier {
                reason: format!(
                    "{} is not a single value of a row",
                    schema.name_by_field_id(*id).unwrap_or("a column")
                ),
            })
        })
        .collect()
}

/// The names on the way through structs to a leaf.
fn names_to(fields: &[NestedFieldRef], id: i32) -> Option<Vec<String>> {
    fields.iter().find_map(|field| {
        let mut path = vec![field.name.clone()];
        match field.field_type.as_ref() {
            Type::Primitive(_) if field.id == id => {}
            Type::Struct(inner) => path.extend(names_to(inner.fields(), id)?),
            _ => return None,
        }
        Some(path)
    })
}

impl ChangelogPlan {
    /// The columns that come out: those that were asked for, then [`CHANGE_TYPE_COLUMN`], [`CHANGE_ORDINAL_COLUMN`] and
    /// [`COMMIT_SNAPSHOT_ID_COLUMN`].
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The schema of the batches that come out.
    pub fn arrow(&self) -> &arrow::datatypes::SchemaRef {
        &self.arrow
    }

    /// What is read of a file, without the changelog's columns: for [`plan_snapshot_changes`].
    pub fn spec(&self) -> &ReadSpec {
        &self.wanted
    }

    /// The table, as it was planned.
    pub fn table(&self) -> &Table {
        &self.table
    }
}

impl fmt::Display for ChangelogForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changes => "changes",
            Self::Upsert => "upsert",
            Self::Net => "net",
        })
    }
}

impl fmt::Display for ChangelogPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "changelog of {} snapshots as {}", self.steps.len(), self.form)?;
        let names = self.arrow.fields().iter().map(|field| field.name().as_str());
        writeln!(f, "  columns: {}", names.collect::<Vec<_>>().join(", "))?;
        writeln!(f, "  condition: {}", self.wanted.predicate())?;
        if !self.key.is_empty() {
            let key: Vec<String> = self.key.iter().map(|path| path.join(".")).collect();
            writeln!(f, "  identifier: {}", key.join(", "))?;
        }
        for step in &self.steps {
            let at = moment(step.timestamp_ms);
            let verdict = step.ordinal.map_or("passed over".to_owned(), |ordinal| format!("ordinal {ordinal}"));
            writeln!(f, "  snapshot {} of {at} ({}): {verdict}", step.snapshot_id, step.operation.as_str())?;
        }
        Ok(())
    }
}
