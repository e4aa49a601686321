use std::sync::Arc;

use expect_test::expect;
use frazil_storage::{ManualClock, StepAction, Steps};
use frazil_table::spec::{FormatVersion, MAIN_BRANCH};
use futures::TryStreamExt;

use super::*;
use crate::world::{World, config};
use crate::{commit_rewrite, plan_rewrite};

const KEEP_ONE: Retention = Retention { max_snapshot_age_ms: -1, min_snapshots_to_keep: 1 };

/// Two appends with real files, and a rewrite of both.
async fn rewritten(env: Env) -> World {
    let world = World::with_env(FormatVersion::V2, env).await;
    for _ in 0..2 {
        world.append(&[(Some(1), 10)]).await;
    }
    for live in world.state().await.live_data_files().unwrap() {
        world.queue.env().store.put_new(live.file.file_path(), "x".into()).await.unwrap();
    }
    let group = plan_rewrite(&world.state().await, &config().packing()).unwrap().groups.remove(0);
    let result = world.rewrite(&group).await;
    commit_rewrite(&world.queue, vec![result]).await.unwrap();
    world
}

async fn data_files(world: &World) -> usize {
    let stored = world.queue.env().store.list("memory://w/db/t/data").await.unwrap();
    stored.try_collect::<Vec<_>>().await.unwrap().len()
}

#[tokio::test]
async fn rewritten_files_go_with_their_snapshots() {
    let world = rewritten(Env::in_memory(1)).await;
    assert_eq!(data_files(&world).await, 3);
    let plan = run_expire(&world.queue, KEEP_ONE, &[], true).await.unwrap();
    assert_eq!((plan.snapshot_ids.len(), data_files(&world).await), (2, 3), "a dry run changes nothing");
    let report = run_expire(&world.queue, KEEP_ONE, &[], false).await.unwrap();
    assert_eq!(report.snapshot_ids, plan.snapshot_ids);
    assert_eq!((report.content_files, data_files(&world).await), (2, 1));
    expect![[r#"
        2 snapshots expired; 2 data and delete files and 4 metadata files deleted
    "#]]
    .assert_eq(&report.to_string());
    assert_eq!(world.sizes().await[&Some(1)], [20]);
    let again = run_expire(&world.queue, KEEP_ONE, &[], false).await.unwrap();
    assert_eq!(again, ExpireReport::default());
}

#[tokio::test]
async fn what_is_young_or_protected_stays() {
    let world = rewritten(Env::in_memory(1)).await;
    let first =
        world.queue.load().await.unwrap().metadata().snapshots().map(|s| (s.sequence_number(), s.snapshot_id())).min();
    let report = run_expire(&world.queue, KEEP_ONE, &[first.unwrap().1], false).await.unwrap();
    assert!(report.snapshot_ids.is_empty());
    let report = run_expire(&world.queue, STREAMING_RETENTION, &[], false).await.unwrap();
    assert!(report.snapshot_ids.is_empty());
}

#[tokio::test]
async fn what_a_consumer_needs_stays_for_as_long_as_its_lease_lasts() {
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let world = rewritten(Env { clock: clock.clone(), ..Env::in_memory(1) }).await;
    let (catalog, ident) = (world.queue.catalog(), world.queue.ident());
    let member = catalog.join_consumer(ident, "c", i64::MAX).await.unwrap();
    let table = world.queue.load().await.unwrap();
    let ids: Vec<i64> = table.ancestors(MAIN_BRANCH).map(|snapshot| snapshot.snapshot_id()).collect();
    let commit = async |epoch: i64, position: String| {
        let commit = frazil_catalog::ConsumerCommit { epoch, position: Some(position) };
        catalog.commit_consumer(ident, "c", commit).await.unwrap();
    };
    for all in ["beginning".to_owned(), format!("after:{}", ids[2])] {
        commit(member.epoch, all).await;
        let report = run_expire(&world.queue, KEEP_ONE, &[], false).await.unwrap();
        assert_eq!((report.snapshot_ids.len(), report.held_by.as_slice()), (0, &["c".to_owned()][..]));
        let report = run_expire_with(&world.queue, KEEP_ONE, &[], false).await.unwrap();
        assert_eq!(report.snapshot_ids.len(), 0, "a person's expiry neither");
    }
    commit(member.epoch, format!("added:{}:0:5", ids[1])).await;
    let report = run_expire(&world.queue, KEEP_ONE, &[], true).await.unwrap();
    assert_eq!((&report.snapshot_ids, report.held_by.len()), (&ids[2..].to_vec(), 1));
    expect!["snapshots stay that consumers need: c"].assert_eq(report.to_string().lines().last().unwrap());
    catalog.join_consumer(ident, "c", 1).await.unwrap();
    clock.advance(2);
    let report = run_expire(&world.queue, KEEP_ONE, &[], false).await.unwrap();
    assert_eq!((report.snapshot_ids.len(), report.held_by.len()), (2, 0), "the lease is over");
}

/// iceberg#7937: files are deleted before the metadata that names them is.
#[tokio::test]
async fn iceberg_7937_a_crash_between_commit_and_deletion_leaves_orphans_and_a_whole_table() {
    let mut env = Env::in_memory(1);
    env.steps = Steps::arm(Step::SnapshotsExpired, 1, StepAction::Fail);
    let world = rewritten(env).await;
    run_expire(&world.queue, KEEP_ONE, &[], false).await.unwrap_err();
    assert_eq!(world.queue.load().await.unwrap().metadata().snapshots().count(), 1);
    assert_eq!(data_files(&world).await, 3);
    assert_eq!(world.sizes().await[&Some(1)], [20]);
}
