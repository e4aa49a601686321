//! A Kafka broker in KRaft mode, from the jars of its release.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;

use super::{Skip, installed, java};
use crate::process::{Process, free_port, leashed, log_tail};

const START_TIMEOUT: Duration = Duration::from_secs(90);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Any 22 characters of base64 that decode to 16 bytes.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// A broker that is alone in its cluster and makes no topic by itself; dropping it kills it and removes its files.
#[derive(Debug)]
pub struct Kafka {
    process: Process,
    port: u16,
    folder: PathBuf,
    config: PathBuf,
    scratch: TempDir,
}

impl Kafka {
    /// Starts a broker on a free port of the loopback interface: 5 to 15 s.
    ///
    /// # Panics
    /// If it is installed but does not start; the message has the last lines of its log.
    pub fn start() -> Result<Kafka, Skip> {
        let folder = installed("kafka")?;
        let scratch = TempDir::with_prefix("frazil-kafka-").expect("a test may write to the temporary folder");
        let port = free_port();
        let config = scratch.path().join("server.properties");
        let properties = broker_properties(port, free_port(), scratch.path());
        std::fs::write(&config, properties).expect("a test may write to its own folder");
        let mut format = java_command(&folder, scratch.path(), "kafka.tools.StorageTool");
        format.args(["format", "--standalone", "-t", CLUSTER_ID, "-c"]).arg(&config);
        let mut formatting = Process::spawn(format).expect("Java can be run");
        let end = formatting.wait(START_TIMEOUT).expect("a child can be waited for");
        assert!(
            end.is_some_and(|status| status.success()),
            "kafka could not format its storage: {end:?}\n{}",
            log_tail(&scratch.path().join("log"))
        );
        let process = spawn_broker(&folder, scratch.path(), &config);
        let mut kafka = Kafka { process, port, folder, config, scratch };
        kafka.wait_until_ready();
        Ok(kafka)
    }

    /// The broker that the tests of one binary share. Topics keep them apart: use a name of the test's own.
    pub fn shared() -> Result<&'static Kafka, Skip> {
        static SHARED: OnceLock<Result<Kafka, Skip>> = OnceLock::new();
        SHARED.get_or_init(Kafka::start).as_ref().map_err(Skip::clone)
    }

    /// What a client takes as `bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where the broker's log is.
    pub fn log(&self) -> PathBuf {
        self.scratch.path().join("log")
    }

    /// `kill -9`, then starts it again on the same port and the same files.
    pub fn kill_and_restart(&mut self) {
        self.process.kill();
        self.process = spawn_broker(&self.folder, self.scratch.path(), &self.config);
        self.wait_until_ready();
    }

    /// Makes a topic.
    ///
    /// # Panics
    /// If the broker refuses, as for a topic that exists.
    pub fn create_topic(&self, topic: &str, partitions: i32) {
        let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_TIMEOUT));
        let made = block_on(self.admin().create_topics([&wanted], &options));
        let made = made.expect("the broker answers").remove(0);
        made.unwrap_or_else(|(topic, code)| panic!("cannot create topic {topic}: {code}"));
        // The broker says so a moment before it lists the topic.
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        while self.listed_partitions(topic) < partitions {
            assert!(Instant::now() < deadline, "the broker does not list topic {topic}");
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Deletes a topic.
    ///
    /// # Panics
    /// If the broker refuses, as for a topic that does not exist.
    pub fn delete_topic(&self, topic: &str) {
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_TIMEOUT));
        let gone = block_on(self.admin().delete_topics(&[topic], &options));
        let gone = gone.expect("the broker answers").remove(0);
        gone.unwrap_or_else(|(topic, code)| panic!("cannot delete topic {topic}: {code}"));
    }

    /// Appends lines as records without a key, to one partition in order, or spread by the client. Returns when the
    /// broker has acknowledged all of them.
    ///
    /// # Panics
    /// If a record cannot be delivered.
    pub fn produce<L: AsRef<[u8]>>(&self, topic: &str, partition: Option<i32>, lines: impl IntoIterator<Item = L>) {
        self.send(topic, partition, lines.into_iter().map(|line| (None, Some(line))));
    }

    /// Appends records with keys to one partition, in order; those without a value are tombstones.
    ///
    /// # Panics
    /// If a record cannot be delivered.
    pub fn produce_keyed(&self, topic: &str, partition: i32, records: Vec<(String, Option<String>)>) {
        self.send(topic, Some(partition), records.into_iter().map(|(key, value)| (Some(key), value)));
    }

    fn send<L: AsRef<[u8]>>(
        &self,
        topic: &str,
        partition: Option<i32>,
        records: impl Iterator<Item = (Option<String>, Option<L>)>,
    ) {
        let producer: ThreadedProducer<DefaultProducerContext> = self
            .client()
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .create()
            .expect("these settings are librdkafka's");
        let (before, mut sent) = (self.end_offsets(topic), 0);
        for (key, value) in records {
            sent += 1;
            let mut record = BaseRecord::<[u8], [u8]>::to(topic);
            (record.key, record.payload) = (key.as_ref().map(String::as_bytes), value.as_ref().map(AsRef::as_ref));
            record.partition = partition;
            while let Err((error, back)) = producer.send(record) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                assert_eq!(error, full, "cannot produce to {topic}");
                producer.poll(POLL_INTERVAL);
                record = back;
            }
        }
        producer.flush(REQUEST_TIMEOUT).expect("the broker acknowledges what it was sent");
        // A record that failed for good is reported to a callback; the offsets say the same without one.
        assert_eq!(self.end_offsets(topic) - before, sent, "records of {topic} were not delivered");
    }

    /// Reads every record that a topic has now, in order within each partition.
    ///
    /// # Panics
    /// If the records do not come within 30 s.
    pub fn consume_all(&self, topic: &str) -> Vec<Vec<u8>> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "frazil-tests")
            .set("enable.auto.commit", "false")
            .create()
            .expect("these settings are librdkafka's");
        let mut assignment = TopicPartitionList::new();
        for partition in 0..self.partitions(topic) {
            assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("the beginning is an offset");
        }
        consumer.assign(&assignment).expect("the partitions exist");
        let wanted = self.end_offsets(topic);
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let mut records = Vec::new();
        while (records.len() as i64) < wanted {
            assert!(Instant::now() < deadline, "{} of {wanted} records of {topic}", records.len());
            if let Some(message) = consumer.poll(POLL_INTERVAL) {
                let message = message.expect("the broker sends records");
                records.push(message.payload().unwrap_or_default().to_vec());
            }
        }
        records
    }

    /// The sum of the partitions' end offsets: the records ever written, without transactions.
    fn end_offsets(&self, topic: &str) -> i64 {
        let consumer: BaseConsumer = self.client().create().expect("these settings are librdkafka's");
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let end = |partition| loop {
            match consumer.fetch_watermarks(topic, partition, REQUEST_TIMEOUT) {
                Ok((_, end)) => return end,
                // A broker that has just come back does not lead its partitions yet.
                Err(error) => assert!(Instant::now() < deadline, "partition {partition} of {topic}: {error}"),
            }
            std::thread::sleep(POLL_INTERVAL);
        };
        (0..self.partitions(topic)).map(end).sum()
    }

    fn partitions(&self, topic: &str) -> i32 {
        let partitions = self.listed_partitions(topic);
        assert!(partitions > 0, "no topic {topic}; create it first");
        partitions
    }

    fn listed_partitions(&self, topic: &str) -> i32 {
        let admin = self.admin();
        let metadata = admin.inner().fetch_metadata(Some(topic), REQUEST_TIMEOUT);
        let metadata = metadata.expect("the broker answers");
        let partitions = metadata.topics()[0].partitions().len();
        i32::try_from(partitions).expect("a test's topic has few partitions")
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("these settings are librdkafka's")
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap_servers());
        config
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        let admin = self.admin();
        // A broker that answers metadata with itself in it takes requests.
        while !admin
            .inner()
            .fetch_metadata(None, Duration::from_secs(2))
            .is_ok_and(|metadata| !metadata.brokers().is_empty())
        {
            let end = self.process.try_wait().expect("a child can be waited for");
            assert!(
                end.is_none() && Instant::now() < deadline,
                "kafka did not start ({end:?})\n{}",
                log_tail(&self.log())
            );
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

fn spawn_broker(folder: &Path, scratch: &Path, config: &Path) -> Process {
    let mut command = java_command(folder, scratch, "kafka.Kafka");
    command.arg(config);
    Process::spawn(command).expect("Java can be run")
}

fn java_command(folder: &Path, scratch: &Path, class: &str) -> Command {
    let log = File::options()
        .create(true)
        .append(true)
        .open(scratch.join("log"))
        .expect("a test may write to its own folder");
    let mut command = leashed(java());
    command
        .args(["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=info", "-cp"])
        .arg(folder.join("lib/*"))
        .arg(class)
        .stdout(Stdio::from(log.try_clone().expect("a file handle can be copied")))
        .stderr(Stdio::from(log));
    command
}

fn broker_properties(port: u16, controller_port: u16, scratch: &Path) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         controller.listener.names=CONTROLLER\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}\n\
         log.dirs={}\n\
         auto.create.topics.enable=false\n\
         group.initial.rebalance.delay.ms=0\n\
         offsets.topic.num.partitions=1\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.num.partitions=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n",
        scratch.join("logs").display()
    )
}
