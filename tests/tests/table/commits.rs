//! Commits that are more than one change, or not to `main`.

use std::sync::Arc;

use frazil_catalog::{CommitEnd, CommitRequest, Precheck, Retry, commit_transaction};
use frazil_reader::{Predicate, RowPredicate, SnapshotSelector};
use frazil_table::evolve::{FieldPath, IfThere, MetadataChange, RefChange, SchemaChange, SchemaStep};
use frazil_table::spec::{Datum, FormatVersion, Operation, PrimitiveType, SnapshotRetention, UnboundPartitionSpec};
use frazil_table::{
    Change, CommitIdentity, CommitTarget, Conflict, DeleteFiles, Overwrite, PartitionFilter, RemovedFiles,
    RewriteManifests, RowDelta, Validation,
};

use crate::table::world::{World, append, create};

fn branch(name: &str) -> MetadataChange {
    MetadataChange::Ref(RefChange::Create {
        name: name.to_owned(),
        snapshot_id: None,
        retention: SnapshotRetention::branch(None, None, None),
        if_there: IfThere::Refuse,
    })
}

#[tokio::test]
async fn a_branch_is_written_to_without_main() {
    let world = World::new(FormatVersion::V2).await;
    let file = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    world.evolve(branch("b")).await;
    let target = || CommitTarget::Branch("b".to_owned());
    let more = append(vec![world.write_one(&[(3, 0, "b")]).await]);
    assert!(matches!(world.try_commit_to(target(), &[more]).await.unwrap(), CommitEnd::Committed(_)));
    let delta = world.delta(vec![], vec![world.positions(&file, &[0]).await]).await;
    assert!(matches!(world.try_commit_to(target(), &[delta]).await.unwrap(), CommitEnd::Committed(_)));
    world.append(&[(4, 0, "a")]).await;
    let ids = |rows: Vec<(i64, Option<i32>, String)>| rows.into_iter().map(|row| row.0).collect::<Vec<_>>();
    assert_eq!(world.ids().await, [1, 2, 4]);
    assert_eq!(ids(world.rows_of(SnapshotSelector::Branch("b".to_owned())).await), [2, 3]);
    let missing = CommitTarget::Branch("c".to_owned());
    let error = world.try_commit_to(missing, &[append(vec![])]).await.unwrap_err().to_string();
    assert!(error.contains("the table has no branch c: create it first"), "{error}");
}

/// Found by random histories: files of before and after share a partition, and a manifest.
#[tokio::test]
async fn a_partition_stays_what_it_is_when_its_column_becomes_wider() {
    let world = World::partitioned(FormatVersion::V2).await;
    world.set_properties(&[("commit.manifest.min-count-to-merge", "2")]).await;
    let old = world.append(&[(1, 7, "a"), (2, 7, "a")]).await;
    world.append(&[(3, 8, "a")]).await;
    let before = world.write_one(&[(4, 7, "a")]).await;
    let p = FieldPath::from("p");
    let wider = SchemaStep::SetType { path: p.clone(), field_type: PrimitiveType::Long };
    world.evolve(MetadataChange::Schema(SchemaChange { steps: vec![wider], ..SchemaChange::default() })).await;
    world.commit(&[append(vec![before.clone()])]).await;
    let new = world.append(&[(5, 7, "a")]).await;
    assert_eq!(world.ids().await, [1, 2, 3, 4, 5]);

    // Deletes of the partition as it is called now find the rows of before, and the reverse.
    let delta = world.delta(vec![], vec![world.equality(&[1], &new).await, world.equality(&[5], &before).await]).await;
    world.commit(&[delta]).await;
    assert_eq!(world.ids().await, [2, 3, 4]);
    let delta = world.delta(vec![], vec![world.wide_positions(&[(&old, 1)]).await]).await;
    world.commit(&[delta]).await;
    assert_eq!(world.ids().await, [3, 4]);
    let rewrite = RewriteManifests { target_size_bytes: None, properties: Default::default() };
    world.commit(&[Change::RewriteManifests(rewrite)]).await;
    let delete = DeleteFiles {
        removed: RemovedFiles::Filter(Arc::new(PartitionFilter::of([&before]))),
        validation: Validation::snapshot(Some(world.head().await)),
        properties: Default::default(),
    };
    world.commit(&[Change::DeleteFiles(delete)]).await;
    assert_eq!(world.ids().await, [3]);
}

#[tokio::test]
async fn a_staged_snapshot_moves_nothing_until_it_is_published() {
    let world = World::new(FormatVersion::V2).await;
    world.append(&[(1, 0, "a")]).await;
    let target = CommitTarget::Staged { wap_id: "audit-7".to_owned() };
    let change = [append(vec![world.write_one(&[(2, 0, "a")]).await])];
    let error = world.try_commit_to(target.clone(), &change).await.unwrap_err().to_string();
    assert!(error.contains("write.wap.enabled"), "{error}");
    world.set_properties(&[("write.wap.enabled", "true")]).await;
    let head = world.head().await;
    assert!(matches!(world.try_commit_to(target, &change).await.unwrap(), CommitEnd::Committed(_)));
    assert_eq!((world.head().await, world.ids().await), (head, vec![1]));
    let staged = frazil_table::find_staged(&world.table().await, "audit-7").unwrap();
    let ids = world.rows_of(SnapshotSelector::Id(staged)).await.len();
    assert_eq!(ids, 2);
    let publish = frazil_table::plan_cherry_pick(&world.table().await, staged).unwrap().into_change(vec![]);
    world.commit(&[publish]).await;
    assert_eq!(world.ids().await, [1, 2]);
}

/// Operations by what a change holds, as Iceberg's Java library names them.
#[tokio::test]
async fn operations_are_named_by_what_changes() {
    let world = World::new(FormatVersion::V2).await;
    let file = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let cases = [
        (vec![world.write_one(&[(3, 0, "b")]).await], vec![], Operation::Append),
        (vec![], vec![world.positions(&file, &[0]).await], Operation::Delete),
        (vec![world.write_one(&[(4, 0, "b")]).await], vec![world.equality(&[2], &file).await], Operation::Overwrite),
    ];
    for (data, deletes, operation) in cases {
        let delta = world.delta(data, deletes).await;
        world.commit(&[delta]).await;
        assert_eq!(world.operation().await, operation);
    }
    let summary = world.summary().await;
    let expected = [
        ("added-data-files", "1"),
        ("added-delete-files", "1"),
        ("added-equality-delete-files", "1"),
        ("added-equality-deletes", "1"),
        ("total-delete-files", "2"),
        ("total-position-deletes", "1"),
        ("total-equality-deletes", "1"),
        ("total-data-files", "3"),
    ];
    for (key, value) in expected {
        assert_eq!(summary.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(world.ids().await, [3, 4]);
}

#[tokio::test]
async fn an_overwrite_by_filter_takes_whole_files_or_none() {
    let world = World::new(FormatVersion::V2).await;
    world.append(&[(1, 0, "a"), (5, 0, "a")]).await;
    world.append(&[(10, 0, "a"), (20, 0, "a")]).await;
    let table = world.table().await;
    let below = |id: i64| {
        let predicate = Predicate::compare("id", frazil_reader::Comparison::Less, Datum::long(id));
        Arc::new(RowPredicate::new(&table, &predicate).unwrap())
    };
    let head = Some(world.head().await);
    let overwrite = |id, added| {
        Change::Overwrite(Overwrite {
            removed: RemovedFiles::Filter(below(id)),
            added,
            validation: Validation::serializable(head, None),
            properties: Default::default(),
        })
    };
    let conflict = world.try_commit(&[overwrite(15, vec![])]).await.unwrap_err();
    assert!(matches!(&conflict, Conflict::PartialMatch { .. }), "{conflict}");
    assert!(conflict.to_string().contains("id < 15"), "{conflict}");
    let added = vec![world.write_one(&[(2, 0, "b")]).await];
    world.commit(&[overwrite(6, added)]).await;
    assert_eq!(world.ids().await, [2, 10, 20]);
    let delete = DeleteFiles {
        removed: RemovedFiles::Filter(below(100)),
        validation: Validation::default(),
        properties: Default::default(),
    };
    world.commit(&[Change::DeleteFiles(delete)]).await;
    assert!(world.ids().await.is_empty());
    assert_eq!(world.operation().await, Operation::Delete);
}

#[tokio::test]
async fn several_tables_change_at_once_or_not_at_all() {
    let world = World::new(FormatVersion::V2).await;
    let other = create(&world.catalog, "u", FormatVersion::V2, UnboundPartitionSpec::builder().build()).await;
    let other = World { ident: other, ..World::new_like(&world) };
    let file = world.append(&[(1, 0, "a")]).await;
    let stale = world.delta(vec![], vec![world.positions(&file, &[0]).await]).await;
    let fresh = append(vec![other.write_one(&[(7, 0, "a")]).await]);
    let both = |first: Change, second: Change| {
        let (world, other) = (&world, &other);
        async move {
            let (first, second) = ([first], [second]);
            let requests = vec![(request_of(world, &first), &world.cache), (request_of(other, &second), &other.cache)];
            commit_transaction(world.catalog.as_ref(), &world.env, requests).await.unwrap()
        }
    };
    // The first table's change has lost its file meanwhile.
    let rewrite = world.rewrite(&[&file], vec![world.write_one(&[(1, 0, "a")]).await]).await;
    world.commit(&[rewrite]).await;
    let end = both(stale, fresh.clone()).await;
    assert!(matches!(end, frazil_catalog::TransactionEnd::Conflict { .. }), "{end:?}");
    assert!(other.table().await.current_snapshot().is_none());
    let delta = RowDelta { data_files: vec![world.write_one(&[(2, 0, "b")]).await], ..RowDelta::default() };
    let end = both(Change::RowDelta(delta), fresh).await;
    assert!(matches!(end, frazil_catalog::TransactionEnd::Landed(_)), "{end:?}");
    assert_eq!((world.ids().await, other.ids().await), (vec![1, 2], vec![7]));
}

fn request_of<'a>(world: &'a World, changes: &'a [Change]) -> CommitRequest<'a> {
    CommitRequest {
        ident: &world.ident,
        target: CommitTarget::default(),
        changes,
        identity: CommitIdentity::of(&world.env, changes),
        precheck: &|_| Precheck::Proceed,
        retry: Retry::default(),
    }
}

/// The checks cost what came since the base, not what the table holds: an old table with many manifests is not read.
#[tokio::test]
async fn checks_read_what_came_since_the_base_only() {
    let mut reads = Vec::new();
    for size in [4, 40] {
        let world = World::new(FormatVersion::V3).await;
        let file = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
        for id in 0..size {
            world.append(&[(100 + id, 0, "a")]).await;
        }
        let delta = world.delta(vec![], vec![world.vector(&file, &[0]).await]).await;
        world.append(&[(50, 0, "a")]).await;
        let cold = World { cache: Default::default(), ..World::new_like(&world) };
        let before = world.env.store.counters().snapshot().reads;
        cold.commit(&[delta]).await;
        reads.push(world.env.store.counters().snapshot().reads - before);
    }
    assert_eq!(reads[0], reads[1], "{reads:?}");
}
