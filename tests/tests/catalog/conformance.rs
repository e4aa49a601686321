//! What every catalog does, whatever is behind it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use frazil_catalog::{CommitOutcome, Error};
use frazil_table::spec::{
    FormatVersion, MAIN_BRANCH, NestedField, NullOrder, PrimitiveType, Schema, SnapshotReference, SnapshotRetention,
    SortDirection, SortField, SortOrder, TableRequirement, TableUpdate, Transform, Type, UnboundPartitionSpec,
};
use tokio::task::JoinSet;

pub use super::consumers::*;
use super::fixture::*;

pub async fn namespaces_nest_and_go_only_when_empty(world: World) {
    let catalog = &world.catalog;
    let missing = catalog.create_namespace(&namespace("a.b"), BTreeMap::new()).await.unwrap_err();
    assert!(matches!(&missing, Error::NoSuchNamespace(name) if name == "a"), "{missing:?}");
    for name in ["a", "a.b", "a.b.c", "ab"] {
        catalog.create_namespace(&namespace(name), BTreeMap::new()).await.unwrap();
    }
    let again = catalog.create_namespace(&namespace("a.b"), BTreeMap::new()).await.unwrap_err();
    assert!(matches!(again, Error::NamespaceExists(_)), "{again:?}");
    assert_eq!(catalog.list_namespaces(None).await.unwrap(), [namespace("a"), namespace("ab")]);
    assert_eq!(catalog.list_namespaces(Some(&namespace("a"))).await.unwrap(), [namespace("a.b")]);
    let missing = catalog.list_namespaces(Some(&namespace("x"))).await.unwrap_err();
    assert!(matches!(missing, Error::NoSuchNamespace(_)), "{missing:?}");
    let full = catalog.drop_namespace(&namespace("a")).await.unwrap_err();
    assert!(matches!(full, Error::NamespaceNotEmpty(_)), "{full:?}");
    catalog.create_table(&namespace("a.b.c"), creation("t")).await.unwrap();
    let full = catalog.drop_namespace(&namespace("a.b.c")).await.unwrap_err();
    assert!(matches!(full, Error::NamespaceNotEmpty(_)), "{full:?}");
    catalog.drop_table(&ident("a.b.c.t"), false).await.unwrap();
    for name in ["a.b.c", "a.b", "a", "ab"] {
        catalog.drop_namespace(&namespace(name)).await.unwrap();
    }
    let gone = catalog.drop_namespace(&namespace("a")).await.unwrap_err();
    assert!(matches!(gone, Error::NoSuchNamespace(_)), "{gone:?}");
    assert_eq!(catalog.list_namespaces(None).await.unwrap(), []);
}

pub async fn namespace_properties_are_set_and_removed(world: World) {
    let catalog = &world.catalog;
    let made = BTreeMap::from([("owner".to_owned(), "ann".to_owned()), ("k".to_owned(), "v".to_owned())]);
    let namespace = namespace("db");
    assert_eq!(catalog.create_namespace(&namespace, made.clone()).await.unwrap().properties, made);
    let updates = properties(&[("owner", "bob"), ("note", "é\"'")]);
    catalog.update_namespace(&namespace, updates, vec!["k".to_owned(), "none".to_owned()]).await.unwrap();
    let mut now = catalog.load_namespace(&namespace).await.unwrap().properties;
    // A catalog may tell where the tables go.
    let location = now.remove("location");
    assert!(location.is_none_or(|location| location == format!("{}/db", world.warehouse)));
    assert_eq!(now, properties(&[("owner", "bob"), ("note", "é\"'")]).into_iter().collect());
    let gone = catalog.update_namespace(&super::fixture::namespace("x"), HashMap::new(), vec![]).await;
    assert!(matches!(gone, Err(Error::NoSuchNamespace(_))), "{gone:?}");
}

pub async fn a_table_is_made_listed_and_dropped(world: World) {
    let made = world.with_table().await;
    let catalog = &world.catalog;
    assert_eq!(made.ident(), &ident("db.t"));
    assert_eq!(made.metadata().location(), format!("{}/db/t", world.warehouse));
    assert_eq!(made.metadata().current_schema().as_struct().fields()[0].id, 1);
    let loaded = catalog.load_table(&ident("db.t")).await.unwrap();
    assert_eq!(loaded.metadata_location(), made.metadata_location());
    assert_eq!(loaded.metadata(), made.metadata());
    let again = catalog.create_table(&namespace("db"), creation("t")).await.unwrap_err();
    assert!(matches!(again, Error::TableExists(_)), "{again:?}");
    let missing = catalog.create_table(&namespace("x"), creation("t")).await.unwrap_err();
    assert!(matches!(missing, Error::NoSuchNamespace(_)), "{missing:?}");
    catalog.create_table(&namespace("db"), creation("s")).await.unwrap();
    assert_eq!(catalog.list_tables(&namespace("db")).await.unwrap(), [ident("db.s"), ident("db.t")]);
    assert!(catalog.table_exists(&ident("db.t")).await.unwrap());
    catalog.drop_table(&ident("db.t"), false).await.unwrap();
    assert!(!catalog.table_exists(&ident("db.t")).await.unwrap());
    assert!(!catalog.table_exists(&ident("none.t")).await.unwrap());
    assert_eq!(catalog.list_tables(&namespace("db")).await.unwrap(), [ident("db.s")]);
    let gone = catalog.load_table(&ident("db.t")).await.unwrap_err();
    assert!(matches!(gone, Error::NoSuchTable(_)), "{gone:?}");
    let gone = catalog.drop_table(&ident("db.t"), false).await.unwrap_err();
    assert!(matches!(gone, Error::NoSuchTable(_)), "{gone:?}");
    let missing = catalog.list_tables(&namespace("x")).await.unwrap_err();
    assert!(matches!(missing, Error::NoSuchNamespace(_)), "{missing:?}");
    let files = files(&world.env, made.metadata().location()).await;
    assert_eq!(files, [made.metadata_location()], "a drop without purge leaves the files");
}

pub async fn a_purge_deletes_what_the_table_names_and_nothing_else(world: World) {
    let table = world.with_table().await;
    let place = table.metadata().location().to_owned();
    for name in ["a", "b"] {
        let path = format!("{place}/data/{name}.parquet");
        world.env.store.put_new(&path, "rows".into()).await.unwrap();
        world.append(table.ident(), &path).await.unwrap();
    }
    let stranger = format!("{place}/data/stranger.parquet");
    world.env.store.put_new(&stranger, "rows".into()).await.unwrap();
    world.catalog.drop_table(table.ident(), true).await.unwrap();
    assert_eq!(files(&world.env, &place).await, [stranger]);
}

pub async fn a_rename_leaves_the_old_name_free(world: World) {
    let table = world.with_table().await;
    let catalog = &world.catalog;
    catalog.create_namespace(&namespace("other"), BTreeMap::new()).await.unwrap();
    catalog.create_table(&namespace("db"), creation("taken")).await.unwrap();
    let refused = catalog.rename_table(&ident("db.t"), &ident("db.taken")).await.unwrap_err();
    assert!(matches!(&refused, Error::TableExists(name) if name == "db.taken"), "{refused:?}");
    let refused = catalog.rename_table(&ident("db.t"), &ident("none.t")).await.unwrap_err();
    assert!(matches!(&refused, Error::NoSuchNamespace(name) if name == "none"), "{refused:?}");
    let refused = catalog.rename_table(&ident("db.none"), &ident("db.n")).await.unwrap_err();
    assert!(matches!(&refused, Error::NoSuchTable(name) if name == "db.none"), "{refused:?}");
    catalog.rename_table(&ident("db.t"), &ident("other.u")).await.unwrap();
    let renamed = catalog.load_table(&ident("other.u")).await.unwrap();
    assert_eq!(renamed.metadata_location(), table.metadata_location());
    assert!(!catalog.table_exists(&ident("db.t")).await.unwrap());
    let second = catalog.create_table(&namespace("db"), creation("t")).await.unwrap();
    assert_ne!(second.metadata().location(), table.metadata().location(), "two tables never share files");
    world.append(&ident("other.u"), "memory://x/a.parquet").await.unwrap();
    assert!(second.current_snapshot().is_none());
}

pub async fn locations_outside_the_warehouse_are_refused(world: World) {
    let table = world.with_table().await;
    let catalog = &world.catalog;
    let wh = &world.warehouse;
    let outside = [format!("{wh}-evil/t"), format!("{wh}/../t"), format!("{wh}/%2e%2e/t"), "s3://b/t".to_owned()];
    for place in &outside {
        let mut bad = creation("bad");
        bad.location = Some(place.clone());
        let refused = catalog.create_table(&namespace("db"), bad).await.unwrap_err();
        assert!(matches!(refused, Error::Forbidden(_)), "create at {place}: {refused:?}");
        let updates = [
            TableUpdate::SetLocation { location: place.clone() },
            set(&[("write.data.path", place)]),
            set(&[("write.metadata.path", place)]),
        ];
        for update in updates {
            let text = format!("{update:?}");
            let refused = catalog.commit(request(table.ident(), vec![], vec![update])).await.unwrap_err();
            assert!(matches!(refused, Error::Forbidden(_)), "{text}: {refused:?}");
        }
        let metadata = format!("{place}/metadata/1.metadata.json");
        let refused = catalog.register_table(&ident("db.bad"), &metadata).await.unwrap_err();
        assert!(matches!(refused, Error::Forbidden(_)), "register {metadata}: {refused:?}");
        let mut bad = creation("bad");
        bad.properties = properties(&[("write.data.path", place)]);
        let refused = catalog.create_table(&namespace("db"), bad).await.unwrap_err();
        assert!(matches!(refused, Error::Forbidden(_)), "data at {place}: {refused:?}");
    }
    assert_eq!(catalog.list_tables(&namespace("db")).await.unwrap(), [ident("db.t")]);
    assert_eq!(catalog.load_table(table.ident()).await.unwrap().metadata_location(), table.metadata_location());
    assert_eq!(files(&world.env, wh).await, [table.metadata_location()], "nothing is left of the refused");
}

pub async fn tables_never_overlap(world: World) {
    let table = world.with_table().await;
    let place = table.metadata().location();
    for overlapping in [place.to_owned(), format!("{place}/inside"), format!("{}/db", world.warehouse)] {
        let mut bad = creation("bad");
        bad.location = Some(overlapping.clone());
        let refused = world.catalog.create_table(&namespace("db"), bad).await.unwrap_err();
        assert!(matches!(refused, Error::Forbidden(_)), "{overlapping}: {refused:?}");
    }
    let mut beside = creation("beside");
    beside.location = Some(format!("{place}2"));
    world.catalog.create_table(&namespace("db"), beside).await.unwrap();
}

pub async fn a_dropped_table_can_be_registered_again(world: World) {
    let table = world.with_table().await;
    world.append(table.ident(), "memory://x/a.parquet").await.unwrap();
    let catalog = &world.catalog;
    let before = catalog.load_table(table.ident()).await.unwrap();
    let taken = catalog.register_table(table.ident(), before.metadata_location()).await.unwrap_err();
    assert!(matches!(taken, Error::TableExists(_) | Error::Forbidden(_)), "{taken:?}");
    catalog.drop_table(table.ident(), false).await.unwrap();
    let back = catalog.register_table(&ident("db.back"), before.metadata_location()).await.unwrap();
    assert_eq!(back.metadata(), before.metadata());
    assert_eq!(world.live(&ident("db.back")).await, ["memory://x/a.parquet"]);
    let place = format!("{}/db/nothing.metadata.json", world.warehouse);
    assert!(catalog.register_table(&ident("db.n"), &place).await.is_err());
    world.env.store.put_new(&place, "{\"format-version\": 2}".into()).await.unwrap();
    assert!(catalog.register_table(&ident("db.n"), &place).await.is_err());
    assert!(!catalog.table_exists(&ident("db.n")).await.unwrap());
}

pub async fn every_requirement_is_checked(world: World) {
    let table = world.with_table().await;
    let failing = [
        TableRequirement::NotExist,
        TableRequirement::UuidMatch { uuid: uuid::Uuid::nil() },
        ref_is(MAIN_BRANCH, Some(1)),
        TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: 99 },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: 99 },
        TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id: 1234 },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: 99 },
        TableRequirement::DefaultSortOrderIdMatch { default_sort_order_id: 99 },
    ];
    for requirement in failing {
        let text = format!("{requirement:?}");
        let commit = request(table.ident(), vec![requirement], vec![set(&[("k", "v")])]);
        let outcome = world.catalog.commit(commit).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Conflict(_)), "{text}: {outcome:?}");
    }
    assert_eq!(world.catalog.load_table(table.ident()).await.unwrap().metadata_location(), table.metadata_location());
    let holding = vec![
        is_table(&table),
        ref_is(MAIN_BRANCH, None),
        TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: 2 },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: 0 },
        TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id: 999 },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: 0 },
        TableRequirement::DefaultSortOrderIdMatch { default_sort_order_id: 0 },
    ];
    let commit = request(table.ident(), holding, vec![set(&[("k", "v")])]);
    let after = world.catalog.commit(commit).await.unwrap().committed();
    assert_eq!(after.property("k"), Some("v"));
    assert_eq!(after.metadata().metadata_log().last().unwrap().metadata_file, table.metadata_location());
    let missing = request(&ident("db.none"), vec![], vec![set(&[("k", "v")])]);
    let missing = world.catalog.commit(missing).await.unwrap_err();
    assert!(matches!(missing, Error::NoSuchTable(_)), "{missing:?}");
}

pub async fn a_request_that_no_state_can_take_is_a_bad_request(world: World) {
    let table = world.with_table().await;
    let bad = [
        TableUpdate::SetCurrentSchema { schema_id: 77 },
        TableUpdate::SetDefaultSpec { spec_id: 77 },
        TableUpdate::UpgradeFormatVersion { format_version: FormatVersion::V1 },
        set(&[("snapshot-count", "3")]),
        TableUpdate::SetSnapshotRef {
            ref_name: MAIN_BRANCH.to_owned(),
            reference: SnapshotReference::new(77, SnapshotRetention::branch(None, None, None)),
        },
    ];
    for update in bad {
        let text = format!("{update:?}");
        let refused = world.catalog.commit(request(table.ident(), vec![], vec![update])).await;
        assert!(matches!(refused, Err(Error::BadRequest(_))), "{text}: {refused:?}");
    }
    assert_eq!(files(&world.env, &world.warehouse).await, [table.metadata_location()]);
}

/// iceberg#13867, polaris#5037: a request that is sent again gets a conflict with itself for an answer.
pub async fn the_same_key_gets_the_same_answer(world: World) {
    let table = world.with_table().await;
    let catalog = &world.catalog;
    let commit = request(table.ident(), vec![is_table(&table)], vec![set(&[("k", "1"), ("l", "2"), ("m", "3")])]);
    let first = catalog.commit(commit.clone()).await.unwrap().committed();
    let second = catalog.commit(commit.clone()).await.unwrap().committed();
    assert_eq!(first.metadata_location(), second.metadata_location(), "it is made once");
    let mut other = commit.clone();
    other.updates = vec![set(&[("k", "9")])];
    let refused = catalog.commit(other).await.unwrap_err();
    assert!(matches!(refused, Error::BadRequest(_)), "another request under the same key: {refused:?}");

    // One that lost stays lost, even if it would hold by now.
    let early =
        request(table.ident(), vec![ref_is("tag", None), ref_is(MAIN_BRANCH, Some(7))], vec![set(&[("n", "1")])]);
    catalog.commit(early.clone()).await.unwrap().conflict();
    let snapshot = snapshot_on(&second, 7);
    let reference = SnapshotReference::new(7, SnapshotRetention::branch(None, None, None));
    let updates = vec![
        TableUpdate::AddSnapshot { snapshot },
        TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_owned(), reference },
    ];
    catalog.commit(request(table.ident(), vec![], updates)).await.unwrap().committed();
    catalog.commit(early).await.unwrap().conflict();
}

pub async fn a_used_sequence_number_is_a_conflict(world: World) {
    let table = world.with_table().await;
    let add = |snapshot_id: i64, branch: &str| {
        let reference = SnapshotReference::new(snapshot_id, SnapshotRetention::branch(None, None, None));
        let requirement = ref_is(branch, None);
        let updates = vec![
            TableUpdate::AddSnapshot { snapshot: snapshot_on(&table, snapshot_id) },
            TableUpdate::SetSnapshotRef { ref_name: branch.to_owned(), reference },
        ];
        request(table.ident(), vec![requirement], updates)
    };
    world.catalog.commit(add(1, MAIN_BRANCH)).await.unwrap().committed();
    let reason = world.catalog.commit(add(2, "branch")).await.unwrap().conflict();
    assert!(reason.contains("sequence number 1 is used"), "{reason}");
}

/// Some clients add a schema, spec or sort order again and set `-1`, the last one added; others name its id.
pub async fn what_was_there_before_is_taken_up_again_however_it_is_named(world: World) {
    let table = world.with_table().await;
    let with_note = |schema: Schema| {
        let note = NestedField::optional(3, "note", Type::Primitive(PrimitiveType::String)).into();
        schema.into_builder().with_schema_id(1).with_fields([note]).build().unwrap()
    };
    let by_id = || UnboundPartitionSpec::builder().add_partition_field(1, "id", Transform::Identity).unwrap().build();
    let sorted = || {
        let order = SortField::builder().source_id(1).transform(Transform::Identity);
        let field = order.direction(SortDirection::Ascending).null_order(NullOrder::First).build();
        SortOrder { order_id: 1, fields: vec![field] }
    };
    let last = |schema: Schema, spec: UnboundPartitionSpec, sort_order: SortOrder| {
        vec![
            TableUpdate::AddSchema { schema },
            TableUpdate::SetCurrentSchema { schema_id: -1 },
            TableUpdate::AddSpec { spec },
            TableUpdate::SetDefaultSpec { spec_id: -1 },
            TableUpdate::AddSortOrder { sort_order },
            TableUpdate::SetDefaultSortOrder { sort_order_id: -1 },
        ]
    };
    let first = || last(schema(), UnboundPartitionSpec::builder().build(), SortOrder::unsorted_order());
    let second = || last(with_note(schema()), by_id(), sorted());
    let by_number = vec![
        TableUpdate::SetCurrentSchema { schema_id: 0 },
        TableUpdate::SetDefaultSpec { spec_id: 0 },
        TableUpdate::SetDefaultSortOrder { sort_order_id: 0 },
    ];
    for (updates, id) in [(second(), 1), (first(), 0), (second(), 1), (by_number, 0)] {
        let commit = request(table.ident(), vec![is_table(&table)], updates);
        let after = world.catalog.commit(commit).await.unwrap().committed();
        let now = after.metadata();
        let current = (now.current_schema_id(), now.default_partition_spec_id(), now.default_sort_order_id());
        assert_eq!(current, (id, id, i64::from(id)));
        assert_eq!(
            (now.schemas_iter().len(), now.partition_specs_iter().len(), now.sort_orders_iter().len()),
            (2, 2, 2)
        );
    }
    let nothing_added = request(table.ident(), vec![], vec![TableUpdate::SetDefaultSpec { spec_id: -1 }]);
    let refused = world.catalog.commit(nothing_added).await.unwrap_err();
    assert!(matches!(refused, Error::BadRequest(_)), "{refused:?}");
}

pub async fn a_commit_that_asserts_create_makes_the_table_once(world: World) {
    world.catalog.create_namespace(&namespace("db"), BTreeMap::new()).await.unwrap();
    let place = format!("{}/db/staged", world.warehouse);
    let uuid = uuid::Uuid::new_v4();
    let updates = vec![
        TableUpdate::AssignUuid { uuid },
        TableUpdate::UpgradeFormatVersion { format_version: FormatVersion::V2 },
        TableUpdate::AddSchema { schema: schema() },
        TableUpdate::SetCurrentSchema { schema_id: -1 },
        TableUpdate::AddSpec { spec: UnboundPartitionSpec::builder().build() },
        TableUpdate::SetDefaultSpec { spec_id: -1 },
        TableUpdate::AddSortOrder { sort_order: SortOrder::unsorted_order() },
        TableUpdate::SetDefaultSortOrder { sort_order_id: -1 },
        TableUpdate::SetLocation { location: place.clone() },
        set(&[("k", "v")]),
    ];
    let staged = ident("db.staged");
    let make = |updates: Vec<TableUpdate>| request(&staged, vec![TableRequirement::NotExist], updates);
    let table = world.catalog.commit(make(updates.clone())).await.unwrap().committed();
    assert_eq!(table.metadata().uuid(), uuid);
    assert_eq!((table.metadata().location(), table.property("k")), (place.as_str(), Some("v")));
    assert_eq!(table.metadata().current_schema().as_struct(), schema().as_struct(), "ids stay as they were staged");
    assert_eq!((table.metadata().schemas_iter().len(), table.metadata().current_schema_id()), (1, 0));
    world.catalog.commit(make(updates)).await.unwrap().conflict();
    let half = make(vec![TableUpdate::AddSchema { schema: schema() }]);
    let half = frazil_catalog::TableCommit { ident: ident("db.half"), ..half };
    let refused = world.catalog.commit(half).await.unwrap_err();
    assert!(matches!(refused, Error::BadRequest(_)), "{refused:?}");
}

pub async fn appends_work_in_every_format_version(world: World) {
    world.catalog.create_namespace(&namespace("db"), BTreeMap::new()).await.unwrap();
    for (name, version) in [("v1", FormatVersion::V1), ("v2", FormatVersion::V2), ("v3", FormatVersion::V3)] {
        let table = world.catalog.create_table(&namespace("db"), creation_of(name, version)).await.unwrap();
        assert_eq!(table.metadata().format_version(), version);
        for file in ["memory://x/a.parquet", "memory://x/b.parquet"] {
            world.append(table.ident(), file).await.unwrap();
        }
        assert_eq!(world.live(table.ident()).await, ["memory://x/a.parquet", "memory://x/b.parquet"]);
    }
}

pub async fn odd_names_are_names(world: World) {
    let catalog = &world.catalog;
    let names = ["a b", "a+b", "a/b", "a%2Fb", "é ü", "x.y", "...", "*'\"?#&=;", "select", "ⅷ"];
    for name in names {
        let space = frazil_table::spec::NamespaceIdent::from_strs([name]).unwrap();
        catalog.create_namespace(&space, BTreeMap::new()).await.unwrap();
        let table = catalog.create_table(&space, creation(name)).await.unwrap();
        assert_eq!(catalog.list_tables(&space).await.unwrap(), [table.ident().clone()]);
        world.append(table.ident(), "memory://x/a.parquet").await.unwrap();
        assert_eq!(world.live(table.ident()).await.len(), 1);
    }
    let all: BTreeSet<_> = catalog.list_namespaces(None).await.unwrap().into_iter().collect();
    assert_eq!(all.len(), names.len());
    for name in ["", ".", "..", "a\u{1f}b", "line\nbreak", &"x".repeat(300)] {
        let space = frazil_table::spec::NamespaceIdent::from_strs([name]).unwrap();
        let refused = catalog.create_namespace(&space, BTreeMap::new()).await;
        // A separator inside a level makes two levels of it on its way through a URL; the parent is missing then.
        let refused = matches!(refused, Err(Error::BadRequest(_) | Error::NoSuchNamespace(_)));
        assert!(refused, "namespace {name:?}");
    }
}

pub async fn old_metadata_files_go_when_the_table_says_so(world: World) {
    let table = world.with_table().await;
    let keep =
        set(&[("write.metadata.delete-after-commit.enabled", "true"), ("write.metadata.previous-versions-max", "2")]);
    world.catalog.commit(request(table.ident(), vec![], vec![keep])).await.unwrap().committed();
    for n in 0..5 {
        let update = set(&[("n", &n.to_string())]);
        world.catalog.commit(request(table.ident(), vec![], vec![update])).await.unwrap().committed();
    }
    let now = world.catalog.load_table(table.ident()).await.unwrap();
    let mut expected: Vec<_> = now.metadata().metadata_log().iter().map(|entry| entry.metadata_file.clone()).collect();
    expected.push(now.metadata_location().to_owned());
    expected.sort();
    assert_eq!(expected.len(), 3);
    assert_eq!(files(&world.env, table.metadata().location()).await, expected);
}

/// Of n commits with the same base exactly one wins and the others are told so, in every round (iceberg#970: without a
/// comparison 350,000 rows were lost).
pub async fn one_of_many_with_the_same_base_wins(world: World) {
    const WRITERS: i64 = 64;
    let mut base = world.with_table().await;
    for round in 0..8 {
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let snapshot_id = 1 + round * WRITERS + writer;
            let reference = SnapshotReference::new(snapshot_id, SnapshotRetention::branch(None, None, None));
            let head = base.current_snapshot().map(|snapshot| snapshot.snapshot_id());
            let updates = vec![
                TableUpdate::AddSnapshot { snapshot: snapshot_on(&base, snapshot_id) },
                TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_owned(), reference },
            ];
            let commit = request(base.ident(), vec![is_table(&base), ref_is(MAIN_BRANCH, head)], updates);
            let catalog = Arc::clone(&world.catalog);
            writers.spawn(async move { (snapshot_id, catalog.commit(commit).await.unwrap()) });
        }
        let mut won = Vec::new();
        for (snapshot_id, outcome) in writers.join_all().await {
            match outcome {
                CommitOutcome::Committed(_) => won.push(snapshot_id),
                CommitOutcome::Conflict(_) => {}
                CommitOutcome::Unknown { reason } => panic!("{reason}"),
            }
        }
        base = world.catalog.load_table(base.ident()).await.unwrap();
        let head = base.current_snapshot().unwrap().snapshot_id();
        assert_eq!(won, [head], "round {round}");
        assert_eq!(base.metadata().snapshots().len() as i64, round + 1);
    }
}

/// With the commit loop every one of many concurrent appends lands, once.
pub async fn all_concurrent_appends_land(world: World) {
    const WRITERS: usize = 16;
    const APPENDS: usize = 4;
    let table = world.with_table().await;
    let world = Arc::new(world);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (world, ident) = (Arc::clone(&world), table.ident().clone());
        writers.spawn(async move {
            for n in 0..APPENDS {
                world.append(&ident, &format!("memory://x/{writer:02}-{n}.parquet")).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    let mut expected: Vec<_> = (0..WRITERS)
        .flat_map(|writer| (0..APPENDS).map(move |n| format!("memory://x/{writer:02}-{n}.parquet")))
        .collect();
    expected.sort();
    assert_eq!(world.live(table.ident()).await, expected);
    let now = world.catalog.load_table(table.ident()).await.unwrap();
    assert_eq!(now.metadata().snapshots().len(), WRITERS * APPENDS);
    let total = now.current_snapshot().unwrap().summary().additional_properties["total-data-files"].clone();
    assert_eq!(total, (WRITERS * APPENDS).to_string());
}
