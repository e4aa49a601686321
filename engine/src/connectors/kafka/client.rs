//! What a broker is asked besides records.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::settings::Settings;
use crate::Result;
use crate::connectors::error::SourceError;
use crate::suggest::nearest_one;

/// How long a broker has to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How many events are looked through for the reason of a failure: several for each broker.
const EVENTS_MAX: usize = 100;

/// Offsets that a partition has: from the first that is kept to the one that the next record gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offsets {
    pub(super) low: i64,
    pub(super) high: i64,
}

/// A client that is connected.
pub(super) struct Client {
    table: String,
    topic: String,
    servers: String,
    pub(super) consumer: BaseConsumer<Context>,
}

impl Client {
    /// # Errors
    /// [`SourceError::Unavailable`] when no broker answers, or has no such topic.
    pub(super) fn connect(table: &str, settings: &Settings) -> Result<Self, Box<SourceError>> {
        let consumer = BaseConsumer::from_config_and_context(&settings.client, Context::default());
        let consumer = consumer.map_err(|error| {
            Box::new(SourceError::Definition {
                table: table.to_owned(),
                reason: format!("the Kafka client can't be made: {error}"),
            })
        })?;
        let client = Self {
            table: table.to_owned(),
            topic: settings.topic.clone(),
            servers: settings.servers.clone(),
            consumer,
        };
        client.partitions()?;
        Ok(client)
    }

    /// The partitions that the topic has now, in their order.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub(super) fn partitions(&self) -> Result<Vec<i32>, Box<SourceError>> {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), REQUEST_TIMEOUT);
        let metadata = metadata.map_err(|error| self.unreachable(&error))?;
        let topic = metadata.topics().first();
        if let Some(error) = topic.and_then(MetadataTopic::error) {
            let code = RDKafkaErrorCode::from(error);
            return Err(match code {
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::InvalidTopic => self.no_topic(),
                other => self.unreachable(&KafkaError::MetadataFetch(other)),
            });
        }
        let mut partitions: Vec<i32> =
            topic.into_iter().flat_map(|topic| topic.partitions().iter().map(|partition| partition.id())).collect();
        partitions.sort_unstable();
        match partitions.is_empty() {
            true => Err(self.no_topic()),
            false => Ok(partitions),
        }
    }

    /// Records that the brokers have and that were not polled yet, as the client knew it last.
    pub(super) fn records_behind(&self) -> Option<u64> {
        *self.consumer.context().behind.lock().expect("nobody panics while holding it")
    }

    /// Which offsets a partition has now; without read-uncommitted ones, the high one is that of the first open
    /// transaction.
    ///
    /// # Errors
    /// [`SourceError::Unavailable`] when no broker answers.
    pub(super) fn offsets(&self, partition: i32) -> Result<Offsets, Box<SourceError>> {
        let found = self.consumer.fetch_watermarks(&self.topic, partition, REQUEST_TIMEOUT);
        let (low, high) = found.map_err(|error| self.unreachable(&error))?;
        Ok(Offsets { low, high })
    }

    /// For each partition the first offset with a time or a later one; none where there is none.
    ///
    /// # Errors
    /// [`SourceError::Unavailable`] when no broker answers.
    pub(super) fn offset_at(&self, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, Box<SourceError>> {
        let wanted = self.list(partition, Offset::Offset(timestamp_ms));
        let found = self.consumer.offsets_for_times(wanted, REQUEST_TIMEOUT);
        self.single(found)
    }

    /// The offset that the consumer group committed; none when it did not.
    ///
    /// # Errors
    /// [`SourceError::Unavailable`] when no broker answers.
    pub(super) fn committed_offset(&self, partition: i32) -> Result<Option<i64>, Box<SourceError>> {
        let wanted = self.list(partition, Offset::Invalid);
        let found = self.consumer.committed_offsets(wanted, REQUEST_TIMEOUT);
        self.single(found)
    }

    fn single(&self, found: Result<TopicPartitionList, KafkaError>) -> Result<Option<i64>, Box<SourceError>> {
        let found = found.map_err(|error| self.unreachable(&error))?;
        let elements = found.elements();
        let element: &TopicPartitionListElem<'_> = elements.first().expect("one partition was asked for");
        element.error().map_err(|error| self.unreachable(&error))?;
        Ok(match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        })
    }

    /// Adds a partition to those that are read.
    ///
    /// # Errors
    /// [`SourceError::Read`] when the client refuses.
    pub(super) fn assign(&self, partition: i32, offset: i64) -> Result<(), Box<SourceError>> {
        let wanted = self.list(partition, Offset::Offset(offset));
        let assigned = self.consumer.incremental_assign(&wanted);
        assigned.map_err(|error| self.failed(partition, error))
    }

    /// Stops fetching a partition.
    ///
    /// # Errors
    /// [`SourceError::Read`] when the client refuses.
    pub(super) fn pause(&self, partition: i32) -> Result<(), Box<SourceError>> {
        let paused = self.consumer.pause(&self.list(partition, Offset::Invalid));
        paused.map_err(|error| self.failed(partition, error))
    }

    fn list(&self, partition: i32, offset: Offset) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.topic, partition, offset).expect("offsets that are not negative can be set");
        list
    }

    fn failed(&self, partition: i32, error: KafkaError) -> Box<SourceError> {
        Box::new(SourceError::Read {
            table: self.table.clone(),
            split: format!("{}/{partition}", self.topic),
            source: error.into(),
        })
    }

    /// The error for a broker that did not answer as it should.
    pub(super) fn unreachable(&self, error: &KafkaError) -> Box<SourceError> {
        // The client tells why only to those who poll it; whoever asks for the reason reads no more records.
        for _ in 0..EVENTS_MAX {
            // None says that an event was taken as well as that there is none.
            let _ = self.consumer.poll(Duration::ZERO);
        }
        let why = self.consumer.context().last_failure().unwrap_or_else(|| error.to_string());
        Box::new(SourceError::Unavailable {
            table: self.table.clone(),
            what: format!("no Kafka broker answered at {} ({why})", self.servers),
            help: "check 'properties.bootstrap.servers', that the broker runs, and that the address that it \
                   advertises can be reached from here"
                .to_owned(),
        })
    }

    /// The error for a topic that is not there.
    pub(super) fn no_topic(&self) -> Box<SourceError> {
        let all = self.consumer.fetch_metadata(None, REQUEST_TIMEOUT);
        let names: Vec<String> =
            all.map(|all| all.topics().iter().map(|topic| topic.name().to_owned()).collect()).unwrap_or_default();
        let help = match nearest_one(&self.topic, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean '{near}'?"),
            None => "create it, or check the option 'topic'".to_owned(),
        };
        Box::new(SourceError::Unavailable {
            table: self.table.clone(),
            what: format!("there is no topic '{}' at {}", self.topic, self.servers),
            help,
        })
    }
}

/// Takes the client's log into ours, and keeps the last failure for errors.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    last_failure: Arc<Mutex<Option<String>>>,
    /// Told with each of the client's statistics.
    behind: Arc<Mutex<Option<u64>>>,
}

impl Context {
    fn last_failure(&self) -> Option<String> {
        self.last_failure.lock().expect("nobody panics while holding it").clone()
    }
}

impl ClientContext for Context {
    /// Adds up what the brokers have beyond what was polled.
    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let behind = partitions.filter(|partition| partition.fetch_state == "active").map(|partition| {
            let end = if partition.ls_offset >= 0 { partition.ls_offset } else { partition.hi_offset };
            let next = if partition.app_offset >= 0 { partition.app_offset } else { partition.next_offset };
            u64::try_from(end.saturating_sub(next.max(0))).unwrap_or(0)
        });
        *self.behind.lock().expect("nobody panics while holding it") = Some(behind.sum());
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                tracing::debug!(facility, "kafka client: {message}");
            }
            _ => tracing::info!(facility, "kafka client: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::info!(%error, "kafka client: {reason}");
        // That all brokers are down says less than why the last one is.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            let mut last = self.last_failure.lock().expect("nobody panics while holding it");
            *last = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Context {}
