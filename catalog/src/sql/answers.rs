//! What was answered to commits that lost.
//!
//! A commit that landed leaves its key in the database. One that lost leaves it here: a second copy of the same request,
//! late on its way, must not land after the first was told that it never will (Iceberg REST, `Idempotency-Key`).

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use frazil_table::Conflict;
use uuid::Uuid;

/// About 300 bytes each: 3 MiB.
const ANSWERS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    conflicts: HashMap<Uuid, Conflict>,
    /// Oldest first.
    order: VecDeque<Uuid>,
}

impl Answers {
    pub(super) fn get(&self, key: Uuid) -> Option<Conflict> {
        self.lock().conflicts.get(&key).cloned()
    }

    pub(super) fn insert(&self, key: Uuid, conflict: Conflict) {
        let mut inner = self.lock();
        if inner.conflicts.insert(key, conflict).is_none() {
            inner.order.push_back(key);
        }
        if inner.order.len() > ANSWERS_MAX
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.conflicts.remove(&oldest);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}
