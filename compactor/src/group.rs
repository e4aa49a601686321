//! Files that are rewritten together.

use std::fmt;

use frazil_table::spec::Struct;

use crate::clustering::Clustering;
use crate::listing::InputFile;

/// Why files are rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// They are of the last commits.
    FirstLevel,
    /// Newer files outgrew older ones.
    Outgrown,
    /// A partition has more small files than it may keep.
    TooMany,
    /// Everything small is packed.
    Pack,
    /// Deletes have taken many of their rows.
    Deletes,
    /// They are not in the order that rows are to be in.
    NotInOrder,
    /// Each is in order, but they overlap one another.
    Overlap,
}

impl Reason {
    /// As it is printed and put into a snapshot's summary.
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstLevel => "first-level",
            Self::Outgrown => "outgrown",
            Self::TooMany => "too-many",
            Self::Pack => "pack",
            Self::Deletes => "deletes",
            Self::NotInOrder => "not-in-order",
            Self::Overlap => "overlap",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Files of one partition that become one file, or if they are put in order files of the target size, without the rows that were
/// deleted from them; none if no row is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileGroup {
    /// The partition spec of all of them, and of the output.
    pub partition_spec_id: i32,
    /// The partition of all of them, and of the output.
    pub partition: Struct,
    /// The same for a person: `month=2013-01/…`; empty if unpartitioned.
    pub partition_path: String,
    /// Oldest first; a single one only where rows of it are deleted.
    pub inputs: Vec<InputFile>,
    /// The live deletes that may apply to any of them, oldest first. The rewrite applies them, or carries them along.
    pub deletes: Vec<InputFile>,
    /// How many rows they take away, as an estimate that errs on the high side.
    pub rows_deleted_max: u64,
    /// Why.
    pub reason: Reason,
    /// The output's data sequence number: that of the snapshot in which the inputs were seen. No delete of that snapshot
    /// applies to the output any more, since all of them were applied, and equality deletes that come later do.
    pub data_sequence_number: i64,
    /// The snapshot in which the inputs were seen.
    pub base_snapshot_id: i64,
    /// The order that the rows are put in; `None`: they keep their order.
    pub clustering: Option<Clustering>,
}

impl FileGroup {
    /// Bytes of the inputs.
    pub fn bytes_in(&self) -> u64 {
        bytes(&self.inputs)
    }

    /// Bytes of the deletes.
    pub fn delete_bytes(&self) -> u64 {
        bytes(&self.deletes)
    }

    /// Bytes of the output, if each row takes as much as the others.
    pub fn bytes_out_estimate(&self) -> u64 {
        let rows = self.rows_in();
        let left = rows.saturating_sub(self.rows_deleted_max);
        if rows == 0 { 0 } else { (self.bytes_in() as f64 * (left as f64 / rows as f64)) as u64 }
    }

    /// How many files come out, if a file that is closed for its size has so many bytes.
    pub fn outputs_estimate(&self, target_file_size_bytes: u64) -> u64 {
        match self.clustering {
            None => 1,
            Some(_) => self.bytes_out_estimate().div_ceil(target_file_size_bytes.max(1)).max(1),
        }
    }

    /// Rows of the inputs, deleted ones too.
    pub fn rows_in(&self) -> u64 {
        self.inputs.iter().map(|input| input.file.record_count()).sum()
    }

    /// The inputs' paths.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|input| input.file.file_path())
    }

    /// `month=2013-01`, or `the table` if unpartitioned.
    pub fn place(&self) -> &str {
        if self.partition_path.is_empty() { "the table" } else { &self.partition_path }
    }
}

/// A deletion vector is a part of its file.
fn bytes(files: &[InputFile]) -> u64 {
    let size = |input: &InputFile| {
        let part = input.file.content_size_in_bytes().and_then(|size| u64::try_from(size).ok());
        part.unwrap_or(input.file.file_size_in_bytes())
    };
    files.iter().map(size).sum()
}
