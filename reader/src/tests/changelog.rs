//! Changes between snapshots: the cases that engines got wrong, forms, projections, bounds on memory and cost.

use frazil_table::spec::{Datum, FormatVersion, Struct, UnboundPartitionSpec};
use frazil_table::{Change, DeleteFiles, Overwrite, RemovedFiles, RowDelta, TableFile, Validation};
use futures::TryStreamExt;
use serde_json::{Value, json};

use super::deletes::{vector, vectors};
use super::world::*;
use crate::*;

const SCHEMA: &str = r#"{"type":"struct","identifier-field-ids":[1],"fields":[
    {"id":1,"name":"id","required":true,"type":"long"},
    {"id":2,"name":"k","required":false,"type":"int"},
    {"id":3,"name":"s","required":false,"type":{"type":"struct","fields":[
        {"id":4,"name":"x","required":false,"type":"string"},
        {"id":5,"name":"y","required":false,"type":"string"}]}},
    {"id":6,"name":"m","required":false,"type":{"type":"map","key-id":7,"key":"string","value-id":8,
        "value-required":false,"value":{"type":"list","element-id":9,"element-required":false,"element":"long"}}}]}"#;

fn row(id: i64, k: i64) -> Value {
    json!({"id": id, "k": k, "s": {"x": format!("x{k}"), "y": null}, "m": {"a": [id, null], "b": null}})
}

fn rows(ids: std::ops::Range<i64>) -> Vec<Value> {
    ids.map(|id| row(id, 0)).collect()
}

async fn new_world(version: FormatVersion) -> World {
    World::with(SCHEMA, None, version, &[]).await
}

/// Appends a file of row groups of seven rows.
async fn append(world: &mut World, rows: &[Value]) -> (String, i64) {
    let file = world.write(rows, 7, Struct::empty()).await;
    let path = file.file.file_path().to_owned();
    (path, world.append_files(vec![file]).await)
}

async fn read(world: &World, request: &ChangelogRequest) -> Result<Vec<Value>> {
    read_within(world, request, 128 << 20).await
}

async fn read_within(world: &World, request: &ChangelogRequest, bytes_max: usize) -> Result<Vec<Value>> {
    let plan = plan_changelog(&world.table, request)?;
    let reader = ChangelogReader::new(&world.context, &plan, 2).with_bytes_max(bytes_max);
    let batches: Vec<_> = reader.into_stream().try_collect().await?;
    assert!(batches.iter().all(|batch| batch.num_rows() > 0 && batch.schema() == *plan.arrow()));
    Ok(to_rows(&batches))
}

/// `0+7:1` is the insert of row 7 with `k` = 1 by the first snapshot; `-` a delete, `<` and `>` what an update finds and
/// leaves.
fn short(rows: &[Value]) -> Vec<String> {
    let sign = |change: &Value| match change.as_str().unwrap() {
        "INSERT" => "+",
        "DELETE" => "-",
        "UPDATE_BEFORE" => "<",
        "UPDATE_AFTER" => ">",
        other => panic!("{other}"),
    };
    let short =
        |row: &Value| format!("{}{}{}:{}", row["_change_ordinal"], sign(&row["_change_type"]), row["id"], row["k"]);
    let mut all: Vec<String> = rows.iter().map(short).collect();
    all.sort();
    all
}

async fn changes(world: &World, form: ChangelogForm, start: IncrementStart) -> Vec<String> {
    let request = ChangelogRequest { form, start, ..ChangelogRequest::default() };
    short(&read(world, &request).await.unwrap())
}

fn after(snapshot_id: i64) -> IncrementStart {
    IncrementStart::Exclusive(snapshot_id)
}

fn removing(paths: &[&str]) -> RemovedFiles {
    RemovedFiles::Files(paths.iter().map(|path| (*path).to_owned()).collect())
}

async fn overwrite(world: &mut World, paths: &[&str], rows: &[Value]) -> i64 {
    let added = vec![world.write(rows, 7, Struct::empty()).await];
    let validation = Validation::snapshot(world.table.current_snapshot().map(|snapshot| snapshot.snapshot_id()));
    let removed = removing(paths);
    world.change(Change::Overwrite(Overwrite { removed, added, validation, properties: Default::default() })).await
}

/// Museum: Iceberg's own changelog tells every row that copy-on-write copied as a delete and an insert
/// (`BaseIncrementalChangelogScan`), and Spark's removal of them lost rows that were there more than once.
#[tokio::test]
async fn rows_that_copy_on_write_copies_are_not_told_and_duplicates_are_counted() {
    let mut world = new_world(FormatVersion::V2).await;
    let (path, start) = append(&mut world, &[row(1, 0), row(2, 0), row(3, 0), row(3, 0), row(3, 0)]).await;
    let path_of_copy = {
        overwrite(&mut world, &[&path], &[row(1, 0), row(2, 9), row(3, 0), row(4, 0), row(4, 0)]).await;
        world.state().await.live_data_files().unwrap()[0].file.file_path().to_owned()
    };
    let told = ["0+2:9", "0+4:0", "0+4:0", "0-2:0", "0-3:0", "0-3:0"];
    assert_eq!(changes(&world, ChangelogForm::Changes, after(start)).await, told);
    assert_eq!(changes(&world, ChangelogForm::Net, after(start)).await, told);
    // Back to what was there: all of it is nothing in the end.
    overwrite(&mut world, &[&path_of_copy], &[row(3, 0), row(2, 0), row(3, 0), row(1, 0), row(3, 0)]).await;
    assert_eq!(changes(&world, ChangelogForm::Net, after(start)).await, [""; 0]);
    assert_eq!(changes(&world, ChangelogForm::Changes, after(start)).await.len(), 12);
}

/// Museum: Iceberg's pull request 10935 told rows again that an older equality delete had deleted, and Flink reads no
/// snapshot that is not an append.
#[tokio::test]
async fn a_row_that_an_equality_delete_took_does_not_go_again_with_the_next_one_or_with_its_file() {
    let mut world = new_world(FormatVersion::V2).await;
    let (path, start) = append(&mut world, &[row(1, 1), row(2, 1)]).await;
    let deletes = world.equality_deletes(&["id"], &[json!({"id": 1})]).await;
    let second = world.write(&[row(1, 2)], 7, Struct::empty()).await;
    world.row_delta(vec![second], vec![deletes]).await;
    let deletes = world.equality_deletes(&["id"], &[json!({"id": 1})]).await;
    let third = world.write(&[row(1, 3)], 7, Struct::empty()).await;
    world.row_delta(vec![third], vec![deletes]).await;
    let removed = removing(&[&path]);
    let validation = Validation::snapshot(world.table.current_snapshot().map(|snapshot| snapshot.snapshot_id()));
    world.change(Change::DeleteFiles(DeleteFiles { removed, validation, properties: Default::default() })).await;
    let told = ["0+1:2", "0-1:1", "1+1:3", "1-1:2", "2-2:1"];
    assert_eq!(changes(&world, ChangelogForm::Changes, after(start)).await, told);
    assert_eq!(
        changes(&world, ChangelogForm::Upsert, after(start)).await,
        ["0<1:1", "0>1:2", "1<1:2", "1>1:3", "2-2:1"]
    );
    assert_eq!(changes(&world, ChangelogForm::Net, after(start)).await, ["0-1:1", "1+1:3", "2-2:1"]);
    let whole = changes(&world, ChangelogForm::Net, IncrementStart::Beginning).await;
    assert_eq!(whole, ["2+1:3"], "what came and went within the range is not told");
}

/// Museum: Iceberg's issue 15305 applied equality deletes to rows of their own commit.
#[tokio::test]
async fn what_a_commit_both_adds_and_deletes_by_position_is_not_told_and_by_equality_it_stays() {
    let mut world = new_world(FormatVersion::V2).await;
    let (_, start) = append(&mut world, &rows(0..3)).await;
    let file = world.write(&[row(1, 7), row(5, 7), row(6, 7)], 7, Struct::empty()).await;
    let path = file.file.file_path().to_owned();
    let by_position = world.position_deletes(&[(&path, 1)], Some(&path)).await;
    let by_key = world.equality_deletes(&["id"], &[json!({"id": 1}), json!({"id": 6})]).await;
    world.row_delta(vec![file], vec![by_position, by_key]).await;
    assert_eq!(changes(&world, ChangelogForm::Changes, after(start)).await, ["0+1:7", "0+6:7", "0-1:0"]);
}

/// Museum: readers of deltas that take a deletion vector for what was deleted tell the rows of the vector before it again.
#[tokio::test]
async fn only_the_rows_that_a_new_deletion_vector_adds_go() {
    let mut world = new_world(FormatVersion::V2).await;
    let (path, start) = append(&mut world, &rows(0..20)).await;
    let named = world.position_deletes(&[(&path, 3)], Some(&path)).await;
    world.row_delta(vec![], vec![named.clone()]).await;
    let shared = world.position_deletes(&[(&path, 3), (&path, 4)], None).await;
    world.row_delta(vec![], vec![shared]).await;
    let key = world.equality_deletes(&["id"], &[json!({"id": 5}), json!({"id": 19})]).await;
    world.row_delta(vec![], vec![key]).await;
    let upgrade = frazil_table::MetadataChange::UpgradeFormatVersion(FormatVersion::V3);
    world.change(Change::Metadata(upgrade)).await;
    let mut absorbed = vec![named];
    // 5 is dead by equality, 1 << 40 is no row.
    for (positions, count) in [(&[3, 4, 5, 6][..], 4), (&[3, 4, 5, 6, 18, 1 << 40], 6)] {
        let delete_files = vectors(&mut world, &[(&path, vector(positions), count)]).await;
        let validation = Validation::snapshot(world.table.current_snapshot().map(|snapshot| snapshot.snapshot_id()));
        let removed_delete_files = std::mem::replace(&mut absorbed, delete_files.clone());
        let delta = RowDelta { delete_files, removed_delete_files, validation, ..RowDelta::default() };
        world.change(Change::RowDelta(delta)).await;
    }
    let told = ["0-3:0", "1-4:0", "2-19:0", "2-5:0", "3-6:0", "4-18:0"];
    assert_eq!(changes(&world, ChangelogForm::Changes, after(start)).await, told);
    assert_eq!(changes(&world, ChangelogForm::Net, after(start)).await, told);
}

#[tokio::test]
async fn a_replace_changes_nothing_and_has_no_ordinal() {
    let mut world = new_world(FormatVersion::V2).await;
    let (a, start) = append(&mut world, &rows(0..3)).await;
    let (b, _) = append(&mut world, &rows(3..5)).await;
    let dead = world.position_deletes(&[(&a, 0)], Some(&a)).await;
    world.row_delta(vec![], vec![dead]).await;
    let merged = world.write(&rows(1..5), 7, Struct::empty()).await;
    let replace = world.replace(vec![a, b], vec![merged]).await;
    append(&mut world, &rows(7..8)).await;
    let told = ["0+3:0", "0+4:0", "1-0:0", "2+7:0"];
    assert_eq!(changes(&world, ChangelogForm::Changes, after(start)).await, told);
    assert_eq!(changes(&world, ChangelogForm::Net, after(start)).await, told);
    let plan = plan_changelog(&world.table, &ChangelogRequest::default()).unwrap().to_string();
    assert!(plan.starts_with("changelog of 5 snapshots as changes\n  columns: id, k, s, m, _change_type"), "{plan}");
    let line = plan.lines().find(|line| line.contains(&replace.to_string())).unwrap();
    assert!(line.ends_with("(replace): passed over"), "{plan}");
}

#[tokio::test]
async fn columns_and_leaves_are_of_whole_rows_and_a_condition_is_of_rows() {
    let mut world = new_world(FormatVersion::V2).await;
    let (path, start) = append(&mut world, &[row(1, 1), row(2, 1), row(3, 1)]).await;
    overwrite(&mut world, &[&path], &[row(1, 1), row(2, 5), row(3, 6)]).await;
    let request = ChangelogRequest {
        start: after(start),
        projection: Projection::paths(["s.y", "m", "id"]),
        predicate: Some(Predicate::compare("k", Comparison::Less, Datum::int(6))),
        ..ChangelogRequest::default()
    };
    let told = read(&world, &request).await.unwrap();
    // Row 3 is one of those that match no longer.
    let ids: Vec<_> =
        told.iter().map(|row| (row["_change_type"].as_str().unwrap(), row["id"].as_i64().unwrap())).collect();
    assert_eq!(ids, [("DELETE", 2), ("DELETE", 3), ("INSERT", 2)]);
    assert_eq!(told[0]["s"], json!({"y": null}));
    assert_eq!(told[0]["m"], json!({"a": [2, null], "b": null}));
    let none = ChangelogRequest { projection: Projection::paths([""; 0]), ..request.clone() };
    assert_eq!(read(&world, &none).await.unwrap().len(), 3, "rows that differ are told without their columns, too");
    for (columns, reason) in [("_pos", "a change has no column _pos"), ("z", "there is no column \"z\"")] {
        let request = ChangelogRequest { projection: Projection::paths([columns]), ..request.clone() };
        let error = read(&world, &request).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn upserts_need_an_identifier_that_tells_rows_apart() {
    let mut world = new_world(FormatVersion::V2).await;
    let (path, start) = append(&mut world, &[row(1, 1), row(2, 1), row(3, 1)]).await;
    overwrite(&mut world, &[&path], &[row(1, 2), row(2, 2), row(4, 1)]).await;
    let upsert = |columns: &[&str]| ChangelogRequest {
        start: after(start),
        form: ChangelogForm::Upsert,
        identifier_columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        ..ChangelogRequest::default()
    };
    // In pairs, what was before what is.
    let rows = read(&world, &upsert(&[])).await.unwrap();
    let kinds: Vec<_> =
        rows.iter().map(|row| (row["id"].as_i64().unwrap(), row["_change_type"].as_str().unwrap())).collect();
    let pairs = [(1, "UPDATE_BEFORE"), (1, "UPDATE_AFTER"), (2, "UPDATE_BEFORE"), (2, "UPDATE_AFTER")];
    assert_eq!(kinds, [&pairs[..], &[(3, "DELETE"), (4, "INSERT")]].concat());
    let nested = short(&read(&world, &upsert(&["id", "s.x"])).await.unwrap());
    assert_eq!(nested, ["0+1:2", "0+2:2", "0+4:1", "0-1:1", "0-2:1", "0-3:1"]);
    let error = read(&world, &upsert(&["k"])).await.unwrap_err();
    assert!(matches!(error, Error::AmbiguousUpdate { .. }), "{error}");
    assert!(error.to_string().contains("several rows with the same k"), "{error}");
    let error = read(&world, &upsert(&["m"])).await.unwrap_err();
    assert!(matches!(error, Error::NoIdentifier { .. }), "{error}");
}

#[tokio::test]
async fn more_rows_than_memory_holds_are_told_alike() {
    let mut world = new_world(FormatVersion::V2).await;
    let (path, start) = append(&mut world, &rows(0..3_000)).await;
    let changed: Vec<Value> = (0..3_000).map(|id| row(id, i64::from(id % 3 == 0))).chain([row(9, 9)]).collect();
    overwrite(&mut world, &[&path], &changed).await;
    for form in [ChangelogForm::Changes, ChangelogForm::Net, ChangelogForm::Upsert] {
        let request = ChangelogRequest { form, start: after(start), ..ChangelogRequest::default() };
        if form == ChangelogForm::Upsert {
            let error = read_within(&world, &request, 20_000).await.unwrap_err();
            assert!(matches!(error, Error::AmbiguousUpdate { .. }), "row 9 went once and came twice: {error}");
            continue;
        }
        let in_memory = read(&world, &request).await.unwrap();
        assert_eq!(in_memory.len(), 2_001);
        let spilled = read_within(&world, &request, 20_000).await.unwrap();
        let first_insert = spilled.iter().position(|row| row["_change_type"] == "INSERT");
        assert_eq!(first_insert, Some(1_000), "what went comes first");
        assert_eq!(sorted(spilled), sorted(in_memory), "{form}");
    }
}

#[tokio::test]
async fn a_range_that_is_cut_or_of_another_history_is_refused() {
    let mut world = new_world(FormatVersion::V2).await;
    let mut ids = Vec::new();
    for id in 0..4 {
        ids.push(append(&mut world, &rows(id..id + 1)).await.1);
    }
    world.expire(vec![ids[0], ids[1]]).await;
    let ask = |start| ChangelogRequest { start, ..ChangelogRequest::default() };
    assert_eq!(changes(&world, ChangelogForm::Changes, after(ids[2])).await, ["0+3:0"]);
    // Of the first snapshot nobody knows any more what was there before.
    for start in [after(ids[1]), IncrementStart::Inclusive(ids[2]), IncrementStart::Beginning, after(ids[0])] {
        let error = read(&world, &ask(start)).await.unwrap_err();
        assert!(matches!(error, Error::SnapshotsExpired { missing, .. } if missing == ids[1]), "{start:?}: {error}");
        assert!(error.to_string().contains("history.expire.max-snapshot-age-ms"), "{error}");
    }
    let mut other = new_world(FormatVersion::V2).await;
    let (_, first) = append(&mut other, &rows(0..1)).await;
    let (_, second) = append(&mut other, &rows(1..2)).await;
    other.set_ref("main", first).await;
    append(&mut other, &rows(2..3)).await;
    let error = read(&other, &ask(after(second))).await.unwrap_err();
    assert!(matches!(error, Error::NotAnAncestor { .. }), "{error}");
    assert_eq!(changes(&other, ChangelogForm::Changes, IncrementStart::Beginning).await, ["0+0:0", "1+2:0"]);
}

/// Only what changed costs: not the rows that stay, nor the files that no new delete can reach.
#[tokio::test]
async fn deletes_cost_what_they_reach() {
    let mut world = new_world(FormatVersion::V2).await;
    let (a, _) = append(&mut world, &rows(0..70)).await;
    let (b, _) = append(&mut world, &rows(100..170)).await;
    let by_position = world.position_deletes(&[(&a, 69), (&a, 70)], Some(&a)).await;
    let first = world.row_delta(vec![], vec![by_position]).await;
    let by_key = bounded_deletes(&mut world, vec![1], &rows(105..106)).await;
    let second = world.row_delta(vec![], vec![by_key]).await;
    let cost = async |start, end| {
        let context = ReadContext::with_manifests(&world.env, &world.context.manifests);
        let request = ChangelogRequest { start, end: SnapshotSelector::Id(end), ..ChangelogRequest::default() };
        let plan = plan_changelog(&world.table, &request).unwrap();
        let batches: Vec<_> = ChangelogReader::new(&context, &plan, 1).into_stream().try_collect().await.unwrap();
        (short(&to_rows(&batches)), context.stats())
    };
    let (told, stats) = cost(IncrementStart::Inclusive(first), first).await;
    assert_eq!(told, ["0-69:0"]);
    assert_eq!((stats.files, stats.row_groups_read, stats.rows_returned), (1, 1, 1), "{stats:?}");
    let (told, stats) = cost(after(first), second).await;
    assert_eq!(told, ["0-105:0"]);
    // The keys of b, then one row group of it.
    assert_eq!((stats.files, stats.row_groups_read, stats.rows_decoded), (2, 11, 71), "{stats:?}");
    let diff = load_snapshot_diff(&world.context, &world.table, Some(first), second).await.unwrap();
    let plan = plan_changelog(&world.table, &ChangelogRequest::default()).unwrap();
    let planned = plan_snapshot_changes(&diff, plan.spec()).unwrap();
    assert_eq!(planned.paths(), (vec![b.as_str()], vec![]));
    assert!(planned.to_string().ends_with(&format!("  - rows that equality deletes find of {b}\n")), "{planned}");
}

#[tokio::test]
async fn equality_deletes_reach_only_their_partition() {
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(2, "k", frazil_table::spec::Transform::Identity)
        .unwrap()
        .build();
    let mut world = World::with(SCHEMA, Some(spec), FormatVersion::V2, &[]).await;
    let of = |k: i32| Struct::from_iter([Some(frazil_table::spec::Literal::int(k))]);
    let mut files = Vec::new();
    for k in 0..3 {
        files.push(world.write(&[row(1, k.into()), row(2, k.into())], 7, of(k)).await);
    }
    let start = world.append_files(files).await;
    let keys = world.equality_deletes(&["id"], &[json!({"id": 1})]).await;
    let mut builder = frazil_table::data_file_builder(&keys.file, keys.partition_spec_id);
    let scoped = TableFile { file: builder.partition(of(1)).build().unwrap(), ..keys };
    world.row_delta(vec![], vec![scoped]).await;
    assert_eq!(changes(&world, ChangelogForm::Changes, after(start)).await, ["0-1:1"]);
}

/// As an engine writes them: with bounds.
async fn bounded_deletes(world: &mut World, ids: Vec<i32>, rows: &[Value]) -> TableFile {
    let schema = world.schema();
    let keys = to_batch(&std::sync::Arc::new(frazil_table::arrow::arrow_schema(&schema).unwrap()), rows);
    let bounded = world.store(encode(&keys, 7), &schema, Struct::empty()).await;
    let mut builder = frazil_table::data_file_builder(&bounded.file, bounded.partition_spec_id);
    builder.content(frazil_table::spec::DataContentType::EqualityDeletes).equality_ids(Some(ids));
    TableFile { file: builder.build().unwrap(), ..bounded }
}

#[tokio::test]
async fn an_equality_delete_of_null_reaches_files_that_its_bounds_rule_out() {
    let mut world = new_world(FormatVersion::V2).await;
    let mut null = row(1, 0);
    null["k"] = Value::Null;
    let (_, start) = append(&mut world, &[null.clone(), row(2, 0)]).await;
    let deletes = bounded_deletes(&mut world, vec![2], &[null, row(9, 100)]).await;
    world.row_delta(vec![], vec![deletes]).await;
    assert_eq!(changes(&world, ChangelogForm::Changes, after(start)).await, ["0-1:null"]);
}

#[tokio::test]
async fn files_of_a_manifest_that_the_commit_merged_lose_rows_too() {
    let merges = [("commit.manifest.min-count-to-merge", "2")];
    let mut world = World::with(SCHEMA, None, FormatVersion::V2, &merges).await;
    let (a, _) = append(&mut world, &rows(0..3)).await;
    let (_, start) = append(&mut world, &rows(3..5)).await;
    let listed_in = |state: &frazil_table::TableState| {
        state.live_data_files_by_path().unwrap()[a.as_str()].manifest_path.to_owned()
    };
    let before = listed_in(&world.state().await);
    let new = world.write(&rows(5..6), 7, Struct::empty()).await;
    let deletes = world.position_deletes(&[(&a, 1)], Some(&a)).await;
    world.row_delta(vec![new], vec![deletes]).await;
    assert_ne!(listed_in(&world.state().await), before, "its manifest was merged");
    assert_eq!(changes(&world, ChangelogForm::Changes, after(start)).await, ["0+5:0", "0-1:0"]);
}

#[tokio::test]
async fn a_file_goes_without_the_rows_that_deletes_of_its_own_commit_took() {
    let mut world = new_world(FormatVersion::V2).await;
    let mut files = Vec::new();
    for id in [0, 10] {
        files.push(world.write(&rows(id..id + 2), 7, Struct::empty()).await);
    }
    let paths: Vec<String> = files.iter().map(|file| file.file.file_path().to_owned()).collect();
    // Of both files, so that it stays when one of them goes.
    let deletes = world.position_deletes(&[(&paths[0], 0), (&paths[1], 0)], None).await;
    let start = world.row_delta(files, vec![deletes]).await;
    let removed = removing(&[&paths[0]]);
    let validation = Validation::snapshot(Some(start));
    world.change(Change::DeleteFiles(DeleteFiles { removed, validation, properties: Default::default() })).await;
    assert_eq!(changes(&world, ChangelogForm::Changes, after(start)).await, ["0-1:0"]);
}

#[tokio::test]
async fn rows_of_deletes_that_are_gone_come_back() {
    let mut world = new_world(FormatVersion::V2).await;
    let (a, first) = append(&mut world, &rows(0..3)).await;
    let deletes = world.position_deletes(&[(&a, 1)], Some(&a)).await;
    let second = world.row_delta(vec![], vec![deletes]).await;
    let plan = plan_changelog(&world.table, &ChangelogRequest::default()).unwrap();
    let diff = load_snapshot_diff(&world.context, &world.table, Some(second), first).await.unwrap();
    let changes = plan_snapshot_changes(&diff, plan.spec()).unwrap();
    assert_eq!(changes.paths(), (vec![], vec![a.as_str()]));
}
