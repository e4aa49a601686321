use std::io::Write;

use super::*;

const MARKER_OF_TESTS: [u8; 16] = *b"0123456789abcdef";

const SCHEMA: &str = r#"{"type":"record","name":"entry","fields":[
    {"name":"status","type":"int"},
    {"name":"path","type":["null","string"]},
    {"name":"counts","type":{"type":"array","items":{"type":"record","name":"k1_v2","fields":[
        {"name":"key","type":"int"},{"name":"value","type":"long"}]}}},
    {"name":"bounds","type":{"type":"map","values":"bytes"}},
    {"name":"nan","type":"double"},
    {"name":"is_live","type":{"type":"boolean"}},
    {"name":"id","type":{"type":"fixed","name":"f","size":2}},
    {"name":"other_id","type":"f"},
    {"name":"kind","type":{"type":"enum","name":"e","symbols":["A","B"]}}]}"#;

/// One record of [`SCHEMA`].
fn record() -> Vec<u8> {
    let mut bytes = Vec::new();
    put_long(&mut bytes, 1);
    bytes.extend([2, 6]);
    bytes.extend(b"abc");
    // Two elements in a block with its size, then the end.
    bytes.extend([3, 8, 2, 4, 6, 8, 0]);
    bytes.extend([2, 2, b'k', 4, 1, 2, 0]);
    bytes.extend(1.5_f64.to_le_bytes());
    bytes.extend([1, 7, 7, 8, 8, 2]);
    bytes
}

fn container(schema: &str, codec: &str, blocks: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    put_long(&mut bytes, 2);
    for part in ["avro.schema", schema, "avro.codec", codec] {
        put_long(&mut bytes, part.len() as u64);
        bytes.extend(part.as_bytes());
    }
    bytes.push(0);
    bytes.extend(MARKER_OF_TESTS);
    for (records, block) in blocks {
        put_long(&mut bytes, *records);
        put_long(&mut bytes, block.len() as u64);
        bytes.extend(block);
        bytes.extend(MARKER_OF_TESTS);
    }
    bytes
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = snap::raw::Encoder::new().compress_vec(bytes).unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    encoded.extend(crc.sum().to_be_bytes());
    encoded
}

#[track_caller]
fn refuse(bytes: &[u8], reason: &str) {
    let error = check_container(bytes, Kept::Everything, |_| false).unwrap_err();
    assert!(error.contains(reason), "{error}");
}

#[test]
fn a_whole_container_passes_and_comes_out_uncompressed() {
    let two: Vec<u8> = [record(), record()].concat();
    let plain = container(SCHEMA, "null", &[(2, two.clone()), (1, record())]);
    assert!(matches!(check_container(&plain, Kept::Record, |_| false), Ok(Cow::Borrowed(_))));
    type Compress = fn(&[u8]) -> Vec<u8>;
    let zstandard: Compress = |bytes| zstd::encode_all(bytes, 3).unwrap();
    for (codec, compress) in [("deflate", deflate as Compress), ("snappy", snappy), ("zstandard", zstandard)] {
        let packed = container(SCHEMA, codec, &[(2, compress(&two)), (1, compress(&record()))]);
        let unpacked = check_container(&packed, Kept::Record, |_| false).unwrap();
        assert!(unpacked.ends_with(&plain[plain.len() - 2 * record().len() - 50..]), "{codec}");
        assert!(matches!(check_container(&unpacked, Kept::Record, |_| false), Ok(Cow::Borrowed(_))), "{codec}");
    }
}

#[test]
fn a_container_cut_anywhere_is_refused() {
    let bytes = container(SCHEMA, "null", &[(1, record())]);
    let header = bytes.len() - record().len() - 18;
    for length in (0..bytes.len()).filter(|length| *length != header) {
        check_container(&bytes[..length], Kept::Record, |_| false).unwrap_err();
    }
}

#[test]
fn counts_that_are_not_there_are_refused() {
    refuse(&container(SCHEMA, "null", &[(2, record())]), "record 1: 1 bytes are claimed at byte");
    refuse(&container(SCHEMA, "null", &[(u64::MAX >> 1, record())]), "more than a file of this size holds");
    refuse(&container(SCHEMA, "null", &[(0, record())]), "bytes follow its last record");
    let mut header = MAGIC.to_vec();
    put_long(&mut header, 500_000_000);
    refuse(&header, "500000000 elements are claimed");
    let array = r#"{"type":"array","items":"null"}"#;
    let mut items = Vec::new();
    put_long(&mut items, 400_000_000);
    items.push(0);
    refuse(&container(array, "null", &[(1, items)]), "400000000 elements are claimed");
    // Records without any bytes: as many as one likes.
    refuse(&container(r#""null""#, "null", &[(1 << 40, vec![])]), "more than a file of this size holds");
}

#[test]
fn a_schema_that_contains_itself_or_grows_without_end_is_refused() {
    let list = r#"{"type":"record","name":"a","fields":[{"name":"next","type":["null","a"]}]}"#;
    refuse(&container(list, "null", &[]), "a contains itself");
    let fixed = r#"{"type":"fixed","name":"f","size":4611686018427387904}"#;
    refuse(&container(fixed, "null", &[]), "f is no fixed type of at most");
    let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(40), "}".repeat(40));
    refuse(&container(&deep, "null", &[]), "nests more than 32 deep");
    refuse(&container(&"[".repeat(100_000), "null", &[]), "recursion limit");
    // Each level holds the one below twice: 2^30 values of no bytes.
    let mut laughs = r#"{"type":"record","name":"r0","fields":[]}"#.to_owned();
    for level in 1..30 {
        let below = level - 1;
        laughs = format!(
            r#"{{"type":"record","name":"r{level}","fields":[{{"name":"a","type":{laughs}}},{{"name":"b","type":"r{below}"}}]}}"#
        );
    }
    refuse(&container(&laughs, "null", &[]), "more than 10000 types");
}

#[test]
fn a_bomb_is_refused_before_it_is_unpacked() {
    let zeros = vec![0_u8; 64 << 20];
    for (codec, block) in [
        ("deflate", deflate(&zeros)),
        ("snappy", snappy(&zeros)),
        ("zstandard", zstd::encode_all(&zeros[..], 1).unwrap()),
    ] {
        let many = container(r#""int""#, codec, &[(1, block.clone()), (1, block)]);
        let error = check_container(&many, Kept::Record, |_| false).unwrap_err();
        // Snappy packs 20 times at best: its block unpacks, and is more than the one record.
        assert!(error.contains("inflates to more than") || error.contains("follow its last record"), "{codec} {error}");
    }
    refuse(&container(SCHEMA, "snappy", &[(1, vec![1, 2, 3])]), "too short to have a checksum");
    refuse(&container(SCHEMA, "xz", &[]), "codec \"xz\" is not known");
}
