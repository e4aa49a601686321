//! Conditions of a query in the reader's words.
//!
//! Only what the reader decides as DataFusion would: what is not understood whole is not understood at all. A comparison
//! with NULL and a list with NULL in it stay with DataFusion, whose logic has three values at every place.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr::{InList, Like};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use frazil_reader::{Comparison, Predicate};
use frazil_table::spec::Datum;

use super::path::LeafPath;

/// Which conditions are decided by the reader: exactly, or not at all.
pub(super) fn support(
    filters: &[&Expr],
    decide: impl Fn(&Expr) -> Option<Predicate>,
) -> Vec<TableProviderFilterPushDown> {
    let support = |filter: &&Expr| match decide(filter) {
        Some(_) => TableProviderFilterPushDown::Exact,
        None => TableProviderFilterPushDown::Unsupported,
    };
    filters.iter().map(support).collect()
}

/// All of the conditions that were accepted; `None` if there are none.
///
/// # Errors
/// [`DataFusionError::Internal`] for one that was not.
pub(super) fn all_of(filters: &[Expr], decide: impl Fn(&Expr) -> Option<Predicate>) -> DfResult<Option<Predicate>> {
    let mut predicate: Option<Predicate> = None;
    for filter in filters {
        let Some(part) = decide(filter) else {
            return Err(DataFusionError::Internal(format!("the filter {filter} was not accepted")));
        };
        predicate = Some(match predicate {
            None => part,
            Some(first) => first.and(part),
        });
    }
    Ok(predicate)
}

/// The condition, if all of it can be told to the reader.
pub(super) fn predicate(expr: &Expr, schema: &Schema) -> Option<Predicate> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            Some(Predicate::And(vec![predicate(left, schema)?, predicate(right, schema)?]))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(Predicate::Or(vec![predicate(left, schema)?, predicate(right, schema)?]))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (column(left, schema), column(right, schema)) {
            (Some(column), None) => column.compare(comparison(*op)?, right),
            (None, Some(column)) => column.compare(comparison(op.swap()?)?, left),
            _ => None,
        },
        Expr::Not(inner) => Some(predicate(inner, schema)?.negate()),
        Expr::IsNull(inner) => Some(Predicate::IsNull(path(inner, schema)?)),
        Expr::IsNotNull(inner) => Some(Predicate::IsNull(path(inner, schema)?).negate()),
        Expr::InList(InList { expr, list, negated }) => {
            let column = column(expr, schema)?;
            let values = list.iter().map(|value| column.literal(value)).collect::<Option<Vec<_>>>()?;
            negated_if(*negated, Predicate::In { path: column.path, values })
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let column = column(expr, schema)?;
            let low = column.compare(Comparison::GreaterOrEqual, low)?;
            let high = column.compare(Comparison::LessOrEqual, high)?;
            negated_if(*negated, low.and(high))
        }
        Expr::Like(Like { negated, expr, pattern, escape_char: None, case_insensitive: false }) => {
            let Expr::Literal(ScalarValue::Utf8(Some(pattern)), _) = pattern.as_ref() else { return None };
            let prefix = pattern.strip_suffix('%')?;
            if prefix.contains(['%', '_', '\\']) {
                return None;
            }
            negated_if(*negated, Predicate::StartsWith { path: path(expr, schema)?, prefix: prefix.to_owned() })
        }
        // A column of truth values is a condition by itself.
        Expr::Column(_) | Expr::ScalarFunction(_) => Some(Predicate::equal(path(expr, schema)?, Datum::bool(true))),
        Expr::Literal(ScalarValue::Boolean(Some(true)), _) => Some(Predicate::True),
        Expr::Literal(ScalarValue::Boolean(Some(false)), _) => Some(Predicate::False),
        _ => None,
    }
}

/// The rows whose column has a value, which is not NULL; `None` for a type that the reader does not compare.
pub(crate) fn equal_to(column: &str, value: ScalarValue) -> Option<Predicate> {
    Some(Predicate::equal(column, literal(&Expr::Literal(value, None))?))
}

fn negated_if(negated: bool, predicate: Predicate) -> Option<Predicate> {
    Some(if negated { predicate.negate() } else { predicate })
}

/// The dotted path of an expression that leads through structs only.
fn path(expr: &Expr, schema: &Schema) -> Option<String> {
    leaf(expr, schema).map(|leaf| leaf.path)
}

/// A column that values are compared with.
struct Leaf {
    path: String,
    data_type: DataType,
}

fn leaf(expr: &Expr, schema: &Schema) -> Option<Leaf> {
    let path = LeafPath::of_logical(expr)?;
    let data_type = path.field_in(schema)?.data_type().clone();
    (!data_type.is_nested()).then(|| Leaf { path: path.dotted(), data_type })
}

/// A column, also where DataFusion compares its moments in a finer unit: that changes no answer.
fn column(expr: &Expr, schema: &Schema) -> Option<Leaf> {
    let Expr::Cast(cast) = expr else { return leaf(expr, schema) };
    let leaf = leaf(&cast.expr, schema)?;
    match (&leaf.data_type, cast.field.data_type()) {
        (DataType::Timestamp(TimeUnit::Microsecond, own), DataType::Timestamp(TimeUnit::Nanosecond, to))
            if own.iter().chain(to).all(is_utc) =>
        {
            Some(leaf)
        }
        _ => None,
    }
}

impl Leaf {
    fn compare(&self, comparison: Comparison, value: &Expr) -> Option<Predicate> {
        let value = self.literal(value)?;
        Some(Predicate::compare(self.path.clone(), comparison, value))
    }

    /// A value in the column's type, but not NULL. Moments between two of the column's are not told.
    fn literal(&self, expr: &Expr) -> Option<Datum> {
        let DataType::Timestamp(TimeUnit::Microsecond, zone) = &self.data_type else { return literal(expr) };
        let Expr::Literal(value, _) = expr else { return None };
        let micros = match value {
            ScalarValue::TimestampNanosecond(Some(nanos), given) if given.iter().all(is_utc) && nanos % 1_000 == 0 => {
                nanos / 1_000
            }
            ScalarValue::TimestampMicrosecond(Some(micros), given) if given.iter().all(is_utc) => *micros,
            _ => return None,
        };
        match zone {
            None => Some(Datum::timestamp_micros(micros)),
            Some(zone) => is_utc(zone).then(|| Datum::timestamptz_micros(micros)),
        }
    }
}

fn comparison(operator: Operator) -> Option<Comparison> {
    Some(match operator {
        Operator::Eq => Comparison::Equal,
        Operator::NotEq => Comparison::NotEqual,
        Operator::Lt => Comparison::Less,
        Operator::LtEq => Comparison::LessOrEqual,
        Operator::Gt => Comparison::Greater,
        Operator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

/// A value, but not NULL.
fn literal(expr: &Expr) -> Option<Datum> {
    use ScalarValue::*;
    let Expr::Literal(value, _) = expr else { return None };
    Some(match value {
        Boolean(Some(v)) => Datum::bool(*v),
        Int8(Some(v)) => Datum::int(*v),
        Int16(Some(v)) => Datum::int(*v),
        Int32(Some(v)) => Datum::int(*v),
        Int64(Some(v)) => Datum::long(*v),
        UInt8(Some(v)) => Datum::int(*v),
        UInt16(Some(v)) => Datum::int(*v),
        UInt32(Some(v)) => Datum::long(i64::from(*v)),
        Float32(Some(v)) => Datum::float(*v),
        Float64(Some(v)) => Datum::double(*v),
        Utf8(Some(v)) | LargeUtf8(Some(v)) | Utf8View(Some(v)) => Datum::string(v),
        Binary(Some(v)) | LargeBinary(Some(v)) | BinaryView(Some(v)) | FixedSizeBinary(_, Some(v)) => {
            Datum::binary(v.iter().copied())
        }
        Date32(Some(v)) => Datum::date(*v),
        Time64Microsecond(Some(v)) => Datum::time_micros(*v).ok()?,
        TimestampMicrosecond(Some(v), None) => Datum::timestamp_micros(*v),
        TimestampMicrosecond(Some(v), Some(zone)) if is_utc(zone) => Datum::timestamptz_micros(*v),
        TimestampNanosecond(Some(v), None) => Datum::timestamp_nanos(*v),
        TimestampNanosecond(Some(v), Some(zone)) if is_utc(zone) => Datum::timestamptz_nanos(*v),
        Decimal128(Some(_), _, _) => Datum::decimal_from_str(value.to_string()).ok()?,
        _ => return None,
    })
}

fn is_utc(zone: &Arc<str>) -> bool {
    matches!(zone.as_ref(), "+00:00" | "UTC" | "Z")
}
