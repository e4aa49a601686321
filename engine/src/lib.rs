//! SQL, plans, the streaming runtime and its connectors.

mod error;
pub mod options;
pub mod sql;
mod suggest;

pub use error::{Error, Result};
