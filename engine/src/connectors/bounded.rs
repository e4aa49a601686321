//! Bounded sources outside of a job: as a whole in memory, or as a stream of batches.

use std::sync::Arc;

use arrow::array::RecordBatch;
use frazil_writer::SourcePositions;
use futures::stream::{BoxStream, SelectAll, StreamExt, select_all};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::error::SourceError;
use crate::Result;
use crate::source::{Source, SourceBatch};

/// All rows of a small table. `name` is how an error calls it.
///
/// # Errors
/// [`SourceError::TooLarge`] when its batches take more than `bytes_max` of memory, [`SourceError::Definition`] when the
/// source never ends, and what reading fails of.
pub async fn collect_bounded(source: &dyn Source, name: &str, bytes_max: usize) -> Result<Vec<RecordBatch>> {
    let mut stream = bounded_stream(source, name, 1).await?;
    let (mut batches, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        bytes += batch.get_array_memory_size();
        if bytes > bytes_max {
            let table = name.to_owned();
            return Err(Box::new(SourceError::TooLarge { table, bytes_max }).into());
        }
        batches.push(batch);
    }
    Ok(batches)
}

/// All rows of a bounded source, read by up to `parallelism` subtasks at the same time, in no order between them.
/// Dropping the stream stops the reading.
///
/// # Errors
/// [`SourceError::Definition`] when the source never ends, and what keeps it from starting.
pub async fn bounded_stream(
    source: &dyn Source,
    name: &str,
    parallelism: usize,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    if !source.is_bounded() {
        return Err(Box::new(SourceError::Definition {
            table: name.to_owned(),
            reason: "it never ends, so that it can't be read as a whole; take 'source.monitor-interval' away, \
                     set 'scan.bounded.mode', or run the job in streaming mode"
                .to_owned(),
        })
        .into());
    }
    if source.changelog().is_some() {
        return Err(Box::new(SourceError::Definition {
            table: name.to_owned(),
            reason: "its records are changes of rows, and only a job applies them: let one INSERT INTO a table with a \
                     primary key and 'write.upsert.enabled' = 'true', and query that"
                .to_owned(),
        })
        .into());
    }
    let parallelism = parallelism.min(source.parallelism_max().await?).max(1);
    let stop = CancellationToken::new();
    let mut subtasks = Vec::with_capacity(parallelism);
    for subtask in 0..parallelism {
        let positions = SourcePositions::new();
        let stream = source.start(subtask, parallelism, &positions, stop.child_token()).await?;
        subtasks.push(ReceiverStream::new(stream));
    }
    let all: SelectAll<ReceiverStream<Result<SourceBatch>>> = select_all(subtasks);
    let table = name.to_owned();
    let guard: Arc<DropGuard> = Arc::new(stop.drop_guard());
    let rows = all.filter_map(move |batch| {
        // Held by the stream: what is dropped with it stops the subtasks.
        let _stop = guard.clone();
        let rows = match batch {
            Ok(batch) => match rows_without_target(&table, batch) {
                Ok(rows) if rows.num_rows() == 0 => None,
                rows => Some(rows),
            },
            Err(error) => Some(Err(error)),
        };
        std::future::ready(rows)
    });
    Ok(rows.boxed())
}

/// The rows of a batch that is read by a query, not by a job: there is no table that bad rows could be put aside into.
///
/// # Errors
/// [`SourceError::MalformedRow`] for the first one that was to be put aside.
pub(crate) fn rows_without_target(table: &str, batch: SourceBatch) -> Result<RecordBatch> {
    match batch.dead_letters.into_iter().next() {
        None => Ok(batch.batch),
        Some(letter) => Err(Box::new(SourceError::MalformedRow {
            table: table.to_owned(),
            place: match letter.origin.line {
                Some(line) => format!("{} line {line}", batch.split),
                None => format!("{} offset {}", batch.split, letter.origin.offset),
            },
            field: letter.field,
            reason: format!("{} (only a job can put rows aside into a dead-letter table)", letter.reason),
        })
        .into()),
    }
}
