//! Which rows of a batch match, exactly.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Scalar, StringArray};
use arrow::compute::kernels::cmp;
use arrow::compute::{and_kleene, is_not_null, is_null, not, or_kleene};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use frazil_table::spec::{PrimitiveLiteral, PrimitiveType};

use super::{BoundColumn, BoundPredicate, Comparison, Test};
use crate::literal::{from_array, to_array};

/// Longer lists are looked up by hash.
const COMPARED_MAX: usize = 8;

/// Evaluates a condition on columns by field id. True, false or null for each of `rows` rows.
pub(crate) fn evaluate(
    predicate: &BoundPredicate,
    columns: &HashMap<i32, ArrayRef>,
    rows: usize,
) -> Result<BooleanArray, ArrowError> {
    let fold = |parts: &[BoundPredicate], start: bool, both: fn(&_, &_) -> _| {
        parts
            .iter()
            .try_fold(BooleanArray::from(vec![start; rows]), |sum, part| both(&sum, &evaluate(part, columns, rows)?))
    };
    match predicate {
        BoundPredicate::True => Ok(BooleanArray::from(vec![true; rows])),
        BoundPredicate::False => Ok(BooleanArray::from(vec![false; rows])),
        BoundPredicate::And(parts) => fold(parts, true, and_kleene),
        BoundPredicate::Or(parts) => fold(parts, false, or_kleene),
        BoundPredicate::Test(column, test) => {
            let array = columns
                .get(&column.field_id)
                .ok_or_else(|| ArrowError::InvalidArgumentError(format!("column {} was not read", column.path)))?;
            evaluate_test(column, test, array)
        }
    }
}

fn evaluate_test(column: &BoundColumn, test: &Test, array: &ArrayRef) -> Result<BooleanArray, ArrowError> {
    match test {
        Test::IsNull => is_null(array),
        Test::NotNull => is_not_null(array),
        Test::IsNan => Ok(nan_mask(array)),
        Test::NotNan => not(&nan_mask(array)),
        Test::Compare(comparison, value) => compare_with(&with_one_zero(array), *comparison, value, &column.primitive),
        Test::In(values) => is_in(array, values, &column.primitive),
        Test::NotIn(values) => not(&is_in(array, values, &column.primitive)?),
        Test::StartsWith(prefix) => starts_with(array, prefix),
        Test::NotStartsWith(prefix) => not(&starts_with(array, prefix)?),
    }
}

fn compare_with(
    array: &ArrayRef,
    comparison: Comparison,
    value: &PrimitiveLiteral,
    primitive: &PrimitiveType,
) -> Result<BooleanArray, ArrowError> {
    let value = to_array(value, primitive)
        .ok_or_else(|| ArrowError::InvalidArgumentError(format!("{value:?} is no {primitive}")))?;
    let value = Scalar::new(with_one_zero(&value));
    match comparison {
        Comparison::Equal => cmp::eq(array, &value),
        Comparison::NotEqual => cmp::neq(array, &value),
        Comparison::Less => cmp::lt(array, &value),
        Comparison::LessOrEqual => cmp::lt_eq(array, &value),
        Comparison::Greater => cmp::gt(array, &value),
        Comparison::GreaterOrEqual => cmp::gt_eq(array, &value),
    }
}

/// Arrow compares floating-point numbers by their total order, in which -0 < 0 and some NaN are less than numbers.
fn with_one_zero(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            let floats = array.as_primitive::<Float32Type>();
            std::sync::Arc::new(floats.unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v + 0.0 }))
        }
        DataType::Float64 => {
            let floats = array.as_primitive::<Float64Type>();
            std::sync::Arc::new(floats.unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v + 0.0 }))
        }
        _ => array.clone(),
    }
}

fn is_in(array: &ArrayRef, values: &[PrimitiveLiteral], primitive: &PrimitiveType) -> Result<BooleanArray, ArrowError> {
    if values.len() <= COMPARED_MAX {
        let array = with_one_zero(array);
        let none = BooleanArray::new(arrow::buffer::BooleanBuffer::new_unset(array.len()), array.logical_nulls());
        return values
            .iter()
            .try_fold(none, |sum, value| or_kleene(&sum, &compare_with(&array, Comparison::Equal, value, primitive)?));
    }
    let as_bytes = |value: &PrimitiveLiteral| match value {
        PrimitiveLiteral::UInt128(v) => PrimitiveLiteral::Binary(v.to_be_bytes().to_vec()),
        other => other.clone(),
    };
    let wanted: HashSet<PrimitiveLiteral> = values.iter().map(as_bytes).collect();
    Ok((0..array.len()).map(|row| from_array(array.as_ref(), row).map(|value| wanted.contains(&value))).collect())
}

fn nan_mask(array: &ArrayRef) -> BooleanArray {
    match array.data_type() {
        DataType::Float32 => {
            let floats = array.as_primitive::<Float32Type>();
            floats.iter().map(|value| Some(value.is_some_and(f32::is_nan))).collect()
        }
        DataType::Float64 => {
            let floats = array.as_primitive::<Float64Type>();
            floats.iter().map(|value| Some(value.is_some_and(f64::is_nan))).collect()
        }
        _ => BooleanArray::from(vec![false; array.len()]),
    }
}

fn starts_with(array: &ArrayRef, prefix: &str) -> Result<BooleanArray, ArrowError> {
    let prefix = Scalar::new(StringArray::from(vec![prefix]));
    arrow::compute::kernels::comparison::starts_with(array, &prefix)
}
