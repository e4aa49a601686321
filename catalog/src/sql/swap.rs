//! How a commit gets from its request to the moved pointer.
//!
//! 1. Answer from memory if the same request lost before.
//! 2. Load the tables, check the requirements, apply the updates. Nothing is written yet.
//! 3. Write the new metadata files under new names.
//! 4. Move all pointers in one transaction, each by compare-and-swap, with the request's key beside them.
//! 5. If a pointer had moved meanwhile, delete the own metadata files and go back to 2: the requirements decide
//!    whether the commit still holds.
//!
//! A second copy of a request that landed is found out where it fails: in 2 its requirements don't hold any more, or in 4
//! its key is taken. Then it gets the answer of the first.

use std::collections::BTreeSet;
use std::sync::Arc;

use frazil_storage::Step;
use frazil_table::{Conflict, Table, io, layout};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::database::{Pointer, Swap, SwapEnd};
use super::early::EarlyFile;
use super::{SqlCatalog, TableChange};
use crate::apply::{Applied, apply};
use crate::cache::CachedMetadata;
use crate::{Error, Result, TableCommit, TransactionOutcome};

/// How often a commit whose requirements still hold is built again. In one process commits queue, so only other
/// processes on the same database use these up.
const SWAPS_MAX: usize = 16;
/// Tables in one transaction.
const TABLES_MAX: usize = 100;

/// A table of a commit whose new metadata is known.
struct Prepared {
    base: Option<Table>,
    next: CachedMetadata,
    /// The beginning of its file.
    early: Option<EarlyFile>,
    /// The beginning of the file after it.
    following: Option<EarlyFile>,
    expired_metadata: Vec<String>,
}

impl SqlCatalog {
    /// Commits to several tables: all of them or none (Iceberg REST, `commitTransaction`).
    ///
    /// A commit that asserts `assert-create` makes its table. Requests with the same key are one request: it is made
    /// once, and every copy gets its answer.
    ///
    /// # Errors
    /// As [`crate::Catalog::commit`]: only what is known to have changed nothing.
    pub async fn commit_all(&self, commits: &[TableCommit], key: Uuid) -> Result<TransactionOutcome> {
        check_request(commits)?;
        let fingerprint = fingerprint(commits);
        let lanes = self.lanes.of(commits.iter().map(|commit| &commit.ident));
        let _lane = self.lanes.enter(lanes).await;
        if let Some(conflict) = self.answers.get(key) {
            return Ok(TransactionOutcome::Conflict(conflict));
        }
        for _ in 0..SWAPS_MAX {
            let prepared = self.prepare(commits).await;
            if !matches!(prepared, Ok(Ok(_)))
                && let Some(answer) = self.answer(commits, key, &fingerprint).await?
            {
                return Ok(answer);
            }
            let mut prepared = match prepared? {
                Ok(prepared) => prepared,
                Err(conflict) => {
                    self.answers.insert(key, conflict.clone());
                    return Ok(TransactionOutcome::Conflict(conflict));
                }
            };
            match self.store_and_swap(commits, &mut prepared, key, &fingerprint).await {
                Ok(SwapEnd::Done) => return Ok(self.finish(prepared).await),
                Ok(SwapEnd::Lost(ident)) => {
                    self.delete_metadata_of(&prepared).await;
                    tracing::debug!(table = %ident, "the pointer was not moved; again");
                }
                Ok(SwapEnd::KeyTaken) => {
                    self.delete_metadata_of(&prepared).await;
                    let answer = self.answer(commits, key, &fingerprint).await?;
                    return answer.ok_or_else(|| {
                        Error::BadRequest(format!("idempotency key {key} was used a moment ago and is gone"))
                    });
                }
                Ok(SwapEnd::Unknown(error)) => return Ok(self.read_back(prepared, key, error).await),
                Err(error) => {
                    self.delete_metadata_of(&prepared).await;
                    return Err(error);
                }
            }
        }
        let reason = format!("other processes moved the pointer {SWAPS_MAX} times meanwhile");
        let conflict = Conflict::Moved { reason };
        self.answers.insert(key, conflict.clone());
        Ok(TransactionOutcome::Conflict(conflict))
    }

    /// The answer to a request that landed before.
    async fn answer(
        &self,
        commits: &[TableCommit],
        key: Uuid,
        fingerprint: &str,
    ) -> Result<Option<TransactionOutcome>> {
        let Some(made) = self.database.fingerprint(key).await? else { return Ok(None) };
        if made != fingerprint {
            return Err(Error::BadRequest(format!(
                "idempotency key {key} belongs to another request; draw a new key for each request"
            )));
        }
        let mut tables = Vec::with_capacity(commits.len());
        for commit in commits {
            tables.push(self.load(&commit.ident).await?);
        }
        Ok(Some(TransactionOutcome::Committed(tables)))
    }

    async fn prepare(&self, commits: &[TableCommit]) -> Result<std::result::Result<Vec<Prepared>, Conflict>> {
        let mut prepared = Vec::with_capacity(commits.len());
        for commit in commits {
            for update in &commit.updates {
                self.warehouse.check_update(update)?;
            }
            let cached = match self.load_cached(&commit.ident).await {
                Ok(cached) => Some(cached),
                Err(Error::NoSuchTable(_)) => None,
                Err(error) => return Err(error),
            };
            let base = cached.as_ref().map(|cached| cached.table().named(commit.ident.clone()));
            let applied = match apply(base.as_ref(), commit, self.env.now_ms())? {
                Ok(applied) => applied,
                Err(conflict) => return Ok(Err(conflict)),
            };
            let Applied { metadata, expired_metadata } = applied;
            self.warehouse.check(metadata.location())?;
            let early = base.as_ref().and_then(|base| self.early.take(base, &metadata));
            let id = self.env.ids.uuid();
            let location = match (&base, &early) {
                (_, Some(early)) => early.location().to_owned(),
                (Some(base), None) => layout::next_metadata_location(&metadata, base.metadata_location(), id),
                (None, None) => layout::first_metadata_location(layout::root(&metadata), id),
            };
            self.warehouse.check(&location)?;
            let metadata = Arc::new(metadata);
            let next = match (&base, &cached) {
                (Some(base), Some(cached)) => {
                    CachedMetadata::after(base.after(&commit.updates, metadata, &location), &commit.updates, cached)?
                }
                _ => CachedMetadata::new(Table::new(commit.ident.clone(), metadata, &location))?,
            };
            let early = early.filter(|early| early.fits(next.text()));
            prepared.push(Prepared { base, next, early, following: None, expired_metadata });
        }
        Ok(Ok(prepared))
    }

    async fn store_and_swap(
        &self,
        commits: &[TableCommit],
        prepared: &mut [Prepared],
        key: Uuid,
        fingerprint: &str,
    ) -> Result<SwapEnd> {
        for Prepared { base, next, early, following, .. } in &mut *prepared {
            *following = base.as_ref().and_then(|base| EarlyFile::begin(&self.env, base, next));
            let Some(early) = early.take() else {
                io::store_metadata(&self.env.store, next.table().metadata_location(), next.text()).await?;
                continue;
            };
            if let Err(error) = early.finish(next.text()).await {
                tracing::warn!(%error, "a metadata file that was begun early is written anew");
                return Ok(SwapEnd::Lost(next.table().ident().clone()));
            }
        }
        self.env.steps.reach(Step::MetadataWritten)?;
        let mut swaps = Vec::with_capacity(prepared.len());
        for (commit, Prepared { base, next, .. }) in commits.iter().zip(&*prepared) {
            let table = next.table();
            let to = Pointer {
                metadata_location: table.metadata_location().to_owned(),
                location: self.warehouse.check(table.metadata().location())?,
            };
            let from = base.as_ref().map(Table::metadata_location);
            let place = base.as_ref().map(|base| base.metadata().location());
            let moves_in = place != Some(table.metadata().location());
            swaps.push(Swap { ident: &commit.ident, from, to, moves_in });
        }
        self.database.swap(&swaps, key, fingerprint, self.env.now_ms()).await
    }

    async fn finish(&self, prepared: Vec<Prepared>) -> TransactionOutcome {
        let mut tables = Vec::with_capacity(prepared.len());
        for Prepared { base, next, following, expired_metadata, .. } in prepared {
            let table = next.table().clone();
            following.into_iter().for_each(|file| self.early.keep(file));
            self.cache.insert(table.metadata_location(), next);
            let _nobody_listens = self.changes.send(TableChange::of(&table));
            self.delete_expired_metadata(&table, expired_metadata).await;
            if let Some(base) = base
                && table.metadata().snapshots().len() > 1_000
            {
                // The old version of a large table is not asked for again.
                self.cache.remove(base.metadata_location());
            }
            tables.push(table);
        }
        TransactionOutcome::Committed(tables)
    }

    /// The database failed while it made the swap durable. If the pointer is ours now, it moved; otherwise it may yet.
    async fn read_back(&self, prepared: Vec<Prepared>, key: Uuid, error: sqlx::Error) -> TransactionOutcome {
        tracing::warn!(%key, %error, "the database failed in a commit; reading back");
        match self.database.fingerprint(key).await {
            Ok(Some(_)) => self.finish(prepared).await,
            Ok(None) | Err(_) => TransactionOutcome::Unknown { reason: format!("{}: {error}", self.database.name()) },
        }
    }

    /// `write.metadata.delete-after-commit.enabled` (Iceberg, "Table behavior properties"). Only files of this
    /// warehouse: the log of a registered table names whatever its writer liked.
    async fn delete_expired_metadata(&self, table: &Table, expired: Vec<String>) {
        let wanted = table.property("write.metadata.delete-after-commit.enabled");
        if wanted.is_none_or(|value| !value.eq_ignore_ascii_case("true")) {
            return;
        }
        for location in expired {
            if location.ends_with(".metadata.json") && self.warehouse.check(&location).is_ok() {
                self.delete_file(&location).await;
                self.cache.remove(&location);
            }
        }
    }

    async fn delete_metadata_of(&self, prepared: &[Prepared]) {
        for Prepared { next, .. } in prepared {
            self.delete_file(next.table().metadata_location()).await;
        }
    }

    pub(super) async fn delete_file(&self, location: &str) {
        if let Err(error) = self.env.store.delete(location).await {
            tracing::warn!(%error, "a file that nothing names stays as an orphan");
        }
    }
}

fn check_request(commits: &[TableCommit]) -> Result<()> {
    let idents: BTreeSet<_> = commits.iter().map(|commit| &commit.ident).collect();
    if idents.len() != commits.len() {
        return Err(Error::BadRequest("a table is named twice in one transaction".to_owned()));
    }
    if commits.is_empty() || commits.len() > TABLES_MAX {
        let count = commits.len();
        return Err(Error::BadRequest(format!("a transaction changes 1 to {TABLES_MAX} tables, not {count}")));
    }
    Ok(())
}

/// A hash of what a request asks for, whatever order its maps are in.
fn fingerprint(commits: &[TableCommit]) -> String {
    let mut hash = Sha256::new();
    for commit in commits {
        let request = (&commit.ident, &commit.requirements, &commit.updates);
        let json = serde_json::to_value(request).expect("a request has a JSON form");
        hash_sorted(&json, &mut hash);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash_sorted(json: &serde_json::Value, hash: &mut Sha256) {
    match json {
        serde_json::Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            hash.update([b'{']);
            for (key, value) in fields {
                hash.update(key);
                hash.update([0, b':']);
                hash_sorted(value, hash);
            }
            hash.update([b'}']);
        }
        serde_json::Value::Array(items) => {
            hash.update([b'[']);
            items.iter().for_each(|item| hash_sorted(item, hash));
            hash.update([b']']);
        }
        scalar => {
            hash.update(scalar.to_string());
            hash.update([0]);
        }
    }
}
