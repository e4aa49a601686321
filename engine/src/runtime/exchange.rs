//! How rows come to the next tasks of their pipeline.
//!
//! | rows | from the source tasks | to the writer tasks |
//! |---|---|---|
//! | that take the place of older ones | computed there, in the order of their split | by their key |
//! | of a table with `write.distribution-mode` `hash` or `range`, and several writers | in turn to transform tasks | by partition or range |
//! | all others | in turn to the writer tasks, which compute them | – |

use frazil_writer::Distributor;
use tokio::sync::mpsc;

use super::message::{Barrier, Message, Rows};
use super::row_transform::RowTransform;
use crate::{Error, Result};

/// The queues from a source task to the writer tasks.
pub(super) struct Exchange {
    /// One for each writer task.
    outputs: Vec<mpsc::Sender<Message>>,
    way: Way,
}

enum Way {
    InTurn { next: usize },
    Computed { transform: RowTransform, distributor: Distributor, schema_version: u64 },
}

impl Exchange {
    /// Batches go to the writer tasks in turn, as they are.
    pub(super) fn in_turn(outputs: Vec<mpsc::Sender<Message>>) -> Self {
        Self { outputs, way: Way::InTurn { next: 0 } }
    }

    /// Rows are computed here, and go to the writers that the distributor names; when the table grows, to those that a new
    /// distributor of it names.
    pub(super) fn computed(
        outputs: Vec<mpsc::Sender<Message>>,
        transform: RowTransform,
        distributor: Distributor,
    ) -> Self {
        Self { outputs, way: Way::Computed { transform, distributor, schema_version: 0 } }
    }

    /// Sends rows on, in their order.
    ///
    /// # Errors
    /// A row that can't be computed and is not to be put aside; [`Error::Cancelled`] if a writer task is gone.
    pub(super) async fn send_rows(&mut self, rows: Rows) -> Result<()> {
        match &mut self.way {
            Way::InTurn { next } => {
                let output = &self.outputs[*next];
                *next = (*next + 1) % self.outputs.len();
                send(output, Message::Rows(rows)).await
            }
            Way::Computed { transform, distributor, schema_version } => {
                let Rows { batch, split, mut dead_letters, records, .. } = rows;
                let none = batch.slice(0, 0);
                let results = transform.apply_to(batch, records.as_deref(), &mut dead_letters).await?;
                let sink_schema = transform.sink_schema().cloned();
                if let Some(now) = sink_schema.as_ref().filter(|now| now.version != *schema_version) {
                    *distributor = Distributor::new(&now.table, self.outputs.len())?;
                    *schema_version = now.version;
                }
                let mut shares = Vec::new();
                for result in results {
                    shares.extend(distributor.distribute(result)?);
                }
                if shares.is_empty() && !dead_letters.is_empty() {
                    shares.push((0, none));
                }
                for (writer, batch) in shares {
                    let dead_letters = std::mem::take(&mut dead_letters);
                    let sink_schema = sink_schema.clone();
                    let rows = Rows { batch, split: split.clone(), dead_letters, records: None, sink_schema };
                    send(&self.outputs[writer], Message::Rows(rows)).await?;
                }
                Ok(())
            }
        }
    }

    /// Sends a barrier to every writer task, behind all rows so far.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if one is gone.
    pub(super) async fn send_barrier(&self, barrier: &Barrier) -> Result<()> {
        for output in &self.outputs {
            send(output, Message::Barrier(barrier.clone())).await?;
        }
        Ok(())
    }
}

async fn send(output: &mpsc::Sender<Message>, message: Message) -> Result<()> {
    output.send(message).await.map_err(|_| Error::Cancelled)
}
