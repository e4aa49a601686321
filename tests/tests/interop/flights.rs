//! What Frazil's own jobs write: all flights, streamed, compacted as they are committed, followed into a second table.
//! Every engine must read the same rows from both.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use frazil_tests::data;
use frazil_tests::peers::{Checksum, FrazilSql};
use frazil_tests::process::Process;
use frazil_tests::server::frazil;

use super::world;

const FLIGHTS: &str = include_str!("../../../cli/demo/flights.sql");
const DELAYED: &str = include_str!("../../../cli/demo/delayed.sql");

fn run(folder: &Path, name: &str, script: &str, uri: &str) -> Process {
    let path = folder.join(name);
    std::fs::write(&path, script).unwrap();
    let log = std::fs::File::create(path.with_extension("log")).unwrap();
    let mut command = frazil();
    command.arg("run").arg(&path).args(["--catalog", uri, "--checkpoint-interval", "500 ms", "--output", "json"]);
    command.stdout(Stdio::from(log.try_clone().unwrap())).stderr(Stdio::from(log));
    Process::spawn(command).unwrap()
}

#[test]
fn every_engine_reads_what_the_jobs_wrote() {
    let flights = match data::flights() {
        Ok(flights) => flights,
        Err(skip) => return skip.report(),
    };
    for skip in &world().skips {
        skip.report();
    }
    let uri = &world().uri;
    let folder = tempfile::TempDir::with_prefix("frazil-flights-").unwrap();
    let script = FLIGHTS.replace("${FLIGHTS}", &flights.display().to_string()).replace("${RATE}", "40000");
    let mut first = run(folder.path(), "flights.sql", &script, uri);
    let status = first.wait(Duration::from_secs(180)).unwrap().expect("the first job comes to its end");
    let log = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(status.success(), "{}", log("flights.log"));
    let mut second = run(folder.path(), "delayed.sql", DELAYED, uri);
    let own = FrazilSql::new(uri);
    let count = |sql: &str| own.sql(sql).map(|rows| rows[0]["n"].as_u64().expect("a count"));
    let delayed = count("SELECT count(*) AS n FROM default.flights WHERE dep_delay > 60").unwrap();
    let deadline = Instant::now() + Duration::from_secs(90);
    while count("SELECT count(*) AS n FROM default.delayed").unwrap_or(0) < delayed && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(300));
    }
    second.interrupt().unwrap();
    let status = second.wait(Duration::from_secs(60)).unwrap().expect("Ctrl-C stops a job");
    assert!(status.success(), "{}", log("delayed.log"));

    let compactions = log("flights.log").lines().filter(|line| line.contains("\"compacted\"")).count();
    assert!(compactions > 0, "nothing was compacted:\n{}", log("flights.log"));
    assert_eq!(count("SELECT count(*) AS n FROM default.flights").unwrap(), data::FLIGHTS_ROWS);
    for (table, columns) in
        [("default.flights", &["flight", "distance"][..]), ("default.delayed", &["flight", "dep_delay"])]
    {
        let expected: Checksum = own.checksum(table, columns).unwrap();
        println!("{table}: frazil: {expected:?}");
        for peer in &world().peers {
            let found = peer.checksum(table, columns).unwrap();
            println!("{table}: {}: {found:?}", peer.engine());
            assert_eq!(found, expected, "{} reads {table}", peer.engine());
        }
    }
}
