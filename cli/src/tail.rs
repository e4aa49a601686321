//! `frazil tail`: the rows of a table as they come.

use std::io::Write;
use std::time::{Duration, Instant};

use arrow::ipc::writer::StreamWriter;
use arrow::util::pretty::pretty_format_batches;
use frazil_engine::provider::ConditionParser;
use frazil_engine::session::{IcebergTable, Resolved};
use frazil_reader::{
    BatchLimits, ChangelogForm, ConsumerMember, FeedBatch, FeedForm, FeedOptions, OnLost, OnRowLevelChange, Position,
    Projection, ReadContext, StartPosition, TableFeed,
};

use crate::api::encode::{Encoder, Encoding};
use crate::args::{Common, Form, Format, LostPolicy, OnRowChanges, Output, Tail};
use crate::error::{Error, Result};
use crate::from::Begun;
use crate::{shutdown, world};

/// How often the catalog is asked for more.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Positions are committed at most so often while there is more to print: each is a write that the disk confirms.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);

/// How often a consumer's lease is renewed while nothing comes.
const RENEWAL: Duration = Duration::from_secs(30);

pub(crate) async fn tail(common: &Common, args: &Tail, output: Output) -> Result<()> {
    let stop = shutdown::on_signal().map_err(|e| Error::failed("listening for signals", e))?;
    let format = match (args.format, output) {
        (Format::Table, Output::Json) => Format::Ndjson,
        (format, _) => format,
    };
    if args.positions && format == Format::Table {
        return Err(Error::BadInput("--positions is for ndjson and arrow".to_owned()));
    }
    let session = world::session(common).await?;
    let name = world::table_name(&args.table);
    let Resolved::Iceberg(table) = session.resolve(&name, &args.table).await? else {
        return Err(Error::BadInput(format!("{} is no Iceberg table", args.table)));
    };
    let lease_ms = i64::try_from(args.lease.as_millis()).unwrap_or(i64::MAX);
    let consumer = args.consumer.clone().map(|name| (name, lease_ms));
    let mut options = options(args, &table)?;
    let ident = table.path.ident();
    let joined = args.from.clone().join((&table.catalog, &ident), consumer).await;
    let (start, member) = joined.map_err(frazil_engine::Error::from)?;
    options.start = start;
    let context = ReadContext::new(session.env());
    let feed = TableFeed::start(&table.catalog, &context, &ident, options).await;
    let mut feed = feed.map_err(frazil_engine::Error::from)?;
    if let Some(lost) = feed.lost() {
        tracing::warn!("rows come from the oldest retained snapshot on: {lost}");
    }
    let mut commits = Commits::begin(member, &feed).await?;
    let mut printer = Printer::new(format, args.positions, &feed)?;
    loop {
        let polled = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            polled = feed.poll() => polled.map_err(frazil_engine::Error::from)?,
        };
        match polled {
            Some(batch) => {
                if printer.print(&batch)? == Reader::Gone {
                    return commits.finish().await;
                }
                commits.printed(batch.position).await?;
            }
            None if args.no_follow => break,
            None => commits.idle().await?,
        }
        if commits.is_idle() {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
        }
    }
    printer.finish()?;
    commits.finish().await
}

/// What a consumer has printed, on its way to the catalog.
struct Commits {
    member: Option<ConsumerMember>,
    /// Printed and not committed.
    printed: Option<Position>,
    last: Instant,
    is_idle: bool,
}

impl Commits {
    async fn begin(mut member: Option<ConsumerMember>, feed: &TableFeed) -> Result<Self> {
        if let Some(member) = &mut member {
            Begun::of(feed).hold(member).await.map_err(frazil_engine::Error::from)?;
        }
        Ok(Self { member, printed: None, last: Instant::now(), is_idle: false })
    }

    /// Whether there was nothing to print.
    fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Everything before a position is printed and flushed.
    async fn printed(&mut self, position: Position) -> Result<()> {
        (self.printed, self.is_idle) = (Some(position), false);
        match self.last.elapsed() >= COMMIT_INTERVAL {
            true => self.commit().await,
            false => Ok(()),
        }
    }

    async fn idle(&mut self) -> Result<()> {
        self.is_idle = true;
        if self.printed.is_none()
            && let Some(member) = self.member.as_ref().filter(|_| self.last.elapsed() >= RENEWAL)
        {
            member.renew().await.map_err(frazil_engine::Error::from)?;
            self.last = Instant::now();
        }
        self.commit().await
    }

    async fn commit(&mut self) -> Result<()> {
        if let (Some(member), Some(position)) = (&mut self.member, self.printed.take()) {
            member.commit(position).await.map_err(frazil_engine::Error::from)?;
            self.last = Instant::now();
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<()> {
        self.commit().await
    }
}

fn options(args: &Tail, table: &IcebergTable) -> Result<FeedOptions> {
    let parse = |filter: &String| ConditionParser::default().parse(&table.table, filter);
    Ok(FeedOptions {
        start: StartPosition::Latest,
        form: match (args.changelog, args.on_row_changes) {
            (Some(Form::Changes), _) => FeedForm::Changelog(ChangelogForm::Changes),
            (Some(Form::Upsert), _) => FeedForm::Changelog(ChangelogForm::Upsert),
            (Some(Form::Net), _) => FeedForm::Changelog(ChangelogForm::Net),
            (None, OnRowChanges::Fail) => FeedForm::Appends(OnRowLevelChange::Fail),
            (None, OnRowChanges::Skip) => FeedForm::Appends(OnRowLevelChange::Skip),
        },
        projection: match args.columns.as_slice() {
            [] => Projection::All,
            columns => Projection::paths(columns),
        },
        predicate: args.filter.as_ref().map(parse).transpose()?,
        identifier_columns: args.identifier.clone(),
        limits: BatchLimits::default(),
        on_lost: match args.on_lost {
            LostPolicy::Fail => OnLost::Fail,
            LostPolicy::Earliest => OnLost::Earliest,
        },
    })
}

enum Printer {
    Ndjson,
    Table,
    Arrow(Box<StreamWriter<Vec<u8>>>),
    /// With positions.
    Encoded(Encoder),
}

/// Whether somebody still reads what is printed: in `frazil tail … | head` nobody does in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    There,
    Gone,
}

impl Printer {
    fn new(format: Format, positions: bool, feed: &TableFeed) -> Result<Self> {
        let schema = feed.schema();
        let mut printer = match (format, positions) {
            (Format::Ndjson, true) => Self::Encoded(Encoder::new(Encoding::Ndjson, schema).map_err(Error::BadInput)?),
            (Format::Arrow, true) => Self::Encoded(Encoder::new(Encoding::Arrow, schema).map_err(Error::BadInput)?),
            (Format::Ndjson, false) => Self::Ndjson,
            (Format::Table, _) => Self::Table,
            (Format::Arrow, false) => Self::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema).map_err(failed)?)),
        };
        if let Self::Encoded(encoder) = &mut printer {
            write(&encoder.begin(feed.lost()))?;
        }
        Ok(printer)
    }

    fn print(&mut self, batch: &FeedBatch) -> Result<Reader> {
        let bytes = match self {
            Self::Ndjson => {
                let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
                let written = writer.write_batches(&batch.batches.iter().collect::<Vec<_>>());
                written.and_then(|()| writer.finish()).map_err(failed)?;
                writer.into_inner()
            }
            Self::Table => {
                let table = |rows| Ok(format!("{}\n", pretty_format_batches(std::slice::from_ref(rows))?));
                batch.batches.iter().map(table).collect::<std::result::Result<String, _>>().map_err(failed)?.into()
            }
            Self::Arrow(writer) => {
                batch.batches.iter().try_for_each(|rows| writer.write(rows)).map_err(failed)?;
                std::mem::take(writer.get_mut())
            }
            Self::Encoded(encoder) => encoder.batch(batch).map_err(failed)?,
        };
        write(&bytes)
    }

    fn finish(self) -> Result<Reader> {
        match self {
            Self::Arrow(mut writer) => {
                writer.finish().map_err(failed)?;
                write(writer.get_ref())
            }
            Self::Encoded(mut encoder) => write(&encoder.end().map_err(failed)?),
            Self::Ndjson | Self::Table => Ok(Reader::There),
        }
    }
}

fn failed(error: arrow::error::ArrowError) -> Error {
    Error::failed("printing rows", error)
}

/// What returns without an error has left the program.
fn write(bytes: &[u8]) -> Result<Reader> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Error::failed("printing rows", error)),
    }
}
