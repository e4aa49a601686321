//! Every SQL statement of the catalog. Each function is one transaction.
//!
//! Statements keep to what SQLite and PostgreSQL share. Writers begin with the write lock, so that no transaction fails
//! half-way because another process wrote first.

mod consumers;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use frazil_table::spec::{NamespaceIdent, TableIdent};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Row, Sqlite, SqliteConnection, SqlitePool, Transaction};
use uuid::Uuid;

use super::schema;
use crate::{Error, Result};

/// Ends each level of a namespace's name in the database, and separates them in a URL.
pub(crate) const SEPARATOR: char = '\u{1f}';
/// Reads that run at the same time; WAL lets them pass the writer.
const READERS_MAX: u32 = 4;
/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an opener that SQLite didn't let wait does so itself, each time.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// For how long the key of a commit is known.
const KEY_AGE_MS_MAX: i64 = 60 * 60 * 1000;
/// Older keys are deleted by the first commit after so long.
const SWEEP_MS: i64 = 60 * 1000;

/// The database of one catalog.
#[derive(Debug)]
pub(super) struct Database {
    name: String,
    readers: SqlitePool,
    /// One connection: writers of this process queue in order instead of polling for the file's lock.
    writer: SqlitePool,
    /// A database in memory lives as long as one connection to it does. A pool closes one whose query was given up half-way,
    /// so this one is held and never used.
    _keeper: Option<Mutex<SqliteConnection>>,
    /// When old keys were deleted last.
    swept_ms: AtomicI64,
}

/// Where a table's pointer points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    pub(super) metadata_location: String,
    pub(super) location: String,
}

/// One table's part of a commit.
#[derive(Debug)]
pub(super) struct Swap<'a> {
    pub(super) ident: &'a TableIdent,
    /// `None` makes the table.
    pub(super) from: Option<&'a str>,
    pub(super) to: Pointer,
    /// Whether the table lay elsewhere before: then its new place must be free.
    pub(super) moves_in: bool,
}

/// How a swap ended.
#[derive(Debug)]
pub(super) enum SwapEnd {
    /// All pointers moved.
    Done,
    /// No pointer moved: this table's was another.
    Lost(TableIdent),
    /// No pointer moved: a commit with this key was there before.
    KeyTaken,
    /// The database failed while it made the swap durable.
    Unknown(sqlx::Error),
}

type Write = Transaction<'static, Sqlite>;

impl Database {
    pub(super) async fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        // A connection to a file doesn't go stale, so none is tried before its use.
        let pool = |max| {
            let pool = SqlitePoolOptions::new().max_connections(max).test_before_acquire(false);
            pool.connect_with(options.clone())
        };
        let writer = patiently(&name, || pool(1)).await?;
        schema::prepare(&writer, &name).await?;
        let readers = patiently(&name, || pool(READERS_MAX)).await?;
        Ok(Self { name, readers, writer, _keeper: None, swept_ms: AtomicI64::new(i64::MIN) })
    }

    pub(super) async fn in_memory() -> Result<Self> {
        let name = "memory".to_owned();
        let file = format!("file:frazil-{}", Uuid::new_v4());
        let options = SqliteConnectOptions::new().filename(file).in_memory(true).shared_cache(true);
        let keeper = options.connect().await.map_err(database_error(&name))?;
        let one = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false);
        let writer = one.connect_with(options).await.map_err(database_error(&name))?;
        schema::prepare(&writer, &name).await?;
        let swept_ms = AtomicI64::new(i64::MIN);
        Ok(Self { name, readers: writer.clone(), writer, _keeper: Some(Mutex::new(keeper)), swept_ms })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// At every depth.
    pub(super) async fn namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        let prefix = parent.map(path_of).unwrap_or_default();
        let rows =
            sqlx::query("SELECT path FROM frazil_namespaces WHERE substr(path, 1, length($1)) = $1 ORDER BY path")
                .bind(&prefix)
                .fetch_all(&self.readers)
                .await
                .map_err(self.failed())?;
        let below = rows.iter().map(|row| ident_of(row.get(0))).filter(|ident| Some(ident) != parent);
        Ok(below.collect())
    }

    pub(super) async fn namespace(&self, ident: &NamespaceIdent) -> Result<BTreeMap<String, String>> {
        let row = sqlx::query("SELECT properties FROM frazil_namespaces WHERE path = $1")
            .bind(path_of(ident))
            .fetch_optional(&self.readers)
            .await
            .map_err(self.failed())?;
        let row = row.ok_or_else(|| Error::NoSuchNamespace(ident.to_string()))?;
        self.parse_properties(row.get(0))
    }

    pub(super) async fn insert_namespace(
        &self,
        ident: &NamespaceIdent,
        properties: &BTreeMap<String, String>,
    ) -> Result<()> {
        let mut write = self.begin().await?;
        if let Some(parent) = ident.parent() {
            self.require_namespace(&mut write, &parent).await?;
        }
        let done =
            sqlx::query("INSERT INTO frazil_namespaces (path, properties) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(path_of(ident))
                .bind(json_of(properties))
                .execute(&mut *write)
                .await
                .map_err(self.failed())?;
        if done.rows_affected() == 0 {
            return Err(Error::NamespaceExists(ident.to_string()));
        }
        self.end(write).await
    }

    /// Changes a namespace's properties by `change`, which sees them as they are under the write lock.
    pub(super) async fn update_namespace(
        &self,
        ident: &NamespaceIdent,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> Result<()> {
        let mut write = self.begin().await?;
        let row = sqlx::query("SELECT properties FROM frazil_namespaces WHERE path = $1")
            .bind(path_of(ident))
            .fetch_optional(&mut *write)
            .await
            .map_err(self.failed())?;
        let row = row.ok_or_else(|| Error::NoSuchNamespace(ident.to_string()))?;
        let mut properties = self.parse_properties(row.get(0))?;
        change(&mut properties);
        sqlx::query("UPDATE frazil_namespaces SET properties = $1 WHERE path = $2")
            .bind(json_of(&properties))
            .bind(path_of(ident))
            .execute(&mut *write)
            .await
            .map_err(self.failed())?;
        self.end(write).await
    }

    pub(super) async fn delete_namespace(&self, ident: &NamespaceIdent) -> Result<()> {
        let path = path_of(ident);
        let mut write = self.begin().await?;
        self.require_namespace(&mut write, ident).await?;
        let held: i64 = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM frazil_tables WHERE namespace = $1)
                  + (SELECT COUNT(*) FROM frazil_namespaces
                     WHERE substr(path, 1, length($1)) = $1 AND path <> $1)",
        )
        .bind(&path)
        .fetch_one(&mut *write)
        .await
        .map_err(self.failed())?
        .get(0);
        if held > 0 {
            return Err(Error::NamespaceNotEmpty(ident.to_string()));
        }
        sqlx::query("DELETE FROM frazil_namespaces WHERE path = $1")
            .bind(&path)
            .execute(&mut *write)
            .await
            .map_err(self.failed())?;
        self.end(write).await
    }

    pub(super) async fn tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        let rows = sqlx::query("SELECT name FROM frazil_tables WHERE namespace = $1 ORDER BY name")
            .bind(path_of(namespace))
            .fetch_all(&self.readers)
            .await
            .map_err(self.failed())?;
        if rows.is_empty() {
            self.namespace(namespace).await?;
        }
        Ok(rows.iter().map(|row| TableIdent::new(namespace.clone(), row.get(0))).collect())
    }

    pub(super) async fn pointer(&self, ident: &TableIdent) -> Result<Option<Pointer>> {
        let row =
            sqlx::query("SELECT metadata_location, location FROM frazil_tables WHERE namespace = $1 AND name = $2")
                .bind(path_of(&ident.namespace))
                .bind(&ident.name)
                .fetch_optional(&self.readers)
                .await
                .map_err(self.failed())?;
        Ok(row.map(|row| Pointer { metadata_location: row.get(0), location: row.get(1) }))
    }

    /// Whether a table lies at the location, around it or inside it.
    pub(super) async fn is_occupied(&self, location: &str) -> Result<bool> {
        let mut read = self.readers.acquire().await.map_err(self.failed())?;
        Ok(occupant(&mut read, location, None).await.map_err(self.failed())?.is_some())
    }

    pub(super) async fn insert_table(&self, ident: &TableIdent, pointer: &Pointer) -> Result<()> {
        let mut write = self.begin().await?;
        self.require_namespace(&mut write, &ident.namespace).await?;
        self.require_free(&mut write, &pointer.location, ident).await?;
        if !insert(&mut write, ident, pointer).await.map_err(self.failed())? {
            return Err(Error::TableExists(ident.to_string()));
        }
        self.end(write).await
    }

    /// Returns where the pointer pointed.
    pub(super) async fn delete_table(&self, ident: &TableIdent) -> Result<Pointer> {
        let mut write = self.begin().await?;
        let row = sqlx::query(
            "DELETE FROM frazil_tables WHERE namespace = $1 AND name = $2
             RETURNING metadata_location, location",
        )
        .bind(path_of(&ident.namespace))
        .bind(&ident.name)
        .fetch_optional(&mut *write)
        .await
        .map_err(self.failed())?;
        let row = row.ok_or_else(|| Error::NoSuchTable(ident.to_string()))?;
        self.end(write).await?;
        Ok(Pointer { metadata_location: row.get(0), location: row.get(1) })
    }

    pub(super) async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        let mut write = self.begin().await?;
        self.require_namespace(&mut write, &to.namespace).await?;
        if exists(&mut write, to).await.map_err(self.failed())? {
            return Err(Error::TableExists(to.to_string()));
        }
        let done = sqlx::query("UPDATE frazil_tables SET namespace = $1, name = $2 WHERE namespace = $3 AND name = $4")
            .bind(path_of(&to.namespace))
            .bind(&to.name)
            .bind(path_of(&from.namespace))
            .bind(&from.name)
            .execute(&mut *write)
            .await
            .map_err(self.failed())?;
        if done.rows_affected() == 0 {
            return Err(Error::NoSuchTable(from.to_string()));
        }
        self.end(write).await
    }

    /// The fingerprint of the commit that was made with a key.
    pub(super) async fn fingerprint(&self, key: Uuid) -> Result<Option<String>> {
        let row = sqlx::query("SELECT fingerprint FROM frazil_commits WHERE idempotency_key = $1")
            .bind(key.to_string())
            .fetch_optional(&self.readers)
            .await
            .map_err(self.failed())?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Moves all pointers or none, and remembers the key in the same transaction.
    ///
    /// # Errors
    /// Only what is known to have moved nothing.
    pub(super) async fn swap(&self, swaps: &[Swap<'_>], key: Uuid, fingerprint: &str, now_ms: i64) -> Result<SwapEnd> {
        let mut write = self.begin().await?;
        for swap in swaps {
            if swap.moves_in {
                self.require_free(&mut write, &swap.to.location, swap.ident).await?;
            }
            let moved = match swap.from {
                Some(from) => update(&mut write, swap.ident, from, &swap.to).await.map_err(self.failed())?,
                None => {
                    self.require_namespace(&mut write, &swap.ident.namespace).await?;
                    insert(&mut write, swap.ident, &swap.to).await.map_err(self.failed())?
                }
            };
            if !moved {
                return Ok(SwapEnd::Lost(swap.ident.clone()));
            }
        }
        if now_ms >= self.swept_ms.load(Relaxed).saturating_add(SWEEP_MS) {
            forget(&mut write, now_ms - KEY_AGE_MS_MAX).await.map_err(self.failed())?;
            self.swept_ms.store(now_ms, Relaxed);
        }
        if !remember(&mut write, key, fingerprint, now_ms).await.map_err(self.failed())? {
            return Ok(SwapEnd::KeyTaken);
        }
        Ok(match write.commit().await {
            Ok(()) => SwapEnd::Done,
            Err(error) => SwapEnd::Unknown(error),
        })
    }

    async fn begin(&self) -> Result<Write> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(self.failed())
    }

    async fn end(&self, write: Write) -> Result<()> {
        write.commit().await.map_err(self.failed())
    }

    async fn require_namespace(&self, write: &mut Write, ident: &NamespaceIdent) -> Result<()> {
        let row = sqlx::query("SELECT 1 FROM frazil_namespaces WHERE path = $1")
            .bind(path_of(ident))
            .fetch_optional(&mut **write)
            .await
            .map_err(self.failed())?;
        row.map(drop).ok_or_else(|| Error::NoSuchNamespace(ident.to_string()))
    }

    async fn require_free(&self, write: &mut Write, location: &str, ident: &TableIdent) -> Result<()> {
        match occupant(write, location, Some(ident)).await.map_err(self.failed())? {
            Some(occupant) => Err(overlaps(location, &occupant)),
            None => Ok(()),
        }
    }

    fn parse_properties(&self, json: &str) -> Result<BTreeMap<String, String>> {
        serde_json::from_str(json).map_err(|error| Error::Database(error.into()))
    }

    pub(super) fn failed(&self) -> impl Fn(sqlx::Error) -> Error + '_ {
        database_error(&self.name)
    }
}

/// Connects, and while the file is busy, again: SQLite doesn't wait by itself where a file is switched to its log (two programs
/// that open a new one together) or where the log is recovered after a kill.
async fn patiently<F>(name: &str, connect: impl Fn() -> F) -> Result<SqlitePool>
where
    F: Future<Output = sqlx::Result<SqlitePool>>,
{
    let since = Instant::now();
    loop {
        match connect().await {
            Err(error) if is_busy(&error) && since.elapsed() < BUSY_TIMEOUT => tokio::time::sleep(BUSY_PAUSE).await,
            end => return end.map_err(database_error(name)),
        }
    }
}

/// Whether another connection's lock is the reason: SQLite's result codes BUSY and LOCKED, with whatever they extend to.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|inner| inner.code()?.parse::<i32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

pub(super) fn database_error(name: &str) -> impl Fn(sqlx::Error) -> Error + '_ {
    move |error| {
        if is_busy(&error) || matches!(error, sqlx::Error::PoolTimedOut) {
            let reason = format!(
                "another program has held the database for {} s; let it finish or stop it, then try again",
                BUSY_TIMEOUT.as_secs()
            );
            return Error::Unavailable { uri: name.to_owned(), reason };
        }
        Error::Database(Box::new(error))
    }
}

async fn exists(write: &mut Write, ident: &TableIdent) -> sqlx::Result<bool> {
    let row = sqlx::query("SELECT 1 FROM frazil_tables WHERE namespace = $1 AND name = $2")
        .bind(path_of(&ident.namespace))
        .bind(&ident.name)
        .fetch_optional(&mut **write)
        .await?;
    Ok(row.is_some())
}

async fn insert(write: &mut Write, ident: &TableIdent, pointer: &Pointer) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "INSERT INTO frazil_tables (namespace, name, location, metadata_location)
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(path_of(&ident.namespace))
    .bind(&ident.name)
    .bind(&pointer.location)
    .bind(&pointer.metadata_location)
    .execute(&mut **write)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The compare-and-swap.
async fn update(write: &mut Write, ident: &TableIdent, from: &str, to: &Pointer) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE frazil_tables SET metadata_location = $1, location = $2
         WHERE namespace = $3 AND name = $4 AND metadata_location = $5",
    )
    .bind(&to.metadata_location)
    .bind(&to.location)
    .bind(path_of(&ident.namespace))
    .bind(&ident.name)
    .bind(from)
    .execute(&mut **write)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes the keys of commits that were made before.
async fn forget(write: &mut Write, before_ms: i64) -> sqlx::Result<()> {
    let delete = sqlx::query("DELETE FROM frazil_commits WHERE made_ms < $1");
    delete.bind(before_ms).execute(&mut **write).await.map(drop)
}

async fn remember(write: &mut Write, key: Uuid, fingerprint: &str, now_ms: i64) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "INSERT INTO frazil_commits (idempotency_key, fingerprint, made_ms)
         VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(key.to_string())
    .bind(fingerprint)
    .bind(now_ms)
    .execute(&mut **write)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Another table that lies at the location, around it or inside it.
async fn occupant(
    connection: &mut SqliteConnection,
    location: &str,
    but: Option<&TableIdent>,
) -> sqlx::Result<Option<String>> {
    let row = sqlx::query(
        "SELECT namespace, name FROM frazil_tables
         WHERE (substr($1, 1, length(location) + 1) = location || '/'
                OR substr(location || '/', 1, length($1)) = $1)
           AND NOT (namespace = $2 AND name = $3)
         LIMIT 1",
    )
    .bind(format!("{location}/"))
    .bind(but.map(|ident| path_of(&ident.namespace)).unwrap_or_default())
    .bind(but.map(|ident| ident.name.clone()).unwrap_or_default())
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| TableIdent::new(ident_of(row.get(0)), row.get(1)).to_string()))
}

fn overlaps(location: &str, occupant: &str) -> Error {
    Error::Forbidden(format!(
        "location {location} overlaps with that of table {occupant}; two tables never share files, choose another"
    ))
}

fn path_of(ident: &NamespaceIdent) -> String {
    ident.as_ref().iter().flat_map(|level| [level.as_str(), "\u{1f}"]).collect()
}

fn ident_of(path: &str) -> NamespaceIdent {
    let levels = path.trim_end_matches(SEPARATOR).split(SEPARATOR).map(str::to_owned).collect();
    NamespaceIdent::from_vec(levels).expect("split yields at least one level")
}

fn json_of(properties: &BTreeMap<String, String>) -> String {
    serde_json::to_string(properties).expect("strings have a JSON form")
}
