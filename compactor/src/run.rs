//! Rewrites one group of files. This is where the bytes move.

use frazil_table::TableFile;

use crate::FileGroup;

/// How the rows of a group got into its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteKind {
    /// Column chunks were copied as they are.
    Copy,
    /// Rows were decoded and encoded again.
    Encode,
}

/// A group whose outputs are durable and in no snapshot yet.
#[derive(Clone, Debug)]
pub struct RewriteResult {
    /// What was to be rewritten.
    pub group: FileGroup,
    /// The files that take the place of the group's, with the same rows in the same order.
    pub outputs: Vec<TableFile>,
    /// How.
    pub kind: RewriteKind,
    /// How long it took, by the world's clock.
    pub elapsed_ms: u64,
}

impl RewriteResult {
    /// Bytes of the outputs.
    pub fn bytes_out(&self) -> u64 {
        self.outputs.iter().map(|output| output.file.file_size_in_bytes()).sum()
    }

    /// Rows of the outputs.
    pub fn rows_out(&self) -> u64 {
        self.outputs.iter().map(|output| output.file.record_count()).sum()
    }
}
