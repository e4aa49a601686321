//! A table in memory behind the real catalog, for this crate's tests. Its data files are names only.

use std::collections::HashMap;
use std::sync::Arc;

use frazil_catalog::{Catalog, CommitEnd, CommitQueue, Precheck, SqlCatalog};
use frazil_storage::Env;
use frazil_table::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, Literal, NamespaceIdent, NestedField,
    PrimitiveType, Schema, Struct, TableCreation, TableIdent, Transform, Type, UnboundPartitionSpec,
};
use frazil_table::{
    Change, CommitIdentity, MetadataChange, RowDelta, SnapshotProperties, TableFile, TableState, Validation,
    data_file_builder, io, row_lineage,
};
use frazil_writer::{DeletedRows, WriterConfig, write_deletion_vectors, write_position_deletes};

use crate::run::{RewriteKind, RewriteResult};
use crate::{Config, FileGroup, Intent, PositionMap};

/// A table partitioned by `p`, whose target file size is 1,000 bytes.
pub(crate) struct World {
    pub(crate) queue: CommitQueue,
    files: std::cell::Cell<u32>,
}

pub(crate) fn config() -> Config {
    Config { delta_commits: 3, target_file_size_bytes: 1_000, ..Config::default() }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_version(FormatVersion::V2).await
    }

    pub(crate) async fn with_version(format_version: FormatVersion) -> Self {
        Self::with_env(format_version, Env::in_memory(1)).await
    }

    pub(crate) async fn with_env(format_version: FormatVersion, env: Env) -> Self {
        let catalog = SqlCatalog::in_memory(env.clone(), "memory://w").await.unwrap();
        let namespace = NamespaceIdent::new("db".to_owned());
        catalog.create_namespace(&namespace, Default::default()).await.unwrap();
        let field = |id, name: &str, r#type| Arc::new(NestedField::optional(id, name, Type::Primitive(r#type)));
        let fields = [field(1, "id", PrimitiveType::Long), field(2, "p", PrimitiveType::Int)];
        let creation = TableCreation::builder()
            .name("t".to_owned())
            .schema(Schema::builder().with_fields(fields).build().unwrap())
            .partition_spec(
                UnboundPartitionSpec::builder().add_partition_field(2, "p", Transform::Identity).unwrap().build(),
            )
            .format_version(format_version)
            .build();
        catalog.create_table(&namespace, creation).await.unwrap();
        let ident = TableIdent::new(namespace, "t".to_owned());
        Self { queue: CommitQueue::new(Arc::new(catalog), env, ident), files: Default::default() }
    }

    pub(crate) async fn state(&self) -> TableState {
        let table = self.queue.load().await.unwrap();
        io::load_state(&self.queue.env().store, self.queue.cache(), &table, io::Entries::All).await.unwrap()
    }

    /// A data file of `size` bytes and as many rows in partition `p`.
    pub(crate) fn file(&self, p: Option<i32>, size: u64) -> TableFile {
        let n = self.files.replace(self.files.get() + 1);
        let file = DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(format!("memory://w/db/t/data/{n:05}.parquet"))
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::from_iter([p.map(Literal::int)]))
            .record_count(size)
            .file_size_in_bytes(size)
            .build()
            .unwrap();
        TableFile { file, partition_spec_id: 0 }
    }

    /// One append of files given by partition and size.
    pub(crate) async fn append(&self, files: &[(Option<i32>, u64)]) {
        self.append_as(files, SnapshotProperties::new()).await;
    }

    /// An append of a writer that says something of itself in the snapshot's summary.
    pub(crate) async fn append_as(&self, files: &[(Option<i32>, u64)], properties: SnapshotProperties) {
        let files = files.iter().map(|(p, size)| self.file(*p, *size)).collect();
        self.commit(Change::Append { files, properties }).await;
    }

    /// To format version 3.
    pub(crate) async fn upgrade(&self) {
        self.commit(Change::Metadata(MetadataChange::UpgradeFormatVersion(FormatVersion::V3))).await;
    }

    pub(crate) async fn commit(&self, change: Change) {
        let identity = CommitIdentity::of(self.queue.env(), std::slice::from_ref(&change));
        let end = self.queue.commit(&[change], identity, &|_| Precheck::Proceed).await.unwrap();
        assert!(matches!(end, CommitEnd::Committed(_)), "{end:?}");
    }

    /// Deletes rows of a data file by their places, as its table's format version does.
    pub(crate) async fn delete(&self, file: &DataFile, rows: &[u64]) {
        let table = self.queue.load().await.unwrap();
        let deleted = [DeletedRows {
            path: file.file_path().to_owned(),
            partition_spec_id: 0,
            partition: file.partition().clone(),
            rows: rows.iter().copied().collect(),
        }];
        let (env, config) = (self.queue.env(), WriterConfig::default());
        let delete_files = match table.metadata().format_version() {
            FormatVersion::V3 => write_deletion_vectors(env, &table, &config, &deleted).await.unwrap(),
            _ => write_position_deletes(env, &table, &config, &deleted).await.unwrap(),
        };
        let validation = Validation::snapshot(table.current_snapshot().map(|head| head.snapshot_id()));
        self.commit(Change::RowDelta(RowDelta { delete_files, validation, ..RowDelta::default() })).await;
    }

    /// Pretends to have rewritten a group; the output is there as a file of one byte.
    pub(crate) async fn rewrite(&self, group: &FileGroup) -> RewriteResult {
        let mut output = self.file(None, group.bytes_in());
        let mut builder = data_file_builder(&output.file, 0);
        // In format version 3 rows keep their ids.
        let lineage = [row_lineage::ROW_ID, row_lineage::LAST_UPDATED_SEQUENCE_NUMBER].map(|id| (id, 8));
        builder.partition(group.partition.clone()).record_count(group.rows_in()).column_sizes(lineage.into());
        output.file = builder.build().unwrap();
        self.queue.env().store.put_new(output.file.file_path(), "x".into()).await.unwrap();
        RewriteResult {
            group: group.clone(),
            outputs: vec![output],
            intent: Intent::begin(self.queue.env(), &self.queue.load().await.unwrap()).0,
            rows_deleted: 0,
            rows_carried: 0,
            positions: PositionMap::of_copies(&group.inputs),
            kind: RewriteKind::Copy,
            elapsed_ms: 1,
        }
    }

    /// The same file with another number of rows.
    pub(crate) fn with_rows(&self, file: &TableFile, rows: u64) -> TableFile {
        let mut builder = data_file_builder(&file.file, file.partition_spec_id);
        TableFile { file: builder.record_count(rows).build().unwrap(), ..file.clone() }
    }

    /// Sizes of the live files by partition, in order of path.
    pub(crate) async fn sizes(&self) -> HashMap<Option<i32>, Vec<u64>> {
        let state = self.state().await;
        let mut sizes: HashMap<Option<i32>, Vec<u64>> = HashMap::new();
        for (_, live) in state.live_data_files_by_path().unwrap() {
            let p = match &live.file.partition()[0] {
                Some(Literal::Primitive(frazil_table::spec::PrimitiveLiteral::Int(p))) => Some(*p),
                _ => None,
            };
            sizes.entry(p).or_default().push(live.file.file_size_in_bytes());
        }
        sizes
    }
}
