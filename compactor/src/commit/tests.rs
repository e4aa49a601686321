use frazil_reader::{DeleteIndex, ReadContext};
use frazil_storage::{Env, StepAction, Steps};
use frazil_table::spec::{DataContentType, FormatVersion};

use super::*;
use crate::world::{World, config};
use crate::{PositionMap, plan_rewrite};

async fn plan(world: &World) -> Vec<FileGroup> {
    plan_rewrite(&world.state().await, &config().packing()).unwrap().groups
}

#[tokio::test]
async fn all_groups_go_under_one_snapshot_that_says_what_it_did() {
    let world = World::new().await;
    for _ in 0..2 {
        world.append(&[(Some(1), 10), (Some(2), 20)]).await;
    }
    let groups = plan(&world).await;
    let results = vec![world.rewrite(&groups[0]).await, world.rewrite(&groups[1]).await];
    let end = commit_rewrite(&world.queue, results).await.unwrap();
    assert_eq!((end.committed.len(), end.dropped.len(), end.snapshot_ids.len()), (2, 0, 1));
    let table = end.table.unwrap();
    let summary = &table.current_snapshot().unwrap().summary().additional_properties;
    let said = |key: &str| summary[&format!("frazil.compaction.{key}")].as_str();
    assert_eq!((said("groups"), said("files-in"), said("bytes-in"), said("kind")), ("2", "4", "60", "copy"));
    let state = world.state().await;
    let numbers: Vec<_> = state.live_data_files().unwrap().iter().map(|live| live.data_sequence_number).collect();
    assert_eq!(numbers, [2, 2]);
}

#[tokio::test]
async fn a_group_that_lost_a_file_is_dropped_and_the_rest_lands() {
    let world = World::new().await;
    for _ in 0..2 {
        world.append(&[(Some(1), 10), (Some(2), 20), (Some(3), 30)]).await;
    }
    let groups = plan(&world).await;
    let mut results = Vec::new();
    for group in &groups {
        results.push(world.rewrite(group).await);
    }
    // Somebody else rewrites partition 2 meanwhile.
    let other = world.rewrite(&groups[1]).await;
    let end = commit_rewrite(&world.queue, vec![other]).await.unwrap();
    assert!(end.dropped.is_empty());
    let lost = results[1].outputs[0].file.file_path().to_owned();
    let kept = results[0].outputs[0].file.file_path().to_owned();

    let end = commit_rewrite(&world.queue, results).await.unwrap();
    assert_eq!(end.committed.len(), 2);
    assert!(matches!(&end.dropped[..], [(group, Conflict::FileGone { .. })] if group.partition_path == "p=2"));
    let store = &world.queue.env().store;
    assert!(store.head(&lost).await.unwrap_err().is_not_found());
    assert!(store.head(&kept).await.is_ok());
    let sizes = world.sizes().await;
    assert_eq!((&sizes[&Some(1)], &sizes[&Some(2)], &sizes[&Some(3)]), (&vec![20], &vec![40], &vec![60]));
}

#[tokio::test]
async fn all_is_dropped_when_the_snapshot_it_read_is_gone() {
    let world = World::new().await;
    for _ in 0..2 {
        world.append(&[(Some(1), 10)]).await;
    }
    let groups = plan(&world).await;
    let mut result = world.rewrite(&groups[0]).await;
    result.group.base_snapshot_id = 4711;
    let end = commit_rewrite(&world.queue, vec![result]).await.unwrap();
    assert!(end.table.is_none() && end.committed.is_empty());
    assert!(matches!(&end.dropped[..], [(_, Conflict::BaseGone { .. })]));
    assert_eq!(world.sizes().await[&Some(1)], [10, 10]);
}

#[tokio::test]
async fn a_failure_at_any_step_of_the_commit_keeps_every_output() {
    for step in [Step::ManifestsWritten, Step::ManifestListWritten, Step::MetadataWritten, Step::PointerSwapped] {
        let mut env = Env::in_memory(1);
        // The two appends pass the step first.
        env.steps = Steps::arm(step, 3, StepAction::Fail);
        let world = World::with_env(FormatVersion::V2, env).await;
        for _ in 0..2 {
            world.append(&[(Some(1), 10)]).await;
        }
        let groups = plan(&world).await;
        let result = world.rewrite(&groups[0]).await;
        let output = result.outputs[0].file.file_path().to_owned();
        commit_rewrite(&world.queue, vec![result]).await.unwrap_err();
        assert!(world.queue.env().store.head(&output).await.is_ok(), "{step}");
        assert_eq!(world.sizes().await[&Some(1)].iter().sum::<u64>(), 20, "{step}");
    }
}

#[tokio::test]
async fn groups_of_different_snapshots_keep_their_own_sequence_numbers() {
    let world = World::new().await;
    let mut results = Vec::new();
    for p in [1, 2] {
        world.append(&[(Some(p), 10), (Some(p), 10)]).await;
        let group = plan(&world).await.pop().unwrap();
        results.push(world.rewrite(&group).await);
    }
    let end = commit_rewrite(&world.queue, results).await.unwrap();
    assert_eq!((end.committed.len(), end.snapshot_ids.len()), (2, 2));
    // Had the older group taken the newer's number, a delete that came between the two would apply to it no more.
    let state = world.state().await;
    let mut numbers: Vec<_> = state.live_data_files().unwrap().iter().map(|live| live.data_sequence_number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
}

/// The deleted rows of each output, as a reader finds them.
async fn deleted_of_outputs(world: &World, outputs: &[TableFile]) -> Vec<Vec<u64>> {
    let state = world.state().await;
    let context = ReadContext::new(world.queue.env());
    let index = DeleteIndex::new(&state.live_delete_files().unwrap(), state.table().metadata()).unwrap();
    let live = state.live_data_files_by_path().unwrap();
    let mut deleted = Vec::new();
    for output in outputs {
        let rows = index.load_positions(&context, &live[output.file.file_path()]).await.unwrap();
        deleted.push(rows.iter().flat_map(|rows| rows.iter()).collect());
    }
    deleted
}

/// Three inputs, the middle one without a row that the rewrite left out, in two outputs whose border is in its middle.
#[tokio::test]
async fn deletes_that_came_meanwhile_are_of_the_outputs_that_have_the_rows() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = World::with_version(version).await;
        for rows in [10, 20, 5] {
            world.append(&[(Some(1), rows)]).await;
        }
        let group = plan(&world).await.remove(0);
        let mut result = world.rewrite(&group).await;
        let mut second = world.rewrite(&group).await.outputs.remove(0);
        result.outputs[0] = world.with_rows(&result.outputs[0], 14);
        second = world.with_rows(&second, 20);
        result.outputs.push(second);
        result.positions = PositionMap::default();
        for (input, gone) in group.inputs.iter().zip([vec![], vec![3], vec![]]) {
            result.positions.push(input.file.file_path(), input.file.record_count(), gone.into_iter().collect());
        }
        // Rows 0 to 9 are of the first input, then 19 of the second, then 5.
        let inputs: Vec<_> = group.inputs.iter().map(|input| &input.file).collect();
        world.delete(inputs[0], &[0, 9]).await;
        world.delete(inputs[1], &[2, 3, 4, 5, 19]).await;
        world.delete(inputs[2], &[4]).await;
        let outputs = result.outputs.clone();
        let end = commit_rewrite(&world.queue, vec![result]).await.unwrap();
        assert!(end.dropped.is_empty(), "{version}: {end:?}");
        assert_eq!((end.rows_rebased, end.rebased_again), (7, 0));
        let expected = [vec![0, 9, 12, 13], vec![0, 14, 19]];
        assert_eq!(deleted_of_outputs(&world, &outputs).await, expected, "{version}");
        let state = world.state().await;
        let live = state.live_delete_files().unwrap();
        assert!(live.iter().all(|live| live.content() == DataContentType::PositionDeletes));
        assert_eq!(live.len(), 2, "{version}: those of the inputs are gone");
    }
}

/// Rewrites of two snapshots in one swap: what came between them is new to the one and known to the other.
#[tokio::test]
async fn each_rewrite_gets_what_came_since_its_own_snapshot() {
    let world = World::new().await;
    world.append(&[(Some(1), 10), (Some(1), 10)]).await;
    let old = plan(&world).await.remove(0);
    world.delete(&old.inputs[0].file, &[3]).await;
    world.append(&[(Some(2), 10), (Some(2), 10)]).await;
    let groups = plan(&world).await;
    let young = groups.iter().find(|group| group.partition_path == "p=2").unwrap();
    world.delete(&young.inputs[1].file, &[5]).await;
    let results = vec![world.rewrite(&old).await, world.rewrite(young).await];
    let outputs: Vec<_> = results.iter().map(|result| result.outputs[0].clone()).collect();
    let end = commit_rewrite(&world.queue, results).await.unwrap();
    assert_eq!((end.committed.len(), end.snapshot_ids.len(), end.rows_rebased), (2, 2, 2));
    assert_eq!(deleted_of_outputs(&world, &outputs).await, [[3], [15]]);
}
