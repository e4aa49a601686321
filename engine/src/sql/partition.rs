//! `PARTITIONED BY (month(ts), bucket(16, id))`: Iceberg's partition transforms.

use std::fmt;

use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::Span;
use super::create_table::{parse_identifier, parse_path};
use super::name::quoted;
use super::tokens::{err_at, err_in, found};
use crate::suggest::nearest_one;

/// One field of `PARTITIONED BY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionField {
    /// What is made of the column's value.
    pub transform: Transform,
    /// The path of the source: a column, then fields inside of it.
    pub column: Vec<String>,
    /// Where it stands.
    pub span: Span,
}

/// A partition transform (Iceberg spec, "Partition Transforms").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// The value itself.
    Identity,
    /// The year of a date or timestamp.
    Year,
    /// The month of a date or timestamp.
    Month,
    /// The day of a date or timestamp.
    Day,
    /// The hour of a timestamp.
    Hour,
    /// A hash of the value modulo this number.
    Bucket(u32),
    /// The value cut to this width.
    Truncate(u32),
}

impl fmt::Display for PartitionField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.column.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".");
        match self.transform {
            Transform::Identity => f.write_str(&column),
            Transform::Year => write!(f, "year({column})"),
            Transform::Month => write!(f, "month({column})"),
            Transform::Day => write!(f, "day({column})"),
            Transform::Hour => write!(f, "hour({column})"),
            Transform::Bucket(count) => write!(f, "bucket({count}, {column})"),
            Transform::Truncate(width) => write!(f, "truncate({width}, {column})"),
        }
    }
}

/// `(a, month(ts), bucket(16, id), …)`
pub(super) fn parse_partition_fields(parser: &mut Parser<'_>) -> Result<Vec<PartitionField>, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let fields = parser.parse_comma_separated(parse_partition_field)?;
    parser.expect_token(&Token::RParen)?;
    for (index, field) in fields.iter().enumerate() {
        let same = |other: &&PartitionField| other.column == field.column && other.transform == field.transform;
        if fields[..index].iter().any(|other| same(&other)) {
            return err_in(format!("the table is partitioned by {field} twice"), field.span.start, None);
        }
    }
    Ok(fields)
}

/// `a`, `month(ts)`, `bucket(16, id)`
pub(super) fn parse_partition_field(parser: &mut Parser<'_>) -> Result<PartitionField, ParserError> {
    let start = parser.peek_token();
    if parser.peek_nth_token_ref(1).token != Token::LParen {
        let (column, span) = parse_path(parser)?;
        return Ok(PartitionField { transform: Transform::Identity, column, span });
    }
    let (name, _) = parse_identifier(parser, "a partition transform")?;
    parser.expect_token(&Token::LParen)?;
    let number = match parser.peek_token_ref().token {
        Token::Number(..) => {
            let number = parse_count(parser)?;
            parser.expect_token(&Token::Comma)?;
            Some(number)
        }
        _ => None,
    };
    let (column, _) = parse_path(parser)?;
    let end = parser.expect_token(&Token::RParen)?;
    let transform = transform(&name, number, &start)?;
    Ok(PartitionField { transform, column, span: start.span.union(&end.span) })
}

fn parse_count(parser: &mut Parser<'_>) -> Result<u32, ParserError> {
    let token = parser.next_token();
    let count = match &token.token {
        Token::Number(digits, _) => digits.parse().ok().filter(|n| (1..=i32::MAX as u32).contains(n)),
        _ => None,
    };
    match count {
        Some(count) => Ok(count),
        None => err_at(format!("expected a number from 1 up, found {}", found(&token)), &token, None),
    }
}

fn transform(name: &str, number: Option<u32>, start: &TokenWithSpan) -> Result<Transform, ParserError> {
    const NAMES: [&str; 7] = ["identity", "year", "month", "day", "hour", "bucket", "truncate"];
    let lower = name.to_ascii_lowercase();
    let transform = match (lower.as_str(), number) {
        ("identity", None) => Transform::Identity,
        ("year" | "years", None) => Transform::Year,
        ("month" | "months", None) => Transform::Month,
        ("day" | "days", None) => Transform::Day,
        ("hour" | "hours", None) => Transform::Hour,
        ("bucket", Some(count)) => Transform::Bucket(count),
        ("truncate", Some(width)) => Transform::Truncate(width),
        ("bucket", None) => {
            return err_at("bucket needs the number of buckets", start, Some("write bucket(16, id)"));
        }
        ("truncate", None) => {
            return err_at("truncate needs the width", start, Some("write truncate(4, name)"));
        }
        (known, Some(_)) if NAMES[..5].contains(&known.trim_end_matches('s')) => {
            let help = format!("write {lower}(column)");
            return err_at(format!("{lower} takes no number"), start, Some(&help));
        }
        _ => {
            let help = match nearest_one(&lower, NAMES) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("there are {}", NAMES.join(", ")),
            };
            let message = format!("'{name}' is not a partition transform");
            return err_at(message, start, Some(&help));
        }
    };
    Ok(transform)
}
