//! How much a writer may hold at a time.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Settings of one [`TableWriter`](crate::TableWriter). What concerns the files themselves are table properties
/// ([`FileOptions`](crate::FileOptions)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WriterConfig {
    /// Begins the name of each file; who wrote a file can be told from it. Letters, digits, `-`, `_` and `.`.
    pub file_prefix: String,
    /// Rows that are buffered or encoded but not yet in the store may take this much. When they take more, the largest
    /// partitions' row groups are written out early.
    pub memory_max_bytes: usize,
    /// Files that have a place in the store and are not closed yet. When there would be more, the one that was written to
    /// longest ago is closed. Each costs a file descriptor or an upload.
    pub open_files_max: usize,
    /// Threads that encode at the same time, each a file of its own.
    pub encoders_max: usize,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self { file_prefix: "frazil".to_owned(), memory_max_bytes: 256 << 20, open_files_max: 128, encoders_max: 2 }
    }
}

/// Encoding in pieces of a few MiB is faster than by small batches, since a column at a time stays in the caches; beyond
/// that it only costs memory.
const ENCODE_MAX_BYTES: usize = 4 << 20;
const ENCODE_MIN_BYTES: usize = 64 << 10;

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

    /// Rows of a partition are gathered up to this size before they are encoded: a sixteenth of the memory, so that
    /// several partitions have room, within fixed bounds.
    pub(crate) fn encode_bytes(&self) -> usize {
        (self.memory_max_bytes / 16).clamp(ENCODE_MIN_BYTES, ENCODE_MAX_BYTES)
    }
}
