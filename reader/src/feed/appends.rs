//! Appended rows, file by file.

use std::fmt;

use arrow::datatypes::SchemaRef;
use frazil_catalog::CatalogRef;
use frazil_table::Table;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::{FollowOptions, Position, PositionedBatch, ReadContext, Result, TableFollower, read_increment};

/// A follower, and the increment that is being read.
pub(super) struct Appends {
    follower: TableFollower,
    context: ReadContext,
    current: Option<Current>,
    /// Behind every increment that is done.
    position: Position,
}

struct Current {
    batches: BoxStream<'static, Result<PositionedBatch>>,
    end: Position,
}

impl fmt::Debug for Appends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appends").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Appends {
    pub(super) fn start(
        (catalog, context): (&CatalogRef, &ReadContext),
        table: &Table,
        options: FollowOptions,
    ) -> Result<Self> {
        let follower = TableFollower::on((catalog, context), table.clone(), options)?;
        // What is lost is said now, not when the first row is wanted.
        follower.check_start()?;
        let position = follower.position();
        Ok(Self { follower, context: context.clone(), current: None, position })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        self.follower.spec().projected().arrow()
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    pub(super) async fn poll(&mut self) -> Result<Option<PositionedBatch>> {
        loop {
            if let Some(current) = &mut self.current {
                if let Some(batch) = current.batches.next().await {
                    return batch.map(Some);
                }
                self.position = current.end;
                self.current = None;
            }
            match self.follower.poll().await? {
                Some(increment) => {
                    let batches = read_increment(&self.context, self.follower.spec(), &increment).boxed();
                    self.current = Some(Current { batches, end: increment.end() });
                }
                None => {
                    self.position = self.follower.position();
                    return Ok(None);
                }
            }
        }
    }
}
