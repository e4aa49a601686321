//! Where in a statement an error of DataFusion is.
//!
//! DataFusion says the place of some errors. For the others the expressions of the query are planned one by one, each
//! over the tables of its own `SELECT`: the smallest that fails with the same message is what the error is about. What no
//! single expression is to blame for (`HAVING` without an aggregate, a bad position in `ORDER BY`) is found by the words of
//! the message. All of this is only done once something is wrong.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::{Diagnostic, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    self, Expr, JoinConstraint, JoinOperator, SelectItem, SetExpr, Spanned as _, Value, Visit, Visitor,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::{in_words, with_help};
use crate::sql::dialect::FlinkDialect;
use crate::sql::{Location, Query, Span, SqlError};

/// Expressions that are tried for one error.
const TRIED_MAX: usize = 500;

/// An error of planning a query, with its place in the script. What is no fault of the script (a store that fails, memory
/// that is short) is passed on as it is.
pub(crate) async fn locate(error: DataFusionError, query: &Query, state: &SessionState, script: &str) -> crate::Error {
    if !is_of_script(&error) {
        return crate::batch::unwrapped(error);
    }
    let mut found = Found::of(&error);
    if let Some(help) = window_help(&found.message, state) {
        found.help = Some(help);
    }
    if found.span.is_none() {
        let search = Search::new(&error, query, state);
        if let Some((frame, expr)) = search.run().await {
            found.span = Some(expr.span());
            found.help = found.help.or(search.field_help(&frame, &expr).await);
        }
    }
    let part = query.constructs.first().map(|construct| construct.span);
    found.at(query.ast.span().start, part, script)
}

/// DataFusion does not know a window function by name where it has no window.
fn window_help(message: &str, state: &SessionState) -> Option<String> {
    let name = message.strip_prefix("invalid function '")?.strip_suffix('\'')?;
    let is_window = state.window_functions().contains_key(&name.to_lowercase());
    is_window.then(|| format!("it is a window function: {name}(…) OVER (…)"))
}

/// An error of planning a lone expression, with its place in the script.
pub(crate) fn planning_error(error: DataFusionError, script: &str) -> crate::Error {
    match is_of_script(&error) {
        true => Found::of(&error).at(Location::empty(), None, script),
        false => crate::batch::unwrapped(error),
    }
}

fn is_of_script(error: &DataFusionError) -> bool {
    !matches!(
        error.find_root(),
        DataFusionError::External(_)
            | DataFusionError::IoError(_)
            | DataFusionError::ObjectStore(_)
            | DataFusionError::ResourcesExhausted(_)
            | DataFusionError::ExecutionJoin(_)
    )
}

/// What is wrong, as a person reads it.
struct Found {
    message: String,
    help: Option<String>,
    span: Option<Span>,
    /// The message whose words are looked for in the statement.
    searched: String,
}

impl Found {
    /// The error; if its place is not known, it is looked for behind `start`, or is `part`.
    fn at(self, start: Location, part: Option<Span>, script: &str) -> crate::Error {
        let tokens = Tokenizer::new(&FlinkDialect, script).tokenize_with_location().unwrap_or_default();
        let tokens: Vec<_> = tokens.into_iter().filter(|token| token.span.start >= start).collect();
        let first = || tokens.iter().find(|token| !matches!(token.token, Token::Whitespace(_))).map(|token| token.span);
        let span = self.span.or_else(|| by_words(&self.searched, &tokens)).or(part).or_else(first);
        let span = span.unwrap_or_else(Span::empty);
        with_help(SqlError::new(self.message, span, script), self.help).into()
    }

    fn of(error: &DataFusionError) -> Self {
        let root = error.find_root();
        let raw = bare(root);
        let diagnostic = error.diagnostic().cloned();
        if let DataFusionError::SchemaError(schema, _) = root
            && let (Some(message), help) = in_words(schema)
        {
            let span = diagnostic.and_then(|diagnostic| span_of(&diagnostic));
            return Self { searched: searched(schema, &message), message, help, span };
        }
        let (mut message, mut help) = readable(&raw);
        let mut span = None;
        if let Some(diagnostic) = diagnostic {
            span = span_of(&diagnostic);
            // "expressions have incompatible types" does not say which.
            if !diagnostic.message.ends_with("incompatible types") {
                message.clone_from(&diagnostic.message);
            }
            let said = diagnostic.helps.first().map(|help| help.message.clone());
            let noted = diagnostic.notes.first().and_then(|note| possible(&message, &note.message));
            help = help.or(said).or(noted);
        }
        Self { message: lower_first(&message), help: help.map(|help| lower_first(&help)), span, searched: raw }
    }
}

/// `Possible function 'upper'`, if it is near to what was written.
fn possible(message: &str, note: &str) -> Option<String> {
    let name = note.strip_prefix("Possible function '")?.strip_suffix('\'')?;
    let written = message.split('\'').nth(1)?;
    let near = crate::suggest::nearest_one(written, [name])?;
    Some(format!("did you mean '{near}'?"))
}

fn span_of(diagnostic: &Diagnostic) -> Option<Span> {
    let span = diagnostic.span?;
    let place = |at: datafusion::common::Location| Location::new(at.line, at.column);
    Some(Span::new(place(span.start), place(span.end)))
}

/// The names of a schema error, the wrong one first.
fn searched(error: &SchemaError, message: &str) -> String {
    match error {
        SchemaError::FieldNotFound { field, .. } => format!("'{}'", field.name()),
        _ => message.to_owned(),
    }
}

/// The message without DataFusion's name for its kind.
fn bare(error: &DataFusionError) -> String {
    let text = error.message().into_owned();
    let text = text.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default();
    text.trim_start_matches("Internal error: ").to_owned()
}

/// The message in a line, and what is beside it as help.
fn readable(raw: &str) -> (String, Option<String>) {
    if raw.starts_with("Physical plan does not support logical expression") {
        let help = "an aggregate or a subquery stands where none can be computed, such as inside of another aggregate";
        return ("this expression can't be computed".to_owned(), Some(help.to_owned()));
    }
    let no_match = "No function matches the given name and argument types '";
    if let Some((before, after)) = raw.split_once(no_match) {
        let (call, rest) = after.split_once('\'').unwrap_or((after, ""));
        let candidates: Vec<_> = rest.split_once("Candidate functions:").map_or("", |(_, list)| list).lines().collect();
        let candidates: Vec<_> = candidates.into_iter().map(str::trim).filter(|line| !line.is_empty()).collect();
        let message = match before.split_once(". ") {
            Some((first, _)) if !before.contains("failed to match any signature") => first.to_owned(),
            _ => format!("no function takes {}", sql_types(call)),
        };
        let help = (!candidates.is_empty()).then(|| format!("there is {}", sql_types(&candidates.join(", "))));
        return (message, help);
    }
    let line = raw.lines().next().unwrap_or_default();
    (sql_types(line.trim_end_matches('.')), None)
}

/// Arrow's names of types as SQL has them.
fn sql_types(text: &str) -> String {
    const NAMES: [(&str, &str); 12] = [
        ("Utf8", "STRING"),
        ("Int8", "TINYINT"),
        ("Int16", "SMALLINT"),
        ("Int32", "INT"),
        ("Int64", "BIGINT"),
        ("Float32", "FLOAT"),
        ("Float64", "DOUBLE"),
        ("Date32", "DATE"),
        ("Boolean", "BOOLEAN"),
        ("Struct", "ROW"),
        ("List", "ARRAY"),
        ("Timestamp", "TIMESTAMP"),
    ];
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        let known = NAMES.iter().find(|(name, _)| *name == word);
        out.push_str(known.map_or(word.as_str(), |(_, sql)| sql));
        word.clear();
        out.push(c);
    }
    out.pop();
    out
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

/// The last place of the first word of a message that stands in the statement: of what is in quotes, then of names and
/// numbers, then of keywords.
fn by_words(message: &str, tokens: &[TokenWithSpan]) -> Option<Span> {
    let last = |is_meant: &dyn Fn(&Token) -> bool| tokens.iter().rfind(|token| is_meant(&token.token)).map(|t| t.span);
    let name = |word: &str| {
        last(&|token| match token {
            Token::Word(found) => found.keyword == Keyword::NoKeyword && found.value.eq_ignore_ascii_case(word),
            Token::Number(digits, _) => digits == word,
            _ => false,
        })
    };
    let keyword = |word: &str| {
        last(&|token| match token {
            Token::Word(found) => {
                let is_clause = found.keyword != Keyword::NoKeyword && found.keyword != Keyword::SELECT;
                is_clause && word.len() > 4 && found.value.eq_ignore_ascii_case(word)
            }
            _ => false,
        })
    };
    let quoted = message.split(['\'', '"', '`']).skip(1).step_by(2).flat_map(words);
    let found = quoted.chain(words(message)).find_map(name);
    found.or_else(|| words(message).find_map(keyword))
}

/// The words of a text; of a qualified name the last part.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '.');
    words.filter_map(|word| word.trim_matches('.').rsplit('.').next()).filter(|word| !word.is_empty())
}

/// The search for the smallest expression that fails by itself.
struct Search<'a> {
    message: String,
    query: &'a Query,
    state: &'a SessionState,
}

/// The expressions of a query, inner ones first, each with the `SELECT` that it stands in.
#[derive(Default)]
struct Expressions {
    selects: Vec<ast::Select>,
    open: Vec<usize>,
    found: Vec<(usize, Expr)>,
}

impl Visitor for Expressions {
    type Break = ();

    fn pre_visit_select(&mut self, select: &ast::Select) -> ControlFlow<()> {
        self.open.push(self.selects.len());
        self.selects.push(select.clone());
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &ast::Select) -> ControlFlow<()> {
        self.open.pop();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Some(select) = self.open.last().filter(|_| expr.span() != Span::empty()) {
            self.found.push((*select, expr.clone()));
        }
        match self.found.len() < TRIED_MAX {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }
}

impl<'a> Search<'a> {
    fn new(error: &DataFusionError, query: &'a Query, state: &'a SessionState) -> Self {
        Self { message: readable(&bare(error.find_root())).0, query, state }
    }

    /// The expression, and a query of which it is the only item and in which it can be replaced by another.
    async fn run(&self) -> Option<(ast::Query, Expr)> {
        let mut expressions = Expressions::default();
        let _all_or_enough: ControlFlow<()> = self.query.ast.visit(&mut expressions);
        let mut frames = Vec::with_capacity(expressions.selects.len());
        for select in &expressions.selects {
            frames.push(self.frame(select).await);
        }
        for (select, expr) in &expressions.found {
            let Some(frame) = &frames[*select] else { continue };
            if self.fails_alike(&with_item(frame, expr.clone())).await {
                return Some((frame.clone(), expr.clone()));
            }
        }
        for (select, frame) in expressions.selects.iter().zip(&frames) {
            let (Some(frame), Some(filter)) = (frame, &select.selection) else { continue };
            let mut filtered = frame.clone();
            if let SetExpr::Select(select) = filtered.body.as_mut() {
                select.selection = Some(filter.clone());
            }
            if self.fails_alike(&filtered).await {
                return Some((frame.clone(), filter.clone()));
            }
        }
        None
    }

    /// For a field that its struct does not have, those that are near, or all.
    async fn field_help(&self, frame: &ast::Query, expr: &Expr) -> Option<String> {
        let Expr::CompoundIdentifier(path) = expr else { return None };
        for known in (1..path.len()).rev() {
            let base = match &path[..known] {
                [name] => Expr::Identifier(name.clone()),
                names => Expr::CompoundIdentifier(names.to_vec()),
            };
            let item = with_item(frame, base);
            let statement = DfStatement::Statement(Box::new(ast::Statement::Query(Box::new(item))));
            let Ok(plan) = self.state.statement_to_plan(statement).await else { continue };
            let DataType::Struct(fields) = plan.schema().field(0).data_type() else { return None };
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            let near = crate::suggest::nearest(&path[known].value, names.iter().copied(), 3);
            return Some(match near.is_empty() {
                false => format!("did you mean {}?", crate::suggest::one_of(&near)),
                true => format!("there are {}", names.join(", ")),
            });
        }
        None
    }

    /// `SELECT 1` over the same tables, if that can be planned: without the query's `WITH` or with it, with the conditions
    /// of its joins or without.
    async fn frame(&self, select: &ast::Select) -> Option<ast::Query> {
        let mut frame = self.query.ast.as_ref().clone();
        frame.order_by = None;
        frame.limit_clause = None;
        frame.fetch = None;
        let mut bare = select.clone();
        bare.distinct = None;
        bare.selection = None;
        bare.having = None;
        bare.qualify = None;
        bare.named_window.clear();
        bare.group_by = ast::GroupByExpr::Expressions(Vec::new(), Vec::new());
        let mut crossed = bare.clone();
        for join in crossed.from.iter_mut().flat_map(|table| &mut table.joins) {
            join.join_operator = JoinOperator::CrossJoin(JoinConstraint::None);
        }
        let with = frame.with.take();
        for (select, with) in [(&bare, None), (&bare, with.clone()), (&crossed, None), (&crossed, with)] {
            frame.with = with;
            *frame.body = SetExpr::Select(Box::new(select.clone()));
            let one = Expr::Value(Value::Number("1".to_owned(), false).with_empty_span());
            let frame = with_item(&frame, one);
            if self.error_of(&frame).await.is_none() {
                return Some(frame);
            }
        }
        None
    }

    async fn fails_alike(&self, query: &ast::Query) -> bool {
        self.error_of(query).await.is_some_and(|message| message == self.message)
    }

    async fn error_of(&self, query: &ast::Query) -> Option<String> {
        let statement = DfStatement::Statement(Box::new(ast::Statement::Query(Box::new(query.clone()))));
        let planned = match self.state.statement_to_plan(statement).await {
            Ok(plan) => self.state.create_physical_plan(&plan).await.map(drop),
            Err(error) => Err(error),
        };
        planned.err().map(|error| readable(&bare(error.find_root())).0)
    }
}

fn with_item(frame: &ast::Query, expr: Expr) -> ast::Query {
    let mut query = frame.clone();
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = vec![SelectItem::UnnamedExpr(expr)];
    }
    query
}
