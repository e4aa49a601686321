//! Local files that survive a power cut.
//!
//! A file is (1) written beside its place without a name, or where the file system wants one under a temporary name, (2)
//! synced, (3) given its name in one step, which for a new name refuses to replace, and (4) its folder is synced. So a name
//! either holds the whole file or nothing, and a program that is killed leaves nothing behind.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;

use crate::backend::{
    AppendFile, Backend, Body, Capabilities, Entry, Failure, Lister, Mode, Outcome, Shown, TEMPORARY_PREFIX, Traits,
    Upload,
};
use crate::disk::{Disk, DiskFile, DiskMeta, FolderEntries};

/// Entries that a listing reads ahead.
const PAGE: usize = 1_000;

/// Folders that are remembered as durable. Beyond that they are synced anew.
const FOLDERS_MAX: usize = 10_000;

/// The local file system.
#[derive(Clone, Debug)]
pub(crate) struct LocalBackend {
    disk: Arc<dyn Disk>,
    folders: Arc<Folders>,
}

impl LocalBackend {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, folders: Arc::default() }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Disk) -> io::Result<T> + Send + 'static,
    ) -> Outcome<T> {
        blocking(Arc::clone(&self.disk), work).await
    }

    /// Makes a file, and does the first of what is to be done with it without a change of threads.
    async fn create<T: Send + 'static>(
        &self,
        key: &str,
        then: impl FnOnce(LocalFile) -> io::Result<T> + Send + 'static,
    ) -> Outcome<T> {
        let (disk, folders, path) = (Arc::clone(&self.disk), Arc::clone(&self.folders), path(key));
        self.blocking(move |_| {
            let temporary = Temporary::create(disk, &folders, path)?;
            then(LocalFile { temporary, is_finished: false })
        })
        .await
    }
}

#[async_trait]
impl Backend for LocalBackend {
    fn traits(&self) -> Traits {
        let capabilities = Capabilities {
            exclusive_create: true,
            exclusive_create_in_pieces: true,
            begins_early: true,
            deletes_at_once: 100,
        };
        Traits { capabilities, is_remote: false, can_be_cut: false, takes_parts: false }
    }

    async fn read(&self, key: &str) -> Outcome<Body> {
        let path = path(key);
        let bytes = self
            .blocking(move |disk| {
                let file = disk.open(&path)?;
                let size_bytes = file.size_bytes()?;
                read_range(&*file, size_bytes, 0..size_bytes)
            })
            .await?;
        Ok(Body { size_bytes: bytes.len() as u64, chunks: futures::stream::iter([Ok(bytes)]).boxed() })
    }

    async fn read_ranges(&self, key: &str, ranges: &[Range<u64>]) -> Outcome<Vec<Bytes>> {
        let (path, ranges) = (path(key), ranges.to_vec());
        self.blocking(move |disk| {
            let file = disk.open(&path)?;
            let size_bytes = file.size_bytes()?;
            ranges.into_iter().map(|range| read_range(&*file, size_bytes, range)).collect()
        })
        .await
    }

    async fn head(&self, key: &str) -> Outcome<Entry> {
        let path = path(key);
        let meta = self
            .blocking(move |disk| match disk.metadata(&path)? {
                meta if meta.is_folder => Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory")),
                meta => Ok(meta),
            })
            .await?;
        Ok(entry(key.to_owned(), &meta))
    }

    async fn put(&self, key: &str, bytes: Bytes, mode: Mode, _stamp: &str) -> Outcome<()> {
        let whole = move |mut file: LocalFile| {
            file.temporary.file.write_all(&bytes)?;
            file.temporary.publish(mode)?;
            file.is_finished = true;
            Ok(())
        };
        self.create(key, whole).await
    }

    async fn delete(&self, key: &str) -> Outcome<()> {
        let path = path(key);
        self.blocking(move |disk| disk.remove(&path)).await
    }

    async fn delete_many(&self, keys: &[String]) -> Outcome<Vec<Outcome<()>>> {
        let paths: Vec<_> = keys.iter().map(|key| path(key)).collect();
        let results =
            self.blocking(move |disk| Ok(paths.iter().map(|path| disk.remove(path)).collect::<Vec<_>>())).await?;
        Ok(results.into_iter().map(|result| result.map_err(failure)).collect())
    }

    fn lister(&self, prefix: &str, shown: Shown) -> Box<dyn Lister> {
        let state = Walk { start: Some(path(prefix)), folders: Vec::new() };
        Box::new(LocalLister { backend: self.clone(), shown, state })
    }

    async fn begin(&self, key: &str) -> Outcome<Upload> {
        Ok(Upload::Append(Box::new(self.create(key, Ok).await?)))
    }
}

/// A file that is being written. Dropped unfinished, nothing of it stays.
#[derive(Debug)]
struct LocalFile {
    temporary: Temporary,
    is_finished: bool,
}

/// A file that has not got its name yet.
#[derive(Clone, Debug)]
struct Temporary {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    /// The name that it has meanwhile, if it needs one.
    location: Option<PathBuf>,
    /// What it will be called.
    path: PathBuf,
}

impl Temporary {
    fn create(disk: Arc<dyn Disk>, folders: &Folders, path: PathBuf) -> io::Result<Self> {
        let folder = parent(&path)?;
        folders.make(&*disk, folder)?;
        let (file, location) = match disk.create_unnamed(folder)? {
            Some(file) => (file, None),
            None => {
                let location = temporary_name(folder);
                (disk.create(&location)?, Some(location))
            }
        };
        Ok(Self { file: Arc::from(file), disk, location, path })
    }

    fn publish(&self, mode: Mode) -> io::Result<()> {
        let folder = parent(&self.path)?;
        self.file.sync()?;
        match (&self.location, mode) {
            (Some(location), _) => self.disk.rename(location, &self.path, mode)?,
            (None, Mode::Create) => self.file.link(&self.path)?,
            (None, Mode::Replace) => {
                let location = temporary_name(folder);
                self.file.link(&location)?;
                let moved = self.disk.rename(&location, &self.path, mode);
                moved.inspect_err(|_| drop(self.disk.remove(&location)))?;
            }
        }
        self.disk.sync_folder(folder)
    }

    /// Nothing of it stays.
    fn discard(&self) {
        if let Some(location) = &self.location {
            self.disk.remove(location).ok();
        }
    }
}

fn temporary_name(folder: &Path) -> PathBuf {
    folder.join(format!("{TEMPORARY_PREFIX}{}", uuid::Uuid::new_v4()))
}

#[async_trait]
impl AppendFile for LocalFile {
    async fn write(&mut self, bytes: Bytes) -> Outcome<()> {
        self.write_pieces(vec![bytes]).await
    }

    async fn write_pieces(&mut self, pieces: Vec<Bytes>) -> Outcome<()> {
        let file = Arc::clone(&self.temporary.file);
        let write = move |_: &dyn Disk| file.write_pieces(&pieces);
        blocking(Arc::clone(&self.temporary.disk), write).await
    }

    async fn settle(&mut self) -> Outcome<()> {
        let file = Arc::clone(&self.temporary.file);
        blocking(Arc::clone(&self.temporary.disk), move |_| file.sync()).await
    }

    async fn finish(&mut self, mode: Mode) -> Outcome<()> {
        let temporary = self.temporary.clone();
        blocking(Arc::clone(&self.temporary.disk), move |_| temporary.publish(mode)).await?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        if !self.is_finished {
            self.temporary.discard();
        }
    }
}

/// A listing: the folders that are being read, innermost last.
struct LocalLister {
    backend: LocalBackend,
    shown: Shown,
    state: Walk,
}

#[derive(Default)]
struct Walk {
    start: Option<PathBuf>,
    folders: Vec<FolderEntries>,
}

#[async_trait]
impl Lister for LocalLister {
    async fn next_page(&mut self) -> Outcome<Option<Vec<Entry>>> {
        let mut walk = std::mem::take(&mut self.state);
        let shown = self.shown;
        let (page, walk) = self
            .backend
            .blocking(move |disk| {
                let page = walk.next_page(disk, shown)?;
                Ok((page, walk))
            })
            .await?;
        self.state = walk;
        Ok((!page.is_empty()).then_some(page))
    }
}

impl Walk {
    fn next_page(&mut self, disk: &dyn Disk, shown: Shown) -> io::Result<Vec<Entry>> {
        let mut page = Vec::new();
        if let Some(start) = self.start.take() {
            let meta = disk.metadata(&start);
            self.visit(disk, start, meta, shown, &mut page)?;
        }
        while page.len() < PAGE {
            match self.folders.last_mut().map(Iterator::next) {
                None => break,
                Some(None) => drop(self.folders.pop()),
                Some(Some(path)) => {
                    let path = path?;
                    let meta = disk.link_metadata(&path);
                    self.visit(disk, path, meta, shown, &mut page)?;
                }
            }
        }
        Ok(page)
    }

    fn visit(
        &mut self,
        disk: &dyn Disk,
        path: PathBuf,
        meta: io::Result<DiskMeta>,
        shown: Shown,
        page: &mut Vec<Entry>,
    ) -> io::Result<()> {
        let is_temporary = |name: &OsStr| name.to_string_lossy().starts_with(TEMPORARY_PREFIX);
        if shown == Shown::Finished && path.file_name().is_some_and(is_temporary) {
            return Ok(());
        }
        // What is not there any more was deleted since its folder was read.
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        match meta {
            Err(error) if gone(&error) => {}
            Err(error) => return Err(error),
            Ok(meta) if meta.is_folder => match disk.read_folder(&path) {
                Err(error) if gone(&error) => {}
                entries => self.folders.push(entries?),
            },
            // A name that is no text can't be a location: nobody of ours made it.
            Ok(meta) => page.extend(path.to_str().map(|path| entry(path.trim_start_matches('/').to_owned(), &meta))),
        }
        Ok(())
    }
}

/// The folders whose own names are known to be durable.
#[derive(Debug, Default)]
struct Folders(Mutex<HashSet<PathBuf>>);

impl Folders {
    /// Makes the folders down to `folder`, each durable in its parent. One that is there already is synced as well, once:
    /// whoever made it may not have come to that yet.
    fn make(&self, disk: &dyn Disk, folder: &Path) -> io::Result<()> {
        let is_there = disk.metadata(folder).is_ok_and(|meta| meta.is_folder);
        let Some(above) = folder.parent() else { return Ok(()) };
        if is_there && self.known().contains(folder) {
            return Ok(());
        }
        self.make(disk, above)?;
        if !is_there {
            match disk.create_folder(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => disk.sync_folder(above)?,
            }
        } else if let Err(error) = disk.sync_folder(above)
            && !is_foreign(&error)
        {
            return Err(error);
        }
        let mut known = self.known();
        if known.len() >= FOLDERS_MAX {
            known.clear();
        }
        known.insert(folder.to_owned());
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

/// Folders that we may not open, and file systems that do not sync them, are their owner's care.
fn is_foreign(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported)
}

async fn blocking<T: Send + 'static>(
    disk: Arc<dyn Disk>,
    work: impl FnOnce(&dyn Disk) -> io::Result<T> + Send + 'static,
) -> Outcome<T> {
    let result = tokio::task::spawn_blocking(move || work(&*disk)).await;
    result.unwrap_or_else(|join_error| Err(io::Error::other(join_error))).map_err(failure)
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the root is no file"))
}

/// Checked against the file's size before anything is allocated: a range may come from a damaged footer.
fn read_range(file: &dyn DiskFile, size_bytes: u64, range: Range<u64>) -> io::Result<Bytes> {
    if range.start > range.end || range.end > size_bytes {
        let message = format!("range {}..{} of {size_bytes} bytes", range.start, range.end);
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
    }
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, range.start)?;
    Ok(buffer.into())
}

fn path(key: &str) -> PathBuf {
    PathBuf::from(format!("/{key}"))
}

fn entry(key: String, meta: &DiskMeta) -> Entry {
    Entry { key, size_bytes: meta.size_bytes, modified_ms: meta.modified_ms }
}

fn failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => Failure::NotFound,
        io::ErrorKind::AlreadyExists => Failure::Exists,
        io::ErrorKind::PermissionDenied => Failure::Denied(error.into()),
        _ => Failure::refused(error),
    }
}
