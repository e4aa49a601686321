//! `ADD COLUMN`, `DROP COLUMN`, `RENAME COLUMN`, `ALTER COLUMN`, `MODIFY`.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{AlterAction, ColumnPath, ColumnPlace, ColumnStep};
use crate::sql::create_table::{parse_comment, parse_identifier, parse_path};
use crate::sql::tokens::{err_at, expect_word, found, take_word};
use crate::sql::type_parser::parse_data_type;

/// `a.b.c`
pub(super) fn column_path(parser: &mut Parser<'_>) -> Result<ColumnPath, ParserError> {
    let (path, span) = parse_path(parser)?;
    Ok(ColumnPath { path, span })
}

/// `ADD [COLUMN | COLUMNS] a TYPE …` or `ADD … (a TYPE …, …)`
pub(super) fn add(parser: &mut Parser<'_>) -> Result<AlterAction, ParserError> {
    parser.advance_token();
    column_word(parser);
    list(parser, |parser| {
        let column = column_path(parser)?;
        let data_type = parse_data_type(parser)?;
        let (mut default, mut comment) = (None, None);
        // In either order.
        for _ in 0..2 {
            if default.is_none() && parser.parse_keyword(Keyword::DEFAULT) {
                default = Some(constant(parser)?);
            } else if comment.is_none() {
                comment = parse_comment(parser)?;
            }
        }
        let place = column_place(parser)?;
        Ok(vec![ColumnStep::Add { column, data_type, default, comment, place }])
    })
}

/// `DROP [COLUMN | COLUMNS] [IF EXISTS] a`, `DROP (a, b)`
pub(super) fn drop_columns(parser: &mut Parser<'_>) -> Result<AlterAction, ParserError> {
    parser.advance_token();
    column_word(parser);
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let parenthesis = parser.consume_token(&Token::LParen);
    let columns = parser.parse_comma_separated(column_path)?;
    if parenthesis {
        parser.expect_token(&Token::RParen)?;
    }
    Ok(AlterAction::Columns(columns.into_iter().map(|column| ColumnStep::Drop { column, if_exists }).collect()))
}

/// `RENAME [COLUMN] a.b TO c`
pub(super) fn rename(parser: &mut Parser<'_>) -> Result<AlterAction, ParserError> {
    parser.advance_token();
    column_word(parser);
    let column = column_path(parser)?;
    expect_word(parser, "TO")?;
    let (to, _) = parse_identifier(parser, "the new name")?;
    let next = parser.peek_token_ref();
    if next.token == Token::Period {
        let help = "the new name stands alone: a column stays in the row that it is in";
        return err_at(format!("unexpected {}", found(next)), next, Some(help));
    }
    Ok(AlterAction::Columns(vec![ColumnStep::Rename { column, to }]))
}

/// `ALTER [COLUMN] a …`
pub(super) fn alter(parser: &mut Parser<'_>) -> Result<AlterAction, ParserError> {
    parser.advance_token();
    column_word(parser);
    let column = column_path(parser)?;
    let step = if take_word(parser, "TYPE") || parser.parse_keywords(&[Keyword::SET, Keyword::DATA, Keyword::TYPE]) {
        let data_type = parse_data_type(parser)?;
        ColumnStep::Type { column, data_type }
    } else if parser.parse_keywords(&[Keyword::SET, Keyword::NOT, Keyword::NULL]) {
        ColumnStep::Nullable { column, nullable: false }
    } else if parser.parse_keywords(&[Keyword::DROP, Keyword::NOT, Keyword::NULL]) {
        ColumnStep::Nullable { column, nullable: true }
    } else if parser.parse_keywords(&[Keyword::SET, Keyword::DEFAULT]) {
        ColumnStep::Default { column, default: Some(constant(parser)?) }
    } else if parser.parse_keywords(&[Keyword::DROP, Keyword::DEFAULT]) {
        ColumnStep::Default { column, default: None }
    } else if let Some(comment) = parse_comment(parser)? {
        ColumnStep::Comment { column, comment }
    } else if let Some(place) = column_place(parser)? {
        ColumnStep::Move { column, place }
    } else {
        let token = parser.peek_token_ref();
        let help = "there are TYPE t, COMMENT '…', SET NOT NULL, DROP NOT NULL, SET DEFAULT x, DROP DEFAULT, FIRST, \
                    AFTER c, BEFORE c";
        return err_at(format!("can't change {} of a column", found(token)), token, Some(help));
    };
    Ok(AlterAction::Columns(vec![step]))
}

/// Flink's `MODIFY a TYPE [COMMENT '…'] [FIRST | AFTER b]` and `MODIFY (…, …)`
pub(super) fn modify(parser: &mut Parser<'_>) -> Result<AlterAction, ParserError> {
    parser.advance_token();
    column_word(parser);
    list(parser, |parser| {
        let column = column_path(parser)?;
        let data_type = parse_data_type(parser)?;
        let comment = parse_comment(parser)?;
        let place = column_place(parser)?;
        let nullable = data_type.nullable;
        let mut steps = vec![
            ColumnStep::Type { column: column.clone(), data_type },
            ColumnStep::Nullable { column: column.clone(), nullable },
        ];
        steps.extend(comment.map(|comment| ColumnStep::Comment { column: column.clone(), comment }));
        steps.extend(place.map(|place| ColumnStep::Move { column, place }));
        Ok(steps)
    })
}

/// One definition, several with commas, or several in parentheses.
fn list(
    parser: &mut Parser<'_>,
    mut definition: impl FnMut(&mut Parser<'_>) -> Result<Vec<ColumnStep>, ParserError>,
) -> Result<AlterAction, ParserError> {
    let parenthesis = parser.consume_token(&Token::LParen);
    let steps = parser.parse_comma_separated(&mut definition)?;
    if parenthesis {
        let token = parser.next_token();
        if token.token != Token::RParen {
            let help = "a column is: name TYPE [NOT NULL] [DEFAULT x] [COMMENT '…'] [FIRST | AFTER c]";
            return err_at(format!("expected ',' or ')', found {}", found(&token)), &token, Some(help));
        }
    }
    Ok(AlterAction::Columns(steps.concat()))
}

fn column_word(parser: &mut Parser<'_>) {
    // A column may be called `column`: then its type or another clause stands behind it, not a name.
    let _ = take_word(parser, "COLUMN") || take_word(parser, "COLUMNS");
}

fn column_place(parser: &mut Parser<'_>) -> Result<Option<ColumnPlace>, ParserError> {
    if take_word(parser, "FIRST") {
        return Ok(Some(ColumnPlace::First));
    }
    for (word, of) in [("AFTER", ColumnPlace::After as fn(String) -> ColumnPlace), ("BEFORE", ColumnPlace::Before)] {
        if take_word(parser, word) {
            let (mut path, _) = parse_path(parser)?;
            return Ok(path.pop().map(of));
        }
    }
    Ok(None)
}

/// A value: an expression without columns.
fn constant(parser: &mut Parser<'_>) -> Result<Box<Expr>, ParserError> {
    parser.parse_expr().map(Box::new)
}
