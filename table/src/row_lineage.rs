//! Which row is which, over all rewrites (Iceberg spec, "Row Lineage"; format version 3).
//!
//! A data file has a first row id: its own, or one that it inherits from its manifest, whose own is given out when a
//! snapshot lists it first. Row `n` of the file has the id `first + n`, unless the file has a column [`ROW_ID`], whose
//! values that are not null go before. So a file that other rows are copied into must have that column, and
//! [`LAST_UPDATED_SEQUENCE_NUMBER`] beside it; a file that is copied as a whole, row by row, may instead keep the first
//! row id of its source.

use std::sync::Arc;

use crate::spec::{
    DataFile, ManifestEntry, ManifestFile, ManifestStatus, NestedField, NestedFieldRef, PrimitiveType, Schema, Type,
};
use crate::{Error, Result, TableFile, data_file_builder};

/// Field id of the column `_row_id`, an optional long.
pub const ROW_ID: i32 = i32::MAX - 107;

/// Field id of the column `_last_updated_sequence_number`, an optional long.
pub const LAST_UPDATED_SEQUENCE_NUMBER: i32 = i32::MAX - 108;

/// The name of the column [`ROW_ID`].
pub const ROW_ID_NAME: &str = "_row_id";

/// The name of the column [`LAST_UPDATED_SEQUENCE_NUMBER`].
pub const LAST_UPDATED_SEQUENCE_NUMBER_NAME: &str = "_last_updated_sequence_number";

/// The lineage columns, in the order in which files have them behind the table's own.
pub fn fields() -> [NestedFieldRef; 2] {
    let long = |id, name: &str| Arc::new(NestedField::optional(id, name, Type::Primitive(PrimitiveType::Long)));
    [long(ROW_ID, ROW_ID_NAME), long(LAST_UPDATED_SEQUENCE_NUMBER, LAST_UPDATED_SEQUENCE_NUMBER_NAME)]
}

/// The columns of row lineage behind those of a schema: that of a file which takes the place of others.
///
/// # Errors
/// [`Error::InvalidChange`] if a column of the schema has one of their names.
pub fn with_fields(schema: &Schema) -> Result<Schema> {
    let fields = schema.as_struct().fields().iter().cloned().chain(fields());
    let built = Schema::builder().with_schema_id(schema.schema_id()).with_fields(fields).build();
    built.map_err(|error| Error::InvalidChange(format!("with the columns of row lineage: {error}")))
}

/// Whether a file has both lineage columns, as its column sizes or value counts tell.
pub fn has_lineage_columns(file: &DataFile) -> bool {
    let has = |id: i32| file.column_sizes().contains_key(&id) || file.value_counts().contains_key(&id);
    has(ROW_ID) && has(LAST_UPDATED_SEQUENCE_NUMBER)
}

/// Checks that the rows of rewritten files keep their ids.
///
/// # Errors
/// [`Error::InvalidChange`] names a file whose rows would get new ones.
pub(crate) fn check_keeps_row_ids(added: &[TableFile]) -> Result<()> {
    match added.iter().find(|added| added.file.first_row_id().is_none() && !has_lineage_columns(&added.file)) {
        None => Ok(()),
        Some(TableFile { file, .. }) => Err(Error::InvalidChange(format!(
            "the rows of {} would get new ids: in a format version 3 table a rewritten file needs the columns _row_id \
             (field {ROW_ID}) and _last_updated_sequence_number (field {LAST_UPDATED_SEQUENCE_NUMBER}), both among its \
             column metrics",
            file.file_path()
        ))),
    }
}

/// Fills in the first row ids that entries inherit from their manifest, in the order of the manifest. Without one of its
/// own the manifest was written before the table had row ids, and gives none.
pub(crate) fn inherit_row_ids(manifest: &ManifestFile, entries: &mut [ManifestEntry]) {
    let Some(first) = manifest.first_row_id else { return };
    let mut next = i64::try_from(first).unwrap_or(i64::MAX);
    for entry in entries {
        if entry.status != ManifestStatus::Deleted && entry.data_file.first_row_id().is_none() {
            let rows = i64::try_from(entry.data_file.record_count()).unwrap_or(i64::MAX);
            entry.data_file = with_first_row_id(&entry.data_file, manifest.partition_spec_id, next);
            next = next.saturating_add(rows);
        }
    }
}

/// The same file as one whose rows get new ids: what another file was is of no matter to it.
pub(crate) fn without_row_ids(added: &TableFile) -> DataFile {
    match added.file.first_row_id() {
        None => added.file.clone(),
        Some(_) => with_row_id_of(&added.file, added.partition_spec_id, None),
    }
}

/// The same file with a first row id.
pub(crate) fn with_first_row_id(file: &DataFile, partition_spec_id: i32, first_row_id: i64) -> DataFile {
    with_row_id_of(file, partition_spec_id, Some(first_row_id))
}

fn with_row_id_of(file: &DataFile, partition_spec_id: i32, first_row_id: Option<i64>) -> DataFile {
    let mut builder = data_file_builder(file, partition_spec_id);
    builder.first_row_id(first_row_id).build().expect("every field that must be set is set")
}
