//! The RLE and bit-packing hybrid (Parquet format, "Run Length Encoding / Bit-Packing Hybrid"): numbers of one width, as
//! runs of one value or packed together by eights.

/// Values are looked at by so many: a packed run has whole groups of them.
const GROUP: usize = 8;

/// Bits that the numbers up to `max` need; none for 0 alone.
pub(super) fn bit_width(max: u32) -> u8 {
    (u32::BITS - max.leading_zeros()) as u8
}

/// What so many of so many distinct numbers take, packed.
pub(super) fn packed_bytes(numbers: usize, distinct: usize) -> usize {
    numbers * usize::from(bit_width(distinct.saturating_sub(1) as u32)) / 8
}

/// Appends numbers of `width` bits.
pub(super) fn encode(values: &[u32], width: u8, out: &mut Vec<u8>) {
    let (mut packed_from, mut at) = (0, 0);
    while at < values.len() {
        let rest = &values[at..];
        let group = &rest[..GROUP.min(rest.len())];
        if group.iter().all(|value| *value == group[0]) {
            let run = rest.iter().take_while(|value| **value == group[0]).count();
            pack(&values[packed_from..at], width, out);
            put_run(group[0], run, width, out);
            at += run;
            packed_from = at;
        } else {
            at += group.len();
        }
    }
    pack(&values[packed_from..], width, out);
}

/// Appends bits (the least first) as numbers of width 1, after their length in bytes: levels of a data page of version 1.
pub(super) fn encode_levels(bits: Levels<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    match bits {
        Levels::All(level, count) => put_run(level, count, 1, out),
        Levels::Bits(bytes, count) => {
            let bytes = &bytes[..count.div_ceil(8)];
            put_varint((bytes.len() as u64) << 1 | 1, out);
            out.extend_from_slice(bytes);
        }
    }
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Definition levels of a column without nesting: 1 where there is a value.
pub(super) enum Levels<'a> {
    /// So many of one level.
    All(u32, usize),
    /// A bit for each of so many.
    Bits(&'a [u8], usize),
}

fn put_run(value: u32, count: usize, width: u8, out: &mut Vec<u8>) {
    put_varint((count as u64) << 1, out);
    out.extend_from_slice(&value.to_le_bytes()[..usize::from(width).div_ceil(8)]);
}

/// A packed run; behind the last value it is filled up with zeros.
fn pack(values: &[u32], width: u8, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(GROUP);
    put_varint((groups as u64) << 1 | 1, out);
    let bytes = groups * usize::from(width);
    let end = out.len() + bytes;
    out.reserve(bytes + 8);
    let (mut bits, mut held) = (0_u64, 0_u32);
    for value in values {
        bits |= u64::from(*value) << held;
        held += u32::from(width);
        if held >= 32 {
            out.extend_from_slice(&(bits as u32).to_le_bytes());
            bits >>= 32;
            held -= 32;
        }
    }
    out.extend_from_slice(&bits.to_le_bytes());
    out.resize(end, 0);
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A decoder by the letter of the format.
    fn decode(mut bytes: &[u8], width: u8, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        while values.len() < count {
            let (mut header, mut shift) = (0_u64, 0);
            loop {
                header |= u64::from(bytes[0] & 0x7f) << shift;
                shift += 7;
                let more = bytes[0] & 0x80 != 0;
                bytes = &bytes[1..];
                if !more {
                    break;
                }
            }
            if header & 1 == 0 {
                let mut value = [0; 4];
                let length = usize::from(width).div_ceil(8);
                value[..length].copy_from_slice(&bytes[..length]);
                bytes = &bytes[length..];
                values.extend(std::iter::repeat_n(u32::from_le_bytes(value), (header >> 1) as usize));
            } else {
                let bit = |at: usize| u32::from(bytes[at / 8] >> (at % 8) & 1);
                let width = usize::from(width);
                let numbers = (header >> 1) as usize * 8;
                values.extend((0..numbers).map(|n| (0..width).map(|i| bit(n * width + i) << i).sum::<u32>()));
                bytes = &bytes[(header >> 1) as usize * width..];
            }
        }
        assert!(bytes.is_empty(), "{bytes:?} are left");
        assert!(values.len() < count + 8 && values[count..].iter().all(|value| *value == 0));
        values.truncate(count);
        values
    }

    #[test]
    fn numbers_come_back() {
        use rand::rngs::StdRng;
        use rand::{Rng, SeedableRng};
        let mut random = StdRng::seed_from_u64(7);
        for case in 0..2_000 {
            let width = random.random_range(0..=32_u8);
            let max = if width == 0 { 0 } else { u32::MAX >> (32 - width) };
            let mut values = Vec::new();
            for _ in 0..random.random_range(0..12) {
                let value = random.random_range(0..=max);
                match random.random_bool(0.5) {
                    true => values.extend(std::iter::repeat_n(value, random.random_range(1..40))),
                    false => values.extend((0..random.random_range(1..30)).map(|_| random.random_range(0..=max))),
                }
            }
            let mut bytes = Vec::new();
            encode(&values, width, &mut bytes);
            assert_eq!(decode(&bytes, width, values.len()), values, "case {case}, width {width}");
        }
    }

    #[test]
    fn runs_take_little() {
        let mut bytes = Vec::new();
        encode(&[5; 1000], 3, &mut bytes);
        assert_eq!(bytes, [0xd0, 0x0f, 5]);
        assert_eq!([0, 1, 2, 3, 4, 255, 256].map(bit_width), [0, 1, 2, 2, 3, 8, 9]);
    }

    #[test]
    fn levels_have_their_length_before_them() {
        let mut bytes = Vec::new();
        encode_levels(Levels::All(1, 20), &mut bytes);
        encode_levels(Levels::Bits(&[0b1011_0101, 0b1, 0xff], 9), &mut bytes);
        assert_eq!(bytes, [2, 0, 0, 0, 40, 1, 3, 0, 0, 0, 5, 0b1011_0101, 0b1]);
    }
}
