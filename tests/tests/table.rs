//! The commit engine: every way in which a table changes, read back by the reader.

mod commits;
mod museum;
mod world;
