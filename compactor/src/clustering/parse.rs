//! An order of rows as people write it, in the words of Spark's `rewrite_data_files`.

use frazil_table::Table;
use frazil_table::spec::{NullOrder, Schema, SortDirection, SortField, SortOrder, Transform};
use frazil_writer::CURVE_COLUMNS_MAX;

use super::ClusterOrder;
use crate::{Error, Result};

/// The name under which a bad order is reported.
const NAME: &str = "sort_order";

pub(super) fn parse(text: Option<&str>, table: &Table) -> Result<ClusterOrder> {
    let schema = table.metadata().current_schema();
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
        let own = table.metadata().default_sort_order();
        return match own.is_unsorted() {
            true => Err(bad("", "columns to order by, since the table has no sort order of its own")),
            false => Ok(ClusterOrder::Sort(own.as_ref().clone())),
        };
    };
    if let Some(columns) = call(text, "zorder") {
        return Ok(ClusterOrder::ZOrder(curve(schema, columns)?));
    }
    if let Some(columns) = call(text, "hilbert") {
        return Ok(ClusterOrder::Hilbert(curve(schema, columns)?));
    }
    let fields = items(text).into_iter().map(|item| field(schema, item)).collect::<Result<Vec<_>>>()?;
    Ok(ClusterOrder::Sort(SortOrder { order_id: 0, fields }))
}

/// The columns of a curve.
fn curve(schema: &Schema, columns: &str) -> Result<Vec<i32>> {
    let ids = columns.split(',').map(|column| leaf(schema, column.trim())).collect::<Result<Vec<_>>>()?;
    match ids.len() <= CURVE_COLUMNS_MAX {
        true => Ok(ids),
        false => Err(bad(columns, "at most 8 columns of a curve")),
    }
}

fn bad(value: &str, wanted: &'static str) -> Error {
    Error::BadOption { name: NAME.to_owned(), value: value.to_owned(), wanted }
}

/// What stands in the parentheses of `name(…)`, if the text is that.
fn call<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (head, rest) = text.split_once('(')?;
    head.trim().eq_ignore_ascii_case(name).then_some(())?;
    rest.trim_end().strip_suffix(')').filter(|inner| !inner.contains('('))
}

/// The parts between commas that are in no parentheses.
fn items(text: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut items) = (0_i32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                items.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    items.push(text[begin..].trim());
    items
}

/// Cuts a word off the end of a text, whatever its case.
fn take(rest: &mut &str, word: &str) -> bool {
    let cut = rest.len().checked_sub(word.len()).filter(|cut| rest.is_char_boundary(*cut));
    let is_word = |cut: &usize| rest[*cut..].eq_ignore_ascii_case(word) && rest[..*cut].ends_with([' ', ')']);
    match cut.filter(is_word) {
        Some(cut) => *rest = rest[..cut].trim_end(),
        None => return false,
    }
    true
}

/// `column`, `transform(column)` or `transform(n, column)`, then perhaps `ASC | DESC` and `NULLS FIRST | LAST`.
fn field(schema: &Schema, item: &str) -> Result<SortField> {
    let mut rest = item;
    let null_order = match (take(&mut rest, "nulls first"), take(&mut rest, "nulls last")) {
        (true, _) => Some(NullOrder::First),
        (_, true) => Some(NullOrder::Last),
        _ => None,
    };
    let direction = match (take(&mut rest, "desc"), take(&mut rest, "asc")) {
        (true, _) => SortDirection::Descending,
        _ => SortDirection::Ascending,
    };
    // As Spark: nulls are least.
    let null_order = null_order.unwrap_or(match direction {
        SortDirection::Ascending => NullOrder::First,
        SortDirection::Descending => NullOrder::Last,
    });
    let (transform, column) = expression(rest, item)?;
    let source_id = leaf(schema, column)?;
    let r#type = &schema.field_by_id(source_id).expect("it was found by name just now").field_type;
    if matches!(transform, Transform::Void | Transform::Unknown) || transform.result_type(r#type).is_err() {
        return Err(bad(item, "a transform that the column's type has"));
    }
    let field = SortField::builder().source_id(source_id).transform(transform);
    Ok(field.direction(direction).null_order(null_order).build())
}

fn expression<'a>(text: &'a str, item: &str) -> Result<(Transform, &'a str)> {
    let wanted = "columns, each with ASC or DESC and NULLS FIRST or NULLS LAST behind it, or zorder(…) or hilbert(…)";
    let Some((name, arguments)) = text.split_once('(') else { return Ok((Transform::Identity, text)) };
    let arguments = arguments.strip_suffix(')').ok_or_else(|| bad(item, wanted))?;
    let (first, column) = arguments.split_once(',').unwrap_or(("", arguments));
    let name = name.trim().to_ascii_lowercase();
    let name = match first.trim() {
        "" => name.trim_end_matches('s').to_owned(),
        parameter => format!("{name}[{parameter}]"),
    };
    let transform =
        name.parse().map_err(|_| bad(item, "a transform of Iceberg's: bucket(n, a), truncate(n, a), day(a)"))?;
    Ok((transform, column.trim()))
}

/// The id of a column with values, by its dotted path.
fn leaf(schema: &Schema, path: &str) -> Result<i32> {
    let path = path.trim_matches(['`', '"']);
    let found = schema.field_by_name(path).or_else(|| schema.field_by_name_case_insensitive(path));
    let found = found.filter(|field| field.field_type.is_primitive());
    found.map(|field| field.id).ok_or_else(|| bad(path, "a column of the table that has values to order by"))
}
