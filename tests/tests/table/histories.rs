//! Random histories of a table against a model in memory: every change there is, by several writers at once, on random
//! schemas and evolving specs, in every format version. After each step the heads and the new snapshots read as the
//! model has them, and after each expiry and at the end every retained snapshot does.
//!
//! `FRAZIL_SEED=N` runs one history and prints what it does. `FRAZIL_LONG=1` goes on where the last long run stopped.

mod changes;
mod evolution;
mod history;
mod model;
mod puffin;
mod value;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use frazil_catalog::CommitEnd;
use frazil_table::arrow::arrow_schema;
use frazil_table::spec::{
    FormatVersion, MAIN_BRANCH, NestedField, NestedFieldRef, PrimitiveType, Schema, Struct, TableCreation, Type,
};
use frazil_table::{Change, RowDelta};
use history::{History, Log, Setting, Tally, Types};
use serde::{Deserialize, Serialize};
use value::Val;
use world::{KEY, World};

/// Steps of a history.
const STEPS: usize = 14;

const THREADS: usize = 2;

/// A short run ends with the first of both.
const SHORT_TIME: Duration = Duration::from_secs(60);
const SHORT_COUNT: u64 = 5_000;

/// What long runs reach together, and how long one of them lasts.
const LONG_COUNT: u64 = 100_000;
const LONG_TIME: Duration = Duration::from_secs(3_600);

/// A history in a runtime of its own. The error is the broken promise.
fn run(seed: u64) -> Result<Tally, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let log = Log::default();
    let history = async {
        let mut history = History::new(seed, Setting::default(), log.clone()).await;
        history.run(STEPS).await.map(|()| history.tally)
    };
    let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(history)));
    let ended = ended.unwrap_or_else(|_| Err("it panicked".to_owned()));
    if std::env::var_os("FRAZIL_SEED").is_some() {
        println!("  {}", log.text());
    }
    ended.map_err(|reason| format!("{reason}\nafter:\n  {}", log.text()))
}

/// What a history ended in, for other engines to read.
pub struct EndState {
    pub metadata_location: String,
    /// Of `main`, in the form in which peers answer, sorted.
    pub rows: Vec<String>,
    pub version: FormatVersion,
    /// Whether a column is a list or a struct.
    pub is_nested: bool,
    pub has_equality_deletes: bool,
    /// Those of the rows that have null in a column that an equality delete of `main` is by.
    pub null_in_deletes: Vec<String>,
    /// How it came there.
    pub log: String,
}

impl EndState {
    async fn of(history: &History, log: String) -> Self {
        let metadata = history.world.table.metadata();
        let head = history.head(MAIN_BRANCH);
        let state = history.world.state(MAIN_BRANCH, head).await;
        let deletes = state.live_delete_files().unwrap();
        let by: Vec<i32> = deletes.iter().filter_map(|live| live.file.equality_ids()).flatten().collect();
        let fields = metadata.current_schema().as_struct();
        let (mut rows, mut null_in_deletes) = (Vec::new(), Vec::new());
        for row in history.model.rows(head).values() {
            let text = row.values.plain(fields).to_string();
            if by.iter().any(|id| matches!(row.values.field(*id), None | Some(Val::Null))) {
                null_in_deletes.push(text.clone());
            }
            rows.push(text);
        }
        rows.sort_unstable();
        Self {
            metadata_location: history.world.table.metadata_location().to_owned(),
            rows,
            version: metadata.format_version(),
            is_nested: fields.fields().iter().any(|field| !field.field_type.is_primitive()),
            has_equality_deletes: !by.is_empty(),
            null_in_deletes,
            log,
        }
    }
}

/// A history of types that all engines have, in a warehouse of the caller's.
pub async fn end_state(seed: u64, warehouse: &str, version: FormatVersion) -> Result<EndState, String> {
    let log = Log::default();
    let setting = Setting { warehouse, version: Some(version), types: Types::Common };
    let mut history = History::new(seed, setting, log.clone()).await;
    let end = history.run(STEPS).await;
    let log = format!("\nafter:\n  {}", log.text());
    end.map_err(|broken| format!("{broken}{log}"))?;
    Ok(EndState::of(&history, log).await)
}

/// A table of `key` and `v`, of which some `v` were deleted by equality after its rows had come. Its metadata's location.
pub async fn with_equality_deletes(
    warehouse: &str,
    version: FormatVersion,
    rows: &[(i64, Option<i64>)],
    deleted: &[Option<i64>],
) -> String {
    const V: i32 = 2;
    let long = Type::Primitive(PrimitiveType::Long);
    let v = NestedFieldRef::from(NestedField::optional(V, "v", long.clone()));
    let fields = vec![NestedField::required(KEY, "key", long).into(), v.clone()];
    let schema = Schema::builder().with_fields(fields).build().unwrap();
    let creation = TableCreation::builder().name("t".to_owned()).schema(schema).format_version(version).build();
    let mut world = World::new(0, warehouse, creation).await;

    let v_of = |value: Option<i64>| (V, value.map_or(Val::Null, |value| Val::Int(value.into())));
    let row = |(key, value): &(i64, Option<i64>)| Val::Struct([(KEY, Val::Int((*key).into())), v_of(*value)].into());
    let (files, _) = world.write(&rows.iter().map(row).collect::<Vec<_>>()).await;
    let append = Change::Append { files, properties: Default::default() };
    let tuples: Vec<Val> = deleted.iter().map(|value| Val::Struct([v_of(*value)].into())).collect();
    let of_v = Arc::new(arrow_schema(&Schema::builder().with_fields([v]).build().unwrap()).unwrap());
    let deletes = world.equality_deletes(&of_v, vec![V], &tuples, &(0, Struct::empty())).await;
    let delta = RowDelta { delete_files: vec![deletes], ..RowDelta::default() };
    for change in [append, Change::RowDelta(delta)] {
        let end = world.commit(MAIN_BRANCH, &[change]).await.unwrap();
        assert!(matches!(end, CommitEnd::Committed(_)), "{end:?}");
    }
    world.refresh().await;
    world.table.metadata_location().to_owned()
}

/// How far all long runs have come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Progress {
    /// Seeds below this one were run, but for those that are being run.
    next: u64,
    /// Those that broke a promise when they were run last.
    failed: BTreeSet<u64>,
    /// Those that are to be run before the next: what a run that was killed had begun, and what failed.
    due: BTreeSet<u64>,
    tally: BTreeMap<String, u64>,
}

impl Progress {
    fn load(path: &Path) -> Self {
        let stored = fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut progress: Self = stored.unwrap_or_default();
        progress.due.append(&mut progress.failed);
        progress
    }

    /// Replaces the file in one step: a run may be killed at any time.
    fn store(&self, path: &Path, running: &BTreeSet<u64>) {
        let due = self.due.union(running).copied().collect();
        let beside = path.with_extension("new");
        fs::write(&beside, serde_json::to_vec(&Self { due, ..self.clone() }).unwrap()).unwrap();
        fs::rename(beside, path).unwrap();
    }

    fn take(&mut self, count: u64) -> Option<u64> {
        self.due.pop_first().or_else(|| {
            self.next += 1;
            (self.next <= count).then(|| self.next - 1)
        })
    }

    fn end(&mut self, seed: u64, ended: Result<Tally, String>) {
        match ended {
            Ok(tally) => {
                for (what, times) in tally.0 {
                    *self.tally.entry(what).or_default() += times;
                }
            }
            Err(broken) => {
                println!("FRAZIL_SEED={seed}: {broken}\n");
                self.failed.insert(seed);
            }
        }
    }

    /// Seeds one after the other on some threads, until there are `count` or the time is over. What is reached goes into
    /// the file, if there is one.
    fn go_on(self, count: u64, time: Duration, file: Option<&Path>) -> Self {
        let begun = Instant::now();
        let shared = Mutex::new((self, BTreeSet::new()));
        let next = || {
            let (progress, running) = &mut *shared.lock().unwrap();
            let seed = if begun.elapsed() < time { progress.take(count) } else { None }?;
            running.insert(seed);
            Some(seed)
        };
        let work = || {
            while let Some(seed) = next() {
                let ended = run(seed);
                let (progress, running) = &mut *shared.lock().unwrap();
                progress.end(seed, ended);
                running.remove(&seed);
                if let Some(file) = file.filter(|_| seed.is_multiple_of(20)) {
                    progress.store(file, running);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(work);
            }
        });
        let (progress, running) = shared.into_inner().unwrap();
        let progress = Self { next: progress.next.min(count), ..progress };
        if let Some(file) = file {
            progress.store(file, &running);
        }
        progress
    }
}

#[test]
fn every_retained_snapshot_reads_as_the_model_has_it() {
    if let Ok(seed) = std::env::var("FRAZIL_SEED") {
        run(seed.parse().expect("FRAZIL_SEED is a number")).unwrap_or_else(|broken| panic!("{broken}"));
        return;
    }
    let begun = Instant::now();
    let progress = match std::env::var_os("FRAZIL_LONG") {
        Some(_) => {
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("histories.json");
            Progress::load(&file).go_on(LONG_COUNT, LONG_TIME, Some(&file))
        }
        None => Progress::default().go_on(SHORT_COUNT, SHORT_TIME, None),
    };
    println!("seeds below {} in {:?}: {:#?}", progress.next, begun.elapsed(), progress.tally);
    assert!(progress.failed.is_empty(), "run these with FRAZIL_SEED: {:?}", progress.failed);
    // A generator that never gets somewhere would test nothing of it.
    let happened = |what: &&str| progress.tally.contains_key(*what);
    let missing: Vec<&str> = MUST_HAPPEN.into_iter().filter(|what| !happened(what)).collect();
    assert!(
        missing.is_empty() || progress.next < HAPPENS_WITHIN,
        "in {} histories none had {missing:?}",
        progress.next
    );
}

/// Histories in which each of [`MUST_HAPPEN`] is sure to happen: the rarest do so about once in a hundred.
const HAPPENS_WITHIN: u64 = 1_000;

/// As [`Tally`] spells them.
const MUST_HAPPEN: [&str; 26] = [
    "append: committed",
    "equality delete: committed",
    "delete of rows: committed",
    "delete of rows: FileGone",
    "delete of rows: RowsDeleted",
    "overwrite of files: committed",
    "overwrite of files: RowsDeleted",
    "delete of files: committed",
    "delete of a partition: committed",
    "overwrite of partitions: committed",
    "rewrite of files: committed",
    "rewrite of files: FileGone",
    "rewrite with deletes carried: committed",
    "rewrite of deletes: committed",
    "overwrite by filter: committed",
    "append and append: committed",
    "schema and append: committed",
    "rewrite manifests: committed",
    "cherry-pick: committed",
    "fast-forward: committed",
    "ref: committed",
    "schema: committed",
    "spec: committed",
    "sort order: committed",
    "upgrade: committed",
    "expire: committed",
];
