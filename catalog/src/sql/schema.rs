//! The tables of the database, and what version of them this program knows.
//!
//! A namespace's levels are joined, each followed by U+001F, so that a namespace's name is a prefix of its children's.

use sqlx::{Executor, Row, Sqlite, SqlitePool, Transaction};

use crate::{Error, Result};

/// Counts up with every change of [`TABLES`].
const VERSION: i64 = 2;

const TABLES: [&str; 6] = [
    "CREATE TABLE IF NOT EXISTS frazil_schema (version BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS frazil_namespaces (path TEXT PRIMARY KEY, properties TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS frazil_tables (
        namespace TEXT NOT NULL REFERENCES frazil_namespaces (path),
        name TEXT NOT NULL,
        location TEXT NOT NULL,
        metadata_location TEXT NOT NULL,
        PRIMARY KEY (namespace, name))",
    "CREATE TABLE IF NOT EXISTS frazil_commits (
        idempotency_key TEXT PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        made_ms BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS frazil_commits_by_age ON frazil_commits (made_ms)",
    "CREATE TABLE IF NOT EXISTS frazil_consumers (
        namespace TEXT NOT NULL,
        table_name TEXT NOT NULL,
        name TEXT NOT NULL,
        epoch BIGINT NOT NULL,
        position TEXT,
        seen_ms BIGINT NOT NULL,
        lease_ms BIGINT NOT NULL,
        PRIMARY KEY (namespace, table_name, name),
        FOREIGN KEY (namespace, table_name) REFERENCES frazil_tables (namespace, name)
            ON UPDATE CASCADE ON DELETE CASCADE)",
];

/// Makes the tables unless they are there.
///
/// # Errors
/// [`Error::Unavailable`] if a newer program made them.
pub(super) async fn prepare(pool: &SqlitePool, name: &str) -> Result<()> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(super::database_error(name))?;
    match version(&mut transaction).await.map_err(super::database_error(name))? {
        None => create(&mut transaction).await.map_err(super::database_error(name))?,
        Some(VERSION) => return Ok(()),
        // Newer versions only have more tables.
        Some(older) if older < VERSION => upgrade(&mut transaction).await.map_err(super::database_error(name))?,
        Some(other) => {
            let reason = format!(
                "its tables have version {other} and this program knows version {VERSION}; \
                 use the newer program that made them, or another data folder"
            );
            return Err(Error::Unavailable { uri: name.to_owned(), reason });
        }
    }
    transaction.commit().await.map_err(super::database_error(name))
}

async fn version(transaction: &mut Transaction<'_, Sqlite>) -> sqlx::Result<Option<i64>> {
    let found = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'frazil_schema'";
    let there: i64 = transaction.fetch_one(found).await?.try_get(0)?;
    if there == 0 {
        return Ok(None);
    }
    let row = transaction.fetch_optional("SELECT version FROM frazil_schema").await?;
    row.map(|row| row.try_get(0)).transpose()
}

async fn upgrade(transaction: &mut Transaction<'_, Sqlite>) -> sqlx::Result<()> {
    for statement in TABLES {
        transaction.execute(statement).await?;
    }
    sqlx::query("UPDATE frazil_schema SET version = $1").bind(VERSION).execute(&mut **transaction).await?;
    Ok(())
}

async fn create(transaction: &mut Transaction<'_, Sqlite>) -> sqlx::Result<()> {
    for statement in TABLES {
        transaction.execute(statement).await?;
    }
    sqlx::query("INSERT INTO frazil_schema (version) VALUES ($1)").bind(VERSION).execute(&mut **transaction).await?;
    Ok(())
}
