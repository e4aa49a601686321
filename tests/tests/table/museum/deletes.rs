//! Delete files that go, stay, or are taken into others.

use frazil_table::evolve::{FieldPath, SpecStep};
use frazil_table::spec::{FormatVersion, Transform};
use frazil_table::{
    Change, Conflict, DeleteFiles, MetadataChange, Overwrite, RemovedFiles, RewriteDeletes, RowDelta, TableFile,
    Validation,
};

use crate::table::world::{World, path};

async fn overwrite(world: &World, removed: &[&TableFile], added: Vec<TableFile>) -> Change {
    Change::Overwrite(Overwrite {
        removed: RemovedFiles::Files(removed.iter().map(|file| path(file)).collect()),
        added,
        validation: Validation::snapshot(Some(world.head().await)),
        properties: Default::default(),
    })
}

/// iceberg#4127: position deletes and vectors of files that were rewritten stay for ever, because only the least sequence
/// number of the whole table is looked at.
#[tokio::test]
async fn iceberg_4127_deletes_of_files_that_are_gone_go_with_them() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = World::new(version).await;
        let keep = world.append(&[(9, 0, "a")]).await;
        let old = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
        let delete = match version {
            FormatVersion::V2 => world.positions(&old, &[1]).await,
            _ => world.vector(&old, &[1]).await,
        };
        let delta = world.delta(vec![], vec![delete]).await;
        world.commit(&[delta]).await;
        let change = overwrite(&world, &[&old], vec![world.write_one(&[(1, 0, "b")]).await]).await;
        world.commit(&[change]).await;
        assert_eq!(world.ids().await, [1, 9]);
        assert!(world.live_deletes().await.is_empty(), "{version:?}; {} is older and live", path(&keep));
        let summary = world.summary().await;
        assert_eq!((summary["removed-delete-files"].as_str(), summary["total-delete-files"].as_str()), ("1", "0"));
    }
}

/// iceberg-go#946: what is dead in one partition was judged by the oldest file of all partitions, so equality deletes
/// piled up; judged by the youngest they were dropped while they still applied.
#[tokio::test]
async fn iceberg_go_946_equality_deletes_die_by_their_own_partition() {
    let world = World::partitioned(FormatVersion::V2).await;
    let one = world.append(&[(1, 1, "a"), (2, 1, "a")]).await;
    let two = world.append(&[(1, 2, "a"), (2, 2, "a")]).await;
    let deletes = vec![world.equality(&[1], &one).await, world.equality(&[1], &two).await];
    let delta = world.delta(vec![], deletes.clone()).await;
    world.commit(&[delta]).await;
    assert_eq!(world.ids().await, [2, 2]);
    let change = overwrite(&world, &[&one], vec![world.write_one(&[(2, 1, "b")]).await]).await;
    world.commit(&[change]).await;
    let left: Vec<_> = world.live_deletes().await.into_iter().map(|(path, _)| path).collect();
    assert_eq!(left, [path(&deletes[1])]);
    assert_eq!(world.ids().await, [2, 2]);
}

/// iceberg-go#947: equality deletes of an unpartitioned spec apply to the files of every spec. Matched by spec id they
/// were dropped once no file of that spec was left, and rows of files of a newer spec were back.
#[tokio::test]
async fn iceberg_go_947_global_equality_deletes_reach_over_partition_specs() {
    let world = World::new(FormatVersion::V2).await;
    let old = world.append(&[(1, 1, "a"), (2, 1, "a")]).await;
    // A file of another spec, then a delete of the unpartitioned one.
    let add = SpecStep::Add { source: FieldPath::new(["p"]), transform: Transform::Identity, name: None };
    world.evolve(MetadataChange::PartitionSpec(vec![add])).await;
    let newer = world.append(&[(1, 1, "b"), (3, 1, "b")]).await;
    assert_ne!(newer.partition_spec_id, old.partition_spec_id);
    let delta = world.delta(vec![], vec![world.equality(&[1], &old).await]).await;
    world.commit(&[delta]).await;
    assert_eq!(world.ids().await, [2, 3]);
    let change = overwrite(&world, &[&old], vec![world.write_one(&[(2, 1, "c")]).await]).await;
    world.commit(&[change]).await;
    assert_eq!(world.ids().await, [2, 3], "row 1 of the newer spec stays deleted");
    assert_eq!(world.live_deletes().await.len(), 1);
}

/// iceberg#4988, #7624, #7651: merged position deletes got the number of the oldest of them, and no longer applied to
/// younger files: deleted rows were back.
#[tokio::test]
async fn iceberg_7651_merged_position_deletes_keep_the_newest_number() {
    let world = World::new(FormatVersion::V2).await;
    let first = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let early = world.wide_positions(&[(&first, 0)]).await;
    let delta = world.delta(vec![], vec![early.clone()]).await;
    world.commit(&[delta]).await;
    let second = world.append(&[(3, 0, "a"), (4, 0, "a")]).await;
    let late = world.wide_positions(&[(&second, 0)]).await;
    let delta = world.delta(vec![], vec![late.clone()]).await;
    world.commit(&[delta]).await;
    assert_eq!(world.ids().await, [2, 4]);
    let merged = world.wide_positions(&[(&first, 0), (&second, 0)]).await;
    let rewrite = RewriteDeletes {
        removed: vec![early, late],
        added: vec![merged.clone()],
        validation: Validation::snapshot(Some(world.head().await)),
        properties: Default::default(),
    };
    world.commit(&[Change::RewriteDeletes(rewrite)]).await;
    assert_eq!(world.live_deletes().await, [(path(&merged), 4)]);
    assert_eq!(world.ids().await, [2, 4]);
}

/// A rewrite of deletes must not let a delete of a live file go.
#[tokio::test]
async fn a_rewrite_of_deletes_keeps_them() {
    let world = World::new(FormatVersion::V3).await;
    let first = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let vector = world.vector(&first, &[0]).await;
    let delta = world.delta(vec![], vec![vector.clone()]).await;
    world.commit(&[delta]).await;
    let drop = RewriteDeletes {
        removed: vec![vector],
        validation: Validation::snapshot(Some(world.head().await)),
        ..RewriteDeletes::default()
    };
    let refusal = world.refusal(&[Change::RewriteDeletes(drop)]).await;
    assert!(refusal.contains("which is live, and adds none for it"), "{refusal}");
}

/// iceberg-go#1868, apache/iceberg#11495: a second vector of a data file is added beside the first. Readers take one of
/// the two, and rows are back.
#[tokio::test]
async fn iceberg_go_1868_a_vector_takes_the_earlier_one_in() {
    let world = World::new(FormatVersion::V3).await;
    let file = world.append(&[(1, 0, "a"), (2, 0, "a"), (3, 0, "a")]).await;
    let first = world.vector(&file, &[0]).await;
    let delta = world.delta(vec![], vec![first.clone()]).await;
    world.commit(&[delta]).await;
    // Beside the first one.
    let second = world.vector(&file, &[1]).await;
    let delta = world.delta(vec![], vec![second.clone()]).await;
    let refusal = world.refusal(&[delta]).await;
    assert!(refusal.contains("stays live"), "{refusal}");
    // In its place, with fewer rows.
    let validation = Validation::snapshot(Some(world.head().await));
    let replace = |vector: TableFile| {
        Change::RowDelta(RowDelta {
            delete_files: vec![vector],
            removed_delete_files: vec![first.clone()],
            validation: validation.clone(),
            ..RowDelta::default()
        })
    };
    let (wider, empty) = (world.vector(&file, &[0, 1]).await, world.vector(&file, &[]).await);
    assert!(world.refusal(&[replace(empty)]).await.contains("can't go without deletes of the same rows"));
    world.commit(&[replace(wider.clone())]).await;
    assert_eq!(world.ids().await, [3]);
    assert_eq!(world.live_deletes().await.len(), 1);
    let summary = world.summary().await;
    let counts = ["added-dvs", "removed-dvs", "total-delete-files", "total-position-deletes"].map(|key| &summary[key]);
    assert_eq!(counts, ["1", "1", "1", "2"]);
}

/// Position delete files of a table that was upgraded: a vector takes them in, and no new ones come.
#[tokio::test]
async fn after_an_upgrade_vectors_take_position_delete_files_in() {
    let world = World::new(FormatVersion::V2).await;
    let file = world.append(&[(1, 0, "a"), (2, 0, "a"), (3, 0, "a")]).await;
    let refusal = {
        let delta = world.delta(vec![], vec![world.vector(&file, &[0]).await]).await;
        world.refusal(&[delta]).await
    };
    assert!(refusal.contains("which format version 3 has first"), "{refusal}");
    let positions = world.positions(&file, &[0]).await;
    let delta = world.delta(vec![], vec![positions.clone()]).await;
    world.commit(&[delta]).await;
    world.evolve(MetadataChange::UpgradeFormatVersion(FormatVersion::V3)).await;
    let more = world.delta(vec![], vec![world.positions(&file, &[1]).await]).await;
    let refusal = world.refusal(&[more]).await;
    assert!(refusal.contains("deletes by position with deletion vectors only"), "{refusal}");
    let beside = world.delta(vec![], vec![world.vector(&file, &[1]).await]).await;
    assert!(world.refusal(&[beside]).await.contains("stays live"));
    let instead = RowDelta {
        delete_files: vec![world.vector(&file, &[0, 1]).await],
        removed_delete_files: vec![positions],
        validation: Validation::snapshot(Some(world.head().await)),
        ..RowDelta::default()
    };
    world.commit(&[Change::RowDelta(instead)]).await;
    assert_eq!(world.ids().await, [3]);
}

/// nimtable/iceberg-compaction#162: vectors of files that were rewritten stay, and pin their Puffin file. Many share one:
/// told apart by path alone, removing one removed them all.
#[tokio::test]
async fn nimtable_162_vectors_of_one_puffin_file_go_one_by_one() {
    let world = World::new(FormatVersion::V3).await;
    let a = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let b = world.append(&[(3, 0, "a"), (4, 0, "a")]).await;
    let vectors = world.vectors(&[(&a, &[0]), (&b, &[0])]).await;
    assert_eq!(path(&vectors[0]), path(&vectors[1]));
    let delta = world.delta(vec![], vectors.clone()).await;
    world.commit(&[delta]).await;
    assert_eq!(world.ids().await, [2, 4]);
    let delta = RowDelta {
        delete_files: vec![world.vector(&a, &[0, 1]).await],
        removed_delete_files: vec![vectors[0].clone()],
        validation: Validation::snapshot(Some(world.head().await)),
        ..RowDelta::default()
    };
    world.commit(&[Change::RowDelta(delta)]).await;
    assert_eq!(world.ids().await, [4]);
    assert_eq!(world.live_deletes().await.len(), 2);
}

/// A file that goes as a whole takes rows along that were deleted from it meanwhile; its deletes go too.
#[tokio::test]
async fn a_deleted_file_takes_its_deletes_along() {
    let world = World::new(FormatVersion::V2).await;
    let file = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let validation = Validation::snapshot(Some(world.head().await));
    let delta = world.delta(vec![], vec![world.positions(&file, &[0]).await]).await;
    world.commit(&[delta]).await;
    let delete =
        DeleteFiles { removed: RemovedFiles::Files(vec![path(&file)]), validation, properties: Default::default() };
    world.commit(&[Change::DeleteFiles(delete.clone())]).await;
    assert!(world.ids().await.is_empty() && world.live_deletes().await.is_empty());
    let conflict = world.try_commit(&[Change::DeleteFiles(delete)]).await.unwrap_err();
    assert_eq!(conflict, Conflict::FileGone { path: path(&file) });
}
