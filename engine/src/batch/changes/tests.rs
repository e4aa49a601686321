//! Changes and metadata tables by SQL. Which rows changes are is tested in the crate `reader`.

use expect_test::expect;

use crate::Session;
use crate::batch::tests::{check, done, session};

/// Three snapshots: four rows in two partitions; one row deleted and one updated in place; one more row. Tags name them.
async fn accounts() -> Session {
    let mut session = session().await;
    let script = "
        CREATE TABLE accounts (id BIGINT NOT NULL, owner ROW<name STRING, city STRING>, k INT) PARTITIONED BY (k)
        WITH ('format-version' = '2', 'write.delete.mode' = 'merge-on-read', 'start-tag' = 'of a job');
        INSERT INTO accounts VALUES (1, ROW('ann', 'Oslo'), 0), (2, ROW('bob', 'Rome'), 0), (3, ROW('cid', 'Bern'), 1),
            (4, ROW('dan', NULL), 1);
        ALTER TABLE accounts CREATE TAG one;
        DELETE FROM accounts WHERE id = 1;
        ALTER TABLE accounts CREATE TAG two;
        INSERT OVERWRITE accounts VALUES (3, ROW('cid', 'Bonn'), 1), (4, ROW('dan', NULL), 1);
        INSERT INTO accounts VALUES (5, ROW('eve', 'Oslo'), 0);
        ALTER TABLE accounts SET IDENTIFIER FIELDS id;";
    done(&mut session, script).await;
    session
}

#[tokio::test]
async fn changes_are_told_between_tags_in_every_form() {
    let mut session = accounts().await;
    check(
        &mut session,
        "SELECT _change_ordinal AS at, _change_type AS what, id, owner.city FROM accounts$changes ORDER BY at, what, id;
         SELECT _change_type AS what, id, owner FROM accounts$changes
             /*+ OPTIONS('start-tag' = 'one', 'changes.form' = 'upsert') */ ORDER BY id, what;
         SELECT _change_type, id FROM accounts$changes /*+ OPTIONS('end-tag' = 'two', 'changes.form' = 'net') */
             ORDER BY id;
         SELECT count(*), count(DISTINCT c._commit_snapshot_id) AS commits FROM accounts$changes AS c
             JOIN accounts$snapshots AS s ON c._commit_snapshot_id = s.snapshot_id WHERE owner.city = 'Oslo'",
        expect![[r#"
            +----+--------+----+------------------------------+
            | at | what   | id | accounts$changes.owner[city] |
            +----+--------+----+------------------------------+
            | 0  | INSERT | 1  | Oslo                         |
            | 0  | INSERT | 2  | Rome                         |
            | 0  | INSERT | 3  | Bern                         |
            | 0  | INSERT | 4  |                              |
            | 1  | DELETE | 1  | Oslo                         |
            | 2  | DELETE | 3  | Bern                         |
            | 2  | INSERT | 3  | Bonn                         |
            | 3  | INSERT | 5  | Oslo                         |
            +----+--------+----+------------------------------+
            +---------------+----+-------------------------+
            | what          | id | owner                   |
            +---------------+----+-------------------------+
            | DELETE        | 1  | {name: ann, city: Oslo} |
            | UPDATE_AFTER  | 3  | {name: cid, city: Bonn} |
            | UPDATE_BEFORE | 3  | {name: cid, city: Bern} |
            | INSERT        | 5  | {name: eve, city: Oslo} |
            +---------------+----+-------------------------+
            +--------------+----+
            | _change_type | id |
            +--------------+----+
            | INSERT       | 2  |
            | INSERT       | 3  |
            | INSERT       | 4  |
            +--------------+----+
            +----------+---------+
            | count(*) | commits |
            +----------+---------+
            | 3        | 3       |
            +----------+---------+
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_plan_shows_which_snapshots_are_compared() {
    let mut session = accounts().await;
    check(
        &mut session,
        "EXPLAIN SELECT id, _change_type FROM accounts$changes
             /*+ OPTIONS('start-tag' = 'one', 'changes.form' = 'net') */ WHERE k = 1 AND _change_type <> 'DELETE'",
        expect![[r#"
            +---------------+-----------------------------------------------------------------------------------------------------------------------+
            | plan_type     | plan                                                                                                                  |
            +---------------+-----------------------------------------------------------------------------------------------------------------------+
            | logical_plan  | SubqueryAlias: accounts$changes                                                                                       |
            |               |   Filter: accounts$changes@1:38._change_type != Utf8("DELETE")                                                        |
            |               |     TableScan: accounts$changes@1:38 projection=[id, _change_type], full_filters=[accounts$changes@1:38.k = Int32(1)] |
            | physical_plan | FilterExec: _change_type@1 != DELETE                                                                                  |
            |               |   CooperativeExec                                                                                                     |
            |               |     ChangelogScanExec: table=default.accounts, form=net, columns=[id, _change_type], condition=k = 1, snapshots=3     |
            |               |                                                                                                                       |
            +---------------+-----------------------------------------------------------------------------------------------------------------------+
        "#]],
    )
    .await;
}

#[tokio::test]
async fn metadata_tables_tell_of_snapshots_files_and_partitions() {
    let mut session = accounts().await;
    check(
        &mut session,
        "SELECT s.operation, p.operation AS after, s.summary['added-records'] AS added FROM accounts$snapshots AS s
             LEFT JOIN accounts$snapshots AS p ON s.parent_id = p.snapshot_id ORDER BY s.committed_at;
         SELECT count(*), bool_and(is_current_ancestor), count(parent_id) FROM accounts$history;
         SELECT name, type, max_reference_age_in_ms FROM accounts$refs ORDER BY name;
         SELECT content, `partition`, record_count, file_format, spec_id FROM accounts$files ORDER BY content, file_path;
         SELECT content, record_count FROM accounts$files FOR SYSTEM_VERSION AS OF 'one' ORDER BY content, record_count;
         SELECT status, count(*), count(data_file.file_path) AS files FROM accounts$entries GROUP BY status ORDER BY status;
         SELECT content, sum(added_data_files_count + existing_data_files_count + added_delete_files_count) AS files,
             max(partition_summaries[1]['upper_bound']) AS k FROM accounts$manifests GROUP BY content ORDER BY content;
         SELECT `partition`.k AS k, spec_id, record_count, file_count, position_delete_record_count AS dead
             FROM accounts$partitions ORDER BY k",
        expect![[r#"
            +-----------+-----------+-------+
            | operation | after     | added |
            +-----------+-----------+-------+
            | append    |           | 4     |
            | delete    | append    |       |
            | overwrite | delete    | 2     |
            | append    | overwrite | 1     |
            +-----------+-----------+-------+
            +----------+------------------------------------------------+-----------------------------------+
            | count(*) | bool_and(accounts$history.is_current_ancestor) | count(accounts$history.parent_id) |
            +----------+------------------------------------------------+-----------------------------------+
            | 4        | true                                           | 3                                 |
            +----------+------------------------------------------------+-----------------------------------+
            +------+--------+-------------------------+
            | name | type   | max_reference_age_in_ms |
            +------+--------+-------------------------+
            | main | BRANCH |                         |
            | one  | TAG    |                         |
            | two  | TAG    |                         |
            +------+--------+-------------------------+
            +---------+-----------+--------------+-------------+---------+
            | content | partition | record_count | file_format | spec_id |
            +---------+-----------+--------------+-------------+---------+
            | 0       | {k: 0}    | 1            | PARQUET     | 0       |
            | 0       | {k: 0}    | 2            | PARQUET     | 0       |
            | 0       | {k: 1}    | 2            | PARQUET     | 0       |
            | 1       | {k: 0}    | 1            | PARQUET     | 0       |
            +---------+-----------+--------------+-------------+---------+
            +---------+--------------+
            | content | record_count |
            +---------+--------------+
            | 0       | 2            |
            | 0       | 2            |
            +---------+--------------+
            +--------+----------+-------+
            | status | count(*) | files |
            +--------+----------+-------+
            | 0      | 1        | 1     |
            | 1      | 3        | 3     |
            | 2      | 1        | 1     |
            +--------+----------+-------+
            +---------+-------+---+
            | content | files | k |
            +---------+-------+---+
            | 0       | 3     | 1 |
            | 1       | 1     | 0 |
            +---------+-------+---+
            +---+---------+--------------+------------+------+
            | k | spec_id | record_count | file_count | dead |
            +---+---------+--------------+------------+------+
            | 0 | 0       | 3            | 2          | 1    |
            | 1 | 0       | 2            | 1          | 0    |
            +---+---------+--------------+------------+------+
        "#]],
    )
    .await;
}

#[tokio::test]
async fn mistakes_at_metadata_tables_are_shown_at_their_place() {
    let mut session = accounts().await;
    check(
        &mut session,
        "SELECT * FROM accounts$file;
         SELECT * FROM acounts$files;
         SELECT * FROM accounts$refs FOR SYSTEM_VERSION AS OF 'one';
         SELECT * FROM accounts$files /*+ OPTIONS('start-tag' = 'one') */;
         SELECT * FROM accounts$changes /*+ OPTIONS('start-tag' = 'one', 'start-snapshot-id' = '1') */;
         SELECT * FROM accounts$changes /*+ OPTIONS('start-tag' = 'none') */;
         SELECT * FROM accounts$changes /*+ OPTIONS('start-tags' = 'one') */;
         SELECT * FROM accounts$changes FOR SYSTEM_VERSION AS OF 'one';
         SELECT * FROM accounts$changes
             /*+ OPTIONS('changes.form' = 'upsert', 'changes.identifier-columns' = 'owner') */",
        expect![[r#"
            a table has no metadata table 'file'
              --> line 1, column 15, in SELECT
               |
             1 | SELECT * FROM accounts$file
               |               ^^^^^^^^^^^^^
               = did you mean 'accounts$files'?
            there is no table 'acounts' in frazil.default
              --> line 2, column 24, in SELECT
               |
             2 |          SELECT * FROM acounts$files
               |                        ^^^^^^^^^^^^^
               = did you mean 'accounts'?
            'accounts$refs' has no versions
              --> line 3, column 24, in SELECT
               |
             3 |          SELECT * FROM accounts$refs FOR SYSTEM_VERSION AS OF 'one'
               |                        ^^^^^^^^^^^^^
               = it tells of all snapshots; look for the one that is meant in its rows
            'accounts$files' has no options
              --> line 4, column 24, in SELECT
               |
             4 |          SELECT * FROM accounts$files
               |                        ^^^^^^^^^^^^^^
            'start-snapshot-id' and 'start-tag' can't both be given
              --> line 5, column 24, in SELECT
               |
             5 |          SELECT * FROM accounts$changes
               |                        ^^^^^^^^^^^^^^^^
            the table has no tag "none"; it has one, two
              --> line 6, column 24, in SELECT
               |
             6 |          SELECT * FROM accounts$changes
               |                        ^^^^^^^^^^^^^^^^
            t$changes has no option 'start-tags'; did you mean 'start-tag'?
              --> line 7, column 53, in SELECT
               |
             7 |          SELECT * FROM accounts$changes
               |                                        ^
            changes are of a range of snapshots, not of one
              --> line 8, column 24, in SELECT
               |
             8 |          SELECT * FROM accounts$changes FOR SYSTEM_VERSION AS OF 'one'
               |                        ^^^^^^^^^^^^^^^^
               = write /*+ OPTIONS('end-snapshot-id' = '…') */
            changes can't be told as upserts: owner is not a single value of a row; name the columns that identify a row, or set the table's identifier fields
              --> line 9, column 24, in SELECT
               |
             9 |          SELECT * FROM accounts$changes
               |                        ^^^^^^^^^^^^^^^^
        "#]],
    )
    .await;
}

/// A table's own name goes first.
#[tokio::test]
async fn a_table_with_a_dollar_in_its_name_is_that_table() {
    let mut session = accounts().await;
    check(
        &mut session,
        "CREATE TABLE `accounts$files` (a INT); INSERT INTO `accounts$files` VALUES (1);
         SELECT * FROM accounts$files; SELECT count(*) FROM accounts$entries",
        expect![[r#"
            table `accounts$files` is made at memory://warehouse/default/accounts_files
            1 rows into frazil.default.`accounts$files`
            +---+
            | a |
            +---+
            | 1 |
            +---+
            +----------+
            | count(*) |
            +----------+
            | 5        |
            +----------+
        "#]],
    )
    .await;
}

#[tokio::test]
async fn metadata_columns_are_shown_where_they_are_named() {
    let mut session = accounts().await;
    check(
        &mut session,
        "SELECT id, _pos, _spec_id, _partition, _partition.k AS of_k FROM accounts ORDER BY id;
         SELECT count(*), count(DISTINCT a._file) AS files FROM accounts AS a
             JOIN accounts$files AS f ON a._file = f.file_path AND a._partition.k = f.`partition`.k;
         SELECT * FROM accounts WHERE _pos = 0;
         SELECT id, _row_id FROM accounts;
         SELECT count(*) FROM accounts WHERE _pos = 0 AND _spec_id = 0;
         CREATE TABLE v3 (a INT) WITH ('format-version' = '3', 'write.update.mode' = 'copy-on-write');
         INSERT INTO v3 VALUES (1), (2), (3); UPDATE v3 SET a = 20 WHERE a = 2;
         SELECT a, _row_id, _last_updated_sequence_number FROM v3 ORDER BY a;
         SELECT a, _partition FROM v3",
        expect![[r#"
            +----+------+----------+------------+------+
            | id | _pos | _spec_id | _partition | of_k |
            +----+------+----------+------------+------+
            | 2  | 1    | 0        | {k: 0}     | 0    |
            | 3  | 0    | 0        | {k: 1}     | 1    |
            | 4  | 1    | 0        | {k: 1}     | 1    |
            | 5  | 0    | 0        | {k: 0}     | 0    |
            +----+------+----------+------------+------+
            +----------+-------+
            | count(*) | files |
            +----------+-------+
            | 4        | 3     |
            +----------+-------+
            '*' can't stand in a query that names the metadata column _pos
              --> line 4, column 24, in SELECT
               |
             4 |          SELECT * FROM accounts WHERE _pos = 0
               |                        ^^^^^^^^
               = name the columns
            there is no column '_row_id'
              --> line 5, column 21, in SELECT
               |
             5 |          SELECT id, _row_id FROM accounts
               |                     ^^^^^^^
               = there are id, owner, k
            +----------+
            | count(*) |
            +----------+
            | 2        |
            +----------+
            table v3 is made at memory://warehouse/default/v3
            3 rows into frazil.default.v3
            UPDATE 1 rows; files -1 +1, deletes +0
            +----+---------+-------------------------------+
            | a  | _row_id | _last_updated_sequence_number |
            +----+---------+-------------------------------+
            | 1  | 0       | 1                             |
            | 3  | 2       | 1                             |
            | 20 | 1       | 2                             |
            +----+---------+-------------------------------+
            there is no column '_partition'
              --> line 10, column 20, in SELECT
                |
             10 |          SELECT a, _partition FROM v3
                |                    ^^^^^^^^^^
                = there are a
        "#]],
    )
    .await;
}
