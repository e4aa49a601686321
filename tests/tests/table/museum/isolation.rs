//! Two changes of the same rows at the same time.

use frazil_table::spec::FormatVersion;
use frazil_table::{
    Change, Conflict, DeleteFiles, Overwrite, PartitionFilter, RemovedFiles, RowDelta, TableFile, Validation,
};
use std::sync::Arc;

use crate::table::world::{World, partition, path};

/// What deletes the first row of a file.
async fn first_row_of(world: &World, file: &TableFile, version: FormatVersion) -> TableFile {
    match version {
        FormatVersion::V2 => world.positions(file, &[0]).await,
        _ => world.vector(file, &[0]).await,
    }
}

/// J. Vanlightly's model of Iceberg: an UPDATE and a DELETE of the same row, merge-on-read, under snapshot isolation. The
/// DELETE checks only that its data files are there, not that nobody deleted from them, so the updated copy of the row
/// outlives it.
#[tokio::test]
async fn vanlightly_a_delete_does_not_pass_an_update_of_the_same_row() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = World::new(version).await;
        let file = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
        let delete = world.delta(vec![], vec![first_row_of(&world, &file, version).await]).await;
        let update = world
            .delta(vec![world.write_one(&[(1, 0, "b")]).await], vec![first_row_of(&world, &file, version).await])
            .await;
        world.commit(&[update]).await;
        let conflict = world.try_commit(&[delete]).await.unwrap_err();
        assert!(matches!(&conflict, Conflict::RowsDeleted { path: of, .. } if *of == path(&file)), "{conflict}");
        assert_eq!(world.ids().await, [1, 2]);
    }
}

/// The same where the update is an upsert by equality delete: the DELETE refers to the old copy alone.
#[tokio::test]
async fn vanlightly_a_delete_does_not_pass_an_upsert_of_the_same_row() {
    let world = World::new(FormatVersion::V2).await;
    let file = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let delete = world.delta(vec![], vec![world.positions(&file, &[0]).await]).await;
    let upsert =
        world.delta(vec![world.write_one(&[(1, 0, "b")]).await], vec![world.equality(&[1], &file).await]).await;
    world.commit(&[upsert]).await;
    assert!(matches!(world.try_commit(&[delete]).await, Err(Conflict::RowsDeleted { .. })));
}

/// Deletes of single rows by position name a file. After a compaction it is gone, the deletes would hang in the air, and
/// the rows would stay. The check must count what a `replace` removed, as well as an `overwrite` and a `delete`.
#[tokio::test]
async fn deletes_of_a_file_that_is_gone_are_a_conflict() {
    for way in ["replace", "overwrite", "delete"] {
        let world = World::new(FormatVersion::V2).await;
        let file = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
        let delete = world.delta(vec![], vec![world.positions(&file, &[0]).await]).await;
        let copy = world.write_one(&[(1, 0, "a"), (2, 0, "a")]).await;
        let (removed, validation) =
            (RemovedFiles::Files(vec![path(&file)]), Validation::snapshot(Some(world.head().await)));
        let properties = Default::default();
        let change = match way {
            "replace" => world.rewrite(&[&file], vec![copy]).await,
            "overwrite" => Change::Overwrite(Overwrite { removed, added: vec![copy], validation, properties }),
            _ => Change::DeleteFiles(DeleteFiles { removed, validation, properties }),
        };
        world.commit(&[change]).await;
        assert_eq!(world.operation().await.as_str(), way);
        let conflict = world.try_commit(&[delete]).await.unwrap_err();
        assert_eq!(conflict, Conflict::FileGone { path: path(&file) }, "{way}");
    }
}

/// Copy-on-write: the rewritten file has the rows that were deleted meanwhile, by position or by equality.
#[tokio::test]
async fn copy_on_write_does_not_bring_deleted_rows_back() {
    for by_equality in [false, true] {
        let world = World::new(FormatVersion::V2).await;
        let file = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
        let copy = world.write_one(&[(1, 0, "b"), (2, 0, "a")]).await;
        let update = Change::Overwrite(Overwrite {
            removed: RemovedFiles::Files(vec![path(&file)]),
            added: vec![copy],
            validation: Validation::snapshot(Some(world.head().await)),
            properties: Default::default(),
        });
        let delete = match by_equality {
            true => world.equality(&[2], &file).await,
            false => world.positions(&file, &[1]).await,
        };
        let delta = world.delta(vec![], vec![delete]).await;
        world.commit(&[delta]).await;
        assert!(matches!(world.try_commit(&[update]).await, Err(Conflict::RowsDeleted { .. })), "{by_equality}");
        assert_eq!(world.ids().await, [1]);
    }
}

/// Serializable isolation: rows that the change would have seen count, in its partitions only; what a rewrite adds was
/// there before and does not count.
#[tokio::test]
async fn rows_that_a_serializable_change_would_have_seen_are_a_conflict() {
    let world = World::partitioned(FormatVersion::V2).await;
    let file = world.append(&[(1, 1, "a"), (2, 1, "a")]).await;
    let (other, third) = (world.append(&[(5, 1, "a")]).await, world.append(&[(6, 1, "a")]).await);
    let filter = || Arc::new(PartitionFilter::new([(file.partition_spec_id, partition(1))]));
    let base = Some(world.head().await);
    let delete = |validation, positions| {
        Change::RowDelta(RowDelta { delete_files: vec![positions], validation, ..RowDelta::default() })
    };
    let serializable = delete(Validation::serializable(base, Some(filter())), world.positions(&file, &[0]).await);
    let early = delete(Validation::serializable(base, Some(filter())), world.positions(&third, &[0]).await);
    let snapshot = delete(Validation::snapshot(base), world.positions(&file, &[0]).await);
    // In another partition, and the same rows in another file: no conflict.
    let rewrite = world.rewrite(&[&other], vec![world.write_one(&[(5, 1, "a")]).await]).await;
    world.append(&[(3, 2, "b")]).await;
    world.commit(&[rewrite]).await;
    world.commit(&[early]).await;
    // In the partition.
    let phantom = world.append(&[(4, 1, "b")]).await;
    let conflict = world.try_commit(&[serializable]).await.unwrap_err();
    assert_eq!(conflict, Conflict::RowsAdded { path: path(&phantom) });
    world.commit(&[snapshot]).await;
    assert_eq!(world.ids().await, [2, 3, 4, 5]);
}

/// Two dynamic overwrites of the same partition: under serializable isolation the second has to see the first.
#[tokio::test]
async fn overwrites_of_one_partition_are_serial() {
    let world = World::partitioned(FormatVersion::V2).await;
    world.append(&[(1, 1, "a")]).await;
    world.append(&[(2, 2, "a")]).await;
    let base = Some(world.head().await);
    let overwrite = |added, validation| {
        Change::Overwrite(Overwrite {
            removed: RemovedFiles::PartitionsOfAdded,
            added,
            validation,
            properties: Default::default(),
        })
    };
    let first = overwrite(world.write(&[(3, 1, "b")]).await, Validation::serializable(base, None));
    let second = overwrite(world.write(&[(4, 1, "c")]).await, Validation::serializable(base, None));
    let elsewhere = overwrite(world.write(&[(5, 2, "c")]).await, Validation::serializable(base, None));
    world.commit(&[first]).await;
    assert_eq!(world.ids().await, [2, 3]);
    assert_eq!(world.summary().await["replace-partitions"], "true");
    assert!(matches!(world.try_commit(&[second]).await, Err(Conflict::RowsAdded { .. })));
    world.commit(&[elsewhere]).await;
    assert_eq!(world.ids().await, [3, 5]);
}

/// Amoro #1190, and a rolled back base: what happened since can't be told, so the change is refused, never made.
#[tokio::test]
async fn amoro_1190_a_base_that_is_gone_is_a_conflict() {
    let world = World::new(FormatVersion::V2).await;
    let file = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let base = world.head().await;
    let delete = world.delta(vec![], vec![world.positions(&file, &[0]).await]).await;
    world.append(&[(3, 0, "a")]).await;
    world.commit(&[Change::ExpireSnapshots { snapshot_ids: vec![base] }]).await;
    // It is named by its child still, so what came after it is known.
    world.commit(&[delete]).await;
    assert_eq!(world.ids().await, [2, 3]);
    let middle = world.head().await;
    let delete = world.delta(vec![], vec![world.positions(&file, &[1]).await]).await;
    world.append(&[(4, 0, "a")]).await;
    let after = world.head().await;
    world.append(&[(5, 0, "a")]).await;
    world.commit(&[Change::ExpireSnapshots { snapshot_ids: vec![middle, after] }]).await;
    let conflict = world.try_commit(&[delete]).await.unwrap_err();
    assert_eq!(conflict, Conflict::BaseGone { base_snapshot_id: Some(middle) });
}
