//! `INSERT INTO | OVERWRITE t [PARTITION (…)] [(columns)] query`.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::Span;
use super::create_table::{parse_identifier, parse_name};
use super::hint::Hints;
use super::query::parse_query;
use super::statement::Insert;
use super::tokens::{err_at, err_in, found};

/// From after `INSERT`.
pub(super) fn insert(parser: &mut Parser<'_>, hints: &mut Hints) -> Result<Insert, ParserError> {
    let overwrite = parser.parse_keyword(Keyword::OVERWRITE);
    if !overwrite {
        let token = parser.peek_token();
        if !parser.parse_keyword(Keyword::INTO) {
            let message = format!("expected INTO or OVERWRITE, found {}", found(&token));
            return err_at(message, &token, Some("write INSERT INTO table SELECT …"));
        }
    }
    let _ = parser.parse_keyword(Keyword::TABLE);
    let target = parse_name(parser)?;
    let mut options = hints.at_table(target.span().end);
    let partition = match parser.parse_keyword(Keyword::PARTITION) {
        true => partition_values(parser)?,
        false => Vec::new(),
    };
    let columns = column_list(parser)?;
    if options.is_none() && !columns.is_empty() {
        options = hints.at_table(parser.get_current_token().span.end);
    }
    for (index, (name, _)) in columns.iter().enumerate() {
        if columns[..index].iter().any(|(other, _)| other == name) {
            return err_in(format!("the column '{name}' is there twice"), columns[index].1.start, None);
        }
    }
    let query = parse_query(parser, hints)?;
    let options = options.unwrap_or_default();
    Ok(Insert { target, options, columns, overwrite, partition, query })
}

/// `(column = value, …)`
fn partition_values(parser: &mut Parser<'_>) -> Result<Vec<(String, ast::Expr)>, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let values = parser.parse_comma_separated(|parser| {
        let (column, _) = parse_identifier(parser, "a column's name")?;
        parser.expect_token(&Token::Eq)?;
        Ok((column, parser.parse_expr()?))
    })?;
    parser.expect_token(&Token::RParen)?;
    Ok(values)
}

/// `[(name, …)]`; none when the parenthesis begins a query.
pub(super) fn column_list(parser: &mut Parser<'_>) -> Result<Vec<(String, Span)>, ParserError> {
    let opens = parser.peek_token_ref().token == Token::LParen;
    let query = match &parser.peek_nth_token_ref(1).token {
        Token::Word(word) => {
            matches!(word.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES)
        }
        Token::LParen => true,
        _ => false,
    };
    if !opens || query {
        return Ok(Vec::new());
    }
    parser.advance_token();
    let names = parser.parse_comma_separated(|parser| parse_identifier(parser, "a column's name"))?;
    parser.expect_token(&Token::RParen)?;
    Ok(names)
}
