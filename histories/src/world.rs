//! A table in a world of its own: memory for files, a catalog in memory, the production writer, commit loop and reader.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef as ArrowSchemaRef};
use frazil_catalog::{CatalogRef, CommitEnd, CommitQueue, CommitRequest, Precheck, Retry, SqlCatalog};
use frazil_reader::{ReadContext, ScanRequest, SnapshotSelector, load_scan, scan};
use frazil_storage::{Clock, Env, ManualClock, SystemClock};
use frazil_table::arrow::{arrow_schema, field_id};
use frazil_table::row_lineage::{LAST_UPDATED_SEQUENCE_NUMBER, ROW_ID};
use frazil_table::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, NamespaceIdent, NestedField,
    PrimitiveType, Schema, TableCreation, TableIdent, Type,
};
use frazil_table::{Change, CommitIdentity, CommitTarget, Table, TableFile, TableState, io};
use frazil_writer::{FileIdentity, MetricsConfig, MetricsMode, NanCounts, Rewriter, TableWriter, WriterConfig};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaDataReader;

use crate::model::{Partition, Row, Rows};
use crate::value::{Val, of_batch, to_batch};

/// The field id of the column that holds each row's key.
pub const KEY: i32 = 1;

/// More than a history lasts by its own clock.
const BEHIND_MS: i64 = 20_000;

/// Field ids of position delete files (Iceberg spec, "Reserved Field IDs").
const POSITION_SCHEMA: &str = r#"{"type":"struct","fields":[
    {"id":2147483546,"name":"file_path","required":true,"type":"string"},
    {"id":2147483545,"name":"pos","required":true,"type":"long"}]}"#;

pub struct World {
    pub env: Env,
    pub clock: Arc<ManualClock>,
    pub catalog: CatalogRef,
    pub context: ReadContext,
    pub table: Table,
    /// Of the compactor.
    pub queue: CommitQueue,
    own_files: u32,
    files: HashMap<Arc<str>, Contents>,
    origins: u64,
}

/// What a data file holds, row by row.
struct Contents {
    rows: Vec<Val>,
    /// The row ids of its column `_row_id`, if it has one.
    row_ids: Option<Vec<Option<i64>>>,
}

impl World {
    pub async fn new(seed: u64, warehouse: &str, creation: TableCreation) -> Self {
        // The metadata builder of the ground crate looks at the machine's clock: a world's clock is near it. And behind it
        // for all of a history: DuckDB reads a table as it was when the query began, by the times of its snapshots.
        let clock = Arc::new(ManualClock::at(SystemClock.now_ms() - BEHIND_MS));
        let env = Env { clock: clock.clone(), ..Env::in_memory(seed) };
        let catalog: CatalogRef = Arc::new(SqlCatalog::in_memory(env.clone(), warehouse).await.unwrap());
        let namespace = NamespaceIdent::new("h".to_owned());
        catalog.create_namespace(&namespace, Default::default()).await.unwrap();
        let table = catalog.create_table(&namespace, creation).await.unwrap();
        let context = ReadContext::new(&env);
        let queue = CommitQueue::new(catalog.clone(), env.clone(), table.ident().clone());
        Self { env, clock, catalog, context, table, queue, own_files: 0, files: HashMap::new(), origins: 0 }
    }

    pub fn ident(&self) -> &TableIdent {
        self.table.ident()
    }

    pub fn version(&self) -> FormatVersion {
        self.table.metadata().format_version()
    }

    /// Empties the caches.
    pub fn forget(&mut self) {
        self.context = ReadContext::new(&self.env);
    }

    pub async fn refresh(&mut self) {
        self.table = self.catalog.load_table(&self.ident().clone()).await.unwrap();
    }

    /// One commit, by the loop that everybody uses.
    pub async fn commit(&self, branch: &str, changes: &[Change]) -> frazil_catalog::Result<CommitEnd> {
        let request = CommitRequest {
            ident: self.ident(),
            target: CommitTarget::Branch(branch.to_owned()),
            changes,
            identity: CommitIdentity::of(&self.env, changes),
            precheck: &|_| Precheck::Proceed,
            retry: Retry { retries_max: 50, wait_ms_min: 1, wait_ms_max: 2 },
        };
        frazil_catalog::commit(self.catalog.as_ref(), &self.env, &self.context.manifests, request).await
    }

    /// The table at a snapshot of a branch.
    pub async fn state(&self, branch: &str, snapshot_id: Option<i64>) -> TableState {
        let snapshot = snapshot_id.map(|id| self.table.metadata().snapshot_by_id(id).unwrap().clone());
        let (store, cache) = (&self.env.store, &self.context.manifests);
        io::load_state_at(store, cache, &self.table, branch, snapshot, io::Entries::All).await.unwrap()
    }

    /// Writes rows as the table's writers do. The rows come back with their places.
    pub async fn write(&mut self, rows: &[Val]) -> (Vec<TableFile>, Rows) {
        if rows.is_empty() {
            return (Vec::new(), Rows::new());
        }
        let mut writer = TableWriter::new(self.env.clone(), &self.table, WriterConfig::default()).unwrap();
        writer.write(to_batch(writer.schema(), &rows.iter().collect::<Vec<_>>())).await.unwrap();
        let files = writer.close().await.unwrap();
        let placed = self.place(rows, &files, None).await;
        (files, placed)
    }

    /// Writes rows into one file of a partition, as a rewrite does. `row_ids`: into the lineage columns.
    pub async fn rewrite(
        &mut self,
        rows: &[Val],
        of: &Partition,
        row_ids: Option<Vec<Option<i64>>>,
    ) -> (Vec<TableFile>, Rows) {
        let file = match &row_ids {
            None => {
                let (env, config) = (self.env.clone(), WriterConfig::default());
                let mut writer = Rewriter::new(env, &self.table, config, of.0, of.1.clone()).unwrap();
                let arrow = Arc::new(arrow_schema(self.table.metadata().current_schema()).unwrap());
                writer.write(to_batch(&arrow, &rows.iter().collect::<Vec<_>>())).await.unwrap();
                writer.close().await.unwrap().expect("there are rows")
            }
            Some(row_ids) => self.write_with_lineage(rows, of, row_ids).await,
        };
        let files = vec![file];
        let placed = self.place(rows, &files, row_ids).await;
        (files, placed)
    }

    async fn write_with_lineage(&mut self, rows: &[Val], of: &Partition, row_ids: &[Option<i64>]) -> TableFile {
        let long = |id, name: &str| NestedField::optional(id, name, Type::Primitive(PrimitiveType::Long)).into();
        let mut fields = self.table.metadata().current_schema().as_struct().fields().to_vec();
        fields.push(long(ROW_ID, "_row_id"));
        fields.push(long(LAST_UPDATED_SEQUENCE_NUMBER, "_last_updated_sequence_number"));
        let schema = Schema::builder().with_fields(fields).build().unwrap();
        let rows: Vec<Val> = rows.iter().zip(row_ids).map(|(row, row_id)| row.with_row_id(*row_id)).collect();
        let bytes = encode(&Arc::new(arrow_schema(&schema).unwrap()), &rows);
        let (path, size) = self.store("parquet", bytes.clone()).await;
        let file = measure(&path, size, of, &schema, bytes);
        TableFile { file, partition_spec_id: of.0 }
    }

    /// Which of the rows that were given to the writer is where.
    async fn place(&mut self, rows: &[Val], files: &[TableFile], row_ids: Option<Vec<Option<i64>>>) -> Rows {
        let by_key: HashMap<i64, &Val> = rows.iter().map(|row| (key_of(row), row)).collect();
        let mut placed = Rows::new();
        for file in files {
            let path: Arc<str> = file.file.file_path().into();
            let stored: Vec<&Val> = self.keys_of(&path).await.iter().map(|key| by_key[key]).collect();
            for (position, values) in (0..).zip(&stored) {
                let partition: Partition = (file.partition_spec_id, file.file.partition().clone());
                self.origins += 1;
                let origin = (self.version() == FormatVersion::V3).then_some(self.origins);
                let row = Row { values: (*values).clone(), file: path.clone(), position, partition, origin };
                placed.insert(key_of(values), row);
            }
            let rows = stored.into_iter().cloned().collect();
            self.files.insert(path, Contents { rows, row_ids: row_ids.clone() });
        }
        assert_eq!(placed.len(), rows.len(), "the writer wrote other rows than it was given");
        placed
    }

    /// The rows of a data file that somebody else wrote, by its own keys and row ids. `known`: what rows with these keys hold.
    pub async fn place_stored(&mut self, file: &TableFile, known: &HashMap<i64, Val>) -> Rows {
        let path: Arc<str> = file.file.file_path().into();
        let keys = self.keys_of(&path).await;
        let partition: Partition = (file.partition_spec_id, file.file.partition().clone());
        let row = |(position, key): (i64, &i64)| {
            let values = known.get(key).unwrap_or_else(|| panic!("{path} holds row {key}, which is not there")).clone();
            (*key, Row { values, file: path.clone(), position, partition: partition.clone(), origin: None })
        };
        let placed: Rows = (0..).zip(&keys).map(row).collect();
        assert_eq!(placed.len(), keys.len(), "{path} holds a row twice");
        let rows = keys.iter().map(|key| known[key].clone()).collect();
        let row_ids = self.column_of(&path, ROW_ID).await;
        self.files.insert(path, Contents { rows, row_ids });
        placed
    }

    /// The live rows of files that were copied together, deleted ones too, by the places that they have then.
    pub async fn place_copies(&mut self, file: &TableFile, inputs: &[&str], live: &Rows) -> Rows {
        let path: Arc<str> = file.file.file_path().into();
        let (mut placed, mut rows) = (Rows::new(), Vec::new());
        for input in inputs {
            let first = rows.len() as i64;
            for (key, row) in live.iter().filter(|(_, row)| *row.file == **input) {
                placed.insert(*key, Row { file: path.clone(), position: first + row.position, ..row.clone() });
            }
            rows.extend(self.files[*input].rows.iter().cloned());
        }
        assert_eq!(self.keys_of(&path).await, rows.iter().map(key_of).collect::<Vec<_>>(), "{path} is no copy");
        let row_ids = self.column_of(&path, ROW_ID).await;
        self.files.insert(path, Contents { rows, row_ids });
        placed
    }

    /// All rows of a data file, deleted ones too, as they were written.
    pub fn rows_of(&self, path: &str) -> &[Val] {
        &self.files[path].rows
    }

    /// The id of a row of a data file whose first row id is `first`.
    pub fn row_id(&self, path: &str, position: i64, first: Option<i64>) -> Option<i64> {
        let own = self.files[path].row_ids.as_ref().and_then(|ids| ids[position as usize]);
        own.or_else(|| Some(first? + position))
    }

    /// The keys in a data file, read without the reader that is tried.
    async fn keys_of(&self, path: &str) -> Vec<i64> {
        let keys = self.column_of(path, KEY).await.expect("every file has keys");
        keys.into_iter().map(|key| key.expect("every row has a key")).collect()
    }

    /// What a position delete file holds, read without the reader that is tried.
    pub async fn places_in(&self, path: &str) -> Vec<(String, i64)> {
        let rows = self.column_of(path, 2147483545).await.expect("it has positions");
        let bytes = self.env.store.read(path).await.unwrap();
        let batches = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let paths = batches.flat_map(|batch| {
            let batch = batch.unwrap();
            let index = batch.schema().fields().iter().position(|field| field_id(field) == Some(2147483546));
            let paths = batch.column(index.expect("it has paths")).as_string::<i32>().clone();
            paths.iter().map(|path| path.expect("no path is null").to_owned()).collect::<Vec<_>>()
        });
        paths.zip(rows.into_iter().flatten()).collect()
    }

    /// A column of longs in a data file, if it has it, read without the reader that is tried.
    async fn column_of(&self, path: &str, id: i32) -> Option<Vec<Option<i64>>> {
        let bytes = self.env.store.read(path).await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        let index = reader.schema().fields().iter().position(|field| field_id(field) == Some(id))?;
        let batches = reader.build().unwrap();
        let values = |batch: RecordBatch| batch.column(index).as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
        Some(batches.flat_map(|batch| values(batch.unwrap())).collect())
    }

    /// A position delete file. `named`: whether it says that it is of one data file.
    pub async fn position_deletes(
        &mut self,
        places: &[(String, i64)],
        partition: &Partition,
        named: bool,
    ) -> TableFile {
        let schema: Schema = serde_json::from_str(POSITION_SCHEMA).unwrap();
        let rows: Vec<Val> = places
            .iter()
            .map(|(path, at)| {
                Val::Struct([(2147483546, Val::Text(path.clone())), (2147483545, Val::Int((*at).into()))].into())
            })
            .collect();
        let arrow = Arc::new(arrow_schema(&schema).unwrap());
        let bytes = encode(&arrow, &rows);
        let (path, size) = self.store("parquet", bytes.clone()).await;
        let measured = measure(&path, size, partition, &schema, bytes);
        let mut builder = delete_builder(&path, size, partition, places.len());
        builder
            .content(DataContentType::PositionDeletes)
            .file_format(DataFileFormat::Parquet)
            .lower_bounds(measured.lower_bounds().clone())
            .upper_bounds(measured.upper_bounds().clone())
            .referenced_data_file(named.then(|| places[0].0.clone()));
        TableFile { file: builder.build().unwrap(), partition_spec_id: partition.0 }
    }

    /// A deletion vector in a Puffin file of its own.
    pub async fn deletion_vector(&mut self, path: &str, positions: &[i64], partition: &Partition) -> TableFile {
        let blob = crate::puffin::vector(positions);
        let bytes = crate::puffin::file(path, &blob, positions.len());
        let (puffin, size) = self.store("puffin", bytes).await;
        let mut builder = delete_builder(&puffin, size, partition, positions.len());
        builder
            .content(DataContentType::PositionDeletes)
            .file_format(DataFileFormat::Puffin)
            .referenced_data_file(Some(path.to_owned()))
            .content_offset(Some(4))
            .content_size_in_bytes(Some(blob.len() as i64));
        TableFile { file: builder.build().unwrap(), partition_spec_id: partition.0 }
    }

    /// An equality delete file of tuples of some leaves.
    pub async fn equality_deletes(
        &mut self,
        schema: &ArrowSchemaRef,
        ids: Vec<i32>,
        rows: &[Val],
        of: &Partition,
    ) -> TableFile {
        let (path, size) = self.store("parquet", encode(schema, rows)).await;
        let mut builder = delete_builder(&path, size, of, rows.len());
        builder.content(DataContentType::EqualityDeletes).file_format(DataFileFormat::Parquet).equality_ids(Some(ids));
        TableFile { file: builder.build().unwrap(), partition_spec_id: of.0 }
    }

    async fn store(&mut self, extension: &str, bytes: Vec<u8>) -> (String, u64) {
        self.own_files += 1;
        let path = format!("{}/data/other-{}.{extension}", self.table.metadata().location(), self.own_files);
        let size = bytes.len() as u64;
        self.env.store.put_new(&path, bytes.into()).await.unwrap();
        (path, size)
    }

    /// The rows of a state, sorted.
    pub async fn read(&self, snapshot: SnapshotSelector) -> frazil_reader::Result<Vec<String>> {
        let request = ScanRequest { snapshot, ..ScanRequest::default() };
        let plan = load_scan(&self.context, &self.table, &request).await?;
        let batches: Vec<_> = scan(&self.context, &plan, 1).try_collect().await?;
        let mut rows: Vec<String> = batches.iter().flat_map(of_batch).map(|row| row.to_string()).collect();
        rows.sort_unstable();
        Ok(rows)
    }
}

pub fn key_of(row: &Val) -> i64 {
    match row.at(&[KEY]) {
        Val::Int(key) => key as i64,
        other => panic!("a row has the key {other}"),
    }
}

fn delete_builder(path: &str, size: u64, partition: &Partition, rows: usize) -> DataFileBuilder {
    let mut builder = DataFileBuilder::default();
    builder
        .file_path(path.to_owned())
        .partition(partition.1.clone())
        .partition_spec_id(partition.0)
        .record_count(rows as u64)
        .file_size_in_bytes(size);
    builder
}

/// The entry of a Parquet file, with all that it says of itself.
fn measure(path: &str, size_bytes: u64, of: &Partition, schema: &Schema, bytes: Vec<u8>) -> DataFile {
    let parquet = ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::from(bytes)).unwrap();
    let (partition_spec_id, partition) = of.clone();
    let identity = FileIdentity { location: path, size_bytes, partition_spec_id, partition, sort_order_id: None };
    let metrics = MetricsConfig::uniform(schema, MetricsMode::Full);
    frazil_writer::data_file_from_parquet(&parquet, identity, schema, &metrics, NanCounts::Unknown)
}

fn encode(schema: &ArrowSchemaRef, rows: &[Val]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema.clone(), None).unwrap();
    writer.write(&to_batch(schema, &rows.iter().collect::<Vec<_>>())).unwrap();
    writer.close().unwrap();
    bytes
}
