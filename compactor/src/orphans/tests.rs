use expect_test::expect;

use super::*;

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
