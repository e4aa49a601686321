//! Which older rows a checkpoint's upserts and deletes take the place of.
//!
//! Format version 3. An index knows where the row of every key is ([`crate::key_index`]). For each checkpoint:
//! 1. *Sync*: data files that came into the table since the last time, by whoever, are read into the index (key columns
//!    only); those that left it are dropped from it. So appends of others are known, and a rewrite moves the rows along.
//!    The first sync reads the whole table. Deletes of others need no look: deleting a row again does no harm.
//! 2. *Resolve*: the keys of each generation are looked up; every candidate is compared with the key in its file; what
//!    was found is deleted, and the index has the new rows.
//! 3. *Write*: a deletion vector for each data file concerned, with all that was deleted of it before.
//!
//! A plan holds for the snapshot that it names alone. If another commit comes first it is made again: a sync, and, if rows
//! came or moved, the generations are resolved anew.
//!
//! Format version 2. Equality deletes reach the rows of earlier commits without an index. Only rows of the checkpoint's own
//! earlier generations are found by an index, one that lives as long as the checkpoint, and deleted by position.
//!
//! Nothing of the index is stored: after a crash the table says it all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use frazil_storage::Env;
use frazil_table::spec::{DataFile, FormatVersion};
use frazil_table::{LiveFile, ManifestCache, StoredRows, Table, TableFile, TableState, data_file_builder, io};
use futures::TryStreamExt;
use roaring::{RoaringBitmap, RoaringTreemap};

use crate::key::{KeyColumns, Keys};
use crate::key_index::{KeyIndex, RowRef};
use crate::position_deletes::DeletedRows;
use crate::row_deletes::absorbed_by;
use crate::{Error, Generation, Result, WriterConfig, write_deletion_vectors, write_position_deletes};

/// The delete files of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct UpsertPlan {
    /// The snapshot that it was made on; the commit must come right after it. `None`: on any.
    pub base_snapshot_id: Option<Option<i64>>,
    /// Durable delete files and deletion vectors.
    pub delete_files: Vec<TableFile>,
    /// Live ones that they take the place of.
    pub removed_delete_files: Vec<TableFile>,
}

impl UpsertPlan {
    /// Whether nothing is deleted.
    pub fn is_empty(&self) -> bool {
        self.delete_files.is_empty()
    }
}

/// What planning has cost since the planner was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct UpsertCounters {
    /// Keys in the index.
    pub keys: u64,
    /// Bytes of the index in memory.
    pub index_bytes: u64,
    /// Bytes of the index on disk.
    pub spilled_bytes: u64,
    /// Rows that were read into the index from files of the table.
    pub rows_indexed: u64,
    /// Rows whose stored keys were compared.
    pub rows_verified: u64,
    /// Rows that were deleted.
    pub rows_deleted: u64,
    /// Plans that were made again since another commit came first.
    pub plans_again: u64,
}

/// Plans the deletes of a sink's checkpoints, one after the other.
#[derive(Debug)]
pub struct UpsertPlanner {
    env: Env,
    stored: Arc<dyn StoredRows>,
    cache: ManifestCache,
    key: KeyColumns,
    config: WriterConfig,
    index: KeyIndex,
    files: Files,
    seed: u64,
    checkpoint: Checkpoint,
    counters: UpsertCounters,
}

/// What is known of the checkpoint that is being planned.
#[derive(Debug, Default)]
struct Checkpoint {
    /// Rows that are to be deleted, by file.
    deleted: BTreeMap<u32, RoaringBitmap>,
    is_resolved: bool,
    /// Delete files of a plan that came to nothing if there is another.
    written: Vec<String>,
}

/// The data files that the index knows, by number.
#[derive(Debug, Default)]
struct Files {
    /// Those that left keep their number, so what stays of them is small.
    known: Vec<Option<Box<KnownFile>>>,
    by_path: HashMap<String, u32>,
}

#[derive(Debug)]
struct KnownFile {
    /// Without metrics.
    file: TableFile,
    /// Of the checkpoint that is being planned: not in the table yet.
    is_new: bool,
}

/// Keys of one generation, with the places of its rows.
#[derive(Debug, Default)]
struct Resolving {
    keys: Vec<Keys>,
    /// The row of each key; `None` for a deleted key.
    rows: Vec<Option<RowRef>>,
    hashes: Vec<u64>,
}

impl UpsertPlanner {
    /// A planner whose index is empty. `index_max_bytes`: what the index may take in memory; the rest of it lies on disk.
    pub fn new(
        env: Env,
        stored: Arc<dyn StoredRows>,
        cache: ManifestCache,
        key: KeyColumns,
        (config, index_max_bytes): (WriterConfig, usize),
    ) -> Self {
        let seed = env.ids.uuid().as_u128() as u64;
        Self {
            env,
            stored,
            cache,
            key,
            index: KeyIndex::new(index_max_bytes, config.spill_dir.clone()),
            config,
            files: Files::default(),
            seed,
            checkpoint: Checkpoint::default(),
            counters: UpsertCounters::default(),
        }
    }

    /// What it has cost.
    pub fn counters(&self) -> UpsertCounters {
        UpsertCounters {
            keys: self.index.len(),
            index_bytes: self.index.memory_bytes() as u64,
            spilled_bytes: self.index.spilled_bytes(),
            ..self.counters
        }
    }

    /// Brings the index to the state of a table, before the first checkpoint needs it. A table of format version 2 has
    /// no index.
    ///
    /// Cost: the key columns of all data files that are new to it.
    ///
    /// # Errors
    /// What keeps a file from being read; [`Error::KeyNotUnique`].
    pub async fn open(&mut self, table: &Table) -> Result<()> {
        if table.metadata().format_version() >= FormatVersion::V3 {
            let state = self.load(table).await?;
            self.sync(&state).await?;
        }
        Ok(())
    }

    /// Plans the deletes of a checkpoint on a table as it is now. May be called again for the same checkpoint when the
    /// table has moved on; the delete files of the plan before, which is proven not to have landed, are deleted.
    ///
    /// # Errors
    /// As [`UpsertPlanner::open`]; what keeps a delete file from being stored. After an error the planner can't go on.
    pub async fn plan(&mut self, table: &Table, generations: &[Generation]) -> Result<UpsertPlan> {
        for location in std::mem::take(&mut self.checkpoint.written) {
            self.counters.plans_again += 1;
            self.env.store.delete(&location).await?;
        }
        let plan = match table.metadata().format_version() {
            FormatVersion::V3 => self.plan_vectors(table, generations).await?,
            _ => self.plan_positions(table, generations).await?,
        };
        Ok(plan)
    }

    /// The checkpoint is in the table.
    pub fn landed(&mut self) {
        self.checkpoint = Checkpoint::default();
        for known in self.files.known.iter_mut().flatten() {
            known.is_new = false;
        }
    }

    async fn load(&self, table: &Table) -> Result<TableState> {
        Ok(io::load_state(&self.env.store, &self.cache, table, io::Entries::All).await?)
    }

    async fn plan_vectors(&mut self, table: &Table, generations: &[Generation]) -> Result<UpsertPlan> {
        let state = self.load(table).await?;
        let has_changed = self.sync(&state).await?;
        if has_changed && self.checkpoint.is_resolved {
            self.forget_new_rows()?;
            self.checkpoint.is_resolved = false;
        }
        if !self.checkpoint.is_resolved {
            for generation in generations {
                self.resolve(table, generation).await?;
            }
            self.checkpoint.is_resolved = true;
        }
        let deleted = self.deleted_rows(&state).await?;
        let delete_files = write_deletion_vectors(&self.env, table, &self.config, &deleted).await?;
        self.checkpoint.written = paths_of(&delete_files);
        let removed_delete_files = absorbed_by(&state, &deleted)?;
        Ok(UpsertPlan { base_snapshot_id: Some(state.snapshot_id()), delete_files, removed_delete_files })
    }

    async fn plan_positions(&mut self, table: &Table, generations: &[Generation]) -> Result<UpsertPlan> {
        let mut plan = UpsertPlan::default();
        if generations.len() > 1 {
            self.index = self.index.emptied();
            self.files = Files::default();
            self.checkpoint = Checkpoint::default();
            for generation in generations {
                self.resolve(table, generation).await?;
            }
            let deleted: Vec<_> =
                self.checkpoint.deleted.iter().map(|(file, rows)| self.rows_of(*file, rows)).collect();
            plan.delete_files = write_position_deletes(&self.env, table, &self.config, &deleted).await?;
            self.checkpoint.written = paths_of(&plan.delete_files);
        }
        plan.delete_files.extend(generations.iter().flat_map(|generation| generation.equality_deletes.clone()));
        Ok(plan)
    }

    /// Takes the files of a state into the index, and those that are not there any more out of it. Says whether there were
    /// any.
    async fn sync(&mut self, state: &TableState) -> Result<bool> {
        let live = state.live_data_files_by_path()?;
        let gone: BTreeSet<u32> = (0..)
            .zip(&self.files.known)
            .filter(|(_, known)| {
                known.as_ref().is_some_and(|known| !known.is_new && !live.contains_key(known.file.file.file_path()))
            })
            .map(|(number, _)| number)
            .collect();
        if !gone.is_empty() {
            self.index.retain(|at| !gone.contains(&at.file))?;
            for number in &gone {
                self.files.forget(*number);
                self.checkpoint.deleted.remove(number);
            }
        }
        let mut came = BTreeSet::new();
        for (path, live) in &live {
            if !self.files.by_path.contains_key(*path) {
                self.files.add(table_file(live, slim(live.file, live.partition_spec_id)), false)?;
                came.insert((*path).to_owned());
            }
        }
        let changed = !came.is_empty() || !gone.is_empty();
        if !came.is_empty() {
            self.index_files(state, came).await?;
        }
        Ok(changed)
    }

    async fn index_files(&mut self, state: &TableState, paths: BTreeSet<String>) -> Result<()> {
        let mut keys = self.stored.live_keys(state, paths, self.key.ids()).await?;
        while let Some(batch) = keys.try_next().await? {
            let file = self.files.by_path[batch.path.as_ref()];
            let complete = self.key.complete_rows(&batch.keys);
            let (keys, rows) = match &complete {
                None => (batch.keys, batch.rows),
                // A row without a whole key, which only others can write, is nobody's older row.
                Some(complete) => {
                    let rows = batch.rows.iter().zip(complete).filter(|(_, complete)| **complete).map(|(row, _)| *row);
                    let keep = arrow::array::BooleanArray::from(complete.clone());
                    let keys = arrow::compute::filter_record_batch(&batch.keys, &keep)
                        .map_err(Error::arrow("leaving out rows without a key"))?;
                    (keys, rows.collect())
                }
            };
            let hashes: Vec<u64> = self.key.encode(&keys)?.hashes(self.seed).collect();
            self.counters.rows_indexed += hashes.len() as u64;
            self.index.visit(&hashes, |i, tag, part| part.insert(tag, RowRef { file, row: rows[i] as u32 }))?;
        }
        Ok(())
    }

    /// The rows of the checkpoint leave the index: they are resolved anew on another state.
    fn forget_new_rows(&mut self) -> Result<()> {
        let new: BTreeSet<u32> = (0..)
            .zip(&self.files.known)
            .filter(|(_, known)| known.as_ref().is_some_and(|known| known.is_new))
            .map(|(number, _)| number)
            .collect();
        self.index.retain(|at| !new.contains(&at.file))?;
        for number in new {
            self.files.forget(number);
            self.checkpoint.deleted.remove(&number);
        }
        Ok(())
    }

    /// Finds the older rows of a generation's keys, and puts its own rows into the index.
    async fn resolve(&mut self, table: &Table, generation: &Generation) -> Result<()> {
        let resolving = self.read_generation(table, generation).await?;
        let mut candidates: BTreeMap<u32, Vec<(u32, usize)>> = BTreeMap::new();
        self.index.visit(&resolving.hashes, |i, tag, part| {
            for at in part.find(tag) {
                candidates.entry(at.file).or_default().push((at.row, i));
            }
            Ok(())
        })?;
        let mut older: HashMap<usize, Vec<RowRef>> = HashMap::new();
        for (file, rows) in candidates {
            self.verify(table, (file, rows), &resolving, &mut older).await?;
        }
        for at in older.values().flatten() {
            self.counters.rows_deleted += u64::from(self.checkpoint.deleted.entry(at.file).or_default().insert(at.row));
        }
        self.index.visit(&resolving.hashes, |i, tag, part| {
            let mut older = older.get(&i).into_iter().flatten().copied();
            match (resolving.rows[i], older.next()) {
                (Some(new), Some(old)) => part.replace(tag, old, new),
                (Some(new), None) => part.insert(tag, new)?,
                (None, Some(old)) => part.remove(tag, old),
                (None, None) => {}
            }
            older.for_each(|old| part.remove(tag, old));
            Ok(())
        })
    }

    /// Reads the keys of a generation's files back, so that the place of each row is known for sure.
    async fn read_generation(&mut self, table: &Table, generation: &Generation) -> Result<Resolving> {
        let mut resolving = Resolving::default();
        for file in &generation.files {
            let slim = TableFile { file: slim(&file.file, file.partition_spec_id), ..file.clone() };
            let mut batches = self.stored.keys_at(table, &slim, None, self.key.ids()).await?;
            let number = self.files.add(slim, true)?;
            let mut row = 0_u32;
            while let Some(keys) = batches.try_next().await? {
                let count = keys.num_rows() as u32;
                resolving.rows.extend((row..row + count).map(|row| Some(RowRef { file: number, row })));
                row += count;
                resolving.add(self.key.encode(&keys)?, self.seed);
            }
        }
        for keys in &generation.deleted_keys {
            resolving.rows.extend(std::iter::repeat_n(None, keys.num_rows()));
            resolving.add(self.key.encode(keys)?, self.seed);
        }
        Ok(resolving)
    }

    /// Compares candidates of one file with the keys that they were found for.
    async fn verify(
        &mut self,
        table: &Table,
        (number, mut candidates): (u32, Vec<(u32, usize)>),
        resolving: &Resolving,
        older: &mut HashMap<usize, Vec<RowRef>>,
    ) -> Result<()> {
        let file = &self.files.known[number as usize].as_ref().expect("rows of files that left are dropped").file;
        candidates.sort_unstable();
        let rows: RoaringBitmap = candidates.iter().map(|(row, _)| *row).collect();
        self.counters.rows_verified += rows.len();
        let mut in_order = rows.iter();
        let mut candidates = candidates.into_iter().peekable();
        let mut batches = self.stored.keys_at(table, file, Some(rows.clone()), self.key.ids()).await?;
        let places = resolving.places();
        while let Some(batch) = batches.try_next().await? {
            let stored = self.key.encode(&batch)?;
            for (in_batch, row) in (0..stored.len()).zip(in_order.by_ref()) {
                while let Some((_, i)) = candidates.next_if(|(candidate, _)| *candidate == row) {
                    if resolving.key(&places, i) == stored.get(in_batch) {
                        older.entry(i).or_default().push(RowRef { file: number, row });
                    }
                }
            }
        }
        match candidates.next() {
            None => Ok(()),
            Some((row, _)) => Err(Error::Table(frazil_table::Error::Damaged {
                location: file.file.file_path().to_owned(),
                reason: format!("it has no row {row}, which was there before"),
            })),
        }
    }

    /// All that is deleted of each file concerned: by the checkpoint and before it.
    async fn deleted_rows(&self, state: &TableState) -> Result<Vec<DeletedRows>> {
        let known =
            |number: &u32| self.files.known[*number as usize].as_ref().expect("deletes of files that left go too");
        let in_table = self.checkpoint.deleted.keys().map(known).filter(|known| !known.is_new);
        let in_table: BTreeSet<String> = in_table.map(|known| known.file.file.file_path().to_owned()).collect();
        let before = match in_table.is_empty() {
            true => HashMap::new(),
            false => self.stored.deleted_rows(state, in_table).await?,
        };
        let all = self.checkpoint.deleted.iter().map(|(number, rows)| {
            let mut deleted = self.rows_of(*number, rows);
            if let Some(before) = before.get(&deleted.path) {
                deleted.rows |= before.as_ref();
            }
            deleted
        });
        Ok(all.collect())
    }

    fn rows_of(&self, number: u32, rows: &RoaringBitmap) -> DeletedRows {
        let TableFile { file, partition_spec_id } =
            &self.files.known[number as usize].as_ref().expect("deletes of files that left go too").file;
        DeletedRows {
            path: file.file_path().to_owned(),
            partition_spec_id: *partition_spec_id,
            partition: file.partition().clone(),
            rows: RoaringTreemap::from_bitmaps([(0, rows.clone())]),
        }
    }
}

impl Resolving {
    fn add(&mut self, keys: Keys, seed: u64) {
        self.hashes.extend(keys.hashes(seed));
        self.keys.push(keys);
    }

    /// Where each batch of keys ends.
    fn places(&self) -> Vec<usize> {
        let ends = self.keys.iter().scan(0, |end, keys| {
            *end += keys.len();
            Some(*end)
        });
        ends.collect()
    }

    fn key(&self, places: &[usize], i: usize) -> &[u8] {
        let batch = places.partition_point(|end| *end <= i);
        let start = if batch == 0 { 0 } else { places[batch - 1] };
        self.keys[batch].get(i - start)
    }
}

impl Files {
    fn add(&mut self, file: TableFile, is_new: bool) -> Result<u32> {
        let path = file.file.file_path().to_owned();
        if file.file.record_count() > u64::from(u32::MAX) {
            let reason = format!("{path} has more than 2^32 rows, and the key index counts them in 32 bits");
            return Err(Error::Table(frazil_table::Error::InvalidChange(reason)));
        }
        let number = u32::try_from(self.known.len()).expect("2^32 files are more than a catalog can list");
        self.known.push(Some(Box::new(KnownFile { file, is_new })));
        self.by_path.insert(path, number);
        Ok(number)
    }

    fn forget(&mut self, number: u32) {
        if let Some(known) = self.known[number as usize].take() {
            self.by_path.remove(known.file.file.file_path());
        }
    }
}

fn paths_of(files: &[TableFile]) -> Vec<String> {
    let paths: BTreeSet<_> = files.iter().map(|file| file.file.file_path().to_owned()).collect();
    paths.into_iter().collect()
}

fn table_file(live: &LiveFile<'_>, file: DataFile) -> TableFile {
    TableFile { file, partition_spec_id: live.partition_spec_id }
}

/// The file without its metrics: what is needed to read it.
fn slim(file: &DataFile, partition_spec_id: i32) -> DataFile {
    let mut builder = data_file_builder(file, partition_spec_id);
    let none = HashMap::new;
    builder.column_sizes(none()).value_counts(none()).null_value_counts(none()).nan_value_counts(none());
    builder.lower_bounds(HashMap::new()).upper_bounds(HashMap::new()).split_offsets(None);
    builder.build().expect("it was a whole file")
}
