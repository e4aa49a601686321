//! Rewrites of data files while others write.

use frazil_table::spec::FormatVersion;
use frazil_table::{Change, Conflict};

use crate::table::world::{World, append, path, with_lineage};

/// apache/iceberg#10312 (open): a compaction decides that equality deletes are too old to matter by the oldest data
/// file that is left, without the files that it adds itself. Those keep an old data sequence number so that deletes
/// which came meanwhile still apply to them; the deletes are dropped, and deleted rows are back.
#[tokio::test]
async fn iceberg_10312_deletes_that_apply_to_rewritten_files_are_not_dropped() {
    let world = World::new(FormatVersion::V2).await;
    let old = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let rewrite = world.rewrite(&[&old], vec![world.write_one(&[(1, 0, "a"), (2, 0, "a")]).await]).await;
    let delete = world.equality(&[2], &old).await;
    let delta = world.delta(vec![], vec![delete]).await;
    world.commit(&[delta]).await;
    let young = world.append(&[(3, 0, "b")]).await;
    // The only file that is left over is younger than the delete; the output is not.
    world.commit(&[rewrite]).await;
    assert_eq!(world.ids().await, [1, 3]);
    assert_eq!(world.live_deletes().await.len(), 1);
    // Once the output is gone too, nothing is left for the delete to do, and it goes.
    let state = world.state().await;
    let output = state
        .live_data_files()
        .unwrap()
        .iter()
        .find(|live| live.file.file_path() != path(&young))
        .unwrap()
        .file
        .clone();
    let output = frazil_table::TableFile { file: output, partition_spec_id: 0 };
    let applied = world.rewrite(&[&output, &young], vec![world.write_one(&[(1, 0, "a"), (3, 0, "b")]).await]).await;
    world.commit(&[applied]).await;
    assert_eq!(world.ids().await, [1, 3]);
    assert!(world.live_deletes().await.is_empty(), "{:?}", world.live_deletes().await);
}

/// nimtable/iceberg-compaction#163 (open): the commit of a compaction looks only whether its inputs are still there. A
/// position delete that came meanwhile names a file that is gone then, and its row is back.
#[tokio::test]
async fn nimtable_163_a_rewrite_loses_to_position_deletes_that_came_meanwhile() {
    let world = World::new(FormatVersion::V2).await;
    let old = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let rewrite = world.rewrite(&[&old], vec![world.write_one(&[(1, 0, "a"), (2, 0, "a")]).await]).await;
    let delta = world.delta(vec![], vec![world.positions(&old, &[1]).await]).await;
    world.commit(&[delta]).await;
    let conflict = world.try_commit(&[rewrite]).await.unwrap_err();
    assert!(matches!(&conflict, Conflict::RowsDeleted { path: of, .. } if *of == path(&old)), "{conflict}");
    assert_eq!(world.ids().await, [1]);
}

/// As nimtable/iceberg-compaction#163 (and moonlink#1042, #1051: deletes lost between a rewrite and the table) with a
/// deletion vector, and with a position delete file of a whole partition.
#[tokio::test]
async fn nimtable_163_a_rewrite_loses_to_every_kind_of_position_delete() {
    let world = World::new(FormatVersion::V3).await;
    let old = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let output = with_lineage(&world.write_one(&[(1, 0, "a"), (2, 0, "a")]).await);
    let rewrite = world.rewrite(&[&old], vec![output]).await;
    let delta = world.delta(vec![], vec![world.vector(&old, &[1]).await]).await;
    world.commit(&[delta]).await;
    assert!(matches!(world.try_commit(&[rewrite]).await, Err(Conflict::RowsDeleted { .. })));
    assert_eq!(world.ids().await, [1]);

    let world = World::new(FormatVersion::V2).await;
    let old = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let other = world.append(&[(3, 0, "a")]).await;
    let rewrite = world.rewrite(&[&old], vec![world.write_one(&[(1, 0, "a"), (2, 0, "a")]).await]).await;
    let delta = world.delta(vec![], vec![world.wide_positions(&[(&old, 1), (&other, 0)]).await]).await;
    world.commit(&[delta]).await;
    assert!(matches!(world.try_commit(&[rewrite]).await, Err(Conflict::RowsDeleted { .. })));
    assert_eq!(world.ids().await, [1]);
}

/// The other half of nimtable/iceberg-compaction#163: equality deletes that came meanwhile are no conflict, but only
/// because the output keeps a number below theirs. With the number of its own snapshot the row would be back.
#[tokio::test]
async fn equality_deletes_that_came_meanwhile_apply_to_the_output() {
    let world = World::new(FormatVersion::V2).await;
    let old = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let rewrite = world.rewrite(&[&old], vec![world.write_one(&[(1, 0, "a"), (2, 0, "a")]).await]).await;
    let delta = world.delta(vec![world.write_one(&[(2, 0, "b")]).await], vec![world.equality(&[2], &old).await]).await;
    world.commit(&[delta]).await;
    // The new version of row 2 survives, the old one is gone, before and after.
    assert_eq!(world.ids().await, [1, 2]);
    world.commit(std::slice::from_ref(&rewrite)).await;
    assert_eq!(world.ids().await, [1, 2]);

    let Change::Replace { mut data_sequence_number, properties, .. } = rewrite else { unreachable!() };
    let world = World::new(FormatVersion::V2).await;
    let old = world.append(&[(1, 0, "a")]).await;
    let base_of = world.head().await;
    world.append(&[(2, 0, "a")]).await;
    data_sequence_number += 1;
    let too_new = Change::Replace {
        removed: vec![path(&old)],
        added: vec![world.write_one(&[(1, 0, "a")]).await],
        data_sequence_number,
        base_snapshot_id: base_of,
        carried: None,
        properties,
    };
    let refusal = world.refusal(&[too_new]).await;
    assert!(refusal.contains("can't have the data sequence number 2"), "{refusal}");
}

/// The reverse of C2 in our list: with a number below that of an input an output would be hit by equality deletes that
/// are older than the row (a key that was deleted and came again would be lost).
#[tokio::test]
async fn a_rewritten_file_is_not_older_than_its_inputs() {
    let world = World::new(FormatVersion::V2).await;
    let old = world.append(&[(1, 0, "a")]).await;
    let delta = world.delta(vec![world.write_one(&[(1, 0, "b")]).await], vec![world.equality(&[1], &old).await]).await;
    world.commit(&[delta]).await;
    let state = world.state().await;
    let again =
        state.live_data_files().unwrap().iter().find(|live| live.data_sequence_number == 2).unwrap().file.clone();
    let again = frazil_table::TableFile { file: again, partition_spec_id: 0 };
    let mut rewrite = world.rewrite(&[&again], vec![world.write_one(&[(1, 0, "b")]).await]).await;
    let Change::Replace { data_sequence_number, .. } = &mut rewrite else { unreachable!() };
    *data_sequence_number = 1;
    let refusal = world.refusal(&[rewrite]).await;
    assert!(refusal.contains("the newest file that goes has 2"), "{refusal}");
    assert_eq!(world.ids().await, [1]);
}

/// fluss #4352: rows are added first, then a compaction commits that was checked from a snapshot before them, and each
/// cycle fails. Here both are in one commit, as two snapshots under one pointer swap, the second on top of the first.
#[tokio::test]
async fn fluss_4352_rows_and_the_rewrite_of_their_file_are_one_commit() {
    let world = World::new(FormatVersion::V2).await;
    let first = world.append(&[(1, 0, "a")]).await;
    let second = world.write_one(&[(2, 0, "a")]).await;
    let rewrite = Change::Replace {
        removed: vec![path(&first), path(&second)],
        added: vec![world.write_one(&[(1, 0, "a"), (2, 0, "a")]).await],
        data_sequence_number: 2,
        base_snapshot_id: world.head().await,
        carried: None,
        properties: Default::default(),
    };
    let committed = world.commit(&[append(vec![second]), rewrite]).await;
    assert_eq!(committed.snapshot_ids.len(), 2);
    assert_eq!(world.ids().await, [1, 2]);
    let table = world.table().await;
    let chain: Vec<_> = table.ancestors("main").map(|snapshot| snapshot.sequence_number()).collect();
    assert_eq!(chain, [3, 2, 1]);
}

/// A row that one change of a commit deletes must not come back with the rewrite that follows in the same commit.
#[tokio::test]
async fn a_rewrite_sees_the_deletes_of_its_own_commit() {
    let world = World::new(FormatVersion::V2).await;
    let old = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let rewrite = world.rewrite(&[&old], vec![world.write_one(&[(1, 0, "a"), (2, 0, "a")]).await]).await;
    let delta = world.delta(vec![], vec![world.positions(&old, &[1]).await]).await;
    let conflict = world.try_commit(&[delta, rewrite]).await.unwrap_err();
    assert!(matches!(conflict, Conflict::RowsDeleted { .. }), "{conflict}");
    assert_eq!(world.ids().await, [1, 2], "neither landed");
}

/// iceberg#17764: the check of a v3 compaction counts deletion vectors against it that have nothing to do with its files
/// and fails for ever under steady upserts. A conflict is only what touches the inputs.
#[tokio::test]
async fn iceberg_17764_vectors_of_other_files_do_not_stop_a_rewrite() {
    let world = World::new(FormatVersion::V3).await;
    let old = world.append(&[(1, 0, "a")]).await;
    let other = world.append(&[(2, 0, "a"), (3, 0, "a")]).await;
    let output = with_lineage(&world.write_one(&[(1, 0, "a")]).await);
    let rewrite = world.rewrite(&[&old], vec![output]).await;
    let delta = world.delta(vec![], vec![world.vector(&other, &[0]).await]).await;
    world.commit(&[delta]).await;
    world.commit(&[rewrite]).await;
    assert_eq!(world.ids().await, [1, 3]);
}
