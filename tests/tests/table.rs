//! The commit engine: every way in which a table changes, read back by the reader; random histories of all of them; files
//! that are hostile.

mod commits;
mod histories;
mod hostile;
mod museum;
pub mod world;
