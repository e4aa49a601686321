//! The statements other than `CREATE TABLE`.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::create_table::{parse_comment, parse_create_table, parse_identifier, parse_name};
use super::dialect::FlinkDialect;
use super::hint::{self, Hints};
use super::options_clause::{parse_with, text};
use super::query::parse_query;
use super::statement::{
    CreateCatalog, CreateDatabase, CreateView, Explain, Insert, Setting, Show, Spanned, Statement,
};
use super::tokens::{err_at, expect_word, found, is_word, take_word, take_words};
use super::version;
use super::{Name, Span};
use crate::options::Options;
use crate::suggest::nearest_one;

/// The first words of the statements that exist.
const OPENINGS: [&str; 19] = [
    "CREATE", "DROP", "USE", "SHOW", "DESCRIBE", "DESC", "SET", "RESET", "INSERT", "EXECUTE",
    "BEGIN", "EXPLAIN", "SELECT", "WITH", "VALUES", "DELETE", "UPDATE", "ALTER", "MERGE",
];

/// Statements of Flink that are read and refused: the words that they begin with, and what to do instead.
const NOT_YET: [(&[&str], &str); 16] = [
    (
        &["CREATE", "MATERIALIZED", "TABLE"],
        "write a job: CREATE TABLE …; INSERT INTO … SELECT …",
    ),
    (&["CREATE", "FUNCTION"], "use the built-in functions"),
    (
        &["CREATE", "TEMPORARY", "FUNCTION"],
        "use the built-in functions",
    ),
    (
        &["CREATE", "TEMPORARY", "SYSTEM", "FUNCTION"],
        "use the built-in functions",
    ),
    (&["CREATE", "MODEL"], "models are out of scope"),
    (
        &["CREATE", "OR", "REPLACE"],
        "DROP TABLE IF EXISTS …, then CREATE TABLE …",
    ),
    (
        &["REPLACE", "TABLE"],
        "DROP TABLE IF EXISTS …, then CREATE TABLE …",
    ),
    (&["LOAD", "MODULE"], "there are no modules"),
    (&["UNLOAD", "MODULE"], "there are no modules"),
    (&["ADD", "JAR"], "there is no JVM here"),
    (&["REMOVE", "JAR"], "there is no JVM here"),
    (&["COMPILE", "PLAN"], "use EXPLAIN"),
    (&["EXECUTE", "PLAN"], "run the script itself"),
    (
        &["ALTER"],
        "change an Iceberg table through its catalog with any Iceberg client",
    ),
    (
        &["CALL"],
        "use `frazil compact`, `frazil expire`, `frazil orphans` or `frazil rewrite-manifests`",
    ),
    (&["STOP", "JOB"], "end the process that runs it"),
];

/// How a statement begins.
pub(super) enum Opening {
    /// A statement set; this many words come before its first insert.
    Set {
        /// Words before the first insert.
        words: usize,
        /// The set is only explained.
        explain: bool,
    },
    /// Any other.
    Plain {
        /// Its kind, for errors.
        kind: &'static str,
    },
}

/// Looks at a statement's first significant tokens.
pub(super) fn opening(words: &[&Token]) -> Opening {
    let starts = |pattern: &[&str], from: usize| {
        pattern.iter().enumerate().all(|(index, word)| {
            words
                .get(from + index)
                .is_some_and(|token| is_word(token, word))
        })
    };
    for (explain, from) in [(false, 0), (true, 1)] {
        if explain && !starts(&["EXPLAIN"], 0) {
            continue;
        }
        for pattern in [
            &["EXECUTE", "STATEMENT", "SET", "BEGIN"][..],
            &["BEGIN", "STATEMENT", "SET"],
            &["STATEMENT", "SET", "BEGIN"],
        ] {
            if starts(pattern, from) {
                return Opening::Set {
                    words: from + pattern.len(),
                    explain,
                };
            }
        }
    }
    let kinds: [(&[&str], &str); 19] = [
        (&["CREATE", "TEMPORARY", "TABLE"], "CREATE TABLE"),
        (&["CREATE", "TABLE"], "CREATE TABLE"),
        (&["CREATE", "TEMPORARY", "VIEW"], "CREATE VIEW"),
        (&["CREATE", "VIEW"], "CREATE VIEW"),
        (&["CREATE", "CATALOG"], "CREATE CATALOG"),
        (&["CREATE", "DATABASE"], "CREATE DATABASE"),
        (&["CREATE"], "CREATE"),
        (&["DROP"], "DROP"),
        (&["INSERT"], "INSERT"),
        (&["SELECT"], "SELECT"),
        (&["WITH"], "SELECT"),
        (&["VALUES"], "VALUES"),
        (&["EXPLAIN"], "EXPLAIN"),
        (&["USE"], "USE"),
        (&["SET"], "SET"),
        (&["RESET"], "RESET"),
        (&["SHOW"], "SHOW"),
        (&["DESCRIBE"], "DESCRIBE"),
        (&["DESC"], "DESCRIBE"),
    ];
    let kind = kinds
        .iter()
        .find(|(pattern, _)| starts(pattern, 0))
        .map_or("", |(_, kind)| kind);
    Opening::Plain { kind }
}

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
            false => err_at(
                format!("expected INSERT or END, found {}", found(&token)),
                &token,
                None,
            ),
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
    let tokens = version::rewrite(tokens);
    let mut parser = Parser::new(&FlinkDialect).with_tokens_with_locations(tokens);
    let parsed = parse(&mut parser, &mut hints)?;
    let next = parser.peek_token_ref();
    if next.token != Token::EOF {
        return err_at(
            format!("unexpected {}", found(next)),
            next,
            Some("is a ';' missing before it?"),
        );
    }
    hints.check_all_used()?;
    Ok(parsed)
}

fn statement(parser: &mut Parser<'_>, hints: &mut Hints) -> Result<Statement, ParserError> {
    refuse_not_yet(parser)?;
    let start = parser.peek_token();
    let Token::Word(word) = &start.token else {
        return match start.token {
            Token::LParen => {
                parse_query(parser, hints).map(|query| Statement::Query(Box::new(query)))
            }
            _ => err_at(
                format!("expected a statement, found {}", found(&start)),
                &start,
                None,
            ),
        };
    };
    match word.value.to_ascii_uppercase().as_str() {
        "CREATE" => create(parser, hints),
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
        "EXPLAIN" => explain(parser, hints),
        "SELECT" | "WITH" | "VALUES" => {
            parse_query(parser, hints).map(|query| Statement::Query(Box::new(query)))
        }
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
    parser
        .parse_statement()
        .map(|statement| Statement::Other(Box::new(statement)))
}

fn refuse_not_yet(parser: &Parser<'_>) -> Result<(), ParserError> {
    for (words, help) in NOT_YET {
        let all = words
            .iter()
            .enumerate()
            .all(|(index, word)| is_word(&parser.peek_nth_token_ref(index).token, word));
        if all {
            let message = format!("{} is not supported", words.join(" "));
            return err_at(message, parser.peek_token_ref(), Some(help));
        }
    }
    Ok(())
}

fn create(parser: &mut Parser<'_>, hints: &mut Hints) -> Result<Statement, ParserError> {
    parser.advance_token();
    let temporary = parser.parse_keyword(Keyword::TEMPORARY);
    let token = parser.next_token();
    let word = match &token.token {
        Token::Word(word) => word.value.to_ascii_uppercase(),
        _ => String::new(),
    };
    match word.as_str() {
        "TABLE" => parse_create_table(parser, hints, temporary)
            .map(|table| Statement::CreateTable(Box::new(table))),
        "VIEW" => create_view(parser, hints, temporary),
        "CATALOG" if !temporary => {
            let if_not_exists = if_not_exists(parser);
            let name = one_part(parse_name(parser)?, &token)?;
            let comment = parse_comment(parser)?;
            let options = parse_with(parser)?;
            let catalog = CreateCatalog {
                name,
                if_not_exists,
                comment,
                options,
            };
            Ok(Statement::CreateCatalog(catalog))
        }
        "DATABASE" | "SCHEMA" if !temporary => {
            let if_not_exists = if_not_exists(parser);
            let name = parse_name(parser)?;
            let comment = parse_comment(parser)?;
            let options = parse_with(parser)?;
            let database = CreateDatabase {
                name,
                if_not_exists,
                comment,
                options,
            };
            Ok(Statement::CreateDatabase(database))
        }
        word => {
            const WORDS: [&str; 5] = ["TABLE", "TEMPORARY", "VIEW", "DATABASE", "CATALOG"];
            let near = nearest_one(word, WORDS).map(|near| format!("did you mean '{near}'?"));
            let help = near.unwrap_or_else(|| format!("there are {}", WORDS.join(", ")));
            err_at(
                format!("can't create {}", found(&token)),
                &token,
                Some(&help),
            )
        }
    }
}

fn create_view(
    parser: &mut Parser<'_>,
    hints: &mut Hints,
    temporary: bool,
) -> Result<Statement, ParserError> {
    let if_not_exists = if_not_exists(parser);
    let name = parse_name(parser)?;
    let columns = column_list(parser)?
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let comment = parse_comment(parser)?;
    parser.expect_keyword(Keyword::AS)?;
    let query = parse_query(parser, hints)?;
    let view = CreateView {
        name,
        temporary,
        if_not_exists,
        columns,
        comment,
        query,
    };
    Ok(Statement::CreateView(Box::new(view)))
}

/// `[(name, …)]`; none when the parenthesis begins a query.
fn column_list(parser: &mut Parser<'_>) -> Result<Vec<(String, Span)>, ParserError> {
    let opens = parser.peek_token_ref().token == Token::LParen;
    let query = match &parser.peek_nth_token_ref(1).token {
        Token::Word(word) => {
            matches!(
                word.keyword,
                Keyword::SELECT | Keyword::WITH | Keyword::VALUES
            )
        }
        Token::LParen => true,
        _ => false,
    };
    if !opens || query {
        return Ok(Vec::new());
    }
    parser.advance_token();
    let names =
        parser.parse_comma_separated(|parser| parse_identifier(parser, "a column's name"))?;
    parser.expect_token(&Token::RParen)?;
    Ok(names)
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
        "TABLE" => Statement::DropTable {
            name,
            temporary,
            if_exists,
        },
        "VIEW" => Statement::DropView {
            name,
            temporary,
            if_exists,
        },
        "CATALOG" => Statement::DropCatalog {
            name: one_part(name, &token)?,
            if_exists,
        },
        _ => {
            let cascade = parser.parse_keyword(Keyword::CASCADE);
            let _ = !cascade && parser.parse_keyword(Keyword::RESTRICT);
            Statement::DropDatabase {
                name,
                if_exists,
                cascade,
            }
        }
    })
}

fn use_statement(parser: &mut Parser<'_>) -> Result<Statement, ParserError> {
    let token = parser.next_token();
    let named_catalog = is_word(&parser.peek_token_ref().token, "CATALOG")
        && matches!(parser.peek_nth_token_ref(1).token, Token::Word(_));
    if named_catalog {
        parser.advance_token();
        return Ok(Statement::UseCatalog(one_part(
            parse_name(parser)?,
            &token,
        )?));
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
        Show::Databases {
            catalog: from_or_in(parser)?,
        }
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
    const WORDS: [&str; 7] = [
        "CATALOGS",
        "CURRENT",
        "DATABASES",
        "TABLES",
        "VIEWS",
        "JOBS",
        "CREATE",
    ];
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

/// `SET 'key' = 'value'`, `SET key.part = value`, `SET`.
fn set(parser: &mut Parser<'_>) -> Result<Statement, ParserError> {
    parser.advance_token();
    if parser.peek_token_ref().token == Token::EOF {
        return Ok(Statement::Set(None));
    }
    let (key, key_span) = setting_key(parser)?;
    parser.expect_token(&Token::Eq)?;
    let first = parser.peek_token();
    if first.token == Token::EOF {
        return err_at(
            "expected a value, found the end of the statement",
            &first,
            None,
        );
    }
    let (value, value_span) = match first.token {
        Token::SingleQuotedString(value) => {
            parser.advance_token();
            (value, first.span)
        }
        _ => bare_value(parser),
    };
    Ok(Statement::Set(Some(Setting {
        key,
        value,
        key_span,
        value_span,
    })))
}

/// Everything up to the end, as in `SET parallelism.default = 2` and `SET x = 10 min`.
fn bare_value(parser: &mut Parser<'_>) -> (String, Span) {
    let mut words: Vec<String> = Vec::new();
    let mut span = Span::empty();
    loop {
        let token = parser.next_token();
        if token.token == Token::EOF {
            return (words.concat(), span);
        }
        let gap = span != Span::empty() && span.end != token.span.start;
        words.push(if gap {
            format!(" {}", token.token)
        } else {
            token.token.to_string()
        });
        span = span.union(&token.span);
    }
}

/// `'key'`, or words with dots and dashes between them.
fn setting_key(parser: &mut Parser<'_>) -> Result<(String, Span), ParserError> {
    let first = parser.next_token();
    let mut key = match &first.token {
        Token::SingleQuotedString(key) => return Ok((key.clone(), first.span)),
        Token::Word(word) => word.value.clone(),
        _ => {
            return err_at(
                format!("expected a key, found {}", found(&first)),
                &first,
                None,
            );
        }
    };
    let mut span = first.span;
    loop {
        let divider = match parser.peek_token_ref().token {
            Token::Period => '.',
            Token::Minus => '-',
            _ => return Ok((key, span)),
        };
        parser.advance_token();
        let token = parser.next_token();
        let Token::Word(word) = &token.token else {
            return err_at(
                format!("expected a key, found {}", found(&token)),
                &token,
                None,
            );
        };
        key.push(divider);
        key.push_str(&word.value);
        span = span.union(&token.span);
    }
}

fn reset(parser: &mut Parser<'_>) -> Result<Statement, ParserError> {
    parser.advance_token();
    match parser.peek_token_ref().token {
        Token::EOF => Ok(Statement::Reset(None)),
        _ => setting_key(parser).map(|(key, _)| Statement::Reset(Some(key))),
    }
}

/// From after `INSERT`.
fn insert(parser: &mut Parser<'_>, hints: &mut Hints) -> Result<Insert, ParserError> {
    let overwrite = parser.parse_keyword(Keyword::OVERWRITE);
    if !overwrite {
        let token = parser.peek_token();
        if !parser.parse_keyword(Keyword::INTO) {
            let message = format!("expected INTO or OVERWRITE, found {}", found(&token));
            return err_at(message, &token, Some("write INSERT INTO table SELECT …"));
        }
    }
    let _ = parser.parse_keyword(Keyword::TABLE);
    let target = parse_name(parser)?;
    let mut options = hints.at_table(target.span().end);
    let partition = match parser.parse_keyword(Keyword::PARTITION) {
        true => partition_values(parser)?,
        false => Vec::new(),
    };
    let columns = column_list(parser)?;
    if options.is_none() && !columns.is_empty() {
        options = hints.at_table(parser.get_current_token().span.end);
    }
    for (index, (name, _)) in columns.iter().enumerate() {
        if columns[..index].iter().any(|(other, _)| other == name) {
            return super::tokens::err_in(
                format!("the column '{name}' is there twice"),
                columns[index].1.start,
                None,
            );
        }
    }
    let query = parse_query(parser, hints)?;
    let options: Options = options.unwrap_or_default();
    Ok(Insert {
        target,
        options,
        columns,
        overwrite,
        partition,
        query,
    })
}

/// `(column = value, …)`
fn partition_values(parser: &mut Parser<'_>) -> Result<Vec<(String, ast::Expr)>, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let values = parser.parse_comma_separated(|parser| {
        let (column, _) = parse_identifier(parser, "a column's name")?;
        parser.expect_token(&Token::Eq)?;
        Ok((column, parser.parse_expr()?))
    })?;
    parser.expect_token(&Token::RParen)?;
    Ok(values)
}

/// `EXPLAIN [ANALYZE] [VERBOSE] [PLAN FOR | detail, …] statement`
fn explain(parser: &mut Parser<'_>, hints: &mut Hints) -> Result<Statement, ParserError> {
    const DETAILS: [&str; 4] = [
        "ESTIMATED_COST",
        "CHANGELOG_MODE",
        "JSON_EXECUTION_PLAN",
        "PLAN_ADVICE",
    ];
    parser.advance_token();
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
    let statement = statement(parser, hints)?;
    match statement {
        Statement::Insert(_) | Statement::Query(_) | Statement::Other(_) => {}
        other => {
            let message = format!("{} can't be explained", other.kind());
            return err_at(
                message,
                &token,
                Some("EXPLAIN takes a query, an INSERT or a STATEMENT SET"),
            );
        }
    }
    let statement = Box::new(statement);
    Ok(Statement::Explain(Box::new(Explain {
        analyze,
        verbose,
        details,
        statement,
    })))
}
