//! The pages of a column chunk, and what is told about them: indexes, sizes, levels.

use std::cell::RefCell;
use std::io;

use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Compression, Encoding, EncodingMask, PageType};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, LevelHistogram, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

/// A page's values, encoded, and what they are.
pub(super) struct PageContent<'a> {
    /// Definition levels and values.
    pub bytes: &'a [u8],
    pub encoding: Encoding,
    pub rows: usize,
    pub nulls: usize,
    /// The bytes of texts or binaries alone.
    pub variable_bytes: Option<i64>,
    /// Least and greatest value, as the column index has them; `None` without values that have an order.
    pub bounds: Option<(Vec<u8>, Vec<u8>)>,
    /// How the bounds lie to those of the page before.
    pub order: Order,
}

/// How two pages lie to each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// No bound of the later one is less.
    pub ascends: bool,
    /// No bound of the later one is greater.
    pub descends: bool,
}

impl Order {
    /// Of the first page.
    pub const ANY: Self = Self { ascends: true, descends: true };
}

/// A column chunk in the making. Its pages wait in memory, compressed.
pub(super) struct Chunk {
    descr: ColumnDescPtr,
    codec: Codec,
    pages: Vec<CompressedPage>,
    pages_bytes: usize,
    dictionary: Option<CompressedPage>,
    column_index: ColumnIndexBuilder,
    offset_index: OffsetIndexBuilder,
    order: Order,
    rows: usize,
    nulls: u64,
    variable_bytes: Option<i64>,
}

/// The codecs that pages are compressed with here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Plain,
    Zstd(i32),
}

impl Codec {
    pub fn of(compression: Compression) -> Option<Self> {
        match compression {
            Compression::UNCOMPRESSED => Some(Self::Plain),
            Compression::ZSTD(level) => Some(Self::Zstd(level.compression_level())),
            _ => None,
        }
    }
}

thread_local! {
    /// A compressor has some 100 KiB to a MiB of tables: one for a thread, not for a column.
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
}

/// Compressed by the thread's own compressor.
fn compress(bytes: &[u8], codec: Codec) -> Result<Bytes> {
    let Codec::Zstd(level) = codec else { return Ok(Bytes::copy_from_slice(bytes)) };
    COMPRESSOR.with_borrow_mut(|kept| {
        let (_, compressor) = match kept {
            Some(kept) if kept.0 == level => kept,
            _ => kept.insert((level, Compressor::new(level)?)),
        };
        let mut compressed = compressor.compress(bytes)?;
        compressed.shrink_to_fit();
        Ok(compressed.into())
    })
}

impl Chunk {
    pub fn new(descr: ColumnDescPtr, codec: Codec, has_variable_bytes: bool) -> Self {
        Self {
            column_index: ColumnIndexBuilder::new(descr.physical_type()),
            descr,
            codec,
            pages: Vec::new(),
            pages_bytes: 0,
            dictionary: None,
            offset_index: OffsetIndexBuilder::new(),
            order: Order::ANY,
            rows: 0,
            nulls: 0,
            variable_bytes: has_variable_bytes.then_some(0),
        }
    }

    /// The dictionary of the pages so far. There is none after it.
    pub fn put_dictionary(&mut self, plain: &[u8], values: usize) -> Result<()> {
        count(plain.len())?;
        let buf = compress(plain, self.codec)?;
        self.pages_bytes += buf.len();
        let page =
            Page::DictionaryPage { buf, num_values: count(values)?, encoding: Encoding::PLAIN, is_sorted: false };
        self.dictionary = Some(CompressedPage::new(page, plain.len()));
        Ok(())
    }

    pub fn put_page(&mut self, content: PageContent<'_>) -> Result<()> {
        let PageContent { bytes, encoding, rows, nulls, variable_bytes, bounds, order } = content;
        let all_null = nulls == rows;
        match bounds {
            _ if !self.column_index.valid() => {}
            Some((min, max)) => self.column_index.append(false, min, max, nulls as i64),
            None if all_null => self.column_index.append(true, Vec::new(), Vec::new(), nulls as i64),
            // Nothing but NaN.
            None => self.column_index.to_invalid(),
        }
        self.column_index.append_histograms(&None, &self.histogram(rows, nulls));
        self.offset_index.append_row_count(rows as i64);
        self.offset_index.append_unencoded_byte_array_data_bytes(variable_bytes);
        if !all_null {
            self.order.ascends &= order.ascends;
            self.order.descends &= order.descends;
        }
        self.rows += rows;
        self.nulls += nulls as u64;
        self.variable_bytes = self.variable_bytes.zip(variable_bytes).map(|(sum, more)| sum + more);
        count(bytes.len())?;
        let buf = compress(bytes, self.codec)?;
        self.pages_bytes += buf.len();
        let page = Page::DataPage {
            buf,
            num_values: count(rows)?,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        self.pages.push(CompressedPage::new(page, bytes.len()));
        Ok(())
    }

    /// How many rows have which definition level; nothing for a required column.
    fn histogram(&self, rows: usize, nulls: usize) -> Option<LevelHistogram> {
        let mut histogram = LevelHistogram::try_new(self.descr.max_def_level())?;
        histogram.increment_by(0, nulls as i64);
        histogram.increment_by(1, (rows - nulls) as i64);
        Some(histogram)
    }

    /// What is left of bytes when they are compressed.
    pub fn compressed_share(&self, bytes: &[u8]) -> Result<f64> {
        Ok(compress(bytes, self.codec)?.len() as f64 / bytes.len().max(1) as f64)
    }

    pub fn is_optional(&self) -> bool {
        self.descr.max_def_level() > 0
    }

    pub fn nulls(&self) -> u64 {
        self.nulls
    }

    /// What its pages take, here and in the file.
    pub fn bytes(&self) -> usize {
        self.pages_bytes
    }

    /// The chunk's bytes, dictionary first, and its part of the footer.
    pub fn close(mut self, statistics: Statistics) -> Result<(ChunkBytes, ColumnCloseResult)> {
        let mut sink = TrackedWrite::new(ChunkBytes::default());
        let mut writer = SerializedPageWriter::new(&mut sink);
        let (mut uncompressed, mut data_offset, mut dictionary_offset) = (0, None, None);
        let mut encodings = EncodingMask::new_from_encodings([Encoding::RLE].iter());
        let mut encoding_stats: Vec<PageEncodingStats> = Vec::new();
        for page in self.dictionary.take().into_iter().chain(std::mem::take(&mut self.pages)) {
            let (page_type, encoding) = (page.page_type(), page.encoding());
            encodings.insert(encoding);
            match encoding_stats.last_mut() {
                Some(last) if (last.page_type, last.encoding) == (page_type, encoding) => last.count += 1,
                _ => encoding_stats.push(PageEncodingStats { page_type, encoding, count: 1 }),
            }
            let written = writer.write_page(page)?;
            uncompressed += written.uncompressed_size;
            if page_type == PageType::DICTIONARY_PAGE {
                dictionary_offset = Some(written.offset as i64);
            } else {
                data_offset = data_offset.or(Some(written.offset as i64));
                let size = i32::try_from(written.compressed_size).map_err(|_| too_large())?;
                self.offset_index.append_offset_and_size(written.offset as i64, size);
            }
        }
        writer.close()?;
        let bytes_written = sink.bytes_written();
        let bytes = sink.into_inner()?;
        let histogram = self.histogram(self.rows, self.nulls as usize);
        let metadata = ColumnChunkMetaData::builder(self.descr)
            .set_compression(match self.codec {
                Codec::Plain => Compression::UNCOMPRESSED,
                Codec::Zstd(level) => Compression::ZSTD(parquet::basic::ZstdLevel::try_new(level)?),
            })
            .set_encodings_mask(encodings)
            .set_page_encoding_stats(encoding_stats)
            .set_total_compressed_size(bytes_written as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_num_values(self.rows as i64)
            .set_data_page_offset(data_offset.unwrap_or(0))
            .set_dictionary_page_offset(dictionary_offset)
            .set_statistics(statistics)
            .set_unencoded_byte_array_data_bytes(self.variable_bytes)
            .set_definition_level_histogram(histogram)
            .build()?;
        self.column_index.set_boundary_order(match self.order {
            Order { ascends: true, .. } => BoundaryOrder::ASCENDING,
            Order { descends: true, .. } => BoundaryOrder::DESCENDING,
            _ => BoundaryOrder::UNORDERED,
        });
        let column_index = self.column_index.valid().then(|| self.column_index.build()).transpose()?;
        let close = ColumnCloseResult {
            bytes_written: bytes_written as u64,
            rows_written: self.rows as u64,
            metadata,
            bloom_filter: None,
            column_index,
            offset_index: Some(self.offset_index.build()),
        };
        Ok((bytes, close))
    }
}

/// Sizes and counts of a page have 31 bits.
pub(super) fn count(count: usize) -> Result<u32> {
    i32::try_from(count).map(|count| count as u32).map_err(|_| too_large())
}

fn too_large() -> ParquetError {
    ParquetError::General("a page, or one value, has more than 2 GiB; files can't have that".to_owned())
}

/// A chunk's bytes in pieces, which are never copied into one.
#[derive(Default)]
pub(crate) struct ChunkBytes(Vec<Bytes>);

impl io::Write for ChunkBytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(Bytes::copy_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Length for ChunkBytes {
    fn len(&self) -> u64 {
        self.0.iter().map(|piece| piece.len() as u64).sum()
    }
}

impl ChunkReader for ChunkBytes {
    type T = Pieces;

    fn get_read(&self, start: u64) -> Result<Pieces> {
        let mut pieces = Pieces(self.0.clone().into_iter(), Bytes::new());
        io::copy(&mut io::Read::take(&mut pieces, start), &mut io::sink())?;
        Ok(pieces)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = Vec::with_capacity(length);
        io::Read::read_to_end(&mut io::Read::take(self.get_read(start)?, length as u64), &mut bytes)?;
        Ok(bytes.into())
    }
}

/// Pieces one after the other, and what is left of the first.
pub(crate) struct Pieces(std::vec::IntoIter<Bytes>, Bytes);

impl io::Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.1.is_empty() {
            let Some(next) = self.0.next() else { return Ok(0) };
            self.1 = next;
        }
        let taken = self.1.split_to(out.len().min(self.1.len()));
        out[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

/// Whether pages are made as the properties ask for.
pub(super) fn is_as_asked(properties: &WriterProperties, descr: &ColumnDescPtr) -> bool {
    use parquet::file::properties::{EnabledStatistics, WriterVersion};
    let path = descr.path();
    properties.writer_version() == WriterVersion::PARQUET_1_0
        && properties.statistics_enabled(path) == EnabledStatistics::Page
        && properties.bloom_filter_properties(path).is_none()
        && properties.dictionary_enabled(path)
        && properties.encoding(path).is_none()
        && !properties.write_page_header_statistics(path)
        && !properties.offset_index_disabled()
}
