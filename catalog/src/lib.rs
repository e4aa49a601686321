//! Catalogs: who owns a table's metadata pointer.
//!
//! [`Catalog`] is the seam; [`commit`] is the one commit loop of the workspace: it plans a change on the table as it is,
//! writes its files, has the catalog swap the pointer, and goes again if another commit came first.
//!
//! What this crate does not know: data files' contents, jobs, SQL.

mod apply;
mod cache;
mod catalog;
mod commit;
mod error;
mod queue;
mod rest;
pub mod server;
mod sql;
mod warehouse;
mod wire;

pub use catalog::{Catalog, CatalogRef, CommitOutcome, Namespace, TableCommit};
pub use commit::{Committed, CommitEnd, CommitRequest, Precheck, Retry, commit};
pub use error::{Error, Result};
pub use queue::CommitQueue;
pub use rest::{RestCatalog, RestOptions};
pub use sql::{SqlCatalog, TableChange, TransactionOutcome};
