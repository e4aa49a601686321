//! A table with random columns and rows, in memory behind the real catalog.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray, MapArray,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use frazil_catalog::{CatalogRef, CommitEnd, CommitQueue, Precheck, SqlCatalog};
use frazil_compactor::{Config, FileGroup, plan_rewrite};
use frazil_reader::{ReadContext, ScanRequest, plan_scan, scan};
use frazil_storage::Env;
use frazil_table::spec::{
    ListType, MapType, NamespaceIdent, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, TableCreation,
    TableIdent, Transform, Type, UnboundPartitionSpec,
};
use frazil_table::{Change, CommitIdentity, SnapshotProperties, Table, TableState, io};
use frazil_writer::{TableWriter, WriterConfig};
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::Rng;
use rand::rngs::StdRng;

/// The table, and a queue of commits to it.
pub struct TestTable {
    pub env: Env,
    pub catalog: CatalogRef,
    pub queue: CommitQueue,
}

impl TestTable {
    /// A table with column `p`, by which it is partitioned if `partitioned`, and `columns`.
    pub async fn new(env: Env, columns: Vec<NestedFieldRef>, partitioned: bool, properties: &[(&str, &str)]) -> Self {
        let catalog: CatalogRef = Arc::new(SqlCatalog::in_memory(env.clone(), "memory://w").await.unwrap());
        let namespace = NamespaceIdent::new("db".to_owned());
        catalog.create_namespace(&namespace, Default::default()).await.unwrap();
        let mut fields = vec![Arc::new(NestedField::optional(1, "p", Type::Primitive(PrimitiveType::Int)))];
        fields.extend(columns);
        let mut spec = UnboundPartitionSpec::builder();
        if partitioned {
            spec = spec.add_partition_field(1, "p", Transform::Identity).unwrap();
        }
        let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let creation = TableCreation::builder()
            .name("t".to_owned())
            .schema(Schema::builder().with_fields(fields).build().unwrap())
            .partition_spec(spec.build())
            .properties(properties)
            .build();
        catalog.create_table(&namespace, creation).await.unwrap();
        let queue = CommitQueue::new(catalog.clone(), env.clone(), ident());
        Self { env, catalog, queue }
    }

    pub async fn table(&self) -> Table {
        self.catalog.load_table(&ident()).await.unwrap()
    }

    /// The state as it is stored: nothing comes from a cache.
    pub async fn state(&self) -> TableState {
        let cache = frazil_table::ManifestCache::default();
        io::load_state(&self.env.store, &cache, &self.table().await, io::Entries::All).await.unwrap()
    }

    /// A batch of the table's current schema.
    pub async fn random_batch(&self, rng: &mut StdRng, rows: usize) -> RecordBatch {
        let schema = frazil_table::arrow::arrow_schema(self.table().await.metadata().current_schema()).unwrap();
        let columns = schema.fields().iter().map(|field| match field.name().as_str() {
            "p" => Arc::new(Int32Array::from_iter((0..rows).map(|_| Some(rng.random_range(0..3)).filter(|p| *p > 0)))),
            _ => random_array(field, rows, rng),
        });
        let columns = columns.collect();
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    /// Appends a batch through a queue as a writer does.
    pub async fn append(&self, queue: &CommitQueue, batch: RecordBatch) {
        self.append_by(queue, batch, WriterConfig::default()).await;
    }

    pub async fn append_by(&self, queue: &CommitQueue, batch: RecordBatch, config: WriterConfig) {
        let table = self.table().await;
        let mut writer = TableWriter::new(self.env.clone(), &table, config).unwrap();
        writer.write(batch).await.unwrap();
        let files = writer.close().await.unwrap();
        let change = Change::Append { files, properties: SnapshotProperties::new() };
        let identity = CommitIdentity::draw(&self.env, 1);
        let end = queue.commit(&[change], identity, &|_| Precheck::Proceed).await.unwrap();
        assert!(matches!(end, CommitEnd::Committed(_)), "{end:?}");
    }

    pub async fn append_random(&self, rng: &mut StdRng, rows: usize) {
        self.append(&self.queue, self.random_batch(rng, rows).await).await;
    }

    pub async fn plan(&self, config: &Config) -> Vec<FileGroup> {
        plan_rewrite(&self.state().await, config).unwrap().groups
    }

    /// All rows as the reader gives them, each as text, in order of that text.
    pub async fn rows(&self) -> Vec<String> {
        let plan = plan_scan(&self.state().await, &ScanRequest::default()).unwrap();
        let batches: Vec<_> = scan(&ReadContext::new(&self.env), &plan, 2).try_collect().await.unwrap();
        sorted_rows(&batches)
    }

    /// All rows as the Parquet crate alone reads them from the live files, in the same form.
    pub async fn rows_of_plain_parquet(&self) -> Vec<String> {
        let state = self.state().await;
        let mut batches = Vec::new();
        for live in state.live_data_files().unwrap() {
            let bytes = self.env.store.read(live.file.file_path()).await.unwrap();
            assert_eq!(bytes.len() as u64, live.file.file_size_in_bytes());
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
            batches.extend(reader.map(Result::unwrap));
        }
        sorted_rows(&batches)
    }

    /// Lists of what rewrites are about to write.
    pub async fn intents(&self) -> usize {
        let intents = self.env.store.list("memory://w/db/t/metadata/frazil-intents/").await.unwrap();
        intents.try_collect::<Vec<_>>().await.unwrap().len()
    }

    /// How many live files there are, and how many objects that are no longer or not yet live.
    pub async fn files(&self) -> (usize, usize) {
        let state = self.state().await;
        let live = state.live_data_files_by_path().unwrap();
        let stored: Vec<_> = self.env.store.list("memory://w/db/t/data").await.unwrap().try_collect().await.unwrap();
        let other = stored.iter().filter(|object| !live.contains_key(object.location.as_str())).count();
        (live.len(), other)
    }
}

pub fn ident() -> TableIdent {
    TableIdent::new(NamespaceIdent::new("db".to_owned()), "t".to_owned())
}

fn sorted_rows(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" | "));
        }
    }
    rows.sort();
    rows
}

/// Random optional columns, nested up to two deep, with ids from `first_id`.
pub fn random_columns(rng: &mut StdRng, count: usize, first_id: i32) -> Vec<NestedFieldRef> {
    let mut next_id = first_id;
    let mut take = || {
        next_id += 1;
        next_id - 1
    };
    (0..count)
        .map(|n| {
            let id = take();
            let r#type = random_type(rng, &mut take, 2);
            Arc::new(NestedField::optional(id, format!("c{n}"), r#type))
        })
        .collect()
}

fn random_type(rng: &mut StdRng, id: &mut impl FnMut() -> i32, depth: u32) -> Type {
    let kinds = if depth == 0 { 8 } else { 11 };
    Type::Primitive(match rng.random_range(0..kinds) {
        0 => PrimitiveType::Int,
        1 => PrimitiveType::Long,
        2 => PrimitiveType::Double,
        3 => PrimitiveType::String,
        4 => PrimitiveType::Boolean,
        5 => PrimitiveType::Decimal { precision: 20, scale: 3 },
        6 => PrimitiveType::Timestamp,
        7 => PrimitiveType::Binary,
        8 => {
            let fields = (0..rng.random_range(1..4)).map(|n| {
                let field_id = id();
                Arc::new(NestedField::optional(field_id, format!("f{n}"), random_type(rng, id, depth - 1)))
            });
            return Type::Struct(StructType::new(fields.collect()));
        }
        9 => {
            let element = NestedField::list_element(id(), random_type(rng, id, depth - 1), false);
            return Type::List(ListType::new(Arc::new(element)));
        }
        _ => {
            let key = NestedField::map_key_element(id(), Type::Primitive(PrimitiveType::String));
            let value = NestedField::map_value_element(id(), random_type(rng, id, depth - 1), false);
            return Type::Map(MapType::new(Arc::new(key), Arc::new(value)));
        }
    })
}

fn random_array(field: &Field, rows: usize, rng: &mut StdRng) -> ArrayRef {
    let share = [0.0, 0.2, 1.0][rng.random_range(0..3)];
    let nullable = field.is_nullable();
    let nulls: Vec<bool> = (0..rows).map(|_| !(nullable && rng.random_bool(share))).collect();
    let buffer = NullBuffer::from(nulls.clone());
    let some = |row: usize| nulls[row];
    macro_rules! leaves {
        ($array:ty, $value:expr) => {
            Arc::new(<$array>::from_iter((0..rows).map(|row| some(row).then(|| $value)))) as ArrayRef
        };
    }
    match field.data_type() {
        DataType::Int32 => leaves!(Int32Array, rng.random::<i32>()),
        DataType::Int64 => leaves!(Int64Array, rng.random_range(-5..5_i64)),
        DataType::Float64 => {
            leaves!(Float64Array, [f64::NAN, -0.0, f64::INFINITY, rng.random()][rng.random_range(0..4)])
        }
        DataType::Utf8 => leaves!(StringArray, "é".repeat(rng.random_range(0..40))),
        DataType::Boolean => leaves!(BooleanArray, rng.random::<bool>()),
        DataType::Decimal128(precision, scale) => {
            let values = Decimal128Array::from_iter((0..rows).map(|row| some(row).then(|| rng.random::<i64>().into())));
            Arc::new(values.with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::Timestamp(_, None) => leaves!(TimestampMicrosecondArray, rng.random_range(0..1_i64 << 50)),
        DataType::Binary => {
            let values: Vec<Option<Vec<u8>>> =
                (0..rows).map(|row| some(row).then(|| vec![7; rng.random_range(0..9)])).collect();
            Arc::new(BinaryArray::from_iter(values))
        }
        DataType::Struct(fields) => {
            let columns = random_fields(fields, rows, rng);
            Arc::new(StructArray::new(fields.clone(), columns, Some(buffer)))
        }
        DataType::List(element) => {
            let lengths = lengths(&nulls, rng);
            let values = random_array(element, lengths.iter().sum(), rng);
            Arc::new(ListArray::new(element.clone(), OffsetBuffer::from_lengths(lengths), values, Some(buffer)))
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(fields) = entries.data_type() else { unreachable!("entries are pairs") };
            let lengths = lengths(&nulls, rng);
            let columns = random_fields(fields, lengths.iter().sum(), rng);
            let pairs = StructArray::new(fields.clone(), columns, None);
            Arc::new(MapArray::new(entries.clone(), OffsetBuffer::from_lengths(lengths), pairs, Some(buffer), false))
        }
        other => unreachable!("no column is {other}"),
    }
}

fn random_fields(fields: &Fields, rows: usize, rng: &mut StdRng) -> Vec<ArrayRef> {
    fields.iter().map(|field| random_array(field, rows, rng)).collect()
}

fn lengths(nulls: &[bool], rng: &mut StdRng) -> Vec<usize> {
    nulls.iter().map(|valid| if *valid { rng.random_range(0..4) } else { 0 }).collect()
}
