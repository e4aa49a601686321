//! Sequence numbers and row ids, whatever happens to the manifests that list the files.

use frazil_table::spec::FormatVersion;
use frazil_table::{Change, ManifestCache, MetadataChange, RewriteManifests, TableState, io};

use crate::table::world::{World, append, path, with_lineage};

/// Small manifests are merged from the second on.
async fn merge_at_once(world: &World) {
    world.set_properties(&[("commit.manifest.min-count-to-merge", "2")]).await;
}

/// First row ids of live data files by path.
fn row_ids(state: &TableState) -> Vec<(String, Option<i64>)> {
    let live = state.live_data_files().unwrap();
    let mut ids: Vec<_> = live.iter().map(|l| (l.file.file_path().to_owned(), l.file.first_row_id())).collect();
    ids.sort();
    ids
}

/// iceberg#3841: a merge of manifests gave rewritten files the number of the merging snapshot. Equality deletes that had
/// come while they were rewritten then no longer applied to them.
#[tokio::test]
async fn iceberg_3841_a_merge_keeps_explicit_sequence_numbers() {
    let world = World::new(FormatVersion::V2).await;
    let old = world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    let output = world.write_one(&[(1, 0, "a"), (2, 0, "a")]).await;
    let rewrite = world.rewrite(&[&old], vec![output.clone()]).await;
    let delta = world.delta(vec![], vec![world.equality(&[2], &old).await]).await;
    world.commit(&[delta]).await;
    world.commit(&[rewrite]).await;
    merge_at_once(&world).await;
    for id in 3..6 {
        world.append(&[(id, 0, "b")]).await;
    }
    let state = world.state().await;
    let data = state.live_data_files_by_path().unwrap();
    assert_eq!(data[path(&output).as_str()].data_sequence_number, 1);
    assert!(state.manifests().len() <= 3, "{} manifests", state.manifests().len());
    assert_eq!(world.ids().await, [1, 3, 4, 5]);
}

/// The least sequence number of a manifest counts the files that its own commit adds: a reader that looks for files that
/// a delete applies to passes over manifests that say they have none so old.
#[tokio::test]
async fn the_least_number_of_a_manifest_counts_rewritten_files() {
    let world = World::new(FormatVersion::V2).await;
    let old = world.append(&[(1, 0, "a")]).await;
    world.append(&[(2, 0, "a")]).await;
    let rewrite = world.rewrite(&[&old], vec![world.write_one(&[(1, 0, "a")]).await]).await;
    world.commit(&[rewrite]).await;
    merge_at_once(&world).await;
    world.append(&[(3, 0, "a")]).await;
    world.append(&[(4, 0, "a")]).await;
    let state = world.state().await;
    for manifest in state.manifests() {
        let entries = state.entries_of(manifest).unwrap();
        let live = entries.iter().filter(|entry| entry.is_alive()).filter_map(|entry| entry.sequence_number());
        if let Some(least) = live.min() {
            assert_eq!(manifest.min_sequence_number, least, "{}", manifest.manifest_path);
        }
    }
    assert_eq!(state.manifests().iter().map(|manifest| manifest.min_sequence_number).min(), Some(1));
}

/// iceberg#16263, #16699, #17039: rewritten or merged manifests of v3 tables give their files new row ids. What was
/// inherited has to be written down before an entry moves.
#[tokio::test]
async fn iceberg_16263_row_ids_survive_merges_and_rewrites_of_manifests() {
    let world = World::new(FormatVersion::V3).await;
    for id in 1..4 {
        world.append(&[(id, 0, "a"), (id + 10, 0, "a")]).await;
    }
    let before = row_ids(&world.state().await);
    let mut ids: Vec<_> = before.iter().map(|(_, id)| id.unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [0, 2, 4]);
    merge_at_once(&world).await;
    let late = world.append(&[(4, 0, "b")]).await;
    let known = |ids: Vec<(String, Option<i64>)>| {
        ids.into_iter().filter(|(file, _)| before.iter().any(|(known, _)| known == file)).collect::<Vec<_>>()
    };
    assert_eq!(known(row_ids(&world.state().await)), before, "merged");
    let rewrite = RewriteManifests { target_size_bytes: None, properties: Default::default() };
    world.commit(&[Change::RewriteManifests(rewrite)]).await;
    assert_eq!(known(row_ids(&world.state().await)), before, "rewritten");
    assert_eq!(world.summary().await["entries-processed"], "4");
    // One file goes, the others of its manifest are listed anew.
    let output = with_lineage(&world.write_one(&[(4, 0, "b")]).await);
    let rewrite = world.rewrite(&[&late], vec![output]).await;
    world.commit(&[rewrite]).await;
    assert_eq!(known(row_ids(&world.state().await)), before, "removed from");
    assert_eq!(world.ids().await, [1, 2, 3, 4, 11, 12, 13]);
}

/// The same within one commit: the second snapshot lists files anew whose ids the first one has just given out.
#[tokio::test]
async fn row_ids_are_the_same_in_both_snapshots_of_a_commit() {
    let world = World::new(FormatVersion::V3).await;
    world.append(&[(1, 0, "a")]).await;
    let (kept, gone) = (world.write_one(&[(2, 0, "a"), (3, 0, "a")]).await, world.write_one(&[(4, 0, "a")]).await);
    let rewrite = Change::Replace {
        removed: vec![path(&gone)],
        added: vec![with_lineage(&world.write_one(&[(4, 0, "a")]).await)],
        data_sequence_number: 2,
        base_snapshot_id: world.head().await,
        carried: None,
        properties: Default::default(),
    };
    let committed = world.commit(&[append(vec![kept.clone(), gone]), rewrite]).await;
    let table = world.table().await;
    let mut seen = Vec::new();
    for id in &committed.snapshot_ids {
        let snapshot = table.metadata().snapshot_by_id(*id).cloned();
        let cache = ManifestCache::default();
        let state = io::load_state_at(&world.env.store, &cache, &table, "main", snapshot, io::Entries::All);
        let ids = row_ids(&state.await.unwrap());
        seen.push(ids.into_iter().find(|(file, _)| *file == path(&kept)).unwrap().1);
    }
    assert_eq!(seen, [Some(1), Some(1)]);
}

/// A table that was upgraded to v3: its files get their row ids when a snapshot lists them first, once and for all.
#[tokio::test]
async fn files_of_an_upgraded_table_get_row_ids_once() {
    let world = World::new(FormatVersion::V2).await;
    world.append(&[(1, 0, "a"), (2, 0, "a")]).await;
    world.append(&[(3, 0, "a")]).await;
    world.evolve(MetadataChange::UpgradeFormatVersion(FormatVersion::V3)).await;
    assert!(row_ids(&world.state().await).iter().all(|(_, id)| id.is_none()));
    world.append(&[(4, 0, "a")]).await;
    let first = row_ids(&world.state().await);
    let mut ids: Vec<_> = first.iter().map(|(_, id)| id.unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    merge_at_once(&world).await;
    world.append(&[(5, 0, "a")]).await;
    let second = row_ids(&world.state().await);
    assert!(first.iter().all(|known| second.contains(known)), "{first:?} {second:?}");
}

/// A rewritten file without the lineage columns would give its rows new ids: refused before anything is written.
#[tokio::test]
async fn a_rewrite_in_v3_carries_row_ids() {
    let world = World::new(FormatVersion::V3).await;
    let old = world.append(&[(1, 0, "a")]).await;
    let output = world.write_one(&[(1, 0, "a")]).await;
    let rewrite = world.rewrite(&[&old], vec![output.clone()]).await;
    let refusal = world.refusal(&[rewrite]).await;
    assert!(refusal.contains("would get new ids") && refusal.contains("_row_id"), "{refusal}");
    let rewrite = world.rewrite(&[&old], vec![with_lineage(&output)]).await;
    world.commit(&[rewrite]).await;
    assert_eq!(world.ids().await, [1]);
}
