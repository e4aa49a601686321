//! Ids that nobody has used yet.

use std::fmt::Debug;
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use uuid::Uuid;

/// A source of ids.
pub trait Ids: Debug + Send + Sync {
    /// A UUID for file names and table identities.
    fn uuid(&self) -> Uuid;

    /// A positive snapshot id (Iceberg spec, "Snapshots": a unique long).
    fn snapshot_id(&self) -> i64;
}

/// Ids from the system's randomness. UUIDs are version 7, so that file names sort by the time they were made.
#[derive(Debug, Clone, Copy)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn snapshot_id(&self) -> i64 {
        rand::rng().random_range(1..=i64::MAX)
    }
}

/// Ids that follow from a seed, for tests.
#[derive(Debug)]
pub struct SeededIds(Mutex<StdRng>);

impl SeededIds {
    /// The same seed gives the same ids in the same order.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Ids for SeededIds {
    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.0.lock().expect("no code panics while it holds this lock").fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    fn snapshot_id(&self) -> i64 {
        self.0.lock().expect("no code panics while it holds this lock").random_range(1..=i64::MAX)
    }
}
