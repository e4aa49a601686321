//! Partition folders as Iceberg's Java library names them: `day=2017-12-01/name=a%2Fb`.
//!
//! The names are for people and for tools that look at folders; what counts is the partition tuple in the manifest.

use std::fmt::Write;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Timelike};
use frazil_table::spec::{Literal, PrimitiveLiteral, PrimitiveType, Transform};

/// File systems end names at 255 bytes; the folder's own name for a longer value is cut, and partitions may share it.
const SEGMENT_MAX_BYTES: usize = 200;

/// `name=value`, both URL-encoded.
pub(crate) fn segment(name: &str, transform: &Transform, r#type: &PrimitiveType, value: Option<&Literal>) -> String {
    let mut segment = encode(name);
    segment.push('=');
    segment.push_str(&encode(&human(transform, r#type, value)));
    if segment.len() > SEGMENT_MAX_BYTES {
        // The text is ASCII; an escape must not be cut.
        let escape = segment[SEGMENT_MAX_BYTES - 2..SEGMENT_MAX_BYTES].find('%');
        segment.truncate(escape.map_or(SEGMENT_MAX_BYTES, |at| SEGMENT_MAX_BYTES - 2 + at));
    }
    segment
}

/// As Java's `URLEncoder`: letters, digits and `.-*_` stay, a blank becomes `+`.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => encoded.push(byte.into()),
            b' ' => encoded.push('+'),
            _ => write!(encoded, "%{byte:02X}").expect("a string takes all that is written to it"),
        }
    }
    encoded
}

fn human(transform: &Transform, r#type: &PrimitiveType, value: Option<&Literal>) -> String {
    let Some(Literal::Primitive(value)) = value else { return "null".to_owned() };
    match (transform, value) {
        (Transform::Year, PrimitiveLiteral::Int(years)) => format!("{:04}", i64::from(*years) + 1970),
        (Transform::Month, PrimitiveLiteral::Int(months)) => {
            format!("{:04}-{:02}", 1970 + months.div_euclid(12), 1 + months.rem_euclid(12))
        }
        (Transform::Day, PrimitiveLiteral::Int(days)) => date(*days),
        (Transform::Hour, PrimitiveLiteral::Int(hours)) => {
            format!("{}-{:02}", date(hours.div_euclid(24)), hours.rem_euclid(24))
        }
        _ => human_value(r#type, value),
    }
}

fn human_value(r#type: &PrimitiveType, value: &PrimitiveLiteral) -> String {
    match (r#type, value) {
        (PrimitiveType::Date, PrimitiveLiteral::Int(days)) => date(*days),
        (PrimitiveType::Time, PrimitiveLiteral::Long(micros)) => time_of_day(*micros * 1_000),
        (PrimitiveType::Timestamp, PrimitiveLiteral::Long(micros)) => moment(DateTime::from_timestamp_micros(*micros)),
        (PrimitiveType::Timestamptz, PrimitiveLiteral::Long(micros)) => {
            moment(DateTime::from_timestamp_micros(*micros)) + "Z"
        }
        (PrimitiveType::TimestampNs, PrimitiveLiteral::Long(nanos)) => {
            moment(Some(DateTime::from_timestamp_nanos(*nanos)))
        }
        (PrimitiveType::TimestamptzNs, PrimitiveLiteral::Long(nanos)) => {
            moment(Some(DateTime::from_timestamp_nanos(*nanos))) + "Z"
        }
        (PrimitiveType::Decimal { scale, .. }, PrimitiveLiteral::Int128(unscaled)) => {
            decimal(*unscaled, *scale as usize)
        }
        (PrimitiveType::Uuid, PrimitiveLiteral::UInt128(bits)) => uuid::Uuid::from_u128(*bits).to_string(),
        (_, PrimitiveLiteral::Boolean(value)) => value.to_string(),
        (_, PrimitiveLiteral::Int(value)) => value.to_string(),
        (_, PrimitiveLiteral::Long(value)) => value.to_string(),
        (_, PrimitiveLiteral::Float(value)) => format!("{:?}", value.0),
        (_, PrimitiveLiteral::Double(value)) => format!("{:?}", value.0),
        (_, PrimitiveLiteral::String(text)) => text.clone(),
        (_, PrimitiveLiteral::Binary(bytes)) => base64(bytes),
        (_, PrimitiveLiteral::Int128(value)) => value.to_string(),
        (_, PrimitiveLiteral::UInt128(value)) => value.to_string(),
        (_, PrimitiveLiteral::AboveMax | PrimitiveLiteral::BelowMin) => "null".to_owned(),
    }
}

fn date(days: i32) -> String {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).expect("it is a date");
    match epoch.checked_add_signed(chrono::TimeDelta::days(days.into())) {
        Some(date) => format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()),
        None => days.to_string(),
    }
}

fn moment(moment: Option<DateTime<chrono::Utc>>) -> String {
    let Some(moment) = moment.map(|moment| moment.naive_utc()) else { return "out-of-range".to_owned() };
    let day = moment.date();
    let nanos = i64::from(moment.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(moment.nanosecond());
    format!("{:04}-{:02}-{:02}T{}", day.year(), day.month(), day.day(), time_of_day(nanos))
}

/// As Java's `LocalTime`: seconds only if there are any, fractions in groups of three digits.
fn time_of_day(nanos: i64) -> String {
    let (seconds, fraction) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000) as u32);
    let time = u32::try_from(seconds).ok().and_then(|s| NaiveTime::from_num_seconds_from_midnight_opt(s, fraction));
    let Some(time) = time else { return nanos.to_string() };
    let pattern = match fraction {
        0 if time.second() == 0 => "%H:%M",
        0 => "%H:%M:%S",
        f if f % 1_000_000 == 0 => "%H:%M:%S%.3f",
        f if f % 1_000 == 0 => "%H:%M:%S%.6f",
        _ => "%H:%M:%S%.9f",
    };
    time.format(pattern).to_string()
}

fn decimal(unscaled: i128, scale: usize) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let sextet = bits >> (18 - 6 * position) & 63;
            text.push(if position <= chunk.len() { ALPHABET[sextet as usize].into() } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests;
