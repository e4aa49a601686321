//! Random damage: whole files are changed, cut and put together, and decoded within the bounds of [`super`].
//!
//! There is no look at which code ran. In its place stands what came out: a file that ends in an outcome nobody has seen
//! is kept and changed further, so that one layer of checks after the other is got through.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::{Decode, processor_time};

/// Longer files find nothing that shorter ones don't.
const BYTES_MAX: usize = 64 << 10;

/// Files that are kept besides the seeds.
const KEPT_MAX: usize = 4_096;

/// What the last panic said, also one that a decoder caught.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// When it ends.
#[derive(Clone, Copy)]
pub struct Budget {
    pub time: Duration,
    pub cases: u64,
}

/// How it ended.
#[derive(Debug)]
pub struct Tally {
    pub cases: u64,
    pub outcomes: usize,
    pub slowest: Duration,
}

/// Changes and decodes files until the budget is spent. What is decoded is in the file `input` first: if the process ends,
/// that is what ended it. The error says what broke a promise.
pub fn fuzz(decode: Decode, seeds: Vec<Vec<u8>>, seed: u64, budget: Budget, input: &Path) -> Result<Tally, String> {
    std::panic::set_hook(Box::new(|panic| *PANIC.lock().unwrap() = panic.to_string()));
    let mut random = StdRng::seed_from_u64(seed);
    let mut files = seeds;
    let mut seen: HashSet<String> = files.iter().map(|file| kind(&decode(file))).collect();
    let kept_max = files.len() + KEPT_MAX;
    let begun = Instant::now();
    let mut tally = Tally { cases: 0, outcomes: 0, slowest: Duration::ZERO };
    while tally.cases < budget.cases && begun.elapsed() < budget.time {
        let bytes = changed(&mut random, &files);
        std::fs::write(input, &bytes).unwrap();
        let before = processor_time();
        let outcome = catch_unwind(AssertUnwindSafe(|| decode(&bytes)));
        let took = processor_time() - before;
        let outcome = outcome.map_err(|_| PANIC.lock().unwrap().clone())?;
        if took > super::DECODE_TIME_MAX {
            return Err(format!("it took {took:?} to end with {outcome:?}"));
        }
        tally.slowest = tally.slowest.max(took);
        tally.cases += 1;
        if seen.insert(kind(&outcome)) && files.len() < kept_max {
            files.push(bytes);
        }
    }
    tally.outcomes = seen.len();
    Ok(tally)
}

/// An outcome without what differs from file to file: numbers, and what is quoted.
fn kind(outcome: &super::decoders::Outcome) -> String {
    match outcome {
        Ok(()) => "fine".to_owned(),
        Err(reason) => {
            let plain = |c: &char| c.is_ascii_alphabetic() || *c == ' ';
            reason.chars().filter(plain).take(100).collect()
        }
    }
}

fn changed(random: &mut StdRng, files: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = files.choose(random).expect("there are seeds").clone();
    for _ in 0..1 << random.random_range(0..4) {
        change(random, &mut bytes, files);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn change(random: &mut StdRng, bytes: &mut Vec<u8>, files: &[Vec<u8>]) {
    let at = random.random_range(0..=bytes.len());
    let end = (at + (1 << random.random_range(0..8))).min(bytes.len());
    match random.random_range(0..9) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
        2 if at < bytes.len() => bytes[at] = *[0, 1, 0x7f, 0x80, 0xff, b'{', b'[', b'"'].choose(random).unwrap(),
        3 => drop(bytes.splice(at..end, [])),
        4 => drop(bytes.splice(at..at, bytes[at..end].repeat(random.random_range(1..5)))),
        // Numbers at the ends of their ranges, as they are and as Avro and Thrift write them.
        5 | 6 => {
            let numbers: [&[u8]; 8] = [
                &[0xff; 4],
                &[0xff, 0xff, 0xff, 0x7f],
                &[0, 0, 0, 0x80],
                &[0xff, 0xff, 0xff, 0xff, 0x0f],
                &[0xfe, 0xff, 0xff, 0xff, 0x0f],
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
                &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
                b"99999999999999999999",
            ];
            let number = numbers.choose(random).unwrap();
            let replaced = if random.random_bool(0.5) { number.len() } else { 0 };
            drop(bytes.splice(at..(at + replaced).min(bytes.len()), number.iter().copied()));
        }
        7 => {
            let other = files.choose(random).expect("there are seeds");
            let from = random.random_range(0..=other.len());
            let to = (from + (1 << random.random_range(0..10))).min(other.len());
            drop(bytes.splice(at..end, other[from..to].iter().copied()));
        }
        _ => bytes.truncate(at),
    }
}
