//! SQL, plans, the streaming runtime and its connectors.

pub mod coerce;
pub mod connectors;
mod error;
pub mod options;
pub mod session;
mod source;
pub mod sql;
mod suggest;

pub use error::{Error, Result};
pub use session::{Executed, Session};
pub use source::{SOURCE_QUEUE_BATCHES, Source, SourceBatch, SourceStream};
