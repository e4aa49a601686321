//! The thread that polls a subtask's partitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};

use super::Shared;
use super::client::{Client, Offsets};
use super::metadata_column::MetadataBuilder;
use super::position::Position;
use super::settings::Startup;
use crate::Result;
use crate::connectors::decode::Decoder;
use crate::connectors::error::SourceError;
use crate::connectors::filesystem::stable_hash;
use crate::connectors::task::{End, Output, Stopped};
use crate::dead_letter::Origin;

/// How long the first record of a batch waits for others.
const LINGER: Duration = Duration::from_millis(20);

/// How long a poll waits: how soon a stop is seen.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// Bytes of records in the batches of all partitions, however few rows they are.
const BATCH_BYTES: usize = 4 << 20;

/// How long a bounded read waits for a broker that went away; an unbounded one waits for as long as it takes.
const BOUNDED_SILENCE: Duration = Duration::from_secs(60);

/// Reads the partitions of one subtask.
pub(super) struct Reader {
    shared: Arc<Shared>,
    client: Client,
    subtask: (usize, usize),
    splits: BTreeMap<i32, Split>,
    /// When the batches of all splits go, once a record is in one.
    due: Option<Instant>,
    discovery_due: Option<Instant>,
    last_progress: Instant,
}

/// A partition.
struct Split {
    position: Position,
    /// The position that was sent last.
    sent: Option<Position>,
    decoder: Decoder,
    metadata: Vec<Option<MetadataBuilder>>,
}

impl Split {
    fn is_finished(&self) -> bool {
        self.position.end.is_some_and(|end| self.position.next >= end)
    }
}

impl Reader {
    /// Connects and finds out where each of the subtask's partitions begins.
    ///
    /// # Errors
    /// When the broker or topic can't be reached, or a position is gone.
    pub(super) fn open(
        shared: Arc<Shared>,
        subtask: (usize, usize),
        positions: &BTreeMap<i32, Position>,
    ) -> Result<Self> {
        let client = Client::connect(&shared.table, &shared.settings)?;
        let partitions = client.partitions()?;
        if let Some((partition, position)) = positions.iter().find(|(known, _)| !partitions.contains(known)) {
            let reason = "the topic does not have the partition any more; was it made anew?";
            return Err(shared.lost(*partition, *position, reason.to_owned()).into());
        }
        let now = Instant::now();
        let mut reader = Self {
            discovery_due: shared.settings.discovery_interval.map(|interval| now + interval),
            shared,
            client,
            subtask,
            splits: BTreeMap::new(),
            due: None,
            last_progress: now,
        };
        // Where other partitions have positions, one without is new.
        let startup = match positions.is_empty() {
            true => reader.shared.settings.startup.clone(),
            false => Startup::Earliest,
        };
        for partition in partitions {
            if !reader.is_own(partition) {
                continue;
            }
            let known = positions.get(&partition).copied();
            reader.add_split(partition, known, &startup)?;
        }
        Ok(reader)
    }

    fn is_own(&self, partition: i32) -> bool {
        let (subtask, parallelism) = self.subtask;
        let first = stable_hash(self.shared.settings.topic.as_bytes());
        let owner = first.wrapping_add(partition as u64) % parallelism.max(1) as u64;
        owner == subtask as u64
    }

    fn add_split(
        &mut self,
        partition: i32,
        known: Option<Position>,
        startup: &Startup,
    ) -> Result<(), Box<SourceError>> {
        let offsets = self.client.offsets(partition)?;
        let next = match known {
            Some(position) => self.shared.check_position(partition, position, offsets)?,
            None => self.startup_offset(partition, startup, offsets)?,
        };
        let end = match known.and_then(|position| position.end) {
            None if self.shared.settings.bounded => Some(offsets.high.max(next)),
            end => end.filter(|_| self.shared.settings.bounded),
        };
        let topic = &self.shared.settings.topic;
        let builders = self.shared.metadata.iter();
        let split = Split {
            position: Position { next, end },
            sent: known,
            decoder: Decoder::new(&self.shared.data_schema, self.shared.reading.format())
                .expect("KafkaSource::new has made one")
                .inferring(self.shared.inference.as_ref())
                .putting_aside(&self.shared.malformed),
            metadata: builders.map(|column| Some(column.as_ref()?.builder(topic, partition))).collect(),
        };
        if !split.is_finished() {
            self.client.assign(partition, next)?;
        }
        self.splits.insert(partition, split);
        Ok(())
    }

    fn startup_offset(&self, partition: i32, startup: &Startup, offsets: Offsets) -> Result<i64, Box<SourceError>> {
        match startup {
            Startup::Earliest => Ok(offsets.low),
            Startup::Latest => Ok(offsets.high),
            Startup::Timestamp(millis) => Ok(self.client.offset_at(partition, *millis)?.unwrap_or(offsets.high)),
            Startup::Offsets(wanted) => match wanted.get(&partition) {
                Some(next) => {
                    let position = Position { next: *next, end: None };
                    self.shared.check_position(partition, position, offsets)
                }
                None => Err(self
                    .shared
                    .definition(format!("'scan.startup.specific-offsets' has no offset for partition {partition}"))),
            },
            Startup::Group => match self.client.committed_offset(partition)? {
                Some(next) => {
                    let position = Position { next, end: None };
                    self.shared.check_position(partition, position, offsets)
                }
                None => Err(self.shared.definition(format!(
                    "the consumer group has committed no offset for partition {partition}; \
                     set 'scan.startup.mode' to 'earliest-offset' or 'latest-offset'"
                ))),
            },
        }
    }

    /// Polls until the end of a bounded read, or until it has to stop.
    pub(super) fn run(mut self, mut output: Output) -> Result<(), End> {
        // Where reading starts is told first: a restart must not resolve it anew.
        self.flush(&mut output)?;
        loop {
            if output.is_stopped() {
                return Err(End::Stopped);
            }
            if self.shared.settings.bounded && self.splits.values().all(Split::is_finished) {
                self.flush(&mut output)?;
                return Ok(());
            }
            let timeout = match self.due {
                Some(due) => due.saturating_duration_since(Instant::now()),
                None => POLL_TIMEOUT,
            };
            let full = match self.client.consumer.poll(timeout) {
                None => false,
                Some(Ok(message)) => {
                    let splits = &mut self.splits;
                    self.last_progress = Instant::now();
                    self.due.get_or_insert(self.last_progress + LINGER);
                    if take(&self.shared, splits, &message)? {
                        self.client.pause(message.partition())?;
                    }
                    let rows: usize = splits.values().map(|split| split.decoder.rows()).sum();
                    let bytes: usize = splits.values().map(|split| split.decoder.bytes()).sum();
                    rows >= self.shared.settings.batch_rows || bytes >= BATCH_BYTES
                }
                Some(Err(error)) => {
                    self.judge(&error)?;
                    false
                }
            };
            self.shared.note_behind(self.subtask.0, self.client.records_behind());
            if full || self.due.is_some_and(|due| due <= Instant::now()) {
                self.flush(&mut output)?;
            }
            self.discover()?;
        }
    }

    /// Whether a poll's error is one that the client gets over by itself.
    fn judge(&mut self, error: &KafkaError) -> Result<(), Box<SourceError>> {
        let code = match error {
            KafkaError::PartitionEOF(partition) => {
                // What lies between the last record and the end are marks of transactions.
                if let Some(split) = self.splits.get_mut(partition) {
                    split.position.next = split.position.end.unwrap_or(split.position.next);
                    self.due.get_or_insert_with(Instant::now);
                }
                return Ok(());
            }
            KafkaError::MessageConsumption(code) => *code,
            other => return Err(self.read_failed(other)),
        };
        match code {
            RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::BrokerDestroy
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::NotLeaderForPartition
            | RDKafkaErrorCode::NetworkException
            | RDKafkaErrorCode::CoordinatorNotAvailable
            | RDKafkaErrorCode::CoordinatorLoadInProgress
            | RDKafkaErrorCode::NotCoordinator
            | RDKafkaErrorCode::GroupAuthorizationFailed => {
                let silent = self.last_progress.elapsed();
                if self.shared.settings.bounded && silent > BOUNDED_SILENCE {
                    return Err(self.client.unreachable(error));
                }
                tracing::warn!(table = %self.shared.table, %error, "kafka: waiting for the broker");
                Ok(())
            }
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition => Err(self.client.no_topic()),
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => Err(self.out_of_range(error)),
            _ => Err(self.read_failed(error)),
        }
    }

    /// The client does not say which partition it was.
    fn out_of_range(&self, error: &KafkaError) -> Box<SourceError> {
        for (partition, split) in &self.splits {
            let lost = self.client.offsets(*partition);
            let checked = lost.and_then(|offsets| self.shared.check_position(*partition, split.position, offsets));
            if let Err(lost) = checked {
                return lost;
            }
        }
        self.read_failed(error)
    }

    fn read_failed(&self, error: &KafkaError) -> Box<SourceError> {
        Box::new(SourceError::Read {
            table: self.shared.table.clone(),
            split: format!("topic '{}'", self.shared.settings.topic),
            source: error.clone().into(),
        })
    }

    /// Looks for new partitions when it is time.
    fn discover(&mut self) -> Result<(), Box<SourceError>> {
        let Some(interval) = self.shared.settings.discovery_interval else {
            return Ok(());
        };
        if self.discovery_due.is_none_or(|due| due > Instant::now()) {
            return Ok(());
        }
        match self.client.partitions() {
            Ok(partitions) => {
                let new = |partition: &i32| self.is_own(*partition) && !self.splits.contains_key(partition);
                let new: Vec<i32> = partitions.into_iter().filter(new).collect();
                for partition in new {
                    tracing::info!(table = %self.shared.table, partition, "kafka: reading a new partition");
                    self.add_split(partition, None, &Startup::Earliest)?;
                    self.due.get_or_insert_with(Instant::now);
                }
            }
            // Polling finds out whether the broker is gone.
            Err(error) => {
                tracing::warn!(table = %self.shared.table, %error, "kafka: new partitions can't be looked for")
            }
        }
        self.discovery_due = Some(Instant::now() + interval);
        Ok(())
    }

    /// Sends what every split has, or how far it came.
    fn flush(&mut self, output: &mut Output) -> Result<(), Stopped> {
        self.due = None;
        for (partition, split) in &mut self.splits {
            if split.decoder.rows() == 0 && split.sent == Some(split.position) {
                continue;
            }
            split.sent = Some(split.position);
            let rows = self.shared.finish(split);
            let (name, position) = (self.shared.split_name(*partition), split.position.to_string());
            output.blocking_send(split.decoder.source_batch(rows, name, position))?;
        }
        Ok(())
    }
}

/// Decodes a record into its split; whether the split is finished by it.
fn take(
    shared: &Shared,
    splits: &mut BTreeMap<i32, Split>,
    message: &BorrowedMessage<'_>,
) -> Result<bool, Box<SourceError>> {
    let partition = message.partition();
    let Some(split) = splits.get_mut(&partition) else {
        return Ok(false);
    };
    // Whatever the client does when it connects again: no record goes twice, none behind the end.
    if message.offset() < split.position.next {
        return Ok(false);
    }
    if let Some(end) = split.position.end.filter(|end| message.offset() >= *end) {
        split.position.next = end;
        return Ok(true);
    }
    let place = || format!("topic '{}' partition {partition} offset {}", shared.settings.topic, message.offset());
    let origin = Origin { offset: message.offset(), line: None };
    let payload = message.payload().unwrap_or_default();
    let rows = split.decoder.good_rows();
    let checked = split.metadata.iter().flatten().try_for_each(|column| column.check(message));
    let end = checked.and_then(|()| shared.reading.append(&mut split.decoder, message.key(), message.payload()));
    split.decoder.settle(end, payload, origin, &shared.malformed, place)?;
    for _ in rows..split.decoder.good_rows() {
        split.metadata.iter_mut().flatten().for_each(|column| column.append(message));
    }
    split.position.next = message.offset() + 1;
    Ok(split.is_finished())
}

impl Shared {
    fn split_name(&self, partition: i32) -> String {
        format!("{}/{partition}", self.settings.topic)
    }

    /// The rows of a split since the last batch, columns in the table's order.
    fn finish(&self, split: &mut Split) -> RecordBatch {
        let data = split.decoder.finish();
        let mut values = data.columns().iter().cloned();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(split.metadata.len());
        for column in &mut split.metadata {
            columns.push(match column {
                Some(column) => column.finish(),
                None => values.next().expect("a column is in the value or metadata"),
            });
        }
        columns.extend(values);
        let schema = match &self.inference {
            Some(_) => self.schema_with(data.schema_ref().fields()),
            None => self.schema.clone(),
        };
        let options = RecordBatchOptions::new().with_row_count(Some(data.num_rows()));
        RecordBatch::try_new_with_options(schema, columns, &options).expect("every builder has appended every row")
    }

    /// The offset of a position, when the partition still has it.
    fn check_position(&self, partition: i32, position: Position, offsets: Offsets) -> Result<i64, Box<SourceError>> {
        let Offsets { low, high } = offsets;
        let finished = position.end.is_some_and(|end| position.next >= end);
        match position.next {
            next if finished => Ok(next),
            next if next < low => Err(self.lost(
                partition,
                position,
                format!("the broker has deleted the records up to offset {low} (see the topic's retention)"),
            )),
            next if next > high => Err(self.lost(
                partition,
                position,
                format!("the partition ends at offset {high}; was the topic made anew?"),
            )),
            next => Ok(next),
        }
    }

    fn lost(&self, partition: i32, position: Position, reason: String) -> Box<SourceError> {
        Box::new(SourceError::PositionLost {
            table: self.table.clone(),
            split: self.split_name(partition),
            position: format!("offset {}", position.next),
            reason,
            help: "start the job anew, with 'scan.startup.mode' where it shall begin".to_owned(),
        })
    }

    fn definition(&self, reason: String) -> Box<SourceError> {
        Box::new(SourceError::Definition { table: self.table.clone(), reason })
    }
}
