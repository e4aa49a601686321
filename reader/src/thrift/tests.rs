use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;

use super::*;

fn real_footer() -> Vec<u8> {
    let a: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let b: ArrayRef = Arc::new(StringArray::from(vec!["x", "y", "z"]));
    let batch = RecordBatch::try_from_iter([("a", a), ("b", b)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let length = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap()) as usize;
    bytes[bytes.len() - 8 - length..bytes.len() - 8].to_vec()
}

#[test]
fn a_real_footer_passes() {
    check_footer(&real_footer()).unwrap();
}

#[test]
fn claims_without_substance_are_refused() {
    for (bytes, reason) in [
        // version, then a schema list of i32::MAX structs: what ends the process in the decoder.
        (&[0x15, 0x02, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07][..], "claims 2147483647 elements"),
        (&[0x15, 0x02, 0x18, 0xff, 0xff, 0x03][..], "are claimed"),
        (&[0x15, 0x02][..], "ends in the middle"),
        (&[0x15, 0x02, 0x00][..], "there is no schema"),
        (&[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..], "is not a number"),
        (&[0x1d, 0x00][..], "is not a type"),
        // One schema element with many children.
        (&[0x29, 0x1c, 0x55, 0x80, 0x80, 0xf4, 0x01, 0x00, 0x00][..], "claims 1998848 children of 1"),
        // Two elements, the first of which has none: the second belongs nowhere.
        (&[0x29, 0x2c, 0x00, 0x00, 0x00][..], "belongs to no group"),
        (&[0x29, 0x1c, 0x55, 0x02, 0x00, 0x00][..], "ends in the middle of a group"),
    ] {
        let error = check_footer(bytes).unwrap_err();
        assert!(error.contains(reason), "{bytes:x?}: {error}");
    }
}

#[test]
fn nesting_is_bounded() {
    let structs = vec![0x1c; 1_000_000];
    assert!(check_footer(&structs).unwrap_err().contains("nests more than"));
    let lists = vec![0x19; 1_000_000];
    assert!(check_footer(&lists).unwrap_err().contains("nests more than"));
    // Groups of one child each.
    let mut schema = vec![0x29, 0xfc, 0xe8, 0x07];
    for _ in 0..999 {
        schema.extend_from_slice(&[0x55, 0x02, 0x00]);
    }
    schema.extend_from_slice(&[0x00, 0x00]);
    assert!(check_footer(&schema).unwrap_err().contains("schema nests more than"));
}

#[test]
fn no_damage_of_a_footer_makes_the_check_panic_or_the_decoder_abort() {
    let footer = real_footer();
    for at in 0..footer.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = footer.clone();
            damaged[at] ^= flip;
            if check_footer(&damaged).is_ok() {
                // What passes is decoded: it may fail, but it must come back.
                drop(parquet::file::metadata::ParquetMetaDataReader::decode_metadata(&damaged));
            }
        }
        assert!(check_footer(&footer[..at]).is_err());
    }
}
