//! One top-level column of an open row group: all of its leaves, and what is counted beside them.

use std::collections::HashMap;
use std::io::Write;

use arrow::array::ArrayRef;
use arrow::datatypes::FieldRef;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::file::writer::SerializedRowGroupWriter;

use crate::flat::{ChunkBytes, FlatColumn};
use crate::nan::count_nans;
use crate::rows::Rows;

pub(crate) struct ColumnEncoder {
    /// Position among the top-level columns.
    pub index: usize,
    field: FieldRef,
    leaves: Leaves,
    /// NaNs by field id.
    nans: HashMap<i32, u64>,
}

/// What encodes the column.
pub(crate) enum Leaves {
    Flat(Box<FlatColumn>),
    /// Columns with leaves, or with wishes, that are left to the crate.
    Nested(Vec<ArrowColumnWriter>),
}

/// A column of a row group that is done.
pub(crate) struct EncodedColumn {
    pub index: usize,
    pub chunks: Vec<EncodedChunk>,
    pub nans: HashMap<i32, u64>,
}

/// A column chunk that waits for its place in the file.
pub(crate) enum EncodedChunk {
    Flat(ChunkBytes, ColumnCloseResult),
    Nested(ArrowColumnChunk),
}

impl EncodedChunk {
    pub fn append_to_row_group<W: Write + Send>(self, group: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        match self {
            Self::Flat(bytes, close) => group.append_column(&bytes, close),
            Self::Nested(chunk) => chunk.append_to_row_group(group),
        }
    }
}

/// While a leaf is encoded with a dictionary, its finished pages are counted in its estimated size and not in its
/// memory. Then its memory is no more than this: a dictionary (2 MiB unless a property says otherwise) with its hash
/// table, and a page of indices.
const DICTIONARY_PHASE_MAX_BYTES: usize = 8 << 20;

impl ColumnEncoder {
    pub fn new(index: usize, field: FieldRef, leaves: Leaves) -> Self {
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
        match &mut self.leaves {
            Leaves::Flat(column) => column.encode(array),
            Leaves::Nested(leaves) => {
                compute_leaves(&self.field, array)?.iter().zip(leaves).try_for_each(|(leaf, writer)| writer.write(leaf))
            }
        }
    }

    /// What it holds.
    pub fn memory_bytes(&self) -> usize {
        let of = |leaf: &ArrowColumnWriter| match leaf.memory_size() {
            memory if memory <= DICTIONARY_PHASE_MAX_BYTES => memory + leaf.get_estimated_total_bytes(),
            memory => memory,
        };
        match &self.leaves {
            Leaves::Flat(column) => column.memory_bytes(),
            Leaves::Nested(leaves) => leaves.iter().map(of).sum(),
        }
    }

    /// About what it will have in the file.
    pub fn size_bytes(&self) -> usize {
        match &self.leaves {
            Leaves::Flat(column) => column.size_bytes(),
            Leaves::Nested(leaves) => leaves.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum(),
        }
    }

    pub fn close(self) -> Result<EncodedColumn> {
        let chunks = match self.leaves {
            Leaves::Flat(column) => {
                let (bytes, close) = column.close()?;
                vec![EncodedChunk::Flat(bytes, close)]
            }
            Leaves::Nested(leaves) => {
                leaves.into_iter().map(|leaf| leaf.close().map(EncodedChunk::Nested)).collect::<Result<_>>()?
            }
        };
        Ok(EncodedColumn { index: self.index, chunks, nans: self.nans })
    }
}
