//! Rewrites of real files: the rows stay, whatever happens meanwhile.

mod rewrite;
mod service;
mod stream;
mod table;
