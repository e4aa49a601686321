//! Rewrites of real files: the rows stay, whatever happens meanwhile.

mod rewrite;
mod stream;
mod table;
