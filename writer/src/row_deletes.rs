//! Deletes of single rows of files that stay, in the form that the table's format version has for them.

use std::collections::BTreeSet;

use frazil_storage::Env;
use frazil_table::spec::{DataContentType, FormatVersion};
use frazil_table::{StoredRows, TableFile, TableState};

use crate::position_deletes::DeletedRows;
use crate::{Error, Result, WriterConfig, write_deletion_vectors, write_position_deletes};

/// Delete files, and those whose place they take.
#[derive(Clone, Debug, Default)]
pub struct RowDeletes {
    /// Durable; none is in the table.
    pub delete_files: Vec<TableFile>,
    /// Live ones whose deletes are in `delete_files` too.
    pub removed_delete_files: Vec<TableFile>,
}

/// Writes deletes of rows of live data files of a state: position delete files in format version 2; from version 3 on
/// deletion vectors, one for each data file, with what was deleted of it before (Iceberg spec, "Deletion Vectors").
///
/// Cost: the delete files that apply to the data files concerned are read, from version 3 on.
///
/// # Errors
/// [`Error::Table`] in format version 1, which has no deletes; what keeps a delete file from being read or stored.
pub async fn write_row_deletes(
    env: &Env,
    stored: &dyn StoredRows,
    state: &TableState,
    config: &WriterConfig,
    mut deleted: Vec<DeletedRows>,
) -> Result<RowDeletes> {
    match state.table().metadata().format_version() {
        FormatVersion::V1 => {
            let reason = "a table of format version 1 has no delete files; upgrade it to version 2 or 3";
            Err(Error::Table(frazil_table::Error::InvalidChange(reason.to_owned())))
        }
        FormatVersion::V2 => {
            let delete_files = write_position_deletes(env, state.table(), config, &deleted).await?;
            Ok(RowDeletes { delete_files, removed_delete_files: Vec::new() })
        }
        FormatVersion::V3 => {
            let paths = deleted.iter().map(|deleted| deleted.path.clone()).collect();
            let before = stored.deleted_rows(state, paths).await?;
            for deleted in &mut deleted {
                if let Some(before) = before.get(&deleted.path) {
                    deleted.rows |= before.as_ref();
                }
            }
            let delete_files = write_deletion_vectors(env, state.table(), config, &deleted).await?;
            Ok(RowDeletes { delete_files, removed_delete_files: absorbed_by(state, &deleted)? })
        }
    }
}

/// The live delete files that are of one of the data files alone, so that new vectors take their place.
pub(crate) fn absorbed_by(state: &TableState, deleted: &[DeletedRows]) -> Result<Vec<TableFile>> {
    let concerned: BTreeSet<&str> = deleted.iter().map(|deleted| deleted.path.as_str()).collect();
    let live = state.live_delete_files()?;
    let absorbed = live.iter().filter(|live| {
        live.content() == DataContentType::PositionDeletes
            && frazil_table::referenced_data_file(live.file).is_some_and(|path| concerned.contains(path.as_str()))
    });
    let table_file = |live: &frazil_table::LiveFile<'_>| TableFile {
        file: live.file.clone(),
        partition_spec_id: live.partition_spec_id,
    };
    Ok(absorbed.map(table_file).collect())
}
