//! Snapshots that leave, and the files that stay.

use frazil_table::evolve::{IfThere, MetadataChange, RefChange};
use frazil_table::spec::{FormatVersion, SnapshotRetention};
use frazil_table::{
    Change, CommitTarget, DeleteFiles, ManifestCache, RemovedFiles, Retention, Validation, io, plan_cherry_pick,
    plan_expire,
};

use crate::table::world::{World, append, path};

const NOTHING: Retention = Retention { max_snapshot_age_ms: 0, min_snapshots_to_keep: 1 };

/// Expires what may go, and deletes what only it named.
async fn expire(world: &World) -> usize {
    let before = world.table().await;
    let later = before.metadata().last_updated_ms() + 1_000;
    let plan = plan_expire(&before, NOTHING, &[], later);
    world.commit(&plan.changes(&before)).await;
    let (after, cache) = (world.table().await, ManifestCache::default());
    let files = io::find_unreachable_files(&world.env.store, &cache, &before, &after).await.unwrap();
    for file in files.in_order_of_deletion() {
        world.env.store.delete(file).await.unwrap();
    }
    plan.snapshot_ids.len()
}

/// iceberg#802: a snapshot that was staged and then picked shares its files with the copy. Once the staged one expires,
/// an incremental clean-up deletes them, though they are live.
#[tokio::test]
async fn iceberg_802_files_of_a_picked_snapshot_stay() {
    let world = World::new(FormatVersion::V2).await;
    world.set_properties(&[("write.wap.enabled", "true")]).await;
    world.append(&[(1, 0, "a")]).await;
    let staged = world.write_one(&[(2, 0, "a")]).await;
    let target = CommitTarget::Staged { wap_id: "w".to_owned() };
    let staged_id = match world.try_commit_to(target, &[append(vec![staged.clone()])]).await.unwrap() {
        frazil_catalog::CommitEnd::Committed(committed) => committed.snapshot_ids[0],
        other => panic!("{other:?}"),
    };
    world.append(&[(3, 0, "a")]).await;
    let oldest_kept = world.head().await;
    let table = world.table().await;
    let pick = plan_cherry_pick(&table, staged_id).unwrap();
    assert!(pick.needs_files());
    let files = io::load_added_files(&world.env.store, &world.cache, &table, staged_id).await.unwrap();
    world.commit(&[pick.into_change(files)]).await;
    assert_eq!(world.ids().await, [1, 2, 3]);
    // The picked snapshot's parent is kept, so what it added is not in the oldest snapshot that is.
    let keep = RefChange::Create {
        name: "keep".to_owned(),
        snapshot_id: Some(oldest_kept),
        retention: SnapshotRetention::Tag { max_ref_age_ms: None },
        if_there: IfThere::Refuse,
    };
    world.evolve(MetadataChange::Ref(keep)).await;
    assert_eq!(expire(&world).await, 2, "the first and the staged one");
    assert_eq!(world.ids().await, [1, 2, 3], "{} is live", path(&staged));
}

/// iceberg#13568, #5666: the files of a branch or a tag are deleted with the snapshots of `main` that named them.
#[tokio::test]
async fn iceberg_13568_files_of_branches_and_tags_stay() {
    let world = World::new(FormatVersion::V2).await;
    let old = world.append(&[(1, 0, "a")]).await;
    let tag = RefChange::Create {
        name: "tag".to_owned(),
        snapshot_id: None,
        retention: SnapshotRetention::Tag { max_ref_age_ms: None },
        if_there: IfThere::Refuse,
    };
    world.evolve(MetadataChange::Ref(tag)).await;
    world.append(&[(2, 0, "a")]).await;
    let rewrite = world.rewrite(&[&old], vec![world.write_one(&[(1, 0, "a")]).await]).await;
    world.commit(&[rewrite]).await;
    world.append(&[(3, 0, "a")]).await;
    assert_eq!(expire(&world).await, 2);
    assert_eq!(world.ids().await, [1, 2, 3]);
    let tagged = world.rows_of(frazil_reader::SnapshotSelector::Tag("tag".to_owned())).await;
    assert_eq!(tagged.len(), 1);
}

/// Found by a random history: two tagged snapshots, one on the other, and a later one that expires, in whose manifests the
/// files of the second still stand as deleted ones.
#[tokio::test]
async fn files_of_tagged_snapshots_stay_when_what_came_after_them_expires() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = World::new(version).await;
        let mut files = Vec::new();
        for (name, id) in [("first", 1), ("second", 2)] {
            files.push(world.append(&[(id, 0, "a")]).await);
            let retention = SnapshotRetention::Tag { max_ref_age_ms: None };
            let (name, if_there) = (name.to_owned(), IfThere::Refuse);
            let tag = RefChange::Create { name, snapshot_id: None, retention, if_there };
            world.evolve(MetadataChange::Ref(tag)).await;
        }
        let delete = DeleteFiles {
            removed: RemovedFiles::Files(vec![path(&files[1])]),
            validation: Validation::snapshot(Some(world.head().await)),
            properties: Default::default(),
        };
        world.commit(&[Change::DeleteFiles(delete)]).await;
        world.append(&[(3, 0, "a")]).await;
        assert_eq!(expire(&world).await, 1);
        assert_eq!(world.ids().await, [1, 3]);
        let tagged = world.rows_of(frazil_reader::SnapshotSelector::Tag("second".to_owned())).await;
        assert_eq!(tagged.len(), 2);
    }
}

/// Many deletion vectors share a Puffin file. One that is replaced and expires must not take the file of the others along.
#[tokio::test]
async fn a_puffin_file_stays_as_long_as_one_of_its_vectors() {
    let world = World::new(FormatVersion::V3).await;
    let a = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let b = world.append(&[(3, 0, "a"), (4, 0, "a")]).await;
    let vectors = world.vectors(&[(&a, &[0]), (&b, &[0])]).await;
    let delta = world.delta(vec![], vectors.clone()).await;
    world.commit(&[delta]).await;
    let delta = frazil_table::RowDelta {
        delete_files: vec![world.vector(&a, &[0, 1]).await],
        removed_delete_files: vec![vectors[0].clone()],
        validation: Validation::snapshot(Some(world.head().await)),
        ..Default::default()
    };
    world.commit(&[Change::RowDelta(delta)]).await;
    assert_eq!(expire(&world).await, 3);
    assert_eq!(world.ids().await, [4]);
}
