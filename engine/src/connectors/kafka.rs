//! `'connector' = 'kafka'`: the records of a topic.
//!
//! A split is a partition, called `topic/partition`; its position is the offset of the next record. Partitions are
//! assigned by hand, never by a consumer group, and offsets live in the job's checkpoints alone, so that nothing is
//! reset behind its back: an offset that the broker no longer has is an error. Where to start is resolved to offsets
//! once, and told as positions before the first row. Partitions that are added to the topic later are read from their
//! beginning.
//!
//! `'connector' = 'upsert-kafka'` is the same, where each record says what the row of its key is now, or, without a value
//! (a tombstone), that it is gone. It always begins at the beginning, since only all records together say which rows
//! there are.

mod client;
mod metadata_column;
mod position;
mod reader;
mod reading;
mod settings;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::datatypes::{FieldRef, Fields, SchemaRef};
use async_trait::async_trait;
use frazil_writer::SourcePositions;
use tokio_util::sync::CancellationToken;

use super::decode::{Decoder, Malformed};
use super::definition::{SourceColumn, TableDefinition};
use super::error::SourceError;
use super::format;
use super::infer::Inference;
use super::task::{self, End};
use crate::Result;
use crate::changelog::Changelog;
use crate::options::{Checked, Kind, Schema, Spec};
use crate::source::{Lag, LagUnit, Source, SourceStream};

use client::Client;
use metadata_column::MetadataColumn;
use position::Position;
use reader::Reader;
use reading::{KeyFields, Reading};
use settings::{Settings, Startup, startup};

const STARTUP_MODES: &[&str] = &["earliest-offset", "latest-offset", "timestamp", "specific-offsets", "group-offsets"];

/// The keys of the connector.
pub(super) fn options() -> Schema {
    Schema::new("connector 'kafka'")
        .key(Spec::new("connector", Kind::Text).required())
        .key(Spec::new("topic", Kind::Text).required())
        .key(Spec::new("properties.bootstrap.servers", Kind::Text).required())
        .prefix("properties.")
        .key(Spec::new("format", Kind::OneOf(&["json", "debezium-json"])))
        .key(Spec::new("key.fields", Kind::Text))
        .key(Spec::new("key.format", Kind::OneOf(&["json"])))
        .key(Spec::new("value.format", Kind::OneOf(&["json", "debezium-json"])))
        .key(Spec::new("value.debezium-json.schema-include", Kind::Boolean))
        .key(Spec::new("value.debezium-json.ignore-parse-errors", Kind::Boolean))
        .key(Spec::new("scan.startup.mode", Kind::OneOf(STARTUP_MODES)).default("earliest-offset"))
        .key(Spec::new("scan.startup.timestamp-millis", Kind::Integer { min: 0, max: i64::MAX }))
        .key(Spec::new("scan.startup.specific-offsets", Kind::Text))
        .key(Spec::new("scan.bounded.mode", Kind::OneOf(&["unbounded", "latest-offset"])).default("unbounded"))
        .key(Spec::new("scan.topic-partition-discovery.interval", Kind::Duration).default("10 s"))
        .include(key_options())
        .include(format::batch_options())
        .include(format::json_options())
        .include(format::debezium_options())
}

/// The keys of the connector `upsert-kafka`.
pub(super) fn upsert_options() -> Schema {
    Schema::new("connector 'upsert-kafka'")
        .key(Spec::new("connector", Kind::Text).required())
        .key(Spec::new("topic", Kind::Text).required())
        .key(Spec::new("properties.bootstrap.servers", Kind::Text).required())
        .prefix("properties.")
        .key(Spec::new("key.fields", Kind::Text))
        .key(Spec::new("key.format", Kind::OneOf(&["json"])).required())
        .key(Spec::new("value.format", Kind::OneOf(&["json"])).required())
        .key(Spec::new("scan.bounded.mode", Kind::OneOf(&["unbounded", "latest-offset"])).default("unbounded"))
        .key(Spec::new("scan.topic-partition-discovery.interval", Kind::Duration).default("10 s"))
        .include(key_options())
        .include(format::batch_options())
}

/// Keys of both connectors that tell what of a row stands in a record's key, and what in its value.
fn key_options() -> Schema {
    Schema::new("a record's key")
        .key(Spec::new("key.fields-prefix", Kind::Text))
        .key(Spec::new("key.json.ignore-parse-errors", Kind::Boolean))
        .key(Spec::new("value.fields-include", Kind::OneOf(&["ALL", "EXCEPT_KEY"])).default("ALL"))
        .key(Spec::new("value.json.ignore-parse-errors", Kind::Boolean))
}

/// The records of a topic.
#[derive(Debug)]
pub(super) struct KafkaSource {
    shared: Arc<Shared>,
}

/// What the tasks of a source have in common.
#[derive(Debug)]
struct Shared {
    table: String,
    /// How records become rows.
    reading: Reading,
    /// All columns.
    schema: SchemaRef,
    /// Those that are in the records' values.
    data_schema: SchemaRef,
    /// For each column of the table what it is of the record, or none for one of the value.
    metadata: Vec<Option<MetadataColumn>>,
    settings: Settings,
    malformed: Malformed,
    /// Records that each subtask has before it, as far as it knows.
    behind: Mutex<BTreeMap<usize, u64>>,
    /// Where columns that are found in the records' values are agreed on.
    inference: Option<Arc<Inference>>,
}

impl KafkaSource {
    /// # Errors
    /// What does not fit in the options or the columns. No broker is asked.
    pub(super) fn new(table: &TableDefinition) -> Result<Self> {
        let options = options().check(&table.options)?;
        let settings = Settings::new(table, &options, startup(&options))?;
        let reading = Reading::of_kafka(table, &options)?;
        let inference = format::inference(table, &options, matches!(reading, Reading::Values))?;
        Self::with(table, &options, table.columns.clone(), reading, settings, inference)
    }

    /// `upsert-kafka`.
    ///
    /// # Errors
    /// As [`KafkaSource::new`]; for a table without a primary key.
    pub(super) fn upserting(table: &TableDefinition) -> Result<Self> {
        let options = upsert_options().check(&table.options)?;
        let settings = Settings::new(table, &options, Ok(Startup::Earliest))?;
        let reading = Reading::Upserts(KeyFields::of_upserts(table, &options)?);
        // Of a row that is gone only the key is known.
        let nullable = |column: &SourceColumn| {
            let is_key = table.primary_key.contains(column.field.name());
            let field = column.field.as_ref().clone();
            let nullable = field.is_nullable() || (!is_key && column.metadata_key.is_none());
            SourceColumn { field: Arc::new(field.with_nullable(nullable)), ..column.clone() }
        };
        let columns = table.columns.iter().map(nullable).collect();
        Self::with(table, &options, columns, reading, settings, None)
    }

    fn with(
        table: &TableDefinition,
        options: &Checked,
        columns: Vec<SourceColumn>,
        reading: Reading,
        settings: Settings,
        inference: Option<Arc<Inference>>,
    ) -> Result<Self> {
        let malformed = Malformed::new(&table.name, format::on_error(table, options)?);
        if malformed.puts_aside() && reading.changelog().is_some() {
            return Err(format::changes_are_not_put_aside(table));
        }
        let table = TableDefinition { columns, ..table.clone() };
        let data_schema = table.data_schema();
        if let Err(error) = Decoder::new(&data_schema, reading.format()) {
            let column = error.field().unwrap_or_default();
            return Err(Box::new(SourceError::Definition {
                table: table.name.clone(),
                reason: format!("column '{column}': {}", error.reason),
            })
            .into());
        }
        let metadata = table.columns.iter().map(|column| match &column.metadata_key {
            Some(key) => MetadataColumn::new(key, &column.field).map(Some),
            None => Ok(None),
        });
        let metadata = metadata
            .collect::<Result<_, String>>()
            .map_err(|reason| Box::new(SourceError::Definition { table: table.name.clone(), reason }))?;
        Ok(Self {
            shared: Arc::new(Shared {
                table: table.name.clone(),
                schema: table.schema(),
                data_schema,
                metadata,
                reading,
                settings,
                malformed,
                behind: Mutex::default(),
                inference,
            }),
        })
    }
}

#[async_trait]
impl Source for KafkaSource {
    fn schema(&self) -> SchemaRef {
        match &self.shared.inference {
            Some(inference) => self.shared.schema_with(&inference.fields()),
            None => self.shared.schema.clone(),
        }
    }

    fn puts_aside(&self) -> bool {
        self.shared.malformed.puts_aside()
    }

    fn changelog(&self) -> Option<Changelog> {
        self.shared.reading.changelog()
    }

    fn infers_schema(&self) -> bool {
        self.shared.inference.is_some()
    }

    async fn learn_schema(&self, known: &SchemaRef) -> Result<()> {
        if let Some(inference) = &self.shared.inference {
            let metadata = self.shared.schema.fields().iter().zip(&self.shared.metadata);
            let metadata: Vec<_> = metadata.filter(|(_, kind)| kind.is_some()).map(|(field, _)| field.name()).collect();
            let of_value = known.fields().iter().filter(|field| !metadata.contains(&field.name()));
            inference.learn(&of_value.cloned().collect());
        }
        Ok(())
    }

    fn is_bounded(&self) -> bool {
        self.shared.settings.bounded
    }

    async fn parallelism_max(&self) -> Result<usize> {
        let shared = self.shared.clone();
        blocking(move || {
            let client = Client::connect(&shared.table, &shared.settings)?;
            Ok(client.partitions()?.len())
        })
        .await
    }

    fn describe(&self) -> String {
        let Settings { topic, servers, .. } = &self.shared.settings;
        format!("{} {topic} at {servers}", self.shared.reading.name())
    }

    fn rows_skipped(&self) -> u64 {
        self.shared.malformed.skipped()
    }

    fn lag(&self) -> Option<Lag> {
        let behind = self.shared.behind.lock().expect("nobody panics while holding it");
        (!behind.is_empty()).then(|| Lag { amount: behind.values().sum(), unit: LagUnit::Records })
    }

    async fn start(
        &self,
        subtask: usize,
        parallelism: usize,
        positions: &SourcePositions,
        stop: CancellationToken,
    ) -> Result<SourceStream> {
        let positions = self.shared.parse_positions(positions)?;
        let shared = self.shared.clone();
        let reader = blocking(move || Reader::open(shared, (subtask, parallelism), &positions)).await?;
        Ok(task::spawn(stop, None, move |output| async move {
            let reading = tokio::task::spawn_blocking(move || reader.run(output));
            match reading.await {
                Ok(end) => end,
                Err(error) => match error.try_into_panic() {
                    // The task's owner turns it into the source's error.
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => Err(End::Stopped),
                },
            }
        }))
    }
}

impl Shared {
    fn note_behind(&self, subtask: usize, records: Option<u64>) {
        if let Some(records) = records {
            self.behind.lock().expect("nobody panics while holding it").insert(subtask, records);
        }
    }

    /// The declared columns in their order, with the types that are known now, then those that were found.
    fn schema_with(&self, data: &Fields) -> SchemaRef {
        let declared = self.schema.fields().iter().zip(&self.metadata);
        let mut data = data.iter();
        let mut fields: Vec<FieldRef> = declared
            .map(|(field, metadata)| match metadata {
                Some(_) => Arc::clone(field),
                None => Arc::clone(data.next().expect("declared columns are the first that are known")),
            })
            .collect();
        fields.extend(data.cloned());
        Arc::new(arrow::datatypes::Schema::new(fields))
    }

    /// The positions of this topic's partitions, also of other subtasks: a partition without one is new when another
    /// has one.
    fn parse_positions(&self, positions: &SourcePositions) -> Result<BTreeMap<i32, Position>> {
        let parse = |(split, text): (&String, &String)| {
            let (topic, partition) = split.rsplit_once('/')?;
            let partition = partition.parse().ok()?;
            (topic == self.settings.topic).then_some((partition, text.parse().ok()?))
        };
        let parsed = positions.iter().map(|entry| {
            parse(entry).ok_or_else(|| {
                Box::new(SourceError::PositionLost {
                    table: self.table.clone(),
                    split: entry.0.clone(),
                    position: entry.1.clone(),
                    reason: format!("it is no position in the topic '{}'", self.settings.topic),
                    help: "set the option 'topic' back, or start the job anew".to_owned(),
                })
                .into()
            })
        });
        parsed.collect()
    }
}

/// Runs what waits for a broker on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(crate::Error::Cancelled),
        },
    }
}
