//! `('key' = 'value', …)`, after `WITH` and in hints.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tokens::{err_at, found};
use crate::options::{Entry, Options};

/// `[WITH ('key' = 'value', …)]`; no options when there is no `WITH`.
pub(super) fn parse_with(parser: &mut Parser<'_>) -> Result<Options, ParserError> {
    match parser.parse_keyword(Keyword::WITH) {
        true => parse_options(parser),
        false => Ok(Options::new()),
    }
}

/// `('key' = 'value', …)`.
pub(super) fn parse_options(parser: &mut Parser<'_>) -> Result<Options, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let mut options = Options::new();
    while !parser.consume_token(&Token::RParen) {
        let key = parser.next_token();
        let key_text = text(&key, "an option's key")?;
        if options.entry(&key_text).is_some() {
            return err_at(format!("the option '{key_text}' is there twice"), &key, None);
        }
        parser.expect_token(&Token::Eq)?;
        let value = parser.next_token();
        let value_text = text(&value, "an option's value")?;
        options.put(Entry { key: key_text, value: value_text, key_span: key.span, value_span: value.span });
        if !parser.consume_token(&Token::Comma) {
            parser.expect_token(&Token::RParen)?;
            break;
        }
    }
    Ok(options)
}

/// The text of a string literal.
pub(super) fn text(token: &TokenWithSpan, what: &str) -> Result<String, ParserError> {
    let help = match &token.token {
        Token::SingleQuotedString(text) => return Ok(text.clone()),
        Token::Word(word) => format!("write it as a text: '{}'", word.value),
        Token::Number(digits, _) => format!("write it as a text: '{digits}'"),
        Token::DoubleQuotedString(_) => "texts stand in single quotes: 'text'".to_owned(),
        _ => "it is a text in single quotes".to_owned(),
    };
    err_at(format!("expected {what}, found {}", found(token)), token, Some(&help))
}
