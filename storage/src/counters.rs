//! Requests and bytes by kind.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Running totals of a store since it was made. Shared by all clones of the store.
        #[derive(Debug, Default)]
        pub struct Counters { $($name: AtomicU64,)* }

        /// The totals at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub struct CountersSnapshot { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            /// The totals now.
            pub fn snapshot(&self) -> CountersSnapshot {
                CountersSnapshot { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Read requests (one per range), the ones that failed included.
    reads,
    /// Bytes that reads returned.
    bytes_read,
    /// Bytes that were at hand instead ([`crate::FileWriter::keep`]).
    bytes_kept,
    /// Questions for a file's size and age.
    heads,
    /// Files written whole, and files in pieces brought to their end.
    writes,
    /// Bytes in those files.
    bytes_written,
    /// Parts of files sent (multipart upload).
    parts,
    /// Pages of listings.
    lists,
    /// Delete requests. One may name many files.
    deletes,
    /// Files that delete requests named.
    files_deleted,
    /// Attempts made again because the one before failed in a way that may pass.
    retries,
    /// Attempts cut because they took too long.
    timeouts,
}

impl Counters {
    pub(crate) fn count(&self, request: Request) {
        let counter = match request {
            Request::Read => &self.reads,
            Request::Head => &self.heads,
            Request::Write => &self.writes,
            Request::Part => &self.parts,
            Request::List => &self.lists,
            Request::Delete => &self.deletes,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn timed_out(&self) {
        self.timeouts.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn read_kept(&self, bytes: u64) {
        self.bytes_kept.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn wrote(&self, bytes: u64) {
        self.bytes_written.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn deleted(&self, files: u64) {
        self.files_deleted.fetch_add(files, Relaxed);
    }
}

/// The kinds of request that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Request {
    Read,
    Head,
    Write,
    Part,
    List,
    Delete,
}

impl Request {
    /// As an error says it.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Read | Self::Head => "read",
            Self::Write | Self::Part => "write",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}
