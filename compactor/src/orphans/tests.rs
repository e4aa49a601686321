use bytes::Bytes;
use expect_test::expect;
use frazil_table::spec::StatisticsFile;
use frazil_table::{Change, MetadataChange, SnapshotProperties};

use super::*;
use crate::world::World;

const DAY_MS: i64 = 86_400_000;
const NOW_MS: i64 = 100 * DAY_MS;

fn file(name: &str, age_ms: i64) -> ObjectMeta {
    ObjectMeta { location: format!("s3://b/t/data/{name}"), size_bytes: 1_500, modified_ms: NOW_MS - age_ms }
}

fn plan(listed: &[ObjectMeta], named: &[&str], config: &OrphanConfig) -> OrphanPlan {
    let named = named.iter().map(|name| Location::parse(name).unwrap()).collect();
    plan_orphans(listed.to_vec(), &named, NOW_MS, config)
}

fn names(plan: &OrphanPlan) -> Vec<&str> {
    plan.files.iter().map(|file| file.location.rsplit('/').next().unwrap()).collect()
}

#[test]
fn what_is_named_young_or_foreign_stays() {
    let listed = [
        file("frazil-1.parquet", 4 * DAY_MS),
        file("frazil-2.parquet", 5 * DAY_MS),
        file("frazil-3.parquet", 3 * DAY_MS - 1),
        file("frazil-4.parquet", 4 * DAY_MS),
        file("part-0.parquet", 9 * DAY_MS),
        file(".frazil-tmp-0192aaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", 4 * DAY_MS + 1),
        file("version-hint.text", 9 * DAY_MS),
        file("00001-0192aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee.metadata.json", 9 * DAY_MS),
        file("00001-0192aaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee.metadata.json", 9 * DAY_MS),
    ];
    // The same file, however its scheme is spelt.
    let named = ["s3a://b/t/data/frazil-4.parquet", "not a location"];
    let plan = plan(&listed, &named[..1], &OrphanConfig::default());
    assert_eq!((plan.young, plan.foreign, plan.deferred), (1, 2, 0));
    expect![[r#"
        s3://b/t/data/00001-0192aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee.metadata.json (1.5 KiB)
        s3://b/t/data/frazil-2.parquet (1.5 KiB)
        s3://b/t/data/.frazil-tmp-0192aaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee (1.5 KiB)
        s3://b/t/data/frazil-1.parquet (1.5 KiB)
        1 files that nothing names are too young
        2 files that nothing names may be another program's
    "#]]
    .assert_eq(&plan.to_string());
}

#[test]
fn any_name_takes_other_programs_files_too() {
    let listed = [file("part-0.parquet", 9 * DAY_MS), file("version-hint.text", 9 * DAY_MS)];
    let config = OrphanConfig { any_name: true, ..OrphanConfig::default() };
    assert_eq!(names(&plan(&listed, &[], &config)), ["part-0.parquet"]);
}

#[test]
fn an_hour_is_left_whatever_was_asked_for() {
    let hour = ORPHAN_AGE_MS_MIN;
    let listed = [file("frazil-1.parquet", hour - 1), file("frazil-2.parquet", hour), file("frazil-3.parquet", -hour)];
    let config = OrphanConfig { age_ms_min: 0, ..OrphanConfig::default() };
    let plan = plan(&listed, &[], &config);
    assert_eq!((names(&plan), plan.young), (vec!["frazil-2.parquet"], 2));
}

#[test]
fn beyond_the_cap_the_oldest_go_first() {
    let listed: Vec<_> = (4..9).map(|age| file(&format!("frazil-{age}.parquet"), age * DAY_MS)).collect();
    let config = OrphanConfig { files_max: 2, ..OrphanConfig::default() };
    let plan = plan(&listed, &[], &config);
    assert_eq!((names(&plan), plan.deferred), (vec!["frazil-8.parquet", "frazil-7.parquet"], 3));
}

/// Ledgers name files as JSON inside of JSON.
#[test]
fn a_location_is_found_wherever_it_stands() {
    let mut named = Named::default();
    let inner = serde_json::json!({"files": [{"file-path": "s3://b/t/data/1.parquet"}]}).to_string();
    named.add_text(&serde_json::json!({"entry": inner, "n": 1, "x": null}).to_string());
    named.add_text("s3://b/t/metadata/frazil-committable-1.json");
    named.add_text("append");
    let found = |text: &str| named.locations.contains(&Location::parse(text).unwrap());
    assert!(found("s3://b/t/data/1.parquet") && found("s3://b/t/metadata/frazil-committable-1.json"));
    assert_eq!(named.ledgers, ["s3://b/t/metadata/frazil-committable-1.json"]);
    assert_eq!(named.locations.len(), 2);
}

/// Files at these names that exist, as a listing long ago had them.
async fn make(world: &World, names: &[&str]) -> OrphanPlan {
    let store = &world.queue.env().store;
    let mut plan = OrphanPlan::default();
    for name in names {
        let location = format!("memory://w/db/t/{name}");
        store.put_new(&location, Bytes::from_static(b"{}")).await.unwrap();
        plan.files.push(store.head(&location).await.unwrap());
    }
    plan
}

async fn deleted(world: &World, plan: OrphanPlan) -> (Vec<String>, usize) {
    let report = delete_orphans(&world.queue, plan, None).await.unwrap();
    assert_eq!(report.failed, []);
    let names = report.deleted.iter().map(|file| file.location.rsplit('/').next().unwrap().to_owned());
    (names.collect(), report.spared)
}

/// A commit between the listing and the deletion may name a file of the plan, in any of the ways in which one is named.
#[tokio::test]
async fn a_file_that_got_a_name_meanwhile_is_spared() {
    let world = World::new().await;
    let names =
        ["data/a", "data/named", "metadata/frazil-state-1.json", "metadata/frazil-committable-1.json", "data/b"];
    let mut plan = make(&world, &names).await;
    let committable = r#"{"sinks":[{"files":[{"file-path":"memory://w/db/t/data/b"}]}]}"#;
    let location = "memory://w/db/t/metadata/frazil-committable-1.json";
    world.queue.env().store.put(location, Bytes::from_static(committable.as_bytes())).await.unwrap();
    plan.files[3] = world.queue.env().store.head(location).await.unwrap();
    let mut more = make(&world, &["metadata/mirror.json", "metadata/stats.puffin", "data/gone-again"]).await;
    plan.files.append(&mut more.files);

    let mut file = world.file(Some(1), 10);
    file.file = frazil_table::spec::DataFileBuilder::default()
        .content(frazil_table::spec::DataContentType::Data)
        .file_path("memory://w/db/t/data/named".to_owned())
        .file_format(frazil_table::spec::DataFileFormat::Parquet)
        .partition(file.file.partition().clone())
        .record_count(1)
        .file_size_in_bytes(1)
        .build()
        .unwrap();
    let properties = SnapshotProperties::from([
        ("frazil.state-location".to_owned(), "memory://w/db/t/metadata/frazil-state-1.json".to_owned()),
        ("frazil.committable-location".to_owned(), location.to_owned()),
    ]);
    world.commit(Change::Append { files: vec![file], properties }).await;
    let mirror = serde_json::json!({"positions": {"state": {"location": "memory://w/db/t/metadata/mirror.json"}}});
    let updates = [("frazil.ledger.x".to_owned(), mirror.to_string())].into();
    world.commit(Change::SetProperties(updates)).await;
    let snapshot_id = world.queue.load().await.unwrap().metadata().current_snapshot_id().unwrap();
    let statistics = StatisticsFile {
        snapshot_id,
        statistics_path: "memory://w/db/t/metadata/stats.puffin".to_owned(),
        file_size_in_bytes: 2,
        file_footer_size_in_bytes: 1,
        key_metadata: None,
        blob_metadata: Vec::new(),
    };
    world.commit(Change::Metadata(MetadataChange::SetStatistics(statistics))).await;
    world.queue.env().store.delete("memory://w/db/t/data/gone-again").await.unwrap();
    assert_eq!(deleted(&world, plan).await, (vec!["a".to_owned()], 7));
}

#[tokio::test]
async fn a_file_that_is_another_one_now_is_spared() {
    let world = World::new().await;
    let plan = make(&world, &["data/a", "data/b"]).await;
    world.queue.env().store.put("memory://w/db/t/data/b", Bytes::from_static(b"new")).await.unwrap();
    assert_eq!(deleted(&world, plan).await, (vec!["a".to_owned()], 1));
}

/// What every retained snapshot names is left out of a plan, old ones and their manifests too.
#[tokio::test]
async fn nothing_of_the_table_itself_is_an_orphan() {
    let world = World::new().await;
    for _ in 0..3 {
        world.append(&[(Some(1), 10)]).await;
    }
    let table = world.queue.load().await.unwrap();
    let named = load_named(&world.queue, &table).await.unwrap();
    let listed = list(world.queue.env(), &table).await.unwrap();
    // The first metadata file and one after each append; a list and a manifest of each.
    assert_eq!(listed.len(), 4 + 3 + 3, "{listed:?}");
    let later_ms = i64::MAX / 2;
    let config = OrphanConfig { any_name: true, ..OrphanConfig::default() };
    assert_eq!(plan_orphans(listed, &named, later_ms, &config).files, []);
    let paths = world
        .state()
        .await
        .live_data_files()
        .unwrap()
        .iter()
        .map(|live| live.file.file_path().to_owned())
        .collect::<Vec<_>>();
    assert!(paths.len() == 3 && paths.iter().all(|path| named.contains(&Location::parse(path).unwrap())));
}

#[tokio::test]
async fn a_table_whose_files_are_not_its_own_is_refused() {
    let world = World::new().await;
    world.commit(Change::SetProperties([("gc.enabled".to_owned(), "FALSE".to_owned())].into())).await;
    let error = run_orphans(&world.queue, &OrphanConfig::default()).await.unwrap_err();
    assert!(error.to_string().contains("gc.enabled=false"), "{error}");
}
