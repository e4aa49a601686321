//! How far a file was read, as a checkpoint keeps it.

use std::fmt;
use std::str::FromStr;

/// Bytes before an offset that are looked at again when reading goes on there.
pub(super) const CHECKED_BYTES: usize = 64;

/// How far a file was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// `OFFSET:LINE:CHECK`: text up to a byte offset, behind a line end.
    Text(TextPosition),
    /// `row:INDEX:SIZE`: Parquet up to a row; with the size of the file in bytes.
    Row { index: u64, size_bytes: u64 },
    /// `done:SIZE`: to its end; with the size of the file in bytes.
    Done { size_bytes: u64 },
}

/// A place between two records of a text file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TextPosition {
    /// Bytes before it.
    pub(super) offset: u64,
    /// Line ends before it.
    pub(super) line: u64,
    /// [`stable_hash`] of the last [`CHECKED_BYTES`] before it.
    pub(super) check: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(TextPosition { offset, line, check }) => write!(f, "{offset}:{line}:{check:x}"),
            Self::Row { index, size_bytes } => write!(f, "row:{index}:{size_bytes}"),
            Self::Done { size_bytes } => write!(f, "done:{size_bytes}"),
        }
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split(':').collect();
        let number = |text: &str| text.parse::<u64>().map_err(drop);
        match parts.as_slice() {
            ["done", size] => Ok(Self::Done { size_bytes: number(size)? }),
            ["row", index, size] => Ok(Self::Row { index: number(index)?, size_bytes: number(size)? }),
            [offset, line, check] => Ok(Self::Text(TextPosition {
                offset: number(offset)?,
                line: number(line)?,
                check: u64::from_str_radix(check, 16).map_err(drop)?,
            })),
            _ => Err(()),
        }
    }
}

/// FNV-1a with a last mix: the same on every machine and in every release, since checkpoints hold it.
pub(in crate::connectors) fn stable_hash(bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_a_checkpoint() {
        for position in [
            Position::Text(TextPosition { offset: 10, line: 2, check: u64::MAX }),
            Position::Row { index: 7, size_bytes: 100 },
            Position::Done { size_bytes: 0 },
        ] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for text in ["", "done", "10", "10:2", "row:1", "a:b:c", "-1:2:3"] {
            assert_eq!(text.parse::<Position>(), Err(()), "{text}");
        }
    }

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(stable_hash(b""), 17_058_014_651_485_797_458);
        assert_ne!(stable_hash(b"a"), stable_hash(b"b"));
    }
}
