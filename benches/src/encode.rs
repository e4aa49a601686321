//! Rows become data files: how much the writer adds to the encoder underneath, and how it does beside other engines.
//!
//! Questions: what part of the bare `parquet` encoder's rows per processor second is left with partitions, metrics,
//! page index and a durable store? What does a second core bring? Who writes the same table with less?

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Int32Type;
use frazil_storage::Env;
use frazil_table::Table;
use frazil_table::arrow::transform_array;
use frazil_table::spec::{FormatVersion, SortOrder, TableIdent, TableMetadataBuilder, Transform, UnboundPartitionSpec};
use frazil_writer::{FileOptions, TableWriter, WriterConfig};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;

use crate::figure::{Better, Figure};
use crate::measure::{Took, measure, median, on_one_core, peak_rss_mib, reset_peak, rss_mib};
use crate::{Result, lineitem, peers};

/// Rows of lineitem; another number by FRAZIL_BENCH_ROWS.
const ROWS: usize = 2_000_000;

/// Field ids.
const ORDERKEY: i32 = 1;
const SHIPDATE: i32 = 11;

/// Partitions that are open at the same time, and the memory that their writer may take: with a fifth more, 256 MiB.
const PARTITIONS: u32 = 10_000;
const PARTITIONS_BYTES_MAX: usize = 213 << 20;

/// Each side of a comparison runs so often, in turn.
const REPEATS: usize = 3;

const CODEC: [(&str, &str); 2] =
    [("write.parquet.compression-codec", "zstd"), ("write.parquet.compression-level", "1")];

/// The figures of this question.
pub fn run() -> Result<Vec<Figure>> {
    let rows = std::env::var("FRAZIL_BENCH_ROWS").ok().map(|rows| rows.parse()).transpose()?.unwrap_or(ROWS);
    let batches = lineitem::batches(rows)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        // First, while the process has nothing but the input: memory that was given back is not always the system's again.
        let partitions = many_partitions(&batches).await?;
        let mut figures = Vec::new();
        figures.extend(partitioned(&batches, "by year of l_shipdate", Transform::Year, true).await?);
        figures.extend(partitioned(&batches, "by month of l_shipdate", Transform::Month, false).await?);
        figures.extend(unpartitioned(&batches).await?);
        figures.push(partitions);
        Ok(figures)
    })
}

/// The table `n.lineitem` in a folder, partitioned by a field if asked for.
fn table(folder: &Path, partition: Option<(i32, Transform)>) -> Result<Table> {
    let schema = lineitem::schema()?;
    let mut spec = UnboundPartitionSpec::builder();
    if let Some((field, transform)) = partition {
        spec = spec.add_partition_field(field, "part", transform)?;
    }
    let properties = CODEC.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let location = format!("file://{}", folder.display());
    let order = SortOrder::unsorted_order();
    let metadata =
        TableMetadataBuilder::new(schema, spec.build(), order, location.clone(), FormatVersion::V2, properties)?;
    let ident = TableIdent::from_strs(["n", "lineitem"])?;
    Ok(Table::new(ident, Arc::new(metadata.build()?.metadata), &format!("{location}/metadata/0.metadata.json")))
}

/// Writes the batches as a table's data files, durably.
async fn write(batches: &[RecordBatch], transform: Option<Transform>, encoders_max: usize) -> Result<(Took, u64)> {
    let partition = transform.map(|transform| (SHIPDATE, transform));
    write_by(batches, partition, WriterConfig { encoders_max, ..WriterConfig::default() }).await
}

async fn write_by(
    batches: &[RecordBatch],
    partition: Option<(i32, Transform)>,
    config: WriterConfig,
) -> Result<(Took, u64)> {
    let folder = tempfile::tempdir()?;
    let table = table(folder.path(), partition)?;
    let config = WriterConfig { spill_dir: Some(folder.path().into()), ..config };
    let work = async {
        let mut writer = TableWriter::new(Env::system(), &table, config)?;
        for batch in batches {
            writer.write(batch.clone()).await?;
        }
        writer.flush().await?;
        Ok(writer.counters().file_bytes)
    };
    measure(work).await
}

/// What the encoder alone takes for batches whose partition is known, one after the other, into durable files.
async fn encode(parts: &[Vec<RecordBatch>]) -> Result<(Took, u64)> {
    let folder = tempfile::tempdir()?;
    let options = FileOptions::of(&table(folder.path(), None)?)?;
    let work = async {
        let mut bytes = 0;
        for (index, batches) in parts.iter().enumerate() {
            let file = File::create(folder.path().join(format!("{index}.parquet")))?;
            let with = ArrowWriterOptions::new()
                .with_properties(options.parquet.as_ref().clone())
                .with_parquet_schema(options.parquet_schema.clone())
                .with_skip_arrow_metadata(true);
            let mut writer = ArrowWriter::try_new_with_options(file, options.arrow_schema.clone(), with)?;
            for batch in batches {
                writer.write(batch)?;
                if writer.in_progress_rows() >= options.row_group_rows_max {
                    writer.flush()?;
                }
            }
            let file = writer.into_inner()?;
            file.sync_all()?;
            bytes += file.metadata()?.len();
        }
        Ok(bytes)
    };
    measure(work).await
}

/// The batches by partition, in batches of like size, as if somebody had split them before.
fn split(batches: &[RecordBatch], transform: Transform) -> Result<Vec<Vec<RecordBatch>>> {
    let mut parts: BTreeMap<i32, Vec<RecordBatch>> = BTreeMap::new();
    for batch in batches {
        let values = transform_array(&transform, batch.column(10))?;
        let mut rows: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        for (row, value) in (0..).zip(values.as_primitive::<Int32Type>().values()) {
            rows.entry(*value).or_default().push(row);
        }
        for (value, rows) in rows {
            parts.entry(value).or_default().push(take_record_batch(batch, &UInt32Array::from(rows))?);
        }
    }
    let whole = |parts: Vec<RecordBatch>| -> Result<Vec<RecordBatch>> {
        let whole = concat_batches(&parts[0].schema(), &parts)?;
        let starts = (0..whole.num_rows()).step_by(8192);
        Ok(starts.map(|start| whole.slice(start, 8192.min(whole.num_rows() - start))).collect())
    };
    parts.into_values().map(whole).collect()
}

async fn partitioned(
    batches: &[RecordBatch],
    name: &str,
    transform: Transform,
    has_floor: bool,
) -> Result<Vec<Figure>> {
    let rows = rows_of(batches);
    let parts = split(batches, transform)?;
    let (mut ours, mut bare, mut one) = (Vec::new(), Vec::new(), Vec::new());
    reset_peak();
    let before = rss_mib();
    for _ in 0..REPEATS {
        ours.push(write(batches, Some(transform), 2).await?.0);
    }
    let peak = peak_rss_mib().saturating_sub(before);
    for _ in 0..REPEATS {
        bare.push(encode(&parts).await?.0);
        one.push(on_one_core(write(batches, Some(transform), 1)).await?.0);
    }
    let (ours, bare, one) = (median(ours), median(bare), median(one));
    let cpu = Figure {
        name: format!("lineitem {name}"),
        unit: "rows/CPU-s",
        measured: rows / ours.cpu,
        beside: Some(("the bare encoder on split batches".to_owned(), rows / bare.cpu)),
        better: Better::More,
        floor: has_floor.then_some(0.9),
        aim: Some(0.98),
        peak_rss_mib: Some(peak),
    };
    let wall = Figure {
        name: format!("lineitem {name}, two cores"),
        unit: "rows/s",
        measured: rows / ours.wall,
        beside: Some(("one core".to_owned(), rows / one.wall)),
        better: Better::More,
        floor: has_floor.then_some(1.6),
        aim: Some(1.9),
        peak_rss_mib: None,
    };
    Ok(vec![cpu, wall, memory(&format!("lineitem {name}"), peak, WriterConfig::default().memory_max_bytes)])
}

/// What a writer took beside its input.
fn memory(name: &str, peak_mib: u64, budget_bytes: usize) -> Figure {
    Figure {
        name: format!("{name}, memory"),
        unit: "MiB",
        measured: peak_mib as f64,
        beside: Some(("its budget".to_owned(), (budget_bytes >> 20) as f64)),
        better: Better::Less,
        floor: Some(1.2),
        aim: Some(1.0),
        peak_rss_mib: Some(peak_mib),
    }
}

async fn unpartitioned(batches: &[RecordBatch]) -> Result<Vec<Figure>> {
    let rows = rows_of(batches);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let mut sizes = (0, 0);
    reset_peak();
    let before = rss_mib();
    for _ in 0..REPEATS {
        let (took, bytes) = write(batches, None, 2).await?;
        ours.push(took);
        sizes.0 = bytes;
    }
    let peak = peak_rss_mib().saturating_sub(before);
    for _ in 0..REPEATS {
        let (took, bytes) = encode(std::slice::from_ref(&batches.to_vec())).await?;
        bare.push(took);
        sizes.1 = bytes;
    }
    let ours = rows / median(ours).cpu;
    let figure = |name: &str, beside, floor, aim| Figure {
        name: name.to_owned(),
        unit: "rows/CPU-s",
        measured: ours,
        beside,
        better: Better::More,
        floor,
        aim,
        peak_rss_mib: None,
    };
    let bare = ("the bare encoder".to_owned(), rows / median(bare).cpu);
    let mut figures = vec![figure("lineitem unpartitioned", Some(bare), None, Some(1.0))];
    figures.push(Figure {
        name: "lineitem unpartitioned, size".to_owned(),
        unit: "bytes",
        measured: sizes.0 as f64,
        beside: Some(("the bare encoder".to_owned(), sizes.1 as f64)),
        better: Better::Less,
        floor: Some(1.02),
        aim: Some(1.0),
        peak_rss_mib: None,
    });
    figures.push(memory("lineitem unpartitioned", peak, WriterConfig::default().memory_max_bytes));
    let peers = peers::write_lineitem(batches)?;
    let fastest = peers.iter().map(|(_, speed)| *speed).fold(0.0, f64::max);
    for (name, speed) in peers {
        let floor = (speed == fastest).then_some(1.05);
        figures.push(figure(&format!("lineitem unpartitioned, beside {name}"), Some((name, speed)), floor, Some(1.5)));
    }
    Ok(figures)
}

/// Rows that come in no order of their partitions.
async fn many_partitions(batches: &[RecordBatch]) -> Result<Figure> {
    let config = WriterConfig { memory_max_bytes: PARTITIONS_BYTES_MAX, ..WriterConfig::default() };
    reset_peak();
    let before = rss_mib();
    write_by(batches, Some((ORDERKEY, Transform::Bucket(PARTITIONS))), config).await?;
    let peak = peak_rss_mib().saturating_sub(before);
    Ok(memory(&format!("lineitem in {PARTITIONS} partitions"), peak, PARTITIONS_BYTES_MAX))
}

fn rows_of(batches: &[RecordBatch]) -> f64 {
    batches.iter().map(RecordBatch::num_rows).sum::<usize>() as f64
}
