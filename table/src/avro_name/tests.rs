use std::collections::HashMap;
use std::sync::Arc;

use expect_test::expect;
use frazil_storage::Env;

use super::*;
use crate::commit::{CommitIdentity, plan_commit};
use crate::spec::{
    DataFileBuilder, DataFileFormat, FormatVersion, Literal, Schema, SortOrder, Struct, TableIdent,
    TableMetadataBuilder, Transform, UnboundPartitionField, UnboundPartitionSpec,
};
use crate::{Change, ManifestCache, Table, TableFile, io};

const NAMES: [&str; 4] = ["person.id_bucket", "été", "1 a", "plain"];

fn table() -> Table {
    let fields = (1..=4).map(|id| format!(r#"{{"id":{id},"name":"c{id}","required":true,"type":"int"}}"#));
    let fields = fields.collect::<Vec<_>>().join(",");
    let parts = (1..).zip(NAMES).map(|(source_id, name)| UnboundPartitionField {
        source_id,
        field_id: None,
        name: name.to_owned(),
        transform: Transform::Bucket(8),
    });
    table_of(&fields, parts)
}

fn table_of(fields: &str, parts: impl Iterator<Item = UnboundPartitionField>) -> Table {
    let schema: Schema =
        serde_json::from_str(&format!(r#"{{"type":"struct","schema-id":0,"fields":[{fields}]}}"#)).unwrap();
    let spec = UnboundPartitionSpec::builder().add_partition_fields(parts).unwrap().build();
    let (order, location) = (SortOrder::unsorted_order(), "memory://w/t".to_owned());
    let metadata = TableMetadataBuilder::new(schema, spec, order, location, FormatVersion::V2, HashMap::new());
    let metadata = metadata.unwrap().build().unwrap().metadata;
    let ident = TableIdent::from_strs(["n", "t"]).unwrap();
    Table::new(ident, Arc::new(metadata), "memory://w/t/metadata/00000-0.metadata.json")
}

fn tuple() -> Struct {
    (1..=4).map(|bucket| Some(Literal::int(bucket))).collect()
}

/// Commits a file and gives its manifest's location.
async fn commit(env: &Env, table: &Table, partition: Struct) -> crate::spec::ManifestFile {
    let mut file = DataFileBuilder::default();
    file.content(crate::spec::DataContentType::Data)
        .file_path("memory://w/t/data/1.parquet".to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(partition)
        .partition_spec_id(0)
        .record_count(1)
        .file_size_in_bytes(100);
    let file = TableFile { file: file.build().unwrap(), partition_spec_id: 0 };
    let changes = [Change::Append { files: vec![file], properties: Default::default() }];
    let state = io::load_state(&env.store, &ManifestCache::default(), table, io::Entries::None).await.unwrap();
    let plan = plan_commit(&state, &changes, &CommitIdentity::draw(env, 1), env.now_ms()).unwrap().unwrap();
    let mut written = io::WrittenManifests::default();
    io::store_commit(env, &ManifestCache::default(), &state, &plan, &mut written).await.unwrap();
    let mut files: Vec<_> =
        futures::TryStreamExt::try_collect(env.store.list("memory://w/t/metadata").await.unwrap()).await.unwrap();
    files.retain(|file: &frazil_storage::ObjectMeta| file.location.contains("/snap-"));
    let list = env.store.read(&files[0].location).await.unwrap();
    let list = crate::spec::ManifestList::parse_with_version(&list, FormatVersion::V2).unwrap();
    list.consume_entries().into_iter().next().unwrap()
}

#[tokio::test]
async fn a_partition_is_read_back_whatever_its_fields_are_called() {
    let (env, table) = (Env::in_memory(1), table());
    let manifest = commit(&env, &table, tuple()).await;
    let entries = io::load_manifest(&env.store, &ManifestCache::default(), &manifest).await.unwrap();
    assert_eq!(entries[0].data_file.partition(), &tuple());
}

/// Java changes the names in the Avro schema and leaves those in the partition spec beside it.
#[tokio::test]
async fn the_partitions_of_a_manifest_by_java_are_read() {
    let (env, table) = (Env::in_memory(1), table());
    let mut manifest = commit(&env, &table, tuple()).await;
    let bytes = env.store.read(&manifest.manifest_path).await.unwrap();
    let spec = serde_json::to_string(table.metadata().default_partition_spec().fields()).unwrap();
    let bytes = with_header(&bytes, |header| header.set(PARTITION_SPEC, spec.clone().into_bytes()));
    manifest.manifest_length = bytes.len() as i64;
    env.store.put(&manifest.manifest_path, bytes.into()).await.unwrap();
    let entries = io::load_manifest(&env.store, &ManifestCache::default(), &manifest).await.unwrap();
    assert_eq!(entries[0].data_file.partition(), &tuple());
}

/// Avro types have a name, and a schema that defines one twice is refused by Java's library. Files of such a schema are
/// read nevertheless: the ground crate, and what is built on it, writes them.
#[tokio::test]
async fn two_partition_fields_of_one_decimal_type_define_it_once() {
    let field = r#"{"id":1,"name":"price","required":true,"type":"decimal(9, 2)"}"#;
    let part = |(name, transform): (&str, Transform)| UnboundPartitionField {
        source_id: 1,
        field_id: None,
        name: name.to_owned(),
        transform,
    };
    let parts = [("price", Transform::Identity), ("price_trunc", Transform::Truncate(100))];
    let (env, table) = (Env::in_memory(1), table_of(field, parts.into_iter().map(part)));
    let tuple = Struct::from_iter([1_234, 1_200].map(|value| Some(Literal::decimal(value))));
    let mut manifest = commit(&env, &table, tuple.clone()).await;
    let bytes = env.store.read(&manifest.manifest_path).await.unwrap();
    let schema = schema_of(&bytes);
    let definition =
        r#"{"logicalType":"decimal","name":"decimal_9_2","precision":9,"scale":2,"size":4,"type":"fixed"}"#;
    let schema = String::from_utf8(schema).unwrap();
    assert_eq!((schema.matches(definition).count(), schema.matches("\"decimal_9_2\"").count()), (1, 2), "{schema}");
    assert_eq!(manifest.manifest_length, bytes.len() as i64);
    let name = r#""decimal_9_2""#;
    let last = schema.rfind(name).unwrap();
    let twice = [&schema[..last], definition, &schema[last + name.len()..]].concat();
    for schema in [schema.clone(), twice] {
        let bytes = with_header(&bytes, |header| header.set_schema(schema.clone().into_bytes()));
        manifest.manifest_length = bytes.len() as i64;
        env.store.put(&manifest.manifest_path, bytes.into()).await.unwrap();
        let entries = io::load_manifest(&env.store, &ManifestCache::default(), &manifest).await.unwrap();
        assert_eq!(entries[0].data_file.partition(), &tuple, "{schema}");
    }
}

fn schema_of(manifest: &[u8]) -> Vec<u8> {
    let mut schema = Vec::new();
    with_mended_header(manifest, |header| {
        schema = header.schema().unwrap().to_vec();
        false
    });
    schema
}

fn with_header(manifest: &[u8], change: impl FnOnce(&mut Header<'_>)) -> Vec<u8> {
    let mended = with_mended_header(manifest, |header| {
        change(header);
        true
    });
    mended.unwrap()
}

#[test]
fn names_are_changed_as_java_changes_them() {
    let changed = NAMES.map(avro_name).join("\n");
    expect![[r#"
        person_x2Eid_bucket
        _xE9t_xE9
        _1_x20a
        plain"#]]
    .assert_eq(&changed);
}

#[test]
fn two_names_that_become_one_are_an_error() {
    let field = |name: &str| UnboundPartitionField {
        source_id: 1,
        field_id: None,
        name: name.to_owned(),
        transform: if name == "a.b" { Transform::Identity } else { Transform::Bucket(2) },
    };
    let spec = UnboundPartitionSpec::builder().add_partition_fields(["a.b", "a_x2Eb"].map(field)).unwrap().build();
    let schema = table().metadata().current_schema().clone();
    let error = with_avro_names(&spec.bind(schema).unwrap()).unwrap_err().to_string();
    expect!["the change can't be made: partition spec 0 has no Avro names: two of its fields become a_x2Eb"]
        .assert_eq(&error);
}

#[test]
fn what_is_no_manifest_stays_as_it_is() {
    for bytes in [&b""[..], b"Obj\x01", b"Obj\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"Obj\x01\x01\x00\x00"]
    {
        assert_eq!(for_readers(Bytes::copy_from_slice(bytes)), bytes);
    }
}
