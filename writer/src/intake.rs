//! Rows that have come and are not encoded yet.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use crate::memory::{MemoryPool, Reservation, batch_bytes};
use crate::partition::{Assignment, PartitionId};
use crate::rows::{Place, Rows};
use crate::{Error, Result};

/// Batches whose rows are ordered by partition while they are still in the caches; so the rows of a partition are a few
/// ranges, which cost little to put together however many partitions there are.
pub(crate) struct Intake {
    batches: Vec<RecordBatch>,
    /// Where the rows of each partition are, batch by batch.
    places: Vec<(PartitionId, Place)>,
    memory: Reservation,
}

pub(crate) struct Parts {
    pub parts: Vec<(PartitionId, Rows)>,
    _memory: Reservation,
}

impl Intake {
    pub fn new(pool: &MemoryPool) -> Self {
        Self { batches: Vec::new(), places: Vec::new(), memory: pool.reserve(0) }
    }

    /// Takes a batch. The rows of each partition keep their order.
    pub fn push(&mut self, batch: RecordBatch, assignment: Assignment) -> Result<()> {
        let place = |rows| Place { batch: self.batches.len() as u32, rows };
        let before = self.places.len();
        let batch = match assignment {
            Assignment::One(id) => {
                self.places.push((id, place(0..batch.num_rows() as u32)));
                batch
            }
            Assignment::Each(ids) => {
                let mut order: Vec<(PartitionId, u32)> = ids.into_iter().zip(0..).collect();
                let is_ordered = order.is_sorted();
                order.sort_unstable();
                let mut end = 0;
                for run in order.chunk_by(|(id, _), (next, _)| id == next) {
                    let start = end;
                    end += run.len() as u32;
                    self.places.push((run[0].0, place(start..end)));
                }
                match is_ordered {
                    true => batch,
                    false => {
                        let rows = UInt32Array::from_iter_values(order.into_iter().map(|(_, row)| row));
                        take_record_batch(&batch, &rows).map_err(Error::arrow("ordering rows by partition"))?
                    }
                }
            }
        };
        let places = (self.places.len() - before) * size_of::<(PartitionId, Place)>();
        self.memory.grow(batch_bytes(&batch) + places);
        self.batches.push(batch);
        Ok(())
    }

    pub fn bytes(&self) -> usize {
        self.memory.bytes()
    }

    pub fn into_parts(self) -> Parts {
        let Self { batches, mut places, memory } = self;
        places.sort_by_key(|(id, _)| *id);
        let (mut ids, mut parts): (Vec<PartitionId>, Vec<Vec<Place>>) = Default::default();
        for (id, place) in places {
            match parts.last_mut().filter(|_| ids.last() == Some(&id)) {
                Some(part) => part.push(place),
                None => {
                    ids.push(id);
                    parts.push(vec![place]);
                }
            }
        }
        Parts { parts: ids.into_iter().zip(Rows::split(batches, parts)).collect(), _memory: memory }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int32Array};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn batch(values: Vec<i32>) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int32Array::from(values));
        RecordBatch::try_from_iter([("a", column)]).unwrap()
    }

    #[test]
    fn rows_come_out_by_partition_in_the_order_in_which_they_came() {
        let pool = MemoryPool::default();
        let mut intake = Intake::new(&pool);
        intake.push(batch(vec![0, 1, 2, 3]), Assignment::Each(vec![7, 2, 7, 0])).unwrap();
        intake.push(batch(vec![4, 5]), Assignment::One(2)).unwrap();
        intake.push(batch(vec![6, 7, 8]), Assignment::Each(vec![0, 2, 7])).unwrap();
        assert_eq!(intake.bytes(), pool.used_bytes());
        let parts = intake.into_parts();
        let values = |rows: &Rows| -> Vec<i32> {
            let columns = rows.column(0).unwrap();
            columns.iter().flat_map(|column| column.as_primitive::<Int32Type>().values().to_vec()).collect()
        };
        let found: Vec<_> = parts.parts.iter().map(|(id, rows)| (*id, values(rows))).collect();
        assert_eq!(found, [(0, vec![3, 6]), (2, vec![1, 4, 5, 7]), (7, vec![0, 2, 8])]);
        drop(parts);
        assert_eq!(pool.used_bytes(), 0);
    }
}
