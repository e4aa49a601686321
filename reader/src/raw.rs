//! Parquet files as they are, for programs that copy rather than decode.

use std::sync::Arc;

use bytes::Bytes;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use crate::footer::load_footer;
use crate::stats::ByteKind;
use crate::thrift::check_struct;
use crate::{Error, ReadContext, Result};

/// Page indexes that begin further from the end of their file than this are not read.
const INDEX_BYTES_MAX: u64 = 64 << 20;

/// A file's footer, checked before it was decoded. Page indexes are not in it.
///
/// # Errors
/// [`Error::Damaged`] if the file is no Parquet file of `size_bytes`, or its footer claims what is not there;
/// [`Error::Unsupported`] for an encrypted one.
pub async fn load_parquet(context: &ReadContext, location: &str, size_bytes: u64) -> Result<Arc<ParquetMetaData>> {
    let opened = (location, size_bytes, ByteKind::Leaf);
    let footer = load_footer(&context.env.store, &context.footers, &context.counters, opened).await?;
    Ok(footer.metadata.metadata().clone())
}

/// The same metadata with the page indexes of all column chunks that have them. One request.
///
/// # Errors
/// [`Error::Damaged`] if an index claims what is not there.
pub async fn load_page_indexes(
    context: &ReadContext,
    location: &str,
    size_bytes: u64,
    metadata: &ParquetMetaData,
) -> Result<ParquetMetaData> {
    let chunks = || metadata.row_groups().iter().flat_map(|group| group.columns());
    let ranges: Vec<_> = chunks()
        .flat_map(|chunk| {
            [
                index_range(chunk.column_index_offset(), chunk.column_index_length()),
                index_range(chunk.offset_index_offset(), chunk.offset_index_length()),
            ]
        })
        .flatten()
        .collect();
    let (Some(start), Some(end)) = (ranges.iter().map(|r| r.start).min(), ranges.iter().map(|r| r.end).max()) else {
        return Ok(metadata.clone());
    };
    if end > size_bytes || size_bytes - start > INDEX_BYTES_MAX {
        return Err(Error::damaged(location, format!("page indexes at {start} to {end} of {size_bytes} bytes")));
    }
    let tail = context.env.store.read_range(location, start..size_bytes).await?;
    if tail.len() as u64 != size_bytes - start {
        return Err(Error::damaged(location, "it is shorter than the table says"));
    }
    context.counters.footer(ByteKind::Leaf, tail.len() as u64);
    for range in &ranges {
        let bytes = &tail[(range.start - start) as usize..(range.end - start) as usize];
        check_struct(bytes).map_err(|reason| Error::damaged(location, format!("a page index: {reason}")))?;
    }
    let damaged = |error: parquet::errors::ParquetError| Error::damaged(location, error);
    let mut reader =
        ParquetMetaDataReader::new_with_metadata(metadata.clone()).with_page_index_policy(PageIndexPolicy::Optional);
    reader.read_page_indexes_sized::<Bytes>(&tail, size_bytes).map_err(damaged)?;
    reader.finish().map_err(damaged)
}

fn index_range(offset: Option<i64>, length: Option<i32>) -> Option<std::ops::Range<u64>> {
    let start = u64::try_from(offset?).ok()?;
    Some(start..start.checked_add(u64::try_from(length?).ok()?)?)
}
