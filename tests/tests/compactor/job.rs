//! The bound on small files in a real job: every snapshot that it left is looked at, not only the last.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use frazil_catalog::{Catalog, SqlCatalog};
use frazil_storage::Env;
use frazil_table::spec::{Operation, Struct, TableIdent};
use frazil_table::{ManifestCache, Table, io};
use frazil_tests::process::Process;
use frazil_tests::server::frazil;
use tempfile::TempDir;

const ROWS: u64 = 4_200;

/// A job into a table with three partitions, a commit every 100 ms, each with a file of each writer in each partition.
fn run_job(folder: &Path, delta_commits: usize, writers: usize) {
    let lines: String = (0..ROWS).map(|id| format!("{{\"id\":{id},\"kind\":\"k{}\"}}\n", id % 3)).collect();
    std::fs::write(folder.join("in.json"), lines).unwrap();
    let script = format!(
        "CREATE TABLE src (id BIGINT, kind STRING) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json',
             'rows-per-second' = '1200', 'batch-rows' = '20');
         CREATE TABLE t (id BIGINT, kind STRING) PARTITIONED BY (kind)
         WITH ('compact.delta.commits' = '{delta_commits}', 'write.metadata.previous-versions-max' = '10');
         INSERT INTO t SELECT id, kind FROM src;",
        folder.join("in.json").display()
    );
    std::fs::write(folder.join("job.sql"), script).unwrap();
    let mut command = frazil();
    command.arg("run").arg(folder.join("job.sql")).arg("--data-dir").arg(folder.join("data"));
    command.args(["--checkpoint-interval", "100 ms", "--parallelism", &writers.to_string()]);
    let log = std::fs::File::create(folder.join("log")).unwrap();
    command.stdout(Stdio::from(log.try_clone().unwrap())).stderr(Stdio::from(log));
    let mut job = Process::spawn(command).unwrap();
    let status = job.wait(Duration::from_secs(180)).unwrap();
    let log = std::fs::read_to_string(folder.join("log")).unwrap();
    assert!(status.is_some_and(|status| status.success()), "{log}");
    assert!(!log.contains("came to nothing"), "{log}");
}

/// What one snapshot left.
#[derive(Debug)]
struct Count {
    is_compaction: bool,
    /// Small files of the fullest partition that it changed.
    changed: usize,
    /// Small files of the fullest partition.
    any: usize,
}

/// One for each snapshot of the history, oldest first. A compaction is several snapshots: one for the groups that are done
/// at a time.
async fn small_files(table: &Table, env: &Env) -> Vec<Count> {
    let cache = ManifestCache::default();
    let mut counts = Vec::new();
    let mut snapshots: Vec<_> = table.ancestors("main").map(|s| Arc::new(s.clone())).collect();
    snapshots.reverse();
    let mut before: HashMap<Struct, BTreeSet<String>> = HashMap::new();
    for snapshot in snapshots {
        let is_compaction = snapshot.summary().operation == Operation::Replace;
        let state =
            io::load_state_at(&env.store, &cache, table, "main", Some(snapshot), io::Entries::All).await.unwrap();
        let mut partitions: HashMap<Struct, BTreeSet<String>> = HashMap::new();
        for file in state.live_data_files().unwrap() {
            assert!(file.file.file_size_in_bytes() < 384 << 20, "all files of this test are small");
            partitions.entry(file.file.partition().clone()).or_default().insert(file.file.file_path().to_owned());
        }
        let changed = partitions.iter().filter(|(partition, files)| before.get(*partition) != Some(*files));
        let changed = changed.map(|(_, files)| files.len()).max().unwrap_or(0);
        let any = partitions.values().map(BTreeSet::len).max().unwrap_or(0);
        counts.push(Count { is_compaction, changed, any });
        before = partitions;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_never_has_more_small_files_than_it_promises() {
    for (delta_commits, writers) in [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (10, 1), (10, 2)] {
        let folder = TempDir::with_prefix("frazil-bound-").unwrap();
        run_job(folder.path(), delta_commits, writers);
        let env = Env::system();
        let data = folder.path().join("data");
        let warehouse = format!("file://{}", data.join("warehouse").display());
        let catalog = SqlCatalog::open(&data.join("catalog.db"), env.clone(), &warehouse).await.unwrap();
        let table = catalog.load_table(&TableIdent::from_strs(["default", "t"]).unwrap()).await.unwrap();
        let counts = small_files(&table, &env).await;
        let bound = delta_commits * writers;
        let compactions = counts.iter().filter(|count| count.is_compaction).count();
        let after = counts.iter().filter(|count| count.is_compaction).map(|count| count.changed).max().unwrap_or(0);
        let always = counts.iter().map(|count| count.any).max().unwrap_or(0);
        println!(
            "N = {delta_commits}, {writers} writers: {} snapshots, {compactions} compactions, at most {after} small files \
             right after one (bound {bound}), {always} ever (bound {})",
            counts.len(),
            2 * bound
        );
        assert!(counts.len() - compactions >= 10, "{} commits show little", counts.len() - compactions);
        assert!(compactions >= 1, "{compactions} compactions of {} snapshots", counts.len());
        assert!(after <= bound, "{after} small files right after a compaction: {counts:?}");
        assert!(always <= 2 * bound, "{always} small files: {counts:?}");
    }
}
