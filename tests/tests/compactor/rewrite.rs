//! Single rewrites: what they keep, and what they leave behind when they fail.

use std::sync::Arc;

use frazil_compactor::{Config, Error, FileGroup, RewriteKind, RewriteResult, commit_rewrite, run_group};
use frazil_reader::{ReadContext, load_page_indexes, load_parquet};
use frazil_storage::{Env, Step, StepAction, Steps};
use frazil_table::spec::{NestedField, PrimitiveType, TableRequirement, TableUpdate, Type};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

use super::table::{TestTable, ident, random_columns};

/// Row groups of any size are copied, or all are encoded anew.
fn config(kind: RewriteKind) -> Config {
    let row_group_size_bytes = match kind {
        RewriteKind::Copy => 1,
        _ => 128 << 20,
    };
    Config { row_group_size_bytes, ..Config::default() }.packing()
}

async fn run(test: &TestTable, group: &FileGroup, config: &Config) -> Result<RewriteResult, Error> {
    run_group(group, &test.env, &test.table().await, config, &CancellationToken::new()).await
}

async fn rewrite_all(test: &TestTable, config: &Config) -> Vec<RewriteResult> {
    let groups = test.plan(config).await;
    let mut results = Vec::new();
    for group in &groups {
        results.push(run(test, group, config).await.unwrap());
    }
    let end = commit_rewrite(&test.queue, results).await.unwrap();
    assert!(end.dropped.is_empty());
    end.committed
}

#[tokio::test]
async fn rows_of_random_tables_stay_the_same() {
    let seeds = if std::env::var_os("FRAZIL_LONG").is_some() { 400 } else { 24 };
    for seed in 0..seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let columns = random_columns(&mut rng, 5, 2);
        let test = TestTable::new(Env::in_memory(seed), columns, rng.random(), &[]).await;
        for _ in 0..rng.random_range(2..6) {
            let rows = rng.random_range(1..60);
            test.append_random(&mut rng, rows).await;
        }
        let (rows, plain) = (test.rows().await, test.rows_of_plain_parquet().await);
        for kind in [RewriteKind::Copy, RewriteKind::Encode] {
            let committed = rewrite_all(&test, &config(kind)).await;
            assert!(committed.iter().all(|result| result.kind == kind), "seed {seed}");
            assert_eq!(test.rows().await, rows, "seed {seed}, {kind:?}");
            assert_eq!(test.rows_of_plain_parquet().await, plain, "seed {seed}, {kind:?}");
            test.append_random(&mut rng, 0).await;
        }
        let files = test.state().await.live_data_files().unwrap().len();
        assert!(files <= 3, "seed {seed}: {files} files in three partitions at most");
    }
}

#[tokio::test]
async fn both_kinds_say_the_same_of_their_output() {
    for seed in 0..8 {
        let mut rng = StdRng::seed_from_u64(seed);
        let columns = random_columns(&mut rng, 6, 2);
        let test = TestTable::new(Env::in_memory(seed), columns, false, &[]).await;
        for _ in 0..3 {
            test.append_random(&mut rng, 30).await;
        }
        let groups = test.plan(&config(RewriteKind::Copy)).await;
        let copied = run(&test, &groups[0], &config(RewriteKind::Copy)).await.unwrap();
        let encoded = run(&test, &groups[0], &config(RewriteKind::Encode)).await.unwrap();
        let (copied, encoded) = (&copied.outputs[0].file, &encoded.outputs[0].file);
        assert_eq!(copied.record_count(), encoded.record_count());
        assert_eq!(copied.value_counts(), encoded.value_counts(), "seed {seed}");
        assert_eq!(copied.null_value_counts(), encoded.null_value_counts(), "seed {seed}");
        assert_eq!(copied.nan_value_counts(), encoded.nan_value_counts(), "seed {seed}");
        assert_eq!(copied.lower_bounds(), encoded.lower_bounds(), "seed {seed}");
        assert_eq!(copied.upper_bounds(), encoded.upper_bounds(), "seed {seed}");
        assert_eq!(copied.split_offsets().unwrap().len(), 3);
        assert_eq!(encoded.split_offsets().unwrap().len(), 1, "small row groups grow together");
    }
}

#[tokio::test]
async fn a_copy_keeps_page_indexes_and_bloom_filters() {
    let mut rng = StdRng::seed_from_u64(1);
    let id = Arc::new(NestedField::required(2, "id", Type::Primitive(PrimitiveType::Long)));
    let properties =
        [("write.parquet.bloom-filter-enabled.column.id", "true"), ("write.parquet.page-row-limit", "1000")];
    let test = TestTable::new(Env::in_memory(1), vec![id], false, &properties).await;
    for _ in 0..3 {
        test.append_random(&mut rng, 5_000).await;
    }
    let committed = rewrite_all(&test, &config(RewriteKind::Copy)).await;
    let file = &committed[0].outputs[0].file;
    let (location, size) = (file.file_path(), file.file_size_in_bytes());
    let context = ReadContext::new(&test.env);
    let footer = load_parquet(&context, location, size).await.unwrap();
    let indexed = load_page_indexes(&context, location, size, &footer).await.unwrap();
    assert_eq!(indexed.num_row_groups(), 3);
    let bytes = test.env.store.read(location).await.unwrap();
    for (group, (columns, offsets)) in
        indexed.row_groups().iter().zip(indexed.column_index().unwrap().iter().zip(indexed.offset_index().unwrap()))
    {
        assert!(group.column(1).bloom_filter_offset().is_some());
        let filter = parquet::bloom_filter::Sbbf::read_from_column_chunk(group.column(1), &bytes).unwrap().unwrap();
        // Values are from -5 to 4.
        assert!(filter.check(&1_i64) && !filter.check(&4_711_i64));
        assert!(columns.iter().all(|index| index.num_pages() > 2));
        for (chunk, offsets) in group.columns().iter().zip(offsets) {
            let (start, length) = chunk.byte_range();
            let inside = |at: i64| (start..start + length).contains(&(at as u64));
            assert!(offsets.page_locations().iter().all(|page| inside(page.offset)));
        }
    }
}

#[tokio::test]
async fn files_of_older_schemas_are_encoded_in_the_current_one() {
    let mut rng = StdRng::seed_from_u64(3);
    let test = TestTable::new(Env::in_memory(3), random_columns(&mut rng, 2, 2), true, &[]).await;
    test.append_random(&mut rng, 40).await;
    let table = test.table().await;
    let metadata = table.metadata();
    let id = metadata.last_column_id() + 1;
    let added = Arc::new(NestedField::optional(id, "added", Type::Primitive(PrimitiveType::String)));
    let schema = metadata.current_schema().as_ref().clone();
    let schema = schema.into_builder().with_fields([added]).build().unwrap();
    let commit = frazil_catalog::TableCommit {
        ident: ident(),
        requirements: vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }],
        updates: vec![TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: -1 }],
        idempotency_key: uuid::Uuid::from_u128(1),
    };
    let outcome = test.catalog.commit(commit).await.unwrap();
    assert!(matches!(outcome, frazil_catalog::CommitOutcome::Committed(_)), "{outcome:?}");
    test.append_random(&mut rng, 40).await;
    let rows = test.rows().await;
    let committed = rewrite_all(&test, &config(RewriteKind::Copy)).await;
    assert!(committed.iter().all(|result| result.kind == RewriteKind::Encode), "the schemas differ");
    assert_eq!(test.rows().await, rows);
}

#[tokio::test]
async fn a_stopped_rewrite_leaves_nothing() {
    let mut rng = StdRng::seed_from_u64(5);
    let test = TestTable::new(Env::in_memory(5), random_columns(&mut rng, 3, 2), false, &[]).await;
    for _ in 0..3 {
        test.append_random(&mut rng, 30).await;
    }
    let stop = CancellationToken::new();
    stop.cancel();
    for kind in [RewriteKind::Copy, RewriteKind::Encode] {
        let groups = test.plan(&config(kind)).await;
        let result = run_group(&groups[0], &test.env, &test.table().await, &config(kind), &stop).await;
        assert!(matches!(result, Err(Error::Cancelled)));
        assert_eq!(test.files().await, (3, 0));
        assert_eq!(test.intents().await, 0);
    }
}

#[tokio::test]
async fn a_failure_at_any_step_keeps_the_rows() {
    let steps = [
        (Step::RewriteWritten, 1),
        (Step::ManifestsWritten, 4),
        (Step::ManifestListWritten, 4),
        (Step::MetadataWritten, 4),
        (Step::PointerSwapped, 4),
        (Step::RewriteCommitted, 1),
    ];
    for (step, nth) in steps {
        let mut rng = StdRng::seed_from_u64(7);
        let mut env = Env::in_memory(7);
        env.steps = Steps::arm(step, nth, StepAction::Fail);
        let test = TestTable::new(env, random_columns(&mut rng, 3, 2), false, &[]).await;
        for _ in 0..3 {
            test.append_random(&mut rng, 30).await;
        }
        let rows = test.rows().await;
        let config = config(RewriteKind::Encode);
        let groups = test.plan(&config).await;
        let landed = [Step::PointerSwapped, Step::RewriteCommitted].contains(&step);
        match run(&test, &groups[0], &config).await {
            Err(_) => {
                assert_eq!(step, Step::RewriteWritten);
                assert_eq!(test.files().await, (3, 0), "the output of a failed rewrite is deleted");
            }
            Ok(result) => {
                commit_rewrite(&test.queue, vec![result]).await.unwrap_err();
                let live = if landed { 1 } else { 3 };
                assert_eq!(test.files().await, (live, 4 - live), "after {step} nobody may delete the output");
            }
        }
        assert_eq!(test.rows().await, rows, "{step}");
        // The next compaction finds the table as it is.
        rewrite_all(&test, &config).await;
        assert_eq!(test.rows().await, rows, "{step}, again");
        assert_eq!(test.files().await.0, 1, "{step}, again");
    }
}

#[tokio::test]
async fn an_input_that_is_not_what_the_table_says_is_named() {
    let mut rng = StdRng::seed_from_u64(9);
    let test = TestTable::new(Env::in_memory(9), random_columns(&mut rng, 1, 2), false, &[]).await;
    for _ in 0..2 {
        test.append_random(&mut rng, 30).await;
    }
    let groups = test.plan(&config(RewriteKind::Encode)).await;
    let path = groups[0].paths().next().unwrap().to_owned();
    let mut bytes = test.env.store.read(&path).await.unwrap().to_vec();
    let end = bytes.len();
    bytes[end - 8..end - 4].copy_from_slice(&u32::MAX.to_le_bytes());
    test.env.store.put(&path, bytes.into()).await.unwrap();
    for kind in [RewriteKind::Copy, RewriteKind::Encode] {
        let error = run(&test, &groups[0], &config(kind)).await.unwrap_err();
        assert!(error.to_string().contains(&path), "{error}");
        assert_eq!(test.files().await, (2, 0));
    }
}
