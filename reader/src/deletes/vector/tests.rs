use super::*;

#[test]
fn the_frame_is_read_as_the_specification_has_it() {
    // Positions 1 and 3: length, magic, one bitmap of key 0 with one array container, checksum.
    let mut body = MAGIC.to_vec();
    body.extend_from_slice(&1_u64.to_le_bytes());
    body.extend_from_slice(&0_u32.to_le_bytes());
    body.extend_from_slice(&12_346_u32.to_le_bytes());
    body.extend_from_slice(&1_u32.to_le_bytes());
    body.extend_from_slice(&[0, 0, 1, 0]);
    body.extend_from_slice(&16_u32.to_le_bytes());
    body.extend_from_slice(&[1, 0, 3, 0]);
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let mut blob = (body.len() as u32).to_be_bytes().to_vec();
    blob.extend_from_slice(&body);
    blob.extend_from_slice(&crc.sum().to_be_bytes());
    assert_eq!(decode(&blob).unwrap().iter().collect::<Vec<_>>(), vec![1, 3]);
    for cut in 0..blob.len() {
        decode(&blob[..cut]).unwrap_err();
    }
}
