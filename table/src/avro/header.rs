//! The header of an object container: names with values.

use std::borrow::Cow;

use super::MAGIC;
use super::record::Cursor;

/// Schema, codec, and what Iceberg adds: a handful.
const ENTRIES_MAX: u64 = 1_000;

const SCHEMA: &[u8] = b"avro.schema";
const CODEC: &[u8] = b"avro.codec";
const CODEC_LEVEL: &[u8] = b"avro.codec.compression_level";

/// What a container says of itself.
pub(crate) struct Header<'a> {
    entries: Vec<(&'a [u8], Cow<'a, [u8]>)>,
}

impl<'a> Header<'a> {
    /// Reads a container up to its marker.
    pub(super) fn read(file: &mut Cursor<'a>) -> Result<Self, String> {
        if file.take(MAGIC.len() as u64).ok() != Some(&MAGIC) {
            return Err("it does not begin as an Avro file does".to_owned());
        }
        let mut entries: Vec<(&[u8], Cow<'_, [u8]>)> = Vec::new();
        loop {
            let count = file.sequence_count()?;
            if count == 0 {
                return Ok(Self { entries });
            }
            if count > ENTRIES_MAX - entries.len() as u64 {
                return Err(format!("its header claims more than {ENTRIES_MAX} entries"));
            }
            for _ in 0..count {
                entries.push((file.sized()?, Cow::Borrowed(file.sized()?)));
            }
        }
    }

    /// The value of a name. The last of several is the one that a decoder keeps.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.entries.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| value.as_ref())
    }

    /// Gives a name that is there another value.
    pub(crate) fn set(&mut self, name: &[u8], value: Vec<u8>) {
        if let Some((_, old)) = self.entries.iter_mut().rev().find(|(key, _)| *key == name) {
            *old = Cow::Owned(value);
        }
    }

    /// JSON.
    pub(crate) fn schema(&self) -> Option<&[u8]> {
        self.get(SCHEMA)
    }

    /// Gives the container another schema.
    pub(crate) fn set_schema(&mut self, json: Vec<u8>) {
        self.set(SCHEMA, json);
    }

    pub(super) fn codec(&self) -> Option<&[u8]> {
        self.get(CODEC)
    }

    /// Says nothing of compression any more.
    pub(super) fn forget_codec(&mut self) {
        self.entries.retain(|(key, _)| ![CODEC, CODEC_LEVEL].contains(key));
    }

    /// All that stands before the marker.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        put_long(&mut bytes, self.entries.len() as u64);
        for part in self.entries.iter().flat_map(|(key, value)| [*key, value.as_ref()]) {
            put_long(&mut bytes, part.len() as u64);
            bytes.extend_from_slice(part);
        }
        put_long(&mut bytes, 0);
        bytes
    }
}

/// Avro's `long`: zig-zag, then seven bits a byte.
pub(super) fn put_long(bytes: &mut Vec<u8>, value: u64) {
    let mut rest = value << 1;
    while rest > 0x7f {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}
