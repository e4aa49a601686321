//! Tables with deletes before and after Frazil's compaction, as PyIceberg, DuckDB, Spark and Trino read them; ids of rows,
//! as Spark sees them.

use frazil_tests::peers::{Engine, Error, FrazilSql, Peer};

use super::world;

/// What reads deletion vectors, of which there are none after a compaction; Trino 406 has no format version 3 at all.
fn reads(engine: Engine, version: u8, is_compacted: bool) -> bool {
    match (engine, version) {
        (_, 2) | (Engine::Spark | Engine::DuckDb, _) => true,
        (Engine::PyIceberg, _) => is_compacted,
        (Engine::Trino, _) => false,
    }
}

/// Rows of two partitions in several files, of which some are deleted and some moved by position.
fn make(frazil: &FrazilSql, table: &str, version: u8) {
    let insert = |from: u32| {
        let rows = (from..from + 20).map(|id| format!("({id}, {}, 'row {id}')", id % 2));
        format!("INSERT INTO {table} VALUES {};", rows.collect::<Vec<_>>().join(", "))
    };
    let script = format!(
        "CREATE DATABASE IF NOT EXISTS compacted;
         CREATE TABLE {table} (id BIGINT NOT NULL, kind INT, name STRING) PARTITIONED BY (kind)
         WITH ('format-version' = '{version}', 'write.delete.mode' = 'merge-on-read',
             'write.update.mode' = 'merge-on-read', 'write.delete.granularity' = 'file');
         {} {} {}
         DELETE FROM {table} WHERE id BETWEEN 3 AND 9 OR id = 41;
         ALTER TABLE {table} RENAME COLUMN name TO title;
         UPDATE {table} SET title = CONCAT(title, '!') WHERE id BETWEEN 15 AND 25;",
        insert(0),
        insert(20),
        insert(40)
    );
    frazil.sql(&script).unwrap();
}

fn rows_of(peer: &Peer, table: &str) -> Result<Vec<String>, Error> {
    Ok(peer.scan(table)?.sorted_rows())
}

fn count(spark: &Peer, table: &str, metadata_table: &str) -> Result<i64, Error> {
    Ok(spark.sql(&format!("SELECT COUNT(*) FROM frazil.{table}.{metadata_table}"))?.integer())
}

#[test]
fn every_engine_reads_the_same_rows_before_and_after_a_compaction() -> Result<(), Error> {
    let world = world();
    for skip in &world.skips {
        skip.report();
    }
    let Some(frazil) = &world.frazil else { return Ok(()) };
    let Some(spark) = world.peers.iter().find(|peer| peer.engine() == Engine::Spark) else { return Ok(()) };
    for version in [2, 3] {
        let table = format!("compacted.v{version}");
        make(frazil, &table, version);
        let ids = || -> Result<Vec<String>, Error> {
            let lineage = if version == 3 { ", _row_id, _last_updated_sequence_number" } else { "" };
            Ok(spark.sql(&format!("SELECT id{lineage} FROM frazil.{table}"))?.sorted_rows())
        };
        let (rows, ids_before) = (rows_of(spark, &table)?, ids()?);
        assert_eq!(rows.len(), 52, "{table}");
        let readers = |is_compacted| world.peers.iter().filter(move |peer| reads(peer.engine(), version, is_compacted));
        for peer in readers(false) {
            assert_eq!(rows_of(peer, &table)?, rows, "{} reads {table}", peer.engine());
        }
        assert!(count(spark, &table, "delete_files")? > 0, "{table}");

        frazil.sql(&format!("CALL system.rewrite_data_files('{table}')")).unwrap();
        assert_eq!((count(spark, &table, "delete_files")?, count(spark, &table, "data_files")?), (0, 2), "{table}");
        for peer in readers(true) {
            assert_eq!(rows_of(peer, &table)?, rows, "{} reads {table}, compacted", peer.engine());
        }
        assert_eq!(ids()?, ids_before, "{table}");

        // Others go on with it, in both partitions: Spark's changes keep the ids of Frazil's rows, and Frazil's next
        // compaction those of Spark's.
        spark.sql(&format!("UPDATE frazil.{table} SET title = 'spark' WHERE id IN (10, 51)"))?;
        spark.sql(&format!("DELETE FROM frazil.{table} WHERE id = 11"))?;
        let (rows, ids_before) = (rows_of(spark, &table)?, ids()?);
        frazil.sql(&format!("CALL system.rewrite_data_files('{table}')")).unwrap();
        assert_eq!(count(spark, &table, "delete_files")?, 0, "{table}, after Spark");
        for peer in readers(true) {
            assert_eq!(rows_of(peer, &table)?, rows, "{} reads {table}, compacted after Spark", peer.engine());
        }
        assert_eq!(ids()?, ids_before, "{table}, after Spark");
    }
    Ok(())
}
