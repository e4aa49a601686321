//! Local files that survive a power cut.
//!
//! A file is (1) written beside its place under a temporary name, (2) synced, (3) moved to its name in one step, which
//! for a new name refuses to replace, and (4) its directory is synced. So a name either holds the whole file or nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use rustix::fs::{CWD, RenameFlags};

use crate::{Error, ObjectMeta, Result};

/// Prefix of files that are not finished. Listings pass over them.
const TEMPORARY_PREFIX: &str = ".frazil-tmp-";

/// What happens if the name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Create,
    Replace,
}

/// A file that is being written. Dropped unfinished, its temporary file is removed.
#[derive(Debug)]
pub(crate) struct LocalFile {
    /// Taken by `finish`.
    file: Option<Arc<File>>,
    temporary: PathBuf,
    path: PathBuf,
    location: String,
}

impl LocalFile {
    pub(crate) async fn create(path: PathBuf, location: &str) -> Result<Self> {
        let location = location.to_owned();
        blocking("write", location.clone(), move || {
            let directory = parent(&path)?;
            create_directories(directory)?;
            let temporary = directory.join(format!("{TEMPORARY_PREFIX}{}", uuid::Uuid::new_v4()));
            let file = Some(Arc::new(File::create_new(&temporary)?));
            Ok(Self { file, temporary, path, location })
        })
        .await
    }

    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let file = self.file.clone().expect("only finish takes the file");
        blocking("write", self.location.clone(), move || (&*file).write_all(&bytes)).await
    }

    pub(crate) async fn finish(mut self, mode: Mode) -> Result<()> {
        let file = self.file.take().expect("finish consumes the writer");
        let (temporary, path) = (self.temporary.clone(), self.path.clone());
        let result = blocking("write", self.location.clone(), move || {
            file.sync_all()?;
            install(&temporary, &path, mode)?;
            sync_directory(parent(&path)?)
        })
        .await;
        if result.is_err() {
            fs::remove_file(&self.temporary).ok();
        }
        result
    }
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            fs::remove_file(&self.temporary).ok();
        }
    }
}

/// Moves a finished file to its name. A file system without `RENAME_NOREPLACE` gets a hard link instead.
fn install(temporary: &Path, path: &Path, mode: Mode) -> io::Result<()> {
    if mode == Mode::Replace {
        return fs::rename(temporary, path);
    }
    match rustix::fs::renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            fs::hard_link(temporary, path)?;
            fs::remove_file(temporary)
        }
        result => Ok(result?),
    }
}

/// Makes the directories down to `directory`, each durable in its parent.
fn create_directories(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = parent(directory)?;
    create_directories(above)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_directory(above),
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the root is no file"))
}

pub(crate) async fn read(path: PathBuf, location: &str) -> Result<Bytes> {
    blocking("read", location.to_owned(), move || fs::read(path).map(Bytes::from)).await
}

pub(crate) async fn read_ranges(path: PathBuf, location: &str, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>> {
    blocking("read", location.to_owned(), move || {
        let file = File::open(path)?;
        let size_bytes = file.metadata()?.len();
        ranges.into_iter().map(|range| read_range(&file, size_bytes, range)).collect()
    })
    .await
}

/// Checked against the file's size before anything is allocated: a range may come from a damaged footer.
fn read_range(file: &File, size_bytes: u64, range: Range<u64>) -> io::Result<Bytes> {
    if range.start > range.end || range.end > size_bytes {
        let message = format!("range {}..{} of {size_bytes} bytes", range.start, range.end);
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
    }
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, range.start)?;
    Ok(buffer.into())
}

pub(crate) async fn head(path: PathBuf, location: &str) -> Result<ObjectMeta> {
    let name = location.to_owned();
    blocking("read", location.to_owned(), move || {
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
        }
        Ok(object_meta(name, &metadata))
    })
    .await
}

pub(crate) async fn delete(path: PathBuf, location: &str) -> Result<()> {
    blocking("delete", location.to_owned(), move || fs::remove_file(path)).await
}

pub(crate) async fn list(path: PathBuf, location: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
    let metas = blocking("list", location.to_owned(), move || {
        let mut found = Vec::new();
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
            Ok(metadata) if metadata.is_file() => found.push(object_meta(file_url(&path), &metadata)),
            Ok(_) => list_directory(&path, &mut found)?,
        }
        Ok(found)
    })
    .await?;
    Ok(futures::stream::iter(metas.into_iter().map(Ok)).boxed())
}

fn list_directory(directory: &Path, found: &mut Vec<ObjectMeta>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            list_directory(&path, found)?;
        } else if !entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            match entry.metadata() {
                // Deleted since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                metadata => found.push(object_meta(file_url(&path), &metadata?)),
            }
        }
    }
    Ok(())
}

fn file_url(path: &Path) -> String {
    format!("file://{}", path.display())
}

fn object_meta(location: String, metadata: &fs::Metadata) -> ObjectMeta {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    ObjectMeta {
        location,
        size_bytes: metadata.len(),
        modified_ms: modified.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
    }
}

async fn blocking<T: Send + 'static>(
    operation: &'static str,
    location: String,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let result = tokio::task::spawn_blocking(work).await;
    let result = result.unwrap_or_else(|join_error| Err(io::Error::other(join_error)));
    result.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { location },
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { location },
        _ => Error::io(operation, &location, error),
    })
}
