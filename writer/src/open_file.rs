//! A Parquet file in the making: the half that waits. Bytes flow from the encoder's thread into the store while it
//! encodes.

use std::panic;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use frazil_storage::{Env, FileWriter};
use frazil_table::TableFile;
use frazil_table::spec::Schema;
use parquet::errors::ParquetError;
use tokio::sync::{Semaphore, mpsc};

use crate::encoder::{Encoded, Encoder, PIECES_IN_FLIGHT};
use crate::metrics::{FileIdentity, NanCounts, data_file_from_parquet};
use crate::partition::Partition;
use crate::{Error, FileOptions, Result};

/// A file with a place in the store. Dropped, it leaves nothing there.
pub(crate) struct OpenFile {
    location: String,
    encoder: Encoder,
    pieces: mpsc::Receiver<Bytes>,
    file: FileWriter,
    /// A thread may be had for each permit.
    threads: Arc<Semaphore>,
    rows: u64,
}

impl OpenFile {
    pub async fn create(env: &Env, options: &FileOptions, threads: &Arc<Semaphore>, location: String) -> Result<Self> {
        let file = env.store.writer(&location).await?;
        let (sender, pieces) = mpsc::channel(PIECES_IN_FLIGHT);
        let encoder =
            Encoder::new(options, sender).map_err(|source| Error::Encode { location: location.clone(), source })?;
        Ok(Self { location, encoder, pieces, file, threads: threads.clone(), rows: 0 })
    }

    pub async fn encode(self, rows: RecordBatch) -> Result<Self> {
        let count = rows.num_rows() as u64;
        let mut file = self.run(move |encoder| encoder.encode(&rows)).await?;
        file.rows += count;
        Ok(file)
    }

    pub async fn end_row_group(self) -> Result<Self> {
        self.run(Encoder::end_row_group).await
    }

    /// Writes the footer and makes the file durable.
    pub async fn close(
        self,
        schema: &Schema,
        options: &FileOptions,
        spec_id: i32,
        partition: &Partition,
    ) -> Result<TableFile> {
        let Self { location, encoder, mut pieces, mut file, threads, rows } = self;
        let permit = threads.acquire().await.expect("the semaphore is never closed");
        let encoded: Encoded = pump(&location, &mut pieces, &mut file, move || encoder.finish()).await?;
        drop(permit);
        let size_bytes = file.finish().await?;
        let identity = FileIdentity {
            location: &location,
            size_bytes,
            partition_spec_id: spec_id,
            partition: partition.tuple.clone(),
            sort_order_id: None,
        };
        let nans = NanCounts::RowGroups(&encoded.nans);
        let file = data_file_from_parquet(&encoded.metadata, identity, schema, &options.metrics, nans);
        assert_eq!(file.record_count(), rows, "{location}: its footer counts other rows than were written");
        Ok(TableFile { file, partition_spec_id: spec_id })
    }

    pub fn memory_bytes(&self) -> usize {
        self.encoder.memory_bytes()
    }

    pub fn is_full(&self, target_size_bytes: u64) -> bool {
        self.encoder.size_bytes() >= target_size_bytes || self.encoder.is_full()
    }

    async fn run(
        self,
        work: impl FnOnce(&mut Encoder) -> std::result::Result<(), ParquetError> + Send + 'static,
    ) -> Result<Self> {
        let Self { location, mut encoder, mut pieces, mut file, threads, rows } = self;
        let permit = threads.acquire().await.expect("the semaphore is never closed");
        let encoder = pump(&location, &mut pieces, &mut file, move || work(&mut encoder).map(|()| encoder)).await?;
        drop(permit);
        Ok(Self { location, encoder, pieces, file, threads, rows })
    }
}

/// Runs `work` on a thread that may block, and writes to the store what it sends meanwhile. A panic of `work` comes out
/// as an error. When the store fails, `work` finds its channel closed and ends by itself.
async fn pump<T: Send + 'static>(
    location: &str,
    pieces: &mut mpsc::Receiver<Bytes>,
    file: &mut FileWriter,
    work: impl FnOnce() -> std::result::Result<T, ParquetError> + Send + 'static,
) -> Result<T> {
    let mut thread = tokio::task::spawn_blocking(move || panic::catch_unwind(panic::AssertUnwindSafe(work)));
    let ended = loop {
        tokio::select! {
            biased;
            Some(piece) = pieces.recv() => {
                if let Err(error) = file.write(piece).await {
                    pieces.close();
                    return Err(error.into());
                }
            }
            ended = &mut thread => break ended,
        }
    };
    while let Ok(piece) = pieces.try_recv() {
        file.write(piece).await?;
    }
    let lost = |reason: String| Error::EncoderLost { location: location.to_owned(), reason };
    match ended {
        Ok(Ok(result)) => result.map_err(|source| Error::Encode { location: location.to_owned(), source }),
        Ok(Err(panic)) => Err(lost(panic_message(panic.as_ref()))),
        Err(cancelled) => Err(lost(cancelled.to_string())),
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

#[cfg(test)]
mod tests;
