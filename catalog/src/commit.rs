//! The one commit loop of the workspace.
//!
//! Each attempt: (1) load the table, (2) ask the caller's precheck, which sees the table that the commit will be built
//! on, (3) plan, (4) write manifests, (5) have the catalog swap the pointer. A conflict because the pointer moved goes
//! back to 1 with the same ids and the manifests that can be used again. An unknown end is settled by looking for the
//! commit's operation id in the table, until the catalog answers.
//!
//! A commit may be to several tables of one catalog: each is loaded, asked and planned by itself, and one request swaps
//! all pointers or none.

use std::fmt;
use std::time::Duration;

use frazil_storage::{Env, Step};
use frazil_table::spec::{Summary, TableIdent};
use frazil_table::{
    Change, CommitIdentity, CommitTarget, Conflict, ManifestCache, OPERATION_ID, PreparedCommit, Table, io, plan_commit,
};
use futures::future::try_join_all;

use crate::{Catalog, CommitOutcome, Error, Result, TableCommit, TransactionOutcome};

/// What the caller says of a table before its change is built on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precheck {
    /// Go on.
    Proceed,
    /// The change is in the table already: nothing to do.
    AlreadyLanded,
    /// The change must not be made on this table.
    Refuse(String),
}

/// How often a commit is tried again when other commits come first.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Attempts after the first one. `commit.retry.num-retries` of the table goes before it.
    pub retries_max: u32,
    /// First pause, doubled each time. `commit.retry.min-wait-ms` of the table goes before it.
    pub wait_ms_min: u64,
    /// Longest pause. `commit.retry.max-wait-ms` of the table goes before it.
    pub wait_ms_max: u64,
}

impl Default for Retry {
    /// A streaming writer rather waits than fails: 100 retries, 5 ms to 1 s.
    fn default() -> Self {
        Self { retries_max: 100, wait_ms_min: 5, wait_ms_max: 1_000 }
    }
}

/// One change of one table.
pub struct CommitRequest<'a> {
    /// The table.
    pub ident: &'a TableIdent,
    /// The branch that they are made on, or none.
    pub target: CommitTarget,
    /// What changes, in order, under one pointer swap.
    pub changes: &'a [Change],
    /// The ids of the commit, drawn by the caller, who may want to name a snapshot inside the change.
    pub identity: CommitIdentity,
    /// Looks at the table before each attempt.
    pub precheck: &'a (dyn Fn(&Table) -> Precheck + Send + Sync),
    /// How often to try.
    pub retry: Retry,
}

impl fmt::Debug for CommitRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitRequest").field("ident", self.ident).field("changes", &self.changes.len()).finish()
    }
}

/// A commit that is in the table.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The table with the commit in it.
    pub table: Table,
    /// The new snapshots, oldest first.
    pub snapshot_ids: Vec<i64>,
    /// How many attempts lost to another commit.
    pub retries: u32,
}

/// How a commit ended.
#[must_use]
#[derive(Clone, Debug)]
pub enum CommitEnd {
    /// It is in the table.
    Committed(Committed),
    /// The precheck found it in the table before anything was written.
    AlreadyLanded(Table),
    /// It is not in the table and never will be.
    Conflict(Conflict),
}

/// How a commit to several tables ended.
#[must_use]
#[derive(Clone, Debug)]
pub enum TransactionEnd {
    /// All of it is in the tables: for each request [`CommitEnd::Committed`] or [`CommitEnd::AlreadyLanded`].
    Landed(Vec<CommitEnd>),
    /// Nothing of it is in any table by this call, and never will be.
    Conflict {
        /// The table that can't take its change; the first one if the catalog does not say.
        ident: TableIdent,
        /// Why.
        conflict: Conflict,
    },
}

/// How often a catalog is asked that does not answer: with the waits of [`Retry`] for about a minute.
const LOOKS_MAX: u32 = 70;

/// Commits a change, however often other commits come first, and through a restart of the catalog.
///
/// Files of an attempt that lost are deleted only after a conflict that the catalog itself answered to a request sent
/// once. Data files are the caller's.
///
/// # Errors
/// What made the commit impossible. After [`Error::Unavailable`] it may be in the table or not: its files must stay.
pub async fn commit(
    catalog: &dyn Catalog,
    env: &Env,
    cache: &ManifestCache,
    request: CommitRequest<'_>,
) -> Result<CommitEnd> {
    match commit_transaction(catalog, env, vec![(request, cache)]).await? {
        TransactionEnd::Landed(mut ends) => Ok(ends.pop().expect("one end for one request")),
        TransactionEnd::Conflict { conflict, .. } => Ok(CommitEnd::Conflict(conflict)),
    }
}

/// Commits changes of several tables, each named once, all of them or none; otherwise as [`commit()`].
///
/// # Errors
/// As [`commit()`]; [`Error::BadRequest`] for more than one table in a catalog without transactions.
pub async fn commit_transaction(
    catalog: &dyn Catalog,
    env: &Env,
    requests: Vec<(CommitRequest<'_>, &ManifestCache)>,
) -> Result<TransactionEnd> {
    let parts = requests.into_iter().map(|(request, cache)| Part { request, cache, written: Default::default() });
    Loop { catalog, env, parts: parts.collect(), in_doubt: None }.run().await
}

/// One table of a commit.
struct Part<'a> {
    request: CommitRequest<'a>,
    cache: &'a ManifestCache,
    /// Manifests that a later attempt can use again.
    written: io::WrittenManifests,
}

/// A part's table as an attempt found it, and what the attempt would make of it; `None`: it had landed before.
type Attempted = (Table, Option<PreparedCommit>);

/// Whether there is anything to tell the catalog.
fn changes_anything((_, prepared): &Attempted) -> bool {
    prepared.as_ref().is_some_and(|prepared| !prepared.updates.is_empty())
}

struct Loop<'a> {
    catalog: &'a dyn Catalog,
    env: &'a Env,
    parts: Vec<Part<'a>>,
    /// An attempt that ended unknown and may still land: for each part what it would make of the table.
    in_doubt: Option<Vec<Attempted>>,
}

impl Loop<'_> {
    async fn run(mut self) -> Result<TransactionEnd> {
        loop {
            let tables = self.load().await?;
            if self.has_landed(&tables) {
                return self.landed_in_doubt().await;
            }
            let attempted = match self.prepare(tables).await? {
                Ok(attempted) => attempted,
                Err((index, conflict)) => return self.lost(index, conflict).await,
            };
            if attempted.iter().all(|attempted| !changes_anything(attempted)) {
                return Ok(self.landed(attempted, Vec::new()));
            }
            let is_last = self.parts.iter().zip(&attempted).any(|(part, (table, _))| part.is_last(table));
            match self.send(&attempted).await {
                Ok(TransactionOutcome::Committed(tables)) => {
                    self.env.steps.reach(Step::PointerSwapped)?;
                    return Ok(self.landed(attempted, tables));
                }
                Ok(TransactionOutcome::Conflict(conflict)) => {
                    delete_attempt(self.env, &attempted).await;
                    if is_last {
                        return self.lost(0, conflict).await;
                    }
                    tracing::debug!(table = %self.ident(0), %conflict, "commit goes again");
                }
                Ok(TransactionOutcome::Unknown { reason }) => {
                    tracing::warn!(table = %self.ident(0), %reason, "commit ended unknown; reading back");
                    // Even if it is not there now, the request may be on its way: its files stay, and since the next
                    // attempt requires the refs that it read, at most one of the two can land. Each load looks again.
                    self.in_doubt = Some(attempted.clone());
                    let tables = self.load().await?;
                    if self.has_landed(&tables) {
                        return self.landed_in_doubt().await;
                    }
                    if is_last {
                        return self.lost(0, Conflict::Moved { reason }).await;
                    }
                }
                Err(error) if is_passing(&error) && !is_last => {
                    tracing::warn!(table = %self.ident(0), %error, "the catalog took no commit; trying again");
                }
                Err(error) => return Err(error),
            }
            let first = &self.parts[0].request;
            tokio::time::sleep(wait(self.env, &attempted[0].0, first.retry, first.identity.attempt)).await;
            self.parts.iter_mut().for_each(|part| part.request.identity.attempt += 1);
        }
    }

    fn ident(&self, index: usize) -> &TableIdent {
        self.parts[index].request.ident
    }

    async fn load(&self) -> Result<Vec<Table>> {
        let loads = self.parts.iter().map(|part| load(self.catalog, part.request.ident, part.request.retry));
        try_join_all(loads).await
    }

    /// Whether the attempt in doubt landed. One table that has its snapshots shows that all have it: they moved together.
    fn has_landed(&self, tables: &[Table]) -> bool {
        let Some(attempted) = &self.in_doubt else { return false };
        let sent = self.parts.iter().zip(tables).zip(attempted).filter(|(_, attempted)| changes_anything(attempted));
        let mut sent = sent.filter_map(|((part, table), (_, prepared))| {
            let prepared = prepared.as_ref()?;
            Some((!prepared.snapshot_ids.is_empty(), part.has_landed(table, prepared)))
        });
        match sent.clone().any(|(makes_snapshots, _)| makes_snapshots) {
            true => sent.any(|(makes_snapshots, landed)| makes_snapshots && landed),
            false => sent.all(|(_, landed)| landed),
        }
    }

    /// Looks at every table, plans its change and writes its manifests; `Err` names the part that can't be made.
    async fn prepare(&mut self, tables: Vec<Table>) -> Result<std::result::Result<Vec<Attempted>, (usize, Conflict)>> {
        let mut proceed = Vec::with_capacity(tables.len());
        for (index, (part, table)) in self.parts.iter().zip(&tables).enumerate() {
            match (part.request.precheck)(table) {
                Precheck::Proceed => proceed.push(true),
                Precheck::AlreadyLanded => proceed.push(false),
                Precheck::Refuse(reason) => return Ok(Err((index, Conflict::Refused { reason }))),
            }
        }
        let env = self.env;
        let parts = self.parts.iter_mut().zip(tables).zip(proceed);
        let prepared = try_join_all(parts.map(|((part, table), proceed)| async move {
            match proceed {
                true => part.prepare(env, table).await,
                false => Ok(Ok((table, None))),
            }
        }));
        let mut attempted = Vec::new();
        let mut refused = None;
        for (index, prepared) in prepared.await?.into_iter().enumerate() {
            match prepared {
                Ok(prepared) => attempted.push(prepared),
                Err(conflict) => refused = refused.or(Some((index, conflict))),
            }
        }
        if refused.is_some() {
            // Nobody has been told of these files.
            delete_attempt(self.env, &attempted).await;
        }
        Ok(refused.map_or(Ok(attempted), Err))
    }

    async fn send(&self, attempted: &[Attempted]) -> Result<TransactionOutcome> {
        let parts = self.parts.iter().zip(attempted);
        let mut commits: Vec<TableCommit> = parts
            .filter_map(|(part, (_, prepared))| {
                let prepared = prepared.as_ref().filter(|prepared| !prepared.updates.is_empty())?;
                Some(TableCommit {
                    ident: part.request.ident.clone(),
                    requirements: prepared.requirements.clone(),
                    updates: prepared.updates.clone(),
                    idempotency_key: attempt_key(&part.request.identity),
                })
            })
            .collect();
        if commits.len() > 1 {
            let key = commits[0].idempotency_key;
            return self.catalog.commit_transaction(commits, key).await;
        }
        let commit = commits.pop().expect("the caller has looked that there is one");
        Ok(match self.catalog.commit(commit).await? {
            CommitOutcome::Committed(table) => TransactionOutcome::Committed(vec![table]),
            CommitOutcome::Conflict(conflict) => TransactionOutcome::Conflict(conflict),
            CommitOutcome::Unknown { reason } => TransactionOutcome::Unknown { reason },
        })
    }

    fn landed(&self, attempted: Vec<Attempted>, tables: Vec<Table>) -> TransactionEnd {
        let mut tables = tables.into_iter();
        let ends = self.parts.iter().zip(attempted).map(|(part, (table, prepared))| match prepared {
            None => CommitEnd::AlreadyLanded(table),
            // The table was that way already.
            Some(prepared) if prepared.updates.is_empty() => part.committed(table),
            Some(_) => part.committed(tables.next().expect("a table for each commit")),
        });
        TransactionEnd::Landed(ends.collect())
    }

    /// An attempt landed whose answer was lost. Tables that were loaded before it did are loaded again.
    async fn landed_in_doubt(&self) -> Result<TransactionEnd> {
        let tables = self.load().await?;
        let attempted = self.in_doubt.iter().flatten();
        let ends = self.parts.iter().zip(attempted).zip(tables).map(|((part, (_, prepared)), table)| match prepared {
            Some(_) => part.committed(table),
            None => CommitEnd::AlreadyLanded(table),
        });
        Ok(TransactionEnd::Landed(ends.collect()))
    }

    /// A commit that gives up. While an earlier attempt may still land, it can't say that it never will.
    async fn lost(&self, index: usize, conflict: Conflict) -> Result<TransactionEnd> {
        if self.in_doubt.is_none() {
            let kept = self.parts.iter().flat_map(|part| part.written.locations());
            delete_files(self.env, kept).await;
            return Ok(TransactionEnd::Conflict { ident: self.ident(index).clone(), conflict });
        }
        let reason = format!("an attempt ended unknown and may still land; it was given up for: {conflict}");
        Err(Error::Unavailable { uri: self.catalog.name(), reason })
    }
}

impl Part<'_> {
    async fn prepare(&mut self, env: &Env, table: Table) -> Result<std::result::Result<Attempted, Conflict>> {
        let request = &self.request;
        let state = io::load_state_for(&env.store, self.cache, &table, &request.target, request.changes).await?;
        let plan = match plan_commit(&state, request.changes, &request.identity, env.now_ms())? {
            Ok(plan) => plan,
            Err(conflict) => return Ok(Err(conflict)),
        };
        let prepared = io::store_commit(env, self.cache, &state, &plan, &mut self.written).await?;
        Ok(Ok((table, Some(prepared))))
    }

    fn is_last(&self, table: &Table) -> bool {
        self.request.identity.attempt >= retries_max(table, self.request.retry)
    }

    /// Whether the snapshots are in the history of their branch, or, if they are staged, listed. A commit without snapshots
    /// leaves no mark: it has landed if the table is as it would have left it, whoever made it so.
    fn has_landed(&self, table: &Table, prepared: &PreparedCommit) -> bool {
        if prepared.snapshot_ids.is_empty() {
            return prepared.has_outcome_in(table);
        }
        let uuid = self.request.identity.uuid.to_string();
        let is_own = |summary: &Summary| summary.additional_properties.get(OPERATION_ID) == Some(&uuid);
        match &self.request.target {
            CommitTarget::Branch(name) => table.ancestors(name).any(|snapshot| is_own(snapshot.summary())),
            CommitTarget::Staged { .. } => table.metadata().snapshots().any(|snapshot| is_own(snapshot.summary())),
        }
    }

    fn committed(&self, table: Table) -> CommitEnd {
        let snapshots = self.request.changes.iter().filter(|change| change.makes_snapshot()).count();
        let snapshot_ids = self.request.identity.snapshot_ids[..snapshots].to_vec();
        CommitEnd::Committed(Committed { table, snapshot_ids, retries: self.request.identity.attempt })
    }
}

/// Loads the table, and waits for a catalog that does not answer.
async fn load(catalog: &dyn Catalog, ident: &TableIdent, retry: Retry) -> Result<Table> {
    let mut look = 0;
    loop {
        match catalog.load_table(ident).await {
            Err(error) if is_passing(&error) && look < LOOKS_MAX => {
                tracing::warn!(table = %ident, %error, "the table can't be loaded; trying again");
            }
            Err(error) if is_passing(&error) => {
                return Err(Error::Unavailable { uri: catalog.name(), reason: error.to_string() });
            }
            answer => return answer,
        }
        tokio::time::sleep(backoff(retry.wait_ms_min, retry.wait_ms_max, look)).await;
        look += 1;
    }
}

/// Whether the same request may succeed a little later.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Unavailable { .. } | Error::Database(_) => true,
        Error::Table(frazil_table::Error::Storage(error)) => {
            matches!(error, frazil_storage::Error::Io { .. })
        }
        _ => false,
    }
}

async fn delete_attempt(env: &Env, attempted: &[Attempted]) {
    let prepared = attempted.iter().filter_map(|(_, prepared)| prepared.as_ref());
    delete_files(env, prepared.flat_map(|prepared| &prepared.attempt_files).map(String::as_str)).await;
}

async fn delete_files(env: &Env, files: impl Iterator<Item = &str>) {
    for file in files {
        if let Err(error) = env.store.delete(file).await {
            tracing::warn!(%error, "a file of a lost attempt stays as an orphan");
        }
    }
}

/// One key for one attempt: a later attempt is another request.
fn attempt_key(identity: &CommitIdentity) -> uuid::Uuid {
    uuid::Uuid::new_v5(&identity.uuid, &identity.attempt.to_be_bytes())
}

fn retries_max(table: &Table, retry: Retry) -> u32 {
    number(table, "commit.retry.num-retries").unwrap_or(retry.retries_max)
}

/// Half of the pause is left to chance, so that writers that lost together do not come back together.
fn wait(env: &Env, table: &Table, retry: Retry, attempt: u32) -> Duration {
    let min = number(table, "commit.retry.min-wait-ms").unwrap_or(retry.wait_ms_min);
    let max = number(table, "commit.retry.max-wait-ms").unwrap_or(retry.wait_ms_max);
    let pause = backoff(min, max, attempt);
    let chance = f64::from(env.ids.uuid().as_u128() as u16) / f64::from(u16::MAX);
    pause.mul_f64(0.5 + 0.5 * chance)
}

fn backoff(wait_ms_min: u64, wait_ms_max: u64, attempt: u32) -> Duration {
    Duration::from_millis(wait_ms_min.saturating_mul(1 << attempt.min(20)).min(wait_ms_max))
}

fn number<T: std::str::FromStr>(table: &Table, key: &str) -> Option<T> {
    table.property(key)?.parse().ok()
}
