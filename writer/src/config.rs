//! How much a writer may hold at a time.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Settings of one [`TableWriter`](crate::TableWriter). What concerns the files themselves are table properties
/// ([`FileOptions`](crate::FileOptions)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WriterConfig {
    /// Begins the name of each file; who wrote a file can be told from it. Letters, digits, `-`, `_` and `.`.
    pub file_prefix: String,
    /// Rows that are buffered or encoded but not yet in the store may take this much, within a few percent: an eighth of
    /// it gathers, an eighth is being encoded, five eighths are what open files hold, the rest is for work in between. Rows
    /// of partitions for which there is no room in it wait in temporary files.
    pub memory_max_bytes: usize,
    /// Files that have a place in the store and are not closed yet. When there would be more, the one that was written to
    /// longest ago is closed. Each costs a file descriptor or an upload.
    pub open_files_max: usize,
    /// Threads that encode at the same time. Results don't depend on it.
    pub encoders_max: usize,
    /// The folder of temporary files; the system's own by default. Its files have no names and are gone when the program
    /// ends in whatever way. A folder in memory (`tmpfs`) defeats its purpose.
    pub spill_dir: Option<PathBuf>,
    /// When temporary files take more, all partitions' files are written and closed, small as they may be.
    pub spill_max_bytes: u64,
    /// Counts the distinct values of each column outside of lists and maps
    /// ([`TableWriter::take_sketches`](crate::TableWriter::take_sketches)). Costs a hash for each value, which is about
    /// half as much as encoding it.
    pub ndv_sketches: bool,
    /// Batches and files have the columns `_row_id` and `_last_updated_sequence_number` behind the table's own, so that
    /// rows that come from other files of a format version 3 table keep their ids (Iceberg spec, "Row Lineage"). Null
    /// values are given out as for new rows.
    pub row_lineage: bool,
    /// Files stay at hand once they are written ([`frazil_storage::FileWriter::keep`]): who writes them reads them soon.
    pub keep_files: bool,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            file_prefix: "frazil".to_owned(),
            memory_max_bytes: 256 << 20,
            open_files_max: 128,
            encoders_max: 2,
            spill_dir: None,
            spill_max_bytes: 64 << 30,
            ndv_sketches: false,
            row_lineage: false,
            keep_files: false,
        }
    }
}

/// What a file with an open row group should have room for: below that, rows wait until the file can be written in one
/// go, rather than in many small row groups.
const OPEN_FILE_MIN_BYTES: usize = 4 << 20;

impl WriterConfig {
    /// Checks that the settings make sense together.
    ///
    /// # Errors
    /// [`Error::BadProperty`] names the setting.
    pub fn check(&self) -> Result<()> {
        let bad = |property: &str, value: String, wanted: &str| {
            Err(Error::BadProperty { property: property.to_owned(), value, wanted: wanted.to_owned() })
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.file_prefix.is_empty() || self.file_prefix.len() > 100 || !self.file_prefix.chars().all(plain) {
            return bad("file_prefix", self.file_prefix.clone(), "1 to 100 letters, digits, '-', '_' and '.'");
        }
        if self.open_files_max == 0 {
            return bad("open_files_max", "0".to_owned(), "at least 1");
        }
        if self.encoders_max == 0 {
            return bad("encoders_max", "0".to_owned(), "at least 1");
        }
        Ok(())
    }

    /// Rows gather up to this size before something is done with them. A column of them fits into one array.
    pub(crate) fn intake_bytes(&self) -> usize {
        (self.memory_max_bytes / 8).min(1 << 30)
    }

    /// What the row groups of all open files may hold.
    pub(crate) fn encoders_bytes(&self) -> usize {
        self.memory_max_bytes / 8 * 5
    }

    /// Rows that come back from temporary files are taken in pieces of this size.
    pub(crate) fn merge_bytes(&self) -> usize {
        self.memory_max_bytes / 16
    }

    /// How many partitions have an open row group at a time.
    pub(crate) fn open_groups_max(&self) -> usize {
        (self.encoders_bytes() / OPEN_FILE_MIN_BYTES).clamp(1, self.open_files_max)
    }
}
