//! Statements about consumers. A consumer goes with its table, and is renamed with it.

use frazil_table::spec::TableIdent;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Database, path_of};
use crate::{Consumer, ConsumerCommit, Error, Result};

const COLUMNS: &str = "name, epoch, position, seen_ms, lease_ms";

impl Database {
    pub(in crate::sql) async fn consumers(&self, ident: &TableIdent) -> Result<Vec<Consumer>> {
        let statement =
            format!("SELECT {COLUMNS} FROM frazil_consumers WHERE namespace = $1 AND table_name = $2 ORDER BY name");
        let rows = sqlx::query(&statement)
            .bind(path_of(&ident.namespace))
            .bind(&ident.name)
            .fetch_all(&self.readers)
            .await
            .map_err(self.failed())?;
        Ok(rows.iter().map(consumer_of).collect())
    }

    /// Makes the consumer unless it is there; either way its epoch is a new one.
    pub(in crate::sql) async fn join_consumer(
        &self,
        ident: &TableIdent,
        name: &str,
        lease_ms: i64,
        now_ms: i64,
    ) -> Result<Consumer> {
        let mut write = self.begin().await?;
        if !super::exists(&mut write, ident).await.map_err(self.failed())? {
            return Err(Error::NoSuchTable(ident.to_string()));
        }
        let statement = format!(
            "INSERT INTO frazil_consumers (namespace, table_name, name, epoch, seen_ms, lease_ms)
             VALUES ($1, $2, $3, 1, $4, $5)
             ON CONFLICT (namespace, table_name, name)
             DO UPDATE SET epoch = epoch + 1, seen_ms = $4, lease_ms = $5
             RETURNING {COLUMNS}"
        );
        let row = sqlx::query(&statement)
            .bind(path_of(&ident.namespace))
            .bind(&ident.name)
            .bind(name)
            .bind(now_ms)
            .bind(lease_ms)
            .fetch_one(&mut *write)
            .await
            .map_err(self.failed())?;
        self.end(write).await?;
        Ok(consumer_of(&row))
    }

    /// Moves the position, if no newer member has joined.
    pub(in crate::sql) async fn commit_consumer(
        &self,
        ident: &TableIdent,
        name: &str,
        commit: &ConsumerCommit,
        now_ms: i64,
    ) -> Result<()> {
        let mut write = self.begin().await?;
        let row =
            sqlx::query("SELECT epoch FROM frazil_consumers WHERE namespace = $1 AND table_name = $2 AND name = $3")
                .bind(path_of(&ident.namespace))
                .bind(&ident.name)
                .bind(name)
                .fetch_optional(&mut *write)
                .await
                .map_err(self.failed())?;
        let known: i64 = row.ok_or_else(|| no_such_consumer(ident, name))?.get(0);
        if known != commit.epoch {
            return Err(Error::ConsumerFenced(format!("{name} of {ident}")));
        }
        sqlx::query(
            "UPDATE frazil_consumers SET seen_ms = $1, position = COALESCE($2, position)
             WHERE namespace = $3 AND table_name = $4 AND name = $5",
        )
        .bind(now_ms)
        .bind(&commit.position)
        .bind(path_of(&ident.namespace))
        .bind(&ident.name)
        .bind(name)
        .execute(&mut *write)
        .await
        .map_err(self.failed())?;
        self.end(write).await
    }

    pub(in crate::sql) async fn delete_consumer(&self, ident: &TableIdent, name: &str) -> Result<()> {
        let mut write = self.begin().await?;
        let done = sqlx::query("DELETE FROM frazil_consumers WHERE namespace = $1 AND table_name = $2 AND name = $3")
            .bind(path_of(&ident.namespace))
            .bind(&ident.name)
            .bind(name)
            .execute(&mut *write)
            .await
            .map_err(self.failed())?;
        if done.rows_affected() == 0 {
            return Err(no_such_consumer(ident, name));
        }
        self.end(write).await
    }
}

fn no_such_consumer(ident: &TableIdent, name: &str) -> Error {
    Error::NoSuchConsumer(format!("{name} of {ident}"))
}

fn consumer_of(row: &SqliteRow) -> Consumer {
    Consumer { name: row.get(0), epoch: row.get(1), position: row.get(2), seen_ms: row.get(3), lease_ms: row.get(4) }
}
