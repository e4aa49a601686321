//! How rows are shared out among parallel writers (`write.distribution-mode`), counted in files.

use std::collections::BTreeMap;
use std::time::Duration;

use frazil_catalog::Catalog;
use frazil_engine::{JobConfig, JobName, Progress, plan_job, run_job};
use frazil_table::spec::TableIdent;
use frazil_table::{ManifestCache, io};
use tempfile::TempDir;

use super::*;

const WRITERS: usize = 4;
const PARTITIONS: usize = 6;

/// By snapshot and partition: how many data files there are, and how many rows in all of them.
async fn files(folder: &Path, table: &str) -> (BTreeMap<(i64, String), usize>, u64) {
    let table = catalog(folder).await.load_table(&TableIdent::from_strs(["default", table]).unwrap()).await.unwrap();
    let store = Env::system().store;
    let state = io::load_state(&store, &ManifestCache::default(), &table, io::Entries::All).await.unwrap();
    let (mut files, mut rows) = (BTreeMap::new(), 0);
    for live in state.live_data_files().unwrap() {
        *files.entry((live.added_snapshot_id, format!("{:?}", live.file.partition()))).or_default() += 1;
        rows += live.file.record_count();
    }
    (files, rows)
}

/// Many small files, so that all tasks have something to read; each has rows of all partitions.
fn write_input(folder: &Path) {
    std::fs::create_dir(folder.join("in")).unwrap();
    for file in 0..12 {
        let rows: String = (0..300).map(|row| format!("{{\"id\":{},\"p\":{}}}\n", file * 300 + row, row % 6)).collect();
        std::fs::write(folder.join(format!("in/{file:02}.json")), rows).unwrap();
    }
}

/// Runs a job of four writers into a table; its graph.
async fn run_into(folder: &Path, create: &str) -> String {
    let mut session = session(folder).await;
    let script = format!(
        "CREATE TABLE src (id BIGINT, p INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json',
             'batch-rows' = '50');
         {create};
         INSERT INTO t SELECT id, p FROM src WHERE id >= 0;",
        folder.join("in").display()
    );
    let config = JobConfig {
        name: JobName::Given("sharing".to_owned()),
        parallelism: WRITERS,
        checkpoint_interval: Duration::from_secs(60),
    };
    let plan = plan_job(&mut session, &script, &config).await.unwrap();
    let graph = plan.graph().to_string();
    run_job(plan, Progress::new(), CancellationToken::new()).await.unwrap();
    graph
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_writers_of_a_job_write_one_file_of_each_partition_and_checkpoint() {
    for (with, edge, files_max) in [
        ("'write.distribution-mode' = 'hash'", "hash", 1),
        ("'auto-compact' = 'false'", "hash", 1),
        ("'write.distribution-mode' = 'range'", "range", WRITERS),
        ("'write.distribution-mode' = 'none'", "chain", WRITERS),
    ] {
        let folder = TempDir::with_prefix("frazil-distribution-").unwrap();
        write_input(folder.path());
        let create = format!("CREATE TABLE t (id BIGINT, p INT) PARTITIONED BY (p) WITH ({with})");
        let graph = run_into(folder.path(), &create).await;
        assert!(graph.contains(&format!("└─{edge}─▶ frazil.default.t/writer")), "{with}: {graph}");
        let (files, rows) = files(folder.path(), "t").await;
        assert_eq!(rows, 3_600, "{with}");
        // One checkpoint, at the end.
        assert_eq!(files.len(), PARTITIONS, "{with}: {files:?}");
        let most = files.values().max().copied().unwrap_or(0);
        match edge {
            // Without distribution each writer has rows of each partition.
            "chain" => assert!(most > 1, "{with}: {files:?}"),
            _ => assert!(most <= files_max, "{with}: {files:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_grow_are_shared_out_as_well() {
    let folder = TempDir::with_prefix("frazil-distribution-").unwrap();
    write_input(folder.path());
    let mut session = session(folder.path()).await;
    let script = format!(
        "CREATE TABLE src WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json', 'batch-rows' = '50',
             'schema.inference' = 'true');
         CREATE TABLE t (p INT) PARTITIONED BY (p) WITH ('schema.evolution' = 'add-columns');
         INSERT INTO t SELECT * FROM src;",
        folder.path().join("in").display()
    );
    let name = JobName::Given("growing".to_owned());
    let config = JobConfig { name, parallelism: WRITERS, checkpoint_interval: Duration::from_secs(60) };
    let plan = plan_job(&mut session, &script, &config).await.unwrap();
    run_job(plan, Progress::new(), CancellationToken::new()).await.unwrap();
    let (files, rows) = files(folder.path(), "t").await;
    assert_eq!((files.len(), rows), (PARTITIONS, 3_600));
    assert!(files.values().all(|count| *count <= 2), "one of each version of the schema: {files:?}");
    check(
        &mut session,
        "SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids, SUM(id) AS s FROM t",
        expect![[r#"
        +------+------+---------+
        | n    | ids  | s       |
        +------+------+---------+
        | 3600 | 3600 | 6478200 |
        +------+------+---------+
    "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_insert_of_several_streams_writes_one_file_of_each_partition() {
    for (mode, one_each) in [("hash", true), ("none", false)] {
        let folder = TempDir::with_prefix("frazil-distribution-").unwrap();
        write_input(folder.path());
        let mut session = session(folder.path()).await;
        let script = format!(
            "SET 'datafusion.execution.target_partitions' = '4';
             CREATE TABLE src (id BIGINT, p INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json',
                 'batch-rows' = '50');
             CREATE TABLE t (id BIGINT, p INT) PARTITIONED BY (p) WITH ('write.distribution-mode' = '{mode}');
             INSERT INTO t SELECT id, p FROM src UNION ALL SELECT id, p FROM src;",
            folder.path().join("in").display()
        );
        answers(&mut session, &script).await.unwrap();
        let (files, rows) = files(folder.path(), "t").await;
        assert_eq!((files.len(), rows), (PARTITIONS, 7_200), "{mode}");
        assert_eq!(files.values().all(|count| *count == 1), one_each, "{mode}: {files:?}");
    }
}
