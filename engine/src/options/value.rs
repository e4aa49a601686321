//! Durations and sizes as Flink writes them: a whole number, then a unit.

use std::time::Duration;

/// Reads `500 ms`, `1 s`, `10 min`, `2 h`, `1 d`; a number without a unit is in milliseconds.
///
/// # Errors
/// When there is no whole number, the unit is not known, or the value is past 2^64 nanoseconds (about 584 years).
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text)?;
    let nanos_per_unit: u64 = match unit.as_str() {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "d" | "day" | "days" => 86_400_000_000_000,
        _ => {
            return Err(format!("'{unit}' is not a unit of time (ns, us, ms, s, min, h, d)"));
        }
    };
    let nanos = number.checked_mul(nanos_per_unit).ok_or("it is too long")?;
    Ok(Duration::from_nanos(nanos))
}

/// Reads `128 mb`, `64kb`, `1 gb`; units are powers of 1,024 and a number without a unit is in bytes.
///
/// # Errors
/// When there is no whole number, the unit is not known, or the value is past 2^64 bytes.
pub fn parse_size_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text)?;
    let bytes_per_unit: u64 = match unit.as_str() {
        "" | "b" | "byte" | "bytes" => 1,
        "k" | "kb" | "kib" | "kibibytes" => 1 << 10,
        "m" | "mb" | "mib" | "mebibytes" => 1 << 20,
        "g" | "gb" | "gib" | "gibibytes" => 1 << 30,
        "t" | "tb" | "tib" | "tebibytes" => 1 << 40,
        _ => {
            return Err(format!("'{unit}' is not a unit of size (b, kb, mb, gb, tb)"));
        }
    };
    number.checked_mul(bytes_per_unit).ok_or_else(|| "it is too large".to_owned())
}

fn number_and_unit(text: &str) -> Result<(u64, String), String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("it does not begin with a whole number".to_owned());
    }
    let number = number.parse().map_err(|_| "its number is too large".to_owned())?;
    Ok((number, unit.trim().to_lowercase()))
}
