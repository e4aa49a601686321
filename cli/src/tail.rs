//! `frazil tail`: the rows of a table as they come.

use std::io::Write;
use std::time::Duration;

use frazil_engine::provider::ConditionParser;
use frazil_engine::session::{IcebergTable, Resolved};
use frazil_reader::{
    BatchLimits, ChangelogForm, FeedBatch, FeedForm, FeedOptions, OnLost, OnRowLevelChange, Projection, ReadContext,
    TableFeed,
};

use crate::api::encode::{Encoder, Encoding};
use crate::args::{Common, Form, Format, LostPolicy, OnRowChanges, Output, Tail};
use crate::error::{Error, Result};
use crate::print::{say_ndjson, say_table};
use crate::{shutdown, world};

/// How often the catalog is asked for more.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

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
    let options = options(args, &table)?;
    let context = ReadContext::new(session.env());
    let feed = TableFeed::start(&table.catalog, &context, &table.path.ident(), options).await;
    let mut feed = feed.map_err(frazil_engine::Error::from)?;
    if let Some(lost) = feed.lost() {
        tracing::warn!("rows come from the oldest retained snapshot on: {lost}");
    }
    let mut printer = Printer::new(format, args.positions, &feed)?;
    loop {
        let polled = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            polled = feed.poll() => polled.map_err(frazil_engine::Error::from)?,
        };
        match polled {
            Some(batch) => printer.print(&batch)?,
            None if args.no_follow => break,
            None => tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            },
        }
    }
    printer.finish()
}

fn options(args: &Tail, table: &IcebergTable) -> Result<FeedOptions> {
    let parse = |filter: &String| ConditionParser::default().parse(&table.table, filter);
    Ok(FeedOptions {
        start: args.from.clone(),
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
    Arrow(Box<arrow::ipc::writer::StreamWriter<std::io::Stdout>>),
    /// With positions.
    Encoded(Encoder),
}

impl Printer {
    fn new(format: Format, positions: bool, feed: &TableFeed) -> Result<Self> {
        let schema = feed.schema();
        let mut printer = match (format, positions) {
            (Format::Ndjson, true) => Self::Encoded(Encoder::new(Encoding::Ndjson, schema).map_err(Error::BadInput)?),
            (Format::Arrow, true) => Self::Encoded(Encoder::new(Encoding::Arrow, schema).map_err(Error::BadInput)?),
            (Format::Ndjson, false) => Self::Ndjson,
            (Format::Table, _) => Self::Table,
            (Format::Arrow, false) => {
                let writer = arrow::ipc::writer::StreamWriter::try_new(std::io::stdout(), schema);
                Self::Arrow(Box::new(writer.map_err(|e| Error::failed("printing rows", e))?))
            }
        };
        if let Self::Encoded(encoder) = &mut printer {
            write(&encoder.begin(feed.lost()))?;
        }
        Ok(printer)
    }

    fn print(&mut self, batch: &FeedBatch) -> Result<()> {
        match self {
            Self::Ndjson => batch.batches.iter().try_for_each(say_ndjson),
            Self::Table => {
                batch.batches.iter().try_for_each(|rows| say_table(&rows.schema(), std::slice::from_ref(rows)))
            }
            Self::Arrow(writer) => {
                let written = batch.batches.iter().try_for_each(|rows| writer.write(rows));
                written.and_then(|()| writer.flush()).map_err(|e| Error::failed("printing rows", e))
            }
            Self::Encoded(encoder) => write(&encoder.batch(batch).map_err(|e| Error::failed("printing rows", e))?),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Arrow(mut writer) => writer.finish().map_err(|e| Error::failed("printing rows", e)),
            Self::Encoded(mut encoder) => write(&encoder.end().map_err(|e| Error::failed("printing rows", e))?),
            Self::Ndjson | Self::Table => {
                std::io::stdout().flush().ok();
                Ok(())
            }
        }
    }
}

/// Positions are only worth anything if the rows before them were printed.
fn write(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|e| Error::failed("printing rows", e))
}
