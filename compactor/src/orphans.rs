//! Deletes files in a table's folders that nothing names: what a killed program or a lost commit left.
//!
//! 1. The folders are listed; a listing that breaks off deletes nothing;
//! 2. then the table is loaded, and what its metadata, every retained snapshot, and the ledgers of jobs name is left out;
//! 3. [`plan_orphans`] keeps what is old enough, has a name that only this program gives, and is within the cap;
//! 4. before a hundred files go, the table is loaded again if its pointer moved; each must be what was listed.
//!
//! What is written and committed later than it was listed is young; the grace period is for what was written long before
//! it is committed.

use std::collections::HashSet;
use std::fmt;

use frazil_catalog::CommitQueue;
use frazil_storage::{Env, Location, ObjectMeta};
use frazil_table::{Table, io, layout};
use futures::{StreamExt, TryStreamExt};

use crate::plan::size;
use crate::{Error, Result};

/// A file that was written before may be committed within this time, whatever a person says.
pub const ORPHAN_AGE_MS_MIN: i64 = 60 * 60 * 1_000;

/// Files that are deleted after one look at the table.
const FILES_A_LOOK: usize = 100;

/// Files that are deleted at the same time.
const DELETES_AT_ONCE: usize = 16;

/// Which files go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrphanConfig {
    /// Files younger than this stay, by the store's clock, in milliseconds; at least [`ORPHAN_AGE_MS_MIN`].
    pub age_ms_min: i64,
    /// Files that other programs wrote go as well.
    pub any_name: bool,
    /// Files that one call deletes at most, the oldest first.
    pub files_max: usize,
    /// Nothing is deleted.
    pub dry_run: bool,
}

impl Default for OrphanConfig {
    /// Three days, our own names, 10,000 files.
    fn default() -> Self {
        Self { age_ms_min: 3 * 86_400_000, any_name: false, files_max: 10_000, dry_run: false }
    }
}

/// What is to be deleted, and what was left out and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrphanPlan {
    /// The files, oldest first.
    pub files: Vec<ObjectMeta>,
    /// Files beyond the cap.
    pub deferred: usize,
    /// Files that nothing names and that are too young.
    pub young: usize,
    /// Files that nothing names and that another program may have written.
    pub foreign: usize,
}

/// What was deleted, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrphanReport {
    /// The plan.
    pub plan: OrphanPlan,
    /// Files that are gone.
    pub deleted: Vec<ObjectMeta>,
    /// Files that changed or got a name after the listing, and stay.
    pub spared: usize,
    /// Files that could not be deleted, and why.
    pub failed: Vec<(String, String)>,
    /// Nothing was changed.
    pub dry_run: bool,
}

/// Which of the listed files go. `named` is what the table names.
pub fn plan_orphans(
    listed: impl IntoIterator<Item = ObjectMeta>,
    named: &HashSet<Location>,
    now_ms: i64,
    config: &OrphanConfig,
) -> OrphanPlan {
    let mut plan = OrphanPlan::default();
    for file in listed {
        if is_named(named, &file) || is_hint(&file.location) {
            continue;
        }
        if now_ms.saturating_sub(file.modified_ms) < config.age_ms_min.max(ORPHAN_AGE_MS_MIN) {
            plan.young += 1;
        } else if !config.any_name && !layout::is_ours(&file.location) {
            plan.foreign += 1;
        } else {
            plan.files.push(file);
        }
    }
    plan.files.sort_by(|a, b| (a.modified_ms, &a.location).cmp(&(b.modified_ms, &b.location)));
    plan.deferred = plan.files.len().saturating_sub(config.files_max);
    plan.files.truncate(config.files_max);
    plan
}

fn is_named(named: &HashSet<Location>, file: &ObjectMeta) -> bool {
    Location::parse(&file.location).is_ok_and(|location| named.contains(&location))
}

/// Hadoop tables' pointer, which no metadata names.
fn is_hint(location: &str) -> bool {
    location.ends_with("/version-hint.text")
}

/// Deletes the orphans of a table. See the [module documentation](self).
///
/// Cost: a listing of the table's folders, every manifest of every retained snapshot, and two requests for each file that
/// goes. Memory: the paths of all listed and all named files.
///
/// # Errors
/// [`Error::KeepsFiles`] if the table's property `gc.enabled` is false. [`Error::Storage`] if the folders can't be listed,
/// [`Error::Table`] if a manifest can't be read: nothing was deleted then. Files that could not be deleted are no error
/// but reported.
pub async fn run_orphans(queue: &CommitQueue, config: &OrphanConfig) -> Result<OrphanReport> {
    let env = queue.env();
    let table = queue.load().await?;
    if table.property("gc.enabled").is_some_and(|value| value.eq_ignore_ascii_case("false")) {
        return Err(Error::KeepsFiles { table: table.ident().to_string() });
    }
    let now_ms = if config.dry_run { env.now_ms() } else { store_now_ms(env, &table).await? };
    let listed = list(env, &table).await?;
    // After the listing: what was committed meanwhile is known.
    let table = queue.load().await?;
    let named = load_named(queue, &table).await?;
    let plan = plan_orphans(listed, &named, now_ms, config);
    match config.dry_run {
        true => Ok(OrphanReport { plan, dry_run: true, ..OrphanReport::default() }),
        false => delete_orphans(queue, plan, Some((table.metadata_location().to_owned(), named))).await,
    }
}

/// Deletes those of some files that are there and that the table does not name; returns how many. Whoever wrote them is gone.
///
/// # Errors
/// As [`run_orphans`], and if one could not be deleted.
pub(crate) async fn delete_unnamed(queue: &CommitQueue, locations: Vec<String>) -> Result<usize> {
    let mut files = Vec::new();
    for location in locations {
        match queue.env().store.head(&location).await {
            Ok(file) => files.push(file),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let report = delete_orphans(queue, OrphanPlan { files, ..OrphanPlan::default() }, None).await?;
    match report.failed.into_iter().next() {
        Some((location, reason)) => Err(Error::NotDeleted { location, reason }),
        None => Ok(report.deleted.len()),
    }
}

/// Deletes the files of a plan that still are what the plan says and that the table still does not name. `seen` is what it
/// named at which metadata file.
async fn delete_orphans(
    queue: &CommitQueue,
    plan: OrphanPlan,
    mut seen: Option<(String, HashSet<Location>)>,
) -> Result<OrphanReport> {
    let env = queue.env();
    let mut report = OrphanReport { plan, ..OrphanReport::default() };
    for files in report.plan.files.chunks(FILES_A_LOOK) {
        let table = queue.load().await?;
        let named = match &mut seen {
            Some((location, named)) if location == table.metadata_location() => named,
            seen => &mut seen.insert((table.metadata_location().to_owned(), load_named(queue, &table).await?)).1,
        };
        let unnamed = files.iter().filter(|file| !is_named(named, file)).collect::<Vec<_>>();
        report.spared += files.len() - unnamed.len();
        let deletes: Vec<_> = unnamed.into_iter().map(|file| delete(env, file)).collect();
        let mut ends = futures::stream::iter(deletes).buffer_unordered(DELETES_AT_ONCE);
        while let Some((file, end)) = ends.next().await {
            match end {
                Ok(true) => report.deleted.push(file.clone()),
                Ok(false) => report.spared += 1,
                Err(error) => report.failed.push((file.location.clone(), error.to_string())),
            }
        }
    }
    tracing::info!(
        table = %queue.ident(), deleted = report.deleted.len(), bytes = bytes_of(&report.deleted), spared = report.spared,
        failed = report.failed.len(), "orphans deleted"
    );
    Ok(report)
}

/// Whether a file was as it had been listed, and is gone now.
async fn delete<'a>(env: &Env, file: &'a ObjectMeta) -> (&'a ObjectMeta, frazil_storage::Result<bool>) {
    let end = match env.store.head(&file.location).await {
        Ok(found) if found == *file => env.store.delete(&file.location).await.map(|()| true),
        Ok(_) => Ok(false),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    };
    (file, end)
}

/// What time it is by the clock that files are dated by.
async fn store_now_ms(env: &Env, table: &Table) -> Result<i64> {
    let location = format!("{}/frazil-clock-{}", layout::metadata_root(table.metadata()), env.ids.uuid());
    env.store.put_new(&location, "what time is it?".into()).await?;
    let now_ms = env.store.head(&location).await.map(|file| file.modified_ms);
    env.store.delete(&location).await?;
    Ok(now_ms?)
}

async fn list(env: &Env, table: &Table) -> Result<Vec<ObjectMeta>> {
    let metadata = table.metadata();
    let mut folders = Vec::new();
    for folder in [layout::metadata_root(metadata), layout::data_root(metadata)] {
        let folder_at = Location::parse(&folder)?;
        if !folders.iter().any(|(_, other)| folder_at.is_within(other)) {
            folders.retain(|(_, other): &(String, Location)| !other.is_within(&folder_at));
            folders.push((folder, folder_at));
        }
    }
    let mut listed = Vec::new();
    for (folder, _) in &folders {
        listed.extend(env.store.list_with_unfinished(folder).await?.try_collect::<Vec<_>>().await?);
    }
    Ok(listed)
}

/// Everything that a table's metadata name, and what the files that they name name.
async fn load_named(queue: &CommitQueue, table: &Table) -> Result<HashSet<Location>> {
    let (store, cache, metadata) = (&queue.env().store, queue.cache(), table.metadata());
    let mut named = Named::default();
    named.add(table.metadata_location());
    metadata.metadata_log().iter().for_each(|entry| named.add(&entry.metadata_file));
    metadata.statistics_iter().for_each(|file| named.add(&file.statistics_path));
    metadata.partition_statistics_iter().for_each(|file| named.add(&file.statistics_path));
    metadata.properties().values().for_each(|value| named.add_text(value));
    let mut read = HashSet::new();
    for snapshot in metadata.snapshots() {
        named.add(snapshot.manifest_list());
        snapshot.summary().additional_properties.values().for_each(|value| named.add_text(value));
        for manifest in io::load_manifest_list(store, cache, metadata, snapshot).await?.iter() {
            if !read.insert(manifest.manifest_path.clone()) {
                continue;
            }
            named.add(&manifest.manifest_path);
            for entry in io::load_manifest(store, cache, manifest).await?.iter() {
                named.add(entry.file_path());
            }
        }
    }
    // A job's prepared checkpoint names files that are not committed yet.
    for location in std::mem::take(&mut named.ledgers) {
        named.add_text(&String::from_utf8_lossy(&store.read(&location).await?));
    }
    Ok(named.locations)
}

#[derive(Default)]
struct Named {
    locations: HashSet<Location>,
    /// JSON files that may name more.
    ledgers: Vec<String>,
}

impl Named {
    fn add(&mut self, text: &str) {
        if let Ok(location) = Location::parse(text)
            && self.locations.insert(location)
            && layout::is_ledger(text)
        {
            self.ledgers.push(text.to_owned());
        }
    }

    /// A value in which a location may stand, by itself or anywhere in JSON.
    fn add_text(&mut self, text: &str) {
        match serde_json::from_str(text) {
            Ok(json) => self.add_json(&json),
            Err(_) => self.add(text),
        }
    }

    fn add_json(&mut self, json: &serde_json::Value) {
        match json {
            serde_json::Value::String(text) => self.add_text(text),
            serde_json::Value::Array(items) => items.iter().for_each(|item| self.add_json(item)),
            serde_json::Value::Object(fields) => fields.values().for_each(|value| self.add_json(value)),
            _ => {}
        }
    }
}

fn bytes_of(files: &[ObjectMeta]) -> u64 {
    files.iter().map(|file| file.size_bytes).sum()
}

impl fmt::Display for OrphanPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            writeln!(f, "{} ({})", file.location, size(file.size_bytes))?;
        }
        if self.deferred > 0 {
            writeln!(f, "{} files more are beyond the cap", self.deferred)?;
        }
        if self.young > 0 {
            writeln!(f, "{} files that nothing names are too young", self.young)?;
        }
        if self.foreign > 0 {
            writeln!(f, "{} files that nothing names may be another program's", self.foreign)?;
        }
        Ok(())
    }
}

impl fmt::Display for OrphanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.plan)?;
        let (planned, deleted) = (&self.plan.files, &self.deleted);
        match (planned.len(), self.dry_run) {
            (0, _) => writeln!(f, "there are no orphans to delete")?,
            (files, true) => writeln!(f, "{files} files of {} would be deleted", size(bytes_of(planned)))?,
            (_, false) => writeln!(f, "{} files of {} deleted", deleted.len(), size(bytes_of(deleted)))?,
        }
        if self.spared > 0 {
            writeln!(f, "{} files changed after they were listed and stay", self.spared)?;
        }
        for (file, reason) in &self.failed {
            writeln!(f, "{file} could not be deleted: {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
