//! Kafka as a source: a real broker, every position, transactions, and what a person gets wrong.

use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use frazil_engine::connectors::{SourceColumn, TableDefinition, bounded_stream, create_source};
use frazil_engine::{Source, SourceBatch, SourceStream};
use frazil_storage::Env;
use frazil_tests::peers::{Kafka, Skip};
use frazil_writer::SourcePositions;
use futures::TryStreamExt;
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const TIMEOUT: Duration = Duration::from_secs(30);

fn broker() -> Option<&'static Kafka> {
    Kafka::shared().map_err(|skip: Skip| skip.report()).ok()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn schema() -> Schema {
    Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)])
}

fn table(servers: &str, topic: &str, more: &[(&str, &str)]) -> TableDefinition {
    let mut options = vec![("connector", "kafka"), ("topic", topic), ("properties.bootstrap.servers", servers)];
    options.extend_from_slice(more);
    TableDefinition::new("events", &schema(), options)
}

fn source(kafka: &Kafka, topic: &str, more: &[(&str, &str)]) -> Arc<dyn Source> {
    create_source(&table(&kafka.bootstrap_servers(), topic, more), &Env::system()).unwrap()
}

const BOUNDED: (&str, &str) = ("scan.bounded.mode", "latest-offset");

fn lines(ids: std::ops::Range<i64>) -> Vec<String> {
    ids.map(|id| format!("{{\"id\":{id},\"name\":\"n{id}\"}}")).collect()
}

async fn start(source: &dyn Source, positions: &SourcePositions, stop: &CancellationToken) -> SourceStream {
    source.start(0, 1, positions, stop.clone()).await.unwrap()
}

async fn read(source: &dyn Source, subtask: (usize, usize), positions: &SourcePositions) -> Vec<SourceBatch> {
    let stop = CancellationToken::new();
    let mut stream = source.start(subtask.0, subtask.1, positions, stop).await.unwrap();
    let mut all = Vec::new();
    while let Some(batch) = stream.recv().await {
        all.push(batch.unwrap());
    }
    all
}

/// What is wrong, at the start or with a row.
async fn mistake(source: &dyn Source, positions: &SourcePositions) -> String {
    let stop = CancellationToken::new();
    let mut stream = match source.start(0, 1, positions, stop).await {
        Ok(stream) => stream,
        Err(error) => return error.to_string(),
    };
    while let Some(batch) = stream.recv().await {
        if let Err(error) = batch {
            return error.to_string();
        }
    }
    panic!("nothing is wrong");
}

fn ids_of(batch: &SourceBatch) -> Vec<i64> {
    batch.batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

fn ids(batches: &[SourceBatch]) -> Vec<i64> {
    let mut ids: Vec<i64> = batches.iter().flat_map(ids_of).collect();
    ids.sort_unstable();
    ids
}

fn positions_after(batches: &[SourceBatch]) -> SourcePositions {
    batches.iter().map(|batch| (batch.split.clone(), batch.position.clone())).collect()
}

/// Reads from an endless stream until it has given as many rows.
async fn rows(stream: &mut SourceStream, count: usize) -> Vec<SourceBatch> {
    let mut all: Vec<SourceBatch> = Vec::new();
    while all.iter().map(|batch| batch.batch.num_rows()).sum::<usize>() < count {
        let batch = tokio::time::timeout(TIMEOUT, stream.recv()).await.expect("rows come");
        all.push(batch.expect("the stream goes on").unwrap());
    }
    all
}

fn admin(kafka: &Kafka) -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap_servers());
    config.create().unwrap()
}

fn producer(kafka: &Kafka, transactional_id: Option<&str>) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap_servers());
    if let Some(id) = transactional_id {
        config.set("transactional.id", id);
    }
    config.create().unwrap()
}

#[test]
fn reading_on_from_every_position_gives_the_rest() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("positions", 3);
    for partition in 0..3 {
        let first = i64::from(partition) * 100;
        kafka.produce("positions", Some(partition), lines(first..first + 40));
    }
    runtime().block_on(async {
        let source = source(kafka, "positions", &[BOUNDED, ("batch-rows", "7")]);
        assert!(source.is_bounded());
        assert_eq!(source.parallelism_max().await.unwrap(), 3);
        let all = read(&*source, (0, 1), &SourcePositions::new()).await;
        assert_eq!(ids(&all).len(), 120);
        // The read ends where the topic ended when it began.
        kafka.produce("positions", Some(1), lines(1000..1001));
        for count in 3..=all.len() {
            let positions = positions_after(&all[..count]);
            let rest = read(&*source, (0, 1), &positions).await;
            assert_eq!(ids(&rest), ids(&all[count..]), "after {count} batches: {positions:?}");
        }
        let mut parts = Vec::new();
        for subtask in 0..2 {
            parts.extend(read(&*source, (subtask, 2), &SourcePositions::new()).await);
        }
        assert_eq!(ids(&parts).len(), 121);
        let stream = bounded_stream(&*source, "events", 3).await.unwrap();
        let batches: Vec<_> = stream.try_collect().await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 121);
    });
}

#[test]
fn only_committed_transactions_are_read() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("transactions", 1);
    let producer = producer(kafka, Some("transactions"));
    producer.init_transactions(TIMEOUT).unwrap();
    let send = |ids: std::ops::Range<i64>| {
        producer.begin_transaction().unwrap();
        for line in lines(ids) {
            producer.send(BaseRecord::<(), str>::to("transactions").payload(&line)).unwrap();
        }
        producer.flush(TIMEOUT).unwrap();
    };
    send(0..5);
    producer.commit_transaction(TIMEOUT).unwrap();
    send(100..105);
    producer.abort_transaction(TIMEOUT).unwrap();
    send(5..10);
    producer.commit_transaction(TIMEOUT).unwrap();
    send(10..15);
    runtime().block_on(async {
        let source = source(kafka, "transactions", &[BOUNDED, ("batch-rows", "2")]);
        let all = read(&*source, (0, 1), &SourcePositions::new()).await;
        assert_eq!(ids(&all), (0..10).collect::<Vec<_>>());
        for count in 1..=all.len() {
            let rest = read(&*source, (0, 1), &positions_after(&all[..count])).await;
            assert_eq!(ids(&rest), ids(&all[count..]), "after {count} batches");
        }
        producer.abort_transaction(TIMEOUT).unwrap();
        // Nothing but an aborted transaction is left: the read still ends.
        let all = read(&*source, (0, 1), &SourcePositions::new()).await;
        assert_eq!(ids(&all), (0..10).collect::<Vec<_>>());
        let uncommitted = ("properties.isolation.level", "read_uncommitted");
        let source = self::source(kafka, "transactions", &[BOUNDED, uncommitted]);
        assert_eq!(ids(&read(&*source, (0, 1), &SourcePositions::new()).await).len(), 20);
    });
}

#[test]
fn a_topic_or_broker_that_is_not_there_is_named_within_15_seconds() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("orders", 1);
    runtime().block_on(async {
        let begin = Instant::now();
        let nothing = SourcePositions::new();
        let servers = kafka.bootstrap_servers();
        assert_eq!(
            mistake(&*source(kafka, "order", &[]), &nothing).await,
            format!("table 'events': there is no topic 'order' at {servers}; did you mean 'orders'?")
        );
        assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
        let begin = Instant::now();
        let closed = format!("127.0.0.1:{}", frazil_tests::process::free_port());
        let nobody = create_source(&table(&closed, "orders", &[]), &Env::system()).unwrap();
        let found = mistake(&*nobody, &nothing).await;
        assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
        assert!(found.contains(&format!("no Kafka broker answered at {closed}")), "{found}");
        assert!(found.contains("Connection refused") && found.contains("check"), "{found}");
    });
}

#[test]
fn an_offset_that_is_gone_is_never_reset() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("retention", 1);
    kafka.produce("retention", Some(0), lines(0..20));
    let mut until = TopicPartitionList::new();
    until.add_partition_offset("retention", 0, Offset::Offset(10)).unwrap();
    block_on(admin(kafka).delete_records(&until, &AdminOptions::new())).unwrap();
    runtime().block_on(async {
        let at = |offset: &str| SourcePositions::from([("retention/0".to_owned(), offset.to_owned())]);
        let source = source(kafka, "retention", &[]);
        let found = mistake(&*source, &at("9")).await;
        assert!(found.contains("retention/0 can't be read on from offset 9"), "{found}");
        assert!(found.contains("deleted the records up to offset 10"), "{found}");
        let found = mistake(&*source, &at("21")).await;
        assert!(found.contains("the partition ends at offset 20"), "{found}");
        let gone = SourcePositions::from([("retention/7".to_owned(), "0".to_owned())]);
        let found = mistake(&*source, &gone).await;
        assert!(found.contains("does not have the partition any more"), "{found}");
        let other = SourcePositions::from([("other/0".to_owned(), "0".to_owned())]);
        let found = mistake(&*source, &other).await;
        assert!(found.contains("no position in the topic 'retention'"), "{found}");
        let stop = CancellationToken::new();
        let mut stream = start(&*source, &at("10"), &stop).await;
        assert_eq!(ids(&rows(&mut stream, 10).await), (10..20).collect::<Vec<_>>());
        stop.cancel();
    });
}

#[test]
fn a_malformed_record_is_named_or_passed_over() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("malformed", 1);
    kafka.produce("malformed", Some(0), ["{\"id\":1}", "{\"id\":\"x\"}", "", "{\"id\":4}"]);
    runtime().block_on(async {
        let nothing = SourcePositions::new();
        let strict = source(kafka, "malformed", &[BOUNDED]);
        let found = mistake(&*strict, &nothing).await;
        let wanted = "table 'events': topic 'malformed' partition 0 offset 1, field 'id': expected BIGINT, found 'x'";
        assert!(found.starts_with(wanted), "{found}");
        let lenient = source(kafka, "malformed", &[BOUNDED, ("on-error", "skip")]);
        assert_eq!(ids(&read(&*lenient, (0, 1), &nothing).await), [1, 4]);
        assert_eq!(lenient.rows_skipped(), 2);
    });
}

#[test]
fn metadata_columns_come_from_the_record() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("metadata", 2);
    let producer = producer(kafka, None);
    let headers = OwnedHeaders::new().insert(Header { key: "trace", value: Some("abc") });
    let record = BaseRecord::to("metadata").partition(1).key("k").payload("{\"id\":7}");
    producer.send(record.timestamp(1_357_041_600_123).headers(headers)).unwrap();
    producer.send(BaseRecord::<(), str>::to("metadata").partition(1).payload("{\"id\":8}")).unwrap();
    producer.flush(TIMEOUT).unwrap();
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let header_types = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Binary, true)];
    let entries = Field::new("entries", DataType::Struct(header_types.into()), false);
    let mut table = table(&kafka.bootstrap_servers(), "metadata", &[BOUNDED]);
    table.columns.truncate(1);
    for (name, data_type) in [
        ("topic", DataType::Utf8),
        ("partition", DataType::Int32),
        ("offset", DataType::Int64),
        ("timestamp", utc),
        ("key", DataType::Utf8),
        ("headers", DataType::Map(Arc::new(entries), false)),
    ] {
        let metadata =
            SourceColumn { field: Arc::new(Field::new(name, data_type, true)), metadata_key: Some(name.to_owned()) };
        table.columns.insert(0, metadata);
    }
    runtime().block_on(async {
        let source = create_source(&table, &Env::system()).unwrap();
        let all = read(&*source, (0, 1), &SourcePositions::new()).await;
        let batch = all.iter().find(|batch| batch.batch.num_rows() > 0).unwrap();
        let shown = |row: usize| {
            let columns = batch.batch.columns().iter();
            let values = columns.map(|column| arrow::util::display::array_value_to_string(column, row).unwrap());
            values.collect::<Vec<_>>().join("|")
        };
        assert_eq!(batch.batch.schema(), source.schema());
        assert_eq!(shown(0), "{trace: 616263}|k|2013-01-01T12:00:00.123Z|0|1|metadata|7");
        assert!(batch.batch.column(1).is_null(1));
        assert_eq!(batch.split, "metadata/1");
    });
}

#[test]
fn columns_come_from_the_record_s_key_where_the_value_does_not_have_them() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("keyed", 1);
    let record = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    let records = [
        record("{\"id\":1}", "{\"id\":10,\"name\":\"a\"}"),
        record("{\"id\":2,\"name\":\"of the key\"}", "{}"),
        record("{\"id\":\"x\"}", "{\"id\":30}"),
        ("{\"id\":4}".to_owned(), None),
    ];
    kafka.produce_keyed("keyed", 0, records.into());
    let keys = [BOUNDED, ("key.format", "json"), ("key.fields", "id")];
    runtime().block_on(async {
        let nothing = SourcePositions::new();
        let except_key = ("value.fields-include", "EXCEPT_KEY");
        let strict = source(kafka, "keyed", &[&keys[..], &[except_key]].concat());
        let found = mistake(&*strict, &nothing).await;
        let wanted = "table 'events': topic 'keyed' partition 0 offset 2, field 'id': expected BIGINT, found 'x' (in the \
                      record's key)";
        assert!(found.starts_with(wanted), "{found}");
        let lenient = source(kafka, "keyed", &[&keys[..], &[except_key, ("on-error", "skip")]].concat());
        let batches = read(&*lenient, (0, 1), &nothing).await;
        assert_eq!((ids(&batches), lenient.rows_skipped()), (vec![1, 2], 2));
        let names = batches.iter().flat_map(|batch| batch.batch.column(1).as_string::<i32>());
        assert_eq!(names.collect::<Vec<_>>(), [Some("a"), None]);
        // Where both have it, the value counts.
        let both = source(kafka, "keyed", &[&keys[..], &[("on-error", "skip")]].concat());
        assert_eq!(ids(&read(&*both, (0, 1), &nothing).await), [10, 30]);
    });
}

#[test]
fn an_endless_read_tells_where_it_starts_and_finds_new_partitions() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("endless", 1);
    kafka.produce("endless", Some(0), lines(0..10));
    let discovery = ("scan.topic-partition-discovery.interval", "200 ms");
    runtime().block_on(async {
        let source = source(kafka, "endless", &[("scan.startup.mode", "latest-offset"), discovery]);
        assert!(!source.is_bounded());
        let stop = CancellationToken::new();
        let mut stream = start(&*source, &SourcePositions::new(), &stop).await;
        let first = stream.recv().await.unwrap().unwrap();
        assert_eq!((first.batch.num_rows(), &*first.position), (0, "10"));
        kafka.produce("endless", Some(0), lines(10..20));
        let read = rows(&mut stream, 10).await;
        assert_eq!(ids(&read), (10..20).collect::<Vec<_>>());
        let grow = NewPartitions::new("endless", 2);
        admin(kafka).create_partitions([&grow], &AdminOptions::new()).await.unwrap();
        kafka.produce("endless", Some(1), lines(20..30));
        let more = rows(&mut stream, 10).await;
        assert_eq!(ids(&more), (20..30).collect::<Vec<_>>());
        stop.cancel();
        while stream.recv().await.is_some_and(|batch| batch.is_ok()) {}
        // A partition that no checkpoint knows is new, whatever the startup mode says.
        let again = CancellationToken::new();
        let mut stream = start(&*source, &positions_after(&[first]), &again).await;
        assert_eq!(ids(&rows(&mut stream, 20).await), (10..30).collect::<Vec<_>>());
        again.cancel();
    });
}

#[test]
fn a_slow_reader_is_behind_and_one_that_has_read_all_is_not() {
    const RECORDS: i64 = 20_000;
    let Some(kafka) = broker() else { return };
    kafka.create_topic("lag", 1);
    kafka.produce("lag", Some(0), lines(0..RECORDS));
    runtime().block_on(async {
        let source = source(kafka, "lag", &[("batch-rows", "50")]);
        assert_eq!(source.lag(), None, "nobody has looked yet");
        let stop = CancellationToken::new();
        let mut stream = start(&*source, &SourcePositions::new(), &stop).await;
        let deadline = Instant::now() + TIMEOUT;
        let (mut read, mut behind) = (0, 0);
        while behind == 0 {
            assert!(Instant::now() < deadline, "no lag after {read} rows");
            read += stream.recv().await.unwrap().unwrap().batch.num_rows() as i64;
            tokio::time::sleep(Duration::from_millis(50)).await;
            behind = source.lag().map_or(0, |lag| lag.amount);
        }
        assert!(read < RECORDS && behind < RECORDS as u64, "{read} rows read, {behind} behind");
        while read < RECORDS {
            read += stream.recv().await.unwrap().unwrap().batch.num_rows() as i64;
        }
        while source.lag().is_none_or(|lag| lag.amount > 0) {
            assert!(Instant::now() < deadline, "{:?} behind when all is read", source.lag());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stop.cancel();
    });
}

#[test]
fn a_record_is_there_soon_after_it_was_sent() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("latency", 1);
    let producer = producer(kafka, None);
    runtime().block_on(async {
        let stop = CancellationToken::new();
        let source = source(kafka, "latency", &[]);
        let mut stream = start(&*source, &SourcePositions::new(), &stop).await;
        let mut latencies = Vec::new();
        for line in lines(0..20) {
            producer.send(BaseRecord::<(), str>::to("latency").payload(&line)).unwrap();
            producer.flush(TIMEOUT).unwrap();
            let sent = Instant::now();
            rows(&mut stream, 1).await;
            latencies.push(sent.elapsed());
        }
        latencies.sort_unstable();
        // It lingers for 20 ms; the rest is for a machine that does other things too.
        assert!(latencies[10] < Duration::from_millis(200), "{latencies:?}");
        stop.cancel();
    });
}

#[test]
fn a_read_starts_at_a_time_or_at_offsets() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("startup", 1);
    let producer = producer(kafka, None);
    for (id, line) in (0..10).zip(lines(0..10)) {
        let record = BaseRecord::<(), str>::to("startup").payload(&line).timestamp(1_000_000 + id * 1000);
        producer.send(record).unwrap();
    }
    producer.flush(TIMEOUT).unwrap();
    runtime().block_on(async {
        let nothing = SourcePositions::new();
        let time = [("scan.startup.mode", "timestamp"), ("scan.startup.timestamp-millis", "1003500"), BOUNDED];
        assert_eq!(ids(&read(&*source(kafka, "startup", &time), (0, 1), &nothing).await), [4, 5, 6, 7, 8, 9]);
        let mode = ("scan.startup.mode", "specific-offsets");
        let offsets = [mode, ("scan.startup.specific-offsets", "partition:0,offset:8"), BOUNDED];
        assert_eq!(ids(&read(&*source(kafka, "startup", &offsets), (0, 1), &nothing).await), [8, 9]);
        let wrong = [mode, ("scan.startup.specific-offsets", "partition:1,offset:8")];
        let found = mistake(&*source(kafka, "startup", &wrong), &nothing).await;
        assert!(found.contains("no offset for partition 0"), "{found}");
        let group = [("scan.startup.mode", "group-offsets"), ("properties.group.id", "nobody")];
        let found = mistake(&*source(kafka, "startup", &group), &nothing).await;
        assert!(found.contains("committed no offset for partition 0"), "{found}");
    });
}

#[test]
fn a_broker_that_comes_back_is_read_on() {
    let mut kafka = match Kafka::start() {
        Ok(kafka) => kafka,
        Err(skip) => return skip.report(),
    };
    kafka.create_topic("restart", 2);
    kafka.produce("restart", Some(0), lines(0..500));
    let runtime = runtime();
    let stop = CancellationToken::new();
    let source = source(&kafka, "restart", &[("batch-rows", "50")]);
    let mut stream = runtime.block_on(start(&*source, &SourcePositions::new(), &stop));
    let mut all = runtime.block_on(rows(&mut stream, 100));
    kafka.kill_and_restart();
    kafka.produce("restart", Some(1), lines(500..1000));
    let before: usize = all.iter().map(|batch| batch.batch.num_rows()).sum();
    all.extend(runtime.block_on(rows(&mut stream, 1000 - before)));
    assert_eq!(ids(&all), (0..1000).collect::<Vec<_>>());
    stop.cancel();
}
