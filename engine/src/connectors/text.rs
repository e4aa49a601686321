//! Values from their text, exactly: what does not fit its type is an error, never a near value.
//!
//! Both formats come through here: CSV has nothing but text, and JSON's numbers and strings are text too. The reasons
//! of errors read on after "field 'x': ".

use chrono::{NaiveDate, NaiveTime, Timelike};

/// How much of a value an error shows, in characters.
const SHOWN_CHARS_MAX: usize = 60;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// A value as an error shows it: quoted, shortened.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("'{}'", short.escape_debug())
}

pub(super) fn expected(type_name: &str, text: &str) -> String {
    format!("expected {type_name}, found {}", shown(text))
}

/// `true` or `false`, case does not count.
pub(super) fn parse_boolean(text: &str) -> Result<bool, String> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Ok(true),
        _ if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(expected("BOOLEAN", text)),
    }
}

/// A whole number: also `3.0` and `3e2`, but not `3.5`.
pub(super) fn parse_integer(text: &str, type_name: &str) -> Result<i64, String> {
    if let Ok(value) = text.parse() {
        return Ok(value);
    }
    let exact = Number::parse(text).and_then(|number| number.scaled_exactly(0));
    exact.and_then(|value| i64::try_from(value).ok()).ok_or_else(|| expected(type_name, text))
}

/// A 32-bit whole number; see [`parse_integer`].
pub(super) fn parse_int(text: &str) -> Result<i32, String> {
    let value = parse_integer(text, "INT")?;
    i32::try_from(value).map_err(|_| format!("{} is out of the range of INT; declare it as BIGINT", shown(text)))
}

/// A 64-bit floating-point number, also `NaN` and `Infinity`. One that would only become infinite is refused.
pub(super) fn parse_double(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() || !has_digit(text) => Ok(value),
        Ok(_) => Err(format!("{} is out of the range of DOUBLE", shown(text))),
        Err(_) => Err(expected("DOUBLE", text)),
    }
}

/// A 32-bit floating-point number; see [`parse_double`].
pub(super) fn parse_float(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() || !has_digit(text) => Ok(value),
        Ok(_) => Err(format!("{} is out of the range of FLOAT; declare it as DOUBLE", shown(text))),
        Err(_) => Err(expected("FLOAT", text)),
    }
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
}

/// A decimal as its unscaled value. Digits past the scale are rounded half up, as Flink does.
pub(super) fn parse_decimal(text: &str, precision: u8, scale: i8) -> Result<i128, String> {
    let type_name = || format!("DECIMAL({precision}, {scale})");
    let number = Number::parse(text).ok_or_else(|| expected(&type_name(), text))?;
    let limit = 10_i128.pow(u32::from(precision));
    number
        .scaled_rounded(i64::from(scale))
        .filter(|value| value.abs() < limit)
        .ok_or_else(|| format!("{} has too many digits for {}", shown(text), type_name()))
}

/// `2013-01-31`, as days since 1970-01-01.
pub(super) fn parse_date(text: &str) -> Result<i32, String> {
    date(text.as_bytes()).map(days_since_epoch).ok_or_else(|| expected("DATE such as '2013-01-31'", text))
}

/// `17:30:00[.123456]`, as microseconds since midnight. Digits past the sixth are cut off.
pub(super) fn parse_time(text: &str) -> Result<i64, String> {
    match time(text.as_bytes()) {
        Some((micros, [])) => Ok(micros),
        _ => Err(expected("TIME such as '17:30:00'", text)),
    }
}

/// `2013-01-31T17:30:00[.123456][Z|+02:00]` or with a space for the `T`, as microseconds since 1970-01-01T00:00:00 in
/// UTC. Without a zone the text is in UTC. Digits past the sixth are cut off.
pub(super) fn parse_timestamp(text: &str) -> Result<i64, String> {
    let wrong = || expected("a timestamp such as '2013-01-31T17:30:00Z' or '2013-01-31 17:30:00'", text);
    timestamp(text.as_bytes()).ok_or_else(wrong)
}

fn timestamp(text: &[u8]) -> Option<i64> {
    let (day, rest) = text.split_at_checked(10)?;
    let day = i64::from(days_since_epoch(date(day)?));
    let (micros, zone) = match rest {
        [] => (0, rest),
        [b'T' | b't' | b' ', clock @ ..] => time(clock)?,
        _ => return None,
    };
    let offset_seconds = match zone {
        [] | [b'Z' | b'z'] | b" UTC" => 0,
        [b'+', offset @ ..] => zone_seconds(offset)?,
        [b'-', offset @ ..] => -zone_seconds(offset)?,
        _ => return None,
    };
    let seconds = day * 86_400 - offset_seconds;
    Some(seconds * MICROS_PER_SECOND + micros)
}

/// `YYYY-MM-DD`
fn date(text: &[u8]) -> Option<NaiveDate> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else {
        return None;
    };
    let year = number(&[*y1, *y2, *y3, *y4])?;
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, number(&[*m1, *m2])?, number(&[*d1, *d2])?)
}

/// `HH:MM[:SS[.f…]]`: microseconds of the day, and what follows.
fn time(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, rest) = text.split_at_checked(2)?;
    let (minute, rest) = rest.strip_prefix(b":")?.split_at_checked(2)?;
    let (second, rest) = match rest.strip_prefix(b":") {
        Some(rest) => rest.split_at_checked(2)?,
        None => (b"00".as_slice(), rest),
    };
    let clock = NaiveTime::from_hms_opt(number(hour)?, number(minute)?, number(second)?)?;
    let (fraction_micros, rest) = match rest.strip_prefix(b".") {
        Some(rest) => fraction(rest)?,
        None => (0, rest),
    };
    let seconds = i64::from(clock.num_seconds_from_midnight());
    Some((seconds * MICROS_PER_SECOND + fraction_micros, rest))
}

/// One to nine digits: microseconds, and what follows.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (fraction, rest) = text.split_at(digits);
    if !(1..=9).contains(&digits) {
        return None;
    }
    let mut micros = 0;
    for place in 0..6 {
        micros = micros * 10 + fraction.get(place).map_or(0, |digit| i64::from(digit - b'0'));
    }
    Some((micros, rest))
}

/// `HH`, `HHMM` or `HH:MM`
fn zone_seconds(text: &[u8]) -> Option<i64> {
    let (hours, minutes) = match text {
        [h1, h2] => ([*h1, *h2], [b'0', b'0']),
        [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => ([*h1, *h2], [*m1, *m2]),
        _ => return None,
    };
    let (hours, minutes) = (number(&hours)?, number(&minutes)?);
    (hours <= 18 && minutes < 60).then_some(i64::from(hours) * 3600 + i64::from(minutes) * 60)
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value: u32, digit| digit.is_ascii_digit().then(|| value * 10 + u32::from(digit - b'0')))
}

fn days_since_epoch(day: NaiveDate) -> i32 {
    let since = day.signed_duration_since(NaiveDate::default());
    i32::try_from(since.num_days()).expect("a year of four digits is near enough to 1970")
}

/// A decimal number as it is written: `digits` × 10^`exponent`.
struct Number {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Number {
    fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        Some(Self {
            negative: mantissa.starts_with('-'),
            digits,
            exponent: i64::from(exponent) - fraction.len() as i64,
        })
    }

    /// The value × 10^`scale`, when it is whole.
    fn scaled_exactly(&self, scale: i64) -> Option<i128> {
        let (kept, rest) = self.split(scale);
        match rest.iter().all(|digit| *digit == b'0') {
            true => self.value(kept, scale, false),
            false => None,
        }
    }

    /// The value × 10^`scale`, rounded half away from zero.
    fn scaled_rounded(&self, scale: i64) -> Option<i128> {
        let shift = self.exponent + scale;
        let (kept, rest) = self.split(scale);
        // Fewer digits than the shift takes away: zeros stand between the point and the first digit.
        let first_dropped = match -shift > self.digits.len() as i64 {
            true => None,
            false => rest.first(),
        };
        self.value(kept, scale, first_dropped.is_some_and(|digit| *digit >= b'5'))
    }

    fn split(&self, scale: i64) -> (&[u8], &[u8]) {
        let dropped = (-(self.exponent + scale)).clamp(0, self.digits.len() as i64);
        self.digits.split_at(self.digits.len() - dropped as usize)
    }

    fn value(&self, kept: &[u8], scale: i64, round_up: bool) -> Option<i128> {
        let mut value: i128 = 0;
        for digit in kept {
            value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
        }
        let zeros = (self.exponent + scale).max(0);
        if value != 0 {
            let zeros = u32::try_from(zeros).ok()?;
            value = value.checked_mul(10_i128.checked_pow(zeros)?)?;
        }
        value = value.checked_add(i128::from(round_up))?;
        Some(if self.negative { -value } else { value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_exact_or_refused() {
        let int = |text| parse_integer(text, "BIGINT").ok();
        assert_eq!(int("12"), Some(12));
        assert_eq!(int("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(int("3.0"), Some(3));
        assert_eq!(int("1.5e3"), Some(1500));
        assert_eq!(int("300e-2"), Some(3));
        for text in ["1.5", "1e-1", "9223372036854775808", "", "-", "1_0", " 1", "0x1", "1e999999999", "NaN"] {
            assert_eq!(int(text), None, "{text}");
        }
        assert_eq!(int("0e999999999"), Some(0));
        let error = parse_int("3000000000").unwrap_err();
        assert!(error.contains("BIGINT"), "{error}");
    }

    #[test]
    fn decimals_round_half_up_and_refuse_what_does_not_fit() {
        let decimal = |text| parse_decimal(text, 5, 2).ok();
        assert_eq!(decimal("12.3"), Some(1230));
        assert_eq!(decimal("12.345"), Some(1235));
        assert_eq!(decimal("-12.345"), Some(-1235));
        assert_eq!(decimal("0.004"), Some(0));
        assert_eq!(decimal("0.005"), Some(1));
        assert_eq!(decimal("0.0009"), Some(0));
        assert_eq!(decimal("5e-9"), Some(0));
        assert_eq!(decimal("1.2e2"), Some(12000));
        assert_eq!(decimal("999.99"), Some(99999));
        assert_eq!(decimal("999.995"), None);
        assert_eq!(decimal("1000"), None);
        assert_eq!(decimal("ten"), None);
        assert_eq!(parse_decimal("0.30000000000000004", 38, 17), Ok(30000000000000004));
    }

    #[test]
    fn timestamps_with_and_without_zone() {
        let micros = |text| parse_timestamp(text).ok();
        let noon = Some(1_357_041_600_000_000);
        for text in [
            "2013-01-01T12:00:00Z",
            "2013-01-01T12:00:00",
            "2013-01-01 12:00:00",
            "2013-01-01 12:00",
            "2013-01-01T12:00:00.000000000Z",
            "2013-01-01T14:00:00+02:00",
            "2013-01-01T07:00:00-0500",
        ] {
            assert_eq!(micros(text), noon, "{text}");
        }
        assert_eq!(micros("1969-12-31T23:59:59.5Z"), Some(-500_000));
        assert_eq!(micros("1970-01-01T00:00:00.1234567"), Some(123_456));
        assert_eq!(micros("1970-01-02"), Some(86_400_000_000));
        for text in [
            "",
            "now",
            "2013-13-01T00:00:00",
            "2013-02-30 00:00:00",
            "2013-01-01T25:00:00",
            "2013-01-01T12:00:00.",
            "2013-01-01T12:00:00+99:00",
            "1357041600",
            "2013-01-01x12:00:00",
            "2013-01-0é",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    #[test]
    fn dates_times_and_booleans() {
        assert_eq!(parse_date("1970-01-11"), Ok(10));
        assert_eq!(parse_date("0001-01-01"), Ok(-719_162));
        assert!(parse_date("2013-1-1").is_err());
        assert_eq!(parse_time("00:00:01.5"), Ok(1_500_000));
        assert!(parse_time("00:00:01Z").is_err());
        assert_eq!(parse_boolean("TRUE"), Ok(true));
        assert!(parse_boolean("1").is_err());
    }

    #[test]
    fn floats_do_not_overflow_to_infinity() {
        assert_eq!(parse_double("1.5e300"), Ok(1.5e300));
        assert!(parse_double("1e999").is_err());
        assert!(parse_float("1e39").unwrap_err().contains("DOUBLE"));
        assert_eq!(parse_double("-Infinity"), Ok(f64::NEG_INFINITY));
        assert!(parse_double("1,5").is_err());
    }
}
