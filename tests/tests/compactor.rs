//! Rewrites of real files: the rows stay, whatever happens meanwhile.

mod carry;
mod cluster;
mod convert;
mod deletes;
mod job;
mod killed;
mod rebase;
mod rewrite;
mod service;
mod stream;
mod table;
