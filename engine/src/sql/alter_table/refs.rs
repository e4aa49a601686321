//! `CREATE | REPLACE | DROP BRANCH | TAG`.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{AlterAction, CreateRef};
use crate::sql::create_table::parse_identifier;
use crate::sql::tokens::{err_at, expect_word, found, is_word, take_word, take_words};

const MINUTE_MS: i64 = 60_000;

/// From `CREATE [OR REPLACE]` or `REPLACE` on.
pub(super) fn create(parser: &mut Parser<'_>) -> Result<AlterAction, ParserError> {
    let replace_only = is_word(&parser.next_token().token, "REPLACE");
    let or_replace = !replace_only && parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    let is_tag = kind(parser)?;
    let place = parser.peek_token();
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    if if_not_exists && (or_replace || replace_only) {
        return err_at("REPLACE and IF NOT EXISTS contradict each other", &place, None);
    }
    let name = ref_name(parser)?;
    let mut created = CreateRef {
        is_tag,
        name,
        or_replace,
        replace_only,
        if_not_exists,
        snapshot_id: None,
        max_ref_age_ms: None,
        min_snapshots_to_keep: None,
        max_snapshot_age_ms: None,
    };
    if take_words(parser, &["AS", "OF"]) {
        expect_word(parser, "VERSION")?;
        created.snapshot_id = Some(number(parser, "a snapshot id")?);
    }
    if take_word(parser, "RETAIN") {
        let count = number(parser, "a number")?;
        created.max_ref_age_ms = Some(duration_ms(parser, count)?);
    }
    let place = parser.peek_token();
    if take_words(parser, &["WITH", "SNAPSHOT", "RETENTION"]) {
        if is_tag {
            return err_at("a tag has one snapshot, which it keeps", &place, Some("write RETAIN 7 DAYS"));
        }
        snapshot_retention(parser, &mut created)?;
    }
    Ok(AlterAction::CreateRef(created))
}

pub(super) fn drop_ref(parser: &mut Parser<'_>) -> Result<AlterAction, ParserError> {
    parser.advance_token();
    let is_tag = kind(parser)?;
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    Ok(AlterAction::DropRef { is_tag, name: ref_name(parser)?, if_exists })
}

fn kind(parser: &mut Parser<'_>) -> Result<bool, ParserError> {
    let token = parser.next_token();
    match (is_word(&token.token, "TAG"), is_word(&token.token, "BRANCH")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => err_at(format!("expected BRANCH or TAG, found {}", found(&token)), &token, None),
    }
}

/// An identifier or a text, since names such as `2024-01-31` are common.
fn ref_name(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    match parser.peek_token().token {
        Token::SingleQuotedString(name) => {
            parser.advance_token();
            Ok(name)
        }
        _ => parse_identifier(parser, "a name").map(|(name, _)| name),
    }
}

/// `n SNAPSHOTS`, `n DAYS`, `n SNAPSHOTS n DAYS`
fn snapshot_retention(parser: &mut Parser<'_>, created: &mut CreateRef) -> Result<(), ParserError> {
    loop {
        let place = parser.peek_token();
        let count = number(parser, "a number")?;
        if take_word(parser, "SNAPSHOTS") || take_word(parser, "SNAPSHOT") {
            match i32::try_from(count) {
                Ok(count) => created.min_snapshots_to_keep = Some(count),
                Err(_) => return err_at("so many snapshots can't be kept", &place, None),
            }
        } else {
            created.max_snapshot_age_ms = Some(duration_ms(parser, count)?);
        }
        if !matches!(parser.peek_token_ref().token, Token::Number(..)) {
            return Ok(());
        }
    }
}

fn duration_ms(parser: &mut Parser<'_>, count: i64) -> Result<i64, ParserError> {
    let token = parser.next_token();
    let units = [("MINUTE", MINUTE_MS), ("HOUR", 60 * MINUTE_MS), ("DAY", 24 * 60 * MINUTE_MS)];
    let unit =
        units.into_iter().find(|(name, _)| is_word(&token.token, name) || is_word(&token.token, &format!("{name}S")));
    match unit.and_then(|(_, ms)| count.checked_mul(ms)) {
        Some(ms) => Ok(ms),
        None if unit.is_some() => err_at("so long nothing can be kept", &token, None),
        None => err_at(format!("expected DAYS, HOURS or MINUTES, found {}", found(&token)), &token, None),
    }
}

fn number(parser: &mut Parser<'_>, what: &str) -> Result<i64, ParserError> {
    let negative = parser.consume_token(&Token::Minus);
    let token = parser.next_token();
    let number = match &token.token {
        Token::Number(digits, _) => digits.parse::<i64>().ok(),
        _ => None,
    };
    match number {
        Some(number) => Ok(if negative { -number } else { number }),
        None => err_at(format!("expected {what}, found {}", found(&token)), &token, None),
    }
}
