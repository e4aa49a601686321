//! Footers of Parquet files: fetched with bounds, checked, decoded, kept.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use frazil_storage::Store;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::ParquetMetaDataReader;

use crate::stats::{ByteKind, ReadCounters};
use crate::thrift::check_footer;
use crate::{Error, Result};

/// What is read from the end of a file first. Most footers fit; a second request fetches the rest of a longer one.
const TAIL_BYTES: u64 = 16 << 10;

/// Longest footer: 10,000 columns in 100 row groups at 30 bytes a column chunk.
const FOOTER_BYTES_MAX: u64 = 32 << 20;

/// Length of the footer, 4 bytes, and `PAR1`.
const TRAILER_BYTES: u64 = 8;

/// A decoded footer. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Footer {
    /// Metadata, and the Arrow schema that follows from the Parquet schema alone.
    pub metadata: ArrowReaderMetadata,
    /// The end of the file as far as it was read along.
    pub tail: Tail,
}

/// Some bytes of a file.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    start: u64,
    bytes: Bytes,
}

impl Tail {
    /// A range, if all of it is here.
    pub(crate) fn get(&self, range: &Range<u64>) -> Option<Bytes> {
        let from = range.start.checked_sub(self.start)? as usize;
        let to = range.end.checked_sub(self.start)? as usize;
        (to <= self.bytes.len() && from <= to).then(|| self.bytes.slice(from..to))
    }
}

/// Footers that were read lately, by location. A data file never changes, so a footer is never stale. Bounded by memory.
#[derive(Clone, Debug)]
pub struct FooterCache(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    footers: HashMap<String, Footer>,
    /// Oldest first, with their sizes.
    order: VecDeque<(String, usize)>,
    size_bytes: usize,
    size_bytes_max: usize,
}

/// A footer of 20 columns and 4 row groups takes about 40 KiB in memory: 1,600 of them.
const CACHE_BYTES_MAX: usize = 64 << 20;

impl Default for FooterCache {
    fn default() -> Self {
        Self::with_capacity(CACHE_BYTES_MAX)
    }
}

impl FooterCache {
    /// A cache of about that many bytes. A single larger footer is not kept.
    pub fn with_capacity(size_bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            footers: HashMap::new(),
            order: VecDeque::new(),
            size_bytes: 0,
            size_bytes_max,
        })))
    }

    fn get(&self, location: &str) -> Option<Footer> {
        self.lock().footers.get(location).cloned()
    }

    fn insert(&self, location: &str, footer: &Footer) {
        let size = footer.metadata.metadata().memory_size() + footer.tail.bytes.len();
        let mut inner = self.lock();
        if size > inner.size_bytes_max || inner.footers.contains_key(location) {
            return;
        }
        while inner.size_bytes + size > inner.size_bytes_max {
            let Some((oldest, freed)) = inner.order.pop_front() else { break };
            inner.footers.remove(&oldest);
            inner.size_bytes -= freed;
        }
        inner.size_bytes += size;
        inner.order.push_back((location.to_owned(), size));
        inner.footers.insert(location.to_owned(), footer.clone());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

/// Reads a footer: one request, two if it is long.
///
/// # Errors
/// [`Error::Damaged`] if the file is no Parquet file, or its footer claims what is not there;
/// [`Error::Unsupported`] for an encrypted one.
pub(crate) async fn load_footer(
    store: &Store,
    cache: &FooterCache,
    counters: &ReadCounters,
    (location, size_bytes, kind): (&str, u64, ByteKind),
) -> Result<Footer> {
    if let Some(footer) = cache.get(location) {
        return Ok(footer);
    }
    if size_bytes < TRAILER_BYTES + 4 {
        return Err(Error::damaged(location, format!("{size_bytes} bytes are no Parquet file")));
    }
    let mut start = size_bytes - size_bytes.min(TAIL_BYTES);
    let mut bytes = read(store, location, start..size_bytes).await?;
    counters.footer(kind, bytes.len() as u64);
    let length = footer_length(location, &bytes, size_bytes)?;
    let footer_start = size_bytes - TRAILER_BYTES - length;
    if footer_start < start {
        let head = read(store, location, footer_start..start).await?;
        counters.footer(kind, head.len() as u64);
        bytes = [head, bytes].concat().into();
        start = footer_start;
    }
    let tail = Tail { start, bytes };
    let encoded = tail.get(&(footer_start..footer_start + length)).expect("the footer was read whole");
    check_footer(&encoded).map_err(|reason| Error::damaged(location, reason))?;
    let footer = Footer { metadata: decode(location, &encoded)?, tail };
    check_chunks(location, &footer, footer_start)?;
    cache.insert(location, &footer);
    Ok(footer)
}

async fn read(store: &Store, location: &str, range: Range<u64>) -> Result<Bytes> {
    let expected = range.end - range.start;
    let bytes = store.read_range(location, range).await?;
    if bytes.len() as u64 != expected {
        let reason =
            format!("it is shorter than the table says: {expected} bytes were asked for, {} came", bytes.len());
        return Err(Error::damaged(location, reason));
    }
    Ok(bytes)
}

fn footer_length(location: &str, tail: &Bytes, size_bytes: u64) -> Result<u64> {
    let trailer: [u8; 8] = tail[tail.len() - 8..].try_into().expect("eight bytes are eight bytes");
    if trailer.ends_with(b"PARE") {
        return Err(Error::unsupported(location, "its footer is encrypted"));
    }
    if !trailer.ends_with(b"PAR1") {
        return Err(Error::damaged(location, "it does not end as a Parquet file does"));
    }
    let length = u64::from(u32::from_le_bytes(trailer[..4].try_into().expect("four bytes are four bytes")));
    if length > size_bytes - TRAILER_BYTES - 4 {
        let reason = format!("its footer claims {length} bytes of a file of {size_bytes}");
        return Err(Error::damaged(location, reason));
    }
    if length > FOOTER_BYTES_MAX {
        let reason = format!("its footer of {length} bytes is longer than {FOOTER_BYTES_MAX}");
        return Err(Error::unsupported(location, reason));
    }
    Ok(length)
}

fn decode(location: &str, encoded: &[u8]) -> Result<ArrowReaderMetadata> {
    let damaged = |error: parquet::errors::ParquetError| Error::damaged(location, error);
    let metadata = ParquetMetaDataReader::decode_metadata(encoded).map_err(damaged)?;
    // What a writer says of its Arrow types is not asked: the Parquet schema says what is there.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ArrowReaderMetadata::try_new(Arc::new(metadata), options).map_err(damaged)
}

/// Every column chunk must lie before the footer, and every row group must have all columns.
fn check_chunks(location: &str, footer: &Footer, footer_start: u64) -> Result<()> {
    let metadata = footer.metadata.metadata();
    let leaves = metadata.file_metadata().schema_descr().num_columns();
    let mut rows = 0_i64;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let wrong = |what: &str| Err(Error::damaged(location, format!("row group {index} {what}")));
        match rows.checked_add(group.num_rows()) {
            Some(sum) if group.num_rows() >= 0 => rows = sum,
            _ => return wrong("claims a number of rows that can't be"),
        }
        if group.num_columns() != leaves {
            return wrong("lacks columns");
        }
        for chunk in group.columns() {
            let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
            let end = u64::try_from(start).ok().zip(u64::try_from(chunk.compressed_size()).ok());
            if end.and_then(|(a, b)| a.checked_add(b)).is_none_or(|end| end > footer_start) {
                return wrong("has a column that reaches beyond the data");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
