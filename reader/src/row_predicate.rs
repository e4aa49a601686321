//! Predicates as the conditions of overwrites and deletes: what a file's metadata says of its rows, both ways.

use std::collections::HashMap;
use std::fmt;

use frazil_table::spec::{DataFile, PartitionSpec};
use frazil_table::{RowFilter, Table};

use crate::predicate::{PartitionPredicate, may_match};
use crate::{BoundPredicate, Predicate, Result, Test};

/// A predicate that is bound to a table's schema and knows its partition specs.
#[derive(Debug)]
pub struct RowPredicate {
    predicate: BoundPredicate,
    specs: HashMap<i32, PartitionSpec>,
}

impl RowPredicate {
    /// Binds a predicate to a table's current schema.
    ///
    /// # Errors
    /// As [`Predicate::bind`].
    pub fn new(table: &Table, predicate: &Predicate) -> Result<Self> {
        let metadata = table.metadata();
        let specs = metadata.partition_specs_iter().map(|spec| (spec.spec_id(), spec.as_ref().clone()));
        Ok(Self { predicate: predicate.bind(metadata.current_schema())?, specs: specs.collect() })
    }

    fn may(&self, predicate: &BoundPredicate, file: &DataFile, partition_spec_id: i32) -> bool {
        let by_partition = self
            .specs
            .get(&partition_spec_id)
            .is_none_or(|spec| PartitionPredicate::project(predicate, spec).may_match(file.partition()));
        by_partition && may_match(predicate, file)
    }

    /// Each part by itself: one may hold by the partition and another by the bounds.
    fn all(&self, predicate: &BoundPredicate, file: &DataFile, partition_spec_id: i32) -> bool {
        match predicate {
            BoundPredicate::True => true,
            BoundPredicate::False => false,
            BoundPredicate::And(parts) => parts.iter().all(|part| self.all(part, file, partition_spec_id)),
            BoundPredicate::Or(parts) => {
                let any = parts.iter().any(|part| self.all(part, file, partition_spec_id));
                any || !self.may(&not_true(predicate), file, partition_spec_id)
            }
            BoundPredicate::Test(..) => {
                // Not at once: the partition may rule out the null, the bounds the other values.
                let BoundPredicate::Or(parts) = not_true(predicate) else {
                    return !self.may(&not_true(predicate), file, partition_spec_id);
                };
                !parts.iter().any(|part| self.may(part, file, partition_spec_id))
            }
        }
    }
}

impl RowFilter for RowPredicate {
    fn may_match(&self, file: &DataFile, partition_spec_id: i32) -> bool {
        self.may(&self.predicate, file, partition_spec_id)
    }

    fn all_match(&self, file: &DataFile, partition_spec_id: i32) -> bool {
        self.all(&self.predicate, file, partition_spec_id)
    }
}

impl fmt::Display for RowPredicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.predicate.fmt(f)
    }
}

/// What is true of exactly the rows of which the condition is false or unknown.
fn not_true(predicate: &BoundPredicate) -> BoundPredicate {
    let test = |test: Test| match predicate {
        BoundPredicate::Test(column, _) => BoundPredicate::Test(column.clone(), test),
        _ => unreachable!("only tests are tested"),
    };
    let or_null = |other: Test| BoundPredicate::Or(vec![test(other), test(Test::IsNull)]);
    match predicate {
        BoundPredicate::True => BoundPredicate::False,
        BoundPredicate::False => BoundPredicate::True,
        BoundPredicate::And(parts) => BoundPredicate::Or(parts.iter().map(not_true).collect()),
        BoundPredicate::Or(parts) => BoundPredicate::And(parts.iter().map(not_true).collect()),
        BoundPredicate::Test(_, Test::IsNull) => test(Test::NotNull),
        BoundPredicate::Test(_, Test::NotNull) => test(Test::IsNull),
        BoundPredicate::Test(_, Test::IsNan) => test(Test::NotNan),
        BoundPredicate::Test(_, Test::NotNan) => test(Test::IsNan),
        BoundPredicate::Test(_, Test::Compare(comparison, value)) => {
            or_null(Test::Compare(comparison.negated(), value.clone()))
        }
        BoundPredicate::Test(_, Test::In(values)) => or_null(Test::NotIn(values.clone())),
        BoundPredicate::Test(_, Test::NotIn(values)) => or_null(Test::In(values.clone())),
        BoundPredicate::Test(_, Test::StartsWith(prefix)) => or_null(Test::NotStartsWith(prefix.clone())),
        BoundPredicate::Test(_, Test::NotStartsWith(prefix)) => or_null(Test::StartsWith(prefix.clone())),
    }
}

#[cfg(test)]
mod tests;
