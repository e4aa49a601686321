//! `CREATE TABLE`, as Flink writes it.

use datafusion::sql::sqlparser::ast::{Expr, Spanned as _};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::data_type::{DataType, TypeKind};
use super::hint::Hints;
use super::options_clause::{parse_with, text};
use super::partition::{PartitionField, parse_partition_fields};
use super::query::{Query, parse_query};
use super::tokens::{err_at, err_in, expect_word, found, is_word, take_word};
use super::type_parser::parse_data_type;
use super::{Name, Span};
use crate::options::Options;
use crate::suggest::nearest_one;

/// `CREATE TABLE`
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    /// The table.
    pub name: Name,
    /// Lives as long as the session or the job.
    pub temporary: bool,
    /// No error when it is there already.
    pub if_not_exists: bool,
    /// What becomes of one that is there already.
    pub replace: Replace,
    /// The columns in their order; none when they come from `LIKE` or `AS SELECT`.
    pub columns: Vec<Column>,
    /// Which column is the event time.
    pub watermark: Option<Watermark>,
    /// The columns of the primary key; empty when there is none. They are not null.
    pub primary_key: Vec<String>,
    /// The comment.
    pub comment: Option<String>,
    /// How the table is partitioned; not when it is empty.
    pub partitioned_by: Vec<PartitionField>,
    /// `WITH (…)`.
    pub options: Options,
    /// The table whose definition is taken over.
    pub like: Option<Name>,
    /// The query whose result fills the table.
    pub query: Option<Query>,
}

/// What `CREATE TABLE` makes of a table that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// `CREATE TABLE`: nothing.
    No,
    /// `CREATE OR REPLACE TABLE`: it is replaced.
    Any,
    /// `REPLACE TABLE`: it is replaced, and has to be there.
    Existing,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Where its values come from.
    pub kind: ColumnKind,
    /// Its comment.
    pub comment: Option<String>,
    /// Where its name stands.
    pub span: Span,
}

/// Where the values of a column come from.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnKind {
    /// `name TYPE`: read from and written to the table's data.
    Physical(DataType),
    /// `name AS expression`: computed when the table is read, never written.
    Computed(Box<Expr>),
    /// `name TYPE METADATA [FROM 'key'] [VIRTUAL]`: from the connector, such as a message's timestamp.
    Metadata {
        /// Its type.
        data_type: DataType,
        /// The connector's name for it; the column's own name when there is none.
        key: Option<String>,
        /// Only read, never written.
        is_virtual: bool,
    },
}

/// `WATERMARK FOR column AS expression`
#[derive(Debug, Clone, PartialEq)]
pub struct Watermark {
    /// The path of the event time: a column, then fields inside of it.
    pub column: Vec<String>,
    /// No row with an event time at or below the expression's value is expected any more.
    pub expr: Box<Expr>,
    /// Where the column stands.
    pub span: Span,
}

/// Reads the statement from after `CREATE [TEMPORARY] TABLE`.
pub(super) fn parse_create_table(
    parser: &mut Parser<'_>,
    hints: &mut Hints,
    temporary: bool,
) -> Result<CreateTable, ParserError> {
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let mut table = CreateTable {
        name: parse_name(parser)?,
        temporary,
        if_not_exists,
        replace: Replace::No,
        columns: Vec::new(),
        watermark: None,
        primary_key: Vec::new(),
        comment: None,
        partitioned_by: Vec::new(),
        options: Options::new(),
        like: None,
        query: None,
    };
    if parser.peek_token_ref().token == Token::LParen {
        Members { parser, table: &mut table, keys: Vec::new() }.parse()?;
    }
    table.comment = parse_comment(parser)?;
    if take_word(parser, "PARTITIONED") {
        expect_word(parser, "BY")?;
        table.partitioned_by = parse_partition_fields(parser)?;
        let complete = !table.columns.is_empty();
        for field in table.partitioned_by.iter().filter(|_| complete) {
            check_column(&table, &field.column, field.span)?;
        }
    }
    table.options = parse_with(parser)?;
    if parser.parse_keyword(Keyword::LIKE) {
        table.like = Some(parse_name(parser)?);
        let token = parser.peek_token();
        if token.token == Token::LParen {
            let help = "LIKE takes over the columns, the partitioning and the options";
            return err_at("choosing what LIKE takes over is not supported yet", &token, Some(help));
        }
    } else if parser.parse_keyword(Keyword::AS) {
        table.query = Some(parse_query(parser, hints)?);
    }
    check_complete(parser, &table)?;
    Ok(table)
}

fn check_complete(parser: &Parser<'_>, table: &CreateTable) -> Result<(), ParserError> {
    let next = parser.peek_token_ref();
    if next.token != Token::EOF {
        let help = match &next.token {
            Token::Word(_) if is_word(&next.token, "PARTITIONED") || is_word(&next.token, "COMMENT") => {
                Some("the order is: (columns) COMMENT '…' PARTITIONED BY (…) WITH (…) LIKE t | AS SELECT …".to_owned())
            }
            Token::Word(_) if is_word(&next.token, "DISTRIBUTED") => {
                Some("use PARTITIONED BY (bucket(4, column))".to_owned())
            }
            Token::Word(word) => nearest_one(&word.value, ["COMMENT", "PARTITIONED", "WITH", "LIKE", "AS"])
                .map(|near| format!("did you mean '{near}'?")),
            _ => None,
        };
        return err_at(format!("unexpected {}", found(next)), next, help.as_deref());
    }
    // Such tables get their columns from the data.
    let is_on = |key: &str, value: &str| table.options.get(key).is_some_and(|on| on.eq_ignore_ascii_case(value));
    let grows = is_on("schema.inference", "true") || is_on("schema.evolution", "add-columns");
    if table.columns.is_empty() && table.like.is_none() && table.query.is_none() && !grows {
        let place = table.name.span().start;
        let help = "write (name TYPE, …) after its name, LIKE another table, AS SELECT …, or let the columns be found in \
                    the data: 'schema.inference' = 'true' for a source, 'schema.evolution' = 'add-columns' for a target";
        return err_in(format!("the table {} has no columns", table.name), place, Some(help));
    }
    Ok(())
}

/// `[COMMENT '…']`
pub(super) fn parse_comment(parser: &mut Parser<'_>) -> Result<Option<String>, ParserError> {
    match parser.parse_keyword(Keyword::COMMENT) {
        true => text(&parser.next_token(), "a comment").map(Some),
        false => Ok(None),
    }
}

/// A table's, database's or catalog's name.
pub(super) fn parse_name(parser: &mut Parser<'_>) -> Result<Name, ParserError> {
    let token = parser.peek_token();
    if !matches!(token.token, Token::Word(_)) {
        return err_at(format!("expected a name, found {}", found(&token)), &token, None);
    }
    let name = parser.parse_object_name(false)?;
    match Name::from_ast(&name) {
        Some(name) => Ok(name),
        None => err_at(format!("'{name}' has more than three parts"), &token, None),
    }
}

/// What stands between the parentheses.
struct Members<'p, 'd> {
    parser: &'p mut Parser<'d>,
    table: &'p mut CreateTable,
    /// Columns of the primary key, with their places.
    keys: Vec<(String, Span)>,
}

impl Members<'_, '_> {
    fn parse(mut self) -> Result<(), ParserError> {
        self.parser.expect_token(&Token::LParen)?;
        loop {
            self.member()?;
            if self.parser.consume_token(&Token::Comma) {
                continue;
            }
            let token = self.parser.next_token();
            if token.token != Token::RParen {
                return self.refuse_rest_of_column(&token);
            }
            break;
        }
        self.check_keys()?;
        let event_time = self.table.watermark.as_ref().map(|w| (w.column.clone(), w.span));
        match event_time {
            Some((column, span)) => check_column(self.table, &column, span),
            None => Ok(()),
        }
    }

    fn refuse_rest_of_column(&self, token: &TokenWithSpan) -> Result<(), ParserError> {
        const WORDS: [&str; 8] = ["NOT", "NULL", "METADATA", "FROM", "VIRTUAL", "COMMENT", "PRIMARY", "AS"];
        let help = match &token.token {
            Token::Word(word) if is_word(&token.token, "DEFAULT") => {
                format!("{} values of columns are not supported", word.value)
            }
            Token::Word(word) => match nearest_one(&word.value, WORDS) {
                Some(near) => format!("did you mean '{near}'?"),
                None => "is a comma missing before it?".to_owned(),
            },
            _ => "columns are divided by ',' and end with ')'".to_owned(),
        };
        err_at(format!("expected ',' or ')', found {}", found(token)), token, Some(&help))
    }

    fn member(&mut self) -> Result<(), ParserError> {
        let token = self.parser.peek_token();
        let next = self.parser.peek_nth_token(1).token;
        if is_word(&token.token, "WATERMARK") && is_word(&next, "FOR") {
            return self.watermark();
        }
        let constraint = is_word(&token.token, "CONSTRAINT");
        if constraint || is_word(&token.token, "PRIMARY") && is_word(&next, "KEY") {
            return self.primary_key(constraint);
        }
        if is_word(&token.token, "UNIQUE") && next == Token::LParen {
            return err_at("UNIQUE is not supported", &token, Some("use PRIMARY KEY (…) NOT ENFORCED"));
        }
        if token.token == Token::RParen {
            let help = match self.table.columns.is_empty() {
                true => "a table needs at least one column",
                false => "take the comma before it away",
            };
            return err_at("expected a column, found ')'", &token, Some(help));
        }
        self.column()
    }

    fn column(&mut self) -> Result<(), ParserError> {
        let (name, span) = parse_identifier(self.parser, "a column's name")?;
        if self.table.columns.iter().any(|column| column.name == name) {
            return err_in(format!("the column '{name}' is there twice"), span.start, None);
        }
        let kind = match self.parser.parse_keyword(Keyword::AS) {
            true => ColumnKind::Computed(Box::new(self.parser.parse_expr()?)),
            false => self.typed_column(&name, span)?,
        };
        let comment = parse_comment(self.parser)?;
        self.table.columns.push(Column { name, kind, comment, span });
        Ok(())
    }

    fn typed_column(&mut self, name: &str, span: Span) -> Result<ColumnKind, ParserError> {
        let data_type = parse_data_type(self.parser)?;
        if take_word(self.parser, "METADATA") {
            let key = match self.parser.parse_keyword(Keyword::FROM) {
                true => Some(text(&self.parser.next_token(), "the name of the metadata")?),
                false => None,
            };
            let is_virtual = take_word(self.parser, "VIRTUAL");
            return Ok(ColumnKind::Metadata { data_type, key, is_virtual });
        }
        if self.parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
            self.not_enforced()?;
            self.put_keys(vec![(name.to_owned(), span)])?;
        }
        Ok(ColumnKind::Physical(data_type))
    }

    fn watermark(&mut self) -> Result<(), ParserError> {
        let start = self.parser.next_token();
        self.parser.expect_keyword(Keyword::FOR)?;
        let (column, span) = parse_path(self.parser)?;
        self.parser.expect_keyword(Keyword::AS)?;
        let expr = Box::new(self.parser.parse_expr()?);
        if self.table.watermark.is_some() {
            return err_at("a table has one WATERMARK at most", &start, None);
        }
        self.table.watermark = Some(Watermark { column, expr, span });
        Ok(())
    }

    fn primary_key(&mut self, constraint: bool) -> Result<(), ParserError> {
        if constraint {
            self.parser.advance_token();
            parse_identifier(self.parser, "the constraint's name")?;
        }
        self.parser.expect_keywords(&[Keyword::PRIMARY, Keyword::KEY])?;
        self.parser.expect_token(&Token::LParen)?;
        let keys = self.parser.parse_comma_separated(|parser| parse_identifier(parser, "a column's name"))?;
        self.parser.expect_token(&Token::RParen)?;
        self.not_enforced()?;
        self.put_keys(keys)
    }

    fn not_enforced(&mut self) -> Result<(), ParserError> {
        if self.parser.parse_keywords(&[Keyword::NOT, Keyword::ENFORCED]) {
            return Ok(());
        }
        let token = self.parser.peek_token();
        let help = "write NOT ENFORCED after the key: nobody checks what is already in the table";
        err_at("a PRIMARY KEY has to be NOT ENFORCED", &token, Some(help))
    }

    fn put_keys(&mut self, keys: Vec<(String, Span)>) -> Result<(), ParserError> {
        if !self.keys.is_empty() {
            return err_in("a table has one PRIMARY KEY at most", keys[0].1.start, None);
        }
        self.keys = keys;
        Ok(())
    }

    /// The columns of the primary key exist, are physical, and become NOT NULL.
    fn check_keys(&mut self) -> Result<(), ParserError> {
        for (index, (key, span)) in self.keys.iter().enumerate() {
            check_column(self.table, std::slice::from_ref(key), *span)?;
            if self.keys[..index].iter().any(|(other, _)| other == key) {
                return err_in(format!("'{key}' is in the key twice"), span.start, None);
            }
            let column = self.table.columns.iter_mut().find(|column| column.name == *key);
            match &mut column.expect("check_column has found it").kind {
                ColumnKind::Physical(data_type) => data_type.nullable = false,
                _ => {
                    let message = format!("'{key}' is not kept in the table, so it can't be in its key");
                    return err_in(message, span.start, None);
                }
            }
        }
        self.table.primary_key = self.keys.iter().map(|(key, _)| key.clone()).collect();
        Ok(())
    }
}

/// The path leads to a column, and through fields of rows where types are known.
fn check_column(table: &CreateTable, path: &[String], span: Span) -> Result<(), ParserError> {
    let names = table.columns.iter().map(|column| column.name.as_str());
    let Some(column) = table.columns.iter().find(|column| column.name == path[0]) else {
        let help = match nearest_one(&path[0], names.clone()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("its columns are {}", names.collect::<Vec<_>>().join(", ")),
        };
        let message = format!("the table has no column '{}'", path[0]);
        return err_in(message, span.start, Some(&help));
    };
    let (ColumnKind::Physical(data_type) | ColumnKind::Metadata { data_type, .. }) = &column.kind else {
        return Ok(());
    };
    let mut data_type = data_type;
    for (index, part) in path.iter().enumerate().skip(1) {
        let whole = path[..index].join(".");
        let TypeKind::Row(fields) = &data_type.kind else {
            return err_in(format!("'{whole}' is {data_type}, which has no fields"), span.start, None);
        };
        match fields.iter().find(|field| field.name == *part) {
            Some(field) => data_type = &field.data_type,
            None => {
                let near = nearest_one(part, fields.iter().map(|field| field.name.as_str()));
                let help = near.map(|near| format!("did you mean '{near}'?"));
                let message = format!("'{whole}' has no field '{part}'");
                return err_in(message, span.start, help.as_deref());
            }
        }
    }
    Ok(())
}

/// An identifier; `what` says in an error what it is.
pub(super) fn parse_identifier(parser: &mut Parser<'_>, what: &str) -> Result<(String, Span), ParserError> {
    let token = parser.next_token();
    match token.token {
        Token::Word(word) => Ok((word.value, token.span)),
        Token::SingleQuotedString(ref text) => {
            let help = format!("names stand in backticks: `{text}`");
            err_at(format!("expected {what}, found {}", found(&token)), &token, Some(&help))
        }
        _ => err_at(format!("expected {what}, found {}", found(&token)), &token, None),
    }
}

/// `column.field.field`
pub(super) fn parse_path(parser: &mut Parser<'_>) -> Result<(Vec<String>, Span), ParserError> {
    let (first, mut span) = parse_identifier(parser, "a column's name")?;
    let mut path = vec![first];
    while parser.consume_token(&Token::Period) {
        let (part, part_span) = parse_identifier(parser, "a field's name")?;
        path.push(part);
        span = span.union(&part_span);
    }
    Ok((path, span))
}

impl Column {
    /// Its type; a computed column has none before it is planned.
    pub fn data_type(&self) -> Option<&DataType> {
        match &self.kind {
            ColumnKind::Physical(data_type) | ColumnKind::Metadata { data_type, .. } => Some(data_type),
            ColumnKind::Computed(_) => None,
        }
    }
}

impl Watermark {
    /// Where the expression stands.
    pub fn expr_span(&self) -> Span {
        self.expr.span()
    }
}
