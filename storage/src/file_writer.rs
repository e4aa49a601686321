//! A file that is being written in pieces.

use std::sync::Arc;

use bytes::Bytes;

use crate::kept::{Keeping, KeptFiles};
use crate::upload::{AppendWriter, PartWriter};
use crate::{Counters, Result};

/// A file that is being written in pieces.
#[derive(Debug)]
pub struct FileWriter {
    inner: WriterInner,
    counters: Arc<Counters>,
    size_bytes: u64,
    place: Place,
    keeping: Option<Keeping>,
}

/// Where a file goes.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) location: String,
    pub(crate) is_remote: bool,
    pub(crate) kept: Arc<KeptFiles>,
}

#[derive(Debug)]
pub(crate) enum WriterInner {
    Append(AppendWriter),
    Parts(PartWriter),
}

impl FileWriter {
    pub(crate) fn new(inner: WriterInner, place: Place, counters: Arc<Counters>) -> Self {
        Self { inner, counters, size_bytes: 0, place, keeping: None }
    }

    /// The bytes that are written from now on, which must be all of the file's, stay at hand: once the file is finished, ranges
    /// of it are not asked of its store ([`crate::KeptLimits`]).
    #[must_use]
    pub fn keep(self) -> Self {
        let keeping = self.place.kept.begin(self.place.is_remote);
        Self { keeping: Some(keeping), ..self }
    }

    /// Appends bytes. Waits where parts of 8 MiB are under way already, 4 of this file or 16 of all.
    ///
    /// # Errors
    /// [`crate::Error::Io`]: drop the writer, nothing of the file stays.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.size_bytes += bytes.len() as u64;
        if let Some(keeping) = &mut self.keeping {
            keeping.push(bytes.clone()).await;
        }
        match &mut self.inner {
            WriterInner::Append(file) => file.write(bytes).await,
            WriterInner::Parts(parts) => parts.write(bytes).await,
        }
    }

    /// Appends several pieces, without putting them together first where files are appended to.
    ///
    /// # Errors
    /// As [`FileWriter::write`].
    pub async fn write_pieces(&mut self, pieces: Vec<Bytes>) -> Result<()> {
        self.size_bytes += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        if let Some(keeping) = &mut self.keeping {
            for piece in &pieces {
                keeping.push(piece.clone()).await;
            }
        }
        match &mut self.inner {
            WriterInner::Append(file) => file.write_pieces(pieces).await?,
            WriterInner::Parts(parts) => {
                for piece in pieces {
                    parts.write(piece).await?;
                }
            }
        }
        Ok(())
    }

    /// Makes what was written so far durable ahead of the end, so that [`FileWriter::finish`] has less to do. It does
    /// nothing where files go up in parts.
    ///
    /// # Errors
    /// As [`FileWriter::write`].
    pub async fn settle(&mut self) -> Result<()> {
        match &mut self.inner {
            WriterInner::Append(file) => file.settle().await,
            WriterInner::Parts(_) => Ok(()),
        }
    }

    /// Bytes written so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Bytes that wait in memory for their part to be full, at most 8 MiB; none where files are appended to.
    pub fn buffered_bytes(&self) -> usize {
        match &self.inner {
            WriterInner::Append(_) => 0,
            WriterInner::Parts(parts) => parts.buffered_bytes(),
        }
    }

    /// Makes the file durable and visible under its name, which must be new. Returns its size in bytes.
    ///
    /// # Errors
    /// [`crate::Error::AlreadyExists`] if the name was taken meanwhile; [`crate::Error::Io`] if the store failed.
    pub async fn finish(self) -> Result<u64> {
        match self.inner {
            WriterInner::Append(file) => file.finish().await?,
            WriterInner::Parts(parts) => parts.finish().await?,
        }
        if let Some(keeping) = self.keeping {
            keeping.finish(&self.place.location).await;
        }
        self.counters.wrote(self.size_bytes);
        Ok(self.size_bytes)
    }
}
