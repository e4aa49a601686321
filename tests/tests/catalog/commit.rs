//! The commit loop against a catalog that loses answers, and steps that fail.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use frazil_catalog::{
    Catalog, CatalogRef, CommitEnd, CommitOutcome, CommitRequest, Error, Namespace, Precheck, Result, Retry,
    TableCommit, commit,
};
use frazil_storage::{Env, Step, StepAction, Steps};
use frazil_table::spec::{NamespaceIdent, TableCreation, TableIdent};
use frazil_table::{Change, CommitIdentity, Conflict, ManifestCache, Table};

use super::fixture::*;

/// What happens to the first commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It is done and the answer is lost.
    AnswerLost,
    /// It never arrives.
    RequestLost,
    /// It arrives when the client has read back once and found nothing.
    Late,
    /// Another append comes first.
    Overtaken,
    /// Nobody answers, to the first loads either.
    Down,
}

/// A catalog that misbehaves at its first commit.
#[derive(Debug)]
struct Lossy {
    inner: CatalogRef,
    env: Env,
    fault: Fault,
    commits: AtomicU32,
    loads: AtomicU32,
    on_its_way: Mutex<Option<(u32, TableCommit)>>,
}

impl Lossy {
    fn new(world: &World, fault: Fault) -> Self {
        let (inner, env) = (Arc::clone(&world.catalog), world.env.clone());
        Self { inner, env, fault, commits: AtomicU32::new(0), loads: AtomicU32::new(0), on_its_way: Mutex::default() }
    }

    /// The late request arrives right after the `n`th load.
    fn due(&self) -> Option<TableCommit> {
        let mut on_its_way = self.on_its_way.lock().unwrap();
        let (loads_left, commit) = on_its_way.take()?;
        if loads_left == 0 {
            return Some(commit);
        }
        *on_its_way = Some((loads_left - 1, commit));
        None
    }
}

#[async_trait]
impl Catalog for Lossy {
    fn name(&self) -> String {
        "lossy".to_owned()
    }

    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        self.inner.list_namespaces(parent).await
    }

    async fn create_namespace(
        &self,
        ident: &NamespaceIdent,
        properties: std::collections::BTreeMap<String, String>,
    ) -> Result<Namespace> {
        self.inner.create_namespace(ident, properties).await
    }

    async fn load_namespace(&self, ident: &NamespaceIdent) -> Result<Namespace> {
        self.inner.load_namespace(ident).await
    }

    async fn update_namespace(
        &self,
        ident: &NamespaceIdent,
        updates: std::collections::HashMap<String, String>,
        removals: Vec<String>,
    ) -> Result<()> {
        self.inner.update_namespace(ident, updates, removals).await
    }

    async fn drop_namespace(&self, ident: &NamespaceIdent) -> Result<()> {
        self.inner.drop_namespace(ident).await
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        self.inner.list_tables(namespace).await
    }

    async fn create_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<Table> {
        self.inner.create_table(namespace, creation).await
    }

    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        if self.fault == Fault::Down && self.loads.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            return Err(down());
        }
        let table = self.inner.load_table(ident).await?;
        if let Some(commit) = self.due() {
            let _answer_to_nobody = self.inner.commit(commit).await?;
        }
        Ok(table)
    }

    async fn drop_table(&self, ident: &TableIdent, purge: bool) -> Result<()> {
        self.inner.drop_table(ident, purge).await
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        self.inner.rename_table(from, to).await
    }

    async fn register_table(&self, ident: &TableIdent, metadata_location: &str) -> Result<Table> {
        self.inner.register_table(ident, metadata_location).await
    }

    async fn commit(&self, commit: TableCommit) -> Result<CommitOutcome> {
        if self.commits.fetch_add(1, Ordering::SeqCst) > 0 {
            return self.inner.commit(commit).await;
        }
        match self.fault {
            Fault::AnswerLost => {
                let _answer = self.inner.commit(commit).await?;
            }
            Fault::Down => return Err(down()),
            Fault::RequestLost => {}
            Fault::Overtaken => {
                let first = "memory://x/first.parquet";
                let inner = self.inner.as_ref();
                let _landed = append(inner, &self.env, &commit.ident, first, Retry::default()).await?;
                return self.inner.commit(commit).await;
            }
            Fault::Late => *self.on_its_way.lock().unwrap() = Some((0, commit)),
        }
        Ok(CommitOutcome::Unknown { reason: "the network".to_owned() })
    }
}

fn down() -> Error {
    Error::Unavailable { uri: "lossy".to_owned(), reason: "nothing answers there".to_owned() }
}

async fn settles_exactly_once(fault: Fault, attempts: u32) {
    let world = World::sql_in_memory().await;
    let table = world.with_table().await;
    world.append(table.ident(), "memory://x/before.parquet").await.unwrap();
    let lossy = Lossy::new(&world, fault);
    let end = append(&lossy, &world.env, table.ident(), "memory://x/a.parquet", Retry::default()).await.unwrap();
    let CommitEnd::Committed(committed) = end else { panic!("{end:?}") };
    assert_eq!(lossy.commits.load(Ordering::SeqCst), attempts);
    assert_eq!(world.live(table.ident()).await, ["memory://x/a.parquet", "memory://x/before.parquet"]);
    let now = world.catalog.load_table(table.ident()).await.unwrap();
    assert_eq!(now.metadata().snapshots().len(), 2);
    assert_eq!(committed.snapshot_ids, [now.current_snapshot().unwrap().snapshot_id()]);
    // Every file that the table names is there: nothing that landed was deleted.
    for snapshot in now.metadata().snapshots() {
        world.env.store.head(snapshot.manifest_list()).await.unwrap();
    }
}

/// iceberg#2317, #2328, #13443, duckdb-iceberg#1120 and others: the answer to a commit is lost, the commit is taken for
/// failed, and files that the table has since then are deleted.
#[tokio::test]
async fn iceberg_2317_a_commit_whose_answer_was_lost_is_made_once() {
    settles_exactly_once(Fault::AnswerLost, 1).await;
}

#[tokio::test]
async fn a_commit_whose_request_was_lost_is_made_again() {
    settles_exactly_once(Fault::RequestLost, 2).await;
}

#[tokio::test]
async fn a_commit_waits_for_a_catalog_that_is_down() {
    settles_exactly_once(Fault::Down, 2).await;
}

/// iceberg#3717: the commit lands after its client gave it up and deleted its files.
#[tokio::test]
async fn iceberg_3717_a_commit_that_lands_late_is_made_once() {
    settles_exactly_once(Fault::Late, 1).await;
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_table_as_it_was() {
    for step in [Step::ManifestsWritten, Step::ManifestListWritten, Step::MetadataWritten] {
        let env = Env { steps: Steps::arm(step, 1, StepAction::Fail), ..Env::in_memory(3) };
        let world = World::in_memory(env).await;
        let table = world.with_table().await;
        let failed = world.append(table.ident(), "memory://x/a.parquet").await;
        assert!(failed.is_err(), "{step}: {failed:?}");
        let now = world.catalog.load_table(table.ident()).await.unwrap();
        assert_eq!(now.metadata_location(), table.metadata_location(), "{step}");
        // The step fails once; the same append lands now.
        world.append(table.ident(), "memory://x/a.parquet").await.unwrap();
        assert_eq!(world.live(table.ident()).await, ["memory://x/a.parquet"], "{step}");
    }
}

#[tokio::test]
async fn a_step_after_the_swap_that_fails_leaves_the_commit_in_the_table() {
    let env = Env { steps: Steps::arm(Step::PointerSwapped, 1, StepAction::Fail), ..Env::in_memory(3) };
    let world = World::in_memory(env).await;
    let table = world.with_table().await;
    world.append(table.ident(), "memory://x/a.parquet").await.unwrap_err();
    assert_eq!(world.live(table.ident()).await, ["memory://x/a.parquet"]);
}

#[tokio::test]
async fn the_precheck_decides_on_the_table_that_the_commit_is_built_on() {
    let world = World::sql_in_memory().await;
    let table = world.with_table().await;
    let changes = [append_change("memory://x/a.parquet")];
    let run = async |precheck: &(dyn Fn(&Table) -> Precheck + Send + Sync)| {
        let identity = CommitIdentity::draw(&world.env, 1);
        let retry = Retry::default();
        let request = CommitRequest {
            ident: table.ident(),
            target: Default::default(),
            changes: &changes,
            identity,
            precheck,
            retry,
        };
        commit(world.catalog.as_ref(), &world.env, &ManifestCache::default(), request).await.unwrap()
    };
    let refused = run(&|_| Precheck::Refuse("not now".to_owned())).await;
    assert!(matches!(&refused, CommitEnd::Conflict(Conflict::Refused { reason }) if reason == "not now"));
    let landed = run(&|_| Precheck::AlreadyLanded).await;
    assert!(matches!(landed, CommitEnd::AlreadyLanded(_)));
    assert_eq!(world.live(table.ident()).await, [] as [String; 0]);
}

/// iceberg#12545: each attempt that is overtaken leaves its manifests behind.
#[tokio::test]
async fn iceberg_12545_an_overtaken_attempt_goes_again_and_leaves_no_file_of_its_own() {
    let world = World::sql_in_memory().await;
    let table = world.with_table().await;
    let lossy = Lossy::new(&world, Fault::Overtaken);
    let end = append(&lossy, &world.env, table.ident(), "memory://x/a.parquet", Retry::default()).await.unwrap();
    let CommitEnd::Committed(committed) = end else { panic!("{end:?}") };
    assert_eq!(committed.retries, 1);
    assert_eq!(world.live(table.ident()).await, ["memory://x/a.parquet", "memory://x/first.parquet"]);
    let mut lists: Vec<_> =
        committed.table.metadata().snapshots().map(|snapshot| snapshot.manifest_list().to_owned()).collect();
    lists.sort();
    let mut stored = files(&world.env, table.metadata().location()).await;
    stored.retain(|file| file.contains("/snap-"));
    assert_eq!(stored, lists);
}

#[tokio::test]
async fn a_commit_gives_up_when_its_retries_are_used_up() {
    let world = World::sql_in_memory().await;
    let table = world.with_table().await;
    let update = set(&[("commit.retry.num-retries", "0")]);
    world.catalog.commit(request(table.ident(), vec![], vec![update])).await.unwrap().committed();
    let lossy = Lossy::new(&world, Fault::Overtaken);
    let end = append(&lossy, &world.env, table.ident(), "memory://x/a.parquet", Retry::default()).await.unwrap();
    assert!(matches!(end, CommitEnd::Conflict(Conflict::Moved { .. })), "{end:?}");
    assert_eq!(world.live(table.ident()).await, ["memory://x/first.parquet"]);
}

#[tokio::test]
async fn a_commit_of_properties_alone_makes_no_snapshot() {
    let world = World::sql_in_memory().await;
    let table = world.with_table().await;
    let changes = [Change::SetProperties(properties(&[("k", "v")]))];
    let identity = CommitIdentity::draw(&world.env, 0);
    let (precheck, retry) = (&|_: &Table| Precheck::Proceed, Retry::default());
    let request = CommitRequest {
        ident: table.ident(),
        target: Default::default(),
        changes: &changes,
        identity,
        precheck,
        retry,
    };
    let end = commit(world.catalog.as_ref(), &world.env, &ManifestCache::default(), request).await.unwrap();
    let CommitEnd::Committed(committed) = end else { panic!("{end:?}") };
    assert_eq!(committed.snapshot_ids, [] as [i64; 0]);
    assert_eq!(committed.table.property("k"), Some("v"));
    assert!(committed.table.current_snapshot().is_none());
}

#[tokio::test]
async fn a_dropped_table_ends_the_commit() {
    let world = World::sql_in_memory().await;
    let table = world.with_table().await;
    world.catalog.drop_table(table.ident(), false).await.unwrap();
    let error = world.append(table.ident(), "memory://x/a.parquet").await.unwrap_err();
    assert!(matches!(error, Error::NoSuchTable(_)), "{error:?}");
}
