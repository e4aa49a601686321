//! The feed: each row once, whatever the limits and wherever reading is begun again.

use std::num::NonZeroU64;

use frazil_table::spec::{FormatVersion, Struct};
use frazil_table::{Change, Overwrite, RemovedFiles, Validation};
use serde_json::{Value, json};

use super::world::*;
use crate::*;

const SCHEMA: &str = r#"{"type":"struct","identifier-field-ids":[1],"fields":[
    {"id":1,"name":"id","required":true,"type":"long"},{"id":2,"name":"v","required":false,"type":"string"}]}"#;

fn rows(ids: std::ops::Range<i64>) -> Vec<Value> {
    ids.map(|id| json!({"id": id, "v": format!("v{id}")})).collect()
}

async fn new_world() -> World {
    World::with(SCHEMA, None, FormatVersion::V2, &[]).await
}

/// Appends rows as two files with row groups of three rows.
async fn append_two(world: &mut World, ids: std::ops::Range<i64>) -> i64 {
    let middle = (ids.start + ids.end) / 2;
    let a = world.write(&rows(ids.start..middle), 3, Struct::empty()).await;
    let b = world.write(&rows(middle..ids.end), 3, Struct::empty()).await;
    world.append_files(vec![a, b]).await
}

async fn overwrite(world: &mut World, path: &str, rows: &[Value]) {
    let added = vec![world.write(rows, 3, Struct::empty()).await];
    let validation = Validation::snapshot(world.table.current_snapshot().map(|head| head.snapshot_id()));
    let removed = RemovedFiles::Files(vec![path.to_owned()]);
    let change = Overwrite { removed, added, validation, properties: Default::default() };
    world.change(Change::Overwrite(change)).await;
}

async fn feed(world: &World, options: FeedOptions) -> Result<TableFeed> {
    TableFeed::start(&world.catalog, &world.context, &world.ident, options).await
}

async fn drain(feed: &mut TableFeed) -> Result<Vec<FeedBatch>> {
    let mut all = Vec::new();
    while let Some(batch) = feed.poll().await? {
        assert_eq!(batch.position, feed.position());
        assert!(batch.batches.iter().all(|rows| rows.schema() == *feed.schema()));
        all.push(batch);
    }
    Ok(all)
}

fn told(batches: &[FeedBatch]) -> Vec<Value> {
    let batches: Vec<_> = batches.iter().flat_map(|batch| batch.batches.clone()).collect();
    to_rows(&batches)
}

fn at(position: Position) -> StartPosition {
    StartPosition::Position(position)
}

fn some(count: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(count)
}

/// Begins again behind every batch, and asks for exactly what came after it.
async fn check_resume(world: &World, options: &FeedOptions, batches: &[FeedBatch]) {
    let all = told(batches);
    let mut done = 0;
    for batch in batches {
        done += batch.num_rows();
        let options = FeedOptions { start: at(batch.position), limits: BatchLimits::default(), ..options.clone() };
        let rest = told(&drain(&mut feed(world, options).await.unwrap()).await.unwrap());
        assert_eq!(rest, all[done..], "behind {}", batch.position);
    }
}

#[tokio::test]
async fn limits_cut_batches_inside_files_and_a_position_behind_each_goes_on_with_the_next_row() {
    let mut world = new_world().await;
    append_two(&mut world, 0..20).await;
    let head = append_two(&mut world, 20..31).await;
    let predicate = Some(Predicate::In {
        path: "id".to_owned(),
        values: (0..31).filter(|id| id % 4 != 1).map(frazil_table::spec::Datum::long).collect(),
    });
    let all = FeedOptions { predicate, ..FeedOptions::default() };
    let whole = told(&drain(&mut feed(&world, all.clone()).await.unwrap()).await.unwrap());
    assert_eq!(whole.len(), (0..31).filter(|id| id % 4 != 1).count());
    for rows in [1, 2, 3, 5, 7, 100] {
        let limits = BatchLimits { rows: some(rows), ..BatchLimits::default() };
        let options = FeedOptions { limits, ..all.clone() };
        let batches = drain(&mut feed(&world, options.clone()).await.unwrap()).await.unwrap();
        assert_eq!(told(&batches), whole, "{rows} rows at a time");
        let sizes: Vec<usize> = batches.iter().map(FeedBatch::num_rows).filter(|rows| *rows > 0).collect();
        let (last, full) = sizes.split_last().unwrap();
        assert!(full.iter().all(|size| *size as u64 == rows) && *last as u64 <= rows, "{rows}: {sizes:?}");
        assert_eq!(batches.last().unwrap().position, Position::After { snapshot_id: head });
        check_resume(&world, &options, &batches).await;
    }
    let limits = BatchLimits { files: some(1), ..BatchLimits::default() };
    let batches = drain(&mut feed(&world, FeedOptions { limits, ..all.clone() }).await.unwrap()).await.unwrap();
    assert_eq!(told(&batches), whole);
    assert_eq!(batches.iter().filter(|batch| batch.num_rows() > 0).count(), 4, "as many as there are files");
    // An id and an offset are 12 bytes of a row, its text two or three: three rows and no fourth.
    let limits = BatchLimits { bytes: some(50), ..BatchLimits::default() };
    let batches = drain(&mut feed(&world, FeedOptions { limits, ..all.clone() }).await.unwrap()).await.unwrap();
    assert_eq!(told(&batches), whole);
    let sizes: Vec<usize> = batches.iter().map(FeedBatch::num_rows).collect();
    assert!(sizes.iter().all(|size| (0..=3).contains(size)) && sizes.contains(&3), "{sizes:?}");
    let limits = BatchLimits { bytes: some(1), ..BatchLimits::default() };
    let batches = drain(&mut feed(&world, FeedOptions { limits, ..all }).await.unwrap()).await.unwrap();
    assert!(batches.iter().all(|batch| batch.num_rows() <= 1), "a row that is too large comes alone");
    assert_eq!(told(&batches), whole);
}

#[tokio::test]
async fn changes_go_on_over_snapshots_of_every_kind_from_any_position() {
    let mut world = new_world().await;
    let first = world.write(&rows(0..8), 3, Struct::empty()).await;
    let path = first.file.file_path().to_owned();
    world.append_files(vec![first]).await;
    let options = |form| FeedOptions { form: FeedForm::Changelog(form), ..FeedOptions::default() };
    let mut live = feed(&world, options(ChangelogForm::Changes)).await.unwrap();
    let mut seen = drain(&mut live).await.unwrap();
    assert_eq!(told(&seen).len(), 8);
    let mut updated = rows(0..7);
    updated[3] = json!({"id": 3, "v": "new"});
    overwrite(&mut world, &path, &updated).await;
    let live_path = world.state().await.live_data_files().unwrap()[0].file.file_path().to_owned();
    let deletes = world.position_deletes(&[(&live_path, 0)], None).await;
    world.row_delta(vec![], vec![deletes]).await;
    append_two(&mut world, 20..24).await;
    let rest = world.rows(&all()).await;
    let compacted = world.write(&rest, 100, Struct::empty()).await;
    let removed: Vec<String> =
        world.state().await.live_data_files().unwrap().iter().map(|l| l.file.file_path().to_owned()).collect();
    let head = world.replace(removed, vec![compacted]).await;
    seen.extend(drain(&mut live).await.unwrap());
    assert_eq!(seen.last().unwrap().position, Position::After { snapshot_id: head }, "a replace moves the position");
    let short = |rows: &[Value]| -> Vec<String> {
        let text = |row: &Value| format!("{} {} {}", row["_change_type"].as_str().unwrap(), row["id"], row["v"]);
        rows.iter().map(text).collect()
    };
    let rows_seen = short(&told(&seen));
    let mut middle = rows_seen[8..12].to_vec();
    middle.sort();
    assert_eq!(
        middle,
        [r#"DELETE 3 "v3""#, r#"DELETE 7 "v7""#, r#"INSERT 3 "new""#, r#"DELETE 0 "v0""#]
            .into_iter()
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    assert_eq!(rows_seen.len(), 16);
    check_resume(&world, &options(ChangelogForm::Changes), &seen).await;

    for form in [ChangelogForm::Changes, ChangelogForm::Upsert, ChangelogForm::Net] {
        let limits = BatchLimits { rows: some(1), ..BatchLimits::default() };
        let options = FeedOptions { limits, ..options(form) };
        let batches = drain(&mut feed(&world, options.clone()).await.unwrap()).await.unwrap();
        assert!(batches.iter().all(|batch| batch.num_rows() <= 1));
        check_resume(&world, &options, &batches).await;
        let told = told(&batches);
        match form {
            ChangelogForm::Changes => assert_eq!(short(&told), rows_seen),
            ChangelogForm::Upsert => {
                let updates = told.iter().filter(|row| row["_change_type"].as_str().unwrap().starts_with("UPDATE"));
                assert_eq!(updates.count(), 2, "{told:?}");
            }
            ChangelogForm::Net => {
                let left: Vec<Value> = told.iter().map(|row| json!({"id": row["id"], "v": row["v"]})).collect();
                assert_eq!(sorted(left), sorted(world.rows(&all()).await), "all that is there, as inserts");
            }
        }
    }
}

#[tokio::test]
async fn what_is_lost_is_an_error_or_told_before_the_rows_come_again() {
    let mut world = new_world().await;
    let first = append_two(&mut world, 0..4).await;
    let second = append_two(&mut world, 4..8).await;
    let third = append_two(&mut world, 8..12).await;
    world.expire(vec![first, second]).await;
    for form in [FeedForm::Appends(OnRowLevelChange::Fail), FeedForm::Changelog(ChangelogForm::Changes)] {
        let start = at(Position::After { snapshot_id: first });
        let options = FeedOptions { start, form, ..FeedOptions::default() };
        let error = feed(&world, options.clone()).await.unwrap_err();
        assert!(matches!(error, Error::SnapshotsExpired { .. }), "{error}");
        let mut again = feed(&world, FeedOptions { on_lost: OnLost::Earliest, ..options }).await.unwrap();
        assert!(again.lost().unwrap().contains(&second.to_string()), "{:?}", again.lost());
        assert_eq!(told(&drain(&mut again).await.unwrap()).len(), 12);
        let kept = at(Position::After { snapshot_id: third });
        let options = FeedOptions { start: kept, form, on_lost: OnLost::Earliest, ..FeedOptions::default() };
        let mut feed = feed(&world, options).await.unwrap();
        assert_eq!(feed.lost(), None);
        assert_eq!(told(&drain(&mut feed).await.unwrap()).len(), 0);
    }
}

#[tokio::test]
async fn a_position_of_one_kind_is_refused_by_the_other_and_new_columns_end_changes() {
    let mut world = new_world().await;
    let head = append_two(&mut world, 0..4).await;
    let changes = FeedForm::Changelog(ChangelogForm::Changes);
    let within = Position::Within { snapshot_id: head, part: Part::Added, file_index: 1, row: 1 };
    let refused = feed(&world, FeedOptions { start: at(within), form: changes, ..FeedOptions::default() }).await;
    assert!(matches!(refused.unwrap_err(), Error::OtherPosition { .. }));
    let told_to = Position::Changes { after: None, to: head, rows: 1 };
    let refused = feed(&world, FeedOptions { start: at(told_to), ..FeedOptions::default() }).await;
    assert!(matches!(refused.unwrap_err(), Error::OtherPosition { .. }));

    let mut live = feed(&world, FeedOptions { form: changes, ..FeedOptions::default() }).await.unwrap();
    assert_eq!(told(&drain(&mut live).await.unwrap()).len(), 4);
    let wider = SCHEMA.replace(r#"{"id":2,"#, r#"{"id":3,"name":"w","required":false,"type":"long"},{"id":2,"#);
    world.evolve(&wider).await;
    let error = live.poll().await.unwrap_err();
    assert!(matches!(error, Error::ColumnsChanged { position: Position::After { .. }, .. }), "{error}");
}
