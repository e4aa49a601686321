//! A table of three columns behind the real catalog; its files are written by the writer and read by the reader.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema as ArrowSchema};
use frazil_catalog::{CatalogRef, CommitEnd, CommitRequest, Committed, Precheck, Retry, SqlCatalog, commit};
use frazil_reader::{ReadContext, ScanRequest, SnapshotSelector, load_scan, scan};
use frazil_storage::{Clock, Env, ManualClock, SystemClock};
use frazil_table::arrow::arrow_schema;
use frazil_table::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, FormatVersion, Literal, NamespaceIdent, Operation, Schema,
    Struct, TableCreation, TableIdent, Transform, UnboundPartitionSpec,
};
use frazil_table::{
    Change, CommitIdentity, CommitTarget, Conflict, ManifestCache, MetadataChange, RowDelta, SnapshotProperties, Table,
    TableFile, TableState, Validation, data_file_builder, io, row_lineage,
};
use frazil_writer::{TableWriter, WriterConfig};
use futures::TryStreamExt;
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use roaring::RoaringTreemap;

/// A row: `id`, `p`, `v`.
pub type Row = (i64, i32, &'static str);

const SCHEMA: &str = r#"{"type":"struct","fields":[
    {"id":1,"name":"id","required":true,"type":"long"},
    {"id":2,"name":"p","required":false,"type":"int"},
    {"id":3,"name":"v","required":false,"type":"string"}]}"#;

pub struct World {
    pub env: Env,
    pub catalog: CatalogRef,
    pub cache: ManifestCache,
    pub ident: TableIdent,
}

impl World {
    /// An unpartitioned table.
    pub async fn new(version: FormatVersion) -> Self {
        Self::with(version, UnboundPartitionSpec::builder().build()).await
    }

    /// A table that is partitioned by `p`.
    pub async fn partitioned(version: FormatVersion) -> Self {
        let spec = UnboundPartitionSpec::builder().add_partition_field(2, "p", Transform::Identity).unwrap();
        Self::with(version, spec.build()).await
    }

    async fn with(version: FormatVersion, spec: UnboundPartitionSpec) -> Self {
        // The metadata builder of the ground crate looks at the machine's clock: a world's clock is near it.
        let clock = Arc::new(ManualClock::at(SystemClock.now_ms()));
        let env = Env { clock, ..Env::in_memory(7) };
        let catalog: CatalogRef = Arc::new(SqlCatalog::in_memory(env.clone(), "memory://w").await.unwrap());
        let namespace = NamespaceIdent::new("db".to_owned());
        catalog.create_namespace(&namespace, Default::default()).await.unwrap();
        let ident = create(&catalog, "t", version, spec).await;
        Self { env, catalog, cache: ManifestCache::default(), ident }
    }

    /// The same table behind the same catalog.
    pub fn new_like(other: &Self) -> Self {
        let Self { env, catalog, cache, ident } = other;
        Self { env: env.clone(), catalog: catalog.clone(), cache: cache.clone(), ident: ident.clone() }
    }

    pub async fn table(&self) -> Table {
        self.catalog.load_table(&self.ident).await.unwrap()
    }

    /// The head of `main`.
    pub async fn head(&self) -> i64 {
        self.table().await.current_snapshot().unwrap().snapshot_id()
    }

    /// The state as it is stored: nothing comes from a cache.
    pub async fn state(&self) -> TableState {
        let cache = ManifestCache::default();
        io::load_state(&self.env.store, &cache, &self.table().await, io::Entries::All).await.unwrap()
    }

    /// Files with these rows, one for each partition, that are in no table yet.
    pub async fn write(&self, rows: &[Row]) -> Vec<TableFile> {
        let mut writer = TableWriter::new(self.env.clone(), &self.table().await, WriterConfig::default()).unwrap();
        let batch = batch(writer.schema(), rows);
        writer.write(batch).await.unwrap();
        writer.close().await.unwrap()
    }

    /// One file, as [`World::write`].
    pub async fn write_one(&self, rows: &[Row]) -> TableFile {
        let mut files = self.write(rows).await;
        assert_eq!(files.len(), 1, "the rows are of one partition");
        files.remove(0)
    }

    pub async fn try_commit_to(&self, target: CommitTarget, changes: &[Change]) -> frazil_catalog::Result<CommitEnd> {
        let identity = CommitIdentity::of(&self.env, changes);
        self.try_commit_as(identity, target, changes).await
    }

    pub async fn try_commit_as(
        &self,
        identity: CommitIdentity,
        target: CommitTarget,
        changes: &[Change],
    ) -> frazil_catalog::Result<CommitEnd> {
        let request = CommitRequest {
            ident: &self.ident,
            target,
            changes,
            identity,
            precheck: &|_| Precheck::Proceed,
            retry: Retry::default(),
        };
        commit(self.catalog.as_ref(), &self.env, &self.cache, request).await
    }

    /// Commits, or says why not.
    pub async fn try_commit(&self, changes: &[Change]) -> Result<Committed, Conflict> {
        match self.try_commit_to(CommitTarget::default(), changes).await.unwrap() {
            CommitEnd::Committed(committed) => Ok(committed),
            CommitEnd::Conflict(conflict) => Err(conflict),
            CommitEnd::AlreadyLanded(_) => unreachable!("nothing looks for that"),
        }
    }

    pub async fn commit(&self, changes: &[Change]) -> Committed {
        self.try_commit(changes).await.unwrap()
    }

    /// The message with which a change is refused that no state could take.
    pub async fn refusal(&self, changes: &[Change]) -> String {
        self.try_commit_to(CommitTarget::default(), changes).await.unwrap_err().to_string()
    }

    /// Appends rows as one file and returns it.
    pub async fn append(&self, rows: &[Row]) -> TableFile {
        let file = self.write_one(rows).await;
        self.commit(&[append(vec![file.clone()])]).await;
        file
    }

    /// A row delta on the head of `main`.
    pub async fn delta(&self, data_files: Vec<TableFile>, delete_files: Vec<TableFile>) -> Change {
        let validation = Validation::snapshot(Some(self.head().await));
        Change::RowDelta(RowDelta { data_files, delete_files, validation, ..RowDelta::default() })
    }

    /// A rewrite of these live files into others, worked out on the head of `main`.
    pub async fn rewrite(&self, removed: &[&TableFile], added: Vec<TableFile>) -> Change {
        let state = self.state().await;
        let live = state.live_data_files_by_path().unwrap();
        let numbers = removed.iter().map(|removed| live[removed.file.file_path()].data_sequence_number);
        Change::Replace {
            removed: removed.iter().map(|removed| path(removed)).collect(),
            data_sequence_number: numbers.max().unwrap(),
            added,
            base_snapshot_id: self.head().await,
            carried: None,
            properties: SnapshotProperties::new(),
        }
    }

    /// `id`s of all rows, sorted, as the reader gives them.
    pub async fn ids(&self) -> Vec<i64> {
        self.rows_of(SnapshotSelector::Latest).await.into_iter().map(|(id, _, _)| id).collect()
    }

    /// All rows of a snapshot, sorted.
    pub async fn rows_of(&self, snapshot: SnapshotSelector) -> Vec<(i64, Option<i32>, String)> {
        let context = ReadContext::new(&self.env);
        let request = ScanRequest { snapshot, ..ScanRequest::default() };
        let plan = load_scan(&context, &self.table().await, &request).await.unwrap();
        let batches: Vec<RecordBatch> = scan(&context, &plan, 2).try_collect().await.unwrap();
        let mut rows = Vec::new();
        for batch in &batches {
            let p = cast(batch.column(1), &DataType::Int32).unwrap();
            let (id, p) = (batch.column(0).as_primitive::<Int64Type>(), p.as_primitive::<Int32Type>());
            let v = batch.column(2).as_string::<i32>();
            rows.extend(id.iter().zip(p).zip(v).map(|((id, p), v)| (id.unwrap(), p, v.unwrap_or_default().to_owned())));
        }
        rows.sort();
        rows
    }

    /// The summary of the head.
    pub async fn summary(&self) -> HashMap<String, String> {
        self.table().await.current_snapshot().unwrap().summary().additional_properties.clone()
    }

    pub async fn operation(&self) -> Operation {
        self.table().await.current_snapshot().unwrap().summary().operation.clone()
    }

    /// Live delete files by path, with their data sequence numbers.
    pub async fn live_deletes(&self) -> Vec<(String, i64)> {
        let state = self.state().await;
        let live = state.live_delete_files().unwrap();
        live.iter().map(|live| (live.file.file_path().to_owned(), live.data_sequence_number)).collect()
    }

    /// A position delete file of rows of one data file, which it names.
    pub async fn positions(&self, of: &TableFile, positions: &[i64]) -> TableFile {
        let places: Vec<_> = positions.iter().map(|position| (of, *position)).collect();
        let data_file = path(of);
        self.position_deletes(&places, |builder| {
            builder.referenced_data_file(Some(data_file));
        })
        .await
    }

    /// A position delete file of rows of some data files of one partition.
    pub async fn wide_positions(&self, places: &[(&TableFile, i64)]) -> TableFile {
        self.position_deletes(places, |_| {}).await
    }

    async fn position_deletes(
        &self,
        places: &[(&TableFile, i64)],
        set: impl FnOnce(&mut DataFileBuilder),
    ) -> TableFile {
        const SCHEMA: &str = r#"{"type":"struct","fields":[
            {"id":2147483546,"name":"file_path","required":true,"type":"string"},
            {"id":2147483545,"name":"pos","required":true,"type":"long"}]}"#;
        let schema = Arc::new(arrow_schema(&parse(SCHEMA)).unwrap());
        let mut places: Vec<_> = places.iter().map(|(file, position)| (path(file), *position)).collect();
        places.sort();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(places.iter().map(|(path, _)| path))),
            Arc::new(Int64Array::from_iter_values(places.iter().map(|(_, position)| *position))),
        ];
        let bytes = encode(&RecordBatch::try_new(schema, columns).unwrap());
        let of = self.live_or_new(&places[0].0).await;
        self.store_delete(bytes, places.len(), &of, |builder| {
            builder.content(DataContentType::PositionDeletes);
            set(builder);
        })
        .await
    }

    /// An equality delete file of `id`s, in the partition of a file.
    pub async fn equality(&self, ids: &[i64], like: &TableFile) -> TableFile {
        self.equality_by(1, "id", Arc::new(Int64Array::from(ids.to_vec())), like).await
    }

    /// An equality delete file of values of one column, in the partition of a file.
    pub async fn equality_by(&self, id: i32, name: &str, values: ArrayRef, like: &TableFile) -> TableFile {
        let id_of_field = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
        let field = Field::new(name, values.data_type().clone(), true).with_metadata(id_of_field);
        let count = values.len();
        let bytes = encode(&RecordBatch::try_new(Arc::new(ArrowSchema::new(vec![field])), vec![values]).unwrap());
        let place = (like.partition_spec_id, like.file.partition().clone());
        self.store_delete(bytes, count, &place, |builder| {
            builder.content(DataContentType::EqualityDeletes).equality_ids(Some(vec![id]));
        })
        .await
    }

    /// A deletion vector of rows of one data file.
    pub async fn vector(&self, of: &TableFile, positions: &[u64]) -> TableFile {
        self.vectors(&[(of, positions)]).await.remove(0)
    }

    /// Deletion vectors in one Puffin file.
    pub async fn vectors(&self, of: &[(&TableFile, &[u64])]) -> Vec<TableFile> {
        let location = self.new_location().await;
        let mut bytes = b"PFA1".to_vec();
        let mut places = Vec::new();
        for (_, positions) in of {
            let blob = vector_blob(positions);
            places.push((bytes.len() as i64, blob.len() as i64));
            bytes.extend_from_slice(&blob);
        }
        let size = bytes.len();
        self.env.store.put_new(&location, bytes.into()).await.unwrap();
        let vectors = of.iter().zip(places).map(|((file, positions), (offset, length))| {
            let place = (file.partition_spec_id, file.file.partition().clone());
            delete_file(&location, positions.len(), size, &place, |builder| {
                builder
                    .content(DataContentType::PositionDeletes)
                    .file_format(DataFileFormat::Puffin)
                    .referenced_data_file(Some(path(file)))
                    .content_offset(Some(offset))
                    .content_size_in_bytes(Some(length));
            })
        });
        vectors.collect()
    }

    async fn new_location(&self) -> String {
        format!("{}/data/{}.delete", self.table().await.metadata().location(), self.env.ids.uuid())
    }

    async fn store_delete(
        &self,
        bytes: Vec<u8>,
        rows: usize,
        place: &(i32, Struct),
        set: impl FnOnce(&mut DataFileBuilder),
    ) -> TableFile {
        let location = self.new_location().await;
        let file = delete_file(&location, rows, bytes.len(), place, set);
        self.env.store.put_new(&location, bytes.into()).await.unwrap();
        file
    }

    /// Where a data file lies: its partition if it is live, else that of the only partition there is.
    async fn live_or_new(&self, path: &str) -> (i32, Struct) {
        let state = self.state().await;
        let live = state.live_data_files_by_path().unwrap();
        let spec_id = state.table().metadata().default_partition_spec_id();
        live.get(path)
            .map_or_else(|| (spec_id, Struct::empty()), |live| (live.partition_spec_id, live.file.partition().clone()))
    }

    pub async fn set_properties(&self, properties: &[(&str, &str)]) {
        let properties = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        self.commit(&[Change::SetProperties(properties.collect())]).await;
    }

    pub async fn evolve(&self, change: MetadataChange) {
        self.commit(&[Change::Metadata(change)]).await;
    }
}

fn delete_file(
    location: &str,
    rows: usize,
    size: usize,
    (partition_spec_id, partition): &(i32, Struct),
    set: impl FnOnce(&mut DataFileBuilder),
) -> TableFile {
    let mut builder = DataFileBuilder::default();
    builder
        .file_path(location.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(partition.clone())
        .partition_spec_id(*partition_spec_id)
        .record_count(rows as u64)
        .file_size_in_bytes(size as u64);
    set(&mut builder);
    TableFile { file: builder.build().unwrap(), partition_spec_id: *partition_spec_id }
}

/// A blob as the Puffin specification has it.
fn vector_blob(positions: &[u64]) -> Vec<u8> {
    let mut body = vec![0xd1, 0xd3, 0x39, 0x64];
    RoaringTreemap::from_iter(positions.iter().copied()).serialize_into(&mut body).unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let mut blob = (body.len() as u32).to_be_bytes().to_vec();
    blob.extend_from_slice(&body);
    blob.extend_from_slice(&crc.sum().to_be_bytes());
    blob
}

/// Makes a table of [`SCHEMA`] in `db`.
pub async fn create(
    catalog: &CatalogRef,
    name: &str,
    version: FormatVersion,
    spec: UnboundPartitionSpec,
) -> TableIdent {
    let creation = TableCreation::builder()
        .name(name.to_owned())
        .schema(parse(SCHEMA))
        .partition_spec(spec)
        .format_version(version)
        .build();
    let namespace = NamespaceIdent::new("db".to_owned());
    catalog.create_table(&namespace, creation).await.unwrap().ident().clone()
}

pub fn append(files: Vec<TableFile>) -> Change {
    Change::Append { files, properties: SnapshotProperties::new() }
}

pub fn path(file: &TableFile) -> String {
    file.file.file_path().to_owned()
}

pub fn partition(p: i32) -> Struct {
    Struct::from_iter([Some(Literal::int(p))])
}

/// The file as a rewrite in format version 3 hands it over: with the lineage columns among its metrics.
pub fn with_lineage(file: &TableFile) -> TableFile {
    let mut sizes = file.file.column_sizes().clone();
    sizes.insert(row_lineage::ROW_ID, 8);
    sizes.insert(row_lineage::LAST_UPDATED_SEQUENCE_NUMBER, 8);
    let mut builder = data_file_builder(&file.file, file.partition_spec_id);
    let described = builder.first_row_id(None).column_sizes(sizes).build().unwrap();
    TableFile { file: described, partition_spec_id: file.partition_spec_id }
}

fn parse(json: &str) -> Schema {
    serde_json::from_str(json).unwrap()
}

fn batch(schema: &Arc<ArrowSchema>, rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        // The test may have made it a long.
        cast(&Int32Array::from_iter_values(rows.iter().map(|row| row.1)), schema.field(1).data_type()).unwrap(),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

fn encode(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}
