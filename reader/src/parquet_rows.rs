//! Some leaves of some row groups, decoded.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema as ArrowSchema;
use bytes::Bytes;
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use parquet::basic::Compression;
use parquet::file::metadata::RowGroupMetaData;

use crate::fetch::fetch;
use crate::footer::Footer;
use crate::pages::check_pages;
use crate::row_groups::RowGroup;
use crate::stats::ByteKind;
use crate::{Error, ReadContext, Result};

/// Decodes row group by row group; asks the store for nothing but the chunks of the leaves.
#[derive(Debug)]
pub(crate) struct ParquetRows {
    context: ReadContext,
    location: String,
    kind: ByteKind,
    footer: Footer,
    leaves: Vec<usize>,
    groups: VecDeque<RowGroup>,
    batch_rows: usize,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    /// The row group's place in the file.
    group: usize,
    /// `None` where no leaf is wanted: then rows are only counted.
    decoder: Option<Box<ParquetPushDecoder>>,
    next_row: u64,
    end_row: u64,
}

impl ParquetRows {
    pub(crate) fn new(context: &ReadContext, location: &str, kind: ByteKind, footer: &Footer) -> Self {
        Self {
            context: context.clone(),
            location: location.to_owned(),
            kind,
            footer: footer.clone(),
            leaves: Vec::new(),
            groups: VecDeque::new(),
            batch_rows: 1,
            current: None,
        }
    }

    /// What is to be read.
    pub(crate) fn read(
        mut self,
        leaves: impl Iterator<Item = usize>,
        groups: impl IntoIterator<Item = RowGroup>,
        batch_rows: usize,
    ) -> Self {
        self.leaves = leaves.collect();
        self.groups = groups.into_iter().collect();
        self.batch_rows = batch_rows;
        self
    }

    /// The next rows, and the position of the first of them in the file.
    pub(crate) async fn next(&mut self) -> Result<Option<(u64, RecordBatch)>> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(group) = self.groups.pop_front() else { return Ok(None) };
                self.current = Some(self.begin(&group)?);
                continue;
            };
            let Some(decoder) = &mut current.decoder else {
                let left = (current.end_row - current.next_row).min(self.batch_rows as u64);
                if left == 0 {
                    self.current = None;
                    continue;
                }
                let first = current.next_row;
                current.next_row += left;
                return Ok(Some((first, rows_without_columns(left as usize))));
            };
            match decode(decoder, &self.location)? {
                DecodeResult::NeedsData(ranges) => {
                    let from = (self.location.as_str(), &self.footer.tail, self.kind);
                    let bytes = fetch(&self.context.env.store, &self.context.counters, from, &ranges).await?;
                    check_chunks(self.footer.metadata.metadata().row_group(current.group), &ranges, &bytes)
                        .map_err(|reason| Error::damaged(&self.location, reason))?;
                    decoder.push_ranges(ranges, bytes).map_err(|error| Error::damaged(&self.location, error))?;
                }
                DecodeResult::Data(batch) => {
                    let first = current.next_row;
                    current.next_row += batch.num_rows() as u64;
                    if current.next_row > current.end_row {
                        return Err(Error::damaged(&self.location, "a row group holds more rows than it says"));
                    }
                    return Ok(Some((first, batch)));
                }
                DecodeResult::Finished => {
                    if current.next_row != current.end_row {
                        return Err(Error::damaged(&self.location, "a row group holds fewer rows than it says"));
                    }
                    self.current = None;
                }
            }
        }
    }

    fn begin(&self, group: &RowGroup) -> Result<Current> {
        let (next_row, end_row) = match &group.only {
            None => (group.rows.start + group.skip, group.rows.end),
            // Selected rows are only counted.
            Some(only) => (group.rows.start, group.rows.start + only.row_count() as u64),
        };
        if self.leaves.is_empty() {
            return Ok(Current { group: group.index, decoder: None, next_row, end_row });
        }
        let schema = self.footer.metadata.parquet_schema();
        let mask = ProjectionMask::leaves(schema, self.leaves.iter().copied());
        let mut builder = ParquetPushDecoderBuilder::new_with_metadata(self.footer.metadata.clone())
            .with_row_groups(vec![group.index])
            .with_projection(mask)
            .with_batch_size(self.batch_rows);
        if let Some(only) = &group.only {
            builder = builder.with_row_selection(only.clone());
        } else if group.skip > 0 {
            let selectors =
                vec![RowSelector::skip(group.skip as usize), RowSelector::select((end_row - next_row) as usize)];
            builder = builder.with_row_selection(RowSelection::from(selectors));
        }
        let decoder = builder.build().map_err(|error| Error::damaged(&self.location, error))?;
        Ok(Current { group: group.index, decoder: Some(Box::new(decoder)), next_row, end_row })
    }
}

/// The decoder panics on some damaged pages. That is the file's fault, and an error of it; the decoder is not used again.
fn decode(decoder: &mut ParquetPushDecoder, location: &str) -> Result<DecodeResult<RecordBatch>> {
    match catch_unwind(AssertUnwindSafe(|| decoder.try_decode())) {
        Ok(decoded) => decoded.map_err(|error| Error::damaged(location, error)),
        Err(_) => Err(Error::damaged(location, "a page can't be decoded")),
    }
}

/// Looks at the pages of the column chunks that were read. Without page indexes the decoder asks for whole chunks.
fn check_chunks(group: &RowGroupMetaData, ranges: &[Range<u64>], bytes: &[Bytes]) -> std::result::Result<(), String> {
    for (range, bytes) in ranges.iter().zip(bytes) {
        let chunk = group.columns().iter().find(|chunk| chunk.byte_range().0 == range.start);
        check_pages(bytes, chunk.map_or(Compression::UNCOMPRESSED, |chunk| chunk.compression()))?;
    }
    Ok(())
}

fn rows_without_columns(rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(ArrowSchema::empty()), Vec::new(), &options)
        .expect("a batch without columns has as many rows as it is given")
}
