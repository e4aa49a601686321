//! Checkpoints that delete rows.

use super::*;
use crate::UpsertPlan;

/// Deletes that were planned on a table.
fn planned_on(table: &Table, name: &str) -> UpsertPlan {
    let deletes = DataFileBuilder::default()
        .content(DataContentType::EqualityDeletes)
        .equality_ids(Some(vec![1]))
        .file_path(name.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .record_count(1)
        .file_size_in_bytes(1)
        .build()
        .unwrap();
    UpsertPlan {
        base_snapshot_id: Some(table.current_snapshot().map(|snapshot| snapshot.snapshot_id())),
        delete_files: vec![TableFile { file: deletes, partition_spec_id: 0 }],
        removed_delete_files: Vec::new(),
    }
}

async fn delete_files(world: &World) -> Vec<String> {
    let (cache, table) = (frazil_table::ManifestCache::default(), world.table().await);
    let entries = frazil_table::io::Entries::All;
    let state = frazil_table::io::load_state(&world.env.store, &cache, &table, entries).await.unwrap();
    state.live_delete_files().unwrap().iter().map(|live| live.file.file_path().to_owned()).collect()
}

/// Rows that another commit brought are not in the plan: they would stay beside the newer rows of their keys.
#[tokio::test]
async fn deletes_land_right_after_the_state_that_they_were_planned_on() {
    let world = World::new().await;
    let (mut run, _) = world.run().await.unwrap();
    let Checkpoint { id, mut flushed } = checkpoint(1);
    flushed.deletes = planned_on(&world.table().await, "d1");
    let mut committable = run.0.prepare(id, vec![flushed], false).await.unwrap().unwrap();
    world.foreign_append("foreign").await;
    let stale = run.0.commit(&committable).await.unwrap_err();
    assert!(matches!(stale, Error::Stale { .. }), "{stale}");
    assert_eq!(world.files().await, ["foreign"]);
    committable.replace_deletes(&sink(), planned_on(&world.table().await, "d2"));
    let landed = run.0.commit(&committable).await.unwrap().remove(0);
    assert!(matches!(landed, Landed::Committed { .. }), "{landed:?}");
    assert_eq!(
        (world.files().await, delete_files(&world).await),
        (vec!["f1".into(), "foreign".into()], vec!["d2".into()])
    );
    let again = run.0.commit(&committable).await.unwrap().remove(0);
    assert!(matches!(again, Landed::Before(_)), "{again:?}");
    let (_, recovered) = world.run().await.unwrap();
    assert_eq!(stands_at(&recovered), Some((1, &at(10))));
}

#[tokio::test]
async fn deletes_alone_are_worth_a_snapshot() {
    let world = World::new().await;
    let (mut run, _) = world.run().await.unwrap();
    let Checkpoint { id, mut flushed } = quiet(1);
    flushed.deletes = UpsertPlan { base_snapshot_id: None, ..planned_on(&world.table().await, "d1") };
    assert!(matches!(run.commit(Checkpoint { id, flushed }).await.unwrap(), Landed::Committed { .. }));
    assert_eq!(delete_files(&world).await, ["d1"]);
}

/// Position deletes of the checkpoint's own rows, in a file for several data files: what others did does not matter.
#[tokio::test]
async fn deletes_of_a_checkpoints_own_rows_hold_on_any_state() {
    let world = World::new().await;
    let (mut run, _) = world.run().await.unwrap();
    let Checkpoint { id, mut flushed } = checkpoint(1);
    flushed.deletes = UpsertPlan { base_snapshot_id: None, ..planned_on(&world.table().await, "d1") };
    run.commit(Checkpoint { id, flushed }).await.unwrap();
    let Checkpoint { id, mut flushed } = checkpoint(2);
    let positions = DataFileBuilder::default()
        .content(DataContentType::PositionDeletes)
        .file_path("p2".to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .record_count(2)
        .file_size_in_bytes(1)
        .build()
        .unwrap();
    flushed.deletes.delete_files.push(TableFile { file: positions, partition_spec_id: 0 });
    world.foreign_append("foreign").await;
    let landed = run.commit(Checkpoint { id, flushed }).await.unwrap();
    assert!(matches!(landed, Landed::Committed { .. }), "{landed:?}");
    let mut live = delete_files(&world).await;
    live.sort();
    assert_eq!(live, ["d1", "p2"]);
}
