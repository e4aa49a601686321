//! Procedures, on tables with a history.

use expect_test::{Expect, expect};

use crate::session::world::World;

/// A table with three appends, a second between each.
async fn three() -> (World, Vec<i64>) {
    let mut world = World::new().await;
    world.done("CREATE TABLE t (id INT)").await;
    for id in 1..=3 {
        world.tick();
        world.done(&format!("INSERT INTO t VALUES ({id})")).await;
    }
    let mut history = world.history("t").await;
    history.reverse();
    (world, history)
}

/// The answers, with the snapshots of `history` called s1, s2, … also in the script.
async fn check(world: &mut World, history: &[i64], script: &str, expected: Expect) {
    let mut script = script.to_owned();
    for (index, id) in history.iter().enumerate() {
        script = script.replace(&format!("<s{}>", index + 1), &id.to_string());
    }
    let mut shown = world.answers(&script).await;
    for (index, id) in history.iter().enumerate() {
        let (id, width) = (id.to_string(), id.to_string().len());
        shown = shown.replace(&id, &format!("{:width$}", format!("s{}", index + 1)));
    }
    expected.assert_eq(&shown);
}

#[tokio::test]
async fn main_moves_back_and_to_any_snapshot() {
    let (mut world, history) = three().await;
    check(
        &mut world,
        &history,
        "CALL system.rollback_to_snapshot('t', <s2>);
         SELECT COUNT(*) AS n FROM t;
         CALL frazil.system.set_current_snapshot(table => 'default.t', snapshot_id => <s3>);
         ALTER TABLE t CREATE TAG first AS OF VERSION <s1>;
         CALL system.set_current_snapshot(table => 't', ref => 'first');
         SELECT COUNT(*) AS n FROM t;
         CALL sys.SET_CURRENT_SNAPSHOT('t', <s3>);
         CALL system.rollback_to_timestamp('t', TIMESTAMP '2023-11-14 22:13:22');
         SELECT COUNT(*) AS n FROM t;
         CALL system.ancestors_of('t', <s2>);",
        expect![[r#"
            +----------------------+---------------------+
            | previous_snapshot_id | current_snapshot_id |
            +----------------------+---------------------+
            | s3                   | s2                  |
            +----------------------+---------------------+
            +---+
            | n |
            +---+
            | 2 |
            +---+
            +----------------------+---------------------+
            | previous_snapshot_id | current_snapshot_id |
            +----------------------+---------------------+
            | s2                   | s3                  |
            +----------------------+---------------------+
            table t is altered
            +----------------------+---------------------+
            | previous_snapshot_id | current_snapshot_id |
            +----------------------+---------------------+
            | s3                   | s1                  |
            +----------------------+---------------------+
            +---+
            | n |
            +---+
            | 1 |
            +---+
            +----------------------+---------------------+
            | previous_snapshot_id | current_snapshot_id |
            +----------------------+---------------------+
            | s1                   | s3                  |
            +----------------------+---------------------+
            +----------------------+---------------------+
            | previous_snapshot_id | current_snapshot_id |
            +----------------------+---------------------+
            | s3                   | s1                  |
            +----------------------+---------------------+
            +---+
            | n |
            +---+
            | 1 |
            +---+
            +---------------------+--------------------------+
            | snapshot_id         | timestamp                |
            +---------------------+--------------------------+
            | s2                  | 2023-11-14T22:13:22.004Z |
            | s1                  | 2023-11-14T22:13:21.001Z |
            +---------------------+--------------------------+
        "#]],
    )
    .await;
    // The table goes on from where it is.
    world.done("INSERT INTO t VALUES (9)").await;
    assert_eq!(world.history("t").await.len(), 2);
}

#[tokio::test]
async fn what_is_staged_is_published_once() {
    let (mut world, history) = three().await;
    check(
        &mut world,
        &history,
        "ALTER TABLE t CREATE BRANCH audit;
         CALL system.rollback_to_snapshot('t', <s1>);
         CALL system.cherrypick_snapshot('t', <s2>);
         CALL system.rollback_to_snapshot('t', <s1>);
         CALL system.fast_forward('t', 'main', 'audit');
         SELECT COUNT(*) AS n FROM t;
         CALL system.cherrypick_snapshot('t', <s2>);
         CALL system.rollback_to_snapshot('t', <s1>);",
        expect![[r#"
            table t is altered
            +----------------------+---------------------+
            | previous_snapshot_id | current_snapshot_id |
            +----------------------+---------------------+
            | s3                   | s1                  |
            +----------------------+---------------------+
            +---------------------+---------------------+
            | source_snapshot_id  | current_snapshot_id |
            +---------------------+---------------------+
            | s2                  | s2                  |
            +---------------------+---------------------+
            +----------------------+---------------------+
            | previous_snapshot_id | current_snapshot_id |
            +----------------------+---------------------+
            | s2                   | s1                  |
            +----------------------+---------------------+
            +----------------+---------------------+---------------------+
            | branch_updated | previous_ref        | updated_ref         |
            +----------------+---------------------+---------------------+
            | main           | s1                  | s3                  |
            +----------------+---------------------+---------------------+
            +---+
            | n |
            +---+
            | 3 |
            +---+
            snapshot s2                  is in the history of main already
              --> line 7, column 15, in CALL
               |
             7 |          CALL system.cherrypick_snapshot('t', s2                 )
               |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            +----------------------+---------------------+
            | previous_snapshot_id | current_snapshot_id |
            +----------------------+---------------------+
            | s3                   | s1                  |
            +----------------------+---------------------+
        "#]],
    )
    .await;
    // Main has moved on, so the append of s3 is made again; its copy is not made twice.
    let script = format!("CALL system.cherrypick_snapshot('t', {})", history[2]);
    world.done(&script).await;
    let again = world.answers(&script).await;
    assert!(again.contains("was picked already"), "{again}");
    check(
        &mut world,
        &history,
        "SELECT id FROM t ORDER BY id;
         CALL system.fast_forward('t', 'audit', 'main');
         CALL system.publish_changes('t', 'nothing');",
        expect![[r#"
            +----+
            | id |
            +----+
            | 1  |
            | 3  |
            +----+
            audit can't be fast-forwarded to main: it has commits that main has not
              --> line 2, column 15, in CALL
               |
             2 |          CALL system.fast_forward('t', 'audit', 'main')
               |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
               = cherrypick_snapshot brings single snapshots over
            no snapshot is staged under the wap.id 'nothing'
              --> line 3, column 43, in CALL
               |
             3 |          CALL system.publish_changes('t', 'nothing')
               |                                           ^^^^^^^^^
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_table_is_tidied_up_by_call() {
    let (mut world, history) = three().await;
    check(
        &mut world,
        &history,
        "CALL system.rewrite_manifests('t');
         CALL system.rewrite_data_files(table => 't', dry_run => TRUE);
         CALL system.rewrite_data_files('t', options => MAP['target-file-size-bytes', '1048576']);
         CALL system.rewrite_data_files('t', 'sort', 'id DESC');
         CALL system.rewrite_data_files(table => 't', sort_order => 'ID desc');
         CALL system.convert_equality_deletes(table => 't', dry_run => TRUE);
         CALL system.expire_snapshots(table => 't', older_than => TIMESTAMP '2023-11-14 22:13:22.500', dry_run => TRUE);
         CALL system.expire_snapshots('t', TIMESTAMP '2033-01-01 00:00:00', 1);
         SELECT COUNT(*) AS n, MAX(id) AS id FROM t;
         CALL system.expire_snapshots('t');",
        expect![[r#"
            +---------------------------+-----------------------+
            | rewritten_manifests_count | added_manifests_count |
            +---------------------------+-----------------------+
            | 3                         | 1                     |
            +---------------------------+-----------------------+
            +----------------------------+------------------------+-----------------------+---------------------+
            | rewritten_data_files_count | added_data_files_count | rewritten_bytes_count | failed_groups_count |
            +----------------------------+------------------------+-----------------------+---------------------+
            | 3                          | 0                      | 705                   | 0                   |
            +----------------------------+------------------------+-----------------------+---------------------+
            +----------------------------+------------------------+-----------------------+---------------------+
            | rewritten_data_files_count | added_data_files_count | rewritten_bytes_count | failed_groups_count |
            +----------------------------+------------------------+-----------------------+---------------------+
            | 3                          | 1                      | 705                   | 0                   |
            +----------------------------+------------------------+-----------------------+---------------------+
            +----------------------------+------------------------+-----------------------+---------------------+
            | rewritten_data_files_count | added_data_files_count | rewritten_bytes_count | failed_groups_count |
            +----------------------------+------------------------+-----------------------+---------------------+
            | 1                          | 1                      | 243                   | 0                   |
            +----------------------------+------------------------+-----------------------+---------------------+
            +----------------------------+------------------------+-----------------------+---------------------+
            | rewritten_data_files_count | added_data_files_count | rewritten_bytes_count | failed_groups_count |
            +----------------------------+------------------------+-----------------------+---------------------+
            | 0                          | 0                      | 0                     | 0                   |
            +----------------------------+------------------------+-----------------------+---------------------+
            +------------------------------+--------------------------+---------------------+------------------------------+
            | converted_delete_files_count | added_delete_files_count | added_deletes_count | remaining_delete_files_count |
            +------------------------------+--------------------------+---------------------+------------------------------+
            | 0                            | 0                        | 0                   | 0                            |
            +------------------------------+--------------------------+---------------------+------------------------------+
            +-------------------------+-----------------------------+------------------------------+--------------+--------------------+
            | expired_snapshots_count | deleted_content_files_count | deleted_metadata_files_count | dropped_refs | failed_files_count |
            +-------------------------+-----------------------------+------------------------------+--------------+--------------------+
            | 2                       | 0                           | 0                            |              | 0                  |
            +-------------------------+-----------------------------+------------------------------+--------------+--------------------+
            +-------------------------+-----------------------------+------------------------------+--------------+--------------------+
            | expired_snapshots_count | deleted_content_files_count | deleted_metadata_files_count | dropped_refs | failed_files_count |
            +-------------------------+-----------------------------+------------------------------+--------------+--------------------+
            | 5                       | 4                           | 11                           |              | 0                  |
            +-------------------------+-----------------------------+------------------------------+--------------+--------------------+
            +---+----+
            | n | id |
            +---+----+
            | 3 | 3  |
            +---+----+
            +-------------------------+-----------------------------+------------------------------+--------------+--------------------+
            | expired_snapshots_count | deleted_content_files_count | deleted_metadata_files_count | dropped_refs | failed_files_count |
            +-------------------------+-----------------------------+------------------------------+--------------+--------------------+
            | 0                       | 0                           | 0                            |              | 0                  |
            +-------------------------+-----------------------------+------------------------------+--------------+--------------------+
        "#]],
    )
    .await;
    assert_eq!(world.history("t").await.len(), 1);
}

#[tokio::test]
async fn a_table_is_taken_over_by_its_metadata() {
    let (mut world, history) = three().await;
    let place = world.table("t").await.metadata_location().to_owned();
    check(
        &mut world,
        &history,
        &format!(
            "DROP TABLE t;
             CALL system.register_table('u', '{place}');
             SELECT COUNT(*) AS n FROM u;
             CALL system.register_table('u', '{place}');
             CALL system.register_table('nowhere.u', '{place}');"
        ),
        expect![[r#"
            table t is dropped; its files stay at memory://warehouse/default/t
            +---------------------+---------------------+------------------------+
            | current_snapshot_id | total_records_count | total_data_files_count |
            +---------------------+---------------------+------------------------+
            | s3                  | 3                   | 3                      |
            +---------------------+---------------------+------------------------+
            +---+
            | n |
            +---+
            | 3 |
            +---+
            there is a table 'u' already
              --> line 4, column 41, in CALL
               |
             4 |              CALL system.register_table('u', 'memory://warehouse/default/t/metadata/00003-bc9f3ad9-8afd-4f44-809d-8de32368a1e8.metadata.json')
               |                                         ^^^
            there is no database 'nowhere' in the catalog 'frazil'
              --> line 5, column 41, in CALL
               |
             5 |              CALL system.register_table('nowhere.u', 'memory://warehouse/default/t/metadata/00003-bc9f3ad9-8afd-4f44-809d-8de32368a1e8.metadata.json')
               |                                         ^^^^^^^^^^^
               = there is only default
        "#]],
    )
    .await;
}

#[tokio::test]
async fn what_is_called_wrongly_says_what_would_be_right() {
    let (mut world, history) = three().await;
    check(
        &mut world,
        &history,
        "CALL system.rolback_to_snapshot('t', 1);
         CALL system.vacuum('t');
         CALL rollback_to_snapshot('t', 1);
         CALL system.rollback_to_snapshot('t');
         CALL system.rollback_to_snapshot('t', 1, 2);
         CALL system.rollback_to_snapshot('t', 'main');
         CALL system.rollback_to_snapshot(table => 't', snapshotid => 1);
         CALL system.rollback_to_snapshot(table => 't', table => 'u', snapshot_id => 1);
         CALL system.rollback_to_snapshot('t', 17);
         CALL system.rollback_to_timestamp('t', TIMESTAMP '2001-01-01 00:00:00');
         CALL system.rollback_to_timestamp('t', 'yesterday');
         CALL system.set_current_snapshot('t');
         CALL system.set_current_snapshot('t', ref => 'nothing');
         CALL system.fast_forward('t', 'main', 'nothing');
         CALL system.expire_snapshots('t', retain_last => 0);
         CALL system.rewrite_data_files('t', options => MAP['min-input-files', '2']);
         CALL system.rewrite_data_files('t', 'zorder');
         CALL system.rewrite_data_files('t', 'sort');
         CALL system.rewrite_data_files('t', 'binpack', 'id');
         CALL system.rewrite_data_files('t', sort_order => 'zorder(di)');
         CALL system.ancestors_of('a.b.c.d');
         CALL system.ancestors_of('palces');",
        expect![[r#"
            there is no procedure 'rolback_to_snapshot'
              --> line 1, column 6, in CALL
               |
             1 | CALL system.rolback_to_snapshot('t', 1)
               |      ^^^^^^^^^^^^^^^^^^^^^^^^^^
               = did you mean 'rollback_to_snapshot'?
            there is no procedure 'vacuum'
              --> line 2, column 15, in CALL
               |
             2 |          CALL system.vacuum('t')
               |               ^^^^^^^^^^^^^
               = there are ancestors_of, cherrypick_snapshot, compute_table_stats, convert_equality_deletes, expire_snapshots, fast_forward, publish_changes, register_table, remove_orphan_files, rewrite_data_files, rewrite_manifests, rollback_to_snapshot, rollback_to_timestamp, set_current_snapshot
            there is no procedure 'rollback_to_snapshot'
              --> line 3, column 15, in CALL
               |
             3 |          CALL rollback_to_snapshot('t', 1)
               |               ^^^^^^^^^^^^^^^^^^^^
               = write CALL system.rollback_to_snapshot(…)
            the argument 'snapshot_id' is missing
              --> line 4, column 15, in CALL
               |
             4 |          CALL system.rollback_to_snapshot('t')
               |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^
               = write CALL system.rollback_to_snapshot(table, snapshot_id)
            rollback_to_snapshot takes 2 arguments
              --> line 5, column 51, in CALL
               |
             5 |          CALL system.rollback_to_snapshot('t', 1, 2)
               |                                                   ^
               = write CALL system.rollback_to_snapshot(table, snapshot_id)
            'snapshot_id' is a whole number
              --> line 6, column 48, in CALL
               |
             6 |          CALL system.rollback_to_snapshot('t', 'main')
               |                                                ^^^^^^
            rollback_to_snapshot takes no 'snapshotid'
              --> line 7, column 57, in CALL
               |
             7 |          CALL system.rollback_to_snapshot(table => 't', snapshotid => 1)
               |                                                         ^^^^^^^^^^
               = did you mean 'snapshot_id'?
            the argument 'table' is there twice
              --> line 8, column 57, in CALL
               |
             8 |          CALL system.rollback_to_snapshot(table => 't', table => 'u', snapshot_id => 1)
               |                                                         ^^^^^^^^^^^^
               = write CALL system.rollback_to_snapshot(table, snapshot_id)
            the table has no snapshot 17
              --> line 9, column 15, in CALL
               |
             9 |          CALL system.rollback_to_snapshot('t', 17)
               |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
               = has it expired?
            main has no snapshot from before 2001-01-01T00:00:00.000Z
              --> line 10, column 15, in CALL
                |
             10 |          CALL system.rollback_to_timestamp('t', TIMESTAMP '2001-01-01 00:00:00')
                |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            'timestamp' is a moment: TIMESTAMP '2024-01-31 12:00:00'
              --> line 11, column 49, in CALL
                |
             11 |          CALL system.rollback_to_timestamp('t', 'yesterday')
                |                                                 ^^^^^^^^^^^
            it takes either 'snapshot_id' or 'ref'
              --> line 12, column 15, in CALL
                |
             12 |          CALL system.set_current_snapshot('t')
                |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^
            there is no branch or tag 'nothing'
              --> line 13, column 48, in CALL
                |
             13 |          CALL system.set_current_snapshot('t', ref => 'nothing')
                |                                                ^^^^^^^^^^^^^^^^
            there is no branch 'nothing'
              --> line 14, column 15, in CALL
                |
             14 |          CALL system.fast_forward('t', 'main', 'nothing')
                |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
                = there are main
            at least one snapshot is retained
              --> line 15, column 44, in CALL
                |
             15 |          CALL system.expire_snapshots('t', retain_last => 0)
                |                                            ^^^^^^^^^^^^^^^^
            there is no option 'min-input-files'
              --> line 16, column 46, in CALL
                |
             16 |          CALL system.rewrite_data_files('t', options => MAP['min-input-files', '2'])
                |                                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
                = there is 'target-file-size-bytes'
            there is no strategy 'zorder'
              --> line 17, column 46, in CALL
                |
             17 |          CALL system.rewrite_data_files('t', 'zorder')
                |                                              ^^^^^^^^
                = there are 'binpack' and 'sort'
            sort_order is "", but it must be columns to order by, since the table has no sort order of its own
              --> line 18, column 46, in CALL
                |
             18 |          CALL system.rewrite_data_files('t', 'sort')
                |                                              ^^^^^^
            files that are merged keep the order of their rows
              --> line 19, column 57, in CALL
                |
             19 |          CALL system.rewrite_data_files('t', 'binpack', 'id')
                |                                                         ^^^^
                = with a sort_order the strategy is 'sort'
            sort_order is "di", but it must be a column of the table that has values to order by
              --> line 20, column 46, in CALL
                |
             20 |          CALL system.rewrite_data_files('t', sort_order => 'zorder(di)')
                |                                              ^^^^^^^^^^^^^^^^^^^^^^^^^^
            'a.b.c.d' is not a table's name
              --> line 21, column 35, in CALL
                |
             21 |          CALL system.ancestors_of('a.b.c.d')
                |                                   ^^^^^^^^^
                = write 'database.table'
            there is no table 'palces' in frazil.default
              --> line 22, column 35, in CALL
                |
             22 |          CALL system.ancestors_of('palces')
                |                                   ^^^^^^^^
                = there is only t
        "#]],
    )
    .await;
}

/// The numbers of distinct values that a table's newest statistics give, by field id; of which snapshot they are.
async fn distinct_values(world: &World) -> Option<(i64, Vec<(i32, u64)>)> {
    let table = world.table("t").await;
    let of = |id: i64| table.metadata().statistics_for_snapshot(id);
    let newest = table.ancestors("main").find_map(|snapshot| of(snapshot.snapshot_id()))?;
    assert!(world.session.env().store.head(&newest.statistics_path).await.is_ok());
    let blobs = newest.blob_metadata.iter();
    let ndv = blobs.map(|blob| (blob.fields[0], blob.properties["ndv"].parse().unwrap())).collect();
    Some((newest.snapshot_id, ndv))
}

#[tokio::test]
async fn the_distinct_values_of_a_column_that_has_another_type_are_not_known_until_they_are_counted() {
    let mut world = World::new().await;
    let enabled = "WITH ('write.extended-statistics.enabled' = 'true')";
    world
        .done(&format!("CREATE TABLE t (id INT, name STRING) {enabled}; INSERT INTO t VALUES (1, 'a'), (2, 'a')"))
        .await;
    world.tick();
    world.done("ALTER TABLE t ALTER COLUMN id TYPE BIGINT; INSERT INTO t VALUES (1, 'b'), (2, 'a')").await;
    world.tick();
    // An int and a bigint of one value have other hashes.
    assert_eq!(distinct_values(&world).await.unwrap().1, [(2, 2)]);
    world.done("CALL system.compute_table_stats('t')").await;
    assert_eq!(distinct_values(&world).await.unwrap().1, [(1, 2), (2, 2)]);
}

#[tokio::test]
async fn distinct_values_are_counted_over_all_inserts_and_the_files_go_with_their_snapshots() {
    let mut world = World::new().await;
    world
        .done(
            "CREATE TABLE t (id INT, name STRING) WITH ('write.extended-statistics.enabled' = 'true');
             INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, NULL);",
        )
        .await;
    world.tick();
    let first = distinct_values(&world).await.unwrap();
    assert_eq!(first.1, [(1, 3), (2, 1)]);
    world.done("INSERT INTO t VALUES (3, 'b'), (4, 'b')").await;
    world.tick();
    let second = distinct_values(&world).await.unwrap();
    assert_eq!((second.0, &second.1), (world.history("t").await[0], &vec![(1, 4), (2, 2)]));
    // Without the property nothing is counted; with it again, what is missing is read.
    world.done("ALTER TABLE t SET ('write.extended-statistics.enabled' = 'false')").await;
    world.done("INSERT INTO t VALUES (5, 'c'), (6, 'd')").await;
    world.tick();
    assert_eq!(distinct_values(&world).await.unwrap().0, second.0);
    world.done("ALTER TABLE t SET ('write.extended-statistics.enabled' = 'true')").await;
    world.done("INSERT INTO t VALUES (1, 'e')").await;
    world.tick();
    assert_eq!(distinct_values(&world).await.unwrap().1, [(1, 6), (2, 5)]);
    // Rows that are deleted take their values with them: only counting anew tells.
    world.done("DELETE FROM t WHERE id > 3; INSERT INTO t VALUES (7, 'a')").await;
    world.tick();
    assert_eq!(distinct_values(&world).await.unwrap().1, [(1, 6), (2, 5)]);
    let answer = world.answers("CALL system.compute_table_stats(table => 't', columns => ARRAY['name'])").await;
    assert!(answer.contains("statistics_file") && answer.contains(".stats"), "{answer}");
    assert_eq!(distinct_values(&world).await.unwrap().1, [(2, 3)]);
    world.done("CALL system.compute_table_stats('t')").await;
    let last = distinct_values(&world).await.unwrap();
    assert_eq!((last.0, last.1), (world.history("t").await[0], vec![(1, 4), (2, 3)]));

    let paths = |table: frazil_table::Table| -> Vec<String> {
        table.metadata().statistics_iter().map(|file| file.statistics_path.clone()).collect()
    };
    let before = paths(world.table("t").await);
    assert_eq!(before.len(), 4);
    world.done("CALL system.expire_snapshots(table => 't', older_than => TIMESTAMP '2030-01-01 00:00:00')").await;
    let after = paths(world.table("t").await);
    assert_eq!(after.len(), 1);
    for path in before {
        let is_there = world.session.env().store.head(&path).await.is_ok();
        assert_eq!(is_there, after.contains(&path), "{path}");
    }
}

#[tokio::test]
async fn statistics_are_refused_with_their_place() {
    let mut world = World::new().await;
    world.done("CREATE TABLE t (id INT, spot ROW<lat DOUBLE>)").await;
    world
        .check(
            "CALL system.compute_table_stats(table => 't', columns => ARRAY['spot.lta']);
             CALL system.compute_table_stats(table => 't', columns => ARRAY['spot']);
             CALL system.compute_table_stats(table => 't', columns => 'id');
             CALL system.compute_table_stats(table => 't', snapshot_id => 7);
             CALL system.compute_table_stats('t');
             ALTER TABLE t SET ('write.extended-statistics.enabled' = 'yes');
             INSERT INTO t VALUES (1, ROW(1.5));",
            expect![[r#"
                there is no column 'spot.lta'
                  --> line 1, column 47, in CALL
                   |
                 1 | CALL system.compute_table_stats(table => 't', columns => ARRAY['spot.lta'])
                   |                                               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
                   = did you mean 'spot.lat'?
                'spot' has no values of its own
                  --> line 2, column 60, in CALL
                   |
                 2 |              CALL system.compute_table_stats(table => 't', columns => ARRAY['spot'])
                   |                                                            ^^^^^^^^^^^^^^^^^^^^^^^^
                   = name a column in it
                'columns' is a list of texts: ARRAY['a', 'b']
                  --> line 3, column 60, in CALL
                   |
                 3 |              CALL system.compute_table_stats(table => 't', columns => 'id')
                   |                                                            ^^^^^^^^^^^^^^^
                the table has no snapshot 7; it has no snapshots
                  --> line 4, column 60, in CALL
                   |
                 4 |              CALL system.compute_table_stats(table => 't', snapshot_id => 7)
                   |                                                            ^^^^^^^^^^^^^^^^
                +-----------------+
                | statistics_file |
                +-----------------+
                |                 |
                +-----------------+
                table t is altered
                table property write.extended-statistics.enabled is "yes", but it must be true or false
            "#]],
        )
        .await;
}
