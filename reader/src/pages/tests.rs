use std::io::Write;

use parquet::basic::{BrotliLevel, GzipLevel};

use super::*;

/// Thrift's variable-length form of a number.
fn number(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while rest > 0x7f {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// A page with its header; a dictionary page if it has a number of values.
fn page(bytes: i64, stored: &[u8], dictionary_values: Option<i64>) -> Vec<u8> {
    let kind = if dictionary_values.is_some() { 2 } else { 0 };
    let mut page = Vec::new();
    for value in [kind, bytes, stored.len() as i64] {
        page.push(0x15);
        page.extend(number(value));
    }
    if let Some(values) = dictionary_values {
        page.extend([0x4c, 0x15]);
        page.extend(number(values));
        page.push(0);
    }
    page.push(0);
    page.extend(stored);
    page
}

#[track_caller]
fn refuse(chunk: &[u8], compression: Compression, reason: &str) {
    let error = check_pages(chunk, compression).unwrap_err();
    assert!(error.contains(reason), "{error}");
}

#[test]
fn pages_that_claim_what_they_hold_pass() {
    let chunk = [page(100, &[7; 20], Some(25)), page(1 << 20, &[7; 900], None), b"padding".to_vec()].concat();
    check_pages(&chunk, Compression::SNAPPY).unwrap();
    check_pages(&page(5, b"cut", None)[..4], Compression::SNAPPY).unwrap();
}

#[test]
fn a_page_that_claims_too_much_is_refused_wherever_it_is() {
    let good = page(100, &[7; 20], Some(25));
    let bad = [good.clone(), page(i64::from(i32::MAX), &[7; 20], None)].concat();
    refuse(&bad, Compression::SNAPPY, "the page at byte 32 of its chunk claims to become 2147483647 bytes of 20");
    refuse(&page(-1, &[7; 20], None), Compression::SNAPPY, "claims -1 bytes");
    refuse(&page(100, &[7; 20], Some(i64::from(i32::MAX))), Compression::SNAPPY, "claims 2147483647 dictionary values");
}

#[test]
fn a_page_that_becomes_more_than_it_claims_is_refused() {
    let zeros = vec![0_u8; 80 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&zeros).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut packed = Vec::new();
    brotli::BrotliCompress(&mut &zeros[..8 << 20], &mut packed, &brotli::enc::BrotliEncoderParams::default()).unwrap();
    for (stored, compression) in
        [(gzip, Compression::GZIP(GzipLevel::default())), (packed, Compression::BROTLI(BrotliLevel::default()))]
    {
        refuse(&page(1_000, &stored, None), compression, "becomes more than the 1000 bytes that it claims");
    }
}
