//! Runs of a sink on a real catalog, with everything that may come between two checkpoints.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use frazil_catalog::{Catalog, CommitEnd, CommitOutcome, CommitQueue, Precheck, SqlCatalog, TableCommit};
use frazil_storage::{Env, StepAction, Steps, SystemClock};
use frazil_table::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, MAIN_BRANCH, NamespaceIdent, NestedField, PrimitiveType, Schema,
    SnapshotReference, SnapshotRetention, Struct, TableCreation, TableIdent, TableRequirement, TableUpdate, Type,
};
use frazil_table::{Change, CommitIdentity, Retention, SnapshotProperties, TableFile};

use super::*;

struct World {
    env: Env,
    catalog: Arc<SqlCatalog>,
    ident: TableIdent,
}

impl World {
    async fn new() -> Self {
        // The metadata builder looks at the machine's clock, so the world does too.
        let env = Env { clock: Arc::new(SystemClock), ..Env::in_memory(3) };
        let catalog = Arc::new(SqlCatalog::in_memory(env.clone(), "memory://w").await.unwrap());
        let namespace = NamespaceIdent::new("db".to_owned());
        catalog.create_namespace(&namespace, BTreeMap::new()).await.unwrap();
        let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
        let schema = Schema::builder().with_fields([id.into()]).build().unwrap();
        let creation = TableCreation::builder().name("t".to_owned()).schema(schema).build();
        let table = catalog.create_table(&namespace, creation).await.unwrap();
        Self { env, catalog, ident: table.ident().clone() }
    }

    async fn run(&self) -> Result<(Run, Recovered)> {
        self.run_with(Steps::none()).await
    }

    async fn run_with(&self, steps: Steps) -> Result<(Run, Recovered)> {
        let (run, mut recovered) = Committer::recover(vec![self.sink(steps)]).await?;
        Ok((Run(run), recovered.pop().unwrap()))
    }

    fn sink(&self, steps: Steps) -> Sink {
        let env = Env { steps, ..self.env.clone() };
        let queue = CommitQueue::new(self.catalog.clone(), env, self.ident.clone());
        Sink { id: sink(), queue: Arc::new(queue), follows: None, summary: SnapshotProperties::new(), definition: None }
    }

    async fn table(&self) -> Table {
        self.catalog.load_table(&self.ident).await.unwrap()
    }

    /// Data files in the table, by name.
    async fn files(&self) -> Vec<String> {
        let cache = frazil_table::ManifestCache::default();
        let table = self.table().await;
        let entries = frazil_table::io::Entries::All;
        let state = frazil_table::io::load_state(&self.env.store, &cache, &table, entries).await.unwrap();
        let live = state.live_data_files().unwrap();
        let mut names: Vec<_> = live.iter().map(|live| live.file.file_path().to_owned()).collect();
        names.sort();
        names
    }

    async fn foreign_append(&self, name: &str) {
        let queue = CommitQueue::new(self.catalog.clone(), self.env.clone(), self.ident.clone());
        let change = Change::Append { files: vec![file(name)], properties: BTreeMap::new() };
        let identity = CommitIdentity::draw(&self.env, 1);
        let end = queue.commit(&[change], identity, &|_| Precheck::Proceed).await.unwrap();
        assert!(matches!(end, CommitEnd::Committed(_)));
    }

    async fn update(&self, updates: Vec<TableUpdate>) {
        let commit = TableCommit {
            ident: self.ident.clone(),
            requirements: vec![TableRequirement::UuidMatch { uuid: self.table().await.metadata().uuid() }],
            updates,
            idempotency_key: self.env.ids.uuid(),
        };
        let outcome = self.catalog.commit(commit).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
    }

    async fn roll_back_to(&self, snapshot_id: i64) {
        let retention = SnapshotRetention::branch(None, None, None);
        let reference = SnapshotReference::new(snapshot_id, retention);
        self.update(vec![TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_owned(), reference }]).await;
    }

    async fn expire_all_but_newest(&self) {
        let table = self.table().await;
        let keep_one = Retention { max_snapshot_age_ms: -1, min_snapshots_to_keep: 1 };
        let plan = frazil_table::plan_expire(&table, keep_one, &[], i64::MAX);
        self.update(vec![TableUpdate::RemoveSnapshots { snapshot_ids: plan.snapshot_ids }]).await;
    }
}

/// A committer of one sink.
#[derive(Debug)]
struct Run(Committer);

impl Run {
    async fn commit(&mut self, checkpoint: Checkpoint) -> Result<Landed> {
        match self.0.prepare(checkpoint.id, vec![checkpoint.flushed], false).await? {
            None => Ok(Landed::Quiet),
            Some(committable) => Ok(self.0.commit(&committable).await?.remove(0)),
        }
    }
}

struct Checkpoint {
    id: CheckpointId,
    flushed: Flushed,
}

fn sink() -> SinkId {
    SinkId { job_id: "job".to_owned(), sink_uid: "db.t".to_owned() }
}

fn file(name: &str) -> TableFile {
    let file = DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(name.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .record_count(1)
        .file_size_in_bytes(1)
        .build()
        .unwrap();
    TableFile { file, partition_spec_id: 0 }
}

fn at(offset: u64) -> SourcePositions {
    SourcePositions::from([("topic/0".to_owned(), offset.to_string())])
}

fn checkpoint(id: u64) -> Checkpoint {
    let files = vec![file(&format!("f{id}"))];
    Checkpoint { id: CheckpointId(id), flushed: Flushed { files, positions: at(id * 10), ..Flushed::default() } }
}

fn quiet(id: u64) -> Checkpoint {
    with(id, Vec::new(), at(id * 10))
}

fn with(id: u64, files: Vec<TableFile>, positions: SourcePositions) -> Checkpoint {
    Checkpoint { id: CheckpointId(id), flushed: Flushed { files, positions, ..Flushed::default() } }
}

fn stands_at(recovered: &Recovered) -> Option<(u64, &SourcePositions)> {
    recovered.ledger.as_ref().map(|ledger| (ledger.checkpoint_id.0, &ledger.positions))
}

#[tokio::test]
async fn a_new_run_goes_on_where_the_last_one_stopped() {
    let world = World::new().await;
    let (mut run, recovered) = world.run().await.unwrap();
    assert_eq!(recovered, Recovered { ledger: None, rolled_back_from: None });
    for id in 1..=3 {
        assert!(matches!(run.commit(checkpoint(id)).await.unwrap(), Landed::Committed { .. }));
        world.foreign_append(&format!("foreign{id}")).await;
    }
    let (run, recovered) = world.run().await.unwrap();
    assert_eq!(stands_at(&recovered), Some((3, &at(30))));
    assert_eq!(run.0.epoch(), FencingEpoch(2));
    assert_eq!(world.files().await, ["f1", "f2", "f3", "foreign1", "foreign2", "foreign3"]);
}

/// iceberg#17551, #16282: a coordinator that was believed dead commits, and what its successor reads again is lost or
/// there twice.
#[tokio::test]
async fn iceberg_17551_a_zombie_can_not_commit() {
    let world = World::new().await;
    let (mut zombie, _) = world.run().await.unwrap();
    let _ = zombie.commit(checkpoint(1)).await.unwrap();
    let (mut run, _) = world.run().await.unwrap();
    let error = zombie.commit(checkpoint(2)).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
    let _ = run.commit(checkpoint(2)).await.unwrap();
    assert_eq!(world.files().await, ["f1", "f2"]);
}

#[tokio::test]
async fn of_runs_that_start_together_one_is_left() {
    let world = World::new().await;
    let runs = futures::future::join_all((0..4).map(|_| world.run())).await;
    let mut left = 0;
    for run in runs {
        let Ok((mut run, _)) = run else { continue };
        left += usize::from(run.commit(checkpoint(1)).await.is_ok());
    }
    assert_eq!(left, 1);
    assert_eq!(world.files().await, ["f1"]);
}

/// iceberg#15846: part of a checkpoint's files come late, and land with the next checkpoint or never.
#[tokio::test]
async fn iceberg_15846_stopped_at_any_step_a_checkpoint_lands_once() {
    let landed = [Step::PointerSwapped, Step::CheckpointCommitted];
    let lost = [Step::ManifestsWritten, Step::ManifestListWritten, Step::MetadataWritten];
    for step in landed.into_iter().chain(lost) {
        let world = World::new().await;
        let (mut run, _) = world.run().await.unwrap();
        let _ = run.commit(checkpoint(1)).await.unwrap();
        // The fence is a commit too, so the checkpoint is the second time; it has no step of its own at its end.
        let nth = if step == Step::CheckpointCommitted { 1 } else { 2 };
        let (mut run, _) = world.run_with(Steps::arm(step, nth, StepAction::Fail)).await.unwrap();
        let stopped = run.commit(checkpoint(2)).await;
        if step == Step::MetadataWritten {
            // The catalog has a world of its own, in which nothing is armed.
            let _ = stopped.unwrap();
        } else {
            stopped.unwrap_err();
        }
        let (mut run, recovered) = world.run().await.unwrap();
        let is_there = !lost.contains(&step) || step == Step::MetadataWritten;
        let expected = if is_there { 2 } else { 1 };
        assert_eq!(stands_at(&recovered), Some((expected, &at(expected * 10))), "{step}");
        for id in expected + 1..=3 {
            let _ = run.commit(checkpoint(id)).await.unwrap();
        }
        assert_eq!(world.files().await, ["f1", "f2", "f3"], "{step}");
    }
}

#[tokio::test]
async fn positions_without_rows_wait_but_not_for_ever() {
    let world = World::new().await;
    let (mut run, _) = world.run().await.unwrap();
    let _ = run.commit(checkpoint(1)).await.unwrap();
    let snapshots = world.table().await.metadata().snapshots().len();
    for id in 2..11 {
        assert!(matches!(run.commit(quiet(id)).await.unwrap(), Landed::Quiet), "{id}");
    }
    assert_eq!(world.table().await.metadata().snapshots().len(), snapshots);
    assert!(matches!(run.commit(quiet(11)).await.unwrap(), Landed::Committed { .. }));
    // Positions that do not move are never worth a commit.
    for id in 12..40 {
        let still = with(id, Vec::new(), at(110));
        assert!(matches!(run.commit(still).await.unwrap(), Landed::Quiet), "{id}");
    }
    let (_, recovered) = world.run().await.unwrap();
    assert_eq!(stands_at(&recovered), Some((11, &at(110))));
}

#[tokio::test]
async fn many_positions_go_into_a_state_manifest() {
    let world = World::new().await;
    let (mut run, _) = world.run().await.unwrap();
    let many: SourcePositions = (0..1_000).map(|i| (format!("topic/{i}"), i.to_string())).collect();
    let _ = run.commit(with(1, vec![file("f1")], many.clone())).await.unwrap();
    let summary_bytes = serde_json::to_vec(world.table().await.current_snapshot().unwrap().summary()).unwrap();
    assert!(summary_bytes.len() < 4 << 10);
    let (_, recovered) = world.run().await.unwrap();
    assert_eq!(stands_at(&recovered), Some((1, &many)));
}

/// iceberg#10892: sources go on where they stood though the table was set back, and the rows between are lost.
#[tokio::test]
async fn iceberg_10892_a_rollback_rewinds_the_sources() {
    let world = World::new().await;
    let (mut run, _) = world.run().await.unwrap();
    let mut snapshots = HashMap::new();
    for id in 1..=3 {
        let Landed::Committed { snapshot_id, .. } = run.commit(checkpoint(id)).await.unwrap() else { panic!() };
        snapshots.insert(id, snapshot_id);
    }
    world.roll_back_to(snapshots[&1]).await;
    let error = run.commit(checkpoint(4)).await.unwrap_err();
    assert!(error.to_string().contains("rolled back"), "{error}");
    let (mut run, recovered) = world.run().await.unwrap();
    assert_eq!(recovered.rolled_back_from, Some(CheckpointId(3)));
    let ledger = recovered.ledger.unwrap();
    assert_eq!((ledger.checkpoint_id, ledger.positions), (CheckpointId(3), at(10)), "new numbers, old positions");
    let _ = run.commit(checkpoint(4)).await.unwrap();
    assert_eq!(world.files().await, ["f1", "f4"]);
}

#[tokio::test]
async fn a_rollback_to_before_the_first_commit_starts_from_the_start() {
    let world = World::new().await;
    world.foreign_append("foreign").await;
    let before = world.table().await.current_snapshot().unwrap().snapshot_id();
    let (mut run, _) = world.run().await.unwrap();
    let _ = run.commit(checkpoint(1)).await.unwrap();
    world.roll_back_to(before).await;
    let (_, recovered) = world.run().await.unwrap();
    assert_eq!(recovered, Recovered { ledger: None, rolled_back_from: Some(CheckpointId(1)) });
}

#[tokio::test]
async fn an_expired_ledger_is_read_from_its_mirror() {
    let world = World::new().await;
    let (mut run, _) = world.run().await.unwrap();
    let _ = run.commit(checkpoint(1)).await.unwrap();
    world.foreign_append("foreign").await;
    world.expire_all_but_newest().await;
    assert_eq!(world.table().await.metadata().snapshots().len(), 1);
    let (mut run, recovered) = world.run().await.unwrap();
    assert_eq!(stands_at(&recovered), Some((1, &at(10))));
    let _ = run.commit(checkpoint(2)).await.unwrap();
    assert_eq!(world.files().await, ["f1", "f2", "foreign"]);
}

#[tokio::test]
async fn what_can_not_be_decided_is_refused() {
    let world = World::new().await;
    world.foreign_append("foreign1").await;
    world.foreign_append("foreign2").await;
    let before = world.table().await.current_snapshot().unwrap().snapshot_id();
    let (mut run, _) = world.run().await.unwrap();
    let _ = run.commit(checkpoint(1)).await.unwrap();
    let oldest = world.table().await.ancestors(MAIN_BRANCH).last().unwrap().snapshot_id();
    world.roll_back_to(before).await;
    // The history ends before anything of the sink could have been, and its newest snapshot is listed off the branch.
    world.update(vec![TableUpdate::RemoveSnapshots { snapshot_ids: vec![oldest] }]).await;
    let error = world.run().await.unwrap_err();
    assert!(matches!(error, Error::Undecidable { .. }), "{error}");
}

mod deletes;
mod evolving;
mod invariants;
mod together;
