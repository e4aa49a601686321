//! What a table says of itself, as tables: `t$snapshots`, `t$history`, `t$refs`, `t$manifests`, `t$files`, `t$entries`,
//! `t$partitions`. Columns have the names, order and types that Iceberg's own metadata tables have. `t$compactions` is
//! Frazil's own.

mod compactions;
mod files;
mod history;
mod manifests;
mod partitions;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StructArray, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use frazil_reader::{ChangelogRequest, ReadContext, SnapshotSelector, literal_array, plan_changelog, select_snapshot};
use frazil_table::spec::{PrimitiveType, Struct, StructType, Type};
use frazil_table::{Table, TableState, arrow::arrow_type, io, partition_type, partition_values};

use super::bare_schema;
use crate::Result;
use crate::suggest::nearest_one;

/// A table that stands for what another one says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataTable {
    /// Every snapshot that is retained.
    Snapshots,
    /// Which snapshots `main` has been at, and when.
    History,
    /// Branches and tags.
    Refs,
    /// The manifests of a snapshot.
    Manifests,
    /// The live files of a snapshot, data and deletes.
    Files,
    /// The entries of a snapshot's manifests, removed files too.
    Entries,
    /// What each partition of a snapshot holds.
    Partitions,
    /// What compactions of the table did, as far as its snapshots tell.
    Compactions,
    /// Which rows came and went; not made here.
    Changes,
}

/// By the part of a name behind the last `$`.
const NAMES: [(&str, MetadataTable); 9] = [
    ("snapshots", MetadataTable::Snapshots),
    ("history", MetadataTable::History),
    ("refs", MetadataTable::Refs),
    ("manifests", MetadataTable::Manifests),
    ("files", MetadataTable::Files),
    ("entries", MetadataTable::Entries),
    ("partitions", MetadataTable::Partitions),
    ("compactions", MetadataTable::Compactions),
    ("changes", MetadataTable::Changes),
];

impl MetadataTable {
    /// The table in `table$name`, and which of its metadata tables that is.
    ///
    /// `Some(Err(_))` says what may have been meant; `None`: the name has no `$`.
    pub fn split(name: &str) -> Option<std::result::Result<(&str, Self), String>> {
        let (table, suffix) = name.rsplit_once('$').filter(|(table, _)| !table.is_empty())?;
        if let Some((_, kind)) = NAMES.iter().find(|(known, _)| *known == suffix) {
            return Some(Ok((table, *kind)));
        }
        let known = NAMES.map(|(name, _)| name);
        Some(Err(match nearest_one(suffix, known) {
            Some(near) => format!("did you mean '{table}${near}'?"),
            None => format!("there are ${}", known.join(", $")),
        }))
    }

    /// Its name behind the `$`.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Whether it is of one snapshot, so that it can be read as of another.
    pub fn is_of_snapshot(self) -> bool {
        matches!(self, Self::Manifests | Self::Files | Self::Entries | Self::Partitions)
    }
}

/// Makes a metadata table. All of its rows are in memory: the manifests are, too, wherever a table is planned.
///
/// Cost: nothing but the table's metadata for snapshots, history, refs and compactions; the manifest list for manifests; all manifests
/// for the others.
///
/// # Errors
/// The snapshot does not exist, or its manifests can't be read.
pub async fn metadata_table(
    context: &ReadContext,
    table: &Table,
    kind: MetadataTable,
    selector: &SnapshotSelector,
) -> Result<Arc<dyn TableProvider>> {
    let state = match kind.is_of_snapshot() {
        false => None,
        true => {
            let selected = select_snapshot(table, selector)?;
            let entries = if kind == MetadataTable::Manifests { io::Entries::None } else { io::Entries::All };
            let (store, cache) = (&context.env.store, &context.manifests);
            let state = io::load_state_at(store, cache, table, &selected.ref_name, selected.snapshot, entries);
            Some(state.await?)
        }
    };
    let batch = rows(table, kind, state.as_ref())?;
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}

/// The columns of a metadata table.
///
/// # Errors
/// A table's column whose name the changelog needs.
pub fn schema_of_metadata(table: &Table, kind: MetadataTable) -> Result<SchemaRef> {
    if kind == MetadataTable::Changes {
        let plan = plan_changelog(table, &ChangelogRequest::default())?;
        return Ok(Arc::new(bare_schema(plan.arrow())));
    }
    Ok(rows(table, kind, None)?.schema())
}

/// Without a state there are none.
fn rows(table: &Table, kind: MetadataTable, state: Option<&TableState>) -> Result<RecordBatch> {
    let listed = || state.map_or_else(|| Ok(Vec::new()), files::listed);
    match kind {
        MetadataTable::Snapshots => history::snapshots(table),
        MetadataTable::History => history::history(table),
        MetadataTable::Refs => history::refs(table),
        MetadataTable::Compactions => compactions::compactions(table),
        MetadataTable::Manifests => manifests::manifests(table, state.map_or(&[], TableState::manifests)),
        MetadataTable::Entries => files::entries(table, &listed()?),
        MetadataTable::Partitions => {
            let mut live = state.map_or_else(|| Ok(Vec::new()), TableState::live_data_files)?;
            live.extend(state.map_or_else(|| Ok(Vec::new()), TableState::live_delete_files)?);
            partitions::partitions(table, live)
        }
        MetadataTable::Files | MetadataTable::Changes => files::files(table, &listed()?),
    }
}

/// Columns with their names; null where the type says so.
fn batch(columns: Vec<(Field, ArrayRef)>) -> Result<RecordBatch> {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    made(RecordBatch::try_new(Arc::new(bare_schema(&ArrowSchema::new(fields))), arrays))
}

/// Arrow's errors are told by DataFusion's.
fn made<T>(array: std::result::Result<T, ArrowError>) -> Result<T> {
    Ok(array.map_err(DataFusionError::from)?)
}

fn required(name: &str, array: ArrayRef) -> (Field, ArrayRef) {
    (Field::new(name, array.data_type().clone(), false), array)
}

fn optional(name: &str, array: ArrayRef) -> (Field, ArrayRef) {
    (Field::new(name, array.data_type().clone(), true), array)
}

/// Moments in milliseconds since the Unix epoch, as timestamps with a zone.
fn moments(at_ms: impl Iterator<Item = Option<i64>>) -> Result<ArrayRef> {
    let micros: arrow::array::TimestampMicrosecondArray = at_ms.map(|at| Some(at? * 1_000)).collect();
    let zoned = arrow_type(&Type::Primitive(PrimitiveType::Timestamptz))?;
    Ok(Arc::new(micros.with_data_type(zoned)))
}

/// Partitions of any spec as one struct, with the type of all specs' fields; `None` where no spec has any.
struct Partitions<'a> {
    table: &'a Table,
    fields: StructType,
}

impl<'a> Partitions<'a> {
    fn of(table: &'a Table) -> Self {
        Self { table, fields: partition_type(table.metadata()) }
    }

    fn array<'b>(&self, partitions: impl Iterator<Item = (i32, &'b Struct)>) -> Result<Option<ArrayRef>> {
        if self.fields.fields().is_empty() {
            return Ok(None);
        }
        let rows: Vec<_> = partitions
            .map(|(spec_id, tuple)| partition_values(self.table.metadata(), &self.fields, spec_id, tuple))
            .collect();
        let mut columns = Vec::with_capacity(self.fields.fields().len());
        for (index, field) in self.fields.fields().iter().enumerate() {
            let data_type = arrow_type(&field.field_type)?;
            let null = new_null_array(&data_type, 1);
            let value = |row: &Vec<Option<_>>| {
                let (literal, primitive) = row[index].as_ref()?;
                literal_array(literal, primitive).filter(|array| *array.data_type() == data_type)
            };
            let values: Vec<ArrayRef> = rows.iter().map(|row| value(row).unwrap_or_else(|| null.clone())).collect();
            let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
            let column = if values.is_empty() { new_null_array(&data_type, 0) } else { made(concat(&values))? };
            columns.push((Field::new(&field.name, data_type, true), column));
        }
        Ok(Some(Arc::new(structs(columns)?)))
    }
}

fn structs(columns: Vec<(Field, ArrayRef)>) -> Result<StructArray> {
    let rows = columns.first().map_or(0, |(_, array)| array.len());
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let fields: Fields = bare_schema(&ArrowSchema::new(fields)).fields().clone();
    made(StructArray::try_new_with_length(fields, arrays, None, rows))
}

/// The name of a list's element and of a map's entries, as the table's own columns have them.
fn element(data_type: DataType, nullable: bool) -> Arc<Field> {
    Arc::new(Field::new("element", data_type, nullable))
}
