//! The changelog beside Spark's `create_changelog_view`, over what Spark can tell (whole files, no delete files), and the
//! metadata tables beside Spark's.

use frazil_tests::peers::{Engine, Error, FrazilSql, Peer};
use serde_json::{Value, json};

use super::world;

const TABLE: &str = "changelogs.t";

fn engines() -> Option<(&'static FrazilSql, &'static Peer)> {
    let world = world();
    for skip in &world.skips {
        skip.report();
    }
    let spark = world.peers.iter().find(|peer| peer.engine() == Engine::Spark)?;
    Some((world.frazil.as_ref()?, spark))
}

/// What Frazil answers, as the peers' rows are.
fn own_rows(frazil: &FrazilSql, columns: &[&str], sql: &str) -> Vec<String> {
    let rows = frazil.sql(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let text = |row: &Value| columns.iter().map(|column| row[*column].clone()).collect::<Value>().to_string();
    let mut rows: Vec<String> = rows.iter().map(text).collect();
    rows.sort();
    rows
}

/// Copies on write by both engines, rows that are there twice, a rewrite, a delete of whole files.
fn make(frazil: &FrazilSql, spark: &Peer) -> Result<Vec<i64>, Error> {
    let rows = |ids: std::ops::Range<u32>| {
        let rows = ids.map(|id| format!("({id}, 'row {id}', {})", id % 3));
        rows.collect::<Vec<_>>().join(", ")
    };
    frazil
        .sql(&format!(
            "CREATE DATABASE IF NOT EXISTS changelogs;
             CREATE TABLE {TABLE} (id BIGINT NOT NULL, name STRING, k INT) PARTITIONED BY (k) WITH (
                 'format-version' = '2', 'write.delete.mode' = 'copy-on-write', 'write.update.mode' = 'copy-on-write',
                 'write.merge.mode' = 'copy-on-write', 'write.distribution-mode' = 'hash');
             INSERT INTO {TABLE} VALUES {};
             INSERT INTO {TABLE} VALUES {}, (7, 'twice', 0), (7, 'twice', 0);
             UPDATE {TABLE} SET name = CONCAT(name, '!') WHERE id IN (3, 12);
             DELETE FROM {TABLE} WHERE id = 7 AND name = 'row 7';",
            rows(0..10),
            rows(10..20)
        ))
        .unwrap();
    spark.sql(&format!("UPDATE frazil.{TABLE} SET name = 'spark' WHERE id IN (3, 5)"))?;
    spark.sql(&format!("INSERT INTO frazil.{TABLE} VALUES (7, 'twice', 0), (30, NULL, 1)"))?;
    frazil.sql(&format!("CALL system.rewrite_data_files('{TABLE}')")).unwrap();
    spark.sql(&format!("DELETE FROM frazil.{TABLE} WHERE k = 2"))?;
    spark.sql(&format!("DELETE FROM frazil.{TABLE} WHERE id = 30"))?;
    frazil.sql(&format!("INSERT INTO {TABLE} VALUES (5, 'again', 2), (12, 'row 12', 0)")).unwrap();
    let sql = format!("SELECT snapshot_id FROM frazil.{TABLE}.snapshots ORDER BY committed_at, snapshot_id");
    Ok(spark.sql(&sql)?.rows.iter().map(|row| row[0].as_i64().expect("an id")).collect())
}

#[test]
fn the_changelog_is_that_of_spark_where_spark_has_one() -> Result<(), Error> {
    let Some((frazil, spark)) = engines() else { return Ok(()) };
    let snapshots = make(frazil, spark)?;
    assert!(snapshots.len() >= 10, "{snapshots:?}");
    let whole = ["id", "name", "k", "_change_type", "_change_ordinal", "_commit_snapshot_id"];
    // Spark gives a row that copy-on-write carried along to the copy.
    let net = &whole[..4];
    let forms = [("changes", "", &whole[..]), ("net", ", net_changes => true", net)];
    let last = snapshots.len() - 1;
    let mut told = 0;
    for (start, end) in [(0, last), (0, 3), (1, 4), (4, 7), (6, last), (3, 6)] {
        let (start, end) = (snapshots[start], snapshots[end]);
        let options = format!("'start-snapshot-id' = '{start}', 'end-snapshot-id' = '{end}'");
        for (form, argument, columns) in forms {
            let names = columns.join(", ");
            spark.sql(&format!(
                "CALL frazil.system.create_changelog_view(table => '{TABLE}', changelog_view => 'seen',
                 options => map('start-snapshot-id', '{start}', 'end-snapshot-id', '{end}'){argument})"
            ))?;
            let theirs = spark.sql(&format!("SELECT {names} FROM seen"))?.sorted_rows();
            let hint = format!("/*+ OPTIONS({options}, 'changes.form' = '{form}') */");
            let ours = own_rows(frazil, columns, &format!("SELECT {names} FROM {TABLE}$changes {hint}"));
            assert_eq!(ours, theirs, "{form} of {start} to {end}");
            told += ours.len();
        }
    }
    assert!(told > 100, "{told} changes were compared");
    Ok(())
}

#[test]
fn updates_are_told_as_spark_tells_them() -> Result<(), Error> {
    let Some((frazil, spark)) = engines() else { return Ok(()) };
    let table = "changelogs.upserted";
    frazil
        .sql(&format!(
            "CREATE DATABASE IF NOT EXISTS changelogs;
             CREATE TABLE {table} (id BIGINT NOT NULL, name STRING) WITH ('format-version' = '2');
             INSERT INTO {table} VALUES (1, 'a'), (2, 'b'), (3, 'c');
             INSERT OVERWRITE {table} VALUES (1, 'a'), (2, 'B'), (4, 'd');
             UPDATE {table} SET name = 'D' WHERE id = 4; DELETE FROM {table} WHERE id = 1;"
        ))
        .unwrap();
    spark.sql(&format!(
        "CALL frazil.system.create_changelog_view(table => '{table}', changelog_view => 'updates',
         identifier_columns => array('id'))"
    ))?;
    let columns = ["id", "name", "_change_type", "_change_ordinal", "_commit_snapshot_id"];
    let names = columns.join(", ");
    let theirs = spark.sql(&format!("SELECT {names} FROM updates"))?.sorted_rows();
    let hint = "/*+ OPTIONS('changes.form' = 'upsert', 'changes.identifier-columns' = 'id') */";
    assert_eq!(own_rows(frazil, &columns, &format!("SELECT {names} FROM {table}$changes {hint}")), theirs);
    assert_eq!(theirs.iter().filter(|row| row.contains("UPDATE_")).count(), 4, "{theirs:?}");
    Ok(())
}

/// Columns of a metadata table that are compared, in words that both engines understand.
const METADATA: [(&str, &[&str]); 7] = [
    ("snapshots", &["snapshot_id", "parent_id", "operation", "manifest_list", "committed_at"]),
    ("history", &["snapshot_id", "parent_id", "is_current_ancestor", "made_current_at"]),
    (
        "refs",
        &["name", "type", "snapshot_id", "max_reference_age_in_ms", "min_snapshots_to_keep", "max_snapshot_age_in_ms"],
    ),
    (
        "manifests",
        &[
            "content",
            "path",
            "length",
            "partition_spec_id",
            "added_snapshot_id",
            "added_data_files_count",
            "existing_data_files_count",
            "deleted_data_files_count",
            "added_delete_files_count",
            "existing_delete_files_count",
            "deleted_delete_files_count",
        ],
    ),
    (
        "files",
        &[
            "content",
            "file_path",
            "file_format",
            "spec_id",
            "record_count",
            "file_size_in_bytes",
            "sort_order_id",
            "equality_ids",
            "split_offsets",
        ],
    ),
    ("entries", &["status", "snapshot_id", "sequence_number", "file_sequence_number"]),
    (
        "partitions",
        &[
            "spec_id",
            "record_count",
            "file_count",
            "total_data_file_size_in_bytes",
            "position_delete_record_count",
            "position_delete_file_count",
            "equality_delete_record_count",
            "equality_delete_file_count",
            "last_updated_snapshot_id",
        ],
    ),
];

#[test]
fn metadata_tables_say_what_those_of_spark_say() -> Result<(), Error> {
    let Some((frazil, spark)) = engines() else { return Ok(()) };
    let table = "changelogs.described";
    frazil
        .sql(&format!(
            "CREATE DATABASE IF NOT EXISTS changelogs;
             CREATE TABLE {table} (id BIGINT NOT NULL, name STRING, at TIMESTAMP) WITH ('format-version' = '2',
                 'write.delete.mode' = 'merge-on-read');
             INSERT INTO {table} VALUES (1, 'a', TIMESTAMP '2024-01-31 12:00:00'), (2, 'b', NULL);
             ALTER TABLE {table} ADD PARTITION FIELD month(at);
             INSERT INTO {table} VALUES (3, 'c', TIMESTAMP '2024-01-31 12:00:00'), (4, 'd', TIMESTAMP '1969-12-31 12:00:00');
             ALTER TABLE {table} CREATE TAG month_end RETAIN 30 DAYS;
             ALTER TABLE {table} CREATE BRANCH audit;
             DELETE FROM {table} WHERE id = 3; DELETE FROM {table} WHERE id IN (1, 2);"
        ))
        .unwrap();
    spark.sql(&format!("INSERT INTO frazil.{table} VALUES (9, 'spark', TIMESTAMP_NTZ '2024-02-01 00:00:00')"))?;
    for (name, columns) in METADATA {
        // Times as texts: each engine's answers have a form of their own.
        let theirs: Vec<String> = columns
            .iter()
            .map(|column| match column.ends_with("_at") {
                true => format!("date_format({column}, 'yyyy-MM-dd HH:mm:ss.SSS') AS {column}"),
                false => (*column).to_owned(),
            })
            .collect();
        let ours: Vec<String> = columns
            .iter()
            .map(|column| match column.ends_with("_at") {
                true => format!("to_char({column}, '%Y-%m-%d %H:%M:%S%.3f') AS {column}"),
                false => (*column).to_owned(),
            })
            .collect();
        let theirs = spark.sql(&format!("SELECT {} FROM frazil.{table}.{name}", theirs.join(", ")))?.sorted_rows();
        let ours = own_rows(frazil, columns, &format!("SELECT {} FROM {table}${name}", ours.join(", ")));
        assert!(!ours.is_empty(), "{name}");
        assert_eq!(ours, theirs, "{name}");
    }
    // Spark shows a summary whole or not at all.
    let sql = format!("SELECT path, partition_summaries FROM frazil.{table}.manifests WHERE partition_spec_id = 1");
    let theirs = spark.sql(&sql)?.sorted_rows();
    let sql = format!(
        "SELECT path, s['contains_null'] AS n, s['contains_nan'] AS x, s['lower_bound'] AS l, s['upper_bound'] AS u
         FROM (SELECT path, partition_summaries[1] AS s FROM {table}$manifests WHERE partition_spec_id = 1)"
    );
    let rows = frazil.sql(&sql).unwrap();
    let summary = |row: &Value| json!([row["path"], [[row["n"], row["x"], row["l"], row["u"]]]]).to_string();
    let mut ours: Vec<String> = rows.iter().map(summary).collect();
    ours.sort();
    assert_eq!(ours, theirs);
    assert!(ours.iter().any(|row| row.contains("\"1969-12\"")), "{ours:?}");
    let theirs =
        spark.sql(&format!("SELECT partition.at_month, file_path, value_counts[1] FROM frazil.{table}.files"))?;
    let sql =
        format!("SELECT `partition`.at_month AS m, file_path, value_counts[CAST(1 AS INT)] AS n FROM {table}$files");
    assert_eq!(own_rows(frazil, &["m", "file_path", "n"], &sql), theirs.sorted_rows());
    let theirs = spark.sql(&format!("SELECT data_file.file_path, status FROM frazil.{table}.entries"))?;
    let sql = format!("SELECT data_file.file_path AS p, status FROM {table}$entries");
    assert_eq!(own_rows(frazil, &["p", "status"], &sql), theirs.sorted_rows());
    let counts = format!("SELECT count(*) AS n FROM {table}$files FOR SYSTEM_VERSION AS OF 'month_end'");
    let theirs = spark.sql(&format!("SELECT count(*) FROM frazil.{table}.files VERSION AS OF 'month_end'"))?;
    assert_eq!(own_rows(frazil, &["n"], &counts), [json!([theirs.integer()]).to_string()]);
    Ok(())
}
