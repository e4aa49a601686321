//! Statements that change rows, in every format version and both modes, against what the table then answers.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use expect_test::expect;
use frazil_reader::{LAST_UPDATED_COLUMN, Projection, ROW_ID_COLUMN, ReadContext, ScanRequest, load_scan, scan};
use futures::{StreamExt, TryStreamExt};

use super::*;
use crate::batch::tests::{check, done, session};
use crate::batch::{Outcome, execute};
use crate::sql::{Statement as SqlStatement, parse_one};

/// Two files in two partitions; a nested column; a NULL in each nullable one.
fn orders(version: u8, mode: &str) -> String {
    format!(
        "CREATE TABLE orders (id BIGINT NOT NULL, day DATE, place ROW<city STRING, at ROW<lat DOUBLE, lon DOUBLE>>, amount INT)
             PARTITIONED BY (day) WITH ('format-version' = '{version}', 'write.delete.mode' = '{mode}',
             'write.update.mode' = '{mode}');
         INSERT INTO orders VALUES
             (1, DATE '2024-01-01', ROW('Oslo', ROW(59.9, 10.7)), 10), (2, DATE '2024-01-01', NULL, 20),
             (3, DATE '2024-01-01', ROW('Rome', NULL), NULL);
         INSERT INTO orders VALUES
             (4, DATE '2024-01-02', ROW('Bern', ROW(46.9, 7.4)), 40), (5, DATE '2024-01-02', ROW('Lima', NULL), 50);"
    )
}

const KINDS: [(u8, &str); 5] =
    [(1, "copy-on-write"), (2, "copy-on-write"), (2, "merge-on-read"), (3, "copy-on-write"), (3, "merge-on-read")];

async fn text(session: &mut Session, query: &str) -> String {
    let statement = parse_one(query).unwrap();
    let Outcome::Rows(rows) = execute(session, &statement).await.unwrap() else { panic!("a query") };
    arrow::util::pretty::pretty_format_batches(&rows.collect().await.unwrap()).unwrap().to_string()
}

#[tokio::test]
async fn rows_go_and_change_alike_in_every_format_version_and_mode() {
    let mut answers = Vec::new();
    for (version, mode) in KINDS {
        let mut session = session().await;
        done(&mut session, &orders(version, mode)).await;
        done(
            &mut session,
            "CREATE TABLE closed (city STRING); INSERT INTO closed VALUES ('Bern');
             DELETE FROM orders AS o WHERE o.place.city IN (SELECT city FROM closed);
             UPDATE orders SET amount = amount + id, place.at.lat = 1.5 WHERE id <> 2 AND day < DATE '2024-01-02';
             UPDATE orders SET day = DATE '2024-01-02' WHERE id = (SELECT max(id) FROM orders WHERE amount < 15);
             DELETE FROM orders WHERE amount IS NULL;
             UPDATE orders SET place = ROW('Nice', ROW(43.7, 7.3)) WHERE place IS NULL;",
        )
        .await;
        answers.push(text(&mut session, "SELECT * FROM orders ORDER BY id").await);
        answers.push(text(&mut session, "SELECT day, count(*) AS n FROM orders GROUP BY day ORDER BY day").await);
    }
    assert!(answers.chunks(2).all(|pair| pair == &answers[..2]), "{answers:#?}");
    expect![[r#"
        +----+------------+-----------------------------------------+--------+
        | id | day        | place                                   | amount |
        +----+------------+-----------------------------------------+--------+
        | 1  | 2024-01-02 | {city: Oslo, at: {lat: 1.5, lon: 10.7}} | 11     |
        | 2  | 2024-01-01 | {city: Nice, at: {lat: 43.7, lon: 7.3}} | 20     |
        | 5  | 2024-01-02 | {city: Lima, at: }                      | 50     |
        +----+------------+-----------------------------------------+--------+
        +------------+---+
        | day        | n |
        +------------+---+
        | 2024-01-01 | 1 |
        | 2024-01-02 | 2 |
        +------------+---+"#]]
    .assert_eq(&answers[..2].join("\n"));
}

#[tokio::test]
async fn each_mode_leaves_the_files_that_it_should() {
    let mut shown = String::new();
    for (version, mode) in KINDS {
        let mut session = session().await;
        done(&mut session, &orders(version, mode)).await;
        for statement in [
            "DELETE FROM orders WHERE id = 1",
            "DELETE FROM orders WHERE id = 1",
            "UPDATE orders SET amount = 0 WHERE id IN (2, 5)",
            "DELETE FROM orders WHERE id = 3",
            "DELETE FROM orders WHERE day = DATE '2024-01-02'",
        ] {
            let outcome = execute(&mut session, &parse_one(statement).unwrap()).await.unwrap();
            let Outcome::Changed(changed) = outcome else { panic!("a change") };
            shown += &format!(
                "v{version} {mode}: {statement}: {} rows, -{} +{} files, +{} deletes\n",
                changed.rows, changed.removed_files, changed.added_files, changed.delete_files
            );
            assert_eq!(changed.snapshot_id.is_some(), changed.rows > 0);
        }
        assert_eq!(text(&mut session, "SELECT id FROM orders").await.matches('\n').count(), 4, "one row is left");
    }
    expect![[r#"
        v1 copy-on-write: DELETE FROM orders WHERE id = 1: 1 rows, -1 +1 files, +0 deletes
        v1 copy-on-write: DELETE FROM orders WHERE id = 1: 0 rows, -0 +0 files, +0 deletes
        v1 copy-on-write: UPDATE orders SET amount = 0 WHERE id IN (2, 5): 2 rows, -2 +2 files, +0 deletes
        v1 copy-on-write: DELETE FROM orders WHERE id = 3: 1 rows, -1 +1 files, +0 deletes
        v1 copy-on-write: DELETE FROM orders WHERE day = DATE '2024-01-02': 2 rows, -1 +0 files, +0 deletes
        v2 copy-on-write: DELETE FROM orders WHERE id = 1: 1 rows, -1 +1 files, +0 deletes
        v2 copy-on-write: DELETE FROM orders WHERE id = 1: 0 rows, -0 +0 files, +0 deletes
        v2 copy-on-write: UPDATE orders SET amount = 0 WHERE id IN (2, 5): 2 rows, -2 +2 files, +0 deletes
        v2 copy-on-write: DELETE FROM orders WHERE id = 3: 1 rows, -1 +1 files, +0 deletes
        v2 copy-on-write: DELETE FROM orders WHERE day = DATE '2024-01-02': 2 rows, -1 +0 files, +0 deletes
        v2 merge-on-read: DELETE FROM orders WHERE id = 1: 1 rows, -0 +0 files, +1 deletes
        v2 merge-on-read: DELETE FROM orders WHERE id = 1: 0 rows, -0 +0 files, +0 deletes
        v2 merge-on-read: UPDATE orders SET amount = 0 WHERE id IN (2, 5): 2 rows, -0 +2 files, +2 deletes
        v2 merge-on-read: DELETE FROM orders WHERE id = 3: 1 rows, -0 +0 files, +1 deletes
        v2 merge-on-read: DELETE FROM orders WHERE day = DATE '2024-01-02': 2 rows, -0 +0 files, +1 deletes
        v3 copy-on-write: DELETE FROM orders WHERE id = 1: 1 rows, -1 +1 files, +0 deletes
        v3 copy-on-write: DELETE FROM orders WHERE id = 1: 0 rows, -0 +0 files, +0 deletes
        v3 copy-on-write: UPDATE orders SET amount = 0 WHERE id IN (2, 5): 2 rows, -2 +2 files, +0 deletes
        v3 copy-on-write: DELETE FROM orders WHERE id = 3: 1 rows, -1 +1 files, +0 deletes
        v3 copy-on-write: DELETE FROM orders WHERE day = DATE '2024-01-02': 2 rows, -1 +0 files, +0 deletes
        v3 merge-on-read: DELETE FROM orders WHERE id = 1: 1 rows, -0 +0 files, +1 deletes
        v3 merge-on-read: DELETE FROM orders WHERE id = 1: 0 rows, -0 +0 files, +0 deletes
        v3 merge-on-read: UPDATE orders SET amount = 0 WHERE id IN (2, 5): 2 rows, -0 +2 files, +2 deletes
        v3 merge-on-read: DELETE FROM orders WHERE id = 3: 1 rows, -0 +0 files, +1 deletes
        v3 merge-on-read: DELETE FROM orders WHERE day = DATE '2024-01-02': 2 rows, -0 +0 files, +2 deletes
    "#]]
    .assert_eq(&shown);
}

/// Row ids and sequence numbers by `id`.
async fn lineage(session: &Session) -> Vec<(i64, i64, i64)> {
    let name = Name::new(["orders"]);
    let Resolved::Iceberg(target) = session.resolve(&name, "").await.unwrap() else { panic!("a table") };
    let context = ReadContext::new(session.env());
    let projection = Projection::paths(["id", ROW_ID_COLUMN, LAST_UPDATED_COLUMN]);
    let request = ScanRequest { projection, ..ScanRequest::default() };
    let plan = load_scan(&context, &target.table, &request).await.unwrap();
    let batches: Vec<_> = scan(&context, &plan, 1).try_collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in &batches {
        let column = |index: usize| batch.column(index).as_primitive::<Int64Type>();
        rows.extend(
            (0..batch.num_rows()).map(|row| (column(0).value(row), column(1).value(row), column(2).value(row))),
        );
    }
    rows.sort_unstable();
    rows
}

#[tokio::test]
async fn rows_of_version_3_keep_their_ids_and_say_when_they_were_written_last() {
    for mode in ["copy-on-write", "merge-on-read"] {
        let mut session = session().await;
        done(&mut session, &orders(3, mode)).await;
        let before = lineage(&session).await;
        let ids: Vec<i64> = before.iter().map(|(_, row_id, _)| *row_id).collect();
        assert_eq!(ids, [0, 1, 2, 3, 4]);
        done(&mut session, "UPDATE orders SET amount = 7 WHERE id = 2; DELETE FROM orders WHERE id = 4").await;
        let after = lineage(&session).await;
        let expected: Vec<_> = before
            .iter()
            .filter(|(id, ..)| *id != 4)
            .map(|(id, row_id, number)| (*id, *row_id, if *id == 2 { 3 } else { *number }))
            .collect();
        assert_eq!(after, expected, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_update_is_lost_between_statements_that_run_at_the_same_time() {
    for (version, mode) in KINDS {
        let mut first = session().await;
        done(&mut first, &orders(version, mode)).await;
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let mut own = first.clone();
            running.spawn(async move { done(&mut own, "UPDATE orders SET amount = COALESCE(amount, 0) + 1").await });
        }
        let mut own = first.clone();
        running.spawn(async move { done(&mut own, "DELETE FROM orders WHERE id = 3").await });
        running.join_all().await;
        check(
            &mut first,
            "SELECT id, amount FROM orders ORDER BY id",
            expect![[r#"
                +----+--------+
                | id | amount |
                +----+--------+
                | 1  | 14     |
                | 2  | 24     |
                | 4  | 44     |
                | 5  | 54     |
                +----+--------+
            "#]],
        )
        .await;
    }
}

#[tokio::test]
async fn an_overwrite_takes_the_place_of_what_it_says() {
    let mut session = session().await;
    done(&mut session, &orders(2, "copy-on-write")).await;
    check(
        &mut session,
        "INSERT OVERWRITE orders SELECT id + 10, day, place, amount FROM orders WHERE id = 4;
         SELECT id, day FROM orders ORDER BY id;
         INSERT OVERWRITE orders PARTITION (day = DATE '2024-01-01') SELECT id, place, amount FROM orders WHERE id > 1;
         SELECT id, day FROM orders ORDER BY id, day;
         INSERT OVERWRITE orders PARTITION (day = '2024-01-01') SELECT id, place, amount FROM orders WHERE false;
         INSERT OVERWRITE orders SELECT * FROM orders WHERE false;
         INSERT INTO orders PARTITION (day = DATE '2024-03-01') (id) VALUES (9);
         SELECT id, day FROM orders ORDER BY id, day;
         TRUNCATE TABLE orders;
         SELECT count(*) AS n FROM orders;
         CREATE TABLE plain (a INT); INSERT INTO plain VALUES (1), (2);
         INSERT OVERWRITE plain SELECT a + 1 FROM plain WHERE a = 2;
         SELECT a FROM plain;
         INSERT OVERWRITE plain SELECT a FROM plain WHERE a > 100;
         SELECT count(*) AS n FROM plain;",
        expect![[r#"
            1 rows into frazil.default.orders
            +----+------------+
            | id | day        |
            +----+------------+
            | 1  | 2024-01-01 |
            | 2  | 2024-01-01 |
            | 3  | 2024-01-01 |
            | 14 | 2024-01-02 |
            +----+------------+
            3 rows into frazil.default.orders
            +----+------------+
            | id | day        |
            +----+------------+
            | 2  | 2024-01-01 |
            | 3  | 2024-01-01 |
            | 14 | 2024-01-01 |
            | 14 | 2024-01-02 |
            +----+------------+
            0 rows into frazil.default.orders
            0 rows into frazil.default.orders
            1 rows into frazil.default.orders
            +----+------------+
            | id | day        |
            +----+------------+
            | 9  | 2024-03-01 |
            | 14 | 2024-01-02 |
            +----+------------+
            TRUNCATE 2 rows; files -2 +0, deletes +0
            +---+
            | n |
            +---+
            | 0 |
            +---+
            table plain is made at memory://warehouse/default/plain
            2 rows into frazil.default.plain
            1 rows into frazil.default.plain
            +---+
            | a |
            +---+
            | 3 |
            +---+
            0 rows into frazil.default.plain
            +---+
            | n |
            +---+
            | 0 |
            +---+
        "#]],
    )
    .await;
}

#[test]
fn other_tables_are_asked_by_subqueries() {
    for (statement, help) in [
        ("UPDATE orders SET amount = 1 FROM other WHERE orders.id = other.id", "SET a = (SELECT"),
        ("DELETE FROM orders USING other WHERE id = 1", "WHERE id IN (SELECT"),
        ("DELETE FROM orders WHERE id = 1 LIMIT 1", "WHERE id IN (SELECT"),
        ("UPDATE orders SET (id, amount) = (1, 2)", "SET a = …, b = …"),
        ("DELETE FROM orders AS o JOIN other AS x ON o.id = x.id", "its name alone"),
    ] {
        let error = parse_one(statement).unwrap_err().to_string();
        assert!(error.contains(help), "{error}");
    }
}

#[tokio::test]
async fn mistakes_are_told_at_their_place() {
    let mut session = session().await;
    done(&mut session, &orders(2, "copy-on-write")).await;
    check(
        &mut session,
        "UPDATE orders SET amuont = 1;
         UPDATE orders SET place.city.x = 'a';
         UPDATE orders SET place = NULL, place.city = 'a';
         UPDATE orders SET amount = 'many' WHERE id = 1;
         UPDATE orders SET amount = ROW(1) WHERE id = 1;
         UPDATE orders SET id = NULL WHERE id = 1;
         DELETE FROM orders WHERE amuont = 1;
         DELETE FROM nobody;
         INSERT INTO orders PARTITION (id = 1) (id) VALUES (9);
         INSERT OVERWRITE orders PARTITION (id = 1) SELECT day, place, amount FROM orders;
         ALTER TABLE orders SET ('write.delete.mode' = 'both');
         DELETE FROM orders WHERE id = 1;
         SELECT count(*) AS n FROM orders;
         CREATE TABLE old (a INT) WITH ('format-version' = '1', 'write.delete.mode' = 'merge-on-read');
         INSERT INTO old VALUES (1), (2);
         DELETE FROM old WHERE a = 1;",
        expect![[r#"
            there is no column 'amuont'
              --> line 1, column 19, in UPDATE
               |
             1 | UPDATE orders SET amuont = 1
               |                   ^^^^^^
               = did you mean 'amount'?
            'place.city' has no fields to set
              --> line 2, column 28, in UPDATE
               |
             2 |          UPDATE orders SET place.city.x = 'a'
               |                            ^^^^^^^^^^^^
               = set the column as a whole
            'place.city' is set twice
              --> line 3, column 42, in UPDATE
               |
             3 |          UPDATE orders SET place = NULL, place.city = 'a'
               |                                          ^^^^^^^^^^
            the value does not fit the column 'amount'
              --> line 4, column 37, in UPDATE
               |
             4 |          UPDATE orders SET amount = 'many' WHERE id = 1
               |                                     ^^^^^^
               = STRING is not converted to INT by itself; write CAST(… AS INT)
            the value does not fit the column 'amount'
              --> line 5, column 37, in UPDATE
               |
             5 |          UPDATE orders SET amount = ROW(1) WHERE id = 1
               |                                     ^^^^^
               = ROW<c0 BIGINT> is not converted to INT by itself; write CAST(… AS INT)
            column id: it is NOT NULL, but is NULL in row 1 of a batch
            there is no column 'amuont'
              --> line 7, column 35, in DELETE
               |
             7 |          DELETE FROM orders WHERE amuont = 1
               |                                   ^^^^^^
               = did you mean 'amount'?
            there is no table 'nobody' in frazil.default
              --> line 8, column 22, in DELETE
               |
             8 |          DELETE FROM nobody
               |                      ^^^^^^
               = there is only orders
            'id' gets its value from PARTITION (…) already
              --> line 9, column 22, in INSERT
               |
             9 |          INSERT INTO orders PARTITION (id = 1) (id) VALUES (9)
               |                      ^^^^^^
            orders is not partitioned by 'id' as it is
              --> line 10, column 27, in INSERT
                |
             10 |          INSERT OVERWRITE orders PARTITION (id = 1) SELECT day, place, amount FROM orders
                |                           ^^^^^^
                = delete the rows first, then INSERT INTO; or overwrite the partitions that the rows are in, without PARTITION (…)
            table orders is altered
            table property write.delete.mode is "both", but it must be copy-on-write or merge-on-read
            +---+
            | n |
            +---+
            | 5 |
            +---+
            table old is made at memory://warehouse/default/old
            2 rows into frazil.default.old
            the change can't be made: a table of format version 1 has no delete files; upgrade it to version 2 or 3
        "#]],
    )
    .await;
}

/// What decides which rows change, if it is nothing but a condition on them.
async fn whole_condition_of(session: &Session, script: &str) -> Option<usize> {
    let SqlStatement::RowChange(change) = parse_one(script).unwrap().node else { panic!("{script} changes rows") };
    let (_, plan) = plan_rows(session, &change, script).await.unwrap();
    whole_condition(&plan).map(|conditions| conditions.len())
}

#[tokio::test]
async fn new_values_that_come_from_other_rows_are_decided_by_them_too() {
    let mut session = session().await;
    done(&mut session, &orders(2, "merge-on-read")).await;
    assert!(whole_condition_of(&session, "UPDATE orders SET amount = 1 WHERE id = 2").await.is_some());
    assert!(whole_condition_of(&session, "DELETE FROM orders WHERE id = 2").await.is_some());
    let from_others = "UPDATE orders SET amount = (SELECT max(amount) FROM orders) WHERE id = 2";
    assert_eq!(whole_condition_of(&session, from_others).await, None);
    let correlated =
        "UPDATE orders AS o SET amount = (SELECT max(i.amount) FROM orders AS i WHERE i.day = o.day) WHERE id = 2";
    assert_eq!(whole_condition_of(&session, correlated).await, None);
    done(&mut session, "CREATE TABLE fees (fee INT); INSERT INTO fees VALUES (7)").await;
    done(&mut session, "UPDATE orders SET amount = amount + (SELECT max(fee) FROM fees) WHERE id < 3").await;
    let amounts = text(&mut session, "SELECT sum(amount) AS s FROM orders WHERE id < 3").await;
    assert!(amounts.contains("| 44 |"), "{amounts}");
}

#[tokio::test]
async fn files_of_a_commit_that_certainly_did_not_land_are_deleted() {
    let mut session = session().await;
    done(&mut session, &orders(2, "copy-on-write")).await;
    let name = Name::new(["orders"]);
    let target = writable(&session, &name, "UPDATE", "orders").await.unwrap();
    let rows = scan_all(&session, &target.table).await;
    let mut crew = Crew::new(session.env());
    let writer = TableWriter::new(session.env().clone(), &target.table, WriterConfig::default()).unwrap();
    crew.write(writer, futures::stream::iter(rows.into_iter().map(Ok)).boxed());
    let files = crew.join().await.unwrap().files;
    assert!(!files.is_empty());
    done(&mut session, "DROP TABLE orders").await;
    let change = Change::Append { files: files.clone(), properties: SnapshotProperties::new() };
    let end = commit(session.env(), &target, &[change], &files, &same_table(&target.table)).await;
    assert!(matches!(end, Err(crate::Error::Catalog(frazil_catalog::Error::NoSuchTable(_)))));
    for file in files {
        assert!(session.env().store.head(file.file.file_path()).await.is_err(), "{}", file.file.file_path());
    }
}

async fn scan_all(session: &Session, table: &Table) -> Vec<arrow::array::RecordBatch> {
    let context = ReadContext::new(session.env());
    let plan = load_scan(&context, table, &ScanRequest::default()).await.unwrap();
    scan(&context, &plan, 1).try_collect().await.unwrap()
}

/// How many files a statement leaves of eight, of which it changes one row each, when four writers write.
async fn files_left(statement: &str, columns: &str, properties: &str) -> usize {
    let mut session = session().await;
    done(
        &mut session,
        &format!("CREATE TABLE t (id BIGINT, p INT) {columns} WITH ('format-version' = '2'{properties})"),
    )
    .await;
    for file in 0..8 {
        let rows = (0..10).map(|row| format!("({}, 1)", 10 * file + row)).collect::<Vec<_>>().join(", ");
        done(&mut session, &format!("INSERT INTO t VALUES {rows}")).await;
    }
    done(&mut session, "SET 'datafusion.execution.target_partitions' = '4'").await;
    let outcome = execute(&mut session, &parse_one(statement).unwrap()).await.unwrap();
    let Outcome::Changed(changed) = outcome else { panic!("a change") };
    assert_eq!((changed.rows, changed.removed_files), (8, 8), "{statement}");
    let left = text(&mut session, "SELECT count(*) AS n, count(DISTINCT id) AS d, sum(id) AS s FROM t").await;
    let (rows, sum) = if statement.starts_with("DELETE") { (72, 3160 - 8 * 38) } else { (80, 3160) };
    let row = left.lines().nth(3).unwrap().split_whitespace().collect::<Vec<_>>().join("");
    assert_eq!(row, format!("|{rows}|{rows}|{sum}|"), "{statement} {properties}");
    changed.added_files
}

#[tokio::test]
async fn a_statement_that_changes_rows_leaves_as_many_files_as_its_distribution_says() {
    for (statement, kind) in
        [("UPDATE t SET p = p WHERE id % 10 = 3", "update"), ("DELETE FROM t WHERE id % 10 = 3", "delete")]
    {
        let mode =
            |mode: &str| format!(", 'write.{kind}.distribution-mode' = '{mode}', 'write.distribution-mode' = 'none'");
        let by_partition = "PARTITIONED BY (p)";
        assert_eq!(files_left(statement, by_partition, "").await, 1, "{kind}: hash is the default");
        assert_eq!(files_left(statement, by_partition, &mode("hash")).await, 1, "{kind}");
        assert_eq!(files_left(statement, by_partition, &mode("range")).await, 1, "{kind}");
        assert_eq!(files_left(statement, by_partition, &mode("none")).await, 4, "{kind}");
        // Without partitions by file: the rows of one stay together.
        let by_file = files_left(statement, "", "").await;
        assert!((2..=4).contains(&by_file), "{kind}: {by_file}");
    }
    let mut session = session().await;
    done(&mut session, "CREATE TABLE t (id BIGINT) WITH ('write.update.distribution-mode' = 'hashed')").await;
    let refused = execute(&mut session, &parse_one("UPDATE t SET id = 1").unwrap()).await;
    let Err(error) = refused else { panic!("a mode that does not exist") };
    expect![[r#"table property write.update.distribution-mode is "hashed", but it must be none, hash or range"#]]
        .assert_eq(&error.to_string());
}

#[tokio::test]
async fn a_copy_on_write_leaves_one_file_where_there_was_one() {
    let mut session = session().await;
    done(&mut session, "CREATE TABLE t (id BIGINT, n INT); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4)").await;
    done(&mut session, "SET 'datafusion.execution.target_partitions' = '4'").await;
    done(&mut session, "UPDATE t SET n = 0 WHERE id IN (2, 3)").await;
    let name = Name::new(["t"]);
    let target = writable(&session, &name, "UPDATE", "t").await.unwrap();
    let context = ReadContext::new(session.env());
    let plan = load_scan(&context, &target.table, &ScanRequest::default()).await.unwrap();
    assert_eq!(plan.tasks.len(), 1);
}

#[tokio::test]
async fn files_that_writers_had_closed_are_deleted_when_another_fails() {
    let mut session = session().await;
    let properties = "'write.target-file-size-bytes' = '50000', 'write.parquet.compression-codec' = 'uncompressed'";
    done(&mut session, &format!("CREATE TABLE t (id BIGINT, n INT) WITH ({properties})")).await;
    let target = writable(&session, &Name::new(["t"]), "INSERT", "t").await.unwrap();
    let config = WriterConfig { memory_max_bytes: 1 << 20, ..WriterConfig::default() };
    let mut crew = Crew::new(session.env());
    for is_broken in [false, true] {
        let writer = TableWriter::new(session.env().clone(), &target.table, config.clone()).unwrap();
        let schema = Arc::clone(writer.schema());
        let rows = futures::stream::iter((0..40).map(move |nth| Ok(scattered(&schema, nth))));
        // One never ends, the other fails once both have closed files.
        let (env, folder) = (session.env().clone(), target.table.metadata().location().to_owned());
        let end = async move {
            while is_broken && files_in(&env, &folder).await < 20 {
                tokio::task::yield_now().await;
            }
            match is_broken {
                true => Err(crate::Error::TaskPanicked("the cause".to_owned())),
                false => std::future::pending().await,
            }
        };
        crew.write(writer, rows.chain(futures::stream::once(end)).boxed());
    }
    let Err(error) = crew.join().await else { panic!("a part failed") };
    assert!(error.to_string().contains("the cause"), "{error}");
    assert_eq!(files_in(session.env(), target.table.metadata().location()).await, METADATA_FILES);
}

/// The files of a table without rows: its metadata.
const METADATA_FILES: usize = 1;

async fn files_in(env: &frazil_storage::Env, folder: &str) -> usize {
    env.store.list(folder).await.unwrap().try_collect::<Vec<_>>().await.unwrap().len()
}

/// Rows that don't compress: about 100 KiB.
fn scattered(schema: &arrow::datatypes::SchemaRef, nth: i64) -> arrow::array::RecordBatch {
    let ids = (nth * 8192..(nth + 1) * 8192).map(|id| id.wrapping_mul(0x1E37_79B9_7F4A_7C15));
    let numbers = arrow::array::Int32Array::from_iter_values(ids.clone().map(|id| id as i32));
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(arrow::array::Int64Array::from_iter_values(ids)), Arc::new(numbers)];
    arrow::array::RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

/// How a statement ends that was planned before another one landed.
async fn ends_after(properties: &str, statement: &str, meanwhile: &str) -> &'static str {
    ends_after_more("", properties, statement, meanwhile).await
}

/// As [`ends_after`], with more rows to begin with.
async fn ends_after_more(more: &str, properties: &str, statement: &str, meanwhile: &str) -> &'static str {
    let mut session = session().await;
    done(&mut session, &orders(2, "merge-on-read")).await;
    done(&mut session, more).await;
    done(&mut session, &format!("ALTER TABLE orders SET ({properties})")).await;
    let SqlStatement::RowChange(change) = parse_one(statement).unwrap().node else { panic!("{statement}") };
    let target = writable(&session, &Name::new(["orders"]), change.kind(), statement).await.unwrap();
    let planned = Statement::bind(&session, &change, target, statement).await.unwrap();
    done(&mut session, meanwhile).await;
    match planned.run().await.unwrap() {
        Ok(_) => "lands",
        Err(_) => "conflict",
    }
}

#[tokio::test]
async fn what_others_did_meanwhile_is_a_conflict_where_the_isolation_says_so() {
    const UPDATE: &str = "UPDATE orders SET amount = 0 WHERE day = DATE '2024-01-01'";
    let insert = |day: &str| format!("INSERT INTO orders (id, day) VALUES (9, DATE '{day}')");
    for mode in ["copy-on-write", "merge-on-read"] {
        let serializable = format!("'write.update.mode' = '{mode}'");
        let snapshot = format!("{serializable}, 'write.update.isolation-level' = 'snapshot'");
        let same = insert("2024-01-01");
        assert_eq!(
            ends_after(&serializable, UPDATE, &same).await,
            "conflict",
            "{mode}: a row that it should have seen"
        );
        assert_eq!(ends_after(&snapshot, UPDATE, &same).await, "lands", "{mode}: it need not have seen it");
        let other = insert("2024-01-02");
        assert_eq!(ends_after(&serializable, UPDATE, &other).await, "lands", "{mode}: its condition is of other rows");
        let gone = "DELETE FROM orders WHERE day = DATE '2024-01-01'";
        assert_eq!(ends_after(&snapshot, UPDATE, gone).await, "conflict", "{mode}: its rows are gone");
    }
}

/// Deletes from several files of a partition are one delete file, which is not about the partition's other files.
#[tokio::test]
async fn deletes_of_other_files_of_a_partition_are_no_conflict() {
    const UPDATE: &str = "UPDATE orders SET amount = 0 WHERE id IN (1, 8)";
    let properties = "'write.update.isolation-level' = 'snapshot'";
    let more = "INSERT INTO orders (id, day) VALUES (8, DATE '2024-01-01'), (9, DATE '2024-01-01');
                INSERT INTO orders (id, day) VALUES (10, DATE '2024-01-01'), (11, DATE '2024-01-01');";
    let delete = |id: i64| format!("DELETE FROM orders WHERE id = {id}");
    for (meanwhile, end) in [(delete(11), "lands"), (delete(9), "conflict")] {
        assert_eq!(ends_after_more(more, properties, UPDATE, &meanwhile).await, end, "{meanwhile}");
    }
}

#[tokio::test]
async fn no_overwrite_that_reads_what_it_overwrites_is_lost_beside_others() {
    let mut first = session().await;
    done(&mut first, "CREATE TABLE t (n INT); INSERT INTO t VALUES (0)").await;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut own = first.clone();
        running.spawn(async move { done(&mut own, "INSERT OVERWRITE t SELECT n + 1 FROM t").await });
    }
    running.join_all().await;
    check(
        &mut first,
        "SELECT n FROM t",
        expect![[r#"
        +---+
        | n |
        +---+
        | 4 |
        +---+
    "#]],
    )
    .await;
}

/// The statement was planned, then another one came: its files are gone however it ends.
#[tokio::test]
async fn a_statement_that_is_given_up_leaves_no_file() {
    const UPDATE: &str = "UPDATE orders SET amount = 0 WHERE id IN (1, 4)";
    for mode in ["copy-on-write", "merge-on-read"] {
        for (meanwhile, expected) in [("DELETE FROM orders WHERE id = 1", "conflict"), ("DROP TABLE orders", "error")] {
            let mut session = session().await;
            done(&mut session, &orders(2, mode)).await;
            let SqlStatement::RowChange(change) = parse_one(UPDATE).unwrap().node else { panic!("{UPDATE}") };
            let target = writable(&session, &Name::new(["orders"]), change.kind(), UPDATE).await.unwrap();
            let location = target.table.metadata().location().to_owned();
            let planned = Statement::bind(&session, &change, target, UPDATE).await.unwrap();
            done(&mut session, meanwhile).await;
            let before = files_in(session.env(), &location).await;
            let end = match planned.run().await {
                Ok(Ok(_)) => "lands",
                Ok(Err(_)) => "conflict",
                Err(_) => "error",
            };
            assert_eq!(end, expected, "{mode}: {meanwhile}");
            assert_eq!(files_in(session.env(), &location).await, before, "{mode}: {meanwhile}");
        }
    }
}
