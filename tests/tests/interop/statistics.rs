//! Numbers of distinct values that Frazil keeps, as Trino's planner sees them.

use frazil_tests::peers::{Engine, Error, FrazilSql, Peer};

use super::world;

/// Distinct values of the column `id`.
const DISTINCT: f64 = 20_000.0;

/// A sketch of 4,096 hashes is within 1/√4096 of the truth two times out of three; four times that never fails.
const ERROR_MAX: f64 = 4.0 / 64.0;

/// Makes a table of 30,000 rows by two inserts that overlap.
fn make(frazil: &FrazilSql, table: &str) {
    let numbers = "SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n AS id FROM statistics.digits a, statistics.digits b,
                   statistics.digits c, statistics.digits d";
    let script = format!(
        "CREATE DATABASE IF NOT EXISTS statistics;
         CREATE TABLE statistics.digits (n BIGINT);
         INSERT INTO statistics.digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
         CREATE TABLE {table} (id BIGINT, word STRING, day DATE) WITH ('write.extended-statistics.enabled' = 'true');
         INSERT INTO {table} SELECT id, CONCAT('w', CAST(id % 7 AS STRING)), DATE '2024-01-01' FROM ({numbers});
         INSERT INTO {table} SELECT id + 5000, NULL, DATE '2024-01-02' FROM ({numbers});
         INSERT INTO {table} SELECT id + 10000, 'w8', NULL FROM ({numbers});"
    );
    frazil.sql(&script).unwrap();
}

/// What Trino's `SHOW STATS` says of the distinct values of a column.
fn distinct_values(trino: &Peer, table: &str, column: &str) -> Result<Option<f64>, Error> {
    let stats = trino.sql(&format!("SHOW STATS FOR frazil.{table}"))?;
    let of = stats.columns.iter().position(|name| name == "distinct_values_count").expect("it is Trino's answer");
    let row = stats.rows.iter().find(|row| row[0] == column).expect("every column has a row");
    let value = &row[of];
    Ok(value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok())))
}

#[test]
fn trino_plans_by_the_distinct_values_that_frazil_counted() -> Result<(), Error> {
    let world = world();
    for skip in &world.skips {
        skip.report();
    }
    let Some(frazil) = &world.frazil else { return Ok(()) };
    let Some(trino) = world.peers.iter().find(|peer| peer.engine() == Engine::Trino) else { return Ok(()) };
    let table = "statistics.counted";
    make(frazil, table);
    let ids = distinct_values(trino, table, "id")?.expect("the column was counted");
    assert!((ids / DISTINCT - 1.0).abs() < ERROR_MAX, "{ids} distinct ids");
    assert_eq!(distinct_values(trino, table, "word")?, Some(8.0));
    assert_eq!(distinct_values(trino, table, "day")?, Some(2.0));

    // Trino 406 counts nothing when it inserts: Frazil makes up for
    // its rows with the next ones of its own.
    trino.sql(&format!("INSERT INTO frazil.{table} VALUES (50000, 'trino', DATE '2024-01-03')"))?;
    assert_eq!(distinct_values(trino, table, "word")?, Some(8.0));
    frazil.sql(&format!("INSERT INTO {table} VALUES (50001, 'frazil', DATE '2024-01-03')")).unwrap();
    assert_eq!(distinct_values(trino, table, "word")?, Some(10.0));
    frazil
        .sql(&format!("DELETE FROM {table} WHERE word = 'trino'; CALL system.compute_table_stats('{table}')"))
        .unwrap();
    assert_eq!(distinct_values(trino, table, "word")?, Some(9.0));
    Ok(())
}
