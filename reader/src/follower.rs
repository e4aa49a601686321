//! Following a table: one increment for each snapshot that appends rows, in the order of the history, each once.

use std::collections::VecDeque;
use std::time::Duration;

use frazil_catalog::CatalogRef;
use frazil_table::spec::{MAIN_BRANCH, SnapshotRef, TableIdent};
use frazil_table::{Table, io, moment};

use crate::increment::step;
use crate::position::{Part, Position, StartPosition};
use crate::{
    Error, Increment, IncrementStart, OnRowLevelChange, Predicate, Projection, ReadContext, ReadSpec, Result,
    ScanRequest, SnapshotSelector, load_increment, plan_increment, plan_scan, select_snapshot,
};

/// How to follow a table.
#[derive(Clone, Debug)]
pub struct FollowOptions {
    /// Where to begin.
    pub start: StartPosition,
    /// Which columns. They are bound to field ids when the follower starts, so that later renames change nothing.
    pub projection: Projection,
    /// Which rows; all if there is no condition.
    pub predicate: Option<Predicate>,
    /// What to do about snapshots that change or remove rows.
    pub on_row_level_change: OnRowLevelChange,
    /// How often [`TableFollower::next`] asks the catalog.
    pub poll_interval_ms: u64,
}

impl Default for FollowOptions {
    /// Everything from the oldest retained snapshot on; the catalog is asked every second.
    fn default() -> Self {
        Self {
            start: StartPosition::Earliest,
            projection: Projection::All,
            predicate: None,
            on_row_level_change: OnRowLevelChange::Fail,
            poll_interval_ms: 1_000,
        }
    }
}

/// Follows the `main` branch of a table. Holds the snapshots that are known and not delivered, and no files.
#[derive(Debug)]
pub struct TableFollower {
    catalog: CatalogRef,
    context: ReadContext,
    ident: TableIdent,
    options: FollowOptions,
    spec: ReadSpec,
    /// As it was loaded last.
    table: Table,
    /// Before everything that is pending.
    position: Position,
    pending: VecDeque<Pending>,
    /// Whether everything in `table` is pending or delivered.
    is_planned: bool,
    /// Whether `table` was loaded and not looked at yet.
    is_fresh: bool,
}

#[derive(Clone, Debug)]
struct Pending {
    snapshot: SnapshotRef,
    /// `None`: passed over.
    read: Option<ReadFrom>,
}

#[derive(Clone, Copy, Debug)]
struct ReadFrom {
    part: Part,
    file_index: u64,
    row: u64,
}

const WHOLE: u64 = 0;

/// Snapshots that an error names before it leaves some out.
const RETAINED_NAMED_MAX: usize = 10;

impl TableFollower {
    /// Loads the table and finds the start.
    ///
    /// # Errors
    /// [`Error::Catalog`]; [`Error::UnknownColumn`] and [`Error::InvalidPredicate`]; for the start
    /// [`Error::NoSuchSnapshot`], [`Error::NotAnAncestor`] and [`Error::SnapshotsExpired`].
    pub async fn start(
        catalog: &CatalogRef,
        context: &ReadContext,
        ident: &TableIdent,
        options: FollowOptions,
    ) -> Result<Self> {
        Self::on((catalog, context), catalog.load_table(ident).await?, options)
    }

    /// Finds the start in a table that was just loaded.
    pub(crate) fn on(
        (catalog, context): (&CatalogRef, &ReadContext),
        table: Table,
        options: FollowOptions,
    ) -> Result<Self> {
        let schema = table.metadata().current_schema();
        let spec = ReadSpec::new(&table, schema, &options.projection, options.predicate.as_ref())?;
        let position = find_start(&table, &options.start)?;
        Ok(Self {
            catalog: catalog.clone(),
            context: context.clone(),
            ident: table.ident().clone(),
            options,
            spec,
            table,
            position,
            pending: VecDeque::new(),
            is_planned: false,
            is_fresh: true,
        })
    }

    /// Whether the history has everything behind the start.
    pub(crate) fn check_start(&self) -> Result<()> {
        let head = self.table.current_snapshot().map(|head| head.snapshot_id());
        match (self.position, head) {
            (Position::Changes { .. }, _) => Err(Error::OtherPosition { position: self.position }),
            (Position::Within { snapshot_id, .. }, _) => find_ancestor(&self.table, snapshot_id).map(drop),
            (Position::After { snapshot_id }, None) => Err(no_snapshot(snapshot_id)),
            (Position::Beginning, None) => Ok(()),
            (Position::After { .. } | Position::Beginning, Some(head)) => {
                let start = match self.position {
                    Position::After { snapshot_id } => IncrementStart::Exclusive(snapshot_id),
                    _ => IncrementStart::Beginning,
                };
                plan_increment(&self.table, start, head, OnRowLevelChange::Skip).map(drop)
            }
        }
    }

    /// The columns that come out, for [`crate::read_increment`].
    pub fn spec(&self) -> &ReadSpec {
        &self.spec
    }

    /// The table as it was loaded last.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The position after every increment that was delivered or passed over. Positions inside an increment come with
    /// its batches.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The next increment; waits for one, asking the catalog every [`FollowOptions::poll_interval_ms`].
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`TableFollower::poll`].
    pub async fn next(&mut self) -> Result<Increment> {
        loop {
            if let Some(increment) = self.poll().await? {
                return Ok(increment);
            }
            tokio::time::sleep(Duration::from_millis(self.options.poll_interval_ms.max(1))).await;
        }
    }

    /// The next increment that has files to read, if the catalog has one now. Snapshots without new files and those that
    /// are passed over move the position, too.
    ///
    /// # Errors
    /// [`Error::Catalog`] and [`Error::Storage`]: try again. [`Error::RowLevelChange`], [`Error::SnapshotsExpired`] and
    /// [`Error::NotAnAncestor`]: they stay until the follower is started elsewhere or with another policy.
    pub async fn poll(&mut self) -> Result<Option<Increment>> {
        loop {
            let Some(pending) = self.pending.front().cloned() else {
                if !self.refill().await? {
                    return Ok(None);
                }
                continue;
            };
            let increment = match pending.read {
                None => None,
                Some(from) => Some(self.load(&pending.snapshot, from).await?),
            };
            self.pending.pop_front();
            self.position = Position::After { snapshot_id: pending.snapshot.snapshot_id() };
            if let Some(increment) = increment.filter(|increment| !increment.files.is_empty()) {
                return Ok(Some(increment));
            }
        }
    }

    /// Plans what comes after the position. False if there is nothing new.
    async fn refill(&mut self) -> Result<bool> {
        let is_stale = self.is_fresh;
        Ok(self.plan_pending().await? || (is_stale && self.plan_pending().await?))
    }

    /// Plans what the table that was loaded last has after the position; loads it anew unless that was not looked at.
    async fn plan_pending(&mut self) -> Result<bool> {
        if !self.is_fresh {
            let table = self.catalog.load_table(&self.ident).await?;
            if self.is_planned && table.metadata_location() == self.table.metadata_location() {
                return Ok(false);
            }
            self.table = table;
            self.is_planned = false;
        }
        self.is_fresh = false;
        let head = self.table.current_snapshot().cloned();
        let policy = self.options.on_row_level_change;
        let (start, head) = match (self.position, head) {
            (Position::Beginning, None) => {
                self.is_planned = true;
                return Ok(false);
            }
            (Position::Beginning, Some(head)) => (IncrementStart::Beginning, head),
            (Position::Within { snapshot_id, part, file_index, row }, _) => {
                let snapshot = find_ancestor(&self.table, snapshot_id)?;
                let is_read = part == Part::Table || step(&snapshot, policy)?.is_read;
                let read = is_read.then_some(ReadFrom { part, file_index, row });
                self.pending.push_back(Pending { snapshot, read });
                self.is_fresh = true;
                return Ok(true);
            }
            (Position::Changes { .. }, _) => return Err(Error::OtherPosition { position: self.position }),
            (Position::After { snapshot_id }, None) => return Err(no_snapshot(snapshot_id)),
            (Position::After { snapshot_id }, Some(head)) => (IncrementStart::Exclusive(snapshot_id), head),
        };
        // What comes before a snapshot that stops the follower is delivered first.
        let plan = plan_increment(&self.table, start, head.snapshot_id(), OnRowLevelChange::Skip)?;
        for planned in &plan.steps {
            let known = self.table.metadata().snapshot_by_id(planned.snapshot_id);
            let snapshot = known.expect("it was found in the history").clone();
            let is_read = match step(&snapshot, policy) {
                Ok(step) => step.is_read,
                Err(error) if self.pending.is_empty() => return Err(error),
                Err(_) => {
                    self.is_fresh = true;
                    return Ok(true);
                }
            };
            let read = is_read.then_some(ReadFrom { part: Part::Added, file_index: WHOLE, row: WHOLE });
            self.pending.push_back(Pending { snapshot, read });
        }
        self.is_planned = true;
        Ok(!self.pending.is_empty())
    }

    async fn load(&self, snapshot: &SnapshotRef, from: ReadFrom) -> Result<Increment> {
        let increment = match from.part {
            Part::Added => load_increment(&self.context, &self.spec, &self.table, snapshot).await?,
            Part::Table => self.load_table_at(snapshot).await?,
        };
        Ok(increment.starting_at(from.file_index, from.row))
    }

    /// The whole table at a snapshot, one task for each file.
    async fn load_table_at(&self, snapshot: &SnapshotRef) -> Result<Increment> {
        let (store, manifests) = (&self.context.env.store, &self.context.manifests);
        let (snapshot, all) = (snapshot.clone(), io::Entries::All);
        let state = io::load_state_at(store, manifests, &self.table, MAIN_BRANCH, Some(snapshot.clone()), all).await?;
        // Every file has its place in the order, the ones without matching rows as well, so that a position does not
        // depend on the condition.
        let request = ScanRequest {
            snapshot: SnapshotSelector::Latest,
            projection: Projection::Paths(Vec::new()),
            predicate: None,
            split_size_bytes: Some(u64::MAX),
        };
        let plan = plan_scan(&state, &request)?;
        let mut filter = crate::plan::FileFilter::new(&self.spec);
        let files = plan.tasks.into_iter().map(|task| {
            let is_pruned = filter.check(&task.file, task.partition_spec_id).is_some();
            (task, is_pruned)
        });
        Ok(Increment::new(&snapshot, Part::Table, files.collect()))
    }
}

/// The position at which a follower begins, for whoever keeps it without reading.
///
/// # Errors
/// [`Error::NoSuchSnapshot`], [`Error::NotAnAncestor`], [`Error::SnapshotsExpired`].
pub fn resolve_start(table: &Table, start: &StartPosition) -> Result<Position> {
    find_start(table, start)
}

pub(crate) fn find_start(table: &Table, start: &StartPosition) -> Result<Position> {
    let whole = |snapshot_id, part| Position::Within { snapshot_id, part, file_index: WHOLE, row: WHOLE };
    let head = table.current_snapshot().map(|snapshot| snapshot.snapshot_id());
    Ok(match start {
        StartPosition::Position(position) => *position,
        StartPosition::Earliest => {
            let oldest = table.ancestors(MAIN_BRANCH).last();
            oldest.map_or(Position::Beginning, |oldest| whole(oldest.snapshot_id(), Part::Table))
        }
        StartPosition::Latest => head.map_or(Position::Beginning, |snapshot_id| Position::After { snapshot_id }),
        StartPosition::TableScanThenIncremental => head.map_or(Position::Beginning, |id| whole(id, Part::Table)),
        StartPosition::Snapshot(id) => whole(find_ancestor(table, *id)?.snapshot_id(), Part::Added),
        StartPosition::After(id) => {
            let head = head.ok_or_else(|| no_snapshot(*id))?;
            plan_increment(table, IncrementStart::Exclusive(*id), head, OnRowLevelChange::Skip)
                .map_err(|error| unless_retained(table, *id, error))?;
            Position::After { snapshot_id: *id }
        }
        StartPosition::Timestamp(at_ms) => {
            let mut ancestors = table.ancestors(MAIN_BRANCH);
            let mut first = None;
            let mut is_inside = false;
            for snapshot in ancestors.by_ref() {
                if snapshot.timestamp_ms() < *at_ms {
                    is_inside = true;
                    break;
                }
                first = Some(snapshot.snapshot_id());
            }
            match (first, head, ancestors.cut_at()) {
                (Some(_), _, Some(missing)) if !is_inside => {
                    return Err(Error::SnapshotsExpired { from: moment(*at_ms), missing });
                }
                (Some(first), _, _) => whole(first, Part::Added),
                (None, Some(head), _) => Position::After { snapshot_id: head },
                (None, None, _) => Position::Beginning,
            }
        }
        StartPosition::Tag(name) => {
            let selected = select_snapshot(table, &SnapshotSelector::Tag(name.clone()))?;
            let tagged = selected.snapshot.expect("a tag names a snapshot").snapshot_id();
            whole(find_ancestor(table, tagged)?.snapshot_id(), Part::Added)
        }
    })
}

/// A snapshot in the history of the head.
pub(crate) fn find_ancestor(table: &Table, snapshot_id: i64) -> Result<SnapshotRef> {
    let head = table.current_snapshot().ok_or_else(|| no_snapshot(snapshot_id))?.snapshot_id();
    plan_increment(table, IncrementStart::Inclusive(snapshot_id), head, OnRowLevelChange::Skip)
        .map_err(|error| unless_retained(table, snapshot_id, error))?;
    Ok(table.metadata().snapshot_by_id(snapshot_id).expect("it was found in the history").clone())
}

/// The error, or if the table does not have the snapshot at all, that and which ones it has.
fn unless_retained(table: &Table, snapshot_id: i64, error: Error) -> Error {
    if table.metadata().snapshot_by_id(snapshot_id).is_some() {
        return error;
    }
    let mut retained: Vec<i64> = table.ancestors(MAIN_BRANCH).map(|snapshot| snapshot.snapshot_id()).collect();
    retained.reverse();
    let name = |ids: &[i64]| ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let hint = match retained.as_slice() {
        few if few.len() <= RETAINED_NAMED_MAX => format!("it retains {}, oldest first", name(few)),
        many => {
            let (oldest, newest) = many.split_at(many.len() - RETAINED_NAMED_MAX / 2);
            let (oldest, newest) = (name(&oldest[..RETAINED_NAMED_MAX / 2]), name(newest));
            format!("it retains {} from {oldest}, … to …, {newest}, oldest first", many.len())
        }
    };
    Error::NoSuchSnapshot { wanted: format!("snapshot {snapshot_id}"), hint }
}

pub(crate) fn no_snapshot(snapshot_id: i64) -> Error {
    let hint = "it has no snapshots at all; start from earliest or latest".to_owned();
    Error::NoSuchSnapshot { wanted: format!("snapshot {snapshot_id}"), hint }
}
