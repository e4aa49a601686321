//! Attempts that lost, and what they leave behind.

use std::sync::Arc;

use frazil_catalog::{CommitOutcome, TableCommit};
use frazil_table::spec::FormatVersion;
use frazil_table::{
    Change, CommitIdentity, CommitTarget, DeleteFiles, ManifestCache, PartitionFilter, PreparedCommit, RemovedFiles,
    Validation, io, plan_commit,
};

use crate::table::world::{World, append, path};

/// One commit, attempt by attempt.
struct Attempts<'a> {
    world: &'a World,
    identity: CommitIdentity,
    changes: Vec<Change>,
    written: io::WrittenManifests,
    cache: ManifestCache,
}

impl<'a> Attempts<'a> {
    fn of(world: &'a World, changes: Vec<Change>) -> Self {
        let identity = CommitIdentity::of(&world.env, &changes);
        Self { world, identity, changes, written: Default::default(), cache: ManifestCache::default() }
    }

    /// Plans and writes on the table as it is now.
    async fn prepare(&mut self) -> PreparedCommit {
        let (table, store) = (self.world.table().await, &self.world.env.store);
        let target = CommitTarget::default();
        let state = io::load_state_for(store, &self.cache, &table, &target, &self.changes).await.unwrap();
        let plan = plan_commit(&state, &self.changes, &self.identity, self.world.env.now_ms()).unwrap().unwrap();
        self.identity.attempt += 1;
        io::store_commit(&self.world.env, &self.cache, &state, &plan, &mut self.written).await.unwrap()
    }

    async fn send(&self, prepared: PreparedCommit) {
        let commit = TableCommit {
            ident: self.world.ident.clone(),
            requirements: prepared.requirements,
            updates: prepared.updates,
            idempotency_key: self.world.env.ids.uuid(),
        };
        let outcome = self.world.catalog.commit(commit).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
    }
}

/// iceberg-go#1602: what an attempt computed leaks into the next. Here: the manifest of an append is used again by the
/// second attempt, under another sequence number, but a cache still had its entries with the first one. A later rewrite
/// of the manifest wrote that number down, and a delete that was younger than the file did not apply any more, or did.
#[tokio::test]
async fn iceberg_go_1602_a_lost_attempt_leaves_no_number_in_the_cache() {
    let world = World::new(FormatVersion::V2).await;
    let first = world.append(&[(1, 0, "a")]).await;
    let (second, third) = (world.write_one(&[(2, 0, "a")]).await, world.write_one(&[(3, 0, "a")]).await);
    let mut attempts = Attempts::of(&world, vec![append(vec![second.clone(), third.clone()])]);
    let _lost = attempts.prepare().await;
    let delta = world.delta(vec![], vec![world.equality(&[2], &first).await]).await;
    world.commit(&[delta]).await;
    let prepared = attempts.prepare().await;
    attempts.send(prepared).await;
    let cache = attempts.cache;
    // The manifest is written anew from what the cache has.
    let rewrite = world.rewrite(&[&third], vec![world.write_one(&[(3, 0, "a")]).await]).await;
    let mut attempts = Attempts { cache, ..Attempts::of(&world, vec![rewrite]) };
    let prepared = attempts.prepare().await;
    attempts.send(prepared).await;
    let state = world.state().await;
    assert_eq!(state.live_data_files_by_path().unwrap()[path(&second).as_str()].data_sequence_number, 3);
    assert_eq!(world.ids().await, [1, 2, 3], "row 2 came after the delete");
}

/// iceberg#14583 and others: a retry names a manifest of an earlier attempt that has other files. The names of manifests
/// that are used again must not depend on how many others an attempt writes.
#[tokio::test]
async fn a_retry_finds_its_own_manifests_again() {
    let world = World::new(FormatVersion::V2).await;
    let files = [world.write_one(&[(2, 0, "a")]).await, world.write_one(&[(3, 0, "a")]).await];
    let everything = DeleteFiles {
        removed: RemovedFiles::Filter(Arc::new(PartitionFilter::of(&files))),
        validation: Validation::default(),
        properties: Default::default(),
    };
    let [first, second] = files.map(|file| append(vec![file]));
    let mut attempts = Attempts::of(&world, vec![Change::DeleteFiles(everything), first, second]);
    // The first attempt finds nothing to delete; the second does and writes a manifest more, before the others.
    let _lost = attempts.prepare().await;
    world.append(&[(1, 0, "a")]).await;
    let prepared = attempts.prepare().await;
    attempts.send(prepared).await;
    assert_eq!(world.ids().await, [2, 3]);
}

/// iceberg#13763, kafka-connect: the same data file is live twice.
#[tokio::test]
async fn iceberg_13763_a_live_file_is_not_added_again() {
    let world = World::new(FormatVersion::V2).await;
    let (file, other) = (world.append(&[(1, 0, "a")]).await, world.append(&[(2, 0, "a")]).await);
    let again = world.rewrite(&[&other], vec![file.clone()]).await;
    let refusal = world.refusal(&[again]).await;
    assert!(refusal.contains("is added but is live already"), "{refusal}");
    let twice = world.refusal(&[append(vec![file.clone(), file])]).await;
    assert!(twice.contains("is added twice"), "{twice}");
    assert_eq!(world.ids().await, [1, 2]);
}
