//! One queue for all commits that this process makes to one table.

use frazil_storage::Env;
use frazil_table::spec::TableIdent;
use frazil_table::{Change, CommitIdentity, ManifestCache, Table};
use tokio::sync::Mutex;

use crate::{CatalogRef, CommitEnd, CommitRequest, Precheck, Result, Retry, commit};

/// A table and the door to change it. A writer and a compaction of the same process take turns here, so that neither
/// ever loses an attempt to the other; only other processes can come first.
#[derive(Debug)]
pub struct CommitQueue {
    catalog: CatalogRef,
    env: Env,
    ident: TableIdent,
    cache: ManifestCache,
    turn: Mutex<()>,
}

impl CommitQueue {
    /// The queue of one table.
    pub fn new(catalog: CatalogRef, env: Env, ident: TableIdent) -> Self {
        Self { catalog, env, ident, cache: ManifestCache::default(), turn: Mutex::new(()) }
    }

    /// The table's name.
    pub fn ident(&self) -> &TableIdent {
        &self.ident
    }

    /// The catalog behind it.
    pub fn catalog(&self) -> &CatalogRef {
        &self.catalog
    }

    /// The world it lives in.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The manifests read and written lately.
    pub fn cache(&self) -> &ManifestCache {
        &self.cache
    }

    /// The table as it is now. Does not wait for a turn.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchTable`] if it was dropped.
    pub async fn load(&self) -> Result<Table> {
        self.catalog.load_table(&self.ident).await
    }

    /// Waits for its turn and commits (see [`commit()`]).
    ///
    /// # Errors
    /// As [`commit()`].
    pub async fn commit(
        &self,
        changes: &[Change],
        identity: CommitIdentity,
        precheck: &(dyn Fn(&Table) -> Precheck + Send + Sync),
    ) -> Result<CommitEnd> {
        let _turn = self.turn.lock().await;
        let request = CommitRequest { ident: &self.ident, changes, identity, precheck, retry: Retry::default() };
        commit(self.catalog.as_ref(), &self.env, &self.cache, request).await
    }
}
