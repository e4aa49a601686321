//! One queue for all commits that this process makes to one table.

use std::sync::Arc;

use frazil_storage::Env;
use frazil_table::spec::TableIdent;
use frazil_table::{Change, CommitIdentity, CommitTarget, ManifestCache, Table};
use tokio::sync::{Mutex, OwnedMutexGuard};

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
    turn: Arc<Mutex<()>>,
}

impl CommitQueue {
    /// The queue of one table.
    pub fn new(catalog: CatalogRef, env: Env, ident: TableIdent) -> Self {
        Self { catalog, env, ident, cache: ManifestCache::default(), turn: Arc::default() }
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
        let _turn = Turns::take([self]).await;
        self.commit_now(target, changes, identity, precheck).await
    }

    /// Commits to `main` in a turn that the caller has (see [`commit()`]).
    ///
    /// # Errors
    /// As [`commit()`].
    pub async fn commit_in_turn(
        &self,
        turns: &Turns,
        changes: &[Change],
        identity: CommitIdentity,
        precheck: &(dyn Fn(&Table) -> Precheck + Send + Sync),
    ) -> Result<CommitEnd> {
        turns.check(self);
        self.commit_now(CommitTarget::default(), changes, identity, precheck).await
    }

    async fn commit_now(
        &self,
        target: CommitTarget,
        changes: &[Change],
        identity: CommitIdentity,
        precheck: &(dyn Fn(&Table) -> Precheck + Send + Sync),
    ) -> Result<CommitEnd> {
        let ident = &self.ident;
        let request = CommitRequest { ident, target, changes, identity, precheck, retry: Retry::default() };
        commit(self.catalog.as_ref(), &self.env, &self.cache, request).await
    }
}

/// Turns in the queues of some tables. Until they are dropped nobody else of this process commits to these: so a change that
/// is worked out on a table as it is now can be committed as the next one.
#[derive(Debug)]
pub struct Turns(Vec<OwnedMutexGuard<()>>);

impl Turns {
    /// Waits for a turn in each of the queues, of which the same may be given more than once. Whoever has turns must not
    /// wait for others.
    pub async fn take<'a>(queues: impl IntoIterator<Item = &'a CommitQueue>) -> Self {
        // In one order, whoever asks: two that want the same turns never wait for each other.
        let mut queues: Vec<&CommitQueue> = queues.into_iter().collect();
        queues.sort_by_key(|queue| (queue.ident.to_string(), Arc::as_ptr(&queue.turn)));
        queues.dedup_by_key(|queue| Arc::as_ptr(&queue.turn));
        let mut turns = Vec::with_capacity(queues.len());
        for queue in queues {
            turns.push(Arc::clone(&queue.turn).lock_owned().await);
        }
        Self(turns)
    }

    fn check(&self, queue: &CommitQueue) {
        let has = self.0.iter().any(|turn| Arc::ptr_eq(OwnedMutexGuard::mutex(turn), &queue.turn));
        assert!(has, "a commit to {} goes in its queue's turn", queue.ident);
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
pub async fn commit_queued(commits: Vec<QueuedCommit<'_>>) -> Result<TransactionEnd> {
    let turns = Turns::take(commits.iter().map(|commit| commit.queue)).await;
    commit_in_turns(&turns, commits).await
}

/// The same in turns that the caller has.
///
/// # Errors
/// As [`commit_transaction`].
pub async fn commit_in_turns(turns: &Turns, mut commits: Vec<QueuedCommit<'_>>) -> Result<TransactionEnd> {
    let Some(first) = commits.first() else { return Ok(TransactionEnd::Landed(Vec::new())) };
    let (catalog, env) = (first.queue.catalog().clone(), first.queue.env().clone());
    commits.iter().for_each(|commit| turns.check(commit.queue));
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::{Catalog, SqlCatalog};
    use frazil_table::spec::{NamespaceIdent, Schema, TableCreation};

    #[tokio::test]
    async fn who_has_a_turn_is_alone_until_it_is_dropped() {
        let env = Env::in_memory(1);
        let catalog = Arc::new(SqlCatalog::in_memory(env.clone(), "memory://w").await.unwrap());
        let namespace = NamespaceIdent::new("db".to_owned());
        catalog.create_namespace(&namespace, Default::default()).await.unwrap();
        let mut queues = Vec::new();
        for name in ["a", "b"] {
            let schema = Schema::builder().build().unwrap();
            let creation = TableCreation::builder().name(name.to_owned()).schema(schema).build();
            catalog.create_table(&namespace, creation).await.unwrap();
            let ident = TableIdent::new(namespace.clone(), name.to_owned());
            queues.push(CommitQueue::new(catalog.clone(), env.clone(), ident));
        }
        let append = [Change::Append { files: Vec::new(), properties: Default::default() }];
        let commit = |queue: usize| {
            let identity = CommitIdentity::draw(&env, 1);
            queues[queue].commit(&append, identity, &|_| Precheck::Proceed)
        };
        // Whatever the order, and though one is given twice.
        let turns = Turns::take([&queues[1], &queues[0], &queues[1]]).await;
        for queue in [0, 1] {
            assert!(commit(queue).now_or_never().is_none());
        }
        assert!(Turns::take([&queues[0], &queues[1]]).now_or_never().is_none());
        let identity = CommitIdentity::draw(&env, 1);
        let end = queues[0].commit_in_turn(&turns, &append, identity, &|_| Precheck::Proceed).await.unwrap();
        assert!(matches!(end, CommitEnd::Committed(_)));
        drop(turns);
        for queue in [0, 1] {
            assert!(matches!(commit(queue).await.unwrap(), CommitEnd::Committed(_)));
        }
    }

    #[tokio::test]
    #[should_panic(expected = "a commit to db.b goes in its queue's turn")]
    async fn a_turn_at_another_table_is_none() {
        let env = Env::in_memory(1);
        let catalog = Arc::new(SqlCatalog::in_memory(env.clone(), "memory://w").await.unwrap());
        let queue = |name: &str| {
            let ident = TableIdent::from_strs(["db", name]).unwrap();
            CommitQueue::new(catalog.clone(), env.clone(), ident)
        };
        let (a, b) = (queue("a"), queue("b"));
        let turns = Turns::take([&a]).await;
        let identity = CommitIdentity::draw(&env, 0);
        let _ = b.commit_in_turn(&turns, &[], identity, &|_| Precheck::Proceed).await;
    }
}
