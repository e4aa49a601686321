//! One function for each decoder: bytes in, done or a reason out. None of them may panic, take a second or 256 MiB.

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::Bytes;
use frazil_catalog::{CatalogRef, SqlCatalog, TableCommit};
use frazil_reader::{FileReader, Projection, ReadContext, ReadSpec, ScanTask, load_page_indexes, load_parquet};
use frazil_storage::{Env, Store};
use frazil_table::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, FormatVersion, ManifestContentType, ManifestFile, NamespaceIdent,
    PartitionSpec, Schema, Snapshot, SortOrder, StatisticsFile, Struct, Summary, TableCreation, TableIdent,
    TableMetadata, TableMetadataBuilder,
};
use frazil_table::{LiveFile, ManifestCache, MetadataText, Table, decode_deletion_vector, io};
use frazil_writer::load_sketches;
use tokio::runtime::Runtime;

/// Why bytes were refused.
pub type Outcome = Result<(), String>;

/// Nested, so that every kind of Parquet column is there.
pub const SCHEMA: &str = r#"{"type":"struct","schema-id":0,"fields":[
    {"id":1,"name":"id","required":true,"type":"long"},
    {"id":2,"name":"v","required":false,"type":"string"},
    {"id":3,"name":"l","required":false,"type":{"type":"list","element-id":4,"element-required":false,
        "element":"int"}},
    {"id":5,"name":"s","required":false,"type":{"type":"struct","fields":[
        {"id":6,"name":"d","required":false,"type":"double"}]}}]}"#;

/// Rows that a data file must have to be read to its end.
pub const ROWS: u64 = 40;

pub const FOLDER: &str = "memory://w/hostile";
pub const FILE: &str = "memory://w/hostile/file";

thread_local! {
    static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread needs nothing");
    static TABLE: OnceCell<(CatalogRef, Table)> = const { OnceCell::new() };
}

/// A table metadata file, compressed or not; then what everybody asks a table.
pub fn metadata(bytes: &[u8]) -> Outcome {
    let metadata = with_store(bytes, async |store| io::load_metadata(store, FILE).await.map_err(text))?;
    let table = Table::new(ident(), Arc::new(metadata), FILE);
    let written = MetadataText::new(&table).map_err(text)?;
    let json = written.json();
    for name in table.refs().keys() {
        table.ancestors(name).count();
    }
    for schema in table.metadata().schemas_iter() {
        drop(frazil_table::arrow::arrow_schema(schema));
    }
    with_store(json.as_bytes(), async |store| io::load_metadata(store, FILE).await)
        .map(drop)
        .map_err(|error| panic!("what was read and written can't be read again: {error}\n{json}"))
}

/// A manifest list, as each format version reads it.
pub fn manifest_list(bytes: &[u8]) -> Outcome {
    let snapshot = Snapshot::builder()
        .with_snapshot_id(1)
        .with_sequence_number(1)
        .with_timestamp_ms(1)
        .with_manifest_list(FILE)
        .with_summary(Summary { operation: frazil_table::Operation::Append, additional_properties: Default::default() })
        .build();
    let mut outcome = Ok(());
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let (metadata, cache) = (table_metadata(version), ManifestCache::default());
        outcome = with_store(bytes, async |store| io::load_manifest_list(store, &cache, &metadata, &snapshot).await)
            .map(drop)
            .map_err(text);
    }
    outcome
}

/// A manifest.
pub fn manifest(bytes: &[u8]) -> Outcome {
    let file = ManifestFile {
        manifest_path: FILE.to_owned(),
        manifest_length: bytes.len() as i64,
        partition_spec_id: 0,
        content: ManifestContentType::Data,
        sequence_number: 1,
        min_sequence_number: 1,
        added_snapshot_id: 1,
        added_files_count: None,
        existing_files_count: None,
        deleted_files_count: None,
        added_rows_count: None,
        existing_rows_count: None,
        deleted_rows_count: None,
        partitions: None,
        key_metadata: None,
        first_row_id: None,
    };
    with_store(bytes, async |store| io::load_manifest(store, &ManifestCache::default(), &file).await)
        .map(drop)
        .map_err(text)
}

/// A Parquet data file, all of its rows.
pub fn data_file(bytes: &[u8]) -> Outcome {
    let metadata = table_metadata(FormatVersion::V2);
    let schema = metadata.current_schema().clone();
    let table = Table::new(ident(), Arc::new(metadata), FILE);
    let spec = ReadSpec::new(&table, &schema, &Projection::All, None).map_err(text)?;
    let file = DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(FILE.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .partition_spec_id(0)
        .record_count(ROWS)
        .file_size_in_bytes(bytes.len() as u64)
        .build()
        .expect("everything that has to be there is there");
    let live = LiveFile {
        file: &file,
        partition_spec_id: 0,
        data_sequence_number: 1,
        file_sequence_number: 1,
        added_snapshot_id: 1,
        manifest_path: "",
    };
    let task = ScanTask::without_deletes(&live);
    with_store(bytes, async |store| {
        let context = ReadContext::new(&Env { store: store.clone(), ..Env::in_memory(1) });
        let mut reader = FileReader::open(&context, &spec, &task).await.map_err(text)?;
        while reader.next().await.map_err(text)?.is_some() {}
        Ok(())
    })
}

/// A Parquet file's page indexes, as the copying rewrite reads them.
pub fn page_index(bytes: &[u8]) -> Outcome {
    let size = bytes.len() as u64;
    with_store(bytes, async |store| {
        let context = ReadContext::new(&Env { store: store.clone(), ..Env::in_memory(1) });
        let metadata = load_parquet(&context, FILE, size).await.map_err(text)?;
        load_page_indexes(&context, FILE, size, &metadata).await.map(drop).map_err(text)
    })
}

/// The blob of a deletion vector as it is; then its inside under a frame with the right length and checksum, which
/// damage would else not get past.
pub fn deletion_vector(bytes: &[u8]) -> Outcome {
    let outcome = decode_deletion_vector(bytes).map(drop).map_err(text);
    if let Some(body) = bytes.get(4..bytes.len().saturating_sub(4)) {
        let mut crc = flate2::Crc::new();
        crc.update(body);
        let framed = [&(body.len() as u32).to_be_bytes(), body, &crc.sum().to_be_bytes()].concat();
        drop(decode_deletion_vector(&framed));
    }
    outcome
}

/// A Puffin file of theta sketches.
pub fn statistics(bytes: &[u8]) -> Outcome {
    let file = StatisticsFile {
        snapshot_id: 1,
        statistics_path: FILE.to_owned(),
        file_size_in_bytes: bytes.len() as i64,
        file_footer_size_in_bytes: 0,
        key_metadata: None,
        blob_metadata: Vec::new(),
    };
    with_store(bytes, async |store| {
        let env = Env { store: store.clone(), ..Env::in_memory(1) };
        load_sketches(&env, &file).await.map(drop).map_err(text)
    })
}

/// The body of a commit by REST: parsed as the service parses it, and then tried on a table.
pub fn commit_body(bytes: &[u8]) -> Outcome {
    let body: serde_json::Value = serde_json::from_slice(bytes).map_err(text)?;
    let part = |name: &str| body.get(name).cloned().unwrap_or_default();
    let requirements = serde_json::from_value(part("requirements")).map_err(text)?;
    let updates = serde_json::from_value(part("updates")).map_err(text)?;
    RUNTIME.with(|runtime| {
        TABLE.with(|table| {
            let (catalog, table) = table.get_or_init(|| runtime.block_on(new_table()));
            let ident = table.ident().clone();
            let commit = TableCommit { ident, requirements, updates, idempotency_key: uuid::Uuid::new_v4() };
            runtime.block_on(catalog.commit(commit)).map(drop).map_err(text)
        })
    })
}

async fn new_table() -> (CatalogRef, Table) {
    let env = Env::in_memory(1);
    let catalog: CatalogRef = Arc::new(SqlCatalog::in_memory(env, "memory://w").await.expect("memory is there"));
    let namespace = NamespaceIdent::new("n".to_owned());
    catalog.create_namespace(&namespace, Default::default()).await.expect("the name is free");
    let creation = TableCreation::builder().name("t".to_owned()).schema(schema()).build();
    let table = catalog.create_table(&namespace, creation).await.expect("the name is free");
    (catalog, table)
}

/// Runs a decoder on a store that holds just the bytes.
pub fn with_store<T>(bytes: &[u8], decode: impl AsyncFnOnce(&Store) -> T) -> T {
    let bytes = Bytes::copy_from_slice(bytes);
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let store = Store::new();
            store.put(FILE, bytes).await.expect("memory takes every file");
            decode(&store).await
        })
    })
}

pub fn schema() -> Schema {
    serde_json::from_str(SCHEMA).expect("a schema by the specification")
}

fn table_metadata(version: FormatVersion) -> TableMetadata {
    let (spec, order) = (PartitionSpec::unpartition_spec(), SortOrder::unsorted_order());
    let location = "memory://w/t".to_owned();
    let builder = TableMetadataBuilder::new(schema(), spec, order, location, version, Default::default());
    builder.and_then(|builder| builder.build()).expect("the parts fit").metadata
}

fn ident() -> TableIdent {
    TableIdent::new(NamespaceIdent::new("n".to_owned()), "t".to_owned())
}

pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
