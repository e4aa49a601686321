//! Rows take the place of older ones: what upserts by key into a table of format version 3 cost.
//!
//! Questions: how many rows a second can one core upsert into a table of ten million keys, all of it counted: writing,
//! the index, comparing stored keys, deletion vectors, commits? How much memory does a key take? How much slower is a
//! scan afterwards than one of the same rows that were only appended?
//!
//! `FRAZIL_BENCH_KEYS` is how many keys the table has (10,000,000).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use frazil_catalog::CommitQueue;
use frazil_reader::{Projection, ReadContext, RowReader, ScanRequest, load_scan, scan};
use frazil_table::spec::{FormatVersion, Schema};
use frazil_table::{Change, RowDelta, SnapshotProperties, TableFile, Validation};
use frazil_writer::{KeyColumns, TableWriter, UpsertPlanner, UpsertWriter, WriterConfig};
use futures::TryStreamExt;

use crate::Result;
use crate::figure::{Better, Figure};
use crate::measure::{Took, measure, median, peak_rss_mib, reset_peak};
use crate::world::World;

const SCHEMA: &str = r#"{"type":"struct","identifier-field-ids":[1],"fields":[
    {"id":1,"name":"id","required":true,"type":"long"},
    {"id":2,"name":"v","required":true,"type":"long"},
    {"id":3,"name":"note","required":false,"type":"string"}]}"#;

const BATCH_ROWS: u64 = 8_192;

/// Checkpoints of a measurement, and the rows of each.
const CHECKPOINTS: u64 = 10;
const CHECKPOINT_ROWS: u64 = 200_000;

/// What the index may take in memory.
const INDEX_BYTES_MAX: usize = 256 << 20;

/// Rows a second of one core that are the floor.
const FLOOR: f64 = 60_000.0;

/// Scans of a measurement; the middle one counts.
const SCANS: usize = 3;

/// The figures of these questions.
pub fn run() -> Result<Vec<Figure>> {
    let keys = match std::env::var("FRAZIL_BENCH_KEYS") {
        Ok(text) => text.parse()?,
        Err(_) => 10_000_000,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        let world = World::new(folder.path()).await?;
        let upserted = table(&world, "upserted").await?;
        append(&world, &upserted, &mut (0..keys)).await?;
        reset_peak();
        let mut sink = Sink::open(&world, &upserted).await?;
        let took = measure(sink.upsert(&world, &upserted, keys)).await?.0;
        let peak = peak_rss_mib();
        let counters = sink.planner.counters();
        drop(sink);
        // The rows that are live now, appended: those of the last checkpoints in files of their own.
        let appended = table(&world, "appended").await?;
        let mut newer: Vec<u64> = (0..CHECKPOINTS).flat_map(|checkpoint| changed(checkpoint, keys)).collect();
        let checkpoints = newer.clone();
        newer.sort_unstable();
        newer.dedup();
        append(&world, &appended, &mut (0..keys).filter(|key| newer.binary_search(key).is_err())).await?;
        let mut rest: std::collections::HashSet<u64> = newer.iter().copied().collect();
        for rows in checkpoints.chunks(CHECKPOINT_ROWS as usize) {
            let rows: Vec<u64> = rows.iter().copied().filter(|key| rest.remove(key)).collect();
            append(&world, &appended, &mut rows.into_iter()).await?;
        }
        let (after, beside) = (scan_all(&world, &upserted, keys).await?, scan_all(&world, &appended, keys).await?);
        let rate = (CHECKPOINTS * CHECKPOINT_ROWS) as f64 / took.cpu;
        let bytes = counters.index_bytes as f64 / counters.keys as f64;
        let millions = keys as f64 / 1e6;
        let figure = |name, unit, measured, (beside, value): (&str, f64), better, floor, aim| Figure {
            name,
            unit,
            measured,
            beside: Some((beside.to_owned(), value)),
            better,
            floor: Some(floor),
            aim: Some(aim),
            peak_rss_mib: None,
        };
        let upserts = figure(
            format!("upserts into {millions} M keys"),
            "rows/CPU-s",
            rate,
            ("what is wanted", FLOOR),
            Better::More,
            1.0,
            2.5,
        );
        let less = Better::Less;
        Ok(vec![
            Figure { peak_rss_mib: Some(peak), ..upserts },
            figure(
                "upserts, memory".to_owned(),
                "MiB",
                peak as f64,
                (
                    "index and writer may have",
                    ((INDEX_BYTES_MAX + WriterConfig::default().memory_max_bytes) >> 20) as f64,
                ),
                less,
                1.2,
                1.0,
            ),
            figure("key index".to_owned(), "bytes/key", bytes, ("what is wanted", 16.0), less, 1.0, 1.0),
            figure(
                "scan after the upserts".to_owned(),
                "CPU-s",
                after.cpu,
                ("the same rows appended", beside.cpu),
                Better::Less,
                1.3,
                1.1,
            ),
        ])
    })
}

/// The keys of a checkpoint: anywhere in the table, without an order.
fn changed(checkpoint: u64, keys: u64) -> impl Iterator<Item = u64> {
    let first = checkpoint * CHECKPOINT_ROWS;
    (first..first + CHECKPOINT_ROWS).map(move |n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) % keys)
}

fn batch(keys: &[u64]) -> Result<RecordBatch> {
    let ids = Int64Array::from_iter_values(keys.iter().map(|key| *key as i64));
    let values = Int64Array::from_iter_values(keys.iter().map(|key| key.wrapping_mul(31) as i64 >> 8));
    let notes = StringArray::from_iter_values(keys.iter().map(|key| format!("note {}", key % 100_003)));
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(values), Arc::new(notes)];
    let schema: Schema = serde_json::from_str(SCHEMA)?;
    Ok(RecordBatch::try_new(Arc::new(frazil_table::arrow::arrow_schema(&schema)?), columns)?)
}

async fn table(world: &World, name: &str) -> Result<CommitQueue> {
    world.table(name, serde_json::from_str(SCHEMA)?, FormatVersion::V3, &[]).await
}

async fn append(world: &World, queue: &CommitQueue, keys: &mut impl Iterator<Item = u64>) -> Result<()> {
    let mut writer = TableWriter::new(world.env.clone(), &queue.load().await?, WriterConfig::default())?;
    loop {
        let keys: Vec<u64> = keys.by_ref().take(BATCH_ROWS as usize).collect();
        if keys.is_empty() {
            break;
        }
        writer.write(batch(&keys)?).await?;
    }
    let change = Change::Append { files: writer.close().await?, properties: SnapshotProperties::new() };
    world.commit(queue, change).await
}

async fn scan_all(world: &World, queue: &CommitQueue, rows: u64) -> Result<Took> {
    let mut took = Vec::new();
    for _ in 0..SCANS {
        let context = ReadContext::new(&world.env);
        let table = queue.load().await?;
        let request = ScanRequest { projection: Projection::All, ..ScanRequest::default() };
        let (one, found) = measure(async {
            let plan = load_scan(&context, &table, &request).await?;
            let counted = scan(&context, &plan, 2).try_fold(0, async |n, rows| Ok(n + rows.num_rows() as u64));
            Ok(counted.await?)
        })
        .await?;
        if found != rows {
            return Err(format!("{} has {found} rows, not {rows}", queue.ident()).into());
        }
        took.push(one);
    }
    Ok(median(took))
}

/// What upserts, as a job does with one writer.
struct Sink {
    writer: UpsertWriter,
    planner: UpsertPlanner,
}

impl Sink {
    async fn open(world: &World, queue: &CommitQueue) -> Result<Self> {
        let table = queue.load().await?;
        let key = || KeyColumns::of(table.metadata().current_schema())?.ok_or("it has a key".into()) as Result<_>;
        let (env, cache, config) = (world.env.clone(), queue.cache().clone(), WriterConfig::default());
        let stored = Arc::new(RowReader::new(&ReadContext::with_manifests(&env, &cache), 2));
        let writer = UpsertWriter::new(env.clone(), &table, key()?, config.clone())?;
        let mut planner = UpsertPlanner::new(env, stored, cache, key()?, (config, INDEX_BYTES_MAX));
        planner.open(&table).await?;
        Ok(Self { writer, planner })
    }

    async fn upsert(&mut self, world: &World, queue: &CommitQueue, keys: u64) -> Result<()> {
        for checkpoint in 0..CHECKPOINTS {
            let rows: Vec<u64> = changed(checkpoint, keys).collect();
            for rows in rows.chunks(BATCH_ROWS as usize) {
                self.writer.upsert(batch(rows)?).await?;
            }
            let generations = self.writer.flush().await?;
            let plan = self.planner.plan(&queue.load().await?, &generations).await?;
            let data_files: Vec<TableFile> = generations.iter().flat_map(|one| one.files.clone()).collect();
            let delta = RowDelta {
                data_files,
                delete_files: plan.delete_files,
                removed_delete_files: plan.removed_delete_files,
                validation: Validation::snapshot(plan.base_snapshot_id.flatten()),
                ..RowDelta::default()
            };
            world.commit(queue, Change::RowDelta(delta)).await?;
            self.planner.landed();
        }
        Ok(())
    }
}
