use super::*;
use crate::world::{World, config};

#[tokio::test]
async fn a_dry_run_only_prints() {
    let world = World::new().await;
    for _ in 0..2 {
        world.append(&[(Some(1), 10)]).await;
    }
    let config = config().packing();
    let report = compact_table(&world.queue, &config, true, &CancellationToken::new()).await.unwrap();
    assert!(report.to_string().contains("2 files become 1"), "{report}");
    assert_eq!(world.sizes().await[&Some(1)], [10, 10]);
}

#[tokio::test]
async fn groups_that_fail_are_reported_and_end_the_loop() {
    let world = World::new().await;
    for _ in 0..2 {
        world.append(&[(Some(1), 10)]).await;
    }
    // The files of this world are names only.
    let config = config().packing();
    let report = compact_table(&world.queue, &config, false, &CancellationToken::new()).await.unwrap();
    assert_eq!((report.groups, report.failed.len()), (0, FRUITLESS_PLANS_MAX));
    assert!(report.to_string().contains("p=1: not rewritten"), "{report}");
    assert_eq!(world.sizes().await[&Some(1)], [10, 10]);
}

#[tokio::test]
async fn a_table_s_own_settings_go_over_the_service_s() {
    let world = World::new().await;
    let default = Config { delta_commits: 7, writers: 3, cooling_ms: 9, ..Config::default() };
    let table = world.queue.load().await.unwrap();
    let config = service_config(&table, &default).unwrap();
    assert_eq!((config.delta_commits, config.writers, config.enabled, config.cooling_ms), (7, 3, true, 9));
    let own = HashMap::from([(crate::COOLING_MS.to_owned(), "0".to_owned())]);
    world.commit(frazil_table::Change::SetProperties(own)).await;
    let config = service_config(&world.queue.load().await.unwrap(), &default).unwrap();
    assert_eq!((config.delta_commits, config.cooling_ms), (7, 0));
}

#[test]
fn a_report_says_what_was_deleted_meanwhile() {
    let report = Report { groups: 1, files_in: 2, files_out: 1, rows_rebased: 3, ..Report::default() };
    assert_eq!(
        report.to_string(),
        "2 files of 0 B became 1 of 0 B\n3 rows were deleted meanwhile, and are deleted of the new files\n"
    );
}

#[tokio::test]
async fn a_table_that_a_job_compacts_is_left_alone() {
    let world = World::new().await;
    for _ in 0..3 {
        world.append_as(&[(Some(1), 10)], crate::lease(Duration::from_secs(1))).await;
    }
    let queue = Arc::new(CommitQueue::new(
        world.queue.catalog().clone(),
        world.queue.env().clone(),
        world.queue.ident().clone(),
    ));
    let mut watched = Watched { queue, metadata_location: String::new(), coordinator: None };
    watched.look(&config(), &CancellationToken::new()).await.unwrap();
    assert!(watched.metadata_location.is_empty(), "it is looked at again when the lease may be over");
    assert!(watched.coordinator.is_none());
}
