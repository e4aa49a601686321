use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// A frame around a body that is given.
fn framed(bitmaps: &[u8]) -> Vec<u8> {
    let body = [&MAGIC, bitmaps].concat();
    let mut blob = (body.len() as u32).to_be_bytes().to_vec();
    blob.extend_from_slice(&body);
    blob.extend_from_slice(&crc(&body).to_be_bytes());
    blob
}

/// Positions 1 and 3, byte by byte as the specifications have it: one bitmap of key 0 with one array container.
fn one_and_three() -> Vec<u8> {
    let mut bitmaps = 1_u64.to_le_bytes().to_vec();
    bitmaps.extend_from_slice(&0_u32.to_le_bytes());
    bitmaps.extend_from_slice(&12_346_u32.to_le_bytes());
    bitmaps.extend_from_slice(&1_u32.to_le_bytes());
    bitmaps.extend_from_slice(&[0, 0, 1, 0]);
    bitmaps.extend_from_slice(&16_u32.to_le_bytes());
    bitmaps.extend_from_slice(&[1, 0, 3, 0]);
    bitmaps
}

#[test]
fn the_frame_is_as_the_specification_has_it() {
    let blob = framed(&one_and_three());
    assert_eq!(decode_deletion_vector(&blob).unwrap().iter().collect::<Vec<_>>(), vec![1, 3]);
    assert_eq!(encode_deletion_vector(&RoaringTreemap::from_iter([1, 3])).unwrap(), blob);
    for cut in 0..blob.len() {
        decode_deletion_vector(&blob[..cut]).unwrap_err();
    }
}

#[test]
fn what_is_encoded_is_decoded() {
    let mut random = StdRng::seed_from_u64(7);
    for round in 0..200_u64 {
        let span = 1_u64 << (round % 41);
        let mut positions: RoaringTreemap =
            (0..random.random_range(0..500)).map(|_| random.random_range(0..=span)).collect();
        let start = random.random_range(0..=span);
        positions.insert_range(start..start + random.random_range(0..200_000));
        let blob = encode_deletion_vector(&positions).unwrap();
        assert_eq!(decode_deletion_vector(&blob).unwrap(), positions, "round {round}");
    }
}

#[test]
fn a_run_of_a_million_rows_is_a_few_bytes() {
    let blob = encode_deletion_vector(&(0..1_000_000).collect()).unwrap();
    assert!(blob.len() < 300, "{}", blob.len());
}

#[test]
fn each_damage_is_named() {
    let good = framed(&one_and_three());
    let changed = |at: usize| {
        let mut blob = good.clone();
        blob[at] ^= 1;
        decode_deletion_vector(&blob).unwrap_err()
    };
    assert!(matches!(changed(3), VectorDamage::Length { .. }));
    assert_eq!(changed(4), VectorDamage::Magic);
    assert_eq!(changed(20), VectorDamage::Checksum);
    assert_eq!(changed(good.len() - 1), VectorDamage::Checksum);
    let of = |bitmaps: &[u8]| decode_deletion_vector(&framed(bitmaps)).unwrap_err().to_string();
    assert_eq!(of(&[one_and_three(), vec![0]].concat()), "1 bytes follow its bitmap");
    assert_eq!(of(&[1, 2]), "its bitmap is wrong: it has no count");
    assert_eq!(of(&u64::MAX.to_le_bytes()), "its bitmap is wrong: 0 bytes can't hold 18446744073709551615 bitmaps");
    let mut twice = 2_u64.to_le_bytes().to_vec();
    twice.extend_from_slice(&one_and_three()[8..]);
    twice.extend_from_slice(&one_and_three()[8..]);
    assert_eq!(of(&twice), "its bitmap is wrong: its keys are not in order");
}

#[test]
fn empty_bitmaps_of_other_writers_are_nothing() {
    let mut bitmaps = 2_u64.to_le_bytes().to_vec();
    bitmaps.extend_from_slice(&0_u32.to_le_bytes());
    bitmaps.extend_from_slice(&12_346_u32.to_le_bytes());
    bitmaps.extend_from_slice(&0_u32.to_le_bytes());
    let mut other = one_and_three()[8..].to_vec();
    other[0] = 1;
    bitmaps.extend_from_slice(&other);
    let positions = decode_deletion_vector(&framed(&bitmaps)).unwrap();
    assert_eq!(positions.iter().collect::<Vec<_>>(), vec![(1 << 32) + 1, (1 << 32) + 3]);
    assert_eq!(positions.bitmaps().count(), 1);
}

/// Any bytes behind a right frame: an error or a set, never a panic or much memory.
#[test]
fn random_bitmaps_do_no_harm() {
    let mut random = StdRng::seed_from_u64(11);
    for round in 0..2_000 {
        let mut bitmaps = match round % 2 {
            0 => one_and_three(),
            _ => encode_deletion_vector(&(0..random.random_range(1..400_u64)).map(|i| i * i).collect()).unwrap()[8..]
                .to_vec(),
        };
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bitmaps.len().min(64));
            bitmaps[at] = random.random();
        }
        let _ = decode_deletion_vector(&framed(&bitmaps));
    }
}
