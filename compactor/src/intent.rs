//! What a rewrite is about to write, noted before it does, so that a program that is killed leaves no orphans.
//!
//! 1. [`Intent::begin`] gives a world in which each file is first listed in `…/metadata/frazil-intents/<id>.json`, and then
//!    begun; the manifests of a commit are noted by its id, which is in their names ([`Intent::note_commit`]);
//! 2. [`Intent::settle`] deletes that file once all that it lists is in the table, or deleted;
//! 3. [`run_recover`], at the start of whatever compacts the table, looks for those whose process is gone: what they list
//!    and the table does not name is deleted. A process of another machine counts as gone after a day without a word: its
//!    list is marked as given up before anything goes, and should it come back, it finds that out before it commits.
//!
//! Files that nobody noted are for [`crate::run_orphans`].

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use frazil_catalog::CommitQueue;
use frazil_storage::{Env, ObjectMeta, Owner, Store, WriteWitness};
use frazil_table::{Table, layout};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::orphans::delete_unnamed;
use crate::{Error, Result};

/// After so long without a change of its intent a rewrite is given up, if nobody can tell whether its process lives.
const SILENCE_MS_MAX: i64 = 24 * 60 * 60 * 1_000;

/// A process asks whether it was given up only after half of that.
const DOUBT_MS: i64 = SILENCE_MS_MAX / 2;

/// Intents that one recovery looks at; the rest waits for the next.
const INTENTS_MAX: usize = 1_000;

/// A rewrite's, or a commit's, list of the files that it writes. Cheap to clone; clones are one list.
#[derive(Clone)]
pub struct Intent(Arc<Inner>);

struct Inner {
    /// Without the witness: the list itself is not listed.
    store: Store,
    location: String,
    begun_ms: i64,
    noted: Mutex<Noted>,
}

/// Empty: nothing was begun, and there is no list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Noted {
    files: Vec<String>,
    /// Commits whose ids are in the names of files that are not listed.
    commits: Vec<Uuid>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Record {
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
    #[serde(flatten)]
    noted: Noted,
    /// Somebody took the owner for dead; its files are being deleted.
    #[serde(default)]
    given_up: bool,
}

impl fmt::Debug for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Intent").field(&self.0.location).finish()
    }
}

impl Intent {
    /// A new list, without IO, and the world to write in: its store lists each file before it is begun.
    pub fn begin(env: &Env, table: &Table) -> (Self, Env) {
        Self::begin_in(env, &folder(table))
    }

    /// Another list of the same table.
    pub(crate) fn beside(&self, env: &Env) -> (Self, Env) {
        let folder = self.0.location.rfind('/').map_or("", |end| &self.0.location[..=end]);
        Self::begin_in(env, folder)
    }

    fn begin_in(env: &Env, folder: &str) -> (Self, Env) {
        let location = format!("{folder}{}.json", env.ids.uuid());
        let inner = Inner { store: env.store.clone(), location, begun_ms: env.now_ms(), noted: Mutex::default() };
        let intent = Self(Arc::new(inner));
        let store = env.store.clone().witnessed_by(Arc::new(intent.clone()));
        (intent, Env { store, ..env.clone() })
    }

    /// Notes a commit before it writes its manifests.
    ///
    /// # Errors
    /// If the list can't be written.
    pub(crate) async fn note_commit(&self, id: Uuid) -> Result<()> {
        let mut noted = self.0.noted.lock().await;
        noted.commits.push(id);
        Ok(self.write(&noted).await?)
    }

    /// Whether what was written is still this process's own: nobody took it for dead.
    ///
    /// # Errors
    /// If the store can't tell.
    pub(crate) async fn holds(&self, now_ms: i64) -> Result<bool> {
        if now_ms.saturating_sub(self.0.begun_ms) < DOUBT_MS || self.0.noted.lock().await.is_empty() {
            return Ok(true);
        }
        Ok(load(&self.0.store, &self.0.location).await?.is_some_and(|record| !record.given_up))
    }

    /// All that is noted is in the table or deleted. A list that can't be deleted goes with the next recovery.
    pub async fn settle(&self) {
        let mut noted = self.0.noted.lock().await;
        if noted.is_empty() {
            return;
        }
        match self.0.store.delete(&self.0.location).await {
            Ok(()) => *noted = Noted::default(),
            Err(error) => tracing::warn!(%error, "what a rewrite wrote is looked at again at the next start"),
        }
    }

    async fn write(&self, noted: &Noted) -> frazil_storage::Result<()> {
        let record = Record { owner: Owner::this_process(), noted: noted.clone(), given_up: false };
        save(&self.0.store, &self.0.location, &record).await
    }
}

impl Noted {
    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.commits.is_empty()
    }
}

#[async_trait]
impl WriteWitness for Intent {
    async fn before_write(&self, location: &str) -> frazil_storage::Result<()> {
        let mut noted = self.0.noted.lock().await;
        noted.files.push(location.to_owned());
        self.write(&noted).await
    }
}

/// Where a table's intents are.
fn folder(table: &Table) -> String {
    format!("{}/frazil-intents/", layout::metadata_root(table.metadata()))
}

/// Deletes what rewrites of processes that are gone have left: files that they listed and that the table does not name.
/// Returns how many.
///
/// Cost: a listing of one folder, mostly empty; if something was left, every manifest of every retained snapshot.
///
/// # Errors
/// If the folder can't be listed or the table not be read: nothing was deleted then.
pub async fn run_recover(queue: &CommitQueue) -> Result<usize> {
    let env = queue.env();
    let table = queue.load().await?;
    let mut listed = env.store.list(&folder(&table)).await?;
    let mut found: Vec<ObjectMeta> = Vec::new();
    while let Some(file) = listed.try_next().await? {
        if file.location.ends_with(".json") && found.len() < INTENTS_MAX {
            found.push(file);
        }
    }
    let mut left = Noted::default();
    let mut dead = Vec::new();
    for file in found {
        let Some(mut record) = load(&env.store, &file.location).await? else { continue };
        match record.owner.as_ref().and_then(Owner::is_alive) {
            Some(true) => continue,
            Some(false) => {}
            None if env.now_ms().saturating_sub(file.modified_ms) <= SILENCE_MS_MAX => continue,
            None => {
                record.given_up = true;
                save(&env.store, &file.location, &record).await?;
            }
        }
        left.files.extend(record.noted.files);
        left.commits.extend(record.noted.commits);
        dead.push(file.location);
    }
    if dead.is_empty() {
        return Ok(0);
    }
    let files = with_files_of_commits(env, &table, left).await?;
    let deleted = delete_unnamed(queue, files).await?;
    if let Some((_, error)) = env.store.delete_many(&dead).await.into_iter().next() {
        return Err(error.into());
    }
    tracing::info!(table = %queue.ident(), intents = dead.len(), deleted, "what killed rewrites left is gone");
    Ok(deleted)
}

/// What is noted, and the files beside the table's metadata that have the ids of commits in their names.
async fn with_files_of_commits(env: &Env, table: &Table, noted: Noted) -> Result<Vec<String>> {
    let Noted { mut files, commits } = noted;
    if commits.is_empty() {
        return Ok(files);
    }
    let commits: Vec<String> = commits.iter().map(Uuid::to_string).collect();
    let mut listed = env.store.list(&layout::metadata_root(table.metadata())).await?;
    while let Some(file) = listed.try_next().await? {
        if commits.iter().any(|id| file.location.contains(id)) {
            files.push(file.location);
        }
    }
    Ok(files)
}

async fn load(store: &Store, location: &str) -> Result<Option<Record>> {
    match store.read(location).await {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(record) => Ok(Some(record)),
            Err(error) => Err(Error::damaged(location, format!("it is no list of files: {error}"))),
        },
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn save(store: &Store, location: &str, record: &Record) -> frazil_storage::Result<()> {
    store.put(location, serde_json::to_vec(record).expect("locations have a JSON form").into()).await
}

#[cfg(test)]
mod tests;
