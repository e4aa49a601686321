//! How often each row came and went, with a bound on memory.
//!
//! 1. Rows go in as bytes ([`super::row_code`]), in the order of their snapshots. Of equal rows only the difference that each
//!    snapshot makes is kept: what came minus what went. So what copy-on-write merely copied is nothing in the end.
//! 2. When the counts take more than the budget, they go into temporary files, by the hash of the row's key: equal rows,
//!    and rows of one key, are always in the same one.
//! 3. At the end the files are taken one by one. One that is too large by itself is divided again, by other bits of the
//!    hash.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::ops::Range;

/// Files of one division: each bit of the hash's [`DIVISION_BITS`] halves what one of them holds.
const DIVISIONS: usize = 1 << DIVISION_BITS;
const DIVISION_BITS: u32 = 5;

/// Divisions of divisions: the bits of a hash, used up. What is not apart by then are rows of one key.
const DEPTH_MAX: u32 = u64::BITS / DIVISION_BITS;

/// A slot of the hash table with the count in it.
const ENTRY_OVERHEAD_BYTES: usize = 80;

/// A row with what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Net {
    /// The bytes of its key, then those of the row.
    pub bytes: Box<[u8]>,
    /// How many of the bytes are the key's.
    pub key_length: usize,
    /// More than came before, or fewer. Never 0.
    pub count: i64,
    /// The snapshot that began it.
    pub ordinal: i32,
}

/// Counts of rows.
#[derive(Debug)]
pub(crate) struct Balance {
    bytes_max: usize,
    depth: u32,
    counts: HashMap<Box<[u8]>, Count>,
    bytes: usize,
    divisions: Vec<BufWriter<File>>,
}

/// What each snapshot made of a row: its ordinal, and what came minus what went. Most rows have one.
#[derive(Debug)]
struct Count {
    key_length: usize,
    first: (i32, i64),
    more: Vec<(i32, i64)>,
}

impl Count {
    /// How many bytes it has grown by.
    fn add(&mut self, count: i64, ordinal: i32) -> usize {
        let last = self.more.last_mut().unwrap_or(&mut self.first);
        if last.0 == ordinal {
            last.1 += count;
            return 0;
        }
        if last.1 == 0 {
            // What a snapshot both took and brought is nothing.
            *last = (ordinal, count);
            return 0;
        }
        self.more.push((ordinal, count));
        size_of::<(i32, i64)>()
    }

    fn changes(&self) -> impl Iterator<Item = (i32, i64)> + '_ {
        std::iter::once(self.first).chain(self.more.iter().copied()).filter(|(_, count)| *count != 0)
    }

    /// What it all comes to, and the snapshot since which there have been more, or fewer.
    fn settle(&self) -> (i64, i32) {
        self.changes().fold((0, 0), |(net, since), (ordinal, count)| {
            let sum: i64 = net + count;
            (sum, if sum.signum() == net.signum() { since } else { ordinal })
        })
    }
}

impl Balance {
    /// `bytes_max`: of counts in memory; a file's buffer for each division comes to it.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self::at(bytes_max, 0)
    }

    fn at(bytes_max: usize, depth: u32) -> Self {
        Self { bytes_max, depth, counts: HashMap::new(), bytes: 0, divisions: Vec::new() }
    }

    /// A row came (`count` > 0) or went. Ordinals never go back.
    pub(crate) fn add(&mut self, bytes: &[u8], key_length: usize, count: i64, ordinal: i32) -> io::Result<()> {
        match self.counts.get_mut(bytes) {
            Some(known) => self.bytes += known.add(count, ordinal),
            None => {
                self.bytes += bytes.len() + ENTRY_OVERHEAD_BYTES;
                self.counts.insert(bytes.into(), Count { key_length, first: (ordinal, count), more: Vec::new() });
            }
        }
        if self.bytes > self.bytes_max && self.counts.len() > 1 && self.depth < DEPTH_MAX {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.divisions.is_empty() {
            let file = || Ok(BufWriter::with_capacity(16 << 10, tempfile::tempfile()?));
            self.divisions = (0..DIVISIONS).map(|_| file()).collect::<io::Result<_>>()?;
        }
        for (bytes, count) in self.counts.drain() {
            let key = if count.key_length == 0 { &bytes[..] } else { &bytes[..count.key_length] };
            let file = &mut self.divisions[division(key, self.depth)];
            // In the order in which they happened, so that reading them is the same as having seen them.
            for (ordinal, difference) in count.changes() {
                write_record(file, &bytes, count.key_length, difference, ordinal)?;
            }
        }
        self.bytes = 0;
        Ok(())
    }

    /// All rows are in.
    pub(crate) fn finish(mut self) -> io::Result<Settled> {
        let bytes_max = self.bytes_max;
        if self.divisions.is_empty() {
            return Ok(Settled::Memory(settle(self.counts)));
        }
        self.spill()?;
        let files = self.divisions.into_iter().map(|file| file.into_inner().map_err(io::IntoInnerError::into_error));
        let files = files.collect::<io::Result<_>>()?;
        Ok(Settled::Files { files, bytes_max, depth: self.depth })
    }
}

/// What is left, sorted by its bytes as far as it is in one place.
fn settle(counts: HashMap<Box<[u8]>, Count>) -> Vec<Net> {
    let settled = counts.into_iter().filter_map(|(bytes, history)| {
        let (count, ordinal) = history.settle();
        (count != 0).then_some(Net { bytes, key_length: history.key_length, count, ordinal })
    });
    let mut nets: Vec<Net> = settled.collect();
    nets.sort_unstable_by(|a, b| a.bytes.cmp(&b.bytes));
    nets
}

/// The outcome, in memory or divided among files.
#[derive(Debug)]
pub(crate) enum Settled {
    Memory(Vec<Net>),
    Files { files: Vec<File>, bytes_max: usize, depth: u32 },
}

/// Counts what one file holds.
fn load(file: &mut File, bytes_max: usize, depth: u32) -> io::Result<Settled> {
    let mut balance = Balance::at(bytes_max, depth);
    file.rewind()?;
    let mut records = BufReader::with_capacity(256 << 10, file);
    let mut bytes = Vec::new();
    while let Some((key_length, count, ordinal)) = read_record(&mut records, &mut bytes)? {
        balance.add(&bytes, key_length, count, ordinal)?;
    }
    balance.finish()
}

/// Goes through an outcome, as often as wanted.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The outcome, and the divisions on the way to where the walk is; with what of each is done.
    stack: Vec<(Settled, usize)>,
}

enum Step {
    Show(Range<usize>),
    Enter(Settled),
    Leave,
}

impl Walk {
    pub(crate) fn new(settled: Settled) -> Self {
        Self { stack: vec![(settled, 0)] }
    }

    /// From the beginning again.
    pub(crate) fn restart(&mut self) {
        self.stack.truncate(1);
        self.stack[0].1 = 0;
    }

    /// About `rows_max` rows; all those of a key at once.
    pub(crate) fn next(&mut self, rows_max: usize) -> io::Result<Option<&[Net]>> {
        let shown = loop {
            let is_root = self.stack.len() == 1;
            let (settled, done) = self.stack.last_mut().expect("the outcome itself stays");
            let step = match settled {
                Settled::Memory(nets) if *done < nets.len() => {
                    let mut end = (*done + rows_max).min(nets.len());
                    let key = |at: usize| &nets[at].bytes[..nets[at].key_length];
                    while end < nets.len() && nets[end].key_length > 0 && key(end) == key(end - 1) {
                        end += 1;
                    }
                    let from = std::mem::replace(done, end);
                    Step::Show(from..end)
                }
                Settled::Files { files, bytes_max, depth } if *done < files.len() => {
                    let file = &mut files[*done];
                    *done += 1;
                    Step::Enter(load(file, *bytes_max, *depth + 1)?)
                }
                _ => Step::Leave,
            };
            match step {
                Step::Show(rows) => break rows,
                Step::Enter(division) => self.stack.push((division, 0)),
                Step::Leave if is_root => return Ok(None),
                Step::Leave => drop(self.stack.pop()),
            }
        };
        match self.stack.last() {
            Some((Settled::Memory(nets), _)) => Ok(Some(&nets[shown])),
            _ => unreachable!("rows are shown of what is in memory"),
        }
    }
}

fn division(key: &[u8], depth: u32) -> usize {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    (hasher.finish() >> (depth * DIVISION_BITS)) as usize % DIVISIONS
}

/// Lengths of the key and of all bytes, the count, the ordinal, the bytes.
fn write_record(
    file: &mut BufWriter<File>,
    bytes: &[u8],
    key_length: usize,
    count: i64,
    ordinal: i32,
) -> io::Result<()> {
    let length = |length: usize| u32::try_from(length).map_err(|_| io::Error::other("a row of more than 4 GiB"));
    file.write_all(&length(key_length)?.to_le_bytes())?;
    file.write_all(&length(bytes.len())?.to_le_bytes())?;
    file.write_all(&count.to_le_bytes())?;
    file.write_all(&ordinal.to_le_bytes())?;
    file.write_all(bytes)
}

fn read_record(from: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<Option<(usize, i64, i32)>> {
    let mut head = [0; 20];
    match from.read(&mut head[..1])? {
        0 => return Ok(None),
        _ => from.read_exact(&mut head[1..])?,
    }
    let (key_length, rest) = head.split_first_chunk::<4>().expect("20 bytes are more than 4");
    let (length, rest) = rest.split_first_chunk::<4>().expect("16 bytes are more than 4");
    let (count, rest) = rest.split_first_chunk::<8>().expect("12 bytes are more than 8");
    let ordinal = rest.first_chunk::<4>().expect("4 bytes are left");
    bytes.resize(u32::from_le_bytes(*length) as usize, 0);
    from.read_exact(bytes)?;
    let key_length = u32::from_le_bytes(*key_length) as usize;
    Ok(Some((key_length, i64::from_le_bytes(*count), i32::from_le_bytes(*ordinal))))
}

#[cfg(test)]
mod tests;
