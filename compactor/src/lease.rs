//! Who keeps a table in shape. A job that compacts as it commits says so in the summaries of its snapshots, and for how
//! long from then on; until that is over the service leaves the table to it, so that the two never rewrite the same files.

use std::time::Duration;

use frazil_table::{SnapshotProperties, Table};

/// How long after a snapshot its writer still looks after the table's files, in milliseconds.
const LEASE_MS: &str = "frazil.compaction.lease-ms";

/// A job that is slower than this between two checkpoints still has its rewrites to itself.
const LEASE_MIN: Duration = Duration::from_secs(60);

/// Checkpoints that may pass without a commit before others may take over.
const CHECKPOINTS: u32 = 10;

/// Only so many of the newest snapshots are looked at: a lease is renewed with each commit of its holder.
const SNAPSHOTS_MAX: usize = 100;

/// What a job that compacts adds to the summary of each of its snapshots.
pub fn lease(checkpoint_interval: Duration) -> SnapshotProperties {
    let lease = checkpoint_interval.saturating_mul(CHECKPOINTS).max(LEASE_MIN);
    SnapshotProperties::from([(LEASE_MS.to_owned(), lease.as_millis().to_string())])
}

/// Whether a job looks after the table's files at `now_ms` (milliseconds since the Unix epoch).
pub(crate) fn is_leased(table: &Table, now_ms: i64) -> bool {
    let newest = table.current_snapshot().into_iter().flat_map(|head| table.ancestors_of(head.snapshot_id()));
    let mut leases = newest.take(SNAPSHOTS_MAX).filter_map(|snapshot| {
        let lease_ms: i64 = snapshot.summary().additional_properties.get(LEASE_MS)?.parse().ok()?;
        Some(snapshot.timestamp_ms().saturating_add(lease_ms))
    });
    leases.any(|until_ms| now_ms < until_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[tokio::test]
    async fn a_table_is_its_job_s_until_the_lease_is_over() {
        let world = World::new().await;
        world.append(&[(Some(1), 10)]).await;
        let is_leased_after = async |wait_ms: i64| {
            let table = world.queue.load().await.unwrap();
            is_leased(&table, table.current_snapshot().unwrap().timestamp_ms() + wait_ms)
        };
        assert!(!is_leased_after(0).await);
        world.append_as(&[(Some(1), 10)], lease(Duration::from_secs(30))).await;
        // What others write meanwhile does not end it.
        world.append(&[(Some(1), 10)]).await;
        assert!(is_leased_after(0).await && is_leased_after(299_000).await);
        assert!(!is_leased_after(300_001).await);
        assert!(!lease(Duration::from_secs(1)).values().any(|ms| ms != "60000"));
    }
}
