//! Files to begin with, made by the program itself.

use std::collections::BTreeMap;
use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use frazil_catalog::{Catalog, CommitEnd, CommitRequest, Precheck, Retry, SqlCatalog, commit};
use frazil_storage::Env;
use frazil_table::spec::{
    FormatVersion, NamespaceIdent, PartitionSpec, TableCreation, Transform, UnboundPartitionSpec,
};
use frazil_table::{Change, CommitIdentity, CommitTarget, ManifestCache, Table, TableFile, encode_deletion_vector};
use frazil_writer::{Before, TableWriter, WriterConfig, store_statistics};
use futures::TryStreamExt;
use serde_json::{Value, json};

use super::decoders::{ROWS, schema};

/// Whole files by the name of the decoder that reads them. None is longer than 20 KiB.
pub type Seeds = BTreeMap<&'static str, Vec<Vec<u8>>>;

/// Builds small tables of every format version and takes their files, with texts for the decoders of text.
pub async fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        for (name, file) in files_of_a_table(version).await {
            seeds.entry(name).or_default().push(file);
        }
    }
    let packed: Vec<Vec<u8>> = seeds["metadata"].iter().map(|json| gzip(json)).collect();
    seeds.entry("metadata").or_default().extend(packed);
    let vectors: Vec<Vec<u8>> = [vec![0, 1, 7], (0..5_000).step_by(3).collect(), vec![1 << 33, u64::from(u32::MAX)]]
        .iter()
        .map(|rows| encode_deletion_vector(&rows.iter().copied().collect()).expect("they are few"))
        .collect();
    seeds.insert("deletion_vector", vectors);
    seeds.insert("statistics", vec![statistics().await]);
    let pages = seeds["data_file"].clone();
    seeds.insert("page_index", pages);
    for (name, text) in TEXTS {
        seeds.entry(name).or_default().push(text.as_bytes().to_vec());
    }
    seeds
}

async fn files_of_a_table(version: FormatVersion) -> Vec<(&'static str, Vec<u8>)> {
    let env = Env::in_memory(version as u64);
    let catalog = SqlCatalog::in_memory(env.clone(), "memory://w").await.expect("memory is there");
    let namespace = NamespaceIdent::new("n".to_owned());
    catalog.create_namespace(&namespace, Default::default()).await.expect("the name is free");
    let mut files = Vec::new();
    for (name, spec) in [("plain", PartitionSpec::unpartition_spec().into_unbound()), ("partitioned", partitioned())] {
        let creation = TableCreation::builder()
            .name(name.to_owned())
            .schema(schema())
            .partition_spec(spec)
            .format_version(version)
            .build();
        let table = catalog.create_table(&namespace, creation).await.expect("the name is free");
        let table = append(&env, &catalog, &table).await;
        files.extend(stored(&env, &append(&env, &catalog, &table).await).await);
    }
    files
}

fn partitioned() -> UnboundPartitionSpec {
    UnboundPartitionSpec::builder()
        .add_partition_field(2, "v", Transform::Identity)
        .and_then(|builder| builder.add_partition_field(1, "id_bucket", Transform::Bucket(4)))
        .expect("the names differ")
        .build()
}

async fn append(env: &Env, catalog: &SqlCatalog, table: &Table) -> Table {
    let mut writer = TableWriter::new(env.clone(), table, WriterConfig::default()).expect("the table can be written");
    let batch = batch(writer.schema());
    writer.write(batch).await.expect("the rows fit");
    let files: Vec<TableFile> = writer.close().await.expect("memory takes every file");
    let changes = [Change::Append { files, properties: Default::default() }];
    let request = CommitRequest {
        ident: table.ident(),
        target: CommitTarget::default(),
        changes: &changes,
        identity: CommitIdentity::of(env, &changes),
        precheck: &|_| Precheck::Proceed,
        retry: Retry::default(),
    };
    match commit(catalog, env, &ManifestCache::default(), request).await.expect("the catalog is there") {
        CommitEnd::Committed(committed) => committed.table,
        other => panic!("nobody else is here: {other:?}"),
    }
}

fn batch(schema: &SchemaRef) -> RecordBatch {
    let rows: Vec<Value> = (0..ROWS)
        .map(|id| json!({"id": id, "v": format!("v{}", id % 2), "l": [id, null], "s": {"d": id as f64 / 3.0}}))
        .collect();
    let mut decoder = arrow::json::ReaderBuilder::new(schema.clone()).build_decoder().expect("the types have a form");
    decoder.serialize(&rows).expect("the rows fit");
    decoder.flush().expect("the rows fit").expect("there are rows")
}

/// The files of a table by what reads them.
async fn stored(env: &Env, table: &Table) -> Vec<(&'static str, Vec<u8>)> {
    let listed = env.store.list(table.metadata().location()).await.expect("memory can be listed");
    let mut listed: Vec<_> = listed.try_collect().await.expect("memory can be listed");
    listed.sort_by(|a, b| a.location.cmp(&b.location));
    let mut files = BTreeMap::new();
    for meta in listed {
        let name = match meta.location.rsplit('/').next().unwrap_or_default() {
            name if name.ends_with(".metadata.json") => "metadata",
            name if name.starts_with("snap-") => "manifest_list",
            name if name.ends_with(".avro") => "manifest",
            // Of a partitioned table each has fewer rows than the decoder wants.
            _ if !table.metadata().default_partition_spec().is_unpartitioned() => continue,
            _ => "data_file",
        };
        let bytes = env.store.read(&meta.location).await.expect("it was listed");
        // The last of each kind has the most in it.
        files.insert(name, bytes.to_vec());
    }
    files.into_iter().collect()
}

/// Sketches of a column or two.
async fn statistics() -> Vec<u8> {
    let env = Env::in_memory(1);
    let catalog = SqlCatalog::in_memory(env.clone(), "memory://w").await.expect("memory is there");
    let namespace = NamespaceIdent::new("n".to_owned());
    catalog.create_namespace(&namespace, Default::default()).await.expect("the name is free");
    let creation = TableCreation::builder().name("t".to_owned()).schema(schema()).build();
    let table = catalog.create_table(&namespace, creation).await.expect("the name is free");
    let config = WriterConfig { ndv_sketches: true, ..WriterConfig::default() };
    let mut writer = TableWriter::new(env.clone(), &table, config).expect("the table can be written");
    let batch = batch(writer.schema());
    writer.write(batch).await.expect("the rows fit");
    writer.flush().await.expect("memory takes every file");
    let sketches = writer.take_sketches();
    let file = store_statistics(&env, table.metadata(), (1, 1), Before::Nothing, sketches).await;
    let file = file.expect("memory takes every file").expect("nothing was before");
    env.store.read(&file.statistics_path).await.expect("it was written").to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory takes every byte");
    encoder.finish().expect("memory takes every byte")
}

const TEXTS: [(&str, &str); 12] = [
    ("json_rows", r#"{"id":1,"v":"a\u00e9","l":[1,null,-3],"s":{"d":1e-7},"t":"2024-02-29 12:00:00.123","n":12.345}"#),
    ("json_rows", "{\"id\":\"7\",\"v\":{\"x\":[1,2]},\"l\":null}\n{\"id\":8,\"unknown\":[[[{}]]]}\n"),
    ("csv_rows", "1,a,2024-02-29,true\n2,\"b,\"\"c\"\"\n\",,\n3,,1969-12-31,FALSE\n"),
    (
        "sql_script",
        "CREATE TABLE t (id BIGINT, s ROW<d DOUBLE, l ARRAY<INT>>, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector'='filesystem', 'path'='/tmp/x', 'format'='json');",
    ),
    (
        "sql_script",
        "INSERT INTO db.t SELECT a.id, s.d, COUNT(*) FROM TABLE(TUMBLE(TABLE x, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) a LEFT JOIN u /*+ OPTIONS('k'='v') */ FOR SYSTEM_TIME AS OF a.ts ON a.id = u.id WHERE v LIKE 'a%' AND NOT (b BETWEEN 1 AND 2) GROUP BY 1, 2;",
    ),
    (
        "sql_script",
        "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT * FROM x; INSERT INTO b SELECT id, CASE WHEN v IS NULL THEN 'n' ELSE CAST(v AS STRING) END FROM x; END; SET 'a' = 'b'; SHOW TABLES; EXPLAIN SELECT 1;",
    ),
    (
        "sql_script",
        "CREATE CATALOG c WITH ('type'='iceberg'); CREATE VIEW v AS WITH q AS (SELECT 1 AS a UNION ALL VALUES (2)) SELECT a FROM q ORDER BY a LIMIT 3; DROP TABLE IF EXISTS t; DESCRIBE t; USE c.d;",
    ),
    (
        "commit_body",
        r#"{"requirements":[{"type":"assert-ref-snapshot-id","ref":"main","snapshot-id":null}],"updates":[{"action":"set-properties","updates":{"a":"b"}},{"action":"remove-properties","removals":["a"]}]}"#,
    ),
    (
        "commit_body",
        r#"{"requirements":[{"type":"assert-current-schema-id","current-schema-id":0}],"updates":[{"action":"add-schema","schema":{"type":"struct","schema-id":1,"fields":[{"id":1,"name":"id","required":true,"type":"long"},{"id":9,"name":"n","required":false,"type":{"type":"map","key-id":10,"key":"string","value-id":11,"value-required":false,"value":"decimal(9,2)"}}]},"last-column-id":11},{"action":"set-current-schema","schema-id":-1}]}"#,
    ),
    (
        "commit_body",
        r#"{"requirements":[],"updates":[{"action":"add-spec","spec":{"fields":[{"source-id":1,"field-id":1000,"name":"b","transform":"bucket[16]"}]}},{"action":"set-default-spec","spec-id":-1},{"action":"add-sort-order","sort-order":{"order-id":1,"fields":[{"source-id":1,"transform":"identity","direction":"asc","null-order":"nulls-first"}]}},{"action":"set-default-sort-order","sort-order-id":-1}]}"#,
    ),
    (
        "commit_body",
        r#"{"requirements":[],"updates":[{"action":"add-snapshot","snapshot":{"snapshot-id":5,"sequence-number":1,"timestamp-ms":1700000000001,"manifest-list":"memory://w/n/t/metadata/snap.avro","summary":{"operation":"append"},"schema-id":0}},{"action":"set-snapshot-ref","ref-name":"main","type":"branch","snapshot-id":5}]}"#,
    ),
    (
        "commit_body",
        r#"{"requirements":[],"updates":[{"action":"remove-snapshots","snapshot-ids":[5]},{"action":"remove-snapshot-ref","ref-name":"main"},{"action":"set-location","location":"memory://w/n/t"},{"action":"upgrade-format-version","format-version":3}]}"#,
    ),
];
