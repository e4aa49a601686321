//! Where rows come from: the tables that `CREATE TABLE … WITH ('connector' = …)` declares outside of a catalog.
//!
//! [`create_source`] checks a definition and makes a [`Source`] of it. What a connector decides: its options, its splits
//! and positions, and that the same positions give the same rows again. What it does not know: jobs, checkpoints, plans.

mod bounded;
mod columns;
mod csv;
mod debezium;
mod decode;
mod definition;
mod error;
mod filesystem;
mod format;
mod iceberg;
mod infer;
mod json;
mod kafka;
mod task;
mod text;

use std::sync::Arc;

use frazil_storage::Env;

use crate::Result;
use crate::options::{OptionError, Problem, Schema};
use crate::source::Source;
use crate::sql::Span;
use crate::suggest::nearest_one;

pub(crate) use bounded::rows_without_target;
pub use bounded::{bounded_stream, collect_bounded};
pub use definition::{SourceColumn, TableDefinition};
pub use error::SourceError;
pub(crate) use format::WATERMARK_IDLE_TIMEOUT;
pub(crate) use iceberg::IcebergSource;

/// Everything that `'connector' = '…'` may name.
pub(crate) const CONNECTORS: [&str; 4] = ["iceberg", "filesystem", "kafka", "upsert-kafka"];

/// The connectors of tables outside of a catalog.
const NAMES: &[&str] = CONNECTORS.split_at(1).1;

/// The source that a definition describes. Looks at nothing outside of the definition, so `CREATE TABLE` may call it to
/// check what was written.
///
/// # Errors
/// [`crate::Error::Option`] for a wrong option, [`SourceError::Definition`] for columns that the connector can't give,
/// [`SourceError::UnknownConnector`].
pub fn create_source(table: &TableDefinition, env: &Env) -> Result<Arc<dyn Source>> {
    match connector(table)? {
        "filesystem" => Ok(Arc::new(filesystem::FilesystemSource::new(table, env)?)),
        "kafka" => Ok(Arc::new(kafka::KafkaSource::new(table)?)),
        "upsert-kafka" => Ok(Arc::new(kafka::KafkaSource::upserting(table)?)),
        other => Err(unknown(table, other)),
    }
}

/// The options that a connector has; `None` when there is no such connector.
pub fn connector_options(connector: &str) -> Option<Schema> {
    match connector {
        "filesystem" => Some(filesystem::options()),
        "kafka" => Some(kafka::options()),
        "upsert-kafka" => Some(kafka::upsert_options()),
        _ => None,
    }
}

fn connector(table: &TableDefinition) -> Result<&str> {
    table.options.get("connector").ok_or_else(|| {
        Box::new(OptionError {
            owner: format!("table '{}'", table.name),
            key: "connector".to_owned(),
            problem: Problem::Missing { expected: crate::suggest::one_of(NAMES), written: None },
            span: Span::empty(),
        })
        .into()
    })
}

fn unknown(table: &TableDefinition, connector: &str) -> crate::Error {
    Box::new(SourceError::UnknownConnector {
        table: table.name.clone(),
        connector: connector.to_owned(),
        nearest: nearest_one(connector, NAMES.iter().copied()).map(str::to_owned),
        valid: NAMES.to_vec(),
    })
    .into()
}
