//! Files that this process has just written and is about to read again: their bytes stay at hand.
//!
//! A job's files are merged a few commits after it wrote them. So a writer may ask for its file to be kept
//! ([`crate::FileWriter::keep`]): ranges of it are then read from here until the file is deleted or forgotten, or newer
//! files need the room. Bytes are in memory up to one bound. What is beyond, oldest first, moves to files without names on
//! the local disk up to another, if the store is a remote one; where the store is the local disk itself, it is let go.
//!
//! Nothing here is needed for anything but speed: a file that is not kept is read from its store.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};

/// What kept files may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptLimits {
    /// Bytes in memory: half of it for files in the making, of which one takes half of that at most, and half for those that
    /// are finished.
    pub memory_bytes: u64,
    /// Bytes in temporary files.
    pub disk_bytes: u64,
}

impl Default for KeptLimits {
    fn default() -> Self {
        Self { memory_bytes: 64 << 20, disk_bytes: 4 << 30 }
    }
}

/// The kept files of a store.
#[derive(Debug, Default)]
pub(crate) struct KeptFiles {
    limits: KeptLimits,
    files: Mutex<Files>,
    /// Bytes in memory of files in the making.
    making_bytes: AtomicU64,
}

/// The bytes of a file, or of its beginning.
#[derive(Clone, Debug)]
enum Held {
    /// As they were written, each piece with where it begins.
    Memory(Vec<(u64, Bytes)>),
    Disk(Arc<File>),
}

#[derive(Debug)]
struct Kept {
    /// Grows with each file.
    age: u64,
    size_bytes: u64,
    held: Arc<Held>,
    place: Place,
    can_spill: bool,
}

/// What a kept file counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Memory,
    /// On its way from memory to the disk.
    Moving,
    Disk,
}

#[derive(Debug, Default)]
struct Files {
    by_location: HashMap<String, Kept>,
    next_age: u64,
    memory_bytes: u64,
    disk_bytes: u64,
}

/// A file that is being written and will be kept.
#[derive(Debug)]
pub(crate) struct Keeping {
    kept: Arc<KeptFiles>,
    can_spill: bool,
    size_bytes: u64,
    /// Of its bytes, those in memory.
    memory_bytes: u64,
    /// `None`: it is not kept after all.
    held: Option<Held>,
}

impl KeptFiles {
    pub(crate) fn with_limits(limits: KeptLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// A file in the making. One that `can_spill` goes to the local disk where memory has no room.
    pub(crate) fn begin(self: &Arc<Self>, can_spill: bool) -> Keeping {
        let held = Some(Held::Memory(Vec::new()));
        Keeping { kept: Arc::clone(self), can_spill, size_bytes: 0, memory_bytes: 0, held }
    }

    /// Ranges of a kept file; `None` if it is not kept, or has no such range.
    pub(crate) async fn read(&self, location: &str, ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
        let (held, size_bytes) = {
            let files = self.lock();
            let kept = files.by_location.get(location)?;
            (Arc::clone(&kept.held), kept.size_bytes)
        };
        if ranges.iter().any(|range| range.start > range.end || range.end > size_bytes) {
            return None;
        }
        let file = match &*held {
            Held::Memory(pieces) => return Some(ranges.iter().map(|range| cut(pieces, range)).collect()),
            Held::Disk(file) => Arc::clone(file),
        };
        let ranges = ranges.to_vec();
        match blocking(move || ranges.iter().map(|range| read_range(&file, range)).collect()).await {
            Ok(parts) => Some(parts),
            Err(error) => {
                tracing::warn!(%error, location, "a kept file can't be read; its store is asked");
                None
            }
        }
    }

    /// Lets a file go.
    pub(crate) fn forget(&self, location: &str) {
        self.lock().remove(location);
    }

    /// Bytes in memory and on the disk.
    #[cfg(test)]
    fn taken(&self) -> (u64, u64) {
        let files = self.lock();
        (files.memory_bytes, files.disk_bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().expect("no code panics while it holds this lock")
    }
}

impl Keeping {
    /// The next bytes of the file.
    pub(crate) async fn push(&mut self, bytes: Bytes) {
        let (begin, length) = (self.size_bytes, bytes.len() as u64);
        self.size_bytes += length;
        let held = match self.held.take() {
            None => return,
            Some(_) if self.size_bytes > self.kept.limits.disk_bytes.max(self.kept.limits.memory_bytes) => None,
            Some(Held::Memory(mut pieces)) => {
                pieces.push((begin, bytes));
                match self.takes(length) {
                    true => Some(Ok(Held::Memory(pieces))),
                    false if self.can_spill => Some(spilled(pieces).await),
                    false => None,
                }
            }
            Some(Held::Disk(file)) => {
                let append = move || (&*file).write_all(&bytes).map(|()| Held::Disk(file));
                Some(blocking(append).await)
            }
        };
        self.held = held.and_then(|held| held.inspect_err(|error| tracing::warn!(%error, "a file is not kept")).ok());
        if !matches!(self.held, Some(Held::Memory(_))) {
            self.release();
        }
    }

    /// The store has the file now.
    pub(crate) async fn finish(mut self, location: &str) {
        let kept = Arc::clone(&self.kept);
        let Some(held) = self.held.take() else { return };
        self.release();
        kept.lock().insert(location, self.size_bytes, held, self.can_spill, kept.limits);
        loop {
            let next = kept.lock().next_to_move(kept.limits);
            let Some((location, age, held)) = next else { break };
            let Held::Memory(pieces) = &*held else { continue };
            match spilled(pieces.clone()).await {
                Ok(held) => kept.lock().moved(&location, age, held, kept.limits),
                Err(error) => {
                    tracing::warn!(%error, location, "a file is not kept any more");
                    kept.lock().remove(&location);
                }
            }
        }
    }

    /// Whether there is room in memory for more of the file.
    fn takes(&mut self, bytes: u64) -> bool {
        self.memory_bytes += bytes;
        let making_bytes = self.kept.making_bytes.fetch_add(bytes, Relaxed) + bytes;
        let limit = self.kept.limits.memory_bytes / 2;
        self.memory_bytes <= limit / 2 && making_bytes <= limit
    }

    fn release(&mut self) {
        self.kept.making_bytes.fetch_sub(std::mem::take(&mut self.memory_bytes), Relaxed);
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.release();
    }
}

impl Files {
    fn insert(&mut self, location: &str, size_bytes: u64, held: Held, can_spill: bool, limits: KeptLimits) {
        self.remove(location);
        let place = if matches!(held, Held::Memory(_)) { Place::Memory } else { Place::Disk };
        let kept = Kept { age: self.next_age, size_bytes, held: Arc::new(held), place, can_spill };
        self.next_age += 1;
        self.count(&kept, true);
        self.by_location.insert(location.to_owned(), kept);
        self.fit_disk(limits);
    }

    fn remove(&mut self, location: &str) {
        if let Some(kept) = self.by_location.remove(location) {
            self.count(&kept, false);
        }
    }

    fn count(&mut self, kept: &Kept, comes: bool) {
        let bytes = match kept.place {
            Place::Memory => &mut self.memory_bytes,
            Place::Disk => &mut self.disk_bytes,
            Place::Moving => return,
        };
        *bytes = if comes { *bytes + kept.size_bytes } else { *bytes - kept.size_bytes };
    }

    /// Where memory has too much, the oldest file of it, to be moved to the disk. Files that can't go there go.
    fn next_to_move(&mut self, limits: KeptLimits) -> Option<(String, u64, Arc<Held>)> {
        while self.memory_bytes > limits.memory_bytes / 2 {
            let location = self.oldest(Place::Memory)?;
            let kept = self.by_location.get_mut(&location)?;
            if !kept.can_spill {
                self.remove(&location);
                continue;
            }
            kept.place = Place::Moving;
            self.memory_bytes -= kept.size_bytes;
            return Some((location, kept.age, Arc::clone(&kept.held)));
        }
        None
    }

    /// Unless it went meanwhile, a file is on the disk from now on.
    fn moved(&mut self, location: &str, age: u64, held: Held, limits: KeptLimits) {
        let Some(kept) = self.by_location.get_mut(location).filter(|kept| kept.age == age) else { return };
        (kept.held, kept.place) = (Arc::new(held), Place::Disk);
        self.disk_bytes += kept.size_bytes;
        self.fit_disk(limits);
    }

    fn fit_disk(&mut self, limits: KeptLimits) {
        while self.disk_bytes > limits.disk_bytes
            && let Some(location) = self.oldest(Place::Disk)
        {
            self.remove(&location);
        }
    }

    fn oldest(&self, place: Place) -> Option<String> {
        let of_place = self.by_location.iter().filter(|(_, kept)| kept.place == place);
        of_place.min_by_key(|(_, kept)| kept.age).map(|(location, _)| location.clone())
    }
}

/// Writes pieces to a file without a name.
async fn spilled(pieces: Vec<(u64, Bytes)>) -> io::Result<Held> {
    blocking(move || {
        let mut file = tempfile::tempfile()?;
        pieces.iter().try_for_each(|(_, piece)| file.write_all(piece))?;
        Ok(Held::Disk(Arc::new(file)))
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|lost| Err(io::Error::other(lost)))
}

/// Without a copy where the range is in one piece.
fn cut(pieces: &[(u64, Bytes)], range: &Range<u64>) -> Bytes {
    let first = pieces.partition_point(|(begin, piece)| begin + piece.len() as u64 <= range.start);
    let parts = pieces[first..].iter().take_while(|(begin, _)| *begin < range.end).map(|(begin, piece)| {
        let from = range.start.saturating_sub(*begin) as usize;
        piece.slice(from..piece.len().min((range.end - begin) as usize))
    });
    let mut parts = parts.peekable();
    let Some(part) = parts.next() else { return Bytes::new() };
    if parts.peek().is_none() {
        return part;
    }
    let mut bytes = BytesMut::with_capacity((range.end - range.start) as usize);
    std::iter::once(part).chain(parts).for_each(|part| bytes.extend_from_slice(&part));
    bytes.freeze()
}

fn read_range(file: &File, range: &Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut bytes = BytesMut::zeroed(length);
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests;
