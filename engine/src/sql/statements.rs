//! One statement out of its tokens.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::Name;
use super::alter_table::parse_alter_table;
use super::call::parse_call;
use super::create_table::{Replace, parse_comment, parse_create_table, parse_name};
use super::depth::check_depth;
use super::dialect::FlinkDialect;
use super::hint::{self, Hints};
use super::insert::{column_list, insert};
use super::opening::{OPENINGS, refuse_not_yet};
use super::options_clause::{parse_with, text};
use super::query::parse_query;
use super::row_change::parse_row_change;
use super::setting::{reset, set};
use super::statement::{CreateCatalog, CreateDatabase, CreateView, Explain, Insert, Show, Spanned, Statement};
use super::tokens::{err_at, expect_word, found, is_word, take_word, take_words};
use super::version;
use crate::suggest::nearest_one;

/// Parses the tokens of one statement.
pub(super) fn parse_statement(tokens: Vec<TokenWithSpan>) -> Result<Statement, ParserError> {
    run(tokens, statement)
}

/// Parses the tokens of one `INSERT`.
pub(super) fn parse_insert_alone(tokens: Vec<TokenWithSpan>) -> Result<Insert, ParserError> {
    run(tokens, |parser, hints| {
        let token = parser.peek_token();
        match parser.parse_keyword(Keyword::INSERT) {
            true => insert(parser, hints),
            false => err_at(format!("expected INSERT or END, found {}", found(&token)), &token, None),
        }
    })
}

/// A statement set, explained or not.
pub(super) fn wrap_set(inserts: Vec<Spanned<Insert>>, explain: bool) -> Statement {
    let set = Statement::StatementSet(inserts);
    match explain {
        false => set,
        true => Statement::Explain(Box::new(Explain {
            analyze: false,
            verbose: false,
            details: Vec::new(),
            statement: Box::new(set),
        })),
    }
}

fn run<T>(
    tokens: Vec<TokenWithSpan>,
    parse: impl FnOnce(&mut Parser<'_>, &mut Hints) -> Result<T, ParserError>,
) -> Result<T, ParserError> {
    let (tokens, mut hints) = hint::take(tokens)?;
    check_depth(&tokens)?;
    let tokens = version::rewrite(tokens);
    let mut parser = Parser::new(&FlinkDialect).with_tokens_with_locations(tokens);
    let parsed = parse(&mut parser, &mut hints)?;
    check_used_up(&parser)?;
    hints.check_all_used()?;
    Ok(parsed)
}

/// Nothing is left of the statement.
fn check_used_up(parser: &Parser<'_>) -> Result<(), ParserError> {
    const CLAUSES: [&str; 14] = [
        "FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "UNION", "JOIN", "LEFT", "RIGHT", "CROSS", "INNER", "ON",
        "WITH",
    ];
    let next = parser.peek_token_ref();
    if next.token == Token::EOF {
        return Ok(());
    }
    // A misspelt clause is taken for an alias, so the word before may be the culprit.
    let slip = |token: &TokenWithSpan| match &token.token {
        Token::Word(word) => nearest_one(&word.value, CLAUSES)
            .filter(|near| !near.eq_ignore_ascii_case(&word.value))
            .map(|near| format!("did you mean '{near}' by '{}'?", word.value)),
        _ => None,
    };
    let help = slip(next).or_else(|| slip(parser.get_current_token()));
    let help = help.unwrap_or_else(|| "is a ';' missing before it?".to_owned());
    err_at(format!("unexpected {}", found(next)), next, Some(&help))
}

fn statement(parser: &mut Parser<'_>, hints: &mut Hints) -> Result<Statement, ParserError> {
    refuse_not_yet(parser)?;
    let start = parser.peek_token();
    let Token::Word(word) = &start.token else {
        return match start.token {
            Token::LParen => parse_query(parser, hints).map(|query| Statement::Query(Box::new(query))),
            _ => err_at(format!("expected a statement, found {}", found(&start)), &start, None),
        };
    };
    match word.value.to_ascii_uppercase().as_str() {
        "CREATE" => create(parser, hints),
        "REPLACE" => replace_table(parser, hints),
        "ALTER" => parse_alter_table(parser).map(|alter| Statement::AlterTable(Box::new(alter))),
        "CALL" => parse_call(parser).map(|call| Statement::Call(Box::new(call))),
        "DROP" => drop_statement(parser),
        "USE" => use_statement(parser),
        "SHOW" => show(parser),
        "DESCRIBE" | "DESC" => describe(parser),
        "SET" => set(parser),
        "RESET" => reset(parser),
        "INSERT" => {
            parser.advance_token();
            insert(parser, hints).map(|insert| Statement::Insert(Box::new(insert)))
        }
        "DELETE" | "UPDATE" => parse_row_change(parser, hints).map(|change| Statement::RowChange(Box::new(change))),
        "TRUNCATE" => {
            parser.advance_token();
            expect_word(parser, "TABLE")?;
            parse_name(parser).map(Statement::Truncate)
        }
        "EXPLAIN" => explain(parser, hints),
        "SELECT" | "WITH" | "VALUES" => parse_query(parser, hints).map(|query| Statement::Query(Box::new(query))),
        upper => match OPENINGS.contains(&upper) {
            true => other(parser),
            false => other(parser).or_else(|_| {
                let near = nearest_one(upper, OPENINGS);
                let help = near.map(|near| format!("did you mean '{near}'?"));
                let message = format!("expected a statement, found {}", found(&start));
                err_at(message, &start, help.as_deref())
            }),
        },
    }
}

fn other(parser: &mut Parser<'_>) -> Result<Statement, ParserError> {
    parser.parse_statement().map(|statement| Statement::Other(Box::new(statement)))
}

fn create(parser: &mut Parser<'_>, hints: &mut Hints) -> Result<Statement, ParserError> {
    parser.advance_token();
    if parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]) {
        return replaced(parser, hints);
    }
    let temporary = parser.parse_keyword(Keyword::TEMPORARY);
    let token = parser.next_token();
    let word = match &token.token {
        Token::Word(word) => word.value.to_ascii_uppercase(),
        _ => String::new(),
    };
    match word.as_str() {
        "TABLE" => parse_create_table(parser, hints, temporary).map(|table| Statement::CreateTable(Box::new(table))),
        "VIEW" => create_view(parser, hints, temporary),
        "CATALOG" if !temporary => {
            let if_not_exists = if_not_exists(parser);
            let name = one_part(parse_name(parser)?, &token)?;
            let comment = parse_comment(parser)?;
            let options = parse_with(parser)?;
            let catalog = CreateCatalog { name, if_not_exists, comment, options };
            Ok(Statement::CreateCatalog(catalog))
        }
        "DATABASE" | "SCHEMA" if !temporary => {
            let if_not_exists = if_not_exists(parser);
            let name = parse_name(parser)?;
            let comment = parse_comment(parser)?;
            let options = parse_with(parser)?;
            let database = CreateDatabase { name, if_not_exists, comment, options };
            Ok(Statement::CreateDatabase(database))
        }
        word => {
            const WORDS: [&str; 5] = ["TABLE", "TEMPORARY", "VIEW", "DATABASE", "CATALOG"];
            let near = nearest_one(word, WORDS).map(|near| format!("did you mean '{near}'?"));
            let help = near.unwrap_or_else(|| format!("there are {}", WORDS.join(", ")));
            err_at(format!("can't create {}", found(&token)), &token, Some(&help))
        }
    }
}

/// `REPLACE TABLE`: as `CREATE OR REPLACE TABLE`, but there has to be one.
fn replace_table(parser: &mut Parser<'_>, hints: &mut Hints) -> Result<Statement, ParserError> {
    parser.advance_token();
    match replaced(parser, hints)? {
        Statement::CreateTable(mut table) => {
            table.replace = Replace::Existing;
            Ok(Statement::CreateTable(table))
        }
        other => Ok(other),
    }
}

/// From after `[CREATE OR] REPLACE`.
fn replaced(parser: &mut Parser<'_>, hints: &mut Hints) -> Result<Statement, ParserError> {
    let token = parser.next_token();
    if !is_word(&token.token, "TABLE") {
        let help = "only tables are replaced: CREATE OR REPLACE TABLE";
        return err_at(format!("can't replace {}", found(&token)), &token, Some(help));
    }
    let place = parser.peek_token();
    let mut table = parse_create_table(parser, hints, false)?;
    if table.if_not_exists {
        return err_at("REPLACE and IF NOT EXISTS contradict each other", &place, None);
    }
    table.replace = Replace::Any;
    Ok(Statement::CreateTable(Box::new(table)))
}

fn create_view(parser: &mut Parser<'_>, hints: &mut Hints, temporary: bool) -> Result<Statement, ParserError> {
    let if_not_exists = if_not_exists(parser);
    let name = parse_name(parser)?;
    let columns = column_list(parser)?.into_iter().map(|(name, _)| name).collect();
    let comment = parse_comment(parser)?;
    parser.expect_keyword(Keyword::AS)?;
    let query = parse_query(parser, hints)?;
    let view = CreateView { name, temporary, if_not_exists, columns, comment, query };
    Ok(Statement::CreateView(Box::new(view)))
}

fn if_not_exists(parser: &mut Parser<'_>) -> bool {
    parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS])
}

fn one_part(name: Name, token: &TokenWithSpan) -> Result<Name, ParserError> {
    match name.parts().len() {
        1 => Ok(name),
        _ => err_at("a catalog's name has one part", token, None),
    }
}

fn drop_statement(parser: &mut Parser<'_>) -> Result<Statement, ParserError> {
    parser.advance_token();
    let temporary = parser.parse_keyword(Keyword::TEMPORARY);
    let token = parser.next_token();
    let word = match &token.token {
        Token::Word(word) => word.value.to_ascii_uppercase(),
        _ => String::new(),
    };
    const WORDS: [&str; 5] = ["TABLE", "TEMPORARY", "VIEW", "DATABASE", "CATALOG"];
    let droppable = match word.as_str() {
        "TABLE" | "VIEW" => true,
        "CATALOG" | "DATABASE" | "SCHEMA" => !temporary,
        _ => false,
    };
    if !droppable {
        let near = nearest_one(&word, WORDS).map(|near| format!("did you mean '{near}'?"));
        let help = near.unwrap_or_else(|| format!("there are {}", WORDS.join(", ")));
        return err_at(format!("can't drop {}", found(&token)), &token, Some(&help));
    }
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let name = parse_name(parser)?;
    Ok(match word.as_str() {
        "TABLE" => Statement::DropTable { name, temporary, if_exists, purge: take_word(parser, "PURGE") },
        "VIEW" => Statement::DropView { name, temporary, if_exists },
        "CATALOG" => Statement::DropCatalog { name: one_part(name, &token)?, if_exists },
        _ => {
            let cascade = parser.parse_keyword(Keyword::CASCADE);
            let _ = !cascade && parser.parse_keyword(Keyword::RESTRICT);
            Statement::DropDatabase { name, if_exists, cascade }
        }
    })
}

fn use_statement(parser: &mut Parser<'_>) -> Result<Statement, ParserError> {
    let token = parser.next_token();
    let named_catalog = is_word(&parser.peek_token_ref().token, "CATALOG")
        && matches!(parser.peek_nth_token_ref(1).token, Token::Word(_));
    if named_catalog {
        parser.advance_token();
        return Ok(Statement::UseCatalog(one_part(parse_name(parser)?, &token)?));
    }
    if take_word(parser, "MODULES") {
        return err_at("there are no modules", &token, None);
    }
    let name = parse_name(parser)?;
    match name.parts().len() {
        1 | 2 => Ok(Statement::Use(name)),
        _ => err_at("USE takes a database: USE [catalog.]database", &token, None),
    }
}

fn show(parser: &mut Parser<'_>) -> Result<Statement, ParserError> {
    parser.advance_token();
    let show = if take_word(parser, "CATALOGS") {
        Show::Catalogs
    } else if take_words(parser, &["CURRENT", "CATALOG"]) {
        Show::CurrentCatalog
    } else if take_words(parser, &["CURRENT", "DATABASE"]) {
        Show::CurrentDatabase
    } else if take_word(parser, "DATABASES") || take_word(parser, "SCHEMAS") {
        Show::Databases { catalog: from_or_in(parser)? }
    } else if take_word(parser, "TABLES") {
        let database = from_or_in(parser)?;
        let like = match parser.parse_keyword(Keyword::LIKE) {
            true => Some(text(&parser.next_token(), "a pattern")?),
            false => None,
        };
        Show::Tables { database, like }
    } else if take_word(parser, "VIEWS") {
        Show::Views
    } else if take_word(parser, "JOBS") {
        Show::Jobs
    } else if take_words(parser, &["CREATE", "TABLE"]) {
        Show::CreateTable(parse_name(parser)?)
    } else {
        return show_other(parser);
    };
    Ok(Statement::Show(show))
}

/// What DataFusion shows: `SHOW COLUMNS FROM t`, `SHOW FUNCTIONS`, `SHOW ALL`, `SHOW <setting>`. sqlparser takes any
/// word for a setting, so slips for what is shown here are looked for first.
fn show_other(parser: &mut Parser<'_>) -> Result<Statement, ParserError> {
    const WORDS: [&str; 7] = ["CATALOGS", "CURRENT", "DATABASES", "TABLES", "VIEWS", "JOBS", "CREATE"];
    let token = parser.peek_token();
    let near = nearest_one(&token.token.to_string(), WORDS);
    let help = match near {
        Some(near) => format!("did you mean '{near}'?"),
        None => {
            parser.prev_token();
            match other(parser) {
                Ok(statement) => return Ok(statement),
                Err(_) => format!("there are {}", WORDS.join(", ")),
            }
        }
    };
    err_at(format!("can't show {}", found(&token)), &token, Some(&help))
}

fn from_or_in(parser: &mut Parser<'_>) -> Result<Option<Name>, ParserError> {
    match parser.parse_keyword(Keyword::FROM) || parser.parse_keyword(Keyword::IN) {
        true => parse_name(parser).map(Some),
        false => Ok(None),
    }
}

fn describe(parser: &mut Parser<'_>) -> Result<Statement, ParserError> {
    parser.advance_token();
    let _ = parser.parse_keyword(Keyword::TABLE);
    parse_name(parser).map(Statement::Describe)
}

/// `EXPLAIN [ANALYZE] [VERBOSE] [PLAN FOR | detail, …] statement`, `EXPLAIN COMPACTION [FOR] name`
fn explain(parser: &mut Parser<'_>, hints: &mut Hints) -> Result<Statement, ParserError> {
    const DETAILS: [&str; 4] = ["ESTIMATED_COST", "CHANGELOG_MODE", "JSON_EXECUTION_PLAN", "PLAN_ADVICE"];
    parser.advance_token();
    if take_word(parser, "COMPACTION") {
        let _ = take_word(parser, "FOR");
        return parse_name(parser).map(Statement::ExplainCompaction);
    }
    let (mut analyze, mut verbose) = (false, false);
    let mut details: Vec<String> = Vec::new();
    loop {
        if parser.parse_keyword(Keyword::ANALYZE) {
            analyze = true;
        } else if parser.parse_keyword(Keyword::VERBOSE) {
            verbose = true;
        } else if take_word(parser, "PLAN") {
            expect_word(parser, "FOR")?;
        } else if let Some(detail) = DETAILS.into_iter().find(|word| take_word(parser, word)) {
            details.push(detail.to_owned());
            let _ = parser.consume_token(&Token::Comma);
        } else {
            break;
        }
    }
    let token = parser.peek_token();
    if is_word(&token.token, "EXPLAIN") {
        return err_at("EXPLAIN can't be explained", &token, None);
    }
    let statement = statement(parser, hints)?;
    match statement {
        Statement::Insert(_) | Statement::RowChange(_) | Statement::Query(_) | Statement::Other(_) => {}
        other => {
            let message = format!("{} can't be explained", other.kind());
            return err_at(message, &token, Some("EXPLAIN takes a query, an INSERT or a STATEMENT SET"));
        }
    }
    let statement = Box::new(statement);
    Ok(Statement::Explain(Box::new(Explain { analyze, verbose, details, statement })))
}
