//! `CALL [catalog.]system.procedure(name => value, …)`.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::create_table::{parse_identifier, parse_name};
use super::tokens::err_in;
use super::{Name, Span};

/// `CALL`
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The procedure: `system.name`, or `catalog.system.name`.
    pub procedure: Name,
    /// Its arguments as they were written.
    pub arguments: Vec<CallArgument>,
}

/// One argument of a `CALL`.
#[derive(Debug, Clone, PartialEq)]
pub struct CallArgument {
    /// Its name with its place; without one it is the argument of its position.
    pub name: Option<(String, Span)>,
    /// Its value, a constant.
    pub value: Expr,
    /// Where it stands.
    pub span: Span,
}

/// From `CALL` on.
pub(super) fn parse_call(parser: &mut Parser<'_>) -> Result<Call, ParserError> {
    parser.advance_token();
    let procedure = parse_name(parser)?;
    parser.expect_token(&Token::LParen)?;
    let mut arguments: Vec<CallArgument> = Vec::new();
    while parser.peek_token_ref().token != Token::RParen {
        let argument = argument(parser)?;
        if let (None, Some(before)) = (&argument.name, arguments.last().and_then(|last| last.name.as_ref())) {
            let message = format!("an argument without a name stands behind one with a name ('{}')", before.0);
            return err_in(message, argument.span.start, Some("write name => value"));
        }
        arguments.push(argument);
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    parser.expect_token(&Token::RParen)?;
    Ok(Call { procedure, arguments })
}

fn argument(parser: &mut Parser<'_>) -> Result<CallArgument, ParserError> {
    let start = parser.peek_token().span;
    let named = matches!(parser.peek_nth_token_ref(1).token, Token::RArrow);
    let name = match named {
        true => {
            let name = parse_identifier(parser, "an argument's name")?;
            parser.advance_token();
            Some(name)
        }
        false => None,
    };
    let value = parser.parse_expr()?;
    let span = start.union(&parser.get_current_token().span);
    Ok(CallArgument { name, value, span })
}
