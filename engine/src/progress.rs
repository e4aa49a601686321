//! What a running job tells the world: counters that can be looked at, events that can be followed.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use chrono::DateTime;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::source::{Lag, Source};

/// Events that a slow listener may fall behind before it misses some.
const EVENTS_MAX: usize = 1024;

/// One thing that happened in a job.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A pipeline knows where to go on.
    Started {
        /// The target table.
        table: String,
        /// The checkpoint that it goes on from; `None`: from the start.
        from_checkpoint: Option<u64>,
        /// The checkpoint it had been at, if the table was rolled back since.
        rolled_back_from: Option<u64>,
    },
    /// A checkpoint's rows are in the table.
    Committed {
        /// The target table.
        table: String,
        /// The checkpoint.
        checkpoint_id: u64,
        /// The snapshot with its rows.
        snapshot_id: i64,
        /// Rows added.
        rows: u64,
        /// Data files added.
        files: u64,
        /// Bytes in those files.
        bytes: u64,
        /// Records that went into the dead-letter table with them.
        dead_letters: u64,
        /// Rows of the source that came behind its watermark. They are in the table like all others.
        late_rows: u64,
        /// Event time up to which the source is complete, milliseconds since the Unix epoch; `None` without a watermark.
        watermark_ms: Option<i64>,
        /// From the barrier to the swapped pointer.
        elapsed_ms: u64,
        /// Attempts that lost to commits of others.
        retries: u32,
        /// Live data files of the table after the commit, where the snapshot says.
        data_files: Option<u64>,
    },
    /// A compaction's files are in the table.
    Compacted {
        /// The table.
        table: String,
        /// The `replace` snapshot.
        snapshot_id: i64,
        /// Files that went.
        files_before: u64,
        /// Files that came.
        files_after: u64,
        /// Bytes in the files that went.
        bytes_before: u64,
        /// Bytes in the files that came.
        bytes_after: u64,
        /// From the plan to the swapped pointer.
        elapsed_ms: u64,
        /// Live data files of the table after the commit, where the snapshot says.
        data_files: Option<u64>,
        /// How often each byte that came into the table was written so far ([`frazil_compactor::BytesWritten`]).
        write_amplification: Option<f64>,
    },
    /// A compaction came to nothing; the table is as it was.
    CompactionFailed {
        /// The table.
        table: String,
        /// Why.
        reason: String,
    },
    /// Old snapshots left the table.
    Expired {
        /// The table.
        table: String,
        /// How many snapshots.
        snapshots: u64,
        /// Files deleted with them.
        files: u64,
    },
    /// The numbers of distinct values of a table's columns are in a statistics file.
    Statistics {
        /// The table.
        table: String,
        /// The snapshot that they are of.
        snapshot_id: i64,
        /// Columns that have one.
        columns: u64,
    },
    /// They are not kept up any more, until somebody has them computed anew. The table is as it was.
    StatisticsUnknown {
        /// The table.
        table: String,
        /// Why.
        reason: String,
    },
    /// A pipeline has come to its end or was stopped with a last checkpoint.
    Finished {
        /// The target table.
        table: String,
        /// The last checkpoint in the table.
        checkpoint_id: u64,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { table, from_checkpoint: None, rolled_back_from: None } => {
                write!(f, "{table}: starts from the beginning")
            }
            Self::Started { table, from_checkpoint, rolled_back_from: Some(lost) } => {
                let from = from_checkpoint.map_or("the beginning".to_owned(), |id| format!("checkpoint {id}"));
                write!(
                    f,
                    "{table}: was rolled back from checkpoint {lost}; the sources are rewound, it goes on from {from}"
                )
            }
            Self::Started { table, from_checkpoint: Some(id), .. } => {
                write!(f, "{table}: goes on from checkpoint {id}")
            }
            Self::Committed {
                table,
                checkpoint_id,
                rows,
                files,
                dead_letters,
                late_rows,
                watermark_ms,
                elapsed_ms,
                data_files,
                ..
            } => {
                write!(f, "{table}: checkpoint {checkpoint_id}: {rows} rows in {files} files, {elapsed_ms} ms")?;
                if *dead_letters > 0 {
                    write!(f, ", {dead_letters} bad records put aside")?;
                }
                if let Some(watermark) = watermark_ms.and_then(DateTime::from_timestamp_millis) {
                    write!(f, ", {late_rows} late rows, watermark {}", watermark.format("%F %T%.3f"))?;
                }
                data_files.map_or(Ok(()), |count| write!(f, ", {count} data files in the table"))
            }
            Self::Compacted {
                table,
                files_before,
                files_after,
                bytes_before,
                bytes_after,
                elapsed_ms,
                data_files,
                write_amplification,
                ..
            } => {
                write!(
                    f,
                    "{table}: compacted {files_before} files ({bytes_before} bytes) into {files_after} ({bytes_after} bytes), \
                     {elapsed_ms} ms"
                )?;
                data_files.map_or(Ok(()), |count| write!(f, ", {count} data files in the table"))?;
                write_amplification.map_or(Ok(()), |times| write!(f, ", each byte written {times:.2} times"))
            }
            Self::CompactionFailed { table, reason } => write!(f, "{table}: a compaction came to nothing: {reason}"),
            Self::Expired { table, snapshots, files } => {
                write!(f, "{table}: {snapshots} old snapshots expired, {files} files deleted")
            }
            Self::Statistics { table, columns, .. } => write!(f, "{table}: statistics of {columns} columns"),
            Self::StatisticsUnknown { table, reason } => {
                write!(f, "{table}: its statistics can't be kept up: {reason}; ")?;
                f.write_str("CALL system.compute_table_stats makes them anew")
            }
            Self::Finished { table, checkpoint_id } => {
                write!(f, "{table}: stopped after checkpoint {checkpoint_id}")
            }
        }
    }
}

/// Counters of one pipeline.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) rows_in: AtomicU64,
    pub(crate) rows_out: AtomicU64,
    pub(crate) rows_committed: AtomicU64,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) late_rows: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) compactions: AtomicU64,
}

/// The counters of a pipeline at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct PipelineProgress {
    /// The target table.
    pub table: String,
    /// Rows read from the source in this run.
    pub rows_in: u64,
    /// Rows handed to the writers in this run.
    pub rows_out: u64,
    /// Rows in the table by this run.
    pub rows_committed: u64,
    /// Records in the dead-letter table by this run.
    pub dead_letters: u64,
    /// Rows by this run that came behind the watermark of their source.
    pub late_rows: u64,
    /// Snapshots with rows or deletes by this run.
    pub commits: u64,
    /// Compactions by this run.
    pub compactions: u64,
    /// Malformed rows that the source passed over in this run.
    pub rows_skipped: u64,
    /// How far the source is behind; `None` if it can't tell.
    pub lag: Option<Lag>,
}

/// A pipeline as it is looked at.
#[derive(Debug)]
struct Pipeline {
    table: String,
    counters: Arc<Counters>,
    source: Arc<dyn Source>,
}

/// A job's counters and events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Progress {
    pipelines: Arc<Mutex<Vec<Pipeline>>>,
    events: broadcast::Sender<Event>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { pipelines: Arc::default(), events: broadcast::channel(EVENTS_MAX).0 }
    }
}

impl Progress {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The events from now on. A listener that falls behind misses the oldest.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// The counters now, one entry for each pipeline.
    pub fn pipelines(&self) -> Vec<PipelineProgress> {
        let pipelines = self.pipelines.lock().expect("no code panics while it holds this lock");
        let progress = pipelines.iter().map(|Pipeline { table, counters, source }| PipelineProgress {
            table: table.clone(),
            rows_in: counters.rows_in.load(Relaxed),
            rows_out: counters.rows_out.load(Relaxed),
            rows_committed: counters.rows_committed.load(Relaxed),
            dead_letters: counters.dead_letters.load(Relaxed),
            late_rows: counters.late_rows.load(Relaxed),
            commits: counters.commits.load(Relaxed),
            compactions: counters.compactions.load(Relaxed),
            rows_skipped: source.rows_skipped(),
            lag: source.lag(),
        });
        progress.collect()
    }

    pub(crate) fn add_pipeline(&self, table: &str, source: Arc<dyn Source>) -> Arc<Counters> {
        let counters = Arc::<Counters>::default();
        let mut pipelines = self.pipelines.lock().expect("no code panics while it holds this lock");
        pipelines.push(Pipeline { table: table.to_owned(), counters: Arc::clone(&counters), source });
        counters
    }

    pub(crate) fn tell(&self, event: Event) {
        tracing::info!(event = %serde_json::to_string(&event).expect("an event has a JSON form"));
        // Nobody need be listening.
        self.events.send(event).ok();
    }
}
