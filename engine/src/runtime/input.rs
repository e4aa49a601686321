//! Several input queues read as one, with barriers aligned.

use std::future::poll_fn;
use std::task::Poll;

use frazil_writer::SourcePositions;
use tokio::sync::mpsc;

use super::event_time::TaskTimes;
use super::message::{Barrier, Message, Rows};
use crate::{Error, Result};

/// The inputs of one task. An input whose barrier has come is not read until all others' have: what it sends after the
/// barrier belongs to the next checkpoint.
pub(super) struct AlignedInput {
    inputs: Vec<mpsc::Receiver<Message>>,
    /// The barrier that each input waits at.
    waiting: Vec<Option<Barrier>>,
    /// Where the next look begins, so that no input starves.
    turn: usize,
}

/// What the aligned inputs give.
#[derive(Debug)]
pub(super) enum Aligned {
    Rows(Rows),
    /// The barrier has come from every input; its positions are those of all of them.
    Barrier(Barrier),
}

impl AlignedInput {
    pub(super) fn new(inputs: Vec<mpsc::Receiver<Message>>) -> Self {
        let waiting = inputs.iter().map(|_| None).collect();
        Self { inputs, waiting, turn: 0 }
    }

    /// The next batch, or the next barrier once every input is at it.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if an input ends without a last barrier.
    pub(super) async fn next(&mut self) -> Result<Aligned> {
        loop {
            if self.waiting.iter().all(Option::is_some) {
                return Ok(Aligned::Barrier(self.take_barrier()));
            }
            let (index, message) = poll_fn(|context| self.poll_open_inputs(context)).await;
            match message.ok_or(Error::Cancelled)? {
                Message::Rows(rows) => return Ok(Aligned::Rows(rows)),
                Message::Barrier(barrier) => self.waiting[index] = Some(barrier),
            }
        }
    }

    fn poll_open_inputs(&mut self, context: &mut std::task::Context<'_>) -> Poll<(usize, Option<Message>)> {
        let count = self.inputs.len();
        for index in (0..count).map(|i| (self.turn + i) % count) {
            if self.waiting[index].is_some() {
                continue;
            }
            if let Poll::Ready(message) = self.inputs[index].poll_recv(context) {
                self.turn = (index + 1) % count;
                return Poll::Ready((index, message));
            }
        }
        Poll::Pending
    }

    fn take_barrier(&mut self) -> Barrier {
        let barriers: Vec<Barrier> = self.waiting.iter_mut().filter_map(Option::take).collect();
        let first = &barriers[0];
        let (checkpoint_id, is_last) = (first.checkpoint_id, first.is_last);
        assert!(
            barriers.iter().all(|barrier| barrier.checkpoint_id == checkpoint_id),
            "a coordinator begins a checkpoint only after the one before it is done"
        );
        let (mut positions, mut times) = (SourcePositions::new(), TaskTimes::new());
        for barrier in barriers {
            positions.extend(barrier.positions);
            times.extend(barrier.times);
        }
        Barrier { checkpoint_id, positions, times, is_last }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
    use frazil_writer::CheckpointId;

    use super::*;

    fn batch(value: i32) -> Message {
        let schema = Schema::new(vec![Field::new("v", DataType::Int32, false)]);
        let column = Arc::new(Int32Array::from(vec![value]));
        let batch = RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap();
        Message::Rows(Rows { batch, split: "s".into(), dead_letters: Vec::new(), records: None, sink_schema: None })
    }

    fn barrier(checkpoint: u64, split: &str) -> Message {
        let positions = SourcePositions::from([(split.to_owned(), checkpoint.to_string())]);
        Message::Barrier(Barrier {
            checkpoint_id: CheckpointId(checkpoint),
            positions,
            times: TaskTimes::new(),
            is_last: false,
        })
    }

    fn value(aligned: Aligned) -> i32 {
        let Aligned::Rows(rows) = aligned else { panic!("{aligned:?}") };
        rows.batch.column(0).as_any().downcast_ref::<Int32Array>().unwrap().value(0)
    }

    #[tokio::test]
    async fn an_input_at_its_barrier_waits_for_the_others() {
        let (a, from_a) = mpsc::channel(8);
        let (b, from_b) = mpsc::channel(8);
        let mut input = AlignedInput::new(vec![from_a, from_b]);
        a.send(barrier(1, "a")).await.unwrap();
        a.send(batch(20)).await.unwrap();
        b.send(batch(10)).await.unwrap();
        b.send(batch(11)).await.unwrap();
        b.send(barrier(1, "b")).await.unwrap();
        assert_eq!(value(input.next().await.unwrap()), 10);
        assert_eq!(value(input.next().await.unwrap()), 11);
        let Aligned::Barrier(aligned) = input.next().await.unwrap() else { panic!() };
        assert_eq!(aligned.positions.len(), 2);
        assert_eq!(value(input.next().await.unwrap()), 20);
    }

    #[tokio::test]
    async fn an_input_that_breaks_off_is_no_end() {
        let (a, from_a) = mpsc::channel(8);
        let mut input = AlignedInput::new(vec![from_a]);
        drop(a);
        assert!(matches!(input.next().await, Err(Error::Cancelled)));
    }
}
