//! Rows that replace the older rows of their keys, on the way into data files.
//!
//! Within one checkpoint the last word on a key counts. Rows wait in memory; when there are enough of them, or the
//! checkpoint comes, only the last row of each key is written: a *generation*. No key is twice in one generation, and
//! later generations of a checkpoint go before earlier ones. So nothing depends on the order in which files are written
//! or rows lie in them. What becomes of older rows is decided when the checkpoint is committed
//! ([`crate::UpsertPlanner`]); only the equality deletes of format version 2 are written here, where the keys are at hand.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{and, filter_record_batch, not};
use arrow::error::ArrowError;
use frazil_storage::Env;
use frazil_table::spec::FormatVersion;
use frazil_table::{Table, TableFile};

use crate::closed_files::ClosedFiles;
use crate::conform::conform_batch;
use crate::equality_deletes::check_partitioned_by_key;
use crate::key::{KeyColumns, Keys};
use crate::memory::batch_bytes;
use crate::{Error, Result, TableWriter, WriterConfig, WriterCounters, write_equality_deletes};

/// Rows of distinct keys, written; and keys that are deleted.
#[derive(Clone, Debug, Default)]
pub struct Generation {
    /// Durable data files that no snapshot names yet.
    pub files: Vec<TableFile>,
    /// Keys that are gone, without a row in `files`.
    pub deleted_keys: Vec<RecordBatch>,
    /// Of format version 2: durable equality delete files of all its keys.
    pub equality_deletes: Vec<TableFile>,
}

impl Generation {
    /// Takes the rows and keys of another writer's generation, which has none of its keys.
    pub fn extend(&mut self, other: Self) {
        self.files.extend(other.files);
        self.deleted_keys.extend(other.deleted_keys);
        self.equality_deletes.extend(other.equality_deletes);
    }
}

/// Writes upserts and deletes of one table.
///
/// Memory: what [`WriterConfig::memory_max_bytes`] says, half of it for rows that wait and half for those that are being
/// encoded; beside that at most about 100 bytes for each row that waits, while they are sorted out.
#[derive(Debug)]
pub struct UpsertWriter {
    env: Env,
    table: Table,
    key: KeyColumns,
    config: WriterConfig,
    rows: TableWriter,
    waiting: Vec<Change>,
    waiting_bytes: usize,
    generations: Vec<Generation>,
    seed: u64,
}

#[derive(Debug)]
struct Change {
    /// `None`: the keys are deleted.
    rows: Option<RecordBatch>,
    keys: RecordBatch,
}

impl UpsertWriter {
    /// A writer for a table as it is now.
    ///
    /// # Errors
    /// [`Error::BadKey`] for a table of format version 1, which has no deletes, and for one of version 2 that is
    /// partitioned by a column outside of the key; otherwise as [`TableWriter::new`].
    pub fn new(env: Env, table: &Table, key: KeyColumns, config: WriterConfig) -> Result<Self> {
        Self::check(table, &key)?;
        let half = WriterConfig { memory_max_bytes: config.memory_max_bytes / 2, ..config.clone() };
        let rows = TableWriter::new(env.clone(), table, half)?;
        let seed = env.ids.uuid().as_u128() as u64;
        Ok(Self {
            env,
            table: table.clone(),
            key,
            config,
            rows,
            waiting: Vec::new(),
            waiting_bytes: 0,
            generations: Vec::new(),
            seed,
        })
    }

    /// Whether a table takes upserts by a key.
    ///
    /// # Errors
    /// [`Error::BadKey`], as [`UpsertWriter::new`].
    pub fn check(table: &Table, key: &KeyColumns) -> Result<()> {
        match table.metadata().format_version() {
            FormatVersion::V1 => Err(Error::BadKey {
                field: "*".to_owned(),
                reason: "format version 1 has no deletes; upgrade the table to version 2 or 3".to_owned(),
            }),
            FormatVersion::V2 => check_partitioned_by_key(table, key),
            FormatVersion::V3 => Ok(()),
        }
    }

    /// The key.
    pub fn key(&self) -> &KeyColumns {
        &self.key
    }

    /// Totals of the rows that were written; those that a later row of their key took the place of before that are not
    /// among them.
    pub fn counters(&self) -> WriterCounters {
        self.rows.counters()
    }

    /// Rows of the table's current schema that take the place of all older rows of their keys.
    ///
    /// # Errors
    /// [`Error::RequiredNull`] for a key that is null and [`Error::BadBatch`] for other columns: no row of the batch is
    /// taken, and the writer can go on. After any other error it can't.
    pub async fn upsert(&mut self, rows: RecordBatch) -> Result<()> {
        let rows = conform_batch(&rows, self.rows.schema())?;
        let keys = self.key.keys_of(&rows)?;
        self.waiting_bytes += batch_bytes(&rows);
        self.take(Change { rows: Some(rows), keys }).await
    }

    /// Keys, as batches of [`KeyColumns::arrow_schema`], whose rows are deleted.
    ///
    /// # Errors
    /// As [`UpsertWriter::upsert`].
    pub async fn delete(&mut self, keys: RecordBatch) -> Result<()> {
        let keys = conform_batch(&keys, self.key.arrow_schema())?;
        self.key.encode(&keys)?;
        self.waiting_bytes += batch_bytes(&keys);
        self.take(Change { rows: None, keys }).await
    }

    /// Changes in their order: rows of the table's current schema that take the place of the older rows of their keys, and
    /// among them, where `deletes` is true, rows whose keys are deleted; of these only the key is looked at, and a key
    /// that is not there changes nothing.
    ///
    /// # Errors
    /// As [`UpsertWriter::upsert`].
    ///
    /// # Panics
    /// If there are not as many `deletes` as rows.
    pub async fn change(&mut self, rows: RecordBatch, deletes: &BooleanArray) -> Result<()> {
        assert_eq!(rows.num_rows(), deletes.len(), "each row is a delete or not");
        let keys = self.key.keys_of(&rows)?;
        // The last word on each key: what is left may go in any order.
        let last = self.last_of_each(&[self.key.encode(&keys)?]).remove(0);
        let sorted = || -> std::result::Result<_, ArrowError> {
            let (gone, stay) = (and(&last, deletes)?, and(&last, &not(deletes)?)?);
            Ok((filter_record_batch(&rows, &stay)?, filter_record_batch(&keys, &gone)?))
        };
        let (upserts, deleted) = sorted().map_err(Error::arrow("sorting changes out"))?;
        if upserts.num_rows() > 0 {
            self.upsert(upserts).await?;
        }
        match deleted.num_rows() {
            0 => Ok(()),
            _ => self.delete(deleted).await,
        }
    }

    /// Writes what waits, and gives everything since the last flush, oldest first.
    ///
    /// # Errors
    /// After an error the writer can't go on.
    pub async fn flush(&mut self) -> Result<Vec<Generation>> {
        self.end_generation().await?;
        Ok(std::mem::take(&mut self.generations))
    }

    fn last_of_each(&self, keys: &[Keys]) -> Vec<BooleanArray> {
        last_of_each_key(keys, |keys| keys.hashes(self.seed).collect())
    }

    async fn take(&mut self, change: Change) -> Result<()> {
        if change.keys.num_rows() > 0 {
            self.waiting.push(change);
        }
        if self.waiting_bytes > self.config.memory_max_bytes / 2 {
            self.end_generation().await?;
        }
        Ok(())
    }

    async fn end_generation(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        if waiting.is_empty() {
            return Ok(());
        }
        let keys = waiting.iter().map(|change| self.key.encode(&change.keys)).collect::<Result<Vec<_>>>()?;
        let last = self.last_of_each(&keys);
        drop(keys);
        let equality = self.table.metadata().format_version() == FormatVersion::V2;
        let mut generation = Generation::default();
        let mut all_keys = Vec::new();
        for (change, last) in waiting.into_iter().zip(last) {
            let kept = |batch| filter_record_batch(batch, &last).map_err(Error::arrow("leaving out older rows"));
            let keys = if equality || change.rows.is_none() { Some(kept(&change.keys)?) } else { None };
            match &change.rows {
                Some(rows) => self.rows.write(kept(rows)?).await?,
                None => generation.deleted_keys.extend(keys.clone().filter(|keys| keys.num_rows() > 0)),
            }
            all_keys.extend(keys.filter(|_| equality));
        }
        generation.files = self.rows.flush().await?;
        if equality {
            let written = write_equality_deletes(&self.env, &self.table, &self.config, &self.key, &all_keys);
            generation.equality_deletes = written.await?;
        }
        self.generations.push(generation);
        Ok(())
    }
}

impl Drop for UpsertWriter {
    /// Generations that nobody was given leave no files behind.
    fn drop(&mut self) {
        let mut unwanted = ClosedFiles::of(&self.env);
        for generation in std::mem::take(&mut self.generations) {
            unwanted.extend(generation.files);
            unwanted.extend(generation.equality_deletes);
        }
    }
}

/// For each row of each batch whether no later one has its key. `hashes_of` gives equal keys equal hashes.
fn last_of_each_key(batches: &[Keys], hashes_of: impl Fn(&Keys) -> Vec<u64>) -> Vec<BooleanArray> {
    let rows: usize = batches.iter().map(Keys::len).sum();
    let mut seen: HashMap<u64, (u32, u32), BuildHasherDefault<AsIs>> = HashMap::default();
    seen.reserve(rows);
    // Keys whose hashes are alike though they differ.
    let mut strangers: Vec<(u64, (u32, u32))> = Vec::new();
    let key = |(batch, row): (u32, u32)| batches[batch as usize].get(row as usize);
    let mut last: Vec<Vec<bool>> = batches.iter().map(|keys| vec![false; keys.len()]).collect();
    for (batch, keys) in batches.iter().enumerate().rev() {
        for (row, hash) in hashes_of(keys).into_iter().enumerate().rev() {
            let here = (batch as u32, row as u32);
            let is_new = match seen.entry(hash) {
                Entry::Vacant(vacant) => {
                    vacant.insert(here);
                    true
                }
                Entry::Occupied(known) if key(*known.get()) == key(here) => false,
                Entry::Occupied(_) => {
                    let alike = |(other, at): &(u64, (u32, u32))| *other == hash && key(*at) == key(here);
                    let is_new = !strangers.iter().any(alike);
                    if is_new {
                        strangers.push((hash, here));
                    }
                    is_new
                }
            };
            last[batch][row] = is_new;
        }
    }
    last.into_iter().map(BooleanArray::from).collect()
}

/// A hash is a hash already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests;
