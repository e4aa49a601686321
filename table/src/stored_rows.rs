//! What a writer of row-level changes asks of a reader: the border between two crates that do not know each other.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::stream::BoxStream;
use roaring::{RoaringBitmap, RoaringTreemap};

use crate::{Result, Table, TableFile, TableState};

/// Keys of some rows of one data file.
#[derive(Clone, Debug)]
pub struct RowKeys {
    /// The data file.
    pub path: Arc<str>,
    /// The rows' positions in it, ascending.
    pub rows: Vec<u64>,
    /// The key columns of those rows, in the order of the table's schema.
    pub keys: RecordBatch,
}

/// Reads keys and deletes of rows that are stored already. The reader implements it.
///
/// Keys are columns of the table's current schema, by field id, in the order of the schema; a column in a struct comes
/// with that struct, pruned to what is asked for.
#[async_trait]
pub trait StoredRows: fmt::Debug + Send + Sync {
    /// The keys of all rows of some live data files that no delete of the state applies to, several files at a time, in no
    /// order.
    ///
    /// # Errors
    /// What keeps a file from being read. The stream ends with the first error.
    async fn live_keys(
        &self,
        state: &TableState,
        paths: BTreeSet<String>,
        ids: &[i32],
    ) -> Result<BoxStream<'static, Result<RowKeys>>>;

    /// The keys of some rows of one data file, in the order of the rows, whatever is deleted; all of them if `rows` is
    /// `None`. The file need not be in the table yet.
    ///
    /// # Errors
    /// As [`StoredRows::live_keys`].
    async fn keys_at(
        &self,
        table: &Table,
        file: &TableFile,
        rows: Option<RoaringBitmap>,
        ids: &[i32],
    ) -> Result<BoxStream<'static, Result<RecordBatch>>>;

    /// The rows that position deletes and deletion vectors have deleted of some live data files. Files without any are
    /// left out; equality deletes are not looked at.
    ///
    /// # Errors
    /// What keeps a delete file from being read.
    async fn deleted_rows(
        &self,
        state: &TableState,
        paths: BTreeSet<String>,
    ) -> Result<HashMap<String, Arc<RoaringTreemap>>>;
}
