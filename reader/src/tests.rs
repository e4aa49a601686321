//! Scans and increments of tables that are really written, against models in memory.

mod changelog;
mod damage;
mod deletes;
mod evolution;
mod feed;
mod follow;
mod pruning;
mod random;
mod upsert;
pub(crate) mod world;
