//! Stores behind the `object_store` crate: S3, GCS, Azure and memory.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};

use crate::backend::{
    Backend, Body, Capabilities, Entry, Failure, Lister, Mode, Outcome, Parts, Shown, Traits, Upload,
};
use crate::http::{Answer, with_answer};

/// The name under which an object keeps the stamp of whoever created it (S3: `x-amz-meta-…`).
const STAMP: Attribute = Attribute::Metadata(std::borrow::Cow::Borrowed("frazil_stamp"));

/// A store of the crate `object_store`, by all the sides that it shows.
#[derive(Clone)]
pub(crate) struct ObjectBackend {
    store: Arc<dyn ObjectStore>,
    /// `None` for memory: the library takes its parts in order only.
    parts: Option<Arc<dyn MultipartStore>>,
    pages: Option<Arc<dyn PaginatedListStore>>,
    traits: Traits,
    /// S3 answers 409 when two conditional writes meet, and 412 when the name is taken. The library takes both for the
    /// latter. Elsewhere 409 says that the name is taken.
    conflict_is_transient: bool,
}

/// The library's clients print the tokens that they hold.
impl fmt::Debug for ObjectBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectBackend").field("traits", &self.traits).finish_non_exhaustive()
    }
}

impl ObjectBackend {
    /// A store that answers over the network. `deletes_at_once` as its service documents it.
    pub(crate) fn remote<S>(store: S, deletes_at_once: usize, is_s3: bool) -> Self
    where
        S: ObjectStore + MultipartStore + PaginatedListStore,
    {
        let store = Arc::new(store);
        let capabilities = Capabilities {
            exclusive_create: true,
            exclusive_create_in_pieces: false,
            begins_early: false,
            deletes_at_once,
        };
        let traits = Traits { capabilities, is_remote: true, takes_parts: true, can_be_cut: true };
        Self {
            store: store.clone(),
            parts: Some(store.clone()),
            pages: Some(store),
            traits,
            conflict_is_transient: is_s3,
        }
    }

    /// Memory of this process.
    pub(crate) fn memory() -> Self {
        let store = Arc::new(InMemory::new());
        let capabilities = Capabilities {
            exclusive_create: true,
            exclusive_create_in_pieces: true,
            begins_early: false,
            deletes_at_once: 1_000,
        };
        let traits = Traits { capabilities, is_remote: false, takes_parts: true, can_be_cut: true };
        Self { store, parts: None, pages: None, traits, conflict_is_transient: false }
    }

    /// Runs an attempt and says how it ended.
    async fn attempt<T>(&self, attempt: impl Future<Output = object_store::Result<T>>) -> Outcome<T> {
        match with_answer(attempt).await {
            (Ok(value), _) => Ok(value),
            (Err(error), answer) => Err(failure(error, answer, self.conflict_is_transient)),
        }
    }

    async fn get(&self, key: &str, range: Option<GetRange>) -> Outcome<Body> {
        let path = path(key)?;
        let options = GetOptions { range, ..GetOptions::default() };
        let (got, answer) = with_answer(self.store.get_opts(&path, options)).await;
        let got = got.map_err(|error| match answer {
            // The head is there and not what was asked for, such as a range outside of the file.
            Some(Answer { status: 200..300, .. }) => Failure::refused(error),
            answer => failure(error, answer, self.conflict_is_transient),
        })?;
        let size_bytes = got.range.end - got.range.start;
        let chunks = got.into_stream().map_err(Failure::transient).boxed();
        Ok(Body { size_bytes, chunks })
    }
}

#[async_trait]
impl Backend for ObjectBackend {
    fn traits(&self) -> Traits {
        self.traits
    }

    async fn read(&self, key: &str) -> Outcome<Body> {
        self.get(key, None).await
    }

    async fn read_ranges(&self, key: &str, ranges: &[Range<u64>]) -> Outcome<Vec<Bytes>> {
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            if range.start == range.end {
                parts.push(Bytes::new());
                continue;
            }
            let body = self.get(key, Some(GetRange::Bounded(range.clone()))).await?;
            // Object stores cut a range at the end of the object.
            if body.size_bytes != range.end - range.start {
                let message = format!("range {}..{} is past the end", range.start, range.end);
                return Err(Failure::refused(message));
            }
            parts.push(collect(body).await?);
        }
        Ok(parts)
    }

    async fn head(&self, key: &str) -> Outcome<Entry> {
        let path = path(key)?;
        let meta = self.attempt(self.store.head(&path)).await?;
        Ok(entry(&meta))
    }

    async fn put(&self, key: &str, bytes: Bytes, mode: Mode, stamp: &str) -> Outcome<()> {
        let path = path(key)?;
        let mut options = PutOptions::default();
        if mode == Mode::Create {
            options.mode = PutMode::Create;
            options.attributes = Attributes::from_iter([(STAMP, stamp.to_owned())]);
        }
        self.attempt(self.store.put_opts(&path, bytes.into(), options)).await.map(drop).map_err(not_found_is_refused)
    }

    async fn stamp(&self, key: &str) -> Outcome<Option<String>> {
        let path = path(key)?;
        let options = GetOptions { head: true, ..GetOptions::default() };
        let got = self.attempt(self.store.get_opts(&path, options)).await?;
        Ok(Some(got.attributes.get(&STAMP).map(|stamp| stamp.to_string()).unwrap_or_default()))
    }

    async fn delete(&self, key: &str) -> Outcome<()> {
        let path = path(key)?;
        self.attempt(self.store.delete(&path)).await
    }

    async fn delete_many(&self, keys: &[String]) -> Outcome<Vec<Outcome<()>>> {
        let paths = keys.iter().map(|key| path(key).map(Ok)).collect::<Outcome<Vec<_>>>()?;
        let answers = self.store.delete_stream(futures::stream::iter(paths).boxed()).collect::<Vec<_>>();
        let (answers, answer) = with_answer(answers).await;
        let mut results: Vec<_> = answers.into_iter().map(|result| result.map(drop)).collect();
        if results.len() != keys.len() {
            // One answer stands for a whole request that failed.
            let error = results.drain(..).find_map(Result::err);
            return Err(match error {
                Some(error) => failure(error, answer, false),
                None => Failure::transient("the store did not answer for every file"),
            });
        }
        Ok(results.into_iter().map(|result| result.map_err(|error| failure(error, None, false))).collect())
    }

    fn lister(&self, prefix: &str, _shown: Shown) -> Box<dyn Lister> {
        Box::new(ObjectLister { backend: self.clone(), prefix: prefix.to_owned(), token: None, is_done: false })
    }

    async fn begin(&self, key: &str) -> Outcome<Upload> {
        let path = path(key)?;
        let Some(parts) = &self.parts else {
            let parts = Mutex::new(Some(BTreeMap::new()));
            return Ok(Upload::Parts(Arc::new(MemoryParts { backend: self.clone(), path, parts })));
        };
        let id = self.attempt(parts.create_multipart(&path)).await.map_err(not_found_is_refused)?;
        Ok(Upload::Parts(Arc::new(ObjectParts { backend: self.clone(), parts: Arc::clone(parts), path, id })))
    }
}

/// Pages where the store has them; memory gives everything at once.
struct ObjectLister {
    backend: ObjectBackend,
    /// Of whole segments.
    prefix: String,
    token: Option<String>,
    is_done: bool,
}

#[async_trait]
impl Lister for ObjectLister {
    async fn next_page(&mut self) -> Outcome<Option<Vec<Entry>>> {
        if self.is_done {
            return Ok(None);
        }
        let Some(pages) = &self.backend.pages else {
            let prefix = path(&self.prefix)?;
            let metas = self.backend.attempt(self.backend.store.list(Some(&prefix)).try_collect::<Vec<_>>()).await?;
            self.is_done = true;
            return Ok(Some(metas.iter().map(entry).collect()));
        };
        // The library leaves the delimiter to the caller: `t1` is no folder of `t10/a`.
        let prefix = if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) };
        let options = PaginatedListOptions { page_token: self.token.clone(), ..PaginatedListOptions::default() };
        let page = self.backend.attempt(pages.list_paginated(Some(&prefix), options)).await?;
        self.token = page.page_token;
        self.is_done = self.token.is_none();
        Ok(Some(page.result.objects.iter().map(entry).collect()))
    }
}

struct ObjectParts {
    backend: ObjectBackend,
    parts: Arc<dyn MultipartStore>,
    path: Path,
    id: String,
}

impl fmt::Debug for ObjectParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectParts").field("path", &self.path).field("id", &self.id).finish_non_exhaustive()
    }
}

#[async_trait]
impl Parts for ObjectParts {
    async fn put_part(&self, index: usize, chunks: Vec<Bytes>) -> Outcome<String> {
        let payload = chunks.into_iter().collect();
        let part = self.backend.attempt(self.parts.put_part(&self.path, &self.id, index, payload)).await;
        Ok(part.map_err(not_found_is_refused)?.content_id)
    }

    async fn complete(&self, parts: &[String]) -> Outcome<()> {
        let parts = parts.iter().map(|part| PartId { content_id: part.clone() }).collect();
        self.backend.attempt(self.parts.complete_multipart(&self.path, &self.id, parts)).await.map(drop)
    }

    async fn abort(&self) -> Outcome<()> {
        self.backend.attempt(self.parts.abort_multipart(&self.path, &self.id)).await
    }
}

/// Parts in memory. The library's own take parts in order only.
#[derive(Debug)]
struct MemoryParts {
    backend: ObjectBackend,
    path: Path,
    /// Taken when the file is whole.
    parts: Mutex<Option<BTreeMap<usize, Vec<Bytes>>>>,
}

impl MemoryParts {
    fn parts(&self) -> MutexGuard<'_, Option<BTreeMap<usize, Vec<Bytes>>>> {
        self.parts.lock().expect("no code panics while it holds this lock")
    }
}

#[async_trait]
impl Parts for MemoryParts {
    async fn put_part(&self, index: usize, chunks: Vec<Bytes>) -> Outcome<String> {
        self.parts().as_mut().ok_or(Failure::NotFound)?.insert(index, chunks);
        Ok(index.to_string())
    }

    async fn complete(&self, _parts: &[String]) -> Outcome<()> {
        let parts = self.parts().take().ok_or(Failure::NotFound)?;
        let payload: PutPayload = parts.into_values().flatten().collect();
        let mode = PutMode::Create;
        self.backend.attempt(self.backend.store.put_opts(&self.path, payload, mode.into())).await.map(drop)
    }

    async fn abort(&self) -> Outcome<()> {
        self.parts().take();
        Ok(())
    }
}

/// The chunks as one piece; without a copy if it is one.
pub(crate) async fn collect(mut body: Body) -> Outcome<Bytes> {
    let first = body.chunks.next().await.transpose()?.unwrap_or_default();
    let bytes = match body.chunks.next().await.transpose()? {
        None => first,
        Some(second) => {
            // The size is what the store said: it is not believed before the bytes are there.
            let mut whole = Vec::with_capacity(usize::try_from(body.size_bytes).unwrap_or(0).min(64 << 20));
            whole.extend_from_slice(&first);
            whole.extend_from_slice(&second);
            while let Some(chunk) = body.chunks.next().await.transpose()? {
                whole.extend_from_slice(&chunk);
            }
            whole.into()
        }
    };
    if bytes.len() as u64 == body.size_bytes {
        return Ok(bytes);
    }
    Err(Failure::transient(format!("the answer broke off after {} of {} bytes", bytes.len(), body.size_bytes)))
}

fn path(key: &str) -> Outcome<Path> {
    Path::parse(key).map_err(Failure::refused)
}

fn entry(meta: &object_store::ObjectMeta) -> Entry {
    Entry { key: meta.location.to_string(), size_bytes: meta.size, modified_ms: meta.last_modified.timestamp_millis() }
}

/// For writes: what is missing is not the file.
fn not_found_is_refused(failure: Failure) -> Failure {
    match failure {
        Failure::NotFound => Failure::refused("its bucket or container, or the upload, does not exist"),
        other => other,
    }
}

fn failure(error: object_store::Error, answer: Option<Answer>, conflict_is_transient: bool) -> Failure {
    use object_store::Error as E;
    let status = answer.map(|answer| answer.status);
    let wait_ms = answer.and_then(|answer| answer.retry_after_ms);
    match error {
        E::NotFound { source, .. } if source.to_string().contains("NoSuchBucket") => {
            Failure::refused("the bucket does not exist")
        }
        E::NotFound { .. } => Failure::NotFound,
        E::AlreadyExists { source, .. } if conflict_is_transient && status == Some(409) => {
            Failure::Transient { reason: source, wait_ms }
        }
        E::AlreadyExists { .. } | E::Precondition { .. } => Failure::Exists,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => Failure::Denied(error.into()),
        E::Generic { .. } | E::JoinError { .. } if may_pass(&error, status) => {
            Failure::Transient { reason: error.into(), wait_ms }
        }
        error => Failure::Refused(error.into()),
    }
}

/// Whether the same request may end otherwise. An answer of 200 with an error in it counts as one of 500.
fn may_pass(error: &object_store::Error, status: Option<u16>) -> bool {
    match status {
        Some(408 | 425 | 429 | 500..) => true,
        Some(200..300) => true,
        // S3: the server waited for the rest of the request.
        Some(400) => error.to_string().contains("RequestTimeout"),
        Some(_) => false,
        None => http_error(error).is_some_and(|kind| kind != HttpErrorKind::Decode),
    }
}

/// What went wrong below HTTP, if anything did.
fn http_error(error: &object_store::Error) -> Option<HttpErrorKind> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        source = error.source();
    }
    None
}

#[cfg(test)]
mod tests;
