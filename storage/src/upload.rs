//! Files written in pieces.
//!
//! Where a store takes parts, they go up side by side while the writer goes on encoding. What is held in memory is
//! bounded twice: a file has at most one part that fills and a few that are under way, and all files of a [`Store`]
//! together have at most [`PARTS_MAX`] under way. Whatever is not finished is aborted, also when it is dropped.
//!
//! [`Store`]: crate::Store

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::backend::{Backend, Failure, Mode, Parts, Upload};
use crate::counters::Request;
use crate::retry::{Retrier, final_error};
use crate::store::put_settled;
use crate::{Error, Result};

/// A part's size. S3 takes 10,000 parts of at least 5 MiB; some stores want all but the last to be of one size.
pub(crate) const PART_BYTES: usize = 8 << 20;
/// S3's limit, and so the largest file: 78 GiB.
const PARTS_OF_FILE_MAX: usize = 10_000;
/// Parts of one file under way at the same time.
const PARTS_AT_ONCE: usize = 4;
/// Parts of all files of a store under way at the same time: 128 MiB.
pub(crate) const PARTS_MAX: usize = 16;

/// What a file in pieces needs of its store.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) retrier: Retrier,
    pub(crate) key: String,
    pub(crate) location: String,
    pub(crate) stamp: String,
}

/// Small files go in one request under a name that must be new; larger ones in parts.
#[derive(Debug)]
pub(crate) struct PartWriter {
    target: Target,
    permits: Arc<Semaphore>,
    /// The part that fills.
    chunks: Vec<Bytes>,
    chunks_bytes: usize,
    size_bytes: u64,
    upload: Option<Running>,
}

/// An upload that has begun.
#[derive(Debug)]
struct Running {
    parts: Arc<dyn Parts>,
    /// Each gives the part's index and what the store calls it.
    sending: JoinSet<Result<(usize, String)>>,
    sent: Vec<Option<String>>,
}

impl PartWriter {
    pub(crate) fn new(target: Target, permits: Arc<Semaphore>) -> Self {
        Self { target, permits, chunks: Vec::new(), chunks_bytes: 0, size_bytes: 0, upload: None }
    }

    /// Bytes that fill a part. Those under way are bounded for all files together.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.chunks_bytes
    }

    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        self.size_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            // A full part waits for more: what ends here goes in one request.
            if self.chunks_bytes == PART_BYTES {
                self.send_part().await?;
            }
            let chunk = bytes.split_to(bytes.len().min(PART_BYTES - self.chunks_bytes));
            self.chunks_bytes += chunk.len();
            self.chunks.push(chunk);
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<()> {
        if self.upload.is_none() {
            self.upload = Some(self.target.begin_parts().await?);
        }
        let running = self.upload.as_mut().expect("it was begun above");
        while running.sending.len() >= PARTS_AT_ONCE {
            running.join_one().await?;
        }
        let index = running.sent.len();
        if index == PARTS_OF_FILE_MAX {
            let reason = format!("a file has at most {PARTS_OF_FILE_MAX} parts of {} MiB", PART_BYTES >> 20);
            return Err(Error::io("write", &self.target.location, reason));
        }
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        let chunks = std::mem::take(&mut self.chunks);
        self.chunks_bytes = 0;
        running.sent.push(None);
        running.sending.spawn(self.target.clone().send(Arc::clone(&running.parts), index, chunks, permit));
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<()> {
        if self.upload.is_none() {
            let bytes = joined(std::mem::take(&mut self.chunks), self.chunks_bytes);
            return put_settled(&self.target, bytes, Mode::Create).await;
        }
        self.send_part().await?;
        let running = self.upload.as_mut().expect("checked above");
        while !running.sending.is_empty() {
            running.join_one().await?;
        }
        let sent = running.sent.iter().map(|part| part.clone().expect("every part was joined")).collect::<Vec<_>>();
        self.target.complete(&running.parts, &sent, self.size_bytes).await?;
        self.upload = None;
        Ok(())
    }
}

impl Drop for PartWriter {
    /// Whatever is not finished is aborted, in the background. Without a runtime the store's own clean-up remains.
    fn drop(&mut self) {
        let Some(mut running) = self.upload.take() else { return };
        running.sending.abort_all();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let target = self.target.clone();
        runtime.spawn(async move {
            while running.sending.join_next().await.is_some() {}
            let abort = |_| running.parts.abort();
            let aborted = target.retrier.run(Request::Delete, &target.location, 0, abort).await;
            if let Err(error) = aborted
                && !error.is_not_found()
            {
                tracing::warn!(location = target.location, %error, "parts of an unfinished file stay behind");
            }
        });
    }
}

impl Running {
    async fn join_one(&mut self) -> Result<()> {
        if let Some(joined) = self.sending.join_next().await {
            let (index, id) = joined.expect("parts are neither cancelled nor do they panic while somebody waits")?;
            self.sent[index] = Some(id);
        }
        Ok(())
    }
}

impl Target {
    async fn begin_parts(&self) -> Result<Running> {
        let begin = |_| self.backend.begin(&self.key);
        match self.retrier.run(Request::Write, &self.location, 0, begin).await? {
            Upload::Parts(parts) => Ok(Running { parts, sending: JoinSet::new(), sent: Vec::new() }),
            Upload::Append(_) => unreachable!("a backend that takes parts begins an upload of parts"),
        }
    }

    async fn send(
        self,
        parts: Arc<dyn Parts>,
        index: usize,
        chunks: Vec<Bytes>,
        _permit: OwnedSemaphorePermit,
    ) -> Result<(usize, String)> {
        let bytes = chunks.iter().map(Bytes::len).sum::<usize>() as u64;
        let put = |_| parts.put_part(index, chunks.clone());
        let id = self.retrier.run(Request::Part, &self.location, bytes, put).await?;
        Ok((index, id))
    }

    /// The name must be new: it is looked up, since stores have no condition here. An upload that is gone although
    /// nobody else knew of it was completed by an attempt whose answer was lost.
    async fn complete(&self, parts: &Arc<dyn Parts>, sent: &[String], size_bytes: u64) -> Result<()> {
        let head = |_| self.backend.head(&self.key);
        match self.retrier.run(Request::Head, &self.location, 0, head).await {
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(Error::AlreadyExists { location: self.location.clone() }),
        }
        let complete = |tried: crate::retry::Tried| async move {
            match parts.complete(sent).await {
                Err(Failure::NotFound) if tried.uncertain => match self.backend.head(&self.key).await {
                    Ok(entry) if entry.size_bytes == size_bytes => Ok(()),
                    Ok(_) | Err(Failure::NotFound) => Err(Failure::refused("its parts are gone")),
                    Err(failure) => Err(failure),
                },
                Err(Failure::NotFound) => Err(Failure::refused("its parts are gone")),
                ended => ended,
            }
        };
        self.retrier.run(Request::Write, &self.location, size_bytes, complete).await
    }
}

/// Several chunks as one piece; without a copy if it is one.
fn joined(mut chunks: Vec<Bytes>, size_bytes: usize) -> Bytes {
    if chunks.len() == 1 {
        return chunks.pop().expect("it has one");
    }
    let mut whole = Vec::with_capacity(size_bytes);
    chunks.iter().for_each(|chunk| whole.extend_from_slice(chunk));
    whole.into()
}

/// A hidden file that is appended to. Not tried again: what an attempt without an answer appended is not known.
#[derive(Debug)]
pub(crate) struct AppendWriter {
    pub(crate) file: Box<dyn crate::backend::AppendFile>,
    pub(crate) target: Target,
}

impl AppendWriter {
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.file.write(bytes).await.map_err(|failure| final_error(Request::Write, &self.target.location, failure))
    }

    pub(crate) async fn write_pieces(&mut self, pieces: Vec<Bytes>) -> Result<()> {
        let written = self.file.write_pieces(pieces).await;
        written.map_err(|failure| final_error(Request::Write, &self.target.location, failure))
    }

    pub(crate) async fn settle(&mut self) -> Result<()> {
        self.file.settle().await.map_err(|failure| final_error(Request::Write, &self.target.location, failure))
    }

    pub(crate) async fn finish(mut self) -> Result<()> {
        self.target.retrier.counters.count(Request::Write);
        let finished = self.file.finish(Mode::Create).await;
        finished.map_err(|failure| final_error(Request::Write, &self.target.location, failure))
    }
}
