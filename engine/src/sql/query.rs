//! A query, and what DataFusion can't be told in its tree.
//!
//! DataFusion's planner passes over hints and `FOR SYSTEM_TIME AS OF` without a word. So a table reference that has
//! either is given a name of its own, and the reference is listed in [`Query::tables`]:
//!
//! ```text
//! SELECT o.id FROM orders /*+ OPTIONS('start-tag'='eod') */ AS o JOIN lake.db.users FOR SYSTEM_VERSION AS OF 7 ON …
//! becomes
//! SELECT o.id FROM `orders@1:18` AS o JOIN `users@1:71` AS users ON …
//! ```
//!
//! Who plans the query registers a table under each [`TableRef::planned_name`] (one part, in the session's default
//! catalog and database), made of [`TableRef::name`] with the reference's options and version; all other tables keep
//! their names. The place in the script makes the name unique and readable in plans.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, ObjectName, Spanned as _, TableAlias, TableFactor, TableVersion, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::dialect::FlinkDialect;
use super::hint::{Hints, QueryHint};
use super::planner::wrap_unnest;
use super::tokens::err_in;
use super::version::VERSION_FUNCTION;
use super::{Name, Span, SqlError};
use crate::options::Options;

/// A query for DataFusion's planner.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The tree.
    pub ast: Box<ast::Query>,
    /// The table references that have options or a version, in the order of the script.
    pub tables: Vec<TableRef>,
    /// Hints at the query or its subqueries.
    pub hints: Vec<QueryHint>,
    /// What the query uses beyond plain SQL.
    pub constructs: Vec<Construct>,
}

/// A table reference that has options or a version.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRef {
    /// The table's name in [`Query::ast`]; it has one part.
    pub planned_name: String,
    /// The table.
    pub name: Name,
    /// `/*+ OPTIONS(…) */`, which win over the table's own.
    pub options: Options,
    /// As of when it is read.
    pub as_of: Option<AsOf>,
    /// Whether it has the columns that say where each row is: the table whose rows are changed.
    pub with_places: bool,
}

/// As of when a table is read.
#[derive(Debug, Clone, PartialEq)]
pub enum AsOf {
    /// `FOR SYSTEM_TIME AS OF <constant>`: the snapshot that was current then. The expression has no columns.
    Time(Box<Expr>),
    /// `FOR SYSTEM_VERSION AS OF 42`: the snapshot with this id.
    Snapshot(i64),
    /// `FOR SYSTEM_VERSION AS OF 'name'`: the branch or tag.
    Ref(String),
    /// `FOR SYSTEM_TIME AS OF o.proc_time`: the version at each row's time (a lookup or temporal join).
    RowTime(Box<Expr>),
}

/// A construct that not every mode supports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Construct {
    /// Which.
    pub kind: ConstructKind,
    /// Where it stands.
    pub span: Span,
}

/// Constructs that not every mode supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstructKind {
    /// `TABLE(TUMBLE(…))`, `TABLE(HOP(…))`, `TABLE(CUMULATE(…))`, `TABLE(SESSION(…))`
    WindowFunction,
    /// `JOIN t FOR SYSTEM_TIME AS OF o.proc_time`
    LookupJoin,
    /// `MATCH_RECOGNIZE (…)`
    MatchRecognize,
    /// `LATERAL TABLE(f(x))`
    LateralTable,
}

impl Query {
    /// Refuses what can't run at all yet.
    ///
    /// # Errors
    /// The first such construct, with its place; `script` is the text that the query was parsed from.
    pub fn check_supported(&self, script: &str) -> Result<(), Box<SqlError>> {
        let never = |construct: &&Construct| match construct.kind {
            ConstructKind::MatchRecognize | ConstructKind::LateralTable => true,
            ConstructKind::WindowFunction | ConstructKind::LookupJoin => false,
        };
        match self.constructs.iter().find(never) {
            None => Ok(()),
            Some(Construct { kind, span }) => {
                let message = format!("{} is not supported yet", kind.name());
                Err(Box::new(SqlError::new(message, *span, script)))
            }
        }
    }

    /// The first place in the query of a keyword or name, whatever its case. `script` is the text that the query was parsed
    /// from.
    pub fn word(&self, word: &str, script: &str) -> Option<Span> {
        let query = self.ast.span();
        let tokens = Tokenizer::new(&FlinkDialect, script).tokenize_with_location().ok()?;
        let is_meant = |token: &&TokenWithSpan| match &token.token {
            Token::Word(found) => token.span.start >= query.start && found.value.eq_ignore_ascii_case(word),
            _ => false,
        };
        tokens.iter().find(is_meant).map(|token| token.span)
    }

    /// Refuses what can't run on a stream yet. Joins and aggregates are seen in the plan, not here.
    ///
    /// # Errors
    /// The first such construct, with its place; `script` is the text that the query was parsed from.
    pub fn check_streaming(&self, script: &str) -> Result<(), Box<SqlError>> {
        match self.constructs.first() {
            None => Ok(()),
            Some(Construct { kind, span }) => {
                let message = format!("{} can't run over a stream yet", kind.name());
                let error = SqlError::new(message, *span, script);
                Err(Box::new(match kind {
                    ConstructKind::WindowFunction => error.help("it comes later; in batch mode it works: --mode batch"),
                    ConstructKind::LookupJoin | ConstructKind::MatchRecognize | ConstructKind::LateralTable => {
                        error.help("it comes later")
                    }
                }))
            }
        }
    }
}

impl ConstructKind {
    /// As a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            ConstructKind::WindowFunction => "a window table function (TUMBLE, HOP, CUMULATE, SESSION)",
            ConstructKind::LookupJoin => "a lookup join (FOR SYSTEM_TIME AS OF a column)",
            ConstructKind::MatchRecognize => "MATCH_RECOGNIZE",
            ConstructKind::LateralTable => "LATERAL TABLE(…)",
        }
    }
}

/// Reads a query at the parser's place and gives its tables their hints.
pub(super) fn parse_query(parser: &mut Parser<'_>, hints: &mut Hints) -> Result<Query, ParserError> {
    query_of(parser.parse_query()?, hints)
}

/// A query as it was read, with its tables' hints.
pub(super) fn query_of(ast: Box<ast::Query>, hints: &mut Hints) -> Result<Query, ParserError> {
    let mut query = Query { ast, tables: Vec::new(), hints: hints.at_queries(), constructs: Vec::new() };
    let mut ast = std::mem::replace(&mut query.ast, empty_query());
    let mut collector = Collector { query: &mut query, hints, common: HashSet::new() };
    match ast.visit(&mut collector) {
        ControlFlow::Break(error) => return Err(*error),
        ControlFlow::Continue(()) => query.ast = ast,
    }
    Ok(query)
}

/// `SELECT 1`
pub(super) fn empty_query() -> Box<ast::Query> {
    let mut parser = Parser::new(&FlinkDialect);
    parser = parser.try_with_sql("SELECT 1").expect("the text is a query");
    parser.parse_query().expect("the text is a query")
}

struct Collector<'a> {
    query: &'a mut Query,
    hints: &'a mut Hints,
    /// Names of common table expressions (`WITH name AS (…)`).
    common: HashSet<String>,
}

impl VisitorMut for Collector<'_> {
    type Break = Box<ParserError>;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Self::Break> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.common.insert(table.alias.name.value.clone());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<Self::Break> {
        wrap_unnest(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        match self.table_factor(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

impl Collector<'_> {
    fn table_factor(&mut self, factor: &mut TableFactor) -> Result<(), ParserError> {
        let span = factor.span();
        match factor {
            TableFactor::Table { name, alias, version, args: None, .. } => self.table(name, alias, version.take()),
            TableFactor::TableFunction { expr: Expr::Function(function), .. } if is_window_function(&function.name) => {
                self.construct(ConstructKind::WindowFunction, function.name.span());
                Ok(())
            }
            TableFactor::Function { name, .. } if name.to_string().eq_ignore_ascii_case("table") => {
                self.construct(ConstructKind::LateralTable, name.span());
                Ok(())
            }
            TableFactor::MatchRecognize { .. } => {
                self.construct(ConstructKind::MatchRecognize, span);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn construct(&mut self, kind: ConstructKind, span: Span) {
        self.query.constructs.push(Construct { kind, span });
    }

    fn table(
        &mut self,
        name: &mut ObjectName,
        alias: &mut Option<TableAlias>,
        version: Option<TableVersion>,
    ) -> Result<(), ParserError> {
        let place = name.span();
        let options = self.hints.at_table(place.end);
        if options.is_none() && version.is_none() {
            return Ok(());
        }
        let Some(table) = Name::from_ast(name) else {
            return err_in(format!("'{name}' is not a table's name"), place.start, None);
        };
        if table.parts().len() == 1 && self.common.contains(table.last()) {
            let message = format!("'{table}' is defined by WITH, so it has no options and no versions");
            return err_in(message, place.start, Some("write them at the table inside of the definition"));
        }
        let as_of = version.map(|version| as_of(version, place)).transpose()?;
        if let Some(AsOf::RowTime(_)) = as_of {
            self.construct(ConstructKind::LookupJoin, place);
        }
        let planned_name = format!("{}@{}:{}", table.last(), place.start.line, place.start.column);
        if alias.is_none() {
            let own = name.0.last().and_then(|part| part.as_ident()).cloned();
            let name = own.expect("Name::from_ast takes identifiers only");
            *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        }
        let ident = Ident::with_quote_and_span('`', place, planned_name.clone());
        *name = ObjectName::from(ident);
        let options = options.unwrap_or_default();
        self.query.tables.push(TableRef { planned_name, name: table, options, as_of, with_places: false });
        Ok(())
    }
}

fn as_of(version: TableVersion, place: Span) -> Result<AsOf, ParserError> {
    match version {
        TableVersion::ForSystemTimeAsOf(expr) | TableVersion::TimestampAsOf(expr) => {
            if let Some(argument) = version_argument(&expr) {
                return match argument {
                    Value::Number(digits, _) => match digits.parse() {
                        Ok(id) => Ok(AsOf::Snapshot(id)),
                        Err(_) => err_in(format!("'{digits}' is not a snapshot id"), place.start, None),
                    },
                    Value::SingleQuotedString(name) => Ok(AsOf::Ref(name)),
                    other => err_in(format!("'{other}' is not a version"), place.start, None),
                };
            }
            match has_columns(&expr) {
                true => Ok(AsOf::RowTime(Box::new(expr))),
                false => Ok(AsOf::Time(Box::new(expr))),
            }
        }
        other => {
            let help = "write FOR SYSTEM_TIME AS OF TIMESTAMP '…' or FOR SYSTEM_VERSION AS OF 42";
            err_in(format!("'{other}' is not a version of a table"), place.start, Some(help))
        }
    }
}

/// The argument of the function that `version::rewrite` has put in the place of `FOR SYSTEM_VERSION AS OF x`.
fn version_argument(expr: &Expr) -> Option<Value> {
    let Expr::Function(function) = expr else {
        return None;
    };
    let ast::FunctionArguments::List(list) = &function.args else {
        return None;
    };
    match (function.name.to_string() == VERSION_FUNCTION, list.args.as_slice()) {
        (true, [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(Expr::Value(value)))]) => {
            Some(value.value.clone())
        }
        _ => None,
    }
}

fn has_columns(expr: &Expr) -> bool {
    let found = ast::visit_expressions(expr, |expr| match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn is_window_function(name: &ObjectName) -> bool {
    let name = name.to_string();
    ["TUMBLE", "HOP", "CUMULATE", "SESSION"].iter().any(|window| name.eq_ignore_ascii_case(window))
}
