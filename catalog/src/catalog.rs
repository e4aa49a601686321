//! The seam: what every catalog does.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use frazil_table::spec::{NamespaceIdent, TableCreation, TableIdent, TableRequirement, TableUpdate};
use frazil_table::{Conflict, Table};
use uuid::Uuid;

use crate::{Consumer, ConsumerCommit, Result};

/// A catalog that several parts of a program share.
pub type CatalogRef = Arc<dyn Catalog>;

/// A namespace with its properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name, level by level.
    pub ident: NamespaceIdent,
    /// Its properties, `location` among them where the catalog has one.
    pub properties: BTreeMap<String, String>,
}

/// One request to move a table's pointer (Iceberg REST, `CommitTableRequest`).
#[derive(Clone, Debug)]
pub struct TableCommit {
    /// The table.
    pub ident: TableIdent,
    /// What must be true of it.
    pub requirements: Vec<TableRequirement>,
    /// What changes.
    pub updates: Vec<TableUpdate>,
    /// The same for every sending of the same request (Iceberg REST, `Idempotency-Key`).
    pub idempotency_key: Uuid,
}

/// How a request to move the pointer ended. Every end is a value: a caller must look at all three.
#[must_use]
#[derive(Clone, Debug)]
pub enum CommitOutcome {
    /// The pointer moved; this is the table now.
    Committed(Table),
    /// The pointer did not move and never will by this request.
    Conflict(Conflict),
    /// Nobody knows. Only reading back tells; files of the request must stay.
    Unknown {
        /// What went wrong.
        reason: String,
    },
}

/// How a request to move several tables' pointers ended (Iceberg REST, `commitTransaction`).
#[must_use]
#[derive(Clone, Debug)]
pub enum TransactionOutcome {
    /// All pointers moved; these are the tables now, in the order of the request.
    Committed(Vec<Table>),
    /// No pointer moved and none ever will by this request.
    Conflict(Conflict),
    /// Nobody knows. Only reading back tells; files of the request must stay.
    Unknown {
        /// What went wrong.
        reason: String,
    },
}

/// Who owns tables' metadata pointers.
///
/// Implementations move a pointer by compare-and-swap and never otherwise; a table that is returned is the one that the
/// pointer named at some moment during the call.
#[async_trait]
pub trait Catalog: Debug + Send + Sync {
    /// What a person calls it: a file or a URI.
    fn name(&self) -> String;

    /// The namespaces directly below `parent`, or at the top.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchNamespace`] if `parent` does not exist.
    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>>;

    /// Makes a namespace. Its parent must exist.
    ///
    /// # Errors
    /// [`crate::Error::NamespaceExists`], or [`crate::Error::NoSuchNamespace`] for the parent.
    async fn create_namespace(&self, ident: &NamespaceIdent, properties: BTreeMap<String, String>)
    -> Result<Namespace>;

    /// A namespace's properties.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchNamespace`].
    async fn load_namespace(&self, ident: &NamespaceIdent) -> Result<Namespace>;

    /// Sets and removes properties of a namespace.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchNamespace`].
    async fn update_namespace(
        &self,
        ident: &NamespaceIdent,
        updates: HashMap<String, String>,
        removals: Vec<String>,
    ) -> Result<()>;

    /// Drops an empty namespace.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchNamespace`], [`crate::Error::NamespaceNotEmpty`].
    async fn drop_namespace(&self, ident: &NamespaceIdent) -> Result<()>;

    /// The tables of a namespace.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchNamespace`].
    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>>;

    /// Makes a table. Field ids are given anew (Iceberg spec, "Schemas"); without a location the catalog chooses one.
    ///
    /// # Errors
    /// [`crate::Error::TableExists`], [`crate::Error::NoSuchNamespace`], [`crate::Error::Forbidden`] for a location
    /// outside the warehouse.
    async fn create_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<Table>;

    /// A table as it is now.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchTable`].
    async fn load_table(&self, ident: &TableIdent) -> Result<Table>;

    /// Drops a table; with `purge` also deletes its files. Without it the files stay.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchTable`].
    async fn drop_table(&self, ident: &TableIdent, purge: bool) -> Result<()>;

    /// Gives a table another name, in any namespace that exists.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchTable`], [`crate::Error::NoSuchNamespace`], [`crate::Error::TableExists`].
    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()>;

    /// Takes over a table whose metadata file is there already.
    ///
    /// # Errors
    /// [`crate::Error::TableExists`], [`crate::Error::NoSuchNamespace`], [`crate::Error::Table`] if the file is no metadata.
    async fn register_table(&self, ident: &TableIdent, metadata_location: &str) -> Result<Table>;

    /// Moves a table's pointer.
    ///
    /// # Errors
    /// Only what is known to have changed nothing, such as [`crate::Error::NoSuchTable`] and
    /// [`crate::Error::BadRequest`]; everything uncertain is [`CommitOutcome::Unknown`].
    async fn commit(&self, commit: TableCommit) -> Result<CommitOutcome>;

    /// Whether [`Catalog::commit_transaction`] moves the pointers of several tables, all or none.
    fn has_transactions(&self) -> bool {
        false
    }

    /// Moves the pointers of several tables, all of them or none. `key` is the same for every sending of the request;
    /// each table may be named once.
    ///
    /// # Errors
    /// As [`Catalog::commit`]; [`crate::Error::BadRequest`] from a catalog without transactions.
    async fn commit_transaction(&self, commits: Vec<TableCommit>, key: Uuid) -> Result<TransactionOutcome> {
        let (_, _) = (commits, key);
        Err(crate::Error::BadRequest(format!("{} can't commit to several tables at once", self.name())))
    }

    /// The consumers of a table, in the order of their names; none from a catalog that keeps none.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchTable`].
    async fn consumers(&self, ident: &TableIdent) -> Result<Vec<Consumer>> {
        let _ = ident;
        Ok(Vec::new())
    }

    /// Makes a consumer's newest member of the caller, and the consumer if it is not there: members before it are fenced.
    /// Its position holds snapshots back from expiry for `lease_ms` after each sign of life.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchTable`]; [`crate::Error::BadRequest`] from a catalog that keeps no consumers.
    async fn join_consumer(&self, ident: &TableIdent, name: &str, lease_ms: i64) -> Result<Consumer> {
        let (_, _, _) = (ident, name, lease_ms);
        Err(no_consumers(&self.name()))
    }

    /// Commits how far a consumer has come, as durably as a pointer moves; without a position it only renews the lease.
    ///
    /// # Errors
    /// [`crate::Error::ConsumerFenced`] if a newer member has joined, [`crate::Error::NoSuchConsumer`]. Nothing has changed
    /// then. Any other error leaves open whether it was committed: committing again is safe.
    async fn commit_consumer(&self, ident: &TableIdent, name: &str, commit: ConsumerCommit) -> Result<()> {
        let (_, _, _) = (ident, name, commit);
        Err(no_consumers(&self.name()))
    }

    /// Forgets a consumer with its position.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchConsumer`].
    async fn drop_consumer(&self, ident: &TableIdent, name: &str) -> Result<()> {
        let (_, _) = (ident, name);
        Err(no_consumers(&self.name()))
    }

    /// Whether a table of that name exists.
    ///
    /// # Errors
    /// As [`Catalog::load_table`], but a missing table or namespace is `false`.
    async fn table_exists(&self, ident: &TableIdent) -> Result<bool> {
        match self.load_table(ident).await {
            Ok(_) => Ok(true),
            Err(crate::Error::NoSuchTable(_) | crate::Error::NoSuchNamespace(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

pub(crate) fn no_consumers(catalog: &str) -> crate::Error {
    let message =
        format!("{catalog} keeps no consumers: follow the table through frazil serve, or keep positions yourself");
    crate::Error::BadRequest(message)
}
