use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use frazil_storage::{FaultRates, Faults};
use frazil_table::io;
use frazil_table::spec::{
    MAIN_BRANCH, NamespaceIdent, NestedField, Operation, PrimitiveType, Schema, Snapshot, SnapshotReference,
    SnapshotRetention, Summary, TableCreation, TableUpdate, Type,
};
use tempfile::TempDir;

use super::super::SqlCatalog;
use super::*;
use crate::{Catalog, CommitOutcome, TableCommit};

/// A catalog and a table on a disk.
struct World {
    catalog: SqlCatalog,
    ident: TableIdent,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let catalog = open(&folder, Env::system()).await;
        let namespace = NamespaceIdent::new("db".to_owned());
        catalog.create_namespace(&namespace, Default::default()).await.unwrap();
        let field = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
        let schema = Schema::builder().with_fields([Arc::new(field)]).build().unwrap();
        let creation = TableCreation::builder().name("t".to_owned()).schema(schema).build();
        let table = catalog.create_table(&namespace, creation).await.unwrap();
        Self { catalog, ident: table.ident().clone(), folder }
    }

    async fn commit(&self, catalog: &SqlCatalog, updates: Vec<TableUpdate>) -> Table {
        let ident = self.ident.clone();
        let commit = TableCommit { ident, requirements: Vec::new(), updates, idempotency_key: Uuid::new_v4() };
        match catalog.commit(commit).await.unwrap() {
            CommitOutcome::Committed(table) => table,
            other => panic!("not committed: {other:?}"),
        }
    }

    /// A commit of a snapshot whose JSON has so many bytes and some.
    async fn append(&self, catalog: &SqlCatalog, bytes: usize) -> Table {
        let base = catalog.load_table(&self.ident).await.unwrap();
        let number = base.metadata().next_sequence_number();
        let summary = HashMap::from([("padding".to_owned(), "x".repeat(bytes))]);
        let snapshot = Snapshot::builder()
            .with_snapshot_id(number)
            .with_parent_snapshot_id(base.metadata().current_snapshot_id())
            .with_sequence_number(number)
            .with_timestamp_ms(base.metadata().last_updated_ms() + 1)
            .with_manifest_list(format!("{}/metadata/snap-{number}.avro", base.metadata().location()))
            .with_summary(Summary { operation: Operation::Append, additional_properties: summary })
            .with_schema_id(0)
            .build();
        let reference = SnapshotReference::new(number, SnapshotRetention::branch(None, None, None));
        let set_main = TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_owned(), reference };
        self.commit(catalog, vec![TableUpdate::AddSnapshot { snapshot }, set_main]).await
    }

    /// The stored metadata is what the catalog says, and what another process reads.
    async fn check(&self, table: &Table) {
        let stored = io::load_metadata(&Env::system().store, table.metadata_location()).await.unwrap();
        assert_eq!(&stored, table.metadata().as_ref());
        let other = open(&self.folder, Env::system()).await.load_table(&self.ident).await.unwrap();
        assert_eq!(other.metadata_location(), table.metadata_location());
        assert_eq!(other.metadata(), table.metadata());
    }

    /// Files of this process that have no name in the table's folder of metadata, or one for the time being.
    fn unnamed(&self) -> usize {
        let folder: PathBuf = self.folder.path().join("wh/db/t/metadata");
        let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        let temporary = names.filter(|name| name.to_string_lossy().starts_with(".frazil-tmp-")).count();
        let open =
            std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| entry.unwrap().path().read_link().ok());
        let is_deleted = |path: &PathBuf| path.to_string_lossy().ends_with(" (deleted)");
        temporary + open.filter(|path| path.starts_with(&folder) && is_deleted(path)).count()
    }

    /// Waits until there are so many.
    async fn await_unnamed(&self, count: usize) {
        let mut unnamed = 0;
        for _ in 0..500 {
            unnamed = self.unnamed();
            if unnamed == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{unnamed} files without a name after 5 s, not {count}");
    }

    fn begun(&self) -> Vec<String> {
        self.catalog.early.lock().iter().map(|file| file.location.clone()).collect()
    }
}

async fn open(folder: &TempDir, env: Env) -> SqlCatalog {
    let warehouse = format!("file://{}/wh", folder.path().display());
    SqlCatalog::open(&folder.path().join("catalog.db"), env, &warehouse).await.unwrap()
}

#[tokio::test]
async fn the_next_metadata_of_a_long_history_is_begun_and_used() {
    let world = World::new().await;
    world.append(&world.catalog, 1_000).await;
    assert!(world.begun().is_empty(), "a short history is written faster than it is kept");
    world.append(&world.catalog, LASTING_BYTES_MIN).await;
    for _ in 0..3 {
        world.await_unnamed(1).await;
        let begun = world.begun();
        let table = world.append(&world.catalog, 100).await;
        assert_eq!(begun, [table.metadata_location()]);
        world.check(&table).await;
    }
    // A commit that adds no snapshot keeps them as well.
    let begun = world.begun();
    let updates = HashMap::from([("a".to_owned(), "b".to_owned())]);
    let table = world.commit(&world.catalog, vec![TableUpdate::SetProperties { updates }]).await;
    assert_eq!(begun, [table.metadata_location()]);
    world.check(&table).await;
}

#[tokio::test]
async fn what_is_begun_is_dropped_when_another_process_commits_or_snapshots_go() {
    let world = World::new().await;
    let other = open(&world.folder, Env::system()).await;
    world.append(&world.catalog, LASTING_BYTES_MIN).await;
    world.await_unnamed(1).await;
    let begun = world.begun();
    world.append(&other, 100).await;
    let table = world.append(&world.catalog, 100).await;
    assert_ne!(begun, [table.metadata_location()]);
    world.check(&table).await;
    // One begun by each.
    world.await_unnamed(2).await;
    drop(other);
    world.await_unnamed(1).await;
    let table = world.commit(&world.catalog, vec![TableUpdate::RemoveSnapshots { snapshot_ids: vec![2] }]).await;
    world.check(&table).await;
    world.append(&world.catalog, 100).await;
    world.await_unnamed(1).await;
    world.catalog.drop_table(&world.ident, false).await.unwrap();
    world.await_unnamed(0).await;
}

/// Under the same name and with the same version number, but with other snapshots.
#[tokio::test]
async fn what_is_begun_is_not_for_a_table_that_took_the_place() {
    let world = World::new().await;
    let other = open(&world.folder, Env::system()).await;
    let table = world.append(&world.catalog, LASTING_BYTES_MIN).await;
    world.await_unnamed(1).await;
    let store = Env::system().store;
    let text = String::from_utf8(store.read(table.metadata_location()).await.unwrap().to_vec()).unwrap();
    let location =
        layout::first_metadata_location(table.metadata().location(), Uuid::now_v7()).replace("/00000-", "/00001-");
    store.put_new(&location, text.replace("xx", "yy").into()).await.unwrap();
    other.drop_table(&world.ident, false).await.unwrap();
    other.register_table(&world.ident, &location).await.unwrap();
    let table = world.append(&world.catalog, 100).await;
    world.check(&table).await;
    let oldest = table.metadata().snapshots().min_by_key(|snapshot| snapshot.sequence_number()).unwrap();
    assert!(oldest.summary().additional_properties["padding"].starts_with("yy"));
}

#[tokio::test]
async fn metadata_that_goes_elsewhere_is_not_what_was_begun() {
    let world = World::new().await;
    world.append(&world.catalog, LASTING_BYTES_MIN).await;
    let place = format!("file://{}/wh/db/t/elsewhere", world.folder.path().display());
    let updates = HashMap::from([("write.metadata.path".to_owned(), place.clone())]);
    let table = world.commit(&world.catalog, vec![TableUpdate::SetProperties { updates }]).await;
    assert!(table.metadata_location().starts_with(&place), "{}", table.metadata_location());
    world.check(&table).await;
    let updates = HashMap::from([("write.metadata.compression-codec".to_owned(), "gzip".to_owned())]);
    let table = world.commit(&world.catalog, vec![TableUpdate::SetProperties { updates }]).await;
    world.check(&table).await;
    assert!(world.begun().is_empty(), "a compressed file has no beginning that lasts");
}

/// Whatever fails of it, the commit goes on without it.
#[tokio::test]
async fn a_disk_that_fails_early_loses_nothing() {
    let mut landed = 0;
    for seed in 0..12 {
        let world = World::new().await;
        world.append(&world.catalog, LASTING_BYTES_MIN).await;
        let env = Env::system();
        let faults = Faults::new(seed, FaultRates { error_before: 0.1, error_after: 0.1, ..FaultRates::NONE });
        let env = Env { store: env.store.clone().with_faults(faults), ..env };
        let faulty = open(&world.folder, env).await;
        for _ in 0..4 {
            let updates = HashMap::from([("a".to_owned(), seed.to_string())]);
            let updates = vec![TableUpdate::SetProperties { updates }];
            let commit = TableCommit {
                ident: world.ident.clone(),
                requirements: Vec::new(),
                updates,
                idempotency_key: Uuid::new_v4(),
            };
            match faulty.commit(commit).await {
                Ok(CommitOutcome::Committed(table)) => {
                    landed += 1;
                    world.check(&table).await;
                }
                Ok(other) => panic!("{other:?}"),
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
    }
    assert!(landed > 15, "{landed} landed");
}
