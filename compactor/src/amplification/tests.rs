use frazil_table::Change;

use super::*;
use crate::world::{World, config};
use crate::{commit_rewrite, plan_rewrite};

async fn written(world: &World) -> (u64, u64) {
    let BytesWritten { added, rewritten } = BytesWritten::of(&world.queue.load().await.unwrap());
    (added, rewritten)
}

/// Rewrites all that is small.
async fn compact(world: &World) {
    let groups = plan_rewrite(&world.state().await, &config().packing()).unwrap().groups;
    let mut results = Vec::new();
    for group in &groups {
        results.push(world.rewrite(group).await);
    }
    commit_rewrite(&world.queue, results).await.unwrap();
}

#[tokio::test]
async fn what_writers_and_compactions_wrote_is_counted_once() {
    let world = World::new().await;
    assert_eq!(written(&world).await, (0, 0));
    assert_eq!(BytesWritten::default().amplification(), None);
    world.append(&[(Some(1), 100), (Some(2), 50)]).await;
    world.append(&[(Some(1), 100), (Some(2), 50)]).await;
    assert_eq!(written(&world).await, (300, 0));
    compact(&world).await;
    assert_eq!(written(&world).await, (300, 300));
    world.append(&[(Some(1), 40)]).await;
    compact(&world).await;
    assert_eq!(written(&world).await, (340, 540));
    let written = BytesWritten::of(&world.queue.load().await.unwrap());
    assert_eq!(written.amplification(), Some(880.0 / 340.0));
}

/// What came after a compaction had looked and before it landed is counted by the next one.
#[tokio::test]
async fn nothing_is_left_out_where_commits_cross() {
    let world = World::new().await;
    world.append(&[(Some(1), 100)]).await;
    world.append(&[(Some(1), 100)]).await;
    let before = world.queue.load().await.unwrap();
    let counted_to = before.current_snapshot().unwrap().snapshot_id();
    let total = BytesWritten::of(&before).after_rewrite(200);
    world.append(&[(Some(2), 30)]).await;
    compact(&world).await;
    assert_eq!(written(&world).await, (230, 200));
    // As a compaction says it that began before the append and that one's compaction, and landed after both.
    world.append_as(&[(Some(3), 200)], total.properties(counted_to)).await;
    assert_eq!(written(&world).await, (230, 400));
}

#[tokio::test]
async fn the_count_outlives_the_snapshots() {
    let world = World::new().await;
    for _ in 0..2 {
        world.append(&[(Some(1), 100)]).await;
    }
    compact(&world).await;
    world.append(&[(Some(1), 40)]).await;
    let table = world.queue.load().await.unwrap();
    let old: Vec<i64> = table.ancestors("main").skip(2).map(|snapshot| snapshot.snapshot_id()).collect();
    assert_eq!(old.len(), 2);
    world.commit(Change::ExpireSnapshots { snapshot_ids: old }).await;
    assert_eq!(written(&world).await, (240, 200));
}

/// What was planned at two snapshots makes two snapshots of one commit, and the newer one's count has both.
#[tokio::test]
async fn two_snapshots_of_one_commit_are_counted_once() {
    let world = World::new().await;
    let mut results = Vec::new();
    for (p, size) in [(1, 100), (2, 30)] {
        for _ in 0..2 {
            world.append(&[(Some(p), size)]).await;
        }
        let groups = plan_rewrite(&world.state().await, &config().packing()).unwrap().groups;
        results.push(world.rewrite(groups.iter().find(|group| group.bytes_in() == 2 * size).unwrap()).await);
    }
    let end = commit_rewrite(&world.queue, results).await.unwrap();
    assert_eq!(end.snapshot_ids.len(), 2);
    assert_eq!(written(&world).await, (260, 260));
    world.append(&[(Some(1), 5)]).await;
    assert_eq!(written(&world).await, (265, 260));
}
