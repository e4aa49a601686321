//! Conditions on leaf columns.
//!
//! The logic is SQL's: a comparison with null is neither true nor false, and a row is kept only where the condition is
//! true. Numbers that are none (NaN) are greater than every number and equal to themselves; zeros are equal whatever
//! their sign. `is_null` and `is_nan` are true or false for every row.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use frazil_table::spec::{Datum, NestedFieldRef, PrimitiveLiteral, PrimitiveType, Schema, Type};

use crate::projection::resolve;
use crate::{Error, Result};

mod bind;
mod bounds;
mod evaluate;
mod partition;

pub(crate) use bounds::{Bounds, ColumnBounds, may_match};
pub(crate) use evaluate::evaluate;
pub(crate) use partition::PartitionPredicate;

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A condition on leaf columns that are named by dotted path; leaves of lists and maps have none.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// Keeps every row.
    True,
    /// Keeps no row.
    False,
    /// All of them.
    And(Vec<Predicate>),
    /// Any of them.
    Or(Vec<Predicate>),
    /// Not so.
    Not(Box<Predicate>),
    /// A comparison with a value, which is converted to the column's type.
    Compare {
        /// The column.
        path: String,
        /// How.
        comparison: Comparison,
        /// With what.
        value: Datum,
    },
    /// Equal to any of the values.
    In {
        /// The column.
        path: String,
        /// The values.
        values: Vec<Datum>,
    },
    /// The value, or a struct around it, is null.
    IsNull(String),
    /// The value is a floating-point number that is none; false for null.
    IsNan(String),
    /// The text begins with a prefix.
    StartsWith {
        /// The column, of type string.
        path: String,
        /// What it begins with.
        prefix: String,
    },
}

impl Predicate {
    /// A comparison.
    pub fn compare(path: impl Into<String>, comparison: Comparison, value: Datum) -> Self {
        Self::Compare { path: path.into(), comparison, value }
    }

    /// `path = value`
    pub fn equal(path: impl Into<String>, value: Datum) -> Self {
        Self::compare(path, Comparison::Equal, value)
    }

    /// Both.
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::True => other,
            Self::And(mut all) => {
                all.push(other);
                Self::And(all)
            }
            first => Self::And(vec![first, other]),
        }
    }

    /// Not so.
    pub fn negate(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Finds the columns by name, converts the values to their types and resolves every `not`.
    ///
    /// # Errors
    /// [`Error::UnknownColumn`]; [`Error::InvalidPredicate`] for a value that does not fit the column's type or a
    /// column that is no leaf or lies in a list or map.
    pub fn bind(&self, schema: &Schema) -> Result<BoundPredicate> {
        bind::bind(self, schema, false)
    }
}

/// A condition that is bound to field ids, with every `not` resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum BoundPredicate {
    /// Keeps every row.
    True,
    /// Keeps no row.
    False,
    /// All of them.
    And(Vec<BoundPredicate>),
    /// Any of them.
    Or(Vec<BoundPredicate>),
    /// A test of one column.
    Test(Arc<BoundColumn>, Test),
}

/// A leaf column that a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundColumn {
    /// The leaf's field id.
    pub field_id: i32,
    /// The dotted path, for people.
    pub path: String,
    /// The leaf's type.
    pub primitive: PrimitiveType,
}

/// What is asked of one value. Null passes only `IsNull` and `NotNan`.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// A comparison with a value of the column's type.
    Compare(Comparison, PrimitiveLiteral),
    /// Equal to one of them.
    In(Vec<PrimitiveLiteral>),
    /// Not null and equal to none of them.
    NotIn(Vec<PrimitiveLiteral>),
    /// Null.
    IsNull,
    /// Not null.
    NotNull,
    /// A floating-point number that is none.
    IsNan,
    /// Anything but that.
    NotNan,
    /// Begins with.
    StartsWith(String),
    /// Not null and does not begin with.
    NotStartsWith(String),
}

impl BoundPredicate {
    /// The columns it looks at, by field id.
    pub fn columns(&self) -> BTreeMap<i32, Arc<BoundColumn>> {
        let mut columns = BTreeMap::new();
        self.collect(&mut columns);
        columns
    }

    fn collect(&self, columns: &mut BTreeMap<i32, Arc<BoundColumn>>) {
        match self {
            Self::True | Self::False => {}
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.collect(columns)),
            Self::Test(column, _) => {
                columns.insert(column.field_id, column.clone());
            }
        }
    }
}

impl Comparison {
    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl fmt::Display for BoundPredicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Self], word: &str| {
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    write!(f, " {word} ")?;
                }
                match part {
                    Self::And(_) | Self::Or(_) => write!(f, "({part})")?,
                    _ => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::True => f.write_str("true"),
            Self::False => f.write_str("false"),
            Self::And(parts) => list(f, parts, "and"),
            Self::Or(parts) => list(f, parts, "or"),
            Self::Test(column, test) => write!(f, "{} {test}", column.path),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &[PrimitiveLiteral]| values.iter().map(show).collect::<Vec<_>>().join(", ");
        match self {
            Self::Compare(comparison, value) => write!(f, "{} {}", comparison.symbol(), show(value)),
            Self::In(values) => write!(f, "in ({})", list(values)),
            Self::NotIn(values) => write!(f, "not in ({})", list(values)),
            Self::IsNull => f.write_str("is null"),
            Self::NotNull => f.write_str("is not null"),
            Self::IsNan => f.write_str("is nan"),
            Self::NotNan => f.write_str("is not nan"),
            Self::StartsWith(prefix) => write!(f, "starts with {prefix:?}"),
            Self::NotStartsWith(prefix) => write!(f, "does not start with {prefix:?}"),
        }
    }
}

fn show(value: &PrimitiveLiteral) -> String {
    match value {
        PrimitiveLiteral::Boolean(v) => v.to_string(),
        PrimitiveLiteral::Int(v) => v.to_string(),
        PrimitiveLiteral::Long(v) => v.to_string(),
        PrimitiveLiteral::Float(v) => v.to_string(),
        PrimitiveLiteral::Double(v) => v.to_string(),
        PrimitiveLiteral::String(v) => format!("{v:?}"),
        PrimitiveLiteral::Int128(v) => v.to_string(),
        other => format!("{other:?}"),
    }
}

/// The structs around a field, outermost first, and the field itself, by id. `None` for a field that is not there or lies
/// in a list or map: a row has many values of it.
pub(crate) fn struct_path(fields: &[NestedFieldRef], id: i32) -> Option<Vec<i32>> {
    fields.iter().find_map(|field| match field.field_type.as_ref() {
        _ if field.id == id => Some(vec![id]),
        Type::Struct(nested) => {
            let mut below = struct_path(nested.fields(), id)?;
            below.insert(0, field.id);
            Some(below)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests;
