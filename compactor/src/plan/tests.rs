use expect_test::expect;
use frazil_table::LiveFile;
use frazil_table::spec::{DataContentType, DataFileBuilder, DataFileFormat, FormatVersion, Literal};

use super::*;
use crate::world::{World, config};

/// Adds a live delete file to a listing, as reading a state would.
fn add_delete(listing: &mut Listing, content: DataContentType, p: i32, data_sequence_number: i64, of: Option<&str>) {
    let mut builder = DataFileBuilder::default();
    builder
        .content(content)
        .file_path(format!("memory://w/delete-{data_sequence_number}"))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::int(p))]))
        .record_count(1)
        .file_size_in_bytes(1)
        .referenced_data_file(of.map(str::to_owned));
    let file = builder.build().unwrap();
    listing.note_file(&LiveFile {
        file: &file,
        partition_spec_id: 0,
        data_sequence_number,
        file_sequence_number: data_sequence_number,
        added_snapshot_id: 1,
        manifest_path: "",
    });
}

async fn listing(world: &World, config: &Config) -> Listing {
    Listing::of(&world.state().await, config).unwrap()
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
        partition  why          files -> out       bytes          rows
        p=1        pack             3 -> 1          30 B            30
        p=3        pack             2 -> 1       1.4 KiB          1400
        p=null     pack             3 -> 1         300 B           300
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
async fn a_v3_table_is_left_alone_and_the_plan_says_why() {
    let world = World::with_version(FormatVersion::V3).await;
    world.append(&[(Some(1), 10), (Some(1), 10)]).await;
    let plan = plan_rewrite(&world.state().await, &config().packing()).unwrap();
    assert!(plan.groups.is_empty());
    assert!(plan.to_string().contains("row's id"), "{plan}");
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
async fn files_are_not_merged_over_an_equality_delete_that_came_between() {
    let world = World::new().await;
    for _ in 0..4 {
        world.append(&[(Some(1), 10), (Some(2), 10)]).await;
    }
    let config = config().packing();
    let mut listing = listing(&world, &config).await;
    // Sequence numbers 1 to 4. The delete applies to 1 and 2 of its partition.
    add_delete(&mut listing, DataContentType::EqualityDeletes, 1, 3, None);
    let plan = plan_listing(&listing, &InFlight::default());
    let numbers: Vec<_> = plan.groups.iter().map(|g| (g.partition_path.as_str(), g.data_sequence_number)).collect();
    assert_eq!(numbers, [("p=1", 2), ("p=1", 4), ("p=2", 4)]);
    assert_eq!(plan.parted_by_deletes, 1);
    assert!(plan.groups.iter().all(|group| group.exact_sequence_number));
}

#[tokio::test]
async fn an_equality_delete_that_is_older_or_newer_than_all_files_parts_none() {
    let world = World::new().await;
    for _ in 0..4 {
        world.append(&[(Some(1), 10)]).await;
    }
    let config = config().packing();
    for number in [1, 5] {
        let mut listing = listing(&world, &config).await;
        add_delete(&mut listing, DataContentType::EqualityDeletes, 1, number, None);
        let plan = plan_listing(&listing, &InFlight::default());
        assert_eq!(sizes(&plan), [vec![10; 4]], "delete {number}");
    }
}

#[tokio::test]
async fn files_whose_rows_position_deletes_name_are_left_alone() {
    let world = World::new().await;
    for _ in 0..4 {
        world.append(&[(Some(1), 10), (Some(2), 10)]).await;
    }
    let config = config().packing();
    // Of one file only.
    let mut one = listing(&world, &config).await;
    let path = one.partitions[&(0, Struct::from_iter([Some(Literal::int(1))]))][1].file.file_path().to_owned();
    add_delete(&mut one, DataContentType::PositionDeletes, 1, 2, Some(&path));
    let plan = plan_listing(&one, &InFlight::default());
    assert_eq!((sizes(&plan), plan.files_with_deletes), (vec![vec![10; 3], vec![10; 4]], 1));
    // Of any file of the partition that is not newer.
    let mut any = listing(&world, &config).await;
    add_delete(&mut any, DataContentType::PositionDeletes, 1, 2, None);
    let plan = plan_listing(&any, &InFlight::default());
    assert_eq!((sizes(&plan), plan.files_with_deletes), (vec![vec![10; 2], vec![10; 4]], 2));
}
