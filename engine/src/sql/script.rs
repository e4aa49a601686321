//! A script into statements.
//!
//! 1. The whole text becomes tokens once, so that every place is a place in the script.
//! 2. Tokens are divided at semicolons. A statement set goes on to its `END`.
//! 3. Each statement is parsed by itself, and has to be used up to its end.

use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{
    Location, Span, Token, TokenWithSpan, Tokenizer, TokenizerError, Whitespace,
};

use super::dialect::FlinkDialect;
use super::error::SqlError;
use super::opening::{Opening, opening};
use super::statement::{Insert, Spanned, Statement};
use super::statements::{parse_insert_alone, parse_statement, wrap_set};
use super::tokens::{is_word, taken_apart};

/// Parses all statements of a script.
///
/// # Errors
/// The first statement that can't be parsed, with its place.
pub fn parse_script(text: &str) -> Result<Vec<Spanned<Statement>>, Box<SqlError>> {
    let tokens = Tokenizer::new(&FlinkDialect, text)
        .tokenize_with_location()
        .map_err(|error| Box::new(unreadable(error, text)))?;
    let pieces: Vec<Piece> = tokens
        .split(|token| token.token == Token::SemiColon)
        .map(|tokens| Piece { tokens: tokens.to_vec() })
        .filter(|piece| !piece.is_empty())
        .collect();
    Script { text, pieces, at: 0 }.parse()
}

/// Parses a text that is one statement.
///
/// # Errors
/// When it can't be parsed, is empty, or is more than one.
pub fn parse_one(text: &str) -> Result<Spanned<Statement>, Box<SqlError>> {
    let mut statements = parse_script(text)?;
    match statements.len() {
        1 => Ok(statements.remove(0)),
        0 => Err(Box::new(SqlError::new("there is no statement", Span::empty(), text))),
        _ => {
            let span = statements[1].span;
            Err(Box::new(SqlError::new("one statement at a time", span, text)))
        }
    }
}

fn unreadable(error: TokenizerError, text: &str) -> SqlError {
    // sqlparser knows the end of the text that it could not read; one column is marked.
    let span = Span::new(error.location, error.location);
    let help = match error.message.contains("Unterminated") || error.message.contains("delimiter") {
        true => Some("a quote is opened and not closed; a quote inside of a text is written twice: 'it''s'"),
        false => None,
    };
    let message = lower_first(error.message.trim_end_matches('.'));
    let error = SqlError::new(message, span, text);
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}

/// The tokens between two semicolons.
struct Piece {
    tokens: Vec<TokenWithSpan>,
}

impl Piece {
    fn significant(&self) -> impl DoubleEndedIterator<Item = &TokenWithSpan> {
        self.tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)))
    }

    /// Nothing but whitespace and comments. A hint counts as something, so that a stray one is refused.
    fn is_empty(&self) -> bool {
        self.tokens.iter().all(|token| matches!(token.token, Token::Whitespace(_)) && !is_hint(&token.token))
    }

    fn span(&self) -> Span {
        Span::union_iter(self.significant().map(|token| token.span))
    }

    /// Without its first `count` significant tokens.
    fn without_first(mut self, count: usize) -> Self {
        let mut left = count;
        self.tokens.retain(|token| {
            let drop = left > 0 && !matches!(token.token, Token::Whitespace(_));
            left -= usize::from(drop);
            !drop
        });
        self
    }

    fn is_end(&self) -> bool {
        let mut words = self.significant();
        words.next().is_some_and(|first| is_word(&first.token, "END")) && words.next().is_none()
    }
}

struct Script<'a> {
    text: &'a str,
    pieces: Vec<Piece>,
    at: usize,
}

impl Script<'_> {
    fn parse(mut self) -> Result<Vec<Spanned<Statement>>, Box<SqlError>> {
        let mut statements = Vec::new();
        while let Some(piece) = self.next_piece() {
            let words: Vec<&Token> = piece.significant().take(8).map(|token| &token.token).collect();
            statements.push(match opening(&words) {
                Opening::Set { words, explain } => self.statement_set(piece, words, explain)?,
                Opening::Plain { kind } => {
                    let span = piece.span();
                    let tokens = piece.tokens;
                    let node = parse_statement(tokens.clone()).map_err(|error| self.error(error, kind, &tokens))?;
                    Spanned { node, span, text: self.text_of(span) }
                }
            });
        }
        Ok(statements)
    }

    fn next_piece(&mut self) -> Option<Piece> {
        let piece = self.pieces.get_mut(self.at)?;
        self.at += 1;
        Some(Piece { tokens: std::mem::take(&mut piece.tokens) })
    }

    /// `EXECUTE STATEMENT SET BEGIN insert; … END`, of which `first` holds all up to the first semicolon.
    fn statement_set(
        &mut self,
        first: Piece,
        words: usize,
        explain: bool,
    ) -> Result<Spanned<Statement>, Box<SqlError>> {
        const KIND: &str = "STATEMENT SET";
        let start = first.span();
        let fail = |message: &str, span: Span| {
            let help = "write EXECUTE STATEMENT SET BEGIN INSERT …; INSERT …; END;";
            Box::new(SqlError::new(message, span, self.text).help(help).in_statement(KIND))
        };
        let mut inserts: Vec<Spanned<Insert>> = Vec::new();
        let mut next = Some(first.without_first(words)).filter(|piece| !piece.is_empty());
        let end = loop {
            let piece = match next.take() {
                Some(piece) => piece,
                None => match self.pieces.get_mut(self.at) {
                    Some(piece) => {
                        self.at += 1;
                        Piece { tokens: std::mem::take(&mut piece.tokens) }
                    }
                    None => return Err(fail("the statement set has no END", start)),
                },
            };
            let span = piece.span();
            if piece.is_end() {
                break span;
            }
            let tokens = piece.tokens;
            let node = parse_insert_alone(tokens.clone()).map_err(|error| self.error(error, KIND, &tokens))?;
            inserts.push(Spanned { node, span, text: self.text_of(span) });
        };
        let span = start.union(&end);
        if inserts.is_empty() {
            return Err(fail("the statement set holds no INSERT", span));
        }
        let node = wrap_set(inserts, explain);
        Ok(Spanned { node, span, text: self.text_of(span) })
    }

    /// The error with its place; at the statement's end when sqlparser has not said where.
    fn error(&self, error: ParserError, kind: &'static str, tokens: &[TokenWithSpan]) -> Box<SqlError> {
        let (message, help, place) = taken_apart(error);
        let tokens: Vec<&TokenWithSpan> = tokens
            .iter()
            .filter(|token| is_hint(&token.token) || !matches!(token.token, Token::Whitespace(_)))
            .collect();
        let span = match place {
            Some(place) => match tokens.iter().position(|token| token.span.start == place) {
                Some(index) => meant(&tokens, index, &message).span,
                None => Span::new(place, place),
            },
            None => tokens.last().map_or(Span::empty(), |token| after(token.span.end)),
        };
        let message = readable(&message);
        let help = help.or_else(|| suggestion(&message));
        let error = SqlError::new(message, span, self.text).in_statement(kind);
        Box::new(match help {
            Some(help) => error.help(help),
            None => error,
        })
    }

    fn text_of(&self, span: Span) -> String {
        text_of(self.text, span)
    }
}

fn is_hint(token: &Token) -> bool {
    matches!(token, Token::Whitespace(Whitespace::MultiLineComment(text)) if text.starts_with('+'))
}

/// The token that an error is about. sqlparser sometimes names a token and gives the place of the one after it.
fn meant<'a>(tokens: &[&'a TokenWithSpan], index: usize, message: &str) -> &'a TokenWithSpan {
    let named = message.rsplit_once(", found: ").map(|(_, named)| named);
    let is_named = |token: &TokenWithSpan| named == Some(token.token.to_string().as_str());
    match index.checked_sub(1).map(|before| tokens[before]) {
        Some(before) if !is_named(tokens[index]) && is_named(before) => before,
        _ => tokens[index],
    }
}

/// One column at a place.
fn after(place: Location) -> Span {
    Span::new(place, Location::new(place.line, place.column + 1))
}

/// The part of a text at a place; the end is exclusive.
fn text_of(text: &str, span: Span) -> String {
    let offset = |place: Location| -> usize {
        let lines = text.split_inclusive('\n');
        let before: usize = lines.clone().take(place.line as usize - 1).map(str::len).sum();
        let line = lines.clone().nth(place.line as usize - 1).unwrap_or("");
        let columns: usize = line.chars().take(place.column as usize - 1).map(char::len_utf8).sum();
        before + columns
    };
    match span.start.line {
        0 => String::new(),
        _ => text[offset(span.start)..offset(span.end)].to_owned(),
    }
}

/// sqlparser's `Expected: ), found: foo` in this crate's words.
fn readable(message: &str) -> String {
    let Some((expected, found)) = message.strip_prefix("Expected").and_then(|rest| rest.rsplit_once(", found: "))
    else {
        return lower_first(message);
    };
    let expected = expected.trim_start_matches([':', ' ']);
    let symbol = !expected.chars().any(char::is_alphanumeric);
    let expected = if symbol { format!("'{expected}'") } else { expected.to_owned() };
    match found {
        "EOF" => format!("expected {expected}, found the end of the statement"),
        text if text.starts_with('\'') => format!("expected {expected}, found the text {text}"),
        found => format!("expected {expected}, found '{found}'"),
    }
}

/// The message without a capital at its start; a keyword stays as it is.
fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(chars).collect(),
        _ => message.to_owned(),
    }
}

/// The keyword that was expected, when the word that was found is a slip for it.
fn suggestion(message: &str) -> Option<String> {
    let (expected, found) = message.strip_prefix("expected ")?.rsplit_once(", found '")?;
    let found = found.strip_suffix('\'')?;
    let words = expected.split(|c: char| !c.is_ascii_uppercase() && c != '_').filter(|word| word.len() >= 2);
    crate::suggest::nearest_one(found, words).map(|near| format!("did you mean '{near}'?"))
}
