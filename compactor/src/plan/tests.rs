use expect_test::expect;
use frazil_table::LiveFile;
use frazil_table::spec::{DataContentType, DataFileBuilder, DataFileFormat, Literal, Struct};

use super::*;
use crate::world::{World, config};

/// A live delete file, as reading a state would find it.
struct Delete<'a> {
    content: DataContentType,
    /// The only data file that it names rows of.
    of: Option<&'a str>,
    /// `None`: unpartitioned.
    partition: Option<i32>,
    data_sequence_number: i64,
    rows: u64,
}

impl Delete<'_> {
    fn equality(p: i32, data_sequence_number: i64, rows: u64) -> Self {
        Self { content: DataContentType::EqualityDeletes, of: None, partition: Some(p), data_sequence_number, rows }
    }

    fn positions(p: i32, data_sequence_number: i64, rows: u64) -> Self {
        Self { content: DataContentType::PositionDeletes, ..Self::equality(p, data_sequence_number, rows) }
    }

    fn add(&self, listing: &mut Listing) {
        let mut builder = DataFileBuilder::default();
        let (kind, number) = (self.content as u8, self.data_sequence_number);
        builder
            .content(self.content)
            .file_path(format!("memory://w/delete-{kind}-{number}-{}", listing.deletes.len()))
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::from_iter(self.partition.map(|p| Some(Literal::int(p)))))
            .record_count(self.rows)
            .file_size_in_bytes(1)
            .referenced_data_file(self.of.map(str::to_owned));
        let file = builder.build().unwrap();
        listing.note_file(&LiveFile {
            file: &file,
            partition_spec_id: 0,
            data_sequence_number: number,
            file_sequence_number: number,
            added_snapshot_id: 1,
            manifest_path: "",
        });
    }
}

/// What a listing of a table has from its first delete on: large files too.
async fn listing_with(world: &World, config: &Config, deletes: &[Delete<'_>]) -> Listing {
    let mut listing = Listing::of_all(&world.state().await, config).unwrap();
    deletes.iter().for_each(|delete| delete.add(&mut listing));
    listing
}

fn plan(listing: &Listing) -> RewritePlan {
    plan_listing(listing, &InFlight::default())
}

fn path_of(listing: &Listing, p: i32, index: usize) -> String {
    listing.partitions[&(0, Struct::from_iter([Some(Literal::int(p))]))][index].file.file_path().to_owned()
}

fn sizes(plan: &RewritePlan) -> Vec<Vec<u64>> {
    let of = |group: &FileGroup| group.inputs.iter().map(|input| input.file.file_size_in_bytes()).collect();
    plan.groups.iter().map(of).collect()
}

#[tokio::test]
async fn a_plan_prints() {
    let world = World::new().await;
    for _ in 0..3 {
        world.append(&[(Some(1), 10), (Some(2), 2_048), (None, 100), (Some(3), 700)]).await;
    }
    world.append(&[(Some(4), 5)]).await;
    let plan = plan_rewrite(&world.state().await, &config().packing()).unwrap();
    expect![[r#"
        partition  why           files -> out       bytes          rows
        p=1        pack              3 -> 1          30 B            30
        p=3        pack              2 -> 1       1.4 KiB          1400
        p=null     pack              3 -> 1         300 B           300
        db.t: 8 files become 3; 1.7 KiB to read and to write
    "#]]
    .assert_eq(&plan.to_string());
}

#[tokio::test]
async fn an_empty_table_needs_nothing() {
    let world = World::new().await;
    let plan = plan_rewrite(&world.state().await, &config()).unwrap();
    assert_eq!((plan.groups.len(), plan.base_snapshot_id), (0, None));
    assert_eq!(plan.to_string(), "db.t: nothing to rewrite\n");
}

#[tokio::test]
async fn files_of_before_an_upgrade_wait_for_their_row_ids() {
    let world = World::new().await;
    world.append(&[(Some(1), 10), (Some(1), 10)]).await;
    world.upgrade().await;
    let plan = plan_rewrite(&world.state().await, &config().packing()).unwrap();
    expect![[r#"
        2 files are left alone until the table's next commit gives their rows ids
        db.t: nothing to rewrite
    "#]]
    .assert_eq(&plan.to_string());
    world.append(&[(Some(2), 10)]).await;
    let plan = plan_rewrite(&world.state().await, &config().packing()).unwrap();
    assert_eq!((sizes(&plan), plan.files_without_row_ids), (vec![vec![10; 2]], 0));
}

#[tokio::test]
async fn a_rewritten_file_leaves_the_candidates() {
    let world = World::new().await;
    for size in [400, 500, 300, 20, 30] {
        world.append(&[(Some(1), size)]).await;
    }
    let mut rounds = 0;
    loop {
        let plan = plan_rewrite(&world.state().await, &config().packing()).unwrap();
        if plan.groups.is_empty() {
            break;
        }
        let mut results = Vec::new();
        for group in &plan.groups {
            results.push(world.rewrite(group).await);
        }
        crate::commit_rewrite(&world.queue, results).await.unwrap();
        rounds += 1;
    }
    assert_eq!(rounds, 1);
    assert_eq!(world.sizes().await[&Some(1)].iter().sum::<u64>(), 1_250);
    assert_eq!(world.sizes().await[&Some(1)].len(), 2, "900 is no candidate, 350 has nothing to join it");
}

#[tokio::test]
async fn only_the_newest_commits_files_are_the_first_level() {
    let world = World::new().await;
    let config = Config { delta_commits: 4, ..config() };
    world.append(&[(Some(1), 600)]).await;
    for _ in 0..4 {
        world.append(&[(Some(1), 7)]).await;
    }
    let plan = plan_rewrite(&world.state().await, &config).unwrap();
    assert_eq!(sizes(&plan), [vec![7, 7, 7, 7]]);
    assert_eq!(plan.groups[0].reason, Reason::FirstLevel);
    // In the fourth place 600 waits for four times as much, or less if it holds many batches.
    let world = World::new().await;
    world.append(&[(Some(1), 600)]).await;
    for _ in 0..4 {
        world.append(&[(Some(1), 700), (Some(1), 700)]).await;
    }
    let plan = plan_rewrite(&world.state().await, &config).unwrap();
    assert_eq!(plan.groups[0].reason, Reason::Outgrown);
    assert_eq!(plan.groups[0].inputs[0].file.file_size_in_bytes(), 600);
}

#[tokio::test]
async fn a_plan_has_a_limit_and_says_what_waits() {
    let world = World::new().await;
    world.append(&[(Some(1), 50), (Some(1), 50), (Some(2), 50), (Some(2), 50), (Some(3), 5), (Some(3), 5)]).await;
    let config = Config { plan_bytes_max: 120, ..config() }.packing();
    let plan = plan_rewrite(&world.state().await, &config).unwrap();
    assert_eq!((plan.groups.len(), plan.deferred_groups), (1, 2));
    let config = Config { plan_bytes_max: 1, ..config };
    let plan = plan_rewrite(&world.state().await, &config).unwrap();
    assert_eq!((plan.groups.len(), plan.deferred_groups), (1, 2), "one group is always taken");
}

#[tokio::test]
async fn files_are_merged_with_the_deletes_that_apply_to_any_of_them() {
    let world = World::new().await;
    for _ in 0..4 {
        world.append(&[(Some(1), 10), (Some(2), 10)]).await;
    }
    // Sequence numbers 1 to 4. The delete applies to 1 and 2 of its partition.
    let config = config().packing();
    let listing = listing_with(&world, &config, &[Delete::equality(1, 3, 4)]).await;
    let plan = plan(&listing);
    let said = |g: &FileGroup| (g.partition_path.clone(), g.inputs.len(), g.deletes.len(), g.rows_deleted_max);
    let groups: Vec<_> = plan.groups.iter().map(said).collect();
    assert_eq!(groups, [("p=1".to_owned(), 4, 1, 4), ("p=2".to_owned(), 4, 0, 0)]);
    assert!(plan.groups.iter().all(|group| group.data_sequence_number == 4), "the base snapshot's");
    expect![[r#"
        partition  why           files -> out       bytes          rows  deletes  deleted rows
        p=1        pack              4 -> 1          40 B            40        1             4
        p=2        pack              4 -> 1          40 B            40        0             0
        db.t: 8 files become 2; 81 B to read, about 76 B to write; applies 1 delete files, which take away up to 4 rows
    "#]]
    .assert_eq(&plan.to_string());
}

#[tokio::test]
async fn deletes_that_can_apply_to_no_input_are_not_read() {
    let world = World::new().await;
    for _ in 0..4 {
        world.append(&[(Some(1), 10), (Some(2), 10)]).await;
    }
    let config = config().packing();
    let elsewhere = Some("memory://w/db/t/data/other.parquet");
    let deletes = [
        // As old as the oldest file, or older: equality deletes apply to what is older than they are.
        Delete::equality(1, 1, 5),
        Delete::positions(1, 0, 5),
        // Of another partition and of another file.
        Delete::equality(3, 9, 5),
        Delete { of: elsewhere, ..Delete::positions(1, 9, 5) },
    ];
    let plan = plan(&listing_with(&world, &config, &deletes).await);
    assert_eq!(sizes(&plan), [vec![10; 4], vec![10; 4]]);
    assert!(plan.groups.iter().all(|group| group.deletes.is_empty()), "{plan}");
}

#[tokio::test]
async fn a_file_of_any_size_is_rewritten_when_it_has_lost_enough_rows() {
    let world = World::new().await;
    // Two large files and a small one that has nothing to join it, each of which loses 300 rows.
    world.append(&[(Some(1), 2_000), (Some(2), 900), (Some(3), 600)]).await;
    let config = config().packing();
    let paths: Vec<String> = {
        let all = listing_with(&world, &config, &[]).await;
        (1..=3).map(|p| path_of(&all, p, 0)).collect()
    };
    let of = |index: usize| Delete { of: Some(&paths[index]), ..Delete::positions(index as i32 + 1, 2, 300) };
    let listing = listing_with(&world, &config, &[of(0), of(1), of(2)]).await;
    expect![[r#"
        partition  why           files -> out       bytes          rows  deletes  deleted rows
        p=2        deletes           1 -> 1         900 B           900        1           300
        p=3        deletes           1 -> 1         600 B           600        1           300
        db.t: 2 files become 2; 1.5 KiB to read, about 900 B to write; applies 2 delete files, which take away up to 600 rows
    "#]]
    .assert_eq(&plan(&listing).to_string());
    for (delete_ratio, groups) in [(0.0, 3), (0.15, 3), (0.3, 2), (0.4, 1), (1.0, 0)] {
        let config = Config { delete_ratio, ..config.clone() };
        let listing = listing_with(&world, &config, &[of(0), of(1), of(2)]).await;
        assert_eq!(plan(&listing).groups.len(), groups, "ratio {delete_ratio}");
    }
}

#[tokio::test]
async fn deletes_that_name_no_file_count_for_the_rows_in_their_reach_evenly() {
    let world = World::new().await;
    world.append(&[(Some(1), 3_000), (Some(1), 1_000), (Some(2), 1_000)]).await;
    world.append(&[(Some(1), 1_000)]).await;
    // 2,000 rows for the 4,000 of snapshot 1; half as many for the 5,000 of both.
    let lost = async |deletes: &[Delete<'_>]| {
        let listing = listing_with(&world, &config().packing(), deletes).await;
        let index = DeleteIndex::new(&listing.deletes);
        let everywhere = Spread::everywhere(&index, listing.files());
        let mut lost = Vec::new();
        for (partition, files) in &listing.partitions {
            let deletes = PartitionDeletes::new(&index, &everywhere, partition, files);
            let of = |file: &InputFile| (file.file.record_count(), deletes.rows_deleted(file).round() as u64);
            lost.extend(files.iter().map(of));
        }
        lost.sort_unstable();
        lost
    };
    assert_eq!(lost(&[Delete::equality(1, 2, 2_000)]).await, [(1_000, 0), (1_000, 0), (1_000, 500), (3_000, 1_500)]);
    assert_eq!(lost(&[Delete::positions(1, 2, 1_000)]).await, [(1_000, 0), (1_000, 200), (1_000, 200), (3_000, 600)]);
    // More than there is can't go.
    let twice = [Delete::equality(1, 9, 5_000), Delete::equality(1, 8, 5_000)];
    assert_eq!(lost(&twice).await, [(1_000, 0), (1_000, 1_000), (1_000, 1_000), (3_000, 3_000)]);
}

/// What the deletes of a snapshot name was there when they were written, so a file that came later has lost nothing to
/// them: else the output of a rewrite, which has the number of that snapshot, would be rewritten once more.
#[tokio::test]
async fn position_deletes_of_before_a_file_came_are_no_reason_to_rewrite_it() {
    let world = World::new().await;
    for _ in 0..2 {
        world.append(&[(Some(1), 900)]).await;
    }
    let config = Config { delete_ratio: 0.0, ..config() }.packing();
    let mut listing = listing_with(&world, &config, &[Delete::positions(1, 2, 900)]).await;
    assert_eq!(plan(&listing).groups.len(), 1);
    for file in listing.partitions.values_mut().flatten() {
        (file.data_sequence_number, file.file_sequence_number) = (2, 3);
    }
    assert_eq!(plan(&listing).groups.len(), 0);
}

#[tokio::test]
async fn what_little_is_left_of_large_files_goes_together() {
    let world = World::new().await;
    world.append(&[(Some(1), 1_000), (Some(1), 1_000), (Some(1), 1_000), (Some(1), 1_000)]).await;
    let config = config().packing();
    let paths: Vec<String> = {
        let all = listing_with(&world, &config, &[]).await;
        (0..4).map(|index| path_of(&all, 1, index)).collect()
    };
    let of = |index: usize, rows| Delete { of: Some(&paths[index]), ..Delete::positions(1, 2, rows) };
    let listing = listing_with(&world, &config, &[of(0, 900), of(1, 800), of(2, 700), of(3, 100)]).await;
    let plan = plan(&listing);
    assert_eq!(sizes(&plan), [vec![1_000; 3]]);
    assert_eq!((plan.groups[0].reason, plan.groups[0].bytes_out_estimate()), (Reason::Deletes, 600));
}
