//! A table in a world of its own: memory for files, a catalog in memory, rows as JSON.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use frazil_catalog::{CatalogRef, CommitEnd, CommitOutcome, CommitRequest, Precheck, Retry, SqlCatalog, TableCommit};
use frazil_storage::{Clock, Env, ManualClock, SystemClock};
use frazil_table::arrow::arrow_schema;
use frazil_table::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, FormatVersion, NamespaceIdent, Schema, SnapshotReference,
    SnapshotRetention, Struct, TableCreation, TableIdent, TableUpdate, UnboundPartitionSpec,
};
use frazil_table::{Change, CommitIdentity, RowDelta, Table, TableFile, Validation, io};
use frazil_writer::{FileIdentity, MetricsConfig, MetricsMode, NanCounts, data_file_from_parquet};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::properties::WriterProperties;
use serde_json::Value;

use crate::{Predicate, Projection, ReadContext, ReadStats, Result, ScanPlan, ScanRequest, load_scan, scan};

pub(crate) struct World {
    pub env: Env,
    pub catalog: CatalogRef,
    pub context: ReadContext,
    pub ident: TableIdent,
    pub table: Table,
    files: u32,
}

impl World {
    pub(crate) async fn new(schema: &str) -> Self {
        Self::with(schema, None, FormatVersion::V2, &[]).await
    }

    pub(crate) async fn with(
        schema: &str,
        partition_spec: Option<UnboundPartitionSpec>,
        version: FormatVersion,
        properties: &[(&str, &str)],
    ) -> Self {
        // The metadata builder of the ground crate looks at the machine's clock: a world's clock is near it.
        let clock = Arc::new(ManualClock::at(SystemClock.now_ms()));
        let env = Env { clock, ..Env::in_memory(7) };
        let catalog: CatalogRef = Arc::new(SqlCatalog::in_memory(env.clone(), "memory://w").await.unwrap());
        let namespace = NamespaceIdent::new("db".to_owned());
        catalog.create_namespace(&namespace, Default::default()).await.unwrap();
        let properties: HashMap<String, String> =
            properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let creation = TableCreation::builder()
            .name("t".to_owned())
            .schema(parse_schema(schema))
            .partition_spec_opt(partition_spec)
            .format_version(version)
            .properties(properties)
            .build();
        let table = catalog.create_table(&namespace, creation).await.unwrap();
        let context = ReadContext::new(&env);
        Self { env, catalog, context, ident: table.ident().clone(), table, files: 0 }
    }

    pub(crate) fn schema(&self) -> Arc<Schema> {
        self.table.metadata().current_schema().clone()
    }

    pub(crate) fn next_path(&mut self) -> String {
        self.files += 1;
        // Names do not sort in the order in which they are made.
        format!("{}/data/{:03}-{}.parquet", self.table.metadata().location(), self.files * 7919 % 1000, self.files)
    }

    /// A stored data file of the current schema, with bounds, not in the table yet.
    pub(crate) async fn write(&mut self, rows: &[Value], group_rows: usize, partition: Struct) -> TableFile {
        let schema = self.schema();
        let batch = to_batch(&Arc::new(arrow_schema(&schema).unwrap()), rows);
        let bytes = encode(&batch, group_rows);
        self.store(bytes, &schema, partition).await
    }

    pub(crate) async fn store(&mut self, bytes: Vec<u8>, schema: &Schema, partition: Struct) -> TableFile {
        let path = self.next_path();
        let metadata = parquet_metadata(&bytes);
        let partition_spec_id = self.table.metadata().default_partition_spec_id();
        let identity = FileIdentity {
            location: &path,
            size_bytes: bytes.len() as u64,
            partition_spec_id,
            partition,
            sort_order_id: None,
        };
        let metrics = MetricsConfig::uniform(schema, MetricsMode::Truncate(16));
        let file = data_file_from_parquet(&metadata, identity, schema, &metrics, NanCounts::Unknown);
        self.env.store.put_new(&path, bytes.into()).await.unwrap();
        TableFile { file, partition_spec_id }
    }

    /// Appends one file with these rows. Returns the snapshot.
    pub(crate) async fn append(&mut self, rows: &[Value]) -> i64 {
        let file = self.write(rows, usize::MAX, Struct::empty()).await;
        self.append_files(vec![file]).await
    }

    pub(crate) async fn append_files(&mut self, files: Vec<TableFile>) -> i64 {
        self.change(Change::Append { files, properties: Default::default() }).await
    }

    pub(crate) async fn change(&mut self, change: Change) -> i64 {
        let end = frazil_catalog::commit(
            self.catalog.as_ref(),
            &self.env,
            &self.context.manifests,
            CommitRequest {
                ident: &self.ident,
                target: Default::default(),
                changes: std::slice::from_ref(&change),
                identity: CommitIdentity::of(&self.env, std::slice::from_ref(&change)),
                precheck: &|_| Precheck::Proceed,
                retry: Retry::default(),
            },
        );
        match end.await.unwrap() {
            CommitEnd::Committed(committed) => {
                self.table = committed.table;
                committed.snapshot_ids.first().copied().unwrap_or(0)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Rewrites live files into others with the same rows.
    pub(crate) async fn replace(&mut self, removed: Vec<String>, added: Vec<TableFile>) -> i64 {
        let state = self.state().await;
        let live = state.live_data_files_by_path().unwrap();
        let number = removed.iter().map(|path| live[path.as_str()].data_sequence_number).max().unwrap();
        self.change(Change::Replace {
            removed,
            added,
            data_sequence_number: number,
            base_snapshot_id: self.table.current_snapshot().unwrap().snapshot_id(),
            carried: None,
            properties: Default::default(),
        })
        .await
    }

    pub(crate) async fn state(&self) -> frazil_table::TableState {
        io::load_state(&self.env.store, &self.context.manifests, &self.table, io::Entries::All).await.unwrap()
    }

    /// A snapshot with delete files and data files.
    pub(crate) async fn row_delta(&mut self, data_files: Vec<TableFile>, delete_files: Vec<TableFile>) -> i64 {
        let head = self.table.current_snapshot().map(|snapshot| snapshot.snapshot_id());
        let validation = Validation::snapshot(head);
        self.change(Change::RowDelta(RowDelta { data_files, delete_files, validation, ..RowDelta::default() })).await
    }

    pub(crate) async fn update(&mut self, updates: Vec<TableUpdate>) {
        let commit = TableCommit {
            ident: self.ident.clone(),
            requirements: Vec::new(),
            updates,
            idempotency_key: self.env.ids.uuid(),
        };
        match self.catalog.commit(commit).await.unwrap() {
            CommitOutcome::Committed(table) => self.table = table,
            other => panic!("{other:?}"),
        }
    }

    /// Another schema becomes the current one. Field ids are as given.
    pub(crate) async fn evolve(&mut self, schema: &str) {
        let schema = parse_schema(schema);
        let updates = vec![TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: -1 }];
        self.update(updates).await;
    }

    /// Moves `main` back, or a tag anywhere.
    pub(crate) async fn set_ref(&mut self, name: &str, snapshot_id: i64) {
        let retention = match name {
            "main" => SnapshotRetention::branch(None, None, None),
            _ => SnapshotRetention::Tag { max_ref_age_ms: None },
        };
        let reference = SnapshotReference::new(snapshot_id, retention);
        self.update(vec![TableUpdate::SetSnapshotRef { ref_name: name.to_owned(), reference }]).await;
    }

    pub(crate) async fn expire(&mut self, snapshot_ids: Vec<i64>) {
        self.update(vec![TableUpdate::RemoveSnapshots { snapshot_ids }]).await;
    }

    pub(crate) async fn plan(&self, request: &ScanRequest) -> ScanPlan {
        load_scan(&self.context, &self.table, request).await.unwrap()
    }

    pub(crate) async fn try_rows(&self, request: &ScanRequest) -> Result<Vec<Value>> {
        let plan = load_scan(&self.context, &self.table, request).await?;
        let batches: Vec<RecordBatch> = scan(&self.context, &plan, 3).try_collect().await?;
        for batch in &batches {
            assert_eq!(batch.schema(), *plan.spec.projected().arrow());
        }
        Ok(sorted(to_rows(&batches)))
    }

    /// All rows of a request, sorted.
    pub(crate) async fn rows(&self, request: &ScanRequest) -> Vec<Value> {
        self.try_rows(request).await.unwrap()
    }

    /// The rows of some columns, and what they cost with every cache cold but the manifests'.
    pub(crate) async fn cost(&self, request: &ScanRequest) -> (Vec<Value>, ReadStats) {
        let context = ReadContext::with_manifests(&self.env, &self.context.manifests);
        let plan = load_scan(&context, &self.table, request).await.unwrap();
        let batches: Vec<RecordBatch> = scan(&context, &plan, 1).try_collect().await.unwrap();
        (to_rows(&batches), context.stats())
    }

    /// A position delete file.
    pub(crate) async fn position_deletes(&mut self, positions: &[(&str, i64)], only: Option<&str>) -> TableFile {
        let schema = parse_schema(
            r#"{"type":"struct","fields":[
            {"id":2147483546,"name":"file_path","required":true,"type":"string"},
            {"id":2147483545,"name":"pos","required":true,"type":"long"}]}"#,
        );
        let rows: Vec<Value> =
            positions.iter().map(|(path, row)| serde_json::json!({"file_path": path, "pos": row})).collect();
        let batch = to_batch(&Arc::new(arrow_schema(&schema).unwrap()), &rows);
        let bytes = encode(&batch, usize::MAX);
        self.store_delete(bytes, positions.len(), |builder| {
            builder.content(DataContentType::PositionDeletes).referenced_data_file(only.map(str::to_owned));
        })
        .await
    }

    /// An equality delete file of some columns of the current schema.
    pub(crate) async fn equality_deletes(&mut self, columns: &[&str], rows: &[Value]) -> TableFile {
        let paths = Projection::paths(columns.iter().copied());
        let projected = crate::project(&self.schema(), &paths).unwrap();
        let ids = columns.iter().map(|name| self.schema().field_id_by_name(name).unwrap()).collect();
        let optional: Vec<_> =
            projected.arrow().fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let bytes = encode(&to_batch(&Arc::new(ArrowSchema::new(optional)), rows), usize::MAX);
        self.store_delete(bytes, rows.len(), |builder| {
            builder.content(DataContentType::EqualityDeletes).equality_ids(Some(ids));
        })
        .await
    }

    pub(crate) async fn store_delete(
        &mut self,
        bytes: Vec<u8>,
        rows: usize,
        set: impl FnOnce(&mut DataFileBuilder),
    ) -> TableFile {
        let path = self.next_path();
        let partition_spec_id = self.table.metadata().default_partition_spec_id();
        let mut builder = DataFileBuilder::default();
        builder
            .file_path(path.clone())
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::empty())
            .partition_spec_id(partition_spec_id)
            .record_count(rows as u64)
            .file_size_in_bytes(bytes.len() as u64);
        set(&mut builder);
        self.env.store.put_new(&path, bytes.into()).await.unwrap();
        TableFile { file: builder.build().unwrap(), partition_spec_id }
    }
}

pub(crate) fn parse_schema(json: &str) -> Schema {
    serde_json::from_str(json).unwrap()
}

pub(crate) fn parquet_metadata(bytes: &[u8]) -> parquet::file::metadata::ParquetMetaData {
    ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::copy_from_slice(bytes)).unwrap()
}

pub(crate) fn to_batch(schema: &ArrowSchemaRef, rows: &[Value]) -> RecordBatch {
    let mut decoder =
        arrow::json::ReaderBuilder::new(schema.clone()).with_batch_size(rows.len().max(1)).build_decoder().unwrap();
    decoder.serialize(rows).unwrap();
    decoder.flush().unwrap().unwrap_or_else(|| RecordBatch::new_empty(schema.clone()))
}

pub(crate) fn encode(batch: &RecordBatch, group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    encode_with(batch, properties)
}

pub(crate) fn encode_with(batch: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

pub(crate) fn to_rows(batches: &[RecordBatch]) -> Vec<Value> {
    let mut bytes = Vec::new();
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(&mut bytes);
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

pub(crate) fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_cached_key(Value::to_string);
    rows
}

pub(crate) fn all() -> ScanRequest {
    ScanRequest::default()
}

pub(crate) fn columns(paths: &[&str]) -> ScanRequest {
    ScanRequest { projection: Projection::paths(paths.iter().copied()), ..ScanRequest::default() }
}

pub(crate) fn matching(predicate: Predicate) -> ScanRequest {
    ScanRequest { predicate: Some(predicate), ..ScanRequest::default() }
}
