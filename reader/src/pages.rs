//! A look at the pages of a column chunk before they are decoded.
//!
//! The decoder reserves what a page's header claims, and decompresses gzip and Brotli without an end. A page of a few
//! bytes may be a bomb, so each header is read first ([`crate::thrift`]) and what a page may become is bounded.

use std::io::{self, Read};

use parquet::basic::Compression;

use crate::thrift::{PageHeader, read_page_header};

/// What any page may become. Pages are about 1 MiB; one that holds a single long value may be longer.
const PAGE_BYTES_MIN: u64 = 64 << 20;

/// Longer pages are let through if they are not compressed much better than values are.
const PAGE_RATIO_MAX: u64 = 64;

/// What deflate makes of a byte at most.
const GZIP_RATIO_MAX: u64 = 1_032;

/// Checks the pages of a chunk. What is no page ends the check: the decoder meets the same bytes and says what is wrong.
///
/// # Errors
/// What a page claims or holds that it must not.
pub(crate) fn check_pages(chunk: &[u8], compression: Compression) -> Result<(), String> {
    let mut at = 0;
    while let Ok(header) = read_page_header(&chunk[at..]) {
        let begin = at;
        let wrong = |reason: String| format!("the page at byte {begin} of its chunk {reason}");
        at += header.header_bytes;
        let stored = usize::try_from(header.stored_bytes).ok().and_then(|length| chunk[at..].get(..length));
        let Some(stored) = stored else { return Ok(()) };
        check_claims(&header, stored).and_then(|()| check_content(&header, stored, compression)).map_err(wrong)?;
        at += stored.len();
    }
    Ok(())
}

fn check_claims(header: &PageHeader, stored: &[u8]) -> Result<(), String> {
    let bytes = u64::try_from(header.bytes).map_err(|_| format!("claims {} bytes", header.bytes))?;
    if bytes > PAGE_BYTES_MIN.max(stored.len() as u64 * PAGE_RATIO_MAX) {
        return Err(format!("claims to become {bytes} bytes of {}", stored.len()));
    }
    match header.dictionary_values {
        // A value takes a byte at least.
        Some(values) if u64::try_from(values).is_ok_and(|values| values <= bytes) => Ok(()),
        Some(values) => Err(format!("claims {values} dictionary values in {bytes} bytes")),
        None => Ok(()),
    }
}

/// Decompresses a page that could become more than it says, keeping nothing.
fn check_content(header: &PageHeader, stored: &[u8], compression: Compression) -> Result<(), String> {
    let bytes = header.bytes.unsigned_abs();
    let mut reader: Box<dyn Read + '_> = match compression {
        Compression::GZIP(_) if stored.len() as u64 * GZIP_RATIO_MAX > PAGE_BYTES_MIN.max(bytes) => {
            Box::new(flate2::read::MultiGzDecoder::new(stored))
        }
        Compression::BROTLI(_) => Box::new(brotli::Decompressor::new(stored, 4 << 10)),
        _ => return Ok(()),
    };
    // Damage is the decoder's to name.
    match io::copy(&mut reader.by_ref().take(bytes + 1), &mut io::sink()) {
        Ok(inflated) if inflated > bytes => Err(format!("becomes more than the {bytes} bytes that it claims")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
