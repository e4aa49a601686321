//! Following a table for those who read it from outside: appended rows or changes, in batches of a bounded size, each
//! with the position behind it.
//!
//! 1. A source gives rows in the order of the history: increments ([`appends`]) or a changelog that goes on.
//! 2. [`Gathering`] cuts them into batches, inside files and inside the changes of a snapshot, too.
//!
//! Whoever keeps a batch's rows and its position in one step, and starts there again, has every row once.

mod appends;
mod limits;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use frazil_catalog::CatalogRef;
use frazil_table::Table;
use frazil_table::spec::TableIdent;

use crate::changelog::ChangelogFollower;
use crate::{
    ChangelogForm, ChangelogRequest, Error, FollowOptions, OnRowLevelChange, Position, PositionedBatch, Predicate,
    Projection, ReadContext, Result, StartPosition,
};
use appends::Appends;
use limits::Gathering;

pub use limits::{BatchLimits, FEED_BATCH_BYTES_MAX};

/// What is told of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForm {
    /// The rows that snapshots append; what to do about snapshots that change or remove rows.
    Appends(OnRowLevelChange),
    /// What became of rows, over snapshots of every kind.
    Changelog(ChangelogForm),
}

/// What to do when the history behind a position is not there any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLost {
    /// Stop with the error that says what is missing.
    #[default]
    Fail,
    /// Begin again as [`StartPosition::Earliest`] does, and say so ([`TableFeed::lost`]): rows come again, and those that
    /// only expired snapshots had don't come.
    Earliest,
}

/// How to follow a table.
#[derive(Clone, Debug)]
pub struct FeedOptions {
    /// Where to begin.
    pub start: StartPosition,
    /// What is told.
    pub form: FeedForm,
    /// Which columns, bound to field ids when the feed starts. Those of a changelog come behind them.
    pub projection: Projection,
    /// Which rows. To a changelog, rows that do not match are as if they were in no snapshot.
    pub predicate: Option<Predicate>,
    /// For [`ChangelogForm::Upsert`]: the columns that identify a row, by dotted path; the table's identifier fields if
    /// none are named.
    pub identifier_columns: Vec<String>,
    /// How large a batch becomes.
    pub limits: BatchLimits,
    /// What to do if the start is lost.
    pub on_lost: OnLost,
}

impl Default for FeedOptions {
    /// Appended rows from the oldest retained snapshot on, batches as they are read; every doubt is an error.
    fn default() -> Self {
        Self {
            start: StartPosition::Earliest,
            form: FeedForm::Appends(OnRowLevelChange::Fail),
            projection: Projection::All,
            predicate: None,
            identifier_columns: Vec::new(),
            limits: BatchLimits::default(),
            on_lost: OnLost::Fail,
        }
    }
}

/// Rows, and where reading goes on behind them.
#[derive(Clone, Debug)]
pub struct FeedBatch {
    /// The rows, in order. None: the position moved over snapshots that have nothing to tell.
    pub batches: Vec<RecordBatch>,
    /// Where reading goes on after them.
    pub position: Position,
}

impl FeedBatch {
    /// How many rows there are.
    pub fn num_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Follows the `main` branch of a table. Memory: what the reader of one file or of one snapshot's changes takes, and one
/// batch.
#[derive(Debug)]
pub struct TableFeed {
    source: Source,
    gathering: Gathering,
    /// Rows that did not fit into the batch before.
    rest: Option<PositionedBatch>,
    /// What is to be said when the rows before it have been given out.
    failed: Option<Error>,
    /// The position that was given out last.
    told: Position,
    lost: Option<String>,
}

#[derive(Debug)]
enum Source {
    Appends(Box<Appends>),
    Changes(Box<ChangelogFollower>),
}

impl TableFeed {
    /// Loads the table and finds the start.
    ///
    /// # Errors
    /// [`Error::Catalog`]; [`Error::UnknownColumn`], [`Error::InvalidPredicate`], [`Error::NoIdentifier`] and
    /// [`Error::OtherPosition`]: fix the request. [`Error::NoSuchSnapshot`], [`Error::NotAnAncestor`] and
    /// [`Error::SnapshotsExpired`]: the start is not there, or not any more; see [`OnLost`].
    pub async fn start(
        catalog: &CatalogRef,
        context: &ReadContext,
        ident: &TableIdent,
        options: FeedOptions,
    ) -> Result<Self> {
        let table = catalog.load_table(ident).await?;
        let (source, lost) = match Source::start((catalog, context), &table, &options, &options.start) {
            Err(error) if options.on_lost == OnLost::Earliest && is_lost(&error) => {
                let again = Source::start((catalog, context), &table, &options, &StartPosition::Earliest)?;
                (again, Some(error.to_string()))
            }
            started => (started?, None),
        };
        let told = source.position();
        let gathering = Gathering::new(options.limits);
        Ok(Self { source, gathering, rest: None, failed: None, told, lost })
    }

    /// The schema of all batches.
    pub fn schema(&self) -> &SchemaRef {
        match &self.source {
            Source::Appends(appends) => appends.schema(),
            Source::Changes(changes) => changes.plan().arrow(),
        }
    }

    /// The position behind all that was given out; at first, the start.
    pub fn position(&self) -> Position {
        self.told
    }

    /// Why the feed began at the earliest snapshot and not where it was to ([`OnLost::Earliest`]).
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// The next batch, if there is one now. With limits a batch is as large as they let it be, or has everything that is
    /// there. A future that is dropped before it is done leaves the feed unusable.
    ///
    /// # Errors
    /// [`Error::Catalog`] and [`Error::Storage`]: start again from the position. Others stay: [`Error::RowLevelChange`],
    /// [`Error::ColumnsChanged`], [`Error::SnapshotsExpired`], [`Error::NotAnAncestor`], [`Error::Damaged`] and
    /// [`Error::Unsupported`].
    pub async fn poll(&mut self) -> Result<Option<FeedBatch>> {
        loop {
            let next = match (self.rest.take(), self.failed.take()) {
                (Some(rest), _) => Ok(Some(rest)),
                (None, Some(error)) => Err(error),
                (None, None) => self.source.poll().await,
            };
            match next {
                Ok(Some(rows)) => {
                    self.rest = self.gathering.add(rows);
                    if self.rest.is_some() || self.gathering.is_full() {
                        return Ok(self.give());
                    }
                }
                Ok(None) => return Ok(self.give().or_else(|| self.moved())),
                Err(error) => {
                    let Some(before) = self.give() else { return Err(error) };
                    self.failed = Some(error);
                    return Ok(Some(before));
                }
            }
        }
    }

    fn give(&mut self) -> Option<FeedBatch> {
        let batch = self.gathering.take()?;
        self.told = batch.position;
        Some(batch)
    }

    /// The position alone, if it moved.
    fn moved(&mut self) -> Option<FeedBatch> {
        let position = self.source.position();
        if position == self.told {
            return None;
        }
        self.told = position;
        Some(FeedBatch { batches: Vec::new(), position })
    }
}

impl Source {
    fn start(
        world: (&CatalogRef, &ReadContext),
        table: &Table,
        options: &FeedOptions,
        start: &StartPosition,
    ) -> Result<Self> {
        match options.form {
            FeedForm::Appends(on_row_level_change) => {
                let options = FollowOptions {
                    start: start.clone(),
                    projection: options.projection.clone(),
                    predicate: options.predicate.clone(),
                    on_row_level_change,
                    ..FollowOptions::default()
                };
                Ok(Self::Appends(Box::new(Appends::start(world, table, options)?)))
            }
            FeedForm::Changelog(form) => {
                let request = ChangelogRequest {
                    form,
                    projection: options.projection.clone(),
                    predicate: options.predicate.clone(),
                    identifier_columns: options.identifier_columns.clone(),
                    ..ChangelogRequest::default()
                };
                Ok(Self::Changes(Box::new(ChangelogFollower::start(world, table.clone(), &request, start)?)))
            }
        }
    }

    fn position(&self) -> Position {
        match self {
            Self::Appends(appends) => appends.position(),
            Self::Changes(changes) => changes.position(),
        }
    }

    async fn poll(&mut self) -> Result<Option<PositionedBatch>> {
        match self {
            Self::Appends(appends) => appends.poll().await,
            Self::Changes(changes) => changes.poll().await,
        }
    }
}

/// Whether a start is not in the history, or not any more.
fn is_lost(error: &Error) -> bool {
    matches!(error, Error::SnapshotsExpired { .. } | Error::NotAnAncestor { .. } | Error::NoSuchSnapshot { .. })
}
