//! Whole tables: once, and for as long as the service runs.

use std::time::Duration;

use frazil_compactor::{Config, Error, ServiceConfig, compact_table, run};
use frazil_storage::Env;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;

use super::table::{TestTable, random_columns};

#[tokio::test]
async fn a_one_off_compaction_ends_at_its_fixed_point() {
    let mut rng = StdRng::seed_from_u64(21);
    let test = TestTable::new(Env::in_memory(21), random_columns(&mut rng, 3, 2), true, &[]).await;
    for _ in 0..6 {
        test.append_random(&mut rng, 25).await;
    }
    let rows = test.rows().await;
    let config = Config::default().packing();
    let stop = CancellationToken::new();
    let dry = compact_table(&test.queue, &config, true, &stop).await.unwrap();
    let before = test.files().await;
    let report = compact_table(&test.queue, &config, false, &stop).await.unwrap();
    assert_eq!(dry.plan.unwrap().files_in(), report.files_in);
    assert_eq!((report.files_in, report.files_out, report.failed.len(), report.dropped.len()), (before.0, 3, 0, 0));
    assert_eq!(test.files().await, (3, before.0), "what was replaced stays until its snapshots expire");
    assert_eq!(test.rows().await, rows);
    let again = compact_table(&test.queue, &config, false, &stop).await.unwrap();
    assert_eq!((again.groups, again.to_string().as_str()), (0, "db.t: nothing to rewrite\n"));
    stop.cancel();
    test.append_random(&mut rng, 25).await;
    let stopped = compact_table(&test.queue, &config, false, &stop).await;
    assert!(matches!(stopped, Err(Error::Cancelled)));
    assert_eq!(test.files().await.0, 6);
}

#[tokio::test]
async fn the_service_compacts_tables_as_they_change_until_it_is_stopped() {
    let mut rng = StdRng::seed_from_u64(23);
    let test = TestTable::new(Env::in_memory(23), random_columns(&mut rng, 3, 2), false, &[]).await;
    let shutdown = CancellationToken::new();
    let config = ServiceConfig { interval_ms: 1, compaction: Config { delta_commits: 4, ..Config::default() } };
    let service = tokio::spawn(run(config, test.catalog.clone(), test.env.clone(), shutdown.clone()));
    for _ in 0..3 {
        test.append_random(&mut rng, 25).await;
    }
    let rows = test.rows().await.len();
    // With the fourth commit a compaction is due.
    test.append_random(&mut rng, 25).await;
    let compacted = async {
        while test.files().await.0 > 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), compacted).await.expect("the service compacts within a minute");
    shutdown.cancel();
    service.await.unwrap().unwrap();
    assert_eq!(test.rows().await.len(), rows + 25);
}
