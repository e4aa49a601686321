//! What a writer task computes: the query of its pipeline, row by row where rows are bad.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use super::evolving_sink::{EvolvingSink, SinkSchema};
use crate::align::align;
use crate::dead_letter::{DeadLetter, Records};
use crate::evolving_query::EvolvingQuery;
use crate::transform::Transform;
use crate::{Error, Result};

/// Plans that a task keeps.
const PLANS_MAX: usize = 4;

/// A pipeline's query at work in one task.
#[derive(Debug)]
pub(super) enum RowTransform {
    /// Columns in and out are known.
    Fixed(Box<Transform>),
    /// Columns come with the rows.
    Evolving(Box<EvolvingTransform>),
}

/// A query that is planned for the columns of its last batch, and a sink that has its last result's columns.
#[derive(Debug)]
pub(super) struct EvolvingTransform {
    query: Arc<EvolvingQuery>,
    sink: Arc<EvolvingSink>,
    /// The latest plans, by the columns that come in: subtasks of a source may be at different ones.
    planned: Vec<(SchemaRef, Transform)>,
    /// The result's columns, and the sink's schema that takes them.
    fitted: Option<(SchemaRef, SinkSchema)>,
}

impl EvolvingTransform {
    pub(super) fn new(query: Arc<EvolvingQuery>, sink: Arc<EvolvingSink>) -> Self {
        Self { query, sink, planned: Vec::new(), fitted: None }
    }

    async fn apply(&mut self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        let columns = batch.schema();
        if columns.fields().is_empty() {
            let reason = "no record so far has a field with a value, so there is no column to write".to_owned();
            return Err(Error::Unfit { column: "the rows".to_owned(), reason });
        }
        let known = self.planned.iter().position(|(planned, _)| *planned == columns);
        let index = match known {
            Some(index) => index,
            None => {
                let transform = self.query.plan(&columns).await?.instantiate().await?;
                self.planned.truncate(PLANS_MAX - 1);
                self.planned.insert(0, (columns, transform));
                0
            }
        };
        let transform = &mut self.planned[index].1;
        let mut aligned = Vec::new();
        for out in transform.apply(batch).await? {
            let columns = out.schema();
            let fitted = match &self.fitted {
                Some((known, fitted)) if *known == columns => fitted,
                _ => {
                    let fitted = self.sink.fit(&columns).await?;
                    &self.fitted.insert((columns, fitted)).1
                }
            };
            aligned.push(align(&out, &fitted.schema)?);
        }
        Ok(aligned)
    }
}

impl RowTransform {
    /// The version of the sink's schema that the last result has; none where it does not change.
    pub(super) fn sink_schema(&self) -> Option<&SinkSchema> {
        match self {
            Self::Fixed(_) => None,
            Self::Evolving(evolving) => evolving.fitted.as_ref().map(|(_, fitted)| fitted),
        }
    }

    /// The rows that a batch becomes, in the sink's columns.
    ///
    /// # Errors
    /// A row that can't be computed or does not fit.
    async fn apply(&mut self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        match self {
            Self::Fixed(transform) => transform.apply(batch).await,
            Self::Evolving(evolving) => evolving.apply(batch).await,
        }
    }

    /// The same; rows that can't be computed are put aside where their records are given.
    ///
    /// # Errors
    /// As [`RowTransform::apply`] without records, as [`RowTransform::apply_good`] with them.
    pub(super) async fn apply_to(
        &mut self,
        batch: RecordBatch,
        records: Option<&Records>,
        letters: &mut Vec<DeadLetter>,
    ) -> Result<Vec<RecordBatch>> {
        match records {
            Some(records) => self.apply_good(batch, records, letters).await,
            None => self.apply(batch).await,
        }
    }

    /// The same, with the rows that can't be computed put aside. A batch that fails is halved until the bad rows are
    /// found: for each of them as many times as its batch can be halved.
    ///
    /// # Errors
    /// What is not the fault of a row.
    async fn apply_good(
        &mut self,
        batch: RecordBatch,
        records: &Records,
        letters: &mut Vec<DeadLetter>,
    ) -> Result<Vec<RecordBatch>> {
        let mut results = Vec::new();
        // The next range of rows is the last one here.
        let mut ranges = vec![(0, batch.num_rows())];
        while let Some((begin, count)) = ranges.pop() {
            if count == 0 {
                continue;
            }
            match self.apply(batch.slice(begin, count)).await {
                Ok(rows) => results.extend(rows),
                Err(error) if !is_of_a_row(&error) => return Err(error),
                Err(error) if count == 1 => {
                    let (field, reason) = match error {
                        Error::Unfit { column, reason } => (Some(column), reason),
                        error => (None, error.to_string()),
                    };
                    letters.push(records.put_aside(begin, reason, field));
                }
                Err(_) => {
                    let half = count / 2;
                    ranges.extend([(begin + half, count - half), (begin, half)]);
                }
            }
        }
        Ok(results)
    }
}

/// Whether another row might not have failed.
pub(super) fn is_of_a_row(error: &Error) -> bool {
    match error {
        Error::Unfit { .. } => true,
        Error::Writer(frazil_writer::Error::BadBatch { .. } | frazil_writer::Error::RequiredNull { .. }) => true,
        Error::DataFusion(error) => match error.find_root() {
            DataFusionError::ArrowError(error, _) => !matches!(
                error.as_ref(),
                ArrowError::IoError(..) | ArrowError::MemoryError(_) | ArrowError::ExternalError(_)
            ),
            DataFusionError::Execution(_) => true,
            _ => false,
        },
        _ => false,
    }
}
