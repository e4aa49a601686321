//! Hints: `t /*+ OPTIONS('k' = 'v') */` at a table, `SELECT /*+ LOOKUP('table' = 'd') */` at a query.
//!
//! To sqlparser a hint is a comment, which is dropped without a word. So hints are taken out of the tokens before a
//! statement is parsed, and given back by place:
//! 1. [`take`] removes each `/*+ … */` and remembers the place at which the token before it ends.
//! 2. Whoever parses a table's name asks [`Hints::at_table`] with the place at which the name ends.
//! 3. [`Hints::check_all_used`] refuses what nobody asked for: a hint never goes unheard.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::dialect::FlinkDialect;
use super::options_clause::parse_options;
use super::tokens::{err_at, err_in, found};
use crate::options::Options;
use crate::suggest::nearest_one;

/// Hints that Flink knows at a query.
const QUERY_HINTS: [&str; 7] =
    ["BROADCAST", "LOOKUP", "MULTI_JOIN", "NEST_LOOP", "SHUFFLE_HASH", "SHUFFLE_MERGE", "STATE_TTL"];

/// A hint at a query: `SELECT /*+ NAME(argument, …) */`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryHint {
    /// Its name in upper case: `LOOKUP`, `BROADCAST`, `SHUFFLE_HASH`, `SHUFFLE_MERGE`, `NEST_LOOP`, `STATE_TTL` or
    /// `MULTI_JOIN`.
    pub name: String,
    /// Its `'key' = 'value'` arguments.
    pub options: Options,
    /// Its arguments that are table names.
    pub tables: Vec<String>,
    /// Where it stands.
    pub span: Span,
}

/// The hints of one statement that nobody has asked for yet.
#[derive(Debug, Default)]
pub(super) struct Hints {
    at_tables: BTreeMap<Location, (Span, Options)>,
    at_queries: Vec<QueryHint>,
}

/// Takes the hints out of a statement's tokens.
pub(super) fn take(tokens: Vec<TokenWithSpan>) -> Result<(Vec<TokenWithSpan>, Hints), ParserError> {
    let mut hints = Hints::default();
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut before: Option<usize> = None;
    for token in tokens {
        match &token.token {
            Token::Whitespace(Whitespace::MultiLineComment(text)) if text.starts_with('+') => {
                hints.read(text, token.span, before.map(|index| &kept[index]))?;
                continue;
            }
            Token::Whitespace(_) => {}
            _ => before = Some(kept.len()),
        }
        kept.push(token);
    }
    Ok((kept, hints))
}

impl Hints {
    /// The options at the table whose name ends here.
    pub(super) fn at_table(&mut self, end: Location) -> Option<Options> {
        self.at_tables.remove(&end).map(|(_, options)| options)
    }

    /// All hints at queries.
    pub(super) fn at_queries(&mut self) -> Vec<QueryHint> {
        std::mem::take(&mut self.at_queries)
    }

    /// Refuses a hint that is at no table and at no query.
    pub(super) fn check_all_used(&self) -> Result<(), ParserError> {
        let table = self.at_tables.values().map(|(span, _)| span.start);
        let query = self.at_queries.iter().map(|hint| hint.span.start);
        match table.chain(query).min() {
            None => Ok(()),
            Some(place) => {
                let help = "write /*+ OPTIONS(…) */ directly after the table's name, before its alias";
                err_in("this hint stands at nothing that could follow it", place, Some(help))
            }
        }
    }

    fn read(&mut self, text: &str, span: Span, before: Option<&TokenWithSpan>) -> Result<(), ParserError> {
        let tokens = tokens_of(text, span.start)?;
        let mut parser = Parser::new(&FlinkDialect).with_tokens_with_locations(tokens);
        let at_query = matches!(before.map(|t| &t.token), Some(Token::Word(w)) if w.keyword == Keyword::SELECT);
        let mut count = 0;
        while parser.peek_token_ref().token != Token::EOF {
            count += 1;
            match at_query {
                true => self.at_queries.push(query_hint(&mut parser, span)?),
                false => {
                    let options = table_hint(&mut parser)?;
                    let Some(before) = before else {
                        return err_in("a hint can't begin a statement", span.start, None);
                    };
                    if self.at_tables.insert(before.span.end, (span, options)).is_some() {
                        let help = "write all options into one OPTIONS(…)";
                        return err_in("a second hint at the same table", span.start, Some(help));
                    }
                }
            }
            let _ = parser.consume_token(&Token::Comma);
        }
        match count {
            0 => err_in("the hint is empty", span.start, None),
            _ => Ok(()),
        }
    }
}

/// `OPTIONS('k' = 'v', …)`.
fn table_hint(parser: &mut Parser<'_>) -> Result<Options, ParserError> {
    let name = parser.next_token();
    match &name.token {
        Token::Word(word) if word.value.eq_ignore_ascii_case("OPTIONS") => parse_options(parser),
        Token::Word(word) if is_query_hint(&word.value) => {
            let help = format!("write it after SELECT: SELECT /*+ {}(…) */", word.value);
            err_at(format!("{} is a hint of a query, not of a table", word.value), &name, Some(&help))
        }
        _ => {
            let message = format!("{} is not a hint of a table", found(&name));
            err_at(message, &name, Some("the one hint of a table is OPTIONS('key' = 'value', …)"))
        }
    }
}

fn query_hint(parser: &mut Parser<'_>, span: Span) -> Result<QueryHint, ParserError> {
    let token = parser.next_token();
    let name = match &token.token {
        Token::Word(word) => word.value.to_ascii_uppercase(),
        _ => {
            return err_at(format!("expected a hint, found {}", found(&token)), &token, None);
        }
    };
    if !is_query_hint(&name) {
        let help = match name.as_str() {
            "OPTIONS" => Some("write it after the table's name: FROM t /*+ OPTIONS(…) */".to_owned()),
            _ => nearest_one(&name, QUERY_HINTS).map(|near| format!("did you mean '{near}'?")),
        };
        return err_at(format!("'{name}' is not a hint of a query"), &token, help.as_deref());
    }
    let with_keys = matches!(parser.peek_nth_token_ref(1).token, Token::SingleQuotedString(_));
    let (mut options, mut tables) = (Options::new(), Vec::new());
    if with_keys {
        options = parse_options(parser)?;
    } else if parser.consume_token(&Token::LParen) {
        let names = parser.parse_comma_separated(|p| p.parse_object_name(false))?;
        tables = names.iter().map(ToString::to_string).collect();
        parser.expect_token(&Token::RParen)?;
    }
    Ok(QueryHint { name, options, tables, span })
}

fn is_query_hint(name: &str) -> bool {
    QUERY_HINTS.iter().any(|hint| hint.eq_ignore_ascii_case(name))
}

/// The tokens of a hint's text with their places in the script. `start` is the place of `/*+`.
fn tokens_of(text: &str, start: Location) -> Result<Vec<TokenWithSpan>, ParserError> {
    // `/*+` is three characters, and `text` begins with its `+`.
    let moved = |place: Location| match place.line {
        0 => place,
        1 => Location::new(start.line, start.column + 2 + place.column),
        line => Location::new(start.line + line - 1, place.column),
    };
    let tokens = Tokenizer::new(&FlinkDialect, &text[1..]).tokenize_with_location();
    let mut tokens = tokens.or_else(|error| err_in(error.message, moved(error.location), None))?;
    for token in &mut tokens {
        token.span = Span::new(moved(token.span.start), moved(token.span.end));
    }
    Ok(tokens)
}
