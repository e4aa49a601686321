//! SQL, plans, the streaming runtime and its connectors.

pub mod coerce;
mod error;
pub mod options;
pub mod session;
pub mod sql;
mod suggest;

pub use error::{Error, Result};
pub use session::{Executed, Session};
