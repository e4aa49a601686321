//! SQL in batch mode over real files, a real catalog and a real service.

mod changelog;
mod compacted;
mod distribution;
mod kafka;
mod statistics;
mod upsert;
mod watermark;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use expect_test::{Expect, expect};
use frazil_catalog::SqlCatalog;
use frazil_catalog::server::{ServerConfig, router, serve};
use frazil_engine::batch::{Outcome, execute};
use frazil_engine::sql::parse_script;
use frazil_engine::{Result, Session};
use frazil_storage::Env;
use frazil_tests::data;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

/// A catalog in a folder, as several processes may open it.
async fn catalog(folder: &Path) -> Arc<SqlCatalog> {
    let warehouse = format!("file://{}/warehouse", folder.display());
    Arc::new(SqlCatalog::open(&folder.join("catalog.db"), Env::system(), &warehouse).await.unwrap())
}

async fn session(folder: &Path) -> Session {
    Session::open(Env::system(), catalog(folder).await).await.unwrap()
}

/// The answers of a script's statements; rows as a table.
async fn answers(session: &mut Session, script: &str) -> Result<String> {
    let mut shown = String::new();
    for statement in parse_script(script)? {
        match execute(session, &statement).await? {
            Outcome::Done(_) => {}
            Outcome::Rows(rows) => {
                writeln!(shown, "{}", pretty_format_batches(&rows.collect().await?).unwrap()).unwrap();
            }
            Outcome::Changed(changed) => {
                writeln!(shown, "{} {} rows of {}", changed.kind, changed.rows, changed.table).unwrap();
            }
            Outcome::Inserted(inserted) => {
                for one in inserted {
                    writeln!(shown, "{} rows into {}", one.rows, one.table).unwrap();
                }
            }
        }
    }
    Ok(shown)
}

async fn check(session: &mut Session, script: &str, expected: Expect) {
    let shown = answers(session, script).await.unwrap_or_else(|error| error.to_string());
    expected.assert_eq(&shown);
}

/// The committed excerpt of the flights as tables of files.
fn excerpt() -> String {
    let folder = data::flights_excerpt();
    let folder = folder.display();
    format!(
        "CREATE TEMPORARY TABLE flights_csv (
           `year` INT, `month` INT, `day` INT, dep_delay INT, carrier STRING, flight INT, origin STRING, dest STRING,
           distance INT, time_hour TIMESTAMP_LTZ(3)
         ) WITH ('connector' = 'filesystem', 'path' = '{folder}/flights.csv', 'format' = 'csv', 'csv.null-literal' = 'NA');
         CREATE TEMPORARY TABLE airports_csv (faa STRING, name STRING, lat DOUBLE, lon DOUBLE, alt INT)
         WITH ('connector' = 'filesystem', 'path' = '{folder}/airports.csv', 'format' = 'csv', 'csv.null-literal' = 'NA');"
    )
}

const MODEL: &str = "
    CREATE TABLE flights (
      carrier STRING, flight INT, time_hour TIMESTAMP_LTZ(3), delay INT, distance INT,
      origin ROW<faa STRING, name STRING, position ROW<lat DOUBLE, lon DOUBLE, alt INT>>,
      dest ROW<faa STRING, name STRING, position ROW<lat DOUBLE, lon DOUBLE, alt INT>>
    ) PARTITIONED BY (month(time_hour));
    INSERT INTO flights
      SELECT f.carrier, f.flight, f.time_hour, f.dep_delay, f.distance,
             ROW(f.origin, o.name, ROW(o.lat, o.lon, o.alt)), ROW(f.dest, d.name, ROW(d.lat, d.lon, d.alt))
      FROM flights_csv AS f
      LEFT JOIN airports_csv AS o ON f.origin = o.faa
      LEFT JOIN airports_csv AS d ON f.dest = d.faa;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flights_become_a_nested_table_that_answers_queries() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = session(folder.path()).await;
    answers(&mut session, &excerpt()).await.unwrap();
    check(
        &mut session,
        MODEL,
        expect![[r#"
        1000 rows into frazil.default.flights
    "#]],
    )
    .await;
    check(
        &mut session,
        "SELECT COUNT(*) AS flights, COUNT(delay) AS departed, MIN(time_hour) AS first FROM flights;
         SELECT origin.faa AS origin, COUNT(*) AS flights, ROUND(AVG(origin.position.alt), 1) AS alt
           FROM flights GROUP BY origin.faa ORDER BY origin;
         SELECT f.dest.name AS dest, f.delay FROM flights AS f
           WHERE f.delay > 200 AND f.dest.position.lat < 40 ORDER BY f.delay DESC LIMIT 3;
         SELECT COUNT(*) AS lost FROM flights_csv AS c LEFT ANTI JOIN flights AS f
           ON c.carrier = f.carrier AND c.flight = f.flight AND c.time_hour = f.time_hour;",
        expect![[r#"
            +---------+----------+----------------------+
            | flights | departed | first                |
            +---------+----------+----------------------+
            | 1000    | 969      | 2013-01-01T10:00:00Z |
            +---------+----------+----------------------+
            +--------+---------+------+
            | origin | flights | alt  |
            +--------+---------+------+
            | EWR    | 363     | 18.0 |
            | JFK    | 332     | 13.0 |
            | LGA    | 305     | 22.0 |
            +--------+---------+------+
            +---------------------+-------+
            | dest                | delay |
            +---------------------+-------+
            | Miami Intl          | 356   |
            | Miami Intl          | 307   |
            | Charleston Afb Intl | 263   |
            +---------------------+-------+
            +------+
            | lost |
            +------+
            | 0    |
            +------+
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_sees_the_tables_through_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = catalog(folder.path()).await;
    let mut here = Session::open(Env::system(), catalog.clone()).await.unwrap();
    answers(&mut here, "CREATE TABLE t (id INT); INSERT INTO t VALUES (1), (2)").await.unwrap();

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let service = tokio::spawn(serve(listener, router(catalog, ServerConfig::default()), stop.clone()));

    let elsewhere = tempfile::tempdir().unwrap();
    let mut there = session(elsewhere.path()).await;
    check(
        &mut there,
        &format!(
            "CREATE CATALOG lake WITH ('type' = 'iceberg', 'catalog-type' = 'rest', 'uri' = 'http://{address}');
             SHOW CATALOGS;
             SELECT SUM(id) FROM lake.`default`.t;
             USE CATALOG lake;
             INSERT INTO t SELECT id + 10 FROM t;
             CREATE TABLE frazil.`default`.copy AS SELECT * FROM t;
             SELECT a.id FROM t AS a JOIN frazil.`default`.copy AS b ON a.id = b.id ORDER BY a.id;"
        ),
        expect![[r#"
            +--------------+
            | catalog name |
            +--------------+
            | frazil       |
            | lake         |
            +--------------+
            +------------------------+
            | sum(lake.default.t.id) |
            +------------------------+
            | 3                      |
            +------------------------+
            2 rows into lake.default.t
            4 rows into frazil.default.copy
            +----+
            | id |
            +----+
            | 1  |
            | 2  |
            | 11 |
            | 12 |
            +----+
        "#]],
    )
    .await;
    check(
        &mut here,
        "SELECT COUNT(*) FROM t",
        expect![[r#"
        +----------+
        | count(*) |
        +----------+
        | 4        |
        +----------+
    "#]],
    )
    .await;
    stop.cancel();
    service.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inserts_of_several_sessions_all_land() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = session(folder.path()).await;
    answers(&mut first, "CREATE TABLE t (id INT)").await.unwrap();
    let mut running = Vec::new();
    for worker in 0..4 {
        let mut session = session(folder.path()).await;
        running.push(tokio::spawn(async move {
            for round in 0..5 {
                let insert = format!("INSERT INTO t VALUES ({})", worker * 100 + round);
                answers(&mut session, &insert).await.unwrap();
            }
        }));
    }
    for worker in running {
        worker.await.unwrap();
    }
    check(
        &mut first,
        "SELECT COUNT(*), COUNT(DISTINCT id) FROM t",
        expect![[r#"
        +----------+----------------------+
        | count(*) | count(DISTINCT t.id) |
        +----------+----------------------+
        | 20       | 20                   |
        +----------+----------------------+
    "#]],
    )
    .await;
}

/// A condition at random over the columns of `pushdown_changes_no_answer`.
fn condition(random: &mut StdRng, depth: u32) -> String {
    let comparison = ["=", "<>", "<", "<=", ">", ">="][random.random_range(0..6)];
    if depth > 0 && random.random_bool(0.6) {
        let (left, right) = (condition(random, depth - 1), condition(random, depth - 1));
        return match random.random_range(0..3) {
            0 => format!("({left} AND {right})"),
            1 => format!("({left} OR {right})"),
            _ => format!("NOT ({left})"),
        };
    }
    match random.random_range(0..9) {
        0 => format!("id {comparison} {}", random.random_range(-5..1_005)),
        1 => format!("s {comparison} 'k{}'", random.random_range(0..40)),
        2 => format!("r.d {comparison} {}.5", random.random_range(-3..60)),
        3 => format!("r.day {comparison} DATE '2013-{:02}-15'", random.random_range(1..6)),
        4 => format!("s LIKE 'k{}%'", random.random_range(0..5)),
        5 => ["s IS NULL", "r.d IS NOT NULL", "r IS NULL", "r.day IS NULL"][random.random_range(0..4)].to_owned(),
        6 => format!("id IN ({}, {}, 7)", random.random_range(0..1_000), random.random_range(0..1_000)),
        7 => format!("r.d BETWEEN {} AND {}", random.random_range(0..20), random.random_range(0..60)),
        _ => format!("amount {comparison} {}.25", random.random_range(0..100)),
    }
}

/// The same condition, decided by the reader and by DataFusion alone, gives the same rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushdown_changes_no_answer() {
    let seed = 20_130_101;
    let folder = tempfile::tempdir().unwrap();
    let mut session = session(folder.path()).await;
    let rows = |from: u32| {
        format!(
            "INSERT INTO t SELECT i, CASE WHEN i % 7 = 0 THEN NULL ELSE concat('k', CAST(i % 43 AS STRING)) END,
               CASE WHEN i % 11 = 0 THEN NULL ELSE ROW(CASE WHEN i % 5 = 0 THEN NULL ELSE (i % 61) / 2.0 END,
                 CAST(CAST(15706 + i % 90 AS INT) AS DATE)) END,
               CAST(i % 97 AS DECIMAL(10, 2))
             FROM UNNEST(generate_series({from}, {})) AS g (i);",
            from + 499
        )
    };
    let inserts: String = (0..2).map(|part| rows(part * 500)).collect();
    let table = "CREATE TABLE t (id BIGINT, s STRING, r ROW<d DOUBLE, `day` DATE>, amount DECIMAL(10, 2))
                 PARTITIONED BY (truncate(2, s), month(r.`day`));";
    answers(&mut session, &format!("{table}{inserts}")).await.unwrap();

    let mut random = StdRng::seed_from_u64(seed);
    let mut pushed = 0;
    for round in 0..60 {
        let condition = condition(&mut random, 2).replace("r.day", "r.`day`");
        // What DataFusion has to compute is not handed to the reader.
        let alone = format!("CASE WHEN ({condition}) THEN random() >= 0 ELSE random() < 0 END");
        let plan = answers(&mut session, &format!("EXPLAIN SELECT id FROM t WHERE {condition}")).await.unwrap();
        pushed += u32::from(plan.contains("condition="));
        let by_reader = format!("SELECT id, r.d FROM t WHERE {condition} ORDER BY id");
        let by_datafusion = format!("SELECT id, r.d FROM t WHERE {alone} ORDER BY id");
        let told = format!("seed {seed}, round {round}: {condition}");
        let expected = answers(&mut session, &by_datafusion).await.unwrap_or_else(|error| panic!("{told}: {error}"));
        let given = answers(&mut session, &by_reader).await.unwrap_or_else(|error| panic!("{told}: {error}"));
        assert_eq!(given, expected, "{told}");
    }
    assert!(pushed > 40, "only {pushed} of 60 conditions reached the reader");
}
