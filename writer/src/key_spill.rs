//! A file on the local disk for what an index of keys has no room for. It has no name: when the process ends, however it
//! ends, it is gone.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::key_index::{SLOT_BYTES, Slot};
use crate::{Error, Result};

/// Slots that are turned into bytes at a time.
const SLOTS_AT_ONCE: usize = 8 << 10;

/// Extents of slots. Freed ones are used again; each has room for a power of two of bytes, so that they fit.
#[derive(Debug)]
pub(crate) struct SpillFile {
    folder: PathBuf,
    file: Option<File>,
    end: u64,
    /// Beginnings of freed extents by room.
    free: BTreeMap<u64, Vec<u64>>,
}

impl SpillFile {
    /// One that is made when it is written to; in the system's folder of temporary files if no other is given.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        let folder = folder.unwrap_or_else(std::env::temp_dir);
        Self { folder, file: None, end: 0, free: BTreeMap::new() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes of the file.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.end
    }

    /// Stores slots; says where.
    ///
    /// # Errors
    /// [`Error::Spill`], as on a full disk.
    pub(crate) fn write(&mut self, slots: &[Slot]) -> Result<Range<u64>> {
        let length = (slots.len() * SLOT_BYTES) as u64;
        let room = length.next_power_of_two();
        let start = self.free.get_mut(&room).and_then(Vec::pop).unwrap_or_else(|| {
            let start = self.end;
            self.end += room;
            start
        });
        let (file, failed) = self.file()?;
        let mut at = start;
        for slots in slots.chunks(SLOTS_AT_ONCE) {
            let bytes: Vec<u8> = slots.iter().flat_map(|slot| slot.to_bytes()).collect();
            file.write_all_at(&bytes, at).map_err(&failed)?;
            at += bytes.len() as u64;
        }
        Ok(start..start + length)
    }

    /// Reads slots back.
    ///
    /// # Errors
    /// [`Error::Spill`].
    pub(crate) fn read(&mut self, extent: Range<u64>) -> Result<Vec<Slot>> {
        let count = usize::try_from(extent.end - extent.start).expect("it was written from memory") / SLOT_BYTES;
        let mut slots = Vec::with_capacity(count);
        let mut bytes = vec![0; SLOTS_AT_ONCE.min(count) * SLOT_BYTES];
        let (file, failed) = self.file()?;
        let mut at = extent.start;
        while at < extent.end {
            let length = bytes.len().min((extent.end - at) as usize);
            file.read_exact_at(&mut bytes[..length], at).map_err(&failed)?;
            slots.extend(bytes[..length].chunks_exact(SLOT_BYTES).map(Slot::from_bytes));
            at += length as u64;
        }
        Ok(slots)
    }

    /// Gives an extent's room back.
    pub(crate) fn free(&mut self, extent: Range<u64>) {
        let room = (extent.end - extent.start).next_power_of_two();
        self.free.entry(room).or_default().push(extent.start);
    }

    /// The file, and what makes an error of one of its own.
    fn file(&mut self) -> Result<(&mut File, impl Fn(io::Error) -> Error)> {
        let folder = &self.folder;
        let failed = |source: io::Error| Error::Spill { folder: folder.clone(), source: source.into() };
        if self.file.is_none() {
            self.file = Some(tempfile::tempfile_in(folder).map_err(failed)?);
        }
        Ok((self.file.as_mut().expect("it was just made"), failed))
    }
}

#[cfg(test)]
mod tests;
