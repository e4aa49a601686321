//! The reader on what the writer and the catalog really make, on local files.

mod consumers;
mod feed;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::Int64Type;
use frazil_catalog::{CatalogRef, CommitEnd, CommitQueue, Precheck, SqlCatalog};
use frazil_reader::{
    FollowOptions, Projection, ReadContext, ScanRequest, StartPosition, TableFollower, load_scan, read_increment, scan,
};
use frazil_storage::Env;
use frazil_table::spec::{NamespaceIdent, Schema, TableCreation, TableIdent, Transform, UnboundPartitionSpec};
use frazil_table::{Change, CommitIdentity, SnapshotProperties};
use frazil_writer::{TableWriter, WriterConfig};
use futures::TryStreamExt;

/// `id`, a month to partition by, and a struct of 32 leaves.
const LEAVES: i32 = 32;

fn schema() -> Schema {
    let leaf = |i: i32| format!(r#"{{"id":{},"name":"l{i}","required":false,"type":"long"}}"#, 10 + i);
    let leaves: Vec<String> = (0..LEAVES).map(leaf).collect();
    let json = format!(
        r#"{{"type":"struct","fields":[
        {{"id":1,"name":"id","required":true,"type":"long"}},
        {{"id":2,"name":"month","required":true,"type":"string"}},
        {{"id":3,"name":"s","required":false,"type":{{"type":"struct","fields":[{}]}}}}]}}"#,
        leaves.join(",")
    );
    serde_json::from_str(&json).unwrap()
}

struct World {
    env: Env,
    catalog: CatalogRef,
    ident: TableIdent,
    queue: CommitQueue,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let env = Env::system();
        let warehouse = format!("file://{}", folder.path().join("warehouse").display());
        let catalog = SqlCatalog::open(&folder.path().join("catalog.db"), env.clone(), &warehouse).await.unwrap();
        let catalog: CatalogRef = Arc::new(catalog);
        let namespace = NamespaceIdent::new("db".to_owned());
        catalog.create_namespace(&namespace, Default::default()).await.unwrap();
        let spec = UnboundPartitionSpec::builder().add_partition_field(2, "month", Transform::Identity).unwrap();
        let creation =
            TableCreation::builder().name("t".to_owned()).schema(schema()).partition_spec(spec.build()).build();
        let ident = catalog.create_table(&namespace, creation).await.unwrap().ident().clone();
        let queue = CommitQueue::new(catalog.clone(), env.clone(), ident.clone());
        Self { env, catalog, ident, queue, _folder: folder }
    }

    async fn append(&self, ids: std::ops::Range<i64>) {
        let table = self.catalog.load_table(&self.ident).await.unwrap();
        let mut writer = TableWriter::new(self.env.clone(), &table, WriterConfig::default()).unwrap();
        let batch = batch(writer.schema(), ids);
        writer.write(batch).await.unwrap();
        let files = writer.close().await.unwrap();
        let change = Change::Append { files, properties: SnapshotProperties::new() };
        let identity = CommitIdentity::draw(&self.env, 1);
        let end = self.queue.commit(&[change], identity, &|_| Precheck::Proceed).await.unwrap();
        assert!(matches!(end, CommitEnd::Committed(_)), "{end:?}");
    }
}

fn month(id: i64) -> String {
    format!("2013-{:02}", id % 3 + 1)
}

fn leaf_value(id: i64, leaf: i32) -> i64 {
    (id * 1_000_003 + i64::from(leaf)).wrapping_mul(2_654_435_761)
}

fn batch(schema: &arrow::datatypes::SchemaRef, ids: std::ops::Range<i64>) -> RecordBatch {
    let arrow::datatypes::DataType::Struct(fields) = schema.field(2).data_type() else { panic!("s is a struct") };
    let leaves = (0..LEAVES).map(|leaf| {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.clone().map(|id| leaf_value(id, leaf))));
        values
    });
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids.clone())),
        Arc::new(StringArray::from_iter_values(ids.clone().map(month))),
        Arc::new(StructArray::new(fields.clone(), leaves.collect(), None)),
    ];
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_leaf_of_a_partitioned_table_costs_about_its_chunks() {
    let world = World::new().await;
    world.append(0..120_000).await;
    let table = world.catalog.load_table(&world.ident).await.unwrap();
    let context = ReadContext::new(&world.env);
    let request = ScanRequest { projection: Projection::paths(["s.l7"]), ..ScanRequest::default() };
    let plan = load_scan(&context, &table, &request).await.unwrap();
    let chunk = 10 + 7;
    let size: u64 = plan.tasks.iter().map(|task| task.file.file_size_in_bytes()).sum();
    let chunks: u64 = plan.tasks.iter().map(|task| task.file.column_sizes()[&chunk]).sum();
    assert_eq!(plan.tasks.len(), 3, "one file for each month");

    let batches: Vec<RecordBatch> = scan(&context, &plan, 2).try_collect().await.unwrap();
    let mut values: Vec<i64> = Vec::new();
    for batch in &batches {
        values.extend(batch.column(0).as_struct().column(0).as_primitive::<Int64Type>().values());
    }
    values.sort_unstable();
    let mut expected: Vec<i64> = (0..120_000).map(|id| leaf_value(id, 7)).collect();
    expected.sort_unstable();
    assert_eq!(values, expected);
    let stats = context.stats();
    println!("files {size} bytes, chunks of the leaf {chunks}, fetched {} ({stats:?})", stats.bytes());
    assert_eq!((stats.leaf_bytes, stats.gap_bytes), (chunks, 0));
    assert!(stats.bytes() * 15 < size);

    // With the footers at hand the leaf's chunks are all that is fetched.
    let warm = context.with_fresh_counters();
    let batches: Vec<RecordBatch> = scan(&warm, &plan, 2).try_collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 120_000);
    assert_eq!(warm.stats().bytes(), chunks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_beside_a_writer_gets_every_row_once_and_resumes_anywhere() {
    const COMMITS: i64 = 12;
    const ROWS: i64 = 500;
    let world = Arc::new(World::new().await);
    let context = ReadContext::new(&world.env);
    let writer = {
        let world = world.clone();
        tokio::spawn(async move {
            for commit in 0..COMMITS {
                world.append(commit * ROWS..(commit + 1) * ROWS).await;
            }
        })
    };
    let mut ids: Vec<i64> = Vec::new();
    let mut start = StartPosition::Earliest;
    // A new follower after each increment, sometimes in the middle of one: what a job does that is killed.
    for turn in 0.. {
        let options = FollowOptions {
            start: start.clone(),
            projection: Projection::paths(["id"]),
            poll_interval_ms: 5,
            ..FollowOptions::default()
        };
        let mut follower = TableFollower::start(&world.catalog, &context, &world.ident, options).await.unwrap();
        let increment = follower.next().await.unwrap();
        let batches: Vec<_> = read_increment(&context, follower.spec(), &increment).try_collect().await.unwrap();
        let taken = if turn % 3 == 0 { 1 } else { batches.len() };
        for batch in &batches[..taken] {
            ids.extend(batch.batch.column(0).as_primitive::<Int64Type>().values());
        }
        let position = if taken == batches.len() { increment.end() } else { batches[taken - 1].position };
        start = StartPosition::Position(position);
        if ids.len() as i64 >= COMMITS * ROWS {
            break;
        }
    }
    writer.await.unwrap();
    ids.sort_unstable();
    assert_eq!(ids, (0..COMMITS * ROWS).collect::<Vec<_>>());
}
