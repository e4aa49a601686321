//! Where random histories ended, as the other engines read it: a sample of what the suite `table` makes thousands of.
//!
//! An engine may refuse a table that has something it does not know, but may not read it wrongly. DuckDB does in one case,
//! which has a test of its own.

use std::collections::BTreeMap;

use frazil_catalog::{Catalog, RestCatalog, RestOptions};
use frazil_table::spec::{FormatVersion, NamespaceIdent, TableIdent};
use frazil_tests::peers::{Engine, Peer};
use serde_json::json;

use super::{World, world};
use frazil_histories::{EndState, end_state, with_equality_deletes};

const NAMESPACE: &str = "histories";

/// End states of each format version that have rows.
const TABLES: usize = 5;

/// What an engine says of a table that it can't read.
fn refusal(engine: Engine, end: &EndState) -> Option<&'static str> {
    match engine {
        Engine::PyIceberg if end.has_equality_deletes => Some("does not yet support equality deletes"),
        // Of version 406: it has no format version 3, and numbers the fields of nested columns anew when it applies
        // equality deletes, so that they collide with those of others.
        Engine::Trino if end.version == FormatVersion::V3 => Some("failed to parse response body"),
        Engine::Trino if end.has_equality_deletes && end.is_nested => Some("Multiple entries with same key"),
        // DuckDB 1.5.5 looks for the column of an equality delete beside nested ones, not in them.
        Engine::DuckDb if end.has_equality_deletes && end.is_nested => {
            Some("no schema has a column with that field id")
        }
        _ => None,
    }
}

/// Whether an engine's rows are those of the model.
fn is_right(engine: Engine, end: &EndState, rows: &[String]) -> bool {
    if engine != Engine::DuckDb {
        return rows == end.rows;
    }
    // See `duckdb_takes_null_for_a_value_that_is_deleted`.
    let mut all: Vec<&String> = rows.iter().collect();
    all.extend(end.null_in_deletes.iter().filter(|row| !rows.contains(row)));
    all.sort_unstable();
    all.into_iter().eq(&end.rows)
}

/// What makes tables beside the catalog's own and has the catalog take them.
struct Maker {
    catalog: RestCatalog,
    warehouse: String,
}

impl Maker {
    /// `None` for another catalog than ours, which takes no tables from beside it.
    async fn new(world: &World) -> Option<Self> {
        let (_, folder) = world.server.as_ref()?;
        let warehouse = format!("file://{}/data/warehouse/{NAMESPACE}", folder.path().display());
        let catalog = RestCatalog::connect(&world.uri, RestOptions::default()).await.unwrap();
        let namespace = NamespaceIdent::new(NAMESPACE.to_owned());
        match catalog.create_namespace(&namespace, Default::default()).await {
            Ok(_) | Err(frazil_catalog::Error::NamespaceExists(_)) => Some(Self { catalog, warehouse }),
            Err(error) => panic!("{error}"),
        }
    }

    fn folder(&self, name: &str) -> String {
        format!("{}/{name}", self.warehouse)
    }

    async fn register(&self, name: &str, metadata_location: &str) {
        let ident = TableIdent::new(NamespaceIdent::new(NAMESPACE.to_owned()), name.to_owned());
        self.catalog.register_table(&ident, metadata_location).await.unwrap();
    }

    /// The first histories of a format version that end with rows in `main`.
    async fn histories(&self, version: FormatVersion) -> Vec<(String, EndState)> {
        let mut made = Vec::new();
        for seed in 0.. {
            let name = format!("{version}_{seed}");
            let end = end_state(seed, &self.folder(&name), version).await;
            let end = end.unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
            if end.rows.is_empty() {
                continue;
            }
            self.register(&name, &end.metadata_location).await;
            made.push((name, end));
            if made.len() == TABLES {
                break;
            }
        }
        made
    }
}

#[tokio::test]
async fn every_engine_reads_the_end_of_a_history() {
    let world = world();
    for skip in &world.skips {
        skip.report();
    }
    let Some(maker) = Maker::new(world).await else { return };
    let (mut wrong, mut read, mut tables) = (Vec::new(), BTreeMap::new(), 0);
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        for (name, end) in maker.histories(version).await {
            tables += 1;
            for peer in &world.peers {
                let engine = peer.engine();
                match (peer.scan(&format!("{NAMESPACE}.{name}")), refusal(engine, &end)) {
                    (Ok(answer), _) if is_right(engine, &end, &answer.sorted_rows()) => {
                        *read.entry(engine.name()).or_insert(0) += 1;
                    }
                    (Ok(answer), _) => {
                        let rows = answer.sorted_rows();
                        wrong.push(format!("{name} by {engine}: {rows:#?}, and not {:#?}{}", end.rows, end.log));
                    }
                    (Err(error), Some(refusal)) if error.message.contains(refusal) => {}
                    (Err(error), _) => wrong.push(format!("{name} by {engine}: {error}{}", end.log)),
                }
            }
        }
    }
    println!("{tables} tables; read as they are by {read:?}");
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    for peer in &world.peers {
        let least = match peer.engine() {
            Engine::Spark => tables,
            Engine::DuckDb => tables - TABLES / 2,
            _ => TABLES,
        };
        assert!(read[peer.engine().name()] >= least, "{} refuses too much: {read:?}", peer.engine());
    }
}

/// A null is equal to a null and to nothing else in an equality delete (Iceberg spec, "Equality Delete Files"). DuckDB
/// 1.5.5 compares with `=`, so that a row whose column is null is neither equal nor not, and is lost. When this fails
/// because it no longer does, `is_right` has no exception.
#[tokio::test]
async fn duckdb_takes_null_for_a_value_that_is_deleted() {
    let world = world();
    for skip in &world.skips {
        skip.report();
    }
    let Some(maker) = Maker::new(world).await else { return };
    let rows = [(1, None), (2, Some(5)), (3, Some(7))];
    for (nth, (deleted, left, by_duckdb)) in
        [(&[Some(5)][..], &[1, 3][..], &[3][..]), (&[None, Some(5)], &[3], &[3])].into_iter().enumerate()
    {
        let name = format!("nulls_{nth}");
        let location = with_equality_deletes(&maker.folder(&name), FormatVersion::V2, &rows, deleted).await;
        maker.register(&name, &location).await;
        let path = format!("{NAMESPACE}.{name}");
        let own = world.frazil.as_ref().expect("it reads our catalog").sql(&format!("SELECT key FROM {path}")).unwrap();
        let mut own: Vec<i64> = own.iter().map(|row| row["key"].as_i64().unwrap()).collect();
        own.sort_unstable();
        assert_eq!(own, left, "frazil, {deleted:?}");
        for peer in world.peers.iter().filter(|peer| peer.engine() != Engine::PyIceberg) {
            let left = if peer.engine() == Engine::DuckDb { by_duckdb } else { left };
            assert_eq!(keys(peer, &path), left, "{}, {deleted:?}", peer.engine());
        }
    }
}

fn keys(peer: &Peer, table: &str) -> Vec<i64> {
    let rows = peer.sql(&format!("SELECT key FROM frazil.{table} ORDER BY key")).unwrap().rows;
    assert!(rows.iter().all(|row| row.len() == 1), "{}", json!(rows));
    rows.iter().map(|row| row[0].as_i64().unwrap()).collect()
}
