//! Hostile and damaged files: each ends as an error in less than a second and 256 MiB, and none ends the process.
//!
//! The work is done in a child process whose memory the kernel bounds: an allocation beyond that would abort it, as it
//! would abort a server.

mod decoders;
mod fuzz;
mod seeds;
mod texts;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use decoders::Outcome;

const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// Of processor time, so that a busy machine fails nothing.
const DECODE_TIME_MAX: Duration = Duration::from_secs(1);

/// A child that takes longer hangs.
const CHILD_TIME_MAX: Duration = Duration::from_secs(600);

/// Cases of a decoder and a kind of damage; `FRAZIL_LONG=1` tries every byte of every seed.
const CASES_MAX: usize = 400;

/// Random cases of a decoder in a short run.
const FUZZ_CASES: u64 = 300;

type Decode = fn(&[u8]) -> Outcome;

const DECODERS: [(&str, Decode); 11] = [
    ("metadata", decoders::metadata),
    ("manifest_list", decoders::manifest_list),
    ("manifest", decoders::manifest),
    ("data_file", decoders::data_file),
    ("page_index", decoders::page_index),
    ("json_rows", texts::json_rows),
    ("csv_rows", texts::csv_rows),
    ("sql_script", texts::sql_script),
    ("commit_body", decoders::commit_body),
    ("deletion_vector", decoders::deletion_vector),
    ("statistics", decoders::statistics),
];

/// Runs a test of this module in a process of its own, which may write into a folder.
#[track_caller]
fn in_child(test: &str, work: impl FnOnce(&Path)) {
    const CHILD: &str = "FRAZIL_HOSTILE_CHILD";
    if let Some(folder) = std::env::var_os(CHILD) {
        return work(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("output");
    let write = || Stdio::from(File::options().append(true).create(true).open(&output).unwrap());
    let mut child = Command::new("prlimit")
        .args([format!("--data={MEMORY_BYTES_MAX}"), "--core=0".to_owned()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("table::hostile::{test}"), "--nocapture", "--test-threads=1"])
        .env(CHILD, folder.path())
        .env("RUST_BACKTRACE", "0")
        .stdout(write())
        .stderr(write())
        .spawn()
        .expect("prlimit is part of util-linux");
    let begun = Instant::now();
    let time_max = CHILD_TIME_MAX + Duration::from_secs(number("FRAZIL_FUZZ_SECONDS").unwrap_or(0));
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if begun.elapsed() > time_max {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = String::from_utf8_lossy(&std::fs::read(&output).unwrap()).into_owned();
    let last: Vec<&str> = said.lines().rev().take(12).collect();
    let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
    if said.contains("1 passed") {
        // The first is behind what libtest printed.
        let tallies = said.lines().filter_map(|line| line.find("fuzzed ").map(|at| &line[at..]));
        return tallies.for_each(|tally| println!("{tally}"));
    }
    let mut kept = String::new();
    if let Ok(input) = std::fs::read(folder.path().join("input")) {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", uuid::Uuid::new_v4()));
        std::fs::write(&file, input).unwrap();
        kept = format!("; its input is in {}", file.display());
    }
    panic!("the child ended with {status:?}{kept}; the last it said:\n{last}");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("it is a number"))
}

/// Decodes once, within bounds. The case is printed first: if the process ends, it is the last word.
fn decode((name, decode): (&str, Decode), what: &str, bytes: &[u8]) -> Outcome {
    println!("{name} {what}");
    let before = processor_time();
    let outcome = decode(bytes);
    let took = processor_time() - before;
    assert!(took < DECODE_TIME_MAX, "{name} {what} took {took:?}");
    outcome
}

/// Of this thread (proc(5), `schedstat`).
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

fn seeds_folder(name: &str) -> PathBuf {
    frazil_tests::package_folder().join("../fuzz/seeds").join(name)
}

/// Whole files, as they are committed.
fn seeds_of(name: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = std::fs::read_dir(seeds_folder(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Every so many places of the seeds, so that there are [`CASES_MAX`] in all.
fn each_place(seeds: &[Vec<u8>], mut of: impl FnMut(usize, &[u8], usize)) {
    let places: usize = seeds.iter().map(Vec::len).sum();
    let step = if std::env::var_os("FRAZIL_LONG").is_some() { 1 } else { places.div_ceil(CASES_MAX) };
    let mut next = 0;
    for (index, seed) in seeds.iter().enumerate() {
        while next < seed.len() {
            of(index, seed, next);
            next += step;
        }
        next -= seed.len();
    }
}

/// `FRAZIL_FUZZ=TARGET` tries one decoder for `FRAZIL_FUZZ_SECONDS`, from `FRAZIL_SEED`; `FRAZIL_FUZZ_FILE` one file.
#[test]
fn files_that_are_damaged_at_random_are_read_or_refused() {
    in_child("files_that_are_damaged_at_random_are_read_or_refused", |folder| {
        let variable = |name: &str| std::env::var(name).ok();
        let wanted = variable("FRAZIL_FUZZ");
        let time = Duration::from_secs(number("FRAZIL_FUZZ_SECONDS").unwrap_or(CHILD_TIME_MAX.as_secs()));
        let cases = if wanted.is_some() { u64::MAX } else { FUZZ_CASES };
        let seed = number("FRAZIL_SEED").unwrap_or(1);
        let mut decoders = DECODERS.to_vec();
        decoders.retain(|(name, _)| wanted.as_ref().is_none_or(|wanted| wanted == name));
        assert!(!decoders.is_empty(), "the targets are {:?}", DECODERS.map(|(name, _)| name));
        for decoder @ (name, run) in decoders {
            if let Some(file) = variable("FRAZIL_FUZZ_FILE") {
                println!("fuzzed {name}: {:?}", decode(decoder, &file, &std::fs::read(&file).unwrap()));
                continue;
            }
            let tally = fuzz::fuzz(run, seeds_of(name), seed, fuzz::Budget { time, cases }, &folder.join("input"));
            println!("fuzzed {name} from seed {seed}: {:?}", tally.unwrap_or_else(|broken| panic!("{name}: {broken}")));
        }
    });
}

/// Seeds are what the program writes now. They are written anew by `FRAZIL_WRITE_SEEDS=1`; a file that was found later
/// lies beside them under another name.
#[test]
fn there_are_seeds_for_every_decoder() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let made = runtime.block_on(seeds::seeds());
    for (name, _) in DECODERS {
        let files = &made[name];
        let folder = seeds_folder(name);
        if std::env::var_os("FRAZIL_WRITE_SEEDS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            for (index, file) in files.iter().enumerate() {
                std::fs::write(folder.join(format!("{index:02}")), file).unwrap();
            }
        }
        let stored = std::fs::read_dir(&folder).unwrap().count();
        assert!(stored >= files.len(), "{name} has {stored} seeds of {}", files.len());
    }
}

#[test]
fn whole_files_are_read_and_files_cut_anywhere_are_refused() {
    in_child("whole_files_are_read_and_files_cut_anywhere_are_refused", |_| {
        for decoder @ (name, _) in DECODERS {
            let seeds = seeds_of(name);
            assert!(!seeds.is_empty(), "{name}");
            for seed in &seeds {
                assert!(seed.len() <= 20 << 10, "{name}");
                let outcome = decode(decoder, "whole", seed);
                // A list of one format version is read as each of them.
                assert!(
                    outcome.is_ok() || matches!(name, "manifest_list" | "commit_body" | "json_rows"),
                    "{outcome:?}"
                );
            }
            // Text may end early and still be text, and an Avro file behind its header or a block.
            let must_fail = matches!(name, "metadata" | "data_file" | "page_index");
            each_place(&seeds, |index, seed, length| {
                let outcome = decode(decoder, &format!("{index} cut to {length}"), &seed[..length]);
                assert!(outcome.is_err() || !must_fail || length + 1 == seed.len(), "{name} {index} cut to {length}");
            });
        }
    });
}

#[test]
fn files_with_a_flipped_byte_anywhere_are_read_or_refused() {
    in_child("files_with_a_flipped_byte_anywhere_are_read_or_refused", |_| {
        for decoder @ (name, _) in DECODERS {
            let mut refused = 0;
            each_place(&seeds_of(name), |index, seed, at| {
                for flip in [1 << (at % 8), 0xff] {
                    let mut bytes = seed.to_vec();
                    bytes[at] ^= flip;
                    let outcome = decode(decoder, &format!("{index} byte {at} flipped by {flip:#x}"), &bytes);
                    refused += usize::from(outcome.is_err());
                }
            });
            assert!(refused > 0, "{name}: no damage was seen");
        }
    });
}

#[test]
fn files_that_claim_without_measure_are_refused() {
    in_child("files_that_claim_without_measure_are_refused", |_| {
        for (name, bytes, reason) in claims() {
            let decoder = DECODERS.into_iter().find(|(known, _)| *known == name).unwrap();
            let error = decode(decoder, reason, &bytes).unwrap_err();
            assert!(error.contains(reason), "{name}: {error}");
        }
    });
}

/// Files that ask for more than there is: the decoder, the file, a part of the error.
fn claims() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let deep = |open: &str, count: usize| open.repeat(count).into_bytes();
    let wide = format!("{{\"x\":[{}1]}}", "1,".repeat(2_000_000)).into_bytes();
    let footer = [0x15, 0x02, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00];
    let parquet = [b"PAR1".as_slice(), &footer, &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat();
    assert_eq!(parquet.len(), 22);
    let header = [b"Obj\x01".as_slice(), &[0x80, 0xca, 0xb5, 0xee, 0x03]].concat();
    let list = r#"{"type":"record","name":"a","fields":[{"name":"next","type":"a"}]}"#;
    let zeros = deflate(&vec![0; 64 << 20]);
    vec![
        ("data_file", parquet.clone(), "claims 2147483647 elements"),
        ("page_index", parquet, "claims 2147483647 elements"),
        ("manifest", header.clone(), "elements are claimed"),
        ("manifest_list", header, "elements are claimed"),
        ("manifest", container(list, "null", 1, b""), "a contains itself"),
        ("manifest_list", container(list, "null", 1, b""), "a contains itself"),
        ("manifest_list", container("\"null\"", "null", 1 << 40, b""), "more than a file of this size holds"),
        ("manifest", container("\"int\"", "deflate", 1, &zeros), "inflates to more than 64 times the file"),
        ("manifest_list", container("\"int\"", "deflate", 1, &zeros), "inflates to more than 64 times the file"),
        ("manifest", container("\"int\"", "snappy", 1, b"\xff\xff\xff\xff\x0f...."), "inflates to more than"),
        ("metadata", deep("[", 100_000), "nests more than 64 deep"),
        ("metadata", deep("{\"a\":", 100_000), "nests more than 64 deep"),
        ("metadata", gzip(&vec![b' '; 64 << 20]), "inflates to more than 100 times its size"),
        ("metadata", gzip(&wide), "more parts than a file of this size holds"),
        ("commit_body", deep("[", 100_000), "recursion limit"),
        ("sql_script", [b"SELECT ".to_vec(), deep("(", 50_000)].concat(), ""),
        ("sql_script", [b"SELECT 1".to_vec(), deep("+1", 50_000)].concat(), ""),
        ("json_rows", [b"{\"id\":1,\"l\":".to_vec(), deep("[", 50_000)].concat(), ""),
        ("json_rows", [b"{\"id\":1,\"x\":".to_vec(), deep("[", 50_000)].concat(), ""),
        ("csv_rows", deep("\"", 50_001), ""),
    ]
}

/// Snapshots whose parents go round in a circle: whoever walks them must come to an end.
#[test]
fn snapshots_in_a_circle_end() {
    in_child("snapshots_in_a_circle_end", |_| {
        let mut json: serde_json::Value = serde_json::from_slice(&seeds_of("metadata")[2]).unwrap();
        let snapshots = json["snapshots"].as_array_mut().unwrap();
        assert_eq!(snapshots.len(), 2);
        let head = snapshots[1]["snapshot-id"].clone();
        snapshots[0]["parent-snapshot-id"] = head;
        decode(DECODERS[0], "circle", &serde_json::to_vec(&json).unwrap()).unwrap();
    });
}

fn container(schema: &str, codec: &str, records: i64, block: &[u8]) -> Vec<u8> {
    let mut bytes = b"Obj\x01".to_vec();
    bytes.extend(long(2));
    for part in ["avro.schema", schema, "avro.codec", codec] {
        bytes.extend(long(part.len() as i64));
        bytes.extend(part.as_bytes());
    }
    bytes.push(0);
    bytes.extend([7; 16]);
    bytes.extend(long(records));
    bytes.extend(long(block.len() as i64));
    bytes.extend(block);
    bytes.extend([7; 16]);
    bytes
}

/// Avro's form of a number that is not negative.
fn long(value: i64) -> Vec<u8> {
    let (mut rest, mut bytes) = (value << 1, Vec::new());
    while rest > 0x7f {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}
