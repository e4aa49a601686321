//! `SET` and `RESET`.

use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::Span;
use super::statement::{Setting, Statement};
use super::tokens::{err_at, found};

/// `SET 'key' = 'value'`, `SET key.part = value`, `SET`.
pub(super) fn set(parser: &mut Parser<'_>) -> Result<Statement, ParserError> {
    parser.advance_token();
    if parser.peek_token_ref().token == Token::EOF {
        return Ok(Statement::Set(None));
    }
    let (key, key_span) = setting_key(parser)?;
    parser.expect_token(&Token::Eq)?;
    let first = parser.peek_token();
    if first.token == Token::EOF {
        return err_at("expected a value, found the end of the statement", &first, None);
    }
    let (value, value_span) = match first.token {
        Token::SingleQuotedString(value) => {
            parser.advance_token();
            (value, first.span)
        }
        _ => bare_value(parser),
    };
    Ok(Statement::Set(Some(Setting { key, value, key_span, value_span })))
}

/// Everything up to the end, as in `SET parallelism.default = 2` and `SET x = 10 min`.
fn bare_value(parser: &mut Parser<'_>) -> (String, Span) {
    let mut words: Vec<String> = Vec::new();
    let mut span = Span::empty();
    loop {
        let token = parser.next_token();
        if token.token == Token::EOF {
            return (words.concat(), span);
        }
        let gap = span != Span::empty() && span.end != token.span.start;
        words.push(if gap { format!(" {}", token.token) } else { token.token.to_string() });
        span = span.union(&token.span);
    }
}

/// `'key'`, or words with dots and dashes between them.
fn setting_key(parser: &mut Parser<'_>) -> Result<(String, Span), ParserError> {
    let first = parser.next_token();
    let mut key = match &first.token {
        Token::SingleQuotedString(key) => return Ok((key.clone(), first.span)),
        Token::Word(word) => word.value.clone(),
        _ => {
            return err_at(format!("expected a key, found {}", found(&first)), &first, None);
        }
    };
    let mut span = first.span;
    loop {
        let divider = match parser.peek_token_ref().token {
            Token::Period => '.',
            Token::Minus => '-',
            _ => return Ok((key, span)),
        };
        parser.advance_token();
        let token = parser.next_token();
        let Token::Word(word) = &token.token else {
            return err_at(format!("expected a key, found {}", found(&token)), &token, None);
        };
        key.push(divider);
        key.push_str(&word.value);
        span = span.union(&token.span);
    }
}

pub(super) fn reset(parser: &mut Parser<'_>) -> Result<Statement, ParserError> {
    parser.advance_token();
    match parser.peek_token_ref().token {
        Token::EOF => Ok(Statement::Reset(None)),
        _ => setting_key(parser).map(|(key, _)| Statement::Reset(Some(key))),
    }
}
