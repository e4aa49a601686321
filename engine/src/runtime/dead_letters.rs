//! The table beside a target that takes the rows which are put aside.

use std::collections::HashMap;
use std::sync::Arc;

use frazil_catalog::CommitQueue;
use frazil_table::spec::TableCreation;
use frazil_table::{Table, TableFile};
use frazil_writer::{TableWriter, WriterConfig};
use tokio::sync::OnceCell;

use crate::Result;
use crate::dead_letter::{self, DeadLetter};

/// The dead-letter table of a pipeline. It is made when the first row is put aside.
#[derive(Debug)]
pub(crate) struct DeadLetterTable {
    pub(crate) queue: Arc<CommitQueue>,
    /// How the rows call the source that they come from.
    pub(crate) source: String,
    pub(crate) table: OnceCell<Table>,
}

impl DeadLetterTable {
    pub(super) async fn exists(&self) -> Result<bool> {
        Ok(self.queue.catalog().table_exists(self.queue.ident()).await?)
    }

    async fn table(&self) -> Result<&Table> {
        self.table.get_or_try_init(|| self.load_or_create()).await
    }

    async fn load_or_create(&self) -> Result<Table> {
        match self.queue.load().await {
            Err(frazil_catalog::Error::NoSuchTable(_)) => {}
            loaded => return Ok(loaded?),
        }
        let ident = self.queue.ident();
        let properties = HashMap::from(crate::session::DEFAULT_PROPERTIES.map(|(k, v)| (k.to_owned(), v.to_owned())));
        let creation = TableCreation::builder()
            .name(ident.name().to_owned())
            .schema(frazil_table::arrow::iceberg_schema(&dead_letter::schema())?)
            .properties(properties)
            .build();
        match self.queue.catalog().create_table(ident.namespace(), creation).await {
            // Another writer was faster.
            Err(frazil_catalog::Error::TableExists(_)) => Ok(self.queue.load().await?),
            created => Ok(created?),
        }
    }
}

/// A writer task's share of a dead-letter table.
#[derive(Debug)]
pub(super) struct DeadLetterWriter {
    table: Arc<DeadLetterTable>,
    writer: Option<TableWriter>,
}

impl DeadLetterWriter {
    pub(super) fn new(table: Arc<DeadLetterTable>) -> Self {
        Self { table, writer: None }
    }

    pub(super) async fn write(&mut self, letters: &[DeadLetter], split: &str) -> Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        let env = self.table.queue.env().clone();
        let batch = dead_letter::to_batch(letters, env.now_ms(), &self.table.source, split);
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let table = self.table.table().await?;
                none.insert(TableWriter::new(env, table, WriterConfig::default())?)
            }
        };
        Ok(writer.write(batch).await?)
    }

    pub(super) async fn flush(&mut self) -> Result<Vec<TableFile>> {
        match &mut self.writer {
            Some(writer) => Ok(writer.flush().await?),
            None => Ok(Vec::new()),
        }
    }
}
