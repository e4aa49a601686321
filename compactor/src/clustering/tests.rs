use expect_test::expect;
use frazil_table::spec::{DataFileBuilder, Datum};
use frazil_table::{Change, SnapshotProperties, TableFile, data_file_builder};

use super::*;
use crate::world::{World, config};

impl World {
    /// A file of ids between two bounds, of which some may be null, under a name, committed.
    async fn ids(&self, p: i32, bounds: (i64, i64), name: &str, set: impl FnOnce(&mut DataFileBuilder)) {
        let file = self.file(Some(p), 1_000);
        let mut builder = data_file_builder(&file.file, 0);
        builder
            .file_path(format!("memory://w/db/t/data/{name}"))
            .lower_bounds([(1, Datum::long(bounds.0))].into())
            .upper_bounds([(1, Datum::long(bounds.1))].into())
            .null_value_counts([(1, 0)].into())
            .value_counts([(1, 1_000)].into());
        set(&mut builder);
        let files = vec![TableFile { file: builder.build().unwrap(), partition_spec_id: 0 }];
        self.commit(Change::Append { files, properties: SnapshotProperties::new() }).await;
    }
}

async fn order(world: &World, text: &str) -> Clustering {
    Clustering::parse(Some(text), world.state().await.table(), world.queue.env()).unwrap()
}

/// The files of each group.
async fn groups(world: &World, order: &Clustering) -> Vec<(Vec<String>, &'static str)> {
    let plan = plan_clustering(&world.state().await, &config().packing(), order).unwrap();
    let names = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    plan.groups.iter().map(|group| (group.paths().map(names).collect(), group.reason.name())).collect()
}

fn marked(order: &Clustering, run: u32, name: &str) -> String {
    format!("{}-{name}.parquet", Clustering { run, ..order.clone() }.file_prefix())
}

#[tokio::test]
async fn a_plan_prints() {
    let world = World::new().await;
    world.ids(1, (0, 10), "a", |_| {}).await;
    world.ids(1, (5, 20), "b", |_| {}).await;
    world.ids(2, (5, 20), "c", |_| {}).await;
    let order = order(&world, "id desc, p").await;
    let config = crate::Config { target_file_size_bytes: 1_000, ..config().packing() };
    let plan = plan_clustering(&world.state().await, &config, &order).unwrap();
    expect![[r#"
        partition  why           files -> out       bytes          rows
        p=1        not-in-order      2 -> 2       2.0 KiB          2000
        p=2        not-in-order      1 -> 1        1000 B          1000
        db.t: 3 files are put in order by id desc nulls last, p asc nulls first; 2.9 KiB to read and to write
    "#]]
    .assert_eq(&plan.to_string());
}

#[test]
fn a_name_tells_the_order_and_the_run() {
    let mark = Mark { order: 0x0123_4567, run: 0x89ab_cdef };
    let uuid = "01234567-89ab-7def-8123-456789abcdef";
    assert_eq!(Mark::of(&format!("s3://b/t/data/p=1/frazil-cluster-01234567-89abcdef-{uuid}.parquet")), Some(mark));
    for other in [
        format!("s3://b/frazil-cluster-01234567-89abcdef-{uuid}/frazil-{uuid}.parquet"),
        format!("frazil-compact-{uuid}.parquet"),
        format!("frazil-cluster-{uuid}.parquet"),
        "frazil-cluster-0123456".to_owned(),
        "frazil-cluster-ü1234567-89abcdef-".to_owned(),
    ] {
        assert_eq!(Mark::of(&other), None, "{other}");
    }
}

#[tokio::test]
async fn sorted_files_are_written_again_with_what_they_overlap() {
    let world = World::new().await;
    let order = order(&world, "id").await;
    let (own, other) = (marked(&order, 1, "own"), marked(&order, 2, "other"));
    // Of one run, though it looks as if they overlapped: nulls, and bounds that were cut short.
    world.ids(1, (0, 10), &own, |file| drop_nulls(file, 5)).await;
    world.ids(1, (9, 20), &marked(&order, 1, "next"), |file| drop_nulls(file, 1)).await;
    world.ids(1, (20, 30), &other, |_| {}).await;
    assert!(groups(&world, &order).await.is_empty(), "a value at the border is no overlap");
    world.ids(1, (40, 50), "unordered", |_| {}).await;
    world.ids(1, (50, 60), "beside", |_| {}).await;
    assert_eq!(groups(&world, &order).await, [(vec!["unordered".to_owned(), "beside".to_owned()], "not-in-order")]);
    world.ids(1, (60, 70), &marked(&order, 3, "stays"), |_| {}).await;
    world.ids(1, (70, 80), "behind", |_| {}).await;
    let found = groups(&world, &order).await;
    assert_eq!(found.iter().map(|(files, _)| files.len()).collect::<Vec<_>>(), [2, 1], "{found:?}");
    world.ids(1, (25, 26), &marked(&order, 4, "within"), |_| {}).await;
    world.ids(2, (0, 10), &marked(&order, 5, "one"), |_| {}).await;
    world.ids(2, (5, 20), &marked(&order, 6, "two"), |_| {}).await;
    let found = groups(&world, &order).await;
    let sizes: Vec<(usize, &str)> = found.iter().map(|(files, reason)| (files.len(), *reason)).collect();
    // What lies beside each other is written together; what stays lies between.
    assert_eq!(sizes, [(4, "not-in-order"), (1, "not-in-order"), (2, "overlap")], "{found:?}");
    assert!(found[0].0.contains(&other) && found[0].0.contains(&marked(&order, 4, "within")));
    // Another order's marks are no marks, and in another partition nothing overlaps these.
    let descending = self::order(&world, "id desc").await;
    assert_eq!(groups(&world, &descending).await.iter().map(|(files, _)| files.len()).sum::<usize>(), 10);
}

fn drop_nulls(file: &mut DataFileBuilder, nulls: u64) {
    file.null_value_counts([(1, nulls)].into());
}

#[tokio::test]
async fn what_is_not_known_of_a_file_overlaps() {
    let world = World::new().await;
    let order = order(&world, "id").await;
    world.ids(1, (0, 10), &marked(&order, 1, "a"), |_| {}).await;
    world.ids(1, (20, 30), &marked(&order, 2, "b"), |_| {}).await;
    assert!(groups(&world, &order).await.is_empty());
    world
        .ids(1, (0, 0), &marked(&order, 3, "c"), |file| {
            file.lower_bounds(Default::default());
        })
        .await;
    assert_eq!(groups(&world, &order).await[0].0.len(), 3);
    // A hash has nothing to do with the bounds of its column.
    let world = World::new().await;
    let hashed = self::order(&world, "bucket(4, id)").await;
    world.ids(1, (0, 10), &marked(&hashed, 1, "a"), |_| {}).await;
    world.ids(1, (20, 30), &marked(&hashed, 2, "b"), |_| {}).await;
    assert_eq!(groups(&world, &hashed).await[0].0.len(), 2);
}
