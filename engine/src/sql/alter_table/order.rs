//! `WRITE ORDERED BY` and its relatives: how writers sort rows, and how they share them among themselves.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{AlterAction, OrderTerm};
use crate::sql::partition::parse_partition_field;
use crate::sql::tokens::{err_at, found, take_word, take_words};

pub(super) fn write(parser: &mut Parser<'_>) -> Result<AlterAction, ParserError> {
    parser.advance_token();
    if take_word(parser, "UNORDERED") {
        return Ok(AlterAction::WriteOrder { terms: Vec::new(), distribution: "none" });
    }
    let distributed = take_words(parser, &["DISTRIBUTED", "BY", "PARTITION"]);
    let locally = take_word(parser, "LOCALLY");
    if take_words(parser, &["ORDERED", "BY"]) {
        let terms = terms(parser)?;
        let distribution = match (distributed, locally) {
            (true, _) => "hash",
            (false, true) => "none",
            (false, false) => "range",
        };
        return Ok(AlterAction::WriteOrder { terms, distribution });
    }
    if distributed && !locally {
        return Ok(AlterAction::WriteOrder { terms: Vec::new(), distribution: "hash" });
    }
    let token = parser.peek_token_ref();
    let help = "there are WRITE [LOCALLY] ORDERED BY a, b DESC; WRITE DISTRIBUTED BY PARTITION [LOCALLY ORDERED BY a]; \
                WRITE UNORDERED";
    err_at(format!("expected ORDERED BY, found {}", found(token)), token, Some(help))
}

fn terms(parser: &mut Parser<'_>) -> Result<Vec<OrderTerm>, ParserError> {
    let parenthesis = parser.consume_token(&Token::LParen);
    let terms = parser.parse_comma_separated(term)?;
    if parenthesis {
        parser.expect_token(&Token::RParen)?;
    }
    Ok(terms)
}

fn term(parser: &mut Parser<'_>) -> Result<OrderTerm, ParserError> {
    let field = parse_partition_field(parser)?;
    let descending = parser.parse_keyword(Keyword::DESC);
    let _ = !descending && parser.parse_keyword(Keyword::ASC);
    let nulls_first = if parser.parse_keywords(&[Keyword::NULLS, Keyword::FIRST]) {
        true
    } else if parser.parse_keywords(&[Keyword::NULLS, Keyword::LAST]) {
        false
    } else {
        !descending
    };
    Ok(OrderTerm { field, descending, nulls_first })
}
