//! Gathers the writers' shares of a checkpoint and commits them as one.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use arrow::array::RecordBatch;
use frazil_catalog::Turns;
use frazil_storage::Step;
use frazil_table::{SnapshotProperties, Table};
use frazil_writer::{
    CheckpointId, Committable, Committer, Flushed, Generation, Landed, NdvSketches, RowCounts, Sink, SinkId,
    SourcePositions, UpsertPlan, UpsertPlanner,
};
use tokio::sync::{mpsc, watch};

use super::compaction::Pace;
use super::dead_letters::DeadLetterTable;
use super::event_time::joint_watermark;
use super::evolving_sink::EvolvingSink;
use super::gather::{Gather, Gathered, PipelineShare};
use super::message::WriterShare;
use super::statistics_keeper::StatisticsKeeper;
use crate::progress::{Counters, Event, Progress};
use crate::{Error, Result};

/// The committer of a job.
pub(super) struct CommitterTask {
    pub(super) committer: Committer,
    /// One for each pipeline, in the order of the committer's sinks.
    pub(super) pipelines: Vec<CommittedPipeline>,
    pub(super) gather: Gather,
    pub(super) shares: mpsc::Receiver<WriterShare>,
    /// Told of each checkpoint that is done.
    pub(super) done: mpsc::Sender<CheckpointId>,
    pub(super) progress: Progress,
    /// One for each table that wants statistics.
    pub(super) statistics: Vec<StatisticsKeeper>,
}

/// What the committer knows of a pipeline.
pub(super) struct CommittedPipeline {
    /// Where every split goes on, those included that this run has not read from yet.
    pub(super) positions: SourcePositions,
    /// Event time up to which the stream is complete, milliseconds since the Unix epoch.
    pub(super) watermark_ms: Option<i64>,
    /// Rows behind the watermark that no snapshot counts yet.
    pub(super) late_rows: u64,
    /// Told of each commit to the table. A compaction that lags behind is told of the newest only.
    pub(super) committed: watch::Sender<Option<Table>>,
    /// Of the table's compaction.
    pub(super) pace: Pace,
    pub(super) counters: Arc<Counters>,
    /// Set if the table grows with its rows.
    pub(super) evolving: Option<Arc<EvolvingSink>>,
    /// Of a pipeline whose rows take the place of older ones.
    pub(super) upserts: Option<UpsertPlanner>,
    /// Where bad rows are put aside, and its index among the committer's sinks once it is one.
    pub(super) dead_letters: Option<(Arc<DeadLetterTable>, Option<usize>)>,
    /// Which of the tables' statistics its rows count for.
    pub(super) statistics: Option<usize>,
}

/// What is told of a commit besides where it landed.
struct Size {
    sketches: Option<NdvSketches>,
    rows: u64,
    files: u64,
    bytes: u64,
    dead_letters: u64,
    /// Keys whose rows are gone, if there were any.
    keys_deleted: usize,
    schema_version: u64,
}

impl CommitterTask {
    /// Runs until the last checkpoint is done.
    pub(super) async fn run(mut self) -> Result<()> {
        loop {
            let share = self.shares.recv().await.ok_or(Error::Cancelled)?;
            let Some(gathered) = self.gather.add(share) else { continue };
            let (checkpoint_id, is_last) = (gathered.checkpoint_id, gathered.is_last);
            self.commit(gathered).await?;
            for statistics in &mut self.statistics {
                statistics.store_if_due(is_last).await;
            }
            self.done.send(checkpoint_id).await.ok();
            if is_last {
                let checkpoint_id = self.committer.last_checkpoint().0;
                for index in 0..self.pipelines.len() {
                    let table = self.committer.queue(index).ident().to_string();
                    self.progress.tell(Event::Finished { table, checkpoint_id });
                }
                return Ok(());
            }
        }
    }

    async fn commit(&mut self, gathered: Gathered) -> Result<()> {
        let Gathered { checkpoint_id, is_last, begun, pipelines } = gathered;
        let mut flushed = Vec::with_capacity(pipelines.len());
        let mut put_aside = Vec::new();
        let mut sizes = Vec::with_capacity(pipelines.len());
        let mut generations = Vec::with_capacity(pipelines.len());
        for (index, mut share) in pipelines.into_iter().enumerate() {
            if !share.dead_letter_files.is_empty() {
                let files = std::mem::take(&mut share.dead_letter_files);
                put_aside.push((self.dead_letter_sink(index).await?, files));
            }
            share.files.extend(share.generations.iter().flat_map(|generation| generation.files.clone()));
            sizes.push(Size::of(&share));
            generations.push(std::mem::take(&mut share.generations));
            flushed.push(self.flush_pipeline(index, share, !generations[index].is_empty()).await?);
        }
        let turns = self.plan_all_deletes(&generations, &mut flushed).await?;
        flushed.resize_with(self.committer.sinks(), Flushed::default);
        for (sink, files) in put_aside {
            flushed[sink].files = files;
        }
        let landed = match self.committer.prepare(checkpoint_id, flushed, is_last).await? {
            Some(committable) => self.land(committable, &generations, turns.as_ref()).await?,
            None => Vec::new(),
        };
        drop(turns);
        for planner in self.pipelines.iter_mut().filter_map(|pipeline| pipeline.upserts.as_mut()) {
            planner.landed();
        }
        for (index, (landed, size)) in landed.into_iter().zip(sizes).enumerate() {
            match landed {
                Landed::Committed { table, snapshot_id, retries } => {
                    let commit = Commit { checkpoint_id, snapshot_id, retries, begun };
                    self.note_commit(index, table, commit, size).await;
                }
                Landed::Before(_) => self.pipelines[index].late_rows = 0,
                // What was counted waits for the next snapshot, as the positions do.
                Landed::Quiet => {}
            }
        }
        Ok(())
    }

    /// What a pipeline has for a checkpoint, without the deletes that it needs.
    async fn flush_pipeline(&mut self, index: usize, share: PipelineShare, upserts: bool) -> Result<Flushed> {
        let pipeline = &mut self.pipelines[index];
        if !share.files.is_empty() || upserts {
            pipeline.pace.wait().await;
        }
        pipeline.positions.extend(share.positions);
        let watermark_ms = joint_watermark(pipeline.watermark_ms, &share.times);
        pipeline.watermark_ms = watermark_ms;
        pipeline.late_rows += share.times.values().map(|task| task.late_rows).sum::<u64>();
        let evolution = match &pipeline.evolving {
            Some(evolving) => evolving.evolution(share.schema_version).await,
            None => None,
        };
        let positions = pipeline.positions.clone();
        let counts = RowCounts { dead_letters: share.dead_letters, late_rows: pipeline.late_rows };
        let deletes = UpsertPlan::default();
        Ok(Flushed { files: share.files, deletes, positions, watermark_ms, counts, evolution })
    }

    /// Plans the deletes of all pipelines, in turns in which they are to be committed: a compaction of this job that is done
    /// meanwhile waits, and no plan is made again because of it. `None`: nothing upserts.
    async fn plan_all_deletes(
        &mut self,
        generations: &[Vec<Generation>],
        flushed: &mut [Flushed],
    ) -> Result<Option<Turns>> {
        if generations.iter().all(Vec::is_empty) {
            return Ok(None);
        }
        let turns = self.committer.turns().await;
        for (index, generations) in generations.iter().enumerate() {
            flushed[index].deletes = self.plan_deletes(index, generations).await?;
        }
        Ok(Some(turns))
    }

    /// The deletes that a checkpoint's generations need, on the table as it is now.
    async fn plan_deletes(&mut self, index: usize, generations: &[Generation]) -> Result<UpsertPlan> {
        let queue = Arc::clone(self.committer.queue(index));
        match &mut self.pipelines[index].upserts {
            Some(planner) if !generations.is_empty() => {
                let plan = planner.plan(&queue.load().await?, generations).await?;
                if !plan.is_empty() {
                    queue.env().steps.reach(Step::DeletesWritten)?;
                }
                Ok(plan)
            }
            _ => Ok(UpsertPlan::default()),
        }
    }

    /// Commits; plans the deletes of upserting pipelines anew as long as others come first.
    async fn land(
        &mut self,
        mut committable: Committable,
        generations: &[Vec<Generation>],
        turns: Option<&Turns>,
    ) -> Result<Vec<Landed>> {
        let Some(turns) = turns else { return Ok(self.committer.commit(&committable).await?) };
        for plans_again in 0..PLANS_MAX {
            match self.committer.commit_in_turns(turns, &committable).await {
                Err(frazil_writer::Error::Stale { .. }) => {}
                landed => return Ok(landed?.into_iter().map(|landed| landed.after(plans_again)).collect()),
            }
            for (index, generations) in generations.iter().enumerate() {
                let deletes = self.plan_deletes(index, generations).await?;
                committable.replace_deletes(self.committer.sink(index), deletes);
            }
        }
        Ok(self.committer.commit_in_turns(turns, &committable).await?)
    }

    /// Tells those who wait for it of a commit.
    async fn note_commit(&mut self, index: usize, table: Table, commit: Commit, size: Size) {
        let pipeline = &mut self.pipelines[index];
        let late_rows = std::mem::take(&mut pipeline.late_rows);
        if let Some((keeper, sketches)) = pipeline.statistics.zip(size.sketches) {
            self.statistics[keeper].add(&table, commit.snapshot_id, sketches);
        }
        if let Some(evolving) = &pipeline.evolving {
            evolving.landed(size.schema_version, &table).await;
        }
        if size.rows + size.dead_letters > 0 || size.keys_deleted > 0 {
            pipeline.counters.rows_committed.fetch_add(size.rows, Relaxed);
            pipeline.counters.dead_letters.fetch_add(size.dead_letters, Relaxed);
            pipeline.counters.late_rows.fetch_add(late_rows, Relaxed);
            pipeline.counters.commits.fetch_add(1, Relaxed);
            pipeline.pace.note_commit();
            self.progress.tell(Event::Committed {
                table: self.committer.queue(index).ident().to_string(),
                checkpoint_id: commit.checkpoint_id.0,
                snapshot_id: commit.snapshot_id,
                rows: size.rows,
                files: size.files,
                bytes: size.bytes,
                dead_letters: size.dead_letters,
                late_rows,
                watermark_ms: pipeline.watermark_ms,
                elapsed_ms: u64::try_from(commit.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                retries: commit.retries,
                data_files: data_files(&table),
            });
        }
        pipeline.committed.send_replace(Some(table));
    }
}

/// Others that come first one after the other, each between a plan of deletes and its commit, before a job gives up.
const PLANS_MAX: u32 = 100;

/// A checkpoint's snapshot in a table.
struct Commit {
    checkpoint_id: CheckpointId,
    snapshot_id: i64,
    retries: u32,
    begun: Instant,
}

impl Size {
    fn of(share: &PipelineShare) -> Self {
        Self {
            sketches: share.sketches.clone(),
            rows: share.files.iter().map(|file| file.file.record_count()).sum(),
            files: share.files.len() as u64,
            bytes: share.files.iter().map(|file| file.file.file_size_in_bytes()).sum(),
            dead_letters: share.dead_letters,
            keys_deleted: share
                .generations
                .iter()
                .flat_map(|generation| &generation.deleted_keys)
                .map(RecordBatch::num_rows)
                .sum(),
            schema_version: share.schema_version,
        }
    }
}

impl CommitterTask {
    /// The dead-letter table of a pipeline as a sink of the committer.
    async fn dead_letter_sink(&mut self, pipeline: usize) -> Result<usize> {
        let dead_letters = self.pipelines[pipeline].dead_letters.as_mut();
        let (table, sink) = dead_letters.expect("only a pipeline with a dead-letter table puts rows aside");
        if let Some(sink) = sink {
            return Ok(*sink);
        }
        let id = dead_letter_sink(self.committer.sink(pipeline));
        let (queue, summary) = (Arc::clone(&table.queue), SnapshotProperties::new());
        let new = Sink { id, queue, follows: Some(pipeline), summary, definition: None };
        Ok(*sink.insert(self.committer.add_sink(new).await?))
    }
}

/// The dead-letter sink of a sink.
pub(super) fn dead_letter_sink(of: &SinkId) -> SinkId {
    SinkId { job_id: of.job_id.clone(), sink_uid: format!("{}#dead-letters", of.sink_uid) }
}

/// Live data files of a table as its current snapshot's summary says.
pub(super) fn data_files(table: &Table) -> Option<u64> {
    let summary = table.current_snapshot()?.summary();
    summary.additional_properties.get("total-data-files")?.parse().ok()
}
