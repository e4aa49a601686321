//! Upserts and deletes by key against a map, with restarts, other writers and rewritten files between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use frazil_storage::{Env, Ids};
use frazil_table::spec::{FormatVersion, Struct, UnboundPartitionSpec};
use frazil_table::{Change, Overwrite, RemovedFiles, RowDelta, TableFile, Validation};
use frazil_writer::{Generation, KeyColumns, UpsertPlan, UpsertPlanner, UpsertWriter, WriterConfig};
use futures::TryStreamExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use super::world::*;
use crate::RowReader;

const SCHEMA: &str = r#"{"type":"struct","identifier-field-ids":[1,4],"fields":[
    {"id":1,"name":"id","required":true,"type":"long"},
    {"id":2,"name":"v","required":true,"type":"int"},
    {"id":3,"name":"s","required":true,"type":{"type":"struct","fields":[
        {"id":5,"name":"note","required":false,"type":"string"},
        {"id":4,"name":"k","required":true,"type":"string"}]}}]}"#;

type Key = (i64, String);

/// All live rows of each key: more than one where another writer appended without looking.
type Model = BTreeMap<Key, Vec<Value>>;

fn row((id, k): &Key, v: i32) -> Value {
    json!({"id": id, "v": v, "s": {"note": format!("note {v}"), "k": k}})
}

fn key_of(row: &Value) -> Key {
    (row["id"].as_i64().unwrap(), row["s"]["k"].as_str().unwrap().to_owned())
}

fn rows_of(model: &Model) -> Vec<Value> {
    sorted(model.values().flatten().cloned().collect())
}

/// A program that upserts into the world's table.
struct Sink {
    writer: UpsertWriter,
    planner: UpsertPlanner,
}

impl Sink {
    async fn start(world: &World, memory_max_bytes: usize) -> Self {
        let key = || KeyColumns::of(&world.schema()).unwrap().unwrap();
        let config = WriterConfig { memory_max_bytes, ..WriterConfig::default() };
        let stored = Arc::new(RowReader::new(&world.context, 2));
        let manifests = world.context.manifests.clone();
        let writer = UpsertWriter::new(world.env.clone(), &world.table, key(), config.clone()).unwrap();
        let mut planner = UpsertPlanner::new(world.env.clone(), stored, manifests, key(), (config, 250_000));
        planner.open(&world.table).await.unwrap();
        Self { writer, planner }
    }

    async fn upsert(&mut self, world: &World, rows: &[Value]) {
        let schema = Arc::new(frazil_table::arrow::arrow_schema(&world.schema()).unwrap());
        self.writer.upsert(to_batch(&schema, rows)).await.unwrap();
    }

    async fn delete(&mut self, keys: &[Key]) {
        let keys: Vec<Value> = keys.iter().map(|(id, k)| json!({"id": id, "s": {"k": k}})).collect();
        let keys = to_batch(self.writer.key().arrow_schema(), &keys);
        self.writer.delete(keys).await.unwrap();
    }

    async fn commit(&mut self, world: &mut World) {
        let generations = self.writer.flush().await.unwrap();
        let plan = self.planner.plan(&world.table, &generations).await.unwrap();
        self.land(world, &generations, plan).await;
    }

    async fn land(&mut self, world: &mut World, generations: &[Generation], plan: UpsertPlan) {
        let data_files: Vec<TableFile> = generations.iter().flat_map(|generation| generation.files.clone()).collect();
        if data_files.is_empty() && plan.delete_files.is_empty() {
            self.planner.landed();
            return;
        }
        let head = world.table.current_snapshot().map(|snapshot| snapshot.snapshot_id());
        assert!(plan.base_snapshot_id.is_none_or(|base| base == head), "planned on an older state");
        let delta = RowDelta {
            data_files,
            delete_files: plan.delete_files,
            removed_delete_files: plan.removed_delete_files,
            validation: Validation::snapshot(head),
            ..RowDelta::default()
        };
        world.change(Change::RowDelta(delta)).await;
        self.planner.landed();
    }
}

/// Some of the live files' rows lie in one new file instead, as after a compaction.
async fn rewrite(world: &mut World, random: &mut StdRng) {
    let rows = world.rows(&columns(&["id", "v", "s", "_file"])).await;
    let mut by_file: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for mut row in rows {
        let file = row.as_object_mut().unwrap().remove("_file").unwrap().as_str().unwrap().to_owned();
        by_file.entry(file).or_default().push(row);
    }
    let unpartitioned = world.table.metadata().default_partition_spec().is_unpartitioned();
    let paths: Vec<String> = by_file.keys().cloned().collect();
    let chosen: Vec<String> = paths.choose_multiple(random, 3).cloned().collect();
    if chosen.len() < 2 || !unpartitioned {
        return;
    }
    let mut together: Vec<Value> = chosen.iter().flat_map(|path| by_file[path].clone()).collect();
    together.reverse();
    let added = world.write(&together, 5, Struct::empty()).await;
    let head = world.table.current_snapshot().map(|snapshot| snapshot.snapshot_id());
    let overwrite = Overwrite {
        removed: RemovedFiles::Files(chosen),
        added: vec![added],
        validation: Validation::snapshot(head),
        properties: Default::default(),
    };
    world.change(Change::Overwrite(overwrite)).await;
}

struct Trial {
    world: World,
    model: Model,
    random: StdRng,
    next_v: i32,
}

impl Trial {
    fn key(&mut self) -> Key {
        (self.random.random_range(0..60), ["a", "b"][self.random.random_range(0..2)].to_owned())
    }

    fn value(&mut self, key: &Key) -> Value {
        self.next_v += 1;
        row(key, self.next_v)
    }

    /// Puts random changes of one checkpoint into a sink and into the model.
    async fn change(&mut self, sink: &mut Sink, model: &mut Model) {
        for _ in 0..self.random.random_range(0..5) {
            let keys: Vec<Key> = (0..self.random.random_range(1..20)).map(|_| self.key()).collect();
            if self.random.random_range(0..4) == 0 {
                sink.delete(&keys).await;
                keys.iter().for_each(|key| drop(model.remove(key)));
                continue;
            }
            let rows: Vec<Value> = keys.iter().map(|key| self.value(key)).collect();
            sink.upsert(&self.world, &rows).await;
            model.extend(rows.into_iter().map(|row| (key_of(&row), vec![row])));
        }
    }

    /// What other programs do to the table.
    async fn interfere(&mut self, other: &mut Sink) {
        match self.random.random_range(0..4) {
            0 if self.world.table.metadata().default_partition_spec().is_unpartitioned() => {
                let keys: Vec<Key> = (0..3).map(|_| self.key()).collect();
                let rows: Vec<Value> = keys.iter().map(|key| self.value(key)).collect();
                self.world.append(&rows).await;
                rows.into_iter().for_each(|row| self.model.entry(key_of(&row)).or_default().push(row));
            }
            1 => {
                let mut model = std::mem::take(&mut self.model);
                self.change(other, &mut model).await;
                self.model = model;
                other.commit(&mut self.world).await;
            }
            2 => {
                let mut random = StdRng::seed_from_u64(self.random.random());
                rewrite(&mut self.world, &mut random).await;
            }
            _ => {}
        }
    }
}

async fn run(seed: u64, version: FormatVersion, partition_spec: Option<UnboundPartitionSpec>) -> (u64, u64) {
    let properties = [("write.delete.granularity", ["file", "partition"][seed as usize % 2])];
    let world = World::with(SCHEMA, partition_spec, version, &properties).await;
    let mut trial = Trial { world, model: Model::new(), random: StdRng::seed_from_u64(seed), next_v: 0 };
    let memory = [2_000, 1 << 20][seed as usize / 2 % 2];
    let mut sink = Sink::start(&trial.world, memory).await;
    let mut other = Sink::start(&trial.world, 1 << 20).await;
    let (mut again, mut deleted) = (0, 0);
    for step in 0..12 {
        if trial.random.random_range(0..5) == 0 {
            sink = Sink::start(&trial.world, memory).await;
        }
        trial.interfere(&mut other).await;
        let mut ours = Model::new();
        let before = trial.model.clone();
        let mut after = before.clone();
        trial.change(&mut sink, &mut after).await;
        // What the checkpoint does, apart from what is there: the same whatever comes between.
        for (key, rows) in &after {
            if before.get(key) != Some(rows) {
                ours.insert(key.clone(), rows.clone());
            }
        }
        let gone: Vec<Key> = before.keys().filter(|key| !after.contains_key(*key)).cloned().collect();
        let touched = sink.writer.flush().await.unwrap();
        let mut plan = sink.planner.plan(&trial.world.table, &touched).await.unwrap();
        if trial.random.random_range(0..2) == 0 {
            // Another commit comes between the plan and its commit, if it concerns other keys: what a checkpoint deletes
            // without having seen it is not in the model.
            let head = trial.world.table.current_snapshot().map(|snapshot| snapshot.snapshot_id());
            let mut random = StdRng::seed_from_u64(trial.random.random());
            rewrite(&mut trial.world, &mut random).await;
            if ours.len() > 1 && trial.world.table.metadata().default_partition_spec().is_unpartitioned() {
                // A row of a key that the checkpoint has, too: the checkpoint comes later and wins.
                let key = ours.keys().next().unwrap().clone();
                let row = trial.value(&key);
                trial.world.append(&[row]).await;
            }
            if head != trial.world.table.current_snapshot().map(|snapshot| snapshot.snapshot_id()) {
                again += 1;
                plan = sink.planner.plan(&trial.world.table, &touched).await.unwrap();
            }
        }
        if version == FormatVersion::V3 {
            let vectors = plan.delete_files.iter().all(|file| frazil_table::is_vector(&file.file));
            assert!(vectors, "format version 3 gets no equality delete");
        }
        sink.land(&mut trial.world, &touched, plan).await;
        trial.model.extend(ours);
        gone.iter().for_each(|key| drop(trial.model.remove(key)));
        let found = trial.world.rows(&all()).await;
        assert_eq!(found, rows_of(&trial.model), "seed {seed}, {version:?}, step {step}");
        deleted += sink.planner.counters().rows_deleted;
    }
    (again, deleted)
}

fn partitioned(json: &str) -> Option<UnboundPartitionSpec> {
    Some(serde_json::from_str(json).unwrap())
}

/// `FRAZIL_UPSERT_SEEDS` runs more of them.
fn seeds() -> std::ops::Range<u64> {
    let more = std::env::var("FRAZIL_UPSERT_SEEDS").ok().and_then(|text| text.parse().ok());
    0..more.unwrap_or(8)
}

#[tokio::test]
async fn upserts_of_version_3_hold_what_a_map_holds() {
    let (mut again, mut deleted) = (0, 0);
    for seed in seeds() {
        // Partitioned by a column that changes: the older row of a key is in another partition.
        let by_value = partitioned(r#"{"fields":[{"source-id":2,"name":"v_bucket","transform":"bucket[3]"}]}"#);
        let partition_spec = if seed % 3 == 2 { by_value } else { None };
        let (more, rows) = run(seed, FormatVersion::V3, partition_spec).await;
        again += more;
        deleted += rows;
    }
    assert!(again > 10 && deleted > 500, "{again} plans were made again, {deleted} rows deleted");
}

#[tokio::test]
async fn upserts_of_version_2_hold_what_a_map_holds() {
    for seed in seeds() {
        let by_key = partitioned(r#"{"fields":[{"source-id":1,"name":"id_bucket","transform":"bucket[3]"}]}"#);
        let partition_spec = if seed % 3 == 2 { by_key } else { None };
        run(seed, FormatVersion::V2, partition_spec).await;
    }
}

#[tokio::test]
async fn an_index_that_is_rebuilt_is_the_index_that_was() {
    let mut world = World::with(SCHEMA, None, FormatVersion::V3, &[]).await;
    let mut sink = Sink::start(&world, 1 << 20).await;
    for round in 0..4 {
        let rows: Vec<Value> = (0..12_000).map(|id| row(&(id, "a".to_owned()), round)).collect();
        sink.upsert(&world, &rows).await;
        sink.commit(&mut world).await;
    }
    let rebuilt = Sink::start(&world, 1 << 20).await;
    let (kept, rebuilt) = (sink.planner.counters(), rebuilt.planner.counters());
    assert_eq!((kept.keys, rebuilt.keys), (12_000, 12_000));
    assert_eq!((kept.rows_deleted, rebuilt.rows_indexed), (36_000, 12_000));
    assert!(kept.spilled_bytes > 0, "the budget of 250,000 bytes was meant to be too small");
}

const IDS: &str = r#"{"type":"struct","identifier-field-ids":[1],"fields":[
    {"id":1,"name":"id","required":true,"type":"long"},
    {"id":2,"name":"v","required":true,"type":"int"}]}"#;

/// Ids that are counted from one, so that the seed of a planner's hashes is known.
#[derive(Debug, Default)]
struct CountedIds(AtomicU64);

impl Ids for CountedIds {
    fn uuid(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Relaxed) + 1))
    }

    fn snapshot_id(&self) -> i64 {
        self.0.fetch_add(1, Relaxed) as i64 + 1
    }
}

/// Two keys whose hashes agree in all that the index keeps of them where the seed is one: two of the first eight million.
const ALIKE: [i64; 2] = [1_323_349, 2_823_557];

#[tokio::test]
async fn no_key_is_taken_for_another_one_with_its_hash() {
    let mut world = World::with(IDS, None, FormatVersion::V3, &[]).await;
    let mut sink = Sink::start(&world, 1 << 20).await;
    let env = Env { ids: Arc::new(CountedIds::default()), ..world.env.clone() };
    let stored = Arc::new(RowReader::new(&world.context, 2));
    let key = KeyColumns::of(&world.schema()).unwrap().unwrap();
    let settings = (WriterConfig::default(), 250_000);
    sink.planner = UpsertPlanner::new(env, stored, world.context.manifests.clone(), key, settings);
    let [first, second] = ALIKE.map(|id| json!({"id": id, "v": 1}));
    for row in [&first, &second] {
        sink.upsert(&world, std::slice::from_ref(row)).await;
        sink.commit(&mut world).await;
    }
    let counters = sink.planner.counters();
    assert_eq!(
        (counters.rows_verified, counters.rows_deleted, counters.keys),
        (1, 0, 2),
        "they were meant to be alike"
    );
    assert_eq!(world.rows(&all()).await, sorted(vec![first.clone(), second]));
    let gone = to_batch(sink.writer.key().arrow_schema(), &[json!({"id": ALIKE[1]})]);
    sink.writer.delete(gone).await.unwrap();
    sink.commit(&mut world).await;
    assert_eq!(world.rows(&all()).await, [first]);
    assert_eq!(sink.planner.counters().keys, 1);
}

#[tokio::test]
async fn a_plan_that_is_made_again_leaves_no_delete_file_behind() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let mut world = World::with(SCHEMA, None, version, &[]).await;
        let mut sink = Sink::start(&world, 2_000).await;
        let rows = |round: i32| (0..50).map(|id| row(&(id, "a".to_owned()), round)).collect::<Vec<_>>();
        sink.upsert(&world, &rows(0)).await;
        sink.commit(&mut world).await;
        sink.upsert(&world, &rows(1)).await;
        sink.upsert(&world, &rows(2)).await;
        let generations = sink.writer.flush().await.unwrap();
        assert!(generations.len() > 1, "rows of the checkpoint itself were meant to be deleted too");
        sink.planner.plan(&world.table, &generations).await.unwrap();
        world.append(&[row(&(77, "b".to_owned()), 0)]).await;
        let plan = sink.planner.plan(&world.table, &generations).await.unwrap();
        sink.land(&mut world, &generations, plan).await;
        let state = world.state().await;
        let live = state.live_delete_files().unwrap();
        let live: BTreeSet<String> = live.iter().map(|live| live.file.file_path().to_owned()).collect();
        let stored: Vec<_> =
            world.env.store.list(world.table.metadata().location()).await.unwrap().try_collect().await.unwrap();
        let stored = stored.into_iter().map(|meta| meta.location).filter(|path| path.contains("-deletes-"));
        assert_eq!(stored.collect::<BTreeSet<_>>(), live, "{version:?}");
    }
}
