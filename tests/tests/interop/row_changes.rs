//! Rows that Frazil's DELETE and UPDATE changed, as PyIceberg, DuckDB, Spark and Trino read them; rows that Spark's
//! changed, as Frazil reads them; row ids, as Spark sees them.

use frazil_tests::peers::{Engine, Error, FrazilSql, Peer};
use serde_json::{Value, json};

use super::world;

/// Which engines read what, with the versions that the tests install. Deletion vectors are not read by Trino 406, which
/// has no format version 3 at all, nor by PyIceberg 0.10.
fn reads(engine: Engine, version: u8, mode: &str) -> bool {
    match (engine, version) {
        (_, 2) | (Engine::Spark | Engine::DuckDb, _) => true,
        (Engine::PyIceberg, _) => mode == "copy-on-write",
        (Engine::Trino, _) => false,
    }
}

fn rows_of(peer: &Peer, table: &str) -> Result<Vec<String>, Error> {
    Ok(peer.scan(table)?.sorted_rows())
}

/// What Frazil reads: `[id, name, amount]`, sorted as the peers' rows are.
fn own_rows(frazil: &FrazilSql, table: &str) -> Vec<String> {
    let rows = frazil.sql(&format!("SELECT id, name, amount FROM {table}")).unwrap();
    let text = |row: &Value| json!([row["id"], row["name"], row["amount"]]).to_string();
    let mut rows: Vec<String> = rows.iter().map(text).collect();
    rows.sort();
    rows
}

/// Makes a table of 60 rows in three files and changes them; what is left.
fn make(frazil: &FrazilSql, table: &str, version: u8, mode: &str) {
    let rows = |from: u32| {
        let rows = (from..from + 20).map(|id| format!("({id}, 'row {id}', {})", id * 10));
        format!("INSERT INTO {table} VALUES {};", rows.collect::<Vec<_>>().join(", "))
    };
    let script = format!(
        "CREATE DATABASE IF NOT EXISTS row_changes;
         CREATE TABLE {table} (id BIGINT NOT NULL, name STRING, amount INT) WITH ('format-version' = '{version}',
             'write.delete.mode' = '{mode}', 'write.update.mode' = '{mode}');
         {}{}{}
         DELETE FROM {table} WHERE id < 5 OR name LIKE '%9';
         UPDATE {table} SET name = CONCAT(name, '!'), amount = NULL WHERE id BETWEEN 10 AND 30;
         DELETE FROM {table} WHERE id IN (SELECT id + 1 FROM {table} WHERE amount IS NULL AND id < 15);
         UPDATE {table} SET amount = amount + 1 WHERE id > 50;",
        rows(0),
        rows(20),
        rows(40)
    );
    frazil.sql(&script).unwrap();
}

/// What [`make`] leaves, worked out by itself.
fn expected() -> Vec<String> {
    let mut rows: Vec<(u32, String, Option<u32>)> =
        (0..60).map(|id| (id, format!("row {id}"), Some(id * 10))).collect();
    rows.retain(|(id, name, _)| *id >= 5 && !name.ends_with('9'));
    for row in rows.iter_mut().filter(|row| (10..=30).contains(&row.0)) {
        (row.1, row.2) = (format!("{}!", row.1), None);
    }
    let before = rows.clone();
    rows.retain(|(id, ..)| {
        !before.iter().any(|(other, _, amount)| amount.is_none() && *other < 15 && other + 1 == *id)
    });
    for row in rows.iter_mut().filter(|row| row.0 > 50) {
        row.2 = row.2.map(|amount| amount + 1);
    }
    let mut rows: Vec<String> = rows.iter().map(|(id, name, amount)| json!([id, name, amount]).to_string()).collect();
    rows.sort();
    rows
}

#[test]
fn every_engine_reads_rows_that_were_deleted_and_updated() -> Result<(), Error> {
    let world = world();
    for skip in &world.skips {
        skip.report();
    }
    let Some(frazil) = &world.frazil else { return Ok(()) };
    for version in [2, 3] {
        for mode in ["copy-on-write", "merge-on-read"] {
            let table = format!("row_changes.v{version}_{}", mode.replace('-', "_"));
            make(frazil, &table, version, mode);
            assert_eq!(own_rows(frazil, &table), expected(), "frazil, {table}");
            for peer in world.peers.iter().filter(|peer| reads(peer.engine(), version, mode)) {
                assert_eq!(rows_of(peer, &table)?, expected(), "{}, {table}", peer.engine());
            }
        }
    }
    Ok(())
}

#[test]
fn rows_keep_their_ids_between_frazil_and_spark() -> Result<(), Error> {
    let world = world();
    let Some(spark) = world.peers.iter().find(|peer| peer.engine() == Engine::Spark) else { return Ok(()) };
    let Some(frazil) = &world.frazil else { return Ok(()) };
    let ids = |table: &str| -> Result<Vec<String>, Error> {
        let query = format!("SELECT id, _row_id, _last_updated_sequence_number FROM frazil.{table}");
        Ok(spark.sql(&query)?.sorted_rows())
    };
    for mode in ["copy-on-write", "merge-on-read"] {
        let table = format!("row_changes.ids_{}", mode.replace('-', "_"));
        frazil
            .sql(&format!(
                "CREATE DATABASE IF NOT EXISTS row_changes;
                 CREATE TABLE {table} (id BIGINT NOT NULL, name STRING, amount INT) WITH ('format-version' = '3',
                     'write.delete.mode' = '{mode}', 'write.update.mode' = '{mode}');
                 INSERT INTO {table} VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3);
                 UPDATE {table} SET name = 'B' WHERE id = 2; DELETE FROM {table} WHERE id = 1"
            ))
            .unwrap();
        assert_eq!(ids(&table)?, ["[2,1,2]", "[3,2,1]"], "{mode}, Frazil's");
        spark.sql(&format!("UPDATE frazil.{table} SET amount = 30 WHERE id = 3"))?;
        spark.sql(&format!("DELETE FROM frazil.{table} WHERE id = 2"))?;
        assert_eq!(own_rows(frazil, &table), [r#"[3,"c",30]"#], "{mode}, Spark's");
        frazil.sql(&format!("UPDATE {table} SET amount = 31 WHERE id = 3")).unwrap();
        let rows = ids(&table)?;
        assert!(rows.len() == 1 && rows[0].starts_with("[3,2,"), "{mode}: {rows:?}");
    }
    Ok(())
}
