//! What is done with rows once enough have gathered ([`run_turn`]), and when all have to become files ([`run_drain`]).
//!
//! A turn encodes the rows of the partitions that have, or get, an open file, and puts the others aside in a sorted run
//! ([`plan_turn`]). So few files are open at a time, each with row groups that are worth it, however many partitions
//! there are; a partition whose rows were put aside becomes a file when its turn in the merge of all runs comes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use crate::closed_files::ClosedFiles;
use crate::intake::{Intake, Parts};
use crate::merge::{Merge, Merged};
use crate::ndv::ColumnSketch;
use crate::partition::{Partition, PartitionId};
use crate::partition_writer::PartitionWriter;
use crate::rows::Rows;
use crate::run::{Run, RunFolder};
use crate::shared::Shared;
use crate::sort::SortKeys;
use crate::{Error, Result, WriterConfig};

/// Files that are worked on at the same time. Their encoders take turns on a few threads; what goes on at once is the
/// waiting for the store to make files durable.
const FILES_AT_ONCE: usize = 16;

/// A file that got no row for so many turns is closed when another partition needs its place.
const IDLE_TURNS: u64 = 4;

/// What turns work with.
pub(crate) struct World {
    pub shared: Shared,
    pub folder: RunFolder,
    /// The table's sort order, if it has one.
    pub keys: Option<Arc<SortKeys>>,
}

/// Open files by partition.
pub(crate) type OpenWriters = BTreeMap<PartitionId, PartitionWriter>;

/// What a turn gets.
pub(crate) struct TurnWork {
    pub intake: Intake,
    /// By their numbers.
    pub partitions: Vec<Arc<Partition>>,
    pub open: OpenWriters,
    /// One for each column whose distinct values are counted.
    pub sketches: Vec<ColumnSketch>,
}

/// What a turn leaves.
pub(crate) struct TurnDone {
    pub open: OpenWriters,
    pub sketches: Vec<ColumnSketch>,
    pub closed: ClosedFiles,
    /// Rows that were put aside.
    pub run: Option<Run>,
    /// Row groups and files that were ended before they had their size.
    pub ended_early: u64,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct TurnPlan {
    /// Partitions whose rows are encoded now. The rest is put aside.
    encode: HashSet<PartitionId>,
    /// Open files that are closed to make room.
    close: Vec<PartitionId>,
}

/// Decides for each part (partition and bytes). `open` are the partitions with open files and the turns in which they
/// last got rows.
fn plan_turn(
    parts: &[(PartitionId, usize)],
    open: &[(PartitionId, u64)],
    turn: u64,
    config: &WriterConfig,
) -> TurnPlan {
    let mut plan = TurnPlan::default();
    let is_open: HashSet<PartitionId> = open.iter().map(|(id, _)| *id).collect();
    let has_rows: HashSet<PartitionId> = parts.iter().map(|(id, _)| *id).collect();
    plan.encode.extend(is_open.intersection(&has_rows));
    let mut idle: Vec<_> =
        open.iter().filter(|(id, last)| !has_rows.contains(id) && last + IDLE_TURNS <= turn).collect();
    idle.sort_unstable_by_key(|(id, last)| (*last, *id));
    let mut idle = idle.into_iter().map(|(id, _)| *id);
    let worth_it = if parts.len() == 1 { 0 } else { config.intake_bytes() / 64 };
    let mut new: Vec<_> = parts.iter().filter(|(id, bytes)| !is_open.contains(id) && *bytes >= worth_it).collect();
    new.sort_unstable_by_key(|(id, bytes)| (std::cmp::Reverse(*bytes), *id));
    let mut room = config.open_groups_max().saturating_sub(open.len());
    for (id, _) in new {
        if room > 0 {
            room -= 1;
        } else if let Some(closed) = idle.next() {
            plan.close.push(closed);
        } else {
            break;
        }
        plan.encode.insert(*id);
    }
    plan
}

/// One turn. After an error, or when it is cancelled, the rows and open files are lost.
pub(crate) async fn run_turn(world: &World, work: TurnWork, turn: u64) -> Result<TurnDone> {
    let TurnWork { intake, partitions, mut open, sketches } = work;
    let shared = &world.shared;
    let (parts, sketches) = group(world, intake, sketches).await?;
    let sizes: Vec<_> = parts.parts.iter().map(|(id, rows)| (*id, rows.bytes())).collect();
    let in_use: Vec<_> = open.values().map(|writer| (writer.id, writer.last_turn)).collect();
    let plan = match world.keys {
        None => plan_turn(&sizes, &in_use, turn, &shared.config),
        // To be in order, all rows of a file have to be known.
        Some(_) => TurnPlan::default(),
    };
    let mut work = Vec::new();
    let mut aside = Vec::new();
    for (id, rows) in &parts.parts {
        if plan.encode.contains(id) {
            let mut writer = open.remove(id).unwrap_or_else(|| new_writer(*id, &partitions));
            writer.last_turn = turn;
            work.push((writer, Some(rows.clone()), false));
        } else {
            aside.push((*id, rows.clone()));
        }
    }
    let mut ended_early = plan.close.len() as u64;
    work.extend(plan.close.iter().filter_map(|id| open.remove(id)).map(|writer| (writer, None, true)));
    let (done, run) = futures::try_join!(run_writers(shared, work), put_aside(world, aside))?;
    drop(parts);
    let closed = done.closed;
    open.extend(done.open.into_iter().map(|writer| (writer.id, writer)));
    ended_early += end_row_groups(shared, &mut open).await?;
    Ok(TurnDone { open, sketches, closed, run, ended_early })
}

/// Makes files of everything: what has gathered, what is in open files, what was put aside.
pub(crate) async fn run_drain(world: &World, work: TurnWork, runs: Vec<Run>) -> Result<TurnDone> {
    let TurnWork { intake, partitions, mut open, sketches } = work;
    let shared = &world.shared;
    let (parts, sketches) = group(world, intake, sketches).await?;
    let mut closed = shared.closed_files();
    if runs.is_empty() && world.keys.is_none() {
        let mut work = Vec::new();
        for (id, rows) in &parts.parts {
            let writer = open.remove(id).unwrap_or_else(|| new_writer(*id, &partitions));
            work.push((writer, Some(rows.clone()), true));
        }
        closed.append(run_writers(shared, work).await?.closed);
    } else {
        // One block of each run, and the rows that are taken from them at a time.
        let held = runs.len() * world.folder.block_bytes() + shared.config.merge_bytes();
        let _held = shared.memory.reserve(held);
        let mut merge = open_merge(world, runs, parts).await?;
        loop {
            let group;
            (merge, group) = next_group(shared, merge).await?;
            if group.is_empty() {
                break;
            }
            let work = group.into_iter().map(|Merged { partition, rows, is_last }| {
                let writer = open.remove(&partition).unwrap_or_else(|| new_writer(partition, &partitions));
                (writer, Some(rows), is_last)
            });
            let done = run_writers(shared, work.collect()).await?;
            closed.append(done.closed);
            open.extend(done.open.into_iter().map(|writer| (writer.id, writer)));
            end_row_groups(shared, &mut open).await?;
        }
    }
    let rest = open.into_values().map(|writer| (writer, None, true)).collect();
    closed.append(run_writers(shared, rest).await?.closed);
    Ok(TurnDone { open: OpenWriters::new(), sketches, closed, run: None, ended_early: 0 })
}

/// Several runs as one.
pub(crate) async fn run_merge(world: &World, runs: Vec<Run>) -> Result<Run> {
    let (folder, keys) = (world.folder.clone(), world.keys.clone());
    on_thread(&world.shared, move || folder.merge(runs, keys)).await
}

fn new_writer(id: PartitionId, partitions: &[Arc<Partition>]) -> PartitionWriter {
    PartitionWriter::new(id, Arc::clone(&partitions[id as usize]))
}

/// The rows by partition, and in order if the table has one; their values counted.
pub(crate) async fn group(
    world: &World,
    intake: Intake,
    sketches: Vec<ColumnSketch>,
) -> Result<(Parts, Vec<ColumnSketch>)> {
    let keys = world.keys.clone();
    let parts = on_thread(&world.shared, move || {
        let mut parts = intake.into_parts();
        let (Some(keys), Some((_, first))) = (keys, parts.parts.first()) else { return Ok(parts) };
        let keys = first.batches().iter().map(|batch| keys.keys(batch)).collect::<Result<Vec<_>>>()?;
        for (_, rows) in &mut parts.parts {
            let mut picks = rows.picks();
            picks.sort_by(|a, b| keys[a.0].row(a.1).cmp(&keys[b.0].row(b.1)));
            *rows = rows.pick(picks);
        }
        Ok(parts)
    });
    let parts = parts.await?;
    let Some((_, rows)) = parts.parts.first().filter(|_| !sketches.is_empty()) else { return Ok((parts, sketches)) };
    // Each part shares the batches of all.
    let all = rows.clone();
    let update = move |mut sketch: ColumnSketch| {
        all.batches().iter().try_for_each(|batch| sketch.update(batch))?;
        Ok::<_, Error>(sketch)
    };
    let sketches =
        world.shared.threads.for_each(sketches, update).await.map_err(|reason| lost(&world.shared, reason))??;
    Ok((parts, sketches))
}

struct WritersDone {
    open: Vec<PartitionWriter>,
    closed: ClosedFiles,
}

/// Encodes the rows of some partitions, and closes the files of those that are told to.
async fn run_writers(shared: &Shared, work: Vec<(PartitionWriter, Option<Rows>, bool)>) -> Result<WritersDone> {
    let at_once = FILES_AT_ONCE.min(shared.config.open_files_max);
    let done: Vec<_> = futures::stream::iter(work)
        .map(|(mut writer, rows, is_last)| async move {
            let mut closed = shared.closed_files();
            if let Some(rows) = rows {
                writer = writer.encode(rows, shared, &mut closed).await?;
            }
            if is_last {
                writer.close(shared, &mut closed).await?;
                return Ok::<_, Error>((None, closed));
            }
            Ok((Some(writer), closed))
        })
        .buffered(at_once)
        .try_collect()
        .await?;
    let mut all = WritersDone { open: Vec::new(), closed: shared.closed_files() };
    for (writer, closed) in done {
        all.open.extend(writer.filter(PartitionWriter::has_file));
        all.closed.append(closed);
    }
    Ok(all)
}

/// When open row groups hold more than they may: the largest go to the store until a quarter is free, so that this is
/// not done again at once. Says how many.
async fn end_row_groups(shared: &Shared, open: &mut OpenWriters) -> Result<u64> {
    let budget = shared.config.encoders_bytes();
    let mut held: usize = open.values().map(PartitionWriter::memory_bytes).sum();
    if held <= budget {
        return Ok(0);
    }
    let mut sizes: Vec<_> = open.values().map(|writer| (writer.memory_bytes(), writer.id)).collect();
    sizes.sort_unstable_by_key(|(bytes, id)| (std::cmp::Reverse(*bytes), *id));
    let mut ended = 0;
    for (bytes, id) in sizes {
        if held <= budget / 4 * 3 {
            break;
        }
        let writer = open.remove(&id).expect("it was listed just now");
        open.insert(id, writer.end_row_group(shared).await?);
        held -= bytes;
        ended += 1;
    }
    Ok(ended)
}

pub(crate) async fn put_aside(world: &World, parts: Vec<(PartitionId, Rows)>) -> Result<Option<Run>> {
    if parts.is_empty() {
        return Ok(None);
    }
    let folder = world.folder.clone();
    on_thread(&world.shared, move || folder.write(&parts)).await.map(Some)
}

pub(crate) async fn open_merge(world: &World, runs: Vec<Run>, parts: Parts) -> Result<Merge> {
    let (folder, keys) = (world.folder.clone(), world.keys.clone());
    on_thread(&world.shared, move || {
        let memory = folder.blocks(&parts.parts).collect::<Result<Vec<_>>>()?;
        Merge::new(&folder, runs, memory, keys)
    })
    .await
}

pub(crate) async fn next_group(shared: &Shared, mut merge: Merge) -> Result<(Merge, Vec<Merged>)> {
    let bytes_max = shared.config.merge_bytes();
    on_thread(shared, move || merge.next(bytes_max).map(|group| (merge, group))).await
}

pub(crate) async fn on_thread<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    shared.threads.run(work).await.map_err(|reason| lost(shared, reason))?
}

fn lost(shared: &Shared, reason: String) -> Error {
    Error::EncoderLost { location: shared.locations.root().to_owned(), reason }
}

#[cfg(test)]
mod tests;
