//! Following a table over snapshots of every kind: the changes of each, in the order of the history, each once.
//!
//! 1. [`next_range`] is pure: it says which snapshots are told next after a position. Told one by one, except in
//!    [`ChangelogForm::Net`], which tells what all that are there come to.
//! 2. A range is read as any changelog is ([`ChangelogReader`]), by one worker, so that its rows come in the same order at
//!    every time: a position counts them.

use frazil_catalog::CatalogRef;
use frazil_table::Table;
use frazil_table::spec::{Schema, TableIdent};

use super::{ChangelogForm, ChangelogPlan, ChangelogReader, ChangelogRequest, ChangelogStep, bind, steps};
use crate::follower::{find_ancestor, find_start, no_snapshot};
use crate::increment::history_between;
use crate::{
    Error, IncrementStart, Part, Position, PositionedBatch, ReadContext, Result, SnapshotSelector, StartPosition,
    select_snapshot,
};

/// Follows the `main` branch of a table. Holds what [`ChangelogReader`] holds of one range.
#[derive(Debug)]
pub(crate) struct ChangelogFollower {
    catalog: CatalogRef,
    context: ReadContext,
    ident: TableIdent,
    /// Of no snapshots: the columns and the condition.
    bound: ChangelogPlan,
    table: Table,
    /// Before what is read now.
    position: Position,
    current: Option<Current>,
}

/// A range that is being read.
#[derive(Debug)]
struct Current {
    reader: ChangelogReader,
    range: Range,
    /// Rows that the reader gave.
    rows: u64,
}

/// Snapshots whose changes are told together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    /// `None`: everything that is live at `to`.
    after: Option<i64>,
    to: i64,
    /// Rows that are done.
    done: u64,
}

impl ChangelogFollower {
    /// Begins; `request` has neither start nor end.
    pub(crate) fn start(
        (catalog, context): (&CatalogRef, &ReadContext),
        table: Table,
        request: &ChangelogRequest,
        start: &StartPosition,
    ) -> Result<Self> {
        let bound = bind(&table, table.metadata().current_schema(), request)?;
        let position = first_position(&table, find_start(&table, start)?)?;
        // What is lost is said now, not when the first row is wanted.
        if let Some(range) = next_range(&table, position, request.form)? {
            bound.on(&table, range)?;
        }
        Ok(Self {
            catalog: catalog.clone(),
            context: context.clone(),
            ident: table.ident().clone(),
            bound,
            table,
            position,
            current: None,
        })
    }

    /// The columns that come out.
    pub(crate) fn plan(&self) -> &ChangelogPlan {
        &self.bound
    }

    /// Behind every range that is done.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The next changes, if there are any now. A future that is dropped before it is done leaves the follower unusable.
    pub(crate) async fn poll(&mut self) -> Result<Option<PositionedBatch>> {
        loop {
            if let Some(current) = &mut self.current {
                if let Some(batch) = current.next().await? {
                    return Ok(Some(batch));
                }
                self.position = Position::After { snapshot_id: current.range.to };
                self.current = None;
            }
            match next_range(&self.table, self.position, self.bound.form)? {
                Some(range) => {
                    let plan = self.bound.on(&self.table, range)?;
                    let reader = ChangelogReader::new(&self.context, &plan, 1);
                    self.current = Some(Current { reader, range, rows: 0 });
                }
                None if !self.refresh().await? => return Ok(None),
                None => {}
            }
        }
    }

    /// Loads the table. False if it is as it was.
    async fn refresh(&mut self) -> Result<bool> {
        let table = self.catalog.load_table(&self.ident).await?;
        if table.metadata_location() == self.table.metadata_location() {
            return Ok(false);
        }
        let columns = |schema: &Schema| -> Vec<i32> {
            let mut ids: Vec<i32> = schema.field_id_to_name_map().keys().copied().collect();
            ids.sort_unstable();
            ids
        };
        if columns(table.metadata().current_schema()) != columns(self.bound.wanted.schema()) {
            return Err(Error::ColumnsChanged { table: self.ident.to_string(), position: self.position });
        }
        self.table = table;
        Ok(true)
    }
}

impl Current {
    /// Passes over what is done.
    async fn next(&mut self) -> Result<Option<PositionedBatch>> {
        while let Some(batch) = self.reader.next().await? {
            let before = self.rows;
            let length = batch.num_rows() as u64;
            self.rows += length;
            if self.rows <= self.range.done {
                continue;
            }
            let Range { after, to, done } = self.range;
            let passed = done.saturating_sub(before);
            let rest = batch.slice(passed as usize, (length - passed) as usize);
            return Ok(Some(PositionedBatch::of_changes(rest, after, to, before + passed)));
        }
        Ok(None)
    }
}

impl ChangelogPlan {
    /// The same for the snapshots of a range.
    fn on(&self, table: &Table, range: Range) -> Result<Self> {
        let steps = match range.after {
            Some(after) => steps(table, IncrementStart::Exclusive(after), range.to)?,
            None => vec![whole(table, range.to)?],
        };
        Ok(Self {
            steps,
            table: table.clone(),
            wanted: self.wanted.for_table(table),
            whole: self.whole.for_table(table),
            ..self.clone()
        })
    }
}

/// Everything that is live at a snapshot, as if it had no parent.
fn whole(table: &Table, snapshot_id: i64) -> Result<ChangelogStep> {
    let selected = select_snapshot(table, &SnapshotSelector::Id(snapshot_id))?;
    let snapshot = selected.snapshot.expect("an id that was found is of a snapshot");
    let operation = snapshot.summary().operation.clone();
    Ok(ChangelogStep {
        snapshot_id,
        parent_id: None,
        operation,
        timestamp_ms: snapshot.timestamp_ms(),
        ordinal: Some(0),
    })
}

/// Where changes begin that were asked for in the words of increments.
fn first_position(table: &Table, position: Position) -> Result<Position> {
    match position {
        Position::Within { snapshot_id, part: Part::Table, file_index: 0, row: 0 } => {
            Ok(Position::Changes { after: None, to: snapshot_id, rows: 0 })
        }
        Position::Within { snapshot_id, part: Part::Added, file_index: 0, row: 0 } => {
            let parent = find_ancestor(table, snapshot_id)?.parent_snapshot_id();
            Ok(parent.map_or(Position::Beginning, |snapshot_id| Position::After { snapshot_id }))
        }
        Position::Within { .. } => Err(Error::OtherPosition { position }),
        other => Ok(other),
    }
}

/// What is told next; `None` if there is nothing behind the position yet.
fn next_range(table: &Table, position: Position, form: ChangelogForm) -> Result<Option<Range>> {
    let head = table.current_snapshot().map(|head| head.snapshot_id());
    let all_at_once = form == ChangelogForm::Net;
    let range = |after, to| Some(Range { after, to, done: 0 });
    match (position, head) {
        (Position::Beginning, None) => Ok(None),
        (Position::After { snapshot_id }, None) => Err(no_snapshot(snapshot_id)),
        (Position::Beginning, Some(head)) if all_at_once => Ok(range(None, head)),
        (Position::Beginning, Some(head)) => {
            let first =
                history_between(table, IncrementStart::Beginning, head)?.first().map(|first| first.snapshot_id());
            Ok(first.and_then(|first| range(None, first)))
        }
        (Position::After { snapshot_id }, Some(head)) => {
            let chain = history_between(table, IncrementStart::Exclusive(snapshot_id), head)?;
            let to = if all_at_once { chain.last() } else { chain.first() };
            Ok(to.and_then(|to| range(Some(snapshot_id), to.snapshot_id())))
        }
        (Position::Changes { after: None, to, rows: 0 }, Some(head)) if all_at_once => {
            find_ancestor(table, to)?;
            Ok(range(None, head))
        }
        (Position::Changes { after, to, rows }, _) => {
            find_ancestor(table, to)?;
            Ok(Some(Range { after, to, done: rows }))
        }
        (Position::Within { .. }, _) => Err(Error::OtherPosition { position }),
    }
}
