//! `DELETE` and `UPDATE` of rows whose files are just being compacted.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use frazil_catalog::{Catalog, CommitQueue};
use frazil_compactor::{BytesWritten, Config, commit_rewrite, plan_rewrite, run_group};
use frazil_engine::{JobConfig, JobName, Progress, plan_job, run_job};
use frazil_table::io;
use frazil_table::spec::{Snapshot, TableIdent};
use tempfile::TempDir;

use super::*;

async fn rows(session: &mut Session) -> BTreeMap<i64, i64> {
    let query = parse_script("SELECT id, v FROM t").unwrap();
    let Outcome::Rows(rows) = execute(session, &query[0]).await.unwrap() else { panic!("it is a query") };
    let mut found = BTreeMap::new();
    for batch in rows.collect().await.unwrap() {
        let [ids, values] = [0, 1].map(|column| batch.column(column).as_primitive::<Int64Type>().values().clone());
        for (id, v) in ids.iter().zip(values.iter()) {
            assert_eq!(found.insert(*id, *v), None, "row {id} is there twice");
        }
    }
    found
}

/// Rounds of: new rows, a rewrite of everything, statements while it runs, its commit. Each statement deletes by position or by
/// deletion vectors from files that are gone a moment later, and those of the next round from files that carry deletes.
#[tokio::test]
async fn statements_on_files_that_are_compacted_hold() {
    for version in [2_u8, 3] {
        let folder = TempDir::with_prefix("frazil-compacted-").unwrap();
        let catalog = catalog(folder.path()).await;
        let mut session = session(folder.path()).await;
        let create = format!(
            "CREATE TABLE t (id BIGINT, v BIGINT) WITH ('format-version' = '{version}',
             'write.delete.mode' = 'merge-on-read', 'write.update.mode' = 'merge-on-read')"
        );
        answers(&mut session, &create).await.unwrap();
        let queue = CommitQueue::new(catalog.clone(), Env::system(), TableIdent::from_strs(["default", "t"]).unwrap());
        let config = Config::default().packing();
        let mut random = StdRng::seed_from_u64(version.into());
        let mut model = BTreeMap::new();
        let mut rebased = 0;
        for round in 0..6_i64 {
            for file in 0..2 {
                let first = (round * 2 + file) * 50;
                let values: Vec<String> = (first..first + 50).map(|id| format!("({id}, {id})")).collect();
                answers(&mut session, &format!("INSERT INTO t VALUES {}", values.join(", "))).await.unwrap();
                model.extend((first..first + 50).map(|id| (id, id)));
            }
            let table = catalog.load_table(queue.ident()).await.unwrap();
            let state = io::load_state(&queue.env().store, queue.cache(), &table, io::Entries::All).await.unwrap();
            let plan = plan_rewrite(&state, &config).unwrap();
            let mut results = Vec::new();
            for group in &plan.groups {
                let result = run_group(group, queue.env(), &table, &config, &CancellationToken::new()).await;
                results.push(result.unwrap());
            }
            assert_eq!(results.len(), 1);
            let (divisor, rest) = (random.random_range(5..12), random.random_range(0..5));
            let hit = |id: i64, by: i64| id % divisor == (rest + by) % divisor;
            let delete = format!("DELETE FROM t WHERE id % {divisor} = {}", rest % divisor);
            answers(&mut session, &delete).await.unwrap();
            model.retain(|id, _| !hit(*id, 0));
            let update = format!("UPDATE t SET v = v + 1000 WHERE id % {divisor} = {}", (rest + 1) % divisor);
            answers(&mut session, &update).await.unwrap();
            model.iter_mut().filter(|(id, _)| hit(**id, 1)).for_each(|(_, v)| *v += 1_000);
            assert_eq!(rows(&mut session).await, model, "before the commit of round {round}");
            let end = commit_rewrite(&queue, results).await.unwrap();
            assert!(end.dropped.is_empty() && end.committed.len() == 1, "{end:?}");
            rebased += end.rows_rebased;
            assert_eq!(rows(&mut session).await, model, "format version {version}, round {round}");
        }
        assert!(rebased > 100, "{rebased} deleted rows came along");
    }
}

/// The first merge of a job's files reads nothing of them from the store, and by then each byte was written twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_merges_what_it_wrote_from_memory() {
    let folder = TempDir::with_prefix("frazil-compacted-").unwrap();
    let mut random = StdRng::seed_from_u64(5);
    let lines: String = (0..12_000)
        .map(|id| format!("{{\"id\":{id},\"text\":\"{:x}{:x}\"}}\n", random.random::<u128>(), random.random::<u128>()))
        .collect();
    std::fs::write(folder.path().join("in.json"), lines).unwrap();
    let env = Env::system();
    let mut session = Session::open(env.clone(), catalog(folder.path()).await).await.unwrap();
    let script = format!(
        "CREATE TABLE src (id BIGINT, text STRING) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json',
             'rows-per-second' = '4000', 'batch-rows' = '40');
         CREATE TABLE t (id BIGINT, text STRING) WITH ('compact.delta.commits' = '10');
         INSERT INTO t SELECT id, text FROM src;",
        folder.path().join("in.json").display()
    );
    let config = JobConfig {
        name: JobName::Given("compacted".to_owned()),
        parallelism: 1,
        checkpoint_interval: Duration::from_millis(60),
    };
    let plan = plan_job(&mut session, &script, &config).await.unwrap();
    run_job(plan, Progress::new(), CancellationToken::new()).await.unwrap();

    let table =
        catalog(folder.path()).await.load_table(&TableIdent::from_strs(["default", "t"]).unwrap()).await.unwrap();
    let number = |snapshot: &Snapshot, key: &str| -> u64 {
        snapshot.summary().additional_properties.get(key).map_or(0, |value| value.parse().unwrap())
    };
    let reason =
        |snapshot: &Snapshot| snapshot.summary().additional_properties.get("frazil.compaction.reason").cloned();
    let (mut merges, mut appended, mut merged, mut out) = (0, 0, 0, 0);
    for snapshot in table.ancestors("main") {
        match reason(snapshot).as_deref() {
            None => appended += number(snapshot, "added-files-size"),
            Some("first-level") => {
                merges += 1;
                merged += number(snapshot, "frazil.compaction.bytes-in");
                out += number(snapshot, "frazil.compaction.bytes-out");
            }
            Some(_) => {}
        }
    }
    let kept = env.store.counters().snapshot().bytes_kept;
    let amplification = (appended + out) as f64 / appended as f64;
    println!(
        "{merges} first merges of {merged} bytes, {kept} of them from memory; each byte written {amplification:.2} times"
    );
    assert!(merges >= 3 && merged > appended / 2, "{merges} merges of {merged} bytes of {appended}");
    // Of a file that is copied, its footer is needed once, and the rest whole.
    assert!(kept as f64 >= 0.9 * merged as f64, "{kept} of {merged} bytes");
    assert!(amplification <= 2.05, "{amplification}");

    let last = "SELECT COUNT(*) AS n, ROUND(MAX(write_amplification), 3) AS most FROM `t$compactions`";
    let written = BytesWritten::of(&table);
    assert!(written.added == appended && written.rewritten >= out, "{written:?}, {appended} bytes by writers");
    let shown = answers(&mut session, last).await.unwrap();
    let compactions = table.ancestors("main").filter(|snapshot| reason(snapshot).is_some()).count();
    assert!(shown.contains(&format!("| {compactions} ")), "{shown}");
}

/// What will be done, and what was.
#[tokio::test]
async fn statements_tell_of_compactions_to_come_and_of_past_ones() {
    let folder = TempDir::with_prefix("frazil-compacted-").unwrap();
    let mut session = session(folder.path()).await;
    let create = "CREATE TABLE t (id BIGINT, p INT) PARTITIONED BY (p) WITH ('compact.delta.commits' = '3');
                  CREATE TABLE never (id BIGINT) WITH ('auto-compact' = 'false');
                  INSERT INTO t VALUES (1, 0), (2, 1); INSERT INTO t VALUES (3, 0); DELETE FROM t WHERE id = 2;
                  INSERT INTO never VALUES (1); INSERT INTO never VALUES (2);";
    answers(&mut session, create).await.unwrap();
    let explained = |table: &str| format!("EXPLAIN COMPACTION {table}");
    check(
        &mut session,
        &explained("t"),
        expect![[r#"
            +-----------+-------------+-------+------+--------------+------------------+------------+------------------------+-----------------+
            | partition | reason      | files | rows | delete_files | rows_deleted_max | bytes_read | bytes_written_estimate | commits_to_wait |
            +-----------+-------------+-------+------+--------------+------------------+------------+------------------------+-----------------+
            | p=0       | first-level | 2     | 2    | 0            | 0                | 862        | 862                    | 0               |
            +-----------+-------------+-------+------+--------------+------------------+------------+------------------------+-----------------+
        "#]],
    )
    .await;
    check(&mut session, &explained("FOR never"), expect![[r#"
        +-----------+-------------+-------+------+--------------+------------------+------------+------------------------+-----------------+
        | partition | reason      | files | rows | delete_files | rows_deleted_max | bytes_read | bytes_written_estimate | commits_to_wait |
        +-----------+-------------+-------+------+--------------+------------------+------------+------------------------+-----------------+
        |           | first-level | 2     | 2    | 0            | 0                | 526        | 526                    |                 |
        +-----------+-------------+-------+------+--------------+------------------+------------+------------------------+-----------------+
    "#]]).await;
    check(
        &mut session,
        &explained("nowhere"),
        expect![[r#"
        there is no table 'nowhere' in frazil.default
          --> line 1, column 20, in EXPLAIN COMPACTION
           |
         1 | EXPLAIN COMPACTION nowhere
           |                    ^^^^^^^
           = there are never, t"#]],
    )
    .await;
    answers(&mut session, "CALL system.rewrite_data_files(table => 't')").await.unwrap();
    check(&mut session, &explained("t"), expect![[r#"
        +-----------+--------+-------+------+--------------+------------------+------------+------------------------+-----------------+
        | partition | reason | files | rows | delete_files | rows_deleted_max | bytes_read | bytes_written_estimate | commits_to_wait |
        +-----------+--------+-------+------+--------------+------------------+------------+------------------------+-----------------+
        +-----------+--------+-------+------+--------------+------------------+------------+------------------------+-----------------+
    "#]]).await;
    check(
        &mut session,
        "SELECT reason, kind, groups, files_in, files_out, bytes_in > bytes_out AS smaller, bytes_saved = bytes_in - bytes_out AS saved,
                rows_deleted, write_amplification > 1 AS amplified FROM `t$compactions`",
        expect![[r#"
            +--------+--------+--------+----------+-----------+---------+-------+--------------+-----------+
            | reason | kind   | groups | files_in | files_out | smaller | saved | rows_deleted | amplified |
            +--------+--------+--------+----------+-----------+---------+-------+--------------+-----------+
            | pack   | encode | 1      | 2        | 1         | true    | true  | 0            | true      |
            +--------+--------+--------+----------+-----------+---------+-------+--------------+-----------+
        "#]],
    )
    .await;
}
