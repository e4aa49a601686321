use frazil_storage::Env;
use frazil_table::spec::{DataContentType, DataFileBuilder, DataFileFormat, Struct};
use frazil_table::{SnapshotProperties, TableFile};

use super::*;
use crate::session::world::World;
use crate::session::{IcebergTable, Resolved};
use crate::sql::Name;

/// A table with one file of two rows; its sketches.
async fn two_rows() -> (World, NdvSketches) {
    let mut world = World::new().await;
    world.done("CREATE TABLE t (id BIGINT); INSERT INTO t VALUES (1), (2)").await;
    let (table, context) = (world.table("t").await, ReadContext::new(world.session.env()));
    match sketches_at(&context, &table, head(&table)).await.unwrap() {
        Known::Sketches(sketches) => (world, sketches),
        other => panic!("{other:?}"),
    }
}

fn head(table: &Table) -> Option<i64> {
    table.current_snapshot().map(|snapshot| snapshot.snapshot_id())
}

async fn target(world: &World) -> IcebergTable {
    match world.session.resolve(&Name::new(["t"]), "t").await.unwrap() {
        Resolved::Iceberg(target) => target,
        other => panic!("{other:?}"),
    }
}

/// Appends a file that is of such a size and is nowhere: to read it fails.
async fn append_unreadable(world: &World, size_bytes: u64) {
    world.tick();
    let target = target(world).await;
    let env = world.session.env();
    let file = DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(format!("{}/data/{}.parquet", target.table.metadata().location(), env.ids.uuid()))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .record_count(1)
        .file_size_in_bytes(size_bytes)
        .build()
        .unwrap();
    let files = vec![TableFile { file, partition_spec_id: 0 }];
    let changes = [Change::Append { files, properties: SnapshotProperties::new() }];
    let queue = world.session.queue(&target);
    let end = queue.commit(&changes, CommitIdentity::of(env, &changes), &|_| Precheck::Proceed).await.unwrap();
    assert!(matches!(end, CommitEnd::Committed(_)), "{end:?}");
}

#[tokio::test]
async fn so_many_bytes_are_read_for_missing_sketches_and_no_more() {
    let (world, sketches) = two_rows().await;
    append_unreadable(&world, CATCH_UP_BYTES_MAX / 2).await;
    append_unreadable(&world, CATCH_UP_BYTES_MAX / 2).await;
    let table = world.table("t").await;
    let context = ReadContext::new(world.session.env());
    // The file of the first snapshot makes it too many.
    let Known::Unknown(reason) = sketches_at(&context, &table, head(&table)).await.unwrap() else { panic!() };
    assert_eq!(reason, "more than 268435456 bytes of files were added since the newest statistics");
    // With statistics of that snapshot only the others are left, which are as many as may be: they are looked for.
    let first = table.ancestors("main").last().unwrap().snapshot_id();
    let queue = world.session.queue(&target(&world).await);
    commit_sketches(&queue, &table, first, sketches).await.unwrap().unwrap();
    let table = world.table("t").await;
    let error = sketches_at(&context, &table, head(&table)).await.unwrap_err().to_string();
    assert!(error.contains(".parquet"), "{error}");
    assert!(matches!(sketches_at(&context, &table, Some(first)).await.unwrap(), Known::Sketches(_)));
}

async fn files(env: &Env, table: &Table) -> Vec<String> {
    let stored: Vec<_> = env.store.list(table.metadata().location()).await.unwrap().try_collect().await.unwrap();
    stored.into_iter().map(|meta| meta.location).collect()
}

#[tokio::test]
async fn statistics_of_a_snapshot_that_is_gone_leave_no_file() {
    let (world, sketches) = two_rows().await;
    let table = world.table("t").await;
    let env = world.session.env();
    let before = files(env, &table).await;
    let queue = world.session.queue(&target(&world).await);
    let refused = commit_sketches(&queue, &table, 4711, sketches).await.unwrap_err().to_string();
    assert!(refused.contains("the snapshot 4711 is not in the table any more"), "{refused}");
    assert_eq!(files(env, &table).await, before);
}
