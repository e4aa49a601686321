//! Compaction while others write.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use frazil_catalog::CommitQueue;
use frazil_compactor::{Config, Coordinator, Reason, commit_rewrite, follow, run_group};
use frazil_storage::Env;
use frazil_table::spec::Operation;
use frazil_writer::WriterConfig;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

use super::table::{TestTable, ident, random_columns};

/// Follows the table as a job's coordinator does, and rewrites what is due.
async fn compact_if_due(test: &TestTable, coordinator: &mut Coordinator, config: &Config) -> usize {
    let table = test.queue.load().await.unwrap();
    let groups = follow(coordinator, &test.queue, &table, config).await.unwrap();
    let mut results = Vec::new();
    for group in &groups {
        results.push(run_group(group, &test.env, &table, config, &CancellationToken::new()).await.unwrap());
    }
    let end = commit_rewrite(&test.queue, results).await.unwrap();
    assert!(end.dropped.is_empty(), "nobody else rewrites");
    groups.iter().for_each(|group| coordinator.on_end(group));
    groups.len()
}

/// The first merge of files that a job has just written reads nothing of them from their store.
#[tokio::test]
async fn what_was_just_written_is_merged_from_memory() {
    for keep_files in [true, false] {
        let mut rng = StdRng::seed_from_u64(12);
        let test = TestTable::new(Env::in_memory(12), random_columns(&mut rng, 3, 2), false, &[]).await;
        let config = Config { delta_commits: 10, ..Config::default() };
        let mut coordinator = Coordinator::new(&test.state().await, &config).unwrap();
        let mut merges = 0;
        for _ in 0..40 {
            let batch = test.random_batch(&mut rng, 200).await;
            test.append_by(&test.queue, batch, WriterConfig { keep_files, ..WriterConfig::default() }).await;
            let table = test.queue.load().await.unwrap();
            let groups = follow(&mut coordinator, &test.queue, &table, &config).await.unwrap();
            for group in groups {
                let before = test.env.store.counters().snapshot();
                let result = run_group(&group, &test.env, &table, &config, &CancellationToken::new()).await.unwrap();
                let after = test.env.store.counters().snapshot();
                let (reads, kept) = (after.reads - before.reads, after.bytes_kept - before.bytes_kept);
                let paths: Vec<String> = group.paths().map(str::to_owned).collect();
                if group.reason == Reason::FirstLevel && group.inputs.len() == 10 {
                    merges += 1;
                    match keep_files {
                        true => assert!(reads == 0 && kept >= group.bytes_in() / 2, "{reads} reads, {kept} bytes kept"),
                        false => assert!(reads >= 10 && kept == 0, "{reads} reads, {kept} bytes kept"),
                    }
                }
                commit_rewrite(&test.queue, vec![result]).await.unwrap();
                coordinator.on_end(&group);
                let before = test.env.store.counters().snapshot();
                for path in paths {
                    test.env.store.read_range(&path, 0..4).await.unwrap();
                }
                let after = test.env.store.counters().snapshot();
                assert_eq!(after.bytes_kept, before.bytes_kept, "what was merged takes no room");
            }
        }
        assert!(merges >= 1, "{merges}");
    }
}

#[tokio::test]
async fn small_files_stay_few_over_a_long_stream() {
    let mut rng = StdRng::seed_from_u64(11);
    let test = TestTable::new(Env::in_memory(11), random_columns(&mut rng, 2, 2), true, &[]).await;
    let config = Config { delta_commits: 5, ..Config::default() };
    let mut coordinator = Coordinator::new(&test.state().await, &config).unwrap();
    let mut rewrites = 0;
    for commit in 1..=60 {
        let rows = rng.random_range(5..20);
        test.append_random(&mut rng, rows).await;
        let groups = compact_if_due(&test, &mut coordinator, &config).await;
        rewrites += groups;
        if groups > 0 {
            compact_if_due(&test, &mut coordinator, &config).await;
            let small = coordinator.listing().small_files_max();
            assert!(small <= config.small_files_max(), "{small} files in a partition after commit {commit}");
        }
    }
    assert!(rewrites >= 24, "{rewrites}");
    let table = test.table().await;
    let replaces = table.ancestors("main").filter(|s| s.summary().operation == Operation::Replace).count();
    assert_eq!(replaces, 12, "a compaction is one snapshot, however many partitions it touches");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_is_lost_or_doubled_beside_other_writers() {
    let mut rng = StdRng::seed_from_u64(13);
    let test = Arc::new(TestTable::new(Env::in_memory(13), random_columns(&mut rng, 2, 2), true, &[]).await);
    let config = Config { delta_commits: 3, ..Config::default() };
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for seed in 0..3 {
        let test = test.clone();
        writers.push(tokio::spawn(async move {
            // A queue of its own, as another process has one.
            let queue = CommitQueue::new(test.catalog.clone(), test.env.clone(), ident());
            let mut rng = StdRng::seed_from_u64(100 + seed);
            let mut rows = 0;
            for _ in 0..12 {
                let batch = test.random_batch(&mut rng, 7).await;
                rows += batch.num_rows();
                test.append(&queue, batch).await;
            }
            rows
        }));
    }
    let compaction = tokio::spawn({
        let (test, done) = (test.clone(), done.clone());
        async move {
            let mut coordinator = Coordinator::new(&test.state().await, &config).unwrap();
            let mut rewrites = 0;
            while !done.load(Ordering::SeqCst) {
                rewrites += compact_if_due(&test, &mut coordinator, &config).await;
                tokio::task::yield_now().await;
            }
            rewrites
        }
    });
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    let rewrites = compaction.await.unwrap();
    assert!(rewrites > 0);
    assert_eq!(test.rows().await.len(), written);

    // Each data file came with one append: what is live now holds what all of them added.
    let table = test.table().await;
    let added: u64 = table
        .ancestors("main")
        .filter(|snapshot| snapshot.summary().operation == Operation::Append)
        .filter_map(|snapshot| snapshot.summary().additional_properties.get("added-records")?.parse::<u64>().ok())
        .sum();
    assert_eq!(added as usize, written);
    let numbers: BTreeSet<i64> = table.metadata().snapshots().map(|s| s.sequence_number()).collect();
    assert_eq!(numbers.len(), table.metadata().snapshots().count(), "each snapshot has its own sequence number");
}
