//! One top-level column of an open row group: all of its leaves, and what is counted beside them.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::datatypes::FieldRef;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::errors::Result;

use crate::nan::count_nans;
use crate::rows::Rows;

pub(crate) struct ColumnEncoder {
    /// Position among the top-level columns.
    pub index: usize,
    field: FieldRef,
    leaves: Vec<ArrowColumnWriter>,
    /// NaNs by field id.
    nans: HashMap<i32, u64>,
}

/// A column of a row group that is done.
pub(crate) struct EncodedColumn {
    pub index: usize,
    pub chunks: Vec<ArrowColumnChunk>,
    pub nans: HashMap<i32, u64>,
}

/// While a leaf is encoded with a dictionary, its finished pages are counted in its estimated size and not in its
/// memory. Then its memory is no more than this: a dictionary (2 MiB unless a property says otherwise) with its hash
/// table, and a page of indices.
const DICTIONARY_PHASE_MAX_BYTES: usize = 8 << 20;

impl ColumnEncoder {
    pub fn new(index: usize, field: FieldRef, leaves: Vec<ArrowColumnWriter>) -> Self {
        Self { index, field, leaves, nans: HashMap::new() }
    }

    pub fn encode(&mut self, rows: &Rows) -> Result<()> {
        for array in rows.column(self.index)? {
            self.encode_array(&array)?;
        }
        Ok(())
    }

    fn encode_array(&mut self, array: &ArrayRef) -> Result<()> {
        count_nans(&self.field, array, &mut self.nans);
        for (leaf, writer) in compute_leaves(&self.field, array)?.iter().zip(&mut self.leaves) {
            writer.write(leaf)?;
        }
        Ok(())
    }

    /// What it holds.
    pub fn memory_bytes(&self) -> usize {
        let of = |leaf: &ArrowColumnWriter| match leaf.memory_size() {
            memory if memory <= DICTIONARY_PHASE_MAX_BYTES => memory + leaf.get_estimated_total_bytes(),
            memory => memory,
        };
        self.leaves.iter().map(of).sum()
    }

    /// About what it will have in the file.
    pub fn size_bytes(&self) -> usize {
        self.leaves.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum()
    }

    pub fn close(self) -> Result<EncodedColumn> {
        let chunks = self.leaves.into_iter().map(ArrowColumnWriter::close).collect::<Result<_>>()?;
        Ok(EncodedColumn { index: self.index, chunks, nans: self.nans })
    }
}
