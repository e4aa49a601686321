//! Statements as they were parsed.

use datafusion::sql::sqlparser::ast;

use super::alter_table::AlterTable;
use super::call::Call;
use super::create_table::CreateTable;
use super::query::Query;
use super::row_change::RowChange;
use super::{Name, Span};
use crate::options::Options;

/// A part of a script with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Spanned<T> {
    /// The part.
    pub node: T,
    /// Its place, without the semicolon after it. Lines and columns count from 1.
    pub span: Span,
    /// Its text as it was written.
    pub text: String,
}

/// One statement of a script.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// `CREATE CATALOG name WITH (…)`
    CreateCatalog(CreateCatalog),
    /// `DROP CATALOG [IF EXISTS] name`
    DropCatalog {
        /// The catalog.
        name: Name,
        /// No error when there is none.
        if_exists: bool,
    },
    /// `USE CATALOG name`
    UseCatalog(Name),
    /// `USE [catalog.]database`
    Use(Name),
    /// `CREATE DATABASE [IF NOT EXISTS] [catalog.]name [COMMENT '…'] [WITH (…)]`
    CreateDatabase(CreateDatabase),
    /// `DROP DATABASE [IF EXISTS] [catalog.]name [RESTRICT | CASCADE]`
    DropDatabase {
        /// The database.
        name: Name,
        /// No error when there is none.
        if_exists: bool,
        /// Drops its tables too.
        cascade: bool,
    },
    /// `CREATE TABLE …`
    CreateTable(Box<CreateTable>),
    /// `CREATE [TEMPORARY] VIEW …`
    CreateView(Box<CreateView>),
    /// `ALTER TABLE …`
    AlterTable(Box<AlterTable>),
    /// `CALL system.procedure(…)`
    Call(Box<Call>),
    /// `DROP [TEMPORARY] TABLE [IF EXISTS] name [PURGE]`
    DropTable {
        /// The table.
        name: Name,
        /// Only a temporary table.
        temporary: bool,
        /// No error when there is none.
        if_exists: bool,
        /// Its files are deleted, too.
        purge: bool,
    },
    /// `DROP [TEMPORARY] VIEW [IF EXISTS] name`
    DropView {
        /// The view.
        name: Name,
        /// Only a temporary view.
        temporary: bool,
        /// No error when there is none.
        if_exists: bool,
    },
    /// `SHOW …`
    Show(Show),
    /// `DESCRIBE name`, `DESC name`
    Describe(Name),
    /// `SET 'key' = 'value'`; `SET` alone lists the settings.
    Set(Option<Setting>),
    /// `RESET 'key'`; `RESET` alone resets all.
    Reset(Option<String>),
    /// `INSERT INTO …`
    Insert(Box<Insert>),
    /// `EXECUTE STATEMENT SET BEGIN … END`: inserts that run as one job. There is at least one.
    StatementSet(Vec<Spanned<Insert>>),
    /// `DELETE FROM …`, `UPDATE … SET …`
    RowChange(Box<RowChange>),
    /// `TRUNCATE TABLE name`
    Truncate(Name),
    /// `EXPLAIN …`
    Explain(Box<Explain>),
    /// `EXPLAIN COMPACTION name`: what would be rewritten of a table.
    ExplainCompaction(Name),
    /// `SELECT …`, `WITH … SELECT …`, `VALUES …`
    Query(Box<Query>),
    /// What only sqlparser knows; DataFusion may say what it thinks of it.
    Other(Box<ast::Statement>),
}

/// `CREATE CATALOG`
#[derive(Debug, Clone, PartialEq)]
pub struct CreateCatalog {
    /// The catalog.
    pub name: Name,
    /// No error when it is there already.
    pub if_not_exists: bool,
    /// The comment.
    pub comment: Option<String>,
    /// How it is reached: `type`, `uri`, …
    pub options: Options,
}

/// `CREATE DATABASE`
#[derive(Debug, Clone, PartialEq)]
pub struct CreateDatabase {
    /// The database.
    pub name: Name,
    /// No error when it is there already.
    pub if_not_exists: bool,
    /// The comment.
    pub comment: Option<String>,
    /// Its properties.
    pub options: Options,
}

/// `CREATE VIEW`
#[derive(Debug, Clone, PartialEq)]
pub struct CreateView {
    /// The view.
    pub name: Name,
    /// Lives as long as the session or the job.
    pub temporary: bool,
    /// No error when it is there already.
    pub if_not_exists: bool,
    /// Names for the query's columns; the query's own when there are none.
    pub columns: Vec<String>,
    /// The comment.
    pub comment: Option<String>,
    /// What the view shows.
    pub query: Query,
}

/// `SHOW`
#[derive(Debug, Clone, PartialEq)]
pub enum Show {
    /// `SHOW CATALOGS`
    Catalogs,
    /// `SHOW CURRENT CATALOG`
    CurrentCatalog,
    /// `SHOW DATABASES [FROM catalog]`
    Databases {
        /// The catalog; the current one when there is none.
        catalog: Option<Name>,
    },
    /// `SHOW CURRENT DATABASE`
    CurrentDatabase,
    /// `SHOW TABLES [FROM [catalog.]database] [LIKE 'pattern']`
    Tables {
        /// The database; the current one when there is none.
        database: Option<Name>,
        /// An SQL `LIKE` pattern.
        like: Option<String>,
    },
    /// `SHOW VIEWS`
    Views,
    /// `SHOW CREATE TABLE name`
    CreateTable(Name),
    /// `SHOW JOBS`
    Jobs,
}

/// `SET 'key' = 'value'`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// Where the key stands.
    pub key_span: Span,
    /// Where the value stands.
    pub value_span: Span,
}

/// `INSERT INTO` or `INSERT OVERWRITE`
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// The table that is written.
    pub target: Name,
    /// `/*+ OPTIONS(…) */` at the target, which win over the table's own.
    pub options: Options,
    /// The written columns with their places; all in their order when there are none.
    pub columns: Vec<(String, Span)>,
    /// Replaces what is there instead of adding to it.
    pub overwrite: bool,
    /// `PARTITION (column = value, …)`.
    pub partition: Vec<(String, ast::Expr)>,
    /// What is written.
    pub query: Query,
}

/// `EXPLAIN`
#[derive(Debug, Clone, PartialEq)]
pub struct Explain {
    /// `ANALYZE`: runs the statement and shows what it did.
    pub analyze: bool,
    /// `VERBOSE`: shows every step of planning.
    pub verbose: bool,
    /// `ESTIMATED_COST`, `CHANGELOG_MODE`, `JSON_EXECUTION_PLAN`, `PLAN_ADVICE`, in upper case.
    pub details: Vec<String>,
    /// What is explained.
    pub statement: Box<Statement>,
}

impl Statement {
    /// What kind of statement it is, as a person calls it: `CREATE TABLE`.
    pub fn kind(&self) -> &'static str {
        match self {
            Statement::CreateCatalog(_) => "CREATE CATALOG",
            Statement::DropCatalog { .. } => "DROP CATALOG",
            Statement::UseCatalog(_) => "USE CATALOG",
            Statement::Use(_) => "USE",
            Statement::CreateDatabase(_) => "CREATE DATABASE",
            Statement::DropDatabase { .. } => "DROP DATABASE",
            Statement::CreateTable(_) => "CREATE TABLE",
            Statement::CreateView(_) => "CREATE VIEW",
            Statement::AlterTable(_) => "ALTER TABLE",
            Statement::Call(_) => "CALL",
            Statement::DropTable { .. } => "DROP TABLE",
            Statement::DropView { .. } => "DROP VIEW",
            Statement::Show(_) => "SHOW",
            Statement::Describe(_) => "DESCRIBE",
            Statement::Set(_) => "SET",
            Statement::Reset(_) => "RESET",
            Statement::Insert(_) => "INSERT",
            Statement::StatementSet(_) => "STATEMENT SET",
            Statement::RowChange(change) => change.kind(),
            Statement::Truncate(_) => "TRUNCATE",
            Statement::Explain(_) => "EXPLAIN",
            Statement::ExplainCompaction(_) => "EXPLAIN COMPACTION",
            Statement::Query(_) => "SELECT",
            Statement::Other(_) => "statement",
        }
    }
}
