//! Columns of numbers.

use arrow::array::Array;
use arrow::datatypes::{ArrowNativeType, DataType, ToByteSlice};
use parquet::errors::Result;
use parquet::file::statistics::Statistics;

use super::chunk::Order;
use super::dictionary::NumberDictionary;
use super::number::{Number, bounds_of, join};
use super::{OpenPage, PageSummary, Values, hybrid};

/// Numbers of one chunk.
pub(super) struct Numbers<T> {
    /// None any more once it does not pay.
    dictionary: Option<NumberDictionary<T>>,
    /// Values without the nulls between them.
    gathered: Vec<T>,
    /// Least and greatest of the open page, of the page before with a value, of all before.
    open: Option<(T, T)>,
    before: Option<(T, T)>,
    all: Option<(T, T)>,
}

impl<T> Numbers<T> {
    pub fn new() -> Self {
        let dictionary = Some(NumberDictionary::new());
        Self { dictionary, gathered: Vec::new(), open: None, before: None, all: None }
    }
}

impl<T: Number + ArrowNativeType> Numbers<T>
where
    [T]: ToByteSlice,
{
    fn push(&mut self, values: &[T], page: &mut OpenPage) {
        self.open = join(self.open, bounds_of(values));
        match &mut self.dictionary {
            Some(dictionary) => dictionary.look_up(values, &mut page.numbers),
            None => page.plain.extend_from_slice(values.to_byte_slice()),
        }
    }
}

impl<T: Number + ArrowNativeType + Send> Values for Numbers<T>
where
    [T]: ToByteSlice,
{
    fn take(&mut self, array: &dyn Array, page: &mut OpenPage, _: usize) -> Result<usize> {
        let data = array.to_data();
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        let mut gathered = std::mem::take(&mut self.gathered);
        gathered.clear();
        let rows = data.offset()..data.offset() + data.len();
        if let DataType::Decimal128(..) = array.data_type() {
            let wide = &data.buffers()[0].typed_data::<i128>()[rows];
            match nulls {
                // What lies under a null may be too large.
                Some(nulls) => gathered.extend(nulls.valid_indices().map(|row| T::narrow(wide[row]))),
                None => gathered.extend(wide.iter().map(|value| T::narrow(*value))),
            }
            self.push(&gathered, page);
        } else {
            let values = &data.buffers()[0].typed_data::<T>()[rows];
            match nulls {
                Some(nulls) => {
                    nulls.valid_slices().for_each(|(start, end)| gathered.extend_from_slice(&values[start..end]));
                    self.push(&gathered, page);
                }
                None => self.push(values, page),
            }
        }
        self.gathered = gathered;
        Ok(array.len())
    }

    fn end_page(&mut self, _: Option<usize>) -> PageSummary {
        let Some(open) = self.open.take() else { return PageSummary::default() };
        let order = self.before.map_or(Order::ANY, |before| Order {
            ascends: before.0 <= open.0 && before.1 <= open.1,
            descends: open.0 <= before.0 && open.1 <= before.1,
        });
        self.before = Some(open);
        self.all = join(self.all, Some(open));
        let bytes = |value: T| [value].to_byte_slice().to_vec();
        PageSummary { bounds: Some((bytes(open.0), bytes(open.1))), order, variable_bytes: None }
    }

    fn statistics(&self, nulls: u64, _: Option<usize>) -> Statistics {
        T::statistics(self.all, nulls)
    }

    fn distinct(&self) -> Option<usize> {
        self.dictionary.as_ref().map(|dictionary| dictionary.values().len())
    }

    fn dictionary_bytes(&self) -> usize {
        self.dictionary.as_ref().map_or(0, NumberDictionary::plain_bytes)
    }

    fn dictionary_is_slow(&self) -> bool {
        self.dictionary.as_ref().is_some_and(NumberDictionary::is_slow)
    }

    fn dictionary_pays(&self, page: &OpenPage) -> bool {
        let Some(dictionary) = &self.dictionary else { return true };
        let numbers = hybrid::packed_bytes(page.numbers.len(), dictionary.values().len());
        dictionary.plain_bytes() + numbers < page.numbers.len() * size_of::<T>()
    }

    fn undo_dictionary(&mut self, page: &mut OpenPage) {
        let Some(dictionary) = self.dictionary.take() else { return };
        let known = dictionary.values();
        self.gathered.clear();
        self.gathered.extend(page.numbers.drain(..).map(|number| known[number as usize]));
        page.plain.extend_from_slice(self.gathered.to_byte_slice());
    }

    fn take_dictionary(&mut self) -> Option<(Vec<u8>, usize)> {
        let dictionary = self.dictionary.take()?;
        let known = dictionary.values();
        (!known.is_empty()).then(|| (known.to_byte_slice().to_vec(), known.len()))
    }

    fn sample(&self, page: &OpenPage, bytes_max: usize) -> Vec<u8> {
        let values = self.dictionary.as_ref().map(|dictionary| dictionary.values().to_byte_slice());
        let values = values.unwrap_or(&page.plain);
        values[..values.len().min(bytes_max)].to_vec()
    }

    fn memory_bytes(&self) -> usize {
        let dictionary = self.dictionary.as_ref().map_or(0, NumberDictionary::memory_bytes);
        dictionary + self.gathered.capacity() * size_of::<T>()
    }
}
