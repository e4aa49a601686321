//! How far a partition was read, as a checkpoint keeps it.

use std::fmt;
use std::str::FromStr;

/// The offset of the next record; for a bounded read with the offset at which it ends, so that it ends there after a
/// restart too. Written `NEXT` or `NEXT..END`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) next: i64,
    pub(super) end: Option<i64>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            Some(end) => write!(f, "{}..{end}", self.next),
            None => write!(f, "{}", self.next),
        }
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let offset = |text: &str| text.parse().ok().filter(|offset: &i64| *offset >= 0).ok_or(());
        match text.split_once("..") {
            Some((next, end)) => Ok(Self { next: offset(next)?, end: Some(offset(end)?) }),
            None => Ok(Self { next: offset(text)?, end: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_a_checkpoint() {
        for position in [Position { next: 0, end: None }, Position { next: 7, end: Some(9) }] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for text in ["", "-1", "1..", "..2", "x", "1..-2"] {
            assert_eq!(text.parse::<Position>(), Err(()), "{text}");
        }
    }
}
