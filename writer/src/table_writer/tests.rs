use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use expect_test::expect;
use frazil_table::spec::{Literal, Transform};
use futures::TryStreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::fixture::{batch, id, read, sorted_by, table};

const ID_NAME: &str = r#"{"id":1,"name":"id","required":true,"type":"long"},
                         {"id":2,"name":"name","required":false,"type":"string"}"#;

fn names(range: std::ops::Range<i64>) -> Vec<ArrayRef> {
    let names = range.clone().map(|i| (i % 7 != 0).then(|| format!("name-{i}")));
    vec![Arc::new(Int64Array::from_iter_values(range)), Arc::new(names.collect::<StringArray>())]
}

#[tokio::test]
async fn an_unpartitioned_table_gets_one_file_with_its_rows_in_order() {
    let (env, table) = (Env::in_memory(1), table(ID_NAME, &[], &[]));
    let mut writer = TableWriter::new(env.clone(), &table, WriterConfig::default()).unwrap();
    assert!(!writer.is_open());
    writer.write(batch(&table, names(0..100))).await.unwrap();
    writer.write(batch(&table, names(100..150))).await.unwrap();
    assert!(writer.is_open());
    let files = writer.flush().await.unwrap();
    assert!(!writer.is_open());
    let [file] = files.as_slice() else { panic!("{files:?}") };
    assert!(file.file.file_path().starts_with("memory://w/t/data/frazil-"), "{}", file.file.file_path());
    assert_eq!(file.file.record_count(), 150);
    let (rows, parquet) = read(&env, &table, file.file.file_path()).await;
    let expected =
        concat_batches(writer.schema(), &[batch(&table, names(0..100)), batch(&table, names(100..150))]).unwrap();
    assert_eq!(rows, expected);
    assert_eq!(env.store.head(file.file.file_path()).await.unwrap().size_bytes, file.file.file_size_in_bytes());
    assert_eq!(file.file.split_offsets(), Some(&[4][..]));
    assert!(parquet.row_group(0).column(0).offset_index_offset().is_some(), "page index");
    assert_eq!(writer.counters().rows, 150);
    assert_eq!(writer.counters().file_bytes, file.file.file_size_in_bytes());
    assert!(writer.flush().await.unwrap().is_empty());
}

#[tokio::test]
async fn rows_go_to_the_files_of_their_partitions() {
    let (env, table) =
        (Env::in_memory(1), table(ID_NAME, &[("id", Transform::Truncate(10)), ("name", Transform::Identity)], &[]));
    let mut writer = TableWriter::new(env.clone(), &table, WriterConfig::default()).unwrap();
    for _ in 0..2 {
        let ids = Int64Array::from(vec![1, 12, 3, 14, -1]);
        let names = StringArray::from(vec![Some("a/b"), None, Some("a/b"), None, Some("é ")]);
        writer.write(batch(&table, vec![Arc::new(ids), Arc::new(names)])).await.unwrap();
    }
    let mut files = writer.close().await.unwrap();
    files.sort_by(|a, b| a.file.file_path().cmp(b.file.file_path()));
    let mut listing = String::new();
    for file in &files {
        let (rows, _) = read(&env, &table, file.file.file_path()).await;
        let folder = file.file.file_path().rsplit_once('/').unwrap().0;
        let ids = rows.column(0).as_primitive::<Int64Type>().values().to_vec();
        listing += &format!("{folder} {ids:?}\n");
    }
    expect![[r#"
        memory://w/t/data/id_truncate=-10/name_identity=%C3%A9+ [-1, -1]
        memory://w/t/data/id_truncate=0/name_identity=a%2Fb [1, 3, 1, 3]
        memory://w/t/data/id_truncate=10/name_identity=null [12, 14, 12, 14]
    "#]]
    .assert_eq(&listing);
    let tuples: Vec<Vec<_>> =
        files.iter().map(|file| file.file.partition().iter().map(Option::<&Literal>::cloned).collect()).collect();
    assert_eq!(tuples[0], [Some(Literal::long(-10)), Some(Literal::string("é "))]);
    assert_eq!(tuples[2], [Some(Literal::long(10)), None]);
}

#[tokio::test]
async fn a_file_ends_when_it_has_its_size() {
    for codec in ["uncompressed", "zstd"] {
        let target = 300_000;
        let properties = [("write.target-file-size-bytes", "300000"), ("write.parquet.compression-codec", codec)];
        let (env, table) = (Env::in_memory(1), table(ID_NAME, &[], &properties));
        let config = WriterConfig { memory_max_bytes: 8 << 20, ..WriterConfig::default() };
        let mut writer = TableWriter::new(env.clone(), &table, config).unwrap();
        for start in (0..400_000).step_by(20_000) {
            writer.write(batch(&table, scattered(start..start + 20_000))).await.unwrap();
        }
        let files = writer.flush().await.unwrap();
        assert_eq!(files.iter().map(|file| file.file.record_count()).sum::<u64>(), 400_000);
        let mut sizes: Vec<_> = files.iter().map(|file| file.file.file_size_in_bytes()).collect();
        sizes.sort_unstable();
        assert!(sizes.len() > 5, "{sizes:?}");
        // All but the last are full, footer included.
        let full = target * 94 / 100..target * 107 / 100;
        assert!(sizes[1..].iter().all(|size| full.contains(size)), "{codec}: {sizes:?}");
    }
}

async fn files_in(env: &Env) -> usize {
    env.store.list("memory://w/t").await.unwrap().try_collect::<Vec<_>>().await.unwrap().len()
}

/// A writer that has closed some files, and the number of them in the store.
async fn with_closed_files(env: &Env) -> (TableWriter, usize) {
    let properties = [("write.target-file-size-bytes", "300000")];
    let config = WriterConfig { memory_max_bytes: 8 << 20, ..WriterConfig::default() };
    let table = table(ID_NAME, &[], &properties);
    let mut writer = TableWriter::new(env.clone(), &table, config).unwrap();
    for start in (0..400_000).step_by(20_000) {
        writer.write(batch(&table, scattered(start..start + 20_000))).await.unwrap();
    }
    let files = files_in(env).await;
    assert!(files > 2, "{files}");
    (writer, files)
}

#[tokio::test]
async fn a_writer_that_is_given_up_takes_along_what_it_has_not_given_out() {
    let env = Env::in_memory(1);
    let (writer, _) = with_closed_files(&env).await;
    writer.discard().await;
    assert_eq!(files_in(&env).await, 0, "discarded");
    let (writer, _) = with_closed_files(&env).await;
    drop(writer);
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
        if files_in(&env).await == 0 {
            break;
        }
    }
    assert_eq!(files_in(&env).await, 0, "dropped");
    let (mut writer, _) = with_closed_files(&env).await;
    let given_out = writer.flush().await.unwrap().len();
    writer.discard().await;
    assert_eq!(files_in(&env).await, given_out, "these are somebody's");
}

/// Ids and names whose dictionaries and pages compress well enough that no early guess of a size is right.
fn scattered(range: std::ops::Range<i64>) -> Vec<ArrayRef> {
    let names = range.clone().map(|i| format!("customer number {} of {}", i.wrapping_mul(7919) % 50_000, i % 13));
    let ids = range.map(|i| i.wrapping_mul(2_654_435_761) % 1_000_003);
    vec![Arc::new(Int64Array::from_iter_values(ids)), Arc::new(StringArray::from_iter_values(names))]
}

#[tokio::test]
async fn a_row_group_ends_at_its_rows_and_at_its_bytes() {
    let groups = async |properties: &[(&str, &str)]| {
        let (env, table) = (Env::in_memory(1), table(ID_NAME, &[], properties));
        let mut writer = TableWriter::new(env.clone(), &table, WriterConfig::default()).unwrap();
        writer.write(batch(&table, scattered(0..100_000))).await.unwrap();
        let files = writer.close().await.unwrap();
        let (rows, parquet) = read(&env, &table, files[0].file.file_path()).await;
        assert_eq!(rows.num_rows(), 100_000);
        assert_eq!(files[0].file.split_offsets().unwrap().len(), parquet.num_row_groups());
        parquet.row_groups().iter().map(|group| (group.num_rows(), group.compressed_size())).collect::<Vec<_>>()
    };
    let by_rows = groups(&[("write.parquet.row-group-limit", "30000")]).await;
    assert_eq!(by_rows.iter().map(|(rows, _)| *rows).collect::<Vec<_>>(), [30_000, 30_000, 30_000, 10_000]);
    let by_bytes = groups(&[("write.parquet.row-group-size-bytes", "200000")]).await;
    assert!(by_bytes.len() > 2, "{by_bytes:?}");
    assert!(by_bytes.iter().all(|(_, bytes)| *bytes < 230_000), "{by_bytes:?}");
}

const KEY_TEXT: &str =
    r#"{"id":1,"name":"k","required":true,"type":"int"},{"id":2,"name":"text","required":true,"type":"string"}"#;

#[tokio::test]
async fn a_thousand_partitions_stay_within_memory_and_open_files_and_get_a_file_each() {
    let (env, table) = (Env::in_memory(1), table(KEY_TEXT, &[("k", Transform::Identity)], &[]));
    let config = WriterConfig { memory_max_bytes: 8 << 20, open_files_max: 16, ..WriterConfig::default() };
    let mut writer = TableWriter::new(env.clone(), &table, config.clone()).unwrap();
    let mut batch_bytes_max = 0;
    // More runs than are merged at a time.
    for round in 0..60i32 {
        let keys = Int32Array::from_iter_values((0..8000).map(|i| (i * 7 + round) % 1000));
        let text = StringArray::from_iter_values((0..8000).map(|i| format!("{round}-{i}-{}", "x".repeat(100))));
        let rows = batch(&table, vec![Arc::new(keys), Arc::new(text)]);
        batch_bytes_max = batch_bytes_max.max(batch_bytes(&rows));
        writer.write(rows).await.unwrap();
        assert!(writer.open_files() <= config.open_files_max);
    }
    let files = writer.flush().await.unwrap();
    let counters = writer.counters();
    assert!(counters.buffered_bytes_max <= config.memory_max_bytes + batch_bytes_max, "{counters:?}");
    assert!(counters.spilled_bytes > 30_000_000, "{counters:?}");
    assert_eq!((files.len(), counters.files, counters.early_spills), (1000, 1000, 0));
    assert_eq!(files.iter().map(|file| file.file.record_count()).sum::<u64>(), 480_000);
    for file in files.iter().step_by(97) {
        let (rows, _) = read(&env, &table, file.file.file_path()).await;
        let key = rows.column(0).as_primitive::<Int32Type>();
        assert!(key.values().iter().all(|k| Some(&Literal::int(*k)) == file.file.partition()[0].as_ref()));
        let mut texts: Vec<_> = rows.column(1).as_string::<i32>().iter().map(Option::unwrap).collect();
        let rounds: Vec<i32> = texts.iter().map(|text| text.split('-').next().unwrap().parse().unwrap()).collect();
        assert!(rounds.is_sorted(), "rows keep their order through runs and merges: {rounds:?}");
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), rows.num_rows(), "no row twice");
    }
    assert_eq!((writer.buffered_bytes(), writer.open_files()), (0, 0));
}

#[tokio::test]
async fn when_temporary_files_have_no_more_room_files_are_closed_early() {
    let (env, table) = (Env::in_memory(1), table(KEY_TEXT, &[("k", Transform::Identity)], &[]));
    let config = WriterConfig { memory_max_bytes: 2 << 20, spill_max_bytes: 1 << 20, ..WriterConfig::default() };
    let mut writer = TableWriter::new(env, &table, config).unwrap();
    for _ in 0..20 {
        let keys = Int32Array::from_iter_values((0..4000).map(|i| i % 500));
        let text = StringArray::from_iter_values((0..4000).map(|i| format!("{i}-{}", "x".repeat(100))));
        writer.write(batch(&table, vec![Arc::new(keys), Arc::new(text)])).await.unwrap();
    }
    let files = writer.flush().await.unwrap();
    assert!(writer.counters().early_spills > 0 && files.len() > 500, "{} files", files.len());
    assert_eq!(files.iter().map(|file| file.file.record_count()).sum::<u64>(), 80_000);
}

#[tokio::test]
async fn a_folder_for_temporary_files_that_is_not_there_is_named() {
    let (env, table) = (Env::in_memory(1), table(KEY_TEXT, &[("k", Transform::Identity)], &[]));
    let spill_dir = Some("/no/such/folder".into());
    let config = WriterConfig { memory_max_bytes: 4 << 20, spill_dir, ..WriterConfig::default() };
    let mut writer = TableWriter::new(env, &table, config).unwrap();
    let keys = Int32Array::from_iter_values((0..10_000).map(|i| i % 1000));
    let text = StringArray::from_iter_values((0..10_000).map(|i| format!("{i}-{}", "x".repeat(100))));
    writer.write(batch(&table, vec![Arc::new(keys), Arc::new(text)])).await.unwrap();
    let error = writer.flush().await.map(|files| files.len()).unwrap_err().to_string();
    assert!(error.starts_with("what has no room in memory can't be put aside in /no/such/folder: "), "{error}");
}

#[tokio::test]
async fn files_of_a_sorted_table_are_sorted_whether_rows_left_memory_or_not() {
    let fields = r#"{"id":1,"name":"p","required":true,"type":"int"},{"id":2,"name":"name","required":false,"type":"string"},
                    {"id":3,"name":"x","required":false,"type":"double"}"#;
    let table = sorted_by(table(fields, &[("p", Transform::Identity)], &[]), &["-name", "x"]);
    for memory_max_bytes in [1 << 20, 256 << 20] {
        let env = Env::in_memory(1);
        let config = WriterConfig { memory_max_bytes, ..WriterConfig::default() };
        let mut writer = TableWriter::new(env.clone(), &table, config).unwrap();
        let mut random = StdRng::seed_from_u64(5);
        for _ in 0..40 {
            let p: Int32Array = (0..1000).map(|_| Some(random.random_range(0..3))).collect();
            let names: StringArray = (0..1000)
                .map(|_| random.random_bool(0.9).then(|| format!("{}", random.random_range(0..400))))
                .collect();
            let x: Float64Array = (0..1000)
                .map(|_| {
                    [None, Some(f64::NAN), Some(-0.0), Some(0.0), Some(random.random())][random.random_range(0..5)]
                })
                .collect();
            writer.write(batch(&table, vec![Arc::new(p), Arc::new(names), Arc::new(x)])).await.unwrap();
        }
        let files = writer.close().await.unwrap();
        assert_eq!(files.iter().map(|file| file.file.record_count()).sum::<u64>(), 40_000);
        assert_eq!(files.len(), 3);
        for file in files {
            assert_eq!(file.file.sort_order_id(), Some(1));
            let (rows, parquet) = read(&env, &table, file.file.file_path()).await;
            let names: Vec<_> = rows.column(1).as_string::<i32>().iter().collect();
            let xs: Vec<_> = rows.column(2).as_primitive::<Float64Type>().iter().collect();
            let pairs: Vec<_> = names.iter().zip(xs).collect();
            let in_order = pairs.windows(2).all(|pair| {
                let (a, b) = (pair[0], pair[1]);
                // Descending with nulls last is the reverse of ascending with nulls first.
                b.0.cmp(a.0)
                    .then_with(|| match (a.1, b.1) {
                        (Some(x), Some(y)) => x.total_cmp(&y),
                        (x, y) => x.is_some().cmp(&y.is_some()),
                    })
                    .is_le()
            });
            assert!(in_order, "{:?}", &pairs[..20]);
            let sorting = parquet.row_group(0).sorting_columns().unwrap();
            let sorting: Vec<_> = sorting.iter().map(|s| (s.column_idx, s.descending, s.nulls_first)).collect();
            assert_eq!(sorting, [(1, true, false), (2, false, true)]);
        }
    }
}

#[tokio::test]
async fn what_is_written_does_not_depend_on_the_number_of_threads() {
    let mut all = Vec::new();
    for encoders_max in [1, 4] {
        let (env, table) = (Env::in_memory(1), table(ID_NAME, &[("id", Transform::Bucket(8))], &[]));
        let config =
            WriterConfig { memory_max_bytes: 4 << 20, encoders_max, open_files_max: 4, ..WriterConfig::default() };
        let mut writer = TableWriter::new(env.clone(), &table, config).unwrap();
        for start in (0..200_000).step_by(10_000) {
            writer.write(batch(&table, scattered(start..start + 10_000))).await.unwrap();
        }
        let mut contents = Vec::new();
        for file in writer.close().await.unwrap() {
            let partition = file.file.partition()[0].clone().map(|bucket| format!("{bucket:?}"));
            contents.push((partition, env.store.read(file.file.file_path()).await.unwrap()));
        }
        contents.sort();
        all.push(contents);
    }
    assert_eq!(all[0].len(), all[1].len());
    assert!(all[0] == all[1]);
}

#[tokio::test]
async fn a_null_in_a_required_field_is_an_error_and_the_writer_goes_on() {
    let (env, table) = (Env::in_memory(1), table(ID_NAME, &[], &[]));
    let mut writer = TableWriter::new(env, &table, WriterConfig::default()).unwrap();
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None]));
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let rows = RecordBatch::try_from_iter([("id", ids), ("name", names.clone())]).unwrap();
    let error = writer.write(rows).await.unwrap_err().to_string();
    expect!["field id is required but row 2 of the batch has no value for it"].assert_eq(&error);
    assert!(!writer.is_open());
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    writer.write(RecordBatch::try_from_iter([("x", ids), ("y", names)]).unwrap()).await.unwrap();
    let files = writer.close().await.unwrap();
    assert_eq!(files[0].file.null_value_counts().get(&id(&table, "id")), Some(&0));
}

#[tokio::test]
async fn a_store_that_fails_fails_the_writer_for_good() {
    let env = Env::in_memory(1);
    let blocked = tempfile::tempdir().unwrap();
    std::fs::write(blocked.path().join("data"), "a file where the folder would be").unwrap();
    let location = format!("file://{}/data", blocked.path().display());
    let table = table(ID_NAME, &[], &[("write.data.path", &location)]);
    let mut writer = TableWriter::new(env, &table, WriterConfig::default()).unwrap();
    writer.write(batch(&table, names(0..10))).await.unwrap();
    assert!(matches!(writer.flush().await, Err(Error::Storage(_))));
    assert!(matches!(writer.flush().await, Err(Error::WriterFailed)));
}

#[tokio::test]
async fn a_cancelled_call_fails_the_writer_for_good() {
    let (env, table) = (Env::in_memory(1), table(ID_NAME, &[], &[]));
    let config = WriterConfig { encoders_max: 1, ..WriterConfig::default() };
    let mut writer = TableWriter::new(env, &table, config).unwrap();
    writer.write(batch(&table, names(0..10))).await.unwrap();
    // The first poll asks for the only thread, which is taken; the call is dropped while it waits.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let threads = writer.world.shared.threads.clone();
    let mut busy = std::pin::pin!(threads.run(move || held.recv()));
    assert!(futures::poll!(busy.as_mut()).is_pending());
    assert!(futures::FutureExt::now_or_never(writer.flush()).is_none());
    drop(release);
    busy.await.unwrap().unwrap_err();
    assert!(matches!(writer.flush().await, Err(Error::WriterFailed)));
}

#[tokio::test]
async fn a_slice_of_a_large_batch_does_not_count_as_the_whole() {
    let (env, table) = (Env::in_memory(1), table(ID_NAME, &[], &[]));
    let large = batch(&table, names(0..100_000));
    let mut writer = TableWriter::new(env, &table, WriterConfig::default()).unwrap();
    for start in 0..50 {
        writer.write(large.slice(start * 10, 10)).await.unwrap();
    }
    assert!(writer.buffered_bytes() < batch_bytes(&large) / 10, "{}", writer.buffered_bytes());
    let files = writer.close().await.unwrap();
    assert_eq!(files[0].file.record_count(), 500);
}

#[tokio::test]
async fn files_on_disk_are_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("file://{}/data", folder.path().display());
    let table = table(ID_NAME, &[("id", Transform::Bucket(4))], &[("write.data.path", &location)]);
    let env = Env::in_memory(1);
    let mut writer =
        TableWriter::new(env.clone(), &table, WriterConfig { memory_max_bytes: 1 << 14, ..WriterConfig::default() })
            .unwrap();
    for start in (0..5000).step_by(1000) {
        writer.write(batch(&table, names(start..start + 1000))).await.unwrap();
    }
    assert!(writer.open_files() > 0);
    let listed = |env: Env, location: String| async move {
        let mut files: Vec<_> = env.store.list(&location).await.unwrap().try_collect().await.unwrap();
        files.retain(|file: &frazil_storage::ObjectMeta| file.location.ends_with(".parquet"));
        files.into_iter().map(|file| file.size_bytes).sum::<u64>()
    };
    assert_eq!(listed(env.clone(), location.clone()).await, writer.counters().file_bytes);
    let files = writer.flush().await.unwrap();
    assert_eq!(files.iter().map(|file| file.file.record_count()).sum::<u64>(), 5000);
    assert_eq!(listed(env.clone(), location.clone()).await, writer.counters().file_bytes);
    writer.write(batch(&table, names(0..3000))).await.unwrap();
    drop(writer);
    assert_eq!(std::fs::read_dir(folder.path().join("data")).unwrap().count(), 4, "folders of 4 buckets");
}

#[tokio::test]
async fn its_futures_may_move_between_threads() {
    let (env, table) = (Env::in_memory(1), table(ID_NAME, &[("id", Transform::Bucket(4))], &[]));
    let mut writer = TableWriter::new(env, &table, WriterConfig::default()).unwrap();
    let rows = batch(&table, names(0..100));
    let written = tokio::spawn(async move {
        writer.write(rows).await.unwrap();
        writer.close().await.unwrap()
    });
    assert_eq!(written.await.unwrap().len(), 4);
}
