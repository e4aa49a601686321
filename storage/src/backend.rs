//! What every store can do, in its own words.
//!
//! A backend makes one attempt and says how it ended. Trying again, cutting a slow attempt, counting, and settling what
//! an attempt without an answer did, are the business of [`crate::Store`], alike for all of them.

use std::fmt::Debug;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// How an attempt ends.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// The reason behind a failure.
pub(crate) type Reason = Box<dyn std::error::Error + Send + Sync>;

/// Why an attempt did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing is there.
    NotFound,
    /// The name that had to be new is taken.
    Exists,
    /// The store knows who asks and says no, or doesn't know.
    Denied(Reason),
    /// The same may work later. What was to be changed may or may not be changed.
    Transient {
        /// What happened.
        reason: Reason,
        /// How long the store asks to be left alone.
        wait_ms: Option<u64>,
    },
    /// It would end the same way again.
    Refused(Reason),
}

impl Failure {
    pub(crate) fn transient(reason: impl Into<Reason>) -> Self {
        Self::Transient { reason: reason.into(), wait_ms: None }
    }

    pub(crate) fn refused(reason: impl Into<Reason>) -> Self {
        Self::Refused(reason.into())
    }
}

/// What happens if the name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Create,
    Replace,
}

/// What a store can promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Of several processes that create the same name at the same time exactly one succeeds
    /// ([`Store::put_new`](crate::Store::put_new)). Where it is `false` the name is looked up first, and two creators
    /// may both believe that they won.
    pub exclusive_create: bool,
    /// The same for files written in pieces that are larger than one part
    /// ([`FileWriter::finish`](crate::FileWriter::finish)).
    pub exclusive_create_in_pieces: bool,
    /// A file in pieces may be begun long before it is finished: until then it costs the bytes that it has on a disk, and
    /// nobody counts, times out or forgets it ([`FileWriter::settle`](crate::FileWriter::settle)).
    pub begins_early: bool,
    /// Names that one delete request takes.
    pub deletes_at_once: usize,
}

/// What a backend is like to work with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits {
    pub(crate) capabilities: Capabilities,
    /// Whether ranges are separate requests that are worth sending at the same time.
    pub(crate) is_remote: bool,
    /// Whether an attempt that takes too long can be cut: work on a local disk goes on even if nobody waits for it.
    pub(crate) can_be_cut: bool,
    /// Whether a file in pieces goes up as parts that are sent at the same time.
    pub(crate) takes_parts: bool,
}

/// A stored file as a backend lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Path below the authority, without a leading slash.
    pub(crate) key: String,
    pub(crate) size_bytes: u64,
    pub(crate) modified_ms: i64,
}

/// A file's content on its way.
pub(crate) struct Body {
    pub(crate) size_bytes: u64,
    pub(crate) chunks: BoxStream<'static, Outcome<Bytes>>,
}

/// One store. Keys are paths below the authority without a leading slash.
#[async_trait]
pub(crate) trait Backend: Debug + Send + Sync {
    fn traits(&self) -> Traits;

    /// Begins to read a whole file.
    async fn read(&self, key: &str) -> Outcome<Body>;

    /// Reads ranges; each is whole or the attempt fails.
    async fn read_ranges(&self, key: &str, ranges: &[Range<u64>]) -> Outcome<Vec<Bytes>>;

    async fn head(&self, key: &str) -> Outcome<Entry>;

    /// Writes a file whole. `stamp` is kept with the file where the store can keep such a thing. A store whose files take
    /// parts has a request of its own for it.
    async fn put(&self, key: &str, bytes: Bytes, mode: Mode, _stamp: &str) -> Outcome<()> {
        match self.begin(key).await? {
            Upload::Append(mut file) => {
                file.write(bytes).await?;
                file.finish(mode).await
            }
            Upload::Parts(_) => Err(Failure::refused("it writes no whole files")),
        }
    }

    /// The stamp that a file was created with, empty if it has none; `None` where the store keeps no stamps.
    async fn stamp(&self, _key: &str) -> Outcome<Option<String>> {
        Ok(None)
    }

    async fn delete(&self, key: &str) -> Outcome<()>;

    /// Deletes at most [`Capabilities::deletes_at_once`] files; one answer for each.
    async fn delete_many(&self, keys: &[String]) -> Outcome<Vec<Outcome<()>>> {
        let mut answers = Vec::with_capacity(keys.len());
        for key in keys {
            answers.push(self.delete(key).await);
        }
        Ok(answers)
    }

    /// Lists the files below a folder.
    fn lister(&self, prefix: &str, shown: Shown) -> Box<dyn Lister>;

    /// Begins a file in pieces.
    async fn begin(&self, key: &str) -> Outcome<Upload>;
}

/// Which files a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Finished,
    /// Also those with a temporary name: they are being written, or their writer died.
    All,
}

/// Prefix of the names of files that are not finished.
pub(crate) const TEMPORARY_PREFIX: &str = ".frazil-tmp-";

/// A listing under way.
#[async_trait]
pub(crate) trait Lister: Send {
    /// The next entries, `None` at the end. After [`Failure::Transient`] the same page may be asked for again.
    async fn next_page(&mut self) -> Outcome<Option<Vec<Entry>>>;
}

/// A file that is being written in pieces.
#[derive(Debug)]
pub(crate) enum Upload {
    /// Parts in any order, put together at the end.
    Parts(std::sync::Arc<dyn Parts>),
    /// Appended to a hidden file that is moved in place at the end.
    Append(Box<dyn AppendFile>),
}

/// An upload in parts. Until it is completed nothing is visible.
#[async_trait]
pub(crate) trait Parts: Debug + Send + Sync {
    /// Sends a part, counted from 0. The same part may be sent again. Gives what `complete` wants to know of it.
    async fn put_part(&self, index: usize, chunks: Vec<Bytes>) -> Outcome<String>;

    /// Makes the parts a file. [`Failure::NotFound`]: no such upload, maybe since an earlier attempt completed it.
    async fn complete(&self, parts: &[String]) -> Outcome<()>;

    /// Lets go of all parts.
    async fn abort(&self) -> Outcome<()>;
}

/// A hidden file that is appended to. Dropped unfinished, it leaves nothing behind.
#[async_trait]
pub(crate) trait AppendFile: Debug + Send + Sync {
    async fn write(&mut self, bytes: Bytes) -> Outcome<()>;

    /// Writes several pieces, one after the other.
    async fn write_pieces(&mut self, pieces: Vec<Bytes>) -> Outcome<()> {
        for piece in pieces {
            self.write(piece).await?;
        }
        Ok(())
    }

    /// Makes what was written durable ahead of the end, where that saves time at the end.
    async fn settle(&mut self) -> Outcome<()> {
        Ok(())
    }

    /// Makes the file durable and visible under its name.
    async fn finish(&mut self, mode: Mode) -> Outcome<()>;
}
