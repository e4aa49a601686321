//! Catalogs of every kind, each with a world of its own.

use std::collections::HashMap;
use std::sync::Arc;

use frazil_catalog::{
    Catalog, CatalogRef, CommitEnd, CommitOutcome, CommitRequest, Committed, Precheck, RestCatalog, RestOptions,
    Result, Retry, SqlCatalog, TableCommit, commit, server,
};
use frazil_storage::Env;
use frazil_table::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, FormatVersion, NamespaceIdent, NestedField, Operation,
    PrimitiveType, Schema, Snapshot, Struct, Summary, TableCreation, TableIdent, TableRequirement, TableUpdate, Type,
};
use frazil_table::{Change, CommitIdentity, ManifestCache, SnapshotProperties, Table, TableFile, io};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// A catalog with the store behind it.
pub struct World {
    pub catalog: CatalogRef,
    pub env: Env,
    /// The warehouse's location.
    pub warehouse: String,
    /// Where the service answers, if there is one.
    pub url: Option<String>,
    _dir: Option<TempDir>,
    _server: Option<DropGuard>,
}

impl World {
    pub async fn sql_in_memory() -> Self {
        Self::in_memory(Env::in_memory(7)).await
    }

    pub async fn in_memory(env: Env) -> Self {
        let warehouse = "memory://w/wh".to_owned();
        let catalog = SqlCatalog::in_memory(env.clone(), &warehouse).await.unwrap();
        Self { catalog: Arc::new(catalog), env, warehouse, url: None, _dir: None, _server: None }
    }

    pub async fn sql_file() -> Self {
        let dir = TempDir::new().unwrap();
        let (catalog, env, warehouse) = open(&dir).await;
        Self { catalog: Arc::new(catalog), env, warehouse, url: None, _dir: Some(dir), _server: None }
    }

    pub async fn rest() -> Self {
        Self::rest_with(server::ServerConfig::default()).await
    }

    pub async fn rest_with(config: server::ServerConfig) -> Self {
        let dir = TempDir::new().unwrap();
        let (catalog, env, warehouse) = open(&dir).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let router = server::router(Arc::new(catalog), config);
        tokio::spawn(server::serve(listener, router, stop.clone()));
        let catalog = RestCatalog::connect(&url, RestOptions::default()).await.unwrap();
        let server = Some(stop.drop_guard());
        Self { catalog: Arc::new(catalog), env, warehouse, url: Some(url), _dir: Some(dir), _server: server }
    }

    /// A namespace `db` with a table `t` in it.
    pub async fn with_table(&self) -> Table {
        let namespace = namespace("db");
        self.catalog.create_namespace(&namespace, Default::default()).await.unwrap();
        self.catalog.create_table(&namespace, creation("t")).await.unwrap()
    }

    /// Appends one made-up file by the commit loop.
    pub async fn append(&self, ident: &TableIdent, file: &str) -> Result<Committed> {
        match append(self.catalog.as_ref(), &self.env, ident, file, Retry::default()).await? {
            CommitEnd::Committed(committed) => Ok(committed),
            other => panic!("not committed: {other:?}"),
        }
    }

    /// Paths of the files that are live now, sorted.
    pub async fn live(&self, ident: &TableIdent) -> Vec<String> {
        let table = self.catalog.load_table(ident).await.unwrap();
        live(&self.env, &table).await
    }
}

async fn open(dir: &TempDir) -> (SqlCatalog, Env, String) {
    let env = Env::system();
    let warehouse = format!("file://{}/wh", dir.path().display());
    let catalog = SqlCatalog::open(&dir.path().join("catalog.db"), env.clone(), &warehouse).await.unwrap();
    (catalog, env, warehouse)
}

pub async fn append(
    catalog: &dyn Catalog,
    env: &Env,
    ident: &TableIdent,
    file: &str,
    retry: Retry,
) -> Result<CommitEnd> {
    let changes = [append_change(file)];
    let identity = CommitIdentity::draw(env, 1);
    let request = CommitRequest {
        ident,
        target: Default::default(),
        changes: &changes,
        identity,
        precheck: &|_| Precheck::Proceed,
        retry,
    };
    commit(catalog, env, &ManifestCache::default(), request).await
}

pub fn append_change(file: &str) -> Change {
    Change::Append { files: vec![table_file(file)], properties: SnapshotProperties::new() }
}

/// A file that nobody reads.
fn table_file(path: &str) -> TableFile {
    let file = DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(path.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .record_count(10)
        .file_size_in_bytes(100)
        .build()
        .unwrap();
    TableFile { file, partition_spec_id: 0 }
}

pub async fn live(env: &Env, table: &Table) -> Vec<String> {
    let cache = ManifestCache::default();
    let state = io::load_state(&env.store, &cache, table, io::Entries::All).await.unwrap();
    let mut paths: Vec<_> =
        state.live_data_files().unwrap().iter().map(|live| live.file.file_path().to_owned()).collect();
    paths.sort();
    paths
}

/// Every file at or below a location.
pub async fn files(env: &Env, location: &str) -> Vec<String> {
    use futures::TryStreamExt;
    let metas: Vec<_> = env.store.list(location).await.unwrap().try_collect().await.unwrap();
    let mut names: Vec<_> = metas.into_iter().map(|meta| meta.location).collect();
    names.sort();
    names
}

pub fn namespace(name: &str) -> NamespaceIdent {
    NamespaceIdent::from_strs(name.split('.')).unwrap()
}

pub fn ident(name: &str) -> TableIdent {
    TableIdent::from_strs(name.split('.')).unwrap()
}

pub fn schema() -> Schema {
    let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
    let name = NestedField::optional(2, "name", Type::Primitive(PrimitiveType::String));
    Schema::builder().with_fields([id.into(), name.into()]).build().unwrap()
}

pub fn creation(name: &str) -> TableCreation {
    creation_of(name, FormatVersion::V2)
}

pub fn creation_of(name: &str, format_version: FormatVersion) -> TableCreation {
    TableCreation::builder().name(name.to_owned()).schema(schema()).format_version(format_version).build()
}

pub fn properties(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

pub fn set(pairs: &[(&str, &str)]) -> TableUpdate {
    TableUpdate::SetProperties { updates: properties(pairs) }
}

pub fn is_table(table: &Table) -> TableRequirement {
    TableRequirement::UuidMatch { uuid: table.metadata().uuid() }
}

pub fn ref_is(name: &str, snapshot_id: Option<i64>) -> TableRequirement {
    TableRequirement::RefSnapshotIdMatch { r#ref: name.to_owned(), snapshot_id }
}

pub fn request(ident: &TableIdent, requirements: Vec<TableRequirement>, updates: Vec<TableUpdate>) -> TableCommit {
    TableCommit { ident: ident.clone(), requirements, updates, idempotency_key: Uuid::new_v4() }
}

/// A snapshot whose manifest list nobody reads, on top of a table.
pub fn snapshot_on(table: &Table, snapshot_id: i64) -> Snapshot {
    let metadata = table.metadata();
    let summary = Summary { operation: Operation::Append, additional_properties: HashMap::new() };
    Snapshot::builder()
        .with_snapshot_id(snapshot_id)
        .with_parent_snapshot_id(table.current_snapshot().map(|snapshot| snapshot.snapshot_id()))
        .with_sequence_number(metadata.last_sequence_number() + 1)
        .with_timestamp_ms(metadata.last_updated_ms() + 1)
        .with_manifest_list(format!("{}/metadata/snap-{snapshot_id}.avro", metadata.location()))
        .with_summary(summary)
        .with_schema_id(metadata.current_schema_id())
        .build()
}

pub trait OutcomeExt {
    fn committed(self) -> Table;
    fn conflict(self) -> String;
}

impl OutcomeExt for CommitOutcome {
    #[track_caller]
    fn committed(self) -> Table {
        match self {
            Self::Committed(table) => table,
            other => panic!("not committed: {other:?}"),
        }
    }

    #[track_caller]
    fn conflict(self) -> String {
        match self {
            Self::Conflict(conflict) => conflict.to_string(),
            other => panic!("no conflict: {other:?}"),
        }
    }
}
