use expect_test::expect;
use frazil_table::spec::{DataFileBuilder, FormatVersion, Literal, Struct};
use frazil_table::{Change, RowDelta, SnapshotProperties, TableFile, Validation, data_file_builder};

use super::*;
use crate::world::World;

impl World {
    /// An equality delete file of `keys` keys of the column `id` in partition `p`, committed.
    async fn equality(&self, p: i32, keys: u64, set: impl FnOnce(&mut DataFileBuilder)) {
        let file = self.file(Some(p), 10);
        let mut builder = data_file_builder(&file.file, 0);
        builder.content(DataContentType::EqualityDeletes).equality_ids(Some(vec![1])).record_count(keys);
        set(&mut builder);
        let delete_files = vec![TableFile { file: builder.build().unwrap(), partition_spec_id: 0 }];
        let validation = Validation::snapshot(self.state().await.snapshot_id());
        self.commit(Change::RowDelta(RowDelta { delete_files, validation, ..RowDelta::default() })).await;
    }
}

#[tokio::test]
async fn a_plan_prints() {
    let world = World::new().await;
    expect![[r#"
        db.t: no equality deletes
    "#]]
    .assert_eq(&plan_conversion(&world.state().await).unwrap().to_string());
    world.append(&[(Some(1), 10), (Some(2), 2_048)]).await;
    // Before any data file of its partition.
    world.equality(3, 7, |_| {}).await;
    world.append(&[(Some(1), 30), (Some(3), 5)]).await;
    world.equality(1, 100, |_| {}).await;
    world
        .equality(2, 1_000, |delete| {
            delete.file_format(DataFileFormat::Avro);
        })
        .await;
    let mut foreign = world.file(Some(4), 50);
    foreign.file = data_file_builder(&foreign.file, 0).file_format(DataFileFormat::Orc).build().unwrap();
    world.commit(Change::Append { files: vec![foreign], properties: SnapshotProperties::new() }).await;
    world.equality(4, 1, |_| {}).await;
    world
        .equality(1, 3, |delete| {
            delete.equality_ids(Some(vec![1, 2]));
        })
        .await;
    let plan = plan_conversion(&world.state().await).unwrap();
    assert_eq!(plan.data.len(), 2, "those of partition 1");
    expect![[r#"
        partition  why                sequence  columns        keys  data files       bytes
        p=3        dead                      2  id                7           0         0 B
        p=1        converted                 4  id              100           2        40 B
        p=2        not-readable              5  id             1000           1     2.0 KiB
        p=4        data-not-readable         7  id                1           1        50 B
        p=1        converted                 8  id,p              3           2        40 B
        db.t: 3 of 5 equality delete files become position deletes: 103 keys to look for in 2 data files
    "#]]
    .assert_eq(&plan.to_string());
}

/// A delete reaches what is older, in its own partition of its own spec; one of an unpartitioned spec everything that is older.
#[tokio::test]
async fn reach_is_by_number_and_partition() {
    let world = World::new().await;
    world.append(&[(Some(1), 10), (Some(2), 20)]).await;
    world.append(&[(Some(1), 40), (None, 80)]).await;
    let state = world.state().await;
    let data = state.live_data_files().unwrap();
    let reach = Reach::new(&data);
    let partition = |p: Option<i32>| DeleteScope::Partition(0, Struct::from_iter([p.map(Literal::int)]));
    let before = |scope: &DeleteScope| [1, 2, 3].map(|number| reach.before(scope, number));
    assert_eq!(before(&partition(Some(1))), [(0, 0), (1, 10), (2, 50)]);
    assert_eq!(before(&partition(None)), [(0, 0), (0, 0), (1, 80)]);
    assert_eq!(before(&partition(Some(3))), [(0, 0); 3]);
    assert_eq!(before(&DeleteScope::Partition(1, Struct::empty())), [(0, 0); 3]);
    assert_eq!(before(&DeleteScope::Table), [(0, 0), (2, 30), (4, 150)]);
    let deletes = reach::Deletes::new([(&partition(Some(1)), 2), (&partition(Some(2)), 1), (&partition(Some(1)), 1)]);
    let reached = data.iter().filter(|live| deletes.has(live)).map(|live| live.file.record_count());
    assert_eq!(reached.collect::<Vec<_>>(), [10]);
    let everywhere = reach::Deletes::new([(&DeleteScope::Table, 3)]);
    assert!(data.iter().all(|live| everywhere.has(live)));
    assert_eq!(world.state().await.table().metadata().format_version(), FormatVersion::V2);
}
