//! Commits of this process to one table go one after the other.
//!
//! Without it, of n commits with the same base all would write a metadata file and n-1 would throw it away; so the
//! losers find out from the requirements, before they write anything. Other processes are kept apart by the
//! compare-and-swap alone.

use std::hash::{BuildHasher, RandomState};

use frazil_table::spec::TableIdent;
use tokio::sync::{Mutex, MutexGuard};

/// Tables share lanes by hash. More than there are commits at the same time.
const LANES: usize = 64;

/// The right to commit to some tables.
pub(crate) type Lane<'a> = Vec<MutexGuard<'a, ()>>;

#[derive(Debug)]
pub(super) struct Lanes {
    lanes: [Mutex<()>; LANES],
    hasher: RandomState,
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self { lanes: std::array::from_fn(|_| Mutex::new(())), hasher: RandomState::new() }
    }

    /// The lanes of some tables, ascending, so that no two commits wait for each other.
    pub(super) fn of<'a>(&self, idents: impl Iterator<Item = &'a TableIdent>) -> Vec<usize> {
        let mut wanted: Vec<usize> =
            idents.map(|ident| (self.hasher.hash_one(ident) % LANES as u64) as usize).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// Waits for these lanes.
    pub(super) async fn enter(&self, wanted: Vec<usize>) -> Lane<'_> {
        let mut lane = Vec::with_capacity(wanted.len());
        for index in wanted {
            lane.push(self.lanes[index].lock().await);
        }
        lane
    }
}
