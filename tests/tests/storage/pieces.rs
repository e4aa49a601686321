//! Files that are written in pieces, and writers that do not come to their end.

use std::time::{Duration, Instant};

use bytes::Bytes;
use frazil_storage::{Error, FileWriter};

use super::place::{Place, is_long};

const MIB: usize = 1 << 20;
/// What a writer that stops has written: two parts and a bit.
const BEGUN: usize = 20 * MIB;
/// How long an upload may be there after its writer.
const ABORT_TIMEOUT: Duration = Duration::from_secs(20);

pub async fn a_large_file_is_there_whole_or_not_at_all(place: &Place) {
    let size = if is_long() { 300 * MIB } else { 36 * MIB + 17 };
    let (store, file) = (&place.store, place.at("large"));
    let mut writer = store.writer(&file).await.unwrap();
    for begin in (0..size).step_by(5 * MIB) {
        writer.write(content(begin, (5 * MIB).min(size - begin))).await.unwrap();
        assert!(writer.buffered_bytes() <= 8 * MIB);
    }
    assert_eq!(place.names(&place.root).await, [""; 0], "an unfinished file is not visible");
    assert!(store.head(&file).await.unwrap_err().is_not_found());
    assert_eq!(writer.finish().await.unwrap(), size as u64);
    assert_eq!(store.head(&file).await.unwrap().size_bytes, size as u64);
    assert!(store.read(&file).await.unwrap() == content(0, size), "it is what was written");
    // Over the borders of parts, in an order of its own.
    let ranges = [8 * MIB - 3..8 * MIB + 5, size - 7..size, 0..1, 16 * MIB - 1..24 * MIB + 1];
    let asked: Vec<_> = ranges.iter().map(|range| range.start as u64..range.end as u64).collect();
    let parts = store.read_ranges(&file, &asked).await.unwrap();
    for (range, part) in ranges.into_iter().zip(parts) {
        assert!(part == content(range.start, range.len()), "{range:?}");
    }
    if !place.root.starts_with("file:") && !place.is_hdfs() {
        assert_eq!(store.counters().snapshot().parts, size.div_ceil(8 * MIB) as u64, "8 MiB each");
    }
    if let Some(unfinished) = place.unfinished() {
        assert_eq!(unfinished, [""; 0]);
    }
}

pub async fn a_writer_that_is_dropped_leaves_nothing(place: &Place) {
    let writer = begun(place).await;
    drop(writer);
    check_nothing_stays(place).await;
}

/// As a job that is cancelled in the middle of a write.
pub async fn a_writer_whose_task_is_cut_leaves_nothing(place: &Place) {
    let mut writer = begun(place).await;
    let task = tokio::spawn(async move {
        for nth in 0.. {
            writer.write(content(nth * MIB, MIB)).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    check_nothing_stays(place).await;
}

pub async fn a_writer_that_lost_its_name_leaves_nothing(place: &Place) {
    let writer = begun(place).await;
    place.store.put_new(&place.at("f"), "first".into()).await.unwrap();
    let error = writer.finish().await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(place.store.read(&place.at("f")).await.unwrap(), "first");
    place.store.delete(&place.at("f")).await.unwrap();
    check_nothing_stays(place).await;
}

/// A writer in the middle of its file, which the server knows of.
async fn begun(place: &Place) -> FileWriter {
    let mut writer = place.store.writer(&place.at("f")).await.unwrap();
    writer.write(content(0, BEGUN)).await.unwrap();
    if let Some(unfinished) = place.unfinished() {
        // A local file has no name before it is finished.
        let named = usize::from(!place.root.starts_with("file:"));
        assert_eq!(unfinished.len(), named, "what is to go is there: {unfinished:?}");
    }
    writer
}

async fn check_nothing_stays(place: &Place) {
    let deadline = Instant::now() + ABORT_TIMEOUT;
    while place.unfinished().is_some_and(|unfinished| !unfinished.is_empty()) {
        assert!(Instant::now() < deadline, "{:?} stays", place.unfinished());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(place.names(&place.root).await, [""; 0]);
    // Azure has no way to let go of blocks. They are gone after a week, and until then Azurite takes the name for taken.
    if !place.root.starts_with("abfss:") {
        place.store.put_new(&place.at("f"), "its name is free".into()).await.unwrap();
    }
}

/// Bytes of a long file that differ from place to place, in runs that no part begins with.
fn content(begin: usize, length: usize) -> Bytes {
    const RUN: usize = 4_093;
    let (mut bytes, end, mut at) = (vec![0; length], begin + length, begin);
    while at < end {
        let run = at / RUN;
        let next = ((run + 1) * RUN).min(end);
        bytes[at - begin..next - begin].fill((run ^ (run >> 8)) as u8);
        at = next;
    }
    bytes.into()
}
