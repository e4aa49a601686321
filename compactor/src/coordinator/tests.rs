use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::world::{World, config};
use crate::{commit_rewrite, load_delta, plan_rewrite};

async fn follow(world: &World, coordinator: &mut Coordinator) -> Vec<FileGroup> {
    let table = world.queue.load().await.unwrap();
    let delta = load_delta(&world.queue, &table, coordinator.snapshot_id()).await.unwrap().unwrap();
    coordinator.on_commit(&delta).unwrap()
}

async fn rewrite(world: &World, coordinator: &mut Coordinator, groups: Vec<FileGroup>) {
    let mut results = Vec::new();
    for group in &groups {
        results.push(world.rewrite(group).await);
    }
    let end = commit_rewrite(&world.queue, results).await.unwrap();
    assert!(end.dropped.is_empty());
    groups.iter().for_each(|group| coordinator.on_end(group));
}

#[tokio::test]
async fn plans_after_every_third_commit_whoever_made_it() {
    let world = World::new().await;
    let mut coordinator = Coordinator::new(&world.state().await, &config()).unwrap();
    let mut planned = Vec::new();
    for commit in 1..=9 {
        world.append(&[(Some(1), 10)]).await;
        let groups = follow(&world, &mut coordinator).await;
        if !groups.is_empty() {
            planned.push(commit);
            rewrite(&world, &mut coordinator, groups).await;
            assert!(follow(&world, &mut coordinator).await.is_empty(), "its own commit is no reason to plan");
        }
    }
    assert_eq!(planned, [3, 6, 9]);
    assert_eq!(world.sizes().await[&Some(1)].iter().sum::<u64>(), 90);
}

#[tokio::test]
async fn empty_appends_are_no_commits() {
    let world = World::new().await;
    let mut coordinator = Coordinator::new(&world.state().await, &config()).unwrap();
    for _ in 0..2 {
        world.append(&[(Some(1), 10)]).await;
        world.append(&[]).await;
        world.append(&[]).await;
    }
    assert!(follow(&world, &mut coordinator).await.is_empty());
}

#[tokio::test]
async fn files_in_flight_are_planned_once_and_again_after_a_failure() {
    let world = World::new().await;
    let mut coordinator = Coordinator::new(&world.state().await, &config()).unwrap();
    for _ in 0..3 {
        world.append(&[(Some(1), 10)]).await;
    }
    let first = follow(&world, &mut coordinator).await;
    assert_eq!(first[0].inputs.len(), 3);
    assert_eq!(coordinator.base_snapshot_ids(), [first[0].base_snapshot_id]);
    for _ in 0..3 {
        world.append(&[(Some(1), 10)]).await;
    }
    let second = follow(&world, &mut coordinator).await;
    assert_eq!(second[0].inputs.len(), 3);
    assert!(second[0].paths().all(|path| first[0].paths().all(|other| other != path)));
    coordinator.on_end(&first[0]);
    world.append(&[(Some(1), 10)]).await;
    assert!(follow(&world, &mut coordinator).await.is_empty());
    for _ in 0..2 {
        world.append(&[(Some(1), 10)]).await;
    }
    let third = follow(&world, &mut coordinator).await;
    assert_eq!(third[0].inputs.len(), 6, "the first three are free again");
}

/// A job's committer may hand on a table from before the rewrite's commit after the rewrite's end.
#[tokio::test]
async fn files_of_a_group_that_ended_are_not_planned_from_an_older_table() {
    let world = World::new().await;
    let mut coordinator = Coordinator::new(&world.state().await, &config()).unwrap();
    for _ in 0..3 {
        world.append(&[(Some(1), 10)]).await;
    }
    let groups = follow(&world, &mut coordinator).await;
    for _ in 0..3 {
        world.append(&[(Some(1), 10)]).await;
    }
    let older = world.queue.load().await.unwrap();
    let result = world.rewrite(&groups[0]).await;
    commit_rewrite(&world.queue, vec![result]).await.unwrap();
    coordinator.on_end(&groups[0]);
    let delta = load_delta(&world.queue, &older, coordinator.snapshot_id()).await.unwrap().unwrap();
    let next = coordinator.on_commit(&delta).unwrap();
    assert_eq!(next.len(), 1);
    assert!(next[0].paths().all(|path| groups[0].paths().all(|other| other != path)));
}

#[tokio::test]
async fn a_restart_counts_the_commits_since_the_last_compaction() {
    let world = World::new().await;
    for _ in 0..2 {
        world.append(&[(Some(1), 10)]).await;
    }
    let mut coordinator = Coordinator::new(&world.state().await, &config()).unwrap();
    world.append(&[(Some(1), 10)]).await;
    assert_eq!(follow(&world, &mut coordinator).await.len(), 1);
}

#[tokio::test]
async fn a_gap_is_an_error_and_a_whole_state_closes_it() {
    let world = World::new().await;
    let mut coordinator = Coordinator::new(&world.state().await, &config()).unwrap();
    world.append(&[(Some(1), 10)]).await;
    let after = world.queue.load().await.unwrap().current_snapshot().unwrap().snapshot_id();
    for _ in 0..2 {
        world.append(&[(Some(1), 10)]).await;
    }
    let table = world.queue.load().await.unwrap();
    let delta = load_delta(&world.queue, &table, Some(after)).await.unwrap().unwrap();
    let gap = coordinator.on_commit(&delta).unwrap_err();
    assert!(matches!(gap, DeltaGap::Elsewhere { begins_after, .. } if begins_after == Some(after)), "{gap}");
    let groups = coordinator.observe(&world.state().await, &config()).unwrap();
    assert_eq!(groups[0].inputs.len(), 3);
    assert!(load_delta(&world.queue, &table, Some(4711)).await.unwrap().is_none(), "an unknown snapshot");
}

#[tokio::test]
async fn switched_off_nothing_is_planned() {
    let world = World::new().await;
    let config = Config { enabled: false, ..config() };
    let mut coordinator = Coordinator::new(&world.state().await, &config).unwrap();
    for _ in 0..9 {
        world.append(&[(Some(1), 10)]).await;
    }
    assert!(follow(&world, &mut coordinator).await.is_empty());
}

/// Deltas and whole states give the same plans, over random histories with rewrites in between.
#[tokio::test]
async fn plans_are_those_of_a_whole_scan() {
    for seed in 0..6 {
        let mut rng = StdRng::seed_from_u64(seed);
        let world = World::new().await;
        let mut coordinator = Coordinator::new(&world.state().await, &config()).unwrap();
        let mut rewrites = 0;
        for _ in 0..40 {
            for _ in 0..rng.random_range(1..3) {
                let files: Vec<_> = (0..rng.random_range(0..4))
                    .map(|_| ((rng.random_bool(0.8)).then(|| rng.random_range(0..3)), rng.random_range(1..1_200)))
                    .collect();
                world.append(&files).await;
            }
            let groups = follow(&world, &mut coordinator).await;
            let scanned = plan_rewrite(&world.state().await, &config()).unwrap();
            if groups.is_empty() {
                assert_eq!(coordinator.plan(), scanned, "seed {seed}");
            } else {
                assert_eq!(groups, scanned.groups, "seed {seed}");
                rewrite(&world, &mut coordinator, groups).await;
                rewrites += 1;
            }
        }
        assert!(rewrites > 5, "seed {seed} rewrote {rewrites} times");
        let small = coordinator.listing().small_files_max();
        assert!(small <= 2 * config().small_files_max() * 3, "seed {seed} left {small} small files");
    }
}
