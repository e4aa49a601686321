//! Where the row of each key is: hashes of keys to places of rows, in at most 16 bytes a key, on disk beyond a budget.
//!
//! A key's hash chooses one of 1,024 parts by its first 10 bits. The next 32 bits, the tag, are stored beside the row's
//! place: 12 bytes in all. A part is an array in the order of tags with free slots between: a tag's home is its share of
//! the array, and a slot lies at its home or shortly behind (linear probing in order, without a hash function for the
//! home). Since order survives, a part grows by an eighth, or shrinks, in one pass, so it is never less than three quarters
//! full.
//!
//! The index answers with *candidates*: rows whose keys agree in 42 bits of their hash. Whether a candidate has the key is
//! for the caller to find out, from the row itself. Several rows may have one key.
//!
//! Work comes in batches, which are done part by part: a part that is on disk is loaded once for a batch.

use std::ops::Range;
use std::path::PathBuf;

use crate::key_spill::SpillFile;
use crate::{Error, Result};

/// Parts: at ten million keys each has 150 KiB and stays in a core's cache while a batch is done.
const PARTS_BITS: u32 = 10;
const PARTS: usize = 1 << PARTS_BITS;

/// A slot is free if its file is this.
const FREE: u32 = u32::MAX;

/// Rows with one tag in one part: more of them are no accident.
const ALIKE_MAX: usize = 4_096;

/// The place of a row: a data file by a number that the owner of the index gave it, and the row's position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RowRef {
    pub file: u32,
    pub row: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    tag: u32,
    at: RowRef,
}

const FREE_SLOT: Slot = Slot { tag: 0, at: RowRef { file: FREE, row: 0 } };

/// Bytes of a slot, in memory and on disk.
pub(crate) const SLOT_BYTES: usize = size_of::<Slot>();

/// One part of the index.
#[derive(Debug)]
pub(crate) struct Part {
    /// Homes are among the first so many slots; the others take what is pushed over the end.
    homes: usize,
    slots: Vec<Slot>,
    len: usize,
}

#[derive(Debug)]
enum Place {
    Memory(Part),
    Disk { homes: usize, len: usize, extent: Range<u64> },
}

/// The index.
#[derive(Debug)]
pub(crate) struct KeyIndex {
    parts: Vec<Place>,
    resident_bytes: usize,
    memory_max_bytes: usize,
    spill: SpillFile,
    len: u64,
}

impl KeyIndex {
    /// An empty index that keeps at most `memory_max_bytes` in memory, and one part.
    pub fn new(memory_max_bytes: usize, spill_dir: Option<PathBuf>) -> Self {
        let parts: Vec<_> = (0..PARTS).map(|_| Place::Memory(Part::with_homes(MIN_HOMES))).collect();
        let resident_bytes = parts.iter().map(Place::memory_bytes).sum();
        Self { parts, resident_bytes, memory_max_bytes, spill: SpillFile::new(spill_dir), len: 0 }
    }

    /// An empty one with the same bounds.
    pub fn emptied(&self) -> Self {
        Self::new(self.memory_max_bytes, Some(self.spill.folder().to_owned()))
    }

    /// Rows in it.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Bytes in memory.
    pub fn memory_bytes(&self) -> usize {
        self.resident_bytes
    }

    /// Bytes on disk, freed ones included.
    pub fn spilled_bytes(&self) -> u64 {
        self.spill.size_bytes()
    }

    /// Calls `visit` with each hash's place in `hashes` and the part that it is in; those of one part in their order.
    pub fn visit(&mut self, hashes: &[u64], mut visit: impl FnMut(usize, Tag, &mut Part) -> Result<()>) -> Result<()> {
        let order = by_part(hashes);
        let mut rest = order.as_slice();
        while let Some(first) = rest.first() {
            let number = part_of(hashes[*first as usize]);
            let count = rest.iter().take_while(|i| part_of(hashes[**i as usize]) == number).count();
            let (here, after) = rest.split_at(count);
            self.with_part(number, |part| {
                here.iter().try_for_each(|i| visit(*i as usize, Tag::of(hashes[*i as usize]), part))
            })?;
            rest = after;
        }
        Ok(())
    }

    /// Drops all rows that `keep` does not want, from every part.
    pub fn retain(&mut self, keep: impl Fn(RowRef) -> bool) -> Result<()> {
        (0..PARTS).try_for_each(|number| {
            self.with_part(number, |part| {
                part.retain(&keep);
                Ok(())
            })
        })
    }

    fn with_part(&mut self, number: usize, work: impl FnOnce(&mut Part) -> Result<()>) -> Result<()> {
        self.load(number)?;
        let Place::Memory(part) = &mut self.parts[number] else { unreachable!("it was just loaded") };
        let (bytes, len) = (part.memory_bytes(), part.len);
        let done = work(part);
        self.resident_bytes = self.resident_bytes - bytes + part.memory_bytes();
        self.len = self.len - len as u64 + part.len as u64;
        self.make_room(number)?;
        done
    }

    fn load(&mut self, number: usize) -> Result<()> {
        if let Place::Disk { homes, len, extent } = &self.parts[number] {
            let slots = self.spill.read(extent.clone())?;
            let part = Part { homes: *homes, slots, len: *len };
            self.spill.free(extent.clone());
            self.resident_bytes += part.memory_bytes();
            self.parts[number] = Place::Memory(part);
        }
        Ok(())
    }

    /// Batches go over all parts in order, so the part that was just used is the one that is needed last: it goes first.
    fn make_room(&mut self, used: usize) -> Result<()> {
        let others = (0..PARTS).map(|i| (used + PARTS - i) % PARTS);
        for number in others {
            if self.resident_bytes <= self.memory_max_bytes {
                break;
            }
            let Place::Memory(part) = &self.parts[number] else { continue };
            if part.len == 0 {
                continue;
            }
            let extent = self.spill.write(&part.slots)?;
            self.resident_bytes -= part.memory_bytes();
            self.parts[number] = Place::Disk { homes: part.homes, len: part.len, extent };
        }
        Ok(())
    }
}

impl Place {
    fn memory_bytes(&self) -> usize {
        match self {
            Self::Memory(part) => part.memory_bytes(),
            Self::Disk { .. } => 0,
        }
    }
}

/// What a part knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag(u32);

impl Tag {
    fn of(hash: u64) -> Self {
        Self((hash >> (u64::BITS - PARTS_BITS - u32::BITS)) as u32)
    }
}

fn part_of(hash: u64) -> usize {
    (hash >> (u64::BITS - PARTS_BITS)) as usize
}

/// The places of hashes in the order of their parts; those of a part in their order.
fn by_part(hashes: &[u64]) -> Vec<u32> {
    let mut starts = vec![0_u32; PARTS + 1];
    for hash in hashes {
        starts[part_of(*hash) + 1] += 1;
    }
    for i in 1..=PARTS {
        starts[i] += starts[i - 1];
    }
    let mut order = vec![0_u32; hashes.len()];
    for (i, hash) in (0..).zip(hashes) {
        let next = &mut starts[part_of(*hash)];
        order[*next as usize] = i;
        *next += 1;
    }
    order
}

const MIN_HOMES: usize = 8;

/// A part that is fuller than 7/8 grows by 1/8, to 7/9: between 13.7 and 15.4 bytes a key.
const FULL: (usize, usize) = (7, 8);

/// A part that is less full than 3/4 shrinks, to 7/9.
const EMPTY: (usize, usize) = (3, 4);

/// Slots behind the homes that a part is made with, and gets when they are used up.
const TAIL_SLOTS: usize = 8;

impl Part {
    fn with_homes(homes: usize) -> Self {
        let mut slots = Vec::new();
        slots.reserve_exact(homes + TAIL_SLOTS);
        slots.resize(homes + TAIL_SLOTS, FREE_SLOT);
        Self { homes, slots, len: 0 }
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Place>() + self.slots.capacity() * SLOT_BYTES
    }

    fn home(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.homes as u64) >> u32::BITS) as usize
    }

    /// The rows whose keys have the tag: candidates.
    pub fn find(&self, tag: Tag) -> impl Iterator<Item = RowRef> + '_ {
        let range = self.alike(tag);
        self.slots[range].iter().map(|slot| slot.at)
    }

    /// The slots with a tag.
    fn alike(&self, Tag(tag): Tag) -> Range<usize> {
        let mut start = self.home(tag);
        while self.slots.get(start).is_some_and(|slot| slot.at.file != FREE && slot.tag < tag) {
            start += 1;
        }
        let alike = self.slots[start..].iter().take_while(|slot| slot.at.file != FREE && slot.tag == tag);
        start..start + alike.count()
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`Error::KeyNotUnique`] if thousands of rows have the tag.
    pub fn insert(&mut self, tag: Tag, at: RowRef) -> Result<()> {
        assert_ne!(at.file, FREE, "files are numbered from 0");
        let alike = self.alike(tag);
        if alike.len() >= ALIKE_MAX {
            return Err(Error::KeyNotUnique { count: alike.len() });
        }
        let mut behind = alike.end;
        if (self.len + 1) * FULL.1 > self.homes * FULL.0 {
            self.rebuild(self.homes + (self.homes / 8).max(MIN_HOMES), |_| true);
            behind = self.alike(tag).end;
        }
        self.put(behind, Slot { tag: tag.0, at });
        Ok(())
    }

    fn put(&mut self, start: usize, slot: Slot) {
        let free = (start..self.slots.len()).find(|i| self.slots[*i].at.file == FREE);
        let free = free.unwrap_or_else(|| {
            let end = self.slots.len();
            self.slots.reserve_exact(TAIL_SLOTS);
            self.slots.resize(end + TAIL_SLOTS, FREE_SLOT);
            end
        });
        self.slots.copy_within(start..free, start + 1);
        self.slots[start] = slot;
        self.len += 1;
    }

    /// Puts a row in another one's place. The other one is there.
    pub fn replace(&mut self, tag: Tag, old: RowRef, new: RowRef) {
        let range = self.alike(tag);
        let slot = self.slots[range].iter_mut().find(|slot| slot.at == old);
        slot.expect("a candidate stays until it is replaced or removed").at = new;
    }

    /// Takes a row out, if it is there.
    pub fn remove(&mut self, tag: Tag, at: RowRef) {
        let range = self.alike(tag);
        let Some(found) = self.slots[range.clone()].iter().position(|slot| slot.at == at) else { return };
        let hole = range.start + found;
        // What was pushed behind its home moves up.
        let behind = self.slots[hole + 1..].iter().zip(hole..);
        let pushed = behind.take_while(|(slot, before)| slot.at.file != FREE && self.home(slot.tag) <= *before).count();
        self.slots.copy_within(hole + 1..hole + 1 + pushed, hole);
        self.slots[hole + pushed] = FREE_SLOT;
        self.len -= 1;
        if self.homes > MIN_HOMES && self.len * EMPTY.1 < self.homes * EMPTY.0 {
            self.shrink(|_| true);
        }
    }

    fn retain(&mut self, keep: impl Fn(RowRef) -> bool) {
        if self.slots.iter().any(|slot| slot.at.file != FREE && !keep(slot.at)) {
            self.len = self.slots.iter().filter(|slot| slot.at.file != FREE && keep(slot.at)).count();
            self.shrink(keep);
        }
    }

    /// Keeps the rows that are wanted, `len` of them, and the room that these need.
    fn shrink(&mut self, keep: impl Fn(RowRef) -> bool) {
        self.rebuild((self.len * 9 / 7 + 1).max(MIN_HOMES), keep);
    }

    /// One pass in order: each slot goes to its new home or behind the one before it.
    fn rebuild(&mut self, homes: usize, keep: impl Fn(RowRef) -> bool) {
        let mut new = Self::with_homes(homes);
        let mut next = 0;
        for slot in self.slots.iter().filter(|slot| slot.at.file != FREE && keep(slot.at)) {
            next = next.max(new.home(slot.tag));
            if next == new.slots.len() {
                new.slots.reserve_exact(TAIL_SLOTS);
                new.slots.resize(next + TAIL_SLOTS, FREE_SLOT);
            }
            new.slots[next] = *slot;
            new.len += 1;
            next += 1;
        }
        *self = new;
    }
}

impl Slot {
    pub(crate) fn to_bytes(self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        for (to, number) in bytes.chunks_exact_mut(4).zip([self.tag, self.at.file, self.at.row]) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        Self { tag: number(0), at: RowRef { file: number(4), row: number(8) } }
    }
}

#[cfg(test)]
mod tests;
