//! Whether a change still makes sense on the table as it is now.

use std::collections::{BTreeSet, HashMap};

use crate::spec::{DataContentType, ManifestContentType, Struct};
use crate::{Result, TableState};

/// Why a change can't be made any more. The caller decides: plan again, or give up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The pointer moved between reading and swapping. Retry on the new state.
    #[error("another commit came first: {reason}")]
    Moved {
        /// The requirement that failed.
        reason: String,
    },
    /// A file that was to be replaced is not live any more. Plan the rewrite again.
    #[error("{path} is not live any more")]
    FileGone {
        /// The file.
        path: String,
    },
    /// Rows of a file that was to be replaced were deleted meanwhile. Plan the rewrite again.
    #[error("rows of {path} were deleted by {delete_file} after the rewrite had read it")]
    RowsDeleted {
        /// The data file.
        path: String,
        /// The delete file or deletion vector.
        delete_file: String,
    },
    /// The caller's own check refused the state.
    #[error("{reason}")]
    Refused {
        /// What it found.
        reason: String,
    },
}

/// Checks a rewrite of `removed` that read the table at `base_snapshot_id` against the state of now: no position delete
/// and no deletion vector may have come since that could name a row of a replaced file. Equality deletes that came since
/// are no conflict: the outputs keep a lower sequence number, so they apply (Iceberg spec, "Scan Planning").
///
/// A position delete file without a referenced data file counts against every removed file of its partition.
///
/// # Errors
/// [`crate::Error::InvalidChange`] if the state lacks the entries of its delete manifests.
pub fn check_replace(
    state: &TableState,
    removed: &[String],
    base_snapshot_id: i64,
) -> Result<std::result::Result<(), Conflict>> {
    let metadata = state.table().metadata();
    let Some(base) = metadata.snapshot_by_id(base_snapshot_id) else {
        let reason = format!("snapshot {base_snapshot_id}, which the rewrite read, is gone");
        return Ok(Err(Conflict::Refused { reason }));
    };
    let came_since = |sequence_number: i64| sequence_number > base.sequence_number();
    let has_news = state
        .manifests()
        .iter()
        .any(|manifest| manifest.content == ManifestContentType::Deletes && came_since(manifest.sequence_number));
    if !has_news {
        return Ok(Ok(()));
    }
    let removed: BTreeSet<&str> = removed.iter().map(String::as_str).collect();
    let mut by_partition: HashMap<(i32, &Struct), &str> = HashMap::new();
    let live = state.live_data_files()?;
    for data in live.iter().filter(|live| removed.contains(live.file.file_path())) {
        by_partition.insert((data.partition_spec_id, data.file.partition()), data.file.file_path());
    }
    for delete in state.live_delete_files()? {
        if delete.content() != DataContentType::PositionDeletes || !came_since(delete.data_sequence_number) {
            continue;
        }
        let hit = match delete.file.referenced_data_file() {
            Some(path) => removed.get(path.as_str()).copied(),
            None => by_partition.get(&(delete.partition_spec_id, delete.file.partition())).copied(),
        };
        if let Some(path) = hit {
            let (path, delete_file) = (path.to_owned(), delete.file.file_path().to_owned());
            return Ok(Err(Conflict::RowsDeleted { path, delete_file }));
        }
    }
    Ok(Ok(()))
}
