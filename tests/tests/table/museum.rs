//! The regression museum: bugs that other implementations had, or still have, each as a history that shows it.
//!
//! A test says what went wrong and where it was told. Each fails when what keeps us from the bug is taken out. Bugs of
//! streams of commits are in the writer's `committer` tests, those of answers that are lost or late in the suite `catalog`.

mod compaction;
mod deletes;
mod expiry;
mod isolation;
mod numbers;
mod rebase;
mod retries;
mod rows;
