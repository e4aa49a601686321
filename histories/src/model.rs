//! What a table holds, in memory: for each snapshot its rows, and what each kind of change makes of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use frazil_table::spec::{Literal, PrimitiveLiteral, Struct};

use crate::value::Val;

/// A partition spec and a tuple of it.
pub type Partition = (i32, Struct);

/// Whether two partitions are one: a tuple keeps the types of the time when it was written, and a column of ints may have
/// become one of longs since.
fn same_partition((spec_id, tuple): &Partition, (other_id, other): &Partition) -> bool {
    let widest = |value: Option<&Literal>| match value {
        Some(Literal::Primitive(PrimitiveLiteral::Int(value))) => Some(Literal::long(i64::from(*value))),
        Some(Literal::Primitive(PrimitiveLiteral::Float(value))) => Some(Literal::double(f64::from(value.0))),
        value => value.cloned(),
    };
    spec_id == other_id && tuple.iter().map(widest).eq(other.iter().map(widest))
}

/// A row, and where it lies.
#[derive(Clone, Debug)]
pub struct Row {
    pub values: Val,
    pub file: Arc<str>,
    pub position: i64,
    pub partition: Partition,
    /// What the row is over all rewrites, if it was written into a table with row lineage. Its row id goes with it.
    pub origin: Option<u64>,
}

/// Rows by the key that no two rows ever share.
pub type Rows = BTreeMap<i64, Row>;

/// An equality delete of one tuple.
#[derive(Clone, Debug)]
pub struct Equality {
    /// The keys as paths of field ids, with their values.
    pub keys: Vec<(Vec<i32>, Val)>,
    /// The partition that it is limited to.
    pub scope: Option<Partition>,
}

impl Equality {
    fn deletes(&self, row: &Row) -> bool {
        let matches = |(path, value): &(Vec<i32>, Val)| row.values.at(path).same(value);
        self.scope.as_ref().is_none_or(|scope| same_partition(scope, &row.partition)) && self.keys.iter().all(matches)
    }
}

/// What a change that landed makes of the rows of the snapshot below it.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Rows go one by one, by equality, and others come.
    Delta { gone: Vec<i64>, equality: Vec<Equality>, added: Rows },
    /// Files go as wholes, and others come. `read`: the rows that the files had when the change was worked out.
    Overwrite { files: BTreeSet<Arc<str>>, read: BTreeSet<i64>, added: Rows },
    /// Partitions go as wholes (`None`: all of them), and rows come.
    Partitions { gone: Option<HashSet<Partition>>, added: Rows },
    /// Rows move to other files. `rebases`: what was deleted of them by position since the base is deleted there, too.
    Move { files: BTreeSet<Arc<str>>, moved: Rows, rebases: bool },
    /// Rows stay as they are; what equality deletes had taken away of files, these keys, position deletes take away now.
    Convert { hit: Vec<i64> },
    /// Rows stay as they are.
    Nothing,
}

/// Rows by snapshot.
#[derive(Debug, Default)]
pub struct Model {
    pub snapshots: HashMap<i64, Arc<Rows>>,
    /// Rows that an equality delete has hit: a rewrite that did not know may still hold them.
    deleted_by_equality: HashSet<i64>,
    /// Rows that a position delete or a deletion vector has hit.
    pub deleted_by_position: HashSet<i64>,
}

impl Model {
    pub fn rows(&self, snapshot_id: Option<i64>) -> Arc<Rows> {
        snapshot_id.map_or_else(Arc::default, |id| self.snapshots[&id].clone())
    }

    /// A change made `snapshot_id` on top of `parent_id`.
    ///
    /// The error says which promise the commit broke by landing.
    pub fn land(&mut self, snapshot_id: i64, parent_id: Option<i64>, effect: &Effect) -> Result<(), String> {
        let mut rows = self.rows(parent_id).as_ref().clone();
        match effect {
            Effect::Nothing => {}
            Effect::Convert { hit } => self.deleted_by_position.extend(hit),
            Effect::Delta { gone, equality, added } => {
                for key in gone {
                    self.deleted_by_position.insert(*key);
                    if rows.remove(key).is_none() {
                        return Err(format!("row {key} was deleted twice: an update of it would be lost"));
                    }
                }
                let hit: Vec<i64> = rows
                    .iter()
                    .filter(|(_, row)| equality.iter().any(|equality| equality.deletes(row)))
                    .map(|(key, _)| *key)
                    .collect();
                for key in hit {
                    rows.remove(&key);
                    self.deleted_by_equality.insert(key);
                }
                insert(&mut rows, added)?;
            }
            Effect::Overwrite { files, read, added } => {
                let now: BTreeSet<i64> =
                    rows.iter().filter(|(_, row)| files.contains(&row.file)).map(|(key, _)| *key).collect();
                if now != *read && !added.is_empty() {
                    return Err(format!("files were overwritten that had rows {now:?}, though {read:?} were read"));
                }
                rows.retain(|key, _| !now.contains(key));
                insert(&mut rows, added)?;
            }
            Effect::Partitions { gone, added } => {
                let goes = |row: &Row| {
                    gone.as_ref().is_none_or(|gone| gone.iter().any(|gone| same_partition(gone, &row.partition)))
                };
                rows.retain(|_, row| !goes(row));
                insert(&mut rows, added)?;
            }
            Effect::Move { files, moved, rebases } => {
                if let Some((key, _)) =
                    rows.iter().find(|(key, row)| files.contains(&row.file) && !moved.contains_key(key))
                {
                    return Err(format!("a rewrite loses row {key}"));
                }
                for (key, to) in moved {
                    // Where the version that was read is gone, a newer one of the same key may be in another file.
                    match rows.get_mut(key).filter(|row| files.contains(&row.file)) {
                        Some(row) => {
                            let origin = row.origin;
                            *row = Row { origin, ..to.clone() };
                        }
                        None if self.deleted_by_equality.contains(key) => {}
                        None if *rebases && self.deleted_by_position.contains(key) => {}
                        None => return Err(format!("a rewrite brings back row {key}")),
                    }
                }
            }
        }
        self.snapshots.insert(snapshot_id, Arc::new(rows));
        Ok(())
    }
}

fn insert(rows: &mut Rows, added: &Rows) -> Result<(), String> {
    for (key, row) in added {
        if rows.insert(*key, row.clone()).is_some() {
            return Err(format!("row {key} is there twice"));
        }
    }
    Ok(())
}
