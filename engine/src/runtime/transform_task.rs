//! Computes rows between the sources and the writers, where the rows are shared out among the writers by what they are.

use super::exchange::Exchange;
use super::input::{Aligned, AlignedInput};
use crate::Result;

/// One transform task.
pub(super) struct TransformTask {
    pub(super) input: AlignedInput,
    /// Computes the rows on their way.
    pub(super) exchange: Exchange,
}

impl TransformTask {
    /// Runs until the last barrier.
    pub(super) async fn run(mut self) -> Result<()> {
        loop {
            match self.input.next().await? {
                Aligned::Rows(rows) => self.exchange.send_rows(rows).await?,
                Aligned::Barrier(barrier) => {
                    self.exchange.send_barrier(&barrier).await?;
                    if barrier.is_last {
                        return Ok(());
                    }
                }
            }
        }
    }
}
