//! Deletion vectors as bytes: blobs of kind `deletion-vector-v1` (Puffin spec, "deletion-vector-v1 blob type").
//!
//! A blob is: the length of magic and bitmap, 4 bytes big-endian; the magic; a 64-bit Roaring bitmap in its portable form
//! (the number of 32-bit bitmaps, 8 bytes little-endian, then for each its upper half and itself); the CRC-32 of magic and
//! bitmap, 4 bytes big-endian. Pure; where blobs lie and what they apply to is decided by others.

use roaring::{RoaringBitmap, RoaringTreemap};

/// The kind of a deletion vector's blob in a Puffin file.
pub const DELETION_VECTOR_BLOB: &str = "deletion-vector-v1";

/// A longer blob is not decoded, and need not be fetched: 2^31 positions at 1/8 byte each. Decoded, a blob takes at most
/// about four times its length.
pub const DELETION_VECTOR_BYTES_MAX: u64 = 256 << 20;

const MAGIC: [u8; 4] = [0xd1, 0xd3, 0x39, 0x64];

/// Length, magic and checksum.
const FRAME_BYTES: usize = 12;

/// Key, cookie and container count: no 32-bit bitmap is shorter.
const BITMAP_BYTES_MIN: u64 = 12;

/// What is wrong with a blob. Not retryable: the file is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VectorDamage {
    /// Shorter than the frame.
    #[error("{0} bytes are too few")]
    TooShort(usize),
    /// Longer than [`DELETION_VECTOR_BYTES_MAX`].
    #[error("{0} bytes are too many")]
    TooLong(usize),
    /// The length in front is not that of what follows.
    #[error("it claims {claimed} bytes and has {found}")]
    Length {
        /// As the frame says.
        claimed: u32,
        /// As there are.
        found: usize,
    },
    /// Not a deletion vector.
    #[error("its magic is wrong")]
    Magic,
    /// Bytes were changed.
    #[error("its checksum is wrong")]
    Checksum,
    /// Not a bitmap in the portable form.
    #[error("its bitmap is wrong: {0}")]
    Bitmap(String),
    /// More bytes than the bitmap has.
    #[error("{0} bytes follow its bitmap")]
    Trailing(usize),
}

/// The blob of a set of row positions. Runs of positions are stored as runs.
///
/// # Errors
/// [`VectorDamage::TooLong`] for a set that no reader would take.
pub fn encode_deletion_vector(positions: &RoaringTreemap) -> Result<Vec<u8>, VectorDamage> {
    let packed = positions.bitmaps().map(|(key, bitmap)| {
        let mut bitmap = bitmap.clone();
        bitmap.optimize();
        (key, bitmap)
    });
    let packed = RoaringTreemap::from_bitmaps(packed);
    let size = FRAME_BYTES + packed.serialized_size();
    if size as u64 > DELETION_VECTOR_BYTES_MAX {
        return Err(VectorDamage::TooLong(size));
    }
    let mut blob = Vec::with_capacity(size);
    blob.extend_from_slice(&((size - 8) as u32).to_be_bytes());
    blob.extend_from_slice(&MAGIC);
    packed.serialize_into(&mut blob).expect("memory takes every byte");
    let checksum = crc(&blob[4..]);
    blob.extend_from_slice(&checksum.to_be_bytes());
    Ok(blob)
}

/// The positions in a blob, after all of its frame was checked. Time and memory are bounded by the blob's length,
/// whatever it claims.
///
/// # Errors
/// [`VectorDamage`] says what is wrong.
pub fn decode_deletion_vector(blob: &[u8]) -> Result<RoaringTreemap, VectorDamage> {
    if blob.len() < FRAME_BYTES {
        return Err(VectorDamage::TooShort(blob.len()));
    }
    if blob.len() as u64 > DELETION_VECTOR_BYTES_MAX {
        return Err(VectorDamage::TooLong(blob.len()));
    }
    let (head, rest) = blob.split_at(4);
    let (body, checksum) = rest.split_at(rest.len() - 4);
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes are four bytes"));
    if number(head) as usize != body.len() {
        return Err(VectorDamage::Length { claimed: number(head), found: body.len() });
    }
    let Some(bitmaps) = body.strip_prefix(&MAGIC) else { return Err(VectorDamage::Magic) };
    if crc(body) != number(checksum) {
        return Err(VectorDamage::Checksum);
    }
    decode_bitmaps(bitmaps)
}

/// Empty bitmaps, which other writers leave between others, are passed over: they would only cost memory.
fn decode_bitmaps(mut bytes: &[u8]) -> Result<RoaringTreemap, VectorDamage> {
    let wrong = |reason: &str| VectorDamage::Bitmap(reason.to_owned());
    let count = take::<8>(&mut bytes).map(u64::from_le_bytes).ok_or_else(|| wrong("it has no count"))?;
    if count > bytes.len() as u64 / BITMAP_BYTES_MIN {
        return Err(VectorDamage::Bitmap(format!("{} bytes can't hold {count} bitmaps", bytes.len())));
    }
    let mut bitmaps: Vec<(u32, RoaringBitmap)> = Vec::new();
    let mut last = None;
    for _ in 0..count {
        let key = take::<4>(&mut bytes).map(u32::from_le_bytes).ok_or_else(|| wrong("it ends early"))?;
        if last.replace(key).is_some_and(|last| last >= key) {
            return Err(wrong("its keys are not in order"));
        }
        let bitmap = RoaringBitmap::deserialize_from(&mut bytes).map_err(|error| wrong(&error.to_string()))?;
        if !bitmap.is_empty() {
            bitmaps.push((key, bitmap));
        }
    }
    match bytes.len() {
        0 => Ok(RoaringTreemap::from_bitmaps(bitmaps)),
        more => Err(VectorDamage::Trailing(more)),
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests;
