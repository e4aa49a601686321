//! Files become part of a table: what a commit of one small file costs on the local disk.
//!
//! Questions: how much more than one durable file is it? Does a long history make it cost more than its metadata's
//! bytes? Does it depend on how many files the table has?

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use frazil_catalog::{Catalog, CommitQueue};
use frazil_table::spec::{DataContentType, DataFileBuilder, DataFileFormat, FormatVersion, TableIdent, TableMetadata};
use frazil_table::{Change, MetadataText, SnapshotProperties, Table, TableFile, io};

use crate::figure::{Better, Figure};
use crate::measure::{peak_rss_mib, reset_peak};
use crate::world::World;
use crate::{Result, lineitem};

/// Commits of a measurement; the middle one counts.
const COMMITS: usize = 21;

/// A measurement goes in as many rounds, each of commits and then of what is beside them, so that neither has a better time of
/// the machine than the other.
const ROUNDS: usize = 3;

/// What is under way behind the last commit, or the last write, has ended by then.
const PAUSE: Duration = Duration::from_millis(200);

/// The figures of these questions.
pub fn run() -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        let world = World::new(folder.path()).await?;
        let mut figures = Vec::new();

        let short = table_with_snapshots(&world, 100).await?;
        let (commit, one_file) = beside_writes(&world, &short, folder.path(), 20 << 10).await?;
        figures.push(figure("commit of one file, 100 snapshots", commit, "write + fsync + rename", one_file, 8.0, 4.0));

        let long = table_with_snapshots(&world, 10_000).await?;
        let bytes = MetadataText::new(&long.load().await?)?.size_bytes();
        let (commit, metadata) = beside_writes(&world, &long, folder.path(), bytes).await?;
        let beside = format!("writing its {} MB of metadata", bytes / 1_000_000);
        figures.push(figure("commit of one file, 10,000 snapshots", commit, &beside, metadata, 1.5, 1.2));

        let few = table(&world, "few").await?;
        append(&world, &few, 10).await?;
        let many = table(&world, "many").await?;
        for _ in 0..10 {
            append(&world, &many, 10_000).await?;
        }
        reset_peak();
        let (mut to_many, mut to_few) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            to_many.extend(commit_ms(&world, &many).await?);
            to_few.extend(commit_ms(&world, &few).await?);
        }
        let commit = (middle(to_many), peak_rss_mib());
        figures.push(figure("commit of one file to 100,000 files", commit, "to 10 files", middle(to_few), 1.3, 1.0));
        Ok(figures)
    })
}

fn figure(name: &str, (measured, peak): (f64, u64), beside: &str, value: f64, floor: f64, aim: f64) -> Figure {
    Figure {
        name: name.to_owned(),
        unit: "ms",
        measured,
        beside: Some((beside.to_owned(), value)),
        better: Better::Less,
        floor: Some(floor),
        aim: Some(aim),
        peak_rss_mib: Some(peak),
    }
}

/// What a commit takes, in milliseconds, and the process meanwhile, in MiB; and what it takes to write so many bytes.
async fn beside_writes(world: &World, queue: &CommitQueue, folder: &Path, bytes: usize) -> Result<((f64, u64), f64)> {
    reset_peak();
    let (mut commits, mut writes) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        touch_memory(folder, bytes)?;
        commits.extend(commit_ms(world, queue).await?);
        tokio::time::sleep(PAUSE).await;
        touch_memory(folder, bytes)?;
        writes.extend(write_ms(folder, bytes)?);
    }
    Ok(((middle(commits), peak_rss_mib()), middle(writes)))
}

/// The memory for files of a round is the machine's own before it is measured: of one that is virtual, the first touch of a page
/// that it had given back takes many times what writing to it does.
fn touch_memory(folder: &Path, bytes: usize) -> Result<()> {
    let content = vec![b'x'; bytes];
    for index in 0..2 * COMMITS / ROUNDS {
        std::fs::write(folder.join(format!("touch-{index}")), &content)?;
    }
    for index in 0..2 * COMMITS / ROUNDS {
        std::fs::remove_file(folder.join(format!("touch-{index}")))?;
    }
    Ok(())
}

/// Milliseconds to make a file of so many bytes durable under its name, as a catalog on files has to at least.
fn write_ms(folder: &Path, bytes: usize) -> Result<Vec<f64>> {
    let content = vec![b'x'; bytes];
    let mut took = Vec::new();
    for index in 0..COMMITS / ROUNDS {
        let start = Instant::now();
        let temporary = folder.join("limit.tmp");
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(&content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, folder.join(format!("limit-{index}")))?;
        std::fs::File::open(folder)?.sync_all()?;
        took.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(took)
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn table(world: &World, name: &str) -> Result<CommitQueue> {
    world.table(name, lineitem::schema()?, FormatVersion::V2, &[]).await
}

/// A table with a history of so many snapshots, of which only the newest was really made.
async fn table_with_snapshots(world: &World, count: i64) -> Result<CommitQueue> {
    let queue = table(world, &format!("origin_{count}")).await?;
    append(world, &queue, 1).await?;
    let table = queue.load().await?;
    let location = format!("{}/metadata/00009-history.metadata.json", table.metadata().location());
    let longer = Table::new(table.ident().clone(), with_history(&table, count)?.into(), &location);
    io::store_metadata(&world.env.store, &location, &MetadataText::new(&longer)?).await?;
    // Two tables never share files, so the first gives them up.
    world.catalog.drop_table(queue.ident(), false).await?;
    let name = format!("snapshots_{count}");
    world.catalog.register_table(&TableIdent::new(world.namespace.clone(), name.clone()), &location).await?;
    Ok(world.queue(&name))
}

async fn append(world: &World, queue: &CommitQueue, files: usize) -> Result<()> {
    let root = queue.load().await?.metadata().location().to_owned();
    let files = (0..files).map(|_| {
        let file = DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(format!("{root}/data/{}.parquet", world.env.ids.uuid()))
            .file_format(DataFileFormat::Parquet)
            .record_count(1000)
            .file_size_in_bytes(100_000)
            .build()?;
        Ok(TableFile { file, partition_spec_id: 0 })
    });
    let files = files.collect::<Result<Vec<_>>>()?;
    world.commit(queue, Change::Append { files, properties: SnapshotProperties::new() }).await
}

/// What each commit of a round takes, in milliseconds, one right after the other.
async fn commit_ms(world: &World, queue: &CommitQueue) -> Result<Vec<f64>> {
    let mut took = Vec::new();
    for _ in 0..COMMITS / ROUNDS {
        let start = Instant::now();
        append(world, queue, 1).await?;
        took.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(took)
}

/// The same table with `count - 1` snapshots before its only one. Their manifest lists are its own: nobody reads them.
fn with_history(table: &Table, count: i64) -> Result<TableMetadata> {
    let mut json: serde_json::Value = serde_json::from_str(&MetadataText::new(table)?.json())?;
    let newest = json["snapshots"][0].clone();
    let start_ms = newest["timestamp-ms"].as_i64().ok_or("a snapshot has a time")? - count;
    let (mut snapshots, mut log) = (Vec::new(), Vec::new());
    for number in 1..=count {
        let mut snapshot = newest.clone();
        if number < count {
            snapshot["snapshot-id"] = number.into();
        }
        if number > 1 {
            snapshot["parent-snapshot-id"] = (number - 1).into();
        }
        snapshot["sequence-number"] = number.into();
        snapshot["timestamp-ms"] = (start_ms + number).into();
        log.push(serde_json::json!({"snapshot-id": snapshot["snapshot-id"], "timestamp-ms": start_ms + number}));
        snapshots.push(snapshot);
    }
    json["last-sequence-number"] = count.into();
    json["last-updated-ms"] = (start_ms + count).into();
    json["snapshots"] = snapshots.into();
    json["snapshot-log"] = log.into();
    Ok(serde_json::from_value(json)?)
}
