//! How deep a statement's tree may become.
//!
//! `a OR b OR c` is a tree as deep as it has operators, and DataFusion walks trees by recursion: a chain that a program
//! wrote would overflow the stack, which ends the process. Parentheses are bounded by sqlparser; chains are bounded here,
//! over the tokens, before there is a tree.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tokens::err_at;

/// How often one operator may stand in one chain. DataFusion 54 takes about 23 KiB of stack per level while it plans in a
/// build without optimisation, so that this many need 6 MiB there.
const CHAIN_MAX: usize = 256;

/// Refuses chains of operators (`a OR b OR …`), of accesses (`a.b[1].c…`) and of queries and joins (`… UNION …`) that
/// are too long.
pub(super) fn check_depth(tokens: &[TokenWithSpan]) -> Result<(), ParserError> {
    let mut levels = vec![Level::default()];
    for token in tokens {
        let depth = levels.len() - 1;
        let level = &mut levels[depth];
        match &token.token {
            Token::LParen => levels.push(Level::default()),
            Token::LBracket => {
                level.access(token)?;
                levels.push(Level::default());
            }
            Token::RParen | Token::RBracket if depth > 0 => drop(levels.pop()),
            Token::Comma => level.begin_expression(),
            Token::Period | Token::DoubleColon => level.access(token)?,
            Token::Word(word) => match word.keyword {
                Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::JOIN => {
                    level.table(token)?;
                }
                Keyword::AND | Keyword::OR | Keyword::NOT => level.operator(token)?,
                Keyword::IS | Keyword::AT => level.access(token)?,
                Keyword::SELECT
                | Keyword::FROM
                | Keyword::WHERE
                | Keyword::ON
                | Keyword::WHEN
                | Keyword::THEN
                | Keyword::ELSE => level.begin_expression(),
                _ => {}
            },
            operator if is_operator(operator) => level.operator(token)?,
            _ => {}
        }
    }
    Ok(())
}

/// What stands between two parentheses, without what is in deeper ones.
#[derive(Default)]
struct Level {
    /// `UNION`, `INTERSECT`, `EXCEPT` and `JOIN` so far.
    tables: usize,
    /// Each operator of the current expression and how often it stands there.
    operators: Vec<(Token, usize)>,
    /// Accesses since the last operator.
    accesses: usize,
}

impl Level {
    fn begin_expression(&mut self) {
        self.operators.clear();
        self.accesses = 0;
    }

    fn table(&mut self, token: &TokenWithSpan) -> Result<(), ParserError> {
        self.begin_expression();
        self.tables += 1;
        match self.tables {
            0..=CHAIN_MAX => Ok(()),
            _ => {
                let message = format!("more than {CHAIN_MAX} tables or queries are put together");
                err_at(message, token, Some("do it in several statements"))
            }
        }
    }

    fn access(&mut self, token: &TokenWithSpan) -> Result<(), ParserError> {
        self.accesses += 1;
        match self.accesses {
            0..=CHAIN_MAX => Ok(()),
            _ => err_at(format!("more than {CHAIN_MAX} accesses in a row"), token, None),
        }
    }

    fn operator(&mut self, token: &TokenWithSpan) -> Result<(), ParserError> {
        self.accesses = 0;
        let index = match self.operators.iter().position(|(known, _)| *known == token.token) {
            Some(index) => index,
            None => {
                self.operators.push((token.token.clone(), 0));
                self.operators.len() - 1
            }
        };
        self.operators[index].1 += 1;
        match self.operators[index].1 {
            0..=CHAIN_MAX => Ok(()),
            _ => {
                let message = format!("more than {CHAIN_MAX} '{}' in one expression", token.token);
                err_at(message, token, Some("write IN (…), or join a table of the values"))
            }
        }
    }
}

fn is_operator(token: &Token) -> bool {
    matches!(
        token,
        Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::Mod
            | Token::StringConcat
            | Token::Eq
            | Token::Neq
            | Token::Lt
            | Token::Gt
            | Token::LtEq
            | Token::GtEq
            | Token::Ampersand
            | Token::Pipe
            | Token::Caret
            | Token::ShiftLeft
            | Token::ShiftRight
            | Token::ExclamationMark
            | Token::Tilde
    )
}
