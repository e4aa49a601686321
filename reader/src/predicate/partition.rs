//! A condition on rows as a condition on partition values: wherever a row matches, so does its partition
//! (Iceberg spec, "Scan Planning": inclusive projection).

use frazil_table::arrow::transform_array;
use frazil_table::spec::{PartitionSpec, PrimitiveLiteral, PrimitiveType, Struct, Transform};

use super::{BoundColumn, BoundPredicate, Comparison, Test};
use crate::literal::{compare, from_array, to_array};

/// A condition on the partition tuple of one spec.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PartitionPredicate {
    True,
    False,
    And(Vec<PartitionPredicate>),
    Or(Vec<PartitionPredicate>),
    /// A test of the field at an index of the tuple.
    Test(usize, Test),
}

impl PartitionPredicate {
    /// Projects a condition through every transform of a spec.
    pub(crate) fn project(predicate: &BoundPredicate, spec: &PartitionSpec) -> Self {
        match predicate {
            BoundPredicate::True => Self::True,
            BoundPredicate::False => Self::False,
            BoundPredicate::And(parts) => Self::And(parts.iter().map(|part| Self::project(part, spec)).collect()),
            BoundPredicate::Or(parts) => Self::Or(parts.iter().map(|part| Self::project(part, spec)).collect()),
            BoundPredicate::Test(column, test) => {
                let fields = spec.fields().iter().enumerate();
                let of_column = fields.filter(|(_, field)| field.source_id == column.field_id);
                let tests = of_column.filter_map(|(index, field)| {
                    Some(Self::Test(index, project_test(&field.transform, column, test)?))
                });
                Self::And(tests.collect())
            }
        }
    }

    /// Whether rows of a partition can match.
    pub(crate) fn may_match(&self, partition: &Struct) -> bool {
        match self {
            Self::True => true,
            Self::False => false,
            Self::And(parts) => parts.iter().all(|part| part.may_match(partition)),
            Self::Or(parts) => parts.iter().any(|part| part.may_match(partition)),
            Self::Test(index, test) => match partition.fields().get(*index) {
                None => true,
                Some(value) => test.may_pass(value.as_ref().and_then(|v| v.as_primitive_literal()).as_ref()),
            },
        }
    }
}

impl Test {
    /// Whether a value passes; values that can't be compared may.
    fn may_pass(&self, value: Option<&PrimitiveLiteral>) -> bool {
        let Some(value) = value else { return matches!(self, Self::IsNull | Self::NotNan) };
        let holds = |comparison: Comparison, other: &PrimitiveLiteral| {
            compare(value, other).is_none_or(|order| comparison.holds(order))
        };
        match self {
            Self::Compare(comparison, other) => holds(*comparison, other),
            Self::In(others) => others.iter().any(|other| holds(Comparison::Equal, other)),
            Self::NotIn(others) => others.iter().all(|other| holds(Comparison::NotEqual, other)),
            Self::IsNull => false,
            Self::NotNull => true,
            Self::IsNan => value.is_nan(),
            Self::NotNan => !value.is_nan(),
            Self::StartsWith(prefix) => match value {
                PrimitiveLiteral::String(text) => text.starts_with(prefix.as_str()),
                _ => true,
            },
            Self::NotStartsWith(prefix) => match value {
                PrimitiveLiteral::String(text) => !text.starts_with(prefix.as_str()),
                _ => true,
            },
        }
    }
}

impl Comparison {
    fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// `None`: the partition value says nothing about the test.
fn project_test(transform: &Transform, column: &BoundColumn, test: &Test) -> Option<Test> {
    if matches!(transform, Transform::Void | Transform::Unknown) {
        return None;
    }
    match test {
        Test::IsNull => return Some(Test::IsNull),
        Test::NotNull => return Some(Test::NotNull),
        _ if *transform == Transform::Identity => return Some(test.clone()),
        Test::NotNan => return None,
        _ => {}
    }
    let apply = |value: &PrimitiveLiteral| transform_value(transform, &column.primitive, value);
    let projected = match (transform, test) {
        (_, Test::Compare(Comparison::Equal, value)) => equal(transform, vec![apply(value)?]),
        (_, Test::In(values)) => equal(transform, values.iter().map(apply).collect::<Option<Vec<_>>>()?),
        (Transform::Bucket(_), _) => Test::NotNull,
        (_, Test::Compare(Comparison::Less | Comparison::LessOrEqual, value)) => {
            Test::Compare(Comparison::LessOrEqual, one_later_if_negative(transform, apply(value)?))
        }
        (_, Test::Compare(Comparison::Greater | Comparison::GreaterOrEqual, value)) => {
            Test::Compare(Comparison::GreaterOrEqual, apply(value)?)
        }
        (Transform::Truncate(width), Test::StartsWith(prefix)) => {
            if prefix.chars().count() < *width as usize {
                Test::StartsWith(prefix.clone())
            } else {
                Test::Compare(Comparison::Equal, apply(&PrimitiveLiteral::String(prefix.clone()))?)
            }
        }
        (Transform::Truncate(width), Test::NotStartsWith(prefix)) if prefix.chars().count() <= *width as usize => {
            Test::NotStartsWith(prefix.clone())
        }
        // All other tests pass only what is not null.
        _ => Test::NotNull,
    };
    Some(projected)
}

fn equal(transform: &Transform, values: Vec<PrimitiveLiteral>) -> Test {
    let mut all = values.clone();
    for value in values {
        let later = one_later_if_negative(transform, value.clone());
        if later != value {
            all.push(later);
        }
    }
    Test::In(all)
}

/// Writers before Iceberg 0.11 rounded moments before 1970 towards it, so that their partitions are one too late. A
/// condition must keep those, too.
fn one_later_if_negative(transform: &Transform, value: PrimitiveLiteral) -> PrimitiveLiteral {
    let of_time = matches!(transform, Transform::Year | Transform::Month | Transform::Day | Transform::Hour);
    match value {
        PrimitiveLiteral::Int(v) if of_time && v < 0 => PrimitiveLiteral::Int(v + 1),
        other => other,
    }
}

fn transform_value(
    transform: &Transform,
    primitive: &PrimitiveType,
    value: &PrimitiveLiteral,
) -> Option<PrimitiveLiteral> {
    let transformed = transform_array(transform, &to_array(value, primitive)?).ok()?;
    from_array(transformed.as_ref(), 0)
}
