//! What the options of a Kafka table mean.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::Result;
use crate::connectors::definition::TableDefinition;
use crate::connectors::error::SourceError;
use crate::options::Checked;

/// librdkafka's settings that the connector sets by itself, and why.
const OWN_PROPERTIES: [(&str, &str); 5] = [
    ("auto.offset.reset", "an offset that is gone is an error; choose where to start by 'scan.startup.mode'"),
    ("enable.auto.commit", "offsets are part of the job's checkpoints"),
    ("enable.auto.offset.store", "offsets are part of the job's checkpoints"),
    ("enable.partition.eof", "choose where to end by 'scan.bounded.mode'"),
    ("group.instance.id", "partitions are assigned by hand"),
];

/// Serializer classes and the like, which only clients in Java have.
const JAVA_PROPERTIES: [&str; 3] = ["key.deserializer", "value.deserializer", "sasl.jaas.config"];

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) topic: String,
    pub(super) servers: String,
    pub(super) startup: Startup,
    pub(super) bounded: bool,
    /// How often new partitions are looked for; none when they are not.
    pub(super) discovery_interval: Option<Duration>,
    pub(super) batch_rows: usize,
    pub(super) client: ClientConfig,
}

/// Where partitions without a position are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Startup {
    Earliest,
    Latest,
    /// The first record with this time or a later one, in milliseconds since 1970.
    Timestamp(i64),
    /// By partition.
    Offsets(BTreeMap<i32, i64>),
    /// Those that the consumer group committed.
    Group,
}

impl Settings {
    /// `startup`: what [`startup`] has found, or what the connector always does.
    pub(super) fn new(table: &TableDefinition, options: &Checked, startup: Result<Startup, String>) -> Result<Self> {
        let definition = |reason: String| {
            let table = table.name.clone();
            Box::new(SourceError::Definition { table, reason })
        };
        let bounded = options.text("scan.bounded.mode") == "latest-offset";
        let discovery = options.duration("scan.topic-partition-discovery.interval");
        let topic = options.text("topic").to_owned();
        if topic.contains([';', ',']) {
            let reason = format!("'topic' = '{topic}': one table reads one topic; make a table for each");
            return Err(definition(reason).into());
        }
        Ok(Self {
            topic,
            servers: options.text("properties.bootstrap.servers").to_owned(),
            startup: startup.map_err(definition)?,
            bounded,
            discovery_interval: (!bounded && !discovery.is_zero()).then_some(discovery),
            batch_rows: options.integer("batch-rows") as usize,
            client: client(options, bounded).map_err(definition)?,
        })
    }
}

/// Where the keys of the connector `kafka` say that reading starts.
pub(super) fn startup(options: &Checked) -> Result<Startup, String> {
    let needs = |key: &str, mode: &str| format!("'scan.startup.mode' = '{mode}' needs the option '{key}'");
    let mode = options.text("scan.startup.mode");
    let timestamp = options.integer_opt("scan.startup.timestamp-millis");
    let offsets = options.text_opt("scan.startup.specific-offsets");
    let startup = match mode {
        "latest-offset" => Startup::Latest,
        "group-offsets" => {
            let group = options.passed().find(|(key, _)| *key == "properties.group.id");
            group.ok_or_else(|| needs("properties.group.id", mode))?;
            Startup::Group
        }
        "timestamp" => {
            let timestamp = timestamp.ok_or_else(|| needs("scan.startup.timestamp-millis", mode))?;
            return Ok(Startup::Timestamp(timestamp));
        }
        "specific-offsets" => {
            let offsets = offsets.ok_or_else(|| needs("scan.startup.specific-offsets", mode))?;
            return Ok(Startup::Offsets(specific_offsets(offsets)?));
        }
        _ => Startup::Earliest,
    };
    match (timestamp, offsets) {
        (None, None) => Ok(startup),
        _ => Err(format!(
            "'scan.startup.timestamp-millis' and 'scan.startup.specific-offsets' mean nothing with \
             'scan.startup.mode' = '{mode}'; set the mode to 'timestamp' or 'specific-offsets'"
        )),
    }
}

/// `partition:0,offset:42;partition:1,offset:300`
fn specific_offsets(text: &str) -> Result<BTreeMap<i32, i64>, String> {
    let parse = |entry: &str| {
        let (partition, offset) = entry.trim().split_once(',')?;
        let partition: i32 = partition.trim().strip_prefix("partition:")?.trim().parse().ok()?;
        let offset: i64 = offset.trim().strip_prefix("offset:")?.trim().parse().ok()?;
        (partition >= 0 && offset >= 0).then_some((partition, offset))
    };
    let entries = text.split(';').filter(|entry| !entry.trim().is_empty());
    let parsed = entries.map(|entry| {
        parse(entry).ok_or_else(|| {
            format!(
                "'scan.startup.specific-offsets' has to be such as 'partition:0,offset:42;partition:1,offset:300', found '{entry}'"
            )
        })
    });
    parsed.collect()
}

fn client(options: &Checked, bounded: bool) -> Result<ClientConfig, String> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", options.text("properties.bootstrap.servers"))
        // Needed for an assignment; nothing is committed under it.
        .set("group.id", "frazil")
        .set("client.id", "frazil")
        .set("statistics.interval.ms", "1000")
        .set("isolation.level", "read_committed")
        // Records that wait in the client, in KiB.
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "50");
    // By default the client says nothing where the program does not use the crate `log`; errors need its reasons.
    config.set_log_level(RDKafkaLogLevel::Info);
    for (key, value) in options.passed_under("properties.") {
        if let Some((_, why)) = OWN_PROPERTIES.iter().find(|(own, _)| *own == key) {
            return Err(format!("'properties.{key}' can't be set: {why}"));
        }
        if JAVA_PROPERTIES.contains(&key) {
            return Err(format!(
                "'properties.{key}' is a setting of Java clients; this one is librdkafka, take it away \
                 (for SASL there are 'properties.sasl.username' and 'properties.sasl.password')"
            ));
        }
        config.set(key, value);
    }
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", if bounded { "true" } else { "false" });
    // librdkafka knows which names and values it has.
    config.create_native_config().map_err(|error| match error {
        rdkafka::error::KafkaError::ClientConfig(_, what, key, value) => {
            format!("'properties.{key}' = '{value}': {what}")
        }
        other => other.to_string(),
    })?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::kafka::{KafkaSource, options};
    use arrow::datatypes::{DataType, Field, Schema};

    fn table(more: &[(&str, &str)]) -> TableDefinition {
        let mut all =
            vec![("connector", "kafka"), ("topic", "flights"), ("properties.bootstrap.servers", "127.0.0.1:9092")];
        all.extend_from_slice(more);
        TableDefinition::new("t", &Schema::new(vec![Field::new("id", DataType::Int64, true)]), all)
    }

    fn settings(more: &[(&str, &str)]) -> Result<Settings> {
        let table = table(more);
        let options = options().check(&table.options)?;
        Settings::new(&table, &options, startup(&options))
    }

    #[test]
    fn where_to_start() {
        let startup = |more: &[(&str, &str)]| settings(more).unwrap().startup;
        assert_eq!(startup(&[]), Startup::Earliest);
        let timestamp = [("scan.startup.mode", "timestamp"), ("scan.startup.timestamp-millis", "5")];
        assert_eq!(startup(&timestamp), Startup::Timestamp(5));
        let offsets = [
            ("scan.startup.mode", "specific-offsets"),
            ("scan.startup.specific-offsets", "partition:0,offset:42;partition:1,offset:300"),
        ];
        assert_eq!(startup(&offsets), Startup::Offsets([(0, 42), (1, 300)].into()));
    }

    #[test]
    fn the_client_s_settings_pass_through_but_for_those_that_would_lose_rows() {
        let config = settings(&[("properties.fetch.wait.max.ms", "10")]).unwrap().client;
        assert_eq!(config.get("fetch.wait.max.ms"), Some("10"));
        assert_eq!(config.get("isolation.level"), Some("read_committed"));
        let config = settings(&[("properties.isolation.level", "read_uncommitted")]).unwrap().client;
        assert_eq!(config.get("isolation.level"), Some("read_uncommitted"));
    }

    #[test]
    fn a_definition_needs_no_broker() {
        let skip = ("json.ignore-parse-errors", "true");
        for more in [&[][..], &[skip], &[skip, ("on-error", "skip")]] {
            KafkaSource::new(&table(more)).unwrap();
        }
    }

    #[test]
    fn mistakes_are_found_without_a_broker() {
        for (key, value, wanted) in [
            ("properties.auto.offset.reset", "latest", "'scan.startup.mode'"),
            ("properties.enable.auto.commit", "true", "checkpoints"),
            ("properties.sasl.jaas.config", "x", "Java"),
            ("properties.fetch.wait.max", "10", "No such configuration property"),
            ("properties.isolation.level", "serializable", "isolation.level"),
            ("scan.startup.mode", "timestamp", "'scan.startup.timestamp-millis'"),
            ("scan.startup.mode", "group-offsets", "'properties.group.id'"),
            ("scan.startup.timestamp-millis", "5", "set the mode"),
            ("topic", "a;b", "one topic"),
            ("bootstrap.servers", "x", "did you mean 'properties.bootstrap.servers'?"),
        ] {
            let error = KafkaSource::new(&table(&[(key, value)])).unwrap_err().to_string();
            assert!(error.contains(wanted), "{key}={value}: {error}");
        }
        let offsets = [("scan.startup.mode", "specific-offsets"), ("scan.startup.specific-offsets", "0:42")];
        let error = settings(&offsets).unwrap_err().to_string();
        assert!(error.contains("partition:0,offset:42"), "{error}");
    }
}
