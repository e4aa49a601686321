//! What is read at one go: a data file or a part of one, with the deletes that apply to it.

use std::ops::Range;
use std::sync::Arc;

use frazil_table::LiveFile;
use frazil_table::spec::DataFile;
use roaring::RoaringBitmap;

use crate::deletes::{ApplicableDeletes, DeleteIndex};

/// A data file, or the row groups of one that begin in a byte range. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ScanTask {
    /// The data file.
    pub file: Arc<DataFile>,
    /// The partition spec it was written with.
    pub partition_spec_id: i32,
    /// Orders it against deletes.
    pub data_sequence_number: i64,
    /// The snapshot that added it.
    pub added_snapshot_id: i64,
    /// Row groups that begin in these bytes; `None`: all.
    pub split: Option<Range<u64>>,
    /// Rows of the file before this one are passed over, counted in the file from 0.
    pub first_row: u64,
    /// Only these rows; positions are not told then, and no position delete is to apply.
    pub(crate) only: Option<Arc<RoaringBitmap>>,
    pub(crate) deletes: ApplicableDeletes,
    /// Only rows that these take away.
    pub(crate) taken_by: Option<ApplicableDeletes>,
}

impl ScanTask {
    pub(crate) fn new(live: &LiveFile<'_>) -> Self {
        Self {
            file: Arc::new(live.file.clone()),
            partition_spec_id: live.partition_spec_id,
            data_sequence_number: live.data_sequence_number,
            added_snapshot_id: live.added_snapshot_id,
            split: None,
            first_row: 0,
            only: None,
            deletes: ApplicableDeletes::default(),
            taken_by: None,
        }
    }

    /// All of a live data file, without any delete: for callers that know that none applies.
    pub fn without_deletes(live: &LiveFile<'_>) -> Self {
        Self::new(live)
    }

    /// All of a live data file, without the rows that deletes of the index take away.
    pub fn with_deletes(live: &LiveFile<'_>, deletes: &DeleteIndex) -> Self {
        Self { deletes: deletes.for_file(live), ..Self::new(live) }
    }

    /// The data file's location.
    pub fn path(&self) -> &str {
        self.file.file_path()
    }

    /// Bytes of the file that the task covers: what it costs at most.
    pub fn size_bytes(&self) -> u64 {
        let size = self.file.file_size_in_bytes();
        self.split.as_ref().map_or(size, |split| split.end.min(size).saturating_sub(split.start))
    }

    /// Whether no delete applies to the file.
    pub fn has_deletes(&self) -> bool {
        !self.deletes.is_empty()
    }

    /// The same file from a row on, counted in the file from 0. With it a reader resumes where it stopped.
    pub fn starting_at(&self, first_row: u64) -> Self {
        Self { first_row, ..self.clone() }
    }
}
