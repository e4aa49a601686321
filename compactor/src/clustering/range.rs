//! Between which values of an order's columns the rows of a file lie, as its manifest entry tells.

use std::cmp::Ordering;
use std::collections::HashMap;

use frazil_table::spec::PrimitiveType::{Double, Float};
use frazil_table::spec::{DataFile, Datum};

use super::ClusterColumn;

/// One end of a range. Nulls lie at an end, and NaN at the upper one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Edge {
    Least,
    Value(Datum),
    Greatest,
}

impl Edge {
    /// `None` for values of two types, of which one was widened since.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        let rank = |edge: &Self| match edge {
            Self::Least => 0,
            Self::Value(_) => 1,
            Self::Greatest => 2,
        };
        match (self, other) {
            (Self::Value(a), Self::Value(b)) if a.data_type() == b.data_type() => a.partial_cmp(b),
            (Self::Value(_), Self::Value(_)) => None,
            _ => Some(rank(self).cmp(&rank(other))),
        }
    }
}

/// What a file's rows lie between in one column, both ends included.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) lower: Edge,
    pub(super) upper: Edge,
}

impl Range {
    pub(super) fn of(file: &DataFile, column: ClusterColumn) -> Self {
        let id = column.field_id;
        let all = Self { lower: Edge::Least, upper: Edge::Greatest };
        if !column.keeps_order {
            return all;
        }
        let count = |counts: &HashMap<i32, u64>| counts.get(&id).copied();
        let (nulls, nans) = (count(file.null_value_counts()), count(file.nan_value_counts()));
        let null_edge = if column.nulls_are_least { Edge::Least } else { Edge::Greatest };
        let Some((lower, upper)) = file.lower_bounds().get(&id).zip(file.upper_bounds().get(&id)) else {
            let is_null = nulls.is_some() && nulls == count(file.value_counts());
            return if is_null { Self { lower: null_edge.clone(), upper: null_edge } } else { all };
        };
        let may_have_nan = nans.map_or(matches!(lower.data_type(), Float | Double), |nans| nans > 0);
        let mut range = Self { lower: Edge::Value(lower.clone()), upper: Edge::Value(upper.clone()) };
        if may_have_nan {
            range.upper = Edge::Greatest;
        }
        if nulls != Some(0) {
            match null_edge {
                Edge::Least => range.lower = Edge::Least,
                _ => range.upper = Edge::Greatest,
            }
        }
        range
    }

    /// Whether values of both may lie in the same place.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let is_below = |a: &Edge, b: &Edge| a.compare(b) == Some(Ordering::Less);
        !is_below(&self.upper, &other.lower) && !is_below(&other.upper, &self.lower)
    }

    fn is_point(&self) -> bool {
        self.lower.compare(&self.upper) == Some(Ordering::Equal)
    }
}

/// Where a file lies in a sorted sequence: between two keys, which are compared column by column. Behind the first column in
/// which it has more than one value nothing is known of its rows by the next ones, and what is not known is left open at the
/// lower end: files that have no more than such a value in common do not overlap.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) lower: Vec<Edge>,
    pub(super) upper: Vec<Edge>,
}

impl Span {
    pub(super) fn of(ranges: &[Range]) -> Self {
        let told = ranges.iter().take_while(|range| range.is_point()).count() + 1;
        let key = |of: fn(&Range) -> &Edge| -> Vec<Edge> {
            let told = ranges.iter().take(told).map(|range| of(range).clone());
            told.chain(std::iter::repeat(Edge::Least)).take(ranges.len()).collect()
        };
        Self { lower: key(|range| &range.lower), upper: key(|range| &range.upper) }
    }

    /// As [`compare_keys`], by the lower and then the upper end.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        compare_keys(&self.lower, &other.lower).then_with(|| compare_keys(&self.upper, &other.upper))
    }
}

/// Compares two keys of files whose values [`are_comparable`].
pub(super) fn compare_keys(a: &[Edge], b: &[Edge]) -> Ordering {
    let orders = a.iter().zip(b).map(|(a, b)| a.compare(b).unwrap_or(Ordering::Equal));
    orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Whether the values of each column are of one type, and numbers: only then do spans have an order.
pub(super) fn are_comparable<'a>(spans: impl Iterator<Item = &'a Span>) -> bool {
    let mut first: HashMap<usize, &Datum> = HashMap::new();
    let mut is_comparable = true;
    for span in spans {
        for (column, edge) in span.lower.iter().enumerate().chain(span.upper.iter().enumerate()) {
            let Edge::Value(value) = edge else { continue };
            let one = first.entry(column).or_insert(value);
            is_comparable &= one.data_type() == value.data_type() && (*one).partial_cmp(value).is_some();
        }
    }
    is_comparable
}
