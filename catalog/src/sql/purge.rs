//! Deletes what a dropped table leaves.

use frazil_storage::Env;
use frazil_table::spec::TableMetadata;
use frazil_table::{ManifestCache, Table, io};

use crate::Result;
use crate::warehouse::Warehouse;

/// Deletes every file that the table's metadata names, what names a file after the file. Files outside the warehouse
/// stay, and with `gc.enabled=false` data files stay (Iceberg, "Table behavior properties").
///
/// Cost: reads all manifests of all snapshots. Safe to be cut short: what is left is orphans.
///
/// # Errors
/// If a manifest can't be read: the files below it stay.
pub(super) async fn run_purge(env: &Env, cache: &ManifestCache, warehouse: &Warehouse, table: &Table) -> Result<()> {
    let metadata = table.metadata();
    let emptied = without_snapshots(metadata);
    let emptied = Table::new(table.ident().clone(), emptied.into(), table.metadata_location());
    let files = io::find_unreachable_files(&env.store, cache, table, &emptied).await?;
    let keeps_data = table.property("gc.enabled").is_some_and(|value| value.eq_ignore_ascii_case("false"));
    let statistics = metadata.statistics_iter().map(|file| file.statistics_path.as_str());
    let partition_statistics = metadata.partition_statistics_iter().map(|file| file.statistics_path.as_str());
    let log = metadata.metadata_log().iter().map(|entry| entry.metadata_file.as_str());
    let named: Vec<&str> = files
        .in_order_of_deletion()
        .filter(|file| !(keeps_data && files.content_files.contains(*file)))
        .chain(statistics)
        .chain(partition_statistics)
        .chain(log)
        .chain([table.metadata_location()])
        .collect();
    for location in named {
        if warehouse.check(location).is_err() {
            tracing::warn!(location, table = %table.ident(), "a file outside the warehouse is not purged");
            continue;
        }
        if let Err(error) = env.store.delete(location).await {
            tracing::warn!(%error, table = %table.ident(), "a file of a purged table stays as an orphan");
        }
    }
    Ok(())
}

/// The builder keeps the current snapshot in the history; the JSON form lets it go.
fn without_snapshots(metadata: &TableMetadata) -> TableMetadata {
    let mut json = serde_json::to_value(metadata).expect("table metadata has a JSON form");
    let fields = json.as_object_mut().expect("table metadata is an object");
    for key in ["snapshots", "refs", "current-snapshot-id", "snapshot-log", "statistics", "partition-statistics"] {
        fields.remove(key);
    }
    serde_json::from_value(json).expect("a table without snapshots is a table")
}
