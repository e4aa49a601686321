//! Rows that have come and are not encoded yet.

use arrow::array::RecordBatch;

use crate::memory::{MemoryPool, Reservation, batch_bytes};
use crate::partition::{Assignment, PartitionId};
use crate::rows::{Pick, Rows};

/// Batches as they came, with the partition of each row.
pub(crate) struct Intake {
    batches: Vec<RecordBatch>,
    assignments: Vec<Assignment>,
    memory: Reservation,
}

/// The rows of an intake by partition, in the order of the partitions' numbers; rows of a partition in the order in which
/// they came.
pub(crate) struct Parts {
    pub parts: Vec<(PartitionId, Rows)>,
    /// All of the batches, and where their rows are.
    _memory: Reservation,
}

impl Intake {
    pub fn new(pool: &MemoryPool) -> Self {
        Self { batches: Vec::new(), assignments: Vec::new(), memory: pool.reserve(0) }
    }

    pub fn push(&mut self, batch: RecordBatch, assignment: Assignment) {
        let ids = match &assignment {
            Assignment::One(_) => 0,
            Assignment::Each(ids) => size_of_val(ids.as_slice()),
        };
        self.memory.grow(batch_bytes(&batch) + ids);
        self.batches.push(batch);
        self.assignments.push(assignment);
    }

    pub fn bytes(&self) -> usize {
        self.memory.bytes()
    }

    pub fn into_parts(self) -> Parts {
        let Self { batches, assignments, mut memory } = self;
        let rows = Rows::all(batches);
        let parts = match single(&assignments) {
            Some(None) => Vec::new(),
            Some(Some(id)) => vec![(id, rows)],
            None => {
                memory.grow(rows.len() * size_of::<Pick>());
                let picks = pick(rows.batches(), &assignments);
                picks.into_iter().map(|(id, picks)| (id, rows.pick(picks))).collect()
            }
        };
        Parts { parts, _memory: memory }
    }
}

/// The one partition of all rows; `None` if there are several.
fn single(assignments: &[Assignment]) -> Option<Option<PartitionId>> {
    let mut single = None;
    for assignment in assignments {
        let Assignment::One(id) = assignment else { return None };
        if single.is_some_and(|single| single != id) {
            return None;
        }
        single = Some(id);
    }
    Some(single.copied())
}

fn pick(batches: &[RecordBatch], assignments: &[Assignment]) -> Vec<(PartitionId, Vec<Pick>)> {
    let last = assignments.iter().map(|assignment| match assignment {
        Assignment::One(id) => *id,
        Assignment::Each(ids) => ids.iter().copied().max().unwrap_or(0),
    });
    let count = last.max().map_or(0, |last| last as usize + 1);
    let mut sizes = vec![0; count];
    for (batch, assignment) in batches.iter().zip(assignments) {
        match assignment {
            Assignment::One(id) => sizes[*id as usize] += batch.num_rows(),
            Assignment::Each(ids) => ids.iter().for_each(|id| sizes[*id as usize] += 1),
        }
    }
    let mut picks: Vec<Vec<Pick>> = sizes.into_iter().map(Vec::with_capacity).collect();
    for (index, (batch, assignment)) in batches.iter().zip(assignments).enumerate() {
        match assignment {
            Assignment::One(id) => picks[*id as usize].extend((0..batch.num_rows()).map(|row| (index, row))),
            Assignment::Each(ids) => {
                for (row, id) in ids.iter().enumerate() {
                    picks[*id as usize].push((index, row));
                }
            }
        }
    }
    (0..).zip(picks).filter(|(_, picks)| !picks.is_empty()).collect()
}
