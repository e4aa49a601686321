//! Small files become large ones: what a rewrite costs beside moving the same bytes, and beside decoding and encoding them.
//!
//! Questions: how near is a copy of row groups to a copy of bytes? How much does it save against the plain way, which is
//! scan and `ArrowWriter`, without even a plan above them? What is left of that where rows have to be decoded? How long
//! is it from the decision to the commit when there is little to do?

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use arrow::array::RecordBatch;
use frazil_catalog::CommitQueue;
use frazil_compactor::{Config, Report, compact_table};
use frazil_storage::Location;
use frazil_table::spec::{FormatVersion, Struct};
use frazil_table::{Change, RowDelta, SnapshotProperties, TableFile, Validation, data_file_builder, io};
use frazil_writer::{
    DeletedRows, FileOptions, KeyColumns, TableWriter, WriterConfig, write_deletion_vectors, write_equality_deletes,
    write_position_deletes,
};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use tokio_util::sync::CancellationToken;

use crate::figure::{Better, Figure};
use crate::measure::{Took, measure, peak_rss_mib, reset_peak, rss_mib};
use crate::world::World;
use crate::{Result, lineitem};

/// Files that are merged; another number by FRAZIL_BENCH_FILES.
const FILES: usize = 174;
/// Rows of each: 11 MB.
const FILE_ROWS: usize = 400_000;
/// Files of a stream with short checkpoints, and the rows of each: 200 KB.
const SMALL_FILES: usize = 1_000;
const SMALL_FILE_ROWS: usize = 6_000;
/// Rows of a file with deletes, and how many files there are.
const DELETED_FILES: usize = 200;
const DELETED_FILE_ROWS: usize = 20_000;
/// A small job is done so often; the middle one counts.
const JOBS: usize = 21;

const GB: f64 = 1e9;

const CODEC: [(&str, &str); 2] =
    [("write.parquet.compression-codec", "zstd"), ("write.parquet.compression-level", "1")];

/// The figures of these questions.
pub fn run() -> Result<Vec<Figure>> {
    let files = std::env::var("FRAZIL_BENCH_FILES").ok().map(|files| files.parse()).transpose()?.unwrap_or(FILES);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut figures = Vec::new();
        figures.extend(copied(files).await?);
        figures.extend(streamed().await?);
        figures.extend(deleted().await?);
        figures.push(small_job().await?);
        Ok(figures)
    })
}

/// Large row groups, which stay as they are.
async fn copied(files: usize) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let world = World::new(folder.path()).await?;
    let queue = table(&world, FormatVersion::V2).await?;
    let file = write_file(&world, &queue, &lineitem::batches(FILE_ROWS)?).await?;
    append_copies(&world, &queue, &file, files).await?;
    let bytes = file.file.file_size_in_bytes() * files as u64;
    let paths = data_files(&queue).await?;

    let (bare, _) = measure(async { copy_bytes(&paths, folder.path()) }).await?;
    let (plain, _) = measure(async { decode_and_encode(&paths[..8.min(files)], &queue, folder.path()).await }).await?;
    let plain = plain.cpu / 8.min(files) as f64 * files as f64;
    reset_peak();
    let before = rss_mib();
    let (ours, report) = measure(compact(&queue)).await?;
    let peak = peak_rss_mib().saturating_sub(before);
    expect_rows(&queue, (FILE_ROWS * files) as u64, &report).await?;
    let per_gb = |cpu: f64| cpu / (bytes as f64 / GB);
    let name = format!("{files} files of 11 MB");
    Ok(vec![
        cpu_figure(&name, per_gb(ours.cpu), ("copying the bytes", per_gb(bare.cpu)), (3.0, 1.5)),
        speed_figure(&name, per_gb(ours.cpu), ("decoding and encoding", per_gb(plain)), (20.0, 35.0)),
        Figure {
            name: format!("{name}, memory"),
            unit: "MiB",
            measured: peak as f64,
            beside: Some(("its limit".to_owned(), 256.0)),
            better: Better::Less,
            floor: Some(1.0),
            aim: None,
            peak_rss_mib: Some(peak),
        },
    ])
}

/// Files of short checkpoints, of which one in five has a deletion vector.
async fn streamed() -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let world = World::new(folder.path()).await?;
    let queue = table(&world, FormatVersion::V3).await?;
    let mut files = Vec::with_capacity(SMALL_FILES);
    for batch in lineitem::stream(SMALL_FILES * SMALL_FILE_ROWS, SMALL_FILE_ROWS)? {
        files.push(write_file(&world, &queue, &[batch?]).await?);
    }
    let bytes = files.iter().map(|file| file.file.file_size_in_bytes()).sum::<u64>() as f64;
    world.commit(&queue, Change::Append { files, properties: SnapshotProperties::new() }).await?;
    let paths = data_files(&queue).await?;
    let deleted = paths.iter().step_by(5).map(|path| (path.clone(), (0..60).map(|n| n * 100).collect::<Vec<u64>>()));
    let rows_deleted = delete_rows(&world, &queue, deleted.collect()).await?;

    let (plain, _) = measure(async { decode_and_encode(&paths, &queue, folder.path()).await }).await?;
    let (ours, report) = measure(compact(&queue)).await?;
    expect_rows(&queue, (SMALL_FILES * SMALL_FILE_ROWS) as u64 - rows_deleted, &report).await?;
    let per_gb = |took: Took| took.cpu / (bytes / GB);
    let name = format!("{SMALL_FILES} files of 200 KB, a fifth with vectors");
    let row_group = median_row_group(&data_files(&queue).await?)?;
    Ok(vec![
        speed_figure(&name, per_gb(ours), ("decoding and encoding", per_gb(plain)), (1.1, 1.5)),
        Figure {
            name: format!("{name}, median row group"),
            unit: "MiB",
            measured: row_group,
            beside: Some(("half of what is wanted".to_owned(), 64.0)),
            better: Better::More,
            floor: Some(1.0),
            aim: None,
            peak_rss_mib: None,
        },
    ])
}

/// Files of which every one has an equality delete and a position delete file that reach it.
async fn deleted() -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let world = World::new(folder.path()).await?;
    let queue = table(&world, FormatVersion::V2).await?;
    let batches = lineitem::batches(DELETED_FILE_ROWS)?;
    let file = write_file(&world, &queue, &batches).await?;
    append_copies(&world, &queue, &file, DELETED_FILES).await?;
    let paths = data_files(&queue).await?;
    let loaded = queue.load().await?;
    let key = KeyColumns::new(loaded.metadata().current_schema(), &[1])?;
    // Orders that the rows have, each in one of the files: then every row of theirs goes, in every data file.
    for (index, path) in paths.iter().enumerate() {
        let positions = (0..20).map(|n| (n * 997 + index as u64 * 31) % DELETED_FILE_ROWS as u64).collect();
        delete_rows(&world, &queue, vec![(path.clone(), positions)]).await?;
        let keys = batches[0].column(0).slice(index * 10, 2);
        let keys = RecordBatch::try_new(key.arrow_schema().clone(), vec![keys])?;
        let config = WriterConfig::default();
        let files = write_equality_deletes(&world.env, &queue.load().await?, &config, &key, &[keys]).await?;
        let head = queue.load().await?.current_snapshot().map(|snapshot| snapshot.snapshot_id());
        let delta = RowDelta { delete_files: files, validation: Validation::snapshot(head), ..RowDelta::default() };
        world.commit(&queue, Change::RowDelta(delta)).await?;
    }
    let (plain, _) = measure(async { decode_and_encode(&paths, &queue, folder.path()).await }).await?;
    let (ours, report) = measure(compact(&queue)).await?;
    let rows = (DELETED_FILES * DELETED_FILE_ROWS) as f64;
    if report.rows_deleted == 0 {
        return Err("no delete was applied".into());
    }
    let name = format!("{DELETED_FILES} files, {DELETED_FILES} equality and {DELETED_FILES} position deletes");
    Ok(vec![Figure {
        name,
        unit: "rows/CPU-s",
        measured: rows / ours.cpu,
        beside: Some(("decoding and encoding without deletes".to_owned(), rows / plain.cpu)),
        better: Better::More,
        floor: None,
        aim: Some(1.0),
        peak_rss_mib: None,
    }])
}

/// Five files, 340 KB in all: from the decision to the commit.
async fn small_job() -> Result<Figure> {
    let folder = tempfile::tempdir()?;
    let world = World::new(folder.path()).await?;
    let queue = table(&world, FormatVersion::V2).await?;
    let batches = lineitem::batches(2_400)?;
    let mut took = Vec::new();
    for _ in 0..JOBS {
        let file = write_file(&world, &queue, &batches).await?;
        append_copies(&world, &queue, &file, 5).await?;
        let start = Instant::now();
        compact(&queue).await?;
        took.push(start.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    Ok(Figure {
        name: "five files of 68 KB, trigger to commit".to_owned(),
        unit: "ms",
        measured: took[JOBS / 2],
        beside: Some(("the limit".to_owned(), 100.0)),
        better: Better::Less,
        floor: Some(1.0),
        aim: Some(0.3),
        peak_rss_mib: None,
    })
}

fn cpu_figure(name: &str, measured: f64, (beside, value): (&str, f64), (floor, aim): (f64, f64)) -> Figure {
    Figure {
        name: name.to_owned(),
        unit: "CPU-s/GB",
        measured,
        beside: Some((beside.to_owned(), value)),
        better: Better::Less,
        floor: Some(floor),
        aim: Some(aim),
        peak_rss_mib: None,
    }
}

/// The same as GB per processor second, so that more is better.
fn speed_figure(name: &str, ours: f64, (beside, value): (&str, f64), (floor, aim): (f64, f64)) -> Figure {
    Figure {
        name: format!("{name}, beside {beside}"),
        unit: "GB/CPU-s",
        measured: 1.0 / ours,
        beside: Some((beside.to_owned(), 1.0 / value)),
        better: Better::More,
        floor: Some(floor),
        aim: Some(aim),
        peak_rss_mib: None,
    }
}

async fn table(world: &World, version: FormatVersion) -> Result<CommitQueue> {
    world.table("lineitem", lineitem::schema()?, version, &CODEC).await
}

async fn compact(queue: &CommitQueue) -> Result<Report> {
    let table = queue.load().await?;
    let config = Config::from_options(table.metadata().properties(), &Default::default(), 2)?.packing();
    let report = compact_table(queue, &config, false, &CancellationToken::new()).await?;
    match report.groups {
        0 => Err(format!("nothing was compacted: {report}").into()),
        _ => Ok(report),
    }
}

/// A data file with all of the batches, which no snapshot names yet.
async fn write_file(world: &World, queue: &CommitQueue, batches: &[RecordBatch]) -> Result<TableFile> {
    let mut writer = TableWriter::new(world.env.clone(), &queue.load().await?, WriterConfig::default())?;
    for batch in batches {
        writer.write(batch.clone()).await?;
    }
    let mut files = writer.close().await?;
    files.pop().filter(|_| files.is_empty()).ok_or_else(|| "the rows did not fit into one file".into())
}

/// Appends so many files of the same rows, each a file of its own.
async fn append_copies(world: &World, queue: &CommitQueue, file: &TableFile, count: usize) -> Result<()> {
    let original = local(file.file.file_path())?;
    let mut files = Vec::with_capacity(count);
    for index in 0..count {
        let id = world.env.ids.uuid();
        let name = file.file.file_path().replace(".parquet", &format!("-{index}-{id}.parquet"));
        std::fs::copy(&original, local(&name)?)?;
        let copied = data_file_builder(&file.file, file.partition_spec_id).file_path(name).build()?;
        files.push(TableFile { file: copied, partition_spec_id: file.partition_spec_id });
    }
    world.commit(queue, Change::Append { files, properties: SnapshotProperties::new() }).await
}

fn local(location: &str) -> Result<PathBuf> {
    Ok(Location::parse(location)?.local_path().ok_or("it is on this disk")?)
}

/// Paths of the live data files.
async fn data_files(queue: &CommitQueue) -> Result<Vec<String>> {
    let table = queue.load().await?;
    let state = io::load_state(&queue.env().store, queue.cache(), &table, io::Entries::All).await?;
    Ok(state.live_data_files()?.iter().map(|live| live.file.file_path().to_owned()).collect())
}

async fn delete_rows(world: &World, queue: &CommitQueue, rows: Vec<(String, Vec<u64>)>) -> Result<u64> {
    let table = queue.load().await?;
    let count = rows.iter().map(|(_, positions)| positions.len() as u64).sum();
    let deleted = rows.into_iter().map(|(path, positions)| DeletedRows {
        path,
        partition_spec_id: 0,
        partition: Struct::empty(),
        rows: positions.into_iter().collect(),
    });
    let (deleted, config): (Vec<_>, _) = (deleted.collect(), WriterConfig::default());
    let delete_files = match table.metadata().format_version() {
        FormatVersion::V3 => write_deletion_vectors(&world.env, &table, &config, &deleted).await?,
        _ => write_position_deletes(&world.env, &table, &config, &deleted).await?,
    };
    let head = table.current_snapshot().map(|snapshot| snapshot.snapshot_id());
    let delta = RowDelta { delete_files, validation: Validation::snapshot(head), ..RowDelta::default() };
    world.commit(queue, Change::RowDelta(delta)).await?;
    Ok(count)
}

async fn expect_rows(queue: &CommitQueue, rows: u64, report: &Report) -> Result<()> {
    let table = queue.load().await?;
    let state = io::load_state(&queue.env().store, queue.cache(), &table, io::Entries::All).await?;
    let found: u64 = state.live_data_files()?.iter().map(|live| live.file.record_count()).sum();
    match found == rows {
        true => Ok(()),
        false => Err(format!("{found} rows after the compaction, not {rows}: {report}").into()),
    }
}

/// The least that could be done: all bytes into files of the same size as ours, durably.
fn copy_bytes(paths: &[String], folder: &Path) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let target = Config::default().target_file_size_bytes;
    let mut output: Option<File> = None;
    let (mut written, mut count) = (0, 0);
    for path in paths {
        let mut input = File::open(local(path)?)?;
        if output.is_none() || written > target {
            if let Some(file) = output.take() {
                file.sync_all()?;
            }
            output = Some(File::create(folder.join(format!("copy-{count}")))?);
            (written, count) = (0, count + 1);
        }
        let file = output.as_mut().ok_or("it was opened above")?;
        loop {
            let read = input.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            file.write_all(&buffer[..read])?;
            written += read as u64;
        }
    }
    if let Some(file) = output {
        file.sync_all()?;
    }
    (0..count).try_for_each(|index| std::fs::remove_file(folder.join(format!("copy-{index}"))))?;
    Ok(())
}

/// The plain way: every row decoded and encoded again by the `parquet` crate, into one durable file.
async fn decode_and_encode(paths: &[String], queue: &CommitQueue, folder: &Path) -> Result<()> {
    let options = FileOptions::of(&queue.load().await?)?;
    let output = folder.join("plain.parquet");
    let with = ArrowWriterOptions::new()
        .with_properties(options.parquet.as_ref().clone())
        .with_parquet_schema(options.parquet_schema.clone())
        .with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(File::create(&output)?, options.arrow_schema.clone(), with)?;
    for path in paths {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(local(path)?)?)?;
        for batch in reader.with_batch_size(8192).build()? {
            let batch = RecordBatch::try_new(options.arrow_schema.clone(), batch?.columns().to_vec())?;
            writer.write(&batch)?;
            if writer.in_progress_rows() >= options.row_group_rows_max {
                writer.flush()?;
            }
        }
    }
    writer.into_inner()?.sync_all()?;
    Ok(std::fs::remove_file(output)?)
}

/// In MiB.
fn median_row_group(paths: &[String]) -> Result<f64> {
    let mut sizes = Vec::new();
    for path in paths {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(local(path)?)?)?;
        sizes.extend(reader.metadata().row_groups().iter().map(|group| group.compressed_size() as f64));
    }
    sizes.sort_by(f64::total_cmp);
    Ok(sizes.get(sizes.len() / 2).ok_or("there is no row group")? / f64::from(1 << 20))
}
