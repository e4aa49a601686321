//! The catalog of this program: pointers in a SQL database, metadata files in the store.
//!
//! Several processes may open the same database file at once: a pointer moves only by compare-and-swap inside one
//! database transaction, and nothing that this process remembers is trusted over the database.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use frazil_storage::{Env, Location};
use frazil_table::spec::{NamespaceIdent, TableCreation, TableIdent, TableMetadata};
use frazil_table::{ManifestCache, Table, io, layout};
use futures::StreamExt;
use serde_json::value::RawValue;
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::cache::{CachedMetadata, MetadataCache};
use crate::consumer::is_position;
use crate::warehouse::Warehouse;
use crate::{
    Catalog, CommitOutcome, Consumer, ConsumerCommit, Error, Namespace, Result, TableCommit, TransactionOutcome, apply,
};

mod answers;
mod database;
mod early;
mod lanes;
mod purge;
mod schema;
mod swap;

use answers::Answers;
pub(crate) use database::SEPARATOR;
use database::{Database, Pointer};
use early::EarlyFiles;
use lanes::Lanes;

/// Changes that a slow listener may be behind before it is told that it missed some.
const CHANGES_MAX: usize = 1024;
/// Characters in one name.
const NAME_CHARS_MAX: usize = 255;
/// Levels of a namespace.
const LEVELS_MAX: usize = 16;

/// A catalog in a SQL database.
#[derive(Debug)]
pub struct SqlCatalog {
    env: Env,
    warehouse: Warehouse,
    database: Database,
    cache: MetadataCache,
    lanes: Lanes,
    early: EarlyFiles,
    answers: Answers,
    changes: broadcast::Sender<TableChange>,
}

/// A table whose pointer moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableChange {
    /// The table.
    pub ident: TableIdent,
    /// Where its pointer points now.
    pub metadata_location: String,
}

impl TableChange {
    fn of(table: &Table) -> Self {
        Self { ident: table.ident().clone(), metadata_location: table.metadata_location().to_owned() }
    }
}

impl SqlCatalog {
    /// Opens the catalog in a database file, which is made if it is not there. `warehouse` is the location that holds all
    /// tables, such as `file:///data/warehouse`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if another program holds the file or a newer program made it; [`Error::Database`].
    pub async fn open(path: &Path, env: Env, warehouse: &str) -> Result<Self> {
        Self::new(Database::open(path).await?, env, warehouse)
    }

    /// A catalog that is gone when it is dropped, for tests.
    ///
    /// # Errors
    /// If `warehouse` is no location.
    pub async fn in_memory(env: Env, warehouse: &str) -> Result<Self> {
        Self::new(Database::in_memory().await?, env, warehouse)
    }

    fn new(database: Database, env: Env, warehouse: &str) -> Result<Self> {
        Ok(Self {
            warehouse: Warehouse::parse(warehouse)?,
            env,
            database,
            cache: MetadataCache::new(),
            lanes: Lanes::new(),
            early: EarlyFiles::default(),
            answers: Answers::default(),
            changes: broadcast::channel(CHANGES_MAX).0,
        })
    }

    /// The location that holds all tables.
    pub fn warehouse(&self) -> String {
        self.warehouse.location()
    }

    /// Closes the database. What was answered is durable without it; it only leaves a tidy file.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Pointers that move through this instance from now on. Changes by other processes are not seen, and a listener
    /// that falls far behind gets [`broadcast::error::RecvError::Lagged`]: load the table to catch up.
    pub fn subscribe(&self) -> broadcast::Receiver<TableChange> {
        self.changes.subscribe()
    }

    /// Where the tables go of a namespace that says nothing else.
    pub(crate) fn namespace_location(&self, namespace: &NamespaceIdent) -> String {
        self.warehouse.namespace_location(namespace)
    }

    /// The metadata that [`Catalog::create_table`] would store. Nothing is stored; a commit that asserts
    /// `assert-create` makes the table (Iceberg REST, `stage-create`).
    ///
    /// # Errors
    /// As [`Catalog::create_table`].
    pub async fn stage_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<TableMetadata> {
        let ident = TableIdent::new(namespace.clone(), creation.name.clone());
        check_names(&ident)?;
        if self.database.pointer(&ident).await?.is_some() {
            return Err(Error::TableExists(ident.to_string()));
        }
        self.first_metadata(namespace, creation).await
    }

    /// Makes the folders of a staged table on a local disk: some engines write its files as if to an object store, which
    /// has no folders. Empty ones do no harm.
    pub(crate) async fn make_folders(&self, metadata: &TableMetadata) -> Result<()> {
        for root in [layout::metadata_root(metadata), layout::data_root(metadata)] {
            let Some(path) = Location::parse(&root)?.local_path() else {
                continue;
            };
            tokio::fs::create_dir_all(&path).await.map_err(|source| frazil_storage::Error::Io {
                operation: "write",
                location: root,
                source: source.into(),
            })?;
        }
        Ok(())
    }

    /// The text of a table's metadata file.
    pub(crate) fn metadata_json(&self, table: &Table) -> Result<Arc<RawValue>> {
        match self.cache.get(table.metadata_location()) {
            Some(cached) => Ok(cached.json()),
            None => Ok(CachedMetadata::new(table.clone())?.json()),
        }
    }

    /// Keeps commits to a table waiting for as long as the result lives.
    #[cfg(test)]
    pub(crate) async fn hold(&self, ident: &TableIdent) -> lanes::Lane<'_> {
        self.lanes.enter(self.lanes.of(std::iter::once(ident))).await
    }

    async fn load(&self, ident: &TableIdent) -> Result<Table> {
        Ok(self.load_cached(ident).await?.table().named(ident.clone()))
    }

    async fn load_cached(&self, ident: &TableIdent) -> Result<CachedMetadata> {
        // A file may be gone because commits after the read of the pointer deleted it: then the pointer has moved.
        let mut gone: Option<String> = None;
        loop {
            let pointer = self.database.pointer(ident).await?;
            let location = pointer.ok_or_else(|| Error::NoSuchTable(ident.to_string()))?.metadata_location;
            match self.load_metadata(ident, &location).await {
                Ok(cached) => return Ok(cached),
                Err(Error::Table(frazil_table::Error::Storage(error)))
                    if error.is_not_found() && gone.as_ref() != Some(&location) =>
                {
                    gone = Some(location);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn load_metadata(&self, ident: &TableIdent, location: &str) -> Result<CachedMetadata> {
        if let Some(cached) = self.cache.get(location) {
            return Ok(cached);
        }
        let metadata = io::load_metadata(&self.env.store, location).await?;
        let cached = CachedMetadata::new(Table::new(ident.clone(), Arc::new(metadata), location))?;
        self.cache.insert(location, cached.clone());
        Ok(cached)
    }

    async fn first_metadata(&self, namespace: &NamespaceIdent, mut creation: TableCreation) -> Result<TableMetadata> {
        let properties = self.database.namespace(namespace).await?;
        let location = match &creation.location {
            Some(location) => self.warehouse.check(location)?,
            None => {
                let folder = properties.get("location").map(String::as_str);
                self.choose_location(namespace, folder, &creation.name).await?
            }
        };
        creation.location = Some(location);
        let metadata = apply::create(creation, self.env.ids.uuid(), self.env.now_ms())?;
        self.warehouse.check_metadata(&metadata)?;
        Ok(metadata)
    }

    /// `<warehouse>/<namespace>/<table>`, and with a part of a UUID behind it if files or a table are there already: a
    /// table that was dropped without purge, or renamed away, keeps its files to itself.
    async fn choose_location(&self, namespace: &NamespaceIdent, folder: Option<&str>, name: &str) -> Result<String> {
        let plain = self.warehouse.default_location(namespace, folder, name, None)?;
        let mut files = self.env.store.list(&plain).await?;
        if files.next().await.is_none() && !self.database.is_occupied(&plain).await? {
            return Ok(plain);
        }
        let id = self.env.ids.uuid().simple().to_string();
        self.warehouse.default_location(namespace, folder, name, Some(&id[24..]))
    }

    async fn purge(&self, ident: &TableIdent, pointer: &Pointer) -> Result<()> {
        let cached = self.load_metadata(ident, &pointer.metadata_location).await?;
        purge::run_purge(&self.env, &ManifestCache::default(), &self.warehouse, cached.table()).await
    }

    async fn insert(&self, cached: CachedMetadata) -> Result<Table> {
        let table = cached.table().clone();
        let place = self.warehouse.check(table.metadata().location())?;
        let location = table.metadata_location();
        let pointer = Pointer { metadata_location: location.to_owned(), location: place };
        self.database.insert_table(table.ident(), &pointer).await?;
        self.cache.insert(location, cached);
        let _nobody_listens = self.changes.send(TableChange::of(&table));
        Ok(table)
    }
}

#[async_trait]
impl Catalog for SqlCatalog {
    fn name(&self) -> String {
        self.database.name().to_owned()
    }

    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        if let Some(parent) = parent {
            self.database.namespace(parent).await?;
        }
        let depth = parent.map_or(0, |parent| parent.as_ref().len()) + 1;
        let mut below = self.database.namespaces(parent).await?;
        below.retain(|ident| ident.as_ref().len() == depth);
        Ok(below)
    }

    async fn create_namespace(
        &self,
        ident: &NamespaceIdent,
        properties: BTreeMap<String, String>,
    ) -> Result<Namespace> {
        check_namespace(ident)?;
        if let Some(location) = properties.get("location") {
            self.warehouse.check(location)?;
        }
        self.database.insert_namespace(ident, &properties).await?;
        Ok(Namespace { ident: ident.clone(), properties })
    }

    async fn load_namespace(&self, ident: &NamespaceIdent) -> Result<Namespace> {
        let properties = self.database.namespace(ident).await?;
        Ok(Namespace { ident: ident.clone(), properties })
    }

    async fn update_namespace(
        &self,
        ident: &NamespaceIdent,
        updates: HashMap<String, String>,
        removals: Vec<String>,
    ) -> Result<()> {
        if let Some(location) = updates.get("location") {
            self.warehouse.check(location)?;
        }
        let change = |properties: &mut BTreeMap<String, String>| {
            properties.retain(|key, _| !removals.contains(key));
            properties.extend(updates);
        };
        self.database.update_namespace(ident, change).await
    }

    async fn drop_namespace(&self, ident: &NamespaceIdent) -> Result<()> {
        self.database.delete_namespace(ident).await
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        self.database.tables(namespace).await
    }

    async fn create_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<Table> {
        let ident = TableIdent::new(namespace.clone(), creation.name.clone());
        let metadata = self.stage_table(namespace, creation).await?;
        let location = layout::first_metadata_location(layout::root(&metadata), self.env.ids.uuid());
        let cached = CachedMetadata::new(Table::new(ident, Arc::new(metadata), &location))?;
        io::store_metadata(&self.env.store, &location, cached.text()).await?;
        let inserted = self.insert(cached).await;
        if let Err(Error::TableExists(_) | Error::NoSuchNamespace(_) | Error::Forbidden(_)) = &inserted {
            self.delete_file(&location).await;
        }
        inserted
    }

    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        self.load(ident).await
    }

    async fn drop_table(&self, ident: &TableIdent, purge: bool) -> Result<()> {
        let pointer = self.database.delete_table(ident).await?;
        if purge && let Err(error) = self.purge(ident, &pointer).await {
            // The table is gone already; a second request would not find it.
            tracing::warn!(%error, table = %ident, "files of a purged table stay as orphans");
        }
        self.cache.remove(&pointer.metadata_location);
        self.early.forget(ident);
        Ok(())
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        check_names(to)?;
        self.early.forget(from);
        self.database.rename_table(from, to).await
    }

    async fn register_table(&self, ident: &TableIdent, metadata_location: &str) -> Result<Table> {
        check_names(ident)?;
        let location = self.warehouse.check(metadata_location)?;
        let metadata = io::load_metadata(&self.env.store, &location).await?;
        self.warehouse.check_metadata(&metadata)?;
        self.insert(CachedMetadata::new(Table::new(ident.clone(), Arc::new(metadata), &location))?).await
    }

    async fn commit(&self, commit: TableCommit) -> Result<CommitOutcome> {
        let key = commit.idempotency_key;
        Ok(match self.commit_all(std::slice::from_ref(&commit), key).await? {
            TransactionOutcome::Committed(mut tables) => {
                CommitOutcome::Committed(tables.pop().expect("one table for one commit"))
            }
            TransactionOutcome::Conflict(conflict) => CommitOutcome::Conflict(conflict),
            TransactionOutcome::Unknown { reason } => CommitOutcome::Unknown { reason },
        })
    }

    fn has_transactions(&self) -> bool {
        true
    }

    async fn commit_transaction(&self, commits: Vec<TableCommit>, key: Uuid) -> Result<TransactionOutcome> {
        self.commit_all(&commits, key).await
    }

    async fn table_exists(&self, ident: &TableIdent) -> Result<bool> {
        Ok(self.database.pointer(ident).await?.is_some())
    }

    async fn consumers(&self, ident: &TableIdent) -> Result<Vec<Consumer>> {
        let consumers = self.database.consumers(ident).await?;
        match consumers.is_empty() && !self.table_exists(ident).await? {
            true => Err(Error::NoSuchTable(ident.to_string())),
            false => Ok(consumers),
        }
    }

    async fn join_consumer(&self, ident: &TableIdent, name: &str, lease_ms: i64) -> Result<Consumer> {
        check_name("consumer", name)?;
        if lease_ms < 1 {
            return Err(Error::BadRequest(format!("a consumer's lease is at least a millisecond, not {lease_ms}")));
        }
        self.database.join_consumer(ident, name, lease_ms, self.env.now_ms()).await
    }

    async fn commit_consumer(&self, ident: &TableIdent, name: &str, commit: ConsumerCommit) -> Result<()> {
        if let Some(wrong) = commit.position.as_ref().filter(|position| !is_position(position)) {
            return Err(Error::BadRequest(format!("{wrong:?} is no position: commit one as it came with a batch")));
        }
        self.database.commit_consumer(ident, name, &commit, self.env.now_ms()).await
    }

    async fn drop_consumer(&self, ident: &TableIdent, name: &str) -> Result<()> {
        self.database.delete_consumer(ident, name).await
    }
}

fn check_names(ident: &TableIdent) -> Result<()> {
    check_namespace(&ident.namespace)?;
    check_name("table", &ident.name)
}

fn check_namespace(ident: &NamespaceIdent) -> Result<()> {
    let levels = ident.as_ref();
    if levels.is_empty() || levels.len() > LEVELS_MAX {
        return Err(Error::BadRequest(format!("a namespace has 1 to {LEVELS_MAX} levels, not {}", levels.len())));
    }
    levels.iter().try_for_each(|level| check_name("namespace", level))
}

fn check_name(what: &str, name: &str) -> Result<()> {
    let chars = name.chars().count();
    if chars == 0 || chars > NAME_CHARS_MAX {
        return Err(Error::BadRequest(format!("a {what} name has 1 to {NAME_CHARS_MAX} characters, not {chars}")));
    }
    if name == "." || name == ".." {
        // Every URL library takes them out of a path, encoded or not.
        return Err(Error::BadRequest(format!("{name:?} can't be a {what} name")));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::BadRequest(format!("{what} name {name:?} has control characters")));
    }
    Ok(())
}

fn database_error(name: &str) -> impl Fn(sqlx::Error) -> Error + '_ {
    database::database_error(name)
}
