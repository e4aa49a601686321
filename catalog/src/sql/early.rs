//! The next metadata file of a table, begun before anybody commits to it.
//!
//! The metadata of a long history is megabytes, and a commit changes only how they end ([`MetadataText`]). So where a table
//! is committed to again and again, the beginning of the metadata file after the next is written and made durable in the
//! background while a commit is made, in a file without a name. The commit after it appends what is new and gives the file
//! its name: that costs the same however long the history is. If another process commits first, the file is dropped.

use std::collections::VecDeque;
use std::sync::Mutex;

use frazil_storage::{Env, FileWriter};
use frazil_table::spec::{TableIdent, TableMetadata};
use frazil_table::{MetadataText, Table, layout};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::cache::CachedMetadata;

/// What is faster to write than to keep an eye on.
const LASTING_BYTES_MIN: usize = 1 << 20;
/// After a longer pause between two commits a third is not expected.
const PAUSE_MS_MAX: i64 = 60_000;
/// Pieces of the text that are written by one call: of 64 KiB each, a tenth of a millisecond.
const PIECES_AT_ONCE: usize = 8;
/// Files of different tables that are begun at the same time; the oldest is dropped for one more.
const FILES_MAX: usize = 64;

/// The files that are begun, at most one of a table.
#[derive(Debug, Default)]
pub(super) struct EarlyFiles(Mutex<VecDeque<EarlyFile>>);

/// A metadata file that is begun, or being begun.
#[derive(Debug)]
pub(super) struct EarlyFile {
    ident: TableIdent,
    /// The metadata file that it comes after.
    base: String,
    id: Uuid,
    location: String,
    kept_bytes: usize,
    /// Tells `beginning` that the commit which it began beside has landed; `None`: it was told.
    landed: Option<oneshot::Sender<()>>,
    beginning: JoinHandle<frazil_storage::Result<FileWriter>>,
}

impl EarlyFiles {
    /// Remembers a file whose table has landed, and has it made durable.
    pub(super) fn keep(&self, mut file: EarlyFile) {
        if let Some(landed) = file.landed.take() {
            landed.send(()).ok();
        }
        let mut files = self.lock();
        files.retain(|other| other.ident != file.ident);
        files.push_back(file);
        if files.len() > FILES_MAX {
            files.pop_front();
        }
    }

    /// The file that was begun to come after `base`, if the next metadata goes to its place.
    pub(super) fn take(&self, base: &Table, next: &TableMetadata) -> Option<EarlyFile> {
        let mut files = self.lock();
        let index = files.iter().position(|file| file.ident == *base.ident())?;
        let file = files.remove(index)?;
        let location = layout::next_metadata_location(next, base.metadata_location(), file.id);
        (file.base == base.metadata_location() && file.location == location).then_some(file)
    }

    /// Drops the file of a table that is gone.
    pub(super) fn forget(&self, ident: &TableIdent) {
        self.lock().retain(|file| file.ident != *ident);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<EarlyFile>> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

/// Writes the beginning beside a commit, which it must not be in the way of: it becomes durable only when that commit has
/// landed, since a disk that syncs megabytes lets nothing else through; and it is written in parts, since between them
/// the system may do what the commit waits for.
async fn begin(
    env: Env,
    location: String,
    text: MetadataText,
    landed: oneshot::Receiver<()>,
) -> frazil_storage::Result<FileWriter> {
    let mut writer = env.store.writer(&location).await?;
    for pieces in text.lasting_pieces().chunks(PIECES_AT_ONCE) {
        writer.write_pieces(pieces.to_vec()).await?;
    }
    if landed.await.is_ok() {
        writer.settle().await?;
    }
    Ok(writer)
}

impl EarlyFile {
    /// Begins the file after `next` if it is worth it.
    pub(super) fn begin(env: &Env, before: &Table, next: &CachedMetadata) -> Option<Self> {
        let table = next.table();
        let pause_ms = table.metadata().last_updated_ms() - before.metadata().last_updated_ms();
        let kept_bytes = next.text().lasting_bytes();
        let can_begin = env.store.capabilities(table.metadata_location()).is_ok_and(|can| can.begins_early);
        if kept_bytes < LASTING_BYTES_MIN || pause_ms > PAUSE_MS_MAX || !can_begin {
            return None;
        }
        let id = env.ids.uuid();
        let location = layout::next_metadata_location(table.metadata(), table.metadata_location(), id);
        if layout::is_gzip(&location) {
            return None;
        }
        let (landed, has_landed) = oneshot::channel();
        let beginning = tokio::spawn(begin(env.clone(), location.clone(), next.text().clone(), has_landed));
        let base = table.metadata_location().to_owned();
        Some(Self { ident: table.ident().clone(), base, id, location, kept_bytes, landed: Some(landed), beginning })
    }

    /// What the finished file will be called.
    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// Whether a text begins as the file does.
    pub(super) fn fits(&self, text: &MetadataText) -> bool {
        self.kept_bytes == text.kept_bytes()
    }

    /// Appends the rest of a text that fits and makes it a metadata file.
    ///
    /// # Errors
    /// If any part of it could not be written: the file may be there or not.
    pub(super) async fn finish(mut self, text: &MetadataText) -> frazil_storage::Result<()> {
        let begun = (&mut self.beginning).await;
        let mut writer = begun.map_err(|error| frazil_storage::Error::Io {
            operation: "write",
            location: self.location.clone(),
            source: Box::new(error),
        })??;
        writer.write_pieces(text.pieces_from(self.kept_bytes)).await?;
        writer.finish().await.map(drop)
    }
}

impl Drop for EarlyFile {
    /// What was written goes with the writer.
    fn drop(&mut self) {
        self.beginning.abort();
    }
}

#[cfg(test)]
mod tests;
