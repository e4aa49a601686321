//! Equality deletes become positions: the same rows are gone before and after, whoever writes meanwhile.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use frazil_compactor::{
    Config, Conversion, ConversionReport, commit_conversion, convert_equality_deletes, plan_conversion, run_conversion,
};
use frazil_reader::SnapshotSelector;
use frazil_storage::{Step, StepAction, Steps};
use frazil_table::spec::{DataContentType, FormatVersion, Operation};
use frazil_table::{Change, RewriteDeletes, TableFile, Validation, referenced_data_file};
use tokio_util::sync::CancellationToken;

use super::deletes::{compact, longs, packing, queue};
use super::rebase::{Busy, assert_clean};
use crate::table::world::{Row, World};

async fn convert(world: &World) -> ConversionReport {
    let stop = CancellationToken::new();
    convert_equality_deletes(&queue(world), &Config::default(), false, &stop).await.unwrap()
}

/// What was found on the table as it is now, before anything is committed.
async fn found(world: &World, config: &Config) -> Conversion {
    let (state, stop) = (world.state().await, CancellationToken::new());
    let plan = plan_conversion(&state).unwrap();
    run_conversion(plan, &queue(world), state.table(), config, &stop).await.unwrap()
}

async fn equality_deletes(world: &World) -> usize {
    let state = world.state().await;
    let live = state.live_delete_files().unwrap();
    live.iter().filter(|live| live.content() == DataContentType::EqualityDeletes).count()
}

/// The rows that deletes by position name, by data file.
async fn positions(world: &World) -> Vec<(String, u64)> {
    let state = world.state().await;
    let live = state.live_delete_files().unwrap();
    let named = live.iter().filter_map(|live| Some((referenced_data_file(live.file)?, live.file.record_count())));
    let mut named: Vec<_> = named.collect();
    named.sort();
    named
}

async fn delete_equal(world: &World, delete: TableFile) {
    let delta = world.delta(vec![], vec![delete]).await;
    world.commit(&[delta]).await;
}

fn nulls(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// Museum: nimtable/iceberg-compaction finds what equality deletes hit by SQL joins, which leave NULL keys alone and know of no
/// partition: rows come back, or others go.
#[tokio::test]
async fn equality_deletes_of_every_scope_become_positions() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = World::partitioned(version).await;
        let one = world.append(&[(1, 1, "a"), (2, 1, ""), (3, 1, "c"), (4, 1, "a")]).await;
        let two = world.append(&[(1, 2, "a"), (2, 2, "b"), (3, 2, "c")]).await;
        let untouched = world.append(&[(7, 3, "x")]).await;
        // Of one partition, by two columns; null is no text, and the other partition's rows of the same keys stay.
        delete_equal(&world, world.equality(&[1, 9], &one).await).await;
        delete_equal(&world, world.equality_by(3, "v", nulls(&[None, Some("c")]), &two).await).await;
        // Newer than the deletes of their keys.
        world.append(&[(1, 1, "new")]).await;
        world.append(&[(3, 2, "c")]).await;
        delete_equal(&world, world.equality(&[4], &one).await).await;
        let rows = world.rows_of(SnapshotSelector::Latest).await;
        let (dry, stop) = (&queue(&world), CancellationToken::new());
        let plan = convert_equality_deletes(dry, &Config::default(), true, &stop).await.unwrap();
        assert_eq!((plan.plan.unwrap().going().count(), equality_deletes(&world).await), (3, 3));
        let report = convert(&world).await;
        assert_eq!((report.converted, report.rows, report.left, report.snapshot_ids.len()), (3, 3, 0, 1), "{report}");
        assert_eq!(world.operation().await, Operation::Replace);
        assert_eq!(world.rows_of(SnapshotSelector::Latest).await, rows, "{version}");
        assert_eq!(equality_deletes(&world).await, 0);
        let expected = vec![(one.file.file_path().to_owned(), 2), (two.file.file_path().to_owned(), 1)];
        let mut expected = expected;
        expected.sort();
        assert_eq!(positions(&world).await, expected, "{version}: nothing of {}", untouched.file.file_path());
        assert_eq!(world.summary().await["frazil.conversion.rows"], "3");
        assert_eq!(convert(&world).await.to_string(), "db.t: no equality deletes\n");
        assert_clean(&world).await;
        compact(&world, &packing()).await;
        assert_eq!(world.rows_of(SnapshotSelector::Latest).await, rows, "{version}");
    }
}

/// Museum: RisingWave#23411, duplicates where a table that Amoro had converted was read: two deletes of one file, of which readers
/// honour one. A vector has all that is deleted of its file: what was deleted by position before, by an older vector or, since before an
/// upgrade, by a position delete file, goes into it. Rows keep their ids.
#[tokio::test]
async fn a_data_file_has_one_vector_afterwards() {
    let world = World::new(FormatVersion::V2).await;
    let rows = |ids: std::ops::Range<i64>| ids.map(|id| (id, 0, "a")).collect::<Vec<Row>>();
    let a = world.append(&rows(0..6)).await;
    let b = world.append(&rows(6..9)).await;
    let delta = world.delta(vec![], vec![world.wide_positions(&[(&a, 1), (&b, 0)]).await]).await;
    world.commit(&[delta]).await;
    world.evolve(frazil_table::MetadataChange::UpgradeFormatVersion(FormatVersion::V3)).await;
    let c = world.append(&rows(9..12)).await;
    let delta = world.delta(vec![], vec![world.vector(&c, &[1]).await]).await;
    world.commit(&[delta]).await;
    delete_equal(&world, world.equality(&[0, 1, 9, 10], &a).await).await;
    let lineage = ["id", "_row_id", "_last_updated_sequence_number"];
    let before = longs(&world, &lineage).await;
    let report = convert(&world).await;
    assert_eq!((report.converted, report.delete_files, report.rows), (1, 2, 2), "0 and 9: the others were gone");
    assert_eq!(longs(&world, &lineage).await, before);
    let mut expected = vec![(a.file.file_path().to_owned(), 2), (c.file.file_path().to_owned(), 2)];
    expected.sort();
    assert_eq!(positions(&world).await, expected);
    assert_eq!(world.ids().await, [2, 3, 4, 5, 7, 8, 11]);
    assert_clean(&world).await;
}

/// Keys that do not fit into memory are looked for in several passes: delete files apart, and one file's keys by their hash.
#[tokio::test]
async fn more_keys_than_memory_has_room_for_are_found_in_passes() {
    let world = World::new(FormatVersion::V3).await;
    let rows: Vec<Row> = (0..4_000).map(|id| (id, 0, "a")).collect();
    let a = world.append(&rows).await;
    let gone = |id: &i64| id % 3 == 0 || *id < 500;
    delete_equal(&world, world.equality(&(0..500).collect::<Vec<_>>(), &a).await).await;
    delete_equal(&world, world.equality(&(0..9_000).step_by(3).collect::<Vec<_>>(), &a).await).await;
    let large = found(&world, &Config::default()).await;
    let small = found(&world, &Config { memory_max_bytes: 64 << 10, ..Config::default() }).await;
    assert_eq!(large.passes, 1);
    // 3,000 keys of some 60 bytes each, 32 KiB at a time.
    assert!((6..40).contains(&small.passes), "{} passes", small.passes);
    assert_eq!(small.rows, large.rows);
    let end = commit_conversion(&queue(&world), &small).await.unwrap();
    assert_eq!((end.converted, end.rows), (2, (0..4_000).filter(gone).count() as u64));
    assert_eq!(world.ids().await, (0..4_000).filter(|id| !gone(id)).collect::<Vec<_>>());
}

/// A key that is larger than all memory there is ends in an error that names the file, not in ever smaller passes.
#[tokio::test]
async fn a_key_that_never_fits_is_an_error() {
    let world = World::new(FormatVersion::V2).await;
    let a = world.append(&[(1, 0, "a")]).await;
    let delete = world.equality(&[1], &a).await;
    delete_equal(&world, delete.clone()).await;
    let (state, stop) = (world.state().await, CancellationToken::new());
    let (plan, config) = (plan_conversion(&state).unwrap(), Config { memory_max_bytes: 8, ..Config::default() });
    let error = run_conversion(plan, &queue(&world), state.table(), &config, &stop).await.unwrap_err();
    assert!(error.to_string().contains(delete.file.file_path()), "{error}");
}

/// Museum: Flink's `ConvertEqualityDeletes`, which loses its race, throws the work away and may do so for ever (its own documentation
/// says so); here what others do meanwhile is joined in.
#[tokio::test]
async fn what_comes_between_finding_and_committing_holds() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = World::new(version).await;
        let rows = |ids: std::ops::Range<i64>| ids.map(|id| (id, 0, "a")).collect::<Vec<Row>>();
        let a = world.append(&rows(0..5)).await;
        let b = world.append(&rows(5..9)).await;
        delete_equal(&world, world.equality(&[1, 6], &a).await).await;
        let conversion = found(&world, &Config::default()).await;
        // Deleted by position; deleted once more, and added again; a younger delete of a key that is there.
        let deletes = match version {
            FormatVersion::V2 => vec![world.positions(&a, &[1, 3]).await],
            _ => vec![world.vector(&a, &[1, 3]).await],
        };
        let delta = world.delta(vec![], deletes).await;
        world.commit(&[delta]).await;
        world.append(&[(1, 0, "new")]).await;
        delete_equal(&world, world.equality(&[7], &b).await).await;
        let rows = world.rows_of(SnapshotSelector::Latest).await;
        let end = commit_conversion(&queue(&world), &conversion).await.unwrap();
        assert_eq!((end.converted, end.rows, equality_deletes(&world).await), (1, 1, 1), "{version}: {end:?}");
        assert_eq!(world.rows_of(SnapshotSelector::Latest).await, rows, "{version}");
        assert_eq!(world.ids().await, [0, 1, 2, 4, 5, 8]);
        assert_clean(&world).await;
        // Files that are gone by the time of the commit.
        let conversion = found(&world, &Config::default()).await;
        compact(&world, &packing()).await;
        let end = commit_conversion(&queue(&world), &conversion).await.unwrap();
        assert_eq!((end.converted, end.snapshot_id, end.conflict), (0, None, None), "the compaction took it along");
        assert_eq!(world.ids().await, [0, 1, 2, 4, 5, 8]);
    }
}

/// Museum: iceberg#10312, open: rows come back since an equality delete is dropped that applies to a file which a rewrite added with
/// an older number. Another program writes rows that such a delete has hit into a new file, with the old file's number, by which it goes on
/// hitting them. Who drops that delete because all files that it had applied to are converted brings them back.
async fn carried_rewrite(world: &World, a: &TableFile) -> Change {
    let same_rows = world.write_one(&[(1, 0, "a"), (2, 0, "a")]).await;
    world.rewrite(&[a], vec![same_rows]).await
}

#[tokio::test]
async fn a_delete_that_a_rewrite_has_carried_on_stays_until_the_new_file_is_read() {
    let world = World::new(FormatVersion::V2).await;
    let a = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    delete_equal(&world, world.equality(&[2], &a).await).await;
    let conversion = found(&world, &Config::default()).await;
    let rewrite = carried_rewrite(&world, &a).await;
    world.commit(&[rewrite]).await;
    assert_eq!(world.ids().await, [1]);
    let end = commit_conversion(&queue(&world), &conversion).await.unwrap();
    assert_eq!((end.converted, end.snapshot_id, world.ids().await), (0, None, vec![1]));
    let report = convert(&world).await;
    assert_eq!((report.converted, report.rows, world.ids().await), (1, 1, vec![1]));
    assert_clean(&world).await;
}

/// The same, under the swap itself, where only the commit's own check sees it.
#[tokio::test]
async fn a_file_that_comes_into_the_reach_of_a_delete_under_the_swap_is_a_conflict() {
    for rows in [[(1, 0, "a"), (2, 0, "a")], [(1, 0, "a"), (3, 0, "a")]] {
        let world = World::new(FormatVersion::V2).await;
        let a = world.append(&rows).await;
        delete_equal(&world, world.equality(&[2], &a).await).await;
        let expected = world.ids().await;
        let same_rows = world.write_one(&rows).await;
        let rewrite = world.rewrite(&[&a], vec![same_rows]).await;
        let (busy, queue) = Busy::queue(&world, vec![], vec![Some(rewrite)]);
        let conversion = found(&world, &Config::default()).await;
        let end = commit_conversion(&queue, &conversion).await.unwrap();
        assert!(busy.is_done() && end.snapshot_id.is_none() && end.conflict.is_some(), "{end:?}");
        assert_eq!((world.ids().await, equality_deletes(&world).await), (expected.clone(), 1));
        assert_eq!(convert(&world).await.left, 0);
        assert_eq!(world.ids().await, expected);
        assert_clean(&world).await;
    }
}

/// Another program's deletion vector of the same file comes under the swap: what was found is joined with it.
#[tokio::test]
async fn a_vector_that_comes_under_the_swap_is_joined() {
    let world = World::new(FormatVersion::V3).await;
    let a = world.append(&(0..8).map(|id| (id, 0, "a")).collect::<Vec<Row>>()).await;
    delete_equal(&world, world.equality(&[1], &a).await).await;
    let conversion = found(&world, &Config::default()).await;
    let delta = world.delta(vec![], vec![world.vector(&a, &[5]).await]).await;
    let (busy, queue) = Busy::queue(&world, vec![], vec![Some(delta)]);
    let end = commit_conversion(&queue, &conversion).await.unwrap();
    assert!(busy.is_done());
    assert_eq!((end.converted, end.rows, world.ids().await), (1, 1, vec![0, 2, 3, 4, 6, 7]));
    assert_clean(&world).await;
}

/// The ends of a conversion that another program, or a crash, cuts short.
#[tokio::test]
async fn what_fails_before_the_commit_changes_nothing() {
    let mut world = World::new(FormatVersion::V3).await;
    let a = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let delete = world.equality(&[1], &a).await;
    delete_equal(&world, delete.clone()).await;
    let conversion = found(&world, &Config::default()).await;
    world.env.steps = Steps::arm(Step::DeletesConverted, 1, StepAction::Fail);
    commit_conversion(&queue(&world), &conversion).await.unwrap_err();
    world.env.steps = Steps::none();
    assert_eq!((world.ids().await, equality_deletes(&world).await), (vec![2], 1));
    // Somebody else has done the same.
    let other = RewriteDeletes {
        removed: vec![delete],
        added: vec![world.vector(&a, &[0]).await],
        validation: Validation::snapshot(Some(world.head().await)),
        ..RewriteDeletes::default()
    };
    world.commit(&[Change::RewriteDeletes(other)]).await;
    let end = commit_conversion(&queue(&world), &conversion).await.unwrap();
    assert_eq!((end.snapshot_id, end.conflict, world.ids().await), (None, None, vec![2]));
    let stopped = CancellationToken::new();
    stopped.cancel();
    delete_equal(&world, world.equality(&[2], &a).await).await;
    let end = convert_equality_deletes(&queue(&world), &Config::default(), false, &stopped).await;
    assert!(matches!(end, Err(frazil_compactor::Error::Cancelled)), "{end:?}");
    assert!(world.ids().await.is_empty());
}
