//! Scans and increments of tables that are really written, against models in memory.

mod damage;
mod deletes;
mod evolution;
mod follow;
mod pruning;
mod random;
pub(crate) mod world;
mod upsert;
mod world;
