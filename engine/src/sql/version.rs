//! `FOR SYSTEM_VERSION AS OF x`, which sqlparser does not know.
//!
//! The tokens are changed into `FOR SYSTEM_TIME AS OF frazil_version(x)`, which it does know. `FOR VERSION AS OF x`
//! (Trino), `VERSION AS OF x` (Spark), `FOR TIMESTAMP AS OF x` are read the same way.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::tokens::is_word;

/// The function that stands for a version in the tree.
pub(super) const VERSION_FUNCTION: &str = "frazil_version";

/// Changes the version clauses of a statement. `tokens` may hold whitespace; the clauses lose theirs.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let significant: Vec<usize> =
        (0..tokens.len()).filter(|index| !matches!(tokens[*index].token, Token::Whitespace(_))).collect();
    let token = |at: usize| significant.get(at).map(|index| &tokens[*index].token);
    let word = |at: usize, word: &str| token(at).is_some_and(|token| is_word(token, word));

    let mut out = Vec::with_capacity(tokens.len() + 8);
    let mut copied = 0;
    let mut at = 0;
    while at < significant.len() {
        let after_for = at + usize::from(word(at, "FOR"));
        let version = word(after_for, "SYSTEM_VERSION") || word(after_for, "VERSION");
        let time = after_for > at && word(after_for, "TIMESTAMP");
        let as_of = word(after_for + 1, "AS") && word(after_for + 2, "OF");
        let literal = matches!(token(after_for + 3), Some(Token::Number(..) | Token::SingleQuotedString(_)));
        if !(as_of && (time || version && literal)) {
            at += 1;
            continue;
        }
        let (first, last) = (significant[at], significant[after_for + 2]);
        let span = tokens[first].span;
        let made = |token| TokenWithSpan::new(token, span);
        out.extend_from_slice(&tokens[copied..first]);
        out.extend(
            [Keyword::FOR, Keyword::SYSTEM_TIME, Keyword::AS, Keyword::OF]
                .map(|keyword| made(Token::make_keyword(&format!("{keyword:?}")))),
        );
        copied = last + 1;
        at = after_for + 3;
        if version {
            let function = Word { value: VERSION_FUNCTION.to_owned(), quote_style: None, keyword: Keyword::NoKeyword };
            out.push(made(Token::Word(function)));
            out.push(made(Token::LParen));
            out.push(tokens[significant[at]].clone());
            out.push(made(Token::RParen));
            copied = significant[at] + 1;
            at += 1;
        }
    }
    out.extend_from_slice(&tokens[copied..]);
    out
}
