//! Batch mode: statements over what is in the tables now.
//!
//! [`execute`] carries out any statement of a session: definitions by the session itself, queries and inserts by
//! DataFusion. An insert is one commit: all of its rows are in the table, or none.
//!
//! ```
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! use std::sync::Arc;
//!
//! use frazil_catalog::SqlCatalog;
//! use frazil_engine::Session;
//! use frazil_engine::batch::{Outcome, execute};
//! use frazil_engine::sql::parse_script;
//! use frazil_storage::Env;
//!
//! let env = Env::in_memory(7);
//! let catalog = SqlCatalog::in_memory(env.clone(), "memory://warehouse").await?;
//! let mut session = Session::open(env, Arc::new(catalog)).await?;
//! let script = "CREATE TABLE flights (id INT, origin ROW<faa STRING, lat DOUBLE>);
//!               INSERT INTO flights VALUES (1, ROW('EWR', 40.7)), (2, ROW('JFK', 40.6));
//!               SELECT origin.lat FROM flights WHERE origin.faa = 'JFK';";
//! for statement in parse_script(script)? {
//!     if let Outcome::Rows(rows) = execute(&mut session, &statement).await? {
//!         assert_eq!(rows.collect().await?[0].num_rows(), 1);
//!     }
//! }
//! # Ok::<(), frazil_engine::Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod changes;
mod cost;
mod files;
mod insert;
mod query;
mod row_change;
mod row_parts;
mod row_queues;
#[cfg(test)]
mod tests;
mod whole_files;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

pub(crate) use changes::schema_of_changes;
pub use cost::Cost;
pub use insert::{Inserted, run_create_table_as, run_insert};
pub use query::{explain, run_query};
pub use row_change::{RowsChanged, run_row_change, run_truncate};

use crate::session::{Executed, placed, script_around};
use crate::sql::{Spanned, Statement};
use crate::{Error, Result, Session};

/// What became of a statement.
#[derive(Debug)]
pub enum Outcome {
    /// It was done; what, in words.
    Done(String),
    /// What was asked for.
    Rows(Rows),
    /// Rows were written. A statement set has several.
    Inserted(Vec<Inserted>),
    /// Rows that were there went or got other values.
    Changed(RowsChanged),
}

/// The rows of a query as they come.
pub struct Rows {
    /// Their columns.
    pub schema: SchemaRef,
    /// The batches. After an error there are no more. Dropping the stream stops the query.
    pub batches: BoxStream<'static, Result<RecordBatch>>,
    /// What reading them costs; grows while the batches come.
    pub cost: Cost,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Rows {
    fn of_batch(batch: RecordBatch) -> Self {
        let schema = batch.schema();
        Self { schema, batches: futures::stream::iter([Ok(batch)]).boxed(), cost: Cost::none() }
    }

    /// All rows in memory, for results that are known to be small.
    ///
    /// # Errors
    /// What running the query fails of.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.batches.try_collect().await
    }
}

/// Carries out a statement.
///
/// # Errors
/// What is wrong with the statement, with its place; what reading or writing fails of.
pub async fn execute(session: &mut Session, statement: &Spanned<Statement>) -> Result<Outcome> {
    let script = script_around(statement);
    let outcome = execute_in(session, statement, &script).await;
    outcome.map_err(|error| placed(error, statement.node.kind(), &script))
}

async fn execute_in(session: &mut Session, statement: &Spanned<Statement>, script: &str) -> Result<Outcome> {
    match session.execute(statement).await? {
        Some(Executed::Done(text)) => return Ok(Outcome::Done(text)),
        Some(Executed::Rows(rows)) => return Ok(Outcome::Rows(Rows::of_batch(rows))),
        None => {}
    }
    let outcome = match &statement.node {
        Statement::Query(query) => Outcome::Rows(run_query(session, query, script).await?),
        Statement::Insert(insert) => Outcome::Inserted(vec![run_insert(session, insert, script).await?]),
        Statement::StatementSet(inserts) => {
            let mut inserted = Vec::with_capacity(inserts.len());
            for insert in inserts {
                inserted.push(run_insert(session, &insert.node, script).await?);
            }
            Outcome::Inserted(inserted)
        }
        Statement::RowChange(change) => Outcome::Changed(run_row_change(session, change, script).await?),
        Statement::Truncate(target) => Outcome::Changed(run_truncate(session, target, script).await?),
        Statement::CreateTable(create) => run_create_table_as(session, create, script).await?,
        Statement::Explain(asked) => Outcome::Rows(explain(session, asked, script).await?),
        other => {
            let message = format!("this {} is not supported", other.kind());
            return Err(crate::sql::SqlError::new(message, statement.span, script).into());
        }
    };
    Ok(outcome)
}

/// Our own error, where DataFusion has only passed it on.
pub(crate) fn unwrapped(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(own) => *own,
            Err(inner) => match inner.downcast::<frazil_reader::Error>() {
                Ok(read) => Error::Reader(*read),
                Err(inner) => DataFusionError::External(inner).into(),
            },
        },
        DataFusionError::Context(_, inner) => unwrapped(*inner),
        other => other.into(),
    }
}
