//! An append and the rewrite of its files, two snapshots under one pointer swap, as PyIceberg, DuckDB and Spark see them: the rows of
//! the head and of the snapshot between, and the table's history.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use frazil_catalog::{Catalog, CommitEnd, CommitRequest, Precheck, RestCatalog, RestOptions, Retry, commit};
use frazil_storage::Env;
use frazil_table::spec::{NamespaceIdent, Schema, TableCreation, TableIdent};
use frazil_table::{Change, CommitIdentity, CommitTarget, ManifestCache, Table, TableFile};
use frazil_tests::peers::{Engine, Error, Peer};
use frazil_writer::{TableWriter, WriterConfig};
use serde_json::json;

use super::world;

const TABLE: &str = "two_snapshots.t";
const SCHEMA: &str = r#"{"type":"struct","fields":[
    {"id":1,"name":"id","required":true,"type":"long"},
    {"id":2,"name":"name","required":false,"type":"string"}]}"#;

/// The table and the ids of its snapshots, oldest first: append, append, replace.
struct Made {
    catalog: RestCatalog,
    ident: TableIdent,
    snapshots: Vec<i64>,
}

async fn write(env: &Env, table: &Table, ids: &[i64]) -> Vec<TableFile> {
    let mut writer = TableWriter::new(env.clone(), table, WriterConfig::default()).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.to_vec())),
        Arc::new(StringArray::from_iter_values(ids.iter().map(|id| format!("row {id}")))),
    ];
    writer.write(RecordBatch::try_new(writer.schema().clone(), columns).unwrap()).await.unwrap();
    writer.close().await.unwrap()
}

async fn make(uri: &str) -> Made {
    let catalog = RestCatalog::connect(uri, RestOptions::default()).await.unwrap();
    let (env, cache) = (Env::system(), ManifestCache::default());
    let namespace = NamespaceIdent::new("two_snapshots".to_owned());
    catalog.create_namespace(&namespace, Default::default()).await.unwrap();
    let schema: Schema = serde_json::from_str(SCHEMA).unwrap();
    let creation = TableCreation::builder().name("t".to_owned()).schema(schema).build();
    let table = catalog.create_table(&namespace, creation).await.unwrap();
    let ident = table.ident().clone();
    let make = async |changes: &[Change]| {
        let request = CommitRequest {
            ident: &ident,
            target: CommitTarget::default(),
            changes,
            identity: CommitIdentity::of(&env, changes),
            precheck: &|_| Precheck::Proceed,
            retry: Retry::default(),
        };
        match commit(&catalog, &env, &cache, request).await.unwrap() {
            CommitEnd::Committed(committed) => committed.snapshot_ids,
            other => panic!("{other:?}"),
        }
    };
    let append = |files| Change::Append { files, properties: Default::default() };
    let old = write(&env, &table, &[1, 2]).await;
    let mut snapshots = make(&[append(old.clone())]).await;
    let new = write(&env, &table, &[3, 4]).await;
    let replace = Change::Replace {
        removed: old.iter().chain(&new).map(|file| file.file.file_path().to_owned()).collect(),
        added: write(&env, &table, &[1, 2, 3, 4]).await,
        data_sequence_number: 2,
        base_snapshot_id: snapshots[0],
        carried: None,
        properties: Default::default(),
    };
    snapshots.extend(make(&[append(new), replace]).await);
    Made { catalog, ident, snapshots }
}

/// Rows at a snapshot, oldest first.
fn rows_at(peer: &Peer, snapshot: i64) -> Result<Vec<String>, Error> {
    let answer = match peer.engine() {
        Engine::PyIceberg => peer.query(&json!({"op": "scan", "table": TABLE, "snapshot": snapshot})),
        Engine::DuckDb => peer.sql(&format!("SELECT * FROM frazil.{TABLE} AT (VERSION => {snapshot})")),
        Engine::Spark => peer.sql(&format!("SELECT * FROM frazil.{TABLE} VERSION AS OF {snapshot}")),
        Engine::Trino => peer.sql(&format!("SELECT * FROM frazil.{TABLE} FOR VERSION AS OF {snapshot}")),
    };
    answer.map(|answer| answer.sorted_rows())
}

/// What the engine's metadata tables say: operations by snapshot, and the history of `main`.
fn history(peer: &Peer) -> Result<(Vec<String>, Vec<String>), Error> {
    let both =
        |snapshots: &str, history: &str| Ok((peer.sql(snapshots)?.sorted_rows(), peer.sql(history)?.sorted_rows()));
    match peer.engine() {
        Engine::PyIceberg => Ok((
            peer.query(&json!({"op": "snapshots", "table": TABLE}))?.sorted_rows(),
            peer.query(&json!({"op": "history", "table": TABLE}))?.sorted_rows(),
        )),
        Engine::DuckDb => both(
            &format!("SELECT snapshot_id, operation FROM iceberg_snapshots(frazil.{TABLE})"),
            &format!("SELECT snapshot_id, sequence_number FROM iceberg_snapshots(frazil.{TABLE})"),
        ),
        Engine::Spark => both(
            &format!("SELECT snapshot_id, operation FROM frazil.{TABLE}.snapshots"),
            &format!("SELECT snapshot_id, parent_id FROM frazil.{TABLE}.history WHERE is_current_ancestor"),
        ),
        Engine::Trino => both(
            "SELECT snapshot_id, operation FROM frazil.two_snapshots.\"t$snapshots\"",
            "SELECT snapshot_id, parent_id FROM frazil.two_snapshots.\"t$history\" WHERE is_current_ancestor",
        ),
    }
}

#[test]
fn every_engine_reads_two_snapshots_of_one_commit() -> Result<(), Error> {
    let world = world();
    for skip in &world.skips {
        skip.report();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Made { catalog, ident, snapshots } = runtime.block_on(make(&world.uri));
    let rows = |ids: &[i64]| ids.iter().map(|id| json!([id, format!("row {id}")]).to_string()).collect::<Vec<_>>();
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    let [first, between, head] = snapshots.as_slice() else { panic!("three snapshots: {snapshots:?}") };
    let names = ["append", "append", "replace"];
    let operations = sorted(snapshots.iter().zip(names).map(|(id, name)| json!([id, name]).to_string()).collect());
    for peer in world.peers.iter().filter(|peer| peer.engine() != Engine::Trino) {
        let engine = peer.engine();
        assert_eq!(peer.scan(TABLE)?.sorted_rows(), rows(&[1, 2, 3, 4]), "{engine}");
        assert_eq!(rows_at(peer, *head)?, rows(&[1, 2, 3, 4]), "{engine} at the head");
        assert_eq!(rows_at(peer, *between)?, rows(&[1, 2, 3, 4]), "{engine} between");
        assert_eq!(rows_at(peer, *first)?, rows(&[1, 2]), "{engine} before");
        let (found, line) = history(peer)?;
        assert_eq!(found, operations, "{engine}");
        let wanted = match engine {
            // Its function tells sequence numbers instead of parents.
            Engine::DuckDb => vec![json!([first, 1]), json!([between, 2]), json!([head, 3])],
            // The log has where `main` was after each swap, so the snapshot between is only named as a parent.
            _ => vec![json!([first, null]), json!([head, between])],
        };
        assert_eq!(line, sorted(wanted.iter().map(ToString::to_string).collect()), "{engine}");
    }
    runtime.block_on(catalog.drop_table(&ident, true)).unwrap();
    Ok(())
}
