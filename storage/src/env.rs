//! The world as the rest of the program sees it.

use std::sync::Arc;

use crate::{Clock, Ids, ManualClock, RandomIds, SeededIds, Steps, Store, SystemClock};

/// Store, clock, ids and steps. Cheap to clone; every part is shared.
#[derive(Clone, Debug)]
pub struct Env {
    /// Where bytes live.
    pub store: Store,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Names and numbers nobody has used yet.
    pub ids: Arc<dyn Ids>,
    /// Named points at which a test may stop the process or fail an operation.
    pub steps: Steps,
}

impl Env {
    /// The real world: local files and memory, the system's clock, random ids, no steps armed.
    pub fn system() -> Self {
        Self { store: Store::new(), clock: Arc::new(SystemClock), ids: Arc::new(RandomIds), steps: Steps::none() }
    }

    /// A world of its own for tests: memory behind `memory://`, a clock that moves by hand, ids that follow from `seed`.
    pub fn in_memory(seed: u64) -> Self {
        Self {
            store: Store::new(),
            clock: Arc::new(ManualClock::at(1_700_000_000_000)),
            ids: Arc::new(SeededIds::new(seed)),
            steps: Steps::none(),
        }
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
}
