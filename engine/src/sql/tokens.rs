//! Small helpers over sqlparser's tokens and errors.
//!
//! An error of sqlparser is one text whose place is its end (` at Line: 3, Column: 5`). Errors made in this crate take
//! the same way, because they pass through sqlparser's own functions; a help rides in the text after [`HELP`].

use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

/// Divides the message from the help in an error's text.
const HELP: char = '\u{1f}';

/// An error at the parser's next token.
pub(super) fn err<T>(parser: &Parser<'_>, message: impl Into<String>) -> Result<T, ParserError> {
    err_at(message, parser.peek_token_ref(), None)
}

/// An error at a token.
pub(super) fn err_at<T>(
    message: impl Into<String>,
    token: &TokenWithSpan,
    help: Option<&str>,
) -> Result<T, ParserError> {
    err_in(message, token.span.start, help)
}

/// An error at a place.
pub(super) fn err_in<T>(message: impl Into<String>, place: Location, help: Option<&str>) -> Result<T, ParserError> {
    let mut text = message.into();
    if let Some(help) = help {
        text.push(HELP);
        text.push_str(help);
    }
    Err(ParserError::ParserError(format!("{text}{place}")))
}

/// Message, help and place of an error's text.
pub(super) fn taken_apart(error: ParserError) -> (String, Option<String>, Option<Location>) {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
        ParserError::RecursionLimitExceeded => {
            return ("the statement nests too deep".to_owned(), None, None);
        }
    };
    let (text, place) = match text.rsplit_once(" at Line: ") {
        Some((before, place)) => match read_place(place) {
            Some(place) => (before.to_owned(), Some(place)),
            None => (text, None),
        },
        None => (text, None),
    };
    match text.split_once(HELP) {
        Some((message, help)) => (message.to_owned(), Some(help.to_owned()), place),
        None => (text, None, place),
    }
}

/// The `3, Column: 5` of an error's end.
fn read_place(text: &str) -> Option<Location> {
    let (line, column) = text.split_once(", Column: ")?;
    Some(Location::new(line.parse().ok()?, column.parse().ok()?))
}

/// A token as an error names it.
pub(super) fn found(token: &TokenWithSpan) -> String {
    match &token.token {
        Token::EOF => "the end of the statement".to_owned(),
        Token::SingleQuotedString(text) => format!("the text '{text}'"),
        token => format!("'{token}'"),
    }
}

/// Whether the token is this word, unquoted, in any case.
pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Takes the next token if it is this word. For words that sqlparser has no keyword for.
pub(super) fn take_word(parser: &mut Parser<'_>, word: &str) -> bool {
    let taken = is_word(&parser.peek_token_ref().token, word);
    if taken {
        parser.advance_token();
    }
    taken
}

/// Takes the next tokens if they are these words.
pub(super) fn take_words(parser: &mut Parser<'_>, words: &[&str]) -> bool {
    let all = words.iter().enumerate().all(|(index, word)| is_word(&parser.peek_nth_token_ref(index).token, word));
    if all {
        words.iter().for_each(|_| parser.advance_token());
    }
    all
}

/// Takes this word, or says what is there instead.
pub(super) fn expect_word(parser: &mut Parser<'_>, word: &str) -> Result<(), ParserError> {
    match take_word(parser, word) {
        true => Ok(()),
        false => {
            let token = parser.peek_token_ref();
            err_at(format!("expected {word}, found {}", found(token)), token, None)
        }
    }
}
