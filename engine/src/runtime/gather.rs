//! The writers' shares of a checkpoint, put together.

use std::time::Instant;

use frazil_table::TableFile;
use frazil_writer::{CheckpointId, Generation, NdvSketches, SourcePositions};

use super::event_time::TaskTimes;
use super::message::WriterShare;

/// Collects one share of each writer task of each pipeline. A coordinator begins a checkpoint only after the one before
/// it is done, so a share of another checkpoint than the others is a bug, and panics: it must never land with them.
#[derive(Debug)]
pub(super) struct Gather {
    /// Writer tasks of each pipeline.
    writers: Vec<usize>,
    gathered: Option<Gathered>,
    missing: Vec<usize>,
}

/// All shares of a checkpoint.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) checkpoint_id: CheckpointId,
    pub(super) is_last: bool,
    /// When the first share came.
    pub(super) begun: Instant,
    /// One for each pipeline.
    pub(super) pipelines: Vec<PipelineShare>,
}

/// What all writers of a pipeline have for a checkpoint.
#[derive(Debug, Default)]
pub(super) struct PipelineShare {
    pub(super) files: Vec<TableFile>,
    /// Of writers that upsert: the first generations of all of them, then the second ones, and so on. No two writers have
    /// rows of one key.
    pub(super) generations: Vec<Generation>,
    /// Of the rows in the files, where the table wants them.
    pub(super) sketches: Option<NdvSketches>,
    /// The newest version of the sink's schema that any of the files has.
    pub(super) schema_version: u64,
    pub(super) dead_letter_files: Vec<TableFile>,
    pub(super) dead_letters: u64,
    /// Of the splits that were read in this run.
    pub(super) positions: SourcePositions,
    pub(super) times: TaskTimes,
}

impl Gather {
    pub(super) fn new(writers: Vec<usize>) -> Self {
        Self { missing: writers.clone(), writers, gathered: None }
    }

    /// Takes a share; all of them once it was the last one.
    pub(super) fn add(&mut self, share: WriterShare) -> Option<Gathered> {
        let pipelines = self.writers.len();
        let gathered = self.gathered.get_or_insert_with(|| Gathered {
            checkpoint_id: share.checkpoint_id,
            is_last: share.is_last,
            begun: Instant::now(),
            pipelines: (0..pipelines).map(|_| PipelineShare::default()).collect(),
        });
        assert_eq!(gathered.checkpoint_id, share.checkpoint_id, "a share of another checkpoint than the others");
        let missing = &mut self.missing[share.pipeline];
        *missing = missing.checked_sub(1).expect("a writer task sends one share for each checkpoint");
        let pipeline = &mut gathered.pipelines[share.pipeline];
        pipeline.files.extend(share.files);
        for (nth, generation) in share.generations.into_iter().enumerate() {
            match pipeline.generations.get_mut(nth) {
                Some(first) => first.extend(generation),
                None => pipeline.generations.push(generation),
            }
        }
        unite(&mut pipeline.sketches, share.sketches);
        pipeline.schema_version = pipeline.schema_version.max(share.schema_version);
        pipeline.dead_letter_files.extend(share.dead_letter_files);
        pipeline.dead_letters += share.dead_letters;
        pipeline.positions.extend(share.positions);
        pipeline.times.extend(share.times);
        if self.missing.iter().any(|missing| *missing > 0) {
            return None;
        }
        self.missing.clone_from(&self.writers);
        self.gathered.take()
    }
}

/// Makes sketches those of more rows, if there are any more.
pub(super) fn unite(all: &mut Option<NdvSketches>, more: Option<NdvSketches>) {
    match (all, more) {
        (Some(all), Some(more)) => all.unite(&more),
        (all, more) => *all = all.take().or(more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(pipeline: usize, checkpoint: u64, split: &str) -> WriterShare {
        WriterShare {
            pipeline,
            checkpoint_id: CheckpointId(checkpoint),
            files: Vec::new(),
            generations: Vec::new(),
            sketches: None,
            schema_version: 0,
            dead_letter_files: Vec::new(),
            dead_letters: 0,
            positions: SourcePositions::from([(split.to_owned(), checkpoint.to_string())]),
            times: TaskTimes::new(),
            is_last: false,
        }
    }

    #[test]
    fn b7_a_checkpoint_is_whole_when_every_writer_has_sent_its_share() {
        let mut gather = Gather::new(vec![2, 1]);
        for checkpoint in 1..=3 {
            assert!(gather.add(share(0, checkpoint, "a")).is_none());
            assert!(gather.add(share(1, checkpoint, "b")).is_none());
            let gathered = gather.add(share(0, checkpoint, "c")).expect("it was the last one");
            assert_eq!(gathered.checkpoint_id, CheckpointId(checkpoint));
            assert_eq!(gathered.pipelines[0].positions.keys().collect::<Vec<_>>(), ["a", "c"]);
            assert_eq!(gathered.pipelines[1].positions.keys().collect::<Vec<_>>(), ["b"]);
        }
    }

    #[test]
    #[should_panic(expected = "another checkpoint")]
    fn b7_a_late_share_never_lands_in_the_next_checkpoint() {
        let mut gather = Gather::new(vec![2]);
        gather.add(share(0, 2, "a"));
        gather.add(share(0, 1, "b"));
    }

    #[test]
    #[should_panic(expected = "one share for each checkpoint")]
    fn b7_a_share_that_comes_twice_is_no_other_writers() {
        let mut gather = Gather::new(vec![1, 1]);
        gather.add(share(0, 1, "a"));
        gather.add(share(0, 1, "a"));
    }
}
