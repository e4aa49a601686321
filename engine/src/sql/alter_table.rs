//! `ALTER TABLE`, in the words of Spark with Iceberg's extensions and of Flink.

mod columns;
mod order;
mod partition_field;
mod refs;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::create_table::parse_name;
use super::data_type::DataType;
use super::options_clause::{parse_options, text};
use super::partition::PartitionField;
use super::tokens::{err_at, expect_word, found, is_word, take_word, take_words};
use super::{Name, Span};
use crate::options::Options;
use crate::suggest::nearest_one;

/// `ALTER TABLE`
#[derive(Debug, Clone, PartialEq)]
pub struct AlterTable {
    /// The table.
    pub name: Name,
    /// No error when there is none.
    pub if_exists: bool,
    /// What becomes of it.
    pub action: AlterAction,
    /// Where the action stands.
    pub span: Span,
}

/// What becomes of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum AlterAction {
    /// `RENAME TO name`
    RenameTo(Name),
    /// `SET ('key' = 'value', …)`, `SET TBLPROPERTIES (…)`
    Set(Options),
    /// `RESET ('key', …)`, `UNSET TBLPROPERTIES [IF EXISTS] (…)`
    Reset {
        /// The keys with their places.
        keys: Vec<(String, Span)>,
        /// No error for a key that is not set.
        if_exists: bool,
    },
    /// `SET LOCATION '…'`
    SetLocation(String),
    /// `ADD COLUMN`, `DROP COLUMN`, `RENAME COLUMN`, `ALTER COLUMN`, `MODIFY`: they make one new schema.
    Columns(Vec<ColumnStep>),
    /// `SET IDENTIFIER FIELDS a, b.c`
    SetIdentifierFields(Vec<ColumnPath>),
    /// `DROP IDENTIFIER FIELDS a, b.c`
    DropIdentifierFields(Vec<ColumnPath>),
    /// `ADD PARTITION FIELD bucket(16, id) [AS name]`
    AddPartitionField {
        /// What it is made of.
        field: PartitionField,
        /// Its name.
        name: Option<String>,
    },
    /// `DROP PARTITION FIELD bucket(16, id)`, `DROP PARTITION FIELD name`
    DropPartitionField(PartitionField),
    /// `REPLACE PARTITION FIELD old WITH bucket(32, id) [AS name]`
    ReplacePartitionField {
        /// The one that goes, by what it is made of or by its name.
        old: PartitionField,
        /// What the new one is made of.
        new: PartitionField,
        /// The new one's name.
        name: Option<String>,
    },
    /// `RENAME PARTITION FIELD a TO b`
    RenamePartitionField {
        /// The name of now.
        name: String,
        /// The new name.
        to: String,
    },
    /// `WRITE [LOCALLY] ORDERED BY …`, `WRITE DISTRIBUTED BY PARTITION [LOCALLY ORDERED BY …]`, `WRITE UNORDERED`
    WriteOrder {
        /// Without terms files are not sorted.
        terms: Vec<OrderTerm>,
        /// The value of `write.distribution-mode` that goes with it.
        distribution: &'static str,
    },
    /// `CREATE [OR REPLACE] BRANCH | TAG`, `REPLACE BRANCH | TAG`
    CreateRef(CreateRef),
    /// `DROP BRANCH | TAG [IF EXISTS] name`
    DropRef {
        /// A tag, not a branch.
        is_tag: bool,
        /// Its name.
        name: String,
        /// No error when there is none.
        if_exists: bool,
    },
}

/// A column or a field inside of one.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnPath {
    /// The column, then fields inside of it.
    pub path: Vec<String>,
    /// Where it stands.
    pub span: Span,
}

/// One change of the columns.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnStep {
    /// A column more.
    Add {
        /// Where it comes, its own name last.
        column: ColumnPath,
        /// Its type.
        data_type: DataType,
        /// The value of rows that were there before, and of later ones that say nothing.
        default: Option<Box<Expr>>,
        /// Its comment.
        comment: Option<String>,
        /// Its place.
        place: Option<ColumnPlace>,
    },
    /// A column less.
    Drop {
        /// Which.
        column: ColumnPath,
        /// No error when there is none.
        if_exists: bool,
    },
    /// Another name.
    Rename {
        /// Which.
        column: ColumnPath,
        /// The new name, without the names around it.
        to: String,
    },
    /// Another type.
    Type {
        /// Which.
        column: ColumnPath,
        /// The new type; its nullability counts only where it is NOT NULL.
        data_type: DataType,
    },
    /// `SET NOT NULL`, `DROP NOT NULL`
    Nullable {
        /// Which.
        column: ColumnPath,
        /// Whether it may be null.
        nullable: bool,
    },
    /// `COMMENT '…'`
    Comment {
        /// Which.
        column: ColumnPath,
        /// The comment.
        comment: String,
    },
    /// `SET DEFAULT x`, `DROP DEFAULT`: of rows that are written from now on.
    Default {
        /// Which.
        column: ColumnPath,
        /// A constant.
        default: Option<Box<Expr>>,
    },
    /// Another place.
    Move {
        /// Which.
        column: ColumnPath,
        /// The place.
        place: ColumnPlace,
    },
}

/// A place among the columns of a table or the fields of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnPlace {
    /// `FIRST`
    First,
    /// `AFTER name`
    After(String),
    /// `BEFORE name`
    Before(String),
}

/// One term of `WRITE ORDERED BY`.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderTerm {
    /// What is compared.
    pub field: PartitionField,
    /// `DESC`
    pub descending: bool,
    /// `NULLS FIRST`, which is also what `ASC` means by itself.
    pub nulls_first: bool,
}

/// `CREATE BRANCH`, `CREATE TAG`
#[derive(Debug, Clone, PartialEq)]
pub struct CreateRef {
    /// A tag, not a branch.
    pub is_tag: bool,
    /// Its name.
    pub name: String,
    /// `OR REPLACE`
    pub or_replace: bool,
    /// `REPLACE` alone: there has to be one.
    pub replace_only: bool,
    /// `IF NOT EXISTS`
    pub if_not_exists: bool,
    /// `AS OF VERSION n`; the current snapshot when there is none.
    pub snapshot_id: Option<i64>,
    /// `RETAIN n DAYS`: how long it is kept itself.
    pub max_ref_age_ms: Option<i64>,
    /// `WITH SNAPSHOT RETENTION n SNAPSHOTS`
    pub min_snapshots_to_keep: Option<i32>,
    /// `WITH SNAPSHOT RETENTION n DAYS`
    pub max_snapshot_age_ms: Option<i64>,
}

/// What may follow the table's name.
const ACTIONS: [&str; 12] =
    ["ADD", "ALTER", "CREATE", "DROP", "MODIFY", "RENAME", "REPLACE", "RESET", "SET", "UNSET", "WRITE", "CHANGE"];

/// From `ALTER` on.
pub(super) fn parse_alter_table(parser: &mut Parser<'_>) -> Result<AlterTable, ParserError> {
    parser.advance_token();
    if !take_word(parser, "TABLE") {
        let token = parser.peek_token_ref();
        let help = "there is ALTER TABLE; databases, views and catalogs are made anew";
        return err_at(format!("can't alter {}", found(token)), token, Some(help));
    }
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let name = parse_name(parser)?;
    let start = parser.peek_token();
    let action = action(parser, &start)?;
    let span = start.span.union(&parser.get_current_token().span);
    Ok(AlterTable { name, if_exists, action, span })
}

fn action(parser: &mut Parser<'_>, start: &TokenWithSpan) -> Result<AlterAction, ParserError> {
    let word = match &start.token {
        Token::Word(word) => word.value.to_ascii_uppercase(),
        _ => String::new(),
    };
    let is_ref = |parser: &Parser<'_>, at: usize| {
        let token = &parser.peek_nth_token_ref(at).token;
        is_word(token, "BRANCH") || is_word(token, "TAG")
    };
    match word.as_str() {
        "CREATE" => refs::create(parser),
        "REPLACE" if is_ref(parser, 1) => refs::create(parser),
        "REPLACE" => partition_field::replace(parser),
        "DROP" if is_ref(parser, 1) => refs::drop_ref(parser),
        "ADD" | "DROP" if takes_partition_field(parser) => partition_field::add_or_drop(parser),
        "RENAME" if takes_partition_field(parser) => partition_field::rename(parser),
        "DROP" if is_word(&parser.peek_nth_token_ref(1).token, "IDENTIFIER") => {
            parser.advance_token();
            identifier_fields(parser).map(AlterAction::DropIdentifierFields)
        }
        "ADD" => columns::add(parser),
        "DROP" => columns::drop_columns(parser),
        "RENAME" => rename(parser),
        "ALTER" | "CHANGE" => columns::alter(parser),
        "MODIFY" => columns::modify(parser),
        "SET" => set(parser),
        "RESET" | "UNSET" => reset(parser),
        "WRITE" => order::write(parser),
        _ => {
            let near = nearest_one(&word, ACTIONS).map(|near| format!("did you mean '{near}'?"));
            let help = near.unwrap_or_else(|| format!("there are {}", ACTIONS[..11].join(", ")));
            err_at(format!("can't {} a table", found(start)), start, Some(&help))
        }
    }
}

fn takes_partition_field(parser: &Parser<'_>) -> bool {
    is_word(&parser.peek_nth_token_ref(1).token, "PARTITION") && is_word(&parser.peek_nth_token_ref(2).token, "FIELD")
}

fn rename(parser: &mut Parser<'_>) -> Result<AlterAction, ParserError> {
    let to_table = is_word(&parser.peek_nth_token_ref(1).token, "TO");
    if to_table && !is_word(&parser.peek_nth_token_ref(2).token, "TO") {
        parser.advance_token();
        parser.advance_token();
        return parse_name(parser).map(AlterAction::RenameTo);
    }
    columns::rename(parser)
}

fn set(parser: &mut Parser<'_>) -> Result<AlterAction, ParserError> {
    parser.advance_token();
    if take_word(parser, "IDENTIFIER") {
        parser.prev_token();
        return identifier_fields(parser).map(AlterAction::SetIdentifierFields);
    }
    if take_word(parser, "LOCATION") {
        return text(&parser.next_token(), "a location").map(AlterAction::SetLocation);
    }
    let _ = take_word(parser, "TBLPROPERTIES");
    let token = parser.peek_token_ref();
    if token.token != Token::LParen {
        let message = format!("can't set {}", found(token));
        let help = "there are SET ('key' = 'value'), SET LOCATION '…' and SET IDENTIFIER FIELDS a, b";
        return err_at(message, token, Some(help));
    }
    parse_options(parser).map(AlterAction::Set)
}

fn reset(parser: &mut Parser<'_>) -> Result<AlterAction, ParserError> {
    let unset = is_word(&parser.next_token().token, "UNSET");
    if unset {
        expect_word(parser, "TBLPROPERTIES")?;
    }
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    parser.expect_token(&Token::LParen)?;
    let keys = parser.parse_comma_separated(|parser| {
        let token = parser.next_token();
        Ok((text(&token, "an option's key")?, token.span))
    })?;
    parser.expect_token(&Token::RParen)?;
    Ok(AlterAction::Reset { keys, if_exists: if_exists || !unset })
}

/// `IDENTIFIER FIELDS a, b.c`
fn identifier_fields(parser: &mut Parser<'_>) -> Result<Vec<ColumnPath>, ParserError> {
    if !take_words(parser, &["IDENTIFIER", "FIELDS"]) {
        let token = parser.peek_nth_token(1);
        return err_at(format!("expected FIELDS, found {}", found(&token)), &token, None);
    }
    parser.parse_comma_separated(columns::column_path)
}
