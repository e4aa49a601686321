//! What a statement is by its first words.

use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::tokens::{err_at, is_word};

/// The first words of the statements that exist.
pub(super) const OPENINGS: [&str; 22] = [
    "CREATE", "DROP", "USE", "SHOW", "DESCRIBE", "DESC", "SET", "RESET", "INSERT", "EXECUTE", "BEGIN", "EXPLAIN",
    "SELECT", "WITH", "VALUES", "DELETE", "UPDATE", "ALTER", "MERGE", "CALL", "REPLACE", "TRUNCATE",
];

/// Statements of Flink that are read and refused: the words that they begin with, and what to do instead.
const NOT_YET: [(&[&str], &str); 12] = [
    (&["CREATE", "MATERIALIZED", "TABLE"], "write a job: CREATE TABLE …; INSERT INTO … SELECT …"),
    (&["CREATE", "FUNCTION"], "use the built-in functions"),
    (&["CREATE", "TEMPORARY", "FUNCTION"], "use the built-in functions"),
    (&["CREATE", "TEMPORARY", "SYSTEM", "FUNCTION"], "use the built-in functions"),
    (&["CREATE", "MODEL"], "models are out of scope"),
    (&["LOAD", "MODULE"], "there are no modules"),
    (&["UNLOAD", "MODULE"], "there are no modules"),
    (&["ADD", "JAR"], "there is no JVM here"),
    (&["REMOVE", "JAR"], "there is no JVM here"),
    (&["COMPILE", "PLAN"], "use EXPLAIN"),
    (&["EXECUTE", "PLAN"], "run the script itself"),
    (&["STOP", "JOB"], "end the process that runs it"),
];

/// How a statement begins.
pub(super) enum Opening {
    /// A statement set; this many words come before its first insert.
    Set {
        /// Words before the first insert.
        words: usize,
        /// The set is only explained.
        explain: bool,
    },
    /// Any other.
    Plain {
        /// Its kind, for errors.
        kind: &'static str,
    },
}

/// Looks at a statement's first significant tokens.
pub(super) fn opening(words: &[&Token]) -> Opening {
    let starts = |pattern: &[&str], from: usize| {
        pattern
            .iter()
            .enumerate()
            .all(|(index, word)| words.get(from + index).is_some_and(|token| is_word(token, word)))
    };
    for (explain, from) in [(false, 0), (true, 1)] {
        if explain && !starts(&["EXPLAIN"], 0) {
            continue;
        }
        for pattern in [
            &["EXECUTE", "STATEMENT", "SET", "BEGIN"][..],
            &["BEGIN", "STATEMENT", "SET"],
            &["STATEMENT", "SET", "BEGIN"],
        ] {
            if starts(pattern, from) {
                return Opening::Set { words: from + pattern.len(), explain };
            }
        }
    }
    let kinds: [(&[&str], &str); 23] = [
        (&["CREATE", "OR", "REPLACE", "TABLE"], "CREATE TABLE"),
        (&["REPLACE", "TABLE"], "CREATE TABLE"),
        (&["ALTER"], "ALTER TABLE"),
        (&["CALL"], "CALL"),
        (&["CREATE", "TEMPORARY", "TABLE"], "CREATE TABLE"),
        (&["CREATE", "TABLE"], "CREATE TABLE"),
        (&["CREATE", "TEMPORARY", "VIEW"], "CREATE VIEW"),
        (&["CREATE", "VIEW"], "CREATE VIEW"),
        (&["CREATE", "CATALOG"], "CREATE CATALOG"),
        (&["CREATE", "DATABASE"], "CREATE DATABASE"),
        (&["CREATE"], "CREATE"),
        (&["DROP"], "DROP"),
        (&["INSERT"], "INSERT"),
        (&["SELECT"], "SELECT"),
        (&["WITH"], "SELECT"),
        (&["VALUES"], "VALUES"),
        (&["EXPLAIN"], "EXPLAIN"),
        (&["USE"], "USE"),
        (&["SET"], "SET"),
        (&["RESET"], "RESET"),
        (&["SHOW"], "SHOW"),
        (&["DESCRIBE"], "DESCRIBE"),
        (&["DESC"], "DESCRIBE"),
    ];
    let kind = kinds.iter().find(|(pattern, _)| starts(pattern, 0)).map_or("", |(_, kind)| kind);
    Opening::Plain { kind }
}

/// Refuses the statements of [`NOT_YET`].
pub(super) fn refuse_not_yet(parser: &Parser<'_>) -> Result<(), ParserError> {
    for (words, help) in NOT_YET {
        let all = words.iter().enumerate().all(|(index, word)| is_word(&parser.peek_nth_token_ref(index).token, word));
        if all {
            let message = format!("{} is not supported", words.join(" "));
            return err_at(message, parser.peek_token_ref(), Some(help));
        }
    }
    Ok(())
}
