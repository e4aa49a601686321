//! Files of which few rows are deleted are merged byte for byte, and what was deleted of them is deleted of the new file.

use frazil_compactor::{Config, FileGroup, RewriteKind, commit_rewrite};
use frazil_reader::SnapshotSelector;
use frazil_table::spec::FormatVersion;
use frazil_table::{MetadataChange, referenced_data_file};

use super::deletes::{compact, live_files, longs, packing, plan, queue, run};
use super::rebase::{Kind, assert_clean};
use crate::table::world::{Row, World};

/// Row groups of any size are copied.
fn copying() -> Config {
    Config { row_group_size_bytes: 16, ..packing() }
}

fn rows(ids: std::ops::Range<i64>) -> Vec<Row> {
    ids.map(|id| (id, 0, "a")).collect()
}

async fn only_group(world: &World, config: &Config) -> FileGroup {
    let mut groups = plan(world, config).await;
    assert_eq!(groups.len(), 1);
    groups.remove(0)
}

/// The live deletes: of which file, and how many rows.
async fn deletes(world: &World) -> Vec<(Option<String>, u64)> {
    let state = world.state().await;
    let live = state.live_delete_files().unwrap();
    let of = live.iter().map(|live| (referenced_data_file(live.file), live.file.record_count()));
    // One that names no file stays for as long as files of its partition are not younger than it.
    of.filter(|(of, _)| of.is_some()).collect()
}

/// Museum: nimtable/iceberg-compaction#162 and iceberg#4127, where deletes of files that are gone stay for ever; #163, where the rows
/// of a merged file's vector come back.
#[tokio::test]
async fn few_deleted_rows_go_along_and_are_taken_out_when_they_are_many() {
    for kind in Kind::ALL {
        let world = World::new(kind.version()).await;
        let (a, b) = (world.append(&rows(0..100)).await, world.append(&rows(100..250)).await);
        let c = world.append(&rows(250..300)).await;
        kind.delete(&world, &[(&a, &[0, 99])]).await;
        kind.delete(&world, &[(&c, &[7])]).await;
        let lineage = ["id", "_row_id", "_last_updated_sequence_number"];
        let (before, ids) = (world.rows_of(SnapshotSelector::Latest).await, longs(&world, &lineage).await);
        let result = run(&world, &only_group(&world, &copying()).await, &copying()).await;
        assert_eq!((result.kind, result.rows_carried, result.rows_deleted), (RewriteKind::Carry, 3, 0), "{kind:?}");
        // Nothing came between, and nothing is rebased; yet the deletes go along, in the same snapshot.
        let output = result.outputs[0].file.file_path().to_owned();
        let end = commit_rewrite(&queue(&world), vec![result]).await.unwrap();
        assert_eq!((end.snapshot_ids.len(), end.rows_rebased, end.dropped.len()), (1, 0, 0), "{end:?}");
        assert_eq!(world.rows_of(SnapshotSelector::Latest).await, before, "{kind:?}");
        assert_eq!(longs(&world, &lineage).await, ids, "{kind:?}");
        assert_eq!(world.summary().await["frazil.compaction.kind"], "carry");
        assert_eq!(world.summary().await["frazil.compaction.rows-carried"], "3");
        assert_eq!((live_files(&world).await, deletes(&world).await), (1, vec![(Some(output), 3)]), "{kind:?}");
        assert!(plan(&world, &copying()).await.is_empty(), "it is no candidate");
        assert_clean(&world).await;
        // Too many now: they are taken out, with what was carried.
        let state = world.state().await;
        let merged = state.live_data_files().unwrap()[0];
        let merged = frazil_table::TableFile { file: merged.file.clone(), partition_spec_id: 0 };
        let old = *state.live_delete_files().unwrap().last().unwrap();
        let old = frazil_table::TableFile { file: old.file.clone(), partition_spec_id: 0 };
        let more: Vec<i64> = [0, 99, 257].into_iter().chain(100..240).collect();
        let mut delta = kind.delta(&world, &[(&merged, &more)]).await;
        if let (Kind::Vectors, frazil_table::Change::RowDelta(delta)) = (kind, &mut delta) {
            delta.removed_delete_files.push(old);
        }
        world.commit(&[delta]).await;
        let before = world.rows_of(SnapshotSelector::Latest).await;
        let report = compact(&world, &copying()).await;
        assert_eq!((report.rows_deleted, report.rows_carried), (143, 0), "{report}");
        assert_eq!(world.rows_of(SnapshotSelector::Latest).await, before);
        assert!(deletes(&world).await.is_empty());
        let _ = b;
    }
}

/// Deletes of the base and deletes that came since become one vector of the output.
#[tokio::test]
async fn what_comes_while_deletes_are_carried_joins_them() {
    for kind in Kind::ALL {
        let world = World::new(kind.version()).await;
        let (a, b) = (world.append(&rows(0..100)).await, world.append(&rows(100..200)).await);
        kind.delete(&world, &[(&a, &[1])]).await;
        let result = run(&world, &only_group(&world, &copying()).await, &copying()).await;
        assert_eq!(result.kind, RewriteKind::Carry);
        kind.delete(&world, &[(&b, &[0, 99])]).await;
        let delta = world.delta(vec![], vec![world.equality(&[50, 150], &a).await]).await;
        world.commit(&[delta]).await;
        let expected = world.ids().await;
        assert_eq!(expected.len(), 195);
        let end = commit_rewrite(&queue(&world), vec![result]).await.unwrap();
        assert_eq!((end.rows_rebased, end.dropped.len()), (2, 0), "{end:?}");
        assert_eq!((world.ids().await, live_files(&world).await), (expected.clone(), 1), "{kind:?}");
        assert_clean(&world).await;
        compact(&world, &packing()).await;
        assert_eq!(world.ids().await, expected);
    }
}

/// A delete file of a whole partition is applied by one group and carried by another: neither loses it.
#[tokio::test]
async fn a_delete_file_that_one_group_applies_and_another_carries_holds_for_both() {
    let world = World::new(FormatVersion::V2).await;
    let files = [
        world.append(&rows(0..100)).await,
        world.append(&rows(100..200)).await,
        world.append(&rows(200..210)).await,
        world.append(&rows(210..220)).await,
    ];
    let places: Vec<_> =
        [(0, 1), (1, 2), (2, 0), (2, 1), (2, 2), (2, 3), (3, 9)].map(|(file, at)| (&files[file], at)).into();
    let delta = world.delta(vec![], vec![world.wide_positions(&places).await]).await;
    world.commit(&[delta]).await;
    let (expected, whole) = (world.ids().await, only_group(&world, &copying()).await);
    // As a plan would have it whose outputs are small.
    let half = |range: std::ops::Range<usize>| FileGroup { inputs: whole.inputs[range].to_vec(), ..whole.clone() };
    let (large, small) = (run(&world, &half(0..2), &copying()).await, run(&world, &half(2..4), &copying()).await);
    assert_eq!([large.kind, small.kind], [RewriteKind::Carry, RewriteKind::Encode]);
    let end = commit_rewrite(&queue(&world), vec![large, small]).await.unwrap();
    assert_eq!((end.committed.len(), end.rows_rebased), (2, 0), "{end:?}");
    assert_eq!((world.ids().await, live_files(&world).await), (expected, 2));
    assert_clean(&world).await;
}

/// Where carrying is no gain, or not possible, rows are taken out.
#[tokio::test]
async fn deletes_that_are_many_or_by_key_are_applied() {
    let kind_of = |config: Config, world: World| async move {
        let group = only_group(&world, &config).await;
        run(&world, &group, &config).await.kind
    };
    let new = |version| async move {
        let world = World::new(version).await;
        let a = world.append(&rows(0..50)).await;
        world.append(&rows(50..100)).await;
        (world, a)
    };
    let (world, a) = new(FormatVersion::V3).await;
    Kind::Vectors.delete(&world, &[(&a, &(0..10).collect::<Vec<_>>())]).await;
    assert_eq!(kind_of(copying(), World::new_like(&world)).await, RewriteKind::Carry, "a tenth of all rows");
    assert_eq!(
        kind_of(packing(), World::new_like(&world)).await,
        RewriteKind::Encode,
        "small row groups grow together"
    );
    let purging = Config { delete_ratio: 0.0, ..copying() };
    assert_eq!(kind_of(purging, World::new_like(&world)).await, RewriteKind::Encode, "no deleted row is to stay");
    let (world, a) = new(FormatVersion::V3).await;
    Kind::Vectors.delete(&world, &[(&a, &(0..11).collect::<Vec<_>>())]).await;
    assert_eq!(kind_of(copying(), world).await, RewriteKind::Encode, "more than a tenth");
    let (world, a) = new(FormatVersion::V2).await;
    Kind::Positions.delete(&world, &[(&a, &[1])]).await;
    let delta = world.delta(vec![], vec![world.equality(&[60], &a).await]).await;
    world.commit(&[delta]).await;
    assert_eq!(kind_of(copying(), world).await, RewriteKind::Encode, "only decoding tells which rows have a key");
    // Deletes of before an upgrade become vectors.
    let (world, a) = new(FormatVersion::V2).await;
    Kind::WidePositions.delete(&world, &[(&a, &[3])]).await;
    world.evolve(MetadataChange::UpgradeFormatVersion(FormatVersion::V3)).await;
    world.append(&rows(100..120)).await;
    let expected = world.ids().await;
    let result = run(&world, &only_group(&world, &copying()).await, &copying()).await;
    assert_eq!(result.kind, RewriteKind::Carry);
    commit_rewrite(&queue(&world), vec![result]).await.unwrap();
    assert_eq!((world.ids().await, deletes(&world).await.len()), (expected, 1));
    assert_clean(&world).await;
}
