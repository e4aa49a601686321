//! Rewrites of real files: the rows stay, whatever happens meanwhile.

mod deletes;
mod job;
mod rewrite;
mod service;
mod stream;
mod table;
