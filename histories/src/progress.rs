//! Many histories, also over several runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{Broken, Tally};

/// How much is done in one run.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The seeds are those below this one.
    pub count: u64,
    /// No history begins later.
    pub time: Duration,
    /// Histories that run at the same time.
    pub threads: usize,
}

/// How far all runs have come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Seeds below this one were run, but for those that are being run.
    pub next: u64,
    /// Those that broke a promise when they were run last.
    pub failed: BTreeSet<u64>,
    /// Those that are to be run before the next: what a run that was killed had begun, and what failed.
    due: BTreeSet<u64>,
    /// How many histories did what.
    pub tally: BTreeMap<String, u64>,
}

impl Progress {
    /// What a file says; nothing if there is none.
    pub fn load(path: &Path) -> Self {
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

    fn end(&mut self, seed: u64, ended: Result<Tally, Broken>, report: &(dyn Fn(u64, &str) + Sync)) {
        match ended {
            Ok(tally) => {
                for (what, times) in tally.0 {
                    *self.tally.entry(what).or_default() += times;
                }
            }
            Err(broken) => {
                report(seed, &broken);
                self.failed.insert(seed);
            }
        }
    }

    /// Runs seeds one after the other on each thread. What is reached goes into the file, if there is one; each broken
    /// promise to `report`.
    #[must_use]
    pub fn go_on(self, pace: Pace, file: Option<&Path>, report: &(dyn Fn(u64, &str) + Sync)) -> Self {
        let begun = Instant::now();
        let shared = Mutex::new((self, BTreeSet::new()));
        let next = || {
            let (progress, running) = &mut *shared.lock().unwrap();
            let seed = if begun.elapsed() < pace.time { progress.take(pace.count) } else { None }?;
            running.insert(seed);
            Some(seed)
        };
        let work = || {
            while let Some(seed) = next() {
                let ended = crate::run(seed);
                let (progress, running) = &mut *shared.lock().unwrap();
                progress.end(seed, ended, report);
                running.remove(&seed);
                if let Some(file) = file.filter(|_| seed.is_multiple_of(20)) {
                    progress.store(file, running);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..pace.threads {
                scope.spawn(work);
            }
        });
        let (progress, running) = shared.into_inner().unwrap();
        let progress = Self { next: progress.next.min(pace.count), ..progress };
        if let Some(file) = file {
            progress.store(file, &running);
        }
        progress
    }

    /// Of [`MUST_HAPPEN`], what has not happened yet although enough histories were run.
    pub fn missing(&self) -> Vec<&'static str> {
        let happened = |what: &&str| self.tally.contains_key(*what);
        let missing = MUST_HAPPEN.into_iter().filter(|what| !happened(what));
        if self.next < HAPPENS_WITHIN { Vec::new() } else { missing.collect() }
    }
}

/// Histories in which each of [`MUST_HAPPEN`] is sure to happen: the rarest do so about once in a hundred.
const HAPPENS_WITHIN: u64 = 1_000;

/// What some histories must do, as [`Tally`] spells it: a generator that never gets there would test nothing of it.
const MUST_HAPPEN: [&str; 49] = [
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
    "compaction: committed",
    "compaction: FileGone",
    "conversion: committed",
    "rows converted",
    "deletes rebased",
    "deletes rebased again",
    "rewritten by copy",
    "rewritten by encode",
    "rewritten by carry",
    "rewritten by cluster",
    "rewritten without deleted rows",
    "rewritten to nothing",
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
    "changelog as changes",
    "changelog as upsert",
    "changelog as net",
    "changelog cut by expiry",
    "changelog from another branch",
    "changelog with UPDATE_BEFORE",
    "changelog with INSERT",
    "changelog with DELETE",
    "changelog with rows that equality deletes find",
    "changelog with rows that are deleted by position",
    "changelog over a replace",
];
