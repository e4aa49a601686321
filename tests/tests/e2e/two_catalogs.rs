//! One job, two catalogs that know nothing of each other: their tables can't change in one transaction, and are brought
//! to the same checkpoint all the same.

use super::*;

const RECORDS: u64 = 2_000;

#[test]
fn tables_of_two_catalogs_have_every_row_once_however_often_the_job_is_killed_between_them() {
    let folder = TempDir::with_prefix("frazil-e2e-").unwrap();
    let (data_dir, other_dir) = (folder.path().join("data"), folder.path().join("other"));
    let server = Server::start(&other_dir);
    let input = folder.path().join("in.json");
    let lines: String = (0..RECORDS).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    std::fs::write(&input, lines).unwrap();
    let source = |name: &str| {
        format!(
            "CREATE TABLE {name} (id BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json',
                 'rows-per-second' = '1000', 'batch-rows' = '40');",
            input.display()
        )
    };
    let script = folder.path().join("job.sql");
    let job = format!(
        "{} {}
         CREATE TABLE IF NOT EXISTS a (id BIGINT);
         CREATE CATALOG other WITH ('type' = 'iceberg', 'catalog-type' = 'rest', 'uri' = '{}');
         CREATE DATABASE IF NOT EXISTS other.db;
         CREATE TABLE IF NOT EXISTS other.db.b (id BIGINT);
         INSERT INTO a SELECT id FROM src_a;
         INSERT INTO other.db.b SELECT id FROM src_b;",
        source("src_a"),
        source("src_b"),
        server.url()
    );
    std::fs::write(&script, job).unwrap();
    let mut reached = 0;
    let steps = [
        "fence-committed:1",
        "committable-written:1",
        "sink-committed:1",
        "pointer-swapped:3",
        "sink-committed:2",
        "pointer-swapped:4",
        "checkpoint-committed:1",
    ];
    for stop_at in steps {
        let mut armed = spawn_job(&script, &data_dir, Some(stop_at));
        reached += usize::from(armed.wait(STEP_TIMEOUT).unwrap().is_some());
        armed.kill();
    }
    let mut last = spawn_job(&script, &data_dir, None);
    let status = last.wait(Duration::from_secs(120)).unwrap().expect("the file ends");
    let log = std::fs::read_to_string(script.with_extension("log")).unwrap();
    assert!(status.success(), "{}", &log[log.len().saturating_sub(2_000)..]);
    server.kill();
    assert_eq!(totals(&data_dir, "a"), expected(RECORDS, 1));
    assert_eq!(totals(&other_dir, "db.b"), expected(RECORDS, 1));
    assert!(reached >= steps.len() / 2, "most steps are reached: {reached} of {}", steps.len());
    println!("{reached} of {} steps reached", steps.len());
}
