//! In which order the rows of a table are to lie: sorted by columns, or along a curve through several of them.
//!
//! A file of a clustered table must say so, or it would be rewritten again and again. A sort order that the table has under an id
//! is in the manifest (`sort_order_id`). No field of a manifest has room for any other order: there the file's name says it, as
//! [`Mark`], which outlives snapshots, and which a file loses when it is merged with others.

mod parse;
mod plan;
mod range;

use std::fmt;

use frazil_storage::Env;
use frazil_table::Table;
use frazil_table::spec::{NullOrder, SortDirection, SortOrder, Transform};

pub use self::plan::plan_clustering;
use crate::Result;

/// How rows follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterOrder {
    /// Sorted: by the first field, where it is equal by the second, and so on.
    Sort(SortOrder),
    /// By the interleaved bits of these columns, by field id.
    ZOrder(Vec<i32>),
    /// Along a Hilbert curve through these columns, by field id.
    Hilbert(Vec<i32>),
}

/// An order for the files of one run of planning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clustering {
    /// The order.
    pub order: ClusterOrder,
    /// What tells the files of this run from those of others: they do not overlap one another.
    pub run: u32,
    /// The order for a person: `zorder(a, b)`.
    text: String,
    /// The id under which the table has the order, if it is one.
    sort_order_id: Option<i32>,
    /// For each column its field id, whether the least values of a file are told by those of the column, and where nulls go.
    columns: Vec<ClusterColumn>,
}

/// A column of an order, as planning sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClusterColumn {
    pub(crate) field_id: i32,
    /// Whether bounds of the column are bounds of what rows are ordered by: not so for hashes.
    pub(crate) keeps_order: bool,
    /// Whether null comes below all values; a descending order that has nulls first has them above.
    pub(crate) nulls_are_least: bool,
}

impl Clustering {
    /// The order that `text` says: `a DESC NULLS LAST, b`, `bucket(16, a)`, `zorder(a, b)`, `hilbert(a, b)`; without text the table's
    /// own sort order.
    ///
    /// # Errors
    /// [`crate::Error::BadOption`] says which part makes no sense.
    pub fn parse(text: Option<&str>, table: &Table, env: &Env) -> Result<Self> {
        let order = parse::parse(text, table)?;
        let metadata = table.metadata();
        let schema = metadata.current_schema();
        let sort_order_id = match &order {
            ClusterOrder::Sort(sort) => {
                let known = metadata.sort_orders_iter().find(|known| known.fields == sort.fields);
                known.and_then(|known| i32::try_from(known.order_id).ok())
            }
            _ => None,
        };
        let name = |id: &i32| schema.name_by_field_id(*id).unwrap_or("?").to_owned();
        let names = |ids: &[i32]| ids.iter().map(name).collect::<Vec<_>>().join(", ");
        let text = match &order {
            ClusterOrder::Sort(sort) => sort
                .fields
                .iter()
                .map(|field| {
                    let column = name(&field.source_id);
                    let direction = match field.direction {
                        SortDirection::Ascending => "asc",
                        SortDirection::Descending => "desc",
                    };
                    let nulls = match field.null_order {
                        NullOrder::First => "nulls first",
                        NullOrder::Last => "nulls last",
                    };
                    match field.transform {
                        Transform::Identity => format!("{column} {direction} {nulls}"),
                        transform => format!("{transform}({column}) {direction} {nulls}"),
                    }
                })
                .collect::<Vec<_>>()
                .join(", "),
            ClusterOrder::ZOrder(ids) => format!("zorder({})", names(ids)),
            ClusterOrder::Hilbert(ids) => format!("hilbert({})", names(ids)),
        };
        let columns = match &order {
            ClusterOrder::Sort(sort) => {
                let column = |field: &frazil_table::spec::SortField| ClusterColumn {
                    field_id: field.source_id,
                    keeps_order: !matches!(
                        field.transform,
                        Transform::Bucket(_) | Transform::Void | Transform::Unknown
                    ),
                    nulls_are_least: (field.null_order == NullOrder::First)
                        == (field.direction == SortDirection::Ascending),
                };
                sort.fields.iter().map(column).collect()
            }
            ClusterOrder::ZOrder(ids) | ClusterOrder::Hilbert(ids) => {
                let column = |id: &i32| ClusterColumn { field_id: *id, keeps_order: true, nulls_are_least: true };
                ids.iter().map(column).collect()
            }
        };
        Ok(Self { order, run: new_run(env), text, sort_order_id, columns })
    }

    /// The same order for another run of planning.
    #[must_use]
    pub fn next(&self, env: &Env) -> Self {
        Self { run: new_run(env), ..self.clone() }
    }

    pub(crate) fn columns(&self) -> &[ClusterColumn] {
        &self.columns
    }

    pub(crate) fn sort_order_id(&self) -> Option<i32> {
        self.sort_order_id
    }

    /// Whether rows are in one sequence by one column after the other, not in cells of all of them.
    pub(crate) fn is_sort(&self) -> bool {
        matches!(self.order, ClusterOrder::Sort(_))
    }

    /// What the names of the files of this run begin with.
    pub(crate) fn file_prefix(&self) -> String {
        let Mark { order, run } = self.mark();
        format!("{CLUSTERED_PREFIX}{order:08x}-{run:08x}")
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { order: self.fingerprint(), run: self.run }
    }

    /// FNV-1a of what the order is, by field ids, which outlive renames.
    fn fingerprint(&self) -> u32 {
        let said = match &self.order {
            ClusterOrder::Sort(sort) => {
                let field = |field: &frazil_table::spec::SortField| {
                    format!("{} {} {} {:?}", field.source_id, field.transform, field.direction, field.null_order)
                };
                format!("sort {:?}", sort.fields.iter().map(field).collect::<Vec<_>>())
            }
            ClusterOrder::ZOrder(ids) => format!("zorder {ids:?}"),
            ClusterOrder::Hilbert(ids) => format!("hilbert {ids:?}"),
        };
        said.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }
}

/// The last bits of a UUID are drawn by chance.
fn new_run(env: &Env) -> u32 {
    env.ids.uuid().as_u128() as u32
}

impl fmt::Display for Clustering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

const CLUSTERED_PREFIX: &str = "frazil-cluster-";

/// What a file's name says of the order of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// A fingerprint of the order.
    pub(crate) order: u32,
    /// The run of planning that it came from. Files of one run are consecutive pieces of one sequence.
    pub(crate) run: u32,
}

impl Mark {
    /// What the name of a data file says; `None` for most.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?.strip_prefix(CLUSTERED_PREFIX)?;
        let (order, rest) = name.split_at_checked(8)?;
        let (run, rest) = rest.strip_prefix('-')?.split_at_checked(8)?;
        let number = |hex: &str| u32::from_str_radix(hex, 16).ok();
        rest.starts_with('-').then_some(Self { order: number(order)?, run: number(run)? })
    }
}

#[cfg(test)]
mod tests;
