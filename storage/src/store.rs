//! Bytes by location, whatever store is behind it.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::Semaphore;

use crate::backend::{Entry, Failure, Lister, Mode, Shown, Upload};
use crate::counters::Request;
use crate::faults::{Faults, FaultyBackend};
use crate::file_writer::{Place, WriterInner};
use crate::kept::KeptFiles;
use crate::object::collect;
use crate::retry::{Retrier, Tried};
use crate::stores::Stores;
use crate::upload::{AppendWriter, PARTS_MAX, PartWriter, Target};
use crate::{
    Capabilities, Counters, Error, FileWriter, KeptLimits, Location, PowerDisk, Result, RetryPolicy, StoreConfig,
};

/// Ranges of one call that are fetched side by side.
const READS_AT_ONCE: usize = 8;
/// Delete requests of one call that are sent side by side.
const DELETES_AT_ONCE: usize = 4;

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

/// All stores behind one door, told apart by a location's scheme ([`StoreKind`](crate::StoreKind)).
///
/// Whatever may pass is tried again within a [`RetryPolicy`]; a slow attempt is cut. Cheap to clone; clones share their
/// clients, memory files and counters. A future that is dropped stops its request; whether a change was made is then
/// not known.
#[derive(Clone, Debug)]
pub struct Store {
    counters: Arc<Counters>,
    stores: Arc<Stores>,
    policy: RetryPolicy,
    faults: Option<Arc<Faults>>,
    part_permits: Arc<Semaphore>,
    kept: Arc<KeptFiles>,
    witness: Option<Arc<dyn WriteWitness>>,
}

/// Is told of each file before it is begun.
#[async_trait]
pub trait WriteWitness: Debug + Send + Sync {
    /// A file is about to be written.
    ///
    /// # Errors
    /// Then it is not written.
    async fn before_write(&self, location: &str) -> Result<()>;
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl Store {
    /// Every store, with what the environment says about how it is reached.
    pub fn new() -> Self {
        Self {
            counters: Arc::default(),
            stores: Arc::default(),
            policy: RetryPolicy::default(),
            faults: None,
            part_permits: Arc::new(Semaphore::new(PARTS_MAX)),
            kept: Arc::default(),
            witness: None,
        }
    }

    /// Stores reached as `config` says. Clients that are there already are made anew.
    pub fn configure(&self, config: StoreConfig) {
        self.stores.configure(config);
    }

    /// How stores are reached; without what was granted for single prefixes.
    pub fn config(&self) -> StoreConfig {
        self.stores.config()
    }

    /// What is at or below `prefix` is reached with these properties before others, as a catalog vends them with a table
    /// (Iceberg REST, `storage-credentials`). A grant for the same prefix replaces an older one; the newest 1,000 count.
    pub fn grant(&self, prefix: &Location, config: StoreConfig) {
        self.stores.grant(prefix, config);
    }

    /// The same stores with other limits.
    #[must_use]
    pub fn with_retries(self, policy: RetryPolicy) -> Self {
        Self { policy, ..self }
    }

    /// The same stores behind faults that follow from a seed. For tests: the code above and the retries are the real ones.
    #[must_use]
    pub fn with_faults(self, faults: Arc<Faults>) -> Self {
        Self { faults: Some(faults), ..self }
    }

    /// The same stores as they are.
    #[must_use]
    pub fn without_faults(self) -> Self {
        Self { faults: None, ..self }
    }

    /// A store whose local files are on a disk that may lose power. For tests.
    #[must_use]
    pub fn on_disk(self, disk: Arc<PowerDisk>) -> Self {
        Self { stores: Arc::new(Stores::on_disk(disk)), ..self }
    }

    /// The same stores, whose kept files ([`FileWriter::keep`]) may take so much.
    #[must_use]
    pub fn with_kept(self, limits: KeptLimits) -> Self {
        Self { kept: Arc::new(KeptFiles::with_limits(limits)), ..self }
    }

    /// The same stores, whose files are told to a witness before they are written.
    #[must_use]
    pub fn witnessed_by(self, witness: Arc<dyn WriteWitness>) -> Self {
        Self { witness: Some(witness), ..self }
    }

    /// Lets kept files go that nobody will read again soon. They stay in their store.
    pub fn forget<'a>(&self, locations: impl IntoIterator<Item = &'a str>) {
        locations.into_iter().for_each(|location| self.kept.forget(location));
    }

    /// Running totals of requests and bytes.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the store of a location can promise.
    ///
    /// # Errors
    /// [`Error::BadLocation`] if it has no store.
    pub fn capabilities(&self, location: &str) -> Result<Capabilities> {
        Ok(self.target(location)?.backend.traits().capabilities)
    }

    /// The whole file.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing is there; [`Error::Io`] if it can't be read.
    pub async fn read(&self, location: &str) -> Result<Bytes> {
        let Target { backend, retrier, key, .. } = &self.target(location)?;
        let size_bytes = AtomicU64::new(0);
        let read = |_| async {
            let body = retrier.limit(0, backend.read(key)).await?;
            size_bytes.store(body.size_bytes, Relaxed);
            retrier.limit(body.size_bytes, collect(body)).await
        };
        let bytes = retrier.run_limited(Request::Read, location, &size_bytes, read).await?;
        self.counters.read(bytes.len() as u64);
        Ok(bytes)
    }

    /// Some ranges of the file, in the order asked for. Each range is one request; up to 8 are under way at a time. Of a
    /// file that is kept ([`FileWriter::keep`]) nothing is asked for.
    ///
    /// # Errors
    /// As [`Store::read`]; a range past the end of the file is an [`Error::Io`].
    pub async fn read_ranges(&self, location: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if let Some(parts) = self.kept.read(location, ranges).await {
            self.counters.read_kept(parts.iter().map(|part| part.len() as u64).sum());
            return Ok(parts);
        }
        let target = &self.target(location)?;
        let parts = if target.backend.traits().is_remote {
            let reads: Vec<_> = ranges.iter().map(|range| target.read_remote(range)).collect();
            futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect::<Vec<_>>().await?
        } else {
            let bytes = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
            let read = |_| target.backend.read_ranges(&target.key, ranges);
            target.retrier.run(Request::Read, location, bytes, read).await?
        };
        parts.iter().for_each(|part| self.counters.read(part.len() as u64));
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
        let Target { backend, retrier, key, .. } = &self.target(location)?;
        let entry = retrier.run(Request::Head, location, 0, |_| backend.head(key)).await?;
        Ok(ObjectMeta { location: location.to_owned(), size_bytes: entry.size_bytes, modified_ms: entry.modified_ms })
    }

    /// Writes a file whole and durably, in place of an older one.
    ///
    /// # Errors
    /// [`Error::Io`]: the old file is still there, or the new one, never a part of it.
    pub async fn put(&self, location: &str, bytes: Bytes) -> Result<()> {
        self.put_mode(location, bytes, Mode::Replace).await
    }

    /// Writes a file whole and durably under a name that must be new. Of many that do it at once one succeeds, where the
    /// store can promise it ([`Capabilities::exclusive_create`]); a file that an earlier attempt of this call made is
    /// known as its own.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if the name is taken: the file there is left as it is. [`Error::Io`]: the file may be
    /// there, whole, or not.
    pub async fn put_new(&self, location: &str, bytes: Bytes) -> Result<()> {
        self.put_mode(location, bytes, Mode::Create).await
    }

    async fn put_mode(&self, location: &str, bytes: Bytes, mode: Mode) -> Result<()> {
        self.tell_witness(location).await?;
        let size_bytes = bytes.len() as u64;
        self.kept.forget(location);
        put_settled(&self.target(location)?, bytes, mode).await?;
        self.counters.wrote(size_bytes);
        Ok(())
    }

    /// Opens a file for writing in pieces. Nothing is visible under the name until [`FileWriter::finish`] returns;
    /// a writer that is dropped leaves nothing behind.
    ///
    /// # Errors
    /// [`Error::Io`] if the place can't be written.
    pub async fn writer(&self, location: &str) -> Result<FileWriter> {
        self.tell_witness(location).await?;
        let target = self.target(location)?;
        let is_remote = target.backend.traits().is_remote;
        let inner = if target.backend.traits().takes_parts {
            WriterInner::Parts(PartWriter::new(target, Arc::clone(&self.part_permits)))
        } else {
            let begin = |_| target.backend.begin(&target.key);
            match target.retrier.run(Request::Write, location, 0, begin).await? {
                Upload::Append(file) => WriterInner::Append(AppendWriter { file, target }),
                Upload::Parts(_) => unreachable!("a backend that takes no parts begins a file"),
            }
        };
        let place = Place { location: location.to_owned(), is_remote, kept: Arc::clone(&self.kept) };
        Ok(FileWriter::new(inner, place, Arc::clone(&self.counters)))
    }

    /// Deletes a file. A file that is already gone is no error.
    ///
    /// # Errors
    /// [`Error::Io`] if the store refuses.
    pub async fn delete(&self, location: &str) -> Result<()> {
        let Target { backend, retrier, key, .. } = &self.target(location)?;
        self.kept.forget(location);
        self.counters.deleted(1);
        let result = retrier.run(Request::Delete, location, 0, |_| backend.delete(key)).await;
        result.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
    }

    /// Deletes many files with as few requests as the store allows. Gives those that may still be there, each with its
    /// reason; a file that is already gone is not among them.
    pub async fn delete_many(&self, locations: &[String]) -> Vec<(String, Error)> {
        let mut targets: Vec<Target> = Vec::new();
        let mut failed = Vec::new();
        for location in locations {
            self.kept.forget(location);
            match self.target(location) {
                Ok(target) => targets.push(target),
                Err(error) => failed.push((location.clone(), error)),
            }
        }
        // Requests name files of one store.
        targets.sort_by(|a, b| (a.store_id(), &a.key).cmp(&(b.store_id(), &b.key)));
        let requests: Vec<_> = targets
            .chunk_by(|a, b| a.store_id() == b.store_id())
            .flat_map(|of_store| of_store.chunks(of_store[0].backend.traits().capabilities.deletes_at_once))
            .map(|chunk| self.delete_chunk(chunk))
            .collect();
        let answers: Vec<_> = futures::stream::iter(requests).buffer_unordered(DELETES_AT_ONCE).collect().await;
        failed.extend(answers.into_iter().flatten());
        failed
    }

    /// One request for all; what it does not settle goes one by one.
    async fn delete_chunk(&self, chunk: &[Target]) -> Vec<(String, Error)> {
        let Target { backend, retrier, location, .. } = &chunk[0];
        let keys: Vec<String> = chunk.iter().map(|target| target.key.clone()).collect();
        let answers = retrier.run(Request::Delete, location, 0, |_| backend.delete_many(&keys)).await;
        let is_open: Vec<bool> = match answers {
            Ok(answers) => answers.iter().map(|answer| !matches!(answer, Ok(()) | Err(Failure::NotFound))).collect(),
            Err(_) => vec![true; chunk.len()],
        };
        self.counters.deleted(is_open.iter().filter(|open| !**open).count() as u64);
        let mut failed = Vec::new();
        for (target, _) in chunk.iter().zip(is_open).filter(|(_, open)| *open) {
            if let Err(error) = self.delete(&target.location).await {
                failed.push((target.location.clone(), error));
            }
        }
        failed
    }

    /// Every file below a location, in no order, page by page as the stream is read: a listing of any length takes the
    /// memory of a page. A location where nothing is gives an empty stream.
    ///
    /// # Errors
    /// The stream ends with [`Error::Io`] where the store can't be listed: what came before is then only a part.
    pub async fn list(&self, location: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        self.list_shown(location, Shown::Finished)
    }

    /// As [`Store::list`], and the files that somebody is writing, or was when the program died: on local disks and HDFS
    /// they have names for the time being. What is left of a file in parts does not show.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn list_with_unfinished(&self, location: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        self.list_shown(location, Shown::All)
    }

    fn list_shown(&self, location: &str, shown: Shown) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        let target = self.target(location)?;
        let root = Location::parse(location)?.root();
        let lister = target.backend.lister(&target.key, shown);
        let pages = futures::stream::try_unfold((lister, target), |(lister, target)| async move {
            let (page, lister) = next_page(lister, &target).await?;
            Ok::<_, Error>(page.map(|page| (page, (lister, target))))
        });
        let meta = move |entry: Entry| ObjectMeta {
            location: format!("{root}{}", entry.key),
            size_bytes: entry.size_bytes,
            modified_ms: entry.modified_ms,
        };
        let metas = pages.map_ok(move |page| futures::stream::iter(page).map(meta.clone()).map(Ok::<_, Error>));
        Ok(metas.try_flatten().boxed())
    }

    async fn tell_witness(&self, location: &str) -> Result<()> {
        match &self.witness {
            Some(witness) => witness.before_write(location).await,
            None => Ok(()),
        }
    }

    fn target(&self, location: &str) -> Result<Target> {
        let parsed = Location::parse(location)?;
        let mut backend = self.stores.get(&parsed)?;
        if let Some(faults) = &self.faults {
            backend = Arc::new(FaultyBackend::new(backend, Arc::clone(faults)));
        }
        let can_be_cut = backend.traits().can_be_cut;
        let policy = if can_be_cut { self.policy } else { self.policy.without_limits() };
        Ok(Target {
            backend,
            retrier: Retrier { policy, counters: Arc::clone(&self.counters) },
            key: parsed.path().to_owned(),
            location: location.to_owned(),
            stamp: uuid::Uuid::new_v4().simple().to_string(),
        })
    }
}

impl Target {
    async fn read_remote(&self, range: &Range<u64>) -> Result<Bytes> {
        let bytes = range.end.saturating_sub(range.start);
        if bytes == 0 {
            return Ok(Bytes::new());
        }
        let ranges = std::slice::from_ref(range);
        let read = |_| self.backend.read_ranges(&self.key, ranges);
        let mut parts = self.retrier.run(Request::Read, &self.location, bytes, read).await?;
        Ok(parts.pop().expect("one part for each range"))
    }

    /// Scheme and authority.
    fn store_id(&self) -> &str {
        self.location.strip_suffix(self.key.as_str()).unwrap_or(&self.location)
    }
}

/// The lister comes back even if an attempt was cut.
async fn next_page(lister: Box<dyn Lister>, target: &Target) -> Result<(Option<Vec<Entry>>, Box<dyn Lister>)> {
    let lister = tokio::sync::Mutex::new(lister);
    let next = |_| async { lister.lock().await.next_page().await };
    let page = target.retrier.run(Request::List, &target.location, 0, next).await?;
    Ok((page, lister.into_inner()))
}

/// Puts a file. After an attempt without an answer, a name that is taken may be taken by that attempt: the stamp tells,
/// and where the store keeps none, the content.
pub(crate) async fn put_settled(target: &Target, bytes: Bytes, mode: Mode) -> Result<()> {
    let Target { backend, retrier, key, location, stamp } = target;
    let size_bytes = bytes.len() as u64;
    let put = |tried: Tried| {
        let bytes = bytes.clone();
        async move {
            match backend.put(key, bytes.clone(), mode, stamp).await {
                Err(Failure::Exists) if tried.uncertain => {}
                ended => return ended,
            }
            let is_ours = match backend.stamp(key).await? {
                Some(found) => found == *stamp,
                None => collect(backend.read(key).await?).await? == bytes,
            };
            if is_ours { Ok(()) } else { Err(Failure::Exists) }
        }
    };
    retrier.run(Request::Write, location, size_bytes, put).await
}

#[cfg(test)]
mod tests;
