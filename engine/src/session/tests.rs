//! Scripts of definitions, and what each statement answers.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use expect_test::{Expect, expect};
use frazil_catalog::SqlCatalog;

use super::*;
use crate::sql::parse_script;

async fn session() -> Session {
    let env = Env::in_memory(7);
    let catalog = SqlCatalog::in_memory(env.clone(), "memory://warehouse").await.expect("a catalog in memory");
    Session::open(env, Arc::new(catalog)).await.expect("a session")
}

/// Runs a script and shows every answer.
async fn check(script: &str, expected: Expect) {
    let mut session = session().await;
    let mut shown = String::new();
    for statement in parse_script(script).expect("the script parses") {
        match session.execute(&statement).await {
            Ok(Some(Executed::Done(text))) => writeln!(shown, "{text}").expect("a text"),
            Ok(Some(Executed::Rows(rows))) => {
                writeln!(shown, "{}", pretty_format_batches(&[rows]).expect("a table")).expect("a text");
            }
            Ok(None) => writeln!(shown, "{} has to be run", statement.node.kind()).expect("a text"),
            Err(error) => writeln!(shown, "{error}").expect("a text"),
        }
    }
    expected.assert_eq(&shown);
}

#[tokio::test]
async fn a_table_is_made_as_it_was_written() {
    check(
        "CREATE TABLE flights (
           id BIGINT NOT NULL COMMENT 'of the flight',
           ts TIMESTAMP_LTZ(3),
           origin ROW<faa STRING NOT NULL, position ROW<lat DOUBLE, lon DOUBLE>>,
           tags MAP<STRING, ARRAY<INT>>,
           price DECIMAL(10, 2),
           PRIMARY KEY (id) NOT ENFORCED
         ) COMMENT 'all of 2013' PARTITIONED BY (month(ts), bucket(16, id), origin.faa)
         WITH ('connector' = 'iceberg', 'auto-compact' = 'true', 'write.parquet.compression-codec' = 'zstd');
         DESCRIBE flights;
         SHOW CREATE TABLE flights;",
        expect![[r#"
            table flights is made at memory://warehouse/default/flights
            +--------+----------------------------------------------------------------+-------+---------+-------------------------------+-----------+---------------+
            | name   | type                                                           | null  | key     | extras                        | watermark | comment       |
            +--------+----------------------------------------------------------------+-------+---------+-------------------------------+-----------+---------------+
            | id     | BIGINT                                                         | false | PRI(id) | PARTITIONED BY bucket(16, id) |           | of the flight |
            | ts     | TIMESTAMP_LTZ(6)                                               | true  |         | PARTITIONED BY month(ts)      |           |               |
            | origin | ROW<faa STRING NOT NULL, position ROW<lat DOUBLE, lon DOUBLE>> | true  |         | PARTITIONED BY origin.faa     |           |               |
            | tags   | MAP<STRING NOT NULL, ARRAY<INT>>                               | true  |         |                               |           |               |
            | price  | DECIMAL(10, 2)                                                 | true  |         |                               |           |               |
            +--------+----------------------------------------------------------------+-------+---------+-------------------------------+-----------+---------------+
            +---------------------------------------------------------------------------------------+
            | create table                                                                          |
            +---------------------------------------------------------------------------------------+
            | CREATE TABLE frazil.default.flights (                                                 |
            |   id BIGINT NOT NULL COMMENT 'of the flight',                                         |
            |   ts TIMESTAMP_LTZ(6),                                                                |
            |   origin ROW<faa STRING NOT NULL, position ROW<lat DOUBLE, lon DOUBLE>>,              |
            |   tags MAP<STRING NOT NULL, ARRAY<INT>>,                                              |
            |   price DECIMAL(10, 2),                                                               |
            |   PRIMARY KEY (id) NOT ENFORCED                                                       |
            | ) COMMENT 'all of 2013' PARTITIONED BY (month(ts), bucket(16, id), origin.faa) WITH ( |
            |   'connector' = 'iceberg',                                                            |
            |   'format-version' = '2',                                                             |
            |   'auto-compact' = 'true',                                                            |
            |   'write.metadata.delete-after-commit.enabled' = 'true',                              |
            |   'write.metadata.previous-versions-max' = '20',                                      |
            |   'write.parquet.compression-codec' = 'zstd'                                          |
            | )                                                                                     |
            +---------------------------------------------------------------------------------------+
        "#]],
    )
    .await;
}

#[tokio::test]
async fn what_an_iceberg_table_can_not_be() {
    check(
        "CREATE TABLE a (x INT, y AS x + 1);
         CREATE TABLE b (x INT, t TIMESTAMP(3), WATERMARK FOR t AS t);
         CREATE TABLE c (x DOUBLE, PRIMARY KEY (x) NOT ENFORCED);
         CREATE TABLE d (x STRING) PARTITIONED BY (month(x));
         CREATE TABLE e (x STRING) WITH ('auto-compcat' = 'true');
         CREATE TABLE f (x STRING) WITH ('format-version' = '9');
         CREATE TABLE g (x STRING) WITH ('connector' = 'icberg');
         CREATE TEMPORARY TABLE h (x STRING);
         CREATE TABLE nowhere.i (x STRING);
         CREATE TABLE lake.db.j (x STRING);
         SHOW TABLES;",
        expect![[r#"
            an Iceberg table has no computed columns, and 'y' is one
              --> line 1, column 24, in CREATE TABLE
               |
             1 | CREATE TABLE a (x INT, y AS x + 1)
               |                        ^
               = compute it in a query or a view
            an Iceberg table keeps no WATERMARK
              --> line 2, column 63, in CREATE TABLE
               |
             2 |          CREATE TABLE b (x INT, t TIMESTAMP(3), WATERMARK FOR t AS t)
               |                                                               ^
               = declare it at the table that the rows come from
            'x' is double, which can't be in a key
              --> line 3, column 26, in CREATE TABLE
               |
             3 |          CREATE TABLE c (x DOUBLE, PRIMARY KEY (x) NOT ENFORCED)
               |                          ^
            there is no month of string
              --> line 4, column 52, in CREATE TABLE
               |
             4 |          CREATE TABLE d (x STRING) PARTITIONED BY (month(x))
               |                                                    ^^^^^^^^
            connector 'iceberg' has no option 'auto-compcat'; did you mean 'auto-compact'?
              --> line 5, column 42, in CREATE TABLE
               |
             5 |          CREATE TABLE e (x STRING) WITH ('auto-compcat' = 'true')
               |                                          ^^^^^^^^^^^^^^
            option 'format-version' is '9', but has to be 1, 2 or 3
              --> line 6, column 61, in CREATE TABLE
               |
             6 |          CREATE TABLE f (x STRING) WITH ('format-version' = '9')
               |                                                             ^^^
            option 'connector' of a table is 'icberg', but has to be 'iceberg', 'filesystem', 'kafka' or 'upsert-kafka'; did you mean 'iceberg'?
              --> line 7, column 56, in CREATE TABLE
               |
             7 |          CREATE TABLE g (x STRING) WITH ('connector' = 'icberg')
               |                                                        ^^^^^^^^
            an Iceberg table lasts, so it can't be TEMPORARY
              --> line 8, column 33, in CREATE TABLE
               |
             8 |          CREATE TEMPORARY TABLE h (x STRING)
               |                                 ^
               = take TEMPORARY away, or name another connector
            there is no database 'nowhere' in the catalog 'frazil'
              --> line 9, column 23, in CREATE TABLE
               |
             9 |          CREATE TABLE nowhere.i (x STRING)
               |                       ^^^^^^^^^
               = there is only default
            there is no catalog 'lake'
              --> line 10, column 23, in CREATE TABLE
                |
             10 |          CREATE TABLE lake.db.j (x STRING)
                |                       ^^^^^^^^^
                = there is only frazil
            +------------+
            | table name |
            +------------+
            +------------+
        "#]],
    )
    .await;
}

#[tokio::test]
async fn unknown_names_come_with_the_nearest() {
    check(
        "CREATE TABLE flights (id INT);
         CREATE TABLE airports (id INT);
         DESCRIBE flihgts;
         DESCRIBE zzz;
         DESCRIBE frazl.`default`.flights;
         DESCRIBE defualt.flights;
         USE defaultt;
         USE CATALOG lake;
         DROP TABLE flight;
         DROP TABLE IF EXISTS flight;",
        expect![[r#"
            table flights is made at memory://warehouse/default/flights
            table airports is made at memory://warehouse/default/airports
            there is no table 'flihgts' in frazil.default
              --> line 3, column 19, in DESCRIBE
               |
             3 |          DESCRIBE flihgts
               |                   ^^^^^^^
               = did you mean 'flights'?
            there is no table 'zzz' in frazil.default
              --> line 4, column 19, in DESCRIBE
               |
             4 |          DESCRIBE zzz
               |                   ^^^
               = there are airports, flights
            there is no catalog 'frazl'
              --> line 5, column 19, in DESCRIBE
               |
             5 |          DESCRIBE frazl.`default`.flights
               |                   ^^^^^^^^^^^^^^^^^^^^^^^
               = did you mean 'frazil'?
            there is no database 'defualt' in the catalog 'frazil'
              --> line 6, column 19, in DESCRIBE
               |
             6 |          DESCRIBE defualt.flights
               |                   ^^^^^^^^^^^^^^^
               = did you mean 'default'?
            there is no database 'defaultt' in the catalog 'frazil'
              --> line 7, column 14, in USE
               |
             7 |          USE defaultt
               |              ^^^^^^^^
               = did you mean 'default'?
            there is no catalog 'lake'
              --> line 8, column 22, in USE CATALOG
               |
             8 |          USE CATALOG lake
               |                      ^^^^
               = there is only frazil
            there is no table 'flight' in frazil.default
              --> line 9, column 21, in DROP TABLE
               |
             9 |          DROP TABLE flight
               |                     ^^^^^^
               = did you mean 'flights'?
            there is no table flight
        "#]],
    )
    .await;
}

#[tokio::test]
async fn databases_and_tables_come_and_go() {
    check(
        "CREATE DATABASE sales COMMENT 'all sales';
         CREATE DATABASE sales;
         CREATE DATABASE IF NOT EXISTS sales;
         SHOW DATABASES;
         USE sales;
         CREATE TABLE orders (id INT);
         CREATE TABLE orders (id INT);
         CREATE TABLE IF NOT EXISTS orders (id INT);
         SHOW TABLES;
         SHOW TABLES LIKE 'ord%';
         SHOW TABLES LIKE 'x%';
         USE `default`;
         SHOW TABLES;
         DROP DATABASE sales;
         DROP TABLE sales.orders;
         DROP DATABASE sales;
         SHOW CURRENT DATABASE;",
        expect![[r#"
            database sales is made
            there is a database 'sales' already
              --> line 2, column 26, in CREATE DATABASE
               |
             2 |          CREATE DATABASE sales
               |                          ^^^^^
               = CREATE DATABASE IF NOT EXISTS takes it as it is
            database sales is there already
            +---------------+
            | database name |
            +---------------+
            | default       |
            | sales         |
            +---------------+
            the current database is frazil.sales
            table orders is made at memory://warehouse/sales/orders
            there is a table 'orders' already
              --> line 7, column 23, in CREATE TABLE
               |
             7 |          CREATE TABLE orders (id INT)
               |                       ^^^^^^
               = CREATE TABLE IF NOT EXISTS takes it as it is, CREATE OR REPLACE TABLE makes it anew
            table orders is there already, and stays as it is
            +------------+
            | table name |
            +------------+
            | orders     |
            +------------+
            +------------+
            | table name |
            +------------+
            | orders     |
            +------------+
            +------------+
            | table name |
            +------------+
            +------------+
            the current database is frazil.default
            +------------+
            | table name |
            +------------+
            +------------+
            the database 'sales' is not empty
              --> line 14, column 24, in DROP DATABASE
                |
             14 |          DROP DATABASE sales
                |                        ^^^^^
                = drop its tables first, or write DROP DATABASE sales CASCADE
            table sales.orders is dropped; its files stay at memory://warehouse/sales/orders
            database sales is dropped
            +-----------------------+
            | current database name |
            +-----------------------+
            | default               |
            +-----------------------+
        "#]],
    )
    .await;
}

#[tokio::test]
async fn tables_of_connectors_live_in_the_session() {
    check(
        "CREATE TABLE events (
           id INT NOT NULL, at TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL, twice AS id * 2,
           WATERMARK FOR at AS at - INTERVAL '5' SECOND
         ) WITH ('connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'localhost:1',
           'format' = 'json', 'properties.sasl.password' = 'x');
         DESCRIBE events;
         SHOW CREATE TABLE events;
         CREATE VIEW big AS SELECT id, twice AS double FROM events WHERE id > 10;
         CREATE VIEW bigger (a, b) AS SELECT * FROM big WHERE id > 100;
         SHOW VIEWS;
         DESCRIBE bigger;
         CREATE VIEW none AS SELECT * FROM event;
         DROP TABLE big;
         DROP VIEW big;
         DROP TABLE events;
         SHOW TABLES;",
        expect![[r#"
            table events reads kafka; the definition lives as long as the session
            +-------+--------------+-------+-----+-----------------------------------+--------------------------+---------+
            | name  | type         | null  | key | extras                            | watermark                | comment |
            +-------+--------------+-------+-----+-----------------------------------+--------------------------+---------+
            | id    | INT          | false |     |                                   |                          |         |
            | at    | TIMESTAMP(3) | true  |     | METADATA FROM 'timestamp' VIRTUAL | at - INTERVAL '5' SECOND |         |
            | twice | computed     |       |     | AS id * 2                         |                          |         |
            +-------+--------------+-------+-----+-----------------------------------+--------------------------+---------+
            +------------------------------------------------------+
            | create table                                         |
            +------------------------------------------------------+
            | CREATE TABLE frazil.default.events (                 |
            |   id INT NOT NULL,                                   |
            |   at TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL, |
            |   twice AS id * 2,                                   |
            |   WATERMARK FOR at AS at - INTERVAL '5' SECOND       |
            | ) WITH (                                             |
            |   'connector' = 'kafka',                             |
            |   'topic' = 't',                                     |
            |   'properties.bootstrap.servers' = 'localhost:1',    |
            |   'format' = 'json',                                 |
            |   'properties.sasl.password' = '******'              |
            | )                                                    |
            +------------------------------------------------------+
            view big is made; it lives as long as the session
            view bigger is made; it lives as long as the session
            +-----------+
            | view name |
            +-----------+
            | big       |
            | bigger    |
            +-----------+
            +------+--------+-------+-----+--------+-----------+---------+
            | name | type   | null  | key | extras | watermark | comment |
            +------+--------+-------+-----+--------+-----------+---------+
            | a    | INT    | false |     |        |           |         |
            | b    | BIGINT | false |     |        |           |         |
            +------+--------+-------+-----+--------+-----------+---------+
            there is no table 'event' in frazil.default
              --> line 12, column 44, in CREATE VIEW
                |
             12 |          CREATE VIEW none AS SELECT * FROM event
                |                                            ^^^^^
                = did you mean 'events'?
            'big' is a view
              --> line 13, column 21, in DROP TABLE
                |
             13 |          DROP TABLE big
                |                     ^^^
                = write DROP VIEW big
            view big is dropped
            table events is dropped
            +------------+
            | table name |
            +------------+
            | bigger     |
            +------------+
        "#]],
    )
    .await;
}

#[tokio::test]
async fn settings() {
    check(
        "SET 'execution.checkpointing.interval' = '1 s';
         SET 'parallelism.default' = '0';
         SET 'paralelism.default' = '2';
         SET 'datafusion.execution.batch_size' = '100';
         SET 'datafusion.execution.batch_sizes' = '100';
         SET;
         RESET 'parallelism.defalt';
         RESET;
         SET;",
        expect![[r#"
            execution.checkpointing.interval is 1 s
            option 'parallelism.default' of SET is '0', but has to be a whole number from 1 to 256
              --> line 2, column 38, in SET
               |
             2 |          SET 'parallelism.default' = '0'
               |                                      ^^^
            SET has no option 'paralelism.default'; did you mean 'parallelism.default'?
              --> line 3, column 14, in SET
               |
             3 |          SET 'paralelism.default' = '2'
               |              ^^^^^^^^^^^^^^^^^^^^
            datafusion.execution.batch_size is 100
            option 'datafusion.execution.batch_sizes' of DataFusion is '100', but has to be one that it takes (Invalid or Unsupported Configuration: Config value "batch_sizes" not found on ExecutionOptions)
              --> line 5, column 14, in SET
               |
             5 |          SET 'datafusion.execution.batch_sizes' = '100'
               |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            +----------------------------------+-------+
            | key                              | value |
            +----------------------------------+-------+
            | execution.checkpointing.interval | 1 s   |
            | datafusion.execution.batch_size  | 100   |
            +----------------------------------+-------+
            SET has no option 'parallelism.defalt'; did you mean 'parallelism.default'?
            all settings are as they were at the start
            +-----+-------+
            | key | value |
            +-----+-------+
            +-----+-------+
        "#]],
    )
    .await;
}
