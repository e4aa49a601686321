//! Bytes between the Parquet writer and the store, of which column chunks are never copied.
//!
//! The Parquet writer copies a chunk through a small buffer from its reader to its output. Here the reader gives it as many
//! bytes as the chunk has, whatever they are, and the output puts the chunk itself where they would have come to.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// What the Parquet writer has written and the store has not got yet. Clones are the same sink.
#[derive(Clone, Default)]
pub(super) struct Sink(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Bytes that have come, those of chunks included.
    written: u64,
    /// Chunks by where they begin in the file, ascending. What comes there stands for them.
    chunks: VecDeque<(u64, Bytes)>,
    /// In order, before `tail`.
    pieces: Vec<Bytes>,
    tail: Vec<u8>,
}

impl Sink {
    /// Has a chunk at a place of the file that has not been written yet, behind all others.
    pub(super) fn place(&self, start: u64, chunk: Bytes) {
        if !chunk.is_empty() {
            self.state().chunks.push_back((start, chunk));
        }
    }

    /// What has come since the last call, as pieces in order.
    pub(super) fn take(&self) -> Vec<Bytes> {
        let mut state = self.state();
        state.end_tail();
        std::mem::take(&mut state.pieces)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

impl State {
    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(std::mem::take(&mut self.tail).into());
        }
    }

    /// How many of so many bytes are alike: before the next chunk, or within it.
    fn take_in(&mut self, bytes: &[u8]) -> usize {
        let (start, end) = match self.chunks.front() {
            Some((start, chunk)) => (*start, start + chunk.len() as u64),
            None => (u64::MAX, u64::MAX),
        };
        let is_inside = self.written >= start;
        let room = if is_inside { end } else { start } - self.written;
        let count = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        self.written += count as u64;
        if !is_inside {
            self.tail.extend_from_slice(&bytes[..count]);
        } else if self.written == end
            && let Some((_, chunk)) = self.chunks.pop_front()
        {
            self.end_tail();
            self.pieces.push(chunk);
        }
        count
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        let mut done = 0;
        while done < bytes.len() {
            done += state.take_in(&bytes[done..]);
        }
        Ok(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A column chunk, as long as it is and without its bytes.
pub(super) struct Hollow(pub(super) u64);

impl Length for Hollow {
    fn len(&self) -> u64 {
        self.0
    }
}

impl ChunkReader for Hollow {
    type T = HollowRead;

    fn get_read(&self, _: u64) -> Result<HollowRead> {
        Ok(HollowRead(self.0))
    }

    fn get_bytes(&self, start: u64, _: usize) -> Result<Bytes> {
        Err(ParquetError::General(format!("byte {start} of a chunk that is only placed was asked for")))
    }
}

/// So many bytes that say nothing.
pub(super) struct HollowRead(u64);

impl Read for HollowRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(usize::try_from(self.0).unwrap_or(usize::MAX));
        self.0 -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_out_where_they_were_placed_however_the_rest_is_cut() {
        for cut in 1..12 {
            let mut sink = Sink::default();
            sink.place(3, Bytes::from_static(b"AAAA"));
            sink.place(7, Bytes::from_static(b"BB"));
            sink.place(9, Bytes::new());
            sink.place(11, Bytes::from_static(b"C"));
            let mut taken = Vec::new();
            for part in b"abc......de.f".chunks(cut) {
                sink.write_all(part).unwrap();
                taken.extend(sink.take());
            }
            assert_eq!(taken.concat(), b"abcAAAABBdeCf", "cut {cut}");
        }
    }

    #[test]
    fn a_chunk_is_handed_on_as_it_is() {
        let mut sink = Sink::default();
        let chunk = Bytes::from(vec![7; 1 << 20]);
        sink.place(0, chunk.clone());
        let mut hollow = Hollow(chunk.len() as u64).get_read(0).unwrap();
        assert_eq!(io::copy(&mut hollow, &mut sink).unwrap(), 1 << 20);
        assert_eq!(sink.take()[0].as_ptr(), chunk.as_ptr());
    }
}
