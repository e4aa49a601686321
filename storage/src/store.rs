//! Bytes by location, whatever store is behind it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;

use crate::local::LocalFile;
use crate::object::{ObjectStores, ObjectWriter};
use crate::{Counters, Error, Location, Result, local};

/// What is known of a stored file without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The full location.
    pub location: String,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Last change by the store's clock, milliseconds since the Unix epoch.
    pub modified_ms: i64,
}

/// All stores behind one door: `file:` locations are power-safe local files, `memory:` locations live in this process.
///
/// Cheap to clone; clones share their memory files and counters.
#[derive(Clone, Debug, Default)]
pub struct Store {
    counters: Arc<Counters>,
    objects: Arc<ObjectStores>,
}

enum Backend {
    Local(std::path::PathBuf),
    Object(Arc<dyn object_store::ObjectStore>, object_store::path::Path),
}

impl Store {
    /// A store for local files and memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Running totals of requests and bytes.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The whole file.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing is there; [`Error::Io`] if it can't be read.
    pub async fn read(&self, location: &str) -> Result<Bytes> {
        let bytes = match self.backend(location)? {
            Backend::Local(path) => local::read(path, location).await?,
            Backend::Object(store, path) => {
                let got = store.get(&path).await.map_err(|e| object_error("read", location, e))?;
                got.bytes().await.map_err(|e| object_error("read", location, e))?
            }
        };
        self.counters.read(bytes.len() as u64);
        Ok(bytes)
    }

    /// Some ranges of the file, in the order asked for. Each range is one request.
    ///
    /// # Errors
    /// As [`Store::read`]; a range past the end of the file is an [`Error::Io`].
    pub async fn read_ranges(&self, location: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let parts = match self.backend(location)? {
            Backend::Local(path) => local::read_ranges(path, location, ranges.to_vec()).await?,
            Backend::Object(store, path) => {
                store.get_ranges(&path, ranges).await.map_err(|e| object_error("read", location, e))?
            }
        };
        for (part, range) in parts.iter().zip(ranges) {
            self.counters.read(part.len() as u64);
            // Object stores cut a range at the end of the object.
            if part.len() as u64 != range.end - range.start {
                let message = format!("range {}..{} is past the end", range.start, range.end);
                return Err(Error::io("read", location, message));
            }
        }
        Ok(parts)
    }

    /// One range of the file.
    ///
    /// # Errors
    /// As [`Store::read_ranges`].
    pub async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Bytes> {
        let mut parts = self.read_ranges(location, std::slice::from_ref(&range)).await?;
        Ok(parts.pop().expect("one part for each range"))
    }

    /// Size and age of a file.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing is there.
    pub async fn head(&self, location: &str) -> Result<ObjectMeta> {
        match self.backend(location)? {
            Backend::Local(path) => local::head(path, location).await,
            Backend::Object(store, path) => {
                let meta = store.head(&path).await.map_err(|e| object_error("read", location, e))?;
                Ok(object_meta(location.to_owned(), &meta))
            }
        }
    }

    /// Writes a file whole and durably, in place of an older one.
    ///
    /// # Errors
    /// [`Error::Io`]: the old file is still there, or the new one, never a part of it.
    pub async fn put(&self, location: &str, bytes: Bytes) -> Result<()> {
        self.put_mode(location, bytes, local::Mode::Replace).await
    }

    /// Writes a file whole and durably under a name that must be new.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if the name is taken: the file there is left as it is.
    pub async fn put_new(&self, location: &str, bytes: Bytes) -> Result<()> {
        self.put_mode(location, bytes, local::Mode::Create).await
    }

    async fn put_mode(&self, location: &str, bytes: Bytes, mode: local::Mode) -> Result<()> {
        let size = bytes.len() as u64;
        match self.backend(location)? {
            Backend::Local(path) => {
                let mut file = LocalFile::create(path, location).await?;
                file.write(bytes).await?;
                file.finish(mode).await?;
            }
            Backend::Object(store, path) => {
                let put_mode = match mode {
                    local::Mode::Create => object_store::PutMode::Create,
                    local::Mode::Replace => object_store::PutMode::Overwrite,
                };
                store
                    .put_opts(&path, bytes.into(), put_mode.into())
                    .await
                    .map_err(|e| object_error("write", location, e))?;
            }
        }
        self.counters.wrote(size);
        Ok(())
    }

    /// Opens a file for writing in pieces. Nothing is visible under the name until [`FileWriter::finish`] returns;
    /// a writer that is dropped leaves nothing behind.
    ///
    /// # Errors
    /// [`Error::Io`] if the place can't be written.
    pub async fn writer(&self, location: &str) -> Result<FileWriter> {
        let inner = match self.backend(location)? {
            Backend::Local(path) => WriterInner::Local(LocalFile::create(path, location).await?),
            Backend::Object(store, path) => WriterInner::Object(ObjectWriter::new(store, path, location)),
        };
        Ok(FileWriter { inner, counters: self.counters.clone(), size_bytes: 0 })
    }

    /// Deletes a file. A file that is already gone is no error.
    ///
    /// # Errors
    /// [`Error::Io`] if the store refuses.
    pub async fn delete(&self, location: &str) -> Result<()> {
        self.counters.deletes.fetch_add(1, Relaxed);
        let result = match self.backend(location)? {
            Backend::Local(path) => local::delete(path, location).await,
            Backend::Object(store, path) => store.delete(&path).await.map_err(|e| object_error("delete", location, e)),
        };
        result.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
    }

    /// Every file at or below a location, in no order. A location where nothing is gives an empty stream.
    ///
    /// # Errors
    /// The stream ends with [`Error::Io`] where the store can't be listed: what came before is then only a part.
    pub async fn list(&self, location: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        self.counters.lists.fetch_add(1, Relaxed);
        match self.backend(location)? {
            Backend::Local(path) => local::list(path, location).await,
            Backend::Object(store, path) => {
                let parsed = Location::parse(location)?;
                let root = format!("{}://{}/", parsed.scheme(), parsed.authority());
                let location = location.to_owned();
                let metas: Vec<_> = store
                    .list(Some(&path))
                    .map_ok(|meta| object_meta(format!("{root}{}", meta.location), &meta))
                    .map_err(|e| object_error("list", &location, e))
                    .collect()
                    .await;
                Ok(futures::stream::iter(metas).boxed())
            }
        }
    }

    fn backend(&self, location: &str) -> Result<Backend> {
        let parsed = Location::parse(location)?;
        if let Some(path) = parsed.local_path() {
            return Ok(Backend::Local(path));
        }
        let store = self.objects.get(&parsed)?;
        let path = object_store::path::Path::parse(parsed.path())
            .map_err(|e| Error::BadLocation { location: location.to_owned(), reason: e.to_string() })?;
        Ok(Backend::Object(store, path))
    }
}

/// A file that is being written in pieces.
#[derive(Debug)]
pub struct FileWriter {
    inner: WriterInner,
    counters: Arc<Counters>,
    size_bytes: u64,
}

#[derive(Debug)]
enum WriterInner {
    Local(LocalFile),
    Object(ObjectWriter),
}

impl FileWriter {
    /// Appends bytes.
    ///
    /// # Errors
    /// [`Error::Io`]: drop the writer, nothing of the file stays.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.size_bytes += bytes.len() as u64;
        match &mut self.inner {
            WriterInner::Local(file) => file.write(bytes).await,
            WriterInner::Object(object) => object.write(bytes).await,
        }
    }

    /// Bytes written so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Makes the file durable and visible under its name, which must be new. Returns its size in bytes.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if the name was taken meanwhile; [`Error::Io`] if the store failed.
    pub async fn finish(self) -> Result<u64> {
        match self.inner {
            WriterInner::Local(file) => file.finish(local::Mode::Create).await?,
            WriterInner::Object(object) => object.finish().await?,
        }
        self.counters.wrote(self.size_bytes);
        Ok(self.size_bytes)
    }
}

fn object_meta(location: String, meta: &object_store::ObjectMeta) -> ObjectMeta {
    ObjectMeta { location, size_bytes: meta.size, modified_ms: meta.last_modified.timestamp_millis() }
}

pub(crate) fn object_error(operation: &'static str, location: &str, error: object_store::Error) -> Error {
    let location = location.to_owned();
    match error {
        object_store::Error::NotFound { .. } => Error::NotFound { location },
        object_store::Error::AlreadyExists { .. } => Error::AlreadyExists { location },
        other => Error::io(operation, &location, other),
    }
}

#[cfg(test)]
mod tests;
