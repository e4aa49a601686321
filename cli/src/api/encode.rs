//! Batches as they go over the wire or into a pipe.
//!
//! - NDJSON: a line for each row, and behind the rows of a batch a line `{"$position": …}`. Lines whose only key begins
//!   with `$` are no rows: `$position`, `$lost`, `$error`.
//! - Server-sent events: an event `rows` for each batch, its data an array of rows and its id the position behind them;
//!   `position`, `lost`, `error` and `end` are events of their own.
//! - Arrow IPC: a column [`POSITION_COLUMN`] behind the others, null but in the last row of a batch.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::{ArrayWriter, LineDelimitedWriter};
use frazil_reader::{FeedBatch, Position};
use serde_json::json;

/// The column that says where reading goes on, in the last row of a batch.
pub(crate) const POSITION_COLUMN: &str = "_position";

/// A form of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Ndjson,
    Events,
    Arrow,
}

impl Encoding {
    pub(crate) const ALL: [Self; 3] = [Self::Ndjson, Self::Events, Self::Arrow];

    /// Its short name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Events => "sse",
            Self::Arrow => "arrow",
        }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Events => "text/event-stream",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// Turns batches of one schema into bytes.
pub(crate) enum Encoder {
    Ndjson,
    Events,
    Arrow {
        writer: Box<StreamWriter<Vec<u8>>>,
        /// With the column of positions.
        schema: SchemaRef,
    },
}

impl Encoder {
    /// # Errors
    /// In words: a column has a name that the encoding needs for itself.
    pub(crate) fn new(encoding: Encoding, schema: &SchemaRef) -> Result<Self, String> {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let mut reserved = names.filter(|name| match encoding {
            Encoding::Ndjson => name.starts_with('$'),
            Encoding::Events => false,
            Encoding::Arrow => *name == POSITION_COLUMN,
        });
        if let Some(name) = reserved.next() {
            let other = if encoding == Encoding::Arrow { "sse" } else { "sse or arrow" };
            return Err(format!("column {name:?} can't be told as {}: leave it out or take {other}", encoding.name()));
        }
        Ok(match encoding {
            Encoding::Ndjson => Self::Ndjson,
            Encoding::Events => Self::Events,
            Encoding::Arrow => {
                let fields = schema.fields().iter().map(|field| field.as_ref().clone());
                let position = Field::new(POSITION_COLUMN, DataType::Utf8, true);
                let schema = Arc::new(Schema::new(fields.chain([position]).collect::<Vec<_>>()));
                let writer = StreamWriter::try_new(Vec::new(), &schema).map_err(|error| error.to_string())?;
                Self::Arrow { writer: Box::new(writer), schema }
            }
        })
    }

    /// What comes first. `lost`: why rows come that were not asked for.
    pub(crate) fn begin(&mut self, lost: Option<&str>) -> Vec<u8> {
        match self {
            Self::Ndjson => lost.map(|why| line(&json!({ "$lost": why }))).unwrap_or_default(),
            // A browser that was cut off comes again after a second.
            Self::Events => {
                let lost = lost.map(|why| event("lost", None, &json!({ "message": why })));
                [b"retry: 1000\n\n".to_vec(), lost.unwrap_or_default()].concat()
            }
            Self::Arrow { writer, .. } => std::mem::take(writer.get_mut()),
        }
    }

    /// The rows, and the position behind them.
    pub(crate) fn batch(&mut self, batch: &FeedBatch) -> Result<Vec<u8>, ArrowError> {
        if batch.batches.is_empty() {
            return Ok(self.idle(batch.position));
        }
        match self {
            Self::Ndjson => {
                let mut writer = LineDelimitedWriter::new(Vec::new());
                writer.write_batches(&batch.batches.iter().collect::<Vec<_>>())?;
                writer.finish()?;
                let mut bytes = writer.into_inner();
                bytes.extend(position_line(batch.position));
                Ok(bytes)
            }
            Self::Events => {
                let head = format!("event: rows\nid: {}\ndata: ", batch.position);
                let mut writer = ArrayWriter::new(head.into_bytes());
                writer.write_batches(&batch.batches.iter().collect::<Vec<_>>())?;
                writer.finish()?;
                let mut bytes = writer.into_inner();
                bytes.extend_from_slice(b"\n\n");
                Ok(bytes)
            }
            Self::Arrow { writer, schema } => {
                let last = batch.batches.len() - 1;
                for (index, rows) in batch.batches.iter().enumerate() {
                    writer.write(&with_position(rows, schema, (index == last).then_some(batch.position))?)?;
                }
                Ok(std::mem::take(writer.get_mut()))
            }
        }
    }

    /// Nothing new; the position may have moved. Shows that both ends are there.
    pub(crate) fn idle(&mut self, position: Position) -> Vec<u8> {
        match self {
            Self::Ndjson => position_line(position),
            Self::Events => event("position", Some(position), &json!({ "position": position.to_string() })),
            Self::Arrow { writer, schema } => match writer.write(&RecordBatch::new_empty(Arc::clone(schema))) {
                Ok(()) => std::mem::take(writer.get_mut()),
                // Nothing is to be said, so nothing is missing.
                Err(_) => Vec::new(),
            },
        }
    }

    /// Why the stream breaks off behind this.
    pub(crate) fn error(&mut self, envelope: &serde_json::Value) -> Vec<u8> {
        match self {
            Self::Ndjson => line(&json!({ "$error": envelope["error"] })),
            Self::Events => event("error", None, envelope),
            // The stream's end is missing, which is what tells its readers.
            Self::Arrow { .. } => Vec::new(),
        }
    }

    /// The end of a stream that has told everything.
    pub(crate) fn end(&mut self) -> Result<Vec<u8>, ArrowError> {
        match self {
            Self::Ndjson => Ok(Vec::new()),
            Self::Events => Ok(event("end", None, &json!({}))),
            Self::Arrow { writer, .. } => {
                writer.finish()?;
                Ok(std::mem::take(writer.get_mut()))
            }
        }
    }
}

/// The line that says where reading goes on.
pub(crate) fn position_line(position: Position) -> Vec<u8> {
    line(&json!({ "$position": position.to_string() }))
}

fn line(value: &serde_json::Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

fn event(kind: &str, id: Option<Position>, data: &serde_json::Value) -> Vec<u8> {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("event: {kind}\n{id}data: {data}\n\n").into_bytes()
}

fn with_position(
    rows: &RecordBatch,
    schema: &SchemaRef,
    position: Option<Position>,
) -> Result<RecordBatch, ArrowError> {
    let others = rows.num_rows().saturating_sub(usize::from(position.is_some()));
    let nulls = std::iter::repeat_n(None, others);
    let values: StringArray = nulls.chain(position.map(|position| Some(position.to_string()))).collect();
    let columns = rows.columns().iter().cloned().chain([Arc::new(values) as ArrayRef]).collect();
    RecordBatch::try_new(Arc::clone(schema), columns)
}
