//! Named readers of a table, as the catalog keeps them.
//!
//! A consumer has one member at a time that counts: the one with its newest epoch. What its position means is the
//! reader's. Known here is only its form, words and whole numbers with colons between them, and that the first number is
//! the oldest snapshot that has to stay for reading to go on.

use serde::{Deserialize, Serialize};

/// For how long a position holds snapshots after a sign of life, unless the consumer says otherwise: seven days.
pub const CONSUMER_LEASE_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// A named reader of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Consumer {
    /// Its name, once for each table.
    pub name: String,
    /// That of its newest member; older ones are fenced.
    pub epoch: i64,
    /// What was committed last; `None`: nothing yet.
    pub position: Option<String>,
    /// When a member joined, committed or renewed last, milliseconds since the Unix epoch.
    pub seen_ms: i64,
    /// For how long after that the position holds snapshots, milliseconds.
    pub lease_ms: i64,
}

/// What a member says to the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConsumerCommit {
    /// The member's epoch.
    pub epoch: i64,
    /// What is done; `None`: as before, the member is only alive.
    #[serde(default)]
    pub position: Option<String>,
}

impl Consumer {
    /// Whether its position holds snapshots.
    pub fn is_held(&self, now_ms: i64) -> bool {
        self.position.is_some() && now_ms.saturating_sub(self.seen_ms) <= self.lease_ms
    }

    /// The oldest snapshot that is needed to go on; `None`: every one that there is.
    pub fn needed_snapshot(&self) -> Option<i64> {
        numbers(self.position.as_deref()?).next()
    }
}

/// Characters of a position: five numbers of 20 digits, and words.
const POSITION_CHARS_MAX: usize = 200;

/// Whether a text has the form of a position.
pub(crate) fn is_position(text: &str) -> bool {
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    text.len() <= POSITION_CHARS_MAX && text.split(':').all(|part| is_word(part) || part.parse::<i64>().is_ok())
}

fn numbers(position: &str) -> impl Iterator<Item = i64> + '_ {
    position.split(':').filter_map(|part| part.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_holds_for_as_long_as_the_lease_says() {
        let position = "changes:-:7:2".to_owned();
        let consumer =
            Consumer { name: "c".to_owned(), epoch: 1, position: Some(position), seen_ms: 1_000, lease_ms: 500 };
        assert!(consumer.is_held(1_500) && !consumer.is_held(1_501));
        assert_eq!(consumer.needed_snapshot(), Some(7));
        assert!(!Consumer { position: None, ..consumer }.is_held(1_000));
    }

    #[test]
    fn a_position_has_words_and_numbers_with_colons_between_them() {
        for right in ["beginning", "after:-3", "added:7:0:4096", "changes:-:7:2"] {
            assert!(is_position(right), "{right}");
        }
        for wrong in ["", "after:", "after:x1", "a b", "{\"at\": 1}", &"1:".repeat(200)] {
            assert!(!is_position(wrong), "{wrong}");
        }
    }
}
