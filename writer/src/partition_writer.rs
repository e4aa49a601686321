//! The open file of one partition.

use std::sync::Arc;

use crate::Result;
use crate::closed_files::ClosedFiles;
use crate::open_file::OpenFile;
use crate::partition::{Partition, PartitionId};
use crate::rows::Rows;
use crate::shared::Shared;

/// Puts a partition's rows into one file after another.
pub(crate) struct PartitionWriter {
    pub id: PartitionId,
    partition: Arc<Partition>,
    file: Option<OpenFile>,
    /// Greater for one that was written to later.
    pub last_turn: u64,
}

impl PartitionWriter {
    pub fn new(id: PartitionId, partition: Arc<Partition>) -> Self {
        Self { id, partition, file: None, last_turn: 0 }
    }

    /// What its open row group holds.
    pub fn memory_bytes(&self) -> usize {
        self.file.as_ref().map_or(0, OpenFile::memory_bytes)
    }

    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Encodes rows; adds to `closed` the files that are full by it. The writer is lost when it fails or is cancelled.
    pub async fn encode(mut self, mut rows: Rows, shared: &Shared, closed: &mut ClosedFiles) -> Result<Self> {
        while !rows.is_empty() {
            let file = match self.file.take() {
                Some(file) => file,
                None => OpenFile::create(shared, shared.new_location(&self.partition.folder)).await?,
            };
            let file = file.encode(&mut rows, shared).await?;
            if file.is_full(shared) {
                closed.push(file.close(&self.partition, shared).await?);
            } else {
                self.file = Some(file);
            }
        }
        Ok(self)
    }

    /// Hands the open row group to the store.
    pub async fn end_row_group(mut self, shared: &Shared) -> Result<Self> {
        if let Some(file) = self.file.take() {
            self.file = Some(file.end_row_group(shared).await?);
        }
        Ok(self)
    }

    /// Ends the open file.
    pub async fn close(self, shared: &Shared, closed: &mut ClosedFiles) -> Result<()> {
        if let Some(file) = self.file {
            closed.push(file.close(&self.partition, shared).await?);
        }
        Ok(())
    }
}
