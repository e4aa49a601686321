//! A look at an Avro object container before it is decoded (Avro specification, "Object Container Files").
//!
//! The decoder trusts counts and lengths in a file and reserves memory for them, follows schemas that contain themselves,
//! and decompresses without an end: some twenty bytes can end the process. So the container is walked first, without
//! reserving anything:
//! 1. the header's map and schema are read with bounds; a schema that contains itself is refused ([`schema`]);
//! 2. each block is decompressed up to a limit, and must hold as many records as it claims, each whole ([`record`]);
//! 3. the decoder gets the same container without compression, so that nothing is decompressed twice.

mod codec;
mod header;
mod record;
mod schema;

use std::borrow::Cow;

use codec::Codec;
pub(crate) use header::Header;
use header::put_long;
use record::Cursor;
use schema::Schema;

/// Magic of a container, and the marker after each block.
const MAGIC: [u8; 4] = *b"Obj\x01";
const MARKER_BYTES: u64 = 16;

/// What the decoder may be asked to keep at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept {
    /// One record's values: a manifest, whose entries become data files one by one.
    Record,
    /// All records' values: a manifest list.
    Everything,
}

/// A decoded entry takes about 1 KiB, a value about 100 bytes, and a file of a few bytes may claim many of them: so
/// small files may hold this much, 100 to 200 MiB in memory, and larger ones what goes with their size.
const RECORDS_MIN: u64 = 100_000;
const BYTES_PER_RECORD: u64 = 4;
const VALUES_MIN: u64 = 2_000_000;
const VALUES_PER_BYTE: u64 = 2;

/// Counts and bounds of 20,000 columns are about this many values.
const VALUES_PER_RECORD_MAX: u64 = 1 << 19;

/// A container as the decoder may have it: uncompressed, and with the header that `mend` makes of its own; it says whether
/// it changed anything.
///
/// Cost: one walk over the bytes; a copy of them if they are compressed or the header changes.
///
/// # Errors
/// What is wrong, and where.
pub(crate) fn check_container(
    bytes: &[u8],
    kept: Kept,
    mend: impl FnOnce(&mut Header<'_>) -> bool,
) -> Result<Cow<'_, [u8]>, String> {
    let mut file = Cursor::new(bytes);
    let mut header = Header::read(&mut file)?;
    let schema = Schema::parse(header.schema().ok_or("its header holds no schema")?)?;
    let codec = header.codec().map_or(Ok(Codec::Null), Codec::parse)?;
    let marker = file.take(MARKER_BYTES)?;
    let mut limits = Limits::new(bytes.len() as u64, kept);
    let is_mended = mend(&mut header);
    let mut plain = (is_mended || codec != Codec::Null).then(|| {
        header.forget_codec();
        [&header.to_bytes(), marker].concat()
    });
    while !file.is_empty() {
        let at = file.at();
        let wrong = |reason: String| format!("the block at byte {at}: {reason}");
        let records = file.count().map_err(wrong)?;
        let size = file.count().map_err(wrong)?;
        let stored = file.take(size).map_err(wrong)?;
        if file.take(MARKER_BYTES).map_err(wrong)? != marker {
            return Err(wrong("it does not end with the file's marker".to_owned()));
        }
        let block = codec.decompress(stored, limits.bytes_left).map_err(wrong)?;
        limits.bytes_left -= (block.len() as u64).min(limits.bytes_left);
        check_block(&schema, &block, records, &mut limits).map_err(wrong)?;
        if let Some(plain) = &mut plain {
            put_long(plain, records);
            put_long(plain, block.len() as u64);
            plain.extend_from_slice(&block);
            plain.extend_from_slice(marker);
        }
    }
    Ok(plain.map_or(Cow::Borrowed(bytes), Cow::Owned))
}

struct Limits {
    kept: Kept,
    bytes_left: u64,
    records_left: u64,
    values_left: u64,
}

impl Limits {
    fn new(file_bytes: u64, kept: Kept) -> Self {
        Self {
            kept,
            bytes_left: codec::inflated_max(file_bytes),
            records_left: RECORDS_MIN.max(file_bytes / BYTES_PER_RECORD),
            values_left: VALUES_MIN.max(file_bytes * VALUES_PER_BYTE),
        }
    }
}

fn check_block(schema: &Schema, block: &[u8], records: u64, limits: &mut Limits) -> Result<(), String> {
    if records > limits.records_left {
        return Err(format!("it claims {records} records, more than a file of this size holds"));
    }
    limits.records_left -= records;
    let mut cursor = Cursor::new(block);
    for index in 0..records {
        let mut values_left = VALUES_PER_RECORD_MAX.min(limits.values_left);
        let before = values_left;
        cursor.skip(schema, &mut values_left).map_err(|reason| format!("record {index}: {reason}"))?;
        if let Kept::Everything = limits.kept {
            limits.values_left -= before - values_left;
        }
    }
    match cursor.is_empty() {
        true => Ok(()),
        false => Err(format!("{} bytes follow its last record", block.len() - cursor.at())),
    }
}

/// A container whose header `mend` has changed; `None` if it has not, or if there is none. The blocks are not looked at.
pub(crate) fn with_mended_header(bytes: &[u8], mend: impl FnOnce(&mut Header<'_>) -> bool) -> Option<Vec<u8>> {
    let mut file = Cursor::new(bytes);
    let mut header = Header::read(&mut file).ok()?;
    mend(&mut header).then(|| [&header.to_bytes(), &bytes[file.at()..]].concat())
}

#[cfg(test)]
mod tests;
