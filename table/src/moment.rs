//! Moments as a person reads and writes them.

use chrono::{DateTime, SecondsFormat};

/// Milliseconds since the Unix epoch as RFC 3339 in UTC, to the millisecond; as they are, with their unit, where that has
/// no such year.
pub fn moment(timestamp_ms: i64) -> String {
    match DateTime::from_timestamp_millis(timestamp_ms) {
        Some(at) => at.to_rfc3339_opts(SecondsFormat::Millis, true),
        None => format!("{timestamp_ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_with_milliseconds() {
        assert_eq!(moment(1_700_000_000_001), "2023-11-14T22:13:20.001Z");
        assert_eq!(moment(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(moment(i64::MAX), "9223372036854775807 ms");
    }
}
