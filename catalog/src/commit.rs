//! The one commit loop of the workspace.
//!
//! Each attempt: (1) load the table, (2) ask the caller's precheck, which sees the table that the commit will be built
//! on, (3) plan, (4) write manifests, (5) have the catalog swap the pointer. A conflict because the pointer moved goes
//! back to 1 with the same ids and the manifests that can be used again. An unknown end is settled by looking for the
//! commit's operation id in the table, until the catalog answers.

use std::fmt;
use std::time::Duration;

use frazil_storage::{Env, Step};
use frazil_table::spec::{MAIN_BRANCH, TableIdent};
use frazil_table::{
    Change, CommitIdentity, Conflict, ManifestCache, OPERATION_ID, PreparedCommit, Table, io, plan_commit,
};

use crate::{Catalog, CommitOutcome, Error, Result, TableCommit};

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
    let mut identity = request.identity;
    let mut written = io::WrittenManifests::default();
    // What the attempts whose end nobody knows would have left in the table.
    let mut in_doubt: Option<PreparedCommit> = None;
    loop {
        let table = load(catalog, request.ident, request.retry).await?;
        if let Some(prepared) = in_doubt.as_ref().filter(|prepared| has_landed(&table, &identity, prepared)) {
            return Ok(CommitEnd::Committed(committed(table, prepared, identity.attempt)));
        }
        match (request.precheck)(&table) {
            Precheck::Proceed => {}
            Precheck::AlreadyLanded => return Ok(CommitEnd::AlreadyLanded(table)),
            Precheck::Refuse(reason) => return lost(catalog, &in_doubt, Conflict::Refused { reason }),
        }
        let state = io::load_state_for(&env.store, cache, &table, request.changes).await?;
        let plan = match plan_commit(&state, request.changes, &identity, env.now_ms())? {
            Ok(plan) => plan,
            Err(conflict) => return lost(catalog, &in_doubt, conflict),
        };
        let prepared = io::store_commit(env, cache, &state, &plan, &mut written).await?;
        let retries = identity.attempt;
        if prepared.updates.is_empty() {
            // The table is that way already.
            return Ok(CommitEnd::Committed(committed(table, &prepared, retries)));
        }
        let is_last = retries >= retries_max(&table, request.retry);
        match send(catalog, request.ident, &identity, &prepared).await {
            Ok(CommitOutcome::Committed(table)) => {
                env.steps.reach(Step::PointerSwapped)?;
                return Ok(CommitEnd::Committed(committed(table, &prepared, retries)));
            }
            Ok(CommitOutcome::Conflict(conflict)) => {
                delete_attempt(env, &prepared).await;
                if is_last {
                    return lost(catalog, &in_doubt, conflict);
                }
                tracing::debug!(table = %request.ident, retries, %conflict, "commit goes again");
            }
            Ok(CommitOutcome::Unknown { reason }) => {
                tracing::warn!(table = %request.ident, %reason, "commit ended unknown; reading back");
                let table = load(catalog, request.ident, request.retry).await?;
                if has_landed(&table, &identity, &prepared) {
                    return Ok(CommitEnd::Committed(committed(table, &prepared, retries)));
                }
                // Not there now, but the request may still be on its way: its files stay, and since the next attempt
                // requires the ref that it read, at most one of the two can land. Each load looks for it again.
                in_doubt = Some(prepared);
                if is_last {
                    return lost(catalog, &in_doubt, Conflict::Moved { reason });
                }
            }
            Err(error) if is_passing(&error) && !is_last => {
                tracing::warn!(table = %request.ident, %error, "the catalog took no commit; trying again");
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(wait(env, &table, request.retry, retries)).await;
        identity.attempt += 1;
    }
}

async fn send(
    catalog: &dyn Catalog,
    ident: &TableIdent,
    identity: &CommitIdentity,
    prepared: &PreparedCommit,
) -> Result<CommitOutcome> {
    let commit = TableCommit {
        ident: ident.clone(),
        requirements: prepared.requirements.clone(),
        updates: prepared.updates.clone(),
        idempotency_key: attempt_key(identity),
    };
    catalog.commit(commit).await
}

fn committed(table: Table, prepared: &PreparedCommit, retries: u32) -> Committed {
    Committed { table, snapshot_ids: prepared.snapshot_ids.clone(), retries }
}

/// A commit that gives up. While an earlier attempt may still land, it can't say that it never will.
fn lost(catalog: &dyn Catalog, in_doubt: &Option<PreparedCommit>, conflict: Conflict) -> Result<CommitEnd> {
    if in_doubt.is_none() {
        return Ok(CommitEnd::Conflict(conflict));
    }
    let reason = format!("an attempt ended unknown and may still land; it was given up for: {conflict}");
    Err(Error::Unavailable { uri: catalog.name(), reason })
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

/// Whether the commit's snapshots are in the history of `main`. A commit without snapshots leaves no mark: it has landed
/// if the table is as it would have left it, whoever made it so.
fn has_landed(table: &Table, identity: &CommitIdentity, prepared: &PreparedCommit) -> bool {
    if prepared.snapshot_ids.is_empty() {
        return prepared.has_outcome_in(table);
    }
    let uuid = identity.uuid.to_string();
    table
        .ancestors(MAIN_BRANCH)
        .any(|snapshot| snapshot.summary().additional_properties.get(OPERATION_ID) == Some(&uuid))
}

async fn delete_attempt(env: &Env, prepared: &PreparedCommit) {
    for file in &prepared.attempt_files {
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
