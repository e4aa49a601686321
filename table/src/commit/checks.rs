//! What no state of a table could make right: checks of a change by itself.

use std::collections::HashSet;

use crate::deletes::{FileKey, check_delete_file, is_vector};
use crate::spec::{DataContentType, TableMetadata};
use crate::{Error, Result, TableFile};

/// Checks the data files that a change adds.
///
/// # Errors
/// [`Error::InvalidChange`] names the file.
pub(super) fn check_data_files(metadata: &TableMetadata, files: &[TableFile]) -> Result<()> {
    let mut paths = HashSet::new();
    for TableFile { file, partition_spec_id } in files {
        let path = file.file_path();
        if file.content_type() != DataContentType::Data {
            return Err(Error::InvalidChange(format!("{path} holds {:?}", file.content_type())));
        }
        if !paths.insert(path) {
            return Err(Error::InvalidChange(format!("{path} is added twice")));
        }
        if metadata.partition_spec_by_id(*partition_spec_id).is_none() {
            let reason = format!("{path} was written with partition spec {partition_spec_id}, which the table lacks");
            return Err(Error::InvalidChange(reason));
        }
    }
    Ok(())
}

/// Checks the delete files that a change adds: each by itself, none twice, and at most one deletion vector for a data
/// file.
///
/// # Errors
/// [`Error::InvalidChange`] names the file.
pub(super) fn check_delete_files(metadata: &TableMetadata, files: &[TableFile]) -> Result<()> {
    let mut keys = HashSet::new();
    let mut with_vector = HashSet::new();
    for added in files {
        check_delete_file(metadata, added)?;
        let path = added.file.file_path();
        if !keys.insert(FileKey::of(&added.file)) {
            return Err(Error::InvalidChange(format!("{path} is added twice")));
        }
        if let Some(data_file) = added.file.referenced_data_file().filter(|_| is_vector(&added.file))
            && !with_vector.insert(data_file.clone())
        {
            return Err(Error::InvalidChange(format!(
                "{data_file} gets two deletion vectors in one change: join them"
            )));
        }
    }
    Ok(())
}
