//! One queue for all commits that this process makes to one table.

use frazil_storage::Env;
use frazil_table::spec::TableIdent;
use frazil_table::{Change, CommitIdentity, CommitTarget, ManifestCache, Table};
use tokio::sync::Mutex;

use crate::{
    CatalogRef, CommitEnd, CommitRequest, Precheck, Result, Retry, TransactionEnd, commit, commit_transaction,
};

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

    /// Waits for its turn and commits to `main` (see [`commit()`]).
    ///
    /// # Errors
    /// As [`commit()`].
    pub async fn commit(
        &self,
        changes: &[Change],
        identity: CommitIdentity,
        precheck: &(dyn Fn(&Table) -> Precheck + Send + Sync),
    ) -> Result<CommitEnd> {
        self.commit_to(CommitTarget::default(), changes, identity, precheck).await
    }

    /// Waits for its turn and commits to another branch, or stages (see [`commit()`]).
    ///
    /// # Errors
    /// As [`commit()`].
    pub async fn commit_to(
        &self,
        target: CommitTarget,
        changes: &[Change],
        identity: CommitIdentity,
        precheck: &(dyn Fn(&Table) -> Precheck + Send + Sync),
    ) -> Result<CommitEnd> {
        let _turn = self.turn.lock().await;
        let ident = &self.ident;
        let request = CommitRequest { ident, target, changes, identity, precheck, retry: Retry::default() };
        commit(self.catalog.as_ref(), &self.env, &self.cache, request).await
    }
}

/// A change of one table that goes into a commit with others.
pub struct QueuedCommit<'a> {
    /// The table.
    pub queue: &'a CommitQueue,
    /// What changes, in order.
    pub changes: &'a [Change],
    /// The ids of the commit.
    pub identity: CommitIdentity,
    /// Looks at the table before each attempt.
    pub precheck: &'a (dyn Fn(&Table) -> Precheck + Send + Sync),
}

impl std::fmt::Debug for QueuedCommit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueuedCommit").field("ident", self.queue.ident()).finish_non_exhaustive()
    }
}

/// Waits for a turn in the queue of every table and commits to all of them or none (see [`commit_transaction`]). All
/// tables are of the first one's catalog, each named once.
///
/// # Errors
/// As [`commit_transaction`].
pub async fn commit_queued(mut commits: Vec<QueuedCommit<'_>>) -> Result<TransactionEnd> {
    let Some(first) = commits.first() else { return Ok(TransactionEnd::Landed(Vec::new())) };
    let (catalog, env) = (first.queue.catalog().clone(), first.queue.env().clone());
    // In one order, whoever asks: two commits that want the same turns never wait for each other.
    let mut queues: Vec<&CommitQueue> = commits.iter().map(|commit| commit.queue).collect();
    queues.sort_by_key(|queue| queue.ident().to_string());
    let mut turns = Vec::with_capacity(queues.len());
    for queue in queues {
        turns.push(queue.turn.lock().await);
    }
    let requests = commits.drain(..).map(|QueuedCommit { queue, changes, identity, precheck }| {
        let request = CommitRequest {
            ident: &queue.ident,
            target: CommitTarget::default(),
            changes,
            identity,
            precheck,
            retry: Retry::default(),
        };
        (request, &queue.cache)
    });
    commit_transaction(catalog.as_ref(), &env, requests.collect()).await
}
