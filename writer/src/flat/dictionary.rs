//! Distinct values of a column chunk, numbered as they come.

use std::hash::{BuildHasher, RandomState};

use super::number::Number;

/// How long the way to a value may be on average. Longer ones are no accident; a dictionary is only there to save.
const PROBES_MAX: u64 = 8;

/// Where numbers of values are found by hash: open addressing, at most half full.
#[derive(Debug)]
struct Slots {
    /// A value's number and one, and the upper half of its hash; 0 is free.
    slots: Vec<u64>,
    mask: usize,
    seed: u64,
    probes: u64,
}

const SLOTS_MIN: usize = 1 << 8;

impl Slots {
    fn new() -> Self {
        Self { slots: vec![0; SLOTS_MIN], mask: SLOTS_MIN - 1, seed: RandomState::new().hash_one(0_u8) | 1, probes: 0 }
    }

    /// The number of the value with this hash that `is_it`, or `next` from now on.
    #[inline]
    fn find_or_insert(&mut self, hash: u64, next: u32, is_it: impl Fn(u32) -> bool) -> u32 {
        let tag = hash & 0xffff_ffff_0000_0000;
        let mut at = (hash >> 7) as usize & self.mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                self.slots[at] = tag | u64::from(next + 1);
                return next;
            }
            if slot & 0xffff_ffff_0000_0000 == tag {
                let number = slot as u32 - 1;
                if is_it(number) {
                    return number;
                }
            }
            self.probes += 1;
            at = (at + 1) & self.mask;
        }
    }

    fn is_half_full(&self, values: usize) -> bool {
        values * 2 >= self.slots.len()
    }

    /// Makes room for as many again; the values' hashes in the order of their numbers.
    fn grow(&mut self, hashes: impl Iterator<Item = u64>) {
        let count = self.slots.len() * 2;
        self.mask = count - 1;
        self.slots.clear();
        self.slots.resize(count, 0);
        for (number, hash) in (0..).zip(hashes) {
            self.find_or_insert(hash, number, |_| false);
        }
    }

    fn bytes(&self) -> usize {
        self.slots.len() * size_of::<u64>()
    }
}

/// Mixes two words into one, each bit of which depends on all of theirs.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A dictionary of numbers.
#[derive(Debug)]
pub(super) struct NumberDictionary<T> {
    values: Vec<T>,
    slots: Slots,
    looked_up: u64,
}

impl<T> NumberDictionary<T> {
    pub fn new() -> Self {
        Self { values: Vec::new(), slots: Slots::new(), looked_up: 0 }
    }
}

impl<T: Number> NumberDictionary<T> {
    /// Appends the values' numbers.
    pub fn look_up(&mut self, values: &[T], numbers: &mut Vec<u32>) {
        self.looked_up += values.len() as u64;
        numbers.reserve(values.len());
        // Values often come in runs.
        let mut last: Option<(T, u32)> = None;
        for value in values {
            if let Some((before, number)) = last
                && before.bits() == value.bits()
            {
                numbers.push(number);
                continue;
            }
            let number = self.number(*value);
            numbers.push(number);
            last = Some((*value, number));
        }
    }

    #[inline]
    fn number(&mut self, value: T) -> u32 {
        let seed = self.slots.seed;
        let next = self.values.len() as u32;
        let known = &self.values;
        let hash = fold(value.bits() ^ seed, ODD);
        let number = self.slots.find_or_insert(hash, next, |number| known[number as usize].bits() == value.bits());
        if number == next {
            self.values.push(value);
            if self.slots.is_half_full(self.values.len()) {
                self.slots.grow(self.values.iter().map(|value| fold(value.bits() ^ seed, ODD)));
            }
        }
        number
    }

    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// Of the plain values.
    pub fn plain_bytes(&self) -> usize {
        self.values.len() * size_of::<T>()
    }

    pub fn memory_bytes(&self) -> usize {
        self.values.capacity() * size_of::<T>() + self.slots.bytes()
    }

    /// Whether values are found too slowly for it to be of use.
    pub fn is_slow(&self) -> bool {
        self.slots.probes > PROBES_MAX * (self.looked_up + self.slots.slots.len() as u64)
    }
}

/// A dictionary of texts or binaries.
#[derive(Debug)]
pub(super) struct BytesDictionary {
    /// All values, one behind the other.
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<u32>,
    slots: Slots,
    looked_up: u64,
}

impl BytesDictionary {
    pub fn new() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new(), slots: Slots::new(), looked_up: 0 }
    }

    /// The value's number; no more than 4 GiB of values may have numbers.
    #[inline]
    pub fn look_up(&mut self, value: &[u8]) -> u32 {
        self.looked_up += 1;
        let seed = self.slots.seed;
        let next = self.ends.len() as u32;
        let (bytes, ends) = (&self.bytes, &self.ends);
        let number =
            self.slots.find_or_insert(hash(value, seed), next, |number| value_of(bytes, ends, number) == value);
        if number == next {
            self.bytes.extend_from_slice(value);
            self.ends.push(self.bytes.len() as u32);
            if self.slots.is_half_full(self.ends.len()) {
                let hashes =
                    (0..self.ends.len() as u32).map(|number| hash(value_of(&self.bytes, &self.ends, number), seed));
                self.slots.grow(hashes);
            }
        }
        number
    }

    pub fn value(&self, number: u32) -> &[u8] {
        value_of(&self.bytes, &self.ends, number)
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Of the plain values, each with its length before it.
    pub fn plain_bytes(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<u32>()
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>() + self.slots.bytes()
    }

    /// Whether values are found too slowly for it to be of use.
    pub fn is_slow(&self) -> bool {
        self.slots.probes > PROBES_MAX * (self.looked_up + self.slots.slots.len() as u64)
    }
}

#[inline]
fn value_of<'a>(bytes: &'a [u8], ends: &[u32], number: u32) -> &'a [u8] {
    let number = number as usize;
    let start = if number == 0 { 0 } else { ends[number - 1] };
    &bytes[start as usize..ends[number] as usize]
}

/// Not for anything but these dictionaries: who knows the seed can make values collide, and does no harm ([`PROBES_MAX`]).
#[inline]
fn hash(value: &[u8], seed: u64) -> u64 {
    let length = value.len();
    let word = |at: usize| value[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let half = |at: usize| value[at..].first_chunk().map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)));
    let (a, b) = match length {
        0 => (0, 0),
        1..4 => (u64::from(value[0]) | u64::from(value[length / 2]) << 8 | u64::from(value[length - 1]) << 16, 0),
        4..8 => (half(0), half(length - 4)),
        8..=16 => (word(0), word(length - 8)),
        _ => {
            let mut state = seed;
            for at in (0..length - 16).step_by(16) {
                state = fold(word(at) ^ state, word(at + 8) ^ ODD);
            }
            (word(length - 16) ^ state, word(length - 8))
        }
    };
    fold(fold(a ^ seed, b ^ ODD) ^ length as u64, ODD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_as_values_come() {
        let mut dictionary = NumberDictionary::<i64>::new();
        let mut numbers = Vec::new();
        dictionary.look_up(&[7, 7, -1, 7, 0, -1], &mut numbers);
        assert_eq!((numbers.as_slice(), dictionary.values()), ([0, 0, 1, 0, 2, 1].as_slice(), [7, -1, 0].as_slice()));
        let many: Vec<i64> = (0..100_000).map(|n| n * n).collect();
        numbers.clear();
        dictionary.look_up(&many, &mut numbers);
        assert_eq!(numbers.iter().map(|n| dictionary.values()[*n as usize]).collect::<Vec<_>>(), many);
        assert!(!dictionary.is_slow());
    }

    #[test]
    fn texts_of_all_lengths_are_told_apart() {
        let mut dictionary = BytesDictionary::new();
        let mut texts = Vec::new();
        for length in 0..70 {
            texts.push(vec![b'a'; length]);
            for at in 0..length {
                let mut other = vec![b'a'; length];
                other[at] = b'b';
                texts.push(other);
            }
        }
        for round in 0..2 {
            for (number, text) in (0..).zip(&texts) {
                assert_eq!(dictionary.look_up(text), number, "round {round}");
            }
        }
        assert!((0..).zip(&texts).all(|(number, text)| dictionary.value(number) == text));
        assert_eq!(dictionary.plain_bytes(), texts.iter().map(|text| text.len() + 4).sum::<usize>());
        assert!(!dictionary.is_slow());
    }

    /// Whoever finds values that collide makes a dictionary slow: that must be seen.
    #[test]
    fn a_crowded_dictionary_knows() {
        let mut slots = Slots::new();
        slots.slots.resize(1 << 16, 0);
        slots.mask = (1 << 16) - 1;
        for number in 0..2_000 {
            slots.find_or_insert(1 << 40, number, |_| false);
        }
        let dictionary = NumberDictionary::<i32> { values: vec![0; 2_000], slots, looked_up: 2_000 };
        assert!(dictionary.is_slow());
    }
}
