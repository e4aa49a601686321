//! Types out of tokens.
//!
//! sqlparser reads neither `ROW<a INT>` nor `MAP<K, V>` nor `NOT NULL` inside of a type, so types are read here. Two
//! closing brackets in a row are one token (`>>`): the one that is too many waits in `closers` for the outer type.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::data_type::{DataType, RowField, TypeKind};
use super::dialect::FlinkDialect;
use super::tokens::{err, err_at, found};
use crate::suggest::nearest_one;

/// How deep types may nest: `ROW<a ROW<b …>>`. Arrow, Parquet and Iceberg readers recurse over them.
const DEPTH_MAX: usize = 32;

/// The finest fraction of a second that a table keeps: microseconds.
const PRECISION_MAX: u8 = 6;

/// The most digits of a `DECIMAL` (Iceberg spec, "Primitive Types").
const DECIMAL_PRECISION_MAX: u8 = 38;

const NAMES: [&str; 26] = [
    "ARRAY",
    "BIGINT",
    "BINARY",
    "BOOLEAN",
    "BYTES",
    "CHAR",
    "DATE",
    "DEC",
    "DECIMAL",
    "DOUBLE",
    "FLOAT",
    "INT",
    "INTEGER",
    "MAP",
    "NUMERIC",
    "REAL",
    "ROW",
    "SMALLINT",
    "STRING",
    "TEXT",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "TINYINT",
    "VARBINARY",
    "VARCHAR",
];

/// Reads a type from its text.
///
/// # Errors
/// What is wrong, in one line.
pub fn parse_type(text: &str) -> Result<DataType, String> {
    let message = |error: ParserError| match error {
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
        ParserError::RecursionLimitExceeded => "the type nests too deep".to_owned(),
    };
    let tokens = Tokenizer::new(&FlinkDialect, text).tokenize().map_err(|error| error.message)?;
    let mut parser = Parser::new(&FlinkDialect).with_tokens(tokens);
    let data_type = parse_data_type(&mut parser).map_err(message)?;
    match parser.peek_token_ref().token {
        Token::EOF => Ok(data_type),
        _ => Err(format!("unexpected {} after the type", found(parser.peek_token_ref()))),
    }
}

/// Reads a type at the parser's place.
pub(super) fn parse_data_type(parser: &mut Parser<'_>) -> Result<DataType, ParserError> {
    let mut types = TypeParser { parser, closers: 0, depth: 0 };
    let data_type = types.data_type()?;
    match types.closers {
        0 => Ok(data_type),
        _ => err(parser, "one '>' too many after the type"),
    }
}

struct TypeParser<'p, 'd> {
    parser: &'p mut Parser<'d>,
    /// `>` that were read as a part of `>>` and belong to outer types.
    closers: usize,
    depth: usize,
}

impl TypeParser<'_, '_> {
    fn data_type(&mut self) -> Result<DataType, ParserError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return err(self.parser, format!("types nest at most {DEPTH_MAX} deep"));
        }
        let kind = self.kind()?;
        self.depth -= 1;
        // After a `>>` the next tokens belong to the outer type.
        let nullable = self.closers > 0 || !self.not_null()?;
        Ok(DataType { kind, nullable })
    }

    fn not_null(&mut self) -> Result<bool, ParserError> {
        if self.parser.parse_keyword(Keyword::NOT) {
            self.parser.expect_keyword(Keyword::NULL)?;
            return Ok(true);
        }
        // `NULL` is the default and may be written. `NULL` in `a INT NULL` is not an expression here.
        let _ = self.parser.parse_keyword(Keyword::NULL);
        Ok(false)
    }

    fn kind(&mut self) -> Result<TypeKind, ParserError> {
        let token = self.parser.next_token();
        let Token::Word(word) = &token.token else {
            return err_at(format!("expected a data type, found {}", found(&token)), &token, None);
        };
        if word.quote_style.is_some() {
            return err_at(format!("expected a data type, found {}", found(&token)), &token, None);
        }
        let name = word.value.to_ascii_uppercase();
        Ok(match name.as_str() {
            "BOOLEAN" | "BOOL" => TypeKind::Boolean,
            "TINYINT" => TypeKind::TinyInt,
            "SMALLINT" => TypeKind::SmallInt,
            "INT" | "INTEGER" => TypeKind::Int,
            "BIGINT" => TypeKind::BigInt,
            "FLOAT" | "REAL" => TypeKind::Float,
            "DOUBLE" => {
                let _ = self.parser.parse_keyword(Keyword::PRECISION);
                TypeKind::Double
            }
            "DECIMAL" | "DEC" | "NUMERIC" => self.decimal()?,
            "CHAR" | "CHARACTER" => TypeKind::Char(self.length()?.unwrap_or(1)),
            "VARCHAR" => self.length()?.map_or(TypeKind::String, TypeKind::VarChar),
            "STRING" | "TEXT" => TypeKind::String,
            "BINARY" => TypeKind::Binary(self.length()?.unwrap_or(1)),
            "VARBINARY" => self.length()?.map_or(TypeKind::Bytes, TypeKind::VarBinary),
            "BYTES" | "BYTEA" => TypeKind::Bytes,
            "DATE" => TypeKind::Date,
            "TIME" => self.time()?,
            "TIMESTAMP" => self.timestamp()?,
            "TIMESTAMP_LTZ" => TypeKind::TimestampLtz { precision: self.precision(6)? },
            "ARRAY" => {
                self.open()?;
                let element = self.data_type()?;
                self.close()?;
                TypeKind::Array(Box::new(element))
            }
            "MAP" => self.map()?,
            "ROW" | "STRUCT" => self.row()?,
            _ => return self.refuse(&name, &token),
        })
    }

    fn refuse(
        &self,
        name: &str,
        token: &datafusion::sql::sqlparser::tokenizer::TokenWithSpan,
    ) -> Result<TypeKind, ParserError> {
        let help = match name {
            "MULTISET" => "a table can't keep a MULTISET; use ARRAY<…>, or MAP<…, INT> with counts",
            "RAW" | "STRUCTURED" => "types of the JVM don't exist here; use ROW<…> or BYTES",
            "INTERVAL" => "a table can't keep an INTERVAL; use BIGINT with the unit in its name",
            "JSON" | "VARIANT" => "use STRING, or ROW<…> with the fields that you need",
            "UUID" => "use STRING or BINARY(16)",
            "LONG" => "did you mean 'BIGINT'?",
            "TIMESTAMPTZ" => "did you mean 'TIMESTAMP_LTZ'?",
            _ => {
                let help = nearest_one(name, NAMES).map(|near| format!("did you mean '{near}'?"));
                let message = format!("expected a data type, found {}", found(token));
                return err_at(message, token, help.as_deref());
            }
        };
        err_at(format!("the type {name} is not supported"), token, Some(help))
    }

    fn decimal(&mut self) -> Result<TypeKind, ParserError> {
        let (mut precision, mut scale) = (10, 0);
        if self.parser.consume_token(&Token::LParen) {
            precision = self.number("the precision", 1, DECIMAL_PRECISION_MAX.into())? as u8;
            if self.parser.consume_token(&Token::Comma) {
                scale = self.number("the scale", 0, precision.into())? as u8;
            }
            self.parser.expect_token(&Token::RParen)?;
        }
        Ok(TypeKind::Decimal { precision, scale })
    }

    fn time(&mut self) -> Result<TypeKind, ParserError> {
        let precision = self.precision(0)?;
        self.without_time_zone()?;
        Ok(TypeKind::Time { precision })
    }

    fn timestamp(&mut self) -> Result<TypeKind, ParserError> {
        let precision = self.precision(6)?;
        if self.parser.parse_keyword(Keyword::WITH) {
            let token = self.parser.peek_token();
            if !self.parser.parse_keyword(Keyword::LOCAL) {
                let help = "TIMESTAMP WITH LOCAL TIME ZONE (TIMESTAMP_LTZ) keeps the instant";
                return err_at("a zone per value can't be kept", &token, Some(help));
            }
            self.parser.expect_keywords(&[Keyword::TIME, Keyword::ZONE])?;
            return Ok(TypeKind::TimestampLtz { precision });
        }
        self.without_time_zone()?;
        Ok(TypeKind::Timestamp { precision })
    }

    fn without_time_zone(&mut self) -> Result<(), ParserError> {
        match self.parser.parse_keyword(Keyword::WITHOUT) {
            true => self.parser.expect_keywords(&[Keyword::TIME, Keyword::ZONE]),
            false => Ok(()),
        }
    }

    fn map(&mut self) -> Result<TypeKind, ParserError> {
        self.open()?;
        let key = self.data_type()?;
        self.parser.expect_token(&Token::Comma)?;
        let value = self.data_type()?;
        self.close()?;
        Ok(TypeKind::Map(Box::new(key), Box::new(value)))
    }

    /// `<a INT, …>` or `(a INT, …)`.
    fn row(&mut self) -> Result<TypeKind, ParserError> {
        let token = self.parser.peek_token();
        if token.token == Token::Neq {
            return err_at("a ROW needs at least one field", &token, None);
        }
        let parens = self.parser.consume_token(&Token::LParen);
        if !parens {
            self.open()?;
        }
        let mut fields: Vec<RowField> = Vec::new();
        loop {
            let token = self.parser.peek_token();
            let name = self.parser.parse_identifier()?.value;
            if fields.iter().any(|field| field.name == name) {
                return err_at(format!("the ROW has two fields '{name}'"), &token, None);
            }
            let data_type = self.data_type()?;
            let comment = match self.closers == 0 && self.at_string() {
                true => Some(self.parser.parse_literal_string()?),
                false => None,
            };
            fields.push(RowField { name, data_type, comment });
            if self.closers > 0 || !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        match parens {
            true => self.parser.expect_token(&Token::RParen).map(drop)?,
            false => self.close()?,
        }
        Ok(TypeKind::Row(fields))
    }

    fn at_string(&self) -> bool {
        matches!(self.parser.peek_token_ref().token, Token::SingleQuotedString(_))
    }

    fn open(&mut self) -> Result<(), ParserError> {
        self.parser.expect_token(&Token::Lt).map(drop)
    }

    fn close(&mut self) -> Result<(), ParserError> {
        if self.closers > 0 {
            self.closers -= 1;
            return Ok(());
        }
        if self.parser.consume_token(&Token::ShiftRight) {
            self.closers = 1;
            return Ok(());
        }
        self.parser.expect_token(&Token::Gt).map(drop)
    }

    fn length(&mut self) -> Result<Option<u32>, ParserError> {
        if !self.parser.consume_token(&Token::LParen) {
            return Ok(None);
        }
        let length = self.number("the length", 1, i32::MAX as u64)? as u32;
        self.parser.expect_token(&Token::RParen)?;
        Ok(Some(length))
    }

    fn precision(&mut self, default: u8) -> Result<u8, ParserError> {
        if !self.parser.consume_token(&Token::LParen) {
            return Ok(default);
        }
        let precision = self.number("the precision", 0, PRECISION_MAX.into())? as u8;
        self.parser.expect_token(&Token::RParen)?;
        Ok(precision)
    }

    fn number(&mut self, what: &str, min: u64, max: u64) -> Result<u64, ParserError> {
        let token = self.parser.next_token();
        let number = match &token.token {
            Token::Number(digits, _) => digits.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if (min..=max).contains(&number) => Ok(number),
            _ => {
                let message = format!("{what} is a number from {min} to {max}, not {}", found(&token));
                err_at(message, &token, None)
            }
        }
    }
}
