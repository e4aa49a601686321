use super::*;
use crate::{Env, Store};

const LIMITS: KeptLimits = KeptLimits { memory_bytes: 200, disk_bytes: 200 };

/// A file of `size` bytes in pieces of seven; each byte tells the file and its place.
fn pieces(file: u8, size: usize) -> Vec<Bytes> {
    let bytes: Vec<u8> = (0..size).map(|place| file.wrapping_mul(31).wrapping_add(place as u8)).collect();
    bytes.chunks(7).map(Bytes::copy_from_slice).collect()
}

async fn keep(kept: &Arc<KeptFiles>, file: u8, size: usize, can_spill: bool) {
    let mut keeping = kept.begin(can_spill);
    for piece in pieces(file, size) {
        keeping.push(piece).await;
    }
    keeping.finish(&file.to_string()).await;
}

/// Which files are kept; all of them are read whole and in parts.
async fn found(kept: &KeptFiles, files: Range<u8>, size: usize) -> Vec<u8> {
    let mut found = Vec::new();
    for file in files {
        let whole: Vec<u8> = pieces(file, size).concat();
        let ranges = [0..size as u64, 3..4, 6..8, 7..14, 5..size as u64 - 1, 9..9];
        let Some(parts) = kept.read(&file.to_string(), &ranges).await else { continue };
        for (part, range) in parts.iter().zip(ranges) {
            assert_eq!(part, &whole[range.start as usize..range.end as usize], "{range:?} of {file}");
        }
        found.push(file);
    }
    found
}

#[tokio::test]
async fn what_memory_has_no_room_for_goes_oldest_first() {
    let kept = Arc::new(KeptFiles::with_limits(LIMITS));
    for file in 0..7 {
        keep(&kept, file, 24, false).await;
    }
    assert_eq!(found(&kept, 0..7, 24).await, [3, 4, 5, 6]);
    assert_eq!(kept.taken(), (96, 0));
    kept.forget("4");
    keep(&kept, 7, 24, false).await;
    assert_eq!(found(&kept, 0..8, 24).await, [3, 5, 6, 7]);
    // More than a quarter of the memory is too large for one.
    keep(&kept, 8, 51, false).await;
    assert!(found(&kept, 8..9, 51).await.is_empty());
    assert_eq!(kept.taken(), (96, 0));
}

#[tokio::test]
async fn files_of_remote_stores_move_to_the_disk_and_from_there_go() {
    let kept = Arc::new(KeptFiles::with_limits(LIMITS));
    for file in 0..7 {
        keep(&kept, file, 24, true).await;
    }
    assert_eq!(found(&kept, 0..7, 24).await, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(kept.taken(), (96, 72));
    for file in 7..15 {
        keep(&kept, file, 24, true).await;
    }
    assert_eq!(found(&kept, 0..15, 24).await, (3..15).collect::<Vec<u8>>());
    assert_eq!(kept.taken(), (96, 192));
    // Too large for memory: on the disk from the first, in the place of another.
    keep(&kept, 15, 56, true).await;
    assert_eq!(found(&kept, 15..16, 56).await, [15]);
    assert_eq!(found(&kept, 0..15, 24).await, (5..15).collect::<Vec<u8>>());
    assert_eq!(kept.taken(), (96, 200));
    keep(&kept, 16, 201, true).await;
    assert!(found(&kept, 16..17, 201).await.is_empty());
    for file in 0..17 {
        kept.forget(&file.to_string());
    }
    assert_eq!(kept.taken(), (0, 0));
}

/// However many files are written at the same time, they take half of the memory together.
#[tokio::test]
async fn files_in_the_making_share_what_there_is() {
    for can_spill in [false, true] {
        let kept = Arc::new(KeptFiles::with_limits(LIMITS));
        let mut making: Vec<Keeping> = (0..6).map(|_| kept.begin(can_spill)).collect();
        for (file, keeping) in (0..).zip(&mut making) {
            for piece in pieces(file, 28) {
                keeping.push(piece).await;
                assert!(kept.making_bytes.load(Relaxed) <= 100);
            }
        }
        // Three are in memory, and of the fourth what came before there was no room for more.
        assert_eq!(kept.making_bytes.load(Relaxed), 84);
        drop(making.remove(0));
        assert_eq!(kept.making_bytes.load(Relaxed), 56);
        for (file, keeping) in (1..).zip(making) {
            keeping.finish(&format!("{file}")).await;
        }
        assert_eq!(kept.making_bytes.load(Relaxed), 0);
        let all: &[u8] = if can_spill { &[1, 2, 3, 4, 5] } else { &[1, 2] };
        assert_eq!(found(&kept, 0..6, 28).await, all);
    }
}

#[tokio::test]
async fn a_file_that_goes_while_it_moves_is_gone() {
    let mut files = Files::default();
    let held = || Held::Memory(vec![(0, Bytes::from_static(&[0; 60]))]);
    files.insert("a", 60, held(), true, LIMITS);
    files.insert("b", 60, held(), true, LIMITS);
    let (location, age, _) = files.next_to_move(LIMITS).unwrap();
    assert_eq!((location.as_str(), files.memory_bytes), ("a", 60));
    files.remove("a");
    files.insert("a", 30, held(), true, LIMITS);
    files.moved("a", age, held(), LIMITS);
    assert_eq!((files.memory_bytes, files.disk_bytes), (90, 0), "the one that moved was another");
}

async fn write(store: &Store, location: &str, bytes: &[u8]) {
    let mut file = store.writer(location).await.unwrap().keep();
    file.write(Bytes::copy_from_slice(&bytes[..2])).await.unwrap();
    file.write_pieces(vec![Bytes::copy_from_slice(&bytes[2..])]).await.unwrap();
    file.finish().await.unwrap();
}

#[tokio::test]
async fn ranges_of_a_kept_file_are_not_asked_of_its_store() {
    let folder = tempfile::tempdir().unwrap();
    for root in ["memory://w".to_owned(), format!("file://{}", folder.path().display())] {
        let store = Env::in_memory(1).store;
        let location = format!("{root}/a");
        let unfinished = store.writer(&location).await.unwrap().keep();
        drop(unfinished);
        assert!(store.read(&location).await.unwrap_err().is_not_found(), "it was never finished");
        write(&store, &location, b"abcdef").await;
        let before = store.counters().snapshot();
        assert_eq!(store.read_ranges(&location, &[1..4, 5..6]).await.unwrap(), ["bcd", "f"]);
        let after = store.counters().snapshot();
        assert_eq!((after.reads - before.reads, after.bytes_kept - before.bytes_kept), (0, 4));
        assert!(store.read_range(&location, 4..7).await.is_err(), "past its end");

        store.put(&location, "uvwxyz".into()).await.unwrap();
        assert_eq!(store.read_range(&location, 1..4).await.unwrap(), "vwx");
        for together in [false, true] {
            let location = format!("{root}/b{together}");
            write(&store, &location, b"abcdef").await;
            match together {
                true => assert!(store.delete_many(std::slice::from_ref(&location)).await.is_empty()),
                false => store.delete(&location).await.unwrap(),
            }
            assert!(store.read_range(&location, 1..4).await.unwrap_err().is_not_found());
        }
        let location = format!("{root}/c");
        write(&store, &location, b"abcdef").await;
        store.forget([location.as_str()]);
        assert_eq!(store.read_range(&location, 1..4).await.unwrap(), "bcd");
        assert_eq!(store.counters().snapshot().bytes_kept, 4, "only the first was at hand");
    }
}
