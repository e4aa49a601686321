//! What the blocks of a container are compressed with.

use std::borrow::Cow;
use std::io::Read;

/// The codecs that Iceberg's writers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

/// A small file may inflate to this, a larger one to so many times its size. Manifests, whose paths are alike, inflate
/// five to thirty times.
const INFLATED_BYTES_MIN: u64 = 4 << 20;
const INFLATED_RATIO_MAX: u64 = 64;

/// A frame says how far back it refers, and the decoder reserves that much: 2^23 is 8 MiB, what level 19 uses.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Bytes of CRC-32 after a Snappy block.
const SNAPPY_CHECKSUM_BYTES: usize = 4;

/// How many bytes the blocks of a file may have in all.
pub(super) fn inflated_max(file_bytes: u64) -> u64 {
    INFLATED_BYTES_MIN.max(file_bytes.saturating_mul(INFLATED_RATIO_MAX))
}

impl Codec {
    pub(super) fn parse(name: &[u8]) -> Result<Self, String> {
        Ok(match name {
            b"null" => Self::Null,
            b"deflate" => Self::Deflate,
            b"snappy" => Self::Snappy,
            b"zstandard" => Self::Zstandard,
            other => return Err(format!("its codec {:?} is not known", String::from_utf8_lossy(other))),
        })
    }

    /// A block's bytes, at most `bytes_max`.
    pub(super) fn decompress(self, block: &[u8], bytes_max: u64) -> Result<Cow<'_, [u8]>, String> {
        let inflated = match self {
            Self::Null => return Ok(Cow::Borrowed(block)),
            Self::Deflate => read_up_to(flate2::read::DeflateDecoder::new(block), bytes_max)?,
            Self::Snappy => decompress_snappy(block, bytes_max)?,
            Self::Zstandard => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(block).map_err(|e| e.to_string())?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|e| e.to_string())?;
                read_up_to(decoder, bytes_max)?
            }
        };
        Ok(Cow::Owned(inflated))
    }
}

fn read_up_to(reader: impl Read, bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut inflated = Vec::new();
    reader.take(bytes_max + 1).read_to_end(&mut inflated).map_err(|e| format!("it can't be decompressed: {e}"))?;
    check_size(inflated.len() as u64, bytes_max)?;
    Ok(inflated)
}

fn check_size(size: u64, bytes_max: u64) -> Result<(), String> {
    match size > bytes_max {
        true => Err(format!("it inflates to more than {INFLATED_RATIO_MAX} times the file")),
        false => Ok(()),
    }
}

fn decompress_snappy(block: &[u8], bytes_max: u64) -> Result<Vec<u8>, String> {
    let wrong = |e: snap::Error| format!("it can't be decompressed: {e}");
    let length = block.len().checked_sub(SNAPPY_CHECKSUM_BYTES).ok_or("it is too short to have a checksum")?;
    let (block, checksum) = block.split_at(length);
    check_size(snap::raw::decompress_len(block).map_err(wrong)? as u64, bytes_max)?;
    let inflated = snap::raw::Decoder::new().decompress_vec(block).map_err(wrong)?;
    let mut crc = flate2::Crc::new();
    crc.update(&inflated);
    match crc.sum().to_be_bytes() == checksum {
        true => Ok(inflated),
        false => Err("its checksum is wrong".to_owned()),
    }
}
