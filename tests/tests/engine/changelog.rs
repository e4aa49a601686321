//! Changes of rows, as Debezium tells them in files and as topics of upserts, applied by a job; and what is refused.

use std::time::Duration;

use frazil_engine::{JobConfig, JobName, Progress, plan_job, run_job};
use frazil_tests::peers::Kafka;
use tempfile::TempDir;

use super::*;

async fn run(session: &mut Session, script: &str) -> Result<()> {
    let plan = plan_job(session, script, &config(2)).await?;
    run_job(plan, Progress::new(), CancellationToken::new()).await
}

fn config(parallelism: usize) -> JobConfig {
    let name = JobName::Given("changes".to_owned());
    JobConfig { name, parallelism, checkpoint_interval: Duration::from_millis(50) }
}

async fn check_none(session: &mut Session, rows: &str) {
    let query = format!("SELECT count(*) AS rows_found FROM {rows}");
    let expected = "+------------+\n| rows_found |\n+------------+\n| 0          |\n+------------+\n";
    assert_eq!(answers(session, &query).await.unwrap(), expected, "{rows}");
}

/// A source over a folder with these records.
fn source(folder: &Path, records: &str, with: &str) -> String {
    std::fs::create_dir_all(folder.join("in")).unwrap();
    std::fs::write(folder.join("in/1.json"), records).unwrap();
    format!(
        "CREATE TABLE changes (id BIGINT, name STRING, n INT) WITH ('connector' = 'filesystem', 'path' = '{}',
             'format' = 'debezium-json'{with});",
        folder.join("in").display()
    )
}

const EVENTS: &str = r#"
{"before":null,"after":{"id":1,"name":"a","n":1},"op":"c","ts_ms":5,"source":{"table":"t"}}
{"before":null,"after":{"id":2,"name":"b","n":2},"op":"r"}
{"before":null,"after":{"id":3,"name":"c","n":3},"op":"c"}
{"before":{"id":1,"name":"a","n":1},"after":{"id":1,"name":"A","n":10},"op":"u"}
{"before":{"id":2,"name":"b","n":2},"after":null,"op":"d"}
{"before":{"id":3,"name":"c","n":3},"after":{"id":30,"name":"c","n":4},"op":"u"}
{"before":null,"after":{"id":2,"name":"again","n":20},"op":"c"}
{"before":{"id":2,"name":"again","n":20},"after":{"id":2,"name":"small","n":0},"op":"u"}
{"before":{"id":99,"name":"never seen","n":9},"after":null,"op":"d"}
{"before":{"id":98,"name":"never seen","n":9},"after":{"id":98,"name":"seen","n":2},"op":"u"}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_and_deletes_are_applied_by_key() {
    for version in [2, 3] {
        let folder = TempDir::with_prefix("frazil-changelog-").unwrap();
        let mut session = session(folder.path()).await;
        let with = format!("('format-version' = '{version}', 'write.upsert.enabled' = 'true')");
        let script = format!(
            "{}
             CREATE TABLE t (id BIGINT, name STRING NOT NULL, n INT, PRIMARY KEY (id) NOT ENFORCED) WITH {with};
             CREATE TABLE large (id BIGINT, n INT, PRIMARY KEY (id) NOT ENFORCED) WITH {with};
             EXECUTE STATEMENT SET BEGIN
             INSERT INTO t SELECT id, UPPER(name), n FROM changes;
             INSERT INTO large SELECT id, n FROM changes AS c WHERE n >= 3;
             END;",
            source(folder.path(), EVENTS, "")
        );
        run(&mut session, &script).await.unwrap();
        check(
            &mut session,
            "SELECT * FROM t ORDER BY id; SELECT * FROM large ORDER BY id",
            expect![[r#"
                +----+-------+----+
                | id | name  | n  |
                +----+-------+----+
                | 1  | A     | 10 |
                | 2  | SMALL | 0  |
                | 30 | C     | 4  |
                | 98 | SEEN  | 2  |
                +----+-------+----+
                +----+----+
                | id | n  |
                +----+----+
                | 1  | 10 |
                | 30 | 4  |
                +----+----+
            "#]],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_of_deletes_alone_is_a_commit() {
    for version in [2, 3] {
        let folder = TempDir::with_prefix("frazil-changelog-").unwrap();
        let mut session = session(folder.path()).await;
        let create = source(folder.path(), r#"{"after":{"id":1},"op":"c"}"#, "");
        let script = format!(
            "{create}
             CREATE TABLE IF NOT EXISTS t (id BIGINT, PRIMARY KEY (id) NOT ENFORCED)
             WITH ('format-version' = '{version}', 'write.upsert.enabled' = 'true');
             INSERT INTO t SELECT id FROM changes;"
        );
        run(&mut session, &script).await.unwrap();
        std::fs::write(folder.path().join("in/2.json"), r#"{"before":{"id":1},"op":"d"}"#).unwrap();
        let progress = Progress::new();
        let plan = plan_job(&mut session, "INSERT INTO t SELECT id FROM changes;", &config(2)).await.unwrap();
        run_job(plan, progress.clone(), CancellationToken::new()).await.unwrap();
        let told = &progress.pipelines()[0];
        assert_eq!((told.rows_in, told.rows_committed, told.commits), (1, 0, 1), "version {version}");
        check_none(&mut session, "t").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_changes_are_read_one_after_the_other() {
    const FILES: i64 = 9;
    let folder = TempDir::with_prefix("frazil-changelog-").unwrap();
    let mut session = session(folder.path()).await;
    let event = |id: i64, n: i64| format!("{{\"before\":null,\"after\":{{\"id\":{id},\"n\":{n}}},\"op\":\"c\"}}\n");
    // The first file takes long, and says something of all keys; the others have the last word on one each.
    let mut create = source(folder.path(), &event(1_000, 0).repeat(20_000), "");
    for file in 0..FILES {
        let events: String = (file..FILES).map(|id| event(id, file)).collect();
        let name = folder.path().join(format!("in/{}.json", file + 1));
        let before = std::fs::read_to_string(&name).unwrap_or_default();
        std::fs::write(name, before + &events).unwrap();
    }
    create.push_str(
        "CREATE TABLE t (id BIGINT, n INT, PRIMARY KEY (id) NOT ENFORCED)
         WITH ('format-version' = '3', 'write.upsert.enabled' = 'true');
         INSERT INTO t SELECT id, n FROM changes;",
    );
    run(&mut session, &create).await.unwrap();
    check_none(&mut session, "t WHERE id <> n AND id < 1000").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_taken_away_are_not_late() {
    let folder = TempDir::with_prefix("frazil-changelog-").unwrap();
    let mut session = session(folder.path()).await;
    let row = |n: i64| format!("{{\"id\":1,\"n\":{n}}}");
    let mut events = format!("{{\"before\":null,\"after\":{},\"op\":\"c\"}}\n", row(0));
    for n in 1..20 {
        // One of them is late.
        let (before, after) = (row(n - 1), row(if n == 10 { 3 } else { n }));
        writeln!(events, "{{\"before\":{before},\"after\":{after},\"op\":\"u\"}}").unwrap();
    }
    source(folder.path(), &events, "");
    let script = format!(
        "CREATE TABLE changes (id BIGINT, n BIGINT, at AS TO_TIMESTAMP_SECONDS(n), WATERMARK FOR at AS at)
         WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'debezium-json');
         CREATE TABLE t (id BIGINT, n BIGINT, PRIMARY KEY (id) NOT ENFORCED)
         WITH ('format-version' = '3', 'write.upsert.enabled' = 'true');
         INSERT INTO t SELECT id, n FROM changes;",
        folder.path().join("in").display()
    );
    let plan = plan_job(&mut session, &script, &config(1)).await.unwrap();
    let progress = Progress::new();
    run_job(plan, progress.clone(), CancellationToken::new()).await.unwrap();
    assert_eq!(progress.pipelines()[0].late_rows, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_can_not_be_applied_are_refused_with_what_to_do() {
    let folder = TempDir::with_prefix("frazil-changelog-").unwrap();
    let mut session = session(folder.path()).await;
    let upsert = "'format-version' = '3', 'write.upsert.enabled' = 'true'";
    let tables = format!(
        "CREATE TABLE added (id BIGINT, n INT);
         CREATE TABLE grows (id BIGINT, n INT) WITH ('schema.evolution' = 'add-columns');
         CREATE TABLE t (id BIGINT, n INT, PRIMARY KEY (id) NOT ENFORCED) WITH ({upsert});
         CREATE TABLE upserts (id BIGINT, part STRING, n INT, PRIMARY KEY (id, part) NOT ENFORCED) WITH ('connector' =
             'upsert-kafka', 'topic' = 'x', 'properties.bootstrap.servers' = 'x', 'key.format' = 'json', 'value.format' =
             'json');"
    );
    answers(&mut session, &tables).await.unwrap();
    let create = source(folder.path(), EVENTS, "");
    answers(&mut session, &create).await.unwrap();
    let mut told = String::new();
    for insert in [
        "INSERT INTO added SELECT id, n FROM changes",
        "INSERT INTO grows SELECT id, n FROM changes",
        "INSERT INTO t SELECT c.id, c.n FROM changes AS c JOIN added AS a ON a.id = c.id",
        "INSERT INTO t SELECT id, COUNT(*) FROM changes GROUP BY id",
        "INSERT INTO t SELECT id, n FROM changes WHERE random() < n",
        "INSERT INTO t SELECT id + CAST(random() AS BIGINT), n FROM changes",
        "INSERT INTO t SELECT a.id, a.n FROM added /*+ OPTIONS('streaming' = 'true') */ AS a JOIN changes AS c ON a.id = c.id",
        // Only a part of the key; a column that is not of the key.
        "INSERT INTO t SELECT id, n FROM upserts",
        "INSERT INTO t SELECT n, n FROM upserts WHERE part = 'a'",
    ] {
        writeln!(told, "{}", run(&mut session, insert).await.unwrap_err()).unwrap();
    }
    for query in ["SELECT * FROM changes", "INSERT INTO t SELECT id, n FROM changes"] {
        writeln!(told, "{}", answers(&mut session, query).await.unwrap_err()).unwrap();
    }
    answers(&mut session, "DROP TABLE changes").await.unwrap();
    for (events, with) in [
        (r#"{"before":null,"after":{"id":1},"op":"u"}"#, ""),
        (r#"{"before":{"id":1},"after":{"n":1},"op":"u"}"#, ""),
        (r#"{"payload":{"before":null,"after":{"id":1},"op":"c"}}"#, ""),
        (r#"{"before":null,"after":{"id":1},"op":"t"}"#, ""),
        (EVENTS, ", 'on-error' = 'dead-letter'"),
        (EVENTS, ", 'debezium-json.schema-include' = 'true'"),
        (EVENTS, ", 'csv.field-delimiter' = ';'"),
    ] {
        let script = format!("{} INSERT INTO t SELECT id, n FROM changes;", source(folder.path(), events, with));
        let error = run(&mut session, &script).await.unwrap_err().to_string();
        writeln!(told, "{error}").unwrap();
        answers(&mut session, "DROP TABLE IF EXISTS changes").await.unwrap();
    }
    let told = told.replace(&folder.path().display().to_string(), "…");
    expect![[r#"
        filesystem debezium-json …/in brings updates and deletes, and rows are only added to added
          --> line 1, column 13, in INSERT
           |
         1 | INSERT INTO added SELECT id, n FROM changes
           |             ^^^^^
           = give the table a PRIMARY KEY (…) NOT ENFORCED and 'write.upsert.enabled' = 'true', so that they are applied by key
        filesystem debezium-json …/in brings updates and deletes, and rows are only added to grows
          --> line 1, column 13, in INSERT
           |
         1 | INSERT INTO grows SELECT id, n FROM changes
           |             ^^^^^
           = give the table a PRIMARY KEY (…) NOT ENFORCED and 'write.upsert.enabled' = 'true', so that they are applied by key
        a join can't run over a stream of changes
          --> line 1, column 13, in INSERT
           |
         1 | INSERT INTO t SELECT c.id, c.n FROM changes AS c JOIN added AS a ON a.id = c.id
           |             ^
           = compute columns and leave rows out by WHERE; do the rest in queries on the table
        an aggregate (GROUP BY, DISTINCT, count, sum, …) can't run over a stream yet
          --> line 1, column 48, in INSERT
           |
         1 | INSERT INTO t SELECT id, COUNT(*) FROM changes GROUP BY id
           |                                                ^^^^^
           = do it in queries on the table that the changes are applied to
        a WHERE has a function that gives something else each time, and runs over a stream of changes
          --> line 1, column 13, in INSERT
           |
         1 | INSERT INTO t SELECT id, n FROM changes WHERE random() < n
           |             ^
           = the older row would not be found by it; compute it from the columns of the stream
        the table's key has a function that gives something else each time, and runs over a stream of changes
          --> line 1, column 13, in INSERT
           |
         1 | INSERT INTO t SELECT id + CAST(random() AS BIGINT), n FROM changes
           |             ^
           = the older row would not be found by it; compute it from the columns of the stream
        table 'filesystem debezium-json …/in': its records are changes of rows, and only a job applies them: let one INSERT INTO a table with a primary key and 'write.upsert.enabled' = 'true', and query that
        the key of t is not computed from the key of the changes, (id, part)
          --> line 1, column 13, in INSERT
           |
         1 | INSERT INTO t SELECT id, n FROM upserts
           |             ^
           = a row that is gone is told by its key alone: let the PRIMARY KEY of the table be the same columns, all of them; or take a source of whole rows, such as 'format' = 'debezium-json'
        the key of t is not computed from the key of the changes, (id, part)
          --> line 1, column 13, in INSERT
           |
         1 | INSERT INTO t SELECT n, n FROM upserts WHERE part = 'a'
           |             ^
           = a row that is gone is told by its key alone: let the PRIMARY KEY of the table be the same columns, all of them; or take a source of whole rows, such as 'format' = 'debezium-json'
        the records of 'changes' are changes of rows, not rows
          --> line 1, column 15, in SELECT
           |
         1 | SELECT * FROM changes
           |               ^^^^^^^
           = let a job apply them: INSERT INTO a table with a primary key and 'write.upsert.enabled' = 'true', and query that
        the records of 'changes' are changes of rows, not rows
          --> line 1, column 33, in INSERT
           |
         1 | INSERT INTO t SELECT id, n FROM changes
           |                                 ^^^^^^^
           = let a job apply them: INSERT INTO a table with a primary key and 'write.upsert.enabled' = 'true', and query that
        table 'changes': 1.json line 1: the event has no 'before'; have the database tell of whole rows (PostgreSQL: ALTER TABLE … REPLICA IDENTITY FULL) ('on-error'='skip' passes over such rows)
        field id is required but row 1 of the batch has no value for it
        table 'changes': 1.json line 1: the event has no op; is 'debezium-json.schema-include' = 'true' missing? ('on-error'='skip' passes over such rows)
        table 'changes': 1.json line 1: the event's op is 't'; c, r, u and d are known ('on-error'='skip' passes over such rows)
        table 'frazil.default.changes': 'on-error' = 'dead-letter' is for rows, and these records are changes of rows: without one of them the others may be wrong; let it be 'fail' or 'skip'
        table 'changes': 1.json line 2: the event has no payload; is 'debezium-json.schema-include' right? ('on-error'='skip' passes over such rows)
        format 'debezium-json' has no option 'csv.field-delimiter'; it has debezium-json.schema-include, debezium-json.ignore-parse-errors
          --> line 2, column 42, in CREATE TABLE
           |
         2 |              'format' = 'debezium-json', 'csv.field-delimiter' = ';')
           |                                          ^^^^^^^^^^^^^^^^^^^^^
    "#]].assert_eq(&told);
}

/// A table over a topic with these records, as another program wrote them.
fn upserts(kafka: &Kafka, topic: &str, columns: &str, with: &str, records: &[(&str, Option<&str>)]) -> String {
    kafka.create_topic(topic, 1);
    let records = records.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)));
    kafka.produce_keyed(topic, 0, records.collect());
    format!(
        "CREATE TABLE changes ({columns}) WITH ('connector' = 'upsert-kafka', 'topic' = '{topic}',
             'properties.bootstrap.servers' = '{}', 'key.format' = 'json', 'value.format' = 'json',
             'scan.bounded.mode' = 'latest-offset'{with});",
        kafka.bootstrap_servers()
    )
}

#[test]
fn a_topic_of_upserts_is_what_its_last_records_say() {
    let kafka = match Kafka::shared() {
        Ok(kafka) => kafka,
        Err(skip) => return skip.report(),
    };
    let create = upserts(
        kafka,
        "changelog-upserts",
        "id BIGINT, n INT NOT NULL, name STRING, at BIGINT METADATA FROM 'offset', next AS n + 1, PRIMARY KEY (id) NOT ENFORCED",
        "",
        &[
            (r#"{"id":1}"#, Some(r#"{"id":1,"n":1,"name":"a"}"#)),
            (r#"{"id":2}"#, Some(r#"{"id":2,"n":20,"name":"12"}"#)),
            (r#"{"id":3}"#, None),
            (r#"{"id":1}"#, Some(r#"{"id":1,"n":10,"name":"15"}"#)),
            (r#"{"id":2}"#, None),
            (r#"{"id":4}"#, Some(r#"{"id":4,"n":40,"name":"14"}"#)),
            (r#"{"id":4}"#, Some(r#"{"id":4,"n":4,"name":"small"}"#)),
            (r#"{"id":5}"#, Some(r#"{"id":5,"n":50,"name":null}"#)),
        ],
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for version in [2, 3] {
            let folder = TempDir::with_prefix("frazil-changelog-").unwrap();
            let mut session = session(folder.path()).await;
            let with = format!("('format-version' = '{version}', 'write.upsert.enabled' = 'true')");
            let script = format!(
                "{create}
                 CREATE TABLE t (id BIGINT, n INT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (id) NOT ENFORCED) WITH {with};
                 CREATE TABLE large (id BIGINT, number INT, PRIMARY KEY (id) NOT ENFORCED) WITH {with};
                 CREATE TABLE late (id BIGINT, n INT, PRIMARY KEY (id) NOT ENFORCED) WITH {with};
                 EXECUTE STATEMENT SET BEGIN
                 INSERT INTO t SELECT id, n, at FROM changes;
                 INSERT INTO large SELECT id, CAST(name AS INT) FROM changes WHERE name LIKE '1%';
                 INSERT INTO late SELECT id, next FROM changes WHERE id > 1;
                 END;"
            );
            run(&mut session, &script).await.unwrap();
            check(
                &mut session,
                "SELECT * FROM t ORDER BY id; SELECT * FROM large ORDER BY id; SELECT * FROM late ORDER BY id",
                expect![[r#"
                    +----+----+----+
                    | id | n  | at |
                    +----+----+----+
                    | 1  | 10 | 3  |
                    | 4  | 4  | 6  |
                    | 5  | 50 | 7  |
                    +----+----+----+
                    +----+--------+
                    | id | number |
                    +----+--------+
                    | 1  | 15     |
                    +----+--------+
                    +----+----+
                    | id | n  |
                    +----+----+
                    | 4  | 5  |
                    | 5  | 51 |
                    +----+----+
                "#]],
            )
            .await;
        }
    });
}

#[test]
fn columns_of_the_records_key_need_not_be_in_the_value() {
    let kafka = match Kafka::shared() {
        Ok(kafka) => kafka,
        Err(skip) => return skip.report(),
    };
    // The value has a field of the same name that is something else.
    let create = upserts(
        kafka,
        "changelog-except-key",
        "k_id BIGINT, id STRING, v INT, PRIMARY KEY (k_id) NOT ENFORCED",
        ", 'value.fields-include' = 'EXCEPT_KEY', 'key.fields-prefix' = 'k_', 'on-error' = 'skip'",
        &[
            (r#"{"id":1,"v":7}"#, Some(r#"{"id":"one","v":1}"#)),
            (r#"{"id":2}"#, Some(r#"{"id":"two","v":2,"k_id":9}"#)),
            (r#"{"id":1}"#, None),
            (r#"{"id":3}"#, Some(r#"{"v":3}"#)),
            (r#"{"no":3}"#, Some(r#"{"v":4}"#)),
            (r#"{"id":3"#, None),
        ],
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = TempDir::with_prefix("frazil-changelog-").unwrap();
        let mut session = session(folder.path()).await;
        let script = format!(
            "{create}
             CREATE TABLE t (k BIGINT, id STRING, v INT, PRIMARY KEY (k) NOT ENFORCED)
             WITH ('format-version' = '3', 'write.upsert.enabled' = 'true');
             INSERT INTO t SELECT k_id, id, v FROM changes;"
        );
        run(&mut session, &script).await.unwrap();
        check(
            &mut session,
            "SELECT * FROM t ORDER BY k",
            expect![[r#"
            +---+-----+---+
            | k | id  | v |
            +---+-----+---+
            | 2 | two | 2 |
            | 3 |     | 3 |
            +---+-----+---+
        "#]],
        )
        .await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_can_not_be_read_are_passed_over_if_that_is_wanted() {
    let folder = TempDir::with_prefix("frazil-changelog-").unwrap();
    let mut session = session(folder.path()).await;
    let events = "{\"payload\":{\"after\":{\"id\":1,\"n\":1},\"op\":\"c\"}}\nnonsense\n\
                  {\"payload\":{\"before\":{\"id\":1,\"n\":1},\"after\":{\"id\":\"x\"},\"op\":\"u\"}}\n\
                  {\"schema\":{},\"payload\":{\"after\":{\"id\":2,\"n\":2},\"op\":\"c\"}}\n";
    let with = ", 'debezium-json.schema-include' = 'true', 'debezium-json.ignore-parse-errors' = 'true'";
    let script = format!(
        "{}
         CREATE TABLE t (id BIGINT, n INT, PRIMARY KEY (id) NOT ENFORCED)
         WITH ('format-version' = '3', 'write.upsert.enabled' = 'true');
         INSERT INTO t SELECT id, n FROM changes;",
        source(folder.path(), events, with)
    );
    run(&mut session, &script).await.unwrap();
    // Half of an update is none.
    check(
        &mut session,
        "SELECT * FROM t ORDER BY id",
        expect![[r#"
            +----+---+
            | id | n |
            +----+---+
            | 1  | 1 |
            | 2  | 2 |
            +----+---+
        "#]],
    )
    .await;
}
