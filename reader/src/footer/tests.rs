use frazil_storage::Store;

use super::*;

async fn load(bytes: Vec<u8>) -> Result<Footer> {
    let store = Store::new();
    let size = bytes.len() as u64;
    store.put_new("memory://w/f.parquet", bytes.into()).await.unwrap();
    let at = ("memory://w/f.parquet", size, ByteKind::Leaf);
    load_footer(&store, &FooterCache::default(), &ReadCounters::default(), at).await
}

fn file(columns: usize) -> Vec<u8> {
    let names: Vec<String> = (0..columns).map(|i| format!("a_column_with_a_long_name_{i}")).collect();
    let arrays = names.iter().map(|name| {
        let array: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1, 2]));
        (name.as_str(), array)
    });
    let batch = arrow::array::RecordBatch::try_from_iter(arrays).unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// The file of 22 bytes that asks the decoder for 200 GB and ends the process (arrow-rs#9874).
fn hostile() -> Vec<u8> {
    let footer = [0x15, 0x02, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00];
    let mut bytes = b"PAR1".to_vec();
    bytes.extend_from_slice(&footer);
    bytes.extend_from_slice(&(footer.len() as u32).to_le_bytes());
    bytes.extend_from_slice(b"PAR1");
    bytes
}

#[tokio::test]
async fn a_hostile_file_of_22_bytes_is_an_error_and_not_the_end_of_the_process() {
    assert_eq!(hostile().len(), 22);
    let error = load(hostile()).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }));
    assert!(error.to_string().contains("claims 2147483647 elements"), "{error}");
}

#[tokio::test]
async fn files_that_are_no_parquet_are_errors_that_say_so() {
    let with_trailer = |length: u32, magic: &[u8]| {
        let mut bytes = b"PAR1________".to_vec();
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(magic);
        bytes
    };
    for (bytes, reason) in [
        (vec![], "0 bytes are no Parquet file"),
        (b"PAR1PAR1".to_vec(), "8 bytes are no Parquet file"),
        (with_trailer(3, b"PAR2"), "does not end as a Parquet file does"),
        (with_trailer(u32::MAX, b"PAR1"), "its footer claims 4294967295 bytes of a file of 20"),
        (with_trailer(3, b"PARE"), "its footer is encrypted"),
        (with_trailer(0, b"PAR1"), "the footer ends in the middle"),
    ] {
        let error = load(bytes).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_footer_that_is_longer_than_the_first_read_is_read_whole() {
    let bytes = file(400);
    let footer = load(bytes.clone()).await.unwrap();
    assert_eq!(footer.metadata.schema().fields().len(), 400);
    assert!(footer.tail.get(&(0..bytes.len() as u64)).is_none());
    assert_eq!(footer.tail.get(&(bytes.len() as u64 - 4..bytes.len() as u64)).unwrap(), "PAR1");
}

#[tokio::test]
async fn a_file_that_is_shorter_than_the_table_says_is_an_error() {
    let store = Store::new();
    store.put_new("memory://w/f.parquet", file(1).into()).await.unwrap();
    let at = ("memory://w/f.parquet", 1 << 20, ByteKind::Leaf);
    load_footer(&store, &FooterCache::default(), &ReadCounters::default(), at).await.unwrap_err();
}

#[tokio::test]
async fn the_cache_keeps_what_fits() {
    let store = Store::new();
    let bytes = file(1);
    let one = load(bytes.clone()).await.unwrap();
    let size = one.metadata.metadata().memory_size() + one.tail.bytes.len();
    let (cache, counters) = (FooterCache::with_capacity(2 * size), ReadCounters::default());
    for name in ["a", "b", "c", "d"] {
        let location = format!("memory://w/{name}.parquet");
        store.put_new(&location, bytes.clone().into()).await.unwrap();
        for _ in 0..2 {
            let at = (location.as_str(), bytes.len() as u64, ByteKind::Leaf);
            load_footer(&store, &cache, &counters, at).await.unwrap();
        }
    }
    assert_eq!(counters.stats().requests, 4, "each was read once and then found");
    assert_eq!(cache.lock().size_bytes, 2 * size);
    for (name, is_kept) in [("a", false), ("b", false), ("c", true), ("d", true)] {
        assert_eq!(cache.get(&format!("memory://w/{name}.parquet")).is_some(), is_kept, "{name}");
    }
}
