//! Tables that change by SQL, and what is read of them before and after.

use expect_test::expect;

use crate::session::world::World;

/// Rows of before, in one file.
const PLACES: &str = "
    CREATE TABLE places (
        id INT NOT NULL, name STRING, score FLOAT, price DECIMAL(9, 2),
        spot ROW<lat FLOAT, lon FLOAT>, tags ARRAY<ROW<k STRING, n INT>>, m MAP<STRING, ROW<v INT>>
    );
    INSERT INTO places VALUES
        (1, 'a', CAST(1.5 AS FLOAT), 1.25, ROW(CAST(10 AS FLOAT), CAST(20 AS FLOAT)), ARRAY[ROW('x', 1)], MAP['p', ROW(7)]);";

#[tokio::test]
async fn old_rows_are_read_by_the_columns_of_now() {
    let mut world = World::new().await;
    world.done(PLACES).await;
    world
        .check(
            "ALTER TABLE places RENAME COLUMN name TO title;
             ALTER TABLE places ALTER COLUMN id TYPE BIGINT;
             ALTER TABLE places ALTER COLUMN score TYPE DOUBLE;
             ALTER TABLE places ALTER COLUMN price TYPE DECIMAL(18, 2);
             ALTER TABLE places ADD COLUMNS (spot.alt DOUBLE COMMENT 'metres' AFTER lat, tags.w STRING FIRST, m.`value`.u INT);
             ALTER TABLE places RENAME COLUMN spot.lon TO lng;
             ALTER TABLE places ALTER COLUMN tags.n TYPE BIGINT;
             ALTER TABLE places ALTER COLUMN m.v TYPE BIGINT;
             ALTER TABLE places DROP COLUMN score;
             ALTER TABLE places ADD COLUMN score STRING;
             ALTER TABLE places ALTER COLUMN price FIRST;
             ALTER TABLE places ALTER COLUMN spot AFTER price;
             ALTER TABLE places ALTER COLUMN title COMMENT 'of the place';
             INSERT INTO places VALUES (2.5, ROW(1, 2, 3), 4, 'b', ARRAY[ROW('w', 'y', 5)], MAP['q', ROW(6, 8)], 'new');
             SELECT * FROM places ORDER BY id;
             SELECT spot.lng, t.n FROM places, UNNEST(tags) AS t (w, k, n) WHERE t.n > 4;
             DESCRIBE places;",
            expect![[r#"
                table places is altered
                table places is altered
                table places is altered
                table places is altered
                table places is altered
                table places is altered
                table places is altered
                table places is altered
                table places is altered
                table places is altered
                table places is altered
                table places is altered
                table places is altered
                1 rows into frazil.default.places
                +-------+--------------------------------+----+-------+----------------------+-------------------+-------+
                | price | spot                           | id | title | tags                 | m                 | score |
                +-------+--------------------------------+----+-------+----------------------+-------------------+-------+
                | 1.25  | {lat: 10.0, alt: , lng: 20.0}  | 1  | a     | [{w: , k: x, n: 1}]  | {p: {v: 7, u: }}  |       |
                | 2.50  | {lat: 1.0, alt: 2.0, lng: 3.0} | 4  | b     | [{w: w, k: y, n: 5}] | {q: {v: 6, u: 8}} | new   |
                +-------+--------------------------------+----+-------+----------------------+-------------------+-------+
                +------------------+---+
                | places.spot[lng] | n |
                +------------------+---+
                | 3.0              | 5 |
                +------------------+---+
                +-------+--------------------------------------------+-------+-----+--------+-----------+--------------+
                | name  | type                                       | null  | key | extras | watermark | comment      |
                +-------+--------------------------------------------+-------+-----+--------+-----------+--------------+
                | price | DECIMAL(18, 2)                             | true  |     |        |           |              |
                | spot  | ROW<lat FLOAT, alt DOUBLE, lng FLOAT>      | true  |     |        |           |              |
                | id    | BIGINT                                     | false |     |        |           |              |
                | title | STRING                                     | true  |     |        |           | of the place |
                | tags  | ARRAY<ROW<w STRING, k STRING, n BIGINT>>   | true  |     |        |           |              |
                | m     | MAP<STRING NOT NULL, ROW<v BIGINT, u INT>> | true  |     |        |           |              |
                | score | STRING                                     | true  |     |        |           |              |
                +-------+--------------------------------------------+-------+-----+--------+-----------+--------------+
            "#]],
        )
        .await;
}

#[tokio::test]
async fn what_can_not_be_says_so_at_its_place() {
    let mut world = World::new().await;
    world.done(PLACES).await;
    world.done("ALTER TABLE places SET IDENTIFIER FIELDS id; CREATE VIEW v AS SELECT * FROM places;").await;
    world
        .check(
            "ALTER TABLE places DROP COLUMN id;
             ALTER TABLE places RENAME COLUMN titel TO x;
             ALTER TABLE places ALTER COLUMN spot.lat TYPE INT;
             ALTER TABLE places ADD COLUMN name INT;
             ALTER TABLE places ADD COLUMN n INT NOT NULL;
             ALTER TABLE places ADD COLUMN n INT DEFAULT 1;
             ALTER TABLE places ALTER COLUMN spot TYPE ROW<lat FLOAT>;
             ALTER TABLE places ALTER COLUMN name SET NOT NULL;
             ALTER TABLE places ADD COLUMNS (a INT, b.c INT);
             ALTER TABLE places SET IDENTIFIER FIELDS name;
             ALTER TABLE places DROP IDENTIFIER FIELDS name;
             ALTER TABLE places DROP PARTITION FIELD name;
             ALTER TABLE places ADD PARTITION FIELD day(name);
             ALTER TABLE places WRITE ORDERED BY spot;
             ALTER TABLE places SET ('write.parqet.compression-codec' = 'zstd');
             ALTER TABLE places SET ('format-version' = '1');
             ALTER TABLE places UNSET TBLPROPERTIES ('nothing');
             ALTER TABLE places RENAME TO nowhere.places;
             ALTER TABLE v ADD COLUMN a INT;
             ALTER TABLE palces ADD COLUMN a INT;
             ALTER TABLE IF EXISTS palces ADD COLUMN a INT;
             ALTER TABLE places DROP COLUMN IF EXISTS nothing;
             ALTER TABLE places CREATE BRANCH audit;
             ALTER TABLE places CREATE BRANCH audit;
             ALTER TABLE places DROP TAG audit;",
            expect![[r#"
                column 'id': it is an identifier field, so it can't be dropped
                  --> line 1, column 32, in ALTER TABLE
                   |
                 1 | ALTER TABLE places DROP COLUMN id
                   |                                ^^
                   = take it out of the identifier fields first
                column 'titel': there is no field 'titel'
                  --> line 2, column 47, in ALTER TABLE
                   |
                 2 |              ALTER TABLE places RENAME COLUMN titel TO x
                   |                                               ^^^^^
                   = there are id, name, score, price, spot, tags, m
                column 'spot.lat': float can't become int: old values would have no value in the new type
                  --> line 3, column 46, in ALTER TABLE
                   |
                 3 |              ALTER TABLE places ALTER COLUMN spot.lat TYPE INT
                   |                                              ^^^^^^^^
                   = float may become double
                column 'name': there is a field 'name' already
                  --> line 4, column 44, in ALTER TABLE
                   |
                 4 |              ALTER TABLE places ADD COLUMN name INT
                   |                                            ^^^^
                column 'n': it can't be NOT NULL: rows that are there already have no value for it
                  --> line 5, column 44, in ALTER TABLE
                   |
                 5 |              ALTER TABLE places ADD COLUMN n INT NOT NULL
                   |                                            ^
                   = let it be nullable, or give it a DEFAULT (format version 3)
                column 'n': a DEFAULT needs format version 3, and the table has v2
                  --> line 6, column 44, in ALTER TABLE
                   |
                 6 |              ALTER TABLE places ADD COLUMN n INT DEFAULT 1
                   |                                            ^
                   = ALTER TABLE … SET ('format-version' = '3') upgrades it
                'spot' can't become ROW<lat FLOAT>
                  --> line 7, column 46, in ALTER TABLE
                   |
                 7 |              ALTER TABLE places ALTER COLUMN spot TYPE ROW<lat FLOAT>
                   |                                              ^^^^
                   = the fields of a ROW, ARRAY or MAP change one by one: ALTER COLUMN a.b TYPE …, ADD COLUMN a.c …
                column 'name': it can't become NOT NULL: rows that are there already may have no value for it
                  --> line 8, column 46, in ALTER TABLE
                   |
                 8 |              ALTER TABLE places ALTER COLUMN name SET NOT NULL
                   |                                              ^^^^
                column 'b': there is no field 'b'
                  --> line 9, column 33, in ALTER TABLE
                   |
                 9 |              ALTER TABLE places ADD COLUMNS (a INT, b.c INT)
                   |                                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
                   = there are id, name, score, price, spot, tags, m, a
                column 'name': 'name' may be null, so it can't identify rows
                  --> line 10, column 55, in ALTER TABLE
                    |
                 10 |              ALTER TABLE places SET IDENTIFIER FIELDS name
                    |                                                       ^^^^
                'name' is no identifier field
                  --> line 11, column 56, in ALTER TABLE
                    |
                 11 |              ALTER TABLE places DROP IDENTIFIER FIELDS name
                    |                                                        ^^^^
                there is no partition field 'identity of name'
                  --> line 12, column 33, in ALTER TABLE
                    |
                 12 |              ALTER TABLE places DROP PARTITION FIELD name
                    |                                 ^^^^^^^^^^^^^^^^^^^^^^^^^
                    = the table is not partitioned
                column 'name': there is no day of string
                  --> line 13, column 33, in ALTER TABLE
                    |
                 13 |              ALTER TABLE places ADD PARTITION FIELD day(name)
                    |                                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
                column 'spot': a table can't be sorted by it: it is struct<floatfloat>
                  --> line 14, column 33, in ALTER TABLE
                    |
                 14 |              ALTER TABLE places WRITE ORDERED BY spot
                    |                                 ^^^^^^^^^^^^^^^^^^^^^
                connector 'iceberg' has no option 'write.parqet.compression-codec'; did you mean 'write.parquet.compression-codec'?
                  --> line 15, column 38, in ALTER TABLE
                    |
                 15 |              ALTER TABLE places SET ('write.parqet.compression-codec' = 'zstd')
                    |                                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
                the table has format version v2, and there is no way back to v1
                  --> line 16, column 33, in ALTER TABLE
                    |
                 16 |              ALTER TABLE places SET ('format-version' = '1')
                    |                                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
                the table has no property 'nothing'
                  --> line 17, column 54, in ALTER TABLE
                    |
                 17 |              ALTER TABLE places UNSET TBLPROPERTIES ('nothing')
                    |                                                      ^^^^^^^^^
                    = UNSET TBLPROPERTIES IF EXISTS (…) takes that
                there is no database 'nowhere' in the catalog 'frazil'
                  --> line 18, column 43, in ALTER TABLE
                    |
                 18 |              ALTER TABLE places RENAME TO nowhere.places
                    |                                           ^^^^^^^^^^^^^^
                    = there is only default
                'v' is a view
                  --> line 19, column 26, in ALTER TABLE
                    |
                 19 |              ALTER TABLE v ADD COLUMN a INT
                    |                          ^
                    = drop it and make it anew
                there is no table 'palces' in frazil.default
                  --> line 20, column 26, in ALTER TABLE
                    |
                 20 |              ALTER TABLE palces ADD COLUMN a INT
                    |                          ^^^^^^
                    = did you mean 'places'?
                there is no table palces
                table places is that way already
                table places is altered
                there is a branch 'audit' already
                  --> line 24, column 33, in ALTER TABLE
                    |
                 24 |              ALTER TABLE places CREATE BRANCH audit
                    |                                 ^^^^^^^^^^^^^^^^^^^
                'audit' is a branch, not a tag
                  --> line 25, column 33, in ALTER TABLE
                    |
                 25 |              ALTER TABLE places DROP TAG audit
                    |                                 ^^^^^^^^^^^^^^
            "#]],
        )
        .await;
}

#[tokio::test]
async fn the_layout_of_what_is_written_from_now_on_changes() {
    let mut world = World::new().await;
    world
        .check(
            "CREATE TABLE t (id BIGINT NOT NULL, day DATE, note STRING) PARTITIONED BY (month(day));
             INSERT INTO t VALUES (1, DATE '2024-01-31', 'a');
             ALTER TABLE t REPLACE PARTITION FIELD month(day) WITH day(day);
             INSERT INTO t VALUES (2, DATE '2024-02-01', 'b');
             ALTER TABLE t ADD PARTITION FIELD bucket(4, id) AS shard;
             ALTER TABLE t RENAME PARTITION FIELD shard TO shards;
             INSERT INTO t VALUES (3, DATE '2024-02-02', 'c');
             ALTER TABLE t DROP PARTITION FIELD shards;
             ALTER TABLE t DROP PARTITION FIELD day(day);
             ALTER TABLE t WRITE ORDERED BY note DESC, id;
             ALTER TABLE t SET ('write.target-file-size-bytes' = '1048576');
             ALTER TABLE t RESET ('write.metadata.previous-versions-max', 'nothing');
             ALTER TABLE t SET ('format-version' = '3');
             INSERT INTO t VALUES (4, NULL, 'd');
             SELECT * FROM t WHERE day >= DATE '2024-02-01' ORDER BY id;
             SELECT COUNT(*) FROM t;
             ALTER TABLE t RENAME TO renamed;
             SHOW CREATE TABLE renamed;
             ALTER TABLE renamed WRITE ORDERED BY note DESC, id;",
            expect![[r#"
                table t is made at memory://warehouse/default/t
                1 rows into frazil.default.t
                table t is altered
                1 rows into frazil.default.t
                table t is altered
                table t is altered
                1 rows into frazil.default.t
                table t is altered
                table t is altered
                table t is altered
                table t is altered
                table t is altered
                table t is altered
                1 rows into frazil.default.t
                +----+------------+------+
                | id | day        | note |
                +----+------------+------+
                | 2  | 2024-02-01 | b    |
                | 3  | 2024-02-02 | c    |
                +----+------------+------+
                +----------+
                | count(*) |
                +----------+
                | 4        |
                +----------+
                table t is called frazil.default.renamed now
                +----------------------------------------------------------+
                | create table                                             |
                +----------------------------------------------------------+
                | CREATE TABLE frazil.default.renamed (                    |
                |   id BIGINT NOT NULL,                                    |
                |   day DATE,                                              |
                |   note STRING                                            |
                | ) WITH (                                                 |
                |   'connector' = 'iceberg',                               |
                |   'format-version' = '3',                                |
                |   'write.distribution-mode' = 'range',                   |
                |   'write.metadata.delete-after-commit.enabled' = 'true', |
                |   'write.target-file-size-bytes' = '1048576'             |
                | )                                                        |
                +----------------------------------------------------------+
                table renamed is that way already
            "#]],
        )
        .await;
    let metadata = world.table("renamed").await.metadata().clone();
    assert_eq!(metadata.default_sort_order().fields.len(), 2);
    assert_eq!(metadata.properties()["write.distribution-mode"], "range");
    assert_eq!(metadata.partition_specs_iter().len(), 5);
}

#[tokio::test]
async fn defaults_fill_old_rows_and_new_ones() {
    let mut world = World::new().await;
    world
        .check(
            "CREATE TABLE t (id INT, r ROW<a INT>, l ARRAY<ROW<a INT>>) WITH ('format-version' = '3');
             INSERT INTO t VALUES (1, ROW(1), ARRAY[ROW(1)]), (2, NULL, NULL);
             ALTER TABLE t ADD COLUMN n INT NOT NULL DEFAULT 40 + 2;
             ALTER TABLE t ADD COLUMNS (r.d DATE DEFAULT DATE '2024-01-31', l.s STRING DEFAULT 'old', p DECIMAL(5, 2) DEFAULT 1.5);
             ALTER TABLE t ALTER COLUMN n SET DEFAULT 7;
             ALTER TABLE t ALTER COLUMN n TYPE BIGINT;
             SELECT * FROM t ORDER BY id;
             SELECT id FROM t WHERE n = 42 AND p = 1.5;
             INSERT INTO t (id, r, l) VALUES (3, ROW(3, CAST(NULL AS DATE)), NULL);
             SELECT id, n, p, r FROM t WHERE id = 3;
             ALTER TABLE t ADD COLUMN x INT DEFAULT 'many';
             ALTER TABLE t ADD COLUMN x INT DEFAULT 99999999999;
             ALTER TABLE t ADD COLUMN x INT DEFAULT id;",
            expect![[r#"
                table t is made at memory://warehouse/default/t
                2 rows into frazil.default.t
                table t is altered
                table t is altered
                table t is altered
                table t is altered
                +----+-----------------------+------------------+----+------+
                | id | r                     | l                | n  | p    |
                +----+-----------------------+------------------+----+------+
                | 1  | {a: 1, d: 2024-01-31} | [{a: 1, s: old}] | 42 | 1.50 |
                | 2  |                       |                  | 42 | 1.50 |
                +----+-----------------------+------------------+----+------+
                +----+
                | id |
                +----+
                | 1  |
                | 2  |
                +----+
                1 rows into frazil.default.t
                +----+---+------+-------------+
                | id | n | p    | r           |
                +----+---+------+-------------+
                | 3  | 7 | 1.50 | {a: 3, d: } |
                +----+---+------+-------------+
                the DEFAULT 'many' is no int
                  --> line 11, column 39, in ALTER TABLE
                    |
                 11 |              ALTER TABLE t ADD COLUMN x INT DEFAULT 'many'
                    |                                       ^
                the DEFAULT 99999999999 is no int
                  --> line 12, column 39, in ALTER TABLE
                    |
                 12 |              ALTER TABLE t ADD COLUMN x INT DEFAULT 99999999999
                    |                                       ^
                there is no column 'id'
                  --> line 13, column 53, in ALTER TABLE
                    |
                 13 |              ALTER TABLE t ADD COLUMN x INT DEFAULT id
                    |                                                     ^^
            "#]],
        )
        .await;
}

#[tokio::test]
async fn a_table_is_replaced_wholly_or_not_at_all() {
    let mut world = World::new().await;
    world
        .check(
            "CREATE TABLE t (id INT, note STRING) PARTITIONED BY (id);
             INSERT INTO t VALUES (1, 'a'), (2, 'b');
             ALTER TABLE t CREATE TAG before;
             CREATE OR REPLACE TABLE t PARTITIONED BY (bucket(2, twice)) AS SELECT id * 2 AS twice, note AS id FROM t;
             SELECT * FROM t ORDER BY twice;
             SELECT * FROM t FOR SYSTEM_VERSION AS OF 'before' ORDER BY id;
             CREATE OR REPLACE TABLE t AS SELECT CAST('x' AS INT) AS id;
             SELECT COUNT(*) FROM t;
             CREATE OR REPLACE TABLE t (only DATE) WITH ('write.target-file-size-bytes' = '1048576');
             SELECT * FROM t;
             INSERT INTO t VALUES (DATE '2024-01-31');
             SELECT * FROM t;
             SELECT COUNT(*) FROM t FOR SYSTEM_VERSION AS OF 'before';
             REPLACE TABLE u (a INT);
             CREATE OR REPLACE TABLE u (a INT);
             CREATE TABLE bad AS SELECT CAST('x' AS INT) AS id;
             SELECT * FROM bad;
             SELECT * FROM u;
             DROP TABLE u PURGE;",
            expect![[r#"
                table t is made at memory://warehouse/default/t
                2 rows into frazil.default.t
                table t is altered
                2 rows into frazil.default.t
                +-------+----+
                | twice | id |
                +-------+----+
                | 2     | a  |
                | 4     | b  |
                +-------+----+
                +----+------+
                | id | note |
                +----+------+
                | 1  | a    |
                | 2  | b    |
                +----+------+
                cast error: Cannot cast string 'x' to value of INT type
                  --> line 7, column 55, in CREATE TABLE
                   |
                 7 |              CREATE OR REPLACE TABLE t AS SELECT CAST('x' AS INT) AS id
                   |                                                       ^^^
                +----------+
                | count(*) |
                +----------+
                | 2        |
                +----------+
                table t is replaced; what was in it stays in its history
                ++
                ++
                1 rows into frazil.default.t
                +------------+
                | only       |
                +------------+
                | 2024-01-31 |
                +------------+
                +----------+
                | count(*) |
                +----------+
                | 2        |
                +----------+
                there is no table 'u' in frazil.default
                  --> line 14, column 28, in CREATE TABLE
                    |
                 14 |              REPLACE TABLE u (a INT)
                    |                            ^
                    = there is only t
                table u is made at memory://warehouse/default/u
                cast error: Cannot cast string 'x' to value of INT type
                  --> line 16, column 46, in CREATE TABLE
                    |
                 16 |              CREATE TABLE bad AS SELECT CAST('x' AS INT) AS id
                    |                                              ^^^
                there is no table 'bad' in frazil.default
                  --> line 17, column 28, in SELECT
                    |
                 17 |              SELECT * FROM bad
                    |                            ^^^
                    = there are t, u
                ++
                ++
                table u is dropped, and its files at memory://warehouse/default/u are deleted
            "#]],
        )
        .await;
    // What was replaced keeps its own columns: ids are not used twice.
    let metadata = world.table("t").await.metadata().clone();
    assert_eq!(metadata.current_schema().highest_field_id(), 5);
    assert_eq!(metadata.snapshots().filter(|snapshot| snapshot.parent_snapshot_id().is_none()).count(), 3);
}

/// Old specs name a column that the schema has no more: their files are still read, and rewritten.
#[tokio::test]
async fn a_column_goes_that_old_files_were_partitioned_by() {
    let mut world = World::new().await;
    world
        .check(
            "CREATE TABLE t (id INT, region STRING) PARTITIONED BY (region, bucket(2, id));
             INSERT INTO t VALUES (1, 'north'), (2, 'south');
             ALTER TABLE t DROP COLUMN region;
             ALTER TABLE t DROP PARTITION FIELD region;
             ALTER TABLE t DROP COLUMN region;
             INSERT INTO t VALUES (3);
             SELECT * FROM t WHERE id > 0 ORDER BY id;
             CALL system.rewrite_data_files('t');
             ALTER TABLE t ADD COLUMN region STRING;
             INSERT INTO t VALUES (4, 'east');
             SELECT * FROM t ORDER BY id;",
            expect![[r#"
                table t is made at memory://warehouse/default/t
                2 rows into frazil.default.t
                column 'region': partition field 'region' is made from it
                  --> line 3, column 40, in ALTER TABLE
                   |
                 3 |              ALTER TABLE t DROP COLUMN region
                   |                                        ^^^^^^
                   = DROP PARTITION FIELD region first
                table t is altered
                table t is altered
                1 rows into frazil.default.t
                +----+
                | id |
                +----+
                | 1  |
                | 2  |
                | 3  |
                +----+
                +----------------------------+------------------------+-----------------------+---------------------+
                | rewritten_data_files_count | added_data_files_count | rewritten_bytes_count | failed_groups_count |
                +----------------------------+------------------------+-----------------------+---------------------+
                | 0                          | 0                      | 0                     | 0                   |
                +----------------------------+------------------------+-----------------------+---------------------+
                table t is altered
                1 rows into frazil.default.t
                +----+--------+
                | id | region |
                +----+--------+
                | 1  |        |
                | 2  |        |
                | 3  |        |
                | 4  | east   |
                +----+--------+
            "#]],
        )
        .await;
}

#[tokio::test]
async fn a_table_of_another_version_and_one_with_a_comment() {
    let mut world = World::new().await;
    world
        .check(
            "CREATE TABLE t (id INT, at DATE) PARTITIONED BY (month(at)) WITH ('format-version' = '1');
             INSERT INTO t VALUES (1, DATE '2024-01-31');
             ALTER TABLE t CREATE TAG x;
             ALTER TABLE t DROP PARTITION FIELD at_month;
             INSERT INTO t VALUES (2, DATE '2024-02-01');
             ALTER TABLE t SET ('format-version' = '2', 'comment' = 'of old');
             ALTER TABLE t CREATE TAG x;
             INSERT INTO t VALUES (3, DATE '2024-02-02');
             ALTER TABLE t SET ('format-version' = '3');
             INSERT INTO t VALUES (4, DATE '2024-02-03');
             SELECT * FROM t WHERE at >= DATE '2024-01-31' ORDER BY id;
             SELECT COUNT(*) AS n FROM t FOR SYSTEM_VERSION AS OF 'x';
             SHOW CREATE TABLE t;",
            expect![[r#"
                table t is made at memory://warehouse/default/t
                1 rows into frazil.default.t
                a table of format version 1 keeps no tag but main here
                  --> line 3, column 28, in ALTER TABLE
                   |
                 3 |              ALTER TABLE t CREATE TAG x
                   |                            ^^^^^^^^^^^^
                   = ALTER TABLE … SET ('format-version' = '2') upgrades it
                table t is altered
                1 rows into frazil.default.t
                table t is altered
                table t is altered
                1 rows into frazil.default.t
                table t is altered
                1 rows into frazil.default.t
                +----+------------+
                | id | at         |
                +----+------------+
                | 1  | 2024-01-31 |
                | 2  | 2024-02-01 |
                | 3  | 2024-02-02 |
                | 4  | 2024-02-03 |
                +----+------------+
                +---+
                | n |
                +---+
                | 2 |
                +---+
                +----------------------------------------------------------+
                | create table                                             |
                +----------------------------------------------------------+
                | CREATE TABLE frazil.default.t (                          |
                |   id INT,                                                |
                |   at DATE                                                |
                | ) COMMENT 'of old' WITH (                                |
                |   'connector' = 'iceberg',                               |
                |   'format-version' = '3',                                |
                |   'write.metadata.delete-after-commit.enabled' = 'true', |
                |   'write.metadata.previous-versions-max' = '20'          |
                | )                                                        |
                +----------------------------------------------------------+
            "#]],
        )
        .await;
}
