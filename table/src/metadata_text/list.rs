//! A JSON list that only grows.

use bytes::Bytes;
use serde::Serialize;

use super::no_json;
use crate::Result;

/// The text of a list, in pieces that later versions of the list share. An item is never cut.
#[derive(Clone, Debug, Default)]
pub(super) struct ListText {
    pieces: Vec<Bytes>,
    size_bytes: usize,
    has_items: bool,
}

/// A piece of this size takes no more items. An item is added at the cost of a copy of the last piece, so this bounds it,
/// and the number of pieces, of which a copy of the list takes a reference each.
const PIECE_BYTES: usize = 64 << 10;

impl ListText {
    /// A list without items behind some text, which ends with the list's bracket.
    pub(super) fn beginning_with(start: &'static [u8]) -> Self {
        Self { pieces: vec![Bytes::from_static(start)], size_bytes: start.len(), has_items: false }
    }

    pub(super) fn push(&mut self, item: &impl Serialize) -> Result<()> {
        // Copied only if another text has the piece, too.
        let mut piece = self.pieces.pop_if(|last| last.len() < PIECE_BYTES).map_or_else(Vec::new, Vec::from);
        let before = piece.len();
        if self.has_items {
            piece.push(b',');
        }
        serde_json::to_writer(&mut piece, item).map_err(no_json)?;
        self.size_bytes += piece.len() - before;
        self.pieces.push(piece.into());
        self.has_items = true;
        Ok(())
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter()
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}
