//! The broker that the jobs' tests read from.

use frazil_tests::peers::Kafka;

#[test]
fn a_broker_gives_back_what_it_was_given_also_after_a_kill() {
    let mut kafka = match Kafka::start() {
        Ok(kafka) => kafka,
        Err(skip) => return skip.report(),
    };
    kafka.create_topic("flights", 2);
    let lines: Vec<String> = (0..20_000).map(|id| format!("{{\"id\":{id}}}")).collect();
    let (first, second) = lines.split_at(10_000);
    kafka.produce("flights", Some(0), first);
    kafka.produce("flights", Some(1), second);
    kafka.kill_and_restart();
    let mut read: Vec<String> = kafka
        .consume_all("flights")
        .into_iter()
        .map(|record| String::from_utf8(record).expect("it was text"))
        .collect();
    read.sort_unstable();
    let mut wanted = lines;
    wanted.sort_unstable();
    assert_eq!(read.len(), wanted.len());
    assert!(read == wanted, "other records came back than were sent");
    kafka.delete_topic("flights");
}
