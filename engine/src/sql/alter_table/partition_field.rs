//! `ADD | DROP | REPLACE | RENAME PARTITION FIELD`.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

use super::AlterAction;
use crate::sql::create_table::parse_identifier;
use crate::sql::partition::parse_partition_field;
use crate::sql::tokens::{err_at, expect_word, found, is_word, take_words};

pub(super) fn add_or_drop(parser: &mut Parser<'_>) -> Result<AlterAction, ParserError> {
    let is_drop = is_word(&parser.next_token().token, "DROP");
    partition_field_words(parser)?;
    let field = parse_partition_field(parser)?;
    match is_drop {
        true => Ok(AlterAction::DropPartitionField(field)),
        false => Ok(AlterAction::AddPartitionField { field, name: name(parser)? }),
    }
}

pub(super) fn replace(parser: &mut Parser<'_>) -> Result<AlterAction, ParserError> {
    parser.advance_token();
    partition_field_words(parser)?;
    let old = parse_partition_field(parser)?;
    expect_word(parser, "WITH")?;
    let new = parse_partition_field(parser)?;
    Ok(AlterAction::ReplacePartitionField { old, new, name: name(parser)? })
}

pub(super) fn rename(parser: &mut Parser<'_>) -> Result<AlterAction, ParserError> {
    parser.advance_token();
    partition_field_words(parser)?;
    let (name, _) = parse_identifier(parser, "a partition field's name")?;
    expect_word(parser, "TO")?;
    let (to, _) = parse_identifier(parser, "the new name")?;
    Ok(AlterAction::RenamePartitionField { name, to })
}

fn partition_field_words(parser: &mut Parser<'_>) -> Result<(), ParserError> {
    if take_words(parser, &["PARTITION", "FIELD"]) {
        return Ok(());
    }
    let token = parser.peek_token_ref();
    let help = "write PARTITION FIELD, BRANCH or TAG";
    err_at(format!("expected PARTITION FIELD, found {}", found(token)), token, Some(help))
}

fn name(parser: &mut Parser<'_>) -> Result<Option<String>, ParserError> {
    match parser.parse_keyword(Keyword::AS) {
        true => parse_identifier(parser, "the partition field's name").map(|(name, _)| Some(name)),
        false => Ok(None),
    }
}
