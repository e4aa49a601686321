//! HDFS, spoken to directly: no JVM, no libhdfs.
//!
//! A file is written beside its place under a temporary name, synced on every datanode of its pipeline (`hsync`), closed,
//! and renamed; a rename of the namenode is one step, and refuses to replace where it is told so. This is the order of
//! [`crate::local`], for the same reasons.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use hdfs_native::client::{FileStatus, ListStatusIterator};
use hdfs_native::file::FileWriter;
use hdfs_native::{Client, ClientBuilder, HdfsError, WriteOptions};

use crate::backend::{
    AppendFile, Backend, Body, Capabilities, Entry, Failure, Lister, Mode, Outcome, Shown, TEMPORARY_PREFIX, Traits,
    Upload,
};
use crate::object::collect;
use crate::{Error, Location, Result, StoreConfig};

/// Entries that a listing reads ahead: what a namenode gives at once (`dfs.ls.limit`).
const PAGE: usize = 1_000;

/// A namenode, or a nameservice of several.
#[derive(Clone)]
pub(crate) struct HdfsBackend {
    client: Arc<Client>,
    root: String,
}

impl fmt::Debug for HdfsBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HdfsBackend").field(&self.root).finish()
    }
}

impl HdfsBackend {
    /// Nothing is asked yet. Settings that are not given come from `core-site.xml` and `hdfs-site.xml`, where
    /// `HADOOP_CONF_DIR` or `HADOOP_HOME` lead; the user's name from `HADOOP_USER_NAME` or Kerberos.
    pub(crate) fn new(location: &Location, config: &StoreConfig) -> Result<Self> {
        let root = location.root();
        let mut builder = ClientBuilder::new().with_config(config.hadoop());
        if !location.authority().is_empty() {
            builder = builder.with_url(root.trim_end_matches('/'));
        }
        let client = builder.build().map_err(|error| Error::BadLocation {
            location: root.clone(),
            reason: format!("its client can't be set up: {error}"),
        })?;
        Ok(Self { client: Arc::new(client), root })
    }

    async fn create(&self, key: &str) -> Outcome<HdfsFile> {
        let path = path(key);
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let temporary = format!("{folder}/{TEMPORARY_PREFIX}{}", uuid::Uuid::new_v4());
        let writer = self.client.create(&temporary, WriteOptions::default()).await.map_err(failure)?;
        Ok(HdfsFile { backend: self.clone(), writer: Some(writer), temporary, path, size_bytes: 0, is_moved: false })
    }
}

#[async_trait]
impl Backend for HdfsBackend {
    fn traits(&self) -> Traits {
        let capabilities = Capabilities {
            exclusive_create: true,
            exclusive_create_in_pieces: true,
            begins_early: false,
            deletes_at_once: 100,
        };
        Traits { capabilities, is_remote: true, can_be_cut: true, takes_parts: false }
    }

    async fn read(&self, key: &str) -> Outcome<Body> {
        let reader = self.client.read(&path(key)).await.map_err(failure)?;
        let size_bytes = reader.file_length();
        let chunks = reader.read_range_stream(0, size_bytes).map_err(failure).boxed();
        Ok(Body { size_bytes: size_bytes as u64, chunks })
    }

    async fn read_ranges(&self, key: &str, ranges: &[Range<u64>]) -> Outcome<Vec<Bytes>> {
        let reader = self.client.read(&path(key)).await.map_err(failure)?;
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            if range.start > range.end || range.end > reader.file_length() as u64 {
                let message = format!("range {}..{} of {} bytes", range.start, range.end, reader.file_length());
                return Err(Failure::refused(message));
            }
            // Both are at most the file's length, which is a usize.
            let (start, length) = (range.start as usize, (range.end - range.start) as usize);
            let chunks = reader.read_range_stream(start, length).map_err(failure).boxed();
            parts.push(collect(Body { size_bytes: length as u64, chunks }).await?);
        }
        Ok(parts)
    }

    async fn head(&self, key: &str) -> Outcome<Entry> {
        match self.client.get_file_info(&path(key)).await.map_err(failure)? {
            status if status.isdir => Err(Failure::refused("it is a directory")),
            status => Ok(entry(status)),
        }
    }

    async fn delete(&self, key: &str) -> Outcome<()> {
        match self.client.delete(&path(key), false).await.map_err(failure)? {
            true => Ok(()),
            false => Err(Failure::NotFound),
        }
    }

    fn lister(&self, prefix: &str, shown: Shown) -> Box<dyn Lister> {
        let root = Folder { path: path(prefix), last: None, entries: None };
        Box::new(HdfsLister { client: Arc::clone(&self.client), shown, folders: vec![root] })
    }

    async fn begin(&self, key: &str) -> Outcome<Upload> {
        Ok(Upload::Append(Box::new(self.create(key).await?)))
    }
}

/// A file that is being written. Dropped unfinished, its temporary file is deleted.
struct HdfsFile {
    backend: HdfsBackend,
    /// Taken by `finish`.
    writer: Option<FileWriter>,
    temporary: String,
    path: String,
    size_bytes: usize,
    is_moved: bool,
}

impl fmt::Debug for HdfsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HdfsFile").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl AppendFile for HdfsFile {
    async fn write(&mut self, bytes: Bytes) -> Outcome<()> {
        self.size_bytes += bytes.len();
        let writer = self.writer.as_mut().ok_or_else(|| Failure::refused("the file is finished"))?;
        writer.write_bytes(bytes).await.map(drop).map_err(failure)
    }

    async fn finish(&mut self, mode: Mode) -> Outcome<()> {
        let mut writer = self.writer.take().ok_or_else(|| Failure::refused("the file is finished"))?;
        if self.size_bytes > 0 {
            writer.hsync().await.map_err(failure)?;
        }
        writer.close().await.map_err(failure)?;
        let client = &self.backend.client;
        let renamed = client.rename(&self.temporary, &self.path, mode == Mode::Replace).await.map_err(failure);
        let renamed = match renamed {
            Err(Failure::Transient { reason, wait_ms }) => {
                // The temporary name is nobody else's: gone, it was moved, and the answer is what got lost.
                match client.get_file_info(&self.temporary).await.map_err(failure) {
                    Err(Failure::NotFound) => Ok(()),
                    _ => Err(Failure::Transient { reason, wait_ms }),
                }
            }
            renamed => renamed,
        };
        self.is_moved = renamed.is_ok();
        renamed
    }
}

impl Drop for HdfsFile {
    fn drop(&mut self) {
        if self.is_moved {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (client, temporary) = (Arc::clone(&self.backend.client), std::mem::take(&mut self.temporary));
        runtime.spawn(async move {
            if let Err(error) = client.delete(&temporary, false).await {
                tracing::warn!(temporary, %error, "an unfinished file stays behind");
            }
        });
    }
}

/// A listing: the folders that are being read, innermost last.
struct HdfsLister {
    client: Arc<Client>,
    shown: Shown,
    folders: Vec<Folder>,
}

/// A namenode lists a folder by name, so that a listing that broke off goes on behind the last name.
struct Folder {
    path: String,
    last: Option<String>,
    /// `None` after a failure: the client's own iterator then says that it is at its end.
    entries: Option<ListStatusIterator>,
}

#[async_trait]
impl Lister for HdfsLister {
    async fn next_page(&mut self) -> Outcome<Option<Vec<Entry>>> {
        let mut page = Vec::new();
        while page.len() < PAGE {
            let Some(folder) = self.folders.last_mut() else { break };
            // Taken, so that neither a failure nor an attempt that is cut leaves it behind in the middle.
            let entries = folder.entries.take();
            let entries = entries.unwrap_or_else(|| self.client.list_status_iter(&folder.path, false));
            let status = match entries.next().await.transpose().map_err(failure) {
                Ok(Some(status)) => status,
                // Nothing is there, or it was deleted since its parent was read.
                Ok(None) | Err(Failure::NotFound) => {
                    self.folders.pop();
                    continue;
                }
                Err(failure) if page.is_empty() => return Err(failure),
                // The next call meets it again.
                Err(_) => break,
            };
            folder.entries = Some(entries);
            if folder.last.as_ref().is_some_and(|last| namenode_order(&status.path, last).is_le()) {
                continue;
            }
            folder.last = Some(status.path.clone());
            let name = status.path.rsplit('/').next().unwrap_or_default();
            if status.isdir {
                self.folders.push(Folder { path: status.path, last: None, entries: None });
            } else if self.shown == Shown::All || !name.starts_with(TEMPORARY_PREFIX) {
                page.push(entry(status));
            }
        }
        Ok((!page.is_empty()).then_some(page))
    }
}

/// The order in which a namenode lists a folder: by signed bytes, so that `ü` comes before `a`.
fn namenode_order(a: &str, b: &str) -> Ordering {
    a.bytes().map(u8::cast_signed).cmp(b.bytes().map(u8::cast_signed))
}

fn path(key: &str) -> String {
    format!("/{key}")
}

fn entry(status: FileStatus) -> Entry {
    Entry {
        key: status.path.trim_start_matches('/').to_owned(),
        size_bytes: status.length as u64,
        modified_ms: i64::try_from(status.modification_time).unwrap_or(i64::MAX),
    }
}

/// What a namenode says while it starts, fails over or is busy, by the end of the exception's name.
const PASSING: [&str; 4] = ["StandbyException", "RetriableException", "SafeModeException", "NotReplicatedYetException"];

fn failure(error: HdfsError) -> Failure {
    match error {
        HdfsError::FileNotFound(_) => Failure::NotFound,
        HdfsError::AlreadyExists(_) => Failure::Exists,
        HdfsError::RPCError(ref class, _) | HdfsError::FatalRPCError(ref class, _) => match class.rsplit('.').next() {
            Some("FileNotFoundException") => Failure::NotFound,
            Some("FileAlreadyExistsException") => Failure::Exists,
            Some("AccessControlException") => Failure::Denied(error.into()),
            Some(class) if PASSING.contains(&class) => Failure::transient(error),
            _ => Failure::Refused(error.into()),
        },
        HdfsError::SASLError(_) | HdfsError::NoSASLMechanism | HdfsError::GSSAPIError(..) => {
            Failure::Denied(error.into())
        }
        HdfsError::IOError(_)
        | HdfsError::DataTransferError(_)
        | HdfsError::ChecksumError
        | HdfsError::OperationFailed(_)
        | HdfsError::BlocksNotFound(_)
        | HdfsError::InvalidRPCResponse(_) => Failure::transient(error),
        other => Failure::Refused(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_a_namenode_lists_them() {
        let mut names = ["b", "ü", "a", "%", "a0", "雪"];
        names.sort_by(|a, b| namenode_order(a, b));
        assert_eq!(names, ["ü", "雪", "%", "a", "a0", "b"]);
    }
}
