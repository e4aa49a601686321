//! Scripts over tables that the real write path has filled, and what each statement answers.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use expect_test::{Expect, expect};
use frazil_catalog::SqlCatalog;
use frazil_storage::{Env, ManualClock};

use super::*;
use crate::sql::{parse_one, parse_script};

pub(super) async fn session() -> Session {
    session_in(Env::in_memory(7)).await
}

async fn session_in(env: Env) -> Session {
    let catalog = SqlCatalog::in_memory(env.clone(), "memory://warehouse").await.expect("a catalog in memory");
    let mut session = Session::open(env, Arc::new(catalog)).await.expect("a session");
    // One partition, so that rows come in an order.
    done(&mut session, "SET 'datafusion.execution.target_partitions' = '1'").await;
    session
}

/// Runs statements that have to succeed.
pub(super) async fn done(session: &mut Session, script: &str) {
    for statement in parse_script(script).expect("the script parses") {
        let outcome = execute(session, &statement).await.unwrap_or_else(|error| panic!("{script}: {error}"));
        if let Outcome::Rows(rows) = outcome {
            rows.collect().await.expect("it runs");
        }
    }
}

async fn answer(session: &mut Session, statement: &Spanned<Statement>) -> Result<String> {
    Ok(match execute(session, statement).await? {
        Outcome::Done(text) => text,
        Outcome::Rows(rows) => pretty_format_batches(&rows.collect().await?).expect("a table").to_string(),
        Outcome::Inserted(inserted) => {
            let told = inserted.iter().map(|one| format!("{} rows into {}", one.rows, one.table));
            told.collect::<Vec<_>>().join(", ")
        }
        Outcome::Changed(changed) => {
            let RowsChanged { kind, rows, removed_files, added_files, delete_files, .. } = changed;
            format!("{kind} {rows} rows; files -{removed_files} +{added_files}, deletes +{delete_files}")
        }
    })
}

/// The answers of a script's statements.
pub(super) async fn check(session: &mut Session, script: &str, expected: Expect) {
    let mut shown = String::new();
    for statement in parse_script(script).expect("the script parses") {
        match answer(session, &statement).await {
            Ok(text) => writeln!(shown, "{text}").expect("a text"),
            Err(error) => writeln!(shown, "{error}").expect("a text"),
        }
    }
    expected.assert_eq(&shown);
}

/// What a query reads: leaf bytes, and files.
async fn cost(session: &mut Session, query: &str) -> (u64, u64) {
    let statement = parse_one(query).expect("it parses");
    let Outcome::Rows(rows) = execute(session, &statement).await.expect("it runs") else { panic!("a query") };
    let cost = rows.cost.clone();
    rows.collect().await.expect("it runs");
    (cost.leaf_bytes(), cost.files_read())
}

/// Flights in three files, two months, with nested places.
const FLIGHTS: &str = "
    CREATE TABLE flights (
        id BIGINT NOT NULL, day DATE, origin ROW<faa STRING, position ROW<lat DOUBLE, lon DOUBLE>>,
        delay INT, stops ARRAY<ROW<faa STRING, minutes INT>>
    ) PARTITIONED BY (month(day));
    INSERT INTO flights VALUES
        (1, DATE '2013-01-01', ROW('EWR', ROW(40.7, -74.2)), 10, ARRAY[ROW('ORD', 30)]),
        (2, DATE '2013-01-02', ROW('JFK', ROW(40.6, -73.8)), NULL, NULL);
    INSERT INTO flights VALUES (3, DATE '2013-02-01', ROW('LGA', ROW(40.8, -73.9)), -5, NULL);
    INSERT INTO flights VALUES (4, DATE '2013-02-03', NULL, 100, NULL);
    CREATE TABLE airports (faa STRING, name STRING);
    INSERT INTO airports VALUES ('EWR', 'Newark'), ('JFK', 'Kennedy'), ('SFO', 'San Francisco');";

async fn flights() -> Session {
    let mut session = session().await;
    done(&mut session, FLIGHTS).await;
    session
}

#[tokio::test]
async fn rows_come_back_as_they_were_written() {
    check(
        &mut flights().await,
        "SELECT * FROM flights ORDER BY id;
         SELECT id, origin.position.lat AS lat FROM flights WHERE origin.faa IS NOT NULL ORDER BY lat;
         SELECT f.id, s.faa, s.minutes FROM flights AS f, UNNEST(f.stops) AS s (faa, minutes);",
        expect![[r#"
            +----+------------+-----------------------------------------------+-------+---------------------------+
            | id | day        | origin                                        | delay | stops                     |
            +----+------------+-----------------------------------------------+-------+---------------------------+
            | 1  | 2013-01-01 | {faa: EWR, position: {lat: 40.7, lon: -74.2}} | 10    | [{faa: ORD, minutes: 30}] |
            | 2  | 2013-01-02 | {faa: JFK, position: {lat: 40.6, lon: -73.8}} |       |                           |
            | 3  | 2013-02-01 | {faa: LGA, position: {lat: 40.8, lon: -73.9}} | -5    |                           |
            | 4  | 2013-02-03 |                                               | 100   |                           |
            +----+------------+-----------------------------------------------+-------+---------------------------+
            +----+------+
            | id | lat  |
            +----+------+
            | 2  | 40.6 |
            | 1  | 40.7 |
            | 3  | 40.8 |
            +----+------+
            +----+-----+---------+
            | id | faa | minutes |
            +----+-----+---------+
            | 1  | ORD | 30      |
            +----+-----+---------+
        "#]],
    )
    .await;
}

#[tokio::test]
async fn joins_aggregates_and_windows() {
    check(
        &mut flights().await,
        "SELECT a.name, COUNT(*) AS n, AVG(f.delay) AS delay FROM flights f LEFT JOIN airports a ON f.origin.faa = a.faa
           GROUP BY a.name ORDER BY a.name;
         SELECT COUNT(*), COUNT(delay), MIN(day), MAX(origin.position.lon) FROM flights;
         SELECT id, SUM(id) OVER (ORDER BY id) AS running FROM flights ORDER BY id;
         WITH late AS (SELECT * FROM flights WHERE delay > 0) SELECT COUNT(*) FROM late AS a JOIN late AS b ON a.id = b.id;
         CREATE VIEW places AS SELECT origin.faa AS faa, delay FROM flights;
         SELECT faa, delay FROM places WHERE delay < 50 ORDER BY faa;",
        expect![[r#"
            +---------+---+-------+
            | name    | n | delay |
            +---------+---+-------+
            | Kennedy | 1 |       |
            | Newark  | 1 | 10.0  |
            |         | 2 | 47.5  |
            +---------+---+-------+
            +----------+----------------------+------------------+------------------------------------+
            | count(*) | count(flights.delay) | min(flights.day) | max(flights.origin[position][lon]) |
            +----------+----------------------+------------------+------------------------------------+
            | 4        | 3                    | 2013-01-01       | -73.8                              |
            +----------+----------------------+------------------+------------------------------------+
            +----+---------+
            | id | running |
            +----+---------+
            | 1  | 1       |
            | 2  | 3       |
            | 3  | 6       |
            | 4  | 10      |
            +----+---------+
            +----------+
            | count(*) |
            +----------+
            | 2        |
            +----------+
            view places is made; it lives as long as the session
            +-----+-------+
            | faa | delay |
            +-----+-------+
            | EWR | 10    |
            | LGA | -5    |
            +-----+-------+
        "#]],
    )
    .await;
}

#[tokio::test]
async fn inserts_convert_by_position_or_refuse() {
    check(
        &mut flights().await,
        "INSERT INTO flights (day, id) SELECT DATE '2013-03-01', id + 100 FROM flights WHERE id = 1;
         SELECT id, day, delay FROM flights WHERE id > 100;
         INSERT INTO flights SELECT id, day, origin, 3000000000, stops FROM flights;
         INSERT INTO flights SELECT id, day FROM flights;
         INSERT INTO flights (day) VALUES (DATE '2013-03-01');
         INSERT INTO flights (id, dai) VALUES (1, DATE '2013-03-01');
         INSERT INTO flights SELECT CAST(NULL AS BIGINT), day, origin, delay, stops FROM flights;
         INSERT INTO flights SELECT id, day, origin, 'late', stops FROM flights;
         INSERT OVERWRITE flights SELECT * FROM flights;
         INSERT INTO flights SELECT * FROM flights WHERE id > 1000;
         SELECT COUNT(*) FROM flights;",
        expect![[r#"
            1 rows into frazil.default.flights
            +-----+------------+-------+
            | id  | day        | delay |
            +-----+------------+-------+
            | 101 | 2013-03-01 |       |
            +-----+------------+-------+
            column delay: Can't cast value 3000000000 to type Int32
            the query has 2 columns, but flights takes 5
              --> line 4, column 22, in INSERT
               |
             4 |          INSERT INTO flights SELECT id, day FROM flights
               |                      ^^^^^^^
               = the query has (id, day), the table (id, day, origin, delay, stops)
            the column 'id' is NOT NULL and gets no value
              --> line 5, column 22, in INSERT
               |
             5 |          INSERT INTO flights (day) VALUES (DATE '2013-03-01')
               |                      ^^^^^^^
            flights has no column 'dai'
              --> line 6, column 35, in INSERT
               |
             6 |          INSERT INTO flights (id, dai) VALUES (1, DATE '2013-03-01')
               |                                   ^^^
               = did you mean 'day'?
            column id: it is NOT NULL, but is NULL in row 1 of a batch
            the value does not fit the column 'delay'
              --> line 8, column 54, in INSERT
               |
             8 |          INSERT INTO flights SELECT id, day, origin, 'late', stops FROM flights
               |                                                      ^^^^^^
               = STRING is not converted to INT by itself; write CAST(… AS INT)
            5 rows into frazil.default.flights
            0 rows into frazil.default.flights
            +----------+
            | count(*) |
            +----------+
            | 5        |
            +----------+
        "#]],
    )
    .await;
}

#[tokio::test]
async fn create_table_as_select() {
    check(
        &mut flights().await,
        "CREATE TABLE late PARTITIONED BY (bucket(4, id)) AS SELECT id, origin.faa AS faa FROM flights WHERE delay > 0;
         DESCRIBE late;
         SELECT * FROM late ORDER BY id;
         CREATE TABLE late AS SELECT 1 AS id;
         CREATE TABLE IF NOT EXISTS late AS SELECT 1 AS id;",
        expect![[r#"
            2 rows into frazil.default.late
            +------+--------+-------+-----+------------------------------+-----------+---------+
            | name | type   | null  | key | extras                       | watermark | comment |
            +------+--------+-------+-----+------------------------------+-----------+---------+
            | id   | BIGINT | false |     | PARTITIONED BY bucket(4, id) |           |         |
            | faa  | STRING | true  |     |                              |           |         |
            +------+--------+-------+-----+------------------------------+-----------+---------+
            +----+-----+
            | id | faa |
            +----+-----+
            | 1  | EWR |
            | 4  |     |
            +----+-----+
            there is a table 'late' already
              --> line 4, column 23, in CREATE TABLE
               |
             4 |          CREATE TABLE late AS SELECT 1 AS id
               |                       ^^^^
               = CREATE TABLE IF NOT EXISTS takes it as it is, CREATE OR REPLACE TABLE makes it anew
            table late is there already, and stays as it is
        "#]],
    )
    .await;
}

#[tokio::test]
async fn mistakes_are_shown_in_their_line() {
    check(
        &mut flights().await,
        "SELECT id,
                dely FROM flights;
         SELECT id FROM
                flihgts;
         SELECT f.origin.fa FROM flights f;
         SELECT NO_SUCH(id) FROM flights;
         SELECT id FROM flights FOR SYSTEM_VERSION AS OF 42;
         SELECT id FROM flights FOR SYSTEM_VERSION AS OF 'eod';
         SELECT id FROM flights FOR SYSTEM_TIME AS OF 'yesterday';
         SELECT id FROM flights /*+ OPTIONS('start-tg' = 'x') */;",
        expect![[r#"
            there is no column 'dely'
              --> line 2, column 17, in SELECT
               |
             2 |                 dely FROM flights
               |                 ^^^^
               = did you mean 'delay'?
            there is no table 'flihgts' in frazil.default
              --> line 4, column 17, in SELECT
               |
             4 |                 flihgts
               |                 ^^^^^^^
               = did you mean 'flights'?
            field fa not found in struct
              --> line 5, column 17, in SELECT
               |
             5 |          SELECT f.origin.fa FROM flights f
               |                 ^^^^^^^^^^^
               = did you mean 'faa'?
            invalid function 'no_such'
              --> line 6, column 17, in SELECT
               |
             6 |          SELECT NO_SUCH(id) FROM flights
               |                 ^^^^^^^
            the table has no snapshot 42; the oldest that is retained is 1154956072426523604 of 2023-11-14T22:13:20.001Z
              --> line 7, column 25, in SELECT
               |
             7 |          SELECT id FROM flights FOR SYSTEM_VERSION AS OF 42
               |                         ^^^^^^^
            'flights' has no branch or tag 'eod'
              --> line 8, column 25, in SELECT
               |
             8 |          SELECT id FROM flights FOR SYSTEM_VERSION AS OF 'eod'
               |                         ^^^^^^^
               = there are main
            ''yesterday'' is not a moment
              --> line 9, column 25, in SELECT
               |
             9 |          SELECT id FROM flights FOR SYSTEM_TIME AS OF 'yesterday'
               |                         ^^^^^^^
               = write FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-31 12:00:00'
            connector 'iceberg' has no option 'start-tg'; did you mean 'start-tag'?
              --> line 10, column 45, in SELECT
                |
             10 |          SELECT id FROM flights
                |                                ^
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_plan_shows_what_is_read() {
    check(
        &mut flights().await,
        "EXPLAIN SELECT origin.position.lat + 1, id FROM flights WHERE day >= DATE '2013-02-01' AND delay > 50 LIMIT 3;
         EXPLAIN SELECT SUM(origin.position.lat) FROM flights WHERE origin.faa LIKE 'E%';
         EXPLAIN SELECT COUNT(*) FROM flights;",
        expect![[r#"
            +---------------+------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------+
            | plan_type     | plan                                                                                                                                                                                                             |
            +---------------+------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------+
            | logical_plan  | Projection: __datafusion_extracted_1 + Float64(1) AS flights.origin[position][lat] + Int64(1), flights.id                                                                                                        |
            |               |   Limit: skip=0, fetch=3                                                                                                                                                                                         |
            |               |     Projection: get_field(flights.origin, Utf8("position"), Utf8("lat")) AS __datafusion_extracted_1, flights.id                                                                                                 |
            |               |       TableScan: flights projection=[id, origin], full_filters=[flights.day >= Date32("2013-02-01"), flights.delay > Int32(50)], fetch=3                                                                         |
            | physical_plan | ProjectionExec: expr=[__datafusion_extracted_1@0 + 1 as flights.origin[position][lat] + Int64(1), id@1 as id]                                                                                                    |
            |               |   GlobalLimitExec: skip=0, fetch=3                                                                                                                                                                               |
            |               |     CooperativeExec                                                                                                                                                                                              |
            |               |       IcebergScanExec: table=default.flights, snapshot=7258828535873463171, columns=[origin.position.lat, id], condition=day >= 15737 and delay > 50, files=1 of 3 (1 pruned by partition, 1 by bounds), limit=3 |
            |               |                                                                                                                                                                                                                  |
            +---------------+------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------+
            +---------------+----------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------+
            | plan_type     | plan                                                                                                                                                                                               |
            +---------------+----------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------+
            | logical_plan  | Projection: sum(__datafusion_extracted_1) AS sum(flights.origin[position][lat])                                                                                                                    |
            |               |   Aggregate: groupBy=[[]], aggr=[[sum(__datafusion_extracted_1)]]                                                                                                                                  |
            |               |     Projection: get_field(flights.origin, Utf8("position"), Utf8("lat")) AS __datafusion_extracted_1                                                                                               |
            |               |       TableScan: flights projection=[origin], full_filters=[get_field(flights.origin, Utf8("faa")) LIKE Utf8("E%")]                                                                                |
            | physical_plan | ProjectionExec: expr=[sum(__datafusion_extracted_1)@0 as sum(flights.origin[position][lat])]                                                                                                       |
            |               |   AggregateExec: mode=Single, gby=[], aggr=[sum(__datafusion_extracted_1)]                                                                                                                         |
            |               |     CooperativeExec                                                                                                                                                                                |
            |               |       IcebergScanExec: table=default.flights, snapshot=7258828535873463171, columns=[origin.position.lat], condition=origin.faa starts with "E", files=1 of 3 (0 pruned by partition, 2 by bounds) |
            |               |                                                                                                                                                                                                    |
            +---------------+----------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------+
            +---------------+-----------------------------------------------------+
            | plan_type     | plan                                                |
            +---------------+-----------------------------------------------------+
            | logical_plan  | Projection: count(Int64(1)) AS count(*)             |
            |               |   Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]] |
            |               |     TableScan: flights projection=[]                |
            | physical_plan | ProjectionExec: expr=[4 as count(*)]                |
            |               |   PlaceholderRowExec                                |
            |               |                                                     |
            +---------------+-----------------------------------------------------+
        "#]],
    )
    .await;
}

#[tokio::test]
async fn only_the_leaves_that_a_query_uses_are_fetched() {
    let mut session = session().await;
    done(
        &mut session,
        "CREATE TABLE wide (id BIGINT, place ROW<text STRING, position ROW<lat DOUBLE, lon DOUBLE>>);
         INSERT INTO wide SELECT i, ROW(md5(CAST(i AS STRING)), ROW(CAST(i AS DOUBLE), i / 3.0))
           FROM UNNEST(generate_series(1, 5000)) AS s (i);",
    )
    .await;
    let (all, _) = cost(&mut session, "SELECT * FROM wide").await;
    // The texts are 16 random bytes each, which nothing compresses; the numbers are 8 bytes each.
    assert!(all > 5_000 * 16, "{all}");
    for query in [
        "SELECT place.position.lat FROM wide",
        "SELECT AVG(place.position.lat) FROM wide",
        "SELECT w.place.position.lat + 1 FROM wide AS w WHERE w.place.position.lat > 17",
        "SELECT COUNT(*) FROM (SELECT place.position.lat AS lat FROM wide) WHERE lat * 2 > 17",
        "WITH p AS (SELECT place FROM wide) SELECT MAX(p.place.position.lat) FROM p",
    ] {
        let (leaf, _) = cost(&mut session, query).await;
        assert!((1..=5_000 * 10).contains(&leaf), "{query}: {leaf} bytes");
    }
    assert_eq!(cost(&mut session, "SELECT COUNT(*) FROM wide").await, (0, 0));
}

#[tokio::test]
async fn conditions_leave_files_out() {
    let mut session = flights().await;
    let mut files =
        async |condition: &str| cost(&mut session, &format!("SELECT id FROM flights WHERE {condition}")).await.1;
    assert_eq!(files("TRUE").await, 3);
    assert_eq!(files("day < DATE '2013-02-01'").await, 1);
    assert_eq!(files("day = DATE '2013-02-03'").await, 1);
    assert_eq!(files("origin.position.lat > 40.75").await, 1);
    assert_eq!(files("origin.faa IN ('JFK', 'LGA')").await, 2);
    assert_eq!(files("delay IS NULL").await, 1);
    assert_eq!(files("NOT (delay < 50)").await, 1);
    assert_eq!(files("id = 1 OR id = 4").await, 2);
    assert_eq!(files("id BETWEEN 7 AND 9").await, 0);
    // What is not understood is left to DataFusion: all files are read.
    assert_eq!(files("id % 2 = 1").await, 3);
}

#[tokio::test]
async fn moments_leave_files_out_however_they_are_written() {
    let mut session = session().await;
    for (name, data_type) in [("zoned", "TIMESTAMP_LTZ(3)"), ("plain", "TIMESTAMP(3)")] {
        done(
            &mut session,
            &format!(
                "CREATE TABLE {name} (at {data_type}) PARTITIONED BY (month(at));
                 INSERT INTO {name} SELECT * FROM (VALUES (TIMESTAMP '2013-01-01 12:00:00'),
                   (TIMESTAMP '2013-02-01 12:00:00'), (TIMESTAMP '2013-03-01 12:00:00')) AS v (at);"
            ),
        )
        .await;
        for condition in [
            "at >= TIMESTAMP '2013-03-01 00:00:00'",
            "at > DATE '2013-02-15'",
            "at BETWEEN TIMESTAMP '2013-02-01 00:00:00' AND TIMESTAMP '2013-02-28 23:59:59.999'",
            "TIMESTAMP '2013-02-01 12:00:00' = at",
        ] {
            let query = format!("SELECT at FROM {name} WHERE {condition}");
            assert_eq!(cost(&mut session, &query).await.1, 1, "{query}");
        }
    }
}

#[tokio::test]
async fn only_the_order_of_a_written_query_counts() {
    check(
        &mut flights().await,
        "CREATE TABLE pairs (a INT, b INT, c INT, d STRING);
         INSERT INTO pairs SELECT 1, 1, NULL, NULL;
         INSERT INTO pairs SELECT f.delay, f.delay, f.delay, origin.faa FROM flights AS f WHERE id = 1
           UNION ALL SELECT NULL, NULL, 7, NULL;
         SELECT * FROM pairs ORDER BY a, c;",
        expect![[r#"
            table pairs is made at memory://warehouse/default/pairs
            1 rows into frazil.default.pairs
            2 rows into frazil.default.pairs
            +----+----+----+-----+
            | a  | b  | c  | d   |
            +----+----+----+-----+
            | 1  | 1  |    |     |
            | 10 | 10 | 10 | EWR |
            |    |    | 7  |     |
            +----+----+----+-----+
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_table_is_read_as_it_was() {
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let env = Env { clock: Arc::clone(&clock) as _, ..Env::in_memory(7) };
    let mut session = session_in(env).await;
    done(&mut session, "CREATE TABLE t (id INT); INSERT INTO t VALUES (1)").await;
    let first = {
        let Ok(crate::session::Resolved::Iceberg(table)) = session.resolve(&crate::sql::Name::new(["t"]), "").await
        else {
            panic!("it is a table")
        };
        table.table.current_snapshot().expect("it has one").snapshot_id()
    };
    clock.advance(3_600_000);
    done(&mut session, "INSERT INTO t VALUES (2)").await;
    check(
        &mut session,
        &format!(
            "SELECT COUNT(*) AS now FROM t;
             SELECT COUNT(*) AS first FROM t FOR SYSTEM_VERSION AS OF {first};
             SELECT COUNT(*) AS by_time FROM t FOR SYSTEM_TIME AS OF TIMESTAMP '2023-11-14 22:30:00';
             SELECT id FROM t FOR SYSTEM_VERSION AS OF 'main' ORDER BY id;
             SELECT new.id FROM t AS new LEFT ANTI JOIN t FOR SYSTEM_VERSION AS OF {first} AS old ON new.id = old.id;"
        ),
        expect![[r#"
            +-----+
            | now |
            +-----+
            | 2   |
            +-----+
            +-------+
            | first |
            +-------+
            | 1     |
            +-------+
            +---------+
            | by_time |
            +---------+
            | 1       |
            +---------+
            +----+
            | id |
            +----+
            | 1  |
            | 2  |
            +----+
            +----+
            | id |
            +----+
            | 2  |
            +----+
        "#]],
    )
    .await;
}

#[tokio::test]
async fn connectors_are_read_with_computed_columns() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.csv"), "id,name\n1,Ada\n2,Bob\n").expect("a file");
    std::fs::write(folder.path().join("b.csv"), "id,name\n3,\n").expect("a file");
    let mut session = session().await;
    let path = folder.path().display();
    check(
        &mut session,
        &format!(
            "CREATE TABLE people (id INT, twice AS id * 2, name STRING, WATERMARK FOR id AS id)
             WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'csv');
             SELECT * FROM people ORDER BY id;
             SELECT name FROM people WHERE twice = 4;
             CREATE TABLE kept AS SELECT id, name FROM people WHERE name IS NOT NULL;
             SELECT COUNT(*) FROM kept;
             INSERT INTO people SELECT 1, 'x';
             CREATE TABLE wrong (id INT) WITH ('connector' = 'filesystem', 'path' = 'x', 'formt' = 'csv');
             CREATE TABLE endless (id INT) WITH ('connector' = 'kafka', 'topic' = 't',
               'properties.bootstrap.servers' = 'localhost:1', 'format' = 'json');
             SELECT * FROM endless;"
        ),
        expect![[r#"
            table people reads filesystem; the definition lives as long as the session
            +----+-------+------+
            | id | twice | name |
            +----+-------+------+
            | 1  | 2     | Ada  |
            | 2  | 4     | Bob  |
            | 3  | 6     |      |
            +----+-------+------+
            +------+
            | name |
            +------+
            | Bob  |
            +------+
            2 rows into frazil.default.kept
            +----------+
            | count(*) |
            +----------+
            | 2        |
            +----------+
            'people' is a filesystem table, which is only read
              --> line 7, column 26, in INSERT
               |
             7 |              INSERT INTO people SELECT 1, 'x'
               |                          ^^^^^^
               = write into a table of 'connector' = 'iceberg'
            connector 'filesystem' has no option 'formt'; did you mean 'format'?
              --> line 8, column 90, in CREATE TABLE
               |
             8 |              CREATE TABLE wrong (id INT) WITH ('connector' = 'filesystem', 'path' = 'x', 'formt' = 'csv')
               |                                                                                          ^^^^^^^
            table endless reads kafka; the definition lives as long as the session
            'endless' never ends, and a batch query has to
              --> line 11, column 28, in SELECT
                |
             11 |              SELECT * FROM endless
                |                            ^^^^^^^
                = bound it ('scan.bounded.mode' for kafka, no 'source.monitor-interval' for files), or run the script with --mode streaming
        "#]],
    )
    .await;
}
