//! Columns of texts and of binaries.

use std::cmp::Ordering;

use arrow::array::{Array, AsArray, GenericByteArray};
use arrow::datatypes::{ArrowNativeType, ByteArrayType, DataType};
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use parquet::file::statistics::{Statistics, ValueStatistics};

use super::chunk::{Order, count};
use super::dictionary::BytesDictionary;
use super::{OpenPage, PageSummary, Values, hybrid};
use crate::bound::next_text;

/// Texts or binaries of one chunk.
pub(super) struct Texts {
    is_text: bool,
    /// None any more once it does not pay.
    dictionary: Option<BytesDictionary>,
    /// For each value of the dictionary the last page that has it.
    seen_in: Vec<u32>,
    page: u32,
    /// Of the values of the open page.
    variable_bytes: usize,
    open: Span,
    before: Span,
    all: Span,
}

/// Least and greatest value.
#[derive(Clone, Default)]
struct Span {
    is_set: bool,
    min: Vec<u8>,
    max: Vec<u8>,
    min_prefix: u64,
    max_prefix: u64,
}

/// The first bytes as a number that orders as they do.
#[inline]
fn prefix(value: &[u8]) -> u64 {
    match value.first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            value.iter().fold(0, |prefix, byte| prefix << 8 | u64::from(*byte)) << (8 * (8 - value.len() as u32) % 64)
        }
    }
}

impl Span {
    #[inline]
    fn include(&mut self, value: &[u8]) {
        let prefix = prefix(value);
        if prefix <= self.min_prefix || !self.is_set {
            let less = match prefix.cmp(&self.min_prefix) {
                Ordering::Equal => value < self.min.as_slice(),
                order => order == Ordering::Less,
            };
            if less || !self.is_set {
                self.min.clear();
                self.min.extend_from_slice(value);
                self.min_prefix = prefix;
            }
        }
        if prefix >= self.max_prefix || !self.is_set {
            let greater = match prefix.cmp(&self.max_prefix) {
                Ordering::Equal => value > self.max.as_slice(),
                order => order == Ordering::Greater,
            };
            if greater || !self.is_set {
                self.max.clear();
                self.max.extend_from_slice(value);
                self.max_prefix = prefix;
            }
        }
        self.is_set = true;
    }

    fn bytes(&self) -> usize {
        self.min.capacity() + self.max.capacity()
    }
}

impl Texts {
    pub fn new(is_text: bool) -> Self {
        Self {
            is_text,
            dictionary: Some(BytesDictionary::new()),
            seen_in: Vec::new(),
            page: 1,
            variable_bytes: 0,
            open: Span::default(),
            before: Span::default(),
            all: Span::default(),
        }
    }

    fn take_from<T: ByteArrayType>(
        &mut self,
        array: &GenericByteArray<T>,
        page: &mut OpenPage,
        room: usize,
    ) -> Result<usize> {
        let offsets = array.value_offsets();
        let end = offsets[0].as_usize() + room;
        // One value at least, however large.
        let rows = offsets[1..].partition_point(|offset| offset.as_usize() <= end).max(1);
        count(offsets[rows].as_usize() - offsets[0].as_usize())?;
        let data = array.value_data();
        let value = |row: usize| &data[offsets[row].as_usize()..offsets[row + 1].as_usize()];
        match array.nulls().filter(|nulls| nulls.null_count() > 0) {
            Some(nulls) => {
                for (start, end) in nulls.slice(0, rows).valid_slices() {
                    self.push((start..end).map(value), page);
                }
            }
            None => self.push((0..rows).map(value), page),
        }
        Ok(rows)
    }

    fn push<'a>(&mut self, values: impl Iterator<Item = &'a [u8]>, page: &mut OpenPage) {
        let Some(dictionary) = &mut self.dictionary else {
            for value in values {
                self.open.include(value);
                self.variable_bytes += value.len();
                page.plain.extend_from_slice(&(value.len() as u32).to_le_bytes());
                page.plain.extend_from_slice(value);
            }
            return;
        };
        for value in values {
            let number = dictionary.look_up(value);
            page.numbers.push(number);
            self.variable_bytes += value.len();
            match self.seen_in.get_mut(number as usize) {
                Some(seen_in) if *seen_in == self.page => continue,
                Some(seen_in) => *seen_in = self.page,
                None => self.seen_in.push(self.page),
            }
            self.open.include(value);
        }
    }
}

impl Values for Texts {
    fn take(&mut self, array: &dyn Array, page: &mut OpenPage, page_bytes: usize) -> Result<usize> {
        let room = page_bytes.saturating_sub(page.bytes());
        match array.data_type() {
            DataType::Utf8 => self.take_from(array.as_string::<i32>(), page, room),
            DataType::LargeUtf8 => self.take_from(array.as_string::<i64>(), page, room),
            DataType::Binary => self.take_from(array.as_binary::<i32>(), page, room),
            _ => self.take_from(array.as_binary::<i64>(), page, room),
        }
    }

    fn end_page(&mut self, index_bytes: Option<usize>) -> PageSummary {
        self.page += 1;
        let variable_bytes = Some(std::mem::take(&mut self.variable_bytes) as i64);
        let open = std::mem::take(&mut self.open);
        if !open.is_set {
            return PageSummary { variable_bytes, ..PageSummary::default() };
        }
        let order = match &self.before {
            Span { is_set: false, .. } => Order::ANY,
            before => Order {
                ascends: before.min <= open.min && before.max <= open.max,
                descends: open.min <= before.min && open.max <= before.max,
            },
        };
        self.all.include(&open.min);
        self.all.include(&open.max);
        let (min, _) = cut_lower(&open.min, index_bytes, self.is_text);
        let (max, _) = cut_upper(&open.max, index_bytes, self.is_text);
        self.before = open;
        PageSummary { bounds: Some((min, max)), order, variable_bytes }
    }

    fn statistics(&self, nulls: u64, length_max: Option<usize>) -> Statistics {
        if !self.all.is_set {
            return Statistics::ByteArray(ValueStatistics::new(None, None, None, Some(nulls), false));
        }
        let (min, min_is_whole) = cut_lower(&self.all.min, length_max, self.is_text);
        let (max, max_is_whole) = cut_upper(&self.all.max, length_max, self.is_text);
        let (min, max) = (ByteArray::from(min), ByteArray::from(max));
        let statistics = ValueStatistics::new(Some(min), Some(max), None, Some(nulls), false);
        Statistics::ByteArray(statistics.with_min_is_exact(min_is_whole).with_max_is_exact(max_is_whole))
    }

    fn distinct(&self) -> Option<usize> {
        self.dictionary.as_ref().map(BytesDictionary::len)
    }

    fn dictionary_bytes(&self) -> usize {
        self.dictionary.as_ref().map_or(0, BytesDictionary::plain_bytes)
    }

    fn dictionary_is_slow(&self) -> bool {
        self.dictionary.as_ref().is_some_and(BytesDictionary::is_slow)
    }

    fn dictionary_pays(&self, page: &OpenPage) -> bool {
        let Some(dictionary) = &self.dictionary else { return true };
        let numbers = hybrid::packed_bytes(page.numbers.len(), dictionary.len());
        dictionary.plain_bytes() + numbers < self.variable_bytes + page.numbers.len() * size_of::<u32>()
    }

    fn undo_dictionary(&mut self, page: &mut OpenPage) {
        let Some(dictionary) = self.dictionary.take() else { return };
        self.seen_in = Vec::new();
        let OpenPage { numbers, plain, .. } = page;
        numbers.drain(..).for_each(|number| put_plain(dictionary.value(number), plain));
    }

    fn take_dictionary(&mut self) -> Option<(Vec<u8>, usize)> {
        let dictionary = self.dictionary.take().filter(|dictionary| dictionary.len() > 0)?;
        self.seen_in = Vec::new();
        let mut plain = Vec::with_capacity(dictionary.plain_bytes());
        (0..dictionary.len() as u32).for_each(|number| put_plain(dictionary.value(number), &mut plain));
        Some((plain, dictionary.len()))
    }

    fn sample(&self, page: &OpenPage, bytes_max: usize) -> Vec<u8> {
        let Some(dictionary) = &self.dictionary else { return page.plain[..page.plain.len().min(bytes_max)].to_vec() };
        let mut sample = Vec::new();
        for number in 0..dictionary.len() as u32 {
            put_plain(dictionary.value(number), &mut sample);
            if sample.len() >= bytes_max {
                break;
            }
        }
        sample
    }

    fn memory_bytes(&self) -> usize {
        let dictionary = self.dictionary.as_ref().map_or(0, BytesDictionary::memory_bytes);
        let spans = self.open.bytes() + self.before.bytes() + self.all.bytes();
        dictionary + self.seen_in.capacity() * size_of::<u32>() + spans
    }
}

/// A value with its length before it (Parquet format, "Plain").
fn put_plain(value: &[u8], plain: &mut Vec<u8>) {
    plain.extend_from_slice(&(value.len() as u32).to_le_bytes());
    plain.extend_from_slice(value);
}

/// Where a bound of at most `length_max` bytes ends; `None` if all of it fits, or no character would.
fn cut(value: &[u8], length_max: Option<usize>, is_text: bool) -> Option<usize> {
    let length = length_max.filter(|length| value.len() > *length)?;
    let end = match std::str::from_utf8(value) {
        Ok(text) if is_text => text.floor_char_boundary(length),
        _ => length,
    };
    (end > 0).then_some(end)
}

/// A lower bound, and whether it is the value itself.
fn cut_lower(value: &[u8], length_max: Option<usize>, is_text: bool) -> (Vec<u8>, bool) {
    let end = cut(value, length_max, is_text);
    (value[..end.unwrap_or(value.len())].to_vec(), end.is_none())
}

/// An upper bound, and whether it is the value itself, as where nothing shorter is greater.
fn cut_upper(value: &[u8], length_max: Option<usize>, is_text: bool) -> (Vec<u8>, bool) {
    let shorter = cut(value, length_max, is_text).and_then(|end| match std::str::from_utf8(&value[..end]) {
        Ok(text) if is_text => next_text(text).map(String::into_bytes),
        _ => {
            let mut prefix = value[..end].to_vec();
            while prefix.pop_if(|byte| *byte == u8::MAX).is_some() {}
            *prefix.last_mut()? += 1;
            Some(prefix)
        }
    });
    shorter.map_or_else(|| (value.to_vec(), true), |bound| (bound, false))
}
