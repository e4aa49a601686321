use expect_test::expect;
use frazil_storage::{StepAction, Steps};
use frazil_table::spec::FormatVersion;
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
