//! `frazil tail`: the rows of a table as they come.

use std::io::Write;
use std::str::FromStr;

use frazil_engine::session::Resolved;
use frazil_reader::{
    FollowOptions, Increment, OnRowLevelChange, Part, Projection, ReadContext, StartPosition, TableFollower,
    read_increment,
};
use futures::StreamExt;

use crate::args::{Common, Format, Output, Tail};
use crate::error::{Error, Result};
use crate::print::{say_ndjson, say_table};
use crate::{shutdown, world};

pub(crate) async fn tail(common: &Common, args: &Tail, output: Output) -> Result<()> {
    let stop = shutdown::on_signal().map_err(|e| Error::failed("listening for signals", e))?;
    let session = world::session(common).await?;
    let name = world::table_name(&args.table);
    let Resolved::Iceberg(table) = session.resolve(&name, &args.table).await? else {
        return Err(Error::BadInput(format!("{} is no Iceberg table", args.table)));
    };
    let options = FollowOptions {
        start: args.from.0.clone(),
        projection: match args.columns.as_slice() {
            [] => Projection::All,
            columns => Projection::paths(columns),
        },
        predicate: None,
        on_row_level_change: OnRowLevelChange::Fail,
        poll_interval_ms: 200,
    };
    let format = match (args.format, output) {
        (Format::Table, Output::Json) => Format::Ndjson,
        (format, _) => format,
    };
    let context = ReadContext::new(session.env());
    let follower = TableFollower::start(&table.catalog, &context, &table.path.ident(), options).await;
    let mut follower = follower.map_err(frazil_engine::Error::from)?;
    let mut printer = Printer::new(format, follower.spec().projected().arrow())?;
    loop {
        let next = match args.no_follow {
            true => follower.poll().await,
            false => tokio::select! {
                next = follower.next() => next.map(Some),
                () = stop.cancelled() => break,
            },
        };
        let Some(increment) = next.map_err(frazil_engine::Error::from)? else { break };
        let printed = print_increment(&context, &follower, &increment, &mut printer);
        tokio::select! {
            printed = printed => printed?,
            () = stop.cancelled() => break,
        }
    }
    printer.finish()
}

async fn print_increment(
    context: &ReadContext,
    follower: &TableFollower,
    increment: &Increment,
    printer: &mut Printer,
) -> Result<()> {
    let whole = if increment.part == Part::Table { " (the table whole)" } else { "" };
    tracing::info!(snapshot_id = increment.snapshot_id, files = increment.files.len(), "increment{whole}");
    let mut batches = std::pin::pin!(read_increment(context, follower.spec(), increment));
    while let Some(batch) = batches.next().await {
        printer.print(&batch.map_err(frazil_engine::Error::from)?.batch)?;
    }
    Ok(())
}

enum Printer {
    Ndjson,
    Table,
    Arrow(Box<arrow::ipc::writer::StreamWriter<std::io::Stdout>>),
}

impl Printer {
    fn new(format: Format, schema: &arrow::datatypes::SchemaRef) -> Result<Self> {
        Ok(match format {
            Format::Ndjson => Self::Ndjson,
            Format::Table => Self::Table,
            Format::Arrow => {
                let writer = arrow::ipc::writer::StreamWriter::try_new(std::io::stdout(), schema);
                Self::Arrow(Box::new(writer.map_err(|e| Error::failed("printing rows", e))?))
            }
        })
    }

    fn print(&mut self, batch: &arrow::array::RecordBatch) -> Result<()> {
        match self {
            Self::Ndjson => say_ndjson(batch),
            Self::Table => say_table(&batch.schema(), std::slice::from_ref(batch)),
            Self::Arrow(writer) => {
                let written = writer.write(batch).and_then(|()| writer.flush());
                written.map_err(|e| Error::failed("printing rows", e))
            }
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Arrow(mut writer) => writer.finish().map_err(|e| Error::failed("printing rows", e)),
            Self::Ndjson | Self::Table => {
                std::io::stdout().flush().ok();
                Ok(())
            }
        }
    }
}

/// `earliest`, `latest`, `snapshot:ID`, `after:ID`, `timestamp:MS`, `tag:NAME`.
#[derive(Clone, Debug)]
pub(crate) struct From(pub(crate) StartPosition);

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let number = |what: &str, value: &str| {
            value.parse::<i64>().map_err(|_| format!("{what} in {text:?} must be a whole number"))
        };
        Ok(Self(match text.split_once(':') {
            None if text == "earliest" => StartPosition::Earliest,
            None if text == "latest" => StartPosition::Latest,
            Some(("snapshot", id)) => StartPosition::Snapshot(number("the snapshot id", id)?),
            Some(("after", id)) => StartPosition::After(number("the snapshot id", id)?),
            Some(("timestamp", ms)) => StartPosition::Timestamp(number("the milliseconds", ms)?),
            Some(("tag", name)) => StartPosition::Tag(name.to_owned()),
            _ => {
                return Err(
                    "use earliest, latest, snapshot:ID, after:ID, timestamp:MILLISECONDS or tag:NAME".to_owned()
                );
            }
        }))
    }
}
