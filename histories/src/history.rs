//! One random history: steps, each checked against the model.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use frazil_catalog::CommitEnd;
use frazil_compactor::Conversion;
use frazil_reader::SnapshotSelector;
use frazil_table::spec::{
    FormatVersion, ListType, MAIN_BRANCH, MapType, NestedField, PrimitiveType, Schema, SnapshotRetention, StructType,
    TableCreation, Type,
};
use frazil_table::{Change, Conflict};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::compaction::{self, Compaction, Landing, Rewrite};
use crate::model::{Effect, Model};
use crate::value::Val;
use crate::world::{KEY, World};

/// A change that a writer has worked out and not committed yet.
pub struct Pending {
    pub what: String,
    pub branch: String,
    /// The snapshot that it was worked out on, and the metadata.
    pub base: Option<i64>,
    pub seen: String,
    pub changes: Vec<Change>,
    /// Of each change that makes a snapshot.
    pub effects: Vec<Effect>,
    /// What the compactor wrote, instead of changes.
    pub rewrites: Vec<Rewrite>,
    /// What equality deletes take away, instead of changes.
    pub conversion: Option<Conversion>,
}

impl Pending {
    /// How it ends, and what it makes of the rows if it lands.
    async fn commit(&self, world: &World, fresh: bool) -> frazil_catalog::Result<Landing> {
        if !self.rewrites.is_empty() {
            return compaction::commit(world, &self.rewrites, fresh).await;
        }
        if let Some(conversion) = &self.conversion {
            return compaction::commit_converted(world, conversion).await;
        }
        let end = world.commit(&self.branch, &self.changes).await?;
        Ok(Landing { end, effects: self.effects.clone(), counts: Vec::new() })
    }
}

/// How many histories did what: a generator that never does something tests nothing of it.
#[derive(Clone, Debug, Default)]
pub struct Tally(pub BTreeMap<String, u64>);

impl Tally {
    /// Counts one of `what`.
    pub fn count(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }
}

/// Where a history takes place.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    pub warehouse: &'a str,
    /// The first format version; `None`: any.
    pub version: Option<FormatVersion>,
    pub types: Types,
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Self { warehouse: "memory://w", version: None, types: Types::All }
    }
}

/// Which types columns have.
#[derive(Clone, Copy, PartialEq)]
pub enum Types {
    All,
    /// Those that every engine has and shows alike.
    Common,
}

pub struct History {
    types: Types,
    pub world: World,
    pub model: Model,
    pub random: StdRng,
    pub tally: Tally,
    /// What the last steps were, for whoever looks at a failure.
    pub log: Log,
    pub next_key: i64,
    pub next_id: i32,
    /// What position delete files hold.
    pub positions: HashMap<String, Vec<(String, i64)>>,
    pending: Vec<Pending>,
    pub compaction: Compaction,
    /// Snapshots that were read, by which schema, and were right: files never change, and go only by expiry.
    checked: HashSet<(i64, i32)>,
    /// By [`crate::model::Row::origin`].
    row_ids: HashMap<u64, i64>,
}

/// What happened, also for whoever looks after a panic.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub fn push(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    pub fn text(&self) -> String {
        self.0.lock().unwrap().join("\n  ")
    }
}

/// A promise that was broken, with the steps that led there.
pub type Broken = String;

impl History {
    pub async fn new(seed: u64, setting: Setting<'_>, log: Log) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut ids = 1;
        let mut fields = vec![NestedField::required(KEY, "key", Type::Primitive(PrimitiveType::Long)).into()];
        for index in 0..random.random_range(2..5) {
            let r#type = random_type(&mut random, &mut ids, 2, setting.types);
            ids += 1;
            fields.push(NestedField::optional(ids, format!("c{index}"), r#type).into());
        }
        let schema = Schema::builder().with_fields(fields).build().unwrap();
        let versions = [FormatVersion::V1, FormatVersion::V2, FormatVersion::V2, FormatVersion::V3, FormatVersion::V3];
        let version = setting.version.unwrap_or(*versions.choose(&mut random).unwrap());
        // Some tables merge manifests with every other commit, and have many row groups in a file.
        let mut properties = HashMap::new();
        if random.random_bool(0.5) {
            properties.insert("commit.manifest.min-count-to-merge".to_owned(), random.random_range(2..4).to_string());
        }
        if setting.types == Types::All {
            let codec = *["uncompressed", "snappy", "lz4", "zstd"].choose(&mut random).unwrap();
            properties.insert("write.parquet.compression-codec".to_owned(), codec.to_owned());
        }
        let creation = TableCreation::builder()
            .name("t".to_owned())
            .schema(schema)
            .format_version(version)
            .properties(properties)
            .build();
        let world = World::new(seed, setting.warehouse, creation).await;
        let (model, pending, compaction) = (Model::default(), Vec::new(), Compaction::new(&mut random));
        let (tally, positions, checked) = (Tally::default(), HashMap::new(), HashSet::new());
        Self {
            types: setting.types,
            world,
            model,
            random,
            tally,
            log,
            next_key: 0,
            next_id: 1_000,
            positions,
            pending,
            compaction,
            checked,
            row_ids: HashMap::new(),
        }
    }

    /// Takes some steps and checks the table after each, and all of it at the end.
    pub async fn run(&mut self, steps: usize) -> Result<(), Broken> {
        for _ in 0..steps {
            self.world.clock.advance(1_000);
            self.step().await?;
        }
        let left = std::mem::take(&mut self.pending);
        for pending in left {
            self.land(vec![pending]).await?;
        }
        self.check_everything().await?;
        self.check_changelogs().await
    }

    async fn step(&mut self) -> Result<(), Broken> {
        match self.random.random_range(0..100) {
            0..55 => {
                let branch = self.some_branch();
                let compacts = branch == MAIN_BRANCH && self.random.random_bool(0.2);
                let converts = branch == MAIN_BRANCH && !compacts && self.random.random_bool(0.1);
                let pending = match (compacts, converts) {
                    (true, _) => self.compact().await,
                    (_, true) => self.convert().await,
                    _ => self.prepare(&branch).await,
                };
                if compacts && let Some(compaction) = &pending {
                    let inputs = compaction::inputs_of(&compaction.rewrites);
                    self.delete_while_compacting(&inputs).await?;
                }
                self.pending.extend(pending);
                // Writers take their time: meanwhile others land.
                if self.random.random_bool(0.6) || self.pending.len() > 3 {
                    self.land_some().await?;
                }
                Ok(())
            }
            55..65 => self.land_some().await,
            65..77 => self.evolve().await,
            77..90 => self.change_refs().await,
            90..95 => self.set_properties().await,
            _ => self.expire().await,
        }
    }

    /// Rows go that a compaction has read: before it lands, or at the same time.
    async fn delete_while_compacting(&mut self, inputs: &BTreeSet<Arc<str>>) -> Result<(), Broken> {
        while self.random.random_bool(0.5) {
            let Some(delete) = self.delete_under(inputs).await else { break };
            match self.random.random_bool(0.6) {
                true => self.land(vec![delete]).await?,
                false => self.pending.push(delete),
            }
        }
        Ok(())
    }

    /// One pending change, or several at the same time.
    async fn land_some(&mut self) -> Result<(), Broken> {
        let count = if self.random.random_bool(0.3) { 3 } else { 1 };
        let mut landing = Vec::new();
        for _ in 0..count.min(self.pending.len()) {
            let index = self.random.random_range(0..self.pending.len());
            landing.push(self.pending.swap_remove(index));
        }
        self.land(landing).await
    }

    /// Commits changes, all at once, and tells the model which ones landed.
    pub async fn land(&mut self, landing: Vec<Pending>) -> Result<(), Broken> {
        let world = &self.world;
        let metadata = world.table.metadata_location().to_owned();
        let alone = landing.len() == 1;
        // What one change does may be in the way of the next.
        let is_fresh = |pending: &Pending| alone && pending.seen == metadata && pending.changes.len() <= 1;
        let commits = landing.iter().map(|pending| pending.commit(world, is_fresh(pending)));
        let ends = futures::future::join_all(commits).await;
        let mut landed = Vec::new();
        for (pending, end) in landing.iter().zip(ends) {
            let fresh = is_fresh(pending);
            let (end, effects, counts) = match end {
                Ok(Landing { end, effects, counts }) => (Ok(end), effects, counts),
                Err(error) => (Err(error), Vec::new(), Vec::new()),
            };
            counts.iter().for_each(|what| self.tally.count(what));
            let end = match end {
                Ok(CommitEnd::Committed(committed)) => {
                    landed.extend(committed.snapshot_ids.into_iter().zip(effects));
                    "committed".to_owned()
                }
                Ok(CommitEnd::Conflict(Conflict::PartialMatch { .. })) => "partial match".to_owned(),
                Ok(CommitEnd::Conflict(conflict)) if !fresh => kind_of(&conflict),
                Err(frazil_catalog::Error::Table(frazil_table::Error::InvalidChange(reason))) if !fresh => {
                    format!("refused: {reason}")
                }
                Err(frazil_catalog::Error::Table(frazil_table::Error::InvalidSchema { field, reason })) if !fresh => {
                    format!("refused: {field}: {reason}")
                }
                // Somebody else's deletion vector or delete file came first.
                Err(frazil_catalog::Error::Table(frazil_table::Error::DeletesNotAbsorbed { .. })) if !fresh => {
                    "deletes not absorbed".to_owned()
                }
                other => return Err(format!("{} on {:?} ended with {other:?}", pending.what, pending.base)),
            };
            self.tally.count(&format!("{}: {}", pending.what, end.split(':').next().unwrap_or_default()));
            self.log.push(format!("{} to {} on {:?}: {end}", pending.what, pending.branch, pending.base));
        }
        self.world.refresh().await;
        let metadata = self.world.table.metadata().clone();
        let number = |id: &i64| metadata.snapshot_by_id(*id).map_or(0, |snapshot| snapshot.sequence_number());
        let time = |id: &i64| metadata.snapshot_by_id(*id).map_or(0, |snapshot| snapshot.timestamp_ms());
        landed.sort_by_key(|(id, _)| (number(id), time(id)));
        // Below each other even where a table of version 1 has no numbers.
        while !landed.is_empty() {
            let known = |id: Option<i64>| id.is_none_or(|id| self.model.snapshots.contains_key(&id));
            let next = landed.iter().position(|(id, _)| {
                known(metadata.snapshot_by_id(*id).and_then(|snapshot| snapshot.parent_snapshot_id()))
            });
            let (id, effect) = landed.remove(next.ok_or("a snapshot stands on one that nobody made")?);
            let parent = metadata.snapshot_by_id(id).ok_or("a commit's snapshot is gone")?.parent_snapshot_id();
            self.model.land(id, parent, &effect)?;
            self.check(SnapshotSelector::Id(id)).await?;
        }
        self.check_heads().await
    }

    /// The head of a branch; none for one without snapshot.
    pub fn head(&self, branch: &str) -> Option<i64> {
        self.world.table.metadata().snapshot_for_ref(branch).map(|snapshot| snapshot.snapshot_id())
    }

    /// Mostly `main`.
    fn some_branch(&mut self) -> String {
        let refs = self.world.table.refs();
        let branches: Vec<&String> = refs
            .iter()
            .filter(|(_, reference)| matches!(reference.retention, SnapshotRetention::Branch { .. }))
            .map(|(name, _)| name)
            .collect();
        match branches.choose(&mut self.random) {
            Some(name) if self.random.random_bool(0.4) => (*name).clone(),
            _ => MAIN_BRANCH.to_owned(),
        }
    }

    pub async fn check_heads(&mut self) -> Result<(), Broken> {
        for (name, reference) in self.world.table.clone().refs() {
            let selector = match reference.retention {
                SnapshotRetention::Branch { .. } => SnapshotSelector::Branch(name.clone()),
                SnapshotRetention::Tag { .. } => SnapshotSelector::Tag(name.clone()),
            };
            self.check(selector).await?;
        }
        Ok(())
    }

    /// Every retained snapshot, and every head by the schema of now, as they are stored: nothing comes from a cache.
    pub async fn check_everything(&mut self) -> Result<(), Broken> {
        self.checked.clear();
        self.world.forget();
        let metadata = self.world.table.metadata().clone();
        for snapshot in metadata.snapshots() {
            self.check(SnapshotSelector::Id(snapshot.snapshot_id())).await?;
            self.check_row_ids(snapshot.snapshot_id()).await?;
        }
        self.check_heads().await
    }

    async fn check(&mut self, selector: SnapshotSelector) -> Result<(), Broken> {
        let selected = frazil_reader::select_snapshot(&self.world.table, &selector).map_err(|e| e.to_string())?;
        let snapshot_id = selected.snapshot.as_ref().map(|snapshot| snapshot.snapshot_id());
        if !self.checked.insert((snapshot_id.unwrap_or(-1), selected.schema.schema_id())) {
            return Ok(());
        }
        let rows = self.model.rows(snapshot_id);
        let fields = selected.schema.as_struct().fields();
        let mut expected: Vec<String> = rows.values().map(|row| row.values.project(fields).to_string()).collect();
        expected.sort_unstable();
        let read = self.world.read(selector.clone()).await;
        match read {
            Ok(read) if read == expected => Ok(()),
            Ok(read) => Err(format!(
                "{selector:?} holds {} rows instead of {}\nmore: {:#?}\nmissing: {:#?}",
                read.len(),
                expected.len(),
                read.iter().filter(|row| !expected.contains(row)).collect::<Vec<_>>(),
                expected.iter().filter(|row| !read.contains(row)).collect::<Vec<_>>(),
            )),
            Err(error) => Err(format!("{selector:?} can't be read: {error}")),
        }
    }

    /// No two rows of a snapshot share a row id, and a row keeps its own whatever files it is moved to.
    async fn check_row_ids(&mut self, snapshot_id: i64) -> Result<(), Broken> {
        let state = self.world.state(MAIN_BRANCH, Some(snapshot_id)).await;
        let files = state.live_data_files_by_path().unwrap();
        let mut seen = HashSet::new();
        for (key, row) in self.model.rows(Some(snapshot_id)).iter() {
            let live = files.get(&*row.file).ok_or_else(|| format!("row {key}: {} is not live", row.file))?;
            let id = self.world.row_id(&row.file, row.position, live.file.first_row_id());
            let Some(id) = id else { continue };
            if !seen.insert(id) {
                return Err(format!("snapshot {snapshot_id}: two rows have the id {id}, one of them row {key}"));
            }
            let Some(origin) = row.origin else { continue };
            let before = *self.row_ids.entry(origin).or_insert(id);
            if before != id {
                return Err(format!("snapshot {snapshot_id}: row {key} had the id {before} and has {id}"));
            }
        }
        Ok(())
    }

    /// A row of the schema of now, with a key that nobody has had.
    pub fn new_row(&mut self) -> Val {
        self.next_key += 1;
        let schema = self.world.table.metadata().current_schema().clone();
        let values = schema.as_struct().fields().iter().map(|field| {
            let value = match field.id {
                KEY => Val::Int(self.next_key.into()),
                _ => crate::value::random(&mut self.random, &field.field_type, field.required),
            };
            (field.id, value)
        });
        Val::Struct(values.collect())
    }

    /// A type whose ids nobody uses; a table gives it others.
    pub fn new_type(&mut self) -> Type {
        random_type(&mut self.random, &mut self.next_id, 2, self.types)
    }
}

fn kind_of(conflict: &Conflict) -> String {
    let shown = format!("{conflict:?}");
    shown.split([' ', '{']).next().unwrap_or_default().to_owned() + ": " + &conflict.to_string()
}

fn random_type(random: &mut StdRng, ids: &mut i32, depth: u32, types: Types) -> Type {
    use PrimitiveType as P;
    let mut fresh = || {
        *ids += 1;
        *ids
    };
    let kind = random.random_range(0..if depth == 0 { 10 } else { 14 });
    match (kind, types) {
        (0 | 1, _) | (3, Types::Common) => Type::Primitive(P::Int),
        (2, _) | (4, Types::Common) => Type::Primitive(P::Long),
        (3, _) => Type::Primitive(P::Float),
        (4, _) => Type::Primitive(P::Double),
        (5 | 6, _) => Type::Primitive(P::String),
        (7, _) => Type::Primitive(P::Timestamptz),
        (8, _) => Type::Primitive(P::Decimal { precision: 9, scale: 2 }),
        (9, Types::All) => Type::Primitive([P::Boolean, P::Date, P::Binary].choose(random).unwrap().clone()),
        (9, Types::Common) => Type::Primitive([P::Boolean, P::Date].choose(random).unwrap().clone()),
        (10, _) | (11, Types::Common) => {
            // PyIceberg takes a null list of structs for an empty one.
            let depth = if types == Types::All { depth - 1 } else { 0 };
            let (id, element) = (fresh(), random_type(random, ids, depth, types));
            Type::List(ListType::new(Arc::new(NestedField::list_element(id, element, false))))
        }
        (11, _) => {
            let (key, value) = (fresh(), fresh());
            let item = random_type(random, ids, depth - 1, types);
            Type::Map(MapType::new(
                Arc::new(NestedField::map_key_element(key, Type::Primitive(P::String))),
                Arc::new(NestedField::map_value_element(value, item, false)),
            ))
        }
        _ => {
            let count = random.random_range(1..4);
            let fields = (0..count).map(|index| {
                let inner = random_type(random, ids, depth - 1, types);
                *ids += 1;
                Arc::new(NestedField::optional(*ids, format!("f{index}"), inner))
            });
            Type::Struct(StructType::new(fields.collect()))
        }
    }
}
