//! A catalog and a warehouse on the local disk.

use std::path::Path;
use std::sync::Arc;

use frazil_catalog::{Catalog, CommitEnd, CommitQueue, Precheck, SqlCatalog};
use frazil_storage::Env;
use frazil_table::spec::{FormatVersion, NamespaceIdent, Schema, TableCreation, TableIdent};
use frazil_table::{Change, CommitIdentity};

use crate::Result;

/// What a suite works in.
pub struct World {
    pub env: Env,
    pub catalog: Arc<SqlCatalog>,
    pub namespace: NamespaceIdent,
}

impl World {
    /// Everything in a folder.
    pub async fn new(folder: &Path) -> Result<Self> {
        let env = Env::system();
        let warehouse = format!("file://{}/warehouse", folder.display());
        let catalog = SqlCatalog::open(&folder.join("catalog.db"), env.clone(), &warehouse).await?;
        let namespace = NamespaceIdent::new("n".to_owned());
        catalog.create_namespace(&namespace, Default::default()).await?;
        Ok(Self { env, catalog: Arc::new(catalog), namespace })
    }

    /// A new table and the door to it.
    pub async fn table(
        &self,
        name: &str,
        schema: Schema,
        version: FormatVersion,
        properties: &[(&str, &str)],
    ) -> Result<CommitQueue> {
        let creation = TableCreation::builder()
            .name(name.to_owned())
            .schema(schema)
            .format_version(version)
            .properties(properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
            .build();
        self.catalog.create_table(&self.namespace, creation).await?;
        Ok(self.queue(name))
    }

    /// The door to a table.
    pub fn queue(&self, name: &str) -> CommitQueue {
        let ident = TableIdent::new(self.namespace.clone(), name.to_owned());
        CommitQueue::new(self.catalog.clone(), self.env.clone(), ident)
    }

    /// Commits a change that nothing can be in the way of.
    pub async fn commit(&self, queue: &CommitQueue, change: Change) -> Result<()> {
        match queue.commit(&[change], CommitIdentity::draw(&self.env, 1), &|_| Precheck::Proceed).await? {
            CommitEnd::Committed(_) => Ok(()),
            other => Err(format!("a commit that nobody else was near ended as {other:?}").into()),
        }
    }
}
