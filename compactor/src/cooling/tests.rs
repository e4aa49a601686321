use std::sync::Arc;

use frazil_table::Table;
use frazil_table::spec::{FormatVersion, TableMetadata};
use serde_json::Value;

use super::*;
use crate::plan::{InFlight, RewritePlan, plan_listing};
use crate::world::{World, config};
use crate::{Config, Policy};

/// What would be rewritten if each snapshot were as `edit` makes it.
async fn plan(world: &World, config: &Config, edit: impl Fn(usize, &mut Value)) -> RewritePlan {
    let mut listing = Listing::of(&world.state().await, config).unwrap();
    let mut metadata = serde_json::to_value(listing.table.metadata().as_ref()).unwrap();
    let snapshots = metadata["snapshots"].as_array_mut().unwrap();
    snapshots.sort_by_key(|snapshot| snapshot["sequence-number"].as_i64());
    snapshots.iter_mut().enumerate().for_each(|(index, snapshot)| edit(index, snapshot));
    let metadata: TableMetadata = serde_json::from_value(metadata).unwrap();
    let (ident, location) = (listing.table.ident().clone(), listing.table.metadata_location().to_owned());
    listing.table = Table::new(ident, Arc::new(metadata), &location);
    plan_listing(&listing, &InFlight::default())
}

fn make_foreign(snapshot: &mut Value) {
    snapshot["summary"].as_object_mut().unwrap().remove(OPERATION_ID);
}

fn move_back(snapshot: &mut Value, ms: i64) {
    snapshot["timestamp-ms"] = (snapshot["timestamp-ms"].as_i64().unwrap() - ms).into();
}

/// Files of each group, by the number in their names, and how many rest.
fn outline(plan: &RewritePlan) -> (Vec<Vec<u32>>, usize) {
    let number = |path: &str| path.rsplit(['/', '.']).nth(1).unwrap().parse().unwrap();
    (plan.groups.iter().map(|group| group.paths().map(number).collect()).collect(), plan.files_cooling)
}

/// Three files of each of two partitions, then a delete of rows of the first file.
async fn world(version: FormatVersion) -> World {
    let world = World::with_version(version).await;
    for _ in 0..3 {
        world.append(&[(Some(1), 100), (Some(2), 100)]).await;
    }
    let state = world.state().await;
    let first = state.live_data_files_by_path().unwrap().into_values().next().unwrap().file.clone();
    world.delete(&first, &[7]).await;
    world
}

#[tokio::test]
async fn a_file_rests_after_others_deleted_rows_of_it() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = world(version).await;
        let config = Config { delta_commits: 1, ..config() };
        let all = (vec![vec![0, 2, 4], vec![1, 3, 5]], 0);
        assert_eq!(outline(&plan(&world, &config, |_, _| {}).await), all, "{version}: its own commits");
        let foreign = |index, snapshot: &mut Value| {
            if index == 3 {
                make_foreign(snapshot);
            }
        };
        let plan_now = plan(&world, &config, foreign).await;
        assert_eq!(outline(&plan_now), (vec![vec![2, 4], vec![1, 3, 5]], 1), "{version}");
        let shown = plan_now.to_string();
        assert!(shown.contains("1 files rest, since other programs have just changed rows of them"), "{shown}");
        // A person who packs a table takes everything, and who sets no time lets nothing rest.
        for config in [config.clone().packing(), Config { cooling_ms: 0, ..config.clone() }] {
            assert_eq!(outline(&plan(&world, &config, foreign).await).1, 0);
        }
        assert_eq!(config.policy, Policy::Tiered);
    }
}

/// Until so much time has passed between that commit and the newest one.
#[tokio::test]
async fn a_file_rests_for_its_time() {
    let world = world(FormatVersion::V2).await;
    world.append(&[(Some(3), 100)]).await;
    let config = Config { delta_commits: 1, cooling_ms: 10_000, ..config() };
    for (ago_ms, resting) in [(0, 1), (9_000, 1), (10_001, 0)] {
        let edit = |index, snapshot: &mut Value| {
            if index < 4 {
                move_back(snapshot, ago_ms);
            }
            if index == 3 {
                make_foreign(snapshot);
            }
        };
        assert_eq!(outline(&plan(&world, &config, edit).await).1, resting, "{ago_ms} ms ago");
    }
}

/// What others wrote in the place of other files rests as well; what they only appended does not.
#[tokio::test]
async fn copies_of_others_rest_and_their_appends_do_not() {
    let world = world(FormatVersion::V2).await;
    let config = Config { delta_commits: 1, ..config() };
    for (operation, resting) in [("append", 0), ("overwrite", 2), ("replace", 0)] {
        let edit = |index, snapshot: &mut Value| {
            if index == 1 {
                make_foreign(snapshot);
                snapshot["summary"]["operation"] = operation.into();
            }
        };
        assert_eq!(outline(&plan(&world, &config, edit).await).1, resting, "{operation}");
    }
}

/// A delete file that names no data file is of any in its partition. An equality delete is of none that could get in its way.
#[tokio::test]
async fn a_partition_rests_where_a_delete_file_is_of_several_files() {
    let world = world(FormatVersion::V2).await;
    let listing = Listing::of(&world.state().await, &config()).unwrap();
    let named = listing.deletes[0].input.file.as_ref().clone();
    for (content, resting) in [(DataContentType::PositionDeletes, 3), (DataContentType::EqualityDeletes, 0)] {
        let mut listing = listing.clone();
        let mut builder = frazil_table::data_file_builder(&named, 0);
        builder.referenced_data_file(None).lower_bounds(Default::default()).content(content);
        let file = builder.equality_ids(Some(vec![1])).build().unwrap();
        let scope = DeleteScope::of(listing.table.metadata(), &file, 0);
        assert!(matches!(scope, DeleteScope::Partition(0, _)));
        listing.deletes[0].input.file = Arc::new(file);
        listing.deletes[0].scope = scope;
        let mut cooling = Cooling::of(&listing);
        assert!(cooling.snapshots.is_empty(), "nothing is foreign");
        cooling.snapshots.insert(listing.deletes[0].input.added_snapshot_id);
        cooling.note_deletes(&listing);
        let files = listing.partitions.iter().flat_map(|(partition, files)| files.iter().map(move |f| (partition, f)));
        assert_eq!(files.filter(|(partition, file)| cooling.has(partition, file)).count(), resting, "{content:?}");
    }
}
