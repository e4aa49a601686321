//! Rows that have come and are not encoded yet.

use arrow::array::RecordBatch;

use crate::memory::{MemoryPool, Reservation, batch_bytes};
use crate::partition::{Assignment, PartitionId};
use crate::rows::Rows;

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
                // The numbers, and each column in one piece.
                memory.grow(rows.len() * size_of::<u32>() + rows.bytes());
                let (ids, numbers): (Vec<_>, Vec<_>) = number(rows.batches(), &assignments).into_iter().unzip();
                ids.into_iter().zip(rows.split(numbers)).collect()
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

/// The numbers of each partition's rows, counted over all batches. An intake has less than 4 billion rows: each takes some
/// bytes.
fn number(batches: &[RecordBatch], assignments: &[Assignment]) -> Vec<(PartitionId, Vec<u32>)> {
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
    let mut numbers: Vec<Vec<u32>> = sizes.into_iter().map(Vec::with_capacity).collect();
    let mut next = 0;
    for (batch, assignment) in batches.iter().zip(assignments) {
        let rows = next..next + batch.num_rows() as u32;
        next = rows.end;
        match assignment {
            Assignment::One(id) => numbers[*id as usize].extend(rows),
            Assignment::Each(ids) => rows.zip(ids).for_each(|(row, id)| numbers[*id as usize].push(row)),
        }
    }
    (0..).zip(numbers).filter(|(_, numbers)| !numbers.is_empty()).collect()
}
