//! Column chunks of columns without nesting: numbers, texts and binaries, which is what most columns are.
//!
//! The `parquet` crate encodes every kind of column, value by value. Most of a file's time goes into the plain kinds, and
//! these are encoded here, a page at a time: a third of the processor time for short values. Pages, indexes, statistics
//! and footer are of the same form, and the crate writes them. What is special (nesting, bloom filters, codecs other than
//! zstd, pages of version 2) is left to the crate: [`FlatColumn::of`] says which is which.

use arrow::array::{Array, ArrayRef, BooleanBufferBuilder};
use arrow::datatypes::DataType;
use parquet::basic::{Encoding, Type as PhysicalType};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;

mod chunk;
mod dictionary;
mod hybrid;
mod number;
mod numbers;
mod texts;

pub(crate) use chunk::ChunkBytes;
use chunk::{Chunk, Codec, Order, PageContent};
use hybrid::Levels;
use numbers::Numbers;
use texts::Texts;

/// The column chunk of an open row group.
pub(crate) struct FlatColumn {
    limits: Limits,
    values: Box<dyn Values>,
    page: OpenPage,
    chunk: Chunk,
    /// Whether a page with values was ended, which tells whether a dictionary pays.
    is_decided: bool,
    /// What is left of values when they are compressed, by some of the first ones.
    compressed_share: Option<f64>,
    /// Encoded pages are put together here.
    scratch: Vec<u8>,
}

/// What differs by kind of value.
trait Values: Send {
    /// Takes the first rows of an array, at least one and about `page_bytes`; says how many. An error for a value that no
    /// page can hold.
    fn take(&mut self, array: &dyn Array, page: &mut OpenPage, page_bytes: usize) -> Result<usize>;

    /// What is told of the open page; the next one begins. Bounds are of at most `index_bytes`.
    fn end_page(&mut self, index_bytes: Option<usize>) -> PageSummary;

    /// Of all pages that were ended.
    fn statistics(&self, nulls: u64, length_max: Option<usize>) -> Statistics;

    /// How many values the dictionary has; `None` where there is none.
    fn distinct(&self) -> Option<usize>;

    /// What the dictionary takes as a page that is not compressed.
    fn dictionary_bytes(&self) -> usize;

    /// Whether values collide in it.
    fn dictionary_is_slow(&self) -> bool;

    /// Whether dictionary and numbers are less than the values of the page, before any page was ended.
    fn dictionary_pays(&self, page: &OpenPage) -> bool;

    /// Gives the dictionary up, as if there had been none.
    fn undo_dictionary(&mut self, page: &mut OpenPage);

    /// Gives the dictionary out, plain, with its number of values, if it has any.
    fn take_dictionary(&mut self) -> Option<(Vec<u8>, usize)>;

    /// Some of the values of the dictionary, or else of the page, plain.
    fn sample(&self, page: &OpenPage, bytes_max: usize) -> Vec<u8>;

    /// What it holds.
    fn memory_bytes(&self) -> usize;
}

/// What is told of a page's values.
struct PageSummary {
    /// As the column index has them; `None` without values that have an order.
    bounds: Option<(Vec<u8>, Vec<u8>)>,
    /// How the bounds lie to those of the last page that had any.
    order: Order,
    /// The bytes of texts or binaries alone.
    variable_bytes: Option<i64>,
}

impl Default for PageSummary {
    fn default() -> Self {
        Self { bounds: None, order: Order::ANY, variable_bytes: None }
    }
}

/// How large things may be.
#[derive(Clone, Copy, Debug)]
struct Limits {
    page_rows: usize,
    page_bytes: usize,
    dictionary_bytes: usize,
    /// Cuts texts in the column index and in statistics.
    index_bytes: Option<usize>,
    statistics_bytes: Option<usize>,
}

/// Sizes of pages have 31 bits.
const PAGE_MAX_BYTES: usize = 1 << 30;

impl Limits {
    fn of(properties: &WriterProperties, descr: &ColumnDescPtr) -> Self {
        Self {
            page_rows: properties.data_page_row_count_limit().max(1),
            page_bytes: properties.column_data_page_size_limit(descr.path()).clamp(1, PAGE_MAX_BYTES),
            dictionary_bytes: properties.column_dictionary_page_size_limit(descr.path()).min(PAGE_MAX_BYTES),
            index_bytes: properties.column_index_truncate_length(),
            statistics_bytes: properties.statistics_truncate_length(),
        }
    }
}

/// The rows since the last page.
#[derive(Default)]
struct OpenPage {
    rows: usize,
    nulls: usize,
    /// Which rows have a value, once there are nulls.
    validity: Option<BooleanBufferBuilder>,
    /// The values' numbers in the dictionary.
    numbers: Vec<u32>,
    /// The values themselves, once there is no dictionary.
    plain: Vec<u8>,
}

impl OpenPage {
    fn push_validity(&mut self, array: &dyn Array) {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        if let Some(nulls) = nulls {
            let rows = self.rows;
            let validity = self.validity.get_or_insert_with(|| {
                let mut validity = BooleanBufferBuilder::new(rows + array.len());
                validity.append_n(rows, true);
                validity
            });
            validity.append_buffer(nulls.inner());
            self.nulls += nulls.null_count();
        } else if let Some(validity) = &mut self.validity {
            validity.append_n(array.len(), true);
        }
        self.rows += array.len();
    }

    /// About what it will have before it is compressed.
    fn bytes(&self) -> usize {
        self.plain.len() + self.numbers.len() * size_of::<u32>()
    }
}

/// So much is compressed to see what will be left of the rest.
const SAMPLE_BYTES: usize = 16 << 10;

/// Rows are taken by so many, so that limits are kept to about as many.
const STEP_ROWS: usize = 2048;

impl FlatColumn {
    /// A chunk of a column; `None` if the column or what is asked for is not for this encoder.
    pub fn of(r#type: &DataType, descr: &ColumnDescPtr, properties: &WriterPropertiesPtr) -> Option<Self> {
        let codec = Codec::of(properties.compression(descr.path()))?;
        let is_flat = descr.path().parts().len() == 1 && descr.max_rep_level() == 0 && descr.max_def_level() <= 1;
        if !is_flat || !chunk::is_as_asked(properties, descr) {
            return None;
        }
        use DataType as D;
        let values: Box<dyn Values> = match (r#type, descr.physical_type()) {
            (D::Int32 | D::Date32 | D::Decimal128(..), PhysicalType::INT32) => Box::new(Numbers::<i32>::new()),
            (D::Int64 | D::Time64(_) | D::Timestamp(..) | D::Decimal128(..), PhysicalType::INT64) => {
                Box::new(Numbers::<i64>::new())
            }
            (D::Float32, PhysicalType::FLOAT) => Box::new(Numbers::<f32>::new()),
            (D::Float64, PhysicalType::DOUBLE) => Box::new(Numbers::<f64>::new()),
            (D::Utf8 | D::LargeUtf8, PhysicalType::BYTE_ARRAY) => Box::new(Texts::new(true)),
            (D::Binary | D::LargeBinary, PhysicalType::BYTE_ARRAY) => Box::new(Texts::new(false)),
            _ => return None,
        };
        let has_variable_bytes = descr.physical_type() == PhysicalType::BYTE_ARRAY;
        Some(Self {
            limits: Limits::of(properties, descr),
            values,
            page: OpenPage::default(),
            chunk: Chunk::new(descr.clone(), codec, has_variable_bytes),
            is_decided: false,
            compressed_share: None,
            scratch: Vec::new(),
        })
    }

    /// Appends the values of an array of the type that it was made for.
    pub fn encode(&mut self, array: &ArrayRef) -> Result<()> {
        if !self.chunk.is_optional() && array.null_count() > 0 {
            return Err(ParquetError::General("a required column has nulls".to_owned()));
        }
        let mut at = 0;
        while at < array.len() {
            let rows = STEP_ROWS.min(array.len() - at).min(self.limits.page_rows - self.page.rows);
            let slice = array.slice(at, rows);
            let taken = self.values.take(&slice, &mut self.page, self.limits.page_bytes)?;
            self.page.push_validity(&slice.slice(0, taken));
            at += taken;
            self.look_at_share()?;
            let overflows =
                self.values.dictionary_bytes() > self.limits.dictionary_bytes || self.values.dictionary_is_slow();
            let is_full = self.page.rows >= self.limits.page_rows || self.page.bytes() >= self.limits.page_bytes;
            if overflows || is_full {
                self.end_page()?;
            }
            if overflows {
                self.end_dictionary()?;
            }
        }
        Ok(())
    }

    /// What it holds, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.chunk.bytes() + self.values.memory_bytes() + self.page.plain.capacity() + self.page.numbers.capacity() * 4
    }

    /// About what it will have in the file, in bytes.
    pub fn size_bytes(&self) -> usize {
        let numbers = hybrid::packed_bytes(self.page.numbers.len(), self.values.distinct().unwrap_or(0));
        let values = self.values.dictionary_bytes() + self.page.plain.len();
        self.chunk.bytes() + numbers + (values as f64 * self.compressed_share.unwrap_or(1.0)) as usize
    }

    /// Compresses some values, once there are enough to tell something.
    fn look_at_share(&mut self) -> Result<()> {
        let values = self.values.dictionary_bytes() + self.page.plain.len();
        if self.compressed_share.is_none() && values >= SAMPLE_BYTES {
            let sample = self.values.sample(&self.page, SAMPLE_BYTES);
            self.compressed_share = Some(self.chunk.compressed_share(&sample)?);
        }
        Ok(())
    }

    /// Ends the chunk: its bytes, and its part of the footer.
    pub fn close(mut self) -> Result<(ChunkBytes, ColumnCloseResult)> {
        if self.page.rows > 0 {
            self.end_page()?;
        }
        self.end_dictionary()?;
        let statistics = self.values.statistics(self.chunk.nulls(), self.limits.statistics_bytes);
        self.chunk.close(statistics)
    }

    fn end_page(&mut self) -> Result<()> {
        let Self { values, page, chunk, is_decided, scratch, limits, .. } = self;
        if !*is_decided && page.nulls < page.rows {
            *is_decided = true;
            if !values.dictionary_pays(page) {
                values.undo_dictionary(page);
            }
        }
        scratch.clear();
        if chunk.is_optional() {
            let levels = match &page.validity {
                Some(bits) if page.nulls < page.rows => Levels::Bits(bits.as_slice(), page.rows),
                validity => Levels::All(u32::from(validity.is_none()), page.rows),
            };
            hybrid::encode_levels(levels, scratch);
        }
        let encoding = match values.distinct() {
            Some(count) if !page.numbers.is_empty() => {
                let width = hybrid::bit_width(count.saturating_sub(1) as u32);
                scratch.push(width);
                hybrid::encode(&page.numbers, width, scratch);
                Encoding::RLE_DICTIONARY
            }
            _ => {
                scratch.extend_from_slice(&page.plain);
                Encoding::PLAIN
            }
        };
        let PageSummary { bounds, order, variable_bytes } = values.end_page(limits.index_bytes);
        chunk.put_page(PageContent {
            bytes: scratch,
            encoding,
            rows: page.rows,
            nulls: page.nulls,
            variable_bytes,
            bounds,
            order,
        })?;
        page.numbers.clear();
        page.plain.clear();
        (page.rows, page.nulls, page.validity) = (0, 0, None);
        Ok(())
    }

    /// From here on values are written as they are.
    fn end_dictionary(&mut self) -> Result<()> {
        if let Some((plain, values)) = self.values.take_dictionary() {
            self.chunk.put_dictionary(&plain, values)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
