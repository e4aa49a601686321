//! A client of any Iceberg REST catalog.
//!
//! A commit is sent once. Whatever leaves it open whether the catalog did it (no answer, 500, 502, 504) is
//! [`CommitOutcome::Unknown`], and the commit loop reads back. Reads are sent again a few times.

mod consumers;
mod subject;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use frazil_storage::Store;
use frazil_table::spec::{NamespaceIdent, TableCreation, TableIdent};
use frazil_table::{Conflict, Table};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::access::TableAccess;
use crate::wire::{
    CatalogConfig, CommitTable, CommitTransaction, CreateTable, ErrorBody, LoadedTable, NamespaceBody, NamespaceList,
    PropertiesUpdate, RegisterTable, RenameTable, TableList,
};
use crate::{
    Catalog, CommitOutcome, Consumer, ConsumerCommit, Error, Namespace, Result, TableCommit, TransactionOutcome,
};

use subject::Subject;

/// Everything but RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// How often a read is sent before its error is passed on.
const READS_MAX: u32 = 4;
/// An answer larger than this is refused: a table's metadata with some 100,000 snapshots.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Pages of one listing.
const PAGES_MAX: usize = 10_000;

/// What to tell a REST catalog besides its address.
#[derive(Clone, Debug)]
pub struct RestOptions {
    /// Sent as `Authorization: Bearer …`.
    pub token: Option<String>,
    /// Which of the catalog's warehouses.
    pub warehouse: Option<String>,
    /// Told how each table's files are reached (Iceberg REST, `config` and `storage-credentials` of `LoadTableResult`).
    pub store: Option<Store>,
    /// How long a connection may take.
    pub connect_timeout_ms: u64,
    /// How long an answer may take.
    pub request_timeout_ms: u64,
}

impl Default for RestOptions {
    /// No token, no warehouse, no store, 5 s to connect, 60 s for an answer.
    fn default() -> Self {
        Self { token: None, warehouse: None, store: None, connect_timeout_ms: 5_000, request_timeout_ms: 60_000 }
    }
}

/// A catalog behind the Iceberg REST protocol.
pub struct RestCatalog {
    uri: String,
    /// `<uri>/v1/<prefix>/`.
    base: Url,
    http: reqwest::Client,
    token: Option<String>,
    /// Whether the catalog said that it answers `HEAD` for tables.
    has_head: bool,
    /// Whether the catalog said that it commits to several tables at once.
    has_transactions: bool,
    /// Whether it is Frazil's, which keeps consumers.
    has_consumers: bool,
    /// Where to tell what the catalog says about its tables' stores.
    access: Option<TableAccess>,
}

impl std::fmt::Debug for RestCatalog {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestCatalog").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl RestCatalog {
    /// Asks the catalog for its configuration.
    ///
    /// # Errors
    /// [`Error::BadRequest`] if `uri` is none; [`Error::Unavailable`] if nobody answers there.
    pub async fn connect(uri: &str, options: RestOptions) -> Result<Self> {
        let root = uri.trim_end_matches('/').trim_end_matches("/v1");
        let base = Url::parse(&format!("{root}/v1/"))
            .map_err(|error| Error::BadRequest(format!("{uri:?} is no address of a REST catalog: {error}")))?;
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
            .timeout(Duration::from_millis(options.request_timeout_ms))
            .user_agent(concat!("frazil/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| unavailable(uri, &error))?;
        let token = options.token;
        let mut catalog = Self {
            uri: root.to_owned(),
            base,
            http,
            token,
            has_head: false,
            has_transactions: false,
            has_consumers: false,
            access: options.store.map(TableAccess::new),
        };
        let query: Vec<_> = options.warehouse.iter().map(|name| ("warehouse", name.as_str())).collect();
        let config: CatalogConfig = catalog.read(&["config"], &query, &Subject::Catalog).await?;
        if let Some(access) = &mut catalog.access {
            access.configure(&config);
        }
        let prefix = config.overrides.get("prefix").or_else(|| config.defaults.get("prefix"));
        if let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) {
            let base = catalog.base.join(&format!("{}/", prefix.trim_matches('/')));
            catalog.base = base.map_err(|error| Error::BadRequest(format!("prefix {prefix:?}: {error}")))?;
        }
        let head = "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}";
        catalog.has_head = config.endpoints.iter().any(|endpoint| endpoint == head);
        let transactions = "POST /v1/{prefix}/transactions/commit";
        catalog.has_transactions = config.endpoints.iter().any(|endpoint| endpoint == transactions);
        catalog.has_consumers = config.endpoints.iter().any(|endpoint| endpoint == consumers::ENDPOINT);
        Ok(catalog)
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let encoded: Vec<String> =
            path.iter().map(|segment| utf8_percent_encode(segment, SEGMENT).to_string()).collect();
        // The base ends with a slash and the segments are encoded, so that joining can't climb.
        let url = format!("{}{}", self.base, encoded.join("/"));
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// A request that changes nothing, sent again if it fails on the way.
    async fn read<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        subject: &Subject<'_>,
    ) -> Result<T> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let answer = self.request(Method::GET, path).query(query).send().await;
            let again = match &answer {
                Ok(response) => response.status().is_server_error(),
                Err(error) => !error.is_builder(),
            };
            if again && attempt < READS_MAX {
                tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
                continue;
            }
            let answer = answer.map_err(|error| unavailable(&self.uri, &error))?;
            return self.parse(self.expect_success(answer, subject).await?).await;
        }
    }

    /// A request that changes something other than a table's content, sent once.
    async fn change(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
        subject: &Subject<'_>,
    ) -> Result<Response> {
        let request = self.request(method, path).json(body);
        let answer = request.send().await.map_err(|error| unavailable(&self.uri, &error))?;
        self.expect_success(answer, subject).await
    }

    async fn parse<T: DeserializeOwned>(&self, response: Response) -> Result<T> {
        let bytes = self.body(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Unavailable {
            uri: self.uri.clone(),
            reason: format!("its answer is not what the protocol says: {error}"),
        })
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unavailable(&self.uri, &error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                let reason = format!("its answer is longer than {} MiB", ANSWER_BYTES_MAX >> 20);
                return Err(Error::Unavailable { uri: self.uri.clone(), reason });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn expect_success(&self, response: Response, subject: &Subject<'_>) -> Result<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let (kind, message) = self.refusal(response).await;
        Err(subject.error(&self.uri, status, &kind, message))
    }

    /// Type and message of an error answer; whatever the body is if it is no envelope.
    async fn refusal(&self, response: Response) -> (String, String) {
        let status = response.status();
        let bytes = self.body(response).await.unwrap_or_default();
        match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(body) => (body.error.kind, body.error.message),
            Err(_) => {
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
                (String::new(), format!("{status} {text}"))
            }
        }
    }

    async fn table_of(&self, ident: &TableIdent, response: Response) -> Result<Table> {
        let loaded: LoadedTable = self.parse(response).await?;
        self.loaded(ident, loaded)
    }

    fn loaded(&self, ident: &TableIdent, loaded: LoadedTable) -> Result<Table> {
        let location = loaded.metadata_location.ok_or_else(|| Error::Unavailable {
            uri: self.uri.clone(),
            reason: format!("its answer for table {ident} has no metadata-location"),
        })?;
        if let Some(access) = &self.access {
            access.grant(&loaded.metadata, loaded.config, loaded.storage_credentials);
        }
        Ok(Table::new(ident.clone(), loaded.metadata.into(), &location))
    }

    /// How a commit ended that was answered with anything but success.
    async fn commit_refused(&self, ident: &TableIdent, response: Response) -> Result<CommitOutcome> {
        let status = response.status();
        let (kind, message) = self.refusal(response).await;
        match status {
            StatusCode::CONFLICT => Ok(CommitOutcome::Conflict(Conflict::Moved { reason: message })),
            // Even a 503 may come from a proxy that had passed the request on.
            status if status.is_server_error() => Ok(CommitOutcome::Unknown { reason: format!("{status}: {message}") }),
            status => Err(Subject::Table(ident).error(&self.uri, status, &kind, message)),
        }
    }
}

fn unavailable(uri: &str, error: &reqwest::Error) -> Error {
    Error::Unavailable { uri: uri.to_owned(), reason: reason_of(error) }
}

/// The innermost cause says what happened; the outer ones repeat the address.
fn reason_of(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match (error.is_connect(), error.is_timeout()) {
        (true, _) => format!("nothing answers there ({cause}); is the server running?"),
        (_, true) => "no answer in time".to_owned(),
        _ => cause.to_string(),
    }
}

#[async_trait]
impl Catalog for RestCatalog {
    fn name(&self) -> String {
        self.uri.clone()
    }

    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        let parent_text = parent.map(NamespaceIdent::to_url_string);
        let subject = parent.map_or(Subject::Catalog, Subject::Namespace);
        let mut all = Vec::new();
        let mut token = String::new();
        for _ in 0..PAGES_MAX {
            let mut query = vec![("pageToken", token.as_str())];
            query.extend(parent_text.iter().map(|parent| ("parent", parent.as_str())));
            let page: NamespaceList = self.read(&["namespaces"], &query, &subject).await?;
            all.extend(page.namespaces);
            match page.next_page_token {
                Some(next) if !next.is_empty() => token = next,
                _ => return Ok(all),
            }
        }
        Err(endless(&self.uri))
    }

    async fn create_namespace(
        &self,
        ident: &NamespaceIdent,
        properties: BTreeMap<String, String>,
    ) -> Result<Namespace> {
        let body = NamespaceBody { namespace: ident.clone(), properties: Some(properties) };
        let parent = ident.parent();
        let made = match self.change(Method::POST, &["namespaces"], &body, &Subject::Namespace(ident)).await {
            Err(Error::NoSuchNamespace(_)) if let Some(parent) = parent => {
                return Err(Error::NoSuchNamespace(parent.to_string()));
            }
            made => self.parse::<NamespaceBody>(made?).await?,
        };
        Ok(Namespace { ident: made.namespace, properties: made.properties.unwrap_or_default() })
    }

    async fn load_namespace(&self, ident: &NamespaceIdent) -> Result<Namespace> {
        let path = ["namespaces", &ident.to_url_string()];
        let found: NamespaceBody = self.read(&path, &[], &Subject::Namespace(ident)).await?;
        Ok(Namespace { ident: found.namespace, properties: found.properties.unwrap_or_default() })
    }

    async fn update_namespace(
        &self,
        ident: &NamespaceIdent,
        updates: HashMap<String, String>,
        removals: Vec<String>,
    ) -> Result<()> {
        let body = PropertiesUpdate { removals, updates };
        let path = ["namespaces", &ident.to_url_string(), "properties"];
        self.change(Method::POST, &path, &body, &Subject::Namespace(ident)).await.map(drop)
    }

    async fn drop_namespace(&self, ident: &NamespaceIdent) -> Result<()> {
        let path = ["namespaces", &ident.to_url_string()];
        self.change(Method::DELETE, &path, &(), &Subject::Namespace(ident)).await.map(drop)
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        let path = ["namespaces", &namespace.to_url_string(), "tables"];
        let mut all = Vec::new();
        let mut token = String::new();
        for _ in 0..PAGES_MAX {
            let query = [("pageToken", token.as_str())];
            let page: TableList = self.read(&path, &query, &Subject::Namespace(namespace)).await?;
            all.extend(page.identifiers);
            match page.next_page_token {
                Some(next) if !next.is_empty() => token = next,
                _ => return Ok(all),
            }
        }
        Err(endless(&self.uri))
    }

    async fn create_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<Table> {
        let ident = TableIdent::new(namespace.clone(), creation.name.clone());
        let path = ["namespaces", &namespace.to_url_string(), "tables"];
        let body = CreateTable::of(creation);
        let response = self.change(Method::POST, &path, &body, &Subject::NewTable(&ident)).await?;
        self.table_of(&ident, response).await
    }

    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        let path = ["namespaces", &ident.namespace.to_url_string(), "tables", &ident.name];
        let loaded: LoadedTable = match self.read(&path, &[], &Subject::Table(ident)).await {
            // A table whose namespace is missing is missing.
            Err(Error::NoSuchNamespace(_)) => return Err(Error::NoSuchTable(ident.to_string())),
            loaded => loaded?,
        };
        self.loaded(ident, loaded)
    }

    async fn drop_table(&self, ident: &TableIdent, purge: bool) -> Result<()> {
        let path = ["namespaces", &ident.namespace.to_url_string(), "tables", &ident.name];
        let request = self.request(Method::DELETE, &path).query(&[("purgeRequested", purge)]);
        let answer = request.send().await.map_err(|error| unavailable(&self.uri, &error))?;
        self.expect_success(answer, &Subject::Table(ident)).await.map(drop)
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        let body = RenameTable { source: from.clone(), destination: to.clone() };
        let renamed = self.change(Method::POST, &["tables", "rename"], &body, &Subject::Table(from)).await;
        match renamed {
            Ok(_) => Ok(()),
            Err(Error::NoSuchNamespace(_)) => Err(Error::NoSuchNamespace(to.namespace.to_string())),
            Err(Error::TableExists(_)) => Err(Error::TableExists(to.to_string())),
            Err(error) => Err(error),
        }
    }

    async fn register_table(&self, ident: &TableIdent, metadata_location: &str) -> Result<Table> {
        let path = ["namespaces", &ident.namespace.to_url_string(), "register"];
        let (name, metadata_location) = (ident.name.clone(), metadata_location.to_owned());
        let body = RegisterTable { name, metadata_location, overwrite: false };
        let response = self.change(Method::POST, &path, &body, &Subject::NewTable(ident)).await?;
        self.table_of(ident, response).await
    }

    async fn commit(&self, commit: TableCommit) -> Result<CommitOutcome> {
        let TableCommit { ident, requirements, updates, idempotency_key } = commit;
        let path = ["namespaces", &ident.namespace.to_url_string(), "tables", &ident.name];
        let body = CommitTable { identifier: Some(ident.clone()), requirements, updates };
        let request = self.request(Method::POST, &path).json(&body);
        let request = request.header("Idempotency-Key", idempotency_key.to_string());
        let response = match request.send().await {
            Ok(response) => response,
            // Nothing was sent without a connection.
            Err(error) if error.is_connect() || error.is_builder() => {
                return Err(unavailable(&self.uri, &error));
            }
            Err(error) => return Ok(CommitOutcome::Unknown { reason: reason_of(&error) }),
        };
        if !response.status().is_success() {
            return self.commit_refused(&ident, response).await;
        }
        Ok(match self.table_of(&ident, response).await {
            Ok(table) => CommitOutcome::Committed(table),
            // It was done, but what the table is now did not come through.
            Err(error) => CommitOutcome::Unknown { reason: error.to_string() },
        })
    }

    fn has_transactions(&self) -> bool {
        self.has_transactions
    }

    async fn commit_transaction(&self, commits: Vec<TableCommit>, key: Uuid) -> Result<TransactionOutcome> {
        let idents: Vec<TableIdent> = commits.iter().map(|commit| commit.ident.clone()).collect();
        let first = idents.first().ok_or_else(|| Error::BadRequest("a transaction without a table".to_owned()))?;
        let changes = commits.into_iter().map(|commit| CommitTable {
            identifier: Some(commit.ident),
            requirements: commit.requirements,
            updates: commit.updates,
        });
        let body = CommitTransaction { table_changes: changes.collect() };
        let request = self.request(Method::POST, &["transactions", "commit"]).json(&body);
        let response = match request.header("Idempotency-Key", key.to_string()).send().await {
            Ok(response) => response,
            // Nothing was sent without a connection.
            Err(error) if error.is_connect() || error.is_builder() => {
                return Err(unavailable(&self.uri, &error));
            }
            Err(error) => return Ok(TransactionOutcome::Unknown { reason: reason_of(&error) }),
        };
        if !response.status().is_success() {
            return Ok(match self.commit_refused(first, response).await? {
                CommitOutcome::Conflict(conflict) => TransactionOutcome::Conflict(conflict),
                CommitOutcome::Unknown { reason } => TransactionOutcome::Unknown { reason },
                CommitOutcome::Committed(_) => unreachable!("it was refused"),
            });
        }
        let mut tables = Vec::with_capacity(idents.len());
        for ident in &idents {
            match self.load_table(ident).await {
                Ok(table) => tables.push(table),
                // It was done, but what the tables are now did not come through.
                Err(error) => return Ok(TransactionOutcome::Unknown { reason: error.to_string() }),
            }
        }
        Ok(TransactionOutcome::Committed(tables))
    }

    async fn consumers(&self, ident: &TableIdent) -> Result<Vec<Consumer>> {
        self.list_consumers(ident).await
    }

    async fn join_consumer(&self, ident: &TableIdent, name: &str, lease_ms: i64) -> Result<Consumer> {
        self.join(ident, name, lease_ms).await
    }

    async fn commit_consumer(&self, ident: &TableIdent, name: &str, commit: ConsumerCommit) -> Result<()> {
        self.commit_position(ident, name, &commit).await
    }

    async fn drop_consumer(&self, ident: &TableIdent, name: &str) -> Result<()> {
        self.forget_consumer(ident, name).await
    }

    async fn table_exists(&self, ident: &TableIdent) -> Result<bool> {
        if !self.has_head {
            return match self.load_table(ident).await {
                Ok(_) => Ok(true),
                Err(Error::NoSuchTable(_)) => Ok(false),
                Err(error) => Err(error),
            };
        }
        let path = ["namespaces", &ident.namespace.to_url_string(), "tables", &ident.name];
        let answer = self.request(Method::HEAD, &path).send().await;
        let answer = answer.map_err(|error| unavailable(&self.uri, &error))?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(false),
            _ => self.expect_success(answer, &Subject::Table(ident)).await.map(|_| true),
        }
    }
}

fn endless(uri: &str) -> Error {
    Error::Unavailable { uri: uri.to_owned(), reason: format!("a listing has more than {PAGES_MAX} pages") }
}
