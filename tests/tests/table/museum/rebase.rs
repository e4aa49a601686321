//! Rows that are deleted while their files are being compacted: others lost the deletes, hit other rows with them, or threw
//! the compaction away.

use frazil_catalog::CommitQueue;
use frazil_compactor::{Config, RewriteEnd, RewriteResult, commit_rewrite, plan_rewrite, run_group};
use frazil_table::spec::FormatVersion;
use frazil_table::{Change, RowDelta, TableFile};
use tokio_util::sync::CancellationToken;

use crate::table::world::{Row, World, path};

/// Rewrites all files of a table into one that is in no table yet.
async fn rewrite(world: &World) -> RewriteResult {
    let config = Config::default().packing();
    let groups = plan_rewrite(&world.state().await, &config).unwrap().groups;
    assert_eq!(groups.len(), 1);
    run_group(&groups[0], &world.env, &world.table().await, &config, &CancellationToken::new()).await.unwrap()
}

/// Commits it, which nothing may keep it from.
async fn land(world: &World, result: RewriteResult) -> RewriteEnd {
    let queue = CommitQueue::new(world.catalog.clone(), world.env.clone(), world.ident.clone());
    let end = commit_rewrite(&queue, vec![result]).await.unwrap();
    assert!(end.dropped.is_empty(), "{end:?}");
    end
}

/// Deletes rows of a file by their places; in format version 3 `before` are those that its vector names already.
async fn delete(world: &World, of: &TableFile, rows: &[i64], before: &[i64]) {
    if world.table().await.metadata().format_version() < FormatVersion::V3 {
        let delta = world.delta(vec![], vec![world.positions(of, rows).await]).await;
        world.commit(&[delta]).await;
        return;
    }
    let all: Vec<u64> = rows.iter().chain(before).map(|row| *row as u64).collect();
    let mut delta = world.delta(vec![], vec![world.vector(of, &all).await]).await;
    let state = world.state().await;
    let own = state.live_delete_files().unwrap();
    let own = own.iter().filter(|live| live.file.referenced_data_file() == Some(path(of)));
    let removed = own.map(|live| TableFile { file: live.file.clone(), partition_spec_id: 0 }).collect();
    if let Change::RowDelta(RowDelta { removed_delete_files, .. }) = &mut delta {
        *removed_delete_files = removed;
    }
    world.commit(&[delta]).await;
}

async fn live_data(world: &World) -> Vec<TableFile> {
    let state = world.state().await;
    let live = state.live_data_files().unwrap();
    live.iter().map(|live| TableFile { file: live.file.clone(), partition_spec_id: 0 }).collect()
}

/// iceberg#4996, #5397, #5404: "found new position delete for replaced data file". A table from which somebody deletes all the
/// time can't be compacted, however often it is tried; iceberg-compaction and Delta throw the work away as well.
#[tokio::test]
async fn iceberg_5397_a_rewrite_lands_though_rows_are_deleted_all_the_time() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = World::new(version).await;
        world.append(&[(0, 0, "a")]).await;
        let mut expected = vec![0];
        for round in 1..8_i64 {
            let rows: Vec<Row> = (0..3).map(|row| (round * 10 + row, 0, "a")).collect();
            let new = world.append(&rows).await;
            let result = rewrite(&world).await;
            delete(&world, &new, &[1], &[]).await;
            assert_eq!(land(&world, result).await.rows_rebased, 1);
            expected.extend([round * 10, round * 10 + 2]);
            assert_eq!((world.ids().await, live_data(&world).await.len()), (expected.clone(), 1), "{version}");
        }
    }
}

/// moonlink#1042, #1051: rows were taken out first and deletes moved then, by the places of what was left. Deletes were lost,
/// or hit the row that came next.
#[tokio::test]
async fn moonlink_1042_deletes_move_by_the_places_that_they_name() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = World::new(version).await;
        let file = world.append(&[(0, 0, "a"), (1, 0, "a"), (2, 0, "a"), (3, 0, "a"), (4, 0, "a")]).await;
        delete(&world, &file, &[0, 2], &[]).await;
        world.append(&[(5, 0, "b")]).await;
        let result = rewrite(&world).await;
        delete(&world, &file, &[3], &[0, 2]).await;
        assert_eq!(world.ids().await, [1, 4, 5]);
        assert_eq!(land(&world, result).await.rows_rebased, 1);
        assert_eq!(world.ids().await, [1, 4, 5], "{version}");
    }
}

/// moonlink#1172 once more, where rows are moved: batches of which all were deleted were not counted.
#[tokio::test]
async fn moonlink_1172_batches_that_are_gone_are_counted_when_deletes_move() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = World::new(version).await;
        let rows: Vec<Row> = (0..40_000).map(|id| (id, 0, "a")).collect();
        let file = world.append(&rows).await;
        let gone: Vec<i64> = (8_000..30_000).collect();
        delete(&world, &file, &gone, &[]).await;
        world.append(&[(40_000, 0, "b")]).await;
        let result = rewrite(&world).await;
        delete(&world, &file, &[7_999, 30_000, 39_999], &gone).await;
        let left = (0..=40_000).filter(|id| !gone.contains(id) && ![7_999, 30_000, 39_999].contains(id));
        let left: Vec<i64> = left.collect();
        assert_eq!(land(&world, result).await.rows_rebased, 3);
        assert_eq!(world.ids().await, left, "{version}");
    }
}

/// iceberg#7624, #7651: rewritten position deletes got a number below that of the files that they are of, and applied to them
/// no more. nimtable/iceberg-compaction#162: vectors of files that are gone stay for ever.
#[tokio::test]
async fn iceberg_7624_moved_deletes_are_not_older_than_their_file() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = World::new(version).await;
        let file = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
        world.append(&[(3, 0, "b")]).await;
        let result = rewrite(&world).await;
        delete(&world, &file, &[0], &[]).await;
        land(&world, result).await;
        let state = world.state().await;
        let (data, deletes) = (state.live_data_files().unwrap(), state.live_delete_files().unwrap());
        assert_eq!((data.len(), deletes.len()), (1, 1), "{version}");
        assert_eq!(deletes[0].file.referenced_data_file().as_deref(), Some(data[0].file.file_path()));
        assert!(deletes[0].data_sequence_number >= data[0].data_sequence_number, "{version}");
        assert_eq!(world.ids().await, [2, 3], "{version}");
    }
}

/// moonlink#1886, #1900: a deletion vector was taken away while a compaction still read it. What a rewrite has applied it
/// needs no more, and what is carried is read from the table as it is at the commit.
#[tokio::test]
async fn moonlink_1886_a_vector_that_is_gone_by_the_commit_is_not_missed() {
    let world = World::new(FormatVersion::V3).await;
    let file = world.append(&[(1, 0, "a"), (2, 0, "a"), (3, 0, "a")]).await;
    delete(&world, &file, &[0], &[]).await;
    world.append(&[(4, 0, "b")]).await;
    let result = rewrite(&world).await;
    for (row, before) in [(1, vec![0]), (2, vec![0, 1])] {
        let old = world.live_deletes().await;
        delete(&world, &file, &[row], &before).await;
        world.env.store.delete(&old[0].0).await.unwrap();
    }
    assert_eq!(land(&world, result).await.rows_rebased, 2);
    assert_eq!(world.ids().await, [4]);
}
