//! Deletion vectors: blobs of kind `deletion-vector-v1` in Puffin files (Puffin spec, "deletion-vector-v1 blob type").
//!
//! A blob is: the length of magic and bitmap, 4 bytes big-endian; the magic; a 64-bit Roaring bitmap in its portable
//! form; the CRC-32 of magic and bitmap, 4 bytes big-endian. A manifest entry says where in the file the blob is, so
//! that the Puffin footer is not read.

use std::collections::HashMap;
use std::sync::Arc;

use frazil_table::spec::DataFile;
use roaring::RoaringTreemap;

use crate::stats::ByteKind;
use crate::{Error, ReadContext, Result};

const MAGIC: [u8; 4] = [0xd1, 0xd3, 0x39, 0x64];

/// Length, magic and checksum.
const FRAME_BYTES: usize = 12;

/// A longer blob is refused before it is fetched: 2^31 positions at 1/8 byte each.
const BLOB_BYTES_MAX: u64 = 256 << 20;

pub(super) async fn load(context: &ReadContext, file: &DataFile) -> Result<HashMap<String, Arc<RoaringTreemap>>> {
    let location = file.file_path();
    let data_file = file.referenced_data_file();
    let place = file.content_offset().zip(file.content_size_in_bytes());
    let (Some(data_file), Some((offset, size))) = (data_file, place) else {
        return Err(Error::damaged(location, "a deletion vector without data file, offset or size"));
    };
    let (offset, size) = match (u64::try_from(offset), u64::try_from(size)) {
        (Ok(offset), Ok(size)) if size <= BLOB_BYTES_MAX && offset.checked_add(size).is_some() => (offset, size),
        _ => return Err(Error::damaged(location, format!("a deletion vector of {size} bytes at {offset}"))),
    };
    let blob = context.env.store.read_range(location, offset..offset + size).await?;
    context.counters.fetched(ByteKind::Delete, blob.len() as u64, 0, 1);
    let positions = decode(&blob).map_err(|reason| {
        Error::damaged(location, format!("the deletion vector of {data_file} at byte {offset}: {reason}"))
    })?;
    if positions.len() != file.record_count() {
        let reason = format!(
            "the deletion vector of {data_file} holds {} positions, the table says {}",
            positions.len(),
            file.record_count()
        );
        return Err(Error::damaged(location, reason));
    }
    Ok(HashMap::from([(data_file, Arc::new(positions))]))
}

/// Decodes a blob, checking all of its frame.
fn decode(blob: &[u8]) -> std::result::Result<RoaringTreemap, String> {
    if blob.len() < FRAME_BYTES {
        return Err(format!("{} bytes are too few", blob.len()));
    }
    let (head, rest) = blob.split_at(4);
    let (body, checksum) = rest.split_at(rest.len() - 4);
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes are four bytes"));
    if number(head) as usize != body.len() {
        return Err(format!("it claims {} bytes and has {}", number(head), body.len()));
    }
    if !body.starts_with(&MAGIC) {
        return Err("its magic is wrong".to_owned());
    }
    let mut crc = flate2::Crc::new();
    crc.update(body);
    if crc.sum() != number(checksum) {
        return Err("its checksum is wrong".to_owned());
    }
    let mut bitmap = &body[MAGIC.len()..];
    let positions = RoaringTreemap::deserialize_from(&mut bitmap).map_err(|error| error.to_string())?;
    match bitmap.is_empty() {
        true => Ok(positions),
        false => Err(format!("{} bytes follow its bitmap", bitmap.len())),
    }
}

#[cfg(test)]
mod tests;
