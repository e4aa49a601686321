//! Puffin files of one deletion vector (Puffin spec).

use serde_json::json;

const MAGIC: &[u8; 4] = b"PFA1";

/// The blob of kind `deletion-vector-v1`. The bitmap is written by hand, one array container for each 65,536 positions,
/// so that what reads it is not what wrote it.
pub fn vector(positions: &[i64]) -> Vec<u8> {
    assert!(positions.is_sorted() && positions.iter().all(|position| *position < 4_096), "small files have few rows");
    let mut body = vec![0xd1, 0xd3, 0x39, 0x64];
    // One 32-bit bitmap under the high half 0: no runs, one container, key 0, cardinality - 1, offset 16.
    body.extend(1_u64.to_le_bytes());
    body.extend(0_u32.to_le_bytes());
    body.extend(12_346_u32.to_le_bytes());
    body.extend(1_u32.to_le_bytes());
    body.extend(0_u16.to_le_bytes());
    body.extend((positions.len() as u16 - 1).to_le_bytes());
    body.extend(16_u32.to_le_bytes());
    body.extend(positions.iter().flat_map(|position| (*position as u16).to_le_bytes()));
    let mut blob = (body.len() as u32).to_be_bytes().to_vec();
    blob.extend_from_slice(&body);
    blob.extend(crc32(&body).to_be_bytes());
    blob
}

/// A file with that blob behind the magic.
pub fn file(data_file: &str, blob: &[u8], positions: usize) -> Vec<u8> {
    let footer = json!({"blobs": [{
        "type": "deletion-vector-v1", "fields": [2_147_483_645_i64], "snapshot-id": -1, "sequence-number": -1,
        "offset": MAGIC.len(), "length": blob.len(),
        "properties": {"referenced-data-file": data_file, "cardinality": positions.to_string()},
    }]})
    .to_string();
    let length = (footer.len() as u32).to_le_bytes();
    [MAGIC, blob, MAGIC, footer.as_bytes(), &length, &[0; 4], MAGIC].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
        crc
    })
}
