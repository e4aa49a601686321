//! Rows that others lost or doubled though their numbers and the reach of their deletes were right.

use std::collections::HashSet;

use frazil_table::spec::FormatVersion;
use frazil_table::{Change, Conflict, Overwrite, RemovedFiles, Validation};

use crate::table::world::{Row, World, path};

/// moonlink#1172: rows are counted as they are read, and a batch of which all were deleted was passed over without being
/// counted. Every later delete of the file hit another row.
#[tokio::test]
async fn moonlink_1172_rows_are_counted_also_where_all_are_deleted() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = World::new(version).await;
        let rows: Vec<Row> = (0..30_000).map(|id| (id, 0, "a")).collect();
        let file = world.append(&rows).await;
        // Whole batches by equality, whole batches by position, and one row behind all of them.
        let equal: Vec<i64> = (100..9_900).collect();
        let delta = world.delta(vec![], vec![world.equality(&equal, &file).await]).await;
        world.commit(&[delta]).await;
        let places: Vec<i64> = (10_000..29_000).chain([29_998]).collect();
        let delete = match version {
            FormatVersion::V2 => world.positions(&file, &places).await,
            _ => world.vector(&file, &places.iter().map(|place| *place as u64).collect::<Vec<_>>()).await,
        };
        let delta = world.delta(vec![], vec![delete]).await;
        world.commit(&[delta]).await;
        let gone: HashSet<i64> = equal.into_iter().chain(places).collect();
        let left: Vec<i64> = (0..30_000).filter(|id| !gone.contains(id)).collect();
        assert_eq!(world.ids().await, left, "{version:?}");
    }
}

/// amoro#920: a rewrite was planned on a snapshot from before another rewrite of the same file; both landed, and its rows
/// were there twice.
#[tokio::test]
async fn amoro_920_of_two_rewrites_of_a_file_one_lands() {
    let world = World::new(FormatVersion::V2).await;
    let (one, two) = (world.append(&[(1, 0, "a")]).await, world.append(&[(2, 0, "a")]).await);
    let both = world.rewrite(&[&one, &two], vec![world.write_one(&[(1, 0, "a"), (2, 0, "a")]).await]).await;
    let late = world.rewrite(&[&one], vec![world.write_one(&[(1, 0, "a")]).await]).await;
    world.commit(&[both]).await;
    let conflict = world.try_commit(&[late]).await.unwrap_err();
    assert_eq!(conflict, Conflict::FileGone { path: path(&one) });
    assert_eq!(world.ids().await, [1, 2]);
}

/// RisingWave #26926: copy-on-write put the copies of a file into the table twice.
#[tokio::test]
async fn risingwave_26926_a_file_is_copied_on_write_once() {
    let world = World::new(FormatVersion::V2).await;
    let old = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let copy = world.write_one(&[(1, 0, "a"), (2, 0, "b")]).await;
    let overwrite = Change::Overwrite(Overwrite {
        removed: RemovedFiles::Files(vec![path(&old)]),
        added: vec![copy],
        validation: Validation::snapshot(Some(world.head().await)),
        properties: Default::default(),
    });
    world.commit(std::slice::from_ref(&overwrite)).await;
    let again = world.try_commit(&[overwrite]).await.unwrap_err();
    assert_eq!(again, Conflict::FileGone { path: path(&old) });
    assert_eq!(world.ids().await, [1, 2]);
}

/// trino#29361: cleaning up after a write that failed deleted files which the table had, since they were named in the
/// deletion vectors that were cleaned up.
#[tokio::test]
async fn trino_29361_a_change_that_fails_takes_nothing_of_the_table_along() {
    let world = World::new(FormatVersion::V3).await;
    let (one, two) = (world.append(&[(1, 0, "a"), (2, 0, "a")]).await, world.append(&[(3, 0, "a")]).await);
    let late = world.delta(vec![], vec![world.vector(&one, &[0]).await]).await;
    let delta = world.delta(vec![], vec![world.vector(&one, &[1]).await]).await;
    world.commit(&[delta]).await;
    let conflict = world.try_commit(&[late]).await.unwrap_err();
    assert!(matches!(conflict, Conflict::RowsDeleted { .. }), "{conflict}");
    for file in [&one, &two] {
        world.env.store.head(&path(file)).await.unwrap();
    }
    assert_eq!(world.ids().await, [1, 3]);
}
