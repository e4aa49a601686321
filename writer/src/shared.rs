//! What all files of a writer have in common.

use std::sync::Arc;

use frazil_storage::Env;
use frazil_table::spec::SchemaRef;
use frazil_table::{Table, row_lineage};
use tokio_util::task::TaskTracker;

use crate::closed_files::ClosedFiles;
use crate::memory::MemoryPool;
use crate::threads::Threads;
use crate::{DataLocations, FileOptions, Result, WriterConfig};

pub(crate) struct Shared {
    pub env: Env,
    pub config: WriterConfig,
    pub options: Arc<FileOptions>,
    pub schema: SchemaRef,
    pub spec_id: i32,
    /// The order that rows of a file are in, if they are in one.
    pub sort_order_id: Option<i32>,
    pub locations: DataLocations,
    pub threads: Threads,
    pub memory: MemoryPool,
    /// Of files that were closed and are not wanted.
    pub deletions: TaskTracker,
}

impl Shared {
    pub fn new(env: Env, table: &Table, config: WriterConfig) -> Result<Self> {
        config.check()?;
        let metadata = table.metadata();
        let schema = match config.row_lineage {
            true => Arc::new(row_lineage::with_fields(metadata.current_schema())?),
            false => Arc::clone(metadata.current_schema()),
        };
        Ok(Self {
            env,
            threads: Threads::new(config.encoders_max),
            config,
            options: Arc::new(FileOptions::for_schema(table, &schema)?),
            schema,
            spec_id: metadata.default_partition_spec_id(),
            sort_order_id: None,
            locations: DataLocations::of(metadata)?,
            memory: MemoryPool::default(),
            deletions: TaskTracker::new(),
        })
    }

    /// For files that are closed from now on.
    pub fn closed_files(&self) -> ClosedFiles {
        ClosedFiles::new(&self.env.store, &self.deletions)
    }

    /// A location for a new file of a partition.
    pub fn new_location(&self, folder: &str) -> String {
        self.locations.new_location(folder, &self.config.file_prefix, self.env.ids.uuid())
    }
}
