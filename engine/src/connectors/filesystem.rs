//! `'connector' = 'filesystem'`: rows of NDJSON, CSV and Parquet files.
//!
//! A split is a file, called by its name relative to `path`; files are read in the order of their names. Each file
//! belongs to one subtask by a hash of its name; files of changes all belong to one, since what is said of a row may go
//! on in the next file. With `source.monitor-interval` the folder is looked at again and again,
//! and files that appear are read; a file has to be complete when it appears (move it in), and one that changes after
//! it was read is an error, since its new rows would be lost otherwise.

mod folder;
mod parquet_file;
mod position;
#[cfg(test)]
mod tests;
mod text_file;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use frazil_storage::Env;
use frazil_writer::SourcePositions;
use tokio_util::sync::CancellationToken;

use super::decode::{Decoder, Malformed};
use super::definition::TableDefinition;
use super::error::SourceError;
use super::format::{self, Encoding};
use super::infer::Inference;
use super::task::{self, End, Output};
use crate::Result;
use crate::changelog::Changelog;
use crate::options::{Checked, Kind, Schema, Spec};
use crate::source::{Lag, LagUnit, Source, SourceBatch, SourceStream};

use folder::{Folder, SourceFile, subtask_of};
use position::Position;
pub(super) use position::stable_hash;

/// Files whose beginnings are looked at for columns before a query over them is planned.
const SAMPLE_FILES: usize = 16;

/// Batches per second that a rate limit is spread over.
const RATE_SLICES_PER_SECOND: i64 = 20;

/// How the names of files end whose bytes are no text. Without a look at the name they would be malformed rows.
const COMPRESSED: [&str; 6] = [".gz", ".zst", ".bz2", ".xz", ".lz4", ".snappy"];

/// The keys of the connector.
pub(super) fn options() -> Schema {
    Schema::new("connector 'filesystem'")
        .key(Spec::new("connector", Kind::Text).required())
        .key(Spec::new("path", Kind::Text).required())
        .key(Spec::new("format", Kind::OneOf(&["json", "csv", "parquet", "debezium-json"])).required())
        .key(Spec::new("source.monitor-interval", Kind::Duration))
        .key(Spec::new("rows-per-second", Kind::COUNT))
        .include(format::batch_options())
        .include(format::json_options())
        .include(format::csv_options())
        .include(format::debezium_options())
}

/// Rows of files.
#[derive(Debug)]
pub(super) struct FilesystemSource {
    shared: Arc<Shared>,
}

/// What the tasks of a source have in common.
#[derive(Debug)]
struct Shared {
    env: Env,
    table: String,
    folder: Folder,
    schema: SchemaRef,
    encoding: Encoding,
    batch_rows: usize,
    rows_per_second: Option<i64>,
    monitor_interval: Option<Duration>,
    malformed: Malformed,
    /// Bytes of listed files that are not read yet.
    unread_bytes: AtomicU64,
    /// Where columns that are found in the data are agreed on.
    inference: Option<Arc<Inference>>,
}

impl FilesystemSource {
    /// # Errors
    /// What does not fit in the options or the columns.
    pub(super) fn new(table: &TableDefinition, env: &Env) -> Result<Self> {
        let options = options().check(&table.options)?;
        format::check_keys_of(options.text("format"), &table.options)?;
        if let Some(column) = table.columns.iter().find(|column| column.metadata_key.is_some()) {
            return Err(definition(
                table,
                format!("the connector 'filesystem' has no metadata columns such as '{}'", column.field.name()),
            ));
        }
        let schema = table.data_schema();
        let encoding = encoding(table, &options)?;
        if let Encoding::Json | Encoding::Csv(_) | Encoding::Debezium(_) = encoding {
            let layout = encoding.format(schema.fields().len());
            if let Err(error) = Decoder::new(&schema, layout) {
                let column = error.field().unwrap_or_default();
                return Err(definition(table, format!("column '{column}': {}", error.reason)));
            }
        }
        let malformed = Malformed::new(&table.name, format::on_error(table, &options)?);
        if malformed.puts_aside() && matches!(encoding, Encoding::Parquet) {
            let reason = "'on-error' = 'dead-letter' needs records of text: 'format' = 'json' or 'csv'";
            return Err(definition(table, reason.to_owned()));
        }
        if malformed.puts_aside() && matches!(encoding, Encoding::Debezium(_)) {
            return Err(format::changes_are_not_put_aside(table));
        }
        let inference = format::inference(table, &options, matches!(encoding, Encoding::Json))?;
        let rows_per_second = options.integer_opt("rows-per-second");
        let slice = rows_per_second.map_or(i64::MAX, |rate| (rate / RATE_SLICES_PER_SECOND).max(1));
        Ok(Self {
            shared: Arc::new(Shared {
                env: env.clone(),
                table: table.name.clone(),
                folder: Folder::new(&table.name, options.text("path"))?,
                schema,
                encoding,
                batch_rows: options.integer("batch-rows").min(slice) as usize,
                rows_per_second,
                monitor_interval: options.duration_opt("source.monitor-interval"),
                malformed,
                inference,
                unread_bytes: AtomicU64::new(0),
            }),
        })
    }
}

fn encoding(table: &TableDefinition, options: &Checked) -> Result<Encoding> {
    Ok(match options.text("format") {
        "csv" => Encoding::Csv(format::csv_encoding(table, options)?),
        "parquet" => Encoding::Parquet,
        "debezium-json" => Encoding::Debezium(format::debezium_encoding(table, options)),
        _ => Encoding::Json,
    })
}

fn definition(table: &TableDefinition, reason: String) -> crate::Error {
    let table = table.name.clone();
    Box::new(SourceError::Definition { table, reason }).into()
}

#[async_trait]
impl Source for FilesystemSource {
    fn schema(&self) -> SchemaRef {
        match &self.shared.inference {
            Some(inference) => Arc::new(arrow::datatypes::Schema::new(inference.fields())),
            None => self.shared.schema.clone(),
        }
    }

    fn puts_aside(&self) -> bool {
        self.shared.malformed.puts_aside()
    }

    fn changelog(&self) -> Option<Changelog> {
        matches!(self.shared.encoding, Encoding::Debezium(_)).then_some(Changelog::WholeRows)
    }

    fn infers_schema(&self) -> bool {
        self.shared.inference.is_some()
    }

    async fn learn_schema(&self, known: &SchemaRef) -> Result<()> {
        let Some(inference) = &self.shared.inference else { return Ok(()) };
        inference.learn(known.fields());
        for (name, file) in self.shared.folder.list(&self.shared.env).await?.iter().take(SAMPLE_FILES) {
            text_file::sample(&self.shared, name, file, inference).await?;
        }
        Ok(())
    }

    fn is_bounded(&self) -> bool {
        self.shared.monitor_interval.is_none()
    }

    async fn parallelism_max(&self) -> Result<usize> {
        let files = self.shared.folder.list(&self.shared.env).await?;
        Ok(match self.is_bounded() {
            // See the module's documentation.
            _ if self.changelog().is_some() => 1,
            true => files.len().max(1),
            false => usize::MAX,
        })
    }

    fn describe(&self) -> String {
        let Shared { folder, encoding, .. } = &*self.shared;
        format!("filesystem {} {}", encoding.name(), folder.shown())
    }

    fn rows_skipped(&self) -> u64 {
        self.shared.malformed.skipped()
    }

    fn lag(&self) -> Option<Lag> {
        Some(Lag { amount: self.shared.unread_bytes.load(Relaxed), unit: LagUnit::Bytes })
    }

    async fn start(
        &self,
        subtask: usize,
        parallelism: usize,
        positions: &SourcePositions,
        stop: CancellationToken,
    ) -> Result<SourceStream> {
        let shared = self.shared.clone();
        let positions = shared.parse_positions(subtask, parallelism, positions)?;
        let files = shared.folder.list(&shared.env).await?;
        for (name, position) in &positions {
            let unfinished = !matches!(position, Position::Done { .. });
            if unfinished && !files.contains_key(name) {
                return Err(shared.lost(name, *position, "the file is gone").into());
            }
        }
        let rate = shared.rows_per_second.map(|rate| rate as f64 / parallelism.max(1) as f64);
        Ok(task::spawn(stop, rate, move |output| {
            let reader = Reader { shared, subtask, parallelism, positions, listed: HashSet::new(), output };
            reader.run(files)
        }))
    }
}

impl Shared {
    fn parse_positions(
        &self,
        subtask: usize,
        parallelism: usize,
        positions: &SourcePositions,
    ) -> Result<BTreeMap<String, Position>> {
        let own = positions.iter().filter(|(name, _)| subtask_of(name, parallelism) == subtask);
        own.map(|(name, text)| match text.parse() {
            Ok(position) => Ok((name.clone(), position)),
            Err(()) => Err(Box::new(SourceError::PositionLost {
                table: self.table.clone(),
                split: name.clone(),
                position: text.clone(),
                reason: "it is no position of a file".to_owned(),
                help: "the checkpoint is of another source, or of a newer release".to_owned(),
            })
            .into()),
        })
        .collect()
    }

    fn lost(&self, name: &str, position: Position, reason: impl Into<String>) -> Box<SourceError> {
        Box::new(SourceError::PositionLost {
            table: self.table.clone(),
            split: name.to_owned(),
            position: position.to_string(),
            reason: reason.into(),
            help: "put the file back as it was, or start the job anew".to_owned(),
        })
    }

    /// Bytes are unread no longer.
    fn note_read(&self, bytes: u64) {
        let less = |unread: u64| Some(unread.saturating_sub(bytes));
        self.unread_bytes.fetch_update(Relaxed, Relaxed, less).ok();
    }

    fn read_error(&self, name: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Box<SourceError> {
        Box::new(SourceError::Read { table: self.table.clone(), split: name.to_owned(), source: error.into() })
    }
}

/// One subtask's work.
struct Reader {
    shared: Arc<Shared>,
    subtask: usize,
    parallelism: usize,
    /// How far each of its files was read.
    positions: BTreeMap<String, Position>,
    /// Its files that count as unread, or have been read since.
    listed: HashSet<String>,
    output: Output,
}

impl Reader {
    async fn run(mut self, mut files: BTreeMap<String, SourceFile>) -> Result<(), End> {
        loop {
            self.count_unread(&files);
            for (name, file) in files {
                if subtask_of(&name, self.parallelism) == self.subtask {
                    self.read_file(&name, &file).await?;
                }
            }
            let Some(interval) = self.shared.monitor_interval else {
                return Ok(());
            };
            self.output.pause(interval).await?;
            files = self.shared.folder.list(&self.shared.env).await?;
        }
    }

    fn count_unread(&mut self, files: &BTreeMap<String, SourceFile>) {
        for (name, file) in files {
            if subtask_of(name, self.parallelism) != self.subtask || self.listed.contains(name) {
                continue;
            }
            let read = match self.positions.get(name) {
                Some(Position::Done { .. }) => file.size_bytes,
                Some(Position::Text(text)) => text.offset,
                _ => 0,
            };
            self.shared.unread_bytes.fetch_add(file.size_bytes.saturating_sub(read), Relaxed);
            self.listed.insert(name.clone());
        }
    }

    async fn read_file(&mut self, name: &str, file: &SourceFile) -> Result<(), End> {
        let position = self.positions.get(name).copied();
        if let Some(position @ Position::Done { size_bytes }) = position {
            if size_bytes != file.size_bytes {
                let reason = format!(
                    "the file changed after it was read: it had {size_bytes} bytes and has {} now; \
                     a file has to be complete when it appears",
                    file.size_bytes
                );
                return Err(self.shared.lost(name, position, reason).into());
            }
            return Ok(());
        }
        match self.shared.encoding {
            Encoding::Parquet => {
                parquet_file::read(&self.shared, name, file, position, &mut self.output).await?;
                self.shared.note_read(file.size_bytes);
            }
            Encoding::Json | Encoding::Csv(_) | Encoding::Debezium(_) => {
                if COMPRESSED.iter().any(|suffix| name.ends_with(suffix)) {
                    let reason = "compressed files can't be read; unpack it, or move it out of the folder";
                    return Err(self.shared.read_error(name, reason).into());
                }
                text_file::read(&self.shared, name, file, position, &mut self.output).await?;
            }
        }
        let done = Position::Done { size_bytes: file.size_bytes };
        self.positions.insert(name.to_owned(), done);
        Ok(())
    }
}

fn source_batch(batch: RecordBatch, name: &str, position: Position) -> SourceBatch {
    SourceBatch::new(batch, name, position.to_string())
}
