//! Random histories of a table against a model in memory: every change there is, by several writers at once and the
//! compactor between them, on random schemas and evolving specs, in every format version. After each step the heads and the new snapshots read as the
//! model has them, and after each expiry and at the end every retained snapshot does. At the end, too, what the changelog
//! between random snapshots tells is what the model has changed.
//!
//! A package of its own, so that it is built for speed without the engine: `./test` runs some thousands, the program of
//! this package goes on for as long as it is let ([`Progress`]).
#![allow(
    clippy::unwrap_used,
    reason = "what fails here is a broken promise, and a history that panics is reported as one"
)]

mod changelog;
mod changes;
mod compaction;
mod end_state;
mod evolution;
mod history;
mod model;
mod progress;
mod puffin;
mod value;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use history::{History, Log, Setting};

pub use end_state::{EndState, end_state, with_equality_deletes};
pub use history::{Broken, Tally};
pub use progress::{Pace, Progress};

/// Steps of a history.
const STEPS: usize = 14;

/// Runs the history of a seed in a runtime of its own.
///
/// # Errors
/// The promise that was broken, and the steps that led there.
pub fn run(seed: u64) -> Result<Tally, Broken> {
    ended(seed).0
}

/// The same, and what its steps were.
pub fn narrate(seed: u64) -> (Result<Tally, Broken>, String) {
    let (ended, log) = ended(seed);
    (ended, log.text())
}

fn ended(seed: u64) -> (Result<Tally, Broken>, Log) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let log = Log::default();
    let history = async {
        let mut history = History::new(seed, Setting::default(), log.clone()).await;
        history.run(STEPS).await.map(|()| history.tally)
    };
    let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(history)));
    let ended = ended.unwrap_or_else(|_| Err("it panicked".to_owned()));
    (ended.map_err(|reason| format!("{reason}\nafter:\n  {}", log.text())), log)
}
