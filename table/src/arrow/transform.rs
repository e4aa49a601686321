//! Partition transforms (Iceberg spec, "Partition Transforms" and "Appendix B: 32-bit Hash Requirements") on arrays.
//!
//! Written out here and not taken from the `iceberg` crate, whose `day` is a day late for moments before 1970 with a
//! fraction of a second at the end of a day, whose bucket of nanoseconds before 1970 rounds up, and which can't
//! truncate large binaries.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Int32Array, PrimitiveArray, new_null_array};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampNanosecondType,
};

use crate::spec::Transform;
use crate::{Error, Result};

const MICROS_PER_HOUR: i64 = 3_600_000_000;
const NANOS_PER_HOUR: i64 = 1_000 * MICROS_PER_HOUR;

/// Applies a transform to a column of the source's Arrow type ([`super::arrow_type`]); nulls stay null.
///
/// The result has the Arrow type of the transform's result type: `Int32` for bucket, year, month and hour, `Date32`
/// for day, the source's type for identity, truncate and void.
///
/// # Errors
/// [`Error::InvalidChange`] if the transform does not exist for the type, or is one that this program does not know.
pub fn transform_array(transform: &Transform, array: &ArrayRef) -> Result<ArrayRef> {
    let unsupported = || Error::InvalidChange(format!("there is no {transform} of {}", array.data_type()));
    Ok(match transform {
        Transform::Identity => array.clone(),
        Transform::Void => new_null_array(array.data_type(), array.len()),
        Transform::Bucket(buckets) => Arc::new(bucket(array, *buckets).ok_or_else(unsupported)?),
        Transform::Truncate(width) => truncate(array, *width).ok_or_else(unsupported)?,
        Transform::Year => {
            Arc::new(days(array).ok_or_else(unsupported)?.unary::<_, Int32Type>(|day| civil(day).0 - 1970))
        }
        Transform::Month => Arc::new(days(array).ok_or_else(unsupported)?.unary::<_, Int32Type>(|day| {
            let (year, month) = civil(day);
            (year - 1970) * 12 + month - 1
        })),
        Transform::Day => Arc::new(days(array).ok_or_else(unsupported)?),
        Transform::Hour => Arc::new(hours(array).ok_or_else(unsupported)?),
        Transform::Unknown => return Err(unsupported()),
    })
}

/// Days since 1970-01-01.
fn days(array: &ArrayRef) -> Option<PrimitiveArray<Date32Type>> {
    let since_epoch = |value: i64, per_hour: i64| narrow(value.div_euclid(24 * per_hour));
    match array.data_type() {
        DataType::Date32 => Some(array.as_primitive::<Date32Type>().clone()),
        _ => map_moments(array, since_epoch),
    }
}

/// Hours since 1970-01-01T00:00.
fn hours(array: &ArrayRef) -> Option<Int32Array> {
    map_moments(array, |value, per_hour| narrow(value.div_euclid(per_hour)))
}

/// Calls `of` with each moment and the number of its units in an hour.
fn map_moments<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    of: impl Fn(i64, i64) -> T::Native,
) -> Option<PrimitiveArray<T>> {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Some(array.as_primitive::<TimestampMicrosecondType>().unary(|v| of(v, MICROS_PER_HOUR)))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            Some(array.as_primitive::<TimestampNanosecondType>().unary(|v| of(v, NANOS_PER_HOUR)))
        }
        _ => None,
    }
}

/// Microseconds reach 292,000 years, an `int` of hours 245,000: what lies beyond counts as its last hour.
fn narrow(units: i64) -> i32 {
    units.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

/// Year and month (from 1) of a day since 1970-01-01 in the proleptic Gregorian calendar.
fn civil(day: i32) -> (i32, i32) {
    // Counted in years from March and eras of 400 years, so that the leap day is the last day of a year.
    let day = i64::from(day) + 719_468;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year as i32, month as i32)
}

fn bucket(array: &ArrayRef, buckets: u32) -> Option<Int32Array> {
    let buckets = i32::try_from(buckets).ok().filter(|n| *n > 0)?;
    let of = |hash: u32| (hash & i32::MAX as u32) as i32 % buckets;
    let of_long = |value: i64| of(murmur3(&value.to_le_bytes()));
    let of_bytes = |bytes: Option<&[u8]>| bytes.map(|bytes| of(murmur3(bytes)));
    let of_text = |text: Option<&str>| of_bytes(text.map(str::as_bytes));
    Some(match array.data_type() {
        DataType::Int32 => array.as_primitive::<Int32Type>().unary(|v| of_long(v.into())),
        DataType::Date32 => array.as_primitive::<Date32Type>().unary(|v| of_long(v.into())),
        DataType::Int64 => array.as_primitive::<Int64Type>().unary(of_long),
        DataType::Time64(TimeUnit::Microsecond) => array.as_primitive::<Time64MicrosecondType>().unary(of_long),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            array.as_primitive::<TimestampMicrosecondType>().unary(of_long)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            array.as_primitive::<TimestampNanosecondType>().unary(|v| of_long(v.div_euclid(1_000)))
        }
        DataType::Decimal128(_, _) => {
            array.as_primitive::<Decimal128Type>().unary(|v| of(murmur3(shortest_bytes(&v.to_be_bytes()))))
        }
        DataType::Utf8 => array.as_string::<i32>().iter().map(of_text).collect(),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().map(of_text).collect(),
        DataType::Utf8View => array.as_string_view().iter().map(of_text).collect(),
        DataType::Binary => array.as_binary::<i32>().iter().map(of_bytes).collect(),
        DataType::LargeBinary => array.as_binary::<i64>().iter().map(of_bytes).collect(),
        DataType::BinaryView => array.as_binary_view().iter().map(of_bytes).collect(),
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().iter().map(of_bytes).collect(),
        _ => return None,
    })
}

/// A big-endian two's complement number in as few bytes as hold it, as decimals are serialized (Iceberg spec, "Appendix
/// D: Single-value serialization").
pub fn shortest_bytes(bytes: &[u8; 16]) -> &[u8] {
    let redundant = |pair: &&[u8]| match pair {
        [0x00, next] => next & 0x80 == 0,
        [0xff, next] => next & 0x80 != 0,
        _ => false,
    };
    &bytes[bytes.windows(2).take_while(redundant).count()..]
}

fn truncate(array: &ArrayRef, width: u32) -> Option<ArrayRef> {
    if width == 0 {
        return None;
    }
    let length = width as usize;
    let text = move |text: &str| text.char_indices().nth(length).map_or(text.len(), |(end, _)| end);
    let bytes = move |bytes: &[u8]| bytes.len().min(length);
    Some(match array.data_type() {
        DataType::Int32 => floor::<Int32Type>(array, |v| v.wrapping_sub(i64::from(v).rem_euclid(width.into()) as i32)),
        DataType::Int64 => floor::<Int64Type>(array, |v| v.wrapping_sub(v.rem_euclid(width.into()))),
        DataType::Decimal128(_, _) => floor::<Decimal128Type>(array, |v| v - v.rem_euclid(width.into())),
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            Arc::new(array.iter().map(|v| v.map(|v| &v[..text(v)])).collect::<arrow::array::StringArray>())
        }
        DataType::LargeUtf8 => {
            let array = array.as_string::<i64>();
            Arc::new(array.iter().map(|v| v.map(|v| &v[..text(v)])).collect::<arrow::array::LargeStringArray>())
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            Arc::new(array.iter().map(|v| v.map(|v| &v[..bytes(v)])).collect::<arrow::array::BinaryArray>())
        }
        DataType::LargeBinary => {
            let array = array.as_binary::<i64>();
            Arc::new(array.iter().map(|v| v.map(|v| &v[..bytes(v)])).collect::<arrow::array::LargeBinaryArray>())
        }
        _ => return None,
    })
}

/// Keeps the array's full type, precision and scale too.
fn floor<T: ArrowPrimitiveType>(array: &ArrayRef, of: impl Fn(T::Native) -> T::Native) -> ArrayRef {
    Arc::new(array.as_primitive::<T>().unary::<_, T>(of).with_data_type(array.data_type().clone()))
}

/// The hash of the bucket transform and of object-storage locations: Murmur3, x86, 32 bit, seed 0 (Iceberg spec,
/// "Appendix B: 32-bit Hash Requirements").
pub fn murmur3(bytes: &[u8]) -> u32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let mix = |k: u32| k.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let (words, tail) = bytes.as_chunks::<4>();
    let mut hash = words.iter().fold(0u32, |hash, word| {
        (hash ^ mix(u32::from_le_bytes(*word))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
    });
    hash ^= mix(tail.iter().rev().fold(0, |k, byte| k << 8 | u32::from(*byte)));
    // The specification's hash counts the length in 32 bits.
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests;
