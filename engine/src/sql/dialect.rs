//! What sqlparser has to know of Flink SQL: quoting, and the expressions that are Flink's own.
//!
//! Expressions are changed here into ones that DataFusion plans:
//! - `CAST(x AS type)` reads Flink's types; the type goes into the tree as its text, and `planner::TypePlanner` makes the
//!   Arrow type out of it.
//! - `CAST(ROW(a, b) AS ROW<x INT, y STRING>)` becomes `named_struct('x', CAST(a AS INT), 'y', CAST(b AS STRING))`,
//!   because DataFusion casts structs by the names of their fields, and those of `ROW(a, b)` are `c0` and `c1`.
//! - `MAP['k', v, …]` becomes `make_map('k', v, …)`.
//! - `TABLE t` as an argument becomes `(SELECT * FROM t)`.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::{
    self, CastKind, Expr, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
};
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::data_type::{DataType, TypeKind};
use super::tokens::{err_at, is_word};
use super::type_parser::parse_data_type;

/// Flink SQL for sqlparser.
#[derive(Debug, Clone, Copy)]
pub(super) struct FlinkDialect;

impl Dialect for FlinkDialect {
    /// Generic in what sqlparser decides by the dialect's type.
    fn dialect(&self) -> TypeId {
        GenericDialect.dialect()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`' || ch == '"'
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('`')
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_within_after_array_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_select_wildcard_exclude(&self) -> bool {
        true
    }

    fn supports_select_wildcard_replace(&self) -> bool {
        true
    }

    fn supports_dictionary_syntax(&self) -> bool {
        true
    }

    fn support_map_literal_syntax(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_values_as_table_factor(&self) -> bool {
        true
    }

    fn supports_try_convert(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn allow_extract_single_quotes(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_order_by_all(&self) -> bool {
        true
    }

    fn supports_explain_with_utility_options(&self) -> bool {
        true
    }

    fn supports_boolean_literals(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let next = &parser.peek_nth_token_ref(1).token;
        let Token::Word(word) = &parser.peek_token_ref().token else {
            return None;
        };
        if word.quote_style.is_some() {
            return None;
        }
        match (word.keyword, next) {
            (Keyword::CAST, Token::LParen) => Some(cast(parser, CastKind::Cast)),
            (Keyword::TRY_CAST, Token::LParen) => Some(cast(parser, CastKind::TryCast)),
            (Keyword::MAP, Token::LBracket) => Some(map(parser)),
            (Keyword::TABLE, Token::Word(_)) => Some(table_argument(parser)),
            _ => None,
        }
    }
}

fn cast(parser: &mut Parser<'_>, kind: CastKind) -> Result<Expr, ParserError> {
    let start = parser.next_token();
    parser.expect_token(&Token::LParen)?;
    let expr = parser.parse_expr()?;
    parser.expect_keyword(Keyword::AS)?;
    let data_type = parse_data_type(parser)?;
    parser.expect_token(&Token::RParen)?;
    cast_expr(expr, &data_type, kind, &start)
}

/// `expr` as `data_type`. `ROW(…)` and `ARRAY[…]` constructors are cast member by member.
pub(super) fn cast_expr(
    expr: Expr,
    data_type: &DataType,
    kind: CastKind,
    start: &TokenWithSpan,
) -> Result<Expr, ParserError> {
    match (expr, &data_type.kind) {
        (Expr::Nested(inner), _) => cast_expr(*inner, data_type, kind, start),
        (Expr::Array(mut array), TypeKind::Array(element)) if !array.elem.is_empty() => {
            let elements = array.elem.into_iter();
            array.elem =
                elements.map(|value| cast_expr(value, element, kind.clone(), start)).collect::<Result<_, _>>()?;
            Ok(Expr::Array(array))
        }
        (expr, TypeKind::Row(fields)) => {
            let values = match row_values(expr) {
                Ok(values) => values,
                Err(expr) => return Ok(plain_cast(*expr, data_type, kind)),
            };
            if values.len() != fields.len() {
                let (given, wanted) = (values.len(), fields.len());
                let message = format!("ROW(…) has {given} values, but its type has {wanted} fields");
                return err_at(message, start, None);
            }
            let mut arguments = Vec::with_capacity(2 * fields.len());
            for (field, value) in fields.iter().zip(values) {
                arguments.push(Expr::value(ast::Value::SingleQuotedString(field.name.clone())));
                arguments.push(cast_expr(value, &field.data_type, kind.clone(), start)?);
            }
            Ok(call("named_struct", arguments))
        }
        (expr, _) => Ok(plain_cast(expr, data_type, kind)),
    }
}

/// The values of a `ROW(a, b)` constructor, or the expression as it was when it is none.
fn row_values(expr: Expr) -> Result<Vec<Expr>, Box<Expr>> {
    let Expr::Function(function) = &expr else {
        return Err(Box::new(expr));
    };
    let is_row = matches!(function.name.0.as_slice(), [part]
        if part.as_ident().is_some_and(|i| i.quote_style.is_none() && i.value.eq_ignore_ascii_case("row")));
    let FunctionArguments::List(list) = &function.args else {
        return Err(Box::new(expr));
    };
    let values: Option<Vec<Expr>> = list
        .args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value.clone()),
            _ => None,
        })
        .collect();
    match values {
        Some(values) if is_row => Ok(values),
        _ => Err(Box::new(expr)),
    }
}

fn plain_cast(expr: Expr, data_type: &DataType, kind: CastKind) -> Expr {
    let name = ObjectName::from(Ident::new(data_type.to_string()));
    Expr::Cast {
        kind,
        expr: Box::new(expr),
        data_type: ast::DataType::Custom(name, Vec::new()),
        array: false,
        format: None,
    }
}

/// `MAP['k', v, …]`.
fn map(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let start = parser.next_token();
    parser.expect_token(&Token::LBracket)?;
    let members = parser.parse_comma_separated(Parser::parse_expr)?;
    parser.expect_token(&Token::RBracket)?;
    match members.len() % 2 {
        0 => Ok(call("make_map", members)),
        _ => err_at("MAP[…] needs a value after each key", &start, None),
    }
}

/// `TABLE t [PARTITION BY …]`, the argument of a table function.
fn table_argument(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    parser.expect_keyword(Keyword::TABLE)?;
    let name = parser.parse_object_name(true)?;
    if is_word(&parser.peek_token_ref().token, "PARTITION") {
        let help = "put the keys into GROUP BY, or into OVER (PARTITION BY …)";
        let token = parser.peek_token();
        return err_at("TABLE t PARTITION BY … is not supported yet", &token, Some(help));
    }
    let mut select = Parser::new(&FlinkDialect).try_with_sql("SELECT * FROM t")?;
    let mut query = select.parse_query()?;
    if let ast::SetExpr::Select(select) = query.body.as_mut()
        && let Some(ast::TableFactor::Table { name: table, .. }) =
            select.from.first_mut().map(|from| &mut from.relation)
    {
        *table = name;
    }
    Ok(Expr::Subquery(query))
}

fn call(function: &str, arguments: Vec<Expr>) -> Expr {
    let unnamed = |value| FunctionArg::Unnamed(FunctionArgExpr::Expr(value));
    Expr::Function(ast::Function {
        name: ObjectName::from(Ident::new(function)),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(unnamed).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
