//! Catalogs: who owns a table's metadata pointer.
//!
//! [`Catalog`] is the seam; [`commit()`] is the one commit loop of the workspace: it plans a change on the table as it is,
//! writes its files, has the catalog swap the pointer, and goes again if another commit came first.
//!
//! [`SqlCatalog`] keeps pointers in a database of its own, [`server`] puts it on the network by the Iceberg REST protocol,
//! and [`RestCatalog`] is a client of that and any other such service.
//!
//! What this crate does not know: data files' contents, jobs, SQL.
//!
//! ```
//! # async fn run() -> frazil_catalog::Result<()> {
//! use frazil_catalog::{Catalog, CommitOutcome, SqlCatalog, TableCommit};
//! use frazil_storage::Env;
//! use frazil_table::spec::{NamespaceIdent, Schema, TableCreation, TableUpdate};
//!
//! let env = Env::in_memory(7);
//! let catalog = SqlCatalog::in_memory(env.clone(), "memory://lake/warehouse").await?;
//! let namespace = NamespaceIdent::new("db".to_owned());
//! catalog.create_namespace(&namespace, Default::default()).await?;
//! let schema = Schema::builder().build().expect("a schema may be empty");
//! let creation = TableCreation::builder().name("t".to_owned()).schema(schema).build();
//! let table = catalog.create_table(&namespace, creation).await?;
//! assert_eq!(table.metadata().location(), "memory://lake/warehouse/db/t");
//!
//! let owner = TableUpdate::SetProperties { updates: [("owner".to_owned(), "ann".to_owned())].into() };
//! let commit = TableCommit {
//!     ident: table.ident().clone(),
//!     requirements: vec![],
//!     updates: vec![owner],
//!     idempotency_key: env.ids.uuid(),
//! };
//! let CommitOutcome::Committed(table) = catalog.commit(commit).await? else { panic!("nobody else is here") };
//! assert_eq!(table.property("owner"), Some("ann"));
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run()).unwrap();
//! ```

mod access;
mod apply;
mod cache;
mod catalog;
mod commit;
mod consumer;
mod error;
mod queue;
mod rest;
pub mod server;
mod sql;
mod warehouse;
mod wire;

pub use catalog::{Catalog, CatalogRef, CommitOutcome, Namespace, TableCommit, TransactionOutcome};
pub use commit::{CommitEnd, CommitRequest, Committed, Precheck, Retry, TransactionEnd, commit, commit_transaction};
pub use consumer::{CONSUMER_LEASE_MS, Consumer, ConsumerCommit};
pub use error::{Error, Result};
pub use queue::{CommitQueue, QueuedCommit, Turns, commit_in_turns, commit_queued};
pub use rest::{RestCatalog, RestOptions};
pub use sql::{SqlCatalog, TableChange};
