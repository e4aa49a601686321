//! Whether a file or row group can hold a matching row, by what its statistics say (Iceberg spec, "Scan Planning":
//! inclusive metrics). Wherever they say nothing, it can.

use std::cmp::Ordering;

use frazil_table::spec::{DataFile, Datum, PrimitiveLiteral, PrimitiveType};

use super::{BoundColumn, BoundPredicate, Comparison, Test};
use crate::literal::compare;

/// What statistics say of one column. Bounds may be truncated: the lower one down, the upper one up.
#[derive(Clone, Debug, Default)]
pub(crate) struct ColumnBounds {
    pub lower: Option<PrimitiveLiteral>,
    pub upper: Option<PrimitiveLiteral>,
    pub null_count: Option<u64>,
    pub nan_count: Option<u64>,
    pub value_count: Option<u64>,
}

/// Where statistics come from.
pub(crate) trait Bounds {
    fn column(&self, column: &BoundColumn) -> ColumnBounds;
}

impl Bounds for DataFile {
    fn column(&self, column: &BoundColumn) -> ColumnBounds {
        let id = column.field_id;
        ColumnBounds {
            lower: self.lower_bounds().get(&id).and_then(|bound| promoted(bound, &column.primitive)),
            upper: self.upper_bounds().get(&id).and_then(|bound| promoted(bound, &column.primitive)),
            null_count: self.null_value_counts().get(&id).copied(),
            nan_count: self.nan_value_counts().get(&id).copied(),
            value_count: self.value_counts().get(&id).copied(),
        }
    }
}

/// A bound of an older file in the column's type of now. A date among timestamps is in other units; a bound of a type that
/// the column never had says nothing.
fn promoted(bound: &Datum, to: &PrimitiveType) -> Option<PrimitiveLiteral> {
    use PrimitiveType as T;
    const MICROS_PER_DAY: i64 = 86_400_000_000;
    match (bound.data_type(), to, bound.literal()) {
        (T::Date, T::Timestamp, PrimitiveLiteral::Int(days)) => {
            i64::from(*days).checked_mul(MICROS_PER_DAY).map(PrimitiveLiteral::Long)
        }
        (T::Date, T::TimestampNs, PrimitiveLiteral::Int(days)) => {
            i64::from(*days).checked_mul(MICROS_PER_DAY * 1_000).map(PrimitiveLiteral::Long)
        }
        (T::Date, to, literal) => (*to == T::Date).then(|| literal.clone()),
        (_, _, literal) => Some(literal.clone()),
    }
}

/// Whether a row that matches can be there.
pub(crate) fn may_match(predicate: &BoundPredicate, bounds: &dyn Bounds) -> bool {
    match predicate {
        BoundPredicate::True => true,
        BoundPredicate::False => false,
        BoundPredicate::And(parts) => parts.iter().all(|part| may_match(part, bounds)),
        BoundPredicate::Or(parts) => parts.iter().any(|part| may_match(part, bounds)),
        BoundPredicate::Test(column, test) => test_may_match(column, test, &bounds.column(column)),
    }
}

fn test_may_match(column: &BoundColumn, test: &Test, bounds: &ColumnBounds) -> bool {
    let all_null = bounds.null_count.is_some() && bounds.null_count == bounds.value_count;
    if all_null && !matches!(test, Test::IsNull | Test::NotNan) {
        return false;
    }
    match test {
        Test::IsNull => bounds.null_count != Some(0),
        Test::NotNull => true,
        Test::IsNan => bounds.nan_count != Some(0),
        Test::NotNan => bounds.nan_count.is_none() || bounds.nan_count != bounds.value_count,
        Test::Compare(comparison, value) => comparison_may_match(column, *comparison, value, bounds),
        Test::In(values) => values.iter().any(|value| comparison_may_match(column, Comparison::Equal, value, bounds)),
        Test::NotIn(_) => true,
        Test::StartsWith(prefix) => prefix_may_match(prefix, bounds),
        Test::NotStartsWith(prefix) => {
            let begins = |bound: &Option<PrimitiveLiteral>| matches!(bound, Some(PrimitiveLiteral::String(text)) if text.starts_with(prefix.as_str()));
            !(begins(&bounds.lower) && begins(&bounds.upper))
        }
    }
}

fn comparison_may_match(
    column: &BoundColumn,
    comparison: Comparison,
    value: &PrimitiveLiteral,
    bounds: &ColumnBounds,
) -> bool {
    let below = |bound: &Option<PrimitiveLiteral>| bound.as_ref().and_then(|bound| compare(bound, value));
    let (lower, upper) = (below(&bounds.lower), below(&bounds.upper));
    // Bounds leave NaN out (Iceberg spec, "Manifests"), and NaN is greater than every number.
    let is_float = matches!(column.primitive, PrimitiveType::Float | PrimitiveType::Double);
    let may_hold_nan = is_float && bounds.nan_count != Some(0);
    match comparison {
        Comparison::Equal => lower != Some(Ordering::Greater) && upper != Some(Ordering::Less),
        Comparison::NotEqual => true,
        Comparison::Less => !matches!(lower, Some(Ordering::Greater | Ordering::Equal)),
        Comparison::LessOrEqual => lower != Some(Ordering::Greater),
        Comparison::Greater => may_hold_nan || !matches!(upper, Some(Ordering::Less | Ordering::Equal)),
        Comparison::GreaterOrEqual => may_hold_nan || upper != Some(Ordering::Less),
    }
}

fn prefix_may_match(prefix: &str, bounds: &ColumnBounds) -> bool {
    let prefix = prefix.as_bytes();
    let against = |bound: &Option<PrimitiveLiteral>| match bound {
        Some(PrimitiveLiteral::String(text)) => {
            let length = prefix.len().min(text.len());
            Some(text.as_bytes()[..length].cmp(&prefix[..length]))
        }
        _ => None,
    };
    against(&bounds.lower) != Some(Ordering::Greater) && against(&bounds.upper) != Some(Ordering::Less)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_of_a_date_is_midnight_among_timestamps() {
        let day = Datum::date(2);
        assert_eq!(promoted(&day, &PrimitiveType::Timestamp), Some(PrimitiveLiteral::Long(2 * 86_400_000_000)));
        assert_eq!(promoted(&day, &PrimitiveType::TimestampNs), Some(PrimitiveLiteral::Long(2 * 86_400_000_000_000)));
        assert_eq!(promoted(&day, &PrimitiveType::Date), Some(PrimitiveLiteral::Int(2)));
        assert_eq!(promoted(&day, &PrimitiveType::Long), None);
        assert_eq!(promoted(&Datum::int(2), &PrimitiveType::Long), Some(PrimitiveLiteral::Int(2)));
    }
}
