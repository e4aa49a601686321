//! Tables that our SQL has changed while rows were in them: renamed, reordered, dropped and added again, promoted, nested
//! too, in partitions that changed. Every engine must read old rows by the columns of now, and the branches and tags.

use frazil_tests::peers::{Engine, FrazilSql, Peer};
use serde_json::json;

use super::world;

const TABLE: &str = "interop_evolved.places";

const EVOLUTION: &str = "
    CREATE DATABASE IF NOT EXISTS interop_evolved;
    CREATE TABLE interop_evolved.places (
        id INT NOT NULL, name STRING, n INT, score FLOAT, price DECIMAL(9, 2), spot ROW<lat FLOAT, lon FLOAT>,
        tags ARRAY<ROW<k STRING, v INT>>
    ) PARTITIONED BY (bucket(2, id));
    INSERT INTO interop_evolved.places VALUES
        (1, 'a', 11, CAST(1.5 AS FLOAT), 1.25, ROW(CAST(10 AS FLOAT), CAST(20 AS FLOAT)), ARRAY[ROW('x', 1)]),
        (2, 'b', 22, CAST(2.5 AS FLOAT), 2.25, ROW(CAST(30 AS FLOAT), CAST(40 AS FLOAT)), ARRAY[ROW('y', 2), ROW('z', 3)]);
    ALTER TABLE interop_evolved.places CREATE TAG `before` RETAIN 7 DAYS;
    ALTER TABLE interop_evolved.places RENAME COLUMN name TO title;
    ALTER TABLE interop_evolved.places ALTER COLUMN id TYPE BIGINT;
    ALTER TABLE interop_evolved.places ALTER COLUMN score TYPE DOUBLE;
    ALTER TABLE interop_evolved.places ALTER COLUMN price TYPE DECIMAL(18, 2);
    ALTER TABLE interop_evolved.places ADD COLUMNS (spot.alt DOUBLE COMMENT 'metres' AFTER lat, tags.w STRING FIRST);
    ALTER TABLE interop_evolved.places RENAME COLUMN spot.lon TO lng;
    ALTER TABLE interop_evolved.places ALTER COLUMN tags.v TYPE BIGINT;
    ALTER TABLE interop_evolved.places DROP COLUMN n;
    ALTER TABLE interop_evolved.places ADD COLUMN n STRING;
    ALTER TABLE interop_evolved.places ALTER COLUMN price FIRST;
    ALTER TABLE interop_evolved.places ALTER COLUMN spot AFTER price;
    ALTER TABLE interop_evolved.places REPLACE PARTITION FIELD bucket(2, id) WITH bucket(4, id) AS quarter;
    ALTER TABLE interop_evolved.places WRITE ORDERED BY title DESC, id;
    INSERT INTO interop_evolved.places VALUES
        (3.25, ROW(CAST(50 AS FLOAT), 0.5, CAST(60 AS FLOAT)), 3000000000, 'c', 3.125, ARRAY[ROW('w', 'k', 3000000000)], 'new');
    ALTER TABLE interop_evolved.places CREATE BRANCH audit WITH SNAPSHOT RETENTION 3 SNAPSHOTS;
    INSERT INTO interop_evolved.places VALUES
        (4.25, ROW(CAST(70 AS FLOAT), 1.5, CAST(80 AS FLOAT)), 4, 'd', 4.5, ARRAY[ROW('u', 'l', 4)], 'newer');";

fn rows(rows: &[serde_json::Value]) -> Vec<String> {
    let mut rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
    rows.sort_unstable();
    rows
}

/// What the evolved columns show, oldest first.
fn evolved() -> [serde_json::Value; 4] {
    [
        json!(["1.25", [10.0, null, 20.0], 1, "a", 1.5, [[null, "x", 1]], null]),
        json!(["2.25", [30.0, null, 40.0], 2, "b", 2.5, [[null, "y", 2], [null, "z", 3]], null]),
        json!(["3.25", [50.0, 0.5, 60.0], 3_000_000_000_i64, "c", 3.125, [["w", "k", 3_000_000_000_i64]], "new"]),
        json!(["4.25", [70.0, 1.5, 80.0], 4, "d", 4.5, [["u", "l", 4]], "newer"]),
    ]
}

/// The ids that a peer sees at a branch or tag; `None` for a peer that can't be asked by name.
fn ids_at(peer: &Peer, reference: &str) -> Option<Vec<String>> {
    let answer = match peer.engine() {
        Engine::PyIceberg => {
            let request = json!({"op": "scan", "table": TABLE, "columns": ["id"], "ref": reference});
            peer.query(&request)
        }
        Engine::Spark => peer.sql(&format!("SELECT id FROM frazil.{TABLE} VERSION AS OF '{reference}'")),
        Engine::DuckDb | Engine::Trino => return None,
    };
    Some(answer.unwrap_or_else(|error| panic!("{error}")).sorted_rows())
}

#[test]
fn every_engine_reads_old_rows_by_the_columns_of_now() {
    for skip in &world().skips {
        skip.report();
    }
    let Some(own) = &world().frazil else { return };
    own.sql(EVOLUTION).unwrap();
    for peer in &world().peers {
        let found = peer.scan(TABLE).unwrap().sorted_rows();
        assert_eq!(found, rows(&evolved()), "{} reads {TABLE}", peer.engine());
    }
    for (reference, ids) in [("before", &["[1]", "[2]"][..]), ("audit", &["[1]", "[2]", "[3000000000]"])] {
        let asked = world().peers.iter().filter_map(|peer| Some((peer.engine(), ids_at(peer, reference)?)));
        for (engine, found) in asked {
            assert_eq!(found, ids, "{engine} reads {reference}");
        }
        let count = own.sql(&format!("SELECT count(*) AS n FROM {TABLE} FOR SYSTEM_VERSION AS OF '{reference}'"));
        assert_eq!(count.unwrap()[0]["n"], ids.len(), "{reference}");
    }
    // What the others do to the same table counts for us.
    if let Some(spark) = world().peers.iter().find(|peer| peer.engine() == Engine::Spark) {
        spark.sql(&format!("ALTER TABLE frazil.{TABLE} ADD COLUMN by_spark INT AFTER id")).unwrap();
        spark.sql(&format!("ALTER TABLE frazil.{TABLE} CREATE TAG `spark's`")).unwrap();
        let columns = own.sql(&format!("DESCRIBE {TABLE}")).unwrap();
        let names: Vec<_> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["price", "spot", "id", "by_spark", "title", "score", "tags", "n"]);
        own.sql(&format!("ALTER TABLE {TABLE} DROP TAG `spark's`; ALTER TABLE {TABLE} DROP COLUMN by_spark")).unwrap();
        let tags = spark.sql(&format!("SELECT name FROM frazil.{TABLE}.refs")).unwrap().sorted_rows();
        assert_eq!(tags, [r#"["audit"]"#, r#"["before"]"#, r#"["main"]"#]);
    }
    drop_table(own, TABLE);
}

#[test]
fn every_engine_reads_a_table_that_was_upgraded_and_one_that_was_replaced() {
    for skip in &world().skips {
        skip.report();
    }
    let Some(own) = &world().frazil else { return };
    let (upgraded, replaced) = ("interop_evolved.upgraded", "interop_evolved.replaced");
    own.sql(&format!(
        "CREATE DATABASE IF NOT EXISTS interop_evolved;
         CREATE TABLE {upgraded} (id BIGINT, day DATE) PARTITIONED BY (month(day)) WITH ('format-version' = '1');
         INSERT INTO {upgraded} VALUES (1, DATE '2024-01-31');
         ALTER TABLE {upgraded} DROP PARTITION FIELD month(day);
         INSERT INTO {upgraded} VALUES (2, DATE '2024-02-01');
         ALTER TABLE {upgraded} SET ('format-version' = '2');
         ALTER TABLE {upgraded} ADD PARTITION FIELD day(day);
         INSERT INTO {upgraded} VALUES (3, DATE '2024-02-02');
         CREATE TABLE {replaced} (id BIGINT, note STRING) PARTITIONED BY (id);
         INSERT INTO {replaced} VALUES (1, 'a'), (2, 'b');
         CREATE OR REPLACE TABLE {replaced} PARTITIONED BY (bucket(2, id)) AS SELECT id * 10 AS id, note AS text FROM {replaced};"
    ))
    .unwrap();
    for peer in &world().peers {
        let found = peer.scan(upgraded).unwrap().sorted_rows();
        let days = [json!([1, "2024-01-31"]), json!([2, "2024-02-01"]), json!([3, "2024-02-02"])];
        assert_eq!(found, rows(&days), "{} reads {upgraded}", peer.engine());
        // Iceberg 1.1, which Trino has, binds the spec that was to the columns of now.
        let found = peer.scan(replaced).unwrap().sorted_rows();
        assert_eq!(found, rows(&[json!([10, "a"]), json!([20, "b"])]), "{} reads {replaced}", peer.engine());
    }
    drop_table(own, upgraded);
    drop_table(own, replaced);
}

fn drop_table(own: &FrazilSql, table: &str) {
    own.sql(&format!("DROP TABLE {table} PURGE")).unwrap();
}
