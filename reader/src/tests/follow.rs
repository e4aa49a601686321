//! Increments: each appended row once, whatever happens between.

use frazil_table::Change;
use frazil_table::spec::Struct;
use futures::TryStreamExt;
use serde_json::{Value, json};

use super::world::*;
use crate::{
    Error, FollowOptions, IncrementStart, OnRowLevelChange, Part, Position, PositionedBatch, Predicate, StartPosition,
    TableFollower, plan_increment, read_increment,
};

const SCHEMA: &str = r#"{"type":"struct","fields":[
    {"id":1,"name":"id","required":true,"type":"long"},{"id":2,"name":"v","required":false,"type":"string"}]}"#;

fn rows(ids: std::ops::Range<i64>) -> Vec<Value> {
    ids.map(|id| json!({"id": id, "v": format!("v{id}")})).collect()
}

/// Appends rows as two files.
async fn append_two(world: &mut World, ids: std::ops::Range<i64>) -> i64 {
    let middle = (ids.start + ids.end) / 2;
    let a = world.write(&rows(ids.start..middle), 3, Struct::empty()).await;
    let b = world.write(&rows(middle..ids.end), 3, Struct::empty()).await;
    world.append_files(vec![a, b]).await
}

async fn compact(world: &mut World) -> i64 {
    let live: Vec<String> =
        world.state().await.live_data_files().unwrap().iter().map(|l| l.file.file_path().to_owned()).collect();
    let all_rows = world.rows(&all()).await;
    let merged = world.write(&all_rows, 1_000, Struct::empty()).await;
    world.replace(live, vec![merged]).await
}

async fn start(world: &World, start: StartPosition) -> TableFollower {
    try_start(world, start, OnRowLevelChange::Fail).await.unwrap()
}

async fn try_start(world: &World, start: StartPosition, policy: OnRowLevelChange) -> crate::Result<TableFollower> {
    let options = FollowOptions { start, on_row_level_change: policy, ..FollowOptions::default() };
    TableFollower::start(&world.catalog, &world.context, &world.ident, options).await
}

/// Everything that can be read now: batches with their positions, and the snapshots they are of.
async fn drain(world: &World, follower: &mut TableFollower) -> crate::Result<Vec<(i64, PositionedBatch)>> {
    let mut all = Vec::new();
    while let Some(increment) = follower.poll().await? {
        let batches: Vec<PositionedBatch> =
            read_increment(&world.context, follower.spec(), &increment).try_collect().await?;
        all.extend(batches.into_iter().map(|batch| (increment.snapshot_id, batch)));
    }
    Ok(all)
}

fn ids(batches: &[(i64, PositionedBatch)]) -> Vec<i64> {
    let batches: Vec<_> = batches.iter().map(|(_, batch)| batch.batch.clone()).collect();
    to_rows(&batches).iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

fn sorted_ids(batches: &[(i64, PositionedBatch)]) -> Vec<i64> {
    let mut ids = ids(batches);
    ids.sort_unstable();
    ids
}

fn range(ids: std::ops::Range<i64>) -> Vec<i64> {
    ids.collect()
}

#[tokio::test]
async fn a_follower_gets_each_row_once_and_nothing_of_a_replace() {
    let mut world = World::new(SCHEMA).await;
    let mut follower = start(&world, StartPosition::Earliest).await;
    assert!(follower.poll().await.unwrap().is_none());
    append_two(&mut world, 0..10).await;
    assert_eq!(sorted_ids(&drain(&world, &mut follower).await.unwrap()), range(0..10));
    compact(&mut world).await;
    world.append_files(vec![]).await;
    world.change(Change::SetProperties([("a".to_owned(), "b".to_owned())].into())).await;
    append_two(&mut world, 10..20).await;
    compact(&mut world).await;
    assert_eq!(sorted_ids(&drain(&world, &mut follower).await.unwrap()), range(10..20));
    assert!(follower.poll().await.unwrap().is_none());
    let head = world.table.current_snapshot().unwrap().snapshot_id();
    assert_eq!(follower.position(), Position::After { snapshot_id: head });
}

#[tokio::test]
async fn every_start_begins_where_it_says() {
    let mut world = World::new(SCHEMA).await;
    let first = append_two(&mut world, 0..4).await;
    let second = append_two(&mut world, 4..8).await;
    let replaced = compact(&mut world).await;
    let third = append_two(&mut world, 8..12).await;
    world.set_ref("second", second).await;
    let time = |id: i64| world.table.metadata().snapshot_by_id(id).unwrap().timestamp_ms();
    for (from, expected) in [
        (StartPosition::Earliest, range(0..12)),
        (StartPosition::TableScanThenIncremental, range(0..12)),
        (StartPosition::Latest, vec![]),
        (StartPosition::Snapshot(first), range(0..12)),
        (StartPosition::Snapshot(second), range(4..12)),
        (StartPosition::Snapshot(replaced), range(8..12)),
        (StartPosition::After(first), range(4..12)),
        (StartPosition::After(replaced), range(8..12)),
        (StartPosition::After(third), vec![]),
        (StartPosition::Tag("second".to_owned()), range(4..12)),
        (StartPosition::Timestamp(time(first)), range(0..12)),
        (StartPosition::Timestamp(time(third) + 1), vec![]),
        (StartPosition::Position(Position::Beginning), range(0..12)),
    ] {
        let mut follower = start(&world, from.clone()).await;
        assert_eq!(sorted_ids(&drain(&world, &mut follower).await.unwrap()), expected, "{from:?}");
    }
    let mut latest = start(&world, StartPosition::Latest).await;
    append_two(&mut world, 12..14).await;
    assert_eq!(sorted_ids(&drain(&world, &mut latest).await.unwrap()), range(12..14));
}

#[tokio::test]
async fn a_follower_resumes_after_every_batch_without_gap_or_duplicate() {
    let mut world = World::new(SCHEMA).await;
    append_two(&mut world, 0..20).await;
    compact(&mut world).await;
    for start in 1..4 {
        append_two(&mut world, start * 20..start * 20 + 20).await;
    }
    for from in
        [StartPosition::Earliest, StartPosition::TableScanThenIncremental, StartPosition::Position(Position::Beginning)]
    {
        let mut follower = start(&world, from.clone()).await;
        let whole = drain(&world, &mut follower).await.unwrap();
        assert!(whole.len() > 10);
        for done in 0..whole.len() {
            let json = serde_json::to_string(&whole[done].1.position).unwrap();
            let position: Position = serde_json::from_str(&json).unwrap();
            let mut resumed = start(&world, StartPosition::Position(position)).await;
            let rest = drain(&world, &mut resumed).await.unwrap();
            assert_eq!(ids(&rest), ids(&whole[done + 1..]), "{from:?} after {json}");
        }
    }
}

#[tokio::test]
async fn a_follower_resumes_inside_a_row_group() {
    let mut world = World::new(SCHEMA).await;
    let file = world.write(&rows(0..10), 4, Struct::empty()).await;
    let snapshot_id = world.append_files(vec![file]).await;
    for row in 0..=10 {
        for part in [Part::Added, Part::Table] {
            let position = Position::Within { snapshot_id, part, file_index: 0, row };
            let mut follower = start(&world, StartPosition::Position(position)).await;
            assert_eq!(ids(&drain(&world, &mut follower).await.unwrap()), range(row as i64..10));
        }
    }
}

#[tokio::test]
async fn a_position_does_not_depend_on_the_condition() {
    let mut world = World::new(SCHEMA).await;
    append_two(&mut world, 0..20).await;
    let options = FollowOptions {
        start: StartPosition::Earliest,
        predicate: Some(Predicate::compare(
            "id",
            crate::Comparison::GreaterOrEqual,
            frazil_table::spec::Datum::long(15),
        )),
        ..FollowOptions::default()
    };
    let mut narrow = TableFollower::start(&world.catalog, &world.context, &world.ident, options).await.unwrap();
    let increment = narrow.poll().await.unwrap().unwrap();
    assert_eq!((increment.files.len(), increment.file_count), (1, 2));
    let first = &increment.files[0];
    let position = increment.position(first.index, 5);
    let mut wide = start(&world, StartPosition::Position(position)).await;
    let rest = ids(&drain(&world, &mut wide).await.unwrap());
    assert_eq!(&rest[..5], range(15..20));
}

#[tokio::test]
async fn row_level_changes_stop_a_follower_or_are_skipped_but_never_silently_read() {
    let mut world = World::new(SCHEMA).await;
    append_two(&mut world, 0..4).await;
    let gone = world.equality_deletes(&["id"], &[json!({"id": 1})]).await;
    let again = world.write(&rows(100..101), 10, Struct::empty()).await;
    let overwrite = world.row_delta(vec![again], vec![gone]).await;
    append_two(&mut world, 4..8).await;
    let from = StartPosition::Position(Position::Beginning);
    let mut strict = start(&world, from.clone()).await;
    let before = strict.poll().await.unwrap().unwrap();
    assert_eq!(before.file_count, 2);
    for _ in 0..2 {
        let error = strict.poll().await.unwrap_err();
        assert!(matches!(&error, Error::RowLevelChange { snapshot_id, .. } if *snapshot_id == overwrite), "{error}");
    }
    let mut lenient = try_start(&world, from, OnRowLevelChange::Skip).await.unwrap();
    assert_eq!(sorted_ids(&drain(&world, &mut lenient).await.unwrap()), range(0..8));
    // A table that is read whole has its deletes applied.
    let mut whole = start(&world, StartPosition::TableScanThenIncremental).await;
    let mut expected = range(0..8);
    expected.retain(|id| *id != 1);
    expected.push(100);
    assert_eq!(sorted_ids(&drain(&world, &mut whole).await.unwrap()), expected);
}

#[tokio::test]
async fn a_history_that_was_rolled_back_or_cut_is_an_error_that_says_what_to_do() {
    let mut world = World::new(SCHEMA).await;
    let mut snapshots = Vec::new();
    for part in 0..5 {
        snapshots.push(append_two(&mut world, part * 2..part * 2 + 2).await);
    }
    let mut rolled_back = start(&world, StartPosition::Latest).await;
    world.set_ref("main", snapshots[2]).await;
    append_two(&mut world, 50..52).await;
    let error = rolled_back.poll().await.unwrap_err();
    assert!(matches!(error, Error::NotAnAncestor { from, .. } if from == snapshots[4]), "{error}");
    assert!(error.to_string().contains("start again"), "{error}");

    let mut slow = start(&world, StartPosition::After(snapshots[0])).await;
    let mut just_there = start(&world, StartPosition::After(snapshots[2])).await;
    world.expire(snapshots[0..2].to_vec()).await;
    let error = slow_error(&mut slow, &world).await;
    assert!(matches!(error, Error::SnapshotsExpired { missing, .. } if missing == snapshots[1]), "{error}");
    assert_eq!(sorted_ids(&drain(&world, &mut just_there).await.unwrap()), range(50..52));
    // What is retained after an expired snapshot is whole.
    let mut after_expired = start(&world, StartPosition::After(snapshots[1])).await;
    assert_eq!(sorted_ids(&drain(&world, &mut after_expired).await.unwrap()), vec![4, 5, 50, 51]);
    let mut earliest = start(&world, StartPosition::Earliest).await;
    assert_eq!(sorted_ids(&drain(&world, &mut earliest).await.unwrap()), vec![0, 1, 2, 3, 4, 5, 50, 51]);
    for from in [StartPosition::Timestamp(0), StartPosition::After(snapshots[4])] {
        let error = try_start(&world, from.clone(), OnRowLevelChange::Fail).await.unwrap_err();
        assert!(matches!(error, Error::SnapshotsExpired { .. }), "{from:?}: {error}");
    }
    // Whether a snapshot expired or never was can't be told: what there is is named.
    let expired = StartPosition::Snapshot(snapshots[0]);
    let error = try_start(&world, expired, OnRowLevelChange::Fail).await.unwrap_err();
    assert!(matches!(error, Error::NoSuchSnapshot { .. }), "{error}");
    assert!(error.to_string().contains(&format!("it retains {}", snapshots[2])), "{error}");
}

/// A follower that has not looked since the snapshots were there.
async fn slow_error(follower: &mut TableFollower, world: &World) -> Error {
    let mut resumed = match try_start(world, StartPosition::Position(follower.position()), OnRowLevelChange::Fail).await
    {
        Ok(resumed) => resumed,
        Err(error) => return error,
    };
    resumed.poll().await.unwrap_err()
}

#[tokio::test]
async fn a_plan_of_an_increment_prints() {
    let mut world = World::new(SCHEMA).await;
    let first = append_two(&mut world, 0..2).await;
    let replaced = compact(&mut world).await;
    let last = append_two(&mut world, 2..4).await;
    let plan = plan_increment(&world.table, IncrementStart::Inclusive(first), last, OnRowLevelChange::Fail).unwrap();
    assert_eq!(
        plan.to_string(),
        format!(
            "snapshot {first} (append): read\nsnapshot {replaced} (replace): passed over\nsnapshot {last} (append): read\n"
        )
    );
    let error = plan_increment(&world.table, IncrementStart::Beginning, 42, OnRowLevelChange::Fail).unwrap_err();
    assert!(matches!(error, Error::NoSuchSnapshot { .. }), "{error}");
}
