//! Row groups out of old files into a new one, byte for byte: nothing is decoded but the footers and indexes.
//!
//! Kept with each column chunk: pages, dictionary, statistics, page index, bloom filter, size statistics. Dropped: the
//! order that a file says its rows have, since the rows of several files together need not have it. Added, where rows have
//! ids that they inherit: columns of these ([`super::lineage`]).

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use frazil_reader::load_page_indexes;
use frazil_storage::FileWriter;
use frazil_table::TableFile;
use frazil_writer::new_file_location;
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::{OffsetIndexMetaData, PageLocation};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::lineage::{self, Lineage};
use super::merge::merged_data_file;
use super::sink::{Hollow, Sink};
use super::{FILE_PREFIX, Input, Rewrite};
use crate::{Error, Result};

/// Column chunks that lie side by side are fetched together up to this.
const REQUEST_BYTES: u64 = 16 << 20;

/// A bloom filter longer than this is not what the specification's largest is.
const BLOOM_BYTES_MAX: i32 = 128 << 20;

/// Where the lineage of each input comes from, if the inputs' row groups fit into one file: apart from it they have the
/// same Parquet schema, down to field ids, and declare how statistics are ordered, which the new file does too. `None` if
/// they don't.
pub(super) fn can_copy(inputs: &[Input<'_>], keeps_row_ids: bool) -> Option<Vec<Lineage>> {
    let lineage = |input: &Input<'_>| match keeps_row_ids {
        true => Lineage::of(input.file, &input.metadata),
        false => Some(Lineage::None),
    };
    let lineages = inputs.iter().map(lineage).collect::<Option<Vec<_>>>()?;
    let mut columns = lineages.iter().zip(inputs).map(|(lineage, input)| lineage.other_columns(&input.metadata));
    let first = columns.next()?;
    let are_ordered = inputs.iter().all(|input| input.metadata.file_metadata().column_orders().is_some());
    (are_ordered && columns.all(|other| other == first)).then_some(lineages)
}

/// Copies all row groups, in order.
pub(super) async fn copy(rewrite: &Rewrite<'_>, inputs: &[Input<'_>], lineages: &[Lineage]) -> Result<TableFile> {
    let group = rewrite.group;
    let metadata = rewrite.table.metadata();
    let (spec_id, id) = (group.partition_spec_id, rewrite.env.ids.uuid());
    let location = new_file_location(metadata, spec_id, &group.partition, FILE_PREFIX, id)?;
    let encode =
        |source: ParquetError| Error::Writer(frazil_writer::Error::Encode { location: location.clone(), source });
    let sink = Sink::default();
    let stored = inputs[0].metadata.file_metadata().schema_descr().root_schema_ptr();
    let schema = match lineages[0] {
        Lineage::None => stored,
        some => lineage::schema(stored.name(), some.other_columns(&inputs[0].metadata)).map_err(encode)?,
    };
    let properties = Arc::new(properties(inputs, lineages));
    let mut output = Output {
        file: rewrite.env.store.writer(&location).await?,
        parquet: SerializedFileWriter::new(sink.clone(), schema, properties).map_err(encode)?,
        sink,
    };
    for (input, lineage) in inputs.iter().zip(lineages) {
        let mut first_row = 0;
        let (path, size) = (input.file.file.file_path(), input.file.file.file_size_in_bytes());
        let indexed = load_page_indexes(&rewrite.context, path, size, &input.metadata).await?;
        for index in 0..indexed.num_row_groups() {
            let row_group = RowGroup { path, metadata: &indexed, index, first_row, lineage: *lineage };
            output.copy_row_group(rewrite, row_group, &encode).await?;
            first_row += indexed.row_group(index).num_rows();
        }
    }
    let parquet = output.parquet.finish().map_err(encode)?;
    output.file.write_pieces(output.sink.take()).await?;
    let size_bytes = output.file.finish().await?;
    merged_data_file(rewrite, &parquet, &location, size_bytes)
}

struct Output {
    file: FileWriter,
    parquet: SerializedFileWriter<Sink>,
    sink: Sink,
}

impl Output {
    async fn copy_row_group(
        &mut self,
        rewrite: &Rewrite<'_>,
        RowGroup { path, metadata, index, first_row, lineage }: RowGroup<'_>,
        encode: &(impl Fn(ParquetError) -> Error + Sync),
    ) -> Result<()> {
        let row_group = metadata.row_group(index);
        // A row group's chunks come one after the other, with nothing between them.
        let mut place = self.parquet.bytes_written() as u64;
        let mut writer = self.parquet.next_row_group().map_err(encode)?;
        let chunks = Chunks { path, metadata, index, row_group };
        for columns in chunks.requests() {
            rewrite.check_stop()?;
            let fetched = chunks.fetch(rewrite, columns.clone()).await?;
            for (column, chunk) in columns.zip(fetched) {
                chunks.check_pages(column)?;
                let bloom_filter = chunks.load_bloom_filter(rewrite, column).await?;
                let length = chunk.len() as u64;
                self.sink.place(place, chunk);
                chunks.append(&mut writer, column, length, bloom_filter).map_err(encode)?;
                place += length;
            }
            self.file.write_pieces(self.sink.take()).await?;
        }
        let rows = u64::try_from(row_group.num_rows()).unwrap_or(0);
        lineage.write(&mut writer, first_row, rows).map_err(encode)?;
        let written = writer.close().map_err(encode)?;
        let last = row_group
            .num_columns()
            .checked_sub(1)
            .and_then(|last| written.columns().get(last))
            .map(ColumnChunkMetaData::byte_range);
        let is_placed = last.is_none_or(|(start, length)| start + length == place);
        assert!(is_placed, "{path}: the chunks of row group {index} are not where the footer says");
        self.file.write_pieces(self.sink.take()).await?;
        Ok(())
    }
}

/// What is copied at a time.
struct RowGroup<'a> {
    path: &'a str,
    /// Of the file, with page indexes.
    metadata: &'a ParquetMetaData,
    index: usize,
    /// Counted in the file.
    first_row: i64,
    lineage: Lineage,
}

/// The column chunks of one row group.
struct Chunks<'a> {
    path: &'a str,
    metadata: &'a ParquetMetaData,
    index: usize,
    row_group: &'a RowGroupMetaData,
}

impl Chunks<'_> {
    /// Which columns are fetched together: neighbours in the schema, whose chunks lie side by side in most files.
    fn requests(&self) -> Vec<Range<usize>> {
        let mut requests: Vec<Range<usize>> = Vec::new();
        let mut bytes = 0;
        for (column, chunk) in self.row_group.columns().iter().enumerate() {
            let size = chunk.byte_range().1;
            match requests.last_mut() {
                Some(last) if bytes + size <= REQUEST_BYTES => {
                    last.end = column + 1;
                    bytes += size;
                }
                _ => {
                    requests.push(column..column + 1);
                    bytes = size;
                }
            }
        }
        requests
    }

    async fn fetch(&self, rewrite: &Rewrite<'_>, columns: Range<usize>) -> Result<Vec<Bytes>> {
        let chunks = &self.row_group.columns()[columns];
        let ranges: Vec<Range<u64>> = chunks
            .iter()
            .map(|chunk| {
                let (start, length) = chunk.byte_range();
                start..start + length
            })
            .collect();
        let side_by_side = ranges.windows(2).all(|pair| pair[0].end == pair[1].start);
        let store = &rewrite.env.store;
        let pieces = match (side_by_side, ranges.first(), ranges.last()) {
            (true, Some(first), Some(last)) => {
                let all = store.read_range(self.path, first.start..last.end).await?;
                let cut = |range: &Range<u64>| {
                    let (from, to) = ((range.start - first.start) as usize, (range.end - first.start) as usize);
                    (to <= all.len()).then(|| all.slice(from..to))
                };
                ranges.iter().map(cut).collect::<Option<Vec<_>>>()
            }
            _ => Some(store.read_ranges(self.path, &ranges).await?),
        };
        pieces.ok_or_else(|| Error::damaged(self.path, "it is shorter than its footer says"))
    }

    async fn load_bloom_filter(&self, rewrite: &Rewrite<'_>, column: usize) -> Result<Option<Sbbf>> {
        let chunk = self.row_group.column(column);
        let (Some(offset), Some(length)) = (chunk.bloom_filter_offset(), chunk.bloom_filter_length()) else {
            // Without a length its end is unknown; it is an aid, not data.
            return Ok(None);
        };
        let range = u64::try_from(offset).ok().zip(u64::try_from(length.min(BLOOM_BYTES_MAX)).ok());
        let (start, length) =
            range.ok_or_else(|| Error::damaged(self.path, "a bloom filter before the file's start"))?;
        let bytes = rewrite.env.store.read_range(self.path, start..start + length).await?;
        Sbbf::from_bytes(&bytes).map(Some).map_err(|error| Error::damaged(self.path, error))
    }

    fn offsets(&self, column: usize) -> Option<&OffsetIndexMetaData> {
        self.metadata.offset_index()?.get(self.index)?.get(column)
    }

    /// Pages that lie outside of their column chunk would be somewhere else after the copy.
    fn check_pages(&self, column: usize) -> Result<()> {
        let (start, length) = self.row_group.column(column).byte_range();
        let is_inside = |page: &PageLocation| {
            let at = u64::try_from(page.offset).ok().filter(|at| *at >= start);
            let size = u64::try_from(page.compressed_page_size).ok();
            at.zip(size).is_some_and(|(at, size)| at - start <= length && size <= length - (at - start))
        };
        match self.offsets(column).is_none_or(|offsets| offsets.page_locations().iter().all(is_inside)) {
            true => Ok(()),
            false => {
                Err(Error::damaged(self.path, format!("the page index of column {column} names pages outside of it")))
            }
        }
    }

    fn append(
        &self,
        writer: &mut SerializedRowGroupWriter<'_, Sink>,
        column: usize,
        length: u64,
        bloom_filter: Option<Sbbf>,
    ) -> std::result::Result<(), ParquetError> {
        let chunk: &ColumnChunkMetaData = self.row_group.column(column);
        let indexes = self.metadata.column_index().and_then(|groups| groups.get(self.index)?.get(column));
        let close = ColumnCloseResult {
            bytes_written: chunk.byte_range().1,
            rows_written: u64::try_from(self.row_group.num_rows()).unwrap_or(0),
            metadata: chunk.clone(),
            bloom_filter,
            column_index: indexes.filter(|index| !matches!(index, ColumnIndexMetaData::NONE)).cloned(),
            offset_index: self.offsets(column).cloned(),
        };
        writer.append_column(&Hollow(length), close)
    }
}

/// What all inputs say of themselves is said of the output as well, unless it has columns that they have not; who wrote it decides how readers take its statistics.
fn properties(inputs: &[Input<'_>], lineages: &[Lineage]) -> WriterProperties {
    let file = |input: &Input<'_>| input.metadata.file_metadata().clone();
    let first = file(&inputs[0]);
    let pairs = first.key_value_metadata().cloned().unwrap_or_default();
    let shared = pairs.into_iter().filter(|pair: &KeyValue| {
        inputs.iter().all(|input| file(input).key_value_metadata().is_some_and(|other| other.contains(pair)))
    });
    // Descriptions of the schema are among it.
    let same_columns = lineages.iter().all(|lineage| !matches!(lineage, Lineage::Inherited { .. }));
    let shared: Vec<KeyValue> = shared.filter(|_| same_columns).collect();
    let one_writer = inputs.iter().all(|input| file(input).created_by() == first.created_by());
    let own = concat!("frazil version ", env!("CARGO_PKG_VERSION"));
    let created_by = first.created_by().filter(|_| one_writer).unwrap_or(own);
    let builder = WriterProperties::builder()
        .set_created_by(created_by.to_owned())
        .set_key_value_metadata((!shared.is_empty()).then_some(shared));
    lineage::properties(builder).build()
}
