//! Deletes that come while a rewrite runs hold after it, and the rewrite lands: nothing of it is thrown away.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use frazil_catalog::{
    Catalog, CatalogRef, CommitEnd, CommitOutcome, CommitQueue, CommitRequest, Namespace, Precheck, Result, Retry,
    TableCommit, commit,
};
use frazil_compactor::{Config, FileGroup, RewriteEnd, RewriteKind, commit_rewrite, run_verify};
use frazil_storage::{Env, Step, StepAction, Steps};
use frazil_table::evolve::{SchemaChange, SchemaStep, SpecStep};
use frazil_table::spec::{FormatVersion, NamespaceIdent, PrimitiveType, TableCreation, TableIdent, Transform};
use frazil_table::{
    Change, CommitIdentity, CommitTarget, Conflict, ManifestCache, MetadataChange, Overwrite, RemovedFiles,
    RewriteDeletes, RowDelta, Table, TableFile, Validation,
};
use futures::TryStreamExt;

use super::deletes::{compact, live_files, longs, packing, plan, queue, run};
use crate::table::world::{Row, World, append, path};

/// How rows are deleted by their places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A position delete file for each data file.
    Positions,
    /// One for the partition.
    WidePositions,
    Vectors,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Positions, Self::WidePositions, Self::Vectors];

    pub fn version(self) -> FormatVersion {
        if self == Self::Vectors { FormatVersion::V3 } else { FormatVersion::V2 }
    }

    /// Deletes rows, of each file by itself.
    pub async fn delete(self, world: &World, rows: &[(&TableFile, &[i64])]) {
        let delta = self.delta(world, rows).await;
        world.commit(&[delta]).await;
    }

    pub async fn delta(self, world: &World, rows: &[(&TableFile, &[i64])]) -> Change {
        let mut files = Vec::new();
        match self {
            Self::Positions => {
                for (of, rows) in rows {
                    files.push(world.positions(of, rows).await);
                }
            }
            Self::WidePositions => {
                let places: Vec<_> = rows.iter().flat_map(|(of, rows)| rows.iter().map(|row| (*of, *row))).collect();
                files.push(world.wide_positions(&places).await);
            }
            Self::Vectors => {
                for (of, rows) in rows {
                    let rows: Vec<u64> = rows.iter().map(|row| *row as u64).collect();
                    files.push(world.vector(of, &rows).await);
                }
            }
        }
        let validation = Validation {
            referenced_data_files: rows.iter().map(|(of, _)| path(of)).collect(),
            ..Validation::snapshot(Some(world.head().await))
        };
        Change::RowDelta(RowDelta { delete_files: files, validation, ..RowDelta::default() })
    }
}

async fn only_group(world: &World) -> FileGroup {
    let mut groups = plan(world, &packing()).await;
    assert_eq!(groups.len(), 1);
    groups.remove(0)
}

fn assert_landed(end: &RewriteEnd, rows_rebased: u64) {
    assert!(end.dropped.is_empty() && end.committed.len() == 1, "{end:?}");
    assert_eq!(end.rows_rebased, rows_rebased);
}

/// What every table has to be like after a rebase: sound, and without a file that no snapshot names.
pub async fn assert_clean(world: &World) {
    let report = run_verify(&queue(world)).await.unwrap();
    assert!(report.is_sound(), "{report}");
    let location = format!("{}/data", world.table().await.metadata().location());
    let stored: Vec<_> = world.env.store.list(&location).await.unwrap().try_collect().await.unwrap();
    let mut named = Vec::new();
    let table = world.table().await;
    for snapshot in table.metadata().snapshots() {
        let cache = ManifestCache::default();
        let state = frazil_table::io::load_state_at(
            &world.env.store,
            &cache,
            &table,
            "main",
            Some(snapshot.clone()),
            frazil_table::io::Entries::All,
        );
        let state = state.await.unwrap();
        let files = [state.live_data_files().unwrap(), state.live_delete_files().unwrap()].concat();
        named.extend(files.iter().map(|live| live.file.file_path().to_owned()));
    }
    let intents = format!("{}/metadata/frazil-intents/", world.table().await.metadata().location());
    let intents: Vec<_> = world.env.store.list(&intents).await.unwrap().try_collect().await.unwrap();
    assert_eq!(intents, [], "lists of rewrites that have ended");
    let orphans: Vec<_> = stored.iter().filter(|object| !named.contains(&object.location.to_string())).collect();
    assert!(orphans.is_empty(), "{orphans:?}");
}

/// Inputs that have lost rows already lose more while they are rewritten, by position and by equality, and a key that was
/// deleted comes again. Then the output, too, is rewritten.
#[tokio::test]
async fn what_is_deleted_while_a_rewrite_runs_stays_deleted() {
    for kind in Kind::ALL {
        let world = World::new(kind.version()).await;
        let rows = |ids: std::ops::Range<i64>| ids.map(|id| (id, 0, "a")).collect::<Vec<Row>>();
        let a = world.append(&rows(0..10)).await;
        let b = world.append(&rows(10..20)).await;
        let c = world.append(&rows(20..30)).await;
        kind.delete(&world, &[(&a, &[0, 4]), (&c, &[9])]).await;
        let delta = world.delta(vec![], vec![world.equality(&[11, 12, 13], &b).await]).await;
        world.commit(&[delta]).await;
        let group = only_group(&world).await;
        let result = run(&world, &group, &packing()).await;
        assert_eq!((result.rows_deleted, result.kind), (6, RewriteKind::Encode));

        let state = world.state().await;
        let absorbed = state.live_delete_files().unwrap();
        let removed = |of: &TableFile| -> Vec<TableFile> {
            let own = absorbed.iter().filter(|live| live.file.referenced_data_file() == Some(path(of)));
            own.map(|live| TableFile { file: live.file.clone(), partition_spec_id: 0 }).collect()
        };
        // The vector of a names again what the rewrite has left out.
        let mut delta = kind.delta(&world, &[(&a, &[0, 3, 4, 5]), (&b, &[0, 9]), (&c, &[0, 8, 9])]).await;
        if let (Kind::Vectors, Change::RowDelta(delta)) = (kind, &mut delta) {
            delta.removed_delete_files = [removed(&a), removed(&c)].concat();
        }
        world.commit(&[delta]).await;
        let delta = world.delta(vec![], vec![world.equality(&[1, 25], &b).await]).await;
        world.commit(&[delta]).await;
        world.append(&[(25, 0, "again")]).await;
        let expected = [2, 6, 7, 8, 9, 14, 15, 16, 17, 18, 21, 22, 23, 24, 25, 26, 27];
        assert_eq!(world.ids().await, expected, "{kind:?}");
        let lineage = ["id", "_row_id", "_last_updated_sequence_number"];
        let before = longs(&world, &lineage).await;

        let end = commit_rewrite(&queue(&world), vec![result]).await.unwrap();
        assert_landed(&end, 6);
        assert_eq!((world.ids().await, live_files(&world).await), (expected.to_vec(), 2), "{kind:?}");
        assert_eq!(longs(&world, &lineage).await, before, "{kind:?}");
        let summary = world.summary().await;
        assert_eq!((&*summary["frazil.compaction.rows-rebased"], &*summary["added-position-deletes"]), ("6", "6"));
        // What is carried applies to the output: its number is that of the rewrite's own snapshot.
        let state = world.state().await;
        let output = end.committed[0].outputs[0].file.file_path();
        let number = state.live_data_files_by_path().unwrap()[output].data_sequence_number;
        assert_eq!(number, group.data_sequence_number);
        let deletes = state.live_delete_files().unwrap();
        let carried: Vec<_> =
            deletes.iter().filter(|live| live.file.referenced_data_file().as_deref() == Some(output)).collect();
        assert_eq!(carried.len(), 1);
        let by_position = deletes.iter().filter(|live| live.file.equality_ids().is_none()).count();
        // Those of the inputs went with them; of one that names no file nobody can tell.
        assert_eq!(by_position, if kind == Kind::WidePositions { 2 } else { 1 }, "{kind:?}");
        let head = state.snapshot().unwrap();
        assert_eq!(carried[0].data_sequence_number, head.sequence_number());
        assert!(number < head.sequence_number());
        assert_clean(&world).await;

        compact(&world, &packing()).await;
        assert_eq!((world.ids().await, live_files(&world).await), (expected.to_vec(), 1), "{kind:?}");
        assert!(world.live_deletes().await.is_empty());
    }
}

/// Row groups that are copied as they are and rows that are written anew are counted alike: over the borders of row groups,
/// of files, and of whole batches that are gone.
#[tokio::test]
async fn rows_are_counted_over_row_groups_and_files() {
    for kind in Kind::ALL {
        for (copies, gone) in [(true, 0..0), (false, 0..0), (false, 100..17_000)] {
            let world = World::new(kind.version()).await;
            world.set_properties(&[("write.parquet.row-group-limit", "5000")]).await;
            let rows = |ids: std::ops::Range<i64>| ids.map(|id| (id, 0, "a")).collect::<Vec<Row>>();
            let a = world.append(&rows(0..20_000)).await;
            let b = world.append(&rows(20_000..33_000)).await;
            if !gone.is_empty() {
                let gone: Vec<i64> = gone.clone().collect();
                let delta = world.delta(vec![], vec![world.equality(&gone, &a).await]).await;
                world.commit(&[delta]).await;
            }
            let config = Config { row_group_size_bytes: if copies { 4 } else { 128 << 20 }, ..packing() };
            let group = only_group(&world).await;
            let result = run(&world, &group, &config).await;
            assert_eq!(result.kind == RewriteKind::Copy, copies);
            kind.delete(&world, &[(&a, &[0, 99, 4_999, 5_000, 17_000, 19_999]), (&b, &[0, 4_999, 5_000, 12_999])])
                .await;
            let deleted = [0, 99, 4_999, 5_000, 17_000, 19_999, 20_000, 24_999, 25_000, 32_999];
            let expected: Vec<i64> = (0..33_000).filter(|id| !deleted.contains(id) && !gone.contains(id)).collect();
            let end = commit_rewrite(&queue(&world), vec![result]).await.unwrap();
            assert_landed(&end, if gone.is_empty() { 10 } else { 8 });
            assert_eq!(world.ids().await, expected, "{kind:?} copied: {copies}");
            assert_clean(&world).await;
        }
    }
}

/// Outputs of several files: each gets the deletes of its own rows.
#[tokio::test]
async fn each_output_gets_the_deletes_of_its_rows() {
    for kind in Kind::ALL {
        let world = World::partitioned(kind.version()).await;
        let files = world.write(&[(1, 1, "a"), (2, 1, "a"), (1, 2, "a"), (2, 2, "a")]).await;
        world.commit(&[append(files.clone())]).await;
        let more = world.write(&[(3, 1, "b"), (3, 2, "b"), (4, 2, "b"), (1, 3, "b")]).await;
        world.commit(&[append(more.clone())]).await;
        world.append(&[(2, 3, "c")]).await;
        let in_partition = |files: &[TableFile], p: i32| {
            let is_of = |file: &&TableFile| *file.file.partition() == crate::table::world::partition(p);
            files.iter().find(is_of).unwrap().clone()
        };
        let groups = plan(&world, &packing()).await;
        assert_eq!(groups.len(), 3);
        let mut results = Vec::new();
        for group in &groups {
            results.push(run(&world, group, &packing()).await);
        }
        let one_partition = |p: i32| (in_partition(&files, p), in_partition(&more, p));
        let ((one, _), (two, two_more)) = (one_partition(1), one_partition(2));
        kind.delete(&world, &[(&one, &[1])]).await;
        kind.delete(&world, &[(&two, &[0]), (&two_more, &[1])]).await;
        // What is left of partition 3 is somebody else's by the time of the commit.
        let overwrite = Change::Overwrite(Overwrite {
            removed: RemovedFiles::Files(vec![path(&in_partition(&more, 3))]),
            added: vec![world.write_one(&[(9, 3, "d")]).await],
            validation: Validation::snapshot(Some(world.head().await)),
            properties: Default::default(),
        });
        world.commit(&[overwrite]).await;
        let expected = world.rows_of(frazil_reader::SnapshotSelector::Latest).await;
        let end = commit_rewrite(&queue(&world), results).await.unwrap();
        assert_eq!((end.committed.len(), end.rows_rebased), (2, 3), "{kind:?}: {end:?}");
        assert!(matches!(&end.dropped[..], [(group, Conflict::FileGone { .. })] if group.partition_path == "p=3"));
        assert_eq!(world.rows_of(frazil_reader::SnapshotSelector::Latest).await, expected, "{kind:?}");
        let state = world.state().await;
        let outputs: Vec<_> =
            end.committed.iter().map(|result| Some(result.outputs[0].file.file_path().to_owned())).collect();
        let deletes = state.live_delete_files().unwrap();
        let carried = deletes.iter().filter(|live| outputs.contains(&live.file.referenced_data_file()));
        let mut rows: Vec<u64> = carried.map(|live| live.file.record_count()).collect();
        rows.sort_unstable();
        assert_eq!(rows, [1, 2], "{kind:?}");
        assert_clean(&world).await;
    }
}

/// Who counts on an equality delete that came while a rewrite ran to apply to the output by its number loses it to somebody
/// who has turned it into a deletion vector meanwhile (Flink's `ConvertEqualityDeletes` does).
#[tokio::test]
async fn an_equality_delete_that_became_a_vector_meanwhile_still_deletes() {
    let world = World::new(FormatVersion::V3).await;
    let a = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    world.append(&[(3, 0, "b")]).await;
    let result = run(&world, &only_group(&world).await, &packing()).await;
    let equality = world.equality(&[2], &a).await;
    let delta = world.delta(vec![], vec![equality.clone()]).await;
    world.commit(&[delta]).await;
    let convert = RewriteDeletes {
        removed: vec![equality],
        added: vec![world.vector(&a, &[1]).await],
        validation: Validation::snapshot(Some(world.head().await)),
        ..RewriteDeletes::default()
    };
    world.commit(&[Change::RewriteDeletes(convert)]).await;
    assert_eq!(world.ids().await, [1, 3]);
    let end = commit_rewrite(&queue(&world), vec![result]).await.unwrap();
    assert_landed(&end, 1);
    assert_eq!((world.ids().await, live_files(&world).await), (vec![1, 3], 1));
}

/// Files of two partition specs are rewritten while rows of both are deleted by equality: each output stays in the reach of the
/// deletes of its own spec, which only a commit of its own can tell.
#[tokio::test]
async fn equality_deletes_reach_the_outputs_of_every_partition_spec() {
    let world = World::new(FormatVersion::V2).await;
    let old = [world.append(&[(1, 1, "a"), (2, 1, "a")]).await, world.append(&[(3, 1, "a")]).await];
    let field = SpecStep::Add { source: "p".into(), transform: Transform::Identity, name: None };
    world.evolve(MetadataChange::PartitionSpec(vec![field])).await;
    let new = [world.append(&[(4, 1, "b"), (5, 1, "b")]).await, world.append(&[(6, 1, "b")]).await];
    let groups = plan(&world, &packing()).await;
    assert_eq!(groups.iter().map(|group| group.partition_spec_id).collect::<Vec<_>>(), [0, 1]);
    let mut results = Vec::new();
    for group in &groups {
        results.push(run(&world, group, &packing()).await);
    }
    let delta = world.delta(vec![], vec![world.equality(&[2, 5], &new[0]).await]).await;
    world.commit(&[delta]).await;
    let delta = world.delta(vec![], vec![world.equality(&[3], &old[0]).await]).await;
    world.commit(&[delta]).await;
    // The delete of the partition reaches no file of the older spec.
    assert_eq!(world.ids().await, [1, 2, 4, 6]);
    let end = commit_rewrite(&queue(&world), results).await.unwrap();
    assert_eq!((end.committed.len(), end.snapshot_ids.len(), end.rebased_again), (2, 2, 0), "{end:?}");
    assert_eq!((world.ids().await, live_files(&world).await), (vec![1, 2, 4, 6], 2));
    assert_clean(&world).await;
}

/// The partition of a delete file that names no data file is compared in the types of the table as it is at the commit.
#[tokio::test]
async fn a_partition_whose_type_was_widened_meanwhile_is_found() {
    let world = World::partitioned(FormatVersion::V2).await;
    let files = [world.append(&[(1, 1, "a"), (2, 1, "a")]).await, world.append(&[(3, 1, "b")]).await];
    let result = run(&world, &only_group(&world).await, &packing()).await;
    let field_type = PrimitiveType::Long;
    let steps = vec![SchemaStep::SetType { path: "p".into(), field_type }];
    world.evolve(MetadataChange::Schema(SchemaChange { steps, ..SchemaChange::default() })).await;
    Kind::WidePositions.delete(&world, &[(&files[0], &[1])]).await;
    assert_eq!(world.ids().await, [1, 3]);
    let end = commit_rewrite(&queue(&world), vec![result]).await.unwrap();
    assert_landed(&end, 1);
    assert_eq!((world.ids().await, live_files(&world).await), (vec![1, 3], 1));
    assert_clean(&world).await;
}

/// Somebody else commits at chosen moments: before the table is loaded, or before the pointer is swapped.
#[derive(Debug)]
pub struct Busy {
    inner: CatalogRef,
    env: Env,
    cache: ManifestCache,
    /// What comes before each call; `None`: nothing.
    loads: Mutex<VecDeque<Option<Change>>>,
    commits: Mutex<VecDeque<Option<Change>>>,
}

impl Busy {
    /// A queue of a world's table; `loads` and `commits` come before the first loads and swaps.
    pub fn queue(world: &World, loads: Vec<Option<Change>>, commits: Vec<Option<Change>>) -> (Arc<Self>, CommitQueue) {
        let busy = Arc::new(Self {
            inner: world.catalog.clone(),
            env: world.env.clone(),
            cache: ManifestCache::default(),
            loads: Mutex::new(loads.into()),
            commits: Mutex::new(commits.into()),
        });
        (busy.clone(), CommitQueue::new(busy, world.env.clone(), world.ident.clone()))
    }

    /// Whether everything has come.
    pub fn is_done(&self) -> bool {
        self.commits.lock().unwrap().is_empty() && self.loads.lock().unwrap().is_empty()
    }

    async fn come_first(&self, ident: &TableIdent, script: &Mutex<VecDeque<Option<Change>>>) {
        let Some(change) = script.lock().unwrap().pop_front().flatten() else { return };
        let changes = [change];
        let request = CommitRequest {
            ident,
            target: CommitTarget::default(),
            changes: &changes,
            identity: CommitIdentity::of(&self.env, &changes),
            precheck: &|_| Precheck::Proceed,
            retry: Retry::default(),
        };
        let end = commit(self.inner.as_ref(), &self.env, &self.cache, request).await.unwrap();
        assert!(matches!(end, CommitEnd::Committed(_)), "{end:?}");
    }
}

#[async_trait]
impl Catalog for Busy {
    fn name(&self) -> String {
        "busy".to_owned()
    }

    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        self.inner.list_namespaces(parent).await
    }

    async fn create_namespace(
        &self,
        ident: &NamespaceIdent,
        properties: BTreeMap<String, String>,
    ) -> Result<Namespace> {
        self.inner.create_namespace(ident, properties).await
    }

    async fn load_namespace(&self, ident: &NamespaceIdent) -> Result<Namespace> {
        self.inner.load_namespace(ident).await
    }

    async fn update_namespace(
        &self,
        ident: &NamespaceIdent,
        updates: HashMap<String, String>,
        removals: Vec<String>,
    ) -> Result<()> {
        self.inner.update_namespace(ident, updates, removals).await
    }

    async fn drop_namespace(&self, ident: &NamespaceIdent) -> Result<()> {
        self.inner.drop_namespace(ident).await
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        self.inner.list_tables(namespace).await
    }

    async fn create_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<Table> {
        self.inner.create_table(namespace, creation).await
    }

    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        self.come_first(ident, &self.loads).await;
        self.inner.load_table(ident).await
    }

    async fn drop_table(&self, ident: &TableIdent, purge: bool) -> Result<()> {
        self.inner.drop_table(ident, purge).await
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        self.inner.rename_table(from, to).await
    }

    async fn register_table(&self, ident: &TableIdent, metadata_location: &str) -> Result<Table> {
        self.inner.register_table(ident, metadata_location).await
    }

    async fn commit(&self, commit: TableCommit) -> Result<CommitOutcome> {
        self.come_first(&commit.ident, &self.commits).await;
        self.inner.commit(commit).await
    }
}

/// The pointer moves again and again: behind the rebase, and under the swap itself, by deletes of the inputs and by commits
/// that have nothing to do with them. Each time it is rebased again, and nothing of an attempt stays.
#[tokio::test]
async fn a_commit_that_loses_is_rebased_again() {
    // A delete file that names no data file would keep the other deletes of its partition from landing.
    for kind in [Kind::Positions, Kind::Vectors] {
        let world = World::new(kind.version()).await;
        let mut files = Vec::new();
        for file in 0..4 {
            let rows: Vec<Row> = (0..5).map(|row| (file * 10 + row, 0, "a")).collect();
            files.push(world.append(&rows).await);
        }
        let result = run(&world, &only_group(&world).await, &packing()).await;
        // What each of them has to see of the others is none of its business: they delete from different files.
        let mut deletes = Vec::new();
        for file in &files {
            deletes.push(Some(kind.delta(&world, &[(file, &[1, 3])]).await));
        }
        let other = append(vec![world.write_one(&[(99, 0, "b")]).await]);
        let mut deletes = deletes.into_iter();
        let mut next = || deletes.next().unwrap();
        // Before the rebase; between it and the commit; then nothing but what comes under the swaps.
        let loads = vec![next(), next()];
        let (busy, queue) = Busy::queue(&world, loads, vec![next(), Some(other), next()]);
        let end = commit_rewrite(&queue, vec![result]).await.unwrap();
        assert_landed(&end, 8);
        assert!(busy.is_done());
        // The delete behind the rebase, and the two under swaps; the append costs a retry only.
        assert_eq!((end.rebased_again, end.retries), (3, 0), "{kind:?}");
        let mut expected: Vec<i64> = (0..4).flat_map(|file| [0, 2, 4].map(|row| file * 10 + row)).collect();
        expected.push(99);
        assert_eq!(world.ids().await, expected, "{kind:?}");
        assert_clean(&world).await;
    }
}

/// Copy-on-write takes a file away: that can't be rebased. The next plan has what is there then.
#[tokio::test]
async fn a_file_that_was_copied_on_write_is_planned_anew() {
    let world = World::new(FormatVersion::V2).await;
    let a = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let b = world.append(&[(3, 0, "b"), (4, 0, "b")]).await;
    let result = run(&world, &only_group(&world).await, &packing()).await;
    Kind::Positions.delete(&world, &[(&b, &[1])]).await;
    let overwrite = Change::Overwrite(Overwrite {
        removed: RemovedFiles::Files(vec![path(&a)]),
        added: vec![world.write_one(&[(1, 0, "c")]).await],
        validation: Validation::snapshot(Some(world.head().await)),
        properties: Default::default(),
    });
    world.commit(&[overwrite]).await;
    let end = commit_rewrite(&queue(&world), vec![result]).await.unwrap();
    assert!(matches!(&end.dropped[..], [(_, Conflict::FileGone { path: gone })] if *gone == path(&a)), "{end:?}");
    assert_clean(&world).await;
    assert_eq!(compact(&world, &packing()).await.rows_deleted, 1);
    assert_eq!((world.ids().await, live_files(&world).await), (vec![1, 3], 1));
}

/// Between the rebased deletes and the commit nothing is known of them: what fails there leaves the table as it was.
#[tokio::test]
async fn a_failure_behind_the_rebase_changes_nothing() {
    let mut world = World::new(FormatVersion::V3).await;
    let a = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    world.append(&[(3, 0, "b")]).await;
    let result = run(&world, &only_group(&world).await, &packing()).await;
    let output = result.outputs[0].file.file_path().to_owned();
    Kind::Vectors.delete(&world, &[(&a, &[0])]).await;
    world.env.steps = Steps::arm(Step::DeletesRebased, 1, StepAction::Fail);
    commit_rewrite(&queue(&world), vec![result]).await.unwrap_err();
    assert!(world.env.store.head(&output).await.unwrap_err().is_not_found(), "no commit was sent for it");
    assert_eq!((world.ids().await, live_files(&world).await), (vec![2, 3], 2));
    assert!(run_verify(&queue(&world)).await.unwrap().is_sound());
}
